"""The connector's judgement of one call: what it does, what that means, pass or hold. Nothing here speaks to a person.

MUST hold everything above `none` while no bundle younger than 24 hours is there: modes and revocations would be unknown.
MUST give the same answer for the same call and the same disk, so that it can be asked again at release.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ony_core import endorse, policy, taxonomy
from ony_core.clock import Clock
from ony_core.connector import bundle, digest, enrolled, modes, owner
from ony_core.connector.enrolled import Enrolled
from ony_core.connector.heads import Heads
from ony_core.connector.link import Link
from ony_core.connector.outbox import Outbox
from ony_core.connector.pins import Pins
from ony_core.connector.sessions import Sessions
from ony_core.connector.used import UsedSet
from ony_core.errors import Malformed, Refused
from ony_core.evidence import loaded
from ony_core.evidence.place import DiskPlace
from ony_core.facts import derive
from ony_core.handoff import MAX_FACTS
from ony_core.model import Approver, Assessment, Fact, ToolCall

log = logging.getLogger("ony.connector")
EVIDENCE_S = 5.0  # for all reading of one call; what is not read by then is unknown
REVALIDATE_S = 3600  # a bundle older than this is fetched anew, so that its date moves on
PlaceOf = Callable[[ToolCall, float, float, Callable[[], float], tuple[taxonomy.Lesson, ...]], DiskPlace]  # began, deadline, boot clock


@dataclass(frozen=True, slots=True)
class Weighed:
    """A call and what it means. outcome: "pass" or "hold"; session: the alias; request_digest: empty for a pass, nobody is asked."""

    call: ToolCall
    session: str
    project: str
    assessment: Assessment
    request_digest: str
    mode: str
    outcome: str

    @property
    def facts(self) -> tuple[Fact, ...]:
        return self.assessment.facts


def on_disk(
    call: ToolCall, began: float, deadline: float, boot: Callable[[], float], lessons: tuple[taxonomy.Lesson, ...] = ()
) -> DiskPlace:
    names = [("taught", one.words) for one in lessons]
    recipes: dict[str, frozenset[str]] = {}
    for one in lessons:
        recipes[one.program] = recipes.get(one.program, frozenset()) | {one.recipe}
    return DiskPlace(call.cwd, began, deadline, boot, names, recipes=recipes)


class Gate:
    """What a connector knows. Everything it asks of the world came in through the constructor."""

    def __init__(self, folder: Path, enrolled: Enrolled, link: Link, clock: Clock, place: PlaceOf = on_disk) -> None:
        self.folder, self.enrolled, self.link, self.clock = folder, enrolled, link, clock
        self.pins = Pins(folder, {"verdict": enrolled.server_key, "audit": enrolled.audit_key}, clock.wall)
        self.verify = partial(self.pins.verify, "verdict")
        self.heads = Heads(folder / "heads", enrolled.origin, partial(self.pins.verify, "audit"))
        self.used = UsedSet(folder / "used")
        self.outbox = Outbox(link)
        self.bundle = bundle.load(folder, enrolled, self.pins.verify_kept)
        self._sessions = Sessions(folder / "sessions")
        self._labels, self._attaches = owner.projects(folder), owner.attaches(folder)
        self._place = place
        self._etag = ""
        self._set: dict[str, bundle.ModeStatement] = {}  # modes the server signed since the bundle
        self._exchange = threading.Lock()
        if self.bundle:
            self._pin(self.bundle)

    def weigh(self, call: ToolCall) -> Weighed:
        """Pass or hold, with everything a request needs. Malformed for a call of more parts than a request can carry."""
        session = digest.alias(self.enrolled.alias_key, call.agent, call.session)
        assessment, place = self._look(call, session)
        standing = self.standing(session)
        outcome = policy.gate(assessment, standing.mode, standing.eased)
        if not self.current and assessment.risk != "none":
            outcome = "hold"
        if outcome == "pass":
            self.outbox.passed(session, assessment.lead.key.partition(".")[0] if assessment.actions else "none", self.clock.wall())
        bound = self._bound(call, session, assessment, place) if outcome == "hold" else ""
        return Weighed(call, session, owner.project_of(call.cwd, self._labels), assessment, bound, standing.mode, outcome)

    def unchanged(self, weighed: Weighed) -> bool:
        """Whether the call, read afresh from the disk, is still the one that was asked about."""
        assessment, place = self._look(weighed.call, weighed.session)
        bound = self._bound(weighed.call, weighed.session, assessment, place)
        return bool(weighed.request_digest) and bound == weighed.request_digest and assessment == weighed.assessment

    @property
    def current(self) -> bool:
        return self.bundle is not None and self.bundle.fresh(self.clock.wall())

    @property
    def attaches(self) -> bool:
        """Whether the raw call goes to the dashboard: only where the owner of this machine and the server both say so."""
        return self._attaches and self.bundle is not None and self.bundle.attaches

    @property
    def deadline_s(self) -> int:
        return self.bundle.decision_deadline_s if self.bundle else 300

    @property
    def asks(self) -> bool:
        """Whether the owner lets the agent's own prompt decide where no verdict comes; an old word of theirs does not count."""
        return self.bundle is not None and self.current and self.bundle.asks

    def approvers(self) -> dict[str, Approver]:
        pinned = self.enrolled.approvers
        return self.bundle.approvers(pinned) if self.bundle else {a.device_id: a for a in pinned}

    def standing(self, session: str) -> modes.Standing:
        known = (*(self.bundle.modes if self.bundle else ()), *self._set.values())
        return modes.standing(session, known, self.clock.wall())

    def alias(self, session: str) -> str:
        """The alias of a session as its agent names it; "" and aliases stay what they are."""
        if not session or (session.startswith("sess_") and len(session) == 37):
            return session
        return digest.alias(self.enrolled.alias_key, "claude-code", session)

    def refresh(self) -> None:
        """Fetches the bundle where the server has a newer one. OnyError: the kept one stays and ages."""
        with self._exchange:
            answer = self.link.call("GET", "/v1/bundle", etag=self._etag if self._young() else "")
            if answer.status == 304:
                return
            if isinstance(answer.body, dict) and self.pins.learn(answer.body.get("keys")):
                log.warning("the server has a new key, signed by the one before")
            try:
                fresh = bundle.check(answer.body, self.enrolled, self.verify, self.bundle)
            except Refused as refused:
                self.outbox.add("refused", reason=refused.reason)
                raise
            bundle.keep(self.folder, answer.body)
            self._pin(fresh)
            self.bundle, self._etag = fresh, answer.etag
            self._set.clear()

    def set_mode(self, body: bytes, session: str) -> bundle.ModeStatement:
        """Asks the server for a mode and believes its signed answer until the next bundle carries it."""
        with self._exchange:
            answer = self.link.call("POST", "/v1/modes", body)
            statement = modes.accept(answer.body, self.enrolled.connector_id, session, self.verify)
            self._set[session] = statement
            return statement

    def _pin(self, fresh: bundle.Bundle) -> None:
        """Approvers that a pinned one has endorsed are pinned too, on disk before they count. What is not well endorsed is reported."""
        new, reasons = endorse.added(fresh.listed, self.enrolled.connector_id, self.enrolled.approvers)
        for reason in reasons:
            self.outbox.add("refused", reason=reason)
        if new:
            wider = replace(self.enrolled, approvers=(*self.enrolled.approvers, *new))
            enrolled.save(self.folder, wider, self.clock)
            self.enrolled = wider
            log.warning("%d approver(s) joined, endorsed by one that was pinned here", len(new))

    def _young(self) -> bool:
        return self.bundle is not None and 0 <= self.clock.wall() - self.bundle.issued_at < REVALIDATE_S

    def _look(self, call: ToolCall, session: str) -> tuple[Assessment, DiskPlace]:
        began = self._sessions.began(session, self.clock.wall())
        lessons = taxonomy.of_project(self.bundle.lessons if self.bundle else (), owner.project_of(call.cwd, self._labels))
        place = self._place(call, began, self.clock.boot() + EVIDENCE_S, self.clock.boot, lessons)
        facts = derive(call, place)
        if len(facts) > MAX_FACTS:
            raise Malformed("one call does too many things at once", "split it into several")
        return taxonomy.assess(facts, lessons), place

    def _bound(self, call: ToolCall, session: str, assessment: Assessment, place: DiskPlace) -> str:
        """The request digest: the call, what was read to understand it, what it would load, and the programs it would start."""
        loaded.bind((*_texts(call.input), *place.texts()), assessment.facts, place)
        place.bind_programs()
        return digest.request(self.enrolled.digest_key, call, session, place.evidence())


def _texts(given: dict[str, Any]) -> tuple[str, ...]:
    return tuple(value for value in given.values() if isinstance(value, str))
