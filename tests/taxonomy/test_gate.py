"""Modes: what passes and what is held."""

import pytest

from ony_core.model import Action, Assessment
from ony_core.policy import gate

LADDER = ("none", "low", "medium", "high", "critical")
TABLE = {
    "on": "pass pass pass hold hold",
    "here": "pass pass pass hold hold",
    "away": "pass hold hold hold hold",
    "off": "pass pass pass pass pass",
    "no such mode": "pass pass pass hold hold",
    "": "pass pass pass hold hold",
}


def of(risk: str, key: str = "file.write") -> Assessment:
    return Assessment((), (Action(key, risk, "x"),))


@pytest.mark.parametrize("mode", TABLE)
def test_a_mode_holds_from_its_floor_up(mode: str) -> None:
    assert [gate(of(risk), mode) for risk in LADDER] == TABLE[mode].split()


@pytest.mark.parametrize("mode", TABLE)
def test_the_gates_own_settings_hold_in_every_mode(mode: str) -> None:
    assert gate(of("critical", "ony.change"), mode) == "hold"
    assert gate(of("critical", "ony.change"), mode, eased=True) == "hold"


def test_easing_lets_low_steps_of_mode_away_pass_and_nothing_else() -> None:
    assert [gate(of(risk), "away", eased=True) for risk in LADDER] == ["pass", "pass", "hold", "hold", "hold"]
    assert gate(of("high"), "on", eased=True) == "hold"


def test_a_risk_that_is_no_word_of_the_ladder_is_held() -> None:
    assert gate(of("harmless"), "on") == "hold"
