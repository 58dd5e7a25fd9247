"""Secrets of the environment that a call would print: whoever reads its output, the agent first of all, then has them.

A variable whose value only the running shell knows is judged by its name. What is put into a header, a login or a file is not printed.
"""

import re
from typing import TYPE_CHECKING

from ony_core.facts.words import EMPTY, HOLE, Flow
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.call import Call

TAINT = "secret_variable"
_SECRETIVE = re.compile(
    r"(?i)(?:^|_)(?:secret|token|password|passwd|passphrase|credentials?|(?:api|private|access|secret|encryption|signing|master)_?key)(?:_|$|\d)"
)
_ABOUT_ONE = re.compile(  # where it is kept, how long it lives, what it is called
    r"(?i)_(?:dir|path|file|url|uri|limit|count|name|id|type|expiry|ttl|len|length|size|helper|store|issuer|endpoint|enabled|version)\Z"
)


def secretive(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return _SECRETIVE.search(name) is not None and _ABOUT_ONE.search(name) is None


_LOOKS_THROUGH = frozenset(  # handlers
    ["as_root", "env", "xargs", "substitute_user", "shell", "eval", "exec", "echo", "cat", "printenv", "ssh", "container", "awk"]
)


_IN_TEXT = re.compile(r"(?:(?<![\w./-])env|\$ENV|\bENVIRON)\b(?:\.|\[\s*\"|\s*(?=$|[|}\]),]))(\w*)")


def in_text(text: str) -> set[str]:
    """awk's ENVIRON["TOKEN"], jq's env.TOKEN and $ENV.TOKEN, or the whole of jq's env."""
    return {TAINT} if any(not found[1] or secretive(found[1]) for found in _IN_TEXT.finditer(text)) else set()


def for_shell(text: str, taints: frozenset[str]) -> str:
    """Text for a shell of its own: what only the running shell knows becomes a variable, of a secret where it may be one."""
    return text.replace(HOLE, "${_SECRET}" if TAINT in taints else "${_}")


def passed_on(program: Program, flow: Flow) -> Flow:
    """The output of a program: only what prints its words or its input lets a secret of them through."""
    through = program.wraps >= 0 or program.handler in _LOOKS_THROUGH or program.name in tables().words["names"]["prints_what_it_gets"]
    if TAINT not in flow.taints or through:
        return flow
    return Flow(flow.text, flow.taints - {TAINT})


def also(flow: Flow, inner: Flow) -> Flow:
    """What a program prints that passes on the output of another."""
    return flow.also(TAINT) if TAINT in inner.taints else flow


def declared(call: "Call", words: list[str]) -> Flow:
    """`export -p`, `declare -p NAME`: variables with their values; without a name, all of them."""
    names = [word for word in words if word[:1] not in "-+"]
    if names and not any(word[:1] == "-" and "p" in word for word in words):
        return EMPTY
    if any(word[:1] == "-" and set(word) & set("fF") for word in words):
        return EMPTY  # functions
    if not names:
        call.add("command", "env", traits=("prints_environment",))
    return EMPTY.also(TAINT) if any(secretive(name) for name in names) else EMPTY


def look(call: "Call", out: Flow) -> None:
    """The end of a call: what comes out of it is read."""
    if TAINT in out.taints:
        call.add("command", "env", traits=(TAINT,))
