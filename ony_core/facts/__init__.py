"""What a tool call really does, in words of the taxonomy's own tables.

MUST: never raise, for any input; what cannot be understood is an `opaque` fact, and opaque is critical.
MUST: put no word of the call itself into a fact, except targets that `facts.targets` lets through.
MUST NOT: read anything but through `place`, run anything, or look at a clock or the environment.
"""

from dataclasses import dataclass

from ony_core.facts.call import Call
from ony_core.facts.place import Place, Unknown
from ony_core.facts.words import Made, Word
from ony_core.model import Fact, ToolCall

__all__ = ["Place", "Understanding", "Unknown", "derive", "understand"]


@dataclass(frozen=True, slots=True)
class Understanding:
    """The facts of a call, and the files it would leave behind (path -> what is known of them) for the calls that follow.

    parse: (depth, words) of every command that was found, in order, where it was asked for. It holds the call's own text and stays here.
    """

    facts: tuple[Fact, ...]
    made: dict[str, Made]
    parse: tuple[tuple[int, list[Word]], ...] = ()


def derive(call: ToolCall, place: Place) -> tuple[Fact, ...]:
    """The facts of one tool call. Pure but for what `place` answers."""
    return understand(call, place).facts


def understand(call: ToolCall, place: Place, earlier: dict[str, Made] | None = None, parse: bool = False) -> Understanding:
    """As `derive`, with the files the call would make; `earlier` holds what the session's calls before it made."""
    from ony_core.facts import tools

    notes = Call(place)
    notes.made.update(earlier or {})
    notes.seen = [] if parse else None
    try:
        if not isinstance(call.tool, str) or not isinstance(call.input, dict):
            notes.opaque("unparsed")
        else:
            tools.understand(notes, call.tool, call.input, place.cwd)
    except RecursionError:
        notes.opaque("too_deep")
    except Exception:  # noqa: BLE001  the boundary of untrusted input: a fault of ours must hold the call, not let it by
        notes.opaque("fault")
    return Understanding(tuple(notes.facts), notes.made, tuple(notes.seen or ()))
