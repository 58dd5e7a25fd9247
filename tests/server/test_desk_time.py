"""The desk after a decision and without one: claims, waiting, deadlines that no clock and no restart stretches, and modes."""

import asyncio
import sqlite3

import pytest

from ony_core import auditkey, auditlog
from ony_core.errors import Refused
from ony_core.handoff import Head
from ony_core.server.desk import Desk
from ony_core.store import rows
from ony_core.verify import verify
from tests.server.world import COMMIT, WRONG, Hall, Person, brought_to, running, waited

# ---------------------------------------------------------------- claims


@running
async def test_a_verdict_is_claimed_once(hall):
    asked = await hall.approved()
    assert [await hall.claims(asked) for _ in range(3)] == ["used", "already_used", "already_used"]
    assert hall.state(asked) == "used"


@running
async def test_of_many_claims_at_once_one_wins(hall):
    asked = await hall.approved()
    outcomes = await asyncio.gather(*(hall.claims(asked) for _ in range(20)))
    assert sorted(outcomes) == ["already_used"] * 19 + ["used"]


CLAIMS = [
    ("of a denied request", "denied", "wrong_verdict"),
    ("of a cancelled request", "cancelled", "wrong_verdict"),
    ("of an approval taken back", "revoked", "revoked"),
    ("of an approval nobody claimed in time", "unused", "expired"),
]


@pytest.mark.parametrize(("name", "state", "reason"), CLAIMS, ids=[case[0] for case in CLAIMS])
@running
async def test_claims_that_come_to_nothing(hall, name, state, reason):
    asked = await brought_to(hall, state)
    assert await hall.claims(asked) == reason


@running
async def test_a_claim_at_the_verdicts_very_end_is_refused_even_before_the_sweep(hall):
    asked = await hall.approved()
    hall.clock.pass_(120)
    assert await hall.claims(asked) == "expired"
    assert hall.state(asked) == "unused"


@running
async def test_a_wall_clock_that_jumps_back_gives_no_verdict_a_longer_life(hall):
    asked = await hall.approved()
    hall.clock.pass_(120)
    hall.clock.now -= 3600
    assert await hall.claims(asked) == "expired"


@running
async def test_a_claim_for_another_verdict_or_by_another_connector_is_refused_and_takes_nothing(hall):
    asked = await hall.approved()
    neighbour = Person(hall, hall.org_id, "neighbour@example.com")
    assert await hall.claims(asked, digest="sha256:" + "0" * 64) == "wrong_verdict"
    assert await hall.claims(asked, connector=neighbour.connector) == "unknown_request"
    assert await hall.claims(asked) == "used"


@running
async def test_a_device_revoked_after_its_yes_takes_the_yes_with_it(hall):
    asked = await hall.approved()
    hall.write(lambda org: org.revoke_device(hall.owner.device_id))
    assert await hall.claims(asked) == "revoked_device"
    assert hall.state(asked) == "revoked"


@running
async def test_a_connector_revoked_meanwhile_claims_nothing_and_hears_nothing(hall):
    """Its token was good when it asked; the route's own check is over by then."""
    asked = await hall.approved()
    hall.write(lambda org: org.revoke_connector(hall.owner.connector_id))
    assert await hall.claims(asked) == "connector_revoked"
    with pytest.raises(Refused, match="connector revoked"):
        await waited(hall.desk, hall.owner.connector, asked.request_id, 0)
    assert hall.state(asked) == "approved"


# ---------------------------------------------------------------- waiting and time


@pytest.mark.parametrize(("decision", "state"), [("approve", "approved"), ("deny", "denied")])
@running
async def test_who_waits_hears_the_decision_at_once(hall, decision, state):
    asked = await hall.held(COMMIT)
    waiting = [asyncio.ensure_future(waited(hall.desk, hall.owner.connector, asked.request_id, 25)) for _ in range(3)]
    await asyncio.sleep(0)
    await hall.presses(asked, decision)
    assert [row.state for row in await asyncio.wait_for(asyncio.gather(*waiting), 5)] == [state] * 3
    assert not any(hall.desk.waiting.taken.values())


@running
async def test_who_waits_for_another_connectors_request_hears_nothing(hall):
    asked = await hall.held()
    neighbour = Person(hall, hall.org_id, "neighbour@example.com")
    with pytest.raises(Refused) as refused:
        await waited(hall.desk, neighbour.connector, asked.request_id, 25)
    assert refused.value.reason == "unknown_request"
    with pytest.raises(Refused):
        await hall.desk.cancel(neighbour.connector, asked.request_id)
    assert hall.state(asked) == "ringing"


@running
async def test_an_unanswered_request_expires_and_stops_ringing(hall):
    asked = await hall.held()
    waiting = asyncio.ensure_future(waited(hall.desk, hall.owner.connector, asked.request_id, 25))
    await asyncio.sleep(0)
    hall.clock.pass_(299)
    await hall.desk.sweep_once()
    assert hall.state(asked) == "ringing"
    hall.clock.pass_(1)
    await hall.desk.sweep_once()
    assert (await asyncio.wait_for(waiting, 5)).state == "expired"
    assert hall.bell.stopped == [asked.request_id]


@pytest.mark.parametrize(("state", "seconds", "after"), [("ringing", 300, "expired"), ("approved", 120, "unused")])
@running
async def test_deadlines_outlive_a_restart(hall, state, seconds, after):
    asked = await (hall.held() if state == "ringing" else hall.approved())
    hall.restart()
    await hall.desk.sweep_once()
    assert hall.state(asked) == state
    hall.clock.pass_(seconds)
    await hall.desk.sweep_once()
    assert hall.state(asked) == after


