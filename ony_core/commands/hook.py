"""`ony hook claude`: the hook, typed by hand or in a script. The installed one is a file of its own (ony_core/hook.py, copied out)."""

import argparse
from typing import NoReturn

from ony_core import hook

HELP = "answer one tool call of an agent (event on stdin, reply on stdout)"
EXAMPLE = """ony hook claude < event.json
ends with exit code 0 and one JSON object, or exit code 2 and one line on stderr: then the call must not run"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("agent", help="claude")
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)  # SOCKET UID AGENT DEADLINE: the installed form


def run(args: argparse.Namespace) -> NoReturn:
    hook.by_hand([args.agent, *args.rest])
    raise AssertionError("the hook ends the process")
