"""A request that waits holds a place and no task: it is woken, runs out, is given up, and a server that stops sends it away."""

import asyncio
from dataclasses import replace

import pytest

from ony_core.errors import Refused
from ony_core.server.message import answer
from ony_core.server.waiting import WaitingRoom
from tests.server.listening import GIVE_UP_S, PATIENT, Listening
from tests.server.test_http import GET, WAIT


class Room:
    """A handler that parks who asks for /wait. seconds: for how long at most."""

    def __init__(self, server: Listening, seconds: float = 20) -> None:
        self.server, self.seconds, self.room, self.parked, self.hasty = server, seconds, WaitingRoom(), 0, False
        server.answers["/wait"] = self

    async def __call__(self, request):
        self.parked += 1
        place = self.room.enter("org", "req", self.seconds, self.said)
        if self.hasty:
            self.room.call("req")
        return place

    async def said(self):
        return answer({"waited": True})

    @property
    def taken(self) -> int:
        return self.room.taken["org"]

    def call(self) -> None:
        self.server.run(self._call())

    async def _call(self) -> None:
        self.room.call("req")


def test_everybody_who_waits_for_it_is_answered_and_the_connection_is_kept():
    with Listening(PATIENT) as server, server.connect() as one, server.connect() as two:
        room = Room(server)
        for client in (one, two):
            client.say(WAIT)
        server.until(lambda: room.taken == 2)
        room.call()
        for client in (one, two):
            status, headers, body = client.reply()
            assert (status, headers["connection"], body) == (200, "keep-alive", b'{"waited":true}')
        assert room.taken == 0
        assert one.say(GET).reply()[0] == 200


def test_a_call_that_comes_before_anybody_holds_the_connection_is_heard():
    with Listening(PATIENT) as server, server.connect() as client:
        room = Room(server)
        room.hasty = True
        assert client.say(WAIT).reply()[0] == 200
        assert room.taken == 0


def test_who_is_not_called_is_answered_when_the_time_is_up():
    with Listening(PATIENT) as server, server.connect() as client:
        room = Room(server, 0.2)
        assert client.say(WAIT).reply()[2] == b'{"waited":true}'
        assert (room.parked, room.taken) == (1, 0)


def test_who_hangs_up_gives_the_place_back():
    with Listening(PATIENT) as server:
        room = Room(server)
        with server.connect() as client:
            client.say(WAIT)
            server.until(lambda: room.taken)
        server.until(lambda: not room.taken and not server.listener.connections)


def test_who_floods_while_waiting_is_let_go():
    with Listening(PATIENT) as server, server.connect() as client:
        room = Room(server)
        client.say(WAIT)
        server.until(lambda: room.taken)
        client.sock.sendall(GET * 10_000)
        server.until(lambda: not room.taken and not server.listener.connections)
        assert len(server.seen) == 1


def test_what_was_sent_behind_a_waiting_request_is_answered_after_it():
    with Listening(PATIENT) as server, server.connect() as client:
        room = Room(server)
        client.say(WAIT + GET)
        server.until(lambda: room.taken)
        assert len(server.seen) == 1
        room.call()
        assert [client.reply()[2][:9] for _ in range(2)] == [b'{"waited"', b'{"bytes":']


def test_a_server_that_stops_sends_who_waits_away_with_a_word():
    with Listening(PATIENT) as server, server.connect() as client:
        room = Room(server)
        client.say(WAIT)
        server.until(lambda: room.taken)
        ended = asyncio.run_coroutine_threadsafe(server.listener.stop(), server._loop)
        status, headers, _ = client.reply()
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        client.sock.close()
        ended.result(GIVE_UP_S)
        assert room.taken == 0


def test_an_answer_that_fails_when_its_time_has_come_is_a_500():
    async def broken():
        raise RuntimeError("hunter2")

    with Listening(PATIENT) as server, server.connect() as client:
        room = Room(server)
        room.said = broken
        client.say(WAIT)
        server.until(lambda: room.taken)
        room.call()
        status, _, body = client.reply()
        assert status == 500 and b"hunter2" not in body


def test_a_waiting_client_costs_no_task():
    with Listening(replace(PATIENT, per_address=100)) as server:
        room = Room(server)
        clients = [server.connect().say(WAIT) for _ in range(60)]
        server.until(lambda: room.taken == 60)
        assert server.run(_tasks()) < 5
        room.call()
        for client in clients:
            with client:
                assert client.reply()[0] == 200


async def _tasks() -> int:
    return len(asyncio.all_tasks())


def test_a_room_has_so_many_places_an_organisation_and_leaving_twice_gives_back_one():
    room = WaitingRoom()
    room.most = 2
    places = [room.enter("a", "req", 1, None) for _ in range(2)]
    with pytest.raises(Refused, match="org busy"):
        room.enter("a", "other", 1, None)
    room.enter("b", "req", 1, None)
    for _ in range(2):
        places[0].leave()
    assert room.taken == {"a": 1, "b": 1}
