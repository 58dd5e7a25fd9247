"""Whether a text looks like a credential. Errs towards yes: a name taken for a secret is merely not spoken.

Shapes of well-known tokens, assignments to secret-sounding names, and long strings of high entropy.
"""

import math
import re
from collections import Counter

_TOKENS = re.compile(
    r"""(?x) -----BEGIN\ | eyJ[A-Za-z0-9_-]{8,} | \bAKIA[0-9A-Z]{12,} | \bASIA[0-9A-Z]{12,} | \bgh[pousr]_\w{8,} | github_pat_\w+
    | \bglpat-[\w-]{8,} | \bxox[abeprs]-[\w-]{6,} | \bsk-[\w-]{10,} | \b[sr]k_(?:live|test)_\w{6,} | \bAIza[\w-]{20,} | \bya29\.[\w-]+
    | \bnpm_\w{10,} | \bpypi-[\w-]{10,} | \bdop_v1_\w{10,} | \bhvs\.[\w-]{6,} | \bSG\.[\w-]{6,} | \bkey-[0-9a-f]{16,}
"""
)
_NAMED = re.compile(r"""(?x) (?i:password|passwd|secret|token|api[_-]?key|credential|private[_-]?key)\s*[=:] | ://[^/\s:@]+:[^/\s@]+@""")
MASK = "[masked]"
_WHOLE_TOKENS = re.compile(
    r"-----BEGIN .*?(?:-----END [^-]*-----|\Z)|(?:" + _TOKENS.pattern.replace("(?x)", "") + r")[^\s\"']*", re.DOTALL | re.VERBOSE
)
_VALUES = re.compile(
    r"""(?ix)((?:password|passwd|secret|token|api[_-]?key|credential|private[_-]?key)\w*["']?\s*[=:]\s*
    |--?(?:password|token|secret)[=\ ]|authorization:\s*(?:bearer|basic|token)\s+|://[^/\s:@]*:)(?:"[^"]*"|'[^']*'|[^\s"'@&]+)"""
)
_RUN = re.compile(r"[A-Za-z0-9+/_=-]{20,}")


def token_shaped(text: str) -> bool:
    """Only what has the shape of a well-known token: identifiers, digests and page marks of ordinary services are random too."""
    return _TOKENS.search(text) is not None


def looks_secret(text: str) -> bool:
    return token_shaped(text) or _NAMED.search(text) is not None or any(_random(run) for run in _RUN.findall(text))


def masked(text: str) -> str:
    """The text with every run that looks like a credential put out of sight."""
    text = _WHOLE_TOKENS.sub(MASK, text)
    text = _VALUES.sub(lambda found: found[1] + MASK, text)
    return _RUN.sub(lambda found: MASK if _random(found[0]) else found[0], text)


def _random(run: str) -> bool:
    """More than 3.5 bits a character over at least 20 characters, with digits in it: words and paths stay below."""
    if not any(c.isdigit() for c in run) or not any(c.isalpha() for c in run):
        return False
    counts = Counter(run)
    return -sum(n / len(run) * math.log2(n / len(run)) for n in counts.values()) > 3.5
