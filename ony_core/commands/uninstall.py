"""`ony uninstall claude`: takes the gate out of an agent's settings; the file is the user's again."""

import argparse
from pathlib import Path

from ony_core.connector import home
from ony_core.connector.install import claude

HELP = "take the gate out of an agent's settings again"
EXAMPLE = """ony uninstall claude --user
ony uninstall claude --project ~/work/prod-api"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("agent", choices=("claude",))
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="from this user's settings (the default)")
    where.add_argument("--project", type=Path, metavar="DIR", help="from one project's settings")


def run(args: argparse.Namespace) -> int:
    settings = claude.settings_file(args.project)
    if claude.uninstall(home.opened(), settings):
        print(f"The gate is out of {settings}. Calls of new sessions there are no longer held.")
    else:
        print(f"There was no gate in {settings}.")
    return 0
