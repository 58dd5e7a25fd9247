"""Every route that a browser reaches, asked with what no browser would send: it answers, and never with an error of its own."""

import pytest

from ony_core.server import passwords
from ony_core.server.doors import BROWSER
from ony_core.server.openapi import SHAPES
from ony_core.server.routes import TABLE
from ony_core.server.sessions import HALF
from tests.server.test_authorisation import NOBODY, settled
from tests.server.town import QUICK, Town, said

POSTED = [route for route in TABLE if route.who in BROWSER and route.method == "POST"]
READ = [route for route in TABLE if route.who in BROWSER and route.method == "GET"]
NAMES = ("usr_" + "1" * 32, "ony-" + "A" * 32, "+15550100123", "' OR 1=1 --", "\u202e")
ODD = [None, True, -1, 2**63, 10**30, 1.5, "", "a", "\0", "１２３４５６", "x" * 5000, *NAMES, [], {}, [[]], {"code": "1"}]
QUERIES = ["a", "=", "&&", "limit=", "limit=1&limit=1", "before=", "from=0", "to=9999-99-99T99:99:99Z", "state=%00", "action=%FF", "risk=%",
           "x" * 3000]  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(passwords, "ITERATIONS", QUICK)
    made = Town(tmp_path_factory.mktemp("town"))
    made.mine = settled(made, made.org_id, "mine")
    made.mine.spare = made.person("spare", "admin")
    yield made
    made.hall.close()
    patch.undo()


def path_of(town: Town, route) -> str:
    path = route.path
    for word, prefix in NOBODY.items():
        path = path.replace("{" + word + "}", town.mine.ids.get(word, f"{prefix}_{'0' * 32}"))
    return path


def bodies(route) -> list[object]:
    """One odd value in each place of a body that is well formed otherwise, and odd values in the body's stead."""
    names = SHAPES[route.handler]
    good = {name: shape["enum"][0] if "enum" in shape else "text" for name, shape in names.items()}
    return [*ODD, good, {**good, "more": 1}, *({**good, name: value} for name in names for value in ODD)]


@pytest.mark.parametrize("route", POSTED, ids=lambda route: route.path)
def test_odd_bodies_are_refused_and_never_an_error_of_the_server(town, route):
    for body in bodies(route):
        browser = town.session(town.mine.people["admin"], HALF if route.who == "half" else "full")
        browser.peer = f"198.51.{town.clock.random(1)[0]}.{town.clock.random(1)[0]}"
        assert browser.ask("POST", path_of(town, route), body).status < 500, body


@pytest.mark.parametrize("route", READ, ids=lambda route: route.path)
def test_odd_queries_are_refused_and_never_an_error_of_the_server(town, route):
    browser = town.session(town.mine.people["admin"])
    for query in QUERIES:
        assert browser.ask("GET", f"{path_of(town, route)}?{query}").status < 500, query


@pytest.mark.parametrize("header", ["cookie", "origin", "sec-fetch-site", "user-agent"])
@pytest.mark.parametrize("value", ["\xff", "x" * 8000, ";;;===", "__Host-ony", "a=b; " * 500])
def test_odd_headers_are_nobodys(town, header, value):
    browser = town.session(town.mine.people["admin"])
    answered = browser.ask("POST", "/v1/logout", {}, **{header: value})
    assert answered.status in (204, 401, 403), said(answered)
