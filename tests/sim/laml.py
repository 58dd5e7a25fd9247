"""A telephone provider on loopback: the Compatibility REST surface, calls that live in threads, signed webhooks, and faults on order.

Written from the vendors' documentation (SignalWire Compatibility API, Twilio), apart from the code under test: it has its own signature,
its own cXML rules and its own idea of what a valid request is.
"""

from __future__ import annotations

import base64
import json
import queue
import re
import threading
import uuid
from collections import deque
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.sim.call import PATIENCE_S, TERMINAL, Call, Pairs, RealTime, Time, Webhook, post, sign
from tests.sim.phone import Phone

EVENTS = {"initiated", "ringing", "answered", "completed", "ringing_forwarded", "ringing_queued"}
E164 = re.compile(r"\+[1-9]\d{6,14}\Z")
CALLS = re.compile(r"(?:/api/laml)?/2010-04-01/Accounts/([^/]+)/Calls(?:/([^/.]+))?(?:\.json)?\Z")
CREATE_FAULTS: dict[str, tuple[int, Any]] = {
    "500": (500, {"code": 20001, "message": "internal", "status": 500}),
    "503": (503, {}),
    "504": (504, {}),
    "429": (429, {"code": 20429, "message": "too many", "status": 429}),
    "queue": (400, {"code": 21611, "message": "the queue is full", "status": 400}),
    "balance": (400, {"code": "4001", "message": "balance", "status": 400}),
    "price": (400, {"errors": [{"code": "30010", "message": "price"}]}),
    "text_error": (400, {"errors": ["something"]}),
    "not_json": (200, None),
}


@dataclass
class Delivery:
    """How status callbacks travel: apart from the call, at least once, as badly as ordered. lose: CallStatus words that never arrive."""

    provider: Provider
    twice: bool = False
    backwards: bool = False
    lose: frozenset[str] = frozenset()
    _waiting: queue.Queue[tuple[Call, list[tuple[str, str]]] | None] = field(default_factory=queue.Queue)
    _held: dict[str, list[tuple[Call, list[tuple[str, str]]]]] = field(default_factory=dict)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._waiting.put(None)
        self._thread.join(PATIENCE_S)

    def add(self, call: Call, pairs: list[tuple[str, str]]) -> None:
        if dict(pairs)["CallStatus"] in self.lose:
            return
        if self.backwards:
            self._held.setdefault(call.sid, []).append((call, pairs))
        else:
            self._queue(call, pairs)

    def finish(self, call: Call) -> None:
        for item in reversed(self._held.pop(call.sid, [])):
            self._queue(*item)

    def _queue(self, call: Call, pairs: list[tuple[str, str]]) -> None:
        for _ in range(2 if self.twice else 1):
            self._waiting.put((call, pairs))

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            call, pairs = item
            url = call.get("StatusCallback")
            for _ in range(3):
                signature = sign(self.provider.signing_key, url, pairs)
                status = post(url, pairs, signature)[0]
                call.callbacks.append(Webhook(url, tuple(pairs), signature, status))
                if 200 <= status < 300:
                    break
            self._waiting.task_done()

    def settle(self) -> None:
        self._waiting.join()


