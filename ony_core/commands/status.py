"""`ony status`: mode, what waits, and what the protection in place is worth."""

import argparse
import json
from typing import Any

from ony_core.connector import assurance, control, enrolled, home
from ony_core.connector.install import claude

HELP = "show mode, waiting requests and what kind of protection is in place"
EXAMPLE = "ony status --json"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    folder = home.opened()
    known = enrolled.load(folder)
    running = control.running(folder)
    facts: dict[str, Any] = {
        "running": running, "url": known.url, "name": known.name, "connector_id": known.connector_id,
        "assurance": assurance.level(folder), "settings": [str(path) for path in claude.recorded(folder)],
        "faults": {str(path): wrong for path in claude.recorded(folder) if (wrong := claude.installed(folder, path))},
    }  # fmt: skip
    if running:
        facts |= control.ask("status", folder=folder) | control.ask("waiting", folder=folder)
    print(json.dumps(facts) if args.json else _text(facts, assurance.sentence(folder)))
    return 0 if running else 1


def _text(facts: dict[str, Any], sentence: str) -> str:
    lines = [f"Server     {facts['url']}"]
    if facts["running"]:
        lines.append(f"Daemon     runs (process {facts['pid']})")
        lines.append(f"Mode       {facts['mode']}" + (f" until {facts['until']}" if facts["until"] else ""))
        lines.append(f"Approvers  {facts['approvers']} active")
        lines += [f"Waiting    {row['risk']}: {row['title']}  [{row['action']}], {row['left_s']} s left" for row in facts["waiting"]]
    else:
        lines.append("Daemon     not running: every call of a gated agent is blocked. Run `ony daemon start`")
    faults = facts["faults"]
    for path in facts["settings"]:
        lines.append(f"Gate in    {path}" + (f": NOT WORKING, {faults[path]}" if path in faults else ""))
    if not facts["settings"]:
        lines.append("Gate in    no settings: run `ony install claude --user`")
    return "\n".join([*lines, sentence])
