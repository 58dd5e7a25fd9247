"""Whether a password may be chosen: long enough, not breached, not made of what everybody knows about the account. Pure.

NIST SP 800-63B section 5.1.1.2 and ASVS 5.0 6.2: length and a list of breached passwords; no rules about kinds of characters, no expiry, no
truncation.
MUST NOT: quote the password, or a part of it, in what it answers.
"""

from collections.abc import Iterable

from ony_core.server.common_passwords import WORDS

SHORTEST, LONGEST_BYTES = 12, 1024
KNOWN_LEAST = 4  # a known word of fewer letters proves nothing
LEFT_LEAST = 8  # what must remain when known words are taken out
DISTINCT_LEAST = 5


def trouble(password: str, known: Iterable[str]) -> str:
    """Why it is refused, "" where it is not. known: organisation, email address, name: their words are no secret."""
    if len(password) < SHORTEST or len(password.encode("utf-8", "replace")) > LONGEST_BYTES:
        return f"a password has at least {SHORTEST} characters and at most {LONGEST_BYTES} bytes"
    folded = password.casefold()
    if folded in WORDS or len(set(folded)) < DISTINCT_LEAST:
        return "this password is among those that are tried first"
    for word in sorted(_words(known), key=len, reverse=True):
        folded = folded.replace(word, "")
    if len(_news(folded)) >= LEFT_LEAST:
        return ""
    return "this password is mostly your name, address or organisation, or a run such as 12345"


def _news(text: str) -> str:
    """The characters that do not just repeat or continue the one before (NIST SP 800-63B: repetitive or sequential characters)."""
    return "".join(now for before, now in zip(" " + text, text, strict=False) if abs(ord(now) - ord(before)) > 1)


def _words(known: Iterable[str]) -> set[str]:
    parts = {part for text in known for part in "".join(c if c.isalnum() else " " for c in text.casefold()).split()}
    return {part for part in parts if len(part) >= KNOWN_LEAST} | {"ony"}
