"""Splits a sed script into its commands, far enough to see the ones that start programs or write files (GNU sed manual, "Commands")."""

import re
from dataclasses import dataclass

from ony_core.facts.words import HOLE

_ADDRESS = re.compile(
    r"\s*(?:\d+(?:~\d+)?|\$|/(?:\\.|[^/\\])*/[IM]*|\\(.)(?:(?!\1).)*\1)?(?:\s*,\s*(?:[+~]?\d+|\$|/(?:\\.|[^/\\])*/[IM]*))?\s*!?\s*"
)
_BETWEEN = re.compile(r"[ \t\n;{}]*")
_COMMAND_END = re.compile(r"[\n;}]|\Z")
_FLAGS_END = re.compile(r"[\nw;}]|\Z")
_LINE_END = re.compile(r"\n|\Z")
_TEXT_END = re.compile(r"(?:\\.|[^\\\n])*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Effects:
    """runs: GNU sed's `e` command, or an `s` with the `e` flag. writes: the files of `w`, `W` and the `w` flag.

    adds: text that it puts in, by `s`, `a`, `i` and `c`; what stands for a part of the input is a hole.
    """

    runs: bool
    writes: tuple[str, ...]
    adds: tuple[str, ...] = ()


def effects(script: str) -> Effects:
    """What the script does beside editing its input. Linear in its length."""
    runs, at = False, 0
    writes: list[str] = []
    adds: list[str] = []
    while (at := _end(_BETWEEN, script, at)) < len(script):
        at = _end(_ADDRESS, script, at)
        letter, at = script[at : at + 1], at + 1
        if letter == "e":
            runs, at = True, _start(_LINE_END, script, at)
        elif letter in ("s", "y"):
            text, flags, at = _substitution(script, at)
            adds += [_put(text)] if letter == "s" else []
            runs |= letter == "s" and "e" in flags
            at = _named(script, at, writes) if script[at : at + 1] == "w" else at
        elif letter in ("w", "W"):
            at = _named(script, at - 1, writes)
        elif letter in ("a", "i", "c"):
            adds.append(_put(re.sub(r"^\s*\\?\s*", "", script[at : (at := _end(_TEXT_END, script, at))])))
        elif letter not in ("{", "}"):
            at = _start(_COMMAND_END, script, at)
    return Effects(runs, tuple(writes), tuple(text for text in adds if text.strip()))


def _substitution(script: str, at: int) -> tuple[str, str, int]:
    """What `s/a/b/` puts in, its flags and where they end. A missing delimiter runs to the end: sed would refuse it."""
    mark, parts, at = script[at : at + 1], [at + 1], at + 1
    while at < len(script) and len(parts) < 3:
        if script[at] == "\\":
            at += 1
        elif script[at] == mark:
            parts.append(at + 1)
        at += 1
    end = _start(_FLAGS_END, script, at)
    return script[parts[1] : parts[2] - 1] if len(parts) == 3 else "", script[at:end], end


def _put(text: str) -> str:
    """Replacement text as it will stand in the file."""
    text = re.sub(r"(?<!\\)&|\\\d", HOLE, text)
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), text, flags=re.DOTALL)


def _named(script: str, at: int, writes: list[str]) -> int:
    """Notes the file name that stands from behind the `w` at `at` to the end of the line."""
    end = _start(_LINE_END, script, at)
    writes.append(script[at + 1 : end].strip())
    return end


def _end(pattern: re.Pattern[str], script: str, at: int) -> int:
    found = pattern.match(script, at)
    return found.end() if found else at


def _start(pattern: re.Pattern[str], script: str, at: int) -> int:
    found = pattern.search(script, at)
    return found.start() if found else len(script)
