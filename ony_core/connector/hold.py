"""One held call: asked, waited for, decided, and released at most once. The only place where an `allow` is made.

The order of a release is the theory: verdict checked against our own record -> proof that it was logged -> the call read afresh from the
disk -> claimed at the server, which decides single use and revocation -> written to our own used-set -> allow.
MUST: any step that fails, and everything unexpected, is a deny. MUST: an agent that is gone ends the ringing at once.
MUST NOT: wait past the limit, whatever the server does.
"""

import logging
import threading
from typing import Any
from urllib.parse import quote

from ony_core import agents, canon, handoff, policy, states, verdict
from ony_core.clock import new_id, rfc3339, seconds_of
from ony_core.connector import payload
from ony_core.connector.gate import Gate, Weighed
from ony_core.connector.link import Problem, Unreachable
from ony_core.connector.statement import opened
from ony_core.errors import Malformed, OnyError, Refused
from ony_core.model import Decision, Pending

log = logging.getLogger("ony.connector")
GRACE_S = 10  # the server ends a request by itself; only then do we
LONG_POLL_S = 25
SILENCE_S = 60  # how long the server may be out of reach in the middle of a hold
ASK_TRIES = 3
_CLAIM = frozenset({"v", "type", "request_id", "connector_id", "nonce", "payload_digest", "claimed_at"})
_ROW = frozenset({"request_id", "state", "reason", "decided_by", "verdict", "proof"})


