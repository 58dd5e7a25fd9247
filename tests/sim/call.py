"""One simulated call, from queued to its end, in a thread of its own: real webhooks over real sockets, the provider's rules for cXML."""

from __future__ import annotations

import base64
import hmac
import http.client
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode, urljoin, urlsplit
from xml.etree import ElementTree

from tests.sim.phone import Phone

if TYPE_CHECKING:
    from tests.sim.laml import Provider

MAX_DOCUMENTS = 50
MAX_SAY = 4096
MAX_BODY = 64 * 1024
READ_S = 5.0  # SignalWire: 2 s to connect, 5 s to read
PATIENCE_S = 15.0  # real seconds before a call that waits for its end is given up
CHARS_PER_S = 15
TERMINAL = ("completed", "busy", "failed", "no-answer", "canceled")

Pairs = Sequence[tuple[str, str]]


class Time(Protocol):
    def wait(self, seconds: float, until: threading.Event) -> None: ...


class RealTime:
    """pace: real seconds per simulated one."""

    def __init__(self, pace: float = 1.0) -> None:
        self.pace = pace

    def wait(self, seconds: float, until: threading.Event) -> None:
        until.wait(seconds * self.pace)


class VirtualTime:
    """advance: moves the clock that the caller under test lives by; nothing sleeps."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self.advance = advance

    def wait(self, seconds: float, until: threading.Event) -> None:
        if not until.is_set():
            self.advance(seconds)


def sign(key: str, url: str, pairs: Pairs) -> str:
    """The provider's side of the signature, written apart from the code under test."""
    text = url
    for name in sorted({name for name, _ in pairs}):
        text += "".join(name + value for other, value in pairs if other == name)
    return base64.b64encode(hmac.new(key.encode(), text.encode(), "sha1").digest()).decode()


def post(url: str, pairs: Pairs, signature: str) -> tuple[int, str, bytes, str]:
    """(status, content type, body, location). Status 0: nobody answered."""
    parts = urlsplit(url)
    link = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=READ_S)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "simulated provider"}
    if signature:
        headers |= {"X-SignalWire-Signature": signature, "X-Twilio-Signature": signature}
    try:
        link.request("POST", parts.path + (f"?{parts.query}" if parts.query else ""), urlencode(pairs), headers)
        answer = link.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read(MAX_BODY + 1), answer.getheader("Location", "")
    except (OSError, http.client.HTTPException):
        return 0, "", b"", ""
    finally:
        link.close()


@dataclass
class Webhook:
    url: str
    pairs: tuple[tuple[str, str], ...]
    signature: str
    status: int


