"""A phone that somebody adds by themselves: called, told a code, and deciding only when the code came back; the others hear of it."""

import http.client
import json
import re
from contextlib import closing
from typing import Any

import pytest

from ony_core.clock import new_id
from ony_core.server import confirmed
from ony_core.server.numbers import Numbers
from ony_core.server.sessions import FULL, Sessions
from tests.channels.house import EMAIL, NUMBER, OTHER_NUMBER, House
from tests.sim.phone import Phone

THIRD = "+15550100125"


class Page:
    """A session over real HTTP: the owner's, or that of another administrator with this address."""

    def __init__(self, house: House, email: str = EMAIL) -> None:
        self.house = house

        def begin(tx: Any) -> str:
            org = tx.org(tx.org_ids()[0])
            if org.user_by_email(email) is None:
                org.add_user(new_id("usr", house.clock), email, "admin", "")
            return Sessions(house.store, house.clock, public_url="", secure=False).begun(org, org.user_by_email(email), FULL, "")[1]

        self.token = house.do(house.store.write(begin))

    def post(self, path: str, **body: str) -> tuple[int, dict[str, Any]]:
        host = self.house.public_url.removeprefix("http://")
        headers = {"Content-Type": "application/json", "Origin": self.house.public_url, "Cookie": f"ony-local={self.token}"}
        with closing(http.client.HTTPConnection(host, timeout=30)) as link:
            link.request("POST", path, json.dumps(body), headers)
            answer = link.getresponse()
            return answer.status, json.loads(answer.read())

    def add(self, number: str = OTHER_NUMBER, code: str | None = None) -> tuple[int, dict[str, Any]]:
        if code is None:
            self.house.clock.advance(30)
        return self.post("/v1/devices", number=number, code=self.house.code() if code is None else code)


def listens(house: House, to: str = OTHER_NUMBER) -> Phone:
    return house.provider.expect_call(to).answer().hears("Press 5").press("5").hears("Your code is")


def code_in(phone: Phone) -> str:
    return "".join(re.findall(r"Your code is ((?:[0-9], ){5}[0-9])", phone.heard)[0].split(", "))


def devices(house: House) -> dict[str, Any]:
    async def read() -> dict[str, Any]:
        return house.store.read(lambda tx: {one.id: one for one in tx.org(house.connector.org_id).devices()})

    return house.do(read())


def test_the_spoken_code_makes_the_number_ones_own_and_it_decides_a_day_later(house: House) -> None:
    page, phone = Page(house), listens(house)
    status, said = page.add()
    assert (status, said["state"]) == (202, "unverified")
    house.provider.join()
    house.provider.expect_call(NUMBER).answer().hears("Press 5").press("5").hears("A new phone was added")
    path = f"/v1/devices/{said['device_id']}/verify"
    assert page.post(path, code="12345")[0] == 403
    status, made = page.post(path, code=code_in(phone))
    assert (status, made["state"], made["totp_secret"]) == (200, "active", None)
    house.provider.join()
    added = devices(house)[said["device_id"]]
    assert added.endorsed_by == house.devices[0]
    assert 0 <= house.clock.wall() + 24 * 3600 - added.active_from < 120, "the announcement took its time"
    assert page.post(path, code=code_in(phone))[0] in (403, 409), "a code is good once"
    house.provider.check()
    assert [row["result"] for row in house.audit("device_code")] == ["wrong", "wrong"]
    assert {row["reason"] for row in house.audit("errand")} == {"verification", "announcement"}


def test_before_the_day_is_over_the_new_phone_is_not_rung(house: House) -> None:
    page, phone = Page(house), listens(house)
    said = page.add()[1]
    house.provider.join()
    house.provider.expect_call(NUMBER).no_answer()
    page.post(f"/v1/devices/{said['device_id']}/verify", code=code_in(phone))
    house.provider.check()
    house.provider.expect_call(NUMBER).no_answer()
    request_id = house.hold()
    house.provider.check()
    house.expires(request_id)
    house.clock.advance(24 * 3600)
    house.provider.expect_call(NUMBER).no_answer()
    house.provider.expect_call(OTHER_NUMBER).answer().hears("Press 5").press("5").hears("Press 1").press("2").hears("Denied")
    assert house.decided(house.hold()).decided_by == said["device_id"]
    house.provider.check()


