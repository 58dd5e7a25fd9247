"""How a test ended, for the fixture that writes its row of the table."""

from collections.abc import Iterator
from typing import Any

import pytest

PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    report = yield
    if call.when == "call":
        item.stash[PASSED] = report.passed
    return report
