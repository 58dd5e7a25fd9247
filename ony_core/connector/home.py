"""The connector's folder: $ONY_HOME or ~/.ony, and what must be true of it before anything in it is believed.

MUST refuse a folder or a secret file that another user owns or that group or others may touch: whoever writes there decides what is
verified.
"""

import os
import stat
from pathlib import Path

from ony_core import durable
from ony_core.errors import OnyError

SOCKET_LIMIT = 100  # bytes; sun_path holds 104 on macOS, 108 on Linux (unix(7))


def path() -> Path:
    """The folder, absolute; it need not exist."""
    return Path(os.path.abspath(os.environ.get("ONY_HOME") or os.path.expanduser("~/.ony")))


def opened(folder: Path | None = None, *, make: bool = False) -> Path:
    """The folder, checked. make: create what is missing (0700), with its sub-folders."""
    folder = folder or path()
    if make:
        for part in (folder, folder / "heads", folder / "log"):
            part.mkdir(mode=0o700, parents=part == folder, exist_ok=True)
    try:
        state = os.lstat(folder)
    except OSError:
        raise OnyError(f"there is no folder {folder}", "run `ony enroll URL` first") from None
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        raise OnyError(f"{folder} is not a folder of yours", "set ONY_HOME to one that is")
    if state.st_mode & 0o077:
        raise OnyError(f"{folder} is open to other users", f"run `chmod 700 {folder}`")
    return folder


def socket_path(folder: Path) -> str:
    found = str(folder / "ony.sock")
    if len(os.fsencode(found)) > SOCKET_LIMIT:
        raise OnyError(f"the path of the socket is longer than {SOCKET_LIMIT} bytes", "set ONY_HOME to a shorter path")
    return found


def read(file: Path, limit: int = 1 << 20) -> bytes:
    """A file of ours: regular, owned by us, closed to others, at most `limit` bytes. FileNotFoundError passes through."""
    try:
        with open(file, "rb", opener=_careful) as opened_file:
            state = os.fstat(opened_file.fileno())
            private = stat.S_ISREG(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077
            data = opened_file.read(limit + 1) if private else b""
    except FileNotFoundError:
        raise
    except OSError as error:  # a folder, a link, a socket
        raise OnyError(f"{file.name} cannot be read as a file of yours ({error.strerror})", f"run `ls -ld {file}`") from None
    if not private:
        raise OnyError(f"{file.name} is not a private file of yours", f"run `ls -l {file}`; it must be yours, mode 600")
    if len(data) > limit:
        raise OnyError(f"{file.name} is larger than it can be", "restore it, or enroll again")
    return data


def _careful(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def write(file: Path, data: bytes, mode: int = 0o600) -> None:
    """Durable and whole, or OSError and the old content."""
    with durable.locked(file.parent):
        durable.replace(file, data, mode)
