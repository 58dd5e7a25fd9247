"""The outer shape of the command line: one table, one-line errors, exit codes of the contract, never a traceback."""

import subprocess
import sys
import types

import pytest

from ony_core import cli, program
from ony_core.errors import OnyError


def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*program.command(), *words], input=stdin, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("words", "code"),
    [((), 2), (("--help",), 0), (("--version",), 0), (("nonsense",), 2), (("explain", "--no-such-flag"), 2), (("audit", "nonsense"), 2)],
    ids=["nothing typed", "help", "version", "unknown command", "unknown flag", "unknown verb"],
)
def test_the_exit_code_is_the_contracts(words, code):
    assert run(*words).returncode == code


@pytest.mark.parametrize("words", [("nonsense",), ("explain", "--no-such-flag"), ("audit", "nonsense")])
def test_a_usage_error_is_one_line_that_says_what_to_do(words):
    done = run(*words)
    assert done.stdout == ""
    assert done.stderr.startswith("ony: ") and done.stderr.count("\n") == 1 and "--help" in done.stderr


def test_help_lists_every_command_there_is():
    text = run("--help").stdout
    assert all(f"\n  {word} " in text for word in cli.COMMANDS)


def command(monkeypatch, body) -> None:
    module = types.SimpleNamespace(HELP="h", EXAMPLE="e", arguments=lambda parser: None, run=body)
    monkeypatch.setattr(cli, "COMMANDS", {"x": "h"})
    monkeypatch.setitem(sys.modules, "ony_core.commands.x", module)


def test_an_unexpected_error_is_exit_70_without_a_traceback_or_its_text(monkeypatch, capsys):
    def body(args):
        raise RuntimeError("hunter2")

    command(monkeypatch, body)
    assert cli.main(["x"]) == 70
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "RuntimeError" in said and "hunter2" not in said and "Traceback" not in said


def test_an_error_for_people_keeps_its_own_exit_code(monkeypatch, capsys):
    def body(args):
        raise OnyError("the lamp is dark", "light it", 13)

    command(monkeypatch, body)
    assert cli.main(["x"]) == 13
    assert capsys.readouterr().err == "ony: the lamp is dark: light it\n"


def test_interrupting_is_exit_130(monkeypatch, capsys):
    def body(args):
        raise KeyboardInterrupt

    command(monkeypatch, body)
    assert cli.main(["x"]) == 130


def test_ony_starts_itself_without_looking_at_path():
    assert program.command()[0] == sys.executable
