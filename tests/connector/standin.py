"""A small server that speaks /v1 with real keys, real signatures and a real audit log, and that can misbehave on purpose.

Honest unless told otherwise: `twist[name] = change` alters what is about to be sent ("bundle", "created", "row", "verdict", "proof",
"claim", "mode"), `faults[path] = …` breaks the connection instead of an answer.
"""

import base64
import json
import sqlite3
import threading
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ony_core import canon, handoff, states, taxonomy, verdict
from ony_core.clock import rfc3339
from ony_core.errors import OnyError, Refused
from ony_core.model import Fact
from ony_core.server.audit import Log, create_key

ORG, USER, CONNECTOR, DEVICE = (f"{prefix}_{'0' * 31}{n}" for n, prefix in enumerate(("org", "usr", "con", "dev"), 1))
ORIGIN = f"ony/{'5' * 32}/{ORG}"
TOKEN = "con_" + "t" * 40
SECRET = "123456"
GIVE_UP_S = 40  # eight interpreters start meanwhile, on a machine that others use too
SCHEMA = Path(__file__).resolve().parents[2] / "schema.sql"


class TestClock:
    """Stands still until it is moved. Random bytes count up."""

    __test__ = False

    def __init__(self, wall: int = 1_782_829_327) -> None:
        self.now = float(wall)
        self.drawn = 0
        self.back = 0.0  # what boot has counted and wall has not

    def wall(self) -> int:
        return int(self.now)

    def boot(self) -> float:
        return self.now + self.back

    def random(self, n: int) -> bytes:
        self.drawn += 1
        return sha256(str(self.drawn).encode()).digest()[:n].ljust(n, b"\1")

    def move(self, seconds: float) -> None:
        self.now += seconds

    def set_back(self, seconds: float) -> None:
        """The wall clock jumps back; the boot clock does not know."""
        self.now -= seconds
        self.back += seconds


