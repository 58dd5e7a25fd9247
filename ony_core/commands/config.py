"""`ony config show`: what a server would run with, and where each value came from. Secrets are shown as set or not, never themselves."""

import argparse
import json

from ony_core import config
from ony_core.errors import EXIT_OK

HELP = "show the effective configuration and where each value came from"
EXAMPLE = """ony config show --config /etc/ony.toml
ONY_POLICY_VERDICT_TTL=60 ony config show --json"""


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    show = verbs.add_parser("show", help="every setting, its value and its source", description="every setting, its value and its source")
    config.arguments(show)
    show.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    rows = config.shown(config.from_arguments(args))
    if args.json:
        print(json.dumps({row["name"]: {"value": row["value"], "from": row["from"]} for row in rows}))
        return EXIT_OK
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        print(f"{row['name']:{width}}  {_text(row['value'])}  [{row['from']}]  {row['doc']}")
    return EXIT_OK


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
