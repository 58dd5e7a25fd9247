"""Each tool of an agent, by what it does."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess

PASS = [
    ("Edit", {"file_path": "/project/src/a.py", "old_string": "a", "new_string": "b"}),
    ("Write", {"file_path": "/project/new.py", "content": "x"}),
    ("NotebookEdit", {"notebook_path": "/project/a.ipynb", "new_source": "x"}),
    ("Read", {"file_path": "/project/a.py"}),
    ("Read", {"file_path": "/project/.env.example"}),
    ("Grep", {"pattern": "secret", "path": "/project"}),
    ("Glob", {"pattern": "**/*.py"}),
    ("WebFetch", {"url": "https://example.org/docs", "prompt": "x"}),
    ("WebSearch", {"query": "rm -rf"}),
    ("Agent", {"description": "x", "prompt": "rm -rf /"}),
    ("Skill", {"skill": "x"}),
    ("TaskCreate", {"subject": "x"}),
    ("ToolSearch", {"query": "x"}),
    ("webfetch", {"url": "https://example.org/docs"}),
    ("run_terminal_cmd", {"command": "git status"}),
    ("str_replace_based_edit_tool", {"command": "str_replace", "path": "/project/a.py", "old_str": "a", "new_str": "b"}),
    ("CronCreate", {"cron": "* * * * *", "prompt": "x"}),
    ("mcp__github__get_issue", {"number": 1}),
    ("mcp__unheard_of__list_things", {}),
    ("Bash", {"command": "ony status"}),
    ("Bash", {"command": "git status"}),
    ("shell", {"command": ["ls", "-la"]}),
]
HOLD = [
    ("Write", {"file_path": "/project/.claude/settings.json", "content": "{}"}, "ony.agent_settings"),
    ("Edit", {"file_path": "/home/u/.claude/settings.json", "old_string": "a", "new_string": "b"}, "ony.agent_settings"),
    ("Write", {"file_path": "/etc/claude-code/managed-settings.json", "content": ""}, "ony.agent_settings"),
    ("Write", {"file_path": "/home/u/.ony/connector.json", "content": ""}, "ony.files"),
    ("Write", {"file_path": "/project/.git/hooks/pre-commit", "content": "x"}, "git.config_exec"),
    ("Write", {"file_path": "/home/u/.bashrc", "content": "x"}, "persist.startup"),
    ("Read", {"file_path": "/project/.env"}, "secret.read"),
    ("Read", {"file_path": "/home/u/.ssh/id_ed25519"}, "secret.read"),
    ("Grep", {"pattern": "x", "path": "/home/u/.aws/credentials"}, "secret.read"),
    ("Glob", {"pattern": ".env", "path": "/project"}, "secret.read"),
    ("WebFetch", {"url": "http://169.254.169.254/latest/meta-data"}, "secret.read"),
    ("WebFetch", {"url": "https://example.org/?k=ghp_abcdefghijkl1234567890"}, "exfil.network"),
    ("mcp__github__delete_repository", {"name": "x"}, "mcp.delete"),
    ("mcp__unheard_of__frobnicate", {}, "mcp.unlisted"),
    ("mcp__x__get_file", {"path": "/home/u/.ssh/id_rsa"}, "secret.read"),
    ("write_stdin", {"chars": "ls"}, "grant"),
    ("NoSuchTool", {}, "unknown"),
    ("run_terminal_cmd", {"command": "git push --force"}, "git.force_push"),
    ("str_replace_based_edit_tool", {"command": "create", "path": "/home/u/.bashrc", "file_text": "x"}, "persist.startup"),
    ("read_many_files", {"paths": ["a.py", ".env"]}, "secret.read"),
    ("web_fetch", {"prompt": "look at http://169.254.169.254/latest"}, "secret.read"),
    ("Bash", {"command": 7}, "opaque"),
    ("Bash", {"command": "ony mode off"}, "ony.change"),
    ("Bash", {"command": "ony uninstall claude"}, "ony.change"),
    ("Bash", {"command": "claude --dangerously-skip-permissions -p x"}, "ony.other_agent"),
    ("apply_patch", {"input": "*** Begin Patch\n*** Delete File: /etc/passwd\n*** End Patch"}, "file.delete_recursive"),
    ("shell", {"command": ["bash", "-lc", "terraform apply"]}, "deploy.production"),
]


def assessed(tool: str, given: dict):
    return assess(derive(ToolCall("claude-code", "s", tool, given, "/project"), DictPlace()))


@pytest.mark.parametrize(("tool", "given"), PASS, ids=lambda x: str(x)[:50])
def test_an_ordinary_call_passes(tool: str, given: dict) -> None:
    assert gate(assessed(tool, given), "on") == "pass", assessed(tool, given)


@pytest.mark.parametrize(("tool", "given", "key"), HOLD, ids=lambda x: str(x)[:50])
def test_a_call_that_reaches_further_is_held_under_its_key(tool: str, given: dict, key: str) -> None:
    found = assessed(tool, given)
    assert gate(found, "on") == "hold"
    assert key in found.keys, found


@pytest.mark.parametrize(("tool", "given", "key"), [row for row in HOLD if row[2].startswith("ony.")], ids=lambda x: str(x)[:50])
def test_the_gates_own_settings_hold_even_when_it_is_off(tool: str, given: dict, key: str) -> None:
    found = assessed(tool, given)
    assert found.risk == "critical"
    assert gate(found, "off") == "hold"


@pytest.mark.parametrize(("count", "decision"), [(200, "pass"), (201, "hold")])
def test_more_files_than_anybody_looks_at_are_not_waved_through(count: int, decision: str) -> None:
    assert gate(assessed("read_many_files", {"paths": [f"src/{n}.py" for n in range(count)]}), "on") == decision


@pytest.mark.parametrize(("count", "decision"), [(20, "pass"), (21, "hold")])
def test_more_addresses_than_anybody_looks_at_are_not_waved_through(count: int, decision: str) -> None:
    assert gate(assessed("fetch_webpage", {"urls": [f"https://a{n}.example.org" for n in range(count)]}), "on") == decision
