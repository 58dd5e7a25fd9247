"""What is said on a call, and what each pressed key asks for. Pure: no clock, no network, no database.

MUST say nothing about a request before somebody has pressed 5: voicemail, call screening and its transcript learn nothing.
MUST ignore keys that arrive within a second of their document (type-ahead, a cheek, a pocket) and ask again.
MUST bound every prompt; when they are used up the call ends and nothing is approved.
MUST say "approved" or "denied" only for an outcome the desk has stored; an outcome this file does not know is said to be unknown.
MUST NOT let any key but 1 or 3 at the menu lead to an approval, nor speak text that did not pass `speech`.
"""

import re
from dataclasses import dataclass, replace

CREATED, GATE, CHOICE, CODE, DECIDING, DONE = "created", "gate", "choice", "code", "deciding", "done"
APPROVE, DENY, PAUSE, EASE = "approve", "deny", "pause", "ease"
TYPE_AHEAD_MS = 1000
PROMPTS = {GATE: 2, CHOICE: 3, CODE: 4}  # how often each prompt may be spoken on one call
CODE_TRIES = 3
SPOKEN_ACTIONS = 3
_AGENTS = {"claude-code": "Claude Code", "codex": "Codex"}
_UNSPOKEN = re.compile(r"[^\w .,:'/@+-]", re.ASCII)
_SIX_DIGITS = re.compile(r"[0-9]{6}\Z", re.ASCII)
_UNKNOWN = "The outcome is not known. Look at your computer. Goodbye."
_NOTHING = "Nothing was approved on this call. Goodbye."


@dataclass(frozen=True, slots=True)
class Leg:
    """Where one call stands. prompts: times the prompt of this step was spoken. tries: wrong codes. choice: what the code is for."""

    step: str = CREATED
    prompts: int = 0
    tries: int = 0
    choice: str = ""


@dataclass(frozen=True, slots=True)
class Talk:
    """What there is to tell, in the server's own words. word: the two digits also shown on the computer."""

    agent: str
    project: str
    titles: tuple[str, ...]
    risk: str
    word: str
    mode: str


