"""What the connector believes: bundles, modes, pinned keys, its own folder. Nothing a server or a file says may loosen what is fixed."""

import os
import threading
from pathlib import Path

import pytest

from ony_core import canon
from ony_core.clock import rfc3339
from ony_core.connector import bundle, digest, enrolled, home, modes, owner
from ony_core.connector.bundle import ModeStatement
from ony_core.connector.gate import Gate
from ony_core.connector.link import Link, Problem, Unreachable
from ony_core.connector.used import UsedSet
from ony_core.errors import Malformed, OnyError, Refused
from ony_core.model import Evidence, ToolCall
from tests.connector.conftest import enrol
from tests.connector.standin import StandIn, TestClock

COMMAND = "terraform apply -auto-approve"


def call(project: Path, command: str, session: str = "s-1") -> ToolCall:
    return ToolCall("claude-code", session, "Bash", {"command": command}, str(project))


def outcome(gate: Gate, project: Path, command: str, session: str = "s-1") -> str:
    return gate.weigh(call(project, command, session)).outcome


# -------------------------------------------------------------------- bundles


def test_a_day_without_a_bundle_holds_everything_that_does_something(gate, project, clock):
    assert (outcome(gate, project, "git status"), outcome(gate, project, "git commit -m x")) == ("pass", "pass")
    clock.move(24 * 3600)
    assert outcome(gate, project, "git commit -m x") == "pass"
    clock.move(1)
    assert (outcome(gate, project, "git status"), outcome(gate, project, "git commit -m x")) == ("pass", "hold")


def test_a_bundle_from_the_future_counts_as_none(gate, project, clock):
    clock.move(-301)
    assert outcome(gate, project, "git commit -m x") == "hold"


def test_without_any_bundle_everything_that_does_something_is_held(open_gate, project, folder):
    (folder / "bundle.json").unlink()
    gate = open_gate()
    assert (gate.current, outcome(gate, project, "git commit -m x")) == (False, "hold")
    gate.refresh()
    assert (gate.current, outcome(gate, project, "git commit -m x")) == (True, "pass")


def test_versions_never_go_back_also_over_a_restart(open_gate, server):
    gate = open_gate()
    server.version = 5
    gate.refresh()
    server.version = 4
    for one in (gate, open_gate()):
        with pytest.raises(Refused, match="older than one seen before") as refused:
            one.refresh()
        assert refused.value.reason == "bundle_rolled_back"
        assert one.bundle.version == 5


def test_an_old_copy_of_the_same_version_is_refused(gate, server, clock):
    old = server._bundle()
    clock.move(1000)
    gate.refresh()
    server.twist["signed bundle"] = lambda _: old
    with pytest.raises(Refused, match="older"):
        gate.refresh()


BUNDLES = {
    "a forged signature": ({"signed bundle": lambda s: {**s, "server_signature": "ed25519:" + "0" * 128}}, "bundle_bad_signature"),
    "a signature of another scheme": ({"signed bundle": lambda s: {**s, "server_signature": "hmac:" + "0" * 128}}, "bundle_bad_signature"),
    "no signature": ({"signed bundle": lambda s: {"payload": s["payload"]}}, "bundle_malformed"),
    "an altered payload": ({"signed bundle": lambda s: {**s, "payload": s["payload"].replace("300", "301")}}, "bundle_bad_signature"),
    "another connector": ({"bundle": lambda b: {**b, "connector_id": "con_" + "9" * 32}}, "bundle_wrong_connector"),
    "another organisation": ({"bundle": lambda b: {**b, "org_id": "org_" + "9" * 32}}, "bundle_wrong_connector"),
    "another type": ({"bundle": lambda b: {**b, "type": "mode"}}, "bundle_malformed"),
    "another version of the form": ({"bundle": lambda b: {**b, "v": 2}}, "bundle_unknown_version"),
    "an unknown field": ({"bundle": lambda b: {**b, "x": 1}}, "bundle_malformed"),
    "a missing field": ({"bundle": lambda b: {k: v for k, v in b.items() if k != "modes"}}, "bundle_malformed"),
    "a deadline of words": ({"bundle": lambda b: {**b, "policy": {**b["policy"], "decision_deadline": "long"}}}, "bundle_malformed"),
    "a device twice": ({"bundle": lambda b: {**b, "approvers": b["approvers"] * 2}}, "bundle_malformed"),
    "an unknown mode": (
        {"bundle": lambda b: {**b, "modes": [{"session": "", "mode": "yolo", "until": 0, "eased_until": 0}]}},
        "bundle_malformed",
    ),
    "a time that is none": ({"bundle": lambda b: {**b, "issued_at": "now"}}, "bundle_malformed"),
}


