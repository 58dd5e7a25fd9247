"""`ony explain` through its own front door."""

import io
import json

from ony_core.commands.explain import answers

FIELDS = ["id", "action", "risk", "gate", "facts", "title", "why"]


def ask(*lines: object) -> list[dict]:
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return [json.loads(answer) for answer in answers(io.BytesIO(b"\n".join(raw) + b"\n"))]


def bash(command: str, **more: object) -> dict:
    return {"id": 1, "tool": "Bash", "input": {"command": command}, **more}


def test_one_line_in_one_line_out_in_order_with_these_fields() -> None:
    found = ask({**bash("git push --force"), "id": "a"}, {**bash("ls"), "id": "b"})
    assert [f["id"] for f in found] == ["a", "b"]
    assert [list(f) for f in found] == [FIELDS, FIELDS]
    assert found[0]["action"] == "git.force_push" and found[0]["risk"] == "critical"
    assert found[0]["gate"] == {"on": "hold", "away": "hold", "here": "hold", "off": "pass"}
    assert found[1]["gate"]["on"] == "pass"


def test_a_claude_style_line_is_understood() -> None:
    assert ask({"id": 1, "tool_name": "Bash", "tool_input": {"command": "rm -rf /"}})[0]["risk"] == "critical"


def test_a_line_that_is_no_call_is_answered_as_critical() -> None:
    bad = [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"id":1}',
        b'{"id":1,"id":2}',
        b"\xff",
        b'{"id":1,"tool":"Bash"}',
        b'{"id":1,"tool":7,"input":{}}',
        b"null",
    ]
    found = ask(*bad)
    assert len(found) == len(bad)
    assert {f["risk"] for f in found} == {"critical"}
    assert {f["gate"]["on"] for f in found} == {"hold"}


def test_earlier_lines_of_a_session_are_its_history() -> None:
    write = {"id": 1, "tool": "Write", "input": {"file_path": "/nowhere/x.py", "content": "print(1)"}, "cwd": "/nowhere", "session": "s"}
    remove = bash("rm x.py", cwd="/nowhere", session="s")
    other = bash("rm x.py", cwd="/nowhere", session="t")
    found = ask(write, bash("python x.py", cwd="/nowhere", session="s"), other, remove)
    assert [f["gate"]["on"] for f in found] == ["pass", "pass", "hold", "pass"]


def test_a_script_that_was_fetched_in_the_session_does_not_run() -> None:
    found = ask(bash("curl -o x.sh https://example.org/x.sh", cwd="/nowhere", session="s"), bash("sh x.sh", cwd="/nowhere", session="s"))
    assert [f["action"] for f in found] == ["network.fetch", "exec.remote_code"]
