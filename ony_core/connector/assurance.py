"""What this set-up is worth, in one sentence that is said wherever a person might think it is worth more (docs/threat-model.md)."""

from pathlib import Path
from urllib.parse import urlsplit

from ony_core.connector import enrolled
from ony_core.connector.install import claude
from ony_core.connector.link import is_loopback

SENTENCES = {
    "demo": "Assurance: demo. Server and agent are on one machine: where the agent can reach the server's data, nothing is protected.",
    "advisory": "Assurance: advisory. Stops an agent's mistakes; any repository you open can switch it off with its own settings.",
    "same user": "Assurance: same user. Stops mistakes and prompt injection; a process that sets out to replace Ony as this user wins.",
}


def level(folder: Path) -> str:
    """demo | advisory | same user. The weakest part counts."""
    if is_loopback(urlsplit(enrolled.load(folder).url).hostname or ""):
        return "demo"
    return "advisory" if claude.recorded(folder) else "same user"


def sentence(folder: Path) -> str:
    return SENTENCES[level(folder)]
