"""Phones that people add by themselves: the number is theirs once they type the code that was spoken to it.

MUST: ask an approver's code before anything is added, as soon as there is an approver: a phone is another way to decide.
MUST: let a phone decide only once it was called and the spoken code came back in time, in three tries; any but a person's first
only 24 hours later, and tell their other phones of it at once.
MUST NOT: keep a spoken code longer than its call, nor put it or a number into an answer, a log or an audit row.
"""

import asyncio
import hmac
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from ony_core import totp
from ony_core.channels.laml_rest import CallRefused, Unanswered
from ony_core.clock import Clock, rfc3339
from ony_core.errors import OnyError, Refused
from ony_core.server import confirmed, devices, phones
from ony_core.server.errands import Errands
from ony_core.server.keyring import Keyring
from ony_core.server.message import Request, Response, answer, fields, problem
from ony_core.server.sessions import Caller
from ony_core.store import Store, Tx, rows
from ony_core.store.org import Org

CODE_S, TRIES = 10 * 60, 3
LATER_S = 24 * 3600
NEWS = "A new phone was added to your account. It may decide from {} on. If that was not you, revoke it, or freeze everything, at once."
TOMORROW, NOW = "this time tomorrow", "now"

log = logging.getLogger("ony.telephone")


@dataclass(slots=True)
class Spoken:
    """What was said to a number. until: boot clock."""

    code: str
    until: float
    tries: int = 0


class Numbers:
    """errands: None where there is no telephone."""

    def __init__(self, store: Store, keyring: Keyring, errands: Errands | None, clock: Clock) -> None:
        self._store, self._keyring, self._errands, self._clock = store, keyring, errands, clock
        self._spoken: dict[str, Spoken] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def add(self, request: Request, caller: Caller) -> Response:
        """{"number","by"?,"code"?} -> {"device_id","state"}, and the number is called. code: an approver's six digits."""
        wish = fields(request, {"number": str}, {"by": "", "code": ""})
        if self._errands is None:
            return problem(409, "no_voice", "this server has no telephone", "docs/signalwire.md")
        if not phones.E164.match(wish["number"]):
            return problem(400, "bad_number", "that is not a phone number", "write it like +15550100123")
        made = await self._store.write(caller.within(lambda tx: self._added(tx, caller, wish)))
        return made if isinstance(made, Response) else await self._called(made)

    async def call(self, request: Request, caller: Caller, device_id: str) -> Response:
        """{}: the number is called once more, with another code."""
        fields(request, {})
        device = self._store.read(lambda tx: tx.org(caller.user.org_id).device(device_id))
        if device is None or device.state != "unverified":
            return problem(409, "wrong_state", "this phone waits for no code")
        return await self._called(device)

    async def verify(self, request: Request, caller: Caller, device_id: str) -> Response:
        """{"code"} -> {"device_id","active_from","totp_secret","otpauth_uri"}; the secret: shown this once, with a person's first phone."""
        code = fields(request, {"code": str})["code"]
        device = self._store.read(lambda tx: tx.org(caller.user.org_id).device(device_id))
        mine = device is not None and device.user_id == caller.user.id  # an administrator must not get somebody else's secret
        if not mine or not self._heard(device_id, code):
            await self._store.write(
                caller.within(lambda tx: _misheard(tx.org(caller.user.org_id), device_id, caller.user.id))
            )
            return problem(403, "wrong_code", "that is not the code that was spoken, or it has run out", "ask for another call")
        made, others = await self._store.write(caller.within(lambda tx: self._verified(tx.org(caller.user.org_id), device_id)))
        for other in others:
            self._spawn(self._tell(other, TOMORROW))
        return made

    def announce(self, new: rows.Device) -> None:
        """Tells a person's other phones that one was added at the server itself."""
        for other in self._store.read(lambda tx: _others(tx.org(new.org_id), new, self._clock.wall())):
            self._spawn(self._tell(other, NOW))

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---------------------------------------------------------------- inside

    def _added(self, tx: Tx, caller: Caller, wish: dict[str, Any]) -> Response | rows.Device:
        org = tx.org(caller.user.org_id)
        by = confirmed.by_approver(org, self._keyring, wish["by"], wish["code"], self._clock, channel=confirmed.SESSION)
        if isinstance(by, Response):
            return by
        for old in org.devices(caller.user.id):
            if old.state == "unverified":
                devices.revoke_device(org, old.id, caller.user.id)
        return phones.join(org, self._keyring, caller.user, wish["number"], by, self._clock, "unverified")

    async def _called(self, device: rows.Device) -> Response:
        code = f"{int.from_bytes(self._clock.random(8), 'big') % 1_000_000:06d}"
        self._spoken = {name: one for name, one in self._spoken.items() if one.until > self._clock.boot()}
        before, self._spoken[device.id] = self._spoken.get(device.id), Spoken(code, self._clock.boot() + CODE_S)
        said = f"Your code is {', '.join(code)}."
        try:
            if self._errands is not None:
                await self._errands.verify(device, (said, f"Again. {said}"))
        except Refused as refused:
            self._unspoken(device.id, before)
            return problem(429, refused.reason, refused.what)
        except (CallRefused, Unanswered):
            return problem(502, "not_called", "the telephone provider did not take the call", "check the number, then ask for another call")
        return answer({"device_id": device.id, "state": device.state}, 202)

    def _unspoken(self, device_id: str, before: Spoken | None) -> None:
        """A call that was not placed gives nobody three more tries."""
        if before is None:
            self._spoken.pop(device_id, None)
        else:
            self._spoken[device_id] = before

    def _heard(self, device_id: str, code: str) -> bool:
        spoken = self._spoken.get(device_id)
        if spoken is None or spoken.until <= self._clock.boot() or spoken.tries >= TRIES:
            return False
        spoken.tries += 1
        right = hmac.compare_digest(spoken.code.encode(), code.strip().encode("utf-8", "replace"))
        if right:
            del self._spoken[device_id]
        return right

    def _verified(self, org: Org, device_id: str) -> tuple[Response, list[rows.Device]]:
        device = org.device(device_id)
        user = org.user(device.user_id) if device else None
        if device is None or user is None or device.state != "unverified":
            return problem(409, "wrong_state", "this phone waits for no code"), []
        now, secret = self._clock.wall(), phones.first_secret(org, self._keyring, user, self._clock)
        active_from = now if secret else now + LATER_S  # also where every other phone was revoked a moment ago
        others = _others(org, device, now)
        org.activate_device(device.id, active_from)
        org.bump_policy()
        org.audit("device_verified", device_id=device.id, user_id=user.id, active_from=rfc3339(active_from))
        return answer({
            "device_id": device.id, "state": "active", "active_from": rfc3339(active_from), "totp_secret": secret,
            "otpauth_uri": totp.provisioning_uri(secret, user.email) if secret else None,
        }), others  # fmt: skip

    async def _tell(self, device: rows.Device, when: str) -> None:
        news = NEWS.format(when)
        try:
            if self._errands is not None:
                await self._errands.announce(device, (news, f"Again. {news}"))
        except OnyError as trouble:
            log.warning("an announcement did not reach a phone: %s", type(trouble).__name__)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _misheard(org: Org, device_id: str, user_id: str) -> None:
    org.audit("device_code", device_id=device_id, user_id=user_id, result="wrong")


def _others(org: Org, new: rows.Device, now: int) -> list[rows.Device]:
    """The phones of the same person that may decide by now."""
    mine = [one for one in org.devices(new.user_id) if one.id != new.id and one.kind == "voice"]
    return [one for one in mine if one.state == "active" and one.active_from <= now]
