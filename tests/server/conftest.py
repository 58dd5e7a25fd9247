"""A desk for whoever asks for `hall`; a server for `server`, one that runs for a whole module for `running`."""

import tempfile
from pathlib import Path

import pytest

from tests.server.office import Office
from tests.server.serving import Server, enrolled
from tests.server.world import Hall


@pytest.fixture
def hall(tmp_path):
    made = Hall(tmp_path)
    yield made
    made.close()


@pytest.fixture
def server():
    with tempfile.TemporaryDirectory(prefix="ony-") as folder:
        made = Server(Path(folder))
        yield made
        if made.process is not None and made.process.poll() is None:
            made.stop()


@pytest.fixture(scope="module")
def running():
    with tempfile.TemporaryDirectory(prefix="ony-") as folder:
        made = Server(Path(folder))
        made.token = enrolled(made.data)
        made.revoked = enrolled(made.data, revoke=True)
        yield made.start()
        made.stop()


@pytest.fixture
def office(tmp_path):
    made = Office(tmp_path)
    yield made
    made.hall.close()