@dataclass
class Call:
    provider: Provider
    phone: Phone
    sid: str
    fields: list[tuple[str, str]]
    status: str = "queued"
    answered_at: bool = False
    heard: list[str] = field(default_factory=list)
    webhooks: list[Webhook] = field(default_factory=list)
    callbacks: list[Webhook] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    line: list[str] = field(default_factory=list)  # keys pressed and not yet taken
    _fresh: str = ""
    _events: list[tuple[int, str]] = field(default_factory=list)
    _sequence: int = 0
    _forgery: dict[str, Any] | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def get(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.fields if key == name), default)

    # ---------------------------------------------------------------- life

    def run(self) -> None:
        self._event("initiated")
        self._become("ringing")
        self._event("ringing")
        self._ring()
        if self.status == "in-progress":
            self._event("answered")
            self._talk()
            self._become("completed")
        self.over.set()
        self._event("completed")
        self.provider.delivery.finish(self)

    def _ring(self) -> None:
        phone, limit = self.phone, float(self.get("Timeout", "60"))
        if phone.picks_up == "keep_ringing":
            self.over.wait(PATIENCE_S)
            self._become("no-answer")
            return
        answers = phone.picks_up == "answer" and phone.after < limit
        rings = {"answer": min(phone.after, limit), "busy": 1.0, "failed": 1.0}.get(phone.picks_up, limit)
        self.provider.time.wait(rings, self.over)
        self._become("in-progress" if answers else "no-answer" if phone.picks_up == "answer" else phone.picks_up)

    def update(self, wanted: str) -> str:
        """What `Status=` of the REST resource does; the error code, or ""."""
        with self._lock:
            allowed = {"canceled": ("queued", "ringing"), "completed": ("in-progress",)}.get(wanted, ())
            if self.status not in allowed:
                return "10000"
            self.status = wanted
            self.over.set()
            return ""

    def _become(self, status: str) -> None:
        with self._lock:
            if self.status not in TERMINAL:
                self.status = status

    # ---------------------------------------------------------------- documents

    def _talk(self) -> None:
        url, digits = self.get("Url"), None
        for _ in range(MAX_DOCUMENTS):
            body = self._fetch(url, digits)
            if body is None or self.over.is_set():
                return
            after = self._play(body, url)
            if after is None or self.over.is_set():
                return
            url, digits = after
        self.provider.errors.append("a call never ended: more than 50 documents")

    def _fetch(self, url: str, digits: str | None) -> bytes | None:
        """The document at `url`, or at FallbackUrl; None ends the call."""
        pairs = self.params() + ([("Digits", digits)] if digits is not None else [])
        self._attack(url, pairs)
        for address in filter(None, (url, self.get("FallbackUrl"))):
            body = self._document(address, pairs)
            if body is not None:
                return body
        return None

    def _document(self, url: str, pairs: list[tuple[str, str]]) -> bytes | None:
        for _ in range(4):  # the address itself and three redirects
            status, kind, body, location = self._send(url, pairs)
            if 300 <= status < 400 and location:
                url, pairs = urljoin(url, location), [pair for pair in pairs if pair[0] != "Digits"]
                continue
            if 200 <= status < 300 and len(body) <= MAX_BODY and kind.split(";")[0] in ("application/xml", "text/xml"):
                return body
            return None
        return None

    def _send(self, url: str, pairs: list[tuple[str, str]]) -> tuple[int, str, bytes, str]:
        signature = sign(self.provider.signing_key, url, pairs)
        answer = post(url, pairs, signature)
        self.webhooks.append(Webhook(url, tuple(pairs), signature, answer[0]))
        return answer

    def params(self) -> list[tuple[str, str]]:
        return [("CallSid", self.sid), ("AccountSid", self.provider.account), ("ApiVersion", "2010-04-01"), ("CallStatus", self.status),
                ("Direction", "outbound-api"), ("From", self.get("From")), ("To", self.get("To"))]  # fmt: skip

    def _play(self, body: bytes, url: str) -> tuple[str, str | None] | None:
        """Run a document's verbs; where to go next with which digits, or None for the end."""
        try:
            root = ElementTree.fromstring(body)
        except ElementTree.ParseError:
            return self._bad("a document is not XML")
        if root.tag != "Response":
            return self._bad("a document's root is not Response")
        for verb in root:
            if self.over.is_set() or verb.tag in ("Hangup", "Reject"):
                return None
            if verb.tag == "Redirect":
                return urljoin(url, verb.text or ""), None
            if verb.tag == "Gather":
                digits = self._gather(verb)
                if digits or verb.get("actionOnEmptyResult") == "true":
                    return urljoin(url, verb.get("action", url)), digits
            else:
                self._voice(verb)
        return None

    def _gather(self, verb: ElementTree.Element) -> str:
        """Nested verbs are spoken until the first key; silence counts from their end; numDigits or finishOnKey completes it."""
        want, finish = int(verb.get("numDigits", "0")), verb.get("finishOnKey", "#")
        got, complete = self._take("", want, finish)
        for nested in verb:
            if got or complete or self.over.is_set():
                break
            self._voice(nested)
            got, complete = self._take(got, want, finish)
        while not complete and not self.over.is_set():
            if not self._act():
                self.provider.time.wait(float(verb.get("timeout", "5")), self.over)
                break
            got, complete = self._take(got, want, finish)
        return got

    def _take(self, got: str, want: int, finish: str) -> tuple[str, bool]:
        while self.line:
            key = self.line.pop(0)
            if finish and key in finish:
                return got, True
            got += key
            if want and len(got) == want:
                return got, True
        return got, False

    def _voice(self, verb: ElementTree.Element) -> None:
        if verb.tag == "Pause":
            self.provider.time.wait(float(verb.get("length", "1")), self.over)
        elif verb.tag == "Say":
            text = "".join(verb.itertext())
            if len(text) > MAX_SAY:
                self._bad("a Say is longer than 4096 characters")
            self.heard.append(text)
            self._fresh += " " + text
            if not self._act():
                self.provider.time.wait(len(text) / CHARS_PER_S, self.over)
        else:
            self._bad(f"unknown verb {verb.tag}")

    # ---------------------------------------------------------------- the person

    def _act(self) -> bool:
        """Let the person do what comes next; True once keys are in the line."""
        acts = self.phone.acts
        while acts and not self.over.is_set():
            kind, value = acts[0]
            if kind == "hears":
                if value not in self._fresh:
                    return False
                self._fresh = self._fresh.split(value, 1)[1]
            acts.popleft()
            if kind == "press":
                keys, gap = value
                self.provider.time.wait(gap, self.over)
                self.line.extend(keys() if callable(keys) else keys)
                return True
            self._do(kind, value)
        return False

    def _do(self, kind: str, value: Any) -> None:
        if kind == "wait":
            self.provider.time.wait(value, self.over)
        elif kind == "hang_up":
            self._become("completed")
            self.over.set()
        elif kind == "listen_on":
            self.over.wait(PATIENCE_S)
        elif kind == "meanwhile":
            value(self)
        elif kind == "forge":
            self._forgery = value
        elif kind == "replay":
            old = self.webhooks[value]
            self.phone.attacks.append(post(old.url, old.pairs, old.signature)[0])

    def _attack(self, url: str, pairs: list[tuple[str, str]]) -> None:
        forgery, self._forgery = self._forgery, None
        if forgery is None:
            return
        altered = [(name, forgery["fields"].get(name, value)) for name, value in pairs] + list(forgery["extra"])
        address = forgery["address"](url) if forgery["address"] else url
        signature = forgery["signature"]
        if signature is None:
            signature = sign(forgery["key"] or self.provider.signing_key, address, altered)
        self.phone.attacks.append(post(address, altered, signature)[0])

    # ---------------------------------------------------------------- status callbacks

    def _event(self, name: str) -> None:
        asked = [value for key, value in self.fields if key == "StatusCallbackEvent"] or ["completed"]
        if name not in asked or not self.get("StatusCallback"):
            return
        status = {"answered": "in-progress", "completed": self.status}.get(name, name)
        pairs = [pair for pair in self.params() if pair[0] != "CallStatus"]
        pairs += [("CallStatus", status), ("CallbackSource", "call-progress-events"), ("Timestamp", formatdate()),
                  ("SequenceNumber", str(self._sequence))]  # fmt: skip
        if name == "completed":
            pairs.append(("CallDuration", "1" if status == "completed" else "0"))
        self._sequence += 1
        self.provider.delivery.add(self, pairs)

    def _bad(self, what: str) -> None:
        self.provider.errors.append(what)
