"""The emergency brake, and the door that every password passes: what stops, what never starts again by itself, who is told what."""

import asyncio
import threading
import time

import pytest

from ony_core.errors import Refused
from ony_core.server import factors, passwords
from ony_core.server.freeze import Freezer
from ony_core.server.passwords import Doorkeeper
from ony_core.store import rows
from tests.server.office import refused, request, said
from tests.server.world import WRONG, Hall, running, waited
from tests.store.world import Clock

EMAIL, PASSWORD = "owner@example.com", "correct horse battery"
STORED = passwords.hashed(PASSWORD, b"s" * 16)


@pytest.fixture
def hall(tmp_path):
    made = Hall(tmp_path)
    made.write(lambda org: org._db.execute("UPDATE user SET password = ? WHERE id = ?", (STORED, made.owner.user_id)))
    yield made
    made.close()


def freezer(hall: Hall) -> Freezer:
    return Freezer(hall.store, hall.keyring, hall.desk, hall.clock)


def brake(email: str = EMAIL, password: str = PASSWORD):
    return request("POST", {"email": email, "password": password})


@running
async def test_the_password_alone_stops_what_waits_and_what_was_approved_and_all_that_comes(hall):
    approved, waiting = await hall.approved(), await hall.held(session="sess_" + "2" * 32)
    assert said(await freezer(hall).freeze(brake())) == {"frozen": True, "stopped": 2}
    assert (hall.state(approved), hall.state(waiting)) == ("revoked", "denied")
    assert await hall.claims(approved) == "revoked"
    row = await hall.desk.open(hall.owner.connector, hall.request(session="sess_" + "3" * 32).body)
    assert (row.state, row.reason) == ("denied", "frozen")
    assert waiting.request_id in hall.bell.stopped
    assert "frozen" in hall.kinds()


@running
async def test_a_parked_connector_hears_it_at_once(hall):
    asked = await hall.held()
    parked = asyncio.create_task(waited(hall.desk, hall.owner.connector, asked.request_id, 20))
    await asyncio.sleep(0)
    await freezer(hall).freeze(brake())
    assert (await parked).reason == "frozen"


@running
async def test_mode_off_ends_with_it(hall):
    hall.write(lambda org: org.set_mode(rows.Mode(hall.owner.connector_id, "", "off", hall.clock.wall() + 3000, 0)))
    await freezer(hall).freeze(brake())
    assert hall.read(hall.org_id, lambda org: org.mode(hall.owner.connector_id, "")) is None


@running
async def test_a_second_freeze_changes_nothing_and_says_so_kindly(hall):
    brakes = freezer(hall)
    await brakes.freeze(brake())
    assert said(await brakes.freeze(brake())) == {"frozen": True, "stopped": 0}


@running
async def test_wrong_passwords_unknown_people_and_other_organisations_freeze_nothing_and_hear_the_same(hall):
    answers = [await freezer(hall).freeze(one) for one in (brake(password="wrong"), brake("nobody@example.com"), brake(""))]
    assert {refused(one) for one in answers} == {(403, "wrong_password")}
    assert len({one.body for one in answers}) == 1
    assert hall.read(hall.org_id, lambda org: org.row()).frozen_at is None


@running
async def test_thawing_takes_an_approvers_code(hall):
    brakes = freezer(hall)
    await brakes.freeze(brake())
    assert refused(await brakes.thaw(request("POST", {"email": "", "code": WRONG}))) == (403, "wrong_code")
    assert refused(await brakes.thaw(request("POST", {"email": "x@example.com", "code": hall.owner.code()}))) == (404, "unknown_user")
    assert said(await brakes.thaw(request("POST", {"email": "", "code": hall.owner.code()}))) == {"frozen": False}
    await hall.held()


@running
async def test_a_recovery_code_alone_freezes_once(hall):
    code = hall.write(lambda org: factors.new_recovery_codes(org, org.user(hall.owner.user_id), hall.clock))[0]
    assert said(await freezer(hall).freeze(brake(password=code)))["frozen"] is True
    hall.write(lambda org: org.freeze(None))
    assert refused(await freezer(hall).freeze(brake(password=code))) == (403, "wrong_password")
    assert refused(await freezer(hall).freeze(brake("nobody@example.com", code))) == (403, "wrong_password")


@running
async def test_a_recovery_code_freezes_also_while_a_flood_of_passwords_keeps_the_door_shut(hall, monkeypatch):
    """Three hundred tries a minute, from whomever, are all that the door hears: the brake must not wait behind them."""
    code = hall.write(lambda org: factors.new_recovery_codes(org, org.user(hall.owner.user_id), hall.clock))[0]
    monkeypatch.setattr(passwords, "holds", lambda stored, password: False)
    brakes = freezer(hall)
    for number in range(passwords.PER_SERVER):
        assert not await brakes._door.check(f"somebody {number}", "", "wrong", f"10.0.{number // 20}.1")
    assert refused(await brakes.freeze(brake())) == (429, "too_many_tries")
    assert refused(await brakes.freeze(brake(password="aaaa-bbbb-cccc-dddd"))) == (429, "too_many_tries"), "none of the owner's"
    assert said(await brakes.freeze(brake(password=code)))["frozen"] is True


@running
async def test_a_wrong_password_at_the_brake_stands_in_the_log_like_one_at_the_login(hall):
    for email in (EMAIL, "nobody@example.com"):
        await freezer(hall).freeze(brake(email, "wrong"))
    told = [(row["user_id"], row["result"]) for row in hall.logged() if row["kind"] == "freeze"]
    assert told == [(hall.owner.user_id, "wrong_password"), (None, "wrong_password")]


