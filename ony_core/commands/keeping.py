"""The verbs of `ony admin` that look after a server's data: backup, restore, migrate, org, audit declare-restore.

MUST: work on a stopped server only where they write: restore and migrate take the server's own lock. backup reads beside a running one.
"""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ony_core.clock import SystemClock, rfc3339
from ony_core.commands.mode import code_from_owner
from ony_core.errors import OnyError, UsageError
from ony_core.server import keys, restoring
from ony_core.server.admin import AUDIT_KEY, DATABASE, audit_log
from ony_core.server.keyring import Keyring
from ony_core.store import Store, copies
from ony_core.store.store import VERSION

Verb = Callable[[Any, str, str, Any], argparse.ArgumentParser]
Ask = Callable[..., dict[str, Any]]


def arguments(verbs: Any, verb: Verb, ask: Ask) -> None:
    """verb: adds one; ask: a question to the running server."""
    made = verb(verbs, "backup", "copy the database of a running server to a new file; no keys are in it", _backup)
    made.add_argument("--to", required=True, metavar="FILE", help="a new file, or a folder to name one in")
    back = verb(verbs, "restore", "put a backup back; the server must not run, its keys must be in the data folder", _restore)
    back.add_argument("backup", metavar="FILE", help="as `ony admin backup` made it")
    verb(verbs, "migrate", "bring the database of a stopped server to this version; `ony serve` does so by itself", _migrate)
    _org(verbs.add_parser("org", help="organisations", description="organisations"), verb, ask)
    turn = verbs.add_parser("key", help="replace keys while the server runs", description="replace keys while the server runs")
    turn_below = turn.add_subparsers(dest="what", required=True, metavar="rotate")
    turned = verb(turn_below, "rotate", "replace one; asks an approver's six-digit code", _rotate(ask))
    turned.add_argument("key", choices=("master", "verdict", "audit"), help="what seals secrets, signs verdicts, signs checkpoints")
    again = verbs.add_parser("totp", help="approval secrets", description="approval secrets")
    again_below = again.add_subparsers(dest="what", required=True, metavar="renew")
    renew = verb(again_below, "renew", "another secret in place of the present one, a code of which is asked", _renew(ask))
    renew.add_argument("--lost", action="store_true", help="no code can be shown: on a stopped server; takes a recovery code, or a day")
    for one in (turned, renew):
        one.add_argument("--email", default="", help="who confirms it, and whose secret it is (default: the only user)")
    audit = verbs.add_parser("audit", help="what the log needs of you", description="what the log needs of you")
    below = audit.add_subparsers(dest="what", required=True, metavar="declare-restore")
    said = verb(below, "declare-restore", "tell connectors that a restore was meant; asks an approver's six-digit code", _declare(ask))
    said.add_argument("--email", default="", help="who confirms it (default: the only user)")


def _org(parser: argparse.ArgumentParser, verb: Verb, ask: Ask) -> None:
    below = parser.add_subparsers(dest="what", required=True, metavar="list|export|delete|second-factor")
    verb(below, "list", "list the organisations", _organisations(ask))
    out = verb(below, "export", "everything about an organisation but secrets, as JSON; its log: `ony audit export`", _export(ask))
    gone = verb(below, "delete", "erase names, phones, requests and connectors; asks an approver's six-digit code", _delete(ask))
    asked = verb(below, "second-factor", "of whom one is asked at login; asks an approver's six-digit code", _second_factor(ask))
    asked.add_argument("--of", required=True, choices=("everybody", "approvers"), help="administrators always need one")
    asked.add_argument("--by", default="", metavar="EMAIL", help="the approver whose code confirms it (default: the only one)")
    for one in (out, gone, asked):
        one.add_argument("id", help="as `list` shows it")
    out.add_argument("--to", required=True, metavar="FILE", help="a new file")
    gone.add_argument("--email", default="", help="who confirms it (default: the only user)")


def _backup(args: argparse.Namespace) -> None:
    _insist_on_server(args.folder)
    to = Path(args.to)
    if to.is_dir():
        to = to / f"ony-{rfc3339(SystemClock().wall()).replace(':', '')}.db"
    copies.copy(args.folder / DATABASE, to)
    if args.json:
        return print(json.dumps({"file": str(to), "bytes": to.stat().st_size}))
    print(f"{to}: {to.stat().st_size} bytes.")
    return print(f"It holds no keys: master.key and {AUDIT_KEY} must be kept elsewhere, once, or it cannot be restored.")


def _restore(args: argparse.Namespace) -> None:
    said = restoring.restore(Path(args.backup), args.folder, SystemClock())
    if args.json:
        return print(json.dumps(said))
    before = f" What stood there is kept: {said['kept']}" if said["kept"] else ""
    print(f"Restored: {said['rows']} rows of the log, the last of {said['last_time']}.{before}")
    print("Open requests were denied and unused approvals revoked. What was revoked since the backup is not revoked in it: do that again.")
    print("Recovery codes are gone, passwords and authenticator secrets are the backup's: make new ones where somebody else knew them.")
    return print("Next: start the server, then `ony admin audit declare-restore`, so that connectors can follow.")


