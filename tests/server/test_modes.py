"""Modes: stepping down, in whatever guise, takes the owner's code, and ends by itself."""

import pytest

from ony_core import canon
from ony_core.errors import Refused
from ony_core.model import MODES
from ony_core.server import modes
from tests.server.world import Hall

SESSION, OTHER = "sess_" + "1" * 32, "sess_" + "2" * 32
CODED = object()  # stands for the right code


def wishes(hall: Hall, mode: str, session: str = SESSION, minutes: int | None = 60, code: object = None) -> str:
    """ "" where the mode was set, else why not. Each code is a new one."""
    if code is CODED:
        hall.clock.pass_(30)
        code = hall.owner.code()
    wish = {"session": session, "mode": mode, "minutes": minutes, "code": code}
    result = hall.write(lambda org: modes.change(org, hall.keyring, hall.owner.connector, wish, hall.clock))
    return result if isinstance(result, str) else ""


def stands(hall: Hall, session: str = SESSION) -> str:
    return hall.read(hall.org_id, lambda org: modes.current(org, hall.owner.connector_id, session))


def test_without_a_word_from_the_owner_the_mode_is_on(hall):
    assert stands(hall) == "on"


@pytest.mark.parametrize("before", MODES)
@pytest.mark.parametrize("after", MODES)
def test_a_step_down_needs_the_code_and_a_step_up_does_not(hall, before, after):
    assert wishes(hall, before, code=CODED) == ""
    down = MODES.index(after) < MODES.index(before) or after == "off"
    assert wishes(hall, after) == ("code_needed" if down else "")
    assert stands(hall) == (before if down else after)
    assert wishes(hall, after, code="000000" if down else None) == ("wrong_code" if down else "")
    assert wishes(hall, after, code=CODED) == ""
    assert stands(hall) == after


def test_off_ends_after_an_hour_and_is_not_prolonged_without_a_new_code(hall):
    assert wishes(hall, "off", minutes=600, code=CODED) == ""
    hall.clock.pass_(3540)
    assert stands(hall) == "off"
    assert wishes(hall, "off") == "code_needed"
    hall.clock.pass_(60)
    assert stands(hall) == "on"


@pytest.mark.parametrize("minutes", [None, 240])
@pytest.mark.parametrize("later", ["away", "here"])
def test_a_strict_mode_is_not_shortened_without_the_code(hall, minutes, later):
    """One minute of away, said again over a whole evening of it, would be a step down a minute later."""
    assert wishes(hall, "away", minutes=minutes) == ""
    assert wishes(hall, later, minutes=1) == "code_needed"
    hall.clock.pass_(120)
    assert stands(hall) == "away"
    assert wishes(hall, later, minutes=1, code=CODED) == ""
    hall.clock.pass_(60)
    assert stands(hall) == "on"


def test_a_strict_mode_is_not_ended_early_by_a_stricter_but_shorter_one(hall):
    assert wishes(hall, "here", minutes=240) == ""
    assert wishes(hall, "away", minutes=1) == "code_needed"
    assert wishes(hall, "away", minutes=300) == ""


def test_away_without_an_end_stays_until_the_owner_says_otherwise(hall):
    assert wishes(hall, "away", minutes=None) == ""
    hall.clock.pass_(7 * 24 * 3600)
    assert stands(hall) == "away"
    assert wishes(hall, "on") == "code_needed"
    (mode,) = hall.read(hall.org_id, lambda org: org.modes(hall.owner.connector_id))
    assert modes.wire(mode)["until"] is None


def test_a_session_follows_the_default_until_it_has_a_mode_of_its_own(hall):
    assert wishes(hall, "away", session="") == ""
    assert (stands(hall), stands(hall, OTHER)) == ("away", "away")
    assert wishes(hall, "on") == "code_needed"
    assert wishes(hall, "on", code=CODED) == ""
    assert (stands(hall), stands(hall, OTHER)) == ("on", "away")


@pytest.mark.parametrize("prepared", ["on", "here"])
def test_a_session_cannot_prepare_itself_against_a_stricter_default(hall, prepared):
    assert wishes(hall, prepared, minutes=600) == ""
    assert wishes(hall, "away", session="", minutes=None) == ""
    assert stands(hall) == "away"


