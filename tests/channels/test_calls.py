"""Whole calls: a held request rings a simulated phone, keys travel as signed webhooks, and what the caller is told is what was stored."""

import asyncio
import http.client
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ony_core.server import telephone
from tests.channels.house import APPLY, COMMIT, NUMBER, OTHER_NUMBER, House, prepare
from tests.sim.call import post, sign
from tests.sim.phone import Phone


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def build(prepared: Path, tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(House(prepared, tmp_path / "data", **settings))


@pytest.fixture
def house(build: Any) -> House:
    return build()


def opened(house: House, to: str = NUMBER) -> Phone:
    return house.provider.expect_call(to).answer().hears("Press 5").press("5").hears("Press 1 to approve")


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


FORGERIES: dict[str, tuple[dict[str, Any], str]] = {
    "no signature": ({"signature": ""}, "bad_signature"),
    "an invented signature": ({"signature": "A" * 27 + "="}, "bad_signature"),
    "another key": ({"key": "PSK_other"}, "bad_signature"),
    "another call's sid": ({"fields": {"CallSid": "3f1f0b48-0000-4000-8000-000000000000"}}, "wrong_call"),
    "another number": ({"fields": {"To": OTHER_NUMBER}}, "wrong_number"),
    "another account": ({"fields": {"AccountSid": "someone-else"}}, "wrong_account"),
    "two keys pressed at once": ({"extra": [("Digits", "2")]}, "malformed"),
    "two sids": ({"extra": [("CallSid", "x")]}, "malformed"),
    "letters as keys": ({"fields": {"Digits": "1a"}}, "malformed"),
    "another step": ({"address": lambda url: url.replace("/choice", "/code")}, "wrong_step"),
    "a later prompt": ({"address": lambda url: url.replace("n=1", "n=2")}, "wrong_step"),
    "no prompt": ({"address": lambda url: url.replace("?n=1", "")}, "wrong_step"),
    "the first document again": ({"address": lambda url: url.replace("/choice?n=1", "/start")}, "wrong_step"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_webhook_that_does_not_fit_is_refused_and_the_true_one_still_works(house: House, name: str) -> None:
    forgery, reason = FORGERIES[name]
    phone = (
        house.provider.expect_call(NUMBER)
        .answer()
        .hears("Press 5")
        .press("5")
        .hears("Press 1 to approve")
        .forges(**forgery)
        .press("1")
        .hears("Approved")
    )
    request_id = house.hold(COMMIT, "away")
    assert house.decided(request_id).state == "approved"
    house.provider.check()
    assert phone.attacks == [403]
    assert [row["reason"] for row in house.audit("webhook_refused")] == [reason]


def test_an_unknown_nonce_is_refused_without_a_row(house: House) -> None:
    phone = opened(house).forges(address=lambda url: re.sub("[0-9a-f]{64}", "0" * 64, url)).press("2").hears("Denied")
    house.decided(house.hold())
    house.provider.check()
    assert phone.attacks == [403] and house.audit("webhook_refused") == []


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_replayed_webhook_is_refused(house: House, index: int) -> None:
    """0 = start, 1 = the 5 at the gate, 2 = the 1 at the menu, sent again while the code is asked."""
    phone = opened(house).press("1").hears("six digit code").replays(index).press(house.code).hears("Approved")
    request_id = house.hold()
    assert house.decided(request_id).state == "approved"
    house.provider.check()
    assert phone.attacks == [403] and [row["reason"] for row in house.audit("webhook_refused")] == ["wrong_step"]


def test_a_webhook_of_one_call_does_not_pass_for_another(house: House) -> None:
    """The code typed on one call must not decide another request, even when the provider itself mixes them up."""
    opened(house).press("1").hears("six digit code").press(house.code).hears("Approved")
    house.decided(house.hold())
    house.provider.check()
    old = next(iter(house.provider.calls.values())).webhooks[0].url.split("/")[5]
    phone = opened(house).forges(address=lambda url: re.sub("[0-9a-f]{64}", old, url)).press("2").hears("Denied")
    house.decided(house.hold())
    house.provider.check()
    assert phone.attacks == [403]


@pytest.mark.parametrize("provider", ["signalwire", "twilio"])
def test_both_providers_and_both_keys_of_a_rotation(build: Any, provider: str) -> None:
    house = build(provider=provider, signing_key="PSK_new", old_signing_key="PSK_simulated")
    opened(house).press("2").hears("Denied")
    house.decided(house.hold())
    house.provider.signing_key = "PSK_new"
    opened(house).press("2").hears("Denied")
    house.decided(house.hold())
    house.provider.check()


def test_status_callbacks_may_come_twice_reversed_or_not_at_all(house: House) -> None:
    calls: list[Any] = []
    for change in ({"twice": True}, {"backwards": True, "twice": False}, {"backwards": False, "lose": frozenset({"completed", "ringing"})}):
        for name, value in change.items():
            setattr(house.provider.delivery, name, value)
        opened(house).press("2").hears("Denied")
        calls += house.do(_calls(house, house.decided(house.hold()).id, house.provider.check))
    assert [(call.status, call.ended_at is not None) for call in calls] == [
        ("completed", True),
        ("completed", True),
        ("in-progress", False),
    ]
    assert len([row for row in house.audit("call") if row["step"] == "ended"]) == 2


async def _calls(house: House, request_id: str, after: Any) -> list[Any]:
    await asyncio.to_thread(after)
    return house.store.read(lambda tx: tx.org(house.connector.org_id).calls(request_id))


def test_a_status_callback_never_decides(house: House) -> None:
    """Somebody who could send signed status callbacks, and nothing else, gets no further than the bookkeeping."""
    house.provider.expect_call(NUMBER).answer().hears("Press 5").hangs_up()
    request_id = house.hold()
    house.provider.check()
    assert house.handoff(request_id).state == "ringing"


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


def test_a_key_pressed_after_the_deadline_comes_too_late(house: House) -> None:
    opened(house).meanwhile(lambda call: house.clock.advance(400)).press("1").hears("time is over")
    request_id = house.hold(COMMIT, "away")
    house.provider.check()
    assert house.verdict(request_id) is None


def test_what_was_decided_elsewhere_stops_the_other_phone_and_can_be_taken_back_there(house: House) -> None:
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


def test_only_posted_forms_are_webhooks(house: House) -> None:
    """Signed or not: a signature over a form means nothing for a body that is not one."""
    answers: list[int] = []

    def odd(call: Any) -> None:
        house.clock.advance(2)
        url, pairs = call.webhooks[-1].url.replace("/gate?n=1", "/choice?n=1"), [*call.params(), ("Digits", "1")]
        body, signature = urlencode(pairs), sign(house.provider.signing_key, url, pairs)
        for method, kind in (
            ("POST", "application/json"),
            ("POST", ""),
            ("GET", "application/x-www-form-urlencoded"),
            ("PUT", "text/plain"),
        ):
            link = http.client.HTTPConnection(house.public_url.removeprefix("http://"), timeout=10)
            link.request(method, url.removeprefix(house.public_url), body, {"Content-Type": kind, "X-SignalWire-Signature": signature})
            answers.append(link.getresponse().status)
            link.close()

    opened(house).meanwhile(odd).press("2").hears("Denied")
    assert house.decided(house.hold(COMMIT, "away")).state == "denied"
    house.provider.check()
    assert answers == [403, 403, 405, 405]
    assert [row["reason"] for row in house.audit("webhook_refused")] == ["not_a_form", "not_a_form"]


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


def test_two_copies_of_one_webhook_at_once_count_once(house: House) -> None:
    """The same signed press of 1, twenty times in parallel: one takes effect."""
    answers: list[int] = []

    def together(call: Any) -> None:
        url, pairs = call.webhooks[-1].url.replace("/gate?n=1", "/choice?n=1"), [*call.params(), ("Digits", "1")]
        house.clock.advance(2)
        with ThreadPoolExecutor(20) as pool:
            sent = [pool.submit(post, url, pairs, sign(house.provider.signing_key, url, pairs)) for _ in range(20)]
            answers.extend(future.result()[0] for future in sent)

    opened(house).meanwhile(together)
    request_id = house.hold(COMMIT, "away")
    assert house.decided(request_id).state == "approved"
    house.provider.join()
    assert sorted(answers) == [200] + [403] * 19


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


def test_the_call_of_a_failed_create_and_the_one_of_its_retry_are_not_both_kept(house: House) -> None:
    """The provider says 500, but the first call rings all the same: the one whose webhook comes first is the call, the other is ended."""
    first = opened(house).press("2").hears("Denied")
    pairs: list[Any] = []

    def phantom(method: str, path: str, authorization: str, given: Any) -> Any:
        answer = genuine(method, path, authorization, given)
        if not pairs and method == "POST" and path.endswith("/Calls"):
            pairs.extend(given)
            return 500, {"code": 20001, "message": "internal"}
        return answer

    genuine, house.provider.answer = house.provider.answer, phantom  # type: ignore[method-assign]
    second = house.provider.expect_call(NUMBER).keeps_ringing()
    assert house.decided(house.hold()).state == "denied"
    house.provider.check()
    assert first.call is not None and second.call is not None and second.call.status == "canceled"
    assert {row["reason"] for row in house.audit("webhook_refused")} == {"wrong_call"}