def _migrate(args: argparse.Namespace) -> None:
    _insist_on_server(args.folder)
    Store.open(args.folder / DATABASE, SystemClock()).close()
    print(json.dumps({"version": VERSION}) if args.json else f"The database is of version {VERSION}.")


def _insist_on_server(folder: Path) -> None:
    if not (folder / DATABASE).is_file():
        raise OnyError(f"there is no server in {folder}", "name its data folder with --data")


def _organisations(ask: Ask) -> Any:
    def act(args: argparse.Namespace) -> None:
        rows = ask(args.folder, "GET", "/admin/orgs")["organisations"]
        if args.json:
            return print(json.dumps(rows))
        for row in rows:
            print(f"{row['org_id']}  {row['log_rows']:>8} rows of log  {'frozen  ' if row['frozen'] else ''}{row['name'] or '(deleted)'}")
        return None

    return act


def _export(ask: Ask) -> Any:
    def act(args: argparse.Namespace) -> None:
        said = ask(args.folder, "GET", f"/admin/orgs/{_org_id(args.id)}/export")
        try:
            descriptor = os.open(args.to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise OnyError(f"{args.to} cannot be made ({error.strerror})", "name a new file") from None
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(said, file, ensure_ascii=False, indent=1)
        many = sum(len(rows) for rows in said["tables"].values())
        print(json.dumps({"file": args.to, "rows": many}) if args.json else f"{args.to}: {many} rows. The log: `ony audit export`.")

    return act


def _delete(ask: Ask) -> Any:
    def act(args: argparse.Namespace) -> None:
        said = ask(args.folder, "POST", f"/admin/orgs/{_org_id(args.id)}/delete", {"email": args.email, "code": code_from_owner()})
        print(json.dumps(said) if args.json else f"Deleted: {said['deleted']}. The log stays; it knows ids and digests only.")

    return act


def _second_factor(ask: Ask) -> Any:
    def act(args: argparse.Namespace) -> None:
        wish = {"of": args.of, "by": args.by, "code": code_from_owner()}
        said = ask(args.folder, "POST", f"/admin/orgs/{_org_id(args.id)}/second-factor", wish)
        if args.json:
            return print(json.dumps(said))
        return print(f"Asked of {said['of']} from the next login on; {said['ended']} open sessions without one are over.")

    return act


def _rotate(ask: Ask) -> Any:
    def act(args: argparse.Namespace) -> None:
        said = ask(args.folder, "POST", "/admin/keys/rotate", {"key": args.key, "email": args.email, "code": code_from_owner()})
        if args.json:
            return print(json.dumps(said))
        if args.key == "master":
            return print(f"{said['sealed_anew']} secrets are sealed under a new master key. Keep a copy of master.key elsewhere, now.")
        return print(f"A new {args.key} key, signed by the old one. Connectors learn it; until {said['until']} the old one signs.")

    return act


def _renew(ask: Ask) -> Any:
    def act(args: argparse.Namespace) -> None:
        if args.lost:
            said = _renew_lost(args.folder, args.email, _recovery_code())
        else:
            said = ask(args.folder, "POST", "/admin/totp/renew", {"email": args.email, "code": code_from_owner()})
        if args.json:
            return print(json.dumps(said))
        print("Add this to an authenticator app; it is shown this once, and the entry before it is worth nothing from now on:\n")
        print(f"  secret  {said['totp_secret']}\n  {said['otpauth_uri']}")
        return print(f"Its codes count from {said['active_from']}." if args.lost else "Its codes count from now on.")

    return act


def _recovery_code() -> str:
    """From the terminal without echo, else one line of stdin; "" where there is none."""
    if sys.stdin.isatty():
        return getpass.getpass("One of your recovery codes (without one, the new secret counts only after 24 hours): ").strip()
    return sys.stdin.readline().strip()


def _renew_lost(folder: Path, email: str, proof: str) -> dict[str, Any]:
    """Whoever can read master.key can do worse; here it stands in the log. proof: a recovery code, "" for none."""
    _insist_on_server(folder)
    clock = SystemClock()
    store = Store.open(folder / DATABASE, clock)
    try:
        ring = Keyring.open(folder, store)
        store.attach(audit_log(folder, store, ring, clock))
        said = store.write_now(lambda tx: keys.renewed_lost(tx, ring, email, proof, clock))
    finally:
        store.close()
    if isinstance(said, str):
        raise OnyError("that is none of this user's recovery codes, or too many were wrong", "press Enter instead, and wait a day")
    return said


def _declare(ask: Ask) -> Any:
    def act(args: argparse.Namespace) -> None:
        said = ask(args.folder, "POST", "/admin/audit/declare-restore", {"email": args.email, "code": code_from_owner()})
        print(json.dumps(said) if args.json else f"Declared, in row {said['row']} of the log. Connectors follow until {said['until']}.")

    return act


def _org_id(text: str) -> str:
    if not text.replace("_", "").isalnum() or not text.isascii():
        raise UsageError("that is not the id of an organisation", "`ony admin org list` shows them")
    return text
