"""Whole calls: a held request rings a simulated phone, keys travel as signed webhooks, and what the caller is told is what was stored."""

from typing import Any

import pytest

from tests.channels.house import COMMIT, NUMBER, House, opened


def test_approved_with_the_right_code(house: House) -> None:
    opened(house).press("1").hears("six digit code").press(house.code).hears("Approved. Waiting for the agent")
    request_id = house.hold()
    assert house.decided(request_id).state == "approved"
    house.provider.check()
    verdict = house.verdict(request_id)
    assert verdict is not None and verdict["decision"] == "approve" and verdict["code_verified"] is True
    assert verdict["approver_device_id"] == house.devices[0]


def test_the_caller_hears_agent_project_action_risk_and_request_number(house: House) -> None:
    phone = opened(house).press("2").hears("Denied")
    row = house.handoff(house.hold())
    house.decided(row.id)
    house.provider.check()
    for words in ("Claude Code, in project prod-api", row.title.rstrip("."), f"Risk: {row.risk}", " ".join(row.word)):
        assert words in phone.heard
    assert house.handoff(row.id).state == "denied"


def test_a_verdict_stands_before_the_caller_is_told(house: House) -> None:
    seen: list[Any] = []
    phone = opened(house).press("1").hears("six digit code").press(house.code).hears("Approved")
    phone.meanwhile(lambda call: seen.append(house.handoff(request_id[0]).state))
    request_id = [house.hold()]
    house.decided(request_id[0])
    house.provider.check()
    assert seen == ["approved"]


def test_denied_needs_no_code(house: House) -> None:
    opened(house).press("2").hears("Denied. The agent will not do this")
    request_id = house.hold()
    assert house.decided(request_id).state == "denied"
    house.provider.check()


def test_nine_repeats_the_request(house: House) -> None:
    phone = opened(house).press("9").hears("Press 1 to approve").press("2").hears("Denied")
    house.decided(house.hold())
    house.provider.check()
    assert phone.heard.count("wants to") == 2


def test_a_medium_risk_in_mode_away_needs_one_key(house: House) -> None:
    opened(house).press("1").hears("Approved")
    request_id = house.hold(COMMIT, "away")
    assert house.handoff(request_id).risk == "medium"
    assert house.decided(request_id).state == "approved"
    house.provider.check()
    verdict = house.verdict(request_id)
    assert verdict is not None and verdict["code_verified"] is False


def test_three_in_mode_away_approves_with_the_code_and_eases_the_session(house: House) -> None:
    opened(house).press("3").hears("six digit code").press(house.code).hears("pass for 15 minutes")
    request_id = house.hold(COMMIT, "away")
    assert house.decided(request_id).state == "approved"
    house.provider.check()
    assert [row["mode"] for row in house.audit("mode")] == ["away"]


def test_three_wrong_codes_end_the_call_and_nothing_is_approved(house: House) -> None:
    phone = opened(house).press("1")
    for _ in range(3):
        phone.hears("six digit code").press("000000")
    phone.hears("Nothing was approved")
    request_id = house.hold()
    house.provider.check()
    assert house.handoff(request_id).state == "ringing" and house.verdict(request_id) is None
    assert [row["result"] for row in house.audit("code")] == ["wrong", "wrong", "wrong"]
    assert house.expires(request_id).state == "expired"


def test_a_wrong_code_can_be_followed_by_the_right_one(house: House) -> None:
    opened(house).press("1").hears("six digit").press("12345#").hears("has six digits").press("000000").hears("not right").press(
        house.code
    ).hears("Approved")
    request_id = house.hold()
    assert house.decided(request_id).state == "approved"
    house.provider.check()


def test_five_wrong_codes_over_two_calls_close_the_phone_for_codes(house: House) -> None:
    for wrong in (3, 2):
        phone = opened(house).press("1")
        for _ in range(wrong):
            phone.hears("six digit code").press("000000")
        phone.hears("Nothing was approved" if wrong == 3 else "closed for 15 minutes")
        house.hold()
        house.provider.check()
    phone = opened(house).press("1").hears("six digit code").press(house.code).hears("closed for 15 minutes")
    request_id = house.hold()
    house.provider.check()
    assert house.verdict(request_id) is None


def test_one_code_approves_one_request_only(house: House) -> None:
    codes: list[str] = []
    opened(house).press("1").hears("six digit code").press(lambda: codes.append(house.code()) or codes[0]).hears("Approved")
    house.decided(house.hold())
    house.provider.check()
    opened(house).press("1").hears("six digit code").press(lambda: codes[0], gap=1.0).hears("not right").hangs_up()
    request_id = house.hold()
    house.provider.check()
    assert house.verdict(request_id) is None


def test_a_voicemail_box_learns_nothing_and_decides_nothing(house: House) -> None:
    phone = house.provider.expect_call(NUMBER).voicemail()
    row = house.handoff(house.hold())
    house.provider.check()
    assert phone.heard.count("Press 5") == 2
    for words in (row.title.rstrip("."), "prod-api", "Claude", row.risk, " ".join(row.word)):
        assert words not in phone.heard
    assert house.handoff(row.id).state == "ringing" and len(house.provider.calls) == 1


