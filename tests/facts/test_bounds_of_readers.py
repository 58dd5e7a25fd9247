"""Each reader of a language ends somewhere: what is longer is held, one step below the bound it is read."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import patches, powershell, python, understand
from ony_core.facts.call import Call
from ony_core.facts.handlers import windows
from ony_core.facts.place import Unknown
from ony_core.model import Action, ToolCall
from ony_core.taxonomy import assess

FILES = {"/shop/src/app.py": b"print('hello')\n"}


def meant(command: str, place: DictPlace | None = None) -> tuple[Action, ...]:
    call = ToolCall("claude-code", "s", "Bash", {"command": command}, "/shop")
    return assess(understand(call, place or DictPlace(FILES, "/shop")).facts).actions


def opaque(command: str) -> bool:
    return any(action.key == "opaque" for action in meant(command))


def powershells(count: int) -> str:
    return "pwsh -c '" + "; ".join(["Get-Date"] * count) + "'"


def windows_parts(count: int) -> str:
    return 'cmd /c "' + "&".join(["git status"] * count) + '"'


def envelope(count: int) -> str:
    parts = "\n".join(f"*** Add File: f{number}\n+a" for number in range(count))
    return f"apply_patch <<'E'\n*** Begin Patch\n{parts}\n*** End Patch\nE"


def diff(count: int) -> str:
    parts = "\n".join(f"--- a/f{number}\n+++ b/f{number}\n@@ -1 +1 @@\n-a\n+b" for number in range(count))
    return f"git apply <<'E'\n{parts}\nE"


def pythons(count: int) -> str:
    return "python3 - <<'E'\n" + "f()\n" * count + "E"


@pytest.mark.parametrize(
    ("made", "bound"),
    [
        (powershells, powershell.MAX_COMMANDS),
        (windows_parts, windows.MAX_PARTS),
        (envelope, patches.MOST),
        (diff, patches.MOST),
        (pythons, python.MAX_CALLS),
    ],
)
def test_what_is_longer_than_its_reader_reads_is_held(made, bound: int) -> None:
    assert not opaque(made(bound))
    assert opaque(made(bound + 1))


def test_powershell_text_of_any_length_is_held() -> None:
    text = "# " + "a" * Call.MAX_TEXT
    call = ToolCall("claude-code", "s", "Write", {"file_path": "/shop/a.ps1", "content": text[: Call.MAX_TEXT + 1]}, "/shop")
    made = understand(call, DictPlace(FILES, "/shop")).made
    later = ToolCall("claude-code", "s", "Bash", {"command": "pwsh a.ps1"}, "/shop")
    assert any(action.key == "opaque" for action in assess(understand(later, DictPlace(FILES, "/shop"), made).facts).actions)


@pytest.mark.parametrize("why", [Unknown.UNREADABLE, Unknown.NOT_REGULAR, Unknown.TOO_BIG, Unknown.LATE])
def test_a_patch_that_cannot_be_read_is_held(why: Unknown) -> None:
    class Refusing(DictPlace):
        def read(self, path: str, limit: int) -> bytes | Unknown:
            return why if path == "/shop/fix.diff" else super().read(path, limit)

    held = meant("patch -p1 -i fix.diff", Refusing(FILES, "/shop"))
    assert any(action.key == "opaque" for action in held)
    assert not any(action.key == "opaque" for action in meant("patch -p1 -i other.diff", Refusing(FILES, "/shop")))
