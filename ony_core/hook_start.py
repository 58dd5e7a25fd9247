"""What `ony install` writes out as hook.py: starts hook_code.py (ony_core/hook.py) beside it from its cached byte code.

Compiling the hook anew for each call would cost a fifth of a bare interpreter's start; so would the search of an import statement. The
interpreter checks the cache against the source and its own version, and compiles again where they differ.
MUST end with exit code 2, nothing on stdout and one line on stderr where the hook cannot even start.
"""

import posix
import sys

reason = "no code"
try:
    from _frozen_importlib_external import SourceFileLoader

    # The hook ends the process itself; what comes back from it has failed.
    exec(SourceFileLoader("__main__", sys.argv[0][:-3] + "_code.py").get_code("__main__"))  # type: ignore[arg-type] # noqa: S102 # nosec
except BaseException as error:  # noqa: BLE001 whatever it is, the call does not run
    reason = type(error).__name__
posix.write(2, b"ony: the hook cannot start (%s), so the call is blocked: run `ony install` again\n" % reason.encode())
posix._exit(2)