@running
async def test_a_decision_after_a_restart_counts(hall):
    asked = await hall.held()
    hall.restart()
    assert await hall.presses(asked, code=hall.owner.code()) == "approved"
    assert await hall.claims(asked) == "used"


@running
async def test_a_channel_that_cannot_stop_takes_no_decision_back_and_does_not_end_the_sweep(hall):
    """The COMMIT has happened: whoever pressed the key must hear so, and who waits must be woken."""

    async def broken(org_id, row):
        raise sqlite3.OperationalError("disk I/O error")

    hall.bell.stop = broken
    asked, other = await hall.held(COMMIT), await hall.held(COMMIT, session="sess_" + "2" * 32)
    assert await hall.presses(asked) == "approved"
    sweeping = asyncio.ensure_future(hall.desk.sweep())
    hall.clock.pass_(300)
    row = await asyncio.wait_for(waited(hall.desk, hall.owner.connector, other.request_id, 20), 25)
    assert row.state == "expired"
    await asyncio.sleep(0)
    assert not sweeping.done()
    sweeping.cancel()


@running
async def test_cancelling_stops_the_ringing_and_takes_an_unclaimed_approval_back(hall):
    ringing, approved = await hall.held(), await hall.approved(session="sess_" + "2" * 32)
    assert (await hall.desk.cancel(hall.owner.connector, ringing.request_id)).state == "cancelled"
    assert (await hall.desk.cancel(hall.owner.connector, approved.request_id)).state == "revoked"
    assert ringing.request_id in hall.bell.stopped


def heads(hall: Hall) -> list[tuple[int, bytes]]:
    return hall.store.read(lambda tx: tx._db.execute("SELECT size, root FROM head").fetchall())


def checkpoints(hall: Hall) -> list[tuple[int, bytes]]:
    return hall.store.read(lambda tx: tx._db.execute("SELECT size, root FROM checkpoint ORDER BY size").fetchall())


@running
async def test_the_head_that_a_connector_shows_is_kept_as_a_witness(hall):
    await hall.held()
    older, newer = checkpoints(hall)[-2:]
    await hall.held(head=Head(newer[0], newer[1].hex()), session="sess_" + "2" * 32)
    await hall.held(head=Head(older[0], older[1].hex()), session="sess_" + "3" * 32)
    assert heads(hall) == [newer]
    assert "head_unknown" not in hall.kinds()


@running
async def test_a_head_that_this_log_never_had_is_told_and_makes_no_witness_against_it(hall):
    """Or any connector's token could make an unedited log look forged, and every backup of it impossible to restore."""
    await hall.held()
    size, root = checkpoints(hall)[-1]
    for number, head in enumerate((Head(size, "ab" * 32), Head(1 << 62, "cd" * 32), Head(size + 1, root.hex()))):
        await hall.held(head=head, session=f"sess_{number}" + "2" * 31)
    assert heads(hall) == []
    told = [(row["size"], row["root"]) for row in hall.logged() if row["kind"] == "head_unknown"]
    assert told == [(size, "sha256:" + "ab" * 32), (1 << 62, "sha256:" + "cd" * 32), (size + 1, "sha256:" + root.hex())]
    with auditlog.database(hall.folder) as db:
        log = auditlog.log_of(db, hall.org_id)
        assert verify(log, auditkey.read_keys(hall.folder / "audit.key")[hall.org_id]).result == "OK-UNANCHORED"


# ---------------------------------------------------------------- modes


def stands(hall: Hall, mode: str, session: str = "sess_" + "1" * 32) -> None:
    now = hall.clock.wall()
    hall.write(lambda org: org.set_mode(rows.Mode(hall.owner.connector_id, session, mode, now + 3600, 0)))


@running
async def test_in_mode_here_nobody_is_called_and_every_yes_needs_the_code(hall):
    stands(hall, "here")
    asked = await hall.held(COMMIT)
    assert hall.bell.rung == []
    assert await hall.presses(asked, channel="here") == "code_needed"
    assert await hall.presses(asked, code=hall.owner.code(), channel="here") == "approved"


@running
async def test_the_mode_is_the_servers_own_and_not_what_the_connector_says(hall):
    """A connector that says `here` on its own would keep the phone silent."""
    asked = hall.request()
    asked.body = asked.body.replace(b'"mode":"on"', b'"mode":"here"')
    assert b'"mode":"here"' in asked.body
    await hall.desk.open(hall.owner.connector, asked.body)
    await hall.settle()
    assert (hall.row(asked).mode, hall.bell.rung) == ("on", [asked.request_id])


@running
async def test_easing_approves_and_lets_low_risk_steps_of_a_session_in_mode_away_pass(hall):
    stands(hall, "away")
    asked = await hall.held()
    outcome = await hall.desk.ease(hall.org_id, asked.request_id, device_id=hall.owner.device_id, code=hall.owner.code())
    assert outcome == "approved"
    (mode,) = hall.read(hall.org_id, lambda org: org.modes(hall.owner.connector_id))
    assert (mode.mode, mode.eased_until - hall.clock.wall()) == ("away", 900)


@pytest.mark.parametrize(("code", "outcome"), [(None, "code_needed"), (WRONG, "wrong_code")])
@running
async def test_easing_always_needs_the_code(hall, code, outcome):
    stands(hall, "away")
    asked = await hall.held(COMMIT)
    assert await hall.desk.ease(hall.org_id, asked.request_id, device_id=hall.owner.device_id, code=code) == outcome
    (mode,) = hall.read(hall.org_id, lambda org: org.modes(hall.owner.connector_id))
    assert mode.eased_until == 0


def test_the_desk_counts_on_nothing_but_what_it_is_given():
    assert set(Desk.__init__.__annotations__) == {"store", "keyring", "config", "clock", "return"}
