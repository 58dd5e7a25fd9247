"""The desk under named cases: who may decide what, when, how often, and what is on the disk by then."""

import asyncio

import pytest

from ony_core.errors import Malformed, Refused
from ony_core.model import Fact
from ony_core.server.desk import MAX_WAITING
from tests.server.world import COMMIT, PUSH, WRONG, Bell, Person, brought_to, running

# ---------------------------------------------------------------- what a request becomes


@running
async def test_action_risk_and_title_come_from_the_facts_alone(hall):
    row = await hall.desk.open(hall.owner.connector, hall.request(PUSH).body)
    assert (row.action, row.risk) == ("git.push", "high")
    assert row.title in row.titles
    assert 10 <= int(row.word) <= 99


@running
async def test_words_that_no_table_knows_are_critical(hall):
    row = await hall.desk.open(hall.owner.connector, hall.request((Fact("command", "frobnicate"),)).body)
    assert row.risk == "critical"


@running
async def test_a_request_rings_and_is_in_the_log_before_it_does(hall):
    asked = await hall.held()
    assert hall.bell.rung == [asked.request_id]
    assert hall.kinds() == ["handoff", "step"]


@running
async def test_the_same_request_twice_is_one_request_and_one_call(hall):
    asked = await hall.held()
    again = await hall.desk.open(hall.owner.connector, asked.body)
    await hall.settle()
    assert (again.id, again.state) == (asked.request_id, "ringing")
    assert hall.bell.rung == [asked.request_id]


@running
async def test_the_same_request_after_its_decision_tells_the_decision(hall):
    asked = await hall.approved()
    assert (await hall.desk.open(hall.owner.connector, asked.body)).state == "approved"


@running
async def test_an_id_that_stands_for_another_request_is_refused_and_logged(hall):
    asked = await hall.held()
    with pytest.raises(Refused) as refused:
        await hall.desk.open(hall.owner.connector, hall.request(COMMIT, request_id=asked.request_id).body)
    assert refused.value.reason == "id_reused"
    assert hall.kinds()[-1] == "id_reused"
    assert hall.row(asked).action == "git.push"


@running
async def test_an_id_of_another_connector_or_organisation_is_refused(hall):
    asked = await hall.held()
    neighbour = Person(hall, hall.org_id, "neighbour@example.com")
    stranger = Person(hall, hall.new_org(), "stranger@example.com")
    for other in (neighbour, stranger):
        with pytest.raises(Refused) as refused:
            await hall.desk.open(other.connector, asked.body)
        assert refused.value.reason == "id_reused"


@running
async def test_a_request_that_is_not_well_formed_leaves_nothing_behind(hall):
    with pytest.raises(Malformed):
        await hall.desk.open(hall.owner.connector, b'{"title":"harmless"}')
    assert hall.kinds() == []


@running
async def test_a_flood_of_requests_is_refused_and_rings_nobody(hall):
    asked = [await hall.held(session=f"sess_{n:032x}") for n in range(MAX_WAITING)]
    with pytest.raises(Refused) as refused:
        await hall.desk.open(hall.owner.connector, hall.request().body)
    assert (refused.value.reason, len(hall.bell.rung)) == ("too_many_waiting", MAX_WAITING)
    assert (await hall.desk.open(hall.owner.connector, asked[0].body)).state == "ringing", "what waits may be asked about again"
    await hall.presses(asked[0], "deny")
    await hall.held()


# ---------------------------------------------------------------- nobody to ask


@running
async def test_without_any_channel_the_answer_is_no_at_once(hall):
    hall.open_desk()
    asked = hall.request()
    row = await hall.desk.open(hall.owner.connector, asked.body)
    assert (row.state, row.reason) == ("failed", "no_channel")


@running
async def test_when_nobody_can_be_reached_the_answer_is_no_at_once(hall):
    hall.bell.reaches = False
    asked = hall.request()
    await hall.desk.open(hall.owner.connector, asked.body)
    await hall.settle()
    assert (hall.state(asked), hall.row(asked).reason) == ("failed", "nobody_reached")


@pytest.mark.parametrize("trouble", [Refused("wrong_state"), KeyError("sid"), OSError("network")])
@running
async def test_trouble_in_a_channel_is_a_no_and_not_a_long_silence(hall, trouble):
    hall.bell.trouble = trouble
    asked = hall.request()
    await hall.desk.open(hall.owner.connector, asked.body)
    await hall.settle()
    assert hall.state(asked) == "failed"


@running
async def test_one_channel_in_trouble_does_not_keep_the_next_from_ringing(hall):
    good = Bell()
    hall.open_desk(Bell(trouble=KeyError("sid")), good)
    asked = hall.request()
    await hall.desk.open(hall.owner.connector, asked.body)
    await hall.settle()
    assert (hall.state(asked), good.rung) == ("ringing", [asked.request_id])