def test_revoking_the_old_phone_first_does_not_shorten_the_wait(house: House) -> None:
    page, phone = Page(house), listens(house)
    assert page.post(f"/v1/devices/{house.devices[0]}/revoke")[0] == 200
    said = page.add()[1]
    house.provider.check()
    assert page.post(f"/v1/devices/{said['device_id']}/verify", code=code_in(phone))[0] == 200
    assert devices(house)[said["device_id"]].active_from > house.clock.wall() + 23 * 3600


def test_a_persons_first_phone_decides_at_once_and_brings_the_secret(build: Any) -> None:
    house = build(phones=())
    page, phone = Page(house), listens(house)
    said = page.add(code="")[1]
    house.provider.check()
    made = page.post(f"/v1/devices/{said['device_id']}/verify", code=code_in(phone))[1]
    assert made["otpauth_uri"].startswith("otpauth://totp/") and len(made["totp_secret"]) == 32
    assert devices(house)[said["device_id"]].active_from <= house.clock.wall()


def test_an_administrator_who_overhears_the_code_does_not_get_somebody_elses_secret(build: Any) -> None:
    house = build(phones=())
    page, phone = Page(house), listens(house)
    path = f"/v1/devices/{page.add(code='')[1]['device_id']}/verify"
    house.provider.check()
    status, said = Page(house, "boss@example.com").post(path, code=code_in(phone))
    assert (status, said["error"]["code"]) == (403, "wrong_code")
    assert len(page.post(path, code=code_in(phone))[1]["totp_secret"]) == 32


def test_nobody_learns_the_code_without_pressing_five(house: House) -> None:
    page, phone = Page(house), house.provider.expect_call(OTHER_NUMBER).voicemail()
    page.add()
    house.provider.join()
    assert "code is" not in phone.heard and "Press 5" in phone.heard


def test_three_tries_and_the_code_is_worth_nothing(house: House) -> None:
    page, phone = Page(house), listens(house)
    path = f"/v1/devices/{page.add()[1]['device_id']}"
    house.provider.join()
    assert [page.post(f"{path}/verify", code=wrong)[0] for wrong in ("1", "2", "3")] == [403] * 3
    assert page.post(f"{path}/verify", code=code_in(phone))[0] == 403
    again = listens(house)
    assert page.post(f"{path}/call")[0] == 202
    house.provider.join()
    house.provider.expect_call(NUMBER).no_answer()
    assert page.post(f"{path}/verify", code=code_in(again))[0] == 200
    house.provider.check()


def test_a_code_runs_out_after_ten_minutes(house: House) -> None:
    page, phone = Page(house), listens(house)
    said = page.add()[1]
    house.provider.join()
    house.clock.advance(10 * 60)
    token = Page(house)  # the session is fresh, the code is not
    assert token.post(f"/v1/devices/{said['device_id']}/verify", code=code_in(phone))[0] == 403


def test_adding_a_phone_takes_an_approvers_code_and_calls_nobody_without(house: House) -> None:
    page = Page(house)
    assert page.add(code="")[1]["error"]["code"] == "code_needed"
    assert page.add(code="000000")[1]["error"]["code"] == "wrong_code"
    assert len(devices(house)) == 1
    house.provider.check()


def test_a_phished_login_makes_recovery_codes_but_no_approver_by_them(house: House) -> None:
    page = Page(house)
    made = page.post("/v1/me/recovery-codes")[1]["recovery_codes"]
    assert page.add(code=made[0])[1]["error"]["code"] == "wrong_code"
    assert len(devices(house)) == 1


def test_the_server_is_no_machine_for_ringing_strangers(house: House) -> None:
    page = Page(house)
    for number in (OTHER_NUMBER, THIRD, OTHER_NUMBER):
        house.provider.expect_call(number).no_answer()
        assert page.add(number)[0] == 202
        house.provider.join()
    status, said = page.add(THIRD)
    assert (status, said["error"]["code"]) == (429, "too_many_calls")
    waiting = [one for one in devices(house).values() if one.state == "unverified"]
    assert len(waiting) <= 1, "one waits at a time; the ones before are revoked"


