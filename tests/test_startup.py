"""What a start of Ony costs and drags in. An agent pays for the hook on every tool call, a person for the command line on every command.

Modules are pinned, not milliseconds: a list does not depend on how busy this machine is (`make bench` measures time).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CALL = b"""{"session_id": "s", "cwd": "/", "hook_event_name": "PreToolUse", "tool_name": "Bash",
            "tool_input": {"command": "git status"}, "tool_use_id": "t"}"""
REPORT = "import sys, atexit; atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr)); sys.argv = {argv!r}; "
HEAVY = {"asyncio", "cryptography", "dulwich", "h11", "jinja2", "sqlglot", "tree_sitter", "http.client", "ssl", "sqlite3"}


def modules_after(code: str, argv: list[str], home: Path) -> set[str]:
    """sys.modules at the end of `code` in a fresh interpreter that sees only this checkout."""
    text = f"import sys; sys.path.insert(0, {str(ROOT)!r}); " + REPORT.format(argv=argv) + code
    done = subprocess.run(
        [sys.executable, "-I", "-c", text], capture_output=True, text=True, env={"HOME": str(home)}, timeout=60, check=False
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("argv", [["ony", "--version"], ["ony", "--help"], ["ony", "nonsense"]])
def test_the_command_line_imports_no_library_before_a_command_asks_for_it(argv, own_home):
    assert not modules_after("from ony_core.cli import main; main()", argv, own_home) & HEAVY


def test_audit_verify_needs_the_standard_library_alone(own_home):
    loaded = modules_after("from ony_core.cli import main; main()", ["ony", "audit", "verify", "--data", str(own_home)], own_home)
    assert not loaded & {"cryptography", "dulwich", "h11", "jinja2", "pyotp", "segno", "sqlglot", "tree_sitter"}
    assert "ony_core.server" not in loaded


def test_ony_hook_loads_nothing_of_ours_but_the_hook(own_home):
    probe = (
        "import posix; real = posix._exit\n"
        "def told(code):\n    sys.stderr.write('\\n' + ' '.join(sorted(sys.modules)) + '\\n'); sys.stderr.flush(); real(code)\n"
        "posix._exit = told; sys.argv = ['ony', 'hook', 'claude']; import runpy\n"
        f"runpy.run_path({str(ROOT / 'ony.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{probe}"],
                          input=CALL, capture_output=True, env={"HOME": str(own_home)}, timeout=60, check=False)  # fmt: skip
    loaded = done.stderr.decode().splitlines()[-1].split()
    assert [name for name in loaded if name.startswith("ony_core")] == ["ony_core", "ony_core.hook"]
    assert done.returncode == 2


@pytest.mark.parametrize("start", [["ony.py"], ["-m", "ony_core.cli"]], ids=["ony.py", "installed"])
def test_ony_hook_without_a_daemon_blocks_with_empty_stdout_and_one_line(start, own_home):
    done = subprocess.run([sys.executable, *start, "hook", "claude"], input=CALL, capture_output=True, cwd=ROOT, timeout=60, check=False,
                          env={"HOME": str(own_home), "PATH": os.environ["PATH"]})  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")
    assert len(done.stderr.strip().splitlines()) == 1
    assert b"git status" not in done.stderr
