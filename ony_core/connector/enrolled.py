"""connector.json: what this machine learnt at enrolment, once, and believes from then on: the server's keys and the pinned approvers.

MUST refuse a server whose key does not match the fingerprint inside the one-time code BEFORE anything is stored: the code came from the
owner's hands, the answer came over a network. MUST keep `digest_key` and `alias_key` on this machine.
"""

import base64
import hmac
import re
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from ony_core import canon
from ony_core.clock import Clock, rfc3339
from ony_core.connector import home
from ony_core.connector.link import Link
from ony_core.errors import Malformed, OnyError, Refused
from ony_core.handoff import ID
from ony_core.model import Approver

FILE = "connector.json"
AUTHORITY = "server-ca.pem"  # only for a server with a certificate authority of its own
_CODE = re.compile(r"ONY([A-Z2-7]{16})([A-Z2-7]{16})\Z", re.ASCII)
_KEY = re.compile(r"ed25519:([0-9a-f]{64})\Z", re.ASCII)
_HEX32 = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
_ORIGIN = re.compile(r"ony/[A-Za-z0-9_]{1,64}/org_[0-9a-f]{32}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The file's content. Keys: 32 bytes each."""

    url: str
    name: str
    connector_id: str
    org_id: str
    user_id: str
    token: str = field(repr=False)
    server_key: bytes
    audit_key: bytes
    origin: str
    approvers: tuple[Approver, ...]
    digest_key: bytes = field(repr=False)
    alias_key: bytes = field(repr=False)


def fingerprint_in(code: str) -> bytes:
    """The first 80 bits of SHA-256(server key) that the one-time code carries. OnyError for anything that is not such a code."""
    found = _CODE.match(re.sub(r"[\s-]", "", code).upper())
    if not found:
        raise OnyError("that is not a one-time code", "copy the whole line that `ony admin enroll-code` printed, beginning with ony-")
    return base64.b32decode(found[2])


def own_code(answer: Any, clock: Clock) -> str:
    """A one-time code of this machine's making, for the key the server shows here. Whoever approves it at the real server, which knows its
    own key, thereby finds out whether somebody was in between.
    """
    key = _key(answer.get("server_key") if isinstance(answer, dict) else None)
    text = base64.b32encode(clock.random(10)).decode("ascii") + base64.b32encode(sha256(key).digest()[:10]).decode("ascii")
    return "ony-" + "-".join(text[i : i + 4] for i in range(0, len(text), 4))


def accept(answer: Any, code: str, url: str, name: str, clock: Clock) -> Enrolled:
    """The enrolment that the server's answer offers. Refused("wrong_server") where the key is not the one the code vouches for."""
    if not isinstance(answer, dict):
        raise Malformed("the server's answer is not an object")
    key = _key(answer.get("server_key"))
    if not hmac.compare_digest(sha256(key).digest()[:10], fingerprint_in(code)):
        raise Refused("wrong_server", "the server's key does not match the one-time code", "someone may be in between: nothing was stored")
    return Enrolled(
        url=url, name=name, connector_id=_id(answer, "connector_id", "con_"), org_id=_id(answer, "org_id", "org_"),
        user_id=_id(answer, "user_id", "usr_"), token=_token(answer.get("token")), server_key=key, audit_key=_key(answer.get("audit_key")),
        origin=_origin(answer.get("origin")), approvers=_approvers(answer.get("approvers")),
        digest_key=clock.random(32), alias_key=clock.random(32),
    )  # fmt: skip


def link(folder: Path, enrolled: Enrolled) -> Link:
    """The line to the server of this enrolment, believing its own authority where one was named."""
    own = folder / AUTHORITY
    return Link(enrolled.url, enrolled.token, own if own.exists() else None)


def save(folder: Path, enrolled: Enrolled, clock: Clock) -> None:
    body = {
        "v": 1, "url": enrolled.url, "name": enrolled.name, "connector_id": enrolled.connector_id, "org_id": enrolled.org_id,
        "user_id": enrolled.user_id, "token": enrolled.token, "server_key": "ed25519:" + enrolled.server_key.hex(),
        "audit_key": "ed25519:" + enrolled.audit_key.hex(), "origin": enrolled.origin,
        "approvers": [{"device_id": a.device_id, "label": a.label, "state": a.state, "key": a.key.hex()} for a in enrolled.approvers],
        "digest_key": enrolled.digest_key.hex(), "alias_key": enrolled.alias_key.hex(), "enrolled_at": rfc3339(clock.wall()),
    }  # fmt: skip
    home.write(folder / FILE, canon.dumps(body) + b"\n")


def load(folder: Path) -> Enrolled:
    """OnyError where this machine is not enrolled, or the file is not what `save` wrote."""
    try:
        data = home.read(folder / FILE)
    except FileNotFoundError:
        raise OnyError("this machine is not enrolled", "run `ony enroll URL` with a one-time code of `ony admin enroll-code`") from None
    try:
        body = canon.loads(data)
        if not isinstance(body, dict) or body.get("v") != 1:
            raise Malformed("unknown version")
        return Enrolled(
            url=_str(body["url"]), name=_str(body["name"]), connector_id=_id(body, "connector_id", "con_"),
            org_id=_id(body, "org_id", "org_"), user_id=_id(body, "user_id", "usr_"), token=_token(body["token"]),
            server_key=_key(body["server_key"]), audit_key=_key(body["audit_key"]), origin=_origin(body["origin"]),
            approvers=_approvers(body["approvers"]), digest_key=_hex32(body["digest_key"]), alias_key=_hex32(body["alias_key"]),
        )  # fmt: skip
    except (Malformed, KeyError) as error:
        raise OnyError(f"{FILE} is damaged ({error})", "enroll again with `ony enroll URL --replace`") from None


def _approvers(value: Any) -> tuple[Approver, ...]:
    if not isinstance(value, list) or len(value) > 1000:
        raise Malformed("approvers are not a list")
    found = tuple(_approver(item) for item in value)
    if len({a.device_id for a in found}) != len(found):
        raise Malformed("an approver is listed twice")
    return found


def _approver(value: Any) -> Approver:
    if not isinstance(value, dict):
        raise Malformed("an approver is not an object")
    return Approver(_id(value, "device_id", "dev_"), _hex32(value.get("key")), _str(value.get("state")), _str(value.get("label"))[:80])


def _id(body: dict[str, Any], name: str, prefix: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not ID.match(value) or not value.startswith(prefix):
        raise Malformed(f"{name} is not an id")
    return value


def _token(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._~+/=-]{20,512}", value, re.ASCII):
        raise Malformed("the token is not a token")
    return value


def _origin(value: Any) -> str:
    if not isinstance(value, str) or not _ORIGIN.match(value):
        raise Malformed("the origin of the log is not well formed")
    return value


def _key(value: Any) -> bytes:
    found = _KEY.match(value) if isinstance(value, str) else None
    if not found:
        raise Malformed("a server key is not ed25519:<hex>")
    return bytes.fromhex(found[1])


def _hex32(value: Any) -> bytes:
    if not isinstance(value, str) or not _HEX32.match(value):
        raise Malformed("a key is not 32 bytes of hex")
    return bytes.fromhex(value)


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise Malformed("a text field is not a text")
    return value
