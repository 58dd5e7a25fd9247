"""What a list or a text is put together from in a Python program counts wherever it is put behind it."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import ToolCall

ROWS = {
    "a list": ("c=['rm','-rf','/etc']; subprocess.run(c)", True),
    "append": ("c=['rm','-rf']; c.append('/etc'); subprocess.run(c)", True),
    "extend": ("c=['rm']; c.extend(['-rf','/etc']); subprocess.run(c)", True),
    "insert": ("c=['rm']; c.insert(1,'/etc'); subprocess.run(c)", True),
    "in place": ("c=['rm','-rf']; c+=['/etc']; subprocess.run(c)", True),
    "twice": ("c=['rm']; c.append('-rf'); c.append('/etc'); subprocess.run(c)", True),
    "to a tuple": ("c=('rm','-rf'); c+=('/etc',); subprocess.run(c)", True),
    "another list": ("c=['ls']; d=['rm']; d.append('/etc'); subprocess.run(c)", False),
    "a text": ("c='rm -rf '; c+='/etc'; os.system(c)", True),
    "a harmless text": ("c='ls '; c+='-l'; os.system(c)", False),
    "a harmless list": ("c=['ls']; c.append('-l'); subprocess.run(c)", False),
    "not yet": ("c=['rm','-rf']; c.count('/etc'); subprocess.run(c)", False),
}


@pytest.mark.parametrize(("code", "deletes"), ROWS.values(), ids=ROWS.keys())
def test_what_is_put_behind_counts(code: str, deletes: bool) -> None:
    command = f'python3 -c "import os, subprocess; {code}"'
    facts = derive(ToolCall("claude-code", "s", "Bash", {"command": command}, "/project"), DictPlace())
    assert any(fact.kind == "file" and "system" in fact.traits for fact in facts) is deletes
    assert "opaque" not in {fact.kind for fact in facts}
