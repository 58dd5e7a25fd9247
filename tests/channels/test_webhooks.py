"""What is a webhook of ours and what is not: forged, replayed, crossed and repeated ones, on the running server."""

import asyncio
import http.client
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.channels.house import COMMIT, NUMBER, OTHER_NUMBER, House, opened
from tests.sim.call import post, sign

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
        house.clock.advance(3600)  # noes in a row would pause the session
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


def test_a_status_callback_never_decides(house: House) -> None:
    """Whoever could send signed status callbacks, with keys in them, gets no further than the bookkeeping."""
    answers: list[int] = []

    def report(call: Any) -> None:
        url = call.get("StatusCallback")
        for number, status in enumerate(("in-progress", "completed", "busy", "approved"), 100):
            pairs = [*(pair for pair in call.params() if pair[0] != "CallStatus"), ("CallStatus", status), ("Digits", "1")]
            pairs.append(("SequenceNumber", str(number)))
            answers.append(post(url, pairs, sign(house.provider.signing_key, url, pairs))[0])

    opened(house).meanwhile(report).press("2").hears("Denied")
    request_id = house.hold(COMMIT, "away")
    assert house.decided(request_id).state == "denied"
    house.provider.check()
    assert answers == [204, 204, 204, 403]
