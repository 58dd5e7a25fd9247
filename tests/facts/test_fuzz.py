"""Whatever arrives is understood or critical: no exception, no hang, no time that grows faster than the input."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive, parsing, python
from ony_core.facts.call import Call
from ony_core.facts.commands import program_named
from ony_core.model import Assessment, Fact, ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess

# ruff: noqa: E501
MEGABYTE = 1 << 20
LONGEST = Call.MAX_TEXT  # characters of shell text that are looked at; what is longer is critical by its length alone
TIMES, GROWTH = 4, 9.0  # four times the input may take this many times as long: far from 4, farther from the 16 of a square
TOO_SHORT_S = 0.05  # below this a ratio measures the machine, not the code
SLOWEST_S = 6.0  # processor seconds for the longest text, on a slow and busy machine
READ_OVER_AND_OVER = [  # by the parser; each is a square of its length
    "()", "(a)", "()a", "@load", "[a]", "@(a)", "a() ", "<<E\n", "<<-E\n", "<>", "|&",
]
PATTERNS = [
    "a",
    "a ",
    "a;",
    "a|",
    "a&&",
    "$",
    "$(",
    "`",
    "(",
    "{",
    "'",
    '"',
    "\\",
    "\\\n",
    "<<E\n",
    "<<<",
    "<(",
    ">",
    "> ",
    ">&",
    "\n",
    " ",
    "#",
    "!",
    "[[",
    "${",
    "${x:-",
    "$((",
    "x=1;",
    "x=$x$x;",
    "if a;then ",
    "for i in a;do ",
    "case x in ",
    "f(){ ",
    "a[",
    "{a,b}",
    "{a,",
    "*",
    "?",
    "[a",
    "~/",
    "../",
    "/",
    "-",
    "--",
    "-rf ",
    "'a'",
    '"$(',
    "$'\\x",
    "rm ",
    "rm -rf a;",
    "sudo ",
    "env ",
    "bash -c ",
    "echo a|",
    "xargs ",
    "find . -exec ",
    "git push;",
    "SELECT 1;",
    "psql -c 'SELECT (1)';",
    "python3 -c 'x=1';",
    "cat <<E\n$(a)\nE\n",
    "cd a;",
    "echo a>b;sh b;",
    "eval ",
    "é",
    "\u202e",
    "\0",
    "\r\n",
    "\t",
    "a=(b c);",
    "set -- a b;",
    "alias a=b;",
    "echo $(a);",
    "$x",
    "awk '{print}';",
    "1",
    *READ_OVER_AND_OVER,
]
INSIDE = [
    "psql -c '{}'",
    "python3 -c '{}'",
    "node -e '{}'",
    "awk '{}'",
    "sed '{}'",
    "bash -c '{}'",
    "ssh h '{}'",
    "echo '{}' | sh",
    "git commit -m '{}'",
    "mongosh --eval '{}'",
]
NESTING = [
    ("( ", ")"),
    ("$(", ")"),
    ("{ ", ";}"),
    ("if true;then ", ";fi"),
    ("echo ${x:-", "}"),
    ('"$(', ')"'),
    ("[[ ", " ]]"),
    ("$((", "))"),
    ("<(", ")"),
    ("! ", ""),
    ("sudo ", ""),
    ("while a;do ", ";done"),
    ("case a in a) ", ";;esac"),
    ("a[", "]=1"),
    ("`", "`"),
    ("time ", ""),
    ("{a,", "}"),
    ("eval ", ""),
    ("env -S '", "'"),
]


def facts_of(tool: str, given_input: Any) -> tuple[Fact, ...]:
    return derive(ToolCall("claude-code", "s", tool, given_input, "/project"), DictPlace({"/project/a.sh": b"ls\n"}))


def bash(command: str) -> Assessment:
    return assess(facts_of("Bash", {"command": command}))


def took(work: Callable[[], Any]) -> float:
    """Processor seconds; the best of three runs, because a busy machine disturbs caches too. A program that was read is forgotten:
    of a short one only the first run would count otherwise.
    """
    times = []
    for _ in range(3):
        python._kept.cache_clear()
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def growth(make: Callable[[int], Callable[[], Any]], size: int) -> float:
    """How many times longer four times the input takes; 0 where that is too quick to tell."""
    once, more = took(make(size)), took(make(TIMES * size))
    return 0.0 if more < TOO_SHORT_S else more / max(once, TOO_SHORT_S / TIMES)


def no_worse(make: Callable[[int], Callable[[], Any]], size: int) -> None:
    """A first ratio above the bound is measured again: only one that stays is a fault."""
    measured = [growth(make, size)]
    while measured[-1] > GROWTH and len(measured) < 4:
        measured.append(growth(make, size))
    assert min(measured) <= GROWTH, measured


@pytest.mark.parametrize("pattern", PATTERNS)
def test_twice_the_repetitions_take_about_twice_the_time(pattern: str, soak: bool) -> None:
    size = (LONGEST if soak else 16_000) // TIMES // len(pattern)
    no_worse(lambda count: lambda: bash(pattern * count), size)


@pytest.mark.parametrize("pattern", ["(", "a ", "1,", "x=1;", "SELECT 1;", "s/a/b/;", "''", "f(", "[", "{"])
@pytest.mark.parametrize("form", INSIDE)
def test_program_text_inside_grows_no_faster(form: str, pattern: str, soak: bool) -> None:
    text = pattern.replace("'", "'\\''")
    no_worse(lambda count: lambda: bash(form.format(text * count)), (30_000 if soak else 3_000) // len(pattern))


LONG_VALUES = [
    ("fzf --bind '{}'", "execute("),
    ("make --eval '{}'", "$(shell "),
    ("make --eval '{}'", "a;\t"),
    ("make --eval '{}'", "a=b\n"),
    ("mlr '{}'", "system ("),
    ("tig -c '{}'", "!"),
    ("latex '{}'", "\\"),
    ("sqlite3 -cmd '{}' x", ".shell -a "),
    ("pwsh -c '{}'", "$("),
    ("pwsh -c '\"{}'", "$(a"),
    ("pwsh -c '{}'", "`"),
    ("pwsh -c '{}'", "@("),
    ("MAKEFLAGS='{}' make", "--eval "),
    ("PATH='{}' ls", "/tmp:"),
    ("git apply <<'E'\n{}\nE", "diff --git a/x b/"),
    ("psql <<'E'\n{}\nE", "$a$"),
    ("wrangler {}", " -c "),
    ("az {}", "*--force  "),
    ("cat {}", "--a=b  ,"),
]


@pytest.mark.parametrize(("form", "pattern"), LONG_VALUES)
def test_twice_the_repetitions_in_a_value_that_is_searched_take_about_twice_the_time(form: str, pattern: str, soak: bool) -> None:
    size = (MEGABYTE // 4 if soak else 40_000) // len(pattern)
    no_worse(lambda count: lambda: bash(form.replace("{}", pattern * count)), size)


@pytest.mark.parametrize(("form", "pattern"), LONG_VALUES[:3])
def test_a_value_too_long_to_be_searched_is_held(form: str, pattern: str) -> None:
    assert gate(bash(form.replace("{}", pattern * (20_000 // len(pattern)))), "on") == "hold"


@pytest.mark.parametrize(
    "pattern",
    ["while :; do ", "while true; do a & ", "f(){ ", "f(){ f|f& };", "while true; do a & done;", "for ((;;)); do for ((;;)); do a& "],
)
def test_twice_the_repetitions_of_loops_take_about_twice_the_time(pattern: str) -> None:
    no_worse(lambda count: lambda: bash(pattern * count), 8_000 // len(pattern))


@pytest.mark.parametrize("pattern", READ_OVER_AND_OVER)
@pytest.mark.parametrize("size", [8_000, 24_000, LONGEST])
def test_a_text_that_the_parser_reads_over_and_over_is_left_and_held(pattern: str, size: int) -> None:
    call = Call(DictPlace())
    assert parsing.tree(call, pattern * (size // len(pattern))) is None
    assert gate(bash(pattern * (size // len(pattern))), "on") == "hold"


@pytest.mark.parametrize("size", [2_000, 20_000, 100_000])
def test_an_ordinary_script_is_read_about_once(size: int) -> None:
    """Counted, not timed: real scripts of a machine take at most five reads for each piece."""
    line = 'for f in *.py; do grep -n "a b" "$f" | head -5 > "out/${f%.py}.txt" || exit 1; done\n'
    call = Call(DictPlace())
    parsing.tree(call, line * (size // len(line)))
    assert 0 < Call.MAX_READS - call.left_to_read <= 5 * (size / parsing.PIECE) + 5


def test_texts_that_are_read_over_and_over_share_one_bound() -> None:
    call = Call(DictPlace())
    trees = [parsing.tree(call, "()" * 400) for _ in range(40)]
    assert trees[0] is not None and trees[-1] is None


@pytest.mark.parametrize("word", ["1" * 24_000, "python" + "3" * 300, "/usr/bin/ls" + "1" * 300, "ls" + ".exe" * 100])
def test_no_program_has_a_name_longer_than_a_file_may_have(word: str) -> None:
    assert gate(bash(word), "on") == "hold"
    assert program_named(word) is None


@pytest.mark.parametrize("depth", [20, 100, 400])
def test_endless_loops_within_each_other_are_answered(depth: int) -> None:
    assert bash("while true; do a & " * depth + "done; " * depth).risk == "critical"


@pytest.mark.parametrize(
    ("tool", "field"),
    [
        ("Write", "content"),
        ("Write", "file_path"),
        ("Read", "file_path"),
        ("Glob", "pattern"),
        ("WebFetch", "url"),
        ("mcp__a__get_b", "path"),
        ("apply_patch", "input"),
        ("Edit", "new_string"),
        ("WebSearch", "query"),
    ],
)
@pytest.mark.parametrize("pattern", ["a", "/", "../", "*", "\n", "%2e", "a=b&", "*** Add File: a\n+b\n", "\u202e"])
def test_fields_of_other_tools_grow_no_faster(tool: str, field: str, pattern: str) -> None:
    no_worse(lambda count: lambda: assess(facts_of(tool, {"file_path": "/project/a", field: pattern * count})), 10_000 // len(pattern))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_megabyte_and_more_is_answered(pattern: str) -> None:
    over = pattern * (MEGABYTE // len(pattern) + 1)
    found = bash(over)
    assert found.risk == "critical"
    assert not any("fault" in fact.traits for fact in found.facts)


SYNTAX = {
    "quotes": ("echo '", "a", "'"), "double quotes": ('echo "', "a $b ", '"'), "here document": ("cat <<E\n", "a b\n", "E\n"),
    "document for a shell": ("bash <<'E'\n", "ls a\n", "E\n"), "documents": ("", "<<E\n", ""), "pipes": ("", "a|", "a"),
    "arithmetic": ("echo $((", "1+", "1))"), "array": ("a=(", "b ", ")"), "case": ("case a in ", "b) c;; ", "esac"),
    "functions": ("", "f() { a; };", "f"), "braces": ("echo ", "{a,b}", ""), "globs": ("ls ", "*/", ""), "words": ("rm ", "a ", ""),
    "flags": ("git push ", "--force ", ""), "a cluster of flags": ("rm -", "rf", " a"), "redirects": ("a ", ">b ", ""), "and": ("", "a && ", "b"),
    "assignments": ("", "x=1;", ""), "two ways": ("x=1; a && x=2; ", "echo $x;", ""), "ways": ("", "if a; then x=1; fi;", ""),
    "loops": ("", "for i in a b; do x=$i; done;", ""), "home": ("", "~/", ""), "into xargs": ("echo ", "a ", "| xargs rm"),
    "into a shell": ("echo '", "ls;", "' | sh"), "evaluated": ("eval '", "ls;", "'"), "sql": ("psql -c '", "SELECT 1;", "'"),
    "sql list": ("psql -c 'SELECT 1 WHERE a IN (", "1,", "1)'"), "sql depth": ("psql -c 'SELECT ", "(", "'"), "python": ("python3 -c '", "x=1\n", "'"),
    "python depth": ("python3 -c 'x=", "-", "1'"), "python calls": ("python3 -c '", "f(1);", "'"), "python names": ("python3 -c '", "a=b;b=a;", "'"),
    "javascript": ("node -e '", "f();", "'"), "perl": ("perl -e '", "print 1;", "'"), "powershell": ("pwsh -c '", "Get-Item a;", "'"),
    "sed": ("sed '", "s/a/b/;", "' f"), "awk": ("awk '", "{print}", "' f"), "jq": ("jq '", ".a|", "' f"), "mongo": ("mongosh --eval '", "db.a.find();", "'"),
    "redis": ("redis-cli ", "GET a ", ""), "headers": ("curl ", "-H a:b ", "http://x"), "find": ("find . ", "-name a ", ""), "ssh": ("ssh h '", "ls;", "'"),
}  # fmt: skip


@pytest.mark.parametrize("name", SYNTAX)
def test_the_longest_text_that_is_read_is_read_in_time(name: str, soak: bool) -> None:
    opens, middle, closes = SYNTAX[name]
    line = opens + middle * (((LONGEST if soak else LONGEST // 4) - len(opens) - len(closes)) // len(middle)) + closes
    begun = time.process_time()
    found = bash(line)
    assert time.process_time() - begun < SLOWEST_S
    assert found.actions and not any("fault" in fact.traits for fact in found.facts)


@pytest.mark.parametrize(
    ("tool", "field"),
    [("Write", "content"), ("Edit", "new_string"), ("apply_patch", "input"), ("WebFetch", "url"), ("Read", "file_path"), ("mcp__db__query", "sql"),
     ("mcp__a__get_b", "path"), ("Grep", "pattern"), ("Glob", "pattern"), ("Agent", "prompt"), ("NotebookEdit", "new_source")],
)  # fmt: skip
@pytest.mark.parametrize("piece", ["a", "a/", "*", "x = 1\n", "SELECT 1;", "*** Add File: a\n+b\n", "a=b&", '{"a":[1]},'])
def test_a_megabyte_in_another_tool_is_read_in_time(tool: str, field: str, piece: str, soak: bool) -> None:
    size = MEGABYTE if soak else MEGABYTE // 16
    given = {"file_path": "/project/a.py", "notebook_path": "/project/a.ipynb", field: piece * (size // len(piece))}
    begun = time.process_time()
    found = facts_of(tool, given)
    assert time.process_time() - begun < SLOWEST_S
    assert not any("fault" in fact.traits for fact in found)


@pytest.mark.parametrize(("opens", "closes"), NESTING)
@pytest.mark.parametrize("depth", [3, 30, 300, 3000])
def test_nesting_is_followed_or_critical(opens: str, closes: str, depth: int) -> None:
    found = bash(opens * depth + "$(rm -rf /srv)" + closes * depth)
    assert gate(found, "on") == "hold"
    assert not any("fault" in fact.traits for fact in found.facts)


@pytest.mark.parametrize("depth", [10, 1000, 100_000])
def test_deep_input_of_a_tool_is_answered(depth: int) -> None:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    assert facts_of("mcp__a__get_b", {"path": value}) and facts_of("Bash", {"command": value})


def test_time_that_grows_with_the_square_would_be_seen() -> None:
    def square(count: int) -> Callable[[], Any]:
        return lambda: [None for _ in range(count) for _ in range(count)]

    assert growth(square, 1500) > GROWTH
