"""The daemon as a process, with the real hook before it and a server beside it that does what a test says."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ony_core import canon, hook, program
from ony_core.clock import SystemClock
from ony_core.connector import control, home
from tests.connector.running import COMMAND, Connector, alive, said, until
from tests.connector.standin import SECRET, StandIn


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn(tmp_path / "server", SystemClock()) as standin:
        standin.waits_s = 5
        yield standin


@pytest.fixture
def connector(folder: Path, project: Path, server: StandIn) -> Iterator[Connector]:
    made = Connector(folder, project, server)
    made.enrol()
    yield made
    if control.running(folder):
        pid = control.ask("status", folder=folder)["pid"]
        made.ony("daemon", "stop")
        until(lambda: not alive(pid))


@pytest.fixture
def daemon(connector: Connector) -> Connector:
    connector.start()
    return connector


def test_a_harmless_call_passes_and_nobody_is_asked(daemon):
    done = daemon.hook("git status")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{}", b"")
    assert "handoffs" not in daemon.server.heard


def test_an_approved_call_is_allowed_with_the_very_input(daemon):
    answer = said(daemon.hook(COMMAND, tool_input={"command": COMMAND, "timeout": 1.50, "description": "é"}))
    assert answer["permissionDecision"] == "allow"
    assert answer["updatedInput"] == {"command": COMMAND, "timeout": 1.5, "description": "é"}


def test_a_denied_call_is_denied(daemon):
    daemon.server.decides = "deny"
    assert said(daemon.hook(COMMAND))["permissionDecision"] == "deny"


def test_a_forged_verdict_is_denied(daemon):
    daemon.server.twist["verdict"] = lambda envelope: {**envelope, "server_signature": "ed25519:" + "0" * 128}
    assert "[bad_server_signature]" in said(daemon.hook(COMMAND))["permissionDecisionReason"]


def test_events_that_cannot_be_read_are_denied_in_the_agents_own_words(daemon):
    for event in (b"", b"{", b"[]", b"\xff", daemon.event(COMMAND, tool_input="x"), daemon.event(COMMAND, hook_event_name="Other")):
        with daemon.raw(event) as child:
            out, _ = child.communicate(timeout=30)
        assert json.loads(out)["hookSpecificOutput"]["permissionDecision"] == "deny"


def test_events_that_only_tell_get_no_opinion(daemon):
    assert said(daemon.hook("x", hook_event_name="PostToolUse")) == {}


def test_a_change_of_settings_that_ends_the_gate_is_vetoed(daemon):
    settings = daemon.project / "settings.json"
    settings.write_text('{"disableAllHooks": true}')
    answer = said(daemon.hook("x", hook_event_name="ConfigChange", source="project_settings", file_path=str(settings)))
    assert answer["decision"] == "block"


def test_a_hook_that_is_killed_ends_the_ringing(daemon):
    daemon.server.decides, daemon.server.waits_s = "nothing", 25
    with daemon.asking(COMMAND) as child:
        (request_id,) = daemon.server.until_asked()
        child.kill()
        daemon.server.state_of(request_id, "cancelled")
    until(lambda: control.ask("status", folder=daemon.folder)["waiting"] == 0)


def test_a_yes_that_arrives_after_the_hook_has_gone_is_not_claimed(daemon):
    daemon.server.decides = "nothing"
    daemon.server.faults["cancel"] = "drop before"
    with daemon.asking(COMMAND) as child:
        (request_id,) = daemon.server.until_asked()
        child.kill()
    until(lambda: "cancel" in daemon.server.heard)
    daemon.server.decide(request_id, "approve")
    until(lambda: f"deny {request_id} cancelled" in (daemon.folder / "log" / "daemon.log").read_text())
    assert "claim" not in daemon.server.heard


def test_a_daemon_that_is_killed_while_a_call_waits_blocks_it_and_starts_again(daemon):
    daemon.server.decides = "nothing"
    with daemon.asking(COMMAND) as child:
        daemon.server.until_asked()
        os.kill(control.ask("status", folder=daemon.folder)["pid"], signal.SIGKILL)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (2, b"") and b"blocked" in err
    daemon.start()
    assert said(daemon.hook("git status")) == {}


def test_stopping_the_daemon_hangs_up_and_blocks_what_waits(daemon):
    daemon.server.decides = "nothing"
    with daemon.asking(COMMAND) as child:
        (request_id,) = daemon.server.until_asked()
        assert daemon.ony("daemon", "stop").returncode == 0
        out, _ = child.communicate(timeout=30)
    assert (child.returncode, out) == (2, b"") or json.loads(out)["hookSpecificOutput"]["permissionDecision"] == "deny"
    daemon.server.state_of(request_id, "cancelled")
    assert not (daemon.folder / "ony.sock").exists()
    assert daemon.hook("git status").returncode == 2


def test_harmless_calls_are_answered_while_others_wait(daemon):
    daemon.server.decides = "nothing"
    children = [daemon.asking(COMMAND, session_id=f"s-{n}") for n in range(8)]
    daemon.server.until_asked(8)
    assert said(daemon.hook("git status")) == {}
    assert all(child.poll() is None for child in children), "the others wait as before"
    for request_id in daemon.server.until_asked(8):
        daemon.server.decide(request_id, "deny")
    assert {json.loads(child.communicate(timeout=30)[0])["hookSpecificOutput"]["permissionDecision"] for child in children} == {"deny"}


def test_without_a_server_harmless_calls_pass_and_the_rest_is_denied(daemon):
    daemon.server.__exit__(None, None, None)
    assert said(daemon.hook("git status")) == {}
    answer = said(daemon.hook(COMMAND))
    assert answer["permissionDecision"] == "deny" and "does not answer" in answer["permissionDecisionReason"]


def test_a_frame_that_is_not_ours_is_answered_with_a_no_or_nothing(daemon):
    frames = {
        "another version": b"ONY2 claude cli\n\0\0\0\0",
        "another agent": b"ONY1 gemini cli\n\0\0\0\0",
        "capitals": b"ONY1 Claude cli\n\0\0\0\0",
        "too long": b"ONY1 claude cli\n\xff\xff\xff\xff",
        "no end of line": b"x" * 70_000,
        "half": b"ONY1 claude cli\n\0\0\0\x09abc",
    }
    for name, data in frames.items():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(daemon.folder / "ony.sock"))
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            reply = b""
            while part := sock.recv(1 << 16):
                reply += part
        assert not reply or reply[0] == 2, name
    assert said(daemon.hook("git status")) == {}


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_another_user_gets_no_answer(daemon):
    ask = f"""
