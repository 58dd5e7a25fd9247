"""A phone that may decide joins: sealed, masked, endorsed by the approver whose code let it in.

MUST: give a user's first phone the approval secret, and no later one.
MUST: note an endorsing device only where its own owner gave the six digits: connectors pin the new phone by that alone.
MUST NOT: put a number into an audit row or an answer.
"""

import re

from ony_core import totp
from ony_core.clock import Clock, new_id
from ony_core.server import devices
from ony_core.server.keyring import Keyring
from ony_core.store import rows
from ony_core.store.org import Org

E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z", re.ASCII)


def join(org: Org, keyring: Keyring, user: rows.User, number: str, confirmed_by: str, clock: Clock, state: str = "active") -> rows.Device:
    """The new device. confirmed_by: user id of whoever gave their six digits, "" for nobody."""
    device_id, now = new_id("dev", clock), clock.wall()
    endorser = endorsing(org, user, now) if confirmed_by == user.id else None
    device = rows.Device(
        device_id, org.id, user.id, "voice", devices.masked(number),
        keyring.seal(number.encode(), "device.address", org.id, device_id, clock),
        keyring.seal(clock.random(32), "device.decision_key", org.id, device_id, clock), state, now, now,
        endorser.id if endorser else None, now if endorser else None,
    )  # fmt: skip
    org.add_device(device)
    org.bump_policy()
    org.audit("device_added", device_id=device_id, user_id=user.id, device_kind="voice", state=state,
              endorsed_by=endorser.id if endorser else None)  # fmt: skip
    return device


def endorsing(org: Org, user: rows.User, now: int) -> rows.Device | None:
    """The user's oldest device that may decide by now: connectors are most likely to have it pinned."""
    return next((one for one in org.devices(user.id) if one.state == "active" and one.active_from <= now), None)


def first_secret(org: Org, keyring: Keyring, user: rows.User, clock: Clock) -> str | None:
    """A new approval secret, shown this once; None where the user has one."""
    if org.totp(user.id, "approval") is not None:
        return None
    secret = totp.new_secret(clock.random(20))
    org.add_totp(user.id, "approval", keyring.seal(secret.encode(), "totp.approval", org.id, user.id, clock))
    return secret
