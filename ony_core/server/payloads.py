"""The raw call beside a request: kept only where server and connector were both told to, sealed, and shown to people at the dashboard.

MUST: refuse a payload while `payload.attach` is off. MUST: keep it sealed for its own organisation and request, and write down who read it.
MUST NOT: let it into a title, a call, a message, a log or a verdict; the retention job deletes it (ony_core/server/upkeep.py).
"""

from typing import Any

from ony_core import canon, states
from ony_core.clock import Clock
from ony_core.errors import Malformed, Refused
from ony_core.server.allowance import Allowance
from ony_core.server.keyring import Keyring
from ony_core.server.message import Request, Response, answer, fields, problem
from ony_core.server.sessions import Caller
from ony_core.store import Store, Tx, rows

LONGEST = 16 * 1024  # characters


class Payloads:
    """One method per route. config: [payload] says whether any is taken."""

    def __init__(self, store: Store, keyring: Keyring, config: Any, clock: Clock, allowance: Allowance) -> None:
        self._store, self._keyring, self._config, self._clock, self._allowance = store, keyring, config, clock, allowance

    async def attach(self, request: Request, connector: rows.Connector, request_id: str) -> Response:
        """The connector's own request, while it waits, once."""
        body = canon.loads(request.body)
        if not isinstance(body, dict) or set(body) != {"text"} or not isinstance(body["text"], str) or len(body["text"]) > LONGEST:
            raise Malformed(f"a payload is one text of at most {LONGEST} characters")
        if not self._config.payload.attach:
            return problem(403, "payload_off", "this server takes no payloads", "payload.attach = true in its configuration")
        try:
            self._allowance.take(connector.id, len(request.body))
        except Refused as refused:
            return problem(429, refused.reason, "this connector has had too much written down: wait a while")
        org_id, text = connector.org_id, body["text"].encode("utf-8")

        def keep(tx: Tx) -> bool:  # sealed in here: a master key that is being replaced is not the newest for long
            sealed = self._keyring.seal(text, "payload", org_id, request_id, self._clock)
            return tx.org(org_id).add_payload(request_id, connector.id, states.WAITING, sealed)

        kept = await self._store.write(keep)
        return answer({}) if kept else problem(409, "wrong_state", "no waiting request of this connector without a payload has this id")

    async def show(self, request: Request, caller: Caller, request_id: str) -> Response:
        """A POST, for it leaves a row in the log."""
        fields(request, {})
        org_id = caller.user.org_id
        sealed = self._store.read(lambda tx: tx.org(org_id).payload(request_id))
        if sealed is None:
            return problem(404, "no_payload", "nothing is attached to this request, or it is kept no longer")
        text = self._keyring.unseal(sealed, "payload", org_id, request_id).decode("utf-8")
        await self._store.write(
            caller.within(lambda tx: tx.org(org_id).audit("payload_read", request_id=request_id, user_id=caller.user.id))
        )
        return answer({"request_id": request_id, "text": text})
