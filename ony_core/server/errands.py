"""Calls that tell something and decide nothing: the code that shows whose number it is, the news that a phone was added.

What such a call is for stands in memory alone: after a restart it says goodbye, and the code is asked for again.

MUST: hold every webhook to what server/webhooks.py asks of one: signed, our account, the number that was dialled, the pinned CallSid, the
prompt that was served last. MUST: tell nothing before somebody has pressed 5; a mailbox learns no code.
MUST: bound how often anybody can make this server ring a number that is not known to be theirs.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ony_core.channels import laml, voice
from ony_core.channels.laml_rest import TERMINAL, CallRefused, Laml
from ony_core.channels.voice import CREATED, Leg
from ony_core.clock import Clock
from ony_core.config import Voice
from ony_core.errors import Malformed, Refused
from ony_core.server.message import Request, Response
from ony_core.server.webhooks import address_of, digest_of, prompt_of, signed_form
from ony_core.store import Store, rows

RING_S = 25
LIVES_S = 10 * 60
PER_USER, PER_SERVER, WINDOW_S = 3, 20, 3600

log = logging.getLogger("ony.telephone")


@dataclass(slots=True)
class Errand:
    """One call. born: boot clock; served_at: of the last document."""

    org_id: str
    number: str
    says: tuple[str, ...]
    born: float
    sid: str = ""
    leg: Leg = field(default_factory=Leg)
    served_at: float = 0


class Errands:
    """number_of(org_id, device): what is dialled."""

    def __init__(self, settings: Voice, store: Store, line: Laml, clock: Clock, *, public_url: str, keys: Sequence[str],
                 number_of: Callable[[str, rows.Device], str]) -> None:  # fmt: skip
        self._settings, self._store, self._laml, self._clock = settings, store, line, clock
        self._public_url, self._keys, self._number_of = public_url, keys, number_of
        self._open: dict[bytes, Errand] = {}
        self._placed: deque[tuple[float, str]] = deque()

    def knows(self, request: Request) -> bool:
        try:
            return address_of(request)[0] in self._open
        except Refused:
            return False

    async def verify(self, device: rows.Device, says: tuple[str, ...]) -> None:
        """Rings a number that is not known to be theirs. CallRefused, Unanswered: the provider's no. Refused("too_many_calls")."""
        self._admit(device.user_id)
        await self._place(device, says, "verification")

    async def announce(self, device: rows.Device, says: tuple[str, ...]) -> None:
        """Rings a phone that decides already. Not bounded: whoever has used up the calls must not join unheard."""
        await self._place(device, says, "announcement")

    async def _place(self, device: rows.Device, says: tuple[str, ...], reason: str) -> None:
        org_id = device.org_id
        nonce, now = self._clock.random(32).hex(), self._clock.boot()
        self._open = {digest: one for digest, one in self._open.items() if now - one.born < LIVES_S}
        errand = Errand(org_id, self._number_of(org_id, device), says, now)
        self._open[digest_of(nonce)] = errand
        await self._store.write(lambda tx: tx.org(org_id).audit("errand", device_id=device.id, user_id=device.user_id, reason=reason))
        url = f"{self._public_url}/v1/voice/{nonce}"
        try:
            errand.sid = await self._laml.create(
                to=errand.number, caller=self._settings.caller, url=f"{url}/start", status_url=f"{url}/status", ring_s=RING_S,
                max_price=self._settings.max_price,
            )  # fmt: skip
        except CallRefused:
            self._open.pop(digest_of(nonce), None)
            raise

    async def answer(self, request: Request) -> Response:
        """Everything that does not fit is 403, without a word why."""
        try:
            return self._answered(request)
        except (Refused, Malformed):
            log.warning("a webhook of a call that only tells was refused")
            return Response(403, b"", "text/plain")

    def _answered(self, request: Request) -> Response:
        digest, step = address_of(request)
        errand = self._open[digest]
        form = signed_form(request, self._settings, self._public_url, self._keys)
        if form.get("To") != errand.number or (errand.sid and form.get("CallSid") != errand.sid):
            raise Refused("wrong_call")
        errand.sid = form.get("CallSid")
        if step == "status":
            if form.get("CallStatus") in TERMINAL:
                del self._open[digest]
            return Response(204)
        if (step, prompt_of(request, step)) != (("start", 0) if errand.leg.step == CREATED else (errand.leg.step, errand.leg.prompts)):
            raise Refused("wrong_step")
        turn = voice.tell(errand.leg, form.get("Digits"), int((self._clock.boot() - errand.served_at) * 1000), errand.says)
        errand.leg, errand.served_at = turn.leg, self._clock.boot()
        assert turn.document is not None
        return Response(200, laml.render(turn.document, self._public_url + request.path.rpartition("/")[0]), laml.CONTENT_TYPE)

    def _admit(self, user_id: str) -> None:
        now = self._clock.boot()
        while self._placed and self._placed[0][0] <= now - WINDOW_S:
            self._placed.popleft()
        if len(self._placed) >= PER_SERVER or sum(one == user_id for _, one in self._placed) >= PER_USER:
            raise Refused("too_many_calls", "too many calls were asked for: wait an hour")
        self._placed.append((now, user_id))
