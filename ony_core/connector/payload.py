"""The raw call as it goes to the dashboard, where the owner wants that at both ends: cut short, with what looks like a secret masked.

MUST NOT: be called unless `Gate.attaches`.
"""

import json

from ony_core.facts.secrets import masked
from ony_core.model import ToolCall

LONGEST = 16 * 1024  # characters; the server takes no more
CUT = "\n[cut short]"


def text(call: ToolCall) -> str:
    """The command of a shell call, else the tool and its input as JSON."""
    command = call.input.get("command") if isinstance(call.input, dict) else None
    shown = command if isinstance(command, str) else f"{call.tool} {json.dumps(call.input, ensure_ascii=False, indent=2)}"
    whole = masked(shown.encode("utf-8", "replace").decode("utf-8"))
    return whole if len(whole) <= LONGEST else whole[: LONGEST - len(CUT)] + CUT
