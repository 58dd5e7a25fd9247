"""Python text that the Python which runs this cannot parse: broken, or of a version with another grammar.

MUST: take it for broken only where no other version could read it, or where it holds no word that could do anything.
"""

import re

from ony_core.facts.handlers.interpreters import telling

_SHORT = 1 << 20
_TWO = re.compile(r"\b(?:print|exec) ")  # Python 2
_OTHER = re.compile(  # grammar that came after 3.11 (PEP 695, 701, 750, 758), or that went with Python 2
    r"(?m)\b(?:[ft]r?|r[ft])[\"']|^\s*type\s+\w|\b(?:def|class)\s+\w+\s*\[|\bexcept\s+\w+\s*,|\braise\s+\w+\s*,|`|<>|\b0\d", re.IGNORECASE
)


def fails_by_itself(source: str) -> bool:
    """A syntax error stops Python before the first statement. Text of another version of the language could run: there, words that start
    programs, delete, connect, write or hide are enough."""
    if len(source) >= _SHORT or _TWO.search(source):
        return False
    return _OTHER.search(source) is None or not any(pattern.search(source) for _, pattern in telling("python"))
