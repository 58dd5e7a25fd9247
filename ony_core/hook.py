"""The hook: one event of an agent in on stdin, one answer out on stdout. A thin client of the daemon; it holds no key and decides nothing.

MUST end with exit code 0 and one whole answer on stdout, or with exit code 2, nothing on stdout and one line on stderr. Nothing in between.
MUST end by itself: at its deadline, on SIGTERM, and when its agent is gone (it runs under `sh -c`, so the parent's parent counts too).
MUST check that the other end of the socket belongs to the user it was installed for.
MUST NOT parse JSON, start a program, or believe the environment, but for one word that may only choose between two ways to say no.

`ony install` copies this file out, behind hook_start.py; agents run `python3 -I -S hook.py SOCKET UID AGENT DEADLINE` with whatever
Python >= 3.8 starts fastest.
So it keeps to that syntax and imports four modules, which the interpreter has at hand (`os` would take 2 ms).
"""

import _socket
import posix
import sys
import time

LIMIT = 16 * 1024 * 1024  # bytes of one event
REPLY_LIMIT = 64 * 1024 * 1024  # an answer may repeat the event, in JSON escapes
DEADLINE_S = 960  # the daemon answers within 905 s, whatever happens
POLL_S = 0.9  # how long one wait lasts before the deadline and the parents are looked at again
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz-")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Blocked(Exception):
    """Why the call must not run: a line for people and for the model."""


def main(words: "list[str]") -> None:
    """Answers one event and ends the process. words: SOCKET, user id of its owner, AGENT, DEADLINE in seconds."""
    try:
        code, out, err = _exchange(*_arguments(words))
    except Blocked as blocked:
        code, out, err = 2, b"", b"ony: %s\n" % str(blocked).encode("ascii", "replace")
    except BaseException as error:  # noqa: BLE001 whatever it is, the call does not run
        code, out, err = 2, b"", b"ony: the hook failed (%s), so the call is blocked\n" % type(error).__name__.encode("ascii", "replace")
    try:
        _write(1, out)
        _write(2, err)
    except BaseException:  # noqa: BLE001 the reader is gone: nobody is left to tell
        posix._exit(2)
    posix._exit(code)


def by_hand(words: "list[str]") -> None:
    """`ony hook AGENT` in a terminal or a script: the daemon of $ONY_HOME or ~/.ony. Other words are left to `main`."""
    if len(words) == 1:
        import os

        home = os.path.abspath(os.environ.get("ONY_HOME") or os.path.expanduser("~/.ony"))
        words = [home + "/ony.sock", str(posix.getuid()), words[0], str(DEADLINE_S)]
    main(words)


def peer_uid(sock: "_socket.socket") -> int:
    """User id of the process at the other end of a unix socket (Linux unix(7) SO_PEERCRED, macOS unix(4) LOCAL_PEERCRED)."""
    if hasattr(_socket, "SO_PEERCRED"):
        credentials = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    else:
        credentials = sock.getsockopt(0, _socket.LOCAL_PEERCRED, 76)  # type: ignore[attr-defined,unused-ignore]
    if len(credentials) < 8:
        raise Blocked("the system does not say who answers on the socket")
    return int.from_bytes(credentials[4:8], sys.byteorder)


def frame(agent: str, entrypoint: str, body: bytes) -> bytes:
    """`ONY1 <agent> <entrypoint>` + newline + length (32 bits, big endian) + body."""
    return b"ONY1 %s %s\n" % (agent.encode("ascii"), entrypoint.encode("ascii")) + len(body).to_bytes(4, "big") + body


def unframe(reply: bytes) -> "tuple[int, bytes, bytes]":
    """(exit code, stdout, stderr) of a whole reply: one byte, then length + bytes twice, and nothing after."""
    out_end = 5 + int.from_bytes(reply[1:5], "big")
    err_end = out_end + 4 + int.from_bytes(reply[out_end : out_end + 4], "big")
    if len(reply) < 9 or len(reply) != err_end:
        raise Blocked("the daemon's answer was cut short, so the call is blocked")
    code, out, err = reply[0], reply[5:out_end], reply[out_end + 4 :]
    if code not in (0, 2) or (code == 0) != bool(out):
        raise Blocked("the daemon's answer makes no sense, so the call is blocked")
    return code, out, err


def word(text: str) -> str:
    """The text if it is a short word of [a-z-], else "unknown"."""
    return text if 0 < len(text) <= 24 and _LETTERS.issuperset(text) else "unknown"


def _arguments(words: "list[str]") -> "tuple[str, int, str, float]":
    if len(words) != 4 or word(words[2]) != words[2] or words[0][:1] != "/":
        raise Blocked("the hook was called in a way it does not know: run `ony install` again")
    return words[0], int(words[1]), words[2], _now() + int(words[3])


def _exchange(path: str, uid: int, agent: str, deadline: float) -> "tuple[int, bytes, bytes]":
    watch = _Watch(deadline)
    body = _stdin(watch)
    sock = _connect(path, uid)
    sock.settimeout(POLL_S)
    _send(sock, frame(agent, word(posix.environ.get(b"CLAUDE_CODE_ENTRYPOINT", b"").decode("ascii", "replace")), body), watch)
    return unframe(_receive(sock, watch))


class _Watch:
    """What ends a wait: the deadline, or the agent's death."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.family = _family()
        self.looked = _now()

    def check(self) -> None:
        now = _now()
        if now >= self.deadline:
            raise Blocked("no answer in time, so the call is blocked")
        if now < self.looked + POLL_S:
            return
        self.looked = now
        if _family() != self.family:
            raise Blocked("the agent is gone, so the call is blocked")


def _family() -> "tuple[int, int]":
    """(parent, its parent). The second is 0 where /proc does not tell; it stands second behind the bracket that ends the name (proc(5))."""
    parent = posix.getppid()
    try:
        with open(f"/proc/{parent}/stat", "rb") as stat:
            return parent, int(stat.read(4096).rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return parent, 0


def _stdin(watch: _Watch) -> bytes:
    """All of stdin. Without blocking unless a person types it, so that a writer who never finishes cannot outlast the deadline."""
    if not posix.isatty(0):
        posix.set_blocking(0, False)
    parts: list[bytes] = []
    size, pause = 0, 0.0005
    while True:
        watch.check()
        try:
            part = posix.read(0, 1 << 20)
        except BlockingIOError:
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
            continue
        if not part:
            return b"".join(parts)
        parts.append(part)
        size, pause = size + len(part), 0.0005
        if size > LIMIT:
            raise Blocked("the call is larger than 16 MiB, so it is blocked")


def _connect(path: str, uid: int) -> "_socket.socket":
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    sock.settimeout(10)
    try:
        sock.connect(path)
    except OSError:
        raise Blocked("the daemon is not running, so the call is blocked: ask the owner to run `ony daemon start`") from None
    if peer_uid(sock) != uid:
        raise Blocked("the daemon's socket belongs to another user, so the call is blocked")
    return sock


def _send(sock: "_socket.socket", data: bytes, watch: _Watch) -> None:
    view = memoryview(data)
    while view:
        watch.check()
        try:
            view = view[sock.send(view) :]
        except _socket.timeout:
            continue


def _receive(sock: "_socket.socket", watch: _Watch) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        watch.check()
        try:
            part = sock.recv(1 << 20)
        except _socket.timeout:
            continue
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > REPLY_LIMIT:
            raise Blocked("the daemon's answer is too large, so the call is blocked")


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[posix.write(descriptor, view) :]


def _now() -> float:
    return time.clock_gettime(_CLOCK)


if __name__ == "__main__":
    main(sys.argv[1:])
