"""A server with one owner, one connector and the voice channel, wired as `ony serve` wires it, beside the simulated provider.

Its clock stands still unless the simulator or a test moves it: a minute on the phone takes no time, and no
test depends on the machine's pace.
"""

import asyncio
import hashlib
import json
import shutil
import threading
from collections.abc import Coroutine
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pyotp

from ony_core import canon, handoff
from ony_core.clock import SystemClock, new_id
from ony_core.config import Policy, Voice
from ony_core.model import Fact
from ony_core.server import admin
from ony_core.server.desk import Desk
from ony_core.server.keyring import Keyring
from ony_core.server.message import Request
from ony_core.server.telephone import Telephone
from ony_core.store import Store, rows
from tests.sim.call import VirtualTime
from tests.sim.laml import Provider

NUMBER, OTHER_NUMBER = "+15550100123", "+15550100124"
EMAIL = "owner@example.com"
SESSION = "sess_" + "5" * 32
APPLY = (Fact("command", "terraform", ("apply",), ("-auto-approve",)),)
COMMIT = (Fact("command", "git", ("commit",), ("-m",)),)
T = TypeVar("T")


class StillClock:
    """Moves only when told to. Randomness is real."""

    def __init__(self) -> None:
        self._moved = 0.0
        self._lock = threading.Lock()

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._moved += seconds

    def wall(self) -> int:
        return int(1_795_000_000 + self._moved)

    def boot(self) -> float:
        return 5_000 + self._moved

    def random(self, n: int) -> bytes:
        return SystemClock().random(n)


class House:
    """`with House(prepared, folder) as house:`; everything asynchronous runs in a loop of its own thread."""

    def __init__(self, prepared: Path, folder: Path, *, phones: tuple[str, ...] = (NUMBER,), provider: str = "signalwire",
                 busy_retry_s: float = 0.05, **settings: Any) -> None:  # fmt: skip
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        self.folder, self.phones, self.busy_retry_s = folder, phones, busy_retry_s
        self.clock = StillClock()
        self.provider = Provider(time=VirtualTime(self.clock.advance), twilio_sids=provider == "twilio")
        self.settings = {"provider": provider, "caller": self.provider.owned[0], "project_id": self.provider.account,
                         "api_token": self.provider.token, "signing_key": self.provider.signing_key, **settings}  # fmt: skip
        self.policy = Policy()

    def __enter__(self) -> "House":
        self.provider.__enter__()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._web = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.public_url = f"http://127.0.0.1:{self._web.server_address[1]}"
        self.do(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.provider.__exit__()
        self._web.shutdown()
        self._web.server_close()
        self.do(self.telephone.close())
        self.do(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    # ---------------------------------------------------------------- what a test does

    def hold(self, facts: tuple[Fact, ...] = APPLY, mode: str = "on") -> str:
        """A connector holds a call; the request id. The mode is set at the server first."""
        return self.do(self._hold(facts, mode))

    def decided(self, request_id: str) -> rows.Handoff:
        """The handoff as soon as nobody waits for it any more."""
        return self.do(self.desk.wait(self.connector, request_id, 20))

    def handoff(self, request_id: str) -> rows.Handoff:
        return self.do(self.desk.wait(self.connector, request_id, 0))

    def code(self) -> str:
        """The code of the clock's present step."""
        return pyotp.TOTP(self.secret).at(self.clock.wall())

    def pass_deadline(self) -> None:
        self.clock.advance(self.policy.decision_deadline + 1)
        self.do(self.desk.sweep_once())

    def audit(self, kind: str) -> list[dict[str, Any]]:
        async def rows_of() -> list[dict[str, Any]]:
            found = self.store.read(lambda tx: tx._db.execute("SELECT body FROM audit ORDER BY seq").fetchall())
            return [body for body in (json.loads(row[0]) for row in found) if body["kind"] == kind]

        return self.do(rows_of())

    def verdict(self, request_id: str) -> dict[str, Any] | None:
        async def found() -> rows.Verdict | None:
            return self.store.read(lambda tx: tx.org(self.connector.org_id).verdict(request_id))

        row = self.do(found())
        return None if row is None else canon.loads(row.payload.encode())

    def settle(self) -> None:
        """Until every call is over and every follow-up of the telephone has run."""
        self.provider.join()

    # ---------------------------------------------------------------- wiring

    async def _open(self) -> None:
        self.store = Store.open(self.folder / admin.DATABASE, self.clock)
        self.keyring = Keyring.open(self.folder, self.store)
        self.store.attach(admin.audit_log(self.folder, self.store, self.keyring, self.clock))
        config: Any = SimpleNamespace(policy=self.policy)
        self.desk = Desk(self.store, self.keyring, config, self.clock)
        settings = Voice(**{"base_url": self.provider.base_url, **self.settings})
        self.telephone = Telephone(settings, self.store, self.desk, self.keyring, self.clock, public_url=self.public_url,
                                   busy_retry_s=self.busy_retry_s)  # fmt: skip
        self.desk.channels.append(self.telephone)
        office = admin.Admin(self.store, self.keyring, config, self.clock)
        self.secret, self.devices = "", []
        for number in self.phones:
            body = canon.dumps({"email": EMAIL, "number": number, "verified": True})
            made = json.loads((await office.phone(Request("POST", "/phone", body=body))).body)
            self.secret = made["totp_secret"] or self.secret
            self.devices.append(made["device_id"])
            self.clock.advance(1)  # phones ring in the order they were enrolled
        self.connector = await self.store.write(self._add_connector)

    def _add_connector(self, tx: Any) -> rows.Connector:
        org = tx.org(tx.org_ids()[0])
        connector_id = new_id("con", self.clock)
        org.add_connector(connector_id, org.user_by_email(EMAIL).id, "test", hashlib.sha256(b"token").digest(), "0")
        return org.connector(connector_id)

    async def _hold(self, facts: tuple[Fact, ...], mode: str) -> str:
        if mode != "on":
            until = self.clock.wall() + 3600
            org_id, connector_id = self.connector.org_id, self.connector.id
            await self.store.write(lambda tx: tx.org(org_id).set_mode(rows.Mode(connector_id, SESSION, mode, until, 0)))
        request_id = new_id("req", self.clock)
        digest = canon.hmac_sha256(b"k", request_id.encode())
        body = handoff.request_to_wire(request_id, SESSION, "claude-code", "Bash", mode, "prod-api", facts, digest, None)
        await self.desk.open(self.connector, body)
        return request_id

    async def _close(self) -> None:
        self.store.close()


def prepare(folder: Path) -> Path:
    """A new server's data folder; copied for each test, because its password hash takes a while."""
    admin.initialise(folder, "Test", EMAIL, "correct horse battery staple", StillClock())
    return folder


def _handler(house: House) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            path, _, query = self.path.partition("?")
            headers = tuple((name.lower(), value) for name, value in self.headers.items())
            answer = house.do(house.telephone.webhook(Request("POST", path, query, headers, body)))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
