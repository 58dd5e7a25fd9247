"""Which interpreter starts the hook: the fastest that is safe to name in another program's settings.

MUST be an absolute path to a Python >= 3.8 that runs `-I -S` with the modules the hook needs. A system Python is preferred: it starts in
half the time of one with shims, and an agent without root cannot replace it.
"""

import os
import subprocess
import sys
from pathlib import Path

from ony_core import program
from ony_core.errors import OnyError

_PROBE = "import _socket, os, sys, time; sys.exit(not (sys.version_info >= (3, 8)))"


def hook_command(hook: Path) -> list[str]:
    """argv up to the hook's own words."""
    for candidate in _candidates():
        if _works(candidate):
            return [candidate, "-I", "-S", str(hook)]
    if getattr(sys, "frozen", False):
        return [*program.command(), "hook"]
    raise OnyError("there is no Python that can run the hook", "install python3 >= 3.8")


def warm(hook: Path) -> None:
    """Starts the hook once without words: it blocks, and leaves its byte code behind. Not needed for it to work."""
    subprocess.run(hook_command(hook), env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)


def _candidates() -> list[str]:
    """macOS's /usr/bin/python3 only stands in for one that may not be there, and is slow: last."""
    ours = [] if getattr(sys, "frozen", False) else [getattr(sys, "_base_executable", ""), sys.executable]
    system = ["/usr/bin/python3", "/usr/local/bin/python3", "/opt/homebrew/bin/python3"]
    return [*ours, *system[1:], system[0]] if sys.platform == "darwin" else [*system[:1], *ours, *system[1:]]


def _works(candidate: str) -> bool:
    if not candidate or not os.path.isabs(candidate) or not os.access(candidate, os.X_OK):
        return False
    try:
        done = subprocess.run([candidate, "-I", "-S", "-c", _PROBE], env={}, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
