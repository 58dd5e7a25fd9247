"""What `/metrics` says, in the Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).

MUST let a label take only the values its family was declared with; any other counts as "other". So no id, name, address or number can
become a label, and no stranger can make the list grow.
MUST answer nobody without the token of the configuration, and answer like an unknown address where none is set.
"""

import hashlib
import hmac
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ony_core.server.message import Request, Response, problem

OTHER = "other"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Family:
    """kind: counter | gauge. labels: name -> every value it can take."""

    name: str
    kind: str
    doc: str
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)


class Meter:
    """Counts in memory from the start of the process; gauges are asked when somebody looks. Touched by the event loop's thread alone."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Family, tuple[str, ...]]] = Counter()
        self._gauges: list[tuple[Family, Callable[[], float]]] = []

    def count(self, family: Family, *values: str) -> None:
        """values: one per label, in the order of the declaration."""
        closed = tuple(value if value in known else OTHER for value, known in zip(values, family.labels.values(), strict=True))
        self._counts[family, closed] += 1

    def gauge(self, family: Family, ask: Callable[[], float]) -> None:
        self._gauges.append((family, ask))

    def text(self) -> str:
        samples: dict[Family, list[str]] = {}
        for (family, values), number in sorted(self._counts.items(), key=lambda item: (item[0][0].name, item[0][1])):
            labels = ",".join(f'{name}="{value}"' for name, value in zip(family.labels, values, strict=True))
            samples.setdefault(family, []).append(f"{family.name}{{{labels}}} {number}" if labels else f"{family.name} {number}")
        for family, ask in self._gauges:
            samples.setdefault(family, []).append(f"{family.name} {ask():g}")
        return "".join(_block(family, lines) for family, lines in samples.items())


def _block(family: Family, lines: Iterable[str]) -> str:
    return "\n".join((f"# HELP {family.name} {family.doc}", f"# TYPE {family.name} {family.kind}", *lines, ""))


class Metrics:
    """GET /metrics. token: of the configuration."""

    def __init__(self, meter: Meter, token: str) -> None:
        self._meter, self._token = meter, hashlib.sha256(token.encode()).digest()

    async def show(self, request: Request) -> Response:
        """Authorization: Bearer and the token."""
        scheme, _, given = request.header("authorization").partition(" ")
        if scheme != "Bearer" or not hmac.compare_digest(hashlib.sha256(given.encode("latin-1")).digest(), self._token):
            said = problem(401, "unknown_token", "this needs the token of the metrics", "server.metrics_token in the configuration")
            return Response(said.status, said.body, said.content_type, (("WWW-Authenticate", "Bearer"),))
        return Response(200, self._meter.text().encode(), CONTENT_TYPE)


def about_process(meter: Meter, started: float) -> None:
    """started: UTC seconds. The names are those that every Prometheus client library uses."""
    meter.gauge(Family("process_start_time_seconds", "gauge", "When this process began, UTC."), lambda: started)
    meter.gauge(Family("process_resident_memory_bytes", "gauge", "Memory in use, or where only that is known the most so far."), _memory)
    meter.gauge(Family("process_cpu_seconds_total", "counter", "Processor time used."), _processor)


def _memory() -> float:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # macOS counts bytes, others KiB (getrusage(2))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _processor() -> float:
    used: Any = resource.getrusage(resource.RUSAGE_SELF)
    return float(used.ru_utime + used.ru_stime)
