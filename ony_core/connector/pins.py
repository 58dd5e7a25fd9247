"""The server's keys that this connector believes: those of its enrolment, and whatever they were replaced by.

MUST: learn a new key only from a statement that a key believed now and the new key itself have both signed (design: key rotation).
MUST: believe the old key for seven days more, by the statement's own time, and not after.
MUST: keep what was learnt on disk before it is used. MUST NOT: believe a key because a bundle or an answer names it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ony_core import canon
from ony_core.clock import rfc3339, seconds_of
from ony_core.connector import home
from ony_core.connector.statement import verifier
from ony_core.errors import Malformed, OnyError

FILE = "server-keys.json"
OVERLAP_S = 7 * 24 * 3600
MOST = 100  # statements looked at
_FIELDS = {"v", "type", "purpose", "old", "new", "issued_at"}
_ENVELOPE = {"payload", "old_signature", "new_signature"}


@dataclass(frozen=True, slots=True)
class Pin:
    """until: UTC seconds, 0 = no end."""

    purpose: str
    key: bytes
    until: int = 0


class Pins:
    """first: purpose ("verdict", "audit") -> the key of the enrolment. wall: UTC seconds now."""

    def __init__(self, folder: Path, first: dict[str, bytes], wall: Callable[[], int]) -> None:
        self._path, self._wall = folder / FILE, wall
        self._pins = _read(self._path) or tuple(Pin(purpose, key) for purpose, key in first.items())

    def verify(self, purpose: str, signature: bytes, message: bytes) -> bool:
        now = self._wall()
        good = (pin for pin in self._pins if pin.purpose == purpose and (not pin.until or now < pin.until))
        return any(verifier(pin.key)(signature, message) for pin in good)

    def verify_kept(self, signature: bytes, message: bytes) -> bool:
        """For the bundle on disk, which was checked when it came: by any key that was ever believed."""
        return any(verifier(pin.key)(signature, message) for pin in self._pins if pin.purpose == "verdict")

    def learn(self, statements: Any) -> bool:
        """Whether something new is believed. What does not hold is passed over: then nothing that needs it will verify either."""
        pins = self._pins
        for signed in statements[:MOST] if isinstance(statements, list) else ():
            pins = self._after(pins, signed)
        if pins == self._pins:
            return False
        home.write(self._path, canon.dumps([{"purpose": p.purpose, "key": p.key.hex(), "until": rfc3339(p.until) if p.until else None}
                                            for p in pins]) + b"\n")  # fmt: skip
        self._pins = pins
        return True

    def _after(self, pins: tuple[Pin, ...], signed: Any) -> tuple[Pin, ...]:
        try:
            purpose, old, new, issued = _opened(signed)
        except (Malformed, ValueError, KeyError, TypeError, AttributeError):
            return pins
        mine = next((pin for pin in pins if (pin.purpose, pin.key) == (purpose, old)), None)
        known = any((pin.purpose, pin.key) == (purpose, new) for pin in pins)
        if mine is None or known or (mine.until and self._wall() >= mine.until):
            return pins
        return (*(pin for pin in pins if pin != mine), Pin(purpose, old, issued + OVERLAP_S), Pin(purpose, new))


def _opened(signed: Any) -> tuple[str, bytes, bytes, int]:
    """(purpose, old key, new key, UTC seconds) of a statement that both keys have signed."""
    if set(signed) != _ENVELOPE:
        raise Malformed("not a statement")
    data = signed["payload"].encode("ascii")
    body = canon.loads(data)
    if set(body) != _FIELDS or body["v"] != 1 or body["type"] != "server_key" or body["purpose"] not in ("verdict", "audit"):
        raise Malformed("not a statement about a server key")
    old, new = _key(body["old"]), _key(body["new"])
    message = b"ony/server_key/v1\n" + data
    for key, name in ((old, "old_signature"), (new, "new_signature")):
        scheme, _, text = signed[name].partition(":")
        if scheme != "ed25519" or not verifier(key)(bytes.fromhex(text), message):
            raise Malformed("a signature does not hold")
    return body["purpose"], old, new, seconds_of(body["issued_at"])


def _key(text: str) -> bytes:
    scheme, _, rest = text.partition(":")
    key = bytes.fromhex(rest)
    if scheme != "ed25519" or len(key) != 32:
        raise Malformed("not a key")
    return key


def _read(path: Path) -> tuple[Pin, ...]:
    """OnyError where the file is damaged: a pin is never treated as none."""
    try:
        data = home.read(path)
    except FileNotFoundError:
        return ()
    try:
        return tuple(Pin(row["purpose"], bytes.fromhex(row["key"]), seconds_of(row["until"]) if row["until"] else 0)
                     for row in canon.loads(data))  # fmt: skip
    except (Malformed, ValueError, KeyError, TypeError):
        raise OnyError(f"{FILE} is damaged", "enroll again with `ony enroll URL --replace`") from None