@pytest.mark.parametrize(("twist", "reason"), BUNDLES.values(), ids=BUNDLES.keys())
def test_a_bundle_that_is_not_sound_changes_nothing(gate, server, folder, twist, reason):
    before, kept = gate.bundle, (folder / "bundle.json").read_bytes()
    server.version = 2
    server.twist |= twist
    with pytest.raises(Refused) as refused:
        gate.refresh()
    assert refused.value.reason == reason
    assert gate.bundle is before and (folder / "bundle.json").read_bytes() == kept


def test_a_damaged_bundle_on_disk_is_an_error_and_never_none(open_gate, folder):
    home.write(folder / "bundle.json", (folder / "bundle.json").read_bytes().replace(b"300", b"900"))
    with pytest.raises(OnyError, match="damaged"):
        open_gate()


# -------------------------------------------------------------------- modes

NOW = 1_000_000
ALIAS = "sess_" + "1" * 32
MODES = {
    "nothing known": ([], "on", False),
    "its own": ([ModeStatement(ALIAS, "away", 0, 0)], "away", False),
    "the default": ([ModeStatement("", "away", 0, 0)], "away", False),
    "its own before the default": ([ModeStatement(ALIAS, "on", 0, 0), ModeStatement("", "off", NOW + 9, 0)], "on", False),
    "another session's": ([ModeStatement("sess_" + "2" * 32, "off", NOW + 9, 0)], "on", False),
    "running": ([ModeStatement(ALIAS, "off", NOW + 1, 0)], "off", False),
    "over": ([ModeStatement(ALIAS, "off", NOW, 0)], "on", False),
    "off without an end": ([ModeStatement(ALIAS, "off", 0, 0)], "on", False),
    "here without an end": ([ModeStatement("", "here", 0, 0)], "on", False),
    "its own over, the default running": ([ModeStatement(ALIAS, "off", NOW, 0), ModeStatement("", "away", 0, 0)], "away", False),
    "eased": ([ModeStatement(ALIAS, "away", 0, NOW + 1)], "away", True),
    "eased, over": ([ModeStatement(ALIAS, "away", 0, NOW)], "away", False),
}


@pytest.mark.parametrize(("statements", "mode", "eased"), MODES.values(), ids=MODES.keys())
def test_the_mode_of_a_session(statements, mode, eased):
    standing = modes.standing(ALIAS, statements, NOW)
    assert (standing.mode, standing.eased) == (mode, eased)


def test_the_gates_own_settings_are_held_in_every_mode(gate, server, project, clock):
    server.version = 2
    server.modes = [{"session": "", "mode": "off", "until": rfc3339(clock.wall() + 600), "eased_until": None}]
    gate.refresh()
    assert outcome(gate, project, COMMAND) == "pass"
    assert outcome(gate, project, "ony mode off") == "hold"
    assert outcome(gate, project, "ony uninstall claude") == "hold"
    clock.move(600)
    assert outcome(gate, project, COMMAND) == "hold"


def test_a_newer_bundle_takes_the_place_of_what_a_mode_request_was_told(gate, server, project, clock):
    wish = canon.dumps({"session": "", "mode": "off", "minutes": 60, "code": "123456"})
    gate.set_mode(wish, "")
    assert outcome(gate, project, COMMAND) == "pass"
    server.modes, server.version = [], 2
    gate.refresh()
    assert outcome(gate, project, COMMAND) == "hold"


@pytest.mark.parametrize(
    "change", [{"connector_id": "con_" + "9" * 32}, {"session": "sess_" + "9" * 32}, {"mode": "yolo"}, {"until": "soon"}, {"x": 1}]
)
def test_a_signed_mode_for_somebody_else_or_of_no_sense_is_refused(gate, server, change):
    server.twist["mode"] = lambda body: {**body, **change}
    with pytest.raises(Refused):
        gate.set_mode(canon.dumps({"session": "", "mode": "off", "minutes": 60, "code": "123456"}), "")
    assert gate.standing("").mode == "on"


# -------------------------------------------------------------------- digests, aliases, projects


