"""Whether the body of a GraphQL request asks and no more: such requests are sent by POST, whatever they do.

MUST: take a body for a question only if every operation in it is a query, also where two programs could read it differently: a key that
stands twice, a mark of a block string that is itself text.
Source: https://spec.graphql.org/October2021/#sec-Language.Operations
"""

import re
from typing import Any

from ony_core import canon
from ony_core.errors import Malformed

_NO_WORDS = re.compile(r'"""(?:\\"""|[\s\S])*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*')  # strings and comments
_BEGINS = re.compile(r"[\s,]*(?:\{|(?:query|fragment)\b)")
_ACTS = re.compile(r"\b(?:mutation|subscription)\b")


def only_asks(body: str) -> bool:
    """body: JSON, one request or a list of them."""
    try:
        given: Any = canon.loads(body.encode("utf-8", "replace"))
    except Malformed:
        return False
    requests = given if isinstance(given, list) else [given]
    return bool(requests) and all(isinstance(one, dict) and _reads(one.get("query")) for one in requests)


def _reads(text: Any) -> bool:
    if not isinstance(text, str):
        return False
    bare = _NO_WORDS.sub(" ", text)
    return _BEGINS.match(bare) is not None and _ACTS.search(bare) is None
