"""A server with one owner, one connector and the voice channel, wired as `ony serve` wires it, beside the simulated provider.

Its clock stands still unless the simulator or a test moves it: a minute on the phone takes no time, and no
test depends on the machine's pace.
"""

import asyncio
import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pyotp

from ony_core import canon, handoff
from ony_core.clock import SystemClock, new_id
from ony_core.config import Config, Server, Voice
from ony_core.model import Fact
from ony_core.server import admin
from ony_core.server.app import App
from ony_core.server.desk import Desk
from ony_core.server.keyring import Keyring
from ony_core.server.message import Request
from ony_core.server.telephone import Telephone
from ony_core.store import Store, rows
from tests.server.world import waited
from tests.sim.call import VirtualTime
from tests.sim.laml import Provider
from tests.sim.phone import Phone

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


class OpenApp(App):
    """The server as `ony serve` runs it, its parts within a test's reach."""

    store: Store
    desk: Desk
    keyring: Keyring
    telephone: Telephone

    def _telephone(self, store: Store, desk: Desk, keyring: Keyring) -> Telephone | None:
        made = super()._telephone(store, desk, keyring)
        assert made is not None
        self.store, self.desk, self.keyring, self.telephone = store, desk, keyring, made
        return made


class House:
    """`with House(prepared, folder) as house:`; the server runs in a loop of its own thread and listens on a real port."""

    def __init__(self, prepared: Path, folder: Path, *, phones: tuple[str, ...] = (NUMBER,), provider: str = "signalwire",
                 busy_retry_s: float = 0.05, **settings: Any) -> None:  # fmt: skip
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        self.folder, self.phones, self.busy_retry_s = folder, phones, busy_retry_s
        self.clock = StillClock()
        self.provider = Provider(time=VirtualTime(self.clock.advance), twilio_sids=provider == "twilio")
        self.settings = {"provider": provider, "caller": self.provider.owned[0], "project_id": self.provider.account,
                         "api_token": self.provider.token, "signing_key": self.provider.signing_key, **settings}  # fmt: skip
        self.public_url = f"http://127.0.0.1:{_free_port()}"

    def __enter__(self) -> "House":
        self.provider.__enter__()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        server = Server(listen=self.public_url.removeprefix("http://"), public_url=self.public_url, data=str(self.folder))
        self.config = Config(server=server, voice=Voice(**{"base_url": self.provider.base_url, **self.settings}))
        self.app = OpenApp(self.config, self.clock)
        self.do(self.app.start())
        self.store, self.desk, self.telephone = self.app.store, self.app.desk, self.app.telephone
        self.telephone._busy_retry_s = self.busy_retry_s
        self.do(self._furnish())
        return self

    def __exit__(self, *_: object) -> None:
        self.provider.__exit__()
        self.do(self.app.stop())
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
        return self.do(waited(self.desk, self.connector, request_id, 20))

    def handoff(self, request_id: str) -> rows.Handoff:
        return self.do(waited(self.desk, self.connector, request_id, 0))

    def code(self) -> str:
        """The code of the clock's present step."""
        return pyotp.TOTP(self.secret).at(self.clock.wall())

    def expires(self, request_id: str) -> rows.Handoff:
        """Time runs out; the handoff once the server has noticed."""
        self.clock.advance(self.config.policy.decision_deadline + 1)
        return self.decided(request_id)

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

    async def followed(self) -> None:
        """Until the telephone follows no call any more."""
        while self.telephone._tasks:
            await asyncio.wait(set(self.telephone._tasks))

    # ---------------------------------------------------------------- wiring

    async def _furnish(self) -> None:
        office = admin.Admin(self.store, self.app.keyring, self.config, self.clock)
        self.secret, self.devices = "", []
        for number in self.phones:
            wish = {"email": EMAIL, "number": number, "verified": True, "code": self.code() if self.secret else ""}
            made = json.loads((await office.phone(Request("POST", "/phone", body=canon.dumps(wish)))).body)
            self.secret = made["totp_secret"] or self.secret
            self.devices.append(made["device_id"])
            self.clock.advance(30)  # phones ring in the order they were enrolled, and each takes a code of its own
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


def opened(house: House, to: str = NUMBER) -> Phone:
    """An expected call whose owner has answered, pressed 5 and heard the menu."""
    return house.provider.expect_call(to).answer().hears("Press 5").press("5").hears("Press 1 to approve")


def prepare(folder: Path) -> Path:
    """A new server's data folder; copied for each test, because its password hash takes a while."""
    admin.initialise(folder, "Test", EMAIL, "correct horse battery staple", StillClock())
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
