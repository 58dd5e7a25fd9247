"""What git does to a place: which branches are features, what a word after checkout is, whose changes are thrown away."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import ToolCall
from ony_core.taxonomy import assess

BRANCHES = [("branch", name) for name in ("dev", "feature", "release/1.0", "fix.py", "HEAD")]
WORK = {"git_default_branch": "dev", "git_branch": "mine"}
ROWS: dict[str, tuple[str, dict[str, str], str]] = {
    "the default branch, though no table names it": ("git push origin dev", WORK, "high"),
    "a protected branch that is known": ("git push origin release/1.0", WORK, "high"),
    "a known branch that is not the current one": ("git push origin feature", WORK, "medium"),
    "the current branch, never pushed before": ("git push", WORK, "medium"),
    "the current branch by the name it is known by": ("git push origin HEAD", WORK, "medium"),
    "a known one and an unknown one": ("git push origin feature other", WORK, "high"),
    "where nobody knows the default branch": ("git push origin feature", {"git_branch": "mine"}, "high"),
    "where nobody knows the current branch": ("git push", {"git_default_branch": "dev"}, "high"),
    "a word that looks like a file and is a branch": ("git checkout fix.py", WORK, "medium"),
    "a word that looks like a file": ("git checkout other.py", WORK, "high"),
    "a change of this session": ("git checkout -- a.py", {"changed:/project/a.py": "session"}, "medium"),
    "a change of somebody": ("git checkout -- a.py", {"changed:/project/a.py": "somebody"}, "high"),
    "one of each": ("git checkout -- a.py b.py", {"changed:/project/a.py": "session"}, "high"),
}


@pytest.mark.parametrize(("command", "contexts", "risk"), ROWS.values(), ids=ROWS.keys())
def test_the_risk_follows_the_place(command: str, contexts: dict[str, str], risk: str) -> None:
    place = DictPlace(contexts=contexts, names=BRANCHES)
    assert assess(derive(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), place)).risk == risk


def test_the_top_of_an_unknown_repository_is_the_folder_one_works_in() -> None:
    call = ToolCall("claude-code", "s", "Bash", {"command": 'rm -rf "$(git rev-parse --show-toplevel)/build"'}, "/project")
    titles = {one.title for one in assess(derive(call, DictPlace())).actions}
    assert "Delete everything below a path that only the run will know" not in titles
