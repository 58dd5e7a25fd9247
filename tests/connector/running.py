"""An enrolled connector whose daemon runs as a process, asked through the real hook."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ony_core import hook, program
from ony_core.connector import control
from tests.connector.standin import StandIn

COMMAND = "terraform apply -auto-approve"


class Connector:
    """A folder enrolled at a stand-in server, and the program that serves it."""

    def __init__(self, folder: Path, project: Path, server: StandIn) -> None:
        self.folder, self.project, self.server = folder, project, server
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder.parent), "ONY_HOME": str(folder), "LANG": "C.UTF-8"}

    def ony(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*program.command(), *words], input=stdin, env=self.environment, capture_output=True, text=True, timeout=60,
                              check=False)  # fmt: skip

    def enrol(self) -> None:
        done = self.ony("enroll", self.server.url, "--name", "test", stdin=self.server.code + "\n")
        assert done.returncode == 0, done.stderr

    def start(self) -> int:
        done = self.ony("daemon", "start")
        assert done.returncode == 0, done.stderr
        return int(control.ask("status", folder=self.folder)["pid"])

    def event(self, command: str, **changes: Any) -> bytes:
        event = {"session_id": "s-1", "transcript_path": "/t", "cwd": str(self.project), "permission_mode": "default",
                 "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": command}, "tool_use_id": "t"}  # fmt: skip
        return json.dumps(event | changes).encode()

    def hook(self, command: str, **changes: Any) -> "subprocess.CompletedProcess[bytes]":
        with self.asking(command, **changes) as child:
            out, err = child.communicate(timeout=60)
        return subprocess.CompletedProcess(child.args, child.returncode, out, err)

    def asking(self, command: str, **changes: Any) -> "subprocess.Popen[bytes]":
        return self.raw(self.event(command, **changes))

    def raw(self, event: bytes) -> "subprocess.Popen[bytes]":
        words = [str(Path(hook.__file__)), str(self.folder / "ony.sock"), str(os.getuid()), "claude", "60"]
        child = subprocess.Popen(["python3", "-I", "-S", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.stdin is not None
        child.stdin.write(event)
        child.stdin.close()
        child.stdin = None
        return child


def said(done: "subprocess.CompletedProcess[bytes]") -> dict[str, Any]:
    assert done.returncode == 0 and done.stderr == b"", done
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer.get("hookSpecificOutput", answer)


def until(holds: Callable[[], object], limit_s: float = 15) -> None:
    give_up = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return False
