"""What each agent says and wants to hear. One module per agent, all of one shape."""

from typing import Protocol, cast

from ony_core.agents import claude
from ony_core.agents.event import Notice, Reply
from ony_core.model import Decision, ToolCall


class Agent(Protocol):
    """What a module here offers."""

    AGENT: str

    def read(self, data: bytes) -> ToolCall | Notice:
        """One event. Malformed for what cannot be read for sure."""
        ...

    def reply(self, decision: Decision, call: ToolCall) -> Reply: ...

    def refuse(self, reason: str) -> Reply:
        """The no to an event that could not be read."""
        ...

    def answer(self, notice: Notice, harm: str) -> Reply: ...

    def changes_settings(self, notice: Notice) -> bool: ...

    def public_tool(self, tool: str) -> str:
        """The tool's name as it may leave this machine."""
        ...


BY_WORD: dict[str, Agent] = {"claude": cast(Agent, claude)}  # the word in the hook's command line


def speaking(agent: str) -> Agent:
    """The module of an agent by the name its calls carry ("claude-code")."""
    return next(module for module in BY_WORD.values() if agent == module.AGENT)
