"""What each tool of an agent does, fact by fact: one row per tool and key that an agent may give it.

A fact is its kind, program, verb and traits. The rows that hold are in test_tools.py.
"""

from typing import Any

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import Understanding, understand
from ony_core.model import ToolCall

FILES = {
    "/project/a.txt": b"one two one",
    "/project/.claude/skills/good/SKILL.md": b"Run !`ls`",
    "/project/.claude/skills/bad/SKILL.md": b"Run !`rm -rf /etc`",
    "/project/.claude/commands/cmd.md": b"x\n```!\nrm -rf /etc\n```\n",
    "~/.claude/skills/home/SKILL.md": b"!`rm -rf /etc`",
    "/project/run.sh": b"echo hi",
}


def understood(tool: str, given: dict[str, Any]) -> Understanding:
    return understand(ToolCall("claude-code", "s", tool, given, "/project"), DictPlace(FILES, "/project"))


ROWS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("Bash", {"command": "ls"}, ["command ls"]),
    ("Bash", {"cmd": "ls"}, ["command ls"]),
    ("Bash", {"commands": "ls"}, ["command ls"]),
    ("local_shell", {"action": {"command": ["ls"]}}, ["command ls"]),
    ("shell", {"command": ["rm", "a b"], "workdir": "/etc"}, ["command rm", "file delete system"]),
    ("shell", {"command": ["rm", "x"], "cwd": "/etc"}, ["command rm", "file delete system"]),
    ("shell", {"command": ["rm", 1]}, ["opaque unparsed"]),
    ("Bash", {"command": "ls\u0000"}, ["opaque unparsed"]),
    ("Bash", {}, ["opaque unparsed"]),
    ("Write", {"content": "x"}, ["opaque unparsed"]),
    ("Write", {"file_path": "/project/n.txt", "content": "x"}, ["file write project"]),
    ("Write", {"file_path": "/project/n.txt"}, ["file write modify,project"]),
    ("Edit", {"file_path": "/project/a.txt", "old_string": "one", "new_string": "1"}, ["file write modify,project"]),
    ("Edit", {"file_path": "/project/a.txt", "old_string": "one", "new_string": "1", "replace_all": True}, ["file write modify,project"]),
    ("Edit", {"file_path": "/project/a.txt", "old_string": "", "new_string": "1"}, ["file write modify,project"]),
    ("MultiEdit", {"file_path": "/project/a.txt",
     "edits": [{"old_string": "one", "new_string": "1"}, {"old_string": "two", "new_string": "2"}]},
     ["file write modify,project"]),
    ("MultiEdit", {"file_path": "/project/a.txt", "edits": [3]}, ["file write modify,project"]),
    ("delete_file", {"target_file": "/project/a.txt"}, ["file delete project"]),
    ("delete_file", {}, ["opaque unparsed"]),
    ("str_replace_based_edit_tool", {"command": "view", "path": "/project/.env"}, ["agent Read", "file read project,secret"]),
    ("str_replace_based_edit_tool", {"command": "create", "path": "/project/.env", "file_text": "x"}, ["file write project,secret"]),
    ("apply_patch", {"input": "*** Begin Patch\n*** Delete File: /etc/x\n*** End Patch"}, ["file delete system"]),
    ("apply_patch", {"patchText": "*** Begin Patch\n*** Delete File: /etc/x\n*** End Patch"}, ["file delete system"]),
    ("apply_patch", {"patch": "*** Begin Patch\n*** Delete File: /etc/x\n*** End Patch"}, ["file delete system"]),
    ("apply_patch", {"command": "*** Begin Patch\n*** Delete File: /etc/x\n*** End Patch"}, ["file delete system"]),
    ("apply_patch", {}, ["opaque unparsed"]),
    ("Read", {"file_path": "/project/.env"}, ["agent Read", "file read project,secret"]),
    ("Read", {"paths": ["/project/.env"]}, ["agent Read", "file read project,secret"]),
    ("Read", {"file_paths": ["/project/.env"]}, ["agent Read", "file read project,secret"]),
    ("Read", {"path": ["/project/.env"]}, ["agent Read", "file read project,secret"]),
    ("Grep", {"pattern": "x", "path": "/home/u"}, ["agent Grep"]),
    ("Grep", {"pattern": "x", "path": "/project/.env", "output_mode": "files_with_matches"}, ["agent Grep", "file read project,secret"]),
    ("Grep", {"pattern": "x", "path": "/project", "glob": ".env"}, ["agent Grep", "file read project,secret"]),
    ("Glob", {"pattern": "~/.ssh/*", "path": "/project"}, ["agent Glob", "file read home,secret"]),
    ("Glob", {"pattern": "/home/u/.ssh/*"}, ["agent Glob", "file read home,secret"]),
    ("Glob", {"pattern": "id_rsa", "path": "/project/"}, ["agent Glob", "file read project,secret"]),
    ("WebFetch", {"url": "https://a.org/x"}, ["network WebFetch reads"]),
    ("WebFetch", {"url": "file:///etc/shadow"}, ["file read secret,system", "network WebFetch reads local_file"]),
    ("WebFetch", {"url": "https://a.org/?k=ghp_abcdefghijkl1234567890"}, ["network WebFetch sends secret"]),
    ("WebFetch", {"prompt": "see https://a.org/x and http://b.org"}, ["network WebFetch reads"]),
    ("WebFetch", {}, ["opaque unparsed"]),
    ("WebFetch", {"url": ""}, ["opaque unparsed"]),
    ("WebSearch", {"query": "x"}, ["agent WebSearch"]),
    ("WebSearch", {"query": "ghp_abcdefghijkl1234567890"}, ["agent WebSearch", "network WebFetch sends secret"]),
    ("write_stdin", {"chars": ""}, ["agent LookAtOutput"]),
    ("write_stdin", {"chars": "\u0003"}, ["agent LookAtOutput"]),
    ("write_stdin", {"chars": "ls\n"}, ["agent write_stdin"]),
    ("write_stdin", {}, ["agent write_stdin"]),
    ("computer", {"action": "screenshot"}, ["agent LookAtScreen"]),
    ("computer", {"action": "key"}, ["agent computer"]),
    ("CronCreate", {"prompt": "x"}, ["agent CronCreate"]),
    ("CronCreate", {"prompt": "/ony off"}, ["agent CronCreate", "command ony unlisted"]),
    ("CronCreate", {"prompt": "see a/ony"}, ["agent CronCreate"]),
    ("Skill", {"skill": "good"}, ["agent Skill", "command ls"]),
    ("Skill", {"skill": "bad"}, ["agent Skill", "command rm", "file delete recursive,system"]),
    ("Skill", {"skill": "plugin:bad x"}, ["agent Skill", "command rm", "file delete recursive,system"]),
    ("Skill", {"command": "/cmd"}, ["agent Skill", "command rm", "file delete recursive,system"]),
    ("Skill", {"name": "home"}, ["agent Skill", "command rm", "file delete recursive,system"]),
    ("Skill", {"skill": ""}, ["agent Skill"]),
    ("Skill", {"skill": "../bad"}, ["agent Skill"]),
    ("NoSuch", {}, ["agent unlisted"]),
    ("Agent", {"prompt": "x"}, ["agent Agent"]),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "given", "facts"), ROWS, ids=lambda x: str(x)[:60])
