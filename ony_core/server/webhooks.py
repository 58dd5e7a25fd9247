"""The provider's webhooks: is each what it claims to be, and what is the next document.

MUST accept a webhook only if it is signed over the configured public address, names a call of ours by its nonce, and carries the pinned
CallSid, our account, the number we dialled and the very prompt we served last; each is accepted once. Anything else: 403, no detail, an
audit row.
MUST let the desk store a decision before the document that says so is returned.
MUST NOT decide anything from a status callback: they are advisory, late, repeated and out of order.
MUST NOT call out while a webhook waits for its answer, nor let a number, a key or a code reach a log or an audit row.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

from ony_core.channels import laml, voice
from ony_core.channels.laml_rest import TERMINAL
from ony_core.channels.voice import CREATED, DECIDING, DONE, Leg, Talk, Turn, Wish
from ony_core.clock import Clock
from ony_core.config import Voice
from ony_core.errors import Malformed, OnyError, Refused
from ony_core.server.desk import Desk
from ony_core.server.message import Request, Response
from ony_core.states import WAITING
from ony_core.store import Store, Tx, rows

ANSWER_S = 4.0  # SignalWire gives a webhook 5 s
STATUSES = TERMINAL | {"queued", "initiated", "ringing", "in-progress"}
_ADDRESS = re.compile(r"/v1/voice/([0-9a-f]{64})/(start|gate|choice|code|status)\Z", re.ASCII)
_PROMPT = re.compile(r"n=([1-9])\Z", re.ASCII)
_SID = re.compile(r"[A-Za-z0-9-]{2,64}\Z", re.ASCII)
_KEYS = re.compile(r"[0-9*#]{0,32}\Z", re.ASCII)
_RANK = {"queued": 0, "initiated": 0, "ringing": 1, "in-progress": 2}

log = logging.getLogger("ony.telephone")


class Webhooks:
    """Answers POST /v1/voice/{nonce}/start|gate|choice|code|status.

    number_of(org_id, device): what was dialled. ended(digest, status): a call is over. unwanted(sid): nobody needs this call any more.
    """

    def __init__(
        self,
        settings: Voice,
        store: Store,
        desk: Desk,
        clock: Clock,
        *,
        public_url: str,
        keys: Sequence[str],
        number_of: Callable[[str, rows.Device], str],
        ended: Callable[[bytes, str], None],
        unwanted: Callable[[str], None],
    ) -> None:
        self._settings, self._store, self._desk, self._clock = settings, store, desk, clock
        self._public_url, self._keys, self._number_of, self._ended, self._unwanted = public_url, keys, number_of, ended, unwanted

    async def answer(self, request: Request) -> Response:
        """Everything that does not fit is 403, without a word why."""
        call: rows.Call | None = None
        try:
            digest, step = address_of(request)
            call = self._store.read(lambda tx: row_of(tx, digest))
            form = self._form(request, call)
            if step == "status":
                return await self._status(call, form)
            return await self._turn(call, step, request, form)
        except (Refused, Malformed) as refused:
            return await self._refuse(call, getattr(refused, "reason", "malformed"))

    def _form(self, request: Request, call: rows.Call) -> laml.Form:
        """The body, once everything about it that needs no lock has been checked."""
        form = signed_form(request, self._settings, self._public_url, self._keys)
        _, device = self._store.read(lambda tx: _about(tx, call))
        if form.get("To") != self._number_of(call.org_id, device):
            raise Refused("wrong_number")
        return form

    async def _turn(self, call: rows.Call, step: str, request: Request, form: laml.Form) -> Response:
        """The next document. Where the keys ask something of the desk, its answer is stored before this returns."""
        prompt = prompt_of(request, step)
        turn, talk = await self._store.write(lambda tx: self._advance(tx, call.nonce_digest, step, prompt, form))
        if turn.wish is not None:
            outcome = await self._settled(call, turn.wish)
            turn = voice.settle(turn.leg, turn.wish, outcome, talk)
            await self._store.write(lambda tx: self._serve(tx, call.nonce_digest, turn))
        assert turn.document is not None
        nonce = request.path.split("/")[3]
        return Response(200, laml.render(turn.document, f"{self._public_url}/v1/voice/{nonce}"), laml.CONTENT_TYPE)

    def _advance(self, tx: Tx, digest: bytes, step: str, prompt: int, form: laml.Form) -> tuple[Turn, Talk]:
        """One transaction: is this the webhook that we wait for, and what follows from it. A second copy finds the row moved on."""
        call = pin(tx, digest, form.get("CallSid"))
        leg = Leg(call.step, call.prompts, call.tries, call.choice)
        expected = ("start", 0) if leg.step == CREATED else (leg.step, leg.prompts)
        if (step, prompt) != expected:
            raise Refused("wrong_step")
        handoff, device = _about(tx, call)
        talk = Talk(handoff.agent, handoff.project, tuple(handoff.titles), handoff.risk, handoff.word, handoff.mode)
        if device.state != "active":
            turn = voice.over("This phone is not enrolled any more. Goodbye.")
        elif handoff.state not in WAITING and form.get("Digits") not in ("2", "7"):  # a no may still take an approval back
            turn = voice.too_late()
        elif step == "start":
            turn = voice.begin()
        else:
            turn = voice.press(leg, form.get("Digits"), self._now_ms() - call.served_at_ms, talk)
        self._serve(tx, digest, turn)
        return turn, talk

    def _serve(self, tx: Tx, digest: bytes, turn: Turn) -> None:
        call, leg = row_of(tx, digest), turn.leg
        tx.org(call.org_id).change_call(
            digest, step=leg.step, prompts=leg.prompts, tries=leg.tries, choice=leg.choice, served_at_ms=self._now_ms()
        )

    async def _settled(self, call: rows.Call, wish: Wish) -> str:
        """The desk's word, or "" when it did not come in time: the caller is then told that the outcome is not known."""
        who: dict[str, Any] = {"device_id": call.device_id}
        if wish.kind == voice.PAUSE:
            asked = self._desk.pause(call.org_id, call.request_id, **who)
        elif wish.kind == voice.EASE:
            asked = self._desk.ease(call.org_id, call.request_id, code=wish.code, **who)
        else:
            asked = self._desk.decide(call.org_id, call.request_id, decision=wish.kind, code=wish.code, channel="voice", **who)
        try:
            return str(await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(asked)), ANSWER_S))
        except (OnyError, TimeoutError) as trouble:
            log.error("a decision by phone was not stored: %s", type(trouble).__name__)
            return ""

    async def _status(self, call: rows.Call, form: laml.Form) -> Response:
        """Advisory: how a call went, never what was decided. An older or repeated number changes nothing."""
        status = form.get("CallStatus")
        if status not in STATUSES:
            raise Refused("malformed")
        news = await self._store.write(lambda tx: self._note(tx, call.nonce_digest, form, status))
        if news == "ended":
            self._ended(call.nonce_digest, status)
        elif news == "unwanted":
            self._unwanted(form.get("CallSid"))
        return Response(204)

    def _note(self, tx: Tx, digest: bytes, form: laml.Form, status: str) -> str:
        """Keep the newest status. "ended": this one closed the call. "unwanted": it rings or talks for a request that is settled."""
        call = pin(tx, digest, form.get("CallSid"))
        number = form.get("SequenceNumber") or str(_RANK.get(status, 3))  # not every callback carries one
        if not (number.isascii() and number.isdecimal() and len(number) < 6):
            raise Refused("malformed")
        if int(number) <= call.status_seq or call.ended_at is not None:
            return ""
        tx.org(call.org_id).change_call(digest, status=status, status_seq=int(number))
        if status in TERMINAL:
            return "ended" if end(tx, digest, status, "", self._clock.wall()) else ""
        settled = _about(tx, call)[0].state not in WAITING
        return "unwanted" if settled and call.step not in (DECIDING, DONE) else ""

    async def _refuse(self, call: rows.Call | None, reason: str) -> Response:
        log.warning("a webhook was refused: %s", reason)
        if call is not None:
            await self._store.write(lambda tx: tx.org(call.org_id).audit("webhook_refused", request_id=call.request_id, reason=reason))
        return Response(403, b"", "text/plain")

    def _now_ms(self) -> int:
        return int(self._clock.boot() * 1000)


