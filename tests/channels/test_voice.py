"""The call flow, as tables: who may hear what, which keys mean what, and where every call ends."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core.channels import voice
from ony_core.channels.voice import CHOICE, CODE, DECIDING, DONE, GATE, Leg, Talk, Turn, Wish

TALK = Talk("claude-code", "prod-api", ("Apply Terraform in production", "Delete a table"), "critical", "42", "on")
AWAY = Talk("codex", "prod-api", ("Push",), "medium", "07", "away")
LATER = 1500
SECRETS = ("prod-api", "Terraform", "critical", "4 2", "Claude")


def spoken(turn: Turn) -> str:
    document = turn.document
    assert document is not None
    return " ".join((*document.says, *(document.gather.says if document.gather else ())))


@pytest.mark.parametrize("digits", ["", "1", "2", "3", "7", "9", "0", "*", "#", "55", "15"])
def test_at_the_gate_anything_but_five_only_repeats_the_gate(digits: str) -> None:
    turn = voice.press(Leg(GATE, 1), digits, LATER, TALK)
    assert turn.leg == Leg(GATE, 2) and turn.wish is None
    assert not any(word in spoken(turn) for word in SECRETS)


def test_a_voicemail_hears_two_gates_and_nothing_of_the_request() -> None:
    turn, heard = voice.begin(), ""
    for _ in range(10):
        heard += spoken(turn)
        if turn.leg.step == DONE:
            break
        turn = voice.press(turn.leg, "", LATER, TALK)
    assert turn.leg.step == DONE
    assert heard.count("Press 5") == 2 and not any(word in heard for word in SECRETS)


def test_five_opens_the_request_in_plain_words() -> None:
    turn = voice.press(Leg(GATE, 1), "5", LATER, TALK)
    assert turn.leg == Leg(CHOICE, 1)
    assert spoken(turn).startswith(
        "Claude Code, in project prod-api, wants to: Apply Terraform in production; Delete a table. Risk: critical. Request number 4 2."
    )
    assert "Press 3" not in spoken(turn)


@pytest.mark.parametrize(("count", "tail"), [(1, "t0."), (3, "t0; t1; t2."), (4, "t0; t1; t2; and 1 more."), (9, "t2; and 6 more.")])
def test_three_actions_are_spoken_and_the_rest_is_counted(count: int, tail: str) -> None:
    talk = Talk("codex", "p", tuple(f"t{i}" for i in range(count)), "high", "11", "on")
    assert f"{tail} Risk: high." in voice.summary(talk)


@pytest.mark.parametrize(("key", "wish"), [("1", "approve"), ("2", "deny"), ("7", "pause")])
def test_the_keys_of_the_menu(key: str, wish: str) -> None:
    turn = voice.press(Leg(CHOICE, 1), key, LATER, TALK)
    assert turn.wish == Wish(wish) and turn.leg.step == DECIDING and turn.document is None


def test_three_means_something_in_mode_away_only_and_always_takes_the_code() -> None:
    away = voice.press(Leg(CHOICE, 1), "3", LATER, AWAY)
    assert away.leg == Leg(CODE, 1, choice="ease") and away.wish is None
    assert voice.press(away.leg, "123456", LATER, AWAY).wish == Wish("ease", "123456")
    elsewhere = voice.press(Leg(CHOICE, 1), "3", LATER, TALK)
    assert elsewhere.leg == Leg(CHOICE, 2) and elsewhere.wish is None


@pytest.mark.parametrize("step", [GATE, CHOICE, CODE])
@pytest.mark.parametrize("waited", [-5000, 0, 200, 999])
@pytest.mark.parametrize("digits", ["5", "1", "2", "7", "123456", ""])
def test_keys_within_a_second_are_ignored_and_asked_again(step: str, waited: int, digits: str) -> None:
    turn = voice.press(Leg(step, 1, choice="approve"), digits, waited, TALK)
    assert turn.leg == Leg(step, 2, choice="approve") and turn.wish is None


@pytest.mark.parametrize(("step", "bound"), [(GATE, 2), (CHOICE, 3), (CODE, 4)])
def test_every_prompt_is_bounded(step: str, bound: int) -> None:
    leg, prompts = Leg(step, 1, choice="approve"), 1
    while leg.step == step:
        leg = voice.press(leg, "", LATER, TALK).leg
        prompts += 1
        assert prompts < 20
    assert leg.step == DONE and prompts - 1 == bound


def test_three_wrong_codes_end_the_call_and_nothing_is_approved() -> None:
    leg = Leg(CODE, 1, choice="approve")
    for left in (2, 1, 0):
        asked = voice.press(leg, "000000", LATER, TALK)
        assert asked.wish == Wish("approve", "000000")
        turn = voice.settle(asked.leg, asked.wish, "wrong_code", TALK)
        leg = turn.leg
        assert (leg.step == DONE) == (left == 0)
    assert "Nothing was approved" in spoken(turn)


@pytest.mark.parametrize("digits", ["1", "12345", "1234567", "12345*", "１２３４５６", "12 456"])
def test_only_six_digits_are_a_code(digits: str) -> None:
    turn = voice.press(Leg(CODE, 1, choice="approve"), digits, LATER, TALK)
    assert turn.wish is None and turn.leg == Leg(CODE, 2, choice="approve")


OUTCOMES = [
    ("approve", "approved", "Approved. Waiting for the agent."), ("ease", "approved", "pass for 15 minutes"), ("deny", "denied", "Denied."),
    ("deny", "revoked", "taken back"), ("pause", "denied", "paused for one hour"), ("pause", "paused", "paused for one hour"),
    ("approve", "too_late", "decided elsewhere"), ("approve", "closed", "Nothing was approved"), ("approve", "denied", "Denied."),
    ("pause", "too_late", "paused for one hour"),
    ("deny", "", "not known"), ("approve", "a_word_of_tomorrow", "not known"), ("pause", "code_needed", "not known"),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "outcome", "words"), OUTCOMES)
def test_what_is_said_is_what_was_stored(wish: str, outcome: str, words: str) -> None:
    turn = voice.settle(Leg(DECIDING, 1), Wish(wish), outcome, TALK)
    assert turn.leg.step == DONE and words in spoken(turn)
    assert ("Approved" in spoken(turn)) == (outcome == "approved")


def test_approve_and_code_needed_lead_to_the_code() -> None:
    turn = voice.settle(Leg(DECIDING, 1), Wish("approve"), "code_needed", TALK)
    assert turn.leg == Leg(CODE, 1, choice="approve") and "six digit code" in spoken(turn)


def test_no_walk_through_the_flow_approves_without_five_and_then_one_or_three() -> None:
    keys = ("", "1", "2", "3", "5", "7", "9", "*", "123456")
    for walk in itertools.product(keys, repeat=4):
        turn, opened, chosen = voice.begin(), False, False
        for digits in walk:
            if turn.leg.step == DONE:
                break
            before = turn.leg.step
            turn = voice.press(turn.leg, digits, LATER, AWAY)
            opened |= before == GATE and digits == "5"
            chosen |= before == CHOICE and digits in ("1", "3")
            if turn.wish is None:
                continue
            if turn.wish.kind in ("approve", "ease"):
                assert opened and chosen, walk
            turn = voice.settle(turn.leg, turn.wish, "code_needed" if turn.wish.code is None else "wrong_code", AWAY)


@given(st.text(max_size=400))
def test_speech_is_plain_and_short(text: str) -> None:
    said = voice.speech(text)
    assert len(said) <= 160 and said.isascii() and not set(said) & set('<>&"`$\\{}[]()\n\t\0')


@given(st.lists(st.text(max_size=300), min_size=1, max_size=40), st.text(max_size=99), st.text(max_size=99))
def test_a_summary_fits_one_say_whatever_the_titles_are(titles: list[str], project: str, agent: str) -> None:
    assert len(voice.summary(Talk(agent, project, tuple(titles), "critical", "12", "on"))) < 1000
