"""`ony explain` for people: golden pages, and what may stand in them."""

import argparse
import json

import pytest

from ony_core.commands import explain, explaining
from ony_core.evidence.place import DictPlace
from ony_core.model import ToolCall
from tests.explain_page import Shop


def told(command: str, place: DictPlace | None = None) -> explaining.Told:
    return explaining.explained(ToolCall("claude-code", "", "Bash", {"command": command}, "/shop"), place or Shop())


def page(command: str) -> str:
    return "\n".join(explaining.prose(told(command)))


GOLDEN = {
    "bash -c 'sudo git push --force origin main; ls'": """\
HELD: Force-push to main, as root

What runs
  bash -c 'sudo git push --force origin main; ls'
    sudo git push --force origin main
      git push --force origin main
    ls

What Ony understood (this is all that would leave this machine)
  command bash, 1 operand
  command sudo
  command git push --force, 2 operands, branch main (as root, protected branch)
  command ls

What it means
  critical Force-push to main, as root
           [git.force_push, ony_core/taxonomy/30_git.toml]
           commits of others on the remote are overwritten
""",
    "acme deploy": """\
HELD: Run a program that no table knows

What runs
  acme deploy

What Ony understood (this is all that would leave this machine)
  command unlisted, 1 operand

What it means
  critical Run a program that no table knows
           [unknown, ony_core/taxonomy/01_general.toml]
           what no table knows may do anything

On the phone
  "Claude Code, in project PROJECT, wants to: Run a program that no table knows. Risk: critical.
    Request number 4 2."

Modes
  on: hold, away: hold, here: hold, off: pass

To teach Ony this command
  ony admin policy set --project PROJECT --match 'program acme verb deploy' --recipe sha256:""",
}


@pytest.mark.parametrize("command", GOLDEN)
def test_the_page_reads_as_it_always_did(command: str) -> None:
    assert page(command).startswith(GOLDEN[command])


def test_a_call_that_passes_rings_nobody_and_teaches_nothing() -> None:
    said = page("git status")
    assert "nothing: it passes" in said and "HELD" not in said and "teach" not in said


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("acme deploy --env x", "ony admin policy set --project PROJECT --match 'program acme verb deploy' --recipe sha256:"),
        ("sudo acme", "ony admin policy set --project PROJECT --match 'program acme' --recipe sha256:"),
        ("git frobnicate x", "ony admin policy set --project PROJECT --match 'program git verb frobnicate' --risk medium"),
    ],
)
def test_what_no_table_knows_can_be_taught(command: str, line: str) -> None:
    found = told(command)
    assert found.teach.startswith(line) and not found.why_not


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("git push --force origin main", "calls this critical"),
        ("acme deploy; git push --force origin main", "calls this critical"),
        ("ony mode off", "held in every mode"),
        ("$(cat x)", "before it runs"),
        ("bash -i", "before it runs"),
        ("nowhere deploy", "its file is not found here"),
        ("rm notes.txt", "knows this use"),
    ],
)
def test_what_cannot_be_taught_says_why(command: str, why: str) -> None:
    found = told(command)
    assert not found.teach and why in found.why_not


def test_no_line_is_too_wide_and_no_character_moves_the_cursor() -> None:
    many = "; ".join(f"ls {n}" for n in range(200))
    for command in ("echo '\x1b[2J" + "a" * 500 + "' " + "b " * 400, "x=" + "y" * 3000 + "; rm $x", many):
        lines = explaining.prose(told(command))
        assert max(map(len, lines)) <= explaining.WIDTH and all(line.isprintable() for line in lines)
        assert len(lines) < 200


def test_the_calls_own_words_stand_in_what_runs_only() -> None:
    said = page("git push --force origin acme-merger && psql -c 'drop table salaries'").partition("What Ony understood")[2]
    assert "acme-merger" not in said and "salaries" not in said


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    parser = argparse.ArgumentParser()
    explain.arguments(parser)
    assert explain.run(parser.parse_args(list(words))) == 0
    return capsys.readouterr().out


def test_json_adds_to_the_contract_and_jsonl_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    added = json.loads(run(capsys, "--json", "bash -c 'git push --force origin main'"))
    contract = ["id", "action", "risk", "gate", "facts", "title", "why"]
    assert list(added)[: len(contract)] == contract
    assert [step["depth"] for step in added["parse"]] == [0, 1]
    assert added["actions"][0]["rule"] == "30_git.toml:git.force_push" and "Force-push to main" in added["spoken"]
    assert "critical" in added["teach_why_not"] and added["teach"] == ""


def test_another_tool_is_explained_by_its_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--tool", "Write", '{"file_path": ".env", "content": "x"}').startswith("HELD: Change a file of secrets")
