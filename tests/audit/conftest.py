from pathlib import Path

import pytest

from tests.audit.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """23 rows in 9 commits: checkpoints at 2, 4, 5, 8, 11, 13, 16, 20, 23."""
    return World(tmp_path / "data").grown(2, 2, 1, 3, 3, 2, 3, 4, 3)
