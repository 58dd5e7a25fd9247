"""Rings phones, and hears what is pressed: the voice channel between the desk and a telephone provider.

Decides whose phone rings next, and whether a webhook is what it claims to be. Words belong to channels/voice.py, decisions to the desk.

MUST accept a webhook only if it is signed over the configured public address, names a call of ours by its nonce, and carries the pinned
CallSid, our account, the number we dialled and the very prompt we served last; each is accepted once. Anything else: 403, no detail, an
audit row.
MUST let the desk store a decision before the document that says so is returned.
MUST NOT decide anything from a status callback: they are advisory, late, repeated and out of order.
MUST NOT dial a number that is not an enrolled, active device's, nor let a number, a key or a code reach a log or an audit row.
"""

import asyncio
import contextlib
import hashlib
import logging
import re
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from ony_core.channels import laml, voice
from ony_core.channels.laml_rest import TERMINAL, Account, CallRefused, Laml, Unanswered
from ony_core.channels.voice import CREATED, DECIDING, DONE, Leg, Talk, Turn, Wish
from ony_core.clock import Clock
from ony_core.errors import Malformed, OnyError, Refused, UsageError
from ony_core.server.message import Request, Response
from ony_core.states import WAITING

RING_S = 25  # shorter than most voicemail boxes wait
BUSY_RETRY_S = 60
RECONCILE_S = 60  # a call that has not told how it ended by then is asked about
ANSWER_S = 4.0  # SignalWire gives a webhook 5 s
STATUSES = TERMINAL | {"queued", "initiated", "ringing", "in-progress"}
_BASE_URLS = {"signalwire": "https://{space}.signalwire.com/api/laml/2010-04-01", "twilio": "https://api.twilio.com/2010-04-01"}
_ADDRESS = re.compile(r"/v1/voice/([0-9a-f]{64})/(start|gate|choice|code|status)\Z", re.ASCII)
_PROMPT = re.compile(r"n=([1-9])\Z", re.ASCII)
_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z", re.ASCII)
_SID = re.compile(r"[A-Za-z0-9-]{2,64}\Z", re.ASCII)
_KEYS = re.compile(r"[0-9*#]{0,32}\Z", re.ASCII)
_RANK = {"queued": 0, "initiated": 0, "ringing": 1, "in-progress": 2}

