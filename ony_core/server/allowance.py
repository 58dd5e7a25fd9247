"""How much one connector may have this server write down: a bucket of bytes that fills again within an hour.

Nothing of the log is ever removed, and a full disk stops everybody. A token is on the agent's own machine, so whoever has one must not be
able to fill the disk with it.

MUST: take before anything is written, and let what ends something (a claim, a cancellation) be free.
"""

from ony_core.clock import Clock
from ony_core.errors import Refused

HOUR_S = 3600
MIB = 1024 * 1024
ROWS = 3 * 1024  # bytes that a request costs beside its own: its rows, those of the log, tree and checkpoint
EVENT = 512  # an event's row, where it leaves one


class Allowance:
    """mib: of one connector in an hour. By the boot clock: a clock set forward fills nothing."""

    def __init__(self, mib: int, clock: Clock) -> None:
        self._most, self._clock = mib * MIB, clock
        self._left: dict[str, tuple[float, float]] = {}  # connector -> (bytes left, when); no more than there are connectors

    def take(self, connector_id: str, size: int) -> None:
        """Refused("too_much") where that is more than is left."""
        now = self._clock.boot()
        left, since = self._left.get(connector_id, (self._most, now))
        left = min(self._most, left + (now - since) * self._most / HOUR_S)
        self._left[connector_id] = (left if size > left else left - size, now)
        if size > left:
            raise Refused("too_much")
