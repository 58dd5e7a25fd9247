"""The import rules of docs/architecture.md, read from the source by ast: which room may know which, and what the pure core may not touch.

Imports inside functions count. Imports for type checkers alone do not: they build no path along which data could flow.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BASE = {"__init__", "model", "canon", "errors", "clock"}
CORE = {"policy", "handoff", "states", "verdict", "endorse", "totp", "chain", "merkle", "checkpoint"}  # of a decision and of the log: pure
LOG = CORE | {"durable", "notes", "auditkey"}  # what both sides know of the log's files

# room -> the rooms it may import; every room may import itself and BASE
ROOMS = {
    **{name: set() for name in BASE},
    "hook": set(),
    "hook_start": set(),
    "program": set(),
    "agents": set(),
    "taxonomy": set(),
    "policy": set(),
    "facts": {"taxonomy"},
    "evidence": {"facts"},
    "handoff": set(),
    "states": set(),
    "totp": set(),
    "verdict": set(),
    "endorse": set(),
    "merkle": set(),
    "checkpoint": set(),
    "chain": {"checkpoint", "merkle"},
    "durable": set(),
    "notes": {"checkpoint", "durable"},
    "auditkey": {"durable"},
    "auditlog": {"chain", "checkpoint", "store"},
    "auditexport": {"auditlog", "chain", "checkpoint", "merkle"},
    "verify": {"auditlog", "chain", "checkpoint", "merkle", "notes"},
    "channels": set(),
    "config": set(),
    "store": LOG,
    "server": LOG | {"taxonomy", "channels", "store", "config", "auditlog", "verify"},
    "connector": LOG | {"agents", "evidence", "facts", "taxonomy", "program", "hook"},
    "cli": {"commands", "program"},
}
CONNECTOR_SIDE = ROOMS["connector"] | {"connector", "commands"}
SERVER_SIDE = ROOMS["server"] | {"server", "program", "commands"}
COMMANDS = {
    "explain": {"agents", "evidence", "facts", "taxonomy", "policy", "channels", "commands"},
    "explaining": {"facts", "taxonomy", "policy", "channels"},
    "audit": {"auditkey", "auditlog", "auditexport", "chain", "checkpoint", "notes", "verify"},
    "serve": SERVER_SIDE,
    "admin": SERVER_SIDE,
    "doctor": CONNECTOR_SIDE | {"config"},
    "doctor_server": SERVER_SIDE,
    "keeping": SERVER_SIDE | {"verify", "auditlog"},
    "config": {"config"},
    "demo": CONNECTOR_SIDE | SERVER_SIDE,
}
PURE = BASE - {"clock"} | CORE | {"verify", "facts", "taxonomy"}
TOUCHES_THE_WORLD = {
    "asyncio", "fcntl", "glob", "http", "io", "logging", "multiprocessing", "os", "pathlib", "pwd", "random", "secrets", "select", "shutil",
    "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request",
}  # fmt: skip
WRITERS = {"taxonomy.document", "taxonomy.compact"}  # a page of docs/ and a copy of the tables; nothing imports them
QUIETENS = {"facts.sql"}  # keeps sqlglot from writing a log of what it could not parse
WORLD_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}
STDLIB_ONLY = {
    "hook",
    "hook_start",
    "commands.audit",
    "verify",
    "auditkey",
    "auditlog",
    "auditexport",
    "chain",
    "notes",
    "errors",
    "cli",
    "program",
}
LIBRARIES = {"tree_sitter", "tree_sitter_bash", "sqlglot", "dulwich", "cryptography", "pyotp", "segno", "jinja2", "h11"}


def modules() -> list[str]:
    """Dotted names below ony_core, packages without their `__init__`."""
    found = (path.relative_to(ROOT / "ony_core").with_suffix("") for path in sorted((ROOT / "ony_core").rglob("*.py")))
    return [".".join(path.parts).removesuffix(".__init__") for path in found]


def room(module: str) -> str:
    return module.split(".")[0]


def path_of(module: str) -> Path:
    path = ROOT.joinpath("ony_core", *module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text("utf-8"))


def imported(module: str) -> Iterator[tuple[str, int]]:
    """(absolute dotted name, line) of every import that happens at run time."""
    package = ["ony_core", *module.split(".")]
    if path_of(module).name != "__init__.py":
        package.pop()
    for node in _at_run_time(tree(module)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1] if node.level else []) + ("." if node.level and node.module else "")
            source = start + (node.module or "")
            yield source, node.lineno
            yield from ((f"{source}.{alias.name}", node.lineno) for alias in node.names)


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, ast.If) and "TYPE_CHECKING" in ast.unparse(current.test):
            waiting.extend(current.orelse)
            continue
        yield current
        waiting.extend(ast.iter_child_nodes(current))


@cache
def ours(module: str) -> frozenset[str]:
    """The modules of ours that this one imports."""
    known = set(modules())
    names = {name.removeprefix("ony_core.") for name, _ in imported(module) if name.startswith("ony_core.")}
    return frozenset(names & known)


def reached_from(start: str) -> set[str]:
    seen, waiting = set(), [start]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting.extend(ours(module))
    return seen


def allowed(module: str) -> set[str]:
    name = room(module)
    if name == "commands" and "." in module:
        return BASE | COMMANDS.get(module.split(".")[1], CONNECTOR_SIDE)
    return BASE | {name} | ROOMS[name] if name in ROOMS else BASE


def test_every_room_is_named_in_the_rules():
    assert {room(module) for module in modules()} <= ROOMS.keys() | {"commands", "dashboard"}


@pytest.mark.parametrize("module", modules())
def test_imports_run_down_the_table_and_never_back_up(module):
    wrong = {name for name in ours(module) if room(name) not in allowed(module)}
    assert not wrong, f"{module} must not know {sorted(wrong)}"


WALLS = [("connector", {"server", "store", "channels", "config"}), ("server", {"connector", "evidence", "facts", "agents"})]


@pytest.mark.parametrize(("side", "never"), WALLS)
def test_no_chain_of_imports_leads_over_the_wall(side, never):
    for module in (name for name in modules() if room(name) == side):
        over = {name for name in reached_from(module) if room(name) in never}
        assert not over, f"{module} reaches {sorted(over)}"


@pytest.mark.parametrize("module", [name for name in modules() if (room(name) in PURE or name == "server.framing") and name not in WRITERS])
def test_the_pure_core_touches_no_file_socket_clock_or_environment(module):
    never = TOUCHES_THE_WORLD - ({"logging"} if module in QUIETENS else set())
    touched = sorted((name, line) for name, line in imported(module) if {name, name.split(".")[0]} & never)
    assert not touched, f"{module} imports {touched}"
    calls = [node for node in ast.walk(tree(module)) if isinstance(node, ast.Call) and ast.unparse(node.func) in WORLD_CALLS]
    assert not calls, f"{module} line {calls[0].lineno} calls {ast.unparse(calls[0].func)}"


def test_what_writes_a_page_is_imported_by_nothing():
    assert not {name for name in modules() if ours(name) & WRITERS}


def test_the_hook_imports_four_modules_of_the_interpreter_and_nothing_of_ours():
    assert {name for name, _ in imported("hook")} <= {"_socket", "posix", "os", "sys", "time"}  # os: by hand only, see tests/connector


@pytest.mark.parametrize("module", sorted(STDLIB_ONLY & set(modules())))
def test_what_must_run_anywhere_imports_the_standard_library_alone(module):
    assert not {name.split(".")[0] for name, _ in imported(module)} & LIBRARIES


def test_only_the_store_speaks_sql():
    """The log's reader and writer use the store's own statements; of the store's room the offline verifier knows that one file."""
    speakers = {name for name in modules() if any(root == "sqlite3" for root, _ in imported(name))}
    assert {name for name in speakers if room(name) != "store"} <= {"server.audit", "auditlog"}
    assert {name for name in ours("auditlog") if room(name) == "store"} <= {"store", "store.audit_sql"}


@pytest.mark.parametrize("module", modules())
def test_no_program_text_goes_through_a_shell(module):
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.keyword) and node.arg == "shell":
            assert isinstance(node.value, ast.Constant) and node.value.value is False, f"{module} line {node.value.lineno}: shell="
        if isinstance(node, ast.Attribute) and node.attr in ("system", "popen"):
            assert ast.unparse(node.value) != "os", f"{module} line {node.lineno}: os.{node.attr}"
