"""What one connector may have the server write down: its token is on the agent's own machine, and must not be able to fill the disk."""

import asyncio

import pytest

from ony_core import canon
from ony_core.errors import Refused
from ony_core.server import modes
from ony_core.server.allowance import HOUR_S, MIB, ROWS, Allowance
from ony_core.server.message import Request
from ony_core.server.payloads import Payloads
from tests.server.office import Office, refused, request
from tests.server.world import Person
from tests.store.world import Clock


@pytest.fixture
def office(tmp_path):
    made = Office(tmp_path)
    yield made
    made.hall.close()


def spent(office) -> None:
    """All but a little is used up."""
    office.allowance.take(office.hall.owner.connector_id, 8 * MIB - 1)


def opened(office, asked, connector=None):
    wish = Request("POST", "/v1/handoffs", body=asked.body)
    return asyncio.run(office.connectors.open(wish, connector or office.hall.owner.connector))


def told(office, *events):
    return asyncio.run(office.connectors.events(request("POST", {"events": list(events)}), office.hall.owner.connector))


def rows(office) -> int:
    return office.hall.read(office.hall.org_id, lambda org: org.size())


def test_an_hour_fills_it_again_and_never_more_than_full():
    clock = Clock()
    allowance = Allowance(1, clock)
    allowance.take("con", MIB)
    for size in (1, MIB):
        with pytest.raises(Refused, match="too much"):
            allowance.take("con", size)
    allowance.take("other", MIB)
    clock.pass_(HOUR_S / 2)
    allowance.take("con", MIB // 2)
    clock.pass_(10 * HOUR_S)
    allowance.take("con", MIB)
    with pytest.raises(Refused):
        allowance.take("con", MIB // 10)


def test_a_wall_clock_set_forward_fills_nothing():
    clock = Clock()
    allowance = Allowance(1, clock)
    allowance.take("con", MIB)
    clock.now += HOUR_S
    with pytest.raises(Refused):
        allowance.take("con", MIB // 10)


def test_a_connector_that_has_used_it_up_is_told_so_and_leaves_no_row_and_another_is_heard(office):
    hall = office.hall
    other = Person(hall, hall.org_id, "other@example.com")
    spent(office)
    before = rows(office)
    assert refused(opened(office, hall.request())) == (429, "too_much")
    assert refused(told(office, {"type": "used", "request_id": "req_" + "1" * 32})) == (429, "too_much")
    wish = {"session": "", "mode": "away", "minutes": None, "code": None}
    assert refused(asyncio.run(office.connectors.modes(request("POST", wish), hall.owner.connector))) == (429, "too_much")
    assert rows(office) == before
    assert opened(office, hall.request(), other.connector).status == 201
    hall.clock.pass_(HOUR_S)
    assert opened(office, hall.request()).status == 201


def test_what_ends_something_and_a_sign_of_life_are_free(office):
    hall = office.hall
    asked = hall.request()
    opened(office, asked)
    office.allowance.take(hall.owner.connector_id, 8 * MIB - len(asked.body) - ROWS)
    assert told(office, {"type": "heartbeat"}).status == 204
    assert asyncio.run(office.connectors.cancel(request("POST", {}), hall.owner.connector, asked.request_id)).status == 200


def test_what_is_counted_is_what_was_sent_and_its_rows(office):
    asked = office.hall.request()
    office.allowance.take(office.hall.owner.connector_id, 8 * MIB - 2 * (len(asked.body) + ROWS) + 1)
    assert opened(office, asked).status == 201
    assert refused(opened(office, office.hall.request())) == (429, "too_much")


def test_so_many_sessions_have_a_mode_of_their_own_and_the_default_is_always_to_be_had(office, monkeypatch):
    monkeypatch.setattr(modes, "MOST", 3)
    hall, said = office.hall, []
    for number in range(6):
        wish = {"session": f"sess_{number:032x}", "mode": "away", "minutes": None, "code": None}
        said.append(asyncio.run(office.connectors.modes(request("POST", wish), hall.owner.connector)).status)
    assert said == [200] * 3 + [429] * 3
    for session in ("", f"sess_{0:032x}"):
        wish = {"session": session, "mode": "away", "minutes": None, "code": None}
        assert asyncio.run(office.connectors.modes(request("POST", wish), hall.owner.connector)).status == 200


def test_counts_of_an_hour_to_come_are_of_this_one_so_that_they_grow_old(office):
    hall = office.hall
    now = hall.clock.wall() // HOUR_S
    for hour in (now - 30, now, now + 1, (1 << 31) - 1):
        assert told(office, {"type": "passes", "hour": hour, "passes": 1}).status == 204
    found = hall.store.read(lambda tx: tx._db.execute("SELECT hour, passes FROM pass_count ORDER BY hour").fetchall())
    assert found == [(now - 30, 1), (now, 3)]


def test_a_payload_counts_too_and_is_sealed_with_the_master_key_of_its_own_transaction(office):
    hall = office.hall
    hall.config.payload.attach = True
    asked = hall.request()
    opened(office, asked)
    payloads = Payloads(hall.store, hall.keyring, hall.config, hall.clock, office.allowance)

    def attached(text: str):
        return asyncio.run(payloads.attach(request("POST", {"text": text}), hall.owner.connector, asked.request_id))

    fresh, old = hall.clock.random(32), hall.keyring.masters
    write = hall.store.write

    async def rotated_before(work):
        hall.keyring.masters = (*old, fresh)
        return await write(work)

    hall.store.write = rotated_before
    assert attached("terraform apply").status == 200
    hall.store.write = write
    hall.keyring.masters = (fresh,)
    sealed = hall.read(hall.org_id, lambda org: org.payload(asked.request_id))
    assert hall.keyring.unseal(sealed, "payload", hall.org_id, asked.request_id) == b"terraform apply"
    office.allowance.take(hall.owner.connector_id, 8 * MIB - len(asked.body) - ROWS - len(canon.dumps({"text": "terraform apply"})))
    assert refused(attached("x")) == (429, "too_much")
