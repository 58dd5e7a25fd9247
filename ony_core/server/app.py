"""A running server: everything opened in order, closed in the opposite order, whatever fails in between.

MUST refuse a data folder that others can look into, and one that holds no server: `ony admin init` makes servers, nothing else does.
MUST NOT say that it is ready where the audit log could take no row: nothing could be approved.
MUST keep the administrator's routes on the local socket and everything else off it.
"""

import asyncio
import contextlib
import logging
import os
import signal
import stat
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ony_core import taxonomy
from ony_core.clock import Clock
from ony_core.config import Config, data_folder, host_and_port
from ony_core.errors import OnyError
from ony_core.model import Fact
from ony_core.server import tls
from ony_core.server.account import Account
from ony_core.server.admin import DATABASE, Admin, audit_log
from ony_core.server.allowance import Allowance
from ony_core.server.connectors import Connectors
from ony_core.server.desk import Desk
from ony_core.server.devices import Devices
from ony_core.server.freeze import Freezer
from ony_core.server.history import History
from ony_core.server.http import Limits, Listener
from ony_core.server.keyring import Keyring
from ony_core.server.keys import Keys
from ony_core.server.login import Login
from ony_core.server.meter import Family, Meter, Metrics, about_process
from ony_core.server.numbers import Numbers
from ony_core.server.openapi import OpenApi
from ony_core.server.passwords import Doorkeeper
from ony_core.server.payloads import Payloads
from ony_core.server.policies import Policies
from ony_core.server.routes import LOCAL, PUBLIC, Probes, Router
from ony_core.server.sessions import Sessions
from ony_core.server.team import Team
from ony_core.server.telephone import Telephone
from ony_core.server.upkeep import Upkeep
from ony_core.states import WAITING as WAITING_STATES
from ony_core.store import Store, Tx

SOCKET = "admin.sock"
HSTS = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")

COMMITS = Family("ony_store_commits_total", "counter", "Transactions that are durable.")
WRITES = Family("ony_store_writes_total", "counter", "Pieces of work in them: the more a commit, the busier.")
LATCHED = Family("ony_store_latched", "gauge", "1: every write is refused until a restart, so nothing can be approved.")
WAITING = Family("ony_handoffs_waiting", "gauge", "Held calls that nobody has decided yet.")
CONNECTIONS = Family("ony_http_connections", "gauge", "Open connections of the network's listener.")

log = logging.getLogger("ony.server")


