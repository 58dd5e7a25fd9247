"""Pass or hold: what a session's mode makes of an assessment. Pure."""

from typing import Literal

from ony_core.model import Assessment, at_least

OWN = "ony."


def gate(assessment: Assessment, mode: str, eased: bool = False) -> Literal["pass", "hold"]:
    """on, here: high and critical hold. away: everything above none, or above low while eased. off: nothing but `ony.*`.

    `ony.*` (the gate's own settings) holds in every mode; a mode that is not one of these counts as on.
    """
    if any(action.key.startswith(OWN) for action in assessment.actions if action.risk != "none"):
        return "hold"
    if mode == "off":
        return "pass"
    floor = ("medium" if eased else "low") if mode == "away" else "high"
    return "hold" if at_least(assessment.risk, floor) else "pass"


def may_ask(assessment: Assessment) -> bool:
    """Whether the agent's own prompt may decide where no verdict comes and the owner has set `on_no_verdict = "ask"`.

    High only; never critical, `ony.*`, or what cannot be seen or has no end. No setting widens this.
    """
    seen = all(fact.kind not in ("opaque", "grant") for fact in assessment.facts)
    return assessment.risk == "high" and seen and not any(action.key.startswith(OWN) for action in assessment.actions)
