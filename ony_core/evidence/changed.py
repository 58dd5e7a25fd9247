"""Which files of a project changed since a moment: what a test or build runner may load by itself was possibly written by this session.

Bounded: a project larger than the bound is seen in part, nearest folders first. It only ever adds to what is known of a call.
"""

import os
from collections import deque
from collections.abc import Callable

MOST_ENTRIES, MOST_FILES = 20_000, 200
_SKIPPED = frozenset({"node_modules", "venv", "__pycache__", "target", "dist", "site-packages"})


def changed(root: str, since: float, late: Callable[[], bool]) -> tuple[str, ...]:
    """Regular files below `root` whose name, content or rights changed at or after `since`, the newest first."""
    waiting, found, seen = deque([root]), [], 0
    while waiting and seen < MOST_ENTRIES and not late():
        try:
            entries = list(os.scandir(waiting.popleft()))
        except OSError:
            continue
        seen += len(entries)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED and entry.name != ".git" and not entry.name.startswith(".venv"):
                    waiting.append(entry.path)
            elif entry.is_file(follow_symlinks=False) and (when := _when(entry)) >= since:
                found.append((when, entry.path))
    return tuple(path for _, path in sorted(found, reverse=True)[:MOST_FILES])


def _when(entry: "os.DirEntry[str]") -> float:
    try:
        return entry.stat(follow_symlinks=False).st_ctime
    except OSError:
        return 0.0
