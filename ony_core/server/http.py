"""The listener: sockets, deadlines and caps around server/framing.py. One request at a time per connection, one task, no thread.

MUST give every wait an end counted from its start, not from the last byte (a byte every four seconds defeats a timeout per read).
MUST bound how many connections strangers hold, in all and per address; a connection whose request was authenticated is counted apart,
so that a flood cannot keep connectors from waiting for their verdicts.
MUST end the connection after anything that framing refuses, and tell a client nothing of an unexpected error but that it happened.
MUST begin TLS inside these bounds: a client that shakes no hands is counted, and cut, like one that sends no header.
MUST NOT tear a POST in two: when its client hangs up it still runs to its end. A GET, which changes nothing, is cancelled.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ony_core.errors import OnyError
from ony_core.server import framing
from ony_core.server.framing import Violation
from ony_core.server.message import Request, Response, problem
from ony_core.server.meter import Family, Meter

READ = 64 * 1024
LINGER_BYTES = 8 * 1024 * 1024
MAX_SOCKET_PATH = 100
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
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
        "method", "request_line", "slow_body", "slow_head", "target", "too_many_headers", "transfer_encoding", "version"})},
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
    backlog: int = 128


def nobody(request: Request) -> bool:
    return False


class Listener:
    """handler: answers a request. hosts: the names this server answers to, lower case; None: any.

    trusted: whether a request is authenticated, asked before the handler runs. proxies: whose X-Forwarded-For is believed; they are not
    counted per address. headers: further headers of every answer. tls: the context of the TCP listener, None: plain. meter: what counts.
    """

    def __init__(
        self,
        handler: Callable[[Request], Awaitable[Response]],
        hosts: frozenset[str] | None,
        *,
        trusted: Callable[[Request], bool] = nobody,
        limits: Limits | None = None,
        proxies: Sequence[str] = (),
        headers: Sequence[tuple[str, str]] = (),
        tls: ssl.SSLContext | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.handler, self.hosts, self.trusted, self.limits = handler, hosts, trusted, limits or Limits()
        self.proxies, self.headers, self.tls, self.meter = proxies, headers, tls, meter or Meter()
        self.connections: set[Connection] = set()
        self._strangers: Counter[str] = Counter()  # connections by address, without those that were authenticated
        self._trusted = 0
        self.stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._servers: list[asyncio.Server] = []
        self._socket_path: Path | None = None

    async def start_tcp(self, host: str, port: int) -> int:
        """The port that is listened on. OnyError where it cannot be had."""
        try:
            server = await asyncio.start_server(self._accept, host, port, backlog=self.limits.backlog)
        except OSError as error:
            raise OnyError(f"cannot listen on {host}:{port} ({_why(error)})", "stop what uses it, or choose another: --listen") from None
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def start_unix(self, path: Path, uids: frozenset[int] | None = None) -> None:
        """A socket only its owner can open. uids: whose processes are heard (default: our own user's and root's)."""
        allowed = uids if uids is not None else frozenset({os.geteuid(), 0})
        server = await asyncio.start_unix_server(
            lambda reader, writer: self._accept(reader, writer, allowed), sock=_unix_socket(path), backlog=self.limits.backlog
        )
        self._servers.append(server)
        self._socket_path = path

    async def stop(self) -> None:
        """No new connections; idle ones end; waiting GETs are told to come again; what runs has `stop_s` seconds."""
        for server in self._servers:
            server.close()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)
        if not self.stopping.done():
            self.stopping.set_result(None)
        for connection in self.connections:
            if not connection.busy:
                connection.task.cancel()
        await self._ended(self.limits.stop_s)
        for connection in self.connections:
            connection.task.cancel()
        await self._ended(self.limits.stop_s)
        for server in self._servers:
            await server.wait_closed()

    async def handle(self, connection: "Connection", request: Request) -> Response:
        """The boundary: what the handler did not foresee is logged by its type and answered 500."""
        try:
            if not connection.trusted and self.trusted(request):
                if self._trusted >= self.limits.trusted:
                    return _later("too many connectors are waiting")
                self._know(connection)
            return await self.handler(request)
        except Exception as error:  # noqa: BLE001 one of the four boundaries; the text of the error may quote the request
            log.error("unexpected %s in %s", type(error).__name__, _where(error))
            return problem(500, "unexpected", "the server met an error it did not foresee", "its log names the place")

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, uids: frozenset[int] | None = None) -> None:
        uid = None if uids is None else peer_uid(writer.get_extra_info("socket"))
        if uids is not None and uid not in uids:
            log.warning("a process of another user was turned away")
            writer.transport.abort()
            return
        connection = Connection(self, reader, writer, uid)
        if not self._has_room(connection):
            self.meter.count(TURNED_AWAY)
            connection.turn_away()
            return
        self.connections.add(connection)
        self._strangers[connection.address] += 1
        connection.task = asyncio.get_running_loop().create_task(connection.run())
        connection.task.add_done_callback(lambda task: self._done(connection, task))

    def _has_room(self, new: "Connection") -> bool:
        strangers = len(self.connections) - self._trusted
        alone = new.address == "" or framing.within(new.address, self.proxies)
        return strangers < self.limits.strangers and (alone or self._strangers[new.address] < self.limits.per_address)

    def _know(self, connection: "Connection") -> None:
        """From now on it is counted among those that were authenticated."""
        connection.trusted = True
        self._trusted += 1
        self._forget(connection.address)

    def _forget(self, address: str) -> None:
        self._strangers[address] -= 1
        if not self._strangers[address]:
            del self._strangers[address]

    def _done(self, connection: "Connection", task: "asyncio.Task[None]") -> None:
        self.connections.discard(connection)
        if connection.trusted:
            self._trusted -= 1
        else:
            self._forget(connection.address)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection ended with %s in %s", type(error).__name__, _where(error))

    async def _ended(self, seconds: float) -> None:
        if tasks := {connection.task for connection in self.connections}:
            await asyncio.wait(tasks, timeout=seconds)


class Connection:
    """One client. busy: a complete request is being answered. trusted: one of its requests was authenticated."""

    task: "asyncio.Task[None]"

    def __init__(self, listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, uid: int | None) -> None:
        self._listener, self._reader, self._writer, self._uid = listener, reader, writer, uid
        self._limits, self._buffer = listener.limits, bytearray()
        name = writer.get_extra_info("peername")
        self.address = str(name[0]) if isinstance(name, tuple) else ""
        self.busy = self.trusted = False
        self._tls = listener.tls if uid is None else None
        if self._tls is not None and isinstance(writer.transport, asyncio.Transport):
            writer.transport.pause_reading()  # the client's first bytes are for the handshake
        writer.transport.set_write_buffer_limits(high=0)  # drain means sent, so that closing never waits for a slow reader

    async def run(self) -> None:
        try:
            await self._secured()
            await self._requests()
        except (ConnectionError, TimeoutError, ssl.SSLError):
            self._writer.transport.abort()
        finally:
            self._close()

    async def _secured(self) -> None:
        if self._tls is not None:
            async with asyncio.timeout(self._limits.header_s):
                await self._writer.start_tls(self._tls)
            self._writer.transport.set_write_buffer_limits(high=0)

    def _close(self) -> None:
        """TLS would wait half a minute for the client's own goodbye."""
        self._writer.close()
        if self._tls is not None:
            asyncio.get_running_loop().call_later(self._limits.linger_s, self._writer.transport.abort)

    def turn_away(self) -> None:
        """Too many already: say so without waiting for a request, and end. Nothing can be said before a handshake."""
        if self._tls is not None:
            self._writer.transport.abort()
            return
        self._write(_later("too many connections"), close=True)
        if self._writer.transport.get_write_buffer_size():
            self._writer.transport.abort()
        self._writer.close()

    async def _requests(self) -> None:
        try:
            wanted = await self._one(fresh=True)
            while wanted:
                wanted = await self._one(fresh=False)
        except Violation as violation:
            log.warning("refused from %s: %s", self.address or "the local socket", violation.reason)
            self._listener.meter.count(VIOLATIONS, violation.reason)
            await self._send(_refusal(violation), close=True)
            await self._linger()

    async def _one(self, fresh: bool) -> bool:
        """One request and its answer; whether another may follow."""
        head = await self._head(fresh)
        if head is None:
            return False
        body = await self._body(head)
        if body is None:
            return False
        peer = framing.client_of(self.address, head.headers, self._listener.proxies) if self.address else ""
        request = Request(head.method, head.path, head.query, head.headers, body, peer, self._uid)
        self.busy = True
        response = await self._answered(request)
        if response is None:
            return False
        close = head.closes or self._listener.stopping.done()
        await self._send(response, close)
        self.busy = False
        return not close

    # ---------------------------------------------------------------- in

    async def _head(self, fresh: bool) -> framing.Head | None:
        """None: the client left, or never began."""
        if not fresh and not self._buffer and not await self._begun():
            return None
        seen, end = 0, None
        try:
            async with asyncio.timeout(self._limits.header_s):
                while (end := framing.head_end(self._buffer, seen)) is None:
                    seen = len(self._buffer)
                    if not await self._more():
                        return None
        except TimeoutError:
            if not self._buffer:
                return None
            raise Violation(408, "slow_head") from None
        raw = bytes(self._buffer[:end])
        del self._buffer[:end]
        return framing.head(raw, self._listener.hosts)

    async def _begun(self) -> bool:
        """Whether another request begins on a connection that is kept."""
        try:
            async with asyncio.timeout(self._limits.idle_s):
                return await self._more()
        except TimeoutError:
            return False

    async def _body(self, head: framing.Head) -> bytes | None:
        if head.expects_continue and len(self._buffer) < head.length:
            self._writer.write(_CONTINUE)
        try:
            async with asyncio.timeout(self._limits.body_s):
                while len(self._buffer) < head.length:
                    if not await self._more():
                        return None
        except TimeoutError:
            raise Violation(408, "slow_body") from None
        body = bytes(self._buffer[: head.length])
        del self._buffer[: head.length]
        return body

    async def _more(self) -> bool:
        data = await self._reader.read(READ)
        self._buffer += data
        return bool(data)

    # ---------------------------------------------------------------- out

    async def _answered(self, request: Request) -> Response | None:
        """The handler's answer. None: the client hung up, and nobody is there to hear it."""
        work = asyncio.create_task(self._listener.handle(self, request))
        watch = asyncio.create_task(self._gone())
        try:
            awaited: set[asyncio.Future[Any]] = {work, watch, self._listener.stopping}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            left = watch.done()
            if not work.done() and request.method == "GET":
                return None if left else _later("the server is stopping")
            response = await work
            return None if left else response
        finally:
            await _cancelled(work, watch)

    async def _gone(self) -> None:
        """Returns when the client has hung up, or sends more than a client that waits for an answer has any reason to."""
        with contextlib.suppress(ConnectionError):
            while len(self._buffer) <= READ and await self._more():
                pass

    async def _send(self, response: Response, close: bool) -> None:
        self._write(response, close)
        async with asyncio.timeout(self._limits.send_s):
            await self._writer.drain()

    def _write(self, response: Response, close: bool) -> None:
        headers = {**_DEFAULTS, "Date": formatdate(usegmt=True), **dict(self._listener.headers)}
        if response.status not in (204, 304):
            headers |= {"Content-Type": response.content_type, "Content-Length": str(len(response.body))}
        given = {name.lower() for name, _ in response.headers}
        fields = [(name, value) for name, value in headers.items() if name.lower() not in given]
        fields += [*response.headers, ("Connection", "close" if close else "keep-alive")]
        self._writer.write(framing.render(response.status, HTTPStatus(response.status).phrase, fields, response.body))

    async def _linger(self) -> None:
        """Read on for a moment what the client still sends: closing at once would reset the connection and lose our answer."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        read = 0
        async with asyncio.timeout(self._limits.linger_s):
            while read < LINGER_BYTES and (data := await self._reader.read(READ)):
                read += len(data)


def peer_uid(sock: socket.socket) -> int:
    """User id of the process at the other end of a unix socket (Linux unix(7) SO_PEERCRED, macOS unix(4) LOCAL_PEERCRED)."""
    if hasattr(socket, "SO_PEERCRED"):
        return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[4:8], sys.byteorder)
    return int.from_bytes(sock.getsockopt(0, 1, 76)[4:8], sys.byteorder)


def _unix_socket(path: Path) -> socket.socket:
    """A bound socket, 0600 from its first moment, in place of one that a server before us left behind."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise OnyError(f"the path of {path.name} is longer than {MAX_SOCKET_PATH} bytes", "choose a data folder with a shorter path")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise OnyError(f"cannot make {path.name} ({error.strerror})", "check the data folder and its owner") from None
    finally:
        os.umask(mask)
    return sock


def _refusal(violation: Violation) -> Response:
    said = problem(violation.status, violation.reason, "the request is not one this server takes")
    allow = (("Allow", ", ".join(framing.METHODS)),) if violation.status == HTTPStatus.METHOD_NOT_ALLOWED else ()
    return Response(said.status, said.body, said.content_type, allow)


def _later(message: str) -> Response:
    said = problem(503, "busy", message, "ask again in a second")
    return Response(said.status, said.body, said.content_type, (("Retry-After", "1"),))


async def _cancelled(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "an unknown place"


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__