@running
async def test_a_paused_session_is_denied_without_a_call_and_another_session_rings(hall):
    asked = await hall.held()
    assert await hall.desk.pause(hall.org_id, asked.request_id, device_id=hall.owner.device_id) == "paused"
    assert hall.state(asked) == "denied"
    row = await hall.desk.open(hall.owner.connector, hall.request().body)
    assert (row.state, row.reason) == ("denied", "paused")
    await hall.held(session="sess_" + "2" * 32)
    hall.clock.pass_(3601)
    await hall.held()


# ---------------------------------------------------------------- decisions


@running
async def test_a_yes_with_the_code_makes_a_verdict_that_the_connector_believes(hall):
    asked = await hall.approved()
    checked = hall.owner.checks(asked, hall.row(asked))
    assert (checked.decision, checked.code_verified, checked.expires_at - checked.issued_at) == ("approve", True, 120)
    assert hall.bell.stopped == [asked.request_id]


@running
async def test_a_no_needs_no_code_and_is_signed_too(hall):
    asked = await hall.held()
    assert await hall.presses(asked, "deny") == "denied"
    assert hall.owner.checks(asked, hall.row(asked)).decision == "deny"


@running
async def test_the_verdict_is_in_the_log_with_its_digest_and_a_proof(hall):
    asked = await hall.approved()
    kept = hall.read(hall.org_id, lambda org: org.verdict(asked.request_id))
    (logged,) = [row for row in hall.logged() if row["kind"] == "verdict"]
    assert logged["payload_digest"] == kept.payload_digest
    proof = hall.read(hall.org_id, lambda org: org.proof(kept.audit_seq, None))
    assert kept.payload_digest in proof["row"]["body"]


CODES = [  # facts, policy, code given, outcome
    ("a medium risk needs no code", COMMIT, "high", None, "approved"),
    ("a medium risk needs one where the policy says so", COMMIT, "medium", None, "code_needed"),
    ("a high risk always needs one", PUSH, "high", None, "code_needed"),
    ("no policy lifts that", PUSH, "critical", None, "code_needed"),
    ("an empty code is none", PUSH, "high", "", "code_needed"),
    ("a wrong code", PUSH, "high", WRONG, "wrong_code"),
    ("a wrong code where none was needed is wrong all the same", COMMIT, "high", WRONG, "wrong_code"),
    ("letters", PUSH, "high", "abcdef", "wrong_code"),
    ("full-width digits", PUSH, "high", "１２３４５６", "wrong_code"),
]


@pytest.mark.parametrize(("name", "facts", "threshold", "code", "outcome"), CODES, ids=[case[0] for case in CODES])
@running
async def test_codes(hall, name, facts, threshold, code, outcome):
    hall.config.policy.code_required = threshold
    asked = await hall.held(facts)
    assert await hall.presses(asked, code=code) == outcome
    assert hall.state(asked) == ("approved" if outcome == "approved" else "ringing")


@pytest.mark.parametrize(("steps", "outcome"), [(0, "approved"), (-1, "approved"), (-2, "wrong_code"), (1, "wrong_code")])
@running
async def test_a_code_lives_for_its_own_and_the_next_step(hall, steps, outcome):
    asked = await hall.held()
    assert await hall.presses(asked, code=hall.owner.code(steps)) == outcome


@running
async def test_a_code_decides_one_request_whatever_the_channel(hall):
    await hall.approved()
    other = await hall.held(session="sess_" + "2" * 32)
    code = hall.owner.code()
    assert [await hall.presses(other, code=code, channel=channel) for channel in ("voice", "here", "telegram")] == ["wrong_code"] * 3
    assert await hall.presses(other, code=hall.owner.code(-1)) == "wrong_code", "an older step is burnt with the newer one"
    hall.clock.pass_(30)
    assert await hall.presses(other, code=hall.owner.code()) == "approved"


@running
async def test_a_code_survives_no_clock_that_jumps_back(hall):
    await hall.approved()
    other = await hall.held(session="sess_" + "2" * 32)
    hall.clock.now -= 90
    assert await hall.presses(other, code=hall.owner.code()) == "wrong_code"


@running
async def test_five_wrong_codes_in_a_row_close_that_channel_for_a_quarter_of_an_hour(hall):
    asked = await hall.held()
    assert [await hall.presses(asked, code=WRONG) for _ in range(5)] == ["wrong_code"] * 4 + ["closed"]
    assert await hall.presses(asked, code=hall.owner.code()) == "closed", "also for the right one"
    assert await hall.presses(asked, code=hall.owner.code(), channel="here") == "approved", "another channel is open"
    hall.clock.pass_(899)
    other = await hall.held(session="sess_" + "2" * 32)
    assert await hall.presses(other, code=hall.owner.code()) == "closed"
    hall.clock.pass_(1)
    assert await hall.presses(other, code=hall.owner.code()) == "approved"


@running
async def test_wrong_codes_count_over_several_requests_and_a_right_one_starts_anew(hall):
    for n in range(2):
        asked = await hall.held(session=f"sess_{n:032x}")
        assert [await hall.presses(asked, code=WRONG) for _ in range(2)] == ["wrong_code"] * 2
    assert await hall.presses(asked, code=hall.owner.code()) == "approved"
    other = await hall.held(session="sess_" + "2" * 32)
    assert [await hall.presses(other, code=WRONG) for _ in range(4)] == ["wrong_code"] * 4