class App:
    """start, then stop; or run, which does both around a signal. port: what is really listened on, once started."""

    def __init__(self, config: Config, clock: Clock, limits: Limits | None = None) -> None:
        self._config, self._clock, self._limits = config, clock, limits or _limits(config)
        self.data = data_folder(config.server.data)
        self.port = 0
        self._meter = Meter()
        self._ending = AsyncExitStack()

    async def run(self, ready: Callable[["App"], None]) -> None:
        """Serves until SIGTERM or SIGINT. ready: called once, when requests are answered."""
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(_unforeseen)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked.set)
        await self.start()
        try:
            ready(self)
            await asked.wait()
        finally:
            await self.stop()

    async def start(self) -> None:
        """OnyError where something is missing or in the way; then nothing is left open."""
        try:
            await self._start()
        except BaseException:
            await self._ending.aclose()
            raise

    async def stop(self) -> None:
        """Finishes what runs, for a few seconds, then closes everything."""
        await self._ending.aclose()

    async def _start(self) -> None:
        _require_folder(self.data)
        store = Store.open(self.data / DATABASE, self._clock)
        self._ending.callback(store.close)
        keyring = Keyring.open(self.data, store)
        store.attach(audit_log(self.data, store, keyring, self._clock))
        store.read(_require_logs)
        desk = Desk(store, keyring, self._config, self._clock)
        desk.meter, desk.waiting.most = self._meter, self._config.server.max_connectors_per_org
        self._watch(store)
        telephone = self._telephone(store, desk, keyring)
        desk.resume()
        self._ending.push_async_callback(_cancelled, asyncio.create_task(desk.sweep()))
        threading.Thread(target=_warm, daemon=True).start()  # nobody waits for it, also not at the end
        server, door = self._config.server, Doorkeeper(self._clock)
        secure = bool(server.tls_local or server.tls_cert) or server.public_url.startswith("https://")
        sessions = Sessions(store, self._clock, public_url=server.public_url, secure=secure)
        people = (store, keyring, sessions, door, self._clock)
        numbers = Numbers(store, keyring, telephone.errands if telephone else None, self._clock)
        self._ending.push_async_callback(numbers.close)
        upkeep = Upkeep(store, keyring, self._config, self._clock)
        self._ending.push_async_callback(_cancelled, asyncio.create_task(upkeep.run()))
        allowance = Allowance(server.max_connector_mib, self._clock)
        await self._listen(store, sessions, {
            "upkeep": upkeep,
            "keys": Keys(self.data, store, keyring, self._clock),
            "probes": Probes(store, voice=telephone is not None),
            "connectors": Connectors(store, keyring, desk, self._config, self._clock, allowance),
            "telephone": telephone,
            "admin": Admin(store, keyring, self._config, self._clock, numbers),
            "numbers": numbers,
            "freezer": Freezer(store, keyring, desk, self._clock, door),
            "login": Login(*people),
            "account": Account(*people),
            "team": Team(store, keyring, self._clock),
            "devices": Devices(store, keyring, self._clock),
            "history": History(store),
            "payloads": Payloads(store, keyring, self._config, self._clock, allowance),
            "policies": Policies(store, keyring, self._clock),
            "metrics": Metrics(self._meter, self._config.server.metrics_token) if self._config.server.metrics_token else None,
            "openapi": OpenApi(),
        })  # fmt: skip

    def _watch(self, store: Store) -> None:
        about_process(self._meter, self._clock.wall())
        self._meter.gauge(COMMITS, lambda: store.commits)
        self._meter.gauge(WRITES, lambda: store.writes)
        self._meter.gauge(LATCHED, lambda: bool(store.latched))
        self._meter.gauge(WAITING, lambda: store.read(lambda tx: sum(row.state in WAITING_STATES for row, _ in tx.unsettled())))

    def _telephone(self, store: Store, desk: Desk, keyring: Keyring) -> Telephone | None:
        if not self._config.voice.provider:
            log.warning("no voice provider is set, so every held call will be denied: docs/signalwire.md")
            return None
        telephone = Telephone(self._config.voice, store, desk, keyring, self._clock, public_url=self._config.server.public_url)
        self._ending.push_async_callback(telephone.close)
        desk.channels.append(telephone)
        return telephone

    async def _listen(self, store: Store, sessions: Sessions, parts: dict[str, Any]) -> None:
        server, certificates = self._config.server, self._certificates()
        local = Listener(Router(store, parts, LOCAL, self._meter).answer, None, limits=self._limits, meter=self._meter)
        self._ending.push_async_callback(local.stop)
        await local.start_unix(self.data / SOCKET)
        router = Router(store, parts, PUBLIC, self._meter, sessions)
        public = Listener(
            router.answer, hosts(self._config), trusted=router.trusted, limits=self._limits, proxies=server.trusted_proxies,
            headers=(HSTS,) if certificates or server.public_url.startswith("https://") else (),
            tls=certificates.context if certificates else None, meter=self._meter,
        )  # fmt: skip
        self._meter.gauge(CONNECTIONS, lambda: len(public.connections))
        self._ending.push_async_callback(public.stop)
        self.port = await public.start_tcp(*host_and_port(server.listen))
        if certificates:
            self._ending.push_async_callback(_cancelled, asyncio.create_task(self._renewed(certificates)))

    def _certificates(self) -> tls.Certificates | None:
        server = self._config.server
        if server.tls_local:
            return tls.Certificates(*tls.local(self.data, server.tls_local, self._clock))
        return tls.Certificates(Path(server.tls_cert), Path(server.tls_key)) if server.tls_cert else None

    async def _renewed(self, certificates: tls.Certificates) -> None:
        """Runs until cancelled: takes up renewed files, and renews the local ones itself."""
        while True:
            await asyncio.sleep(tls.LOOK_S)
            try:
                if name := self._config.server.tls_local:
                    tls.local(self.data, name, self._clock)
                certificates.refresh()
            except (OnyError, OSError) as error:
                log.error("the certificate could not be renewed: %s", type(error).__name__)


def _limits(config: Config) -> Limits:
    return Limits(trusted=config.server.max_connectors, share=config.server.max_connectors_per_org)


def hosts(config: Config) -> frozenset[str]:
    """The names a request may be addressed to: where we listen, where the world finds us, and this machine's own."""
    listening, public = host_and_port(config.server.listen)[0], urlsplit(config.server.public_url).hostname or "localhost"
    names = (listening, public, config.server.tls_local or "localhost", "localhost", "127.0.0.1", "::1")
    return frozenset(f"[{name}]" if ":" in name else name.lower() for name in names)


def _warm() -> None:
    """Reads the tables, so that the first held call does not wait for them."""
    taxonomy.assess((Fact("command", "git", ("push",)),))


def _require_folder(data: Path) -> None:
    try:
        about = os.stat(data)
    except OSError as error:
        raise OnyError(f"the data folder {data} cannot be opened ({error.strerror})", f"run `ony admin init --data {data}` first") from None
    if not (data / DATABASE).is_file():
        raise OnyError(f"there is no server in {data}", f"run `ony admin init --data {data}` first")
    if about.st_uid != os.geteuid():
        raise OnyError(f"the data folder {data} belongs to another user", "run the server as that user")
    if about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise OnyError(f"others can look into the data folder {data}", f"run `chmod 700 {data}`")


def _require_logs(tx: Tx) -> None:
    for org_id in tx.org_ids():
        tx.org(org_id).require_log()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _unforeseen(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's own words would quote the exception, and with it perhaps a request."""
    error = context.get("exception")
    log.error("unexpected %s in the event loop", type(error).__name__ if error else "trouble")
