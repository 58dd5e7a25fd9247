"""The listener: who is let in, how many, how long, and how it ends. What one client does stands in server/connection.py.

MUST bound how many connections strangers hold, in all and per address; a connection whose request was authenticated is counted apart,
so that a flood cannot keep connectors from waiting for their verdicts. MUST give nobody who is known more of those than their share: what
is beyond it stays among the strangers.
MUST bound what one client behind a proxy holds: connections of a proxy look alike, and each whose body does not come is a place less.
MUST tell a client nothing of an unexpected error but that it happened.
MUST look at every connection's deadline: one clock for all of them, because ten thousand timers are ten thousand pieces of memory.
"""

import asyncio
import logging
import os
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache, partial
from http import HTTPStatus
from pathlib import Path

from ony_core.errors import OnyError
from ony_core.server import framing
from ony_core.server.connection import Connection
from ony_core.server.framing import Violation
from ony_core.server.message import Known, Parked, Request, Response, later, problem
from ony_core.server.meter import Family, Meter
from ony_core.server.sockets import unix_socket

TICK_S = 0.1  # how late a deadline may be noticed
_DEFAULTS = {
    "Server": "ony",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

VIOLATIONS = Family(
    "ony_http_refused_total", "counter", "Connections ended because their bytes were not a request this server takes.",
    {"reason": frozenset({
        "body_too_large", "content_length", "expectation", "foreign_host", "grammar", "head_too_large", "header_line", "host", "line_end",
        "method", "request_line", "slow_body", "slow_head", "target", "too_many_bodies",
        "too_many_headers", "transfer_encoding", "version"})},
)  # fmt: skip
TURNED_AWAY = Family("ony_http_turned_away_total", "counter", "Connections ended at once because there were too many.")

log = logging.getLogger("ony.http")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds from the start of each wait, and numbers of connections."""

    header_s: float = 5
    body_s: float = 10
    idle_s: float = 15
    send_s: float = 10
    stop_s: float = 5
    linger_s: float = 1
    strangers: int = 256
    per_address: int = 32
    trusted: int = 2000
    share: int = 1000  # of those, one organisation's connectors
    person: int = 32  # of those, one person's browsers
    backlog: int = 128


def nobody(request: Request) -> Known | None:
    return None


class Listener:
    """handler: answers a request. hosts: the names this server answers to, lower case; None: any.

    trusted: whose a request is, asked before the handler runs; None: a stranger's. proxies: whose X-Forwarded-For is believed; they are not
    counted per address. headers: further headers of every answer. tls: the context of the TCP listener, None: plain. meter: what counts.
    """

    def __init__(
        self,
        handler: Callable[[Request], Awaitable[Response | Parked]],
        hosts: frozenset[str] | None,
        *,
        trusted: Callable[[Request], Known | None] = nobody,
        limits: Limits | None = None,
        proxies: Sequence[str] = (),
        headers: Sequence[tuple[str, str]] = (),
        tls: ssl.SSLContext | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.handler, self.hosts, self.trusted, self.limits = handler, hosts, trusted, limits or Limits()
        self.proxies, self.headers, self.tls, self.meter = proxies, headers, tls, meter or Meter()
        self.connections: set[Connection] = set()
        self.stopping = False
        self.now = asyncio.get_running_loop().time
        self._strangers: Counter[str] = Counter()  # connections by network, without those that were authenticated
        self._shares: Counter[str] = Counter()  # those that were, by whose they are
        self._trusted = 0
        self._bodies: Counter[str] = Counter()  # awaited through proxies, by the network of the client
        self._ticking = False
        self._emptied: asyncio.Future[None] | None = None
        self._servers: list[asyncio.Server] = []
        self._socket_path: Path | None = None

    async def start_tcp(self, host: str, port: int) -> int:
        """The port that is listened on. OnyError where it cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(partial(Connection, self), host, port, backlog=self.limits.backlog)
        except OSError as error:
            raise OnyError(f"cannot listen on {host}:{port} ({_why(error)})", "stop what uses it, or choose another: --listen") from None
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def start_unix(self, path: Path, uids: frozenset[int] | None = None) -> None:
        """A socket only its owner can open. uids: whose processes are heard (default: our own user's and root's)."""
        allowed = uids if uids is not None else frozenset({os.geteuid(), 0})
        loop, made = asyncio.get_running_loop(), partial(Connection, self, allowed)
        self._servers.append(await loop.create_unix_server(made, sock=unix_socket(path), backlog=self.limits.backlog))
        self._socket_path = path

    async def stop(self) -> None:
        """No new connections; idle ones end; waiting GETs are told to come again; what runs has `stop_s` seconds."""
        for server in self._servers:
            server.close()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)
        self.stopping = True
        for end in (Connection.stop, Connection.abort):
            for connection in tuple(self.connections):
                end(connection)
            await self._empty(self.limits.stop_s)
        for server in self._servers:
            await server.wait_closed()

    # ---------------------------------------------------------------- a request

    async def handle(self, connection: Connection, work: Callable[[], Awaitable[Response | Parked]]) -> bytes | Parked:
        """The boundary: what the handler did not foresee is logged by its type and answered 500."""
        try:
            said = await work()
            return said if isinstance(said, Parked) else self.rendered(said, connection.closes)
        except Exception as error:  # noqa: BLE001 one of the four boundaries; the text of the error may quote the request
            log.error("unexpected %s in %s", type(error).__name__, _where(error))
            said = problem(500, "unexpected", "the server met an error it did not foresee", "its log names the place")
            return self.rendered(said, connection.closes)

    async def routed(self, connection: Connection, request: Request) -> Response | Parked:
        if connection.trusted is None and (who := self.trusted(request)) is not None and self._has_share(who):
            if self._trusted >= self.limits.trusted:
                return later("too many connectors are waiting")
            self._know(connection, who)
        return await self.handler(request)

    def rendered(self, response: Response, close: bool) -> bytes:
        headers = {**_DEFAULTS, "Date": _date(int(time.time())), **dict(self.headers)}
        if response.status not in (204, 304):
            headers |= {"Content-Type": response.content_type, "Content-Length": str(len(response.body))}
        given = {name.lower() for name, _ in response.headers}
        fields = [(name, value) for name, value in headers.items() if name.lower() not in given]
        fields += [*response.headers, ("Connection", "close" if close or self.stopping else "keep-alive")]
        return framing.render(response.status, HTTPStatus(response.status).phrase, fields, response.body)

    def refused(self, violation: Violation) -> None:
        self.meter.count(VIOLATIONS, violation.reason)

    # ---------------------------------------------------------------- who is here

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more; then it is counted until it is forgotten."""
        if self.stopping or not self._has_room(connection):
            self.meter.count(TURNED_AWAY)
            return False
        self.connections.add(connection)
        self._strangers[framing.network_of(connection.address)] += 1
        if not self._ticking:
            self._tick()
        return True

    def forget(self, connection: Connection) -> None:
        """It is gone, and nothing runs for it any more."""
        self.connections.discard(connection)
        if connection.trusted is not None:
            self._trusted -= 1
            self._uncount(self._shares, connection.trusted.name)
        else:
            self._uncount(self._strangers, framing.network_of(connection.address))
        if self._emptied is not None and not self.connections and not self._emptied.done():
            self._emptied.set_result(None)

    def _has_room(self, new: Connection) -> bool:
        strangers = len(self.connections) - self._trusted
        alone = new.address == "" or framing.within(new.address, self.proxies)
        return strangers < self.limits.strangers and (alone or self._strangers[framing.network_of(new.address)] < self.limits.per_address)

    def await_body(self, address: str, head: framing.Head) -> str:
        """Whose body of a request that came through a proxy is awaited from now on; "" for others, who are counted by their connections.
        Violation where that client has us wait for many already.
        """
        if not address or not framing.within(address, self.proxies):
            return ""
        client = framing.network_of(framing.client_of(address, head.headers, self.proxies))
        if self._bodies[client] >= self.limits.per_address:
            raise Violation(503, "too_many_bodies")
        self._bodies[client] += 1
        return client

    def body_came(self, client: str) -> None:
        """Or never will."""
        self._uncount(self._bodies, client)

    def _has_share(self, who: Known) -> bool:
        return self._shares[who.name] < (self.limits.person if who.person else self.limits.share)

    def _know(self, connection: Connection, who: Known) -> None:
        """From now on it is counted among those that were authenticated."""
        connection.trusted = who
        self._trusted += 1
        self._shares[who.name] += 1
        self._uncount(self._strangers, framing.network_of(connection.address))

    def _uncount(self, counter: Counter[str], name: str) -> None:
        counter[name] -= 1
        if not counter[name]:
            del counter[name]

    def _tick(self) -> None:
        now = self.now()
        for connection in [one for one in self.connections if one.due <= now]:
            connection.overdue()
        self._ticking = bool(self.connections)
        if self._ticking:
            asyncio.get_running_loop().call_later(TICK_S, self._tick)

    async def _empty(self, seconds: float) -> None:
        if self.connections:
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._emptied}, timeout=seconds)


@lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "an unknown place"


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__
