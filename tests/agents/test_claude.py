"""Claude Code's events and answers: what is read, what is refused, and the exact bytes of a reply."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core import canon
from ony_core.agents import claude, speaking
from ony_core.agents.event import Notice
from ony_core.errors import Malformed
from ony_core.model import Decision, ToolCall

EVENT = {
    "session_id": "f6c5", "transcript_path": "/t.jsonl", "cwd": "/proj", "prompt_id": "c57b", "permission_mode": "default",
    "effort": {"level": "high"}, "hook_event_name": "PreToolUse", "tool_name": "Bash",
    "tool_input": {"command": "echo hi", "timeout": 5000, "description": "say hi"}, "tool_use_id": "toolu_1",
}  # fmt: skip


def event(**changes: object) -> bytes:
    return json.dumps({name: value for name, value in (EVENT | changes).items() if value is not ...}).encode()


def test_a_tool_call_is_read_whole():
    call = claude.read(event(agent_id="a4b9"))
    assert call == ToolCall("claude-code", "f6c5", "Bash", EVENT["tool_input"], "/proj", "default", "toolu_1", "a4b9")


def test_unknown_fields_beside_the_ones_we_need_are_no_reason_to_refuse():
    assert isinstance(claude.read(event(mcp_server={"name": "x", "source": "dynamic"}, future=[1])), ToolCall)


REFUSED = {
    "no name of the event": event(hook_event_name=...),
    "an event nobody knows": event(hook_event_name="PreToolUse2"),
    "an event in another spelling": event(hook_event_name="pretooluse"),
    "no session": event(session_id=...),
    "an empty session": event(session_id=""),
    "a session that is a number": event(session_id=7),
    "a session with a zero byte": event(session_id="a\0b"),
    "an endless session": event(session_id="x" * 5000),
    "no tool": event(tool_name=...),
    "a tool that is a list": event(tool_name=["Bash"]),
    "no input": event(tool_input=...),
    "an input that is text": event(tool_input="rm"),
    "an input that is a list": event(tool_input=[]),
    "an input that is null": event(tool_input=None),
    "no folder": event(cwd=...),
    "a folder that is relative": event(cwd="proj"),
    "a list": b"[]",
    "nothing": b"",
    "half of it": event()[:-5],
    "two of them": event() * 2,
    "not UTF-8": b'{"a": "\xff"}',
    "a byte order mark": b"\xef\xbb\xbf" + event(),
    "a repeated key": event()[:-1] + b', "tool_name": "Read"}',
    "a repeated key inside the input": b'{"hook_event_name":"PreToolUse","session_id":"a","cwd":"/","tool_name":"Bash",'
    b'"tool_input":{"command":"ls","command":"rm -rf /"}}',
    "not a number": event().replace(b"5000", b"NaN"),
    "a lone surrogate": event().replace(b"echo hi", b"\\ud800"),
    "65 levels": event(tool_input=json.loads('{"a":' * 65 + "1" + "}" * 65)),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_for_sure_is_refused(data):
    with pytest.raises(Malformed):
        claude.read(data)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_parse_or_be_refused(data):
    with contextlib.suppress(Malformed):
        assert isinstance(claude.read(data), ToolCall | Notice)


def test_a_pass_is_no_opinion_and_never_an_allow():
    assert claude.reply(Decision("pass", "ignored"), claude.read(event())).out == b"{}"


def test_an_allow_repeats_the_approved_input_number_by_number():
    data = b'{"hook_event_name":"PreToolUse","session_id":"a","cwd":"/","tool_name":"mcp__x__y",'
    data += b'"tool_input":{"n":1.0,"m":1e3,"z":-0,"big":123456789012345678901234567890,"u":"\\u00e9\xc3\xa9 \\"","deep":[{"k":null}]}}'
    reply = claude.reply(Decision("allow", "because"), claude.read(data))
    said = json.loads(reply.out)["hookSpecificOutput"]
    assert (reply.code, reply.err) == (0, b"")
    assert (said["hookEventName"], said["permissionDecision"], said["permissionDecisionReason"]) == ("PreToolUse", "allow", "because")
    assert canon.dumps(canon.loads(reply.out)["hookSpecificOutput"]["updatedInput"]) == canon.dumps(canon.loads(data)["tool_input"])
    assert b'"m":1e3' in reply.out and b'"n":1.0' in reply.out and b'"z":-0' in reply.out


@given(st.dictionaries(st.text(max_size=8), st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                                                         lambda inner: st.lists(inner, max_size=3), max_leaves=6), max_size=4))  # fmt: skip
def test_any_approved_input_comes_back_as_the_same_json(given_input):
    try:
        call = claude.read(event(tool_input=given_input))
    except Malformed:
        return
    said = json.loads(claude.reply(Decision("allow", "r"), call).out)
    assert said["hookSpecificOutput"]["updatedInput"] == json.loads(json.dumps(given_input))


def test_asking_leaves_it_to_the_agents_own_prompt_and_changes_nothing():
    said = json.loads(claude.reply(Decision("ask", "why"), claude.read(event())).out)["hookSpecificOutput"]
    assert said == {"hookEventName": "PreToolUse", "permissionDecision": "ask", "permissionDecisionReason": "why"}


@pytest.mark.parametrize("outcome", ["deny", "", "Allow", "Ask", "maybe"])
def test_whatever_is_not_allow_pass_or_ask_is_a_deny(outcome):
    said = json.loads(claude.reply(Decision(outcome, "no"), claude.read(event())).out)["hookSpecificOutput"]
    assert said == {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": "no"}


def test_an_unreadable_event_is_answered_with_a_deny_in_the_agents_own_words():
    reply = claude.refuse("why")
    assert reply.code == 0
    assert json.loads(reply.out)["hookSpecificOutput"]["permissionDecision"] == "deny"


@pytest.mark.parametrize("name", ["PostToolUse", "SessionStart", "Stop", "UserPromptSubmit"])
def test_events_that_ask_for_no_decision_get_no_opinion(name):
    notice = claude.read(event(hook_event_name=name))
    assert isinstance(notice, Notice) and not claude.changes_settings(notice)
    assert claude.answer(notice, "").out == b"{}"


def test_a_harmful_change_of_settings_is_vetoed_and_a_harmless_one_is_not():
    notice = claude.read(event(hook_event_name="ConfigChange", source="project_settings", file_path="/p/.claude/settings.json"))
    assert claude.changes_settings(notice)
    assert (notice.source, notice.path) == ("project_settings", "/p/.claude/settings.json")
    assert json.loads(claude.answer(notice, "it hurts").out) == {
        "decision": "block",
        "reason": "Ony: it hurts, so this change does not take effect",
    }
    assert claude.answer(notice, "").out == b"{}"


@pytest.mark.parametrize(
    ("tool", "name"),
    [("Bash", "Bash"), ("mcp__corp-payroll__delete_jane", "mcp:unlisted"), ("JaneSecretTool", "unlisted"), ("", "unlisted")],
)
def test_only_names_of_built_in_tools_leave_the_machine(tool, name):
    assert claude.public_tool(tool) == name


def test_the_module_of_an_agent_is_found_by_the_name_in_its_calls():
    assert speaking("claude-code") is claude