import socket
s = socket.socket(socket.AF_UNIX); s.connect({str(daemon.folder / "ony.sock")!r})
try:
    s.sendall({hook.frame("ony", "status", b"{}")!r}); print(s.recv(1000))
except ConnectionError:
    print(b"")"""
    try:
        for path in (daemon.folder.parent, daemon.folder, daemon.folder / "ony.sock"):
            os.chmod(path, 0o777)
        words = ["/usr/bin/python3", "-I", "-S", "-c", ask]
        done = subprocess.run(words, user=65534, group=65534, capture_output=True, timeout=30, check=False)
    finally:
        os.chmod(daemon.folder, 0o700)
    assert done.stdout == b"b''\n", done


def test_folder_and_socket_are_closed_to_others_and_the_process_to_everybody(daemon):
    assert daemon.folder.stat().st_mode & 0o777 == 0o700
    assert (daemon.folder / "ony.sock").stat().st_mode & 0o777 == 0o600
    assert (daemon.folder / "connector.json").stat().st_mode & 0o777 == 0o600
    pid = control.ask("status", folder=daemon.folder)["pid"]
    assert Path(f"/proc/{pid}/limits").read_text().split("Max core file size")[1].split()[:2] == ["0", "0"]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl(2) is Linux")
def test_no_other_process_may_read_a_hardened_process():
    probe = "from ony_core.connector import daemon; daemon.harden(); import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    root = str(Path(hook.__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", probe], cwd=root, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "0\n", done.stderr  # PR_GET_DUMPABLE


def test_the_daemon_sees_nothing_of_the_environment_it_was_started_from(connector):
    connector.environment |= {"LD_LIBRARY_PATH": "/evil", "PYTHONPATH": "/evil", "SECRET_TOKEN": "x", "HTTPS_PROXY": "http://evil"}
    pid = connector.start()
    names = {line.partition(b"=")[0] for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if line}
    assert names <= {b"PATH", b"HOME", b"LANG", b"ONY_HOME", b"LC_CTYPE"}
    assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in (0,)} == {"/dev/null"}
    assert os.readlink(f"/proc/{pid}/cwd") == "/"


def test_a_second_daemon_is_refused_and_a_second_start_is_fine(daemon):
    assert "running already" in daemon.ony("daemon", "start").stdout
    done = daemon.ony("daemon", "run")
    assert done.returncode == 1 and "running for this folder already" in done.stderr


def test_starts_at_the_same_time_name_the_one_that_runs(connector):
    words = [*program.command(), "daemon", "start"]
    started = [subprocess.Popen(words, env=connector.environment, stdout=subprocess.PIPE) for _ in range(3)]
    says = {child.communicate(timeout=60)[0] for child in started}
    pid = control.ask("status", folder=connector.folder)["pid"]
    assert [child.returncode for child in started] == [0, 0, 0]
    assert all(f"(process {pid})".encode() in text or b"running already" in text for text in says)


@pytest.mark.parametrize("verb", ["stop", "status"])
def test_a_daemon_that_does_not_answer_is_not_called_gone(daemon, verb):
    pid = control.ask("status", folder=daemon.folder)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        done = daemon.ony("daemon", verb)
        assert done.returncode == 1 and f"(process {pid}) is there but does not answer" in done.stderr
        assert f"kill -9 {pid}" in done.stderr and "No daemon" not in done.stdout
    finally:
        os.kill(pid, signal.SIGCONT)


ODD = [(file, kind) for file in ("connector.json", "bundle.json", "connector.toml") for kind in ("folder", "link", "garbage")]
ODD += [(file, kind) for file in ("used", "sessions") for kind in ("folder", "link")] + [("ony.sock", "folder")]


@pytest.mark.parametrize(("file", "kind"), ODD)
def test_what_stands_where_a_file_of_ours_should_is_named_in_one_line(connector, file, kind):
    path = connector.folder / file
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/etc/hostname")
    else:
        path.write_bytes(b"\xff\x00{")
        path.chmod(0o600)
    done = connector.ony("daemon", "start")
    assert done.returncode == 1 and file in done.stderr and "unexpected" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_start_says_why_it_does_not_start(connector):
    (connector.folder / "bundle.json").write_bytes(b"{}")
    done = connector.ony("daemon", "start")
    assert done.returncode == 1 and "bundle.json is damaged" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_an_enrolment_nothing_starts(folder, project, server):
    done = Connector(folder, project, server).ony("daemon", "start")
    assert done.returncode == 1 and "not enrolled" in done.stderr


def test_the_log_names_actions_and_never_a_command(daemon):
    daemon.hook("API_KEY=hunter2secretvalue terraform apply -auto-approve")
    text = "".join(path.read_text() for path in (daemon.folder / "log").iterdir())
    assert "allow req_" in text
    assert "hunter2" not in text and "terraform" not in text.replace("deploy.production", "")


def test_stepping_down_needs_the_code_and_stepping_up_does_not(daemon):
    assert json.loads(daemon.ony("mode", "away", "--json").stdout)["mode"] == "away"
    refused = daemon.ony("mode", "off", stdin="000000\n")
    assert refused.returncode == 1 and "wrong code" in refused.stderr
    assert json.loads(daemon.ony("mode", "status", "--json").stdout)["mode"] == "away"
    assert "Mode off" in daemon.ony("mode", "off", stdin=SECRET + "\n").stdout
    assert said(daemon.hook(COMMAND)) == {}


def test_a_mode_belongs_to_its_session(daemon):
    daemon.ony("mode", "off", "--session", "s-1", stdin=SECRET + "\n")
    assert said(daemon.hook(COMMAND)) == {}
    assert said(daemon.hook(COMMAND, session_id="s-2"))["permissionDecision"] == "allow"


def test_a_mode_that_the_server_did_not_sign_changes_nothing(daemon):
    daemon.server.twist["signed mode"] = lambda signed: {**signed, "server_signature": "ed25519:" + "0" * 128}
    done = daemon.ony("mode", "off", stdin=SECRET + "\n")
    assert done.returncode == 1 and "signature" in done.stderr
    assert said(daemon.hook(COMMAND))["permissionDecision"] == "allow"


def test_ony_approve_answers_on_this_terminal_with_the_code(daemon):
    daemon.server.decides = "nothing"
    with daemon.asking(COMMAND) as child:
        daemon.server.until_asked()
        (row,) = json.loads(daemon.ony("approve", "--json").stdout)
        assert (row["action"], row["risk"], row["tool"]) == ("deploy.production", "critical", "Bash")
        assert daemon.ony("approve", row["request_id"], stdin="000000\n").returncode == 1
        done = daemon.ony("approve", stdin=f"1\n{SECRET}\n")
        assert done.returncode == 0 and "Approved" in done.stdout
        out, _ = child.communicate(timeout=30)
    assert json.loads(out)["hookSpecificOutput"]["permissionDecision"] == "allow"
    assert "Nothing is waiting" in daemon.ony("approve").stdout


def test_status_and_doctor_say_what_this_is_worth(daemon):
    settings = daemon.folder.parent / ".claude" / "settings.json"
    done = daemon.ony("install", "claude", "--user")
    assert done.returncode == 0 and "any repository you open can switch it off" in done.stdout
    assert settings.exists()
    assert "Assurance: demo" in daemon.ony("status").stdout
    facts = json.loads(daemon.ony("status", "--json").stdout)
    assert (facts["running"], facts["assurance"], facts["settings"]) == (True, "demo", [str(settings)])
    doctor = daemon.ony("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "live test: a harmless call passes" in doctor.stdout
    settings.write_text(settings.read_text().replace('"timeout": 86400', '"timeout": 1'))
    doctor = daemon.ony("doctor")
    assert doctor.returncode == 1 and "missing or changed" in doctor.stdout


def test_enrolment_refuses_a_server_whose_key_the_code_does_not_name(folder, project, server):
    made = Connector(folder, project, server)
    server.twist["enroll"] = lambda answer: {**answer, "server_key": "ed25519:" + "1" * 64}
    done = made.ony("enroll", server.url, stdin=server.code + "\n")
    assert done.returncode == 1 and "does not match the one-time code" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["heads", "log"]


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [("http://ony.example.com", None, "use https"), ("ftp://127.0.0.1", None, "not a plain URL"),
     ("http://u:p@127.0.0.1", None, "not a plain URL"),
     ("", "ony-123", "not a one-time code"), ("", "", "no one-time code"), ("", "ony-" + "A" * 32, "")],
)  # fmt: skip
def test_enrolment_refuses_addresses_and_codes_that_cannot_be_right(folder, project, server, url, code, says):
    done = Connector(folder, project, server).ony("enroll", url or server.url, stdin=(server.code if code is None else code) + "\n")
    assert done.returncode in (1, 2) and says in done.stderr and done.stderr.startswith("ony: ")
    assert not (folder / "connector.json").exists()


def test_an_enrolment_is_not_replaced_by_accident(connector):
    before = (connector.folder / "connector.json").read_bytes()
    done = connector.ony("enroll", connector.server.url, stdin=connector.server.code + "\n")
    assert done.returncode == 1 and "--replace" in done.stderr
    assert (connector.folder / "connector.json").read_bytes() == before


def test_a_folder_open_to_others_is_refused(connector):
    os.chmod(connector.folder, 0o755)
    done = connector.ony("daemon", "start")
    assert done.returncode == 1 and "chmod 700" in done.stderr
    os.chmod(connector.folder, 0o700)


def test_a_socket_path_that_does_not_fit_is_refused(tmp_path):
    folder = home.opened(tmp_path / ("x" * 100), make=True)
    with pytest.raises(Exception, match="longer than 100 bytes"):
        home.socket_path(folder)


def test_a_control_word_nobody_knows_is_an_error_line(daemon):
    with pytest.raises(Exception, match="does not know that word"):
        control.ask("conquer", folder=daemon.folder)
    assert canon.loads(b"{}") == {}


def test_status_says_when_the_gate_is_not_where_it_was_put(daemon, project):
    assert daemon.ony("install", "claude", "--project", str(project)).returncode == 0
    assert "NOT WORKING" not in daemon.ony("status").stdout
    (project / ".claude" / "settings.json").write_text("{}")
    assert "NOT WORKING, its PreToolUse entry is missing" in daemon.ony("status").stdout


def test_a_project_that_is_not_there_gets_no_gate(daemon, project):
    done = daemon.ony("install", "claude", "--project", str(project / "typo"))
    assert done.returncode == 1 and "there is no folder" in done.stderr
    assert not (project / "typo").exists()
