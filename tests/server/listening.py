"""A real listener on a real socket in a thread of its own, so that tests can be blunt blocking clients."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

from ony_core.server.http import Limits, Listener, nobody
from ony_core.server.message import Known, Request, Response, answer

QUICK = Limits(header_s=0.3, body_s=0.3, idle_s=0.3, send_s=0.3, stop_s=1, linger_s=0.5)
PATIENT = Limits(linger_s=0.5)
GIVE_UP_S = 10
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Listening:
    """answers: what /path answers with (default: an echo). seen: every request that reached the handler, as (method, path, body)."""

    def __init__(self, limits: Limits = QUICK, *, hosts: frozenset[str] | None = frozenset({"x"}), unix: Path | None = None,
                 uids: frozenset[int] | None = None, trusted: Callable[[Request], Known | None] = nobody, **more: Any) -> None:  # fmt: skip
        self._limits, self._hosts, self._unix, self._uids, self._trusted, self._more = limits, hosts, unix, uids, trusted, more
        self.answers: dict[str, Callable[[Request], Coroutine[Any, Any, Response]]] = {}
        self.seen: list[tuple[str, str, bytes]] = []
        self.peers: list[tuple[str, int | None]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> "Listening":
        self._thread.start()
        try:
            self.run(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        self.run(self.listener.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self.listener = Listener(self._handle, self._hosts, limits=self._limits, trusted=self._trusted, **self._more)
        if self._unix is None:
            self.port = await self.listener.start_tcp("127.0.0.1", 0)
        else:
            await self.listener.start_unix(self._unix, self._uids)

    async def _handle(self, request: Request) -> Response:
        self.seen.append((request.method, request.path, request.body))
        self.peers.append((request.peer, request.peer_uid))
        if request.path in self.answers:
            return await self.answers[request.path](request)
        return answer({"path": request.path, "query": request.query, "bytes": len(request.body)})

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(GIVE_UP_S)

    def connect(self) -> "Client":
        if self._unix is not None:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(self._unix))
        else:
            sock = socket.create_connection(("127.0.0.1", self.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(GIVE_UP_S)
        return Client(sock)

    def until(self, holds: Callable[[], object]) -> None:
        give_up = time.monotonic() + GIVE_UP_S
        while not holds():
            assert time.monotonic() < give_up, "never came true"
            time.sleep(0.005)


class Client:
    """Bytes out, bytes in."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def say(self, data: bytes) -> "Client":
        self.sock.sendall(data)
        return self

    def rest(self) -> bytes:
        """Everything until the server closes. An answer that a reset destroys is a failure."""
        parts = []
        while part := self.sock.recv(65536):
            parts.append(part)
        return b"".join(parts)

    def reply(self) -> tuple[int, dict[str, str], bytes]:
        """One answer with its Content-Length; the connection stays."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            assert byte, f"closed after {head!r}"
            head += byte
        status, headers = parsed(head)
        body = b""
        while len(body) < int(headers.get("content-length", 0)):
            body += self.sock.recv(int(headers["content-length"]) - len(body))
        return status, headers, body

    def byte_by_byte(self, data: bytes) -> bytes:
        """Each byte in a packet of its own, until the server has answered or all are sent; then everything until it closes."""
        self.sock.setblocking(False)
        said = b""
        for i in range(len(data)):
            try:
                said += self.sock.recv(65536)
            except BlockingIOError:
                self.sock.send(data[i : i + 1])
                continue
            if said != CONTINUE:
                break
            self.sock.send(data[i : i + 1])
        self.sock.settimeout(GIVE_UP_S)
        return said.removeprefix(CONTINUE) + self.rest()


def parsed(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("ascii").rstrip("\r\n").split("\r\n")
    pairs = [line.partition(": ") for line in lines]
    return int(first.split(" ")[1]), {name.lower(): value for name, _, value in pairs}


def get(server: Listening, path: str, headers: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    with closing(server.connect().sock) as sock:
        return Client(sock).say(b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (path.encode(), headers)).reply()
