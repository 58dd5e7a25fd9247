"""Somebody between connector and server: a proxy on loopback that forges and replays what the server says.

He has read every file on the agent's machine, so he holds the connector's token and its share of the device's key, and signs with that.
What he cannot have is the server's Ed25519 key, which is on another machine.
"""

import hmac
import http.client
import json
import re
import threading
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

WAIT = re.compile(r"GET /v1/handoffs/(req_[0-9a-f]{32})\?")
CLAIM = re.compile(r"POST /v1/handoffs/(req_[0-9a-f]{32})/claim")

Change = Callable[[str, bytes, int, Any], tuple[int, Any]]  # ("GET /path?query", request body, status, answer) -> what is passed on


class Proxy:
    """`change` may be set at any time; None passes everything on."""

    def __init__(self) -> None:
        self.change: Change | None = None
        self.upstream = ("127.0.0.1", 0)
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.proxy = self
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def before(self, url: str) -> str:
        """The address that leads to `url` through this proxy."""
        parts = urlsplit(url)
        self.upstream = (parts.hostname or "", parts.port or 0)
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection(*self.upstream, timeout=60)) as link:
            link.request(method, path, body or None, {**headers, "Host": "{}:{}".format(*self.upstream)})
            answer = link.getresponse()
            status, data = answer.status, answer.read()
            kept = {name: value for name, value in answer.getheaders() if name.lower() in ("content-type", "etag", "date")}
        if self.change and data:
            status, changed = self.change(f"{method} {path}", body, status, json.loads(data))
            data = json.dumps(changed).encode()
        return status, kept, data


class Forger:
    """Turns a no into a yes, with the best signatures that can be made on the agent's machine."""

    def __init__(self, ony_home: Path) -> None:
        known = json.loads((ony_home / "connector.json").read_text())
        self.keys = {approver["device_id"]: bytes.fromhex(approver["key"]) for approver in known["approvers"]}
        self.connector_id = known["connector_id"]
        self.own_key = Ed25519PrivateKey.generate()
        self.forged: list[str] = []

    def __call__(self, what: str, body: bytes, status: int, answer: Any) -> tuple[int, Any]:
        if (match := WAIT.match(what)) and answer.get("verdict"):
            self.forged.append(match[1])
            return 200, {**answer, "state": "approved", "reason": "", "verdict": self._yes(answer["verdict"])}
        if match := CLAIM.match(what):
            return 200, self._claim(match[1], json.loads(body))
        return status, answer

    def _yes(self, envelope: dict[str, str]) -> dict[str, str]:
        payload = (
            envelope["payload"]
            .replace('"decision":"deny"', '"decision":"approve"')
            .replace('"code_verified":false', '"code_verified":true')
        )
        data, device = payload.encode(), json.loads(payload)["approver_device_id"]
        signature = "hmac-sha256:" + hmac.digest(self.keys[device], data, "sha256").hex()
        return {"payload": payload, "signature": signature, "server_signature": "ed25519:" + self.own_key.sign(data).hex()}

    def _claim(self, request_id: str, asked: dict[str, str]) -> dict[str, str]:
        claim = {"v": 1, "type": "claim", "request_id": request_id, "connector_id": self.connector_id, "nonce": asked["nonce"],
                 "payload_digest": asked["payload_digest"], "claimed_at": "2026-01-01T00:00:00Z"}  # fmt: skip
        payload = json.dumps(claim, sort_keys=True, separators=(",", ":"))
        return {"payload": payload, "server_signature": "ed25519:" + self.own_key.sign(b"ony/claim/v1\n" + payload.encode()).hex()}


class Replayer:
    """Keeps the first genuine yes and its claim, and gives both as the answer to every later request."""

    def __init__(self) -> None:
        self.first = ""
        self.answers: dict[str, Any] = {}
        self.replayed: list[str] = []

    def __call__(self, what: str, body: bytes, status: int, answer: Any) -> tuple[int, Any]:
        for kind, pattern in (("wait", WAIT), ("claim", CLAIM)):
            match = pattern.match(what)
            if not match:
                continue
            if kind in self.answers and match[1] != self.first:
                self.replayed.append(f"{kind} {match[1]}")
                return 200, {**self.answers[kind], "request_id": match[1]} if kind == "wait" else self.answers[kind]
            if status == 200 and (kind == "claim" or answer.get("state") == "approved"):
                self.first, self.answers[kind] = match[1], answer
        return status, answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy

    def handle_error(self, *_: object) -> None:
        """A side that hangs up is part of every test here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length", "connection")}
        try:
            status, answered, data = self.server.proxy.pass_on(self.command, self.path, headers, body)
        except OSError:
            self.close_connection = True  # the server is down: so is what stands before it
            return
        self.send_response_only(status)
        for name, value in answered.items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET
