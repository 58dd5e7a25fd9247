"""What a real shell starts is within what the facts say, for command lines that nobody wrote by hand."""

import shlex
import shutil
from pathlib import Path

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.facts.commands import program_named
from ony_core.model import Assessment, ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess
from tests.facts.command_lines import COMMANDS, HARMLESS, Writer
from tests.facts.real_shell import RealShell

FEW, MANY = 500, 20_000
FIRST_SEED = 1

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def assessed(line: str) -> Assessment:
    return assess(derive(ToolCall("claude-code", "s", "Bash", {"command": line}, "/project"), DictPlace()))


def held(found: Assessment) -> bool:
    return gate(found, "on") == "hold"


def miss(found: Assessment, ran: list[list[str]]) -> str:
    """Why what ran is not within what the facts say; "" if it is."""
    opaque = held(found) and any(action.key in ("opaque", "unknown") for action in found.actions)
    named = {fact.program for fact in found.facts}
    for argv in ran:
        if held(assessed(shlex.join(argv))) and not held(found):
            return f"ran {argv}, and the call passes"
        program = program_named(argv[0])
        assert program is not None, argv
        if program.name not in named and not opaque:
            return f"ran {argv[0]}, which no fact names"
    return ""


@pytest.fixture
def shell(tmp_path: Path) -> RealShell:
    return RealShell(tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=shlex.join)
def test_the_commands_taken_for_dangerous_are_held(command: list[str]) -> None:
    assert held(assessed(shlex.join(command)))


@pytest.mark.parametrize("command", HARMLESS, ids=shlex.join)
def test_the_commands_taken_for_harmless_pass(command: list[str]) -> None:
    assert not held(assessed(shlex.join(command)))


def test_the_real_shell_tells_what_it_started(shell: RealShell) -> None:
    assert shell.ran("rm -rf 'a b' && X=git; $X status & wait; echo done") == [["rm", "-rf", "a b"], ["git", "status"]]
    assert shell.ran("if true; then echo") == []
    assert shell.ran("while :; do :; done") is None


def test_a_call_that_hides_a_command_would_be_seen() -> None:
    harmless = assessed("git status")
    assert miss(harmless, [["rm", "-rf", "victim"]]) and miss(harmless, [["ls", "-l"]])
    assert not miss(harmless, [["git", "status"]])


def test_whatever_a_real_shell_starts_the_facts_have_said(shell: RealShell, soak: bool) -> None:
    count = MANY if soak else FEW
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    print(f"seeds {seeds.start} to {seeds.stop - 1}")
    misses, started, passed, late = [], 0, 0, 0
    for seed in seeds:
        line = Writer(seed).line()
        ran = shell.ran(line)
        if ran is None:
            late += 1
            continue
        started += bool(ran)
        found = assessed(line)
        passed += not held(found) and bool(ran)
        if why := miss(found, ran):
            misses.append(f"seed {seed}: {why}\n{line}")
    assert not misses, f"{len(misses)} of {count}\n" + "\n\n".join(misses[:10])
    assert late < count / 100, "lines that hang show nothing"
    assert started > 0.9 * count, "lines that start nothing show nothing"
    assert passed > 0.1 * count, "holding everything would be no understanding"