@pytest.mark.parametrize("keys", ["1", "2", "11", "17", "222222"])
def test_keys_at_the_gate_do_nothing_but_repeat_it(house: House, keys: str) -> None:
    phone = house.provider.expect_call(NUMBER).answer().hears("Press 5").press(keys)
    request_id = house.hold()
    house.provider.join()
    assert "wants to" not in phone.heard and house.handoff(request_id).state == "ringing"


def test_early_keys_are_ignored_and_asked_again(house: House) -> None:
    """51 typed in one go: the 1 reaches the menu at once, as type-ahead, and must not approve."""
    opened_early = house.provider.expect_call(NUMBER).answer().hears("Press 5").press("51").hears("too early").press("1", gap=0.2)
    opened_early.hears("too early").press("2", gap=1.5).hears("Denied")
    request_id = house.hold(COMMIT, "away")
    assert house.decided(request_id).state == "denied"
    house.provider.check()


def test_only_early_keys_end_the_call_without_a_decision(house: House) -> None:
    phone = house.provider.expect_call(NUMBER).answer().hears("Press 5").press("5")
    for _ in range(3):
        phone.press("1", gap=0.3)
    phone.hears("Nothing was approved")
    request_id = house.hold(COMMIT, "away")
    house.provider.check()
    assert house.verdict(request_id) is None


def test_seven_denies_and_pauses_the_session_without_further_calls(house: House) -> None:
    opened(house).press("7").hears("paused for one hour")
    first = house.hold()
    assert house.decided(first).state == "denied"
    second = house.decided(house.hold())
    assert (second.state, second.reason) == ("denied", "paused")
    house.provider.check()
    assert len(house.provider.calls) == 1


def test_a_key_pressed_after_the_deadline_comes_too_late(house: House) -> None:
    opened(house).meanwhile(lambda call: house.clock.advance(400)).press("1").hears("time is over")
    request_id = house.hold(COMMIT, "away")
    house.provider.check()
    assert house.verdict(request_id) is None


def test_a_revoked_phone_is_told_nothing_more(house: House) -> None:
    async def revoke(call: Any) -> None:
        await house.store.write(lambda tx: tx.org(house.connector.org_id).revoke_device(house.devices[0]))

    phone = (
        house.provider.expect_call(NUMBER)
        .answer()
        .hears("Press 5")
        .meanwhile(lambda call: house.do(revoke(call)))
        .press("5")
        .hears("not enrolled any more")
    )
    request_id = house.hold()
    house.provider.check()
    assert "wants to" not in phone.heard and house.verdict(request_id) is None


def test_no_number_key_or_code_reaches_an_audit_row_or_a_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    codes: list[str] = []
    opened(house).forges(signature="bad").press("1").hears("six digit code").press(lambda: codes.append(house.code()) or codes[0]).hears(
        "Approved"
    )
    house.decided(house.hold())
    house.provider.check()
    said = caplog.text + "".join(str(house.audit(kind)) for kind in ("call", "webhook_refused", "verdict", "handoff", "step"))
    for secret in (NUMBER, NUMBER[2:], codes[0], house.secret, house.provider.signing_key, house.provider.token):
        assert secret not in said


def test_a_request_settled_before_the_gate_opens_is_not_told(house: House) -> None:
    async def cancel() -> None:
        org_id = house.connector.org_id
        await house.store.write(lambda tx: tx.org(org_id).step(tx.org(org_id).handoff(request_id[0]), "cancel"))

    house.provider.delivery.lose = frozenset({"initiated", "ringing", "in-progress"})  # on hearing one the server would hang up
    phone = (
        house.provider.expect_call(NUMBER)
        .answer()
        .hears("Press 5")
        .meanwhile(lambda call: house.do(cancel()))
        .press("5")
        .hears("decided elsewhere")
    )
    request_id = [house.hold()]
    house.provider.check()
    assert "wants to" not in phone.heard


# ---------------------------------------------------------------- one request at a time


def test_a_second_request_rings_when_the_first_call_is_over(house: House) -> None:
    opened(house).press("2").hears("Denied")
    opened(house).press("1").hears("six digit code").press(house.code).hears("Approved")
    first, second = house.hold(), house.hold()
    assert (house.decided(first).state, house.decided(second).state) == ("denied", "approved")
    house.provider.check()
    steps = [(row["step"], row["request_id"]) for row in house.audit("call") if row["step"] in ("placed", "ended")]
    assert steps == [("placed", first), ("ended", first), ("placed", second), ("ended", second)]


def test_what_nobody_wants_any_more_gives_its_turn_away_unrung(house: House) -> None:
    house.provider.expect_call(NUMBER).keeps_ringing()
    first, second, third = house.hold(), house.hold(), house.hold()
    house.do(house.desk.cancel(house.connector, second))
    opened(house).press("2").hears("Denied")
    house.do(house.desk.cancel(house.connector, first))
    assert house.decided(third).state == "denied"
    house.provider.check()
    assert second not in [row["request_id"] for row in house.audit("call")]


def test_a_request_whose_turn_comes_and_whom_no_phone_takes_ends_at_once(house: House) -> None:
    house.provider.expect_call(NUMBER).keeps_ringing()
    first, second = house.hold(), house.hold()
    house.do(house.store.write(lambda tx: tx.org(house.connector.org_id).revoke_device(house.devices[0])))
    house.do(house.desk.cancel(house.connector, first))
    assert house.decided(second).state in ("failed", "denied")
    assert house.verdict(second) is None
