"""The description of the API follows the route table, and schemathesis, which reads nothing else, finds a server that keeps to it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ony_core.server import openapi
from ony_core.server.routes import TABLE
from tests.server.serving import VOICE, Server, enrolled

SHAPED = ("probes", "connectors", "freezer", "telephone", "metrics", "openapi")  # parts whose bodies openapi.SHAPES describes
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


def test_schemathesis_finds_nothing_that_a_server_does_and_its_description_does_not_say(tmp_path_factory, soak):
    folder = tmp_path_factory.mktemp("s")
    server = Server(folder)
    token = enrolled(server.data)
    server.start(**VOICE, ONY_VOICE_SIGNING_KEY="PSK_x", ONY_SERVER_METRICS_TOKEN="m" * 20)
    words = ["--config-file", str(SETTINGS), "run", f"http://127.0.0.1:{server.port}/v1/openapi.json", "--no-color",
             "--generation-database", "none", "--exclude-path-regex", "^/admin/", "--header", f"Authorization: Bearer {token}",
             *(word for part in SHAPED for word in ("--include-tag", part)),
             *(("--max-examples", "500") if soak else ("--max-examples", "3", "--seed", "7"))]  # fmt: skip
    done = subprocess.run([str(Path(sys.executable).with_name("schemathesis")), *words], cwd=folder, env={**os.environ, "NO_PROXY": "*"},
                          capture_output=True, text=True, check=False, timeout=1800)  # fmt: skip
    server.stop()
    assert done.returncode == 0, done.stdout[-6000:]
    assert "✅ Fuzzing" in done.stdout and "✅ Coverage" in done.stdout
    assert "unexpected " not in server.log.read_text()