class Hold:
    """A call on hold. `gone` is set when nobody waits for the answer any more."""

    def __init__(self, gate: Gate, weighed: Weighed) -> None:
        self.gate, self.weighed = gate, weighed
        self.request_id = new_id("req", gate.clock)
        self.gone = threading.Event()
        self.word = ""
        self.asked_boot = gate.clock.boot()
        self.deadline_s = gate.deadline_s
        self._created_at = 0
        self._asked = self._closed = False

    def run(self) -> Decision:
        """The decision. Never raises for anything the server does or fails to do."""
        try:
            self._ask()
            return self._settle(self._wait())
        except Refused as refused:
            return self._no_verdict("expired", refused.what) if refused.reason == "expired" else self._refuse(refused)
        except Unreachable as error:
            return self._no_verdict("no_server", f"{error.what}. Nothing was approved")
        except Problem as problem:
            return self._deny(problem.word, f"the server refused ({problem.what}), so the call is blocked")
        except OSError as error:
            return self._deny("disk", f"this connector could not keep its records ({error.strerror}), so the call is blocked")
        except OnyError as error:
            return self._deny("bad_answer", f"{error.what}, so the call is blocked")
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends the ringing, if there may be any. Best effort: the server's own deadline does it otherwise."""
        if not self._asked or self._closed:
            return
        try:
            self._call("POST", "/cancel", b"{}", timeout_s=5)
            self._closed = True
        except OnyError as error:
            log.info("cancel %s failed: %s", self.request_id, error.what)

    @property
    def asked(self) -> bool:
        """Whether the server has the request, so that it can be decided."""
        return bool(self.word)

    @property
    def left_s(self) -> float:
        return self.asked_boot + self.deadline_s + GRACE_S - self.gate.clock.boot()

    def _ask(self) -> None:
        w = self.weighed
        tool = agents.speaking(w.call.agent).public_tool(w.call.tool)
        body = handoff.request_to_wire(self.request_id, w.session, w.call.agent, tool, w.mode, w.project, w.facts, w.request_digest,
                                       self.gate.heads.newest())  # fmt: skip
        answer = self._persist(body)
        try:
            created_at, word = seconds_of(answer["created_at"]), answer["word"]
            sound = answer["request_id"] == self.request_id and word.isascii() and word.isalnum() and len(word) <= 8
        except (KeyError, TypeError, ValueError, AttributeError):
            sound = False
        if not sound:
            raise Malformed("the server's answer to a request is not well formed")
        self._created_at, self.word = created_at, word
        self._attach()
        log.info("hold %s %s %s mode=%s", self.request_id, w.assessment.lead.key, w.assessment.risk, w.mode)

    def _attach(self) -> None:
        """The call itself, for the dashboard. Nothing depends on it: where it cannot be sent, the person decides without."""
        if not self.gate.attaches:
            return
        text = payload.text(self.weighed.call)
        try:
            self._call("POST", "/payload", canon.dumps({"text": text}), timeout_s=5)
        except OnyError as error:
            log.info("payload of %s not attached: %s", self.request_id, error.what)

    def _persist(self, body: bytes) -> Any:
        """A few tries: the id makes it the same request each time."""
        for left in reversed(range(ASK_TRIES)):
            self._wanted()
            self._asked = True
            try:
                return self.gate.link.call("POST", "/v1/handoffs", body, timeout_s=10).body
            except Problem:
                self._asked = False  # the server has not taken it: there is nothing to cancel
                raise
            except Unreachable:
                if not left:
                    raise
                self.gone.wait(0.5)
        raise AssertionError("unreachable")

    def _wait(self) -> dict[str, Any]:
        """The request's row once it is neither pending nor ringing. Refused("expired") when our own time is up."""
        heard = self.gate.clock.boot()
        while self.left_s > 0:
            self._wanted()
            seconds = int(max(1, min(LONG_POLL_S, self.left_s)))
            try:
                row = self._row(self._call("GET", f"?wait={seconds}", None, timeout_s=seconds + 10))
            except Unreachable:
                if self.gate.clock.boot() - heard > SILENCE_S:
                    raise
                self.gone.wait(1)
                continue
            heard = self.gate.clock.boot()
            if row["state"] not in states.WAITING:
                return row
            self.gone.wait(0.05)
        raise Refused("expired", "nobody answered in time")

    def _row(self, row: Any) -> dict[str, Any]:
        if not isinstance(row, dict) or not set(row) >= _ROW:
            raise Malformed("the server's answer about a request is not well formed")
        if row["request_id"] != self.request_id or row["state"] not in states.STATES or not isinstance(row["reason"], str):
            raise Malformed("the server's answer about a request is not well formed")
        return row

    def _settle(self, row: dict[str, Any]) -> Decision:
        self._closed = True  # nothing rings any more; an approval that is not claimed lapses by itself
        if row["state"] == states.APPROVED:
            return self._release(row)
        if row["state"] == states.DENIED:
            return self._denied(row)
        ended = _WHY.get(row["reason"]) or _ENDED.get(row["state"], "the request has ended")
        return self._deny(row["state"], f"{ended}, so the call is blocked. Do not retry by yourself")

    def _denied(self, row: dict[str, Any]) -> Decision:
        """A no needs no proof. Who said it is named only where the signature says so; a no of the server itself has no verdict."""
        if row["verdict"] is None:
            return self._deny(
                "denied", f"{_WHY.get(row['reason'], 'the server denied it')}, so the call is blocked. Do not retry by yourself"
            )
        try:
            checked = self._checked(row)
            label = self.gate.approvers()[checked.approver_device_id].label or "the owner"
            who, when = label, f" at {rfc3339(checked.issued_at)}"
        except Refused as refused:
            self._report(refused)
            who, when = "the owner", ""
        return self._deny("denied", f"denied by {who}{when}. Do not retry it and do not look for another way; ask what to do instead")

    def _release(self, row: dict[str, Any]) -> Decision:
        checked = self._checked(row)
        if checked.decision != "approve":
            raise Refused("not_approved", "the verdict does not approve the call")
        if checked.digest in self.gate.used:
            raise Refused("already_used", "the verdict has released a call before")
        self._proven(row, checked)
        if not self.gate.unchanged(self.weighed):
            raise Refused("changed_since_approval", "the call is not what was approved any more: a file or place it depends on has changed")
        self._wanted()
        self._claim(checked)
        self.gate.used.add(checked.digest)
        self._wanted()
        self.gate.outbox.add("used", request_id=self.request_id)
        label = self.gate.approvers()[checked.approver_device_id].label or "the owner"
        log.info("allow %s", self.request_id)
        return Decision("allow", f"Ony: approved by {label} at {rfc3339(checked.issued_at)}, for this one call", self.request_id)

    def _proven(self, row: dict[str, Any], checked: verdict.Verdict) -> None:
        """The log holds the verdict and is the one this connector has seen, or goes on from a backup whose restore was declared to us."""
        gate = self.gate
        try:
            gate.heads.accept(row["proof"], checked.digest, self._growth)
        except Refused as refused:
            if refused.reason not in ("proof_not_consistent", "proof_fork") or not self._followed():
                raise
            log.warning("restore followed %s", self.request_id)
            proof = self._row(self._call("GET", "", None, timeout_s=10))["proof"]
            gate.heads.accept(proof, checked.digest, self._growth)

    def _followed(self) -> bool:
        gate = self.gate
        try:
            ask = lambda path: gate.link.call("GET", path).body  # noqa: E731
            return gate.heads.follow(ask, gate.enrolled.connector_id, gate.approvers(), gate.verify)
        except (Problem, Unreachable):  # none was declared: what was refused stays refused
            return False

    def _checked(self, row: dict[str, Any]) -> verdict.Verdict:
        w, gate = self.weighed, self.gate
        pending = Pending(self.request_id, w.request_digest, handoff.facts_digest(w.facts), gate.enrolled.connector_id, w.session,
                          w.assessment.keys, w.assessment.risk, self.asked_boot, self.deadline_s, self._created_at)  # fmt: skip
        return verdict.check(row["verdict"], pending, gate.approvers(), gate.verify, gate.clock.boot(), gate.clock.wall())

    def _claim(self, checked: verdict.Verdict) -> None:
        """Takes the verdict at the server: from here on it can release nothing else and nobody can revoke it."""
        nonce = self.gate.clock.random(32).hex()
        body = canon.dumps({"nonce": nonce, "payload_digest": checked.digest})
        try:
            signed = self._call("POST", "/claim", body, timeout_s=10)
        except Problem as problem:
            raise Refused(problem.word, f"the verdict could not be claimed ({problem.what})") from None
        claim = opened("claim", signed, _CLAIM, self.gate.verify)
        mine = (self.request_id, self.gate.enrolled.connector_id, nonce, checked.digest)
        if tuple(claim[name] for name in ("request_id", "connector_id", "nonce", "payload_digest")) != mine:
            raise Refused("claim_mismatch", "the server's claim is for another verdict or another release")

    def _growth(self, old: int, new: int) -> Any:
        """The server's proof that its log of `new` rows extends that of `old` rows. Not having one is as bad as a false one."""
        try:
            return self.gate.link.call("GET", f"/v1/audit/consistency?from={old}&to={new}").body
        except Problem as problem:
            raise Refused("proof_not_consistent", f"the server cannot show that its log only grew ({problem.what})") from None

    def _wanted(self) -> None:
        if self.gone.is_set():
            raise Refused("cancelled", "the agent is not waiting any more")

    def _call(self, method: str, rest: str, body: bytes | None, timeout_s: float) -> Any:
        return self.gate.link.call(method, f"/v1/handoffs/{quote(self.request_id)}{rest}", body, timeout_s=timeout_s).body

    def _refuse(self, refused: Refused) -> Decision:
        self._report(refused)
        alarm = "SECURITY ERROR: " if refused.reason in _ALARMS or refused.reason.startswith(("proof_", "claim_", "restore_")) else ""
        return self._deny(refused.reason, f"{alarm}{refused.what} [{refused.reason}], so the call is blocked")

    def _report(self, refused: Refused) -> None:
        log.warning("refused %s %s", self.request_id, refused.reason)
        if refused.reason not in ("cancelled", "expired"):
            self.gate.outbox.add("refused", request_id=self.request_id, reason=refused.reason)

    def _no_verdict(self, word: str, text: str) -> Decision:
        """Nobody decided. The owner may have said that the agent's own prompt decides then; for high risk, and for nothing else."""
        if self.gate.asks and policy.may_ask(self.weighed.assessment):
            log.info("ask %s %s", self.request_id, word)
            return Decision("ask", f"Ony: {text}, so the answer is yours: {self.weighed.assessment.lead.title}", self.request_id)
        return self._deny(word, f"{text} [{word}], so the call is blocked. Do not retry by yourself")

    def _deny(self, word: str, text: str) -> Decision:
        log.info("deny %s %s", self.request_id, word)
        return Decision("deny", f"Ony: {text}", self.request_id)


_ENDED = {
    states.EXPIRED: "nobody answered in time",
    states.CANCELLED: "the request was cancelled",
    states.FAILED: "the owner could not be reached",
    states.REVOKED: "the approval was taken back",
    states.UNUSED: "the approval has lapsed",
    states.USED: "the approval has been used already",
}
_WHY = {
    "paused": "the owner has paused this session for a while",
    "over_budget": "the owner has been called often enough for now",
    "approved_once": "an identical call was approved, and a yes is for one call: ask again when that one has run",
    "shared_no": "an identical call was asked for at the same time and was not approved",
    "frozen": "this organisation is frozen",
    "no_channel": "the server has no way to reach the owner",
    "nobody_reached": "the owner could not be reached",
}
_ALARMS = frozenset(
    {"malformed", "missing_signature", "bad_signature", "bad_server_signature", "unpinned_approver", "revoked_device", "wrong_connector",
     "wrong_session", "wrong_request", "wrong_request_digest", "wrong_facts_digest", "action_below", "risk_below", "code_missing",
     "bad_lifetime", "already_used"}
)  # fmt: skip
