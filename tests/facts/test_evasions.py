"""Thirteen ways to make a dangerous call look harmless, each beside a twin that looks alike and is harmless.

A row is (held, passes). Either side is a shell command, a (tool, input) pair, or a list of such calls of one session: held means that at
least one of them is held, passes means that none is. The rows speak of one small project, `project()`.
"""

from typing import Any

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import understand
from ony_core.facts.words import Made
from ony_core.model import Assessment, ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess
from tests.facts.evasions import GROUPS

FILES = {
    "/project/Makefile": b"test:\n\tpytest -q\nship: build\n\tterraform apply -auto-approve\nbuild:\n\tpython -m build\n",
    "/project/package.json": b'{"name":"shop","scripts":{"test":"jest","lint":"eslint src","ship":"npm publish","posttest":"echo done"}}',
    "/project/src/app.py": b"print('hello')\n",
    "/project/src/index.js": b"console.log('hello')\n",
    "/project/scripts/check.sh": b"#!/bin/sh\nset -e\npytest -q\ngit status\n",
    "/project/scripts/wipe.sh": b"#!/bin/sh\nset -e\ncd /srv/data && rm -rf ./*\n",
    "/project/sql/report.sql": b"SELECT name, count(*) FROM orders GROUP BY name;\n",
    "/project/sql/reset.sql": b"BEGIN;\nTRUNCATE orders;\nCOMMIT;\n",
    "/project/README.md": b"# Shop\nNever run rm -rf / here.\n",
}
SOURCES = [path for path in FILES if path.startswith("/project/src/")]


def project() -> DictPlace:
    """A web shop: a work branch, a protected default branch, sources under version control, nothing known of any cloud."""
    contexts = {
        "project_root": "/project",
        "home": "/home/dev",
        "git_default_branch": "main",
        "git_branch": "topic",
        "git_remote": "origin",
    }
    return DictPlace(FILES, "/project", contexts, [("branch", "topic")], tracked=SOURCES)


def assessed(case: Any) -> list[Assessment]:
    """What each call of the case means, the later ones in the knowledge of the earlier."""
    earlier: dict[str, Made] = {}
    found = []
    for step in case if isinstance(case, list) else [case]:
        tool, given = ("Bash", {"command": step}) if isinstance(step, str) else step
        understood = understand(ToolCall("claude-code", "s", tool, given, "/project"), project(), earlier)
        earlier = understood.made
        found.append(assess(understood.facts))
    return found


def rows(side: int) -> list[Any]:
    return [pytest.param(pair[side], id=f"{name}-{at}") for name, pairs in GROUPS.items() for at, pair in enumerate(pairs)]


@pytest.mark.parametrize("case", rows(0))
def test_the_disguise_is_held(case: Any) -> None:
    assert "hold" in [gate(found, "on") for found in assessed(case)], case


@pytest.mark.parametrize("case", rows(1))
def test_its_harmless_twin_passes(case: Any) -> None:
    for found in assessed(case):
        assert gate(found, "on") == "pass", (case, found.lead, found.facts)


def test_every_group_has_its_dozen() -> None:
    assert len(GROUPS) == 13
    assert {name: len(pairs) for name, pairs in GROUPS.items() if len(pairs) < 12} == {}