def signed_form(request: Request, settings: Voice, public_url: str, keys: Sequence[str]) -> laml.Form:
    """A form that our provider has signed for our account and that is well formed. Refused or Malformed."""
    if request.method != "POST" or request.header("content-type").split(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Refused("not_a_form")
    form = laml.form(request.body)
    url = public_url + request.path + (f"?{request.query}" if request.query else "")
    given = next(filter(None, map(request.header, laml.signature_headers(settings.provider))), "")
    if not laml.signed(keys, url, form.pairs, given):
        raise Refused("bad_signature")
    if form.get("AccountSid") != settings.project_id:
        raise Refused("wrong_account")
    if not _SID.match(form.get("CallSid")) or not _KEYS.match(form.get("Digits")):
        raise Refused("malformed")
    return form


def end(tx: Tx, digest: bytes, status: str, reason: str, now: int) -> bool:
    """Close a call's row, once; True when this did it. now: UTC seconds."""
    call = row_of(tx, digest)
    if call.ended_at is not None:
        return False
    org = tx.org(call.org_id)
    org.change_call(digest, status=status, ended_at=now)
    org.audit("call", request_id=call.request_id, device_id=call.device_id, step="ended", status=status, reason=reason)
    return True


def pin(tx: Tx, digest: bytes, sid: str) -> rows.Call:
    """The call's row, its CallSid fixed by whoever names it first: a signed webhook or the create's own answer."""
    call = row_of(tx, digest)
    if call.sid is None:
        tx.org(call.org_id).change_call(digest, sid=sid)
        return row_of(tx, digest)
    if call.sid != sid:
        raise Refused("wrong_call")
    return call


def row_of(tx: Tx, digest: bytes) -> rows.Call:
    """The call whose nonce has this digest. Refused("unknown_call")."""
    call = tx.call_by_nonce(digest)
    if call is None:
        raise Refused("unknown_call")
    return call


def _about(tx: Tx, call: rows.Call) -> tuple[rows.Handoff, rows.Device]:
    """What a call is for, and whom it rings."""
    org = tx.org(call.org_id)
    handoff, device = org.handoff(call.request_id), org.device(call.device_id)
    if handoff is None or device is None:
        raise Refused("unknown_call")
    return handoff, device


def address_of(request: Request) -> tuple[bytes, str]:
    match = _ADDRESS.match(request.path)
    if match is None:
        raise Refused("unknown_call")
    return digest_of(match[1]), match[2]


def prompt_of(request: Request, step: str) -> int:
    """Which prompt the keys answer: ?n=1 and so on; the first document answers none."""
    match = _PROMPT.match(request.query)
    if step == "start" and not request.query:
        return 0
    if match is None or step == "start":
        raise Refused("wrong_step")
    return int(match[1])


def digest_of(nonce: str) -> bytes:
    return hashlib.sha256(nonce.encode("ascii")).digest()
