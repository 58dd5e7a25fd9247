"""What was allowed at the door may not be allowed any more when it is written: the role taken away, the session ended, in between.

Every route that changes something for a person in a session is asked, with a body that would do it.
"""

import pytest

from ony_core.server import passwords
from ony_core.server.doors import ROLES
from ony_core.server.routes import TABLE
from ony_core.states import WAITING
from tests.server.test_authorisation import NOBODY, dump, filled, sessions_of, settled
from tests.server.town import PASSWORD, QUICK, Town, refused

BODIES = {
    "account.profile": {"name": "Mallory", "timezone": "UTC"}, "account.confirm": {"password": PASSWORD, "code": ""},
    "account.password": {"old": PASSWORD, "new": "another horse battery"}, "account.totp_confirmed": {"code": "000000"},
    "team.second_factor": {"of": "everybody"},
    "team.role": {"role": "admin"}, "team.invite": {"email": "mallory@example.com", "role": "admin"},
    "numbers.verify": {"code": "000000"}, "devices.rename_device": {"label": "Mine"}, "devices.rename_connector": {"name": "mine"},
}  # fmt: skip
ELSEWHERE = {  # nothing of an organisation is changed by them here
    "login.logout",  # who is out already is out
    "numbers.add", "numbers.call",  # no telephone in this house, and nothing is written before it
    "devices.approve_code",  # needs a code that a machine shows; the same write as devices.enroll_code
}  # fmt: skip
CHANGING = [route for route in TABLE if route.who in ROLES and route.method == "POST" and route.handler not in ELSEWHERE]


@pytest.fixture
def town(tmp_path, monkeypatch):
    monkeypatch.setattr(passwords, "ITERATIONS", QUICK)
    made = Town(tmp_path)
    made.mine = mine = settled(made, made.org_id, "mine")
    request, connector = mine.ids["request"], mine.owner.connector_id
    sealed = made.hall.keyring.seal(b"text", "payload", made.org_id, request, made.clock)
    assert made.hall.write(lambda org: org.add_payload(request, connector, WAITING, sealed))
    yield made
    made.hall.close()


def taken_before_the_write(town: Town, monkeypatch, take) -> list[dict]:
    """The first write of the request comes too late: `take` is done before it. What then stands in the organisation, as a list of one."""
    real, seen = town.store.write, []

    async def write(work):
        if not seen:
            town.store.write_now(lambda tx: take(tx.org(town.org_id)))
            seen.append(town.store.read(lambda tx: dump(tx, town.org_id)))
        return await real(work)

    monkeypatch.setattr(town.store, "write", write)
    return seen


def ask(town: Town, route, browser):
    names = {**town.mine.ids, "session": next(iter(sessions_of(town, browser)), NOBODY["session"] + "_" + "0" * 32)}
    return browser.post(filled(route.path, names), BODIES.get(route.handler, {}))


@pytest.mark.parametrize("route", CHANGING, ids=lambda route: route.path)
def test_a_session_that_ended_meanwhile_changes_nothing(town, monkeypatch, route):
    admin = town.mine.people["admin"]
    browser = town.session(admin)
    seen = taken_before_the_write(town, monkeypatch, lambda org: org.end_sessions(admin.user_id))
    assert refused(ask(town, route, browser)) == (401, "no_session")
    assert seen == [town.store.read(lambda tx: dump(tx, town.org_id))]


@pytest.mark.parametrize("route", [route for route in CHANGING if route.who != "viewer"], ids=lambda route: route.path)
def test_a_role_that_was_taken_away_meanwhile_changes_nothing(town, monkeypatch, route):
    admin = town.mine.people["admin"]
    browser = town.session(admin)
    seen = taken_before_the_write(town, monkeypatch, lambda org: org.change_user(admin.user_id, role="viewer"))
    assert refused(ask(town, route, browser)) == (403, "role")
    assert seen == [town.store.read(lambda tx: dump(tx, town.org_id))]


@pytest.mark.parametrize("route", [route for route in CHANGING if route.own], ids=lambda route: route.path)
def test_an_administrator_who_is_a_member_by_now_changes_nothing_of_others(town, monkeypatch, route):
    admin = town.mine.people["admin"]
    browser = town.session(admin)
    taken_before_the_write(town, monkeypatch, lambda org: org.change_user(admin.user_id, role="member"))
    assert refused(ask(town, route, browser)) == (403, "not_yours")


def test_a_confirmation_that_ran_out_meanwhile_is_one_no_more(town, monkeypatch):
    admin = town.mine.people["admin"]
    browser = town.session(admin)
    taken_before_the_write(town, monkeypatch, lambda org: town.clock.pass_(600))
    assert refused(browser.post("/v1/invitations", BODIES["team.invite"])) == (403, "not_fresh")


@pytest.mark.parametrize("route", CHANGING, ids=lambda route: route.path)
def test_and_with_nothing_taken_away_the_door_is_open(town, route):
    answered = ask(town, route, town.session(town.mine.people["admin"]))
    assert answered.status < 400 or refused(answered) in {(403, "wrong_code"), (409, "last_admin"), (409, "last_approver")}