log = logging.getLogger("ony.telephone")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One device to ring, and when. again: the one more try that a busy line gets."""

    device: Any
    wait_s: float = 0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Dialled:
    attempt: Attempt
    digest: bytes
    ending: "asyncio.Future[str]"


class Telephone:
    """The voice channel. voice: the [voice] settings. public_url: where the provider reaches us, and what it signs over."""

    name = "voice"

    def __init__(
        self, settings: Any, store: Any, desk: Any, keyring: Any, clock: Clock, *, public_url: str, busy_retry_s: float = BUSY_RETRY_S
    ) -> None:
        self._settings, self._store, self._desk, self._keyring, self._clock = settings, store, desk, keyring, clock
        self._public_url, self._busy_retry_s = public_url.rstrip("/"), busy_retry_s
        self._keys = signing_keys(settings)
        self._laml = Laml(account(settings))
        self._endings: dict[bytes, asyncio.Future[str]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def ring(self, org_id: str, handoff: Any) -> bool:
        """Ring the phones of the connector's user, one after the other. False: none could be rung at all."""
        plan = deque(Attempt(device) for device in self._store.read(lambda tx: _phones(tx.org(org_id), handoff, self._clock.wall())))
        dialled = await self._next(org_id, handoff.id, plan)
        if dialled is None:
            return False
        self._spawn(self._follow(org_id, handoff.id, plan, dialled))
        return True

    async def stop(self, org_id: str, handoff: Any) -> None:
        """The handoff is settled: stop what still rings or talks. The call that settled it says its own goodbye. Returns at once."""
        for call in self._store.read(lambda tx: tx.org(org_id).calls(handoff.id)):
            if call.ended_at is None and call.sid and call.step not in (DECIDING, DONE):
                self._spawn(self._hang_up(call.sid))

    async def webhook(self, request: Request) -> Response:
        """POST /v1/voice/{nonce}/start|gate|choice|code|status. Everything that does not fit is 403, without a word why."""
        call = None
        try:
            digest, step = _address(request)
            call = self._store.read(lambda tx: tx.call_by_nonce(digest))
            if call is None:
                raise Refused("unknown_call")
            form = self._form(request, call)
            if step == "status":
                return await self._status(call, form)
            return await self._turn(call, step, request, form)
        except (Refused, Malformed) as refused:
            return await self._refuse(call, getattr(refused, "reason", "malformed"))

    async def close(self) -> None:
        """Stop following calls; those in progress are the provider's to end."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._laml.close()

    # ---------------------------------------------------------------- ringing

    async def _follow(self, org_id: str, request_id: str, plan: deque[Attempt], dialled: Dialled | None) -> None:
        """Busy: the same phone once more, a minute later. Every other end without a decision: the next phone, or none."""
        while dialled is not None:
            status = await self._ended(org_id, request_id, dialled)
            if status == "busy" and not dialled.attempt.again:
                plan.appendleft(Attempt(dialled.attempt.device, self._busy_retry_s, again=True))
            dialled = await self._next(org_id, request_id, plan)

    async def _next(self, org_id: str, request_id: str, plan: deque[Attempt]) -> Dialled | None:
        """Dial the first of the plan that the provider takes, while somebody still waits for a decision."""
        while plan:
            attempt = plan.popleft()
            if attempt.wait_s:
                await asyncio.sleep(attempt.wait_s)
            if not self._waiting(org_id, request_id):
                return None
            with contextlib.suppress(CallRefused, Refused):  # logged where it was met; or the handoff was settled meanwhile
                return await self._dial(org_id, request_id, attempt)
        return None

    async def _dial(self, org_id: str, request_id: str, attempt: Attempt) -> Dialled:
        """One call: its row is committed before the provider hears of it, so that no webhook can come too early."""
        number, nonce = self._number(org_id, attempt.device), self._clock.random(32).hex()
        digest = _digest(nonce)
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
            await self._store.write(lambda tx: self._end(tx, digest, "refused", reason))
            raise
        except Unanswered:
            log.warning("the provider did not answer a create: the call's own webhooks will tell")
            return dialled
        try:
            await self._store.write(lambda tx: _pin(tx, digest, sid))
        except Refused:  # an earlier create, which the provider had called failed, rings already
            self._spawn(self._hang_up(sid))
        return dialled

    def _record(self, org: Any, request_id: str, device: Any, nonce: str) -> None:
        org.add_call(nonce_digest=_digest(nonce), request_id=request_id, device_id=device.id, nonce=nonce, provider=self._settings.provider)
        org.audit("call", request_id=request_id, device_id=device.id, step="placed")

    def _number(self, org_id: str, device: Any) -> str:
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
        call = self._store.read(lambda tx: tx.call_by_nonce(dialled.digest))
        if call is None or not call.sid or not self._waiting(org_id, request_id):
            return False
        try:
            status = await self._laml.status(call.sid)
        except (CallRefused, Unanswered):
            return False
        if status in TERMINAL:
            await self._store.write(lambda tx: self._end(tx, dialled.digest, status, ""))
        return status not in TERMINAL

    def _waiting(self, org_id: str, request_id: str) -> bool:
        handoff = self._store.read(lambda tx: tx.org(org_id).handoff(request_id))
        return handoff is not None and handoff.state in WAITING and handoff.deadline_at > self._clock.wall()

    async def _hang_up(self, sid: str) -> None:
        try:
            await self._laml.end(sid)
        except (CallRefused, Unanswered) as trouble:
            log.warning("a call could not be ended: %s", trouble.what)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("following a call failed: %s", type(task.exception()).__name__)

    # ---------------------------------------------------------------- webhooks

    def _form(self, request: Request, call: Any) -> laml.Form:
        """The body, once everything about it that needs no lock has been checked."""
        if request.method != "POST" or request.header("content-type").split(";")[0].strip() != "application/x-www-form-urlencoded":
            raise Refused("not_a_form")
        form = laml.form(request.body)
        url = self._public_url + request.path + (f"?{request.query}" if request.query else "")
        given = next(filter(None, map(request.header, laml.signature_headers(self._settings.provider))), "")
        if not laml.signed(self._keys, url, form.pairs, given):
            raise Refused("bad_signature")
        if form.get("AccountSid") != self._settings.project_id:
            raise Refused("wrong_account")
        if form.get("To") != self._dialled_number(call):
            raise Refused("wrong_number")
        if not _SID.match(form.get("CallSid")) or not _KEYS.match(form.get("Digits")):
            raise Refused("malformed")
        return form

    def _dialled_number(self, call: Any) -> str:
        device = self._store.read(lambda tx: tx.org(call.org_id).device(call.device_id))
        return self._number(call.org_id, device)

    async def _turn(self, call: Any, step: str, request: Request, form: laml.Form) -> Response:
        """The next document. Where the keys ask something of the desk, its answer is stored before this returns."""
        prompt = _prompt(request, step)
        turn, talk = await self._store.write(lambda tx: self._advance(tx, call.nonce_digest, step, prompt, form))
        if turn.wish is not None:
            outcome = await self._settled(call, turn.wish, form.get("CallSid"))
            turn = voice.settle(turn.leg, turn.wish, outcome, talk)
            await self._store.write(lambda tx: self._serve(tx, call.nonce_digest, turn))
        assert turn.document is not None
        nonce = request.path.split("/")[3]
        return Response(200, laml.render(turn.document, f"{self._public_url}/v1/voice/{nonce}"), laml.CONTENT_TYPE)

    def _advance(self, tx: Any, digest: bytes, step: str, prompt: int, form: laml.Form) -> tuple[Turn, Talk]:
        """One transaction: is this the webhook that we wait for, and what follows from it. A second copy finds the row moved on."""
        call = _pin(tx, digest, form.get("CallSid"))
        leg = Leg(call.step, call.prompts, call.tries, call.choice)
        expected = ("start", 0) if leg.step == CREATED else (leg.step, leg.prompts)
        if (step, prompt) != expected:
            raise Refused("wrong_step")
        handoff = tx.org(call.org_id).handoff(call.request_id)
        talk = Talk(handoff.agent, handoff.project, tuple(handoff.titles), handoff.risk, handoff.word, handoff.mode)
        if handoff.state not in WAITING and form.get("Digits") not in ("2", "7"):  # a no may still take an approval back
            turn = voice.too_late()
        elif step == "start":
            turn = voice.begin()
        else:
            turn = voice.press(leg, form.get("Digits"), self._now_ms() - call.served_at_ms, talk)
        self._serve(tx, digest, turn)
        return turn, talk

    def _serve(self, tx: Any, digest: bytes, turn: Turn) -> None:
        call, leg = tx.call_by_nonce(digest), turn.leg
        tx.org(call.org_id).change_call(
            digest, step=leg.step, prompts=leg.prompts, tries=leg.tries, choice=leg.choice, served_at_ms=self._now_ms()
        )

    async def _settled(self, call: Any, wish: Wish, sid: str) -> str:
        """The desk's word, or "" when it did not come in time: the caller is then told that the outcome is not known."""
        who: dict[str, Any] = {"device_id": call.device_id}
        if wish.kind == voice.PAUSE:
            asked = self._desk.pause(call.org_id, call.request_id, **who)
        elif wish.kind == voice.EASE:
            asked = self._desk.ease(call.org_id, call.request_id, code=wish.code, **who)
        else:
            asked = self._desk.decide(call.org_id, call.request_id, decision=wish.kind, code=wish.code, channel="voice", ref=sid, **who)
        try:
            return str(await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(asked)), ANSWER_S))
        except (OnyError, TimeoutError) as trouble:
            log.error("a decision by phone was not stored: %s", type(trouble).__name__)
            return ""

    async def _status(self, call: Any, form: laml.Form) -> Response:
        """Advisory: how a call went, never what was decided. An older or repeated number changes nothing."""
        status = form.get("CallStatus")
        if status not in STATUSES:
            raise Refused("malformed")
        ended = await self._store.write(lambda tx: self._note(tx, call.nonce_digest, form, status))
        if ended:
            self._told(call.nonce_digest, status)
        elif call.step not in (DECIDING, DONE) and status not in TERMINAL and not self._waiting(call.org_id, call.request_id):
            self._spawn(self._hang_up(form.get("CallSid")))
        return Response(204)

    def _note(self, tx: Any, digest: bytes, form: laml.Form, status: str) -> bool:
        """Keep the newest status; True when this one ended the call."""
        call = _pin(tx, digest, form.get("CallSid"))
        number = form.get("SequenceNumber") or str(_RANK.get(status, 3))  # not every callback carries one
        if not (number.isascii() and number.isdecimal() and len(number) < 6):
            raise Refused("malformed")
        if int(number) <= call.status_seq or call.ended_at is not None:
            return False
        tx.org(call.org_id).change_call(digest, status=status, status_seq=int(number))
        return status in TERMINAL and self._end(tx, digest, status, "")

    def _end(self, tx: Any, digest: bytes, status: str, reason: str) -> bool:
        """Close a call's row, once; True when this did it."""
        call = tx.call_by_nonce(digest)
        if call.ended_at is not None:
            return False
        org = tx.org(call.org_id)
        org.change_call(digest, status=status, ended_at=self._clock.wall())
        org.audit("call", request_id=call.request_id, device_id=call.device_id, step="ended", status=status, reason=reason)
        return True

    def _told(self, digest: bytes, status: str) -> None:
        ending = self._endings.get(digest)
        if ending is not None and not ending.done():
            ending.set_result(status)

    async def _refuse(self, call: Any, reason: str) -> Response:
        log.warning("a webhook was refused: %s", reason)
        if call is not None:
            await self._store.write(lambda tx: tx.org(call.org_id).audit("webhook_refused", request_id=call.request_id, reason=reason))
        return Response(403, b"", "text/plain")

    def _now_ms(self) -> int:
        return int(self._clock.boot() * 1000)


