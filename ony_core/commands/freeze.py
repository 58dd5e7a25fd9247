"""`ony freeze`: the owner's password, or a recovery code, alone stops a whole organisation, from any machine that reaches
the server. It approves nothing.

MUST NOT take the password from the command line, where others can read it.
"""

import argparse
import getpass
import sys
from pathlib import Path

from ony_core import canon
from ony_core.connector.link import Link
from ony_core.errors import UsageError

HELP = "deny everything at once with your password: what waits, what was approved and has not run, and all that comes"
EXAMPLE = "ony freeze https://ony.example.com --email you@example.com"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="the server's address")
    parser.add_argument("--email", required=True, help="your account")
    parser.add_argument("--ca", metavar="FILE", help="the authority's certificate of a server started with --tls-local")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    link = Link(args.url, authority=Path(args.ca).resolve() if args.ca else None)
    body = canon.dumps({"email": args.email, "password": _password()})
    said = link.call("POST", "/v1/freeze", body, timeout_s=30).body
    if args.json:
        print(canon.dumps(said).decode("ascii"))
        return 0
    print(f"Frozen. {said['stopped']} stopped; nothing runs until `ony admin thaw` on the server, with an approver's code.")
    return 0


def _password() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Password, or a recovery code: ")
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise UsageError("no password was given", "type it, or pass it on standard input")
    return line
