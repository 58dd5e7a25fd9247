"""`ony install claude`: puts the gate into an agent's settings, and says what kind of protection that is."""

import argparse
from pathlib import Path

from ony_core.connector import assurance, enrolled, home
from ony_core.connector.install import claude
from ony_core.errors import OnyError

HELP = "put the gate into an agent's settings"
EXAMPLE = """ony install claude --user
ony install claude --project ~/work/prod-api"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("agent", choices=("claude",))
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for every project of this user (the default)")
    where.add_argument("--project", type=Path, metavar="DIR", help="for one project; do not commit the file")


def run(args: argparse.Namespace) -> int:
    folder = home.opened()
    enrolled.load(folder)
    if args.project and not args.project.is_dir():
        raise OnyError(f"there is no folder {args.project}", "name the folder of a project")
    settings = claude.settings_file(args.project)
    fresh = claude.install(folder, settings)
    print(f"{'The gate is in' if fresh else 'The gate was already in'} {settings}.")
    if args.project:
        print("The entry names paths of this machine: do not commit it.")
    print("It works in sessions that start from now on. `ony doctor` checks it, `ony uninstall claude` takes it out.")
    print("advisory: any repository you open can switch it off.")
    print(assurance.sentence(folder))
    return 0
