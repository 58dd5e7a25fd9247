"""When a file began to exist, from statx(2) on Linux: an inode's birth cannot be set by touch or utime."""

import ctypes
import os
import struct
from functools import cache
from typing import Any

_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_BTIME = 0x800
_SIZE = 256
_MASK_AT, _BTIME_AT = 0, 0x50  # offsets in struct statx, linux/stat.h


@cache
def _statx() -> Any:
    try:
        return ctypes.CDLL(None, use_errno=True).statx
    except (OSError, AttributeError):
        return None


def birth(path: str) -> float | None:
    """Seconds since 1970; None where kernel or file system do not tell. OSError if there is no such file."""
    statx = _statx()
    if statx is None:
        return None
    buffer = ctypes.create_string_buffer(_SIZE)
    if statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, buffer):
        raise OSError(ctypes.get_errno(), "statx")
    mask = struct.unpack_from("=I", buffer.raw, _MASK_AT)[0]
    if not mask & _STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", buffer.raw, _BTIME_AT)
    return float(seconds + nanoseconds / 1e9)