class StandIn:
    """`decides`: what the person does with each request ("approve", "deny", "nothing", or a state such as "failed")."""

    def __init__(self, folder: Path, clock: Any, decides: str = "approve") -> None:
        self.clock, self.decides = clock, decides
        self.server_key, self.audit_key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.device_key = bytes(range(32))
        self.twist: dict[str, Callable[[Any], Any]] = {}
        self.faults: dict[str, str] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.heard: list[str] = []
        self.modes: list[dict[str, Any]] = []
        self.on_no_verdict, self.attach = "deny", False
        self.payloads: dict[str, str] = {}
        self.device_state, self.deadline_s, self.version, self.waits_s = "active", 300, 1, 0.02
        self.changed = threading.Condition()
        taxonomy.assess((Fact("command", "true"),))  # the tables are read once, here: eight requests at once would each read them
        folder.mkdir(parents=True, exist_ok=True)
        create_key(folder / "audit.key", ORG)
        self.log = Log(folder / "audit.key", lambda _: ORIGIN, self.audit_key.sign, clock, self.audit_key.public_key().public_bytes_raw())
        self.db = sqlite3.connect(":memory:", check_same_thread=False)
        self.db.executescript(SCHEMA.read_text())
        self.db.execute("INSERT INTO org (id, name, created_at) VALUES (?, 'Test', 0)", (ORG,))

    def __enter__(self) -> "StandIn":
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                return

            def do_GET(self) -> None:
                outer._serve(self, b"")

            def do_POST(self) -> None:
                outer._serve(self, self.rfile.read(int(self.headers["Content-Length"])))

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def code(self) -> str:
        fingerprint = sha256(self.server_key.public_key().public_bytes_raw()).digest()[:10]
        text = "ABCDEFGHIJKLMNOP" + base64.b32encode(fingerprint).decode()
        return "ony-" + "-".join(text[i : i + 4] for i in range(0, 32, 4))

    # ---------------------------------------------------------------- what the person does

    def decide(self, request_id: str, decision: str, code_verified: bool = True) -> None:
        """As the desk does it: state, verdict, both signatures, audit row and checkpoint, then everybody who waits."""
        request = self.requests[request_id]
        if decision not in ("approve", "deny"):
            with self.changed:
                request["state"] = decision
                self.changed.notify_all()
            return
        made = {**request["fields"], "decision": decision, "device_id": DEVICE, "code_verified": code_verified,
                "issued_at": self.clock.wall(), "expires_at": self.clock.wall() + 120}  # fmt: skip
        made = self._twisted("payload", made)
        text = self._twisted("text", verdict.payload(**made))
        envelope = verdict.seal(text, verdict.connector_key(self.device_key, CONNECTOR), self.server_key.sign)
        with self.changed:
            seq = self.log_row("verdict", request_id=request_id, decision=decision, device_id=DEVICE,
                               payload_digest=verdict.digest_of(text), request_digest=request["fields"]["request_digest"])  # fmt: skip
            request |= {"state": states.after("ringing", decision), "verdict": envelope, "seq": seq, "digest": verdict.digest_of(text)}
            self.changed.notify_all()

    def log_row(self, kind: str, **body: Any) -> int:
        seq = self.log.append(self.db, ORG, kind, body)
        self.log.checkpoint(self.db, [ORG])
        self.db.commit()
        return seq

    def until_asked(self, count: int = 1) -> list[str]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, GIVE_UP_S)
            return list(self.requests)

    def state_of(self, request_id: str, wanted: str) -> None:
        with self.changed:
            found = self.changed.wait_for(lambda: self.requests[request_id]["state"] == wanted, GIVE_UP_S)
            assert found, self.requests[request_id]["state"]

    # ---------------------------------------------------------------- the wire

    def _serve(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path, _, query = handler.path.partition("?")
        word = path.rsplit("/", 1)[-1] if not path.rsplit("/", 1)[-1].startswith("req_") else "wait"
        self.heard.append(word)
        fault = self.faults.get(word, "")
        if fault.startswith("drop before"):
            handler.connection.close()
            return
        try:
            status, answer = self._route(handler, path, word, query, body)
        except Refused as refused:
            status, answer = 409, {"error": {"code": refused.reason, "message": refused.what, "hint": ""}}
        except OnyError as error:
            status, answer = 400, {"error": {"code": "bad_request", "message": error.what, "hint": ""}}
        if fault.startswith("drop after"):
            handler.connection.close()
            return
        data = b"<html>busy</html>" if fault == "html" else canon.dumps(answer)
        status = int(fault) if fault.isdigit() else status
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data) + (10 if fault == "cut" else 0)))
        handler.send_header("ETag", f'"{self.version}"')
        handler.end_headers()
        handler.wfile.write(data)
        handler.close_connection = True

    def _route(self, handler: BaseHTTPRequestHandler, path: str, word: str, query: str, body: bytes) -> tuple[int, Any]:
        if word == "enroll":
            return 200, self._enrolled(json.loads(body))
        if handler.headers["Authorization"] != f"Bearer {TOKEN}":
            return 401, {"error": {"code": "unauthorized", "message": "no", "hint": ""}}
        if word == "bundle":
            return 200, self._bundle()
        if word == "handoffs":
            return 201, self._create(body)
        if word == "events":
            self.events += json.loads(body)["events"]
            return 200, {}
        if word == "modes":
            return self._mode(json.loads(body))
        if word == "consistency":
            old, new = (int(pair.partition("=")[2]) for pair in query.split("&"))
            return 200, self.log.consistency(self.db, ORG, old, new)
        request = self.requests[next(part for part in path.split("/") if part.startswith("req_"))]
        if word == "payload":
            self.payloads[request["asked"].request_id] = json.loads(body)["text"]
            return 200, {}
        return {"wait": self._wait, "claim": self._claim, "cancel": self._cancel, "decide": self._decide}[word](request, body)

    def _enrolled(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["code"].replace("-", "").lower() != self.code.replace("-", "").lower():
            raise Refused("bad_code")
        key = "ed25519:" + self.server_key.public_key().public_bytes_raw().hex()
        device = {"device_id": DEVICE, "label": "Ada's phone", "state": "active",
                  "key": verdict.connector_key(self.device_key, CONNECTOR).hex()}  # fmt: skip
        return self._twisted("enroll", {
            "connector_id": CONNECTOR, "org_id": ORG, "user_id": USER, "token": TOKEN, "server_key": key,
            "audit_key": "ed25519:" + self.audit_key.public_key().public_bytes_raw().hex(),
            "fingerprint": "", "origin": ORIGIN, "approvers": [device], "bundle": self._bundle(),
        })  # fmt: skip

    def _bundle(self) -> dict[str, str]:
        body = {
            "v": 1, "type": "bundle", "org_id": ORG, "connector_id": CONNECTOR, "version": self.version,
            "issued_at": rfc3339(self.clock.wall()),
            "approvers": [{"device_id": DEVICE, "label": "Ada's phone", "state": self.device_state}],
            "policy": {
                "code_required": "high", "decision_deadline": self.deadline_s, "verdict_ttl": 120, "on_no_verdict": self.on_no_verdict,
                "attach": self.attach,
            },
            "modes": self.modes, "overlay": [], "server_keys": ["ed25519:" + self.server_key.public_key().public_bytes_raw().hex()],
        }  # fmt: skip
        return self._signed("bundle", self._twisted("bundle", body))

    def _create(self, body: bytes) -> dict[str, Any]:
        asked = handoff.request_from_wire(body)
        found = taxonomy.assess(asked.facts)
        fields = {"request_id": asked.request_id, "request_digest": asked.request_digest, "facts_digest": asked.facts_digest,
                  "connector_id": CONNECTOR, "session": asked.session, "action": found.lead.key, "actions": found.keys,
                  "risk": found.risk}  # fmt: skip
        with self.changed:
            known = self.requests.setdefault(asked.request_id, {"state": "ringing", "fields": fields, "asked": asked, "verdict": None})
            self.log_row("handoff", request_id=asked.request_id)
            self.changed.notify_all()
        if known["state"] == "ringing" and self.decides != "nothing":
            self.decide(asked.request_id, self.decides)
        return self._twisted("created", {
            "request_id": asked.request_id, "state": "pending", "action": found.lead.key, "actions": list(found.keys), "risk": found.risk,
            "title": found.lead.title, "word": "42", "created_at": rfc3339(self.clock.wall()), "deadline": rfc3339(self.clock.wall() + 300),
        })  # fmt: skip

    def _wait(self, request: dict[str, Any], body: bytes) -> tuple[int, Any]:
        with self.changed:
            self.changed.wait_for(lambda: request["state"] not in states.WAITING, self.waits_s)
            row = {"request_id": request["fields"]["request_id"], "state": request["state"], "reason": "", "decided_by": None,
                   "verdict": self._twisted("verdict", request["verdict"]), "proof": None}  # fmt: skip
            if request["verdict"]:
                head = request["asked"].head
                kept = (head.size, bytes.fromhex(head.root)) if head else None
                row["proof"] = self._twisted("proof", self.log.proof(self.db, ORG, request["seq"], kept))
        return 200, self._twisted("row", row)

    def _claim(self, request: dict[str, Any], body: bytes) -> tuple[int, Any]:
        asked = json.loads(body)
        with self.changed:
            if request["state"] == "used" and request["nonce"] != asked["nonce"]:
                raise Refused("already_used")
            if request["state"] not in ("approved", "used"):
                raise Refused("revoked" if request["state"] == "revoked" else "expired")
            request |= {"state": "used", "nonce": asked["nonce"]}
        claim = {"v": 1, "type": "claim", "request_id": request["fields"]["request_id"], "connector_id": CONNECTOR,
                 "nonce": asked["nonce"], "payload_digest": asked["payload_digest"], "claimed_at": rfc3339(self.clock.wall())}  # fmt: skip
        return 200, self._signed("claim", self._twisted("claim", claim))

    def _cancel(self, request: dict[str, Any], body: bytes) -> tuple[int, Any]:
        with self.changed:
            request["state"] = states.after(request["state"], "cancel")
            self.changed.notify_all()
        return 200, {}

    def _decide(self, request: dict[str, Any], body: bytes) -> tuple[int, Any]:
        asked = json.loads(body)
        if asked["code"] != SECRET:
            return 200, {"outcome": "wrong_code" if asked["code"] else "code_needed"}
        self.decide(request["fields"]["request_id"], asked["decision"])
        return 200, {"outcome": "approved" if asked["decision"] == "approve" else "denied"}

    def _mode(self, asked: dict[str, Any]) -> tuple[int, Any]:
        if asked["mode"] in ("off", "here") and asked["code"] != SECRET:
            word = "wrong_code" if asked["code"] else "code_needed"
            return 403, {"error": {"code": word, "message": word, "hint": ""}}
        minutes = asked["minutes"] or (60 if asked["mode"] in ("off", "here") else 0)
        until = rfc3339(self.clock.wall() + 60 * minutes) if minutes else None
        mode = {"session": asked["session"], "mode": asked["mode"], "until": until, "eased_until": None}
        self.modes.append(mode)
        return 200, self._signed("mode", self._twisted("mode", {"v": 1, "type": "mode", "connector_id": CONNECTOR, **mode}))

    def _signed(self, kind: str, body: dict[str, Any]) -> dict[str, str]:
        text = canon.dumps(body)
        signature = self.server_key.sign(f"ony/{kind}/v1\n".encode() + text)
        return self._twisted(f"signed {kind}", {"payload": text.decode(), "server_signature": "ed25519:" + signature.hex()})

    def _twisted(self, name: str, value: Any) -> Any:
        return self.twist[name](value) if name in self.twist and value is not None else value
