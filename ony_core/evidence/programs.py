"""Which files the command words of a call would start, and the digest of their bytes.

MUST: answer for the first file on the search path, as a shell would, and for the project's own program folders, which may stand before it.
MUST: never trust a kept digest of a file whose times are too young to tell one write from the next.
"""

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator

USUAL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROJECT = (".venv/bin", "venv/bin", "node_modules/.bin", "vendor/bin", "bin")
_KEPT = 4096
_YOUNG_NS = 2_000_000_000  # coarser than the clock of any file system in use
_digests: dict[tuple[int, int, int, int, int], str] = {}


def files(words: Iterable[tuple[str, str]], path: str, project: str) -> Iterator[str]:
    """The files that (folder, command word) pairs stand for. path: as in PATH. project: the root of the project."""
    for folder, word in words:
        if "/" in word:
            yield os.path.join(folder, os.path.expanduser(word))
            continue
        searched = (os.path.join(entry or folder, word) for entry in path.split(":"))
        yield from (found for found in (next(filter(_runs, searched), None),) if found)
        near = {os.path.join(base, own, word) for base in (folder, project) for own in _PROJECT}
        yield from sorted(filter(_runs, near))


def _runs(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def digest(file: int, status: os.stat_result) -> str:
    """sha256 of an open regular file; kept by identity, size and both times, of which ctime cannot be set."""
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    kept = _digests.get(key)
    if kept is not None:
        return kept
    with os.fdopen(os.dup(file), "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if _settled(file, status):
        if len(_digests) >= _KEPT:
            _digests.clear()
        _digests[key] = found
    return found


def _settled(file: int, before: os.stat_result) -> bool:
    """Whether nothing wrote while it was read, and a later write would show. The machine's own clock is what stamps its files."""
    after = os.fstat(file)
    return (
        stat.S_ISREG(after.st_mode)
        and (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == (before.st_size, before.st_mtime_ns, before.st_ctime_ns)
        and time.time_ns() - after.st_ctime_ns > _YOUNG_NS
    )
