"""What is broken, cut or no text at all is answered: critical or refused, never a fault."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core.agents import claude
from ony_core.errors import Malformed
from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess
from tests.facts.command_lines import Writer
from tests.facts.test_fuzz import bash, facts_of

BROKEN = [
    "if",
    "if true; then rm",
    "for x in",
    "case x in",
    "a | | b",
    "a && && b",
    "(a",
    "a)",
    "{ a",
    "'a",
    '"a',
    "`a",
    "$(a",
    "${a",
    "cat <(a",
    "[[ a",
    ";;",
    "a ;; b",
    "f() {",
    "while",
    "do a",
    "then a",
    "<<",
    "a >",
    "a <<<",
    "((1",
    "}",
    "&&",
    "|| a",
    "a &&& b",
    "function",
    "select",
    "coproc {",
]


@pytest.mark.parametrize("line", BROKEN)
def test_what_no_shell_could_read_is_critical(line: str) -> None:
    assert bash(line).risk == "critical"


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_end_does_not_hide_its_beginning(line: str) -> None:
    assert gate(bash("rm -rf /srv\n" + line), "on") == "hold"


@given(data=st.binary(max_size=400))
def test_random_bytes_are_answered(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for tool, field in (("Bash", "command"), ("Write", "file_path"), ("WebFetch", "url"), ("apply_patch", "input"), (text, text)):
        found = facts_of(tool, {field: text})
        assert not any("fault" in fact.traits for fact in found), (tool, text)


@given(data=st.binary(max_size=300), seed=st.integers(0, 10_000))
def test_a_damaged_event_is_read_or_refused(data: bytes, seed: int) -> None:
    event = {
        "hook_event_name": "PreToolUse",
        "session_id": "s",
        "tool_name": "Bash",
        "tool_input": {"command": Writer(seed).line()},
        "cwd": "/project",
    }
    raw = bytearray(json.dumps(event).encode())
    at = random.Random(seed).randrange(len(raw))
    for damaged in (bytes(raw[:at]) + data + bytes(raw[at:]), bytes(raw[:at]), data):
        try:
            call = claude.read(damaged)
        except Malformed:
            continue
        if isinstance(call, ToolCall):
            assert assess(derive(call, DictPlace())).actions


SURROGATES = ['"\\ud800"', '"rm \\udcff -rf /srv"', '"\\ud83d"', '"a\\udc00b"', '"\\ud800\\ud800"', '"rm -rf /srv # \\udfff"']


@pytest.mark.parametrize("text", SURROGATES)
@pytest.mark.parametrize("field", ["command", "file_path", "\\ud800"])
def test_half_a_character_is_refused_or_critical(text: str, field: str) -> None:
    tool = "Bash" if field == "command" else "Write"
    raw = f'{{"hook_event_name":"PreToolUse","session_id":"s","tool_name":"{tool}","tool_input":{{"{field}":{text}}},"cwd":"/project"}}'
    try:
        call = claude.read(raw.encode())
    except Malformed:
        return
    assert isinstance(call, ToolCall)
    assert gate(assess(derive(call, DictPlace())), "on") == "hold"


@given(seed=st.integers(0, 1_000_000), cut=st.integers(0, 200), junk=st.text("$(){}[]|&;<>'\"\\`\n #!*?=~-", max_size=6))
def test_a_line_damaged_anywhere_is_no_fault(seed: int, cut: int, junk: str) -> None:
    line = Writer(seed).line()
    for damaged in (line[:cut] + junk + line[cut:], line[:cut], line[cut:], line[:cut] + line[cut + 1 :]):
        found = bash(damaged)
        assert found.actions and not any("fault" in fact.traits for fact in found.facts), damaged
