"""Who is rung and when it stops: busy lines, next phones, deadlines, and a provider in trouble."""

from typing import Any

import pytest

from ony_core.server import telephone
from tests.channels.house import APPLY, NUMBER, OTHER_NUMBER, House, opened


def test_a_busy_line_is_tried_once_more_and_then_the_next_phone(build: Any) -> None:
    house = build(phones=(NUMBER, OTHER_NUMBER))
    house.provider.expect_call(NUMBER).busy()
    house.provider.expect_call(NUMBER).busy()
    opened(house, OTHER_NUMBER).press("2").hears("Denied")
    request_id = house.hold()
    row = house.decided(request_id)
    house.provider.check()
    assert (row.state, row.decided_by) == ("denied", house.devices[1])


@pytest.mark.parametrize("end", ["no_answer", "rejects", "voicemail"])
def test_a_phone_that_nobody_answers_leads_to_the_next(build: Any, end: str) -> None:
    house = build(phones=(NUMBER, OTHER_NUMBER))
    getattr(house.provider.expect_call(NUMBER), end)()
    opened(house, OTHER_NUMBER).press("2").hears("Denied")
    assert house.decided(house.hold()).state == "denied"
    house.provider.check()


def test_a_busy_line_is_not_tried_again_for_a_request_that_is_settled(build: Any) -> None:
    house = build(busy_retry_s=0.3)
    house.provider.expect_call(NUMBER).busy()
    request_id = house.hold()
    house.provider.check()
    assert house.expires(request_id).state == "expired"
    house.do(house.followed())
    assert len(house.provider.calls) == 1 and [row["step"] for row in house.audit("call")] == ["placed", "ended"]


def test_a_deadline_stops_the_ringing(house: House) -> None:
    phone = house.provider.expect_call(NUMBER).keeps_ringing()
    request_id = house.hold()
    while phone.call is None or phone.call.status != "ringing":
        house.handoff(request_id)
    assert house.expires(request_id).state == "expired"
    house.provider.check()
    assert phone.call.status == "canceled"


def test_a_deadline_ends_a_call_in_progress(house: House) -> None:
    phone = opened(house).meanwhile(lambda call: house.clock.advance(400)).listens_on()
    assert house.decided(house.hold()).state == "expired"
    house.provider.check()
    assert phone.call is not None and phone.call.status == "completed"


def test_what_was_decided_elsewhere_stops_the_ringing(house: House) -> None:
    async def approve() -> str:
        row = house.connector
        return await house.desk.decide(
            row.org_id, request_id, device_id=house.devices[0], decision="approve", code=house.code(), channel="here"
        )

    phone = house.provider.expect_call(NUMBER).keeps_ringing()
    request_id = house.hold()
    while phone.call is None or phone.call.status != "ringing":
        house.handoff(request_id)
    assert house.do(approve()) == "approved"
    house.provider.check()
    assert phone.call.status == "canceled"


@pytest.mark.parametrize("fault", ["500", "429", "503"])
def test_trouble_that_passes_delays_the_call(house: House, fault: str) -> None:
    house.provider.next_create(fault)
    opened(house).press("2").hears("Denied")
    assert house.decided(house.hold()).state == "denied"
    house.provider.check()


@pytest.mark.parametrize("fault", ["balance", "price", "text_error"])
def test_a_provider_that_refuses_fails_the_request_at_once(house: House, fault: str) -> None:
    house.provider.next_create(fault)
    row = house.decided(house.hold())
    assert (row.state, row.reason) == ("failed", "nobody_reached")
    assert [row["status"] for row in house.audit("call") if row["step"] == "ended"] == ["refused"]


def test_without_a_phone_the_request_fails_at_once(build: Any) -> None:
    house = build(phones=())
    assert house.decided(house.hold()).state == "failed"


def test_a_create_that_is_never_answered_rings_once_and_decides_once(house: House) -> None:
    """The provider accepted the call, and its answer was lost: the call's own webhooks carry it, nobody rings twice."""
    house.telephone._laml._deadline_s = 1.0
    house.provider.next_create("timeout_after_accept")
    opened(house).press("1").hears("six digit code").press(house.code).hears("Approved")
    assert house.decided(house.hold(APPLY)).state == "approved"
    house.provider.join()
    house.provider.check()
    assert len(house.provider.calls) == 1


@pytest.mark.parametrize("change", [{"state": "revoked"}, {"active_from": 2_000_000_000}])
def test_a_phone_that_is_revoked_or_too_new_is_not_rung(house: House, change: dict[str, Any]) -> None:
    ((name, value),) = change.items()

    async def alter() -> None:
        await house.store.write(lambda tx: tx._db.execute(f"UPDATE device SET {name} = ?", (value,)))

    house.do(alter())
    assert house.decided(house.hold()).state == "failed"
    house.provider.check()
    assert house.provider.requests == []


def test_the_number_that_calls_is_never_called(build: Any) -> None:
    house = build(phones=("+15550100000",))
    assert house.decided(house.hold()).state == "failed"
    assert house.provider.requests == []


def test_an_unanswered_create_still_leads_to_the_next_phone(build: Any) -> None:
    house = build(phones=(NUMBER, OTHER_NUMBER))
    house.telephone._laml._deadline_s = 0.5
    house.provider.next_create("timeout_after_accept")
    house.provider.expect_call(NUMBER).no_answer()
    opened(house, OTHER_NUMBER).press("2").hears("Denied")
    assert house.decided(house.hold()).decided_by == house.devices[1]
    house.provider.check()


def test_lost_callbacks_are_made_up_for_by_asking(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telephone, "RECONCILE_S", 0.05)
    house = build(phones=(NUMBER, OTHER_NUMBER))
    house.provider.delivery.lose = frozenset({"busy", "no-answer"})
    house.provider.expect_call(NUMBER).no_answer()
    opened(house, OTHER_NUMBER).press("2").hears("Denied")
    assert house.decided(house.hold()).decided_by == house.devices[1]
    house.provider.check()


def test_a_request_settled_while_its_call_is_being_placed_stops_the_ringing(house: House) -> None:
    """The provider fails the first create; the connector gives up before the second: no callback is needed to stop that one."""
    house.provider.delivery.lose = frozenset({"initiated", "ringing"})
    house.provider.next_create("500")
    phone = house.provider.expect_call(NUMBER).keeps_ringing()
    request_id = house.hold()
    while not house.provider.requests:
        house.handoff(request_id)
    house.do(house.desk.cancel(house.connector, request_id))
    house.provider.check()
    assert phone.call is not None and phone.call.status == "canceled"
