"""The verdicts that have released a call. One verdict, one release, also over a crash, a restart and a full disk.

MUST be durable before the hook is answered: `add` returns only after fsync, and raises rather than forget.
"""

import os
import threading
from pathlib import Path

from ony_core.connector import home
from ony_core.errors import Refused

_LIMIT = 256 * 1024 * 1024


class UsedSet:
    """An append-only file of payload digests, one a line."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._file = file
        try:
            self._digests = set(home.read(file, _LIMIT).decode("ascii", "replace").split("\n"))
        except FileNotFoundError:
            self._digests = set()

    def add(self, digest: str) -> None:
        """Refused("already_used") for one that is there. OSError: not stored, and the call must not run."""
        with self._lock:
            if digest in self._digests:
                raise Refused("already_used", "the verdict has released a call before")
            self._append(digest)
            self._digests.add(digest)

    def __contains__(self, digest: str) -> bool:
        return digest in self._digests

    def _append(self, digest: str) -> None:
        """A line feed in front too: a line torn by a crash must not swallow the next one."""
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            line = b"\n" + digest.encode("ascii") + b"\n"
            if os.write(handle, line) != len(line):
                raise OSError("the record of used verdicts was cut short")
            os.fsync(handle)
        finally:
            os.close(handle)
