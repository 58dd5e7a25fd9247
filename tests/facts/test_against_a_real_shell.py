"""What a real shell starts is within what the facts say, for command lines that nobody wrote by hand.

For everything that really ran, the facts of its plain words must be among the facts of the whole line: the same program, verb, flags,
traits and number of operands, no risk less. Only a line whose facts say that it cannot be known (opaque, a grant, a program or verb that
no table knows) is held without more. Harmless lines must pass, but for a few, and each that is held must have such a reason.
"""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import UNLISTED, Assessment, Fact, ToolCall, level
from ony_core.policy import gate
from ony_core.taxonomy import assess
from tests.facts.command_lines import COMMANDS, HARMLESS, Writer
from tests.facts.real_shell import RealShell, Started

FEW, MANY = 500, 20_000
FIRST_SEED = 1
HELD_IN_VAIN = 0.05  # of the harmless lines whose forms the facts are meant to follow
BASH_ONLY = re.compile(
    r"""\$['"]|<<<|\[\[|\(\(|=\(|\+=|[{,].*,.*\}|[<>]\(|\bfunction\b|\bselect\b|\bcoproc\b|&>|\|&|;;&|;&|\$\{!|\$\{\w+[:/^,@\[]|\[@\]"""
    r"""|\b(declare|typeset|local|mapfile|shopt|builtin|time|let|printf -v|exec -a|source|read -a|readonly|export)\b"""
    r"""|\$\{@|\w\[|\bf\b|set -euo"""
)

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def assessed(line: str) -> Assessment:
    return assess(derive(ToolCall("claude-code", "s", "Bash", {"command": line}, "/project"), DictPlace()))


def held(found: Assessment) -> bool:
    return gate(found, "on") == "hold"


def unknowable(found: Assessment) -> bool:
    """The facts themselves say that nobody can know; such a call is critical."""
    facts = found.facts if held(found) else ()
    return any(f.kind in ("opaque", "grant") or UNLISTED in (f.program, *f.verb) or "loader_environment" in f.traits for f in facts)


def risk(fact: Fact) -> int:
    return level(assess((fact,)).risk)


def says(said: Fact, real: Fact, again: bool) -> bool:
    """Whether one fact of the line tells of what really ran. again: what the line did before may have made the files its own."""
    if again and "made_by_session" in said.traits and (said.kind, said.verb) == (real.kind, real.verb):
        return set(real.traits) <= set(said.traits)
    if (said.kind, said.program, said.verb) != (real.kind, real.program, real.verb) or risk(said) < risk(real):
        return False
    if {"unknown_path", "unknown_word"} & set(said.traits):
        return set(real.flags) <= set(said.flags) or risk(said) > risk(real)
    return ("many" in said.traits or said.args >= real.args) and set(real.flags) <= set(said.flags) and set(real.traits) <= set(said.traits)


def plainly(one: Started) -> Assessment:
    fed = f" <<'FED'\n{one.given}\nFED" if one.given else ""
    return assessed((f"cd {shlex.quote(one.folder)} && " if one.folder else "") + shlex.join(one.argv) + fed)


def miss(found: Assessment, ran: list[Started]) -> str:
    """Why what ran is not within what the facts say; "" if it is."""
    if unknowable(found):
        return ""
    for one in ran:
        for real in plainly(one).facts:
            again = one.folder.startswith("new") or any(f.verb == ("delete",) and "made_by_session" not in f.traits for f in found.facts)
            if not any(says(said, real, again) for said in found.facts):
                return f"ran {one.argv} in {one.folder!r}, and no fact says {real}; they say\n  " + "\n  ".join(map(repr, found.facts))
    return ""


def unsaid_file(found: Assessment, files: list[str]) -> str:
    """A file that the line left behind, of which no fact speaks."""
    if unknowable(found):
        return ""
    for name in files:
        for real in assessed(f"true > {shlex.quote(name)}").facts:
            said = any(f.kind == "file" and f.verb[:1] in (("write",), ("append",)) and (
                set(real.traits) - {"empties"} <= set(f.traits) or "unknown_path" in f.traits) for f in found.facts)  # fmt: skip
            if real.kind == "file" and not said:
                return f"wrote {name}, and no fact says {real}"
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
    line = "rm -rf 'a b' && X=git; cd sub; $X status & wait; echo done"
    assert shell.ran(line) == [Started(["rm", "-rf", "a b"]), Started(["git", "status"], "sub")]
    assert shell.ran("echo 'select 1' | psql >out") == [Started(["psql"], "", "select 1\\n".replace("\\n", "\n"))]
    assert shell.files() == ["out"]
    assert shell.ran("if true; then echo") == []
    assert shell.ran("while :; do :; done") is None


def test_a_call_that_hides_a_command_a_word_or_a_folder_would_be_seen() -> None:
    harmless = assessed("git status; rm -f a.py")
    for hidden in ("rm -rf victim", "ls -l", "git status --short x", "rm -f a.py b.py", "rm -f ../a"):
        assert miss(harmless, [Started(hidden.split())]), hidden
    assert miss(assessed("ls"), [Started(["ls"]), Started(["psql"], "", "DROP TABLE a;")])
    assert not miss(harmless, [Started(["git", "status"]), Started(["rm", "-f", "a.py"])])
    assert unsaid_file(harmless, ["out"]) and not unsaid_file(assessed("ls > out"), ["out"])


def test_whatever_a_real_shell_starts_the_facts_have_said(shell: RealShell, soak: bool) -> None:
    count = MANY if soak else FEW
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    misses: list[str] = []
    started = late = elsewhere = harmless = in_vain = beyond = 0
    for seed in seeds:
        writer = Writer(seed)
        line = writer.line()
        found = assessed(line)
        elsewhere_too = not BASH_ONLY.search(line) and not re.search(r"echo\b.*(\\|-e)", line, re.DOTALL)  # echo is not the same everywhere
        shells = [name for name in ("bash", "dash", "zsh") if name == "bash" or (shell.has(name) and elsewhere_too)]
        counts = False
        for name in shells:
            ran = shell.ran(line, name)
            if ran is None:
                late += 1
                continue
            if name == "bash":
                started += bool(ran)
                counts = bool(ran)
            elsewhere += name != "bash" and bool(ran)
            if why := miss(found, ran) or unsaid_file(found, shell.files()):
                misses.append(f"seed {seed}, {name}: {why}\n{line}")
        if writer.harmless and counts:
            harmless += not writer.beyond
            beyond += writer.beyond and held(found)
            in_vain += held(found) and not writer.beyond
            if held(found) and not unknowable(found):
                misses.append(f"seed {seed}: harmless, and held without a reason: {found.lead}\n{line}")
    print(f"seeds {seeds.start} to {seeds.stop - 1}: {started} started something, {elsewhere} in other shells too, {late} took too long")
    print(f"{in_vain} of {harmless} harmless lines held ({in_vain / harmless:.1%}), {beyond} more by forms that are beyond knowing")
    assert not misses, f"{len(misses)} of {count}\n" + "\n\n".join(misses[:10])
    assert late < count / 100, "lines that hang show nothing"
    assert started > 0.85 * count, "lines that start nothing show nothing"
    assert in_vain <= HELD_IN_VAIN * harmless, "holding everything would be no understanding"
