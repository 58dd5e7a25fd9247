"""Every route of the table asked by everybody there is, with what is theirs and what is not; the expected answer comes from the table.

A new route is asked too, and fails here until the table, the finders and the people in this file say what it is.
"""

import asyncio
import hashlib
from types import SimpleNamespace

import pytest

from ony_core.clock import new_id
from ony_core.server import passwords
from ony_core.server.doors import BROWSER, FINDERS, ROLES
from ony_core.server.routes import LOCAL, PUBLIC, TABLE, Router
from ony_core.server.sessions import HALF
from ony_core.store import rows
from tests.server.town import QUICK, Town, refused, said
from tests.server.world import PUSH, Person

PLACES = {"id": "req_" + "0" * 32, "nonce": "0" * 64, "step": "start"}
ELSEWHERE = {"probes", "telephone", "metrics"}  # not served here: test_serve, tests/channels and test_metrics ask them
ASKED = [route for route in TABLE if route.who in PUBLIC and route.part not in ELSEWHERE]
NOBODY = {"user": "usr", "device": "dev", "connector": "con", "invitation": "inv", "request": "req", "session": "ses"}


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Two organisations, in each an administrator, a member, a viewer and one of everything that a path can name."""
    patch = pytest.MonkeyPatch()
    patch.setattr(passwords, "ITERATIONS", QUICK)
    made = Town(tmp_path_factory.mktemp("town"))
    made.mine, made.theirs = settled(made, made.org_id, "mine"), settled(made, made.hall.new_org(), "theirs")
    yield made
    made.hall.close()
    patch.undo()


def settled(town: Town, org_id: str, name: str) -> SimpleNamespace:
    people = {role: town.person(f"{role}.{name}", role, org_id) for role in ROLES}
    people["gone"] = town.person(f"gone.{name}", "member", org_id)
    owner = Person(town.hall, org_id, f"owner.{name}@example.com")
    token = "con_" + town.clock.random(32).hex()
    invitation = rows.Invitation(town.clock.random(32), new_id("inv", town.clock), org_id, "new@example.com", "member", 0, 0, 1 << 32)
    request = town.hall.request(PUSH)

    def fill(tx):
        org = tx.org(org_id)
        org.add_connector(new_id("con", town.clock), owner.user_id, "laptop", hashlib.sha256(token.encode()).digest(), "1")
        org.add_invitation(invitation)
        org.change_user(people["gone"].user_id, state="active")

    town.store.write_now(fill)
    asyncio.run(town.hall.desk.open(owner.connector, request.body))
    ids = {"user": owner.user_id, "device": owner.device_id, "connector": owner.connector_id, "invitation": invitation.id,
           "request": request.request_id}  # fmt: skip
    return SimpleNamespace(org_id=org_id, people=people, owner=owner, token=token, ids=ids)


# ---------------------------------------------------------------- who asks


def browser_of(town: Town, who: str):
    """Somebody new each time, so that nobody's doings change what the next one may."""
    mine = town.mine
    if who == "anonymous":
        return town.browser()
    if who == "connector token":
        return town.browser(authorization=f"Bearer {mine.token}")
    if who == "half login":
        return town.session(mine.people["admin"], HALF)
    if who == "disabled user":
        browser = town.session(mine.people["gone"])
        town.hall.write(lambda org: org.change_user(mine.people["gone"].user_id, state="disabled"))
        return browser
    if who == "ended session":
        browser = town.session(mine.people["admin"])
        town.hall.write(lambda org: org.end_sessions(mine.people["admin"].user_id))
        return browser
    if who == "foreign admin, fresh":
        return town.session(town.theirs.people["admin"])
    role, _, fresh = who.partition(", ")
    return town.session(mine.people[role], fresh=fresh == "fresh")


WHO = ("anonymous", "connector token", "half login", "disabled user", "ended session", *ROLES, *(f"{role}, fresh" for role in ROLES),
       "foreign admin, fresh")  # fmt: skip
NO_SESSION = ("anonymous", "connector token", "disabled user", "ended session")


def expected(route, who: str) -> tuple[int, str] | None:
    """The refusal at the door that the table calls for; None: the door opens."""
    if route.who in ("anyone", "visitor"):
        return None
    if route.who == "connector":
        return None if who == "connector token" else (401, "unknown_token")
    if who in NO_SESSION:
        return 401, "no_session"
    if route.who == "half":
        return None if who == "half login" else (409, "wrong_step")
    if who == "half login":
        return 401, "second_factor"
    role, fresh = who.replace("foreign ", "").partition(", ")[::2]
    if ROLES.index(role) < ROLES.index(route.who):
        return 403, "role"
    if route.fresh and not fresh:
        return 403, "not_fresh"
    if "{" in route.path and who.startswith("foreign"):
        return 404, "not_found"
    if route.own and role != "admin":
        return 403, "not_yours"
    return None


DOORS = {(401, "unknown_token"), (401, "no_session"), (401, "second_factor"), (403, "role"), (403, "not_fresh"), (403, "not_yours"),
         (403, "foreign_origin"), (403, "not_private")}  # fmt: skip


def names(town: Town, route, browser) -> dict[str, str]:
    """What is put into the path: things of the first organisation; a session is the asker's own."""
    session = next(iter(sessions_of(town, browser)), NOBODY["session"] + "_" + "0" * 32)
    return {**PLACES, **town.mine.ids, "session": session}


def sessions_of(town: Town, browser) -> list[str]:
    digest = hashlib.sha256(browser.token.encode()).digest()
    found = town.store.read(lambda tx: tx.session_by_token(digest))
    return [found.id] if found else []


