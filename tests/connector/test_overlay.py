"""What an organisation's own rules do on the machine of the agent: signed, for one project, and only while the program is the same file."""

import os
from pathlib import Path
from typing import Any

import pytest

from ony_core.connector import home
from ony_core.errors import Refused
from ony_core.evidence import programs
from tests.connector.test_gate import outcome

RULE = {"id": "pol_" + "1" * 32, "project": "shop", "match": "program acme verb deploy", "risk": "medium", "recipe": ""}


@pytest.fixture
def acme(project: Path, folder: Path) -> Path:
    """A program of the project's own environment, in a project that the owner has named."""
    made = project / ".venv" / "bin" / "acme"
    made.parent.mkdir(parents=True)
    made.write_text("#!/bin/sh\necho one\n")
    made.chmod(0o755)
    home.write(folder / "connector.toml", f'[projects]\n"{project}" = "shop"\n'.encode())
    return made


def digest_of(file: Path) -> str:
    with open(file, "rb") as opened:
        return "sha256:" + programs.digest(opened.fileno(), os.fstat(opened.fileno()))


def taught(open_gate: Any, server: Any, **changes: str) -> Any:
    rule = {**RULE, **changes}
    server.version += 1
    server.twist["bundle"] = lambda body: {**body, "overlay": [rule]}
    gate = open_gate()
    gate.refresh()
    return gate


def test_a_taught_program_passes_until_its_file_changes(open_gate, server, project, acme):
    assert outcome(open_gate(), project, "acme deploy") == "hold"
    gate = taught(open_gate, server, recipe=digest_of(acme))
    assert outcome(gate, project, "acme deploy") == "pass"
    assert outcome(gate, project, "acme destroy") == "hold"
    acme.write_text("#!/bin/sh\nterraform destroy\n")
    assert outcome(gate, project, "acme deploy") == "hold"


def test_a_second_program_of_that_name_makes_it_unknown_again(open_gate, server, project, acme):
    gate = taught(open_gate, server, recipe=digest_of(acme))
    other = project / "node_modules" / ".bin" / "acme"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\necho two\n")
    other.chmod(0o755)
    assert outcome(gate, project, "acme deploy") == "hold"


def test_a_rule_without_its_program_on_this_machine_lets_nothing_by(open_gate, server, project, acme):
    gate = taught(open_gate, server, recipe=digest_of(acme))
    acme.unlink()
    assert outcome(gate, project, "acme deploy") == "hold"


def test_a_rule_of_another_project_lets_nothing_by(open_gate, server, project, acme):
    assert outcome(taught(open_gate, server, recipe=digest_of(acme), project="other"), project, "acme deploy") == "hold"


def test_a_raised_read_is_held(open_gate, server, project):
    gate = taught(open_gate, server, match="program git verb status", risk="high", project="")
    assert outcome(gate, project, "git status") == "hold"
    assert outcome(gate, project, "git log") == "pass"


@pytest.mark.parametrize(
    "change",
    [{"risk": "harmless"}, {"match": "acme"}, {"match": "program terraform verb destroy", "risk": "low"}, {"extra": "1"}, {"recipe": ""}],
)
def test_a_bundle_with_a_rule_that_is_none_changes_nothing(open_gate, server, project, acme, change):
    with pytest.raises(Refused) as refused:
        taught(open_gate, server, **{"recipe": digest_of(acme), **change})
    assert refused.value.reason == "bundle_malformed"
