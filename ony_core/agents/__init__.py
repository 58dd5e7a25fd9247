"""What each agent says and wants to hear. One module per agent: `read(bytes)` -> ToolCall or Notice, `reply(decision, call)` -> Reply."""

from types import ModuleType

from ony_core.agents import claude

BY_WORD: dict[str, ModuleType] = {"claude": claude}  # the word in the hook's command line


def speaking(agent: str) -> ModuleType:
    """The module of an agent by the name its calls carry ("claude-code")."""
    return next(module for module in BY_WORD.values() if agent == module.AGENT)
