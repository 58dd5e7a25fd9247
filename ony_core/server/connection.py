"""One client, as a state machine that its socket feeds. A task runs while a request is being answered, none while the client waits.

MUST give every wait an end counted from its start, not from the last byte (a byte every four seconds defeats a timeout per read).
MUST end the connection after anything that framing refuses, and after a client that floods us while we work for it.
MUST begin TLS inside these bounds: a client that shakes no hands is counted, and cut, like one that sends no header.
MUST NOT tear a POST in two: when its client hangs up it still runs to its end. A GET, which changes nothing, is cancelled.
"""

import asyncio
import enum
import logging
import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ony_core.server import framing
from ony_core.server.framing import Violation
from ony_core.server.message import Known, Parked, Request, later, refusal
from ony_core.server.sockets import peer_uid

if TYPE_CHECKING:
    from ony_core.server.http import Listener

READ = 64 * 1024
LINGER_BYTES = 8 * 1024 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NEVER = float("inf")

log = logging.getLogger("ony.http")


class Phase(enum.Enum):
    """What the connection is doing. Each but the two of the handler has a deadline."""

    HANDSHAKE = enum.auto()
    IDLE = enum.auto()  # kept, and nothing of another request has come
    HEAD = enum.auto()
    BODY = enum.auto()
    ANSWERING = enum.auto()
    PARKED = enum.auto()
    SENDING = enum.auto()
    LINGERING = enum.auto()  # reading on after the last answer: closing at once would reset the connection and lose it (RFC 9112, 9.6)
    CLOSING = enum.auto()
    GONE = enum.auto()