@running
async def test_wrong_codes_are_counted_across_a_restart_and_logged_without_the_code(hall):
    asked = await hall.held()
    for _ in range(4):
        await hall.presses(asked, code="135790")
    hall.restart()
    assert await hall.presses(asked, code="135790") == "closed"
    rows_ = [row for row in hall.logged() if row["kind"] == "code"]
    assert [row["result"] for row in rows_] == ["wrong"] * 4 + ["closed"]
    assert "135790" not in str(rows_)


@running
async def test_a_code_of_somebody_else_is_wrong(hall):
    neighbour = Person(hall, hall.org_id, "neighbour@example.com")
    asked = await hall.held()
    assert await hall.presses(asked, code=neighbour.code()) == "wrong_code"


SETTLED = ["denied", "expired", "cancelled", "failed", "used", "unused", "revoked"]


@pytest.mark.parametrize("state", SETTLED)
@running
async def test_what_is_settled_stays_settled(hall, state):
    asked = await brought_to(hall, state)
    hall.clock.pass_(30)
    code = hall.owner.code()
    assert await hall.presses(asked, code=code) == "too_late"
    assert await hall.presses(asked, "deny") == "too_late"
    assert await hall.claims(asked) != "used"
    await hall.desk.cancel(hall.owner.connector, asked.request_id)
    hall.clock.pass_(1000)
    await hall.desk.sweep_once()
    assert hall.state(asked) == state


@running
async def test_a_code_typed_too_late_is_not_used_up(hall):
    asked = await brought_to(hall, "expired")
    assert await hall.presses(asked, code=hall.owner.code()) == "too_late"
    await hall.approved(session="sess_" + "2" * 32)


@running
async def test_a_yes_at_the_very_deadline_is_too_late_even_before_the_sweep(hall):
    asked = await hall.held()
    hall.clock.pass_(300)
    assert await hall.presses(asked, code=hall.owner.code()) == "too_late"


@running
async def test_a_wall_clock_that_jumps_back_gives_nobody_more_time_to_decide(hall):
    asked = await hall.held()
    hall.clock.pass_(300)
    hall.clock.now -= 3600
    assert await hall.presses(asked, code=hall.owner.code()) == "too_late"


@running
async def test_nor_does_a_restart_with_such_a_clock(hall):
    asked = await hall.held()
    hall.clock.now -= 3600
    hall.restart()
    hall.clock.pass_(301)
    await hall.desk.sweep_once()
    assert hall.state(asked) == "expired"


@running
async def test_a_yes_before_anybody_was_asked_is_too_late(hall):
    hall.bell.reaches = False
    asked = hall.request()
    hall.desk.channels = [Silent()]
    await hall.desk.open(hall.owner.connector, asked.body)
    assert hall.state(asked) == "pending"
    assert await hall.presses(asked, code=hall.owner.code()) == "too_late"


class Silent(Bell):
    """Takes its time to dial."""

    async def ring(self, org_id, row):
        await asyncio.sleep(3600)
        return True


@running
async def test_two_decisions_at_the_same_time_leave_one_verdict(hall):
    asked = await hall.held(COMMIT)
    outcomes = await asyncio.gather(*(hall.presses(asked, decision) for decision in ("approve", "deny", "approve", "deny")))
    assert outcomes == ["approved", "revoked", "too_late", "too_late"]
    assert hall.kinds().count("verdict") == 1


@pytest.mark.parametrize("case", ["revoked device", "device of a neighbour", "device of a stranger", "no such device", "not active yet"])
@running
async def test_who_may_not_decide(hall, case):
    asked = await hall.held()
    device_id, org_id = hall.owner.device_id, hall.org_id
    if case == "revoked device":
        hall.write(lambda org: org.revoke_device(device_id))
    elif case == "device of a neighbour":
        device_id = Person(hall, hall.org_id, "neighbour@example.com").device_id
    elif case == "device of a stranger":
        device_id = Person(hall, hall.new_org(), "stranger@example.com").device_id
    elif case == "not active yet":
        hall.clock.now -= 7201
    else:
        device_id = "dev_" + "f" * 32
    for decision in ("approve", "deny"):
        with pytest.raises(Refused) as refused:
            await hall.desk.decide(
                org_id, asked.request_id, device_id=device_id, decision=decision, code=hall.owner.code(), channel="voice"
            )
        assert refused.value.reason in ("revoked_device", "unknown_device")
    assert hall.state(asked) == "ringing"


@running
async def test_a_word_that_is_neither_yes_nor_no_decides_nothing(hall):
    asked = await hall.held()
    with pytest.raises(Refused):
        await hall.presses(asked, "aprove", hall.owner.code())
    assert hall.state(asked) == "ringing"
    assert await hall.presses(asked, code=hall.owner.code()) == "approved", "and uses no code up"
