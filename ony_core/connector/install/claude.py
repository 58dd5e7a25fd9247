"""The gate in Claude Code's settings: one entry for every tool call, one that guards the settings while a session runs.

MUST leave every byte of the user's alone, keep a copy to restore, and refuse a file that is not valid rather than mend it: Claude Code
drops all hooks of a file it cannot read, silently. The entry and its reasons: docs/claude-code.md, "What is installed".
"""

import json
import os
import shlex
import shutil
import stat
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

from ony_core import durable, hook
from ony_core.agents.event import Notice
from ony_core.connector import home
from ony_core.connector.install import interpreter, jsontext
from ony_core.errors import Malformed, OnyError

MARK = "# ony gate"
HOOK_FILES = {"hook_code.py": "hook.py", "hook.py": "hook_start.py"}  # written out as -> where it stands in this package
TIMEOUT_S = 86400  # Claude Code's limit for the hook; what runs into it runs (2.1.197). The hook's own limit is far inside
_EVENTS = {"PreToolUse": "*", "ConfigChange": None}  # event -> matcher
_POISON = ("LD_", "DYLD_", "BASH_ENV", "ENV", "CLAUDE_CODE_SIMPLE", "CLAUDE_CODE_SAFE_MODE", "SHELLOPTS", "PYTHON")


def settings_file(project: Path | None) -> Path:
    """The settings that are edited: a project's, or the user's ($CLAUDE_CONFIG_DIR or ~/.claude)."""
    if project is not None:
        return project / ".claude" / "settings.json"
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~/.claude")) / "settings.json"


def install(folder: Path, settings: Path) -> bool:
    """Puts the gate in. False: it was there already, exactly so. OnyError leaves everything as it was."""
    entries = entries_for(folder)
    before = _bytes(settings)
    text = _text(before, settings)
    if _root(text, settings).value.get("disableAllHooks"):
        raise OnyError(f"{settings} switches all hooks off (disableAllHooks)", "take that out first, or the gate would never run")
    base, record = _without(text, settings), _record(folder, settings)
    unmoved = record is not None and before is not None and record["written"] == sha256(before).hexdigest()
    mine = before.decode("utf-8") if before is not None and base == text else base
    original = record["original"] if unmoved and record else (None if before is None else mine)
    after = _with(original if original and original.strip() else "{}\n", entries, settings)
    try:
        _copy_out(folder)
        if before == after.encode("utf-8"):
            return False
        _keep_record(folder, settings, original, after)
    except OSError as error:
        raise OnyError(f"{folder} cannot be written ({error.strerror})", "the settings were not changed") from None
    _write(settings, after)
    return True


def uninstall(folder: Path, settings: Path) -> bool:
    """Takes the gate out; the file is the user's again, byte for byte where only we had changed it. False: there was nothing."""
    before = _bytes(settings)
    record = _record(folder, settings)
    if before is None:
        _forget(folder, settings)
        return False
    text = _text(before, settings)
    if record is not None and record["written"] == sha256(before).hexdigest():
        _restore(settings, record["original"])
    elif (left := _without(text, settings)) != text:
        _write(settings, left)
    else:
        _forget(folder, settings)
        return False
    _forget(folder, settings)
    return True


def entries_for(folder: Path) -> dict[str, dict[str, Any]]:
    """Event -> the group that is installed for it."""
    entry = {"type": "command", "command": command_for(folder), "timeout": TIMEOUT_S, "onFailure": "block", "statusMessage": "Ony"}
    return {event: ({"matcher": matcher} if matcher else {}) | {"hooks": [entry]} for event, matcher in _EVENTS.items()}


def command_for(folder: Path) -> str:
    """One shell line. Its second half turns every way to die into exit code 2; its stdout is empty then."""
    words = [*interpreter.hook_command(folder / "hook.py"), home.socket_path(folder), str(os.getuid()), "claude", str(hook.DEADLINE_S)]
    return f"{shlex.join(words)} || {{ echo 'Ony: the gate failed, so the call is blocked' >&2; exit 2; }} {MARK}"


def installed(folder: Path, settings: Path) -> str:
    """What is wrong with the gate in this file, "" where it is exactly as `install` would write it."""
    data = _bytes(settings)
    if data is None:
        return "there is no such file"
    value = _text_value(data, settings)
    if value.get("disableAllHooks"):
        return "it switches all hooks off (disableAllHooks)"
    hooks = value.get("hooks")
    for event, group in entries_for(folder).items():
        groups = hooks.get(event) if isinstance(hooks, dict) else None
        if not isinstance(groups, list) or group not in groups:
            return f"its {event} entry is missing or changed"
    return ""


def harm(folder: Path, notice: Notice) -> str:
    """How a settings file that has just changed would weaken the gate, "" if it would not. Unreadable counts as harm."""
    if notice.source not in ("user_settings", "project_settings", "local_settings"):
        return ""
    try:
        value = _text_value(_bytes(Path(notice.path)) or b"{}", Path(notice.path))
    except (OnyError, OSError):
        return "the changed settings cannot be read"
    if value.get("disableAllHooks"):
        return "the changed settings switch hooks off"
    env = value.get("env")
    if isinstance(env, dict) and any(name.startswith(_POISON) for name in env):
        return "the changed settings give the gate another environment"
    try:
        gated = {os.path.realpath(path) for path in recorded(folder)}
    except OnyError:
        return "it is not known any more which settings hold the gate"
    if os.path.realpath(notice.path) in gated and not _ours_in(value):
        return "the gate is missing in the changed settings"
    return ""


def _ours_in(value: dict[str, Any]) -> bool:
    hooks = value.get("hooks")
    groups = hooks.get("PreToolUse") if isinstance(hooks, dict) else None
    return isinstance(groups, list) and any(_is_ours(group) for group in groups)


