"""/metrics: off until a token is set, for whoever has it, readable by Prometheus' own parser, and closed: nothing of a stranger's becomes
a label.
"""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ony_core.server import framing
from ony_core.server.http import VIOLATIONS
from ony_core.server.meter import OTHER, Family, Meter
from ony_core.server.routes import REQUESTS, TABLE
from tests.server.world import Hall

TOKEN = "scrape-" + "x" * 20
COLOURS = Family("colours_total", "counter", "Colours.", {"colour": frozenset({"red", "blue"}), "shape": frozenset({"round"})})


def parsed(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    return {sample.name: {tuple(s.labels.values()): s.value for s in family.samples if s.name == sample.name}
            for family in text_string_to_metric_families(text) for sample in family.samples}  # fmt: skip


def test_without_a_token_in_the_configuration_there_is_no_such_address(running):
    assert running.problem("GET", "/metrics") == (404, "unknown_path")
    assert running.problem("GET", "/metrics", Authorization=f"Bearer {TOKEN}") == (404, "unknown_path")


def test_a_server_tells_whoever_has_the_token_and_nobody_else(server):
    server.start(ONY_SERVER_METRICS_TOKEN=TOKEN)
    for wrong in ("", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer ", "Bearer ü"):
        assert server.problem("GET", "/metrics", **({"Authorization": wrong} if wrong else {})) == (401, "unknown_token")
    server.ask("GET", "/healthz")
    server.ask("GET", "/482913")
    server.ask("GET", "/healthz", Host="evil.example")
    status, headers, body = server.ask("GET", "/metrics", Authorization=f"Bearer {TOKEN}")
    assert status == 200 and headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = parsed(body.decode())
    assert found["ony_http_requests_total"][("/healthz", "2xx")] == 1 and found["ony_http_requests_total"][(OTHER, "4xx")] == 1
    assert found["ony_http_requests_total"][("/metrics", "4xx")] == 7
    assert found["ony_http_refused_total"] == {("foreign_host",): 1}
    assert found["ony_store_latched"] == {(): 0} and found["ony_handoffs_waiting"] == {(): 0}
    assert found["process_resident_memory_bytes"][()] > 1e6 and found["ony_http_connections"][()] >= 1
    assert b"482913" not in body and TOKEN.encode() not in body
    assert TOKEN not in server.log.read_text()


def test_a_token_that_could_be_guessed_is_refused_and_not_quoted(server):
    from tests.server.serving import ony

    done = ony("serve", "--data", str(server.data), ONY_SERVER_METRICS_TOKEN="hunter2")
    assert done.returncode == 2 and "server.metrics_token" in done.stderr and "hunter2" not in done.stderr


@given(st.lists(st.tuples(st.text(), st.text()), max_size=20))
def test_a_label_is_one_of_its_familys_own_values_whatever_is_counted(pairs):
    meter = Meter()
    for pair in (*pairs, ("red", "round")):
        meter.count(COLOURS, *pair)
    found = parsed(meter.text())["colours_total"]
    assert sum(found.values()) == len(pairs) + 1
    assert {value for values in found for value in values} <= {"red", "blue", "round", OTHER}


def test_a_label_that_is_missing_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="argument 2"):
        Meter().count(COLOURS, "red")


def test_every_reason_that_framing_knows_and_every_route_has_its_own_label():
    sources = [Path(framing.__file__).with_name(name) for name in ("framing.py", "connection.py", "http.py")]
    calls = [node for source in sources for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)]
    reasons = {call.args[1].value for call in calls if ast.unparse(call.func) == "Violation"}
    assert reasons == VIOLATIONS.labels["reason"]
    assert {route.path for route in TABLE} == REQUESTS.labels["route"]


def test_no_family_has_an_open_label():
    """Read from the source: every family that is declared anywhere names all values, none of them an id or a number."""
    for path in sorted(Path(framing.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Family" and len(node.args) > 3:
                labels = ast.unparse(node.args[3])
                assert all(value.startswith("frozenset(") for value in re.findall(r": (\w+\()", labels)), f"{path.name}: {labels}"


async def _one_of_each(hall: Hall) -> str:
    asked = await hall.approved()
    await hall.claims(asked)
    denied = await hall.held()
    await hall.presses(denied, "deny")
    return hall.desk.meter.text()


def test_held_calls_are_counted_by_risk_and_by_how_they_ended(tmp_path):
    import asyncio

    hall = Hall(tmp_path)
    found = parsed(asyncio.run(_one_of_each(hall)))
    hall.close()
    assert found["ony_handoffs_total"] == {("high",): 2}
    assert found["ony_handoffs_settled_total"] == {("approved",): 1, ("denied",): 1, ("used",): 1}
