"""Every route that a connector reaches, asked with what no connector would send: it answers, and never with an error of its own."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core import canon, handoff
from ony_core.handoff import Head
from ony_core.server import passwords
from ony_core.server.freeze import Freezer
from ony_core.server.routes import PUBLIC, TABLE, Router
from ony_core.server.sessions import Sessions
from tests.server.office import Office, request
from tests.server.world import PUSH

ODD = st.sampled_from(
    [None, True, -1, 0, 2**31, 2**63 - 1, 2**63, 10**19 - 1, 10**30, 1.5, "", "a", "\0", "１２３４５６", "x" * 300, "off", "here", "used",
     "sess_" + "1" * 32, "req_" + "1" * 32, "sha256:" + "0" * 64, "0" * 64, [], {}, [[]], ["used"], {"type": "used"}]
)  # fmt: skip
BODIES = {
    "/v1/enroll": {"code": "ony-" + "A" * 32, "name": "x", "version": "1", "protocol": 1},
    "/v1/handoffs": json.loads(
        handoff.request_to_wire("req_" + "2" * 32, "sess_" + "1" * 32, "claude-code", "Bash", "on", "p", PUSH, "sha256:" + "0" * 64,
                                Head(1, "0" * 64))
    ),
    "/v1/handoffs/{id}/claim": {"nonce": "0" * 64, "payload_digest": "sha256:" + "0" * 64},
    "/v1/handoffs/{id}/cancel": {},
    "/v1/handoffs/{id}/decide": {"decision": "approve", "code": "123456"},
    "/v1/freeze": {"email": "owner@example.com", "password": "not the one"},
    "/v1/modes": {"session": "", "mode": "on", "minutes": None, "code": None},
    "/v1/events": {"events": [{"type": "passes", "session": "sess_" + "1" * 32, "family": "git", "hour": 5, "passes": 3},
                              {"type": "refused", "request_id": "req_" + "1" * 32, "reason": "expired"}]},
}  # fmt: skip
SIZES = (0, 3, 99, 2**63 - 1, 2**63, 10**19 - 1)


class Counter(Office):
    """The office behind its route table, with one connector whose token is right."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        freezer = Freezer(self.hall.store, self.hall.keyring, self.hall.desk, self.hall.clock)
        parts = dict.fromkeys(route.part for route in TABLE) | {"connectors": self.connectors, "freezer": freezer}
        sessions = Sessions(self.hall.store, self.hall.clock, public_url="", secure=False)
        self.router = Router(self.hall.store, parts, PUBLIC, sessions=sessions)
        self.router._connector = lambda request: self.hall.owner.connector

    async def status(self, method: str, path: str, body: bytes, query: str = "") -> int:
        asked = request(method, query=query, content_type="application/json")
        asked = type(asked)(method, path, query, asked.headers, body, "127.0.0.1")
        return (await self.router.answer(asked)).status


@pytest.fixture
def counter(tmp_path, monkeypatch):
    monkeypatch.setattr(passwords, "holds", lambda stored, password: False)  # its work is measured in test_freeze
    made = Counter(tmp_path)
    yield made
    made.hall.close()


def somewhere(value):
    """The same value with something odd in one place of it, or in its stead."""
    inside = []
    if isinstance(value, dict):
        inside = [somewhere(item).map(lambda odd, key=key: {**value, key: odd}) for key, item in value.items()]
    if isinstance(value, list) and value:
        inside = [somewhere(value[0]).map(lambda odd: [odd, *value[1:]])]
    return st.one_of(ODD, *inside)


def retold(body):
    """A handoff whose digest fits its facts again, so that what is odd gets past that check."""
    if isinstance(body, dict) and "facts" in body:
        try:
            return {**body, "facts_digest": canon.sha256(canon.dumps(body["facts"]))}
        except TypeError:
            pass
    return body


@pytest.mark.parametrize("route", [r for r in TABLE if r.path in BODIES], ids=lambda r: r.path)
def test_odd_bodies_are_refused_and_never_an_error_of_the_server(counter, route):
    @given(somewhere(BODIES[route.path]).map(retold))
    def odd(body):
        path = route.path.replace("{id}", "req_" + "1" * 32)
        assert asyncio.run(counter.status(route.method, path, json.dumps(body).encode())) < 500

    odd()


@pytest.mark.parametrize("old", SIZES)
@pytest.mark.parametrize("new", SIZES)
def test_sizes_the_log_never_had_are_a_no_and_not_an_error(counter, old, new):
    assert asyncio.run(counter.status("GET", "/v1/audit/consistency", b"", f"from={old}&to={new}")) == 404


def test_a_head_too_large_for_the_database_is_malformed(counter):
    body = {**BODIES["/v1/handoffs"], "head": {"size": 2**63, "root": "0" * 64}}
    assert asyncio.run(counter.status("POST", "/v1/handoffs", json.dumps(body).encode())) == 400