# ---------------------------------------------------------------- the door


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def quick(monkeypatch):
    """The right password is "right". How much work a hash is is measured elsewhere."""
    monkeypatch.setattr(passwords, "holds", lambda stored, password: (stored, password) == ("kept", "right"))


async def tries(door: Doorkeeper, many: int, account: str = "a", password: str = "wrong", peer: str = "192.0.2.1") -> list[object]:
    answers: list[object] = []
    for _ in range(many):
        try:
            answers.append(await door.check(account, "kept", password, peer))
        except Refused as no:
            answers.append(no.reason)
    return answers


@running
async def test_five_failures_close_the_door_for_longer_and_longer_and_never_for_good(clock, quick):
    door, waits = Doorkeeper(clock), []
    assert await tries(door, 6) == [False] * 5 + ["too_many_tries"]
    for _ in range(7):
        waited = 0
        while (await tries(door, 1)) == ["too_many_tries"]:
            clock.pass_(30)
            waited += 30
        waits.append(waited)
    assert waits == [30, 60, 120, 240, 480, 900, 900]


@running
async def test_the_right_password_is_refused_while_it_is_closed_and_forgets_the_failures_after(clock, quick):
    door = Doorkeeper(clock)
    await tries(door, 5)
    assert await tries(door, 1, password="right") == ["too_many_tries"]
    clock.pass_(61)
    assert await tries(door, 1, password="right") == [True]
    assert await tries(door, 5) == [False] * 5


@running
async def test_tries_that_are_refused_push_no_failures_out_of_the_memory(clock, quick, monkeypatch):
    """They cost the server no hash, so there may be very many of them."""
    monkeypatch.setattr(passwords, "REMEMBERED", 50)
    door = Doorkeeper(clock)
    await tries(door, 5)
    for number in range(200):
        await tries(door, 1, account=f"other {number}")
    assert len(door._accounts) <= passwords.PER_ADDRESS
    clock.pass_(29)
    assert await tries(door, 1) == ["too_many_tries"], "closed for thirty seconds, whatever came between"


@running
async def test_one_address_does_not_lock_out_another(clock, quick):
    door = Doorkeeper(clock)
    await tries(door, 20, peer="192.0.2.1")
    assert await tries(door, 1, password="right", peer="192.0.2.2") == [True]


@running
async def test_one_address_has_thirty_tries_a_minute_over_all_accounts(clock, quick):
    door = Doorkeeper(clock)
    answers = [(await tries(door, 1, account=f"a{n}"))[0] for n in range(31)]
    assert answers == [False] * 30 + ["too_many_tries"]
    clock.pass_(61)
    assert await tries(door, 1, account="new") == [False]


@pytest.mark.parametrize(("peers", "last"), [
    ("2001:db8::{:x}", "too_many_tries"), ("2001:db8:0:{:x}::1", False),
    ("::ffff:192.0.2.{}", False),  # as some proxies write an IPv4 address: each is one, and no part of a network
])  # fmt: skip
@running
async def test_an_ipv6_customer_is_one_address(clock, quick, peers, last):
    door = Doorkeeper(clock)
    answers = [(await tries(door, 1, account=f"a{n}", peer=peers.format(n + 1)))[0] for n in range(31)]
    assert answers[-1] == last


@running
async def test_the_server_has_three_hundred_tries_a_minute(clock, quick):
    door = Doorkeeper(clock)
    answers = [(await tries(door, 1, account=f"a{n}", peer=f"192.0.{n // 200}.{n % 200}"))[0] for n in range(301)]
    assert answers == [False] * 300 + ["too_many_tries"]


@running
async def test_two_hash_at_a_time_and_a_flood_is_told_to_come_again(clock, monkeypatch):
    running_now, most, gate, lock = 0, 0, threading.Event(), threading.Lock()

    def slow(stored: str, password: str) -> bool:
        nonlocal running_now, most
        with lock:
            running_now += 1
            most = max(most, running_now)
        gate.wait(10)
        with lock:
            running_now -= 1
        return False

    monkeypatch.setattr(passwords, "holds", slow)
    door = Doorkeeper(clock)
    work = [asyncio.create_task(door.check(f"a{n}", "", "x", f"192.0.2.{n}")) for n in range(12)]
    while sum(one.done() for one in work) < 12 - passwords.QUEUE:
        await asyncio.sleep(0.001)
    gate.set()
    answers = await asyncio.gather(*work, return_exceptions=True)
    assert most == passwords.HASHES
    assert [one.reason for one in answers if isinstance(one, Refused)] == ["busy"] * (12 - passwords.QUEUE)


def test_an_unknown_account_costs_what_a_known_one_costs():
    def cost(stored: str) -> float:
        began = time.process_time()
        assert not passwords.holds(stored, "wrong")
        return time.process_time() - began

    ratio = min(cost("") for _ in range(3)) / min(cost(STORED) for _ in range(3))
    assert 0.5 < ratio < 2


@pytest.mark.parametrize("stored", ["", "x", "pbkdf2-sha256$600000$c2FsdA==$", "md5$1$a$b"])
def test_what_is_no_hash_holds_for_nothing(stored):
    assert not passwords.holds(stored, "") and not passwords.holds(stored, PASSWORD)


@running
async def test_a_password_longer_than_any_is_not_hashed(clock, quick):
    assert await tries(Doorkeeper(clock), 1, password="x" * 1025) == ["too_long"]
