"""What the server is told beside requests: used, refused and mismatched verdicts, heartbeats, hourly counts of passes.

Closed words, ids and numbers only.
"""

import logging
import threading
from collections import Counter, deque
from typing import Any

from ony_core import canon
from ony_core.connector.link import Link, Problem
from ony_core.errors import OnyError

log = logging.getLogger("ony.connector")
MAX_WAITING = 1000
_BATCH = 100


class Outbox:
    """Waiting events. Sending never delays a decision; what cannot be sent waits for the next heartbeat, the oldest fall out first."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_WAITING)
        self._passes: Counter[tuple[str, str, int]] = Counter()

    def add(self, kind: str, **fields: Any) -> None:
        with self._lock:
            self._events.append({"type": kind, **fields})

    def passed(self, session: str, family: str, wall: int) -> None:
        """Counts a harmless call."""
        with self._lock:
            self._passes[session, family, wall // 3600] += 1

    def heartbeat(self, wall: int) -> None:
        """Queues a sign of life and the counts of hours that are over, then sends."""
        with self._lock:
            done = [key for key in self._passes if key[2] < wall // 3600]
            for session, family, hour in done:
                passes = self._passes.pop((session, family, hour))
                self._events.append({"type": "passes", "session": session, "family": family, "hour": hour, "passes": passes})
            self._events.append({"type": "heartbeat"})
        self.send()

    def send(self) -> None:
        """Sends what waits. OnyError leaves it waiting."""
        with self._sending:
            while batch := self._next():
                try:
                    self._link.call("POST", "/v1/events", canon.dumps({"events": batch}))
                except Problem as problem:
                    if problem.status != 400:
                        raise
                    log.error("the server does not understand %d events: update Ony there", len(batch))  # it never will: let go of them
                self._drop(batch)

    def try_send(self) -> bool:
        try:
            self.send()
        except OnyError:
            return False
        return True

    def _next(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._events)[:_BATCH]

    def _drop(self, batch: list[dict[str, Any]]) -> None:
        with self._lock:
            for event in batch:
                if self._events and self._events[0] is event:
                    self._events.popleft()
