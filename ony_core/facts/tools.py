"""What each tool of an agent does: files, web, other agents, MCP servers. Shell tools go to the shell walker."""

import re
from typing import Any

from ony_core.facts import commands, paths
from ony_core.facts.call import Call
from ony_core.facts.handlers.network import host_of, url_traits
from ony_core.facts.secrets import looks_secret
from ony_core.facts.shell import Shell
from ony_core.facts.words import EMPTY, UNKNOWN, Flow, Word
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import tables

_PATCH = re.compile(r"^\*\*\* (Add|Update|Delete|Move to)(?: File)?: (.+)$", re.MULTILINE)


def understand(call: Call, tool: str, given: dict[str, Any], cwd: str) -> None:
    """Adds the facts of one tool call."""
    shell = Shell(call, cwd)
    kind = tables().words["tools"].get(tool, "")
    if kind:
        _KINDS[kind](shell, tool, given)
    elif tool.startswith(("mcp__", "mcp.")):
        _mcp(shell, tool, given)
    elif ("agent", tool) in tables().rules:
        call.add("agent", tool)
    else:
        call.add("agent", UNLISTED)


def _shell(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    command = given.get("command", given.get("cmd"))
    folder = given.get("workdir", given.get("cwd"))
    if isinstance(folder, str):
        shell.cwd = paths.absolute(shell.cwd, folder)
    if isinstance(command, str) and "\0" in command:
        shell.call.opaque("unparsed")  # no shell can be given one
    elif isinstance(command, str):
        shell.source(command)
    elif isinstance(command, list) and all(isinstance(w, str) for w in command):
        commands.run(shell, [Word(w, quoted=True) for w in command], EMPTY)
    else:
        shell.call.opaque("unparsed")


def _word(shell: Shell, given: dict[str, Any], *names: str) -> Word | None:
    for name in names:
        if isinstance(given.get(name), str) and given[name]:
            return Word(given[name].replace("\0", "?"), quoted=True)
    return None


def _write(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    word = _word(shell, given, "file_path", "path", "notebook_path")
    if word is None:
        shell.call.opaque("unparsed")
        return
    before = commands.known_content(shell, word) if tool == "Edit" else None
    content = given.get("content")
    whole = tool == "Write" or "content" in given
    commands.write_file(
        shell, word, Flow(content) if isinstance(content, str) else UNKNOWN, frozenset() if whole else frozenset({"modify"})
    )
    if before is not None and before.text is not None:
        commands.edited(shell, word, before, _edited(before.text, given))


def _edited(text: str, given: dict[str, Any]) -> str | None:
    old, new = given.get("old_string"), given.get("new_string")
    if not isinstance(old, str) or not isinstance(new, str) or not old:
        return None
    return text.replace(old, new) if given.get("replace_all") is True else text.replace(old, new, 1)


def _delete(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    word = _word(shell, given, "file_path", "path")
    if word is None:
        shell.call.opaque("unparsed")
    else:
        commands.delete_file(shell, word)


def _patch(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    """apply_patch: the files its headings name."""
    text = given.get("input", given.get("patch", given.get("command")))
    found = _PATCH.findall(text) if isinstance(text, str) else []
    if not found:
        shell.call.opaque("unparsed")
    for action, name in found:
        word = Word(name.strip(), quoted=True)
        if action == "Delete":
            commands.delete_file(shell, word)
        else:
            commands.write_file(shell, word, UNKNOWN, frozenset({"modify"}) if action == "Update" else frozenset())


def _read(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    shell.call.add("agent", tool)
    word = _word(shell, given, "file_path", "path", "notebook_path")
    if word is not None:
        commands.read_file(shell, word, frozenset({"recursive"}) if tool == "Grep" else frozenset())
    pattern = given.get("glob", given.get("pattern") if tool == "Glob" else None)
    if isinstance(pattern, str):
        base = word.text.rstrip("/") + "/" if word and not pattern.startswith(("/", "~")) else ""
        commands.read_file(shell, Word(base + pattern.replace("\0", "?"), glob=True))


def _fetch(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    url = given.get("url")
    if not isinstance(url, str):
        shell.call.opaque("unparsed")
        return
    traits = url_traits(url)
    if looks_secret(url.partition("//")[2].partition("/")[2]):
        traits |= {"secret"}
    shell.call.add("network", tool, ("sends" if "secret" in traits else "reads",), args=1, targets=host_of(shell.call, url), traits=traits)


def _mcp(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    """`mcp__server__tool`: the tool's leading verb, and whether its arguments touch a secret."""
    parts = tool.split("__") if "__" in tool else tool.split(".")
    server, name = (parts[1], "__".join(parts[2:])) if len(parts) > 2 else (UNLISTED, parts[-1])
    words = [w.lower() for w in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)]
    known = tables()
    program = server if ("mcp", server) in known.rules else UNLISTED
    verb = words[0] if words and words[0] in known.words["mcp"]["reads"] and not set(words) & set(known.words["mcp"]["never"]) else UNLISTED
    if program != UNLISTED and name in known.trie(program):
        verb = name
    traits = _argument_traits(shell, given)
    shell.call.add("mcp", program, (verb,), args=len(given), traits=traits)
    if verb == UNLISTED and isinstance(given.get("command"), str):
        shell.child().source(given["command"])


def _argument_traits(shell: Shell, given: dict[str, Any]) -> set[str]:
    """Strings anywhere in the arguments that name a secret file, or look like one."""
    waiting: list[Any] = [given]
    found: set[str] = set()
    for _ in range(2000):
        if not waiting:
            return found
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str) and (looks_secret(value) or _secret_path(shell, value)):
            found.add("secret")
    return found | {"unknown_word"}


def _secret_path(shell: Shell, text: str) -> bool:
    """Whether a text short enough to be a path names a secret."""
    return len(text) < 4096 and "secret" in paths.traits_of(shell.call, shell.cwd, Word(text))


_KINDS = {"shell": _shell, "write": _write, "delete": _delete, "patch": _patch, "read": _read, "fetch": _fetch}