@dataclass(frozen=True, slots=True)
class Gather:
    """Wait for `digits` keys while speaking; the answer comes back to `step` as prompt number `number`. seconds: silence that ends it."""

    step: str
    number: int
    digits: int
    seconds: int
    says: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """Pause, speak, gather; then the call ends. Neutral: channels/laml.py writes it down for the provider."""

    says: tuple[str, ...] = ()
    gather: Gather | None = None
    pause_s: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What the keys ask of the desk. kind: approve | deny | pause | ease."""

    kind: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """The answer to one webhook: either a document to serve, or a wish that the desk must settle first."""

    leg: Leg
    document: Document | None = None
    wish: Wish | None = None


def begin() -> Turn:
    """The call was answered, by whom or what is not known."""
    return _prompt(Leg(GATE, 1), None, pause_s=1)


def press(leg: Leg, digits: str, waited_ms: int, talk: Talk) -> Turn:
    """Keys came back for the prompt of `leg`. waited_ms: since that document was served; a negative value counts as too early."""
    if waited_ms < TYPE_AHEAD_MS:
        return _again(leg, talk, "That was too early." if leg.step != GATE else "")
    return _STEPS[leg.step](leg, digits, talk)


def settle(leg: Leg, wish: Wish, outcome: str, talk: Talk) -> Turn:
    """The desk has answered the wish. outcome: the words of Desk.decide, pause and ease."""
    if outcome == "code_needed" and wish.kind in (APPROVE, EASE):
        return _prompt(Leg(CODE, 1, leg.tries, wish.kind), talk)
    if outcome == "wrong_code":
        tries = leg.tries + 1
        if tries >= CODE_TRIES:
            return over("That code is not right. " + _NOTHING)
        return _again(replace(leg, step=CODE, tries=tries, choice=wish.kind), talk, "That code is not right.")
    return over(_OUTCOMES.get((wish.kind, outcome)) or _OUTCOMES.get(("", outcome), _UNKNOWN))


def tell(leg: Leg, digits: str, waited_ms: int, says: tuple[str, ...]) -> Turn:
    """A call that only tells: nothing before 5, then everything, and goodbye."""
    if leg.step == GATE and digits == "5" and waited_ms >= TYPE_AHEAD_MS:
        return over(*says, "Goodbye.")
    prompts = 1 if leg.step == CREATED else leg.prompts + 1
    if prompts > PROMPTS[GATE]:
        return over("Goodbye.")
    heard = Gather(GATE, prompts, 1, 6, ("This is Ony, with news about your phones. Press 5 to hear it.",))
    return Turn(Leg(GATE, prompts), Document(gather=heard, pause_s=1 if prompts == 1 else 0))


def over(*says: str) -> Turn:
    """Last words; the call ends after them."""
    return Turn(Leg(DONE), Document(says))


def too_late() -> Turn:
    return over(_OUTCOMES["", "too_late"])


def speech(text: str, limit: int = 160) -> str:
    """Text that may be spoken: letters, digits and plain punctuation, at most `limit` characters; anything else is a pause."""
    return " ".join(_UNSPOKEN.sub(" ", text).split())[:limit]


def summary(talk: Talk) -> str:
    """Who wants what, where, how grave it is: the sentences after the gate."""
    titles = [speech(t).rstrip(".") for t in talk.titles[:SPOKEN_ACTIONS]]
    more = len(talk.titles) - len(titles)
    if more > 0:
        titles.append(f"and {more} more")
    agent = _AGENTS.get(talk.agent) or speech(talk.agent, 40)
    word = " ".join(speech(talk.word, 8))
    wants = f"{agent}, in project {speech(talk.project, 80)}, wants to: {'; '.join(titles)}."
    return f"{wants} Risk: {speech(talk.risk, 20)}. Request number {word}."


def _at_gate(leg: Leg, digits: str, talk: Talk) -> Turn:
    return _prompt(Leg(CHOICE, 1), talk) if digits == "5" else _again(leg, talk, "")


def _at_menu(leg: Leg, digits: str, talk: Talk) -> Turn:
    if digits in ("1", "2", "7"):
        wish = Wish({"1": APPROVE, "2": DENY, "7": PAUSE}[digits])
        return Turn(replace(leg, step=DECIDING, choice=wish.kind), wish=wish)
    if digits == "3" and talk.mode == "away":
        return _prompt(Leg(CODE, 1, choice=EASE), talk)
    return _again(leg, talk, "" if digits in ("", "9") else "That key has no meaning here.")


def _at_code(leg: Leg, digits: str, talk: Talk) -> Turn:
    if leg.choice not in (APPROVE, EASE):
        return over(_NOTHING)
    if _SIX_DIGITS.match(digits):
        return Turn(replace(leg, step=DECIDING), wish=Wish(leg.choice, digits))
    return _again(leg, talk, "A code has six digits." if digits else "")


def _again(leg: Leg, talk: Talk | None, lead: str) -> Turn:
    if leg.prompts >= PROMPTS[leg.step]:
        return over("Goodbye.") if leg.step == GATE else over(_NOTHING)
    return _prompt(replace(leg, prompts=leg.prompts + 1), talk, lead)


def _prompt(leg: Leg, talk: Talk | None, lead: str = "", pause_s: int = 0) -> Turn:
    digits, seconds, says = _words(leg, talk)
    heard = (lead, *says) if lead else says
    return Turn(leg, Document(gather=Gather(leg.step, leg.prompts, digits, seconds, heard), pause_s=pause_s))


def _words(leg: Leg, talk: Talk | None) -> tuple[int, int, tuple[str, ...]]:
    """(digits, seconds of silence, what is spoken) of a step's prompt."""
    if leg.step == CODE:
        return 6, 15, ("Enter the six digit code from your authenticator app.",)
    if leg.step == CHOICE and talk is not None:
        return 1, 8, (summary(talk), _menu(talk))
    return 1, 6, ("This is Ony, with an approval request. Press 5 to hear it.",)


def _menu(talk: Talk) -> str:
    ease = " Press 3 to approve, and to let low risk steps of this session pass for 15 minutes." if talk.mode == "away" else ""
    return f"Press 1 to approve. Press 2 to deny.{ease} Press 9 to hear it again. Press 7 to deny, and to pause this agent for an hour."


_STEPS = {GATE: _at_gate, CHOICE: _at_menu, CODE: _at_code}
_DENIED = "Denied. The agent will not do this. Goodbye."
_OUTCOMES = {
    ("", "approved"): "Approved. Waiting for the agent. Goodbye.",
    (EASE, "approved"): "Approved. Waiting for the agent. Low risk steps of this session pass for 15 minutes. Goodbye.",
    (EASE, "eased"): "Approved. Waiting for the agent. Low risk steps of this session pass for 15 minutes. Goodbye.",
    ("", "denied"): _DENIED,
    (PAUSE, "denied"): "Denied. This agent is paused for one hour. Goodbye.",
    (PAUSE, "too_late"): "This request was decided before, or its time is over. This agent is paused for one hour. Goodbye.",
    (PAUSE, "paused"): "Denied. This agent is paused for one hour. Goodbye.",
    ("", "revoked"): "The approval is taken back. The agent will not do this. Goodbye.",
    ("", "closed"): "Too many wrong codes. Approval by phone is closed for 15 minutes or longer. " + _NOTHING,
    ("", "too_late"): "This request has been decided elsewhere, or its time is over. Goodbye.",
}  # fmt: skip
