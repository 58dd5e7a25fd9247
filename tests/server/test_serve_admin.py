"""`ony admin` on a running server, and a machine that shows a code until somebody approves it."""

import json
import os
import subprocess

import pyotp
import pytest

from ony_core import program
from tests.server.serving import EMAIL, ID, LIMIT_S, NUMBER, enrolled, ony

# ---------------------------------------------------------------- a machine that shows a code


def shows_a_code(server, home):
    """`ony enroll --show-code`, and the code it shows."""
    words = ["enroll", f"http://127.0.0.1:{server.port}", "--show-code", "--name", "laptop"]
    process = subprocess.Popen([*program.command(), *words], env={**os.environ, "ONY_HOME": str(home)}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdout is not None
    line = next(line for line in process.stdout if line.strip().startswith("ony-"))
    return process, line.strip()


def test_a_machine_shows_a_code_and_is_in_once_somebody_approved_it(server, tmp_path):
    server.start()
    process, code = shows_a_code(server, tmp_path / "home")
    done = ony("admin", "enroll-approve", code.lower().replace("-", " "), "--data", str(server.data))
    assert done.returncode == 0, done.stderr
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    assert "Enrolled at" in out
    assert [row["name"] for row in server.admin("connector", "list")] == ["laptop"]
    again = ony("admin", "enroll-approve", code, "--data", str(server.data))
    assert again.returncode == 1 and "approved before" in again.stderr


def test_a_code_that_was_made_for_another_key_is_not_approved(server, tmp_path):
    server.start()
    process, code = shows_a_code(server, tmp_path / "home")
    other = code[:-1] + ("A" if code[-1] != "A" else "B")
    done = ony("admin", "enroll-approve", other, "--data", str(server.data))
    assert done.returncode == 1 and "not a code that a machine made for this server" in done.stderr
    assert process.poll() is None, "it goes on waiting"
    process.kill()
    process.communicate()


# ---------------------------------------------------------------- ony admin, on a running server


def test_the_second_phone_of_a_user_gets_no_second_secret(server):
    server.start()
    first = server.admin("phone", "--email", EMAIL, "--number", NUMBER, "--verified")
    code = pyotp.TOTP(first["totp_secret"]).now()
    second = server.admin("phone", "--email", EMAIL, "--number", "+15550100124", "--verified", stdin=code)
    assert first.keys() == second.keys() == {"device_id", "totp_secret", "otpauth_uri"}
    assert pyotp.parse_uri(first["otpauth_uri"]).secret == first["totp_secret"]
    assert second["totp_secret"] is None and second["otpauth_uri"] is None
    assert {row["device_id"] for row in server.admin("device", "list")} == {first["device_id"], second["device_id"]}
    assert NUMBER not in json.dumps(server.admin("device", "list")) + server.log.read_text()


def test_a_revoked_phone_is_listed_as_such_and_revoked_once(server):
    server.start()
    device_id = server.admin("phone", "--email", EMAIL, "--number", NUMBER, "--verified")["device_id"]
    assert server.admin("device", "revoke", device_id) == {"revoked": device_id}
    assert [row["state"] for row in server.admin("device", "list")] == ["revoked"]
    again = ony("admin", "device", "revoke", device_id, "--data", str(server.data))
    assert again.returncode == 1 and "no such active device" in again.stderr


def test_a_revoked_connector_loses_its_door_at_once(server):
    token = enrolled(server.data)
    server.start()
    headers = {"Authorization": f"Bearer {token}"}
    assert server.ask("GET", "/v1/bundle", **headers)[0] == 200
    connector_id = server.admin("connector", "list")[0]["connector_id"]
    assert server.admin("connector", "revoke", connector_id) == {"revoked": connector_id}
    assert server.problem("GET", "/v1/bundle", **headers) == (403, "connector_revoked")


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("phone", "--email", EMAIL, "--number", NUMBER), 1, "--verified"),
        (("phone", "--email", EMAIL, "--number", "0123", "--verified"), 1, "+15550100123"),
        (("phone", "--email", "other@example.com", "--number", NUMBER, "--verified"), 1, "no user has this email"),
        (("enroll-code", "--email", "other@example.com"), 1, "no user has this email"),
        (("device", "revoke", "../../status"), 2, "device list"),
        (("device", "revoke", ID), 1, "no such active device"),
        (("connector", "revoke", "nonsense"), 1, "nothing at this address"),
        (("device",), 2, "--help"),
    ],
    ids=[
        "number not verified",
        "not a number",
        "nobody's phone",
        "nobody's connector",
        "a path for an id",
        "no such device",
        "not an id",
        "no verb",
    ],
)
def test_what_the_server_refuses_is_said_in_one_line(running, words, code, what):
    done = ony("admin", *words, *(("--data", str(running.data)) if len(words) > 1 else ()))
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("ony: ") and done.stderr.count("\n") == 1 and what in done.stderr


def test_people_get_text_without_a_qr_code_where_it_could_not_be_seen(running):
    said = ony("admin", "phone", "--data", str(running.data), "--email", EMAIL, "--number", NUMBER, "--verified").stdout
    assert "otpauth://totp/" in said and "█" not in said
    assert "+1•••0123" in ony("admin", "device", "list", "--data", str(running.data)).stdout
    assert "Good for one `ony enroll`" in ony("admin", "enroll-code", "--data", str(running.data)).stdout


@pytest.mark.parametrize("words", [("status",), ("enroll-code",), ("device", "list")])
def test_without_a_running_server_the_command_says_how_to_start_one(server, words):
    done = ony("admin", *words, "--data", str(server.data))
    assert done.returncode == 1 and f"ony serve --data {server.data}" in done.stderr


def test_the_data_folder_may_come_from_the_environment(running):
    assert ony("admin", "status", "--json", ONY_SERVER_DATA=str(running.data)).returncode == 0