def account(settings: Any) -> Account:
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


def signing_keys(settings: Any) -> tuple[str, ...]:
    """The keys a webhook may be signed with: the current one, and during a rotation the one before. UsageError without any."""
    keys = tuple(filter(None, (settings.signing_key, settings.old_signing_key)))
    if not keys:
        raise UsageError("voice.signing_key is empty", "without it nobody can tell a call from a forgery: docs/signalwire.md")
    return keys


def _phones(org: Any, handoff: Any, now: int) -> list[Any]:
    owner = org.connector(handoff.connector_id).user_id
    return [d for d in org.devices(owner) if d.kind == "voice" and d.state == "active" and d.active_from <= now]


def _pin(tx: Any, digest: bytes, sid: str) -> Any:
    """The call's row, its CallSid fixed by whoever names it first: a signed webhook or the create's own answer."""
    call = tx.call_by_nonce(digest)
    if call.sid is None:
        tx.org(call.org_id).change_call(digest, sid=sid)
        return tx.call_by_nonce(digest)
    if call.sid != sid:
        raise Refused("wrong_call")
    return call


def _address(request: Request) -> tuple[bytes, str]:
    match = _ADDRESS.match(request.path)
    if match is None:
        raise Refused("unknown_call")
    return _digest(match[1]), match[2]


def _prompt(request: Request, step: str) -> int:
    """Which prompt the keys answer: ?n=1 and so on; the first document answers none."""
    match = _PROMPT.match(request.query)
    if step == "start" and not request.query:
        return 0
    if match is None or step == "start":
        raise Refused("wrong_step")
    return int(match[1])


def _digest(nonce: str) -> bytes:
    return hashlib.sha256(nonce.encode("ascii")).digest()
