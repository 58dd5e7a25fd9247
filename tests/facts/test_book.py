"""Every call of the book means what the book says."""

from pathlib import Path

import pytest

from tests.facts import book


@pytest.mark.parametrize("page", book.files(), ids=lambda page: page.stem)
def test_each_call_means_what_the_book_says(page: Path) -> None:
    entries = book.entries(page.read_text("utf-8"))
    wrong = [(one.call, one.meaning, said) for one in entries if (said := book.meaning(one.call)) != one.meaning]
    assert not wrong, "\n".join(f"{call}\n  the book: {meant}\n  today:    {said}" for call, meant, said in wrong)


def test_no_call_stands_twice_and_each_has_a_meaning() -> None:
    found = [one for page in book.files() for one in book.entries(page.read_text("utf-8"))]
    assert len({one.call for one in found}) == len(found)
    assert all(one.meaning for one in found)


def test_a_meaning_without_a_call_is_refused() -> None:
    with pytest.raises(ValueError, match="without a call"):
        list(book.entries("    none read: Read\n"))