def test_every_part_of_the_call_and_its_evidence_is_in_the_digest():
    def of(call: ToolCall, session: str = "a", evidence: Evidence = Evidence(), key: bytes = b"k" * 32) -> str:  # noqa: B008 a constant
        return digest.request(key, call, session, evidence)

    base = ToolCall("claude-code", "s", "Bash", {"command": "x"}, "/p")
    others = [
        of(base, "b"), of(base, key=b"j" * 32), of(ToolCall("codex", "s", "Bash", {"command": "x"}, "/p")),
        of(ToolCall("claude-code", "s", "Read", {"command": "x"}, "/p")), of(ToolCall("claude-code", "s", "Bash", {"command": "y"}, "/p")),
        of(ToolCall("claude-code", "s", "Bash", {"command": "x"}, "/q")),
        of(ToolCall("claude-code", "s", "Bash", {"command": "x", "a": 1}, "/p")),
        of(ToolCall("claude-code", "s", "Bash", {"command": "x"}, "/p", subagent="a1")),
        of(base, evidence=Evidence(files=(("/f", 1, 2, "00"),))), of(base, evidence=Evidence(files=(("/f", 1, 3, "00"),))),
        of(base, evidence=Evidence(places=(("git_head", "1"),))), of(base, evidence=Evidence(environment=(("PATH", "1"),))),
    ]  # fmt: skip
    assert len({of(base), *others}) == len(others) + 1
    assert of(base) == of(ToolCall("claude-code", "other", "Bash", {"command": "x", "description": "y"}, "/p", "plan", "toolu_9"))
    assert of(ToolCall("c", "s", "Other", {"description": "x"}, "/")) != of(ToolCall("c", "s", "Other", {"description": "y"}, "/"))


def test_an_alias_says_nothing_about_the_session_and_differs_between_machines():
    one = digest.alias(b"a" * 32, "claude-code", "f6c5")
    assert one.startswith("sess_") and len(one) == 37 and "f6c5" not in one
    assert one != digest.alias(b"b" * 32, "claude-code", "f6c5") != digest.alias(b"b" * 32, "codex", "f6c5")


def test_a_project_is_called_what_the_owner_calls_it_and_nothing_else(open_gate, folder, project):
    assert open_gate().weigh(call(project, COMMAND)).project == "unlisted"
    home.write(folder / "connector.toml", f'[projects]\n"{project}" = "prod-api"\n"{project}/sub" = "inner"\n'.encode())
    gate = open_gate()
    assert gate.weigh(call(project, COMMAND)).project == "prod-api"
    assert gate.weigh(call(project / "sub" / "x", COMMAND)).project == "inner"
    assert gate.weigh(call(Path(f"{project}-2"), COMMAND)).project == "unlisted"


@pytest.mark.parametrize("text", ["[projects]\nx = 1", '[projects]\n"/p" = "a b"', '[projects]\n"rel" = "a"', "[other]", "not toml"])
def test_a_settings_file_that_is_off_is_said_so(folder, text):
    home.write(folder / "connector.toml", text.encode())
    with pytest.raises(OnyError, match=r"connector\.toml"):
        owner.projects(folder)


def test_a_session_began_when_it_was_first_seen_also_over_a_restart(open_gate, project, clock):
    gate = open_gate()
    gate.weigh(call(project, "git status"))
    began = clock.wall()
    clock.move(1000)
    for one in (gate, open_gate()):
        assert one._sessions.began(digest.alias(gate.enrolled.alias_key, "claude-code", "s-1"), clock.wall()) == began


def test_passes_are_counted_by_the_hour_and_family_without_a_call(gate, server, project, clock):
    for _ in range(3):
        gate.weigh(call(project, "git status"))
    gate.outbox.heartbeat(clock.wall())
    assert [event["type"] for event in server.events] == ["heartbeat"]
    clock.move(3600)
    gate.outbox.heartbeat(clock.wall())
    counts = [event for event in server.events if event["type"] == "passes"]
    assert sum(event["passes"] for event in counts) == 3 and "git status" not in str(counts)


def test_events_wait_for_a_server_that_is_away_and_one_it_never_understands_is_let_go(gate, server):
    server.faults["events"] = "drop before"
    gate.outbox.add("refused", reason="a")
    assert not gate.outbox.try_send()
    server.faults["events"] = "400"
    assert gate.outbox.try_send()
    gate.outbox.add("refused", reason="b")
    del server.faults["events"]
    assert gate.outbox.try_send()
    assert server.events[-1] == {"type": "refused", "reason": "b"}


# -------------------------------------------------------------------- enrolment


def test_an_enrolment_is_read_back_as_it_was_stored(folder, server, clock):
    accepted = enrol(folder, server, clock)
    assert enrolled.load(folder) == accepted
    assert accepted.token not in repr(accepted) and accepted.digest_key.hex() not in repr(accepted)


