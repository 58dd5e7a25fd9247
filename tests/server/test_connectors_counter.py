"""What connectors are given and tell: the bundle, events, looks at a request; and that nobody is told twice."""

import asyncio
import re

import pytest

from ony_core import endorse
from ony_core.connector import bundle, enrolled, statement
from ony_core.errors import Malformed
from ony_core.model import MODES
from ony_core.server import devices
from tests.server.office import EMAIL, NUMBER, bundle_of, refused, request, said
from tests.server.world import COMMIT, PUSH, Person

# ---------------------------------------------------------------- bundle


def test_an_unchanged_bundle_is_not_sent_again_and_a_changed_one_is(office):
    etag = dict(office.bundle().headers)["ETag"]
    office.hall.clock.pass_(60)
    assert office.bundle(if_none_match=etag).status == 304
    asyncio.run(office.admin.revoke_device(request("POST"), office.hall.owner.device_id))
    assert office.bundle(if_none_match=etag).status == 200


def test_a_bundle_grows_no_older_than_an_hour(office):
    etag = dict(office.bundle().headers)["ETag"]
    office.hall.clock.pass_(3600)
    assert office.bundle(if_none_match=etag).status == 200


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_that_was_set_is_in_the_next_bundle(office, mode):
    wish = {"session": "", "mode": mode, "minutes": 60, "code": office.hall.owner.code()}
    asyncio.run(office.connectors.modes(request("POST", wish), office.hall.owner.connector))
    (found,) = bundle_of(office).modes
    assert (found.mode, found.until) == (mode, office.hall.clock.wall() + 3600)


def test_a_phone_its_owner_let_in_is_pinned_by_a_connector_that_enrolled_before(office):
    code = office.code()
    accepted = enrolled.accept(said(office.enroll(code)), code, "http://127.0.0.1:8750", "laptop", office.hall.clock)
    made = said(office.phone())
    connector = office.hall.read(office.hall.org_id, lambda org: org.connector(accepted.connector_id))
    signed = said(asyncio.run(office.connectors.bundle(request("GET"), connector)))
    fresh = bundle.check(signed, accepted, statement.verifier(accepted.server_key), None)
    (new,), reasons = endorse.added(fresh.listed, accepted.connector_id, accepted.approvers)
    assert (new.device_id, new.label, reasons) == (made["device_id"], "+1•••0123", [])
    later = said(office.enroll(office.code()))
    assert {one["device_id"]: one.get("key") for one in later["approvers"]}.keys() >= {made["device_id"]}


def test_a_phone_that_somebody_else_let_in_is_endorsed_to_nobody(office):
    office.hall.store.write_now(lambda tx: tx.org(office.hall.org_id).add_user("usr_" + "7" * 32, "new@example.com", "member", ""))
    device_id = said(office.phone(email="new@example.com", by=EMAIL))["device_id"]
    assert office.hall.read(office.hall.org_id, lambda org: org.device(device_id)).endorsed_by is None


# ---------------------------------------------------------------- what a connector tells and asks


EVENTS = [
    ([{"type": "heartbeat"}], 0),
    ([{"type": "used", "request_id": "req_" + "1" * 32}], 1),
    ([{"type": "refused", "request_id": "req_" + "1" * 32, "reason": "bad_signature"}], 1),
    ([{"type": "passes", "session": "sess_" + "1" * 32, "family": "git", "hour": 495230, "passes": 12}], 0),
    ([], 0),
]


@pytest.mark.parametrize(("events", "logged"), EVENTS)
def test_events_that_are_heard(office, events, logged):
    before = len(office.hall.kinds())
    heard = asyncio.run(office.connectors.events(request("POST", {"events": events}), office.hall.owner.connector))
    assert (heard.status, len(office.hall.kinds()) - before) == (204, logged)


