"""`ony admin`: set up and look after a server. `init` makes one in an empty folder; everything else asks the running server over the socket
in its data folder, so that nobody ever opens the database beside it.

MUST NOT take a password from the command line, where others can read it.
"""

import argparse
import getpass
import http.client
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from ony_core import canon, config
from ony_core.clock import SystemClock
from ony_core.commands import keeping
from ony_core.commands.mode import code_from_owner
from ony_core.errors import EXIT_OK, Malformed, OnyError, Refused, UsageError
from ony_core.model import RISKS
from ony_core.server import admin, app, team

HELP = "set up and look after a server: organisation, phones, enrolment codes, devices"
EXAMPLE = """ony admin init --data /var/lib/ony --org "Example" --email you@example.com
ony admin phone --data /var/lib/ony --email you@example.com --number +15550100123 --verified
ony admin enroll-code --data /var/lib/ony
ony admin user invite --email colleague@example.com --role member
ony admin device revoke dev_0f3a… --data /var/lib/ony
ony admin backup --to /var/backups/ony --data /var/lib/ony
ony admin policy set --project shop --match "program acme verb deploy" --recipe sha256:… --risk medium"""

TIMEOUT_S = 30


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    init = _verb(verbs, "init", "make a server in an empty folder: first organisation and administrator", _init)
    init.add_argument("--org", required=True, metavar="NAME", help="the organisation's name")
    init.add_argument("--email", required=True, help="the first administrator")
    init.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    phone = _verb(verbs, "phone", "enrol a phone that may decide", _phone)
    phone.add_argument("--email", required=True, help="whose phone it is")
    phone.add_argument("--number", required=True, help="like +15550100123")
    phone.add_argument("--verified", action="store_true", help="you have made sure that the number is theirs")
    _by(phone)
    code = _verb(verbs, "enroll-code", "a one-time code for `ony enroll`", _enroll_code)
    code.add_argument("--email", default="", help="whose connector it will be (default: the only user)")
    approve = _verb(verbs, "enroll-approve", "let in a machine that shows a code (`ony enroll URL --show-code`)", _enroll_approve)
    approve.add_argument("code", help="as the machine shows it")
    approve.add_argument("--email", default="", help="whose connector it will be (default: the only user)")
    thaw = _verb(verbs, "thaw", "end a freeze; asks an approver's six-digit code", _thaw)
    thaw.add_argument("--email", default="", help="who confirms it (default: the only user)")
    _verb(verbs, "status", "what waits, and whether the server can write", _status)
    _listing(verbs, "device", "the phones that may decide", _devices)
    _listing(verbs, "connector", "the machines that ask", _connectors)
    _user(verbs.add_parser("user", help="the people of an organisation", description="the people of an organisation"))
    keeping.arguments(verbs, _verb, ask)
    _policy(verbs.add_parser("policy", help="your own rules on top of the taxonomy", description="your own rules on top of the taxonomy"))


def run(args: argparse.Namespace) -> int:
    args.folder = config.data_folder(args.data or os.environ.get("ONY_SERVER_DATA", ""))
    args.act(args)
    return EXIT_OK


