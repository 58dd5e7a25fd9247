"""`ony daemon`: listens on the socket, answers hooks and the owner's words. Parsing and holds run in threads; the loop only moves bytes.

MUST answer only processes of its own user. MUST answer every hook before the hook's own deadline, whatever a thread is stuck in.
MUST notice that a hook is gone while its call is on hold, and end the ringing. MUST deny where anything unexpected happens.
MUST NOT write a command, a file's content or a code into its log.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import logging
import logging.handlers
import os
import re
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ony_core import agents, canon, hook
from ony_core.agents.event import Notice, Reply, blocked
from ony_core.connector import control, home
from ony_core.connector.gate import Gate, Weighed
from ony_core.connector.hold import GRACE_S, Hold
from ony_core.connector.install import claude as claude_settings
from ony_core.errors import Malformed, OnyError
from ony_core.model import Decision

log = logging.getLogger("ony.connector")
T = TypeVar("T")
FRAME_S = 30  # for a hook to deliver its event
WEIGH_S = 15
MAX_HOLDS = 64
MAX_CONNECTIONS = 256
REFRESH_S = 60
_HEADER = re.compile(rb"ONY1 ([a-z-]{1,24}) ([a-z-]{1,24})\n\Z")


class Daemon:
    """One listener for one folder."""

    def __init__(self, folder: Path, gate: Gate) -> None:
        self.folder, self.gate = folder, gate
        self.holds: dict[str, Hold] = {}
        self._stop = asyncio.Event()
        self._connections = 0
        self._weighing = ThreadPoolExecutor(4, "weigh")
        self._holding = ThreadPoolExecutor(MAX_HOLDS + 8, "hold")
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, ready: str = "") -> None:
        """Until SIGTERM, SIGINT or `ony daemon stop`. ready: a line printed once hooks are answered."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        with _only_one(self.folder), contextlib.closing(_listener(home.socket_path(self.folder))) as listener:
            server = await asyncio.start_unix_server(self._connection, sock=listener)
            refreshing = asyncio.create_task(self._keep_fresh())
            if ready:
                print(ready, flush=True)
            await self._stop.wait()
            refreshing.cancel()
            server.close()
            await self._end_holds()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(home.socket_path(self.folder))

    def stop(self) -> None:
        self._stop.set()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The boundary: whatever happens in here, the hook at the other end hears a no or nothing, never a yes."""
        self._connections += 1
        try:
            if self._connections <= MAX_CONNECTIONS and hook.peer_uid(writer.get_extra_info("socket")) == os.getuid():
                reply = await self._answer(reader)
                writer.write(_framed(reply))
                await asyncio.wait_for(writer.drain(), FRAME_S)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.info("connection lost: %s", type(error).__name__)
        except Exception as error:  # noqa: BLE001 boundary: the hook takes the closed connection for a no
            log.error("unexpected %s in a connection", type(error).__name__)
        finally:
            self._connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> Reply:
        header, data = await asyncio.wait_for(_frame(reader), FRAME_S)
        if not header:
            return blocked("the daemon does not know this kind of hook, so the call is blocked: run `ony install` again")
        word = header[1].decode()
        if word == control.AGENT:
            return await self._control(header[2].decode(), data)
        if word not in agents.BY_WORD:
            return blocked("the daemon does not know this agent, so the call is blocked")
        return await self._event(agents.BY_WORD[word], data, reader)

    async def _event(self, agent: agents.Agent, data: bytes, reader: asyncio.StreamReader) -> Reply:
        try:
            understood = await self._in(self._weighing, WEIGH_S, self._understand, agent, data)
            if isinstance(understood, Weighed):
                return agent.reply(await self._decide(understood, reader), understood.call)
            return understood
        except Malformed as error:
            return agent.refuse(f"Ony: {error}, so the call is blocked")
        except TimeoutError:
            return agent.refuse("Ony: understanding the call took too long, so it is blocked")
        except Exception as error:  # noqa: BLE001 boundary: an unexpected failure is a no
            log.error("unexpected %s while answering: %s", type(error).__name__, _where(error))
            self.gate.outbox.add("refused", reason="unexpected")
            return agent.refuse(f"Ony: unexpected {type(error).__name__} in the daemon, so the call is blocked. See its log")

    def _understand(self, agent: agents.Agent, data: bytes) -> "Weighed | Reply":
        """In one go in one thread: most calls are harmless and done after this."""
        event = agent.read(data)
        if isinstance(event, Notice):
            return agent.answer(event, claude_settings.harm(self.folder, event) if agent.changes_settings(event) else "")
        weighed = self.gate.weigh(event)
        return agent.reply(Decision("pass"), event) if weighed.outcome == "pass" else weighed

    async def _decide(self, weighed: Weighed, reader: asyncio.StreamReader) -> Decision:
        if len(self.holds) >= MAX_HOLDS:
            return Decision("deny", "Ony: too many calls are waiting for an answer already, so this one is blocked")
        hold = Hold(self.gate, weighed)
        self.holds[hold.request_id] = hold
        try:
            return await self._held(hold, reader)
        finally:
            del self.holds[hold.request_id]
            self._background(self.gate.outbox.try_send)

    async def _held(self, hold: Hold, reader: asyncio.StreamReader) -> Decision:
        """The hold's decision, or a no when the hook is gone or our own limit is reached, whichever is first."""
        decision = asyncio.ensure_future(self._in(self._holding, None, hold.run))
        gone = asyncio.ensure_future(reader.read(1))
        done, _ = await asyncio.wait({decision, gone}, timeout=hold.deadline_s + 2 * GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if decision in done and not hold.gone.is_set():
            return decision.result()
        hold.gone.set()
        self._background(hold.cancel)
        decision.add_done_callback(lambda late: late.cancelled() or late.exception())
        return Decision("deny", "Ony: no answer in time, so the call is blocked")

    async def _control(self, verb: str, data: bytes) -> Reply:
        try:
            if verb == "stop":
                asyncio.get_running_loop().call_later(0.05, self.stop)
                return Reply(0, b"{}")
            said = await self._in(self._holding, 25, control.answer, self.gate, self.holds, verb, canon.loads(data))
            return Reply(0, canon.dumps(said))
        except OnyError as error:
            return Reply(2, b"", f"{error.what}\n{error.hint}".encode())

    async def _keep_fresh(self) -> None:
        while True:
            self._background(self._refresh)
            await asyncio.sleep(REFRESH_S)

    def _refresh(self) -> None:
        try:
            self.gate.refresh()
            self.gate.outbox.heartbeat(self.gate.clock.wall())
        except OnyError as error:
            log.warning("the server's bundle could not be fetched: %s", error.what)

    async def _end_holds(self) -> None:
        """Hangs up for every waiting call, for at most five seconds; their hooks see the connection close and block."""
        for hold in self.holds.values():
            hold.gone.set()
        ending = [self._in(self._holding, 5, hold.cancel) for hold in self.holds.values()]
        await asyncio.gather(*ending, return_exceptions=True)

    def _background(self, work: Callable[[], Any]) -> None:
        task = asyncio.create_task(self._in(self._holding, None, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_logged)

    async def _in(self, pool: ThreadPoolExecutor, limit_s: float | None, work: Callable[..., T], *args: Any) -> T:
        """work(*args) in a thread. TimeoutError when it takes longer; the thread's late result is dropped."""
        return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(pool, work, *args), limit_s)


def harden() -> None:
    """No core dumps, and no other process of this user may read our memory (Linux prctl(2) PR_SET_DUMPABLE = 4)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(4, 0, 0, 0, 0) != 0:
        raise OnyError("this process could not be closed to others", "is a sandbox in the way? prctl(PR_SET_DUMPABLE) failed")


def log_to(folder: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(folder / "log" / "daemon.log", maxBytes=1 << 20, backupCount=3)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """A lock that ends with the process, so that a stale socket may be removed without guessing."""
    handle = os.open(folder / control.LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise OnyError("a daemon is running for this folder already", "`ony daemon stop` ends it") from None
    try:
        os.truncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def _listener(path: str) -> socket.socket:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OnyError(f"{path} is in the way ({error.strerror})", "look what it is and remove it") from None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(128)
    return listener


async def _frame(reader: asyncio.StreamReader) -> tuple[re.Match[bytes] | None, bytes]:
    """Header and body of one request; no header where it is not one of ours, or larger than a hook sends."""
    header = _HEADER.match(await reader.readuntil(b"\n"))
    size = int.from_bytes(await reader.readexactly(4), "big")
    if not header or size > hook.LIMIT:
        return None, b""
    return header, await reader.readexactly(size)


def _framed(reply: Reply) -> bytes:
    return bytes([reply.code]) + len(reply.out).to_bytes(4, "big") + reply.out + len(reply.err).to_bytes(4, "big") + reply.err


def _logged(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("unexpected %s in the background: %s", type(error).__name__, _where(error))


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
