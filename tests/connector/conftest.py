import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ony_core import canon
from ony_core.connector import bundle, enrolled, home, statement
from ony_core.connector.gate import Gate
from ony_core.connector.link import Link
from tests.connector.standin import StandIn, TestClock


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def server(tmp_path: Path, clock: TestClock) -> Iterator[StandIn]:
    with StandIn(tmp_path / "server", clock) as standin:
        yield standin


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's: the path of a socket has 100 bytes."""
    with tempfile.TemporaryDirectory(prefix="ony-") as name:
        yield home.opened(Path(name) / "ony", make=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a terraform place in it, unknown to anybody."""
    made = tmp_path / "prod-api"
    made.mkdir()
    (made / "main.tf").write_text('terraform {\n  required_version = ">= 1.5"\n}\n')
    return made


def enrol(folder: Path, server: StandIn, clock: TestClock) -> enrolled.Enrolled:
    """What `ony enroll` does, without the command line."""
    body = canon.dumps({"code": server.code, "name": "test", "version": "0", "protocol": 1})
    answer = Link(server.url).call("POST", "/v1/enroll", body).body
    accepted = enrolled.accept(answer, server.code, server.url, "test", clock)
    bundle.check(answer["bundle"], accepted, statement.verifier(accepted.server_key), None)
    bundle.keep(folder, answer["bundle"])
    enrolled.save(folder, accepted, clock)
    return accepted


@pytest.fixture
def open_gate(folder: Path, server: StandIn, clock: TestClock) -> Callable[[], Gate]:
    """A gate on the folder, enrolled once; call it again for what a restart would see."""
    enrol(folder, server, clock)

    def opened() -> Gate:
        known = enrolled.load(folder)
        return Gate(folder, known, Link(known.url, known.token), clock)

    return opened


@pytest.fixture
def gate(open_gate: Callable[[], Gate]) -> Gate:
    return open_gate()
