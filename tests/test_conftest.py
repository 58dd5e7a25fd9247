"""The fence around the suite holds: these tests trespass on purpose."""

import contextlib
import os
import socket
from pathlib import Path

import pytest

from tests import conftest


@pytest.fixture(autouse=True)
def forgive(own_home: Path):
    yield
    conftest.trespasses.clear()


@pytest.mark.parametrize("name", ["ony-test-must-not-write", ".claude/settings.json", ".ony/connector.json"])
def test_writing_under_the_real_home_is_an_error(name):
    with pytest.raises(conftest.Trespass):
        Path(conftest.REAL_HOME, name).write_text("")
    assert conftest.trespasses


def test_reading_the_agents_own_settings_is_an_error():
    with pytest.raises(conftest.Trespass):
        Path(conftest.REAL_HOME, ".claude", "settings.json").read_text()


def test_a_trespass_that_the_code_swallowed_is_remembered():
    with contextlib.suppress(BaseException):
        os.mkdir(os.path.join(conftest.REAL_HOME, "ony-test-must-not-exist"))
    assert conftest.trespasses == [f"wrote {conftest.REAL_HOME}/ony-test-must-not-exist"]


@pytest.mark.parametrize("host", ["192.0.2.1", "example.com"])
def test_other_hosts_are_out_of_reach(host):
    with pytest.raises(conftest.Trespass):
        socket.create_connection((host, 9), timeout=1)


def test_home_is_empty_and_belongs_to_the_test(own_home):
    assert Path.home() == own_home
    assert list(own_home.iterdir()) == []
    (own_home / ".ony").mkdir()