def test_the_facts_of_a_tool(tool: str, given: dict[str, Any], facts: list[str]) -> None:
    found = understood(tool, given).facts
    said = [" ".join(part for part in (f.kind, f.program, "/".join(f.verb), ",".join(f.traits)) if part) for f in found]
    assert said == facts


def test_more_than_is_looked_at_is_not_read_unseen() -> None:
    many = [f"/project/{n}.py" for n in range(200)]
    assert "opaque" not in {fact.kind for fact in understood("Read", {"paths": many}).facts}
    assert "opaque" in {fact.kind for fact in understood("Read", {"paths": [*many, "/project/.env"]}).facts}
    urls = [f"https://a{n}.org/" for n in range(20)]
    assert "opaque" not in {fact.kind for fact in understood("WebFetch", {"prompt": " ".join(urls)}).facts}
    assert "opaque" in {fact.kind for fact in understood("WebFetch", {"prompt": " ".join([*urls, "https://b.org/"])}).facts}


EDITS = {
    "the first": ({"old_string": "one", "new_string": "1"}, "1 two one"),
    "all": ({"old_string": "one", "new_string": "1", "replace_all": True}, "1 two 1"),
    "nothing to look for": ({"old_string": "", "new_string": "1"}, None),
    "several": ({"edits": [{"old_string": "one", "new_string": "1"}, {"old_string": "two", "new_string": "2"}]}, "1 2 one"),
    "one that is none": ({"edits": [3]}, None),
    "no new text": ({"old_string": "one"}, None),
}


@pytest.mark.parametrize(("given", "text"), EDITS.values(), ids=EDITS.keys())
def test_what_an_edit_leaves(given: dict[str, Any], text: str | None) -> None:
    assert understood("Edit", {"file_path": "/project/a.txt", **given}).made["/project/a.txt"].text == text


def test_what_a_write_leaves() -> None:
    assert understood("Write", {"file_path": "/project/n.txt", "content": "x"}).made["/project/n.txt"].text == "x"
    assert understood("Write", {"file_path": "/project/n.txt"}).made["/project/n.txt"].text is None
