"""`ony mode`: how strictly this machine or one session is gated. The server signs modes; stepping down needs the six-digit code."""

import argparse
import getpass
import json
import sys
from typing import Any

from ony_core.connector import control
from ony_core.errors import OnyError

HELP = "say how this machine or one session is gated: on, away, here or off"
EXAMPLE = """ony mode away
ony mode off --minutes 30
ony mode status --session 3f2c0de1"""

MEANING = {
    "on": "high and critical calls are held and ring",
    "away": "everything that changes something is held and rings",
    "here": "held calls wait for `ony approve` on this machine",
    "off": "nothing is held but changes to Ony itself",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mode", nargs="?", choices=("on", "away", "off", "here", "status"), default="status")
    parser.add_argument("--session", default="", help="one session of an agent, by its id; without it, this machine's default")
    parser.add_argument("--minutes", type=int, help="how long it lasts; off and every step down: 60 at most, and without this")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    if args.mode == "status":
        return _show(args, control.ask("status", {"session": args.session}))
    wish = {"session": args.session, "mode": args.mode, "minutes": args.minutes}
    said = control.ask("mode", wish)
    if said.get("refused") == "code_needed":
        said = control.ask("mode", {**wish, "code": code_from_owner()})
    if "refused" in said:
        raise OnyError(f"the mode was not changed ({said['refused'].replace('_', ' ')})", _advice(said["refused"]))
    return _show(args, said)


def code_from_owner() -> str:
    """The six digits, from the terminal without echo, else one line of stdin; never from the command line, which others can read."""
    if sys.stdin.isatty():
        return getpass.getpass("Six-digit code: ").strip()
    return sys.stdin.readline().strip()


def _show(args: argparse.Namespace, said: dict[str, Any]) -> int:
    if args.json:
        print(json.dumps({"mode": said["mode"], "session": said["session"], "until": said["until"]}))
        return 0
    until = f" until {said['until']}" if said["until"] else ""
    print(f"Mode {said['mode']}{until}: {MEANING[said['mode']]}.")
    return 0


def _advice(word: str) -> str:
    return {
        "code_needed": "stepping down needs the six-digit code of the authenticator",
        "wrong_code": "wait for the next code and try again",
        "closed": "five wrong codes in a row: try again in 15 minutes, or later if it happens again",
    }.get(word, "see `ony doctor`")
