"""The hook as a process: whatever happens on the other side, it ends with a whole answer and 0, or with nothing on stdout and 2."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ony_core import hook

HOOK = Path(hook.__file__)
EVENT = b'{"hook_event_name":"PreToolUse"}'
Behaviour = Callable[[socket.socket], None]


class StandIn:
    """A daemon's end of the socket that does what a test says. `gone` is set when the hook's end closes."""

    def __init__(self, folder: Path, behaviour: Behaviour) -> None:
        self.path = str(folder / "ony.sock")
        self.behaviour = behaviour
        self.heard = b""
        self.connected, self.gone = threading.Event(), threading.Event()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        sock, _ = self.listener.accept()
        with sock:
            header = b""
            while not header.endswith(b"\n"):
                header += sock.recv(1)
            size = int.from_bytes(self._exactly(sock, 4), "big")
            self.heard = header + self._exactly(sock, size)
            self.connected.set()
            self.behaviour(sock)
        self.gone.set()

    def _exactly(self, sock: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += sock.recv(size - len(data))
        return data


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ony-") as name:  # a socket's path has 100 bytes
        yield Path(name)


def reply(code: int = 0, out: bytes = b"{}", err: bytes = b"") -> bytes:
    return bytes([code]) + len(out).to_bytes(4, "big") + out + len(err).to_bytes(4, "big") + err


def says(data: bytes) -> Behaviour:
    return lambda sock: sock.sendall(data)


def holds_on(sock: socket.socket) -> None:
    """Never answers; returns when the hook has gone."""
    sock.recv(1)


def argv(path: str, uid: int | None = None, deadline: str = "30", agent: str = "claude") -> list[str]:
    return [sys.executable, "-I", "-S", str(HOOK), path, str(os.getuid() if uid is None else uid), agent, deadline]


def run(words: list[str], event: bytes = EVENT, **options: object) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(words, input=event, capture_output=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


def assert_blocked(done: "subprocess.CompletedProcess[bytes]", says: str = "") -> None:
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.endswith(b"\n") and done.stderr.count(b"\n") == 1 and done.stderr.startswith(b"ony: ")
    assert says in done.stderr.decode()


def test_a_whole_answer_is_passed_on_and_the_event_arrives_untouched(folder):
    daemon = StandIn(folder, says(reply(0, b'{"a": 1}')))
    event = b"\xff\x00 not even text" * 1000
    done = run(argv(daemon.path), event, env={"CLAUDE_CODE_ENTRYPOINT": "sdk-cli"})
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"a": 1}', b"")
    assert daemon.heard == b"ONY1 claude sdk-cli\n" + event


def test_a_no_of_the_daemon_is_passed_on_as_exit_code_2(folder):
    daemon = StandIn(folder, says(reply(2, b"", b"ony: not now\n")))
    done = run(argv(daemon.path))
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"ony: not now\n")


def test_sixteen_mebibytes_fit_and_one_byte_more_does_not(folder):
    daemon = StandIn(folder, says(reply()))
    assert run(argv(daemon.path), b"x" * hook.LIMIT).returncode == 0
    assert len(daemon.heard) == hook.LIMIT + len(b"ONY1 claude unknown\n")
    assert_blocked(run(argv(daemon.path), b"x" * (hook.LIMIT + 1)), "16 MiB")


@pytest.mark.parametrize("entrypoint", ["", "CLI", "a b", "x" * 25, "cli\n", "sdk_cli", "ü"])
def test_an_entrypoint_that_is_not_a_short_word_is_unknown(folder, entrypoint):
    daemon = StandIn(folder, says(reply()))
    run(argv(daemon.path), env={"CLAUDE_CODE_ENTRYPOINT": entrypoint, "ONY_HOME": "/nowhere", "PYTHONPATH": "/nowhere"})
    assert daemon.heard.startswith(b"ONY1 claude unknown\n")


BAD_ANSWERS = {
    "nothing at all": b"",
    "one byte": b"\0",
    "cut in the middle": reply(0, b'{"a": 1}')[:-6],
    "cut before the last byte": reply(0, b"{}", b"x")[:-1],
    "one byte too many": reply() + b"x",
    "a length beyond the end": b"\0" + b"\xff\xff\xff\xff" + b"{}",
    "exit code 1": reply(1),
    "exit code 255": reply(255),
    "exit code 1 without stdout": reply(1, b"", b"x"),
    "exit code 2 with stdout": reply(2, b"{}"),
    "exit code 0 without stdout": reply(0, b""),
}


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
def test_an_answer_that_is_not_whole_and_sound_blocks(folder, answer):
    assert_blocked(run(argv(StandIn(folder, says(answer)).path)), "daemon's answer")


def test_an_answer_without_end_blocks(folder):
    def floods(sock: socket.socket) -> None:
        try:
            while True:
                sock.sendall(b"x" * (1 << 20))
        except OSError:
            return

    assert_blocked(run(argv(StandIn(folder, floods).path)), "too large")


def test_no_socket_blocks(folder):
    assert_blocked(run(argv(str(folder / "ony.sock"))), "ony daemon start")


def test_a_socket_that_nobody_listens_on_blocks(folder):
    socket.socket(socket.AF_UNIX).bind(str(folder / "ony.sock"))
    assert_blocked(run(argv(str(folder / "ony.sock"))), "ony daemon start")


def test_a_daemon_of_another_user_than_installed_for_blocks(folder):
    daemon = StandIn(folder, says(reply()))
    assert_blocked(run(argv(daemon.path, uid=os.getuid() + 1)), "another user")
    assert not daemon.connected.is_set(), "the event was sent to a stranger"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_a_socket_that_another_user_squats_blocks(folder):
    path = str(folder / "ony.sock")
    squat = f"""
