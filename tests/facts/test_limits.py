"""The limits of one call's notebook: what still fits, what no longer does, and that it never ends quietly."""

from contextlib import ExitStack

from ony_core.evidence.place import DictPlace
from ony_core.facts.call import Call
from ony_core.facts.words import Word
from ony_core.model import Fact

TOO_DEEP = Fact("opaque", traits=("too_deep",))


def test_steps_transfers_and_looks_end() -> None:
    call = Call(DictPlace())
    assert sum(iter(call.spend, False)) == 5999
    assert sum(iter(call.transfers, False)) == 500
    assert sum(iter(call.looks, False)) == 39_999
    assert not (call.spend() or call.transfers() or call.looks())
    assert [Call(DictPlace(), steps=2).spend(), Call(DictPlace(), steps=1).spend()] == [True, False]


def test_the_parser_is_let_go_on_for_so_long_and_less_where_the_text_is_no_shell() -> None:
    right, wrong = Call(DictPlace()), Call(DictPlace())
    assert [right.tired(False) for _ in range(701)] == [False] * 700 + [True]
    assert [wrong.tired(True) for _ in range(36)] == [False] * 35 + [True]


def test_the_parser_may_ask_for_so_many_pieces() -> None:
    call = Call(DictPlace())
    assert call.left_to_read == 8000
    call.left_to_read = 0
    assert not call.tired(False)
    call.left_to_read = -1
    assert call.tired(False)


def test_twelve_levels_fit_and_a_level_left_is_free_again() -> None:
    call = Call(DictPlace())
    with ExitStack() as stack:
        assert [stack.enter_context(call.deeper()) for _ in range(13)] == [True] * 12 + [False]
    with call.deeper() as fits:
        assert fits


def test_the_256th_fact_stands_the_next_is_opaque_and_one_that_is_known_still_counts_as_known() -> None:
    call = Call(DictPlace())
    facts = [Fact("command", "ls", args=number) for number in range(257)]
    for fact in facts[:256]:
        call.take(fact)
    call.take(facts[0])
    assert list(call.facts) == facts[:256]
    call.take(facts[256])
    assert list(call.facts) == [*facts[:256], TOO_DEEP]


def test_a_command_that_a_person_asked_about_is_noted_with_its_depth() -> None:
    call = Call(DictPlace())
    call.note([Word("ls")])
    assert call.seen is None
    call.seen = []
    call.note([Word("ls")])
    with call.deeper():
        call.note([Word("rm")])
    assert call.seen == [(0, [Word("ls")]), (1, [Word("rm")])]


def test_text_is_read_up_to_the_longest_argument_of_linux() -> None:
    assert Call.MAX_TEXT == 131_072  # MAX_ARG_STRLEN, 32 pages
