"""What every test gets: a HOME of its own, quick and repeatable hypothesis runs, an error for whatever reaches past its own folders.

MUST: fail a test that writes under the real home, reads an agent's or Ony's own settings there, or looks for a host that is not this
one, also where the code under test swallowed the error.
"""

import itertools
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
REAL_HOME = os.path.realpath(os.path.expanduser("~"))
PRIVATE = tuple(os.path.join(REAL_HOME, name) for name in (".ony", ".claude", ".codex", ".ssh", ".aws", ".kube", ".gitconfig"))
HOME, CHECKOUT, SCRATCH = (os.path.realpath(path) + os.sep for path in (REAL_HOME, ROOT, tempfile.gettempdir()))
CHANGES = ("mkdir", "rename", "remove", "rmdir", "link", "symlink", "chmod", "chown", "truncate", "utime")
WRITES = frozenset(f"os.{name}" for name in CHANGES)
LISTS = frozenset({"os.listdir", "os.scandir"})
WATCHED = WRITES | LISTS | {"open", "socket.connect", "socket.getaddrinfo"}
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")

trespasses: list[str] = []
_count = itertools.count()


class Trespass(AssertionError):
    """A test reached for something that is not its own."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="the full counts of the long suites (make soak)")


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("quick", max_examples=60, derandomize=True, deadline=None, database=None)
    settings.register_profile("soak", max_examples=3000, deadline=None, print_blob=True)
    settings.load_profile("soak" if config.getoption("--soak") else "quick")
    sys.addaudithook(_watch)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="full count, runs in `make soak`"))


@pytest.fixture
def soak(pytestconfig: pytest.Config) -> bool:
    """Whether the long suites run their full counts."""
    return bool(pytestconfig.getoption("--soak"))


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty HOME for this test and every process it starts; nothing of the developer's own set-up shines through."""
    home = tmp_path_factory.getbasetemp() / "homes" / str(next(_count))  # not mktemp: it counts the folders that are there, each time
    home.mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith(("ONY_", "CLAUDE", "ANTHROPIC_", "XDG_", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    trespasses.clear()
    yield home
    if trespasses:
        pytest.fail("reached past its own folders: " + "; ".join(dict.fromkeys(trespasses)))


def _watch(event: str, args: tuple[Any, ...]) -> None:
    """PEP 578 hook. It cannot be taken out again, and code under test cannot get around it without a child process."""
    if event in WATCHED and (what := _trespass(event, args)):  # most events of an interpreter are none of these
        trespasses.append(what)
        raise Trespass(what)


def _trespass(event: str, args: tuple[Any, ...]) -> str:
    if event == "open":
        return _touched(args[0], writes=_opens_for_writing(args))
    if event in WRITES:
        return next(filter(None, (_touched(path, writes=True) for path in args[:2])), "")
    if event in LISTS:
        return _touched(args[0], writes=False)
    if event == "socket.connect":
        return _called(args[1][0]) if isinstance(args[1], tuple) else ""
    if event == "socket.getaddrinfo":
        return _called(args[0])
    return ""


def _opens_for_writing(args: tuple[Any, ...]) -> bool:
    _, mode, flags = args
    return any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _touched(path: Any, writes: bool) -> str:
    if not isinstance(path, str | bytes | os.PathLike):
        return ""
    name = os.path.abspath(os.fsdecode(path))
    if name.startswith(CHECKOUT) or "__pycache__" in name or _scratch(name):
        return ""
    if any(name == private or name.startswith((private + os.sep, private + ".json")) for private in PRIVATE):
        return f"touched {name}"
    return f"wrote {name}" if writes and name.startswith(HOME) else ""


def _scratch(name: str) -> bool:
    """In the folder for temporary files; a home that lies in it (a clean CI run) stays a home."""
    return name.startswith(SCRATCH) and not (HOME.startswith(SCRATCH) and name.startswith(HOME))


def _called(host: Any) -> str:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    return f"looked for the host {name}" if name and not str(name).startswith(LOOPBACK) else ""