def _verb(verbs: Any, word: str, text: str, act: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(word, help=text, description=text)
    parser.add_argument("--data", metavar="DIR", help=f"the server's data folder (default: {' or '.join(config.FOLDERS)})")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.set_defaults(act=act)
    return parser


def _listing(verbs: Any, word: str, text: str, act: Any) -> None:
    below = verbs.add_parser(word, help=text, description=text).add_subparsers(dest="what", required=True, metavar="list|revoke")
    _verb(below, "list", f"list {text}", act)
    _verb(below, "revoke", f"take one out of {text}, at once", _revoke).add_argument("id", help="as `list` shows it")


def _user(parser: argparse.ArgumentParser) -> None:
    below = parser.add_subparsers(dest="what", required=True, metavar="invite|list|role|reset|disable|enable")
    _verb(below, "list", "list everybody, with role and state", _users)
    invite = _verb(below, "invite", "a one-time code with which somebody joins; asks an approver's code", _invite)
    invite.add_argument("--email", required=True, help="whom it is for")
    invite.add_argument("--role", default="member", choices=team.ROLES)
    invite.add_argument("--org", default="", help="the organisation's id (default: the only one)")
    role = _verb(below, "role", "give somebody another role; asks an approver's code", _change_user)
    reset = _verb(below, "reset", "a one-time code for a lost password or second factor; asks an approver's code", _change_user)
    disable = _verb(below, "disable", "end somebody's sessions, phones and machines, at once", _change_user)
    enable = _verb(below, "enable", "let somebody in again; asks an approver's code", _change_user)
    for verb in (role, reset, disable, enable):
        verb.add_argument("id", help="as `list` shows it")
    role.add_argument("role", choices=team.ROLES)
    for verb in (invite, role, reset, enable):
        _by(verb)


def _by(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", default="", metavar="EMAIL", help="the approver whose code confirms it (default: the only one)")


def _policy(parser: argparse.ArgumentParser) -> None:
    below = parser.add_subparsers(dest="what", required=True, metavar="list|set|remove")
    _verb(below, "list", "list your own rules", _rules)
    given = _verb(below, "set", "raise a command's risk, or teach one that no table knows; asks an approver's six-digit code", _set_rule)
    given.add_argument("--match", required=True, help='the command: "program acme verb deploy", or "program acme" for every use of it')
    given.add_argument("--risk", required=True, choices=RISKS)
    given.add_argument("--project", default="", metavar="LABEL", help="the one project it is for; needed by whatever lowers a risk")
    given.add_argument("--recipe", default="", metavar="sha256:…", help="the program's file, as `ony explain` prints it")
    gone = _verb(below, "remove", "take a rule away; asks an approver's six-digit code", _remove_rule)
    gone.add_argument("id", help="as `list` shows it")
    for verb in (given, gone):
        verb.add_argument("--email", default="", help="who confirms it (default: the only user)")


# ---------------------------------------------------------------- the verbs


def _init(args: argparse.Namespace) -> None:
    made = admin.initialise(args.folder, args.org, args.email, _password(args), SystemClock())
    if args.json:
        return print(json.dumps(made))
    print(f"A server for {args.org} stands in {args.folder}; its administrator is {args.email}.")
    print(f"\nVerification key of the audit log, shown this once; keep it on another machine:\n\n  {made['verification_key']}\n")
    return print(f"Next: `ony serve --data {args.folder}`, then `ony admin phone`.")


def _password(args: argparse.Namespace) -> str:
    if args.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for a password", "pass it on standard input with --password-stdin")
    password = getpass.getpass("Password for the administrator (at least 12 characters): ")
    if getpass.getpass("Again: ") != password:
        raise UsageError("the two passwords differ", "try again")
    return password


def _phone(args: argparse.Namespace) -> None:
    made = _confirmed(args, "/admin/phone", {"email": args.email, "number": args.number, "verified": args.verified})
    if args.json:
        return print(json.dumps(made))
    print(f"Phone {args.number} is enrolled as {made['device_id']}.")
    if made["totp_secret"] is None:
        return print("This user has an approval secret already; the same authenticator entry serves every phone.")
    print("\nAdd this to an authenticator app on the phone; it is shown this once:\n")
    print(f"  secret  {made['totp_secret']}\n  {made['otpauth_uri']}\n")
    if sys.stdout.isatty():
        import segno

        segno.make(made["otpauth_uri"]).terminal(compact=True)
    return print("Next: `ony admin enroll-code`, then `ony enroll` on the agent's machine.")


def _enroll_code(args: argparse.Namespace) -> None:
    made = ask(args.folder, "POST", "/admin/enroll-code", {"email": args.email})
    if args.json:
        return print(json.dumps(made))
    return print(f"{made['code']}\n\nGood for one `ony enroll`, until {made['expires_at']}.")


def _enroll_approve(args: argparse.Namespace) -> None:
    made = ask(args.folder, "POST", "/admin/enroll-approve", {"email": args.email, "code": args.code})
    print(json.dumps(made) if args.json else f"Approved: the machine that shows it is in, if it asks before {made['expires_at']}.")


def _thaw(args: argparse.Namespace) -> None:
    said = ask(args.folder, "POST", "/admin/thaw", {"email": args.email, "code": code_from_owner()})
    print(json.dumps(said) if args.json else "Thawed: held calls ring again.")


def _status(args: argparse.Namespace) -> None:
    said = ask(args.folder, "GET", "/admin/status")
    if args.json:
        return print(json.dumps(said))
    writes = f"Writes are refused: {said['latched']}." if said["latched"] else "The database can be written."
    return print(f"{said['waiting']} waiting. {writes}")


def _devices(args: argparse.Namespace) -> None:
    rows = ask(args.folder, "GET", "/admin/devices")["devices"]
    names = ("device_id", "user_id", "kind", "label", "state", "created_at")
    _table(args, rows, names, "No phone is enrolled: `ony admin phone` adds one.")


def _connectors(args: argparse.Namespace) -> None:
    rows = ask(args.folder, "GET", "/admin/connectors")["connectors"]
    names = ("connector_id", "user_id", "name", "state", "seen_at")
    _table(args, rows, names, "No machine is enrolled: `ony admin enroll-code` begins it.")


def _users(args: argparse.Namespace) -> None:
    rows = ask(args.folder, "GET", "/admin/users")["users"]
    _table(args, rows, ("user_id", "email", "name", "role", "state"), "Nobody is in.")


def _invite(args: argparse.Namespace) -> None:
    _code_shown(args, _confirmed(args, "/admin/users/invite", {"email": args.email, "role": args.role, "org": args.org}))


def _change_user(args: argparse.Namespace) -> None:
    _insist_on_id(args.id, "user", "user")
    path = f"/admin/users/{args.id}/{args.what}"
    if args.what == "disable":
        said = ask(args.folder, "POST", path, {})
    else:
        said = _confirmed(args, path, {"role": args.role} if args.what == "role" else {})
    if args.what == "reset":
        return _code_shown(args, said)
    return print(json.dumps(said) if args.json else f"Done: {args.what} {args.id}.")


def _code_shown(args: argparse.Namespace, said: dict[str, Any]) -> None:
    if args.json:
        return print(json.dumps(said))
    print(f"{said['code']}\n\nFor {said['email']}, until {said['expires_at']}; it is shown this once. Carry it to them yourself.")
    return None


def _rules(args: argparse.Namespace) -> None:
    rows = ask(args.folder, "GET", "/admin/policy")["rules"]
    _table(args, rows, ("id", "project", "match", "risk", "recipe"), "No rules of your own: the taxonomy decides alone.")


def _set_rule(args: argparse.Namespace) -> None:
    wish = {name: getattr(args, name) for name in ("email", "match", "project", "risk", "recipe")}
    said = ask(args.folder, "POST", "/admin/policy", {**wish, "code": code_from_owner()})
    if args.json:
        return print(json.dumps(said))
    where = f" in project {said['project']}" if said["project"] else ""
    return print(f"{said['id']}: {said['match']} is {said['risk']}{where}, from the connectors' next exchange on.")


def _remove_rule(args: argparse.Namespace) -> None:
    _insist_on_id(args.id, "rule", "policy")
    said = ask(args.folder, "POST", f"/admin/policy/{args.id}/remove", {"email": args.email, "code": code_from_owner()})
    print(json.dumps(said) if args.json else f"Removed: {said['match']} ({said['risk']}).")


def _confirmed(args: argparse.Namespace, path: str, wish: dict[str, Any]) -> dict[str, Any]:
    """Asked without a code first: before there is an approver, nobody could give one."""
    try:
        return ask(args.folder, "POST", path, wish)
    except Refused as refused:
        if refused.reason != "code_needed":
            raise
    return ask(args.folder, "POST", path, {**wish, "by": args.by, "code": code_from_owner()})


def _insist_on_id(text: str, what: str, verb: str) -> None:
    if not text.replace("_", "").isalnum() or not text.isascii():
        raise UsageError(f"that is not the id of a {what}", f"`ony admin {verb} list` shows them")


def _revoke(args: argparse.Namespace) -> None:
    _insist_on_id(args.id, args.verb, args.verb)
    said = ask(args.folder, "POST", f"/admin/{args.verb}s/{args.id}/revoke", {})
    print(json.dumps(said) if args.json else f"Revoked: {said['revoked']}.")


def _table(args: argparse.Namespace, rows: list[dict[str, Any]], names: tuple[str, ...], empty: str) -> None:
    if args.json:
        return print(json.dumps(rows))
    if not rows:
        return print(empty)
    texts = [names, *([str(row[name] or "-") for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for line in texts:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return None


# ---------------------------------------------------------------- the socket


class Local(http.client.HTTPConnection):
    """HTTP over the server's own socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


def ask(folder: Path, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One question to the running server. OnyError where there is none, Refused where it says no."""
    link = Local(folder / app.SOCKET)
    data = None if body is None else canon.dumps(body)
    try:
        link.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        response = link.getresponse()
        status, said = response.status, canon.loads(response.read())
    except PermissionError:
        raise OnyError(f"the server in {folder} belongs to another user", "run this as that user") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise OnyError(f"no server runs on {folder}", f"start it: `ony serve --data {folder}`") from None
    except (OSError, http.client.HTTPException, Malformed) as error:
        raise OnyError(f"the server in {folder} gave no usable answer ({type(error).__name__})", "look at its log") from None
    finally:
        link.close()
    if not isinstance(said, dict):
        raise OnyError(f"the server in {folder} gave no usable answer", "look at its log")
    if not 200 <= status < 300:
        raise Refused(str(said["error"]["code"]), str(said["error"]["message"]), str(said["error"]["hint"]))
    return said
