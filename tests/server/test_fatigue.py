"""What keeps an agent from wearing its owner out: shared rings, budgets, pauses. None of it ever approves."""

import pytest

from ony_core.errors import Refused
from ony_core.model import Fact
from ony_core.server import fatigue
from tests.server.world import PUSH, Hall, running

SAME = "hmac-sha256:" + "7" * 64
OTHER = "sess_" + "2" * 32


@pytest.fixture
def hall(tmp_path):
    made = Hall(tmp_path, calls_per_hour=6)
    yield made
    made.close()


async def copy(hall: Hall, **changes):
    """The same call once more, a second later."""
    hall.clock.pass_(1)
    asked = hall.request(request_digest=SAME, **changes)
    await hall.desk.open(hall.owner.connector, asked.body)
    await hall.settle()
    return asked


# ---------------------------------------------------------------- one ring for identical calls


@running
async def test_identical_waiting_calls_share_one_ring_and_a_yes_releases_one(hall):
    first, second, third = [await copy(hall) for _ in range(3)]
    assert hall.bell.rung == [first.request_id]
    assert [hall.state(one) for one in (first, second, third)] == ["ringing", "pending", "pending"]
    assert await hall.presses(first, code=hall.owner.code()) == "approved"
    assert [hall.state(one) for one in (first, second, third)] == ["approved", "denied", "denied"]
    assert {hall.row(one).reason for one in (second, third)} == {"approved_once"}
    assert await hall.claims(first) == "used"
    assert await hall.claims(second) == "wrong_verdict", "a shared ring gives no verdict"


@running
async def test_a_no_is_a_no_for_all_of_them(hall):
    first, second = await copy(hall), await copy(hall)
    await hall.presses(first, "deny")
    assert (hall.state(second), hall.row(second).reason) == ("denied", "shared_no")


@running
async def test_nobody_answering_ends_all_of_them(hall):
    first, second = await copy(hall), await copy(hall)
    hall.clock.pass_(300)
    await hall.desk.sweep_once()
    assert (hall.state(first), hall.state(second)) == ("expired", "expired") or hall.state(second) == "denied"


@running
async def test_when_the_one_that_rings_is_not_wanted_any_more_the_next_rings(hall):
    first, second, third = [await copy(hall) for _ in range(3)]
    await hall.desk.cancel(hall.owner.connector, first.request_id)
    await hall.settle()
    assert hall.bell.rung == [first.request_id, second.request_id]
    assert (hall.state(second), hall.state(third)) == ("ringing", "pending")
    await hall.desk.cancel(hall.owner.connector, third.request_id)
    await hall.settle()
    assert hall.bell.rung == [first.request_id, second.request_id], "a follower that leaves rings nobody"


@running
async def test_a_person_cannot_decide_one_that_does_not_ring(hall):
    _, second = await copy(hall), await copy(hall)
    assert await hall.presses(second, code=hall.owner.code()) == "too_late"


NOT_IDENTICAL = {
    "another call": {"request_digest": "hmac-sha256:" + "8" * 64},
    "another session": {"session": OTHER},
}


@pytest.mark.parametrize("changes", NOT_IDENTICAL.values(), ids=NOT_IDENTICAL.keys())
@running
async def test_calls_that_differ_ring_by_themselves(hall, changes):
    first = await copy(hall)
    second = hall.request(**{"request_digest": SAME, **changes})
    await hall.desk.open(hall.owner.connector, second.body)
    await hall.settle()
    assert hall.bell.rung == [first.request_id, second.request_id]


# ---------------------------------------------------------------- budgets


def ring(hall: Hall, asked) -> None:
    """A phone was rung for it, as the voice channel writes it down."""
    hall.write(lambda org: org.add_call(hall.clock.random(32), asked.request_id, hall.owner.device_id, "signalwire"))


