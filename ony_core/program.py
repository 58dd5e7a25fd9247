"""How this very program is started again: for the daemon, the demo and what `ony install` writes. Never through PATH: the agent can
change it.
"""

import os
import sys


def command() -> list[str]:
    """argv that starts `ony`: the frozen executable, the zipapp, or this interpreter, isolated, with this package."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    archive = os.path.abspath(sys.argv[0])
    if archive.endswith(".pyz") and os.path.isfile(archive):
        return [sys.executable, "-I", archive]
    return [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {_root()!r}); from ony_core.cli import main; sys.exit(main())"]


def _root() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