import os, socket, time
s = socket.socket(socket.AF_UNIX); s.bind({path!r})
os.setuid(65534); s.listen(); print("up", flush=True); time.sleep(60)"""
    with subprocess.Popen([sys.executable, "-c", squat], stdout=subprocess.PIPE) as stranger:
        try:
            assert stranger.stdout is not None and stranger.stdout.readline() == b"up\n"
            assert_blocked(run(argv(path)), "another user")
        finally:
            stranger.kill()


@pytest.mark.parametrize(
    "daemon_ends", [holds_on, lambda sock: [sock.sendall(reply()[:3]), sock.recv(1)]], ids=["silent", "half an answer"]
)
def test_at_its_deadline_the_hook_blocks_by_itself(folder, daemon_ends):
    daemon = StandIn(folder, daemon_ends)
    began = time.monotonic()
    assert_blocked(run(argv(daemon.path, deadline="1")), "in time")
    assert 0.9 < time.monotonic() - began < 5
    assert daemon.gone.wait(5)


def test_a_daemon_that_drips_does_not_stretch_the_deadline(folder):
    def drips(sock: socket.socket) -> None:
        try:
            while True:
                sock.sendall(b"\0")
                time.sleep(0.02)
        except OSError:
            return

    assert_blocked(run(argv(StandIn(folder, drips).path, deadline="1")), "in time")


def test_a_writer_that_never_finishes_does_not_outlast_the_deadline(folder):
    daemon = StandIn(folder, says(reply()))
    with subprocess.Popen(argv(daemon.path, deadline="1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        child.stdin.write(b"half an ev")
        child.stdin.flush()
        assert child.wait(10) == 2
        assert child.stdout.read() == b"" and b"in time" in child.stderr.read()


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_missing_stdin_or_stdout_blocks(folder, closed):
    daemon = StandIn(folder, says(reply()))
    done = run(["/bin/sh", "-c", f'"$@" {closed}', "sh", *argv(daemon.path)])
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_daemon_that_is_killed_while_a_call_waits_blocks_it(folder):
    path = str(folder / "ony.sock")
    serve = f"""
