"""Whatever a call holds, its facts, title and reason hold none of it."""

import json
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import Assessment, ToolCall
from ony_core.taxonomy import assess

ALPHABET = string.ascii_letters + string.digits
planted = st.text(ALPHABET, min_size=12, max_size=40).filter(lambda t: not t.isalpha())
# ruff: noqa: E501
COMMANDS = [
    "{0}", "{0} --version", "git push origin {0}", "git checkout {0}", "rm -rf {0}", "echo {0} > {0}.txt", "curl https://{0}.example/{0}?x={0}",
    "curl -H 'Authorization: Bearer {0}' https://api.example.com", "terraform workspace select {0}", "kubectl --context {0} -n {0} delete pod {0}",
    "psql -c 'DROP TABLE {0}'", "aws {0} {0}-{0}", "npm install {0}", "make {0}", "ssh {0}@{0}.example ls", "docker run {0}", "export {0}={0}",
    "PASSWORD={0} ./x", "python3 -c 'import {0}; {0}.{0}()'", "bash -c '{0}'", "cat <<E | sh\n{0}\nE", "{0}() {{ rm -rf /; }}; {0}", "git commit -m {0}",
    "helm upgrade {0} {0}", "redis-cli {0} {0}", "{0}/{0}/{0}", "git --{0} -{0} push --{0}={0}", "ls {0} | {0}",
]  # fmt: skip


def said(found: Assessment) -> str:
    return json.dumps([[repr(f) for f in found.facts], [[a.title, a.why, a.key, a.rule] for a in found.actions]])


def assessed(tool: str, given_input: dict) -> Assessment:
    return assess(derive(ToolCall("claude-code", "s", tool, given_input, "/project"), DictPlace()))


@pytest.mark.parametrize("template", COMMANDS)
@given(text=planted)
def test_a_planted_text_in_a_command_stays_here(template: str, text: str) -> None:
    assert text not in said(assessed("Bash", {"command": template.format(text), "description": text}))


@pytest.mark.parametrize(
    "tool", ["Write", "Edit", "Read", "Grep", "Glob", "WebFetch", "WebSearch", "Agent", "mcp__srv__get_x", "NotebookEdit", "apply_patch"]
)
@given(text=planted)
def test_a_planted_text_in_a_tools_input_stays_here(tool: str, text: str) -> None:
    names = ("file_path", "path", "content", "url", "query", "prompt", "pattern", "notebook_path", "input", "old_string", "glob")
    found = assessed(tool, {name: f"https://{text}.example/{text}" if name == "url" else text for name in names})
    assert text not in said(found)


@given(text=planted)
def test_tool_and_server_names_nobody_knows_stay_here(text: str) -> None:
    assert text not in said(assessed(f"mcp__{text}__{text}", {text: text}))
    assert text not in said(assessed(text, {text: text}))


SECRETS = [
    "ghp_" + "a1B2" * 9,
    "AKIA" + "ABCD1234" * 2,
    "sk-" + "x9Y8" * 8,
    "eyJhbGciOiJIUzI1NiJ9.e30.abc",
    "xoxb-1234-abcdef",
    "hvs.CAESIJ",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_name_that_looks_like_a_secret_is_not_a_target_even_if_known(secret: str) -> None:
    place = DictPlace(names=[("branch", secret)], contexts={"git_default_branch": "main"})
    found = assess(derive(ToolCall("", "", "Bash", {"command": f"git push origin {secret}"}, "/project"), place))
    assert secret not in said(found)


def test_a_known_branch_is_a_target() -> None:
    place = DictPlace(names=[("branch", "main")])
    assert "main" in said(assess(derive(ToolCall("", "", "Bash", {"command": "git push origin main"}, "/project"), place)))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3)
)
tools = st.sampled_from(["Bash", "Write", "Edit", "Read", "Glob", "WebFetch", "mcp__a__b", "apply_patch", "shell", ""]) | st.text()
shell = st.text("abrmf -/~$(){}[]|&;<>'\"\\\n=*?!#`:.0EOF", max_size=60)


@given(
    tool=tools,
    given_input=st.dictionaries(st.sampled_from(["command", "file_path", "url", "content", "pattern"]), anything | shell, max_size=4),
)
@example(tool="Bash", given_input={"command": "\ud800"})
@example(tool="Bash", given_input={"command": ["rm", "-rf", "/"]})
@example(tool="Bash", given_input={})
def test_derive_never_raises(tool, given_input) -> None:
    assert isinstance(assessed(tool, given_input), Assessment)


@given(command=shell)
def test_every_text_is_understood_or_critical_but_never_a_fault(command: str) -> None:
    found = derive(ToolCall("", "", "Bash", {"command": command}, "/project"), DictPlace())
    assert not any("fault" in fact.traits for fact in found), command