class Provider:
    """`with Provider(...) as provider:` then `provider.base_url`; `provider.check()` at the end of each test.

    time: RealTime or VirtualTime. owned: numbers that may stand in From. price: what a minute costs, in USD.
    """

    def __init__(
        self,
        *,
        account: str = "6bfbbe86-a901-4197-8759-2a0de1fa319d",
        token: str = "PT" + "0" * 30,
        signing_key: str = "PSK_simulated",
        owned: tuple[str, ...] = ("+15550100000",),
        time: Time | None = None,
        price: float = 0.02,
        twilio_sids: bool = False,
    ) -> None:
        self.account, self.token, self.signing_key, self.owned, self.price = account, token, signing_key, owned, price
        self.time: Time = time or RealTime()
        self.twilio_sids = twilio_sids
        self.expected: list[Phone] = []
        self.unexpected: list[str] = []
        self.errors: list[str] = []
        self.calls: dict[str, Call] = {}
        self.requests: list[tuple[str, str, list[tuple[str, str]]]] = []
        self.faults: deque[str] = deque()
        self.delivery = Delivery(self)
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._placed = threading.Condition(self._lock)
        self.patience_s = 10.0  # real seconds an expected call may take to come
        self._stopping = threading.Event()

    def __enter__(self) -> Provider:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.delivery.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for call in self.calls.values():
            call.over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self.delivery.stop()
        self._server.shutdown()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/api/laml/2010-04-01"

    def expect_call(self, to: str = "", contains: str = "") -> Phone:
        phone = Phone(to, contains)
        self.expected.append(phone)
        return phone

    def next_create(self, fault: str) -> None:
        """A key of CREATE_FAULTS, "cut" (closed unanswered, no call) or "timeout_after_accept" (rings, the create is never answered)."""
        self.faults.append(fault)

    def join(self) -> None:
        """Until every expected call has come, every call is over, and every status callback was delivered."""
        with self._placed:
            self._placed.wait_for(lambda: all(phone.call for phone in self.expected), self.patience_s)
            threads = list(self._threads)
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a simulated call did not end"
        self.delivery.settle()

    def check(self) -> None:
        """Everything that was expected happened, and nothing else rang."""
        self.join()
        assert not self.unexpected, f"unexpected calls: {self.unexpected}"
        assert not self.errors, f"protocol errors: {self.errors}"
        for phone in self.expected:
            assert phone.call is not None, f"an expected call never came: {phone.to or 'anybody'}"
            assert not phone.unmet(), f"the call ended before: {phone.unmet()}; heard: {phone.heard}"
        self.expected.clear()

    # ---------------------------------------------------------------- REST

    def answer(self, method: str, path: str, authorization: str, pairs: Pairs) -> tuple[int, Any] | None:
        """(status, JSON) of one request; None: the connection is closed without an answer."""
        self.requests.append((method, path, list(pairs)))
        wanted = "Basic " + base64.b64encode(f"{self.account}:{self.token}".encode()).decode()
        match = CALLS.match(path)
        if authorization != wanted or (match and match[1] != self.account):
            return _error(401, 20003, "Authenticate")
        if not match:
            return _error(404, 20404, "not found")
        if match[2]:
            return self._one(method, match[2], dict(pairs))
        if method == "POST":
            return self._create(list(pairs))
        wanted_to = dict(pairs).get("To", "")
        listed = [_resource(call) for call in self.calls.values() if wanted_to in ("", call.get("To"))]
        return (200, {"calls": listed, "page": 0, "page_size": 50}) if method == "GET" else _error(405, 20004, "method")

    def _create(self, pairs: list[tuple[str, str]]) -> tuple[int, Any] | None:
        fault = self.faults.popleft() if self.faults else ""
        if fault in CREATE_FAULTS:
            return CREATE_FAULTS[fault]
        if fault == "cut":
            return None
        wrong = self._invalid(dict(pairs), [value for name, value in pairs if name == "StatusCallbackEvent"])
        if wrong:
            return wrong
        queued = self._place(pairs)
        if fault == "timeout_after_accept":
            self._stopping.wait(PATIENCE_S)
            return None
        return 201, queued

    def _invalid(self, given: dict[str, str], events: list[str]) -> tuple[int, Any] | None:
        to, caller = given.get("To", ""), given.get("From", "")
        ring = given.get("Timeout", "60")
        rules = (
            (not to, 21201), (not (E164.match(to) or to.startswith("sip:")), 21211), (not caller, 21213), (not E164.match(caller), 21212),
            (caller not in self.owned, 21210), (not given.get("Url"), 21205), (not _is_url(given.get("Url", "")), 21402),
            (bool(given.get("StatusCallback")) and not _is_url(given["StatusCallback"]), 21402), (not set(events) <= EVENTS, 21402),
            (not (ring.isdecimal() and 1 <= int(ring) <= 600), 21208),
            (any(given.get(m, "POST") not in ("GET", "POST") for m in ("Method", "StatusCallbackMethod")), 21209),
        )  # fmt: skip
        for broken, code in rules:
            if broken:
                return _error(422 if code in (21205, 21402) else 400, code, "invalid")
        cap = given.get("MaxPricePerMinute", "")
        if cap and (not re.fullmatch(r"\d+\.?\d{0,4}", cap) or float(cap) < self.price):
            return CREATE_FAULTS["price"]
        return None

    def _place(self, pairs: list[tuple[str, str]]) -> dict[str, Any]:
        sid = "CA" + uuid.uuid4().hex if self.twilio_sids else str(uuid.uuid4())
        to = dict(pairs)["To"]
        with self._lock:
            phone = next((p for p in self.expected if p.call is None and p.to in ("", to)), None)
            if phone is None:
                self.unexpected.append(to)
                phone = Phone(to)
            call = phone.call = Call(self, phone, sid, pairs)
            self.calls[sid] = call
            queued = _resource(call)
            thread = threading.Thread(target=call.run, daemon=True)
            thread.start()
            self._threads.append(thread)
            self._placed.notify_all()
        return queued

    def _one(self, method: str, sid: str, given: dict[str, str]) -> tuple[int, Any] | None:
        call = self.calls.get(sid)
        if call is None:
            return _error(404, 20404, "not found")
        if method == "POST":
            code = call.update(given["Status"]) if "Status" in given else "21220"
            return _error(400, int(code), "wrong state") if code else (200, _resource(call))
        if method == "DELETE":
            if call.status not in TERMINAL:
                return _error(400, 20009, "call is not finished")
            del self.calls[sid]
            return 204, None
        return 200, _resource(call)


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve(parse_qsl(urlsplit(self.path).query))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self._serve(parse_qsl(body.decode(), keep_blank_values=True))

        def do_DELETE(self) -> None:
            self._serve([])

        def _serve(self, pairs: Pairs) -> None:
            answer = provider.answer(self.command, urlsplit(self.path).path, self.headers.get("Authorization", ""), pairs)
            if answer is None:
                self.close_connection = True
                self.connection.close()
                return
            status, value = answer
            body = b"" if status == 204 else b"<html>" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _resource(call: Call) -> dict[str, Any]:
    now = formatdate()
    account = call.provider.account
    given = {"sid": call.sid, "account_sid": account, "to": call.get("To"), "from": call.get("From"), "status": call.status}
    times = {"date_created": now, "date_updated": now, "start_time": now, "end_time": None, "duration": 0}
    rest = {"parent_call_sid": None, "phone_number_sid": None, "price": None, "price_unit": "USD", "answered_by": None}
    links = {"uri": f"/api/laml/2010-04-01/Accounts/{account}/Calls/{call.sid}", "subresource_uris": {}, "api_version": "2010-04-01"}
    return {**given, **times, **rest, **links, "direction": "outbound-api"}


def _error(status: int, code: int, message: str) -> tuple[int, Any]:
    return status, {"code": code, "message": message, "more_info": "", "status": status}


def _is_url(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname)