def filled(path: str, found: dict[str, str]) -> str:
    for word, name in found.items():
        path = path.replace("{" + word + "}", name)
    return path


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("route", ASKED, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_opens_to_whom_the_table_says_and_to_nobody_else(town, route, who):
    """The body is of no use to any handler, so nothing is done; the door has been passed where the answer is not a door's."""
    browser = browser_of(town, who)
    answered = browser.ask(route.method, filled(route.path, names(town, route, browser)), [] if route.method == "POST" else None)
    wanted = expected(route, who)
    if wanted == (404, "not_found") and "{session}" in route.path:
        wanted = None  # one's own session, wherever one is
    if wanted is None:
        assert answered.status < 400 or refused(answered) not in DOORS
        assert answered.status < 500
    else:
        assert refused(answered) == wanted


def test_every_kind_of_route_and_every_word_of_a_path_is_known_here(town):
    assert {route.who for route in TABLE} <= set(PUBLIC) | set(LOCAL)
    words = {word for route in TABLE if route.who in BROWSER for word in route.path.split("/") if word.startswith("{")}
    assert words == {"{" + word + "}" for word in FINDERS} and set(NOBODY) == set(FINDERS)
    assert {route.part for route in TABLE} == set(town.parts) | ELSEWHERE
    assert {route.who for route in ASKED} == {"anyone", "connector", *BROWSER}


def test_what_changes_something_is_posted_and_what_is_got_is_only_read():
    assert {route.method for route in TABLE} == {"GET", "POST"}
    reading = {"me", "sessions", "users", "invitations", "devices", "connectors", "handoffs", "handoff", "policies", "modes"}
    assert {route.handler.partition(".")[2] for route in TABLE if route.method == "GET" and route.who in BROWSER} == reading


NAMED = [(route, word) for route in TABLE if route.who in BROWSER for word in FINDERS if "{" + word + "}" in route.path]


@pytest.mark.parametrize(("route", "word"), NAMED, ids=lambda value: value if isinstance(value, str) else value.path)
def test_what_belongs_to_another_organisation_is_answered_like_what_is_not_there(town, route, word):
    browser = town.session(town.mine.people["admin"])
    foreign = {**town.theirs.ids, "session": sessions_of(town, town.session(town.theirs.people["admin"]))[0]}
    before = town.store.read(lambda tx: dump(tx, town.theirs.org_id))
    body = {} if route.method == "POST" else None
    answers = [browser.ask(route.method, filled(route.path, names), body) for names in (foreign, absent())]
    assert refused(answers[0]) == (404, "not_found")
    assert answers[0] == answers[1]
    assert town.store.read(lambda tx: dump(tx, town.theirs.org_id)) == before


def absent() -> dict[str, str]:
    return {word: f"{prefix}_{'e' * 32}" for word, prefix in NOBODY.items()}


def dump(tx, org_id: str) -> dict[str, list]:
    tables = [name for (name,) in tx._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%org_id%'")]
    return {name: tx._db.execute(f"SELECT * FROM {name} WHERE org_id = ?", (org_id,)).fetchall() for name in tables}


LISTS = [route for route in TABLE if route.method == "GET" and route.who in ROLES and "{" not in route.path]


@pytest.mark.parametrize("route", LISTS, ids=lambda route: route.path)
def test_no_list_names_anything_of_another_organisation(town, route):
    shown = town.session(town.mine.people["admin"]).ask("GET", route.path).body.decode()
    theirs = {town.theirs.org_id, *town.theirs.ids.values(), *(one.user_id for one in town.theirs.people.values())}
    assert not [name for name in theirs if name in shown]


@pytest.mark.parametrize("query", [f"before={{{0}}}", "connector={1}", "decided_by={2}", "session={3}"])
def test_no_filter_reaches_over(town, query):
    theirs = town.theirs
    found = query.replace("{0}", theirs.ids["request"]).replace("{{", "{").replace("{1}", theirs.ids["connector"])
    found = found.replace("{2}", theirs.ids["device"]).replace("{3}", theirs.ids["request"])
    assert town.session(town.mine.people["admin"]).get(f"/v1/history?{found}")["handoffs"] == []


@pytest.mark.parametrize("route", [r for r in TABLE if r.who in BROWSER and r.method == "POST"], ids=lambda r: r.path)
def test_no_route_is_changed_by_a_page_of_another_origin(town, route):
    browser = browser_of(town, "admin, fresh")
    answered = browser.ask("POST", filled(route.path, names(town, route, browser)), {}, origin="https://evil.example")
    assert refused(answered) == (403, "foreign_origin")


@pytest.mark.parametrize("route", [r for r in TABLE if r.who in LOCAL], ids=lambda r: r.path)
@pytest.mark.parametrize("who", ["anonymous", "connector token", "admin, fresh"])
def test_what_is_local_is_not_on_the_network(town, route, who):
    assert refused(browser_of(town, who).ask(route.method, filled(route.path, names(town, route, town.browser())))) == (404, "unknown_path")


@pytest.mark.parametrize("route", [r for r in TABLE if r.own], ids=lambda r: r.path)
def test_a_member_does_what_a_member_may_with_what_is_their_own(town, route):
    owner = town.mine.owner
    answered = town.session(SimpleNamespace(user_id=owner.user_id, org_id=owner.org_id)).ask("POST", filled(route.path, town.mine.ids), [])
    assert answered.status < 400 or refused(answered) == (400, "malformed")


def test_routes_for_people_are_not_served_without_their_sessions(town):
    with pytest.raises(ValueError, match="sessions"):
        Router(town.store, town.parts, PUBLIC)


def test_an_id_is_one_of_its_kind(town):
    browser = town.session(town.mine.people["admin"])
    assert refused(browser.post(f"/v1/users/{town.mine.ids['device']}/disable")) == (404, "not_found")
    assert said(browser.ask("GET", "/v1/users"))["users"]
