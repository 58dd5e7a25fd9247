"""What a verdict is bound to: the exact call and everything read to understand it, as one keyed digest. The key never leaves this machine.

MUST cover tool, input, working folder, session and evidence; MUST leave out the remarks that a model rewords on a retry, and nothing else.
"""

import hmac
from typing import Any

from ony_core import canon
from ony_core.model import Evidence, ToolCall

_REMARKS = {"Bash": ("description",)}


def request(key: bytes, call: ToolCall, session: str, evidence: Evidence) -> str:
    """ "hmac-sha256:<hex>". session: the alias of the call's session."""
    return canon.hmac_sha256(key, canon.dumps(_bound(call, session, evidence)))


def alias(key: bytes, agent: str, session: str) -> str:
    """The name under which a session leaves this machine: sess_ + 128 bits that say nothing about it."""
    return "sess_" + hmac.digest(key, f"{agent}\0{session}".encode(), "sha256")[:16].hex()


def _bound(call: ToolCall, session: str, evidence: Evidence) -> dict[str, Any]:
    left_out = _REMARKS.get(call.tool, ())
    return {
        "v": 1, "agent": call.agent, "session": session, "subagent": call.subagent, "tool": call.tool, "cwd": call.cwd,
        "input": {name: value for name, value in call.input.items() if name not in left_out},
        "files": sorted(evidence.files), "places": sorted(evidence.places), "environment": sorted(evidence.environment),
    }  # fmt: skip
