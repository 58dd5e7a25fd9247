"""Claude Code: the event on a hook's stdin becomes a ToolCall, a Decision becomes the JSON it reads.

MUST refuse an event it cannot read whole, or whose name it does not know: an unknown event may be the renamed one that guards tool calls.
MUST answer a pass with `{}` (no opinion) and never with `allow`: an allow overrules the prompts the user asked for.
MUST repeat the approved input in an allow: another hook may have rewritten it, and the last answer to arrive wins.
Source: code.claude.com/docs/en/hooks, and the behaviour measured on 2.1.197 and 2.1.329 (docs/claude-code.md).
"""

from typing import Any

from ony_core import canon
from ony_core.agents.event import Notice, Reply, blocked
from ony_core.errors import Malformed
from ony_core.model import Decision, ToolCall

AGENT = "claude-code"
_GATED = "PreToolUse"
_CONFIGURATION = "ConfigChange"
_OBSERVED = frozenset(
    {"SessionStart", "SessionEnd", "UserPromptSubmit", "UserPromptExpansion", "PostToolUse", "PostToolUseFailure", "PostToolBatch",
     "PermissionRequest", "PermissionDenied", "Notification", "Stop", "StopFailure", "SubagentStart", "SubagentStop", "PreCompact",
     "PostCompact", "MessageDisplay", "TaskCreated", "TaskCompleted", "TeammateIdle", "InstructionsLoaded", "WorktreeCreate",
     "WorktreeRemove", "Setup", "Elicitation", "ElicitationResult", "CwdChanged", "FileChanged"}
)  # fmt: skip
# Built-in tools whose names may leave this machine; every other name could hold anything.
_TOOLS = frozenset(
    {"Agent", "AskUserQuestion", "Bash", "BashOutput", "CronCreate", "CronDelete", "CronList", "Edit", "EnterPlanMode", "EnterWorktree",
     "ExitPlanMode", "ExitWorktree", "Glob", "Grep", "KillShell", "ListAgents", "LS", "Monitor", "NotebookEdit", "Read", "ReportFindings",
     "ScheduleWakeup", "SendMessage", "Skill", "TaskCreate", "TaskGet", "TaskList", "TaskOutput", "TaskStop", "TaskUpdate", "TodoWrite",
     "ToolSearch", "WebFetch", "WebSearch", "Workflow", "Write"}
)  # fmt: skip
_LONGEST = 4096


def read(data: bytes) -> ToolCall | Notice:
    """Malformed says what is missing, never what was there."""
    event = canon.loads(data)
    if not isinstance(event, dict):
        raise Malformed("the event is not a JSON object")
    name = _text(event, "hook_event_name")
    if name == _GATED:
        return _call(event)
    if name not in _OBSERVED and name != _CONFIGURATION:
        raise Malformed("the event has a name this version of Ony does not know", "update Ony")
    return Notice(name, _optional(event, "session_id"), _optional(event, "source"), _optional(event, "file_path"))


def reply(decision: Decision, call: ToolCall) -> Reply:
    """The whole answer to a PreToolUse event."""
    if decision.outcome == "pass":
        return Reply(0, b"{}")
    said: dict[str, Any] = {"hookEventName": _GATED, "permissionDecisionReason": decision.reason}
    if decision.outcome == "allow":
        said |= {"permissionDecision": "allow", "updatedInput": call.input}
    else:
        said["permissionDecision"] = "ask" if decision.outcome == "ask" else "deny"
    return Reply(0, canon.dumps({"hookSpecificOutput": said}))


def refuse(reason: str) -> Reply:
    """The answer to an event that could not be read: a deny, which no other kind of event takes for a yes."""
    return reply(Decision("deny", reason), ToolCall(AGENT, "", "", {}, "/"))


def answer(notice: Notice, harm: str) -> Reply:
    """No opinion on what has happened already; a veto where a change of settings would weaken the gate. harm: how, "" = not at all."""
    if notice.event == _CONFIGURATION and harm:
        return Reply(0, canon.dumps({"decision": "block", "reason": f"Ony: {harm}, so this change does not take effect"}))
    return Reply(0, b"{}")


def changes_settings(notice: Notice) -> bool:
    return notice.event == _CONFIGURATION


def public_tool(tool: str) -> str:
    """The tool's name as it may leave this machine."""
    if tool in _TOOLS:
        return tool
    return "mcp:unlisted" if tool.startswith("mcp__") else "unlisted"


def _call(event: dict[str, Any]) -> ToolCall:
    cwd, given = _text(event, "cwd"), event.get("tool_input")
    if not isinstance(given, dict):
        raise Malformed("the event's tool_input is not an object")
    if not cwd.startswith("/"):
        raise Malformed("the event's cwd is not an absolute path")
    return ToolCall(AGENT, _text(event, "session_id"), _text(event, "tool_name"), given, cwd, _optional(event, "permission_mode"),
                    _optional(event, "tool_use_id"), _optional(event, "agent_id"))  # fmt: skip


def _text(event: dict[str, Any], name: str) -> str:
    value = _optional(event, name)
    if not value:
        raise Malformed(f"the event has no {name}")
    return value


def _optional(event: dict[str, Any], name: str) -> str:
    value = event.get(name, "")
    if not isinstance(value, str) or len(value) > _LONGEST or "\0" in value:
        raise Malformed(f"the event's {name} is not a short text")
    return value


__all__ = ["AGENT", "answer", "blocked", "changes_settings", "public_tool", "read", "refuse", "reply"]