@pytest.mark.parametrize("text", ["ony-", "ony-" + "A" * 31, "ony-" + "A" * 33, "ony-" + "1" * 32, "A" * 32, ""])
def test_what_is_not_a_code_is_refused_before_anything_is_asked(text):
    with pytest.raises(OnyError, match="not a one-time code"):
        enrolled.fingerprint_in(text)


def test_a_code_may_be_typed_in_any_case_and_with_spaces(server):
    assert enrolled.fingerprint_in(server.code.lower().replace("-", " ")) == enrolled.fingerprint_in(server.code)


@pytest.mark.parametrize("field", ["connector_id", "org_id", "user_id", "token", "server_key", "audit_key", "origin", "approvers"])
@pytest.mark.parametrize("value", [None, "", "x", 7, [1], [{"device_id": "dev_1"}], "../../etc"])
def test_an_answer_with_an_odd_field_enrols_nothing(folder, server, clock, field, value):
    if field == "approvers" and value == []:
        return
    server.twist["enroll"] = lambda answer: {**answer, field: value}
    with pytest.raises((Malformed, Refused)):
        enrol(folder, server, clock)
    assert not (folder / "connector.json").exists()


def test_a_damaged_connector_json_is_an_error(folder, server, clock):
    enrol(folder, server, clock)
    for text in ("{}", "[]", '{"v": 2}', "x"):
        home.write(folder / "connector.json", text.encode())
        with pytest.raises(OnyError):
            enrolled.load(folder)


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_secret_file_open_to_others_is_refused(folder, server, clock, mode):
    enrol(folder, server, clock)
    os.chmod(folder / "connector.json", mode)
    with pytest.raises(OnyError, match="not a private file"):
        enrolled.load(folder)


def test_a_secret_file_behind_a_symbolic_link_is_refused(folder, server, clock, tmp_path):
    enrol(folder, server, clock)
    (folder / "connector.json").rename(tmp_path / "elsewhere")
    (folder / "connector.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OnyError, match="cannot be read as a file of yours"):
        enrolled.load(folder)


# -------------------------------------------------------------------- the used-set


def test_a_torn_line_does_not_swallow_the_next_and_every_add_is_on_disk(tmp_path):
    used = UsedSet(tmp_path / "used")
    used.add("sha256:aa")
    with open(tmp_path / "used", "ab") as file:
        file.write(b"sha256:b")
    again = UsedSet(tmp_path / "used")
    again.add("sha256:cc")
    with pytest.raises(Refused, match="before"):
        again.add("sha256:aa")
    last = UsedSet(tmp_path / "used")
    assert "sha256:aa" in last and "sha256:cc" in last and "sha256:bb" not in last


def test_of_many_threads_one_gets_the_verdict(tmp_path):
    used, wins = UsedSet(tmp_path / "used"), []

    def take() -> None:
        try:
            used.add("sha256:aa")
            wins.append(1)
        except Refused:
            return

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wins == [1]


# -------------------------------------------------------------------- the line


@pytest.mark.parametrize("url", ["http://ony.example.com", "http://10.0.0.1", "http://127.0.0.1.evil.com", "https://", "https://a/?q", "https://u@a",
                                 "https://a#b", "file:///x", "https://a:99999", "https://[::1", ""])  # fmt: skip
def test_an_address_that_is_not_https_or_this_machine_is_refused(url):
    with pytest.raises(OnyError):
        Link(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8750", "http://localhost:1", "http://[::1]:5", "https://ony.example.com/prefix/"])
def test_https_and_this_machine_are_fine(url):
    assert Link(url).port


def test_a_redirect_is_not_followed(server):
    server.faults["bundle"] = "302"
    with pytest.raises(Problem) as problem:
        Link(server.url, "t" * 30).call("GET", "/v1/bundle")
    assert problem.value.status == 302


def test_a_server_that_drips_is_cut_off_at_the_total_deadline():
    import socket
    import time

    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        sock, _ = listener.accept()
        try:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while True:
                sock.sendall(b" ")
                time.sleep(0.02)
        except OSError:
            return

    threading.Thread(target=drip, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(Unreachable):
        Link(f"http://127.0.0.1:{listener.getsockname()[1]}").call("GET", "/", timeout_s=0.5)
    assert time.monotonic() - began < 5


def test_the_clock_of_these_tests_never_goes_back_in_boot_time():
    clock = TestClock()
    before = clock.boot()
    clock.set_back(500)
    assert clock.boot() == before and clock.wall() == before - 500
    assert isinstance(StandIn, type) and bundle.MAX_AGE_S == 86400
