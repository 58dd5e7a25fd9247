"""The person at the other end: a script of what one expected call hears and presses.

    provider.expect_call(to="+15550100123").answer().hears("Press 5").press("5").hears("critical").press("1").press(code).hears("Approved")

Acts run in their order. `hears` waits for its words, `press` waits `gap` seconds and then presses, also into what is spoken (barge-in).
Keys beyond what a prompt takes stay in the line and reach the next one at once, as on a real switch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sim.call import Call

Keys = str | Callable[[], str]


@dataclass
class Phone:
    """One expected call. picks_up: answer, busy, no-answer, failed or keep_ringing."""

    to: str = ""
    contains: str = ""
    picks_up: str = "no-answer"
    after: float = 0.0
    acts: deque[tuple[str, Any]] = field(default_factory=deque)
    call: Call | None = None
    attacks: list[int] = field(default_factory=list)  # status codes that forged and replayed webhooks were answered with

    def answer(self, after: float = 2.0) -> Phone:
        self.picks_up, self.after = "answer", after
        return self

    def busy(self) -> Phone:
        self.picks_up = "busy"
        return self

    def rejects(self) -> Phone:
        self.picks_up = "failed"
        return self

    def no_answer(self) -> Phone:
        self.picks_up = "no-answer"
        return self

    def keeps_ringing(self) -> Phone:
        """Rings until the caller gives up; no simulated time passes."""
        self.picks_up = "keep_ringing"
        return self

    def voicemail(self) -> Phone:
        """A machine answers after 20 seconds, records what it is told, and presses nothing."""
        return self.answer(after=20.0)

    def hears(self, words: str) -> Phone:
        return self._then("hears", words)

    def press(self, keys: Keys, gap: float = 1.5) -> Phone:
        """keys: digits, # and *, or a callable that gives them at that moment (a code). gap: seconds after what came before."""
        return self._then("press", (keys, gap))

    def waits(self, seconds: float) -> Phone:
        return self._then("wait", seconds)

    def hangs_up(self) -> Phone:
        return self._then("hang_up", None)

    def listens_on(self) -> Phone:
        """Stays on the line until the caller hangs up; no simulated time passes."""
        return self._then("listen_on", None)

    def meanwhile(self, what: Callable[[Call], object]) -> Phone:
        """Something happens elsewhere at this moment."""
        return self._then("meanwhile", what)

    def forges(self, *, key: str | None = None, signature: str | None = None, fields: dict[str, str] | None = None,
               extra: Sequence[tuple[str, str]] = (), address: Callable[[str], str] | None = None) -> Phone:  # fmt: skip
        """Before the next genuine webhook somebody sends an altered copy; `attacks` gets the answer's status.

        key: sign with this instead. signature: send exactly this ("" = no header). fields: replaced values. extra: added pairs.
        address: given the true one, the one it is sent to. Without key or signature the copy is signed correctly.
        """
        return self._then("forge", {"key": key, "signature": signature, "fields": fields or {}, "extra": tuple(extra), "address": address})

    def replays(self, index: int = -1) -> Phone:
        """An earlier webhook of this call is sent again, byte by byte."""
        return self._then("replay", index)

    def unmet(self) -> list[str]:
        """What the script still waited for when the call ended."""
        missing = [f"{kind} {value!r}" for kind, value in self.acts if kind != "listen_on"]
        if self.contains and self.contains not in self.heard:
            missing.append(f"a call that says {self.contains!r}")
        return missing

    @property
    def heard(self) -> str:
        return " ".join(self.call.heard) if self.call else ""

    def _then(self, kind: str, value: Any) -> Phone:
        self.acts.append((kind, value))
        return self