NOISE = [
    [{"type": "approved", "request_id": "req_" + "1" * 32}],
    [{"type": "used", "request_id": "rm -rf /"}],
    [{"type": "refused", "reason": "the owner's password is hunter2"}],
    [{"type": "used", "request_id": "req_" + "1" * 32, "note": "free text"}],
    [{"type": "passes", "session": "sess_" + "1" * 32, "family": "git", "hour": -1, "passes": 1}],
    [{"type": "passes", "session": "sess_" + "1" * 32, "family": "git", "hour": 1, "passes": True}],
    [{"type": "heartbeat"}] * 201,
    ["heartbeat"],
    [{"type": ["used"]}],
    [{"type": "used", "request_id": "req_" + "1" * 32}, {"type": "nonsense"}],
]


@pytest.mark.parametrize("events", NOISE)
def test_events_that_are_not_closed_words_leave_no_trace(office, events):
    before = office.hall.kinds()
    with pytest.raises(Malformed):
        asyncio.run(office.connectors.events(request("POST", {"events": events}), office.hall.owner.connector))
    assert office.hall.kinds() == before


@pytest.mark.parametrize("kind", ["used", "refused", "mismatch"])
def test_a_connector_reports_nothing_of_anothers_request(office, kind):
    hall = office.hall
    stranger = Person(hall, hall.org_id, "neighbour@example.com")

    async def reported():
        asked = await hall.held()
        before = hall.kinds()
        events = [{"type": kind, "request_id": asked.request_id}]
        answered = await office.connectors.events(request("POST", {"events": events}), stranger.connector)
        return refused(answered), hall.kinds() == before

    assert asyncio.run(reported()) == ((404, "unknown_request"), True)


def test_a_look_brings_the_verdict_with_its_proof_and_another_connector_learns_nothing(office):
    hall = office.hall

    async def looks():
        asked = await hall.approved()
        neighbour = Person(hall, hall.org_id, "neighbour@example.com")
        mine = await office.connectors.look(request("GET", query="wait=25"), hall.owner.connector, asked.request_id)
        return said(mine), await office.connectors.look(request("GET"), neighbour.connector, asked.request_id)

    mine, other = asyncio.run(looks())
    assert mine["state"] == "approved"
    assert mine["decided_by"] == {"device_id": hall.owner.device_id, "label": "Phone"}
    assert set(mine["verdict"]) == {"payload", "signature", "server_signature"}
    assert set(mine["proof"]) == {"row", "note", "inclusion", "consistency"}
    assert refused(other) == (404, "unknown_request")


@pytest.mark.parametrize("query", ["wait=-1", "wait=25&wait=1", "wait=", "wait=1e3", "weit=1", "wait=%31"])
def test_a_query_that_could_be_read_differently_is_malformed(office, query):
    with pytest.raises(Malformed):
        asyncio.run(office.connectors.look(request("GET", query=query), office.hall.owner.connector, "req_" + "1" * 32))


def test_this_computer_answers_only_in_mode_here_and_only_with_the_code(office):
    hall, owner = office.hall, office.hall.owner

    async def decides(asked, code):
        wish = request("POST", {"decision": "approve", "code": code})
        return await office.connectors.decide(wish, owner.connector, asked.request_id)

    async def answers():
        early = await decides(await hall.held(PUSH), owner.code())
        wish = {"session": "sess_" + "3" * 32, "mode": "here", "minutes": 60, "code": None}
        await office.connectors.modes(request("POST", wish), owner.connector)
        here = await hall.held(COMMIT, session="sess_" + "3" * 32)
        return early, [said(await decides(here, code))["outcome"] for code in ("", "000000", owner.code())]

    early, outcomes = asyncio.run(answers())
    assert refused(early) == (409, "not_here")
    assert outcomes == ["code_needed", "wrong_code", "approved"]


def test_no_answer_of_the_administrators_counter_holds_a_secret_twice(office):
    office.phone()
    for ask in (office.admin.devices, office.admin.connectors, office.admin.status):
        assert not re.search(rb"[A-Z2-7]{32}", asyncio.run(ask(request("GET"))).body)
    assert devices.masked(NUMBER) == "+1•••0123"
