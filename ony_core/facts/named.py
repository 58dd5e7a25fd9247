"""What the words of a command stand for in this very shell: a function, an alias, one of several texts."""

import itertools
import math
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ony_core.facts import commands
from ony_core.facts.branches import either
from ony_core.facts.state import keep, meet
from ony_core.facts.words import Flow, Word

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

MAX_WAYS = 8  # different lines that one command may be
_LEAVES = frozenset({"break", "continue", "return"})
_SIMPLE = re.compile(r"""(?:[\w./:=@%+, -]|'[^']*'|"[^"$`\\]*")*""")  # an alias that is only words


def left(shell: "Shell", word: str) -> None:
    """`break`, `continue`, `return`: the loop or function may end with what is known here."""
    if word in _LEAVES:
        shell.escapes.append(keep(shell))


def each_way(shell: "Shell", argv: list[Word], stdin: Flow) -> Flow:
    """A command some of whose words may be one of several texts."""
    choices = [_fields(word) for word in argv]
    if math.prod(len(choice) for choice in choices) > MAX_WAYS:
        return commands.run(shell, [replace(word, others=()) for word in argv], stdin)
    lines = [[word for part in line for word in part] for line in itertools.product(*choices)]
    return either(shell, [lambda line=line: commands.run(shell, line, stdin) for line in lines])


def _fields(word: Word) -> list[list[Word]]:
    """The words that each text of a word would become."""
    if not word.others:
        return [[word]]
    texts = [[text] if word.quoted or not text.split() else text.split() for text in word.others]
    return [[replace(word, text=text, others=()) for text in parts] for parts in texts]


def function(shell: "Shell", argv: list[Word], stdin: Flow) -> Flow:
    """A function of the script; where it may or may not have been defined, what its name stands for otherwise runs as well."""
    name, bodies = argv[0].text, shell.functions[argv[0].text]

    def without() -> Flow:
        kept = shell.functions.pop(name, ())
        flow = commands.run(shell, argv, stdin)
        shell.functions.setdefault(name, kept)
        return flow

    return either(shell, [without if body is None else lambda body=body: _body(shell, body, argv[1:], stdin) for body in bodies])


def _body(shell: "Shell", body: Any, arguments: list[Word], stdin: Flow) -> Flow:
    outer = shell.arguments, shell.escapes, shell.locals
    shell.arguments, shell.escapes, shell.locals = arguments, [], {}
    try:
        flow: Flow = shell.statement(body, stdin)
        meet(shell, [keep(shell), *shell.escapes])
        for name, value in shell.locals.items():
            shell.variables.pop(name, None)
            shell.variables |= {name: value} if value is not None else {}
        return flow
    finally:
        shell.arguments, shell.escapes, shell.locals = outer


def alias(shell: "Shell", argv: list[Word], stdin: Flow) -> Flow:
    """A word that an alias of this call may stand for; whether the shell takes it depends on its kind and options."""
    kept, value = shell.aliases, shell.aliases[argv[0].text]
    shell.aliases = {name: words for name, words in kept.items() if name != argv[0].text}
    try:
        plainly = value.known and _SIMPLE.fullmatch(value.text) is not None
        if not plainly:
            shell.call.opaque("indirection")
            return commands.run(shell, argv, stdin)
        words = [Word(text, taints=value.taints) for text in shlex.split(value.text)]
        return either(shell, [lambda: commands.run(shell, words + argv[1:], stdin), lambda: commands.run(shell, argv, stdin)])
    finally:
        shell.aliases = kept
