"""Variables that later programs obey: one row per kind of value, beside a value of the same kind that says nothing."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess


def facts(command: str):
    return derive(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), DictPlace())


def traits(command: str) -> set[str]:
    return {trait for fact in facts(command) for trait in fact.traits if trait.endswith("_environment")}


TRAITS: dict[str, tuple[str, set[str]]] = {
    "a library loaded first": ("LD_PRELOAD=/tmp/x.so ls", {"loader_environment"}),
    "none": ("LD_PRELOAD= ls", set()),
    "programs from a temporary folder": ("PATH=/tmp/bin:$PATH ls", {"path_environment"}),
    "from that folder itself": ("PATH=/tmp:$PATH ls", {"path_environment"}),
    "from the project": ("PATH=/project/bin:$PATH ls", {"path_environment"}),
    "from its root": ("PATH=/project:$PATH ls", {"path_environment"}),
    "from anywhere": ("PATH=/data/bin:$PATH ls", {"path_environment"}),
    "from an environment of the project": ("PATH=/project/.venv/bin:$PATH ls", set()),
    "from the system": ("PATH=/usr/local/bin:$PATH ls", set()),
    "from home": ("PATH=~/.local/bin:$PATH ls", set()),
    "modules from a temporary folder": ("PYTHONPATH=/tmp/x python -V", {"loader_environment"}),
    "from the temporary folder itself": ("PYTHONPATH=/tmp python -V", {"loader_environment"}),
    "from outside": ("PYTHONPATH=/data/x python -V", {"loader_environment"}),
    "from everywhere": ("PYTHONPATH=/ python -V", {"loader_environment"}),
    "of the project": ("PYTHONPATH=src python -V", set()),
    "no folder between": ("PYTHONPATH=src: python -V", set()),
    "a compiler in a temporary folder": ("CC=/tmp/cc make -n", {"loader_environment"}),
    "of the project's own": ("CC=./cc make -n", {"loader_environment"}),
    "in a place that only the run will know": ("CC=~$x/cc make -n", set()),
    "a compiler": ("CC=clang make -n", set()),
    "a compiler by its path": ("CC=/usr/bin/clang make -n", set()),
    "an editor that anybody put there": ("GIT_EDITOR=/tmp/ed git status", {"loader_environment"}),
    "a pager": ("PAGER=less git log", set()),
    "no variable that matters": ("FOO=/tmp/x ls", set()),
}  # fmt: skip


@pytest.mark.parametrize(("command", "found"), TRAITS.values(), ids=TRAITS.keys())
def test_what_a_variable_does_to_later_programs(command: str, found: set[str]) -> None:
    assert traits(command) == found


GATES = {
    "a pager that is a command": ("PAGER='rm -rf /etc' git log", "hold"),
    "an editor that is one": ("GIT_EDITOR='rm -rf' git commit", "hold"),
    "a connection through one": ("GIT_SSH_COMMAND='rm -rf /etc; ssh' git fetch", "hold"),
    "a connection with an option": ("GIT_SSH_COMMAND='ssh -i ~/.ssh/key' git fetch", "pass"),
    "a compiler that is more than a word": ("CC='cc; rm -rf /etc' make -n", "hold"),
    "a compiler with options": ("CC='gcc -m32' make -n", "pass"),
    "a compiler that starts a shell": ("CC='sh -c \"rm -rf /etc\"' make -n", "hold"),
    "a prompt that starts a command": ("PROMPT_COMMAND='rm -rf /etc' bash -c ls", "hold"),
    "options that load a file": ("NODE_OPTIONS='--require /tmp/x.js' node -v", "hold"),
    "options that load nothing": ("NODE_OPTIONS=--max-old-space-size=4096 node -v", "pass"),
}


@pytest.mark.parametrize(("command", "expected"), GATES.values(), ids=GATES.keys())
def test_what_a_variable_starts(command: str, expected: str) -> None:
    assert gate(assess(facts(command)), "on") == expected
