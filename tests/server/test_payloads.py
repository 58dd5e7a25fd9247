"""The raw call at the server: taken only where it is switched on, sealed, for people of its organisation, and not for ever."""

import asyncio
import json

import pytest

from ony_core.clock import new_id
from ony_core.errors import Malformed
from ony_core.server.message import Request
from tests.server.town import Town, refused, said
from tests.server.world import Person, brought_to

TEXT = "terraform apply -auto-approve"


@pytest.fixture
def town(tmp_path):
    made = Town(tmp_path)
    made.hall.config.payload.attach = True
    made.desk = made.session(made.person("maria"))
    made.asked = asyncio.run(brought_to(made.hall, "ringing"))
    yield made
    made.hall.close()


def attach(town, body=None, request_id="", connector=None):
    body = {"text": TEXT} if body is None else body
    request_id = request_id or town.asked.request_id
    asked = Request("POST", f"/v1/handoffs/{request_id}/payload", "", (), json.dumps(body).encode(), "")
    return asyncio.run(town.parts["payloads"].attach(asked, connector or town.hall.owner.connector, request_id))


def shown(town, browser=None):
    return (browser or town.desk).post(f"/v1/history/{town.asked.request_id}/payload")


def test_it_is_shown_to_people_and_each_look_is_written_down(town):
    assert attach(town).status == 200
    assert said(shown(town)) == {"request_id": town.asked.request_id, "text": TEXT}
    assert [row["request_id"] for row in town.log("payload_read")] == [town.asked.request_id]


def test_nothing_of_it_lies_readable_in_the_database(town):
    attach(town)
    town.hall.store.write_now(lambda tx: None)
    assert not [path for path in town.hall.folder.iterdir() if path.is_file() and b"auto-approve" in path.read_bytes()]


def test_switched_off_nothing_is_taken(town):
    town.hall.config.payload.attach = False
    assert refused(attach(town)) == (403, "payload_off")
    assert refused(shown(town)) == (404, "no_payload")


REFUSED = {
    "a second one": lambda town: (attach(town), attach(town, {"text": "other"}))[1],
    "for a request that is decided": lambda town: attach(town, request_id=asyncio.run(brought_to(town.hall, "denied")).request_id),
    "for a request of nobody": lambda town: attach(town, request_id=new_id("req", town.clock)),
    "for another connector's request": lambda town: attach(town, connector=Person(town.hall, town.org_id, "b@example.com").connector),
    "of another organisation": lambda town: attach(town, connector=Person(town.hall, town.hall.new_org(), "c@example.com").connector),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_it_is_refused(town, case):
    assert refused(case(town)) == (409, "wrong_state")


@pytest.mark.parametrize("body", [{"text": 1}, {"text": "a" * 16385}, {}, {"text": "a", "more": 1}, [], "x"])
def test_a_body_that_is_none_is_refused(town, body):
    with pytest.raises(Malformed):
        attach(town, body)


def test_viewers_and_other_organisations_do_not_see_it(town):
    attach(town)
    assert refused(shown(town, town.session(town.person("vera", "viewer")))) == (403, "role")
    stranger = town.session(town.person("eve", "admin", town.hall.new_org()))
    assert refused(shown(town, stranger)) == (404, "not_found")


def test_the_retention_job_ends_it(town):
    attach(town)
    town.hall.store.write_now(lambda tx: tx.org(town.org_id).scrub_payloads(town.clock.wall() + 1) and None)
    assert refused(shown(town)) == (404, "no_payload")
