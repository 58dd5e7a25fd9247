"""A whole Ony in one folder, for tests through the front door: real processes, sockets and database, a simulated telephone line.

    with World() as world:
        world.rings().approves()                      # what the person will do when the phone rings
        reply = world.hook("terraform apply")         # what the agent's hook answers

Nothing of the developer's machine shines through: every process starts from an empty environment and a HOME of its own, and is ended by its
process id when the world ends. One world can use one code: codes are single use, and the next one is up to 30 seconds away.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any

import pyotp

from ony_core import program
from tests.sim.call import RealTime
from tests.sim.laml import Provider
from tests.sim.phone import Phone

EMAIL = "owner@example.com"
NUMBER = "+15550100123"
ROOT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 30
PACE = 0.1  # the line speaks ten times as fast as a person would
GAP_S = 12.0  # before each key, at that pace: keys within the first real second of a prompt are ignored


class World:
    """deadline_s: how long a hold may last. ony: argv that starts the program (default: this checkout). through: address -> address the
    connector is enrolled at, for a proxy between it and the server."""

    def __init__(self, deadline_s: int = 60, ony: list[str] | None = None, through: Callable[[str], str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ony-"))  # not pytest's: the path of a unix socket has 100 bytes
        self.deadline_s, self.argv = deadline_s, ony or program.command()
        self.data, self.ony_home, self.home, self.project = (self.folder / name for name in ("data", "ony", "home", "project"))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.through = through or (lambda url: url)
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "ONY_HOME": str(self.ony_home), "LANG": "C.UTF-8"}
        self.provider = Provider(time=RealTime(PACE))
        self.server: subprocess.Popen[bytes] | None = None
        self.secret = ""

    def __enter__(self) -> "World":
        for made in (self.home, self.project):
            made.mkdir(parents=True, exist_ok=True)
        self.provider.__enter__()
        try:
            self._set_up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with ExitStack() as ending:  # each of these happens, also when the one before it failed
            ending.callback(shutil.rmtree, self.folder)
            ending.callback(self.provider.__exit__, None, None, None)
            ending.callback(self.stop_server)
            ending.callback(self.stop_daemon)

    def _set_up(self) -> None:
        self.ony(
            "admin",
            "init",
            "--data",
            str(self.data),
            "--org",
            "Test",
            "--email",
            EMAIL,
            "--password-stdin",
            "--json",
            stdin="correct horse battery",
        )
        self._configure()
        self.start_server()
        phone = self.admin("phone", "--email", EMAIL, "--number", NUMBER, "--verified")
        self.secret, self.device_id = phone["totp_secret"], phone["device_id"]
        code = self.admin("enroll-code", "--email", EMAIL)["code"]
        self.ony("enroll", self.through(self.url), "--name", "test", stdin=code + "\n")
        self.start_daemon()

    # ---------------------------------------------------------------- the program

    def ony(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """stdout of one command, run as the owner."""
        done = subprocess.run(
            [*self.argv, *words], input=stdin, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert not check or done.returncode == 0, f"ony {' '.join(words)} ended with {done.returncode}: {done.stderr}{self.log()}"
        return done.stdout

    def admin(self, *words: str) -> dict[str, Any]:
        """The --json answer of one `ony admin` command on the running server."""
        answer: dict[str, Any] = json.loads(self.ony("admin", words[0], "--data", str(self.data), *words[1:], "--json"))
        return answer

    def hook(self, command: str, session: str = "11111111-2222-4333-8444-555555555555") -> "subprocess.CompletedProcess[str]":
        """`ony hook claude` with one Bash call, as Claude Code sends it."""
        event = {"session_id": session, "transcript_path": str(self.folder / "transcript.jsonl"), "cwd": str(self.project),
                 "permission_mode": "default", "hook_event_name": "PreToolUse", "tool_name": "Bash",
                 "tool_input": {"command": command, "description": "as the agent puts it"}, "tool_use_id": "toolu_world"}  # fmt: skip
        return subprocess.run([*self.argv, "hook", "claude"], input=json.dumps(event), env=self.environment, cwd=self.project,
                              capture_output=True, text=True, timeout=self.deadline_s + 60, check=False)  # fmt: skip

    # ---------------------------------------------------------------- server

    def _configure(self) -> None:
        self.config = self.folder / "ony.toml"
        self.config.touch(0o600)
        self.config.write_text(
            f'[server]\nlisten = "127.0.0.1:{self.port}"\npublic_url = "{self.url}"\ndata = "{self.data}"\n'
            f'[voice]\nprovider = "signalwire"\nbase_url = "{self.provider.base_url}"\nproject_id = "{self.provider.account}"\n'
            f'api_token = "{self.provider.token}"\nsigning_key = "{self.provider.signing_key}"\nfrom = "{self.provider.owned[0]}"\n'
            f"[policy]\ndecision_deadline = {self.deadline_s}\n"
        )

    def start_server(self) -> None:
        with open(self.folder / "server.log", "ab") as log:
            self.server = subprocess.Popen([*self.argv, "serve", "--data", str(self.data), "--config", str(self.config)],
                                           env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # fmt: skip
        self.until("the server is ready", self._ready)

    def stop_server(self) -> None:
        """SIGTERM, and SIGKILL for a server that does not listen to it: that is a failure of the test."""
        if self.server is None:
            return
        server, self.server = self.server, None
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(5)
            raise AssertionError("ony serve did not end within 15 s of SIGTERM") from None

    def kill_server(self) -> None:
        """As a power cut would end it."""
        assert self.server is not None
        self.server.kill()
        self.server.wait(5)
        self.server = None

    def _ready(self) -> bool:
        assert self.server is not None and self.server.poll() is None, f"ony serve ended: {self.log()}"
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def get(self, target: str) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as link:
            link.request("GET", target)
            answer = link.getresponse()
            return answer.status, answer.read()

    # ---------------------------------------------------------------- daemon

    def start_daemon(self) -> None:
        self.ony("daemon", "start")

    def stop_daemon(self) -> None:
        if self.daemon_pid():
            self.ony("daemon", "stop")
            self.until("the daemon is gone", lambda: not self.daemon_pid())

    def kill_daemon(self) -> None:
        """As a crash would end it."""
        pid = self.daemon_pid()
        assert pid, "there is no daemon to kill"
        os.kill(pid, signal.SIGKILL)
        self.until("the daemon is gone", lambda: not self.daemon_pid())

    def daemon_pid(self) -> int:
        """Who answers on the socket (Linux unix(7) SO_PEERCRED, macOS unix(4) LOCAL_PEERPID), 0 for nobody."""
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(self.ony_home / "ony.sock"))
            except OSError:
                return 0
            linux = hasattr(socket, "SO_PEERCRED")
            found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12) if linux else sock.getsockopt(0, 2, 4)
            pid: int = struct.unpack_from("i", found)[0]
            return pid

    # ---------------------------------------------------------------- the owner

    def rings(self) -> "Owner":
        """The next call to the owner's phone; say on the result what the owner does."""
        return Owner(self, self.provider.expect_call(to=NUMBER))

    def code(self) -> str:
        """The six digits the owner's authenticator shows now."""
        return pyotp.TOTP(self.secret).now()

    # ---------------------------------------------------------------- what can be seen

    def handoffs(self) -> list[tuple[str, str, str]]:
        """(state, action, reason) of every request, oldest first, read beside the running server."""
        with closing(sqlite3.connect(f"file:{self.data / 'ony.db'}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute("SELECT state, action, reason FROM handoff ORDER BY created_at, id").fetchall()

    def states(self) -> list[str]:
        return [state for state, _, _ in self.handoffs()]

    def until(self, what: str, holds: Callable[[], object], limit_s: float = START_LIMIT_S) -> None:
        """Looks again and again: processes of their own cannot be given our clock."""
        give_up = time.monotonic() + limit_s
        while not holds():
            assert time.monotonic() < give_up, f"never came true: {what}{self.log()}"
            time.sleep(0.02)

    def log(self) -> str:
        """The end of what server and daemon wrote, for the message of a failed test."""
        logs = [self.folder / "server.log", *(self.ony_home / "log").glob("*")]
        return "".join(f"\n--- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in logs if path.is_file())


class Owner:
    """What the person does with one call."""

    def __init__(self, world: World, phone: Phone) -> None:
        self.world, self.phone = world, phone

    def approves(self) -> Phone:
        return self._opens().press("1", GAP_S).hears("six").press(self.world.code, GAP_S)

    def denies(self) -> Phone:
        return self._opens().press("2", GAP_S)

    def lets_it_ring(self) -> Phone:
        return self.phone.keeps_ringing()

    def _opens(self) -> Phone:
        return self.phone.answer(after=0).hears("Press 5").press("5", GAP_S).hears("Press 1")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