import socket, time
s = socket.socket(socket.AF_UNIX); s.bind({path!r}); s.listen(); print("up", flush=True)
c, _ = s.accept(); c.recv(100); print("held", flush=True); time.sleep(60)"""
    with subprocess.Popen([sys.executable, "-c", serve], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None and daemon.stdout.readline() == b"up\n"
        with subprocess.Popen(argv(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            out = _feed(child)
            assert daemon.stdout.readline() == b"held\n"
            daemon.kill()
            assert child.wait(10) == 2
            assert out() == b""


def test_the_hook_ends_when_its_parent_dies(folder):
    daemon = StandIn(folder, holds_on)
    _orphaned(daemon, [*argv(daemon.path)])


def test_the_hook_ends_when_the_agent_above_its_shell_dies(folder):
    daemon = StandIn(folder, holds_on)
    _orphaned(daemon, ["/bin/sh", "-c", '"$@" || { echo failed >&2; exit 2; }', "sh", *argv(daemon.path)])


def test_sigterm_ends_a_waiting_hook_at_once_and_the_installed_line_makes_it_exit_code_2(folder):
    daemon = StandIn(folder, holds_on)
    line = '"$@" & pid=$!; echo $pid >&2; wait $pid || { exit 2; }'
    with subprocess.Popen(["/bin/sh", "-c", line, "sh", *argv(daemon.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as child:  # fmt: skip
        assert child.stderr is not None and child.stdin is not None and child.stdout is not None
        pid = int(child.stderr.readline())
        child.stdin.close()
        _until(lambda: _runs(pid))
        os.kill(pid, signal.SIGTERM)
        assert child.wait(10) == 2
        assert child.stdout.read() == b""


BAD_WORDS = {
    "nothing": [],
    "three words": ["/s", "0", "claude"],
    "five words": ["/s", "0", "claude", "3", "4"],
    "a relative socket": ["s.sock", "0", "claude", "3"],
    "a user that is no number": ["/s", "root", "claude", "3"],
    "a deadline that is no number": ["/s", "0", "claude", "soon"],
    "an agent that is no word": ["/s", "0", "Claude Code", "3"],
}


@pytest.mark.parametrize("words", BAD_WORDS.values(), ids=BAD_WORDS.keys())
def test_words_it_does_not_know_block(words):
    assert_blocked(run([sys.executable, "-I", "-S", str(HOOK), *words]))


def test_typed_by_hand_it_asks_the_daemon_of_ony_home(folder):
    daemon = StandIn(folder, says(reply()))
    line = f"import sys; sys.path.insert(0, {str(HOOK.parent.parent)!r}); from ony_core import hook; hook.by_hand(['claude'])"
    done = run([sys.executable, "-c", line], env={"ONY_HOME": str(folder)})
    assert (done.returncode, done.stdout) == (0, b"{}")
    assert daemon.heard.startswith(b"ONY1 claude ")


def test_the_hook_loads_nothing_but_four_modules():
    bare = _modules("import posix, sys, time")
    loaded = _modules(f"exec(compile(open({str(HOOK)!r}).read(), 'hook', 'exec'), {{'__name__': 'hook'}})")
    assert loaded - bare <= {"_socket"}


def test_the_source_keeps_to_the_syntax_of_python_3_8():
    import ast

    ast.parse(HOOK.read_text(), feature_version=(3, 8))


def _modules(code: str) -> set[str]:
    done = run([sys.executable, "-I", "-S", "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"])
    return set(done.stdout.decode().split())


def _orphaned(daemon: StandIn, command: list[str]) -> None:
    """The command runs below a process that is then killed; its connection must close soon after."""
    spawn = "import subprocess, sys, time; subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", spawn, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as agent:
        try:
            assert daemon.connected.wait(20)
            assert not daemon.gone.wait(1.2), "the hook ended while its agent lived"
        finally:
            agent.kill()
    assert daemon.gone.wait(5), "the hook outlived its agent"


def _feed(child: "subprocess.Popen[bytes]") -> Callable[[], bytes]:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(EVENT)
    child.stdin.close()
    return child.stdout.read


def _runs(pid: int) -> bool:
    """Past its start: the interpreter has put its own handlers in place and sleeps."""
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()[0] == b"S"


def _until(holds: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.01)
