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
from dataclasses import dataclass
from pathlib import Path

from tests.facts.command_lines import FOLDERS, READS_INPUT, REAL, STUBS

LIMITS = 'ulimit -t 2 -f 256 -c 0; exec "$@"'
SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-c"], "dash": ["dash", "-c"], "zsh": ["zsh", "-f", "-c"]}
STUB = '#!/bin/sh\nprintf \'%s\\0\' "${0##*/}" "$(pwd -P)" "$given" "$#" "$@" >&9\n'
READING = '[ "$#" != 0 ] || while IFS= read -r line || [ -n "$line" ]; do given=$given$line"\n"; done\n'
SECONDS = 2.0


@dataclass(frozen=True)
class Started:
    """One program that really ran: its words, the folder below the working folder, and what it was fed (a few programs only)."""

    argv: list[str]
    folder: str = ""
    given: str = ""


class RealShell:
    """`ran(line)`: what the line really started. folder: an empty one that this class owns."""

    def __init__(self, folder: Path) -> None:
        self.programs, self.work = folder / "bin", folder / "work"
        self.programs.mkdir()
        for name in STUBS:
            head, rest = STUB.split("\n", 1)
            (self.programs / name).write_text(f"{head}\ngiven=\n{READING if name == READS_INPUT else ''}{rest}")
            (self.programs / name).chmod(0o755)
        for name in [*REAL, *SHELLS]:
            found = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin:/opt/homebrew/bin")
            assert found or name in SHELLS, f"this machine has no {name}"
            if found and name not in STUBS:
                (self.programs / name).unlink(missing_ok=True)
                (self.programs / name).symlink_to(found)

    def has(self, shell: str) -> bool:
        return (self.programs / shell).exists()

    def files(self) -> list[str]:
        """What the last line left behind, named from the working folder."""
        return sorted(str(path.relative_to(self.work)) for path in self.work.rglob("*") if not path.is_dir())

    def ran(self, line: str, shell: str = "bash") -> list[Started] | None:
        """Every stub that was started, in order; None if the line took too long, or too much."""
        shutil.rmtree(self.work, ignore_errors=True)
        for name in FOLDERS:
            (self.work / name).mkdir(parents=True, exist_ok=True)
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        process = subprocess.Popen(
            [str(self.programs / "bash"), "--norc", "-c", f"exec 9>&{writer} {writer}>&-; {LIMITS}", "-", *SHELLS[shell], line],
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
        return None if data is None or ended_by_limit else _records(data, os.path.realpath(self.work))


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


def _records(data: bytes, top: str) -> list[Started]:
    words = data.decode("utf-8", "surrogateescape").split("\0")[:-1]
    found, at = [], 0
    while at < len(words):
        name, folder, given, count = words[at], words[at + 1], words[at + 2], int(words[at + 3])
        found.append(Started([name, *words[at + 4 : at + 4 + count]], folder.removeprefix(top).strip("/"), given))
        at += 4 + count
    return found
