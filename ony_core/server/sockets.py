"""The local socket: one that only its owner can open, and who is at the other end of it.

MUST make it unreadable to others from its first moment, not some moments later.
"""

import os
import socket
import sys
from pathlib import Path

from ony_core.errors import OnyError

MAX_SOCKET_PATH = 100


def peer_uid(sock: socket.socket) -> int:
    """User id of the process at the other end of a unix socket (Linux unix(7) SO_PEERCRED, macOS unix(4) LOCAL_PEERCRED)."""
    if hasattr(socket, "SO_PEERCRED"):
        return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[4:8], sys.byteorder)
    return int.from_bytes(sock.getsockopt(0, 1, 76)[4:8], sys.byteorder)


def unix_socket(path: Path) -> socket.socket:
    """A bound socket, 0600 from its first moment, in place of one that a server before us left behind."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise OnyError(f"the path of {path.name} is longer than {MAX_SOCKET_PATH} bytes", "choose a data folder with a shorter path")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise OnyError(f"cannot make {path.name} ({error.strerror})", "check the data folder and its owner") from None
    finally:
        os.umask(mask)
    return sock
