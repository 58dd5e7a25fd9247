"""The description of the API follows the route table, and schemathesis, which reads nothing else, finds a server that keeps to it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ony_core.server import openapi
from ony_core.server.routes import PUBLIC, TABLE
from tests.server.serving import VOICE, Server, enrolled, signed_in

SHAPED = ("probes", "connectors", "freezer", "telephone", "metrics", "openapi")  # parts whose bodies openapi.SHAPES describes
PEOPLES = ("login", "account", "team", "devices", "numbers", "history", "payloads")
HOME = "https://ony.example.com"
SETTINGS = Path(__file__).with_name("schemathesis.toml")


def test_a_running_server_describes_every_route_of_its_table_and_nothing_else(running):
    status, headers, body = running.ask("GET", "/v1/openapi.json")
    assert status == 200 and headers["content-type"] == "application/json"
    described = {(method.upper(), path) for path, methods in json.loads(body)["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in TABLE}


@pytest.mark.parametrize("route", TABLE, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_says_who_may_call_it_and_names_every_word_of_its_path(route):
    found = openapi.described()["paths"][route.path][route.method.lower()]
    assert found["x-ony-who"] == route.who
    assert "security" in found or not (route.who == "connector" or route.part == "metrics")
    assert all(f"{{{p['name']}}}" in route.path and p["required"] for p in found["parameters"] if p["in"] == "path")
    assert route.path.count("{") == sum(p["in"] == "path" for p in found["parameters"])
    assert ("requestBody" in found) == (route.method == "POST")


def test_every_shape_belongs_to_a_route():
    handlers = {route.handler for route in TABLE}
    assert openapi.SHAPES.keys() | openapi.QUERIES.keys() <= handlers


def schemathesis(
    server: Server, parts: tuple[str, ...], soak: bool, settings: str = "", phases: str = "coverage,fuzzing", **headers: str
) -> None:
    """Everything that it says of a running server must be in its description. settings: to stand before those of the file."""
    config = server.data.parent / "schemathesis.toml"
    config.write_text(settings + SETTINGS.read_text())
    words = ["--config-file", str(config), "run", f"http://127.0.0.1:{server.port}/v1/openapi.json", "--no-color",
             "--generation-database", "none", "--exclude-path-regex", "^/admin/|^/v1/logout$",
             *(word for name, value in headers.items() for word in ("--header", f"{name}: {value}")),
             *(word for part in parts for word in ("--include-tag", part)),
             *(("--max-examples", "500") if soak else ("--max-examples", "3", "--seed", "7", "--phases", phases))]  # fmt: skip
    done = subprocess.run([str(Path(sys.executable).with_name("schemathesis")), *words], cwd=server.data.parent,
                          env={**os.environ, "NO_PROXY": "*"}, capture_output=True, text=True, check=False, timeout=1800)  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert "✅ Fuzzing" in done.stdout and ("✅ Coverage" in done.stdout or "coverage" not in phases)
    assert "unexpected " not in server.log.read_text()


def test_schemathesis_finds_nothing_that_a_server_does_and_its_description_does_not_say(tmp_path_factory, soak):
    server = Server(tmp_path_factory.mktemp("s"))
    token = enrolled(server.data)
    server.start(**VOICE, ONY_VOICE_SIGNING_KEY="PSK_x", ONY_SERVER_METRICS_TOKEN="m" * 20)
    try:
        schemathesis(server, SHAPED, soak, Authorization=f"Bearer {token}")
    finally:
        server.stop()


def test_nor_in_what_it_does_for_an_administrator_who_has_just_logged_in(tmp_path_factory, soak):
    """A confirmation opens the sensitive routes for five minutes, so in a long run each part has a server and a session of its own."""
    for parts in [(part,) for part in PEOPLES] if soak else [PEOPLES]:
        server = Server(tmp_path_factory.mktemp("s"))
        token, names = signed_in(server.data)
        given = "".join(f'"path.{word}" = "{name}"\n' for word, name in names.items())
        settings = f'[auth.openapi.session]\napi_key = "{token}"\n[parameters]\n{given}'
        server.start(ONY_SERVER_PUBLIC_URL=HOME)
        try:
            schemathesis(server, parts, soak, settings, "coverage,fuzzing" if soak else "fuzzing", Origin=HOME)
            assert server.ask("GET", "/v1/me", Cookie=f"__Host-ony={token}")[0] == 200, "the session was good to the end"
        finally:
            server.stop()


def test_every_part_that_people_or_connectors_reach_is_driven():
    assert {route.part for route in TABLE if route.who in PUBLIC} - {"upkeep"} == {*SHAPED, *PEOPLES}
