"""`ony doctor`: what can be checked about this installation, line by line, each with its remedy. It changes nothing and rings nobody."""

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from importlib import resources
from pathlib import Path

from ony_core import config
from ony_core.connector import assurance, control, enrolled, home
from ony_core.connector.install import claude
from ony_core.errors import OnyError

HELP = "check this installation line by line"
EXAMPLE = """ony doctor --json
ony doctor --server --data /var/lib/ony --config /etc/ony/ony.toml"""

SKEW_S = 30
_PROBE = {
    "session_id": "ony-doctor", "hook_event_name": "PreToolUse", "tool_name": "Read", "tool_input": {"file_path": "/README"}, "cwd": "/",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One check. detail: what was found; remedy: what to do about it, empty where it holds."""

    check: str
    holds: bool
    detail: str
    remedy: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument("--server", action="store_true", help="check the server on this machine instead, as its user")
    config.arguments(parser)


def run(args: argparse.Namespace) -> int:
    folder = home.path()
    lines = list(_server_lines(args) if args.server else _lines(folder))
    level = "" if args.server else _level(folder)
    if args.json:
        print(json.dumps({"checks": [asdict(line) for line in lines], "assurance": level}))
    else:
        for line in lines:
            print(f"{'ok  ' if line.holds else 'FAIL'}  {line.check}: {line.detail}" + (f"\n      -> {line.remedy}" if line.remedy else ""))
        if level:
            print(assurance.sentence(folder))
    return 0 if all(line.holds for line in lines) else 1


def _server_lines(args: argparse.Namespace) -> Iterator[Line]:
    from ony_core.commands import doctor_server

    settings = config.from_arguments(args)
    for name, check in doctor_server.checks(settings, config.data_folder(settings.server.data)):
        yield _checked(name, check)


def _lines(folder: Path) -> Iterator[Line]:
    """In the order in which one thing needs the other; after a missing enrolment there is nothing more to look at."""
    for name, check in (("folder", lambda: str(home.opened(folder))), ("enrolment", lambda: _enrolment(folder))):
        line = _checked(name, check)
        yield line
        if not line.holds:
            return
    yield _checked("daemon", lambda: _daemon(folder))
    yield _checked("server", lambda: _server(folder))
    yield _checked("bundle", lambda: _bundle(folder))
    settings = claude.recorded(folder)
    if not settings:
        yield Line("settings", False, "the gate is in no settings", "run `ony install claude --user`")
    for path in settings:
        yield _checked("settings", lambda path=path: _settings(folder, path))  # type: ignore[misc]
    yield _checked("project", _project)
    if settings:
        yield _checked("live test", lambda: _live(folder))


def _checked(name: str, check: Callable[[], str]) -> Line:
    try:
        return Line(name, True, check())
    except OnyError as error:
        return Line(name, False, error.what, error.hint)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Line(name, False, type(error).__name__, "look at the file or program it names")


def _level(folder: Path) -> str:
    try:
        return assurance.level(folder)
    except OnyError:
        return ""


def _enrolment(folder: Path) -> str:
    known = enrolled.load(folder)
    if not known.approvers:
        raise OnyError("no approver was known at enrolment", "add a phone with `ony admin phone`, then `ony enroll URL --replace`")
    return f"{known.url}, {len(known.approvers)} approver(s) pinned"


def _daemon(folder: Path) -> str:
    return f"process {control.ask('status', folder=folder, timeout_s=5)['pid']} answers on {home.socket_path(folder)}"


def _server(folder: Path) -> str:
    known = enrolled.load(folder)
    answer = enrolled.link(folder, known).call("GET", "/v1/bundle")
    if not answer.date:
        return "answers"
    skew = abs(parsedate_to_datetime(answer.date).timestamp() - time.time())
    if skew > SKEW_S:
        raise OnyError(f"its clock and this one differ by {skew:.0f} s", "set both clocks by NTP: a verdict lives for minutes only")
    return f"answers, clocks within {SKEW_S} s"


def _bundle(folder: Path) -> str:
    said = control.ask("status", folder=folder, timeout_s=5)
    if not said["bundle_current"]:
        raise OnyError("no policy of the server younger than 24 h is here", "until one is, everything above `none` is held")
    if not said["approvers"]:
        raise OnyError("no approver is active", "every held call will be denied: look at `ony admin device list`")
    return f"version {said['bundle_version']}, {said['bundle_age_s']} s old, {said['approvers']} approver(s) active"


def _settings(folder: Path, path: Path) -> str:
    wrong = claude.installed(folder, path)
    if wrong:
        raise OnyError(f"{path}: {wrong}", "run `ony install claude` again")
    for name, source in claude.HOOK_FILES.items():
        if home.read(folder / name) != resources.files("ony_core").joinpath(source).read_bytes():
            raise OnyError(f"the installed {name} is not this version's", "run `ony install claude` again")
    return str(path)


def _project() -> str:
    """A repository's own settings can switch every hook of the user off, also in a folder that was never trusted."""
    for name in ("settings.json", "settings.local.json"):
        path = Path.cwd() / ".claude" / name
        if path.exists() and "disableAllHooks" in path.read_text(errors="replace"):
            raise OnyError(f"{path} speaks of disableAllHooks", "an agent in this folder may run without the gate")
    return "nothing in this folder switches hooks off"


def _live(folder: Path) -> str:
    """The installed command itself, with a call that only reads."""
    began = time.monotonic()
    done = subprocess.run(["/bin/sh", "-c", claude.command_for(folder)], input=json.dumps(_PROBE).encode(), capture_output=True,
                          timeout=60, check=False)  # fmt: skip
    if done.returncode != 0 or done.stdout.strip() != b"{}":
        raise OnyError(f"a harmless call was not passed (exit code {done.returncode})", "is mode away on, or the daemon down?")
    return f"a harmless call passes in {(time.monotonic() - began) * 1000:.0f} ms"
