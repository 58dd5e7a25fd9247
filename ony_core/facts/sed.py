"""Splits a sed script into its commands, far enough to see the ones that start programs (GNU sed manual, "Commands")."""

import re

_ADDRESS = re.compile(
    r"\s*(?:\d+(?:~\d+)?|\$|/(?:\\.|[^/\\])*/[IM]*|\\(.)(?:(?!\1).)*\1)?(?:\s*,\s*(?:[+~]?\d+|\$|/(?:\\.|[^/\\])*/[IM]*))?\s*!?\s*"
)


def runs_commands(script: str) -> bool:
    """True if the script holds GNU sed's `e` command, or an `s` with the `e` flag. A script that cannot be split counts as running."""
    at = 0
    while at < len(script):
        at = _skip(script, at)
        if at >= len(script):
            return False
        found = _ADDRESS.match(script, at)
        at = found.end() if found else at
        if at >= len(script):
            return False
        letter = script[at]
        if letter == "e":
            return True
        if letter in "sy":
            flags, at = _substitution(script, at + 1)
            if letter == "s" and "e" in flags:
                return True
        elif letter in "aic":
            at = _text_end(script, at)
        elif letter in "{}":
            at += 1
        else:
            at = min((script.find(c, at) for c in "\n;}" if script.find(c, at) >= 0), default=len(script))
            at = max(at, 0) or len(script)
    return False


def _skip(script: str, at: int) -> int:
    while at < len(script) and script[at] in " \t\n;}":
        at += 1
    return at


def _substitution(script: str, at: int) -> tuple[str, int]:
    """The flags after `s/a/b/` and where they end. A missing delimiter runs to the end: sed would refuse it."""
    if at >= len(script):
        return "", at
    mark, parts = script[at], 0
    at += 1
    while at < len(script) and parts < 2:
        if script[at] == "\\":
            at += 1
        elif script[at] == mark:
            parts += 1
        at += 1
    end = at
    while end < len(script) and script[end] not in "\n;}w":
        end += 1
    return script[at:end].strip(), end if end >= len(script) or script[end] != "w" else len(script)


def _text_end(script: str, at: int) -> int:
    """a, i, c take text to the end of the line; a backslash carries it on."""
    while at < len(script):
        if script[at] == "\\":
            at += 1
        elif script[at] == "\n":
            return at
        at += 1
    return at
