"""The raw call leaves this machine only where its owner and the server both say so, and never with what looks like a secret."""

import pytest

from ony_core.connector import owner, payload
from ony_core.errors import OnyError
from ony_core.model import ToolCall
from tests.connector.holding import COMMAND, held


def opened(open_gate, server, there: bool):
    """A gate whose server says in its bundle whether it takes payloads."""
    server.attach, server.version = there, 2
    gate = open_gate()
    gate.refresh()
    return gate


def wish(folder, text: str) -> None:
    (folder / "connector.toml").write_text(text)
    (folder / "connector.toml").chmod(0o600)


@pytest.mark.parametrize(("here", "there"), [("", True), ("[payload]\nattach = false\n", True), ("[payload]\nattach = true\n", False)])
def test_one_side_alone_sends_nothing(folder, open_gate, server, project, here, there):
    wish(folder, here)
    assert held(opened(open_gate, server, there), project).outcome == "allow"
    assert "payload" not in server.heard


def test_where_both_say_so_the_call_lies_beside_its_request(folder, open_gate, server, project):
    wish(folder, "[payload]\nattach = true\n")
    assert held(opened(open_gate, server, True), project).outcome == "allow"
    assert list(server.payloads.values()) == [COMMAND]


@pytest.mark.parametrize("fault", ["403", "500", "drop before", "drop after", "html"])
def test_a_payload_that_cannot_be_sent_changes_no_decision(folder, open_gate, server, project, fault):
    server.faults["payload"] = fault
    wish(folder, "[payload]\nattach = true\n")
    assert held(opened(open_gate, server, True), project).outcome == "allow"


@pytest.mark.parametrize("text", ["[payload]\nattach = 1\n", "[payload]\nattached = true\n", "payload = true\n", "[other]\n"])
def test_a_setting_that_is_none_is_said(folder, text):
    wish(folder, text)
    with pytest.raises(OnyError):
        owner.attaches(folder)


MASKED = {
    "a header": ("curl -H 'Authorization: Bearer abcdef123' https://x", "abcdef123"),
    "an assignment": ("PGPASSWORD=hunter2 psql -c 'drop table t'", "hunter2"),
    "a quoted value": ("{\"password\": \"two words\"}", "two words"),
    "an address": ("git push https://me:tok123@host/x", "tok123"),
    "a token": ("echo ghp_abcdefghijklmnop1234 | x", "ghp_abcdefghijklmnop1234"),
    "a key": ("cat <<E\n-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----\nE", "MIIabc"),
    "a run of high entropy": ("x aGVsbG8gd29ybGQgdGhpcyBpcyAxMjM0NTY3ODkw", "aGVsbG8gd29ybGQ"),
    "a flag": ("mysql --password=hunter2 -e x", "hunter2"),
}


@pytest.mark.parametrize(("command", "secret"), MASKED.values(), ids=MASKED)
def test_what_looks_like_a_secret_is_masked(command, secret):
    shown = payload.text(ToolCall("claude-code", "s", "Bash", {"command": command}, "/x"))
    assert secret not in shown
    assert "[masked]" in shown


def test_another_tool_is_shown_with_its_input_and_a_long_call_is_cut_short():
    assert payload.text(ToolCall("claude-code", "s", "Write", {"file_path": "a"}, "/x")) == 'Write {\n  "file_path": "a"\n}'
    long = payload.text(ToolCall("claude-code", "s", "Bash", {"command": "ls " + "a/" * 20_000}, "/x"))
    assert len(long) == payload.LONGEST
    assert long.endswith(payload.CUT)
