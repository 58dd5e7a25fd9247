"""A real bash in an empty folder where every reachable program is a stub that notes its own call, or a known harmless tool.

MUST: run nothing but what the caller's line leads to; PATH holds one folder, the environment nothing else; two seconds, little memory.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.facts.command_lines import REAL, STUBS

LIMITS = 'ulimit -t 2 -f 256 -c 0; exec bash --norc --noprofile -c "$1"'
STUB = '#!/bin/sh\nprintf \'%s\\0\' "${0##*/}" "$#" "$@" >&9\n'
SECONDS = 2.0


class RealShell:
    """`ran(line)`: what the line really started. folder: an empty one that this class owns."""

    def __init__(self, folder: Path) -> None:
        self.programs, self.work = folder / "bin", folder / "work"
        self.programs.mkdir()
        for name in STUBS:
            (self.programs / name).write_text(STUB)
            (self.programs / name).chmod(0o755)
        for name in REAL:
            found = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin:/opt/homebrew/bin")
            assert found, f"this machine has no {name}"
            (self.programs / name).symlink_to(found)

    def ran(self, line: str) -> list[list[str]] | None:
        """The argv of every stub that was started, in order; None if the line took too long, or too much."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        process = subprocess.Popen(
            [str(self.programs / "bash"), "--norc", "-c", f"exec 9>&{writer} {writer}>&-; {LIMITS}", "bash", line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.work,
            pass_fds=[writer],
            env={"PATH": str(self.programs)},
            start_new_session=True,
        )
        os.close(writer)
        try:
            data = _until_closed(reader)
        finally:
            _end(process)
            os.close(reader)
        ended_by_limit = process.returncode in (-signal.SIGXCPU, -signal.SIGKILL)
        return None if data is None or ended_by_limit else _records(data)


def _until_closed(reader: int) -> bytes | None:
    """Everything until the last process that could still write is gone."""
    data, end = b"", time.monotonic() + SECONDS
    while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
        piece = os.read(reader, 65536)
        if not piece:
            return data
        data += piece
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _records(data: bytes) -> list[list[str]]:
    words = data.decode("utf-8", "surrogateescape").split("\0")[:-1]
    found, at = [], 0
    while at < len(words):
        count = int(words[at + 1])
        found.append([words[at], *words[at + 2 : at + 2 + count]])
        at += 2 + count
    return found
