"""The values that flow through a command line: words and streams, each with what is known of it before anything runs.

In a word's text, `HOLE` stands for a piece that only the running shell would know. Taints say where a value came from; they are words of
the taxonomy's trait table, so that they can stand in a fact.
"""

from dataclasses import dataclass

HOLE = "\0"
NUL = "\6"  # a byte of zero in a stream that is otherwise known
NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Flow:
    """What runs through a pipe. text: the exact bytes if they are known before the run, else None."""

    text: str | None = None
    taints: frozenset[str] = NONE

    def also(self, *taints: str) -> "Flow":
        """The same stream after a step that changes its bytes."""
        return Flow(None, self.taints | set(taints))

    def then(self, other: "Flow") -> "Flow":
        """Both streams one after the other."""
        text = None if self.text is None or other.text is None else self.text + other.text
        return Flow(text, self.taints | other.taints)


EMPTY = Flow("")
UNKNOWN = Flow(None)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command. glob: holds an unquoted pattern. flow: the stream behind a process substitution.

    others: where the text is a hole, every text it may be, if they are known: ways that parted have met again.
    """

    text: str
    glob: bool = False
    quoted: bool = False
    taints: frozenset[str] = NONE
    flow: Flow | None = None
    others: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        return HOLE not in self.text

    def part(self, text: str) -> "Word":
        """A piece of this word (the value of `--flag=value`), with the same history."""
        return Word(text, self.glob, self.quoted, self.taints, self.flow)


def hole(*taints: str) -> Word:
    return Word(HOLE, taints=frozenset(taints))


@dataclass(frozen=True, slots=True)
class Made:
    """A file that this call (or an earlier one of the session) wrote. text: its content if known.

    added: what changes are known to have put into it, where nobody can tell the whole.
    """

    text: str | None = None
    taints: frozenset[str] = NONE
    folder: bool = False
    gone: bool = False
    added: str = ""
