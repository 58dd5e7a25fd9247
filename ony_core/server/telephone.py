"""Rings phones, and hears what is pressed: the voice channel between the desk and a telephone provider.

Decides whose phone rings next. Words belong to channels/voice.py, webhooks to server/webhooks.py, decisions to the desk.

MUST NOT dial a number that is not an enrolled, active device's, nor let it reach a log or an audit row.
MUST ring a user for one request at a time: a second call would find the line busy, and hurry the first.
MUST NOT treat an unanswered phone, a voicemail box or trouble at the provider as a decision.
"""

import asyncio
import contextlib
import logging
import re
from collections import defaultdict, deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from ony_core.channels.laml_rest import TERMINAL, Account, CallRefused, Laml, Unanswered
from ony_core.channels.voice import DECIDING, DONE
from ony_core.clock import Clock
from ony_core.config import Voice
from ony_core.errors import Refused, UsageError
from ony_core.server.desk import Desk
from ony_core.server.errands import Errands
from ony_core.server.keyring import Keyring
from ony_core.server.message import Request, Response
from ony_core.server.webhooks import Webhooks, digest_of, end, pin, row_of
from ony_core.states import WAITING
from ony_core.store import Store, rows
from ony_core.store.org import Org

RING_S = 25  # shorter than most voicemail boxes wait
BUSY_RETRY_S = 60
RECONCILE_S = 60  # a call that has not told how it ended by then is asked about
_BASE_URLS = {"signalwire": "https://{space}.signalwire.com/api/laml/2010-04-01", "twilio": "https://api.twilio.com/2010-04-01"}
_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z", re.ASCII)

