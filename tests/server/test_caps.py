"""How many connectors may wait: in all, and of one organisation, so that one of them cannot keep the others from their verdicts."""

import asyncio

import pytest

from ony_core.errors import Refused
from tests.server.world import Hall, Person, running, waited


@pytest.fixture
def hall(tmp_path):
    made = Hall(tmp_path)
    yield made
    made.close()


def test_an_organisation_that_has_its_share_waiting_is_told_to_come_again_and_another_is_not(hall):
    @running
    async def crowd():
        hall.desk.waiting.most = 2
        other = Person(hall, hall.new_org(), "other@example.com")
        mine, theirs = await hall.held(), hall.request()
        await hall.desk.open(other.connector, theirs.body)
        await hall.settle()
        waiting = [asyncio.ensure_future(waited(hall.desk, hall.owner.connector, mine.request_id, 20)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="org busy"):
            await waited(hall.desk, hall.owner.connector, mine.request_id, 20)
        foreign = asyncio.ensure_future(waited(hall.desk, other.connector, theirs.request_id, 20))
        await asyncio.sleep(0)
        await hall.presses(mine, "deny")
        assert [row.state for row in await asyncio.gather(*waiting)] == ["denied", "denied"]
        assert not foreign.done()
        foreign.cancel()
        await asyncio.gather(foreign, return_exceptions=True)
        assert not any(hall.desk.waiting.taken.values()), "who hangs up is not counted"
        again = await hall.held(session="sess_" + "2" * 32)
        assert (await waited(hall.desk, hall.owner.connector, again.request_id, 0.01)).state == "ringing"

    crowd()
