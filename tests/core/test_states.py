"""The life of a handoff: the whole table, written down a second time, and what follows from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core import states
from ony_core.errors import Refused

PATHS = """
pending   ring     ringing
pending   deny     denied
pending   expire   expired
pending   cancel   cancelled
pending   fail     failed
ringing   ring     ringing
ringing   consent  ringing
ringing   approve  approved
ringing   deny     denied
ringing   expire   expired
ringing   cancel   cancelled
ringing   fail     failed
approved  claim    used
approved  lapse    unused
approved  revoke   revoked
"""
TABLE = {(a, b): c for a, b, c in (line.split() for line in PATHS.strip().splitlines())}
EVENTS = sorted({event for _, event in TABLE})
FINAL = {"used", "unused", "revoked", "denied", "expired", "cancelled", "failed"}


@pytest.mark.parametrize("state", states.STATES)
@pytest.mark.parametrize("event", [*EVENTS, "", "used", "reopen"])
def test_every_step_is_in_the_table_or_refused(state, event):
    if (state, event) in TABLE:
        assert states.after(state, event) == TABLE[state, event]
    else:
        with pytest.raises(Refused) as refused:
            states.after(state, event)
        assert refused.value.reason == "wrong_state"


def test_the_words_and_sets_agree_with_the_table():
    assert set(states.STATES) == {a for a, _ in TABLE} | set(TABLE.values()) and len(states.STATES) == 10
    assert states.FINAL == FINAL and {"pending", "ringing"} == states.WAITING
    assert not FINAL & {a for a, _ in TABLE}


def test_an_unknown_state_takes_no_step():
    with pytest.raises(Refused):
        states.after("open", "approve")


@given(st.lists(st.sampled_from(EVENTS), max_size=30))
def test_no_history_leaves_a_final_state_or_runs_without_a_yes_on_a_ringing_phone(events):
    state, seen = states.PENDING, []
    for event in events:
        try:
            step = states.after(state, event)
        except Refused:
            continue
        assert state not in FINAL
        state = step
        seen.append(event)
    if state == states.USED:
        assert seen[-2:] == ["approve", "claim"] and "ring" in seen and not {"deny", "cancel", "expire", "fail", "revoke"} & set(seen)
    assert seen.count("claim") <= 1 and seen.count("approve") <= 1
