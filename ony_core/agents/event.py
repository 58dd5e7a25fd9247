"""What an agent's hook delivers, and what it gets back: the shapes every agent's module speaks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """An event that asks for no decision about a tool call. source and path: which settings changed, for a change of configuration."""

    event: str
    session: str = ""
    source: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """How the hook ends: exit code 0 with something on stdout, or 2 with nothing there."""

    code: int
    out: bytes = b""
    err: bytes = b""


def blocked(reason: str) -> Reply:
    """Exit code 2, which every version of every agent takes for a no. reason: one line for the model."""
    return Reply(2, b"", b"ony: " + reason.encode("ascii", "replace") + b"\n")
