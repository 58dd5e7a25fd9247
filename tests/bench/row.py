"""One measured ratio."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Row:
    """Milliseconds are medians. holds: the ratio is within its bound."""

    what: str
    measured_ms: float
    yardstick_ms: float
    bound: float
    runs: int
    ratio: float = 0.0
    holds: bool = False

    def __post_init__(self) -> None:
        self.ratio = round(self.measured_ms / self.yardstick_ms, 3)
        self.holds = self.ratio <= self.bound


def interleaved(runs: int, **sides: Callable[[], object]) -> dict[str, float]:
    """Median milliseconds of each side, run in turns; the first turn warms up and does not count."""
    took: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(runs + 1):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            if turn:
                took[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(times) for name, times in took.items()}