class Connection(asyncio.Protocol):
    """uids: whose processes are heard on the local socket; None: a network's. trusted: whose its requests were found to be.

    due: by the loop's clock, when `overdue` is to be called. closes: nothing follows the answer that is being made.
    """

    __slots__ = ("_awaited", "_buffer", "_get", "_head", "_listener", "_parked", "_phase", "_read", "_refused", "_task", "_transport",
                 "_uid", "_uids", "address", "closes", "due", "trusted")  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, listener: "Listener", uids: frozenset[int] | None = None) -> None:
        self._listener, self._uids = listener, uids
        self._uid: int | None = None
        self._phase, self.due = Phase.GONE, _NEVER  # until it is let in
        self._buffer, self._read = bytearray(), 0  # read: bytes that an earlier look has seen, or that were thrown away
        self._head: framing.Head | None = None
        self._task: asyncio.Task[Any] | None = None
        self._parked: Parked | None = None
        self.address = self._awaited = ""  # awaited: whose body is, where the listener counts it
        self.trusted: Known | None = None
        self.closes = self._get = self._refused = False

    # ---------------------------------------------------------------- the socket's events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=0)  # sent means sent, so that closing never waits for a slow reader
        if not self._introduced():
            self._transport.abort()
        elif self._listener.admit(self):
            self._await(Phase.HEAD, self._listener.limits.header_s)
            self._secure()
        else:
            self._turn_away()

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.LINGERING:
            self._throw_away(len(data))
        elif self._phase not in (Phase.CLOSING, Phase.GONE):
            self._buffer += data
            self._look()

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        if self._phase is Phase.SENDING:
            self._sent()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._phase is Phase.GONE:
            return
        self._phase, self.due, self._buffer = Phase.GONE, _NEVER, bytearray()
        self._unpark()
        self._no_body()
        if self._task is None:
            self._listener.forget(self)
        elif self._get:
            self._task.cancel()

    # ---------------------------------------------------------------- the listener's

    def overdue(self) -> None:
        """The deadline has passed: what each phase comes to when it takes too long."""
        if self._phase is Phase.PARKED:
            self._woken()
        elif self._phase is Phase.BODY:
            self._refuse(Violation(408, "slow_body"))
        elif self._phase is Phase.HEAD and self._buffer:
            self._refuse(Violation(408, "slow_head"))
        elif self._phase in (Phase.HEAD, Phase.IDLE):
            self._close()
        else:
            self._transport.abort()

    def stop(self) -> None:
        """The server stops: who waits is told to come again, what is being done or said comes to its end, the rest is over."""
        if self._phase is Phase.PARKED or (self._phase is Phase.ANSWERING and self._get):
            self._unpark()
            if self._task is not None:
                self._task.cancel()
            self._say(self._listener.rendered(later("the server is stopping"), close=True))
        elif self._phase in (Phase.HANDSHAKE, Phase.IDLE, Phase.HEAD, Phase.BODY):
            self._close()

    def abort(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    # ---------------------------------------------------------------- beginning

    def _introduced(self) -> bool:
        """Whether we know who is there, and may hear them."""
        if self._uids is None:
            name = self._transport.get_extra_info("peername")
            self.address = str(name[0]) if name else ""
            return bool(name)  # without a name it has left already
        self._uid = peer_uid(self._transport.get_extra_info("socket"))
        if self._uid not in self._uids:
            log.warning("a process of another user was turned away")
        return self._uid in self._uids

    def _secure(self) -> None:
        if self._uids is None and (context := self._listener.tls) is not None:
            self._transport.pause_reading()  # the client's first bytes are for the handshake
            self._await(Phase.HANDSHAKE, self._listener.limits.header_s)
            self._task = asyncio.get_running_loop().create_task(self._handshake(context))
            self._task.add_done_callback(self._secured)

    async def _handshake(self, context: ssl.SSLContext) -> asyncio.Transport | None:
        limits = self._listener.limits
        return await asyncio.get_running_loop().start_tls(
            self._transport, self, context, server_side=True,
            ssl_handshake_timeout=limits.header_s, ssl_shutdown_timeout=limits.linger_s,
        )  # fmt: skip

    def _secured(self, task: "asyncio.Task[asyncio.Transport | None]") -> None:
        self._task = None
        secure = None if task.cancelled() or task.exception() is not None else task.result()
        if secure is None or self._phase is not Phase.HANDSHAKE:
            self._transport.abort()
            self._lost()
            return
        self._transport = secure
        self._transport.set_write_buffer_limits(high=1, low=0)  # asyncio's TLS takes a limit that is reached for one that is passed
        self._await(Phase.HEAD, self._listener.limits.header_s)
        self._look()

    def _lost(self) -> None:
        """A handshake that fails tells us of no loss."""
        if self._phase is Phase.GONE:
            self._listener.forget(self)
        self.connection_lost(None)

    def _turn_away(self) -> None:
        """Too many already: say so without waiting for a request, and end. Nothing can be said before a handshake."""
        if self._uids is not None or self._listener.tls is None:
            self._transport.write(self._listener.rendered(later("too many connections"), close=True))
        if (self._uids is None and self._listener.tls is not None) or self._transport.get_write_buffer_size():
            self._transport.abort()
        self._transport.close()

    # ---------------------------------------------------------------- in

    def _look(self) -> None:
        """At what has come, in the phases in which something is awaited."""
        if self._phase is Phase.IDLE:
            self._await(Phase.HEAD, self._listener.limits.header_s)
        if self._phase in (Phase.HEAD, Phase.BODY):
            try:
                request = self._request()
            except Violation as violation:
                self._refuse(violation)
                return
            if request is not None:
                self._answer(partial(self._listener.routed, self, request))
        elif len(self._buffer) > READ:
            self._close()  # more than a client that waits for an answer has any reason to send

    def _request(self) -> Request | None:
        """The next request, None while it is not whole. Violation."""
        head = self._head or self._headed()
        if head is None or len(self._buffer) < head.length:
            return None
        body, self._head = self._taken(head.length), None
        self._no_body()
        self._get, self.closes = head.method == "GET", head.closes
        peer = framing.client_of(self.address, head.headers, self._listener.proxies) if self.address else ""
        return Request(head.method, head.path, head.query, head.headers, body, peer, self._uid)

    def _headed(self) -> framing.Head | None:
        end = framing.head_end(self._buffer, self._read)
        if end is None:
            self._read = len(self._buffer)
            return None
        head = self._head = framing.head(self._taken(end), self._listener.hosts)
        if len(self._buffer) < head.length:
            self._awaited = self._listener.await_body(self.address, head)
            self._await(Phase.BODY, self._listener.limits.body_s)
            if head.expects_continue:
                self._transport.write(_CONTINUE)
        return head

    def _no_body(self) -> None:
        """None is awaited any more."""
        if self._awaited:
            self._listener.body_came(self._awaited)
            self._awaited = ""

    def _taken(self, many: int) -> bytes:
        data, self._read = bytes(self._buffer[:many]), 0
        if many == len(self._buffer):
            self._buffer = bytearray()  # an emptied one would keep its room
        else:
            del self._buffer[:many]
        return data

    def _throw_away(self, many: int) -> None:
        self._read += many
        if self._read > LINGER_BYTES:
            self._close()

    # ---------------------------------------------------------------- the handler

    def _answer(self, work: Callable[[], Any]) -> None:
        self._await(Phase.ANSWERING, _NEVER)
        self._task = asyncio.get_running_loop().create_task(self._listener.handle(self, work))
        self._task.add_done_callback(self._answered)

    def _answered(self, task: "asyncio.Task[bytes | Parked]") -> None:
        self._task = None
        said = None if task.cancelled() else task.result()
        if self._phase is Phase.GONE:
            self._listener.forget(self)
        if self._phase is not Phase.ANSWERING:  # nobody is there to hear it
            if isinstance(said, Parked):
                said.leave()
        elif isinstance(said, Parked):
            self._park(said)
        elif said is not None:
            self._say(said)
        else:
            self._transport.abort()

    def _park(self, parked: Parked) -> None:
        """Nothing to say for now; what is left of the request is `parked`."""
        self._parked = parked
        self._await(Phase.PARKED, parked.seconds)
        parked.wake = self._woken
        if parked.called:
            self._woken()

    def _woken(self) -> None:
        if (parked := self._parked) is not None:
            self._unpark()
            self._answer(parked.answer)

    def _unpark(self) -> None:
        parked, self._parked = self._parked, None
        if parked is not None:
            parked.wake = None
            parked.leave()

    # ---------------------------------------------------------------- out

    def _say(self, data: bytes) -> None:
        self._await(Phase.SENDING, self._listener.limits.send_s)
        self._transport.write(data)
        if not self._transport.get_write_buffer_size():
            self._sent()

    def _sent(self) -> None:
        over = self.closes or self._listener.stopping
        if self._refused or (over and self._transport.can_write_eof()):
            self._linger()
        elif over:
            self._close()
        elif self._buffer:
            self._await(Phase.HEAD, self._listener.limits.header_s)
            self._look()
        else:
            self._await(Phase.IDLE, self._listener.limits.idle_s)

    def _refuse(self, violation: Violation) -> None:
        log.warning("refused from %s: %s", self.address or "the local socket", violation.reason)
        self._listener.refused(violation)
        self._refused, self._buffer, self._read = True, bytearray(), 0
        self._say(self._listener.rendered(refusal(violation.status, violation.reason, framing.METHODS), close=True))

    def _linger(self) -> None:
        self._await(Phase.LINGERING, self._listener.limits.linger_s)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _close(self) -> None:
        """What is written is still sent, and TLS says goodbye, but neither for long."""
        self._await(Phase.CLOSING, self._listener.limits.linger_s)
        self._transport.close()

    def _await(self, phase: Phase, seconds: float) -> None:
        self._phase, self.due = phase, self._listener.now() + seconds
