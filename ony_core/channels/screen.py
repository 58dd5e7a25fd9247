"""The on-screen phone of `ony demo`: a telephone provider on loopback whose one phone is this terminal.

It speaks the same REST and cXML as SignalWire and signs its webhooks, so that the demo walks the very path of a real call.
MUST listen on loopback only, MUST check the account's credentials, MUST NOT show a code that it pressed by itself.
It belongs to the demo: `ony serve` never starts one.
"""

import base64
import http.client
import json
import select
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TextIO
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.etree import ElementTree  # see below # nosec B405

from ony_core.canon import same
from ony_core.channels import laml

SPEAKING_S = 1.2  # no key is sent sooner after a document: nobody answers before the words are out
READING_S = 60  # a reader needs longer than a listener; the provider's own silence limit is shorter
MAX_DOCUMENTS = 20
MAX_BODY = 64 * 1024
CODE = "code"


@dataclass
class _Call:
    sid: str
    fields: dict[str, str]
    events: tuple[str, ...]
    status: str = "queued"
    sequence: int = 0
    over: threading.Event = field(default_factory=threading.Event)


class ScreenPhone:
    """account, token, signing_key: what the server under demo is configured with. out: where the call is shown.

    keys: gives the next keys to press, "" for none, "code" for what `code` gives; None reads them from the terminal.
    """

    def __init__(
        self,
        account: str,
        token: str,
        signing_key: str,
        out: TextIO,
        keys: Callable[[], str] | None = None,
        code: Callable[[], str] | None = None,
    ) -> None:
        self._account, self._signing_key, self._out, self._keys, self._code = account, signing_key, out, keys, code
        self._authorization = "Basic " + base64.b64encode(f"{account}:{token}".encode()).decode("ascii")
        self._calls: dict[str, _Call] = {}
        self._line = threading.Lock()  # one phone, one call at a time
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    def start(self) -> str:
        """Begin to listen; the address for voice.base_url."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}/api/laml/2010-04-01"

    def stop(self) -> None:
        for call in list(self._calls.values()):
            call.over.set()
        self._server.shutdown()
        self._server.server_close()

    def rest(self, method: str, path: str, authorization: str, pairs: list[tuple[str, str]]) -> tuple[int, dict[str, Any]]:
        """One REST request: create a call, read one, end one. (status, JSON)."""
        root = f"/api/laml/2010-04-01/Accounts/{self._account}/Calls"
        if not same(authorization, self._authorization):
            return 401, {"code": 20003, "message": "Authenticate", "status": 401}
        given = dict(pairs)
        if path == root and method == "POST":
            return self._create(given, tuple(value for name, value in pairs if name == "StatusCallbackEvent"))
        call = self._calls.get(path.removeprefix(root + "/"))
        if call is None:
            return 404, {"code": 20404, "message": "not found", "status": 404}
        if method == "POST" and not _end(call, given.get("Status", "")):
            return 400, {"code": 10000, "message": "wrong state", "status": 400}
        return 200, {"sid": call.sid, "status": call.status}

    def _create(self, given: dict[str, str], events: tuple[str, ...]) -> tuple[int, dict[str, Any]]:
        for name, code in (("To", 21201), ("From", 21213), ("Url", 21205)):
            if not given.get(name):
                return 400, {"code": code, "message": f"{name} is missing", "status": 400}
        call = _Call(str(uuid.uuid4()), given, events)
        self._calls[call.sid] = call
        threading.Thread(target=self._ring, args=(call,), daemon=True).start()
        return 201, {"sid": call.sid, "status": call.status}

    def _ring(self, call: _Call) -> None:
        with self._line:
            for event in ("initiated", "ringing"):
                self._report(call, event, event)
            call.status = "ringing" if not call.over.is_set() else call.status
            number = call.fields["To"]
            self._show(f"* ring *  {number[:2]}•••{number[-4:]}, answered")
            if not call.over.wait(SPEAKING_S):
                call.status = "in-progress"
                self._report(call, "answered", call.status)
                self._talk(call)
            call.status = "canceled" if call.status == "ringing" else "completed" if call.status == "in-progress" else call.status
            self._show("* call over *")
        self._report(call, "completed", call.status)

    def _talk(self, call: _Call) -> None:
        url = call.fields["Url"]
        extra: dict[str, str] = {}
        for _ in range(MAX_DOCUMENTS):
            status, body = self._post(url, call, {"CallStatus": call.status, **extra})
            if call.over.is_set() or status != 200:
                return
            gather = self._speak(ElementTree.fromstring(body))  # noqa: S314 - the document of the server that this demo started itself # nosec B314
            if gather is None:
                return
            keys = self._press(call, int(gather.get("numDigits", "1")))
            if call.over.is_set():
                return
            url, extra = gather.get("action", url), {"Digits": keys}

    def _speak(self, root: ElementTree.Element) -> ElementTree.Element | None:
        """Show what is said up to the first prompt, and give that prompt."""
        for verb in root:
            for say in verb.iter("Say"):
                self._show(f"phone: {say.text}")
            if verb.tag == "Gather":
                return verb
        return None

    def _press(self, call: _Call, digits: int) -> str:
        began = time.monotonic()
        keys = self._typed(call) if self._keys is None else self._keys()
        shown = keys if digits == 1 else "•" * digits if self._keys else ""
        if keys == CODE and self._code is not None:
            keys = self._code()
        call.over.wait(max(0.0, SPEAKING_S - (time.monotonic() - began)))
        if shown and self._keys is not None:
            self._show(f"you press: {shown}")
        return "".join(key for key in keys if key in "0123456789*#")[:digits]

    def _typed(self, call: _Call) -> str:
        """A line from the terminal; "" once the call is over or nobody typed."""
        self._out.write("   you press: ")
        self._out.flush()
        give_up = time.monotonic() + READING_S
        while not call.over.is_set() and time.monotonic() < give_up:
            if select.select([sys.stdin], [], [], 0.2)[0]:
                return sys.stdin.readline().strip()
        self._out.write("\n")
        return ""

    def _report(self, call: _Call, event: str, status: str) -> None:
        if event not in call.events or not call.fields.get("StatusCallback"):
            return
        fields = {"CallStatus": status, "CallbackSource": "call-progress-events", "SequenceNumber": str(call.sequence)}
        call.sequence += 1
        self._post(call.fields["StatusCallback"], call, fields)

    def _post(self, url: str, call: _Call, fields: dict[str, str]) -> tuple[int, bytes]:
        """One signed webhook. (0, b"") where the server is gone: a phone network does not crash over that."""
        pairs = [("CallSid", call.sid), ("AccountSid", self._account), ("From", call.fields["From"]), ("To", call.fields["To"])]
        pairs += list(fields.items())
        parts = urlsplit(url)
        link = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-SignalWire-Signature": laml.signature(self._signing_key, url, pairs),
        }
        try:
            link.request("POST", parts.path + (f"?{parts.query}" if parts.query else ""), urlencode(pairs), headers)
            answer = link.getresponse()
            return answer.status, answer.read(MAX_BODY)
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            link.close()

    def _show(self, text: str) -> None:
        self._out.write(f"   {text}\n")
        self._out.flush()


def _end(call: _Call, wanted: str) -> bool:
    allowed = {"canceled": ("queued", "ringing"), "completed": ("in-progress",)}.get(wanted, ())
    if call.status not in allowed:
        return False
    call.status = wanted
    call.over.set()
    return True


def _handler(phone: ScreenPhone) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve([])

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            size = int(length) if length.isdecimal() and len(length) < 6 else 0
            self._serve(parse_qsl(self.rfile.read(size).decode("utf-8", "replace"), keep_blank_values=True))

        def _serve(self, pairs: list[tuple[str, str]]) -> None:
            status, value = phone.rest(self.command, urlsplit(self.path).path, self.headers.get("Authorization", ""), pairs)
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """The screen belongs to the call."""

    return Handler
