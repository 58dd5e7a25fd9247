"""What a shell knows at one moment, and what it may know where ways that parted have met again.

MUST: forget or keep both wherever two ways disagree; the last way written is not the last way taken.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ony_core.facts.words import HOLE, NONE, Made, Word

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

MAX_WAYS = 6  # values of one word that are followed; more are taken for unknown


@dataclass(frozen=True, slots=True)
class State:
    """Copies: a shell that goes on does not change them. functions: every body that a name may stand for; None is no function."""

    variables: dict[str, Word]
    arrays: dict[str, tuple[Word, ...]]
    functions: dict[str, tuple[Any, ...]]
    aliases: dict[str, Word]
    arguments: list[Word] | None
    cwd: str
    made: dict[str, Made]


def keep(shell: "Shell") -> State:
    names = (dict(shell.variables), dict(shell.arrays), dict(shell.functions), dict(shell.aliases))
    return State(*names, shell.arguments, shell.cwd, dict(shell.call.made))


def put(shell: "Shell", state: State) -> None:
    shell.variables, shell.arrays = dict(state.variables), dict(state.arrays)
    shell.functions, shell.aliases = dict(state.functions), dict(state.aliases)
    shell.arguments, shell.cwd = state.arguments, state.cwd
    shell.call.made = dict(state.made)


def meet(shell: "Shell", states: list[State], forget: bool = False) -> bool:
    """Goes on with what all the states may have left; the answer is whether they disagree. forget: differing values are unknown."""
    first = states[0]
    put(shell, first)
    changed = False
    for other in states[1:]:
        for name in _differing(shell.variables, other.variables):
            ways = (shell.variables.get(name), other.variables.get(name))
            changed |= _text(ways[0]) != _text(ways[1])
            shell.variables[name] = _either(ways, forget)
        for name in _differing(shell.arrays, other.arrays):
            shell.arrays.pop(name, None)
            shell.variables[name] = Word(HOLE)
            changed = True
        for name in _differing(shell.functions, other.functions):
            shell.functions[name] = tuple(dict.fromkeys((*shell.functions.get(name, (None,)), *other.functions.get(name, (None,)))))
            changed = True
        shell.aliases.update(other.aliases)
        if _texts(shell.arguments) != _texts(other.arguments):
            shell.arguments, changed = None, True
        if shell.cwd != other.cwd:
            shell.cwd, changed = HOLE, True
        for path in _differing(shell.call.made, other.made):
            left = _file(shell.call.made.pop(path, None), other.made.get(path))
            shell.call.made |= {path: left} if left is not None else {}
    return changed


def _file(one: Made | None, other: Made | None) -> Made | None:
    """A file that is as one way left it, or as another did; None where it may be as it was, and nothing else is known to be in it."""
    if one is None or other is None or one.gone != other.gone:
        made = next((way for way in (one, other) if way is not None and not way.gone), None)
        if made is None or "changed" not in made.taints:
            return made
        return replace(made, text=None, added=_lines(made.added, made.text))
    texts = tuple(dict.fromkeys((one.text, other.text)))
    text, added = (None, texts) if None in texts else (_lines(*texts), ())  # running both is the careful reading
    return Made(text, one.taints | other.taints, one.folder and other.folder, one.gone, _lines(*added, one.added, other.added))


def _lines(*texts: str | None) -> str:
    return "\n".join(text for text in texts if text)


def _differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [name for name in {**one, **other} if one.get(name) is not other.get(name)]


def _text(word: Word | None) -> Any:
    return None if word is None else (word.text, word.others)


def _texts(words: list[Word] | None) -> list[str] | None:
    return None if words is None else [word.text for word in words]


def _either(ways: tuple[Word | None, Word | None], forget: bool) -> Word:
    """A word that may be any of these; one that was never set may come from the environment."""
    taints = NONE.union(*(way.taints for way in ways if way is not None))
    texts = dict.fromkeys(text for way in ways for text in ((way.others or (way.text,)) if way is not None else (HOLE,)))
    if len(texts) == 1:
        return Word(next(iter(texts)), any(way.glob for way in ways if way is not None), False, taints)
    if forget or len(texts) > MAX_WAYS:
        return Word(HOLE, taints=taints | ({"indirection"} if all(HOLE not in text for text in texts) else NONE))
    return Word(HOLE, taints=taints, others=tuple(texts))