log = logging.getLogger("ony.telephone")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One device to ring, and when. again: the one more try that a busy line gets."""

    device: rows.Device
    wait_s: float = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Dialled:
    attempt: Attempt
    digest: bytes
    ending: "asyncio.Future[str]"


class Telephone:
    """The voice channel. settings: the [voice] part. public_url: where the provider reaches us, and what it signs over."""

    name = "voice"

    def __init__(
        self,
        settings: Voice,
        store: Store,
        desk: Desk,
        keyring: Keyring,
        clock: Clock,
        *,
        public_url: str,
        busy_retry_s: float = BUSY_RETRY_S,
    ) -> None:
        self._settings, self._store, self._desk, self._keyring, self._clock = settings, store, desk, keyring, clock
        self._public_url, self._busy_retry_s = public_url.rstrip("/"), busy_retry_s
        self._webhooks = Webhooks(
            settings, store, desk, clock, public_url=self._public_url, keys=signing_keys(settings), number_of=self._number,
            ended=self._told, unwanted=lambda sid: self._spawn(self._hang_up(sid)),
        )  # fmt: skip
        self._laml = Laml(account(settings))
        self.errands = Errands(
            settings, store, self._laml, clock, public_url=self._public_url, keys=signing_keys(settings), number_of=self._number
        )
        self._endings: dict[bytes, asyncio.Future[str]] = {}
        self._lines: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # of each user: held while one request is on the phone
        self._tasks: set[asyncio.Task[Any]] = set()

    async def ring(self, org_id: str, handoff: rows.Handoff) -> bool:
        """Ring the phones of the connector's user, one after the other, when it is its turn. False: none could be rung at all."""
        plan = deque(Attempt(device) for device in self._store.read(lambda tx: _phones(tx.org(org_id), handoff, self._clock.wall())))
        if not plan:
            return False
        line = self._lines[plan[0].device.user_id]
        if line.locked():
            self._spawn(self._later(line, org_id, handoff.id, plan))
            return True
        await line.acquire()
        return await self._started(line, org_id, handoff.id, plan)

    async def _later(self, line: asyncio.Lock, org_id: str, request_id: str, plan: deque[Attempt]) -> None:
        """Locks are given in the order in which they were asked for."""
        await line.acquire()
        waiting = self._waiting(org_id, request_id)
        if not await self._started(line, org_id, request_id, plan) and waiting:
            await self._desk.unreached(org_id, request_id)

    async def _started(self, line: asyncio.Lock, org_id: str, request_id: str, plan: deque[Attempt]) -> bool:
        """Rings the first phone; the line is given back when nobody is rung for this request any more."""
        dialled = None
        try:
            dialled = await self._next(org_id, request_id, plan)
        finally:
            if dialled is None:
                line.release()
        if dialled is not None:
            self._spawn(self._follow(line, org_id, request_id, plan, dialled))
        return dialled is not None

    async def stop(self, org_id: str, handoff: rows.Handoff) -> None:
        """The handoff is settled: stop what still rings or talks. The call that settled it says its own goodbye. Returns at once."""
        for call in self._store.read(lambda tx: tx.org(org_id).calls(handoff.id)):
            if call.ended_at is None and call.sid and call.step not in (DECIDING, DONE):
                self._spawn(self._hang_up(call.sid))

    async def webhook(self, request: Request) -> Response:
        """POST /v1/voice/{nonce}/start|gate|choice|code|status."""
        return await (self.errands if self.errands.knows(request) else self._webhooks).answer(request)

    async def close(self) -> None:
        """Stop following calls; those in progress are the provider's to end."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._laml.close()

    # ---------------------------------------------------------------- ringing

    async def _follow(self, line: asyncio.Lock, org_id: str, request_id: str, plan: deque[Attempt], first: Dialled) -> None:
        """Busy: the same phone once more, a minute later. Every other end without a decision: the next phone, or none."""
        dialled: Dialled | None = first
        try:
            while dialled is not None:
                status = await self._ended(org_id, request_id, dialled)
                if status == "busy" and not dialled.attempt.again:
                    plan.appendleft(Attempt(dialled.attempt.device, self._busy_retry_s, again=True))
                dialled = await self._next(org_id, request_id, plan)
        finally:
            line.release()

    async def _next(self, org_id: str, request_id: str, plan: deque[Attempt]) -> Dialled | None:
        """Dial the first of the plan that the provider takes, while somebody still waits for a decision."""
        while plan:
            attempt = plan.popleft()
            if attempt.wait_s:
                await asyncio.sleep(attempt.wait_s)
            if not self._waiting(org_id, request_id):
                return None
            if not self._active(org_id, attempt.device.id):  # revoked since the plan was made
                continue
            with contextlib.suppress(CallRefused, Refused):  # logged where it was met; or the handoff was settled meanwhile
                return await self._dial(org_id, request_id, attempt)
        return None

    async def _dial(self, org_id: str, request_id: str, attempt: Attempt) -> Dialled:
        """One call: its row is committed before the provider hears of it, so that no webhook can come too early."""
        number, nonce = self._number(org_id, attempt.device), self._clock.random(32).hex()
        digest = digest_of(nonce)
        await self._store.write(lambda tx: self._record(tx.org(org_id), request_id, attempt.device, nonce))
        await self._desk.ringing(org_id, request_id)
        dialled = Dialled(attempt, digest, asyncio.get_running_loop().create_future())
        self._endings[digest] = dialled.ending
        url = f"{self._public_url}/v1/voice/{nonce}"
        try:
            sid = await self._laml.create(to=number, caller=self._settings.caller, url=f"{url}/start", status_url=f"{url}/status",
                                          ring_s=RING_S, max_price=self._settings.max_price)  # fmt: skip
        except CallRefused as refused:
            reason = refused.reason
            log.warning("call refused by the provider: %s", reason)
            await self._store.write(lambda tx: end(tx, digest, "refused", reason, self._clock.wall()))
            raise
        except Unanswered:
            log.warning("the provider did not answer a create: the call's own webhooks will tell")
            return dialled
        if not (await self._pinned(digest, sid) and self._waiting(org_id, request_id)):
            self._spawn(self._hang_up(sid))
        return dialled

    async def _pinned(self, digest: bytes, sid: str) -> bool:
        """False where an earlier create, which the provider had called failed, rings already."""
        try:
            await self._store.write(lambda tx: pin(tx, digest, sid))
        except Refused:
            return False
        return True

    def _record(self, org: Org, request_id: str, device: rows.Device, nonce: str) -> None:
        provider = self._settings.provider
        org.add_call(nonce_digest=digest_of(nonce), request_id=request_id, device_id=device.id, provider=provider)
        org.audit("call", request_id=request_id, device_id=device.id, step="placed")

    def _number(self, org_id: str, device: rows.Device) -> str:
        number = self._keyring.unseal(device.address_sealed, "device.address", org_id, device.id).decode()
        if not _E164.match(number) or number == self._settings.caller:
            raise CallRefused("number")
        return str(number)

    async def _ended(self, org_id: str, request_id: str, dialled: Dialled) -> str:
        """How the call ended: told by a status callback, or, when those are lost, asked of the provider."""
        try:
            while not dialled.ending.done():
                await asyncio.wait({dialled.ending}, timeout=RECONCILE_S)
                if not dialled.ending.done() and not await self._lives(org_id, request_id, dialled):
                    return "lost"
            return dialled.ending.result()
        finally:
            self._endings.pop(dialled.digest, None)

    async def _lives(self, org_id: str, request_id: str, dialled: Dialled) -> bool:
        call = self._store.read(lambda tx: row_of(tx, dialled.digest))
        if not call.sid or not self._waiting(org_id, request_id):
            return False
        try:
            status = await self._laml.status(call.sid)
        except (CallRefused, Unanswered):
            return False
        if status in TERMINAL:
            await self._store.write(lambda tx: end(tx, dialled.digest, status, "", self._clock.wall()))
        return status not in TERMINAL

    def _waiting(self, org_id: str, request_id: str) -> bool:
        handoff = self._store.read(lambda tx: tx.org(org_id).handoff(request_id))
        return handoff is not None and handoff.state in WAITING and handoff.deadline_at > self._clock.wall()

    def _active(self, org_id: str, device_id: str) -> bool:
        device = self._store.read(lambda tx: tx.org(org_id).device(device_id))
        return device is not None and device.state == "active"

    async def _hang_up(self, sid: str) -> None:
        try:
            await self._laml.end(sid)
        except (CallRefused, Unanswered) as trouble:
            log.warning("a call could not be ended: %s", trouble)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("following a call failed: %s", type(task.exception()).__name__)

    def _told(self, digest: bytes, status: str) -> None:
        ending = self._endings.get(digest)
        if ending is not None and not ending.done():
            ending.set_result(status)


def account(settings: Voice) -> Account:
    """The provider account of the [voice] settings. UsageError names the setting that is missing or wrong."""
    if settings.provider not in _BASE_URLS:
        raise UsageError("voice.provider is not known", f"use one of: {', '.join(sorted(_BASE_URLS))}")
    for name in ("project_id", "api_token", "caller"):
        if not getattr(settings, name):
            raise UsageError(f"voice.{'from' if name == 'caller' else name} is empty", "docs/signalwire.md says where to find it")
    if not _E164.match(settings.caller):
        raise UsageError("voice.from is not a phone number", "write it like +15550100000")
    base_url = settings.base_url or _BASE_URLS[settings.provider].format(space=settings.space)
    return Account(settings.provider, base_url, settings.project_id, settings.api_token)


def signing_keys(settings: Voice) -> tuple[str, ...]:
    """The keys a webhook may be signed with: the current one, and during a rotation the one before. UsageError without any."""
    keys = tuple(filter(None, (settings.signing_key, settings.old_signing_key)))
    if not keys:
        raise UsageError("voice.signing_key is empty", "without it nobody can tell a call from a forgery: docs/signalwire.md")
    return keys


def _phones(org: Org, handoff: rows.Handoff, now: int) -> list[rows.Device]:
    """The owner's phones that may decide by now, in the order they were enrolled."""
    connector = org.connector(handoff.connector_id)
    devices = org.devices(connector.user_id) if connector is not None else []
    return [d for d in devices if d.kind == "voice" and d.state == "active" and d.active_from <= now]