@pytest.mark.parametrize("minutes", [1, 120, None], ids=["shorter", "longer", "for good"])
def test_a_stricter_default_that_ends_sooner_leaves_no_session_laxer_than_it_was(hall, minutes):
    """Or an agent cuts a session's own strict mode short without a code, by a moment of a default that is stricter still."""
    assert wishes(hall, "here", minutes=60) == ""
    hall.clock.pass_(1)
    assert wishes(hall, "away", session="", minutes=minutes) == ""
    assert stands(hall) == "away"
    hall.clock.pass_(120)
    assert stands(hall) == "away"
    assert wishes(hall, "on") == "code_needed"
    hall.clock.pass_(2 * 3600)
    assert stands(hall) == ("away" if minutes is None else "on")


def test_a_stricter_session_keeps_its_mode_when_the_default_rises(hall):
    assert wishes(hall, "away", minutes=600) == ""
    assert wishes(hall, "here", session="", minutes=60) == ""
    assert stands(hall) == "away"


def test_five_wrong_codes_close_this_way_down(hall):
    assert [wishes(hall, "off", code="000000") for _ in range(5)] == ["wrong_code"] * 4 + ["closed"]
    assert wishes(hall, "off", code=CODED) == "closed"
    assert stands(hall) == "on"


def test_who_goes_on_guessing_waits_twice_as_long_after_each_five_and_a_right_code_starts_over(hall):
    """An agent with its connector's token has all the time in the world."""
    for minutes in (15, 30, 60, 120, 240, 480, 480, 480):
        assert [wishes(hall, "off", code="000000") for _ in range(5)] == ["wrong_code"] * 4 + ["closed"]
        hall.clock.pass_(60 * minutes - 1)
        assert wishes(hall, "off", code=hall.owner.code()) == "closed", minutes
        hall.clock.pass_(1)
    assert wishes(hall, "off", code=CODED) == ""
    assert [wishes(hall, "off", code="000000") for _ in range(5)] == ["wrong_code"] * 4 + ["closed"]
    hall.clock.pass_(15 * 60)
    assert wishes(hall, "off", code=CODED) == ""


@pytest.mark.parametrize("before", ["here", "away", "on"])
def test_while_everything_is_frozen_nothing_steps_down_code_or_not(hall, before):
    """Phone and authenticator may be in the very hands that it was frozen against."""
    assert wishes(hall, before, code=CODED) == ""
    hall.write(lambda org: org.freeze(hall.clock.now))
    for code in (CODED, None, "000000"):
        with pytest.raises(Refused, match="frozen"):
            wishes(hall, "off", code=code)
    assert (wishes(hall, "away"), stands(hall)) == ("", "away"), "stricter may be"
    hall.write(lambda org: org.freeze(None))
    assert wishes(hall, "off", code=CODED) == ""


def test_a_code_that_approved_a_call_does_not_switch_ony_off_as_well(hall):
    code = hall.owner.code()
    assert wishes(hall, "off", code=code) == ""
    assert wishes(hall, "off", session=OTHER, code=code) == "wrong_code"


@pytest.mark.parametrize("minutes", [0, -1])
def test_minutes_that_make_no_sense_are_refused(hall, minutes):
    with pytest.raises(Refused):
        wishes(hall, "away", minutes=minutes)


def test_a_mode_is_signed_for_its_connector_and_session_and_logged(hall):
    wish = {"session": SESSION, "mode": "away", "minutes": None, "code": None}
    signed = hall.write(lambda org: modes.change(org, hall.keyring, hall.owner.connector, wish, hall.clock))
    body = canon.loads(signed["payload"].encode())
    assert (body["type"], body["connector_id"], body["session"], body["mode"]) == ("mode", hall.owner.connector_id, SESSION, "away")
    assert hall.server_holds(
        bytes.fromhex(signed["server_signature"].removeprefix("ed25519:")), b"ony/mode/v1\n" + signed["payload"].encode()
    )
    assert hall.logged()[-1]["kind"] == "mode"


def test_another_connectors_modes_are_its_own(hall):
    from tests.server.world import Person

    neighbour = Person(hall, hall.org_id, "neighbour@example.com")
    assert wishes(hall, "off", code=CODED) == ""
    assert hall.read(hall.org_id, lambda org: modes.current(org, neighbour.connector_id, SESSION)) == "on"