def called_three_times(house: House) -> tuple[Page, Any, str]:
    """A session's page, the phone that heard the last code, and the path of its device: no call is left for this hour."""
    page, phone = Page(house), listens(house)
    path = f"/v1/devices/{page.add()[1]['device_id']}"
    for _ in range(2):
        house.provider.join()
        phone = listens(house)
        assert page.post(f"{path}/call")[0] == 202
    house.provider.join()
    return page, phone, path


def test_a_call_that_is_not_placed_gives_no_more_tries(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or whoever has used up the calls guesses the code of the last one, three tries at a time, as long as they like."""
    page, phone, path = called_three_times(house)
    assert page.post(f"{path}/verify", code="1")[0] == 403
    monkeypatch.setattr(house.clock, "random", lambda many: bytes(many))  # a code that nobody was told would be 000000
    for _ in range(3):
        assert page.post(f"{path}/call")[0] == 429
        assert page.post(f"{path}/verify", code="000000")[0] == 403
    assert page.post(f"{path}/verify", code=code_in(phone))[0] == 403, "and the last call's three tries are used up"
    house.provider.check()


def test_a_refused_call_leaves_the_code_of_the_last_one_as_it_was(house: House) -> None:
    page, phone, path = called_three_times(house)
    assert page.post(f"{path}/call")[0] == 429
    house.provider.expect_call(NUMBER).no_answer()
    assert page.post(f"{path}/verify", code=code_in(phone))[0] == 200
    house.provider.check()


def test_wrong_codes_in_a_session_leave_the_approver_their_own_way(house: House) -> None:
    """Any member may name an approver there: that must not close the way to `ony admin thaw`."""
    page = Page(house)
    assert [page.add(code="000000")[1]["error"]["code"] for _ in range(5)] == ["wrong_code"] * 4 + ["closed"]

    async def thaws() -> object:
        return await house.store.write(lambda tx: confirmed.by_code(tx, house.app.keyring, EMAIL, house.code(), house.clock))

    assert isinstance(house.do(thaws()), tuple)


def test_whoever_has_used_up_the_calls_does_not_join_unheard(house: House) -> None:
    page, phone = Page(house), listens(house)
    said = page.add()[1]
    for _ in range(2):
        house.provider.join()
        phone = listens(house)
        assert page.post(f"/v1/devices/{said['device_id']}/call")[0] == 202
    house.provider.check()
    house.provider.expect_call(NUMBER).answer().hears("Press 5").press("5").hears("A new phone was added")
    assert page.post(f"/v1/devices/{said['device_id']}/verify", code=code_in(phone))[0] == 200
    house.provider.check()


@pytest.mark.parametrize("number", ["5550100124", "+0555", "+1555010012345678", "tel:+15550100124"])
def test_what_is_no_number_is_not_called(house: House, number: str) -> None:
    assert Page(house).add(number)[1]["error"]["code"] == "bad_number"


def test_a_phone_added_at_the_server_is_announced_to_the_others_too(house: House) -> None:
    house.provider.expect_call(NUMBER).answer().hears("Press 5").press("5").hears("It may decide from now on")

    async def added() -> None:
        device = house.store.read(lambda tx: tx.org(house.connector.org_id).device(house.devices[0]))
        numbers = Numbers(house.store, house.app.keyring, house.telephone.errands, house.clock)
        numbers.announce(type(device)(**{**{name: getattr(device, name) for name in device.__slots__}, "id": "dev_" + "f" * 32}))

    house.do(added())
    house.provider.join()
    house.provider.check()


def test_forged_and_replayed_webhooks_of_such_a_call_are_refused(house: House) -> None:
    page = Page(house)
    phone = (
        house.provider.expect_call(OTHER_NUMBER).answer().forges(key="PSK_wrong").hears("Press 5").press("5").replays().hears("Your code")
    )
    page.add()
    house.provider.join()
    assert phone.attacks and set(phone.attacks) == {403}