def _is_ours(group: Any) -> bool:
    entries = group.get("hooks") if isinstance(group, dict) else None
    return isinstance(entries, list) and any(isinstance(e, dict) and str(e.get("command", "")).endswith(MARK) for e in entries)


def _with(text: str, entries: dict[str, dict[str, Any]], settings: Path) -> str:
    for event, group in entries.items():
        root = _root(text, settings)
        if root.get("hooks") is None:
            text = jsontext.add(text, root, {}, "hooks")
        hooks = _container(_root(text, settings).get("hooks"), "object", "hooks", settings)
        if hooks.get(event) is None:
            text = jsontext.add(text, hooks, [], event)
        groups = _container(_root(text, settings).get("hooks").get(event), "array", f"hooks.{event}", settings)  # type: ignore[union-attr]
        text = jsontext.add(text, groups, group)
    return text


def _without(text: str, settings: Path) -> str:
    """The text without our groups, and without the containers that would be left empty."""
    for event in _EVENTS:
        while True:
            root = _root(text, settings)
            hooks = root.get("hooks")
            groups = hooks.get(event) if hooks is not None and hooks.kind == "object" else None
            index = next((i for i, item in enumerate(groups.value) if _is_ours(item)), None) if groups and groups.kind == "array" else None
            if index is None or hooks is None or groups is None:
                break
            text = _shrunk(text, root, hooks, groups, event, index)
    return text


def _shrunk(text: str, root: jsontext.Node, hooks: jsontext.Node, groups: jsontext.Node, event: str, index: int) -> str:
    if len(groups.children) > 1:
        return jsontext.cut(text, groups, index)
    if len(hooks.children) > 1:
        return jsontext.cut(text, hooks, hooks.keys.index(event))
    return jsontext.cut(text, root, root.keys.index("hooks"))


def _root(text: str, settings: Path) -> jsontext.Node:
    try:
        return _container(jsontext.parse(text), "object", "the file", settings)
    except Malformed as error:
        raise OnyError(f"{settings} is {error.what}", "mend it first; nothing was changed") from None


def _container(node: jsontext.Node | None, kind: str, name: str, settings: Path) -> jsontext.Node:
    if node is None or node.kind != kind:
        raise OnyError(f"{name} in {settings} is not what Claude Code expects there", "mend it first; nothing was changed")
    return node


def _text(data: bytes | None, settings: Path) -> str:
    if data is None or not data.strip():
        return "{}\n"
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise OnyError(f"{settings} is not UTF-8", "mend it first; nothing was changed") from None


def _text_value(data: bytes, settings: Path) -> dict[str, Any]:
    value: dict[str, Any] = _root(_text(data, settings), settings).value
    return value


def _bytes(settings: Path) -> bytes | None:
    try:
        with open(settings, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OnyError(f"{settings} is not a file", "nothing was changed")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OnyError(f"{settings} cannot be read ({error.strerror})", "look at its owner and mode; nothing was changed") from None


def _write(settings: Path, text: str) -> None:
    """Through a symbolic link, with the mode the file had."""
    target = Path(os.path.realpath(settings))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = os.stat(target).st_mode & 0o777 if target.exists() else 0o600
        durable.replace(target, text.encode("utf-8"), mode)
    except OSError as error:
        raise OnyError(f"{settings} cannot be written ({error.strerror})", "nothing was changed") from None


def _restore(settings: Path, original: str | None) -> None:
    if original is not None:
        _write(settings, original)
        return
    target = Path(os.path.realpath(settings))  # a link to a file that was not there is the user's, and stays
    os.unlink(target)
    if not any(target.parent.iterdir()):
        target.parent.rmdir()


def _copy_out(folder: Path) -> None:
    """The hook as files of its own, so that it starts without the rest of Ony; its byte code is cached before the first call."""
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    for name, source in HOOK_FILES.items():
        home.write(folder / name, resources.files("ony_core").joinpath(source).read_bytes(), 0o500)
    interpreter.warm(folder / "hook.py")


def _record_file(folder: Path, settings: Path) -> Path:
    return folder / "installed" / (sha256(os.fsencode(os.path.abspath(settings))).hexdigest()[:16] + ".json")


def _record(folder: Path, settings: Path) -> dict[str, Any] | None:
    try:
        return _read_record(_record_file(folder, settings))
    except FileNotFoundError:
        return None


def _read_record(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(home.read(file, 64 << 20))
        sound = {name: type(item) for name, item in value.items()}
    except (ValueError, AttributeError):
        sound = {}
    if sound.get("settings") is not str or sound.get("written") is not str or sound.get("original") not in (str, type(None)):
        raise OnyError("the copy of the user's settings is damaged", f"take the gate out by hand, then remove {file}")
    return dict(value)


def _keep_record(folder: Path, settings: Path, original: str | None, after: str) -> None:
    file = _record_file(folder, settings)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    body = {"agent": "claude", "settings": os.path.abspath(settings), "original": original, "written": sha256(after.encode()).hexdigest()}
    home.write(file, json.dumps(body).encode())


def _forget(folder: Path, settings: Path) -> None:
    """Our own copies go when the last settings file is free of us."""
    _record_file(folder, settings).unlink(missing_ok=True)
    records = folder / "installed"
    if records.is_dir() and not any(records.iterdir()):
        records.rmdir()
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        for name in HOOK_FILES:
            (folder / name).unlink(missing_ok=True)


def recorded(folder: Path) -> list[Path]:
    """The settings files that hold the gate, as far as this folder knows."""
    found = sorted((folder / "installed").glob("*.json"))
    return [Path(_read_record(file)["settings"]) for file in found]
