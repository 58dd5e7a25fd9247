"""When each session began, as this connector saw it: what is older than that, the agent cannot have written.

Kept on disk, or a restart in the middle of a session would make the agent's own files look old.
"""

import os
import threading
from pathlib import Path

from ony_core.connector import home

KEPT = 10_000


class Sessions:
    """An append-only file of `alias seconds` lines; the newest KEPT survive a restart."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._began: dict[str, int] = {}
        try:
            lines = home.read(file, 64 << 20).decode("ascii", "replace").splitlines()
        except FileNotFoundError:
            lines = []
        for line in lines:
            alias, _, seconds = line.partition(" ")
            if seconds.isdigit() and alias not in self._began:
                self._began[alias] = int(seconds)
        if len(self._began) > KEPT:
            self._shrink()

    def began(self, alias: str, wall: int) -> int:
        """UTC seconds of the session's first call; stored before it is believed."""
        with self._lock:
            if alias not in self._began:
                self._append(f"{alias} {wall}\n")
                self._began[alias] = wall
            return self._began[alias]

    def _append(self, line: str) -> None:
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, line.encode("ascii"))
        finally:
            os.close(handle)

    def _shrink(self) -> None:
        newest = list(self._began.items())[-KEPT:]
        self._began = dict(newest)
        home.write(self._file, "".join(f"{alias} {seconds}\n" for alias, seconds in newest).encode("ascii"))
