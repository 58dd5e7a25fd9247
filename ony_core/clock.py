"""Time and randomness, passed in so that the core stays pure and tests need no sleep.

wall: UTC seconds as people and other machines see them; may jump. boot: seconds since some fixed start, never goes back and, where
the system offers it, counts suspended time (CLOCK_BOOTTIME), so that a laptop lid cannot stretch a deadline.
"""

import os
import time
from datetime import UTC, datetime
from typing import Protocol

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    def wall(self) -> int:
        """UTC seconds since 1970."""
        ...

    def boot(self) -> float:
        """Seconds that never go back."""
        ...

    def random(self, n: int) -> bytes:
        """n unpredictable bytes."""
        ...


class SystemClock:
    def wall(self) -> int:
        return int(time.time())

    def boot(self) -> float:
        return time.clock_gettime(_BOOT)

    def random(self, n: int) -> bytes:
        return os.urandom(n)


def rfc3339(seconds: int) -> str:
    """1782829327 -> "2026-06-30T14:22:07Z" (RFC 3339, whole seconds, UTC)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> int:
    """The inverse of `rfc3339`. ValueError for any other spelling."""
    when = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if rfc3339(int(when.timestamp())) != text:
        raise ValueError(f"not RFC 3339 in whole UTC seconds: {text[:40]!r}")
    return int(when.timestamp())


def new_id(prefix: str, clock: Clock) -> str:
    """An unguessable id such as req_0f3a… (128 bits, lower-case hex)."""
    return f"{prefix}_{clock.random(16).hex()}"
