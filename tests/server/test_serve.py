"""The server as people meet it: `ony admin` and `ony serve` as processes on a folder, and every route's door."""

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import stat
import time
from pathlib import Path

import pytest

from ony_core.server.admin import DATABASE
from ony_core.server.routes import LOCAL, PUBLIC, TABLE
from tests.server.serving import EMAIL, ID, LIMIT_S, NUMBER, PASSWORD, VOICE, enrolled, ony

# ---------------------------------------------------------------- ony admin init


def test_init_makes_a_server_that_is_its_owners_alone(server):
    assert server.made.keys() == {"org_id", "user_id", "verification_key"}
    assert stat.S_IMODE(os.stat(server.data).st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in server.data.iterdir()} == {0o600}


def test_init_a_second_time_changes_nothing(server):
    before = {path.name: path.read_bytes() for path in server.data.iterdir()}
    again = ony("admin", "init", "--data", str(server.data), "--org", "X", "--email", EMAIL, "--password-stdin", stdin=PASSWORD)
    assert again.returncode == 1 and "already" in again.stderr and again.stdout == ""
    assert {path.name: path.read_bytes() for path in server.data.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "stdin", "what"),
    [
        (("--org", "T", "--email", EMAIL), PASSWORD, "--password-stdin"),
        (("--org", "T", "--email", EMAIL, "--password-stdin"), "short", "12 characters"),
        (("--org", "T", "--email", EMAIL, "--password-stdin"), "", "12 characters"),
        (("--org", "T", "--email", "nobody", "--password-stdin"), PASSWORD, "--email"),
        (("--email", EMAIL, "--password-stdin"), PASSWORD, "--org"),
    ],
    ids=["no terminal to ask on", "a short password", "no password", "not an email", "no organisation"],
)
def test_init_refuses_in_one_line_and_leaves_nothing(words, stdin, what, tmp_path):
    done = ony("admin", "init", "--data", str(tmp_path / "data"), *words, stdin=stdin)
    assert done.returncode == 2 and done.stderr.startswith("ony: ") and done.stderr.count("\n") == 1 and what in done.stderr
    assert not (tmp_path / "data").exists()


# ---------------------------------------------------------------- start and stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_one_line_when_ready_and_ends_well_when_asked(server, number):
    server.start()
    assert server.ready_line == f"ony: serving on http://127.0.0.1:{server.port}, data in {server.data}\n"
    assert server.ask("GET", "/healthz")[::2] == (200, b"ok")
    assert server.stop(number) == 0
    assert not (server.data / "admin.sock").exists()
    assert all(json.loads(line) for line in server.log.read_text().splitlines())


def test_a_second_server_on_the_same_folder_is_refused_and_the_first_goes_on(server):
    server.start()
    second = ony("serve", "--data", str(server.data), "--listen", "127.0.0.1:0")
    assert second.returncode == 1 and "another server is using this data folder" in second.stderr
    assert server.ask("GET", "/healthz")[0] == 200
    assert server.admin("status")["latched"] == ""


