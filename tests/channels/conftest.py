"""A prepared server folder, copied for each test, and the server on it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.channels.house import House, prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def build(prepared: Path, tmp_path: Path) -> Iterator[Any]:
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(House(prepared, tmp_path / "data", **settings))


@pytest.fixture
def house(build: Any) -> House:
    return build()