async def rung(hall: Hall, many: int, session: str, facts=PUSH) -> list[str]:
    """Requests of a session, each rung and then approved by nobody: the states they were admitted with."""
    states = []
    for number in range(many):
        asked = hall.request(facts, session=session, project=f"p{number}")
        row = await hall.desk.open(hall.owner.connector, asked.body)
        await hall.settle()
        states.append(row.reason or hall.state(asked))
        if hall.state(asked) == "ringing":
            ring(hall, asked)
            await hall.desk.cancel(hall.owner.connector, asked.request_id)
    return states


def different(number: int) -> tuple[Fact, ...]:
    return (Fact("command", "git", ("push",), args=number),)


@running
async def test_the_same_action_on_the_same_target_rings_three_times_an_hour(hall):
    assert await rung(hall, 4, OTHER) == ["ringing"] * 3 + ["over_budget"]
    hall.clock.pass_(fatigue.HOUR_S + 1)
    assert await rung(hall, 1, OTHER) == ["ringing"]


@running
async def test_a_session_rings_half_of_what_its_user_may_be_rung_and_another_session_the_rest(hall):
    def session(number: int) -> str:
        return f"sess_{number:032x}"

    first = [(await rung(hall, 1, session(1), different(n)))[0] for n in range(5)]
    second = [(await rung(hall, 1, session(2), different(n)))[0] for n in range(5)]
    third = await rung(hall, 1, session(3), different(9))
    assert first == second == ["ringing"] * 3 + ["over_budget"] * 2
    assert third == ["over_budget"], "six calls an hour, whoever asks"


@running
async def test_what_still_waits_counts_so_that_a_flood_queues_nothing_up(hall):
    reasons = []
    for number in range(8):
        asked = hall.request(different(number), session=OTHER)
        reasons.append((await hall.desk.open(hall.owner.connector, asked.body)).reason)
    await hall.settle()
    assert reasons == [""] * 3 + ["over_budget"] * 5
    assert len(hall.bell.rung) == 3


# ---------------------------------------------------------------- pauses


@running
async def test_two_noes_in_a_row_pause_the_session_and_no_other(hall):
    for number in range(2):
        await hall.presses(await hall.held(different(number), session=OTHER), "deny")
    row = await hall.desk.open(hall.owner.connector, hall.request(different(3), session=OTHER).body)
    assert (row.state, row.reason) == ("denied", "paused")
    assert "pause" in hall.kinds()
    await hall.held(session="sess_" + "3" * 32)
    hall.clock.pass_(fatigue.PAUSE_S + 1)
    await hall.held(different(4), session=OTHER)


@running
async def test_two_calls_that_nobody_answers_pause_it_too(hall):
    for number in range(2):
        await hall.held(different(number), session=OTHER)
        hall.clock.pass_(300)
        await hall.desk.sweep_once()
    row = await hall.desk.open(hall.owner.connector, hall.request(different(3), session=OTHER).body)
    assert (row.state, row.reason) == ("denied", "paused")


@running
async def test_a_yes_between_two_noes_pauses_nothing(hall):
    await hall.presses(await hall.held(different(1), session=OTHER), "deny")
    hall.clock.pass_(1)
    await hall.presses(await hall.held(different(2), session=OTHER), code=hall.owner.code())
    hall.clock.pass_(1)
    await hall.presses(await hall.held(different(3), session=OTHER), "deny")
    assert "pause" not in hall.kinds()


@running
async def test_what_an_agent_takes_back_is_no_no(hall):
    for number in range(3):
        asked = await hall.held(different(number), session=OTHER)
        await hall.desk.cancel(hall.owner.connector, asked.request_id)
    assert "pause" not in hall.kinds()


@running
async def test_a_copy_that_shared_a_no_counts_once(hall):
    first, _ = await copy(hall), await copy(hall)
    await hall.presses(first, "deny")
    assert "pause" not in hall.kinds()


@running
async def test_nothing_here_answers_a_request_that_is_not_there(hall):
    with pytest.raises(Refused):
        await hall.desk.cancel(hall.owner.connector, "req_" + "0" * 32)
