"""What a script, a makefile or package.json holds cannot always be read: then the run is held, but for binaries that were there before."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import understand
from ony_core.facts.place import Unknown
from ony_core.facts.scripts import LIMIT
from ony_core.model import ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess

BINARY = b"\x7fELF\0\0"
LATE_ZERO = b"git push --force origin main\n" + b"#" * 4096 + b"\0"
REFUSED = [Unknown.UNREADABLE, Unknown.NOT_REGULAR, Unknown.TOO_BIG, Unknown.LATE]


class _Refusing(DictPlace):
    """Reading one of its files fails in a way of its own."""

    def __init__(self, path: str, why: Unknown, files: dict[str, bytes] | None = None) -> None:
        super().__init__(files)
        self._refused = path, why

    def read(self, path: str, limit: int) -> bytes | Unknown:
        return self._refused[1] if path == self._refused[0] else super().read(path, limit)


def answer(command: str, place: DictPlace) -> str:
    return gate(assess(understand(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), place).facts), "on")


@pytest.mark.parametrize("why", REFUSED)
@pytest.mark.parametrize(
    ("command", "file"),
    [("./tool.sh", "tool.sh"), ("bash tool.sh", "tool.sh"), ("make", "Makefile"), ("make -f x.mk", "x.mk"), ("npm test", "package.json")],
)
def test_what_cannot_be_read_is_held(command: str, file: str, why: Unknown) -> None:
    assert answer(command, _Refusing(f"/project/{file}", why)) == "hold"
    assert answer(command, _Refusing(f"/project/{file}", Unknown.MISSING)) == "pass"


@pytest.mark.parametrize("why", REFUSED)
def test_a_makefile_that_takes_in_what_cannot_be_read_is_held(why: Unknown) -> None:
    files = {"/project/Makefile": b"include rules.mk\nall:\n\techo a\n"}
    assert answer("make", _Refusing("/project/rules.mk", why, files)) == "hold"
    assert answer("make", DictPlace(files)) == "pass"


@pytest.mark.parametrize(
    ("content", "made", "said"),
    [
        (b"git status\n", False, "pass"),
        (b"#" * (LIMIT + 1), False, "hold"),
        (BINARY, False, "pass"),
        (BINARY, True, "hold"),
        (LATE_ZERO, False, "hold"),
    ],
)
def test_a_binary_passes_where_this_session_did_not_put_it(content: bytes, made: bool, said: str) -> None:
    place = DictPlace({"/project/tool": content}, made=["/project/tool"] if made else ["/project/other"])
    assert answer("./tool", place) == said


@pytest.mark.parametrize(
    ("path", "said"),
    [("bin/git", "hold"), (".venv/bin/git", "pass"), ("node_modules/.bin/git", "pass")],
)
def test_a_program_that_this_session_wrote_is_no_program_of_that_name(path: str, said: str) -> None:
    place = DictPlace({f"/project/{path}": b"#!/bin/sh\nrm -rf /srv\n"}, made=[f"/project/{path}"])
    assert answer(f"/project/{path} status", place) == said
    assert answer(f"/project/{path} status", DictPlace({}, made=["/project/other"])) == "pass"
    assert answer("cat > bin/git <<'E'\nrm -rf /srv\nE\nbin/git status", DictPlace({})) == "hold"
    assert answer("echo 'rm -rf /srv' > bin/git; rm bin/git; bin/git status", DictPlace({})) == "pass"
