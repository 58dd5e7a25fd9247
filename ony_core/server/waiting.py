"""Who waits for which request: places in rooms, one room a request. A place is a few words of memory: no task, no timer, no thread.

MUST give one organisation no more places than its share, so that it cannot keep the others from their verdicts.
"""

from collections import Counter, defaultdict

from ony_core.errors import Refused
from ony_core.server.message import Parked, Waited

MOST = 1000  # connectors of one organisation that wait at the same time


class Place(Parked):
    """One waiting connector."""

    __slots__ = ("org_id", "request_id", "room")

    def __init__(self, room: "WaitingRoom", org_id: str, request_id: str, seconds: float, answer: Waited) -> None:
        super().__init__(seconds, answer)
        self.room, self.org_id, self.request_id = room, org_id, request_id

    def leave(self) -> None:
        self.room.leave(self)


class WaitingRoom:
    """most: places of one organisation."""

    def __init__(self) -> None:
        self.most = MOST
        self.taken: Counter[str] = Counter()  # by organisation
        self._places: dict[str, set[Place]] = defaultdict(set)  # by request

    def enter(self, org_id: str, request_id: str, seconds: float, answer: Waited) -> Place:
        """To be called with nothing awaited since the request was seen waiting. Refused("org_busy") where there is no place left."""
        if self.taken[org_id] >= self.most:
            raise Refused("org_busy")
        place = Place(self, org_id, request_id, seconds, answer)
        self.taken[org_id] += 1
        self._places[request_id].add(place)
        return place

    def leave(self, place: Place) -> None:
        """A second time changes nothing."""
        places = self._places.get(place.request_id, set())
        if place not in places:
            return
        places.discard(place)
        self.taken[place.org_id] -= 1
        if not places:
            del self._places[place.request_id]

    def call(self, request_id: str) -> None:
        """Everybody who waits for this request."""
        for place in tuple(self._places.get(request_id, ())):
            place.call()
