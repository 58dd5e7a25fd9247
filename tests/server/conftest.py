"""A desk for whoever asks for `hall`."""

import pytest

from tests.server.world import Hall


@pytest.fixture
def hall(tmp_path):
    made = Hall(tmp_path)
    yield made
    made.close()
