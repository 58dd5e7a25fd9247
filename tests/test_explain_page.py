"""docs/explain.md says what Ony says."""

from pathlib import Path

from ony_core.commands.explaining import WIDTH
from tests.explain_page import CALLS, page

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explain.md"


def test_the_page_is_what_ony_says() -> None:
    assert PAGE.read_text("utf-8") == "".join(page()).rstrip("\n") + "\n", "python -m tests.explain_page > docs/explain.md"


def test_thirty_calls_none_twice_and_no_line_too_wide() -> None:
    assert len({str(call) for _, call in CALLS}) == 30
    blocks = "".join(page()).split("```text\n")[2::2]
    wide = [line for block in blocks for line in block.split("```")[0].splitlines() if len(line) > WIDTH]
    assert all(line.lstrip().startswith("ony admin policy set") for line in wide)