def test_a_taken_port_is_refused_and_the_folder_is_free_again(server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = ony("serve", "--data", str(server.data), "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 1 and "cannot listen on" in done.stderr
    assert server.start().stop() == 0


def test_a_server_that_was_killed_starts_again(server):
    server.start().stop(signal.SIGKILL)
    assert (server.data / "admin.sock").exists()
    server.start()
    assert server.admin("status")["waiting"] == 0


@pytest.mark.parametrize("mode", [0o750, 0o701])
def test_a_data_folder_that_others_can_look_into_is_refused(server, mode):
    server.data.chmod(mode)
    done = ony("serve", "--data", str(server.data), "--listen", "127.0.0.1:0")
    assert done.returncode == 1 and "chmod 700" in done.stderr


@pytest.mark.parametrize("made", [False, True], ids=["no folder", "an empty folder"])
def test_serve_makes_no_server_of_its_own(tmp_path, made):
    if made:
        (tmp_path / "data").mkdir(mode=0o700)
    done = ony("serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
    assert done.returncode == 1 and "ony admin init" in done.stderr
    assert not made or list((tmp_path / "data").iterdir()) == []


def test_a_lost_master_key_is_never_made_anew(server):
    (server.data / "master.key").unlink()
    done = ony("serve", "--data", str(server.data), "--listen", "127.0.0.1:0")
    assert done.returncode == 1 and "none is made anew" in done.stderr
    assert not (server.data / "master.key").exists()


def edited(data: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(data / DATABASE)) as db, db:
        for statement in statements:
            db.execute(statement)


UNLOGGABLE = {
    "no audit key": lambda data: (data / "audit.key").unlink(),
    "an audit key that others can read": lambda data: (data / "audit.key").chmod(0o644),
    "half an audit key": lambda data: os.truncate(data / "audit.key", 40),
    "an edited row": lambda data: edited(data, "DROP TRIGGER audit_no_update", "UPDATE audit SET body = x'7b7d' WHERE seq = 1"),
    "no rows at all": lambda data: edited(
        data, "DROP TRIGGER audit_no_delete", "DROP TRIGGER checkpoint_no_delete", *(f"DELETE FROM {t}" for t in ("audit", "checkpoint"))
    ),
}


@pytest.mark.parametrize("trouble", UNLOGGABLE)
def test_a_server_that_could_not_log_does_not_start(server, trouble):
    UNLOGGABLE[trouble](server.data)
    done = ony("serve", "--data", str(server.data), "--listen", "127.0.0.1:0")
    assert done.returncode == 1 and done.stdout == "" and "audit" in done.stderr.splitlines()[-1]


def test_what_goes_wrong_inside_is_told_to_the_log_and_not_to_the_network(server):
    token = enrolled(server.data)
    server.start()
    edited(server.data, "ALTER TABLE pass_count RENAME TO elsewhere")
    event = {"type": "passes", "session": "sess_" + "1" * 32, "family": "git", "hour": 1, "passes": 1}
    body = json.dumps({"events": [event]}).encode()
    answered = server.ask("POST", "/v1/events", body, Authorization=f"Bearer {token}", Content_Type="application/json")
    assert answered[0] == 503 and b"pass_count" not in answered[2]
    assert server.stop() == 0 and "pass_count" in server.log.read_text()


def test_a_socket_that_cannot_be_made_is_told_in_one_line(server):
    (server.data / "admin.sock").mkdir()
    done = ony("serve", "--data", str(server.data), "--listen", "127.0.0.1:0")
    assert done.returncode == 1 and "cannot make admin.sock" in done.stderr


def test_stopping_sends_a_waiting_probe_away_quickly(server):
    server.start()
    idle = socket.create_connection(("127.0.0.1", server.port))
    began = time.monotonic()
    assert server.stop() == 0 and time.monotonic() - began < 4
    assert idle.recv(12) in (b"", b"HTTP/1.1 503")  # the latter where the signal came before it was let in
    idle.close()


# ---------------------------------------------------------------- the routes' doors


@pytest.mark.parametrize("route", [r for r in TABLE if r.who == "connector"], ids=lambda r: f"{r.method} {r.path}")
@pytest.mark.parametrize(
    ("who", "answered"),
    [("nobody", (401, "unknown_token")), ("a stranger", (401, "unknown_token")), ("a revoked connector", (403, "connector_revoked"))],
)
def test_a_connectors_route_opens_to_an_active_token_alone(running, route, who, answered):
    token = {"nobody": "", "a stranger": "Bearer con_" + "0" * 64, "a revoked connector": f"Bearer {running.revoked}"}[who]
    headers = {"Authorization": token} if token else {}
    body = b"{}" if route.method == "POST" else None
    assert running.problem(route.method, route.path.replace("{id}", ID), body, Content_Type="application/json", **headers) == answered


@pytest.mark.parametrize("route", [r for r in TABLE if r.who == "connector"], ids=lambda r: f"{r.method} {r.path}")
def test_and_it_does_open_to_that(running, route):
    body = b"{}" if route.method == "POST" else None
    status, _, _ = running.ask(
        route.method, route.path.replace("{id}", ID), body, Content_Type="application/json", Authorization=f"Bearer {running.token}"
    )
    assert status in (200, 400, 404)


@pytest.mark.parametrize("route", [r for r in TABLE if r.who == "owner-local"], ids=lambda r: f"{r.method} {r.path}")
def test_the_administrators_routes_are_not_on_the_network(running, route):
    path = route.path.replace("{id}", ID)
    assert running.problem(route.method, path, Authorization=f"Bearer {running.token}") == (404, "unknown_path")


def test_every_route_has_a_listener():
    assert {route.who for route in TABLE} == set(PUBLIC) | set(LOCAL)


@pytest.mark.parametrize(
    ("method", "path", "answered"),
    [
        ("GET", "/", (404, "unknown_path")),
        ("GET", "/v1/handoffs/req_short", (404, "unknown_path")),
        ("GET", f"/v1/handoffs/{ID}/", (404, "unknown_path")),
        ("GET", f"/v1/handoffs/{ID}%00", (404, "unknown_path")),
        ("POST", "/healthz", (405, "method")),
        ("GET", "/v1/enroll", (405, "method")),
        ("POST", f"/v1/voice/{'0' * 64}/start", (404, "unknown_path")),
    ],
    ids=[
        "the root",
        "not an id",
        "a slash more",
        "an escaped byte",
        "posting to a probe",
        "getting what is posted",
        "voice without a provider",
    ],
)
def test_what_the_table_does_not_hold_is_refused(running, method, path, answered):
    assert running.problem(method, path) == answered


def test_a_wrong_method_is_told_the_right_one(running):
    assert running.ask("GET", "/v1/enroll")[1]["allow"] == "POST"


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"])
def test_a_body_that_does_not_say_it_is_json_is_refused(running, kind):
    assert running.problem("POST", "/v1/enroll", b"{}", Content_Type=kind) == (415, "not_json")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"code":1}', b'{"code":"a","code":"b"}'])
def test_a_body_that_is_not_what_it_must_be_is_a_400(running, body):
    assert running.problem("POST", "/v1/enroll", body, Content_Type="application/json") == (400, "malformed")


def test_a_repeated_authorization_is_nobodys(running):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", running.port, timeout=LIMIT_S)) as link:
        link.putrequest("GET", "/v1/bundle")
        for _ in range(2):
            link.putheader("Authorization", f"Bearer {running.token}")
        link.endheaders()
        assert link.getresponse().status == 400


def test_a_foreign_host_is_refused(running):
    assert running.ask("GET", "/healthz", Host="evil.example")[0] == 400


# ---------------------------------------------------------------- readiness


def test_without_a_voice_the_server_lives_but_is_not_ready_and_says_why(running):
    status, _, body = running.ask("GET", "/readyz")
    assert status == 503 and json.loads(body) == {"ready": False, "reasons": ["no_voice_provider"], "missing": ["no_active_phone"]}
    assert "no voice provider" in running.log.read_text()


def test_with_a_voice_it_is_ready_and_a_missing_phone_is_named(server):
    server.start(**VOICE, ONY_VOICE_SIGNING_KEY="PSK_x")
    assert json.loads(server.ask("GET", "/readyz")[2]) == {"ready": True, "reasons": [], "missing": ["no_active_phone"]}
    server.admin("phone", "--email", EMAIL, "--number", NUMBER, "--verified")
    status, headers, body = server.ask("GET", "/readyz", Host="ony.example.com")
    assert status == 200 and json.loads(body)["missing"] == [] and "strict-transport-security" in headers
    assert server.ask("POST", f"/v1/voice/{'0' * 64}/start")[0] == 403, "a forged webhook"


def test_a_voice_without_its_signing_key_does_not_start(server):
    done = ony("serve", "--data", str(server.data), "--listen", "127.0.0.1:0", **VOICE)
    assert done.returncode == 2 and "voice.signing_key" in done.stderr and "hunter2" not in done.stderr
