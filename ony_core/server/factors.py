"""The second factor of a login and the codes for when it is lost: a TOTP secret of its own, and ten codes that work once each.

MUST: keep the login's secret apart from the approval's, so that a phished login code approves nothing (OWASP Transaction Authorization
1.4).
MUST: show a secret or a recovery code once, when it is made. MUST: take a new secret into use only after a code of it was shown.
MUST: check and burn inside the caller's transaction, and count wrong ones: five in a row close that way for 15 minutes.
"""

import base64
import hashlib
import re

from ony_core import canon, totp
from ony_core.clock import Clock
from ony_core.server import codes
from ony_core.server.keyring import Keyring
from ony_core.store import rows
from ony_core.store.org import Org

RECOVERY_CODES = 10
SETTING, EVERYBODY, APPROVERS = "second_factor", "everybody", "approvers"  # approvers: and administrators
LOGIN, NEW = "login", "login_new"
_RECOVERY = re.compile(r"[A-Z2-7]{16}\Z", re.ASCII)


def required(org: Org, user: rows.User) -> bool:
    """Administrators and whoever approves on the phone cannot do without; members and viewers where their organisation says so."""
    return user.role == "admin" or org.totp(user.id, "approval") is not None or asked_of(org) == EVERYBODY


def asked_of(org: Org) -> str:
    """EVERYBODY or APPROVERS: of whom the organisation asks a second factor. Settings that cannot be read ask it of everybody."""
    organisation = org.row()
    settings = canon.loads(organisation.policy.encode()) if organisation else None
    return str(settings.get(SETTING, APPROVERS)) if isinstance(settings, dict) else EVERYBODY


def ask_of(org: Org, whom: str, by: str) -> int:
    """From the next login on. Whoever must have one now and has none is logged out; how many sessions that ended."""
    organisation = org.row()
    settings = canon.loads(organisation.policy.encode()) if organisation else {}
    org.set_policy(canon.dumps({**settings, SETTING: whom}).decode("ascii"))
    bare = [user for user in org.users() if required(org, user) and org.totp(user.id, LOGIN) is None]
    ended = sum(org.end_sessions(user.id) for user in bare)
    org.audit("second_factor_asked", whom=whom, by=by, sessions=ended)
    return ended


def begin(org: Org, keyring: Keyring, user: rows.User, clock: Clock) -> dict[str, str]:
    """A new secret, shown this once; the one in use stays in use until `prove`."""
    secret = totp.new_secret(clock.random(20))
    org.drop_totp(user.id, NEW)
    org.add_totp(user.id, NEW, keyring.seal(secret.encode(), f"totp.{NEW}", org.id, user.id, clock))
    return {"totp_secret": secret, "otpauth_uri": totp.provisioning_uri(secret, user.email, "Ony login")}


def prove(org: Org, keyring: Keyring, user: rows.User, code: str, clock: Clock) -> str:
    """codes.RIGHT: the new secret is the one in use now. Its first code is used up with it."""
    result = codes.check(org, keyring, user.id, LOGIN, code, clock, purpose=NEW)
    kept = org.totp(user.id, NEW)
    if result != codes.RIGHT or kept is None:
        return result
    secret = keyring.unseal(kept.secret_sealed, f"totp.{NEW}", org.id, user.id)
    org.drop_totp(user.id, NEW)
    org.drop_totp(user.id, LOGIN)
    org.add_totp(user.id, LOGIN, keyring.seal(secret, f"totp.{LOGIN}", org.id, user.id, clock), kept.last_step)
    org.audit("second_factor", user_id=user.id, result="enrolled")
    return result


def new_recovery_codes(org: Org, user: rows.User, clock: Clock) -> list[str]:
    """Ten codes of 80 bits; the ones before work no longer."""
    made = [base64.b32encode(clock.random(10)).decode("ascii") for _ in range(RECOVERY_CODES)]
    org.set_recovery_codes(user.id, [_digest(code) for code in made])
    org.audit("recovery_codes", user_id=user.id, result="made")
    return ["-".join(code[i : i + 4] for i in range(0, 16, 4)).lower() for code in made]


def recover(org: Org, user_id: str, code: str, clock: Clock) -> str:
    """A recovery code, used up: RIGHT, WRONG or CLOSED, counted apart from six-digit codes."""
    return codes.counted(org, user_id, "recovery", clock, lambda: spent(org, user_id, code))


def shaped(code: str) -> bool:
    """Whether it could be a recovery code."""
    return _RECOVERY.match(_bare(code)) is not None


def spent(org: Org, user_id: str, code: str) -> bool:
    """Whether it was one of the user's recovery codes; it is none any more. The caller counts tries."""
    if not shaped(code) or not org.use_recovery_code(user_id, _digest(_bare(code))):
        return False
    org.audit("recovery_codes", user_id=user_id, result="used", left=org.recovery_codes_left(user_id))
    return True


def _bare(code: str) -> str:
    return re.sub(r"[\s-]", "", code).upper()


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("ascii")).digest()
