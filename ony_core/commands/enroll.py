"""`ony enroll URL`: trade a one-time code for a place at a server. Nothing is stored before the server has proven its name."""

import argparse
import getpass
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any

from ony_core import __version__, canon
from ony_core.clock import SystemClock
from ony_core.connector import assurance, bundle, control, enrolled, home, pins, statement
from ony_core.connector.link import Link, Problem
from ony_core.errors import Malformed, OnyError

HELP = "connect this machine to a server with a one-time code"
EXAMPLE = """ony enroll https://ony.example.com --name laptop
asks for the one-time code that `ony admin enroll-code` printed on the server
ony enroll https://ony.example.com --show-code
shows a code instead, which somebody approves in a session or with `ony admin enroll-approve`"""

WAIT_S, EACH_S = 10 * 60, 2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}\Z", re.ASCII)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", help="the server's address; http:// on this machine only")
    parser.add_argument("--code", help="the one-time code; without it, it is asked for or read from stdin")
    parser.add_argument("--show-code", action="store_true", help="show a code that somebody approves at the server, and wait for that")
    parser.add_argument("--name", default="", help="what the owner will see this machine called")
    parser.add_argument("--ca", metavar="FILE", help="the authority's certificate of a server started with --tls-local (its tls/ca.pem)")
    parser.add_argument("--replace", action="store_true", help="forget an earlier enrolment of this machine")


def run(args: argparse.Namespace) -> int:
    clock, folder = SystemClock(), home.opened(make=True)
    authority = Path(args.ca).resolve() if args.ca else None
    link = Link(args.url, authority=authority)
    if (folder / enrolled.FILE).exists() and not args.replace:
        raise OnyError("this machine is enrolled already", "use --replace to forget that enrolment")
    if control.running(folder):
        raise OnyError("the daemon is running", "run `ony daemon stop` first")
    given = "" if args.show_code else (args.code or _asked()).strip()
    code = given or enrolled.own_code(link.call("GET", "/v1/server-key").body, clock)
    enrolled.fingerprint_in(code)
    body = canon.dumps({"code": code, "name": _name(args.name), "version": __version__, "protocol": 1})
    answer = link.call("POST", "/v1/enroll", body, timeout_s=20).body if given else _approved(link, code, body)
    accepted = enrolled.accept(answer, code, args.url.rstrip("/"), _name(args.name), clock)
    signed = answer.get("bundle")
    first = bundle.check(signed, accepted, statement.verifier(accepted.server_key), None)
    (folder / bundle.FILE).unlink(missing_ok=True)
    (folder / pins.FILE).unlink(missing_ok=True)
    (folder / enrolled.AUTHORITY).unlink(missing_ok=True)
    if authority:
        home.write(folder / enrolled.AUTHORITY, authority.read_bytes())
    bundle.keep(folder, signed)
    enrolled.save(folder, accepted, clock)
    active = [a for a in first.approvers(accepted.approvers).values() if a.state == "active"]
    print(f"Enrolled at {accepted.url} as {accepted.name or accepted.connector_id}. Decisions count from: {_labels(active)}.")
    print("Next: `ony daemon start`, then `ony install claude --user`.")
    print(assurance.sentence(folder))
    return 0


def _asked() -> str:
    """ "" on a terminal: be shown one instead."""
    if sys.stdin.isatty():
        return getpass.getpass("One-time code (or Enter, to be shown one that somebody approves): ")
    line = sys.stdin.readline()
    if not line.strip():
        raise OnyError("no one-time code was given", "pass it on stdin, or with --code, or use --show-code")
    return line


def _approved(link: Link, code: str, body: bytes) -> Any:
    """The answer to the enrolment, once somebody has approved the code that is shown here."""
    print(
        f"This machine's code:\n\n  {code}\n\nApprove it in your session, or on the server: `ony admin enroll-approve CODE`. Waiting.",
        flush=True,
    )
    for _ in range(WAIT_S // EACH_S):
        time.sleep(EACH_S)
        try:
            return link.call("POST", "/v1/enroll", body, timeout_s=20).body
        except Problem as problem:
            if problem.word != "bad_code":
                raise
    raise OnyError("nobody approved the code in time", "run this again for another one")


def _name(name: str) -> str:
    """The owner's word for this machine, else its host name as far as that is one."""
    if name and not _NAME.match(name):
        raise Malformed("a name is at most 40 letters, digits, spaces and ._- and begins with a letter or digit")
    host = re.sub(r"[^A-Za-z0-9-]", "", socket.gethostname().partition(".")[0])[:40].strip("-")
    return name or host or "connector"


def _labels(approvers: list) -> str:  # type: ignore[type-arg]
    return ", ".join(a.label or a.device_id for a in approvers) or "nobody yet (`ony admin phone` adds a phone; then enroll again)"
