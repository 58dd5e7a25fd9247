"""`ony approve`: answer waiting requests on this terminal, in mode here. Every yes needs the six-digit code, which the server checks."""

import argparse
import json
import sys
from typing import Any

from ony_core.commands.mode import code_from_owner
from ony_core.connector import control
from ony_core.errors import OnyError

HELP = "answer waiting requests on this terminal (mode here)"
EXAMPLE = """ony approve
ony approve --json
ony approve req_0f3a6c --deny"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("request", nargs="?", help="one request, by its id; without it, each that waits")
    parser.add_argument("--deny", action="store_true", help="say no to it")
    parser.add_argument("--json", action="store_true", help="list what waits and answer nothing")


def run(args: argparse.Namespace) -> int:
    waiting = control.ask("waiting")["waiting"]
    if args.json:
        print(json.dumps(waiting))
        return 0
    if args.request:
        waiting = [row for row in waiting if row["request_id"] == args.request]
        if not waiting:
            raise OnyError("that request is not waiting", "`ony approve --json` lists those that are")
    if not waiting:
        print("Nothing is waiting.")
        return 0
    return max(_answer(row, _decision(row, args)) for row in waiting)


def _decision(row: dict[str, Any], args: argparse.Namespace) -> str:
    print(f"{row['risk']}: {row['title']}  [{row['action']}]")
    print(f"  {row['tool']} of {row['agent']}, project {row['project']}, word {row['word'] or '-'}, {row['left_s']} s left")
    if args.request:
        return "deny" if args.deny else "approve"
    print("  1 approve, 2 deny, anything else: leave it waiting")
    sys.stdout.flush()
    return {"1": "approve", "2": "deny"}.get(sys.stdin.readline().strip(), "")


def _answer(row: dict[str, Any], decision: str) -> int:
    if not decision:
        return 0
    said = control.ask("decide", {"request_id": row["request_id"], "decision": decision, "code": code_from_owner()})
    print(f"  {_OUTCOME.get(said['outcome'], said.get('message') or said['outcome'])}")
    return 0 if said["outcome"] in ("approved", "denied", "revoked") else 1


_OUTCOME = {
    "approved": "Approved; the agent is being told.",
    "denied": "Denied.",
    "revoked": "Taken back.",
    "wrong_code": "That code is not right, or has been used: wait for the next one.",
    "code_needed": "That needs the six-digit code.",
    "closed": "Five wrong codes in a row: this terminal is closed for 15 minutes or longer.",
    "too_late": "Too late: it has been decided or has ended.",
}
