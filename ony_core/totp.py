"""The six-digit code: does it match, and at which time step.

MUST: accept the current and the previous 30-second step only, never a future one (RFC 6238 section 5.2).
MUST: take exactly six ASCII digits; pyotp alone would also take full-width ones.
MUST: report the step, so that the caller can burn it in the same transaction (one code, one decision, over all channels).
MUST NOT: say whether a code was wrong or already used; both are None to whoever typed it.
"""

import base64
import hmac
import re

import pyotp

STEP_S = 30
_SIX_DIGITS = re.compile(r"[0-9]{6}\Z", re.ASCII)


def matching_step(secret: str, code: str, now: int, last_step: int) -> int | None:
    """The time step (unix seconds // 30) that `code` proves, or None. Steps up to `last_step` are burnt. now: UTC seconds."""
    if not _SIX_DIGITS.match(code):
        return None
    totp = pyotp.TOTP(secret)
    current = now // STEP_S
    found = None
    for step in (current, current - 1):
        if hmac.compare_digest(totp.generate_otp(step), code) and step > last_step:
            found = step
    return found


def new_secret(random: bytes) -> str:
    """Base32 of 20 random bytes (160 bits, RFC 4226 section 4)."""
    if len(random) != 20:
        raise ValueError("a TOTP secret is 20 bytes")
    return base64.b32encode(random).decode("ascii")


def provisioning_uri(secret: str, account: str, issuer: str = "Ony") -> str:
    """otpauth:// URI for authenticator apps (github.com/google/google-authenticator/wiki/Key-Uri-Format)."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)
