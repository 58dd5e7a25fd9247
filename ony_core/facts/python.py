"""What Python source does, by its syntax tree: the calls that start programs, delete, write, connect or hide code.

MUST: source that does not parse, or that builds code at run time from what is not written in it, is opaque.
Imports are followed by name only; nothing is imported.
"""

import ast
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, own, python_versions, shown
from ony_core.facts import python_code as code
from ony_core.facts import python_environment as environment
from ony_core.facts import python_handed as handed
from ony_core.facts import python_objects as objects
from ony_core.facts.python_names import ROOTS, Names
from ony_core.facts.words import EMPTY, HOLE, UNKNOWN, Flow, Word
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

MAX_CALLS = 4000
KEPT = 8 * 1024  # characters of a program that is not parsed anew each time
_FORKS = frozenset({"os.fork", "os.forkpty", "posix.fork"})  # in a loop that has no end of its own, each round doubles the processes
_STARTS = frozenset({"system", "popen", "Popen", "execv", "execvp", "check_output"})
MAX_FOLLOWED = 4  # functions through which a parameter is followed
_CHANGES = re.compile(
    r"(?:begin_)?(?:delete|terminate|put|create|update|remove|stop|start|reboot|modify|purge|send|publish|invoke|attach|detach|revoke|authorize"
    r"|restore|reset|disable|enable|cancel|deregister|register|batch_write|upload|copy|patch|replace|destroy|insert|set|add|import|execute|run)"
    r"(?:_\w+|$)"
)
_NOTES = re.compile(r"(?s)\A(?:\s+|--[^\n]*\n|/\*.*?\*/)+")  # before a statement
_PLAIN = frozenset(  # of dicts, sets, threads, too
    "update|add|remove|insert|replace|copy|set|start|run|send|create|execute|patch|put|stop|cancel".split("|")  # noqa: SIM905
)


def understand(shell: "Shell", source: str, fed: frozenset[str] = frozenset()) -> frozenset[str]:
    """Adds the facts of a Python program; the answer is what its output may carry. fed: what its standard input carries."""
    try:
        known, nodes = (_kept if len(source) <= KEPT else _parsed)(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset() if python_versions.fails_by_itself(source) else _opaque(shell)
    reader = _Reader(shell, known, bool(fed & {"network", "decoded"}))
    reader.walk(nodes)
    return frozenset(reader.taints)


def _parsed(source: str) -> tuple[Names, list[ast.AST]]:
    """Its names and nodes, which nobody changes afterwards. What `ast.parse` raises."""
    known = Names()
    return known, known.read(ast.parse(source))


_kept = lru_cache(maxsize=8)(_parsed)  # a session runs the same few files again and again


def _opaque(shell: "Shell") -> frozenset[str]:
    shell.call.opaque("unparsed")
    return frozenset()


_NAMED = (ast.Name, ast.Attribute)
_NAMING = (ast.Import, ast.ImportFrom, ast.Constant)


def _names_the_gate(node: ast.AST) -> bool:
    """Imports Ony, or spells the name of one of its modules: such code can do whatever the program can."""
    if isinstance(node, ast.Import):
        named = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        named = [node.module or ""]
    else:
        named = [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
    return any(name == "ony_core" or name.startswith("ony_core.") for name in named)


@cache
def _acting() -> frozenset[str]:
    """Functions that act, whoever calls them."""
    lists = tables().words["python"]
    groups = ("runs_shell", "runs_program", "deletes", "deletes_tree", "sessions")
    return frozenset({"exec", "eval"}.union(*(lists[group] for group in groups)))


class _Reader:
    def __init__(self, shell: "Shell", known: Names, connects: bool) -> None:
        self.shell = shell
        self.call = shell.call
        self.known = known
        self.taints: set[str] = set()
        self.lists = tables().words["python"]
        self.connects = connects  # what it runs may have come from elsewhere
        self.private = False  # a database it names is in memory, or a file of its own
        self.shared = False  # another is not

    def walk(self, nodes: list[ast.AST]) -> None:
        if any(_names_the_gate(node) for node in nodes if isinstance(node, _NAMING)):
            self.call.add("command", commands.GATE, ("unlisted",))
        calls = [objects.plainer(self.known, n) for n in nodes if isinstance(n, ast.Call)]
        self.connects = self.connects or any(self._connects(self.known.origin(n.func)) for n in calls)
        for node in nodes:
            if isinstance(node, ast.Dict):
                self._database_files(node)
            elif isinstance(node, ast.Attribute) and node.attr in self.lists["inner"]:
                self.call.opaque("code_unknown")
            elif isinstance(node, ast.For) and environment.each_printed(self.known, node):
                self.call.add("command", "env", traits=("prints_environment",))
        for call in calls[:MAX_CALLS]:
            self._call(call, self.known.origin(call.func))
            if self.known.origin(call.func) in _FORKS and any(isinstance(node, ast.While) for node in nodes):
                self.call.opaque("without_end")
        for node in nodes:
            if isinstance(node, _NAMED):
                name = self.known.origin(node)
                for call in handed.calls(self.known, node) if name in _acting() else ():
                    self._call(call, name)
        if len(calls) > MAX_CALLS:
            self.call.opaque("too_deep")

    def _database_files(self, node: ast.Dict) -> None:
        """A settings entry `'NAME': 'x.sqlite3'`: connecting makes that file if it is not there."""
        settings = {self.known.text(key): self.known.text(value) for key, value in zip(node.keys, node.values, strict=True)}
        name = settings.get("NAME") or ""
        if name.endswith((".sqlite3", ".sqlite", ".db")) and HOLE not in name:
            own.made_if_absent(self.shell, Word(name))
        private = name == ":memory:" or (name.endswith((".sqlite3", ".sqlite", ".db")) and self._session_made(name))
        self.private = self.private or private
        self.shared = self.shared or ("ENGINE" in settings and not private)

    def _call(self, node: ast.Call, name: str) -> None:
        last = name.rpartition(".")[2]
        if (not name and self._built(node.func)) or (name.startswith("?.") and last in _STARTS):
            self.call.opaque("code_unknown")
        elif name in self.lists["runs_shell"]:
            self._shell(node.args[0] if node.args else None)
        elif name in self.lists["runs_program"]:
            self._program(node, name)
        elif name in self.lists["hides"] or name.startswith(tuple(self.lists["hides_prefix"])):
            code.run(self.shell, self.known, node, name, self.connects)
        elif name in self.lists["sessions"]:
            self.call.add("grant", traits=("open_ended",))
        elif name in self.lists["deletes"] or name in self.lists["deletes_tree"]:
            self._delete(node.args[0] if node.args else None, name in self.lists["deletes_tree"])
        elif name in self.lists["moves"] or name in self.lists["copies"] or name in self.lists["links"]:
            self._transfer(node, "move" if name in self.lists["moves"] else "copy" if name in self.lists["copies"] else "link")
        elif last in ("unlink", "rmdir", "rmtree", "rm_rf") and isinstance(node.func, ast.Attribute):
            self._delete(node.func.value, last in ("rmtree", "rm_rf"))
        elif self._connects(name):
            self._network(node, name)
        elif name in self.lists["as_commands"] or (name.startswith("sh.") and "sh" in self.known.roots):
            self._as_command(node, name)
        else:
            self._quieter(node, name, last)

    def _quieter(self, node: ast.Call, name: str, last: str) -> None:
        """Files, folders, the environment, databases, clouds, modules run by name."""
        if last in ("makedirs", "mkdir"):
            inner = node.func.value if isinstance(node.func, ast.Attribute) else None
            where = self.known.text(node.args[0] if name.startswith("os.") and node.args else inner)
            if where:
                files.make_folder(self.shell, Word(where, quoted=True))
        elif last in ("write_text", "write_bytes", "open", "read_text", "read_bytes"):
            self._file(node, name, last)
        elif name in ("print", "pprint.pprint", "json.dumps", "json.dump", "sys.stdout.write"):
            self._printed(node)
        elif last in ("extractall", "unpack_archive", "urlretrieve"):
            self._unpacks(node, last)
        elif name in ("runpy.run_path", "execfile"):
            self._run_path(node)
        elif last in ("execute", "executemany", "executescript", "exec_driver_sql", "sql", "query", "fetch"):
            self._sql(node)
        elif isinstance(node.func, ast.Attribute):
            self._service(node, name, last)

    def _connects(self, name: str) -> bool:
        return name in self.lists["network"] or name.startswith(tuple(self.lists["network_prefix"]))

    def _built(self, func: ast.expr) -> bool:
        """A callee that is put together at run time from what is not written here: `getattr(os, name)(…)`, `vars(os)[x](…)`."""
        if isinstance(func, ast.Call) and self.known.origin(func.func) == "getattr":
            base = self.known.origin(func.args[0]) if func.args else "?"
            started = (self.known.text(func.args[1]) or "") if len(func.args) > 1 else ""
            return base.split(".")[0] in ROOTS | {"?", ""} or (not started.strip(HOLE) and base.split(".")[0] in self.known.roots)
        if isinstance(func, ast.Subscript):
            name = self.known.origin(func.value)
            return name.endswith("__dict__") or name.split(".")[0] in ROOTS | {"plumbum"} or name in ("globals()", "locals()", "vars()")
        return False

    def _word(self, node: ast.expr | None) -> Word:
        if node is not None and self.known.origin(node) == "sys.executable":
            return Word("python")
        text = self.known.text(node)
        return Word(HOLE if text is None else text, quoted=True)

    def _shell(self, first: ast.expr | None, depth: int = 0) -> None:
        text = self.known.text(first)
        if text is not None:
            self.shell.child().source(text.replace(HOLE, "${_}"))
            return
        given = self.known.given(first) if depth < MAX_FOLLOWED else []
        for value in given:
            self._shell(value, depth + 1)
        if not given:
            self.call.opaque("code_unknown")

    def _program(self, node: ast.Call, name: str) -> None:
        """subprocess: a list of words, or one text (a shell's where shell=True)."""
        first = next((k.value for k in node.keywords if k.arg == "args"), node.args[0] if node.args else None)
        feeds = next((k.value for k in node.keywords if k.arg in ("input", "stdin")), None)
        stdin = EMPTY if feeds is None else Flow(self.known.text(feeds))
        if name.startswith(("os.", "asyncio.")) and len(node.args) > 1:
            given = node.args[1:] if name.startswith("os.spawn") else node.args
            rest = given[1:]
            words = (self.known.items(rest[0]) if rest else None) or rest
            argv = [self._word(given[0]), *(self._word(w) for w in words[0 if name[:2] != "os" else 1 :])]
            commands.run(self.shell.child(), argv, stdin)
            return
        self._words(first, stdin)

    def _words(self, first: ast.expr | None, stdin: Flow, depth: int = 0) -> None:
        items = self.known.items(first)
        if items:
            commands.run(self.shell.child(), [self._word(item) for item in items], stdin)
            return
        if isinstance(first, ast.Call) and self.known.origin(first.func) in ("shlex.split", "list", "tuple") and first.args:
            self._words(first.args[0], stdin, depth)
            return
        if isinstance(first, ast.Call) and isinstance(first.func, ast.Attribute) and first.func.attr == "split":
            first = first.func.value
        given = self.known.given(first) if depth < MAX_FOLLOWED and self.known.text(first) is None else []
        for value in given:
            self._words(value, stdin, depth + 1)
        if not given:
            self._shell(first, depth)

    def _as_command(self, node: ast.Call, name: str) -> None:
        """os.kill, os.chmod, sh.rm …: judged as the program of that name."""
        words = [self._word(arg) for arg in node.args]
        if name.startswith("sh."):
            commands.run(self.shell.child(), [Word(name[3:].replace("_", "-")), *words], UNKNOWN)
        elif name in ("os.kill", "os.killpg"):
            if len(node.args) > 1 and isinstance(node.args[1], ast.Constant) and node.args[1].value == 0:
                return
            target = ast.unparse(node.args[0]) if node.args else ""
            if re.match(r"-?\d+$", target) and (name == "os.killpg" or int(target) <= 1):  # a number that stands in the source
                self.call.add("command", "python", traits={"inline", "stops_programs"})
        else:
            mode = next((f"{a.value:o}" for a in node.args[1:] if isinstance(a, ast.Constant) and isinstance(a.value, int)), "u+x")
            program = "chmod" if name.endswith("chmod") else "chown"
            commands.run(self.shell.child(), [Word(program), Word(mode if program == "chmod" else "x"), *words[:1]], UNKNOWN)

    def _delete(self, node: ast.expr | None, tree: bool, depth: int = 0) -> None:
        if self.known.is_made(node):
            self.call.add("file", verb=("delete",), traits={"tmp", "made_by_session"} | ({"recursive"} if tree else set()))
            return
        text = self.known.text(node)
        given = self.known.given(node) if text is None and depth < MAX_FOLLOWED else []
        for value in given:
            self._delete(value, tree, depth + 1)
        if not given:
            word = Word(HOLE if text is None else text, quoted=True)
            files.delete_file(self.shell, word, frozenset({"recursive"}) if tree else frozenset())

    def _transfer(self, node: ast.Call, role: str) -> None:
        """os.rename, shutil.copy, os.symlink …: a file takes the place of another."""
        if len(node.args) >= 2 and not all(self.known.is_made(arg) for arg in node.args[:2]):
            source, into = (self._word(arg) for arg in node.args[:2])
            files.transfer(self.shell, role, [source], into, frozenset())

    def _network(self, node: ast.Call, name: str) -> None:
        from ony_core.facts.handlers.network import url_traits

        method = name.rpartition(".")[2].lower()
        sends = (
            method in ("post", "put", "patch", "delete", "connect", "sendto", "request", "create_connection")
            or name.split(".")[0] in self.lists["network_sends"]
            or any(k.arg in ("data", "json", "files") for k in node.keywords)
        )
        given = [e for a in node.args for e in (a.elts[:1] if isinstance(a, ast.Tuple) else [a])]
        texts = [t for a in given if (t := self.known.text(a)) and ("/" in t or "." in t or t == "localhost")]
        traits = url_traits(texts[0]) if texts else {"address_unknown"}
        verb = "deletes" if method == "delete" else "sends" if sends else "reads"
        away = (
            bool(node.args) and not traits & {"localhost"} and environment.secret(self.known, node.args[0])
        )  # in an address it is what is said
        carried = (
            {"secret"} if away or any(environment.whole(self.known, a) for a in (*node.args, *(k.value for k in node.keywords))) else set()
        )
        self.call.add("network", "python", (verb,), traits=traits | (self.taints & {"secret"}) | carried)
        self.taints.add("network")
        if method == "urlretrieve":
            self._unpacks(node, method)

    def _printed(self, node: ast.Call) -> None:
        if any(environment.whole(self.known, arg) for arg in node.args) and not any(
            isinstance(a, ast.Call) and self.known.origin(a.func) == "len" for a in node.args
        ):
            self.call.add("command", "env", traits=("prints_environment",))
            self.taints.add("secret")
        if any(environment.secret(self.known, arg) for arg in node.args):
            self.call.add("command", "env", traits=(shown.TAINT,))

    def _unpacks(self, node: ast.Call, last: str) -> None:
        """Files that come out of an archive or the web: extractall(path), unpack_archive(file, path), urlretrieve(url, path)."""
        at = 0 if last == "extractall" else 1
        given = next((k.value for k in node.keywords if k.arg in ("path", "extract_dir", "filename")), None)
        text = self.known.text(given if given is not None else node.args[at] if len(node.args) > at else None)
        if text is not None:
            extra = frozenset() if last == "urlretrieve" else frozenset({"recursive", "placed"})
            files.write_file(self.shell, Word(text, quoted=True), Flow(None, frozenset({"network"})), extra)

    def _run_path(self, node: ast.Call) -> None:
        from ony_core.facts import scripts

        scripts.run_file(self.shell, self._word(node.args[0] if node.args else None), [], "python")

    def _sql(self, node: ast.Call) -> None:
        """Statements given to a database module that this program imports."""
        from ony_core.facts.sql import statements

        clients = [self.lists["databases"][root] for root in sorted(self.known.roots) if root in self.lists["databases"]]
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Call) and first.args:  # text("…")
            first = first.args[0]
        text = self.known.text(first)
        if not clients or text is None:
            return
        if not re.match(r"(?is)(?:with\b.*)?\b(?:drop|truncate|delete|update|alter)\b|.*;\s*(?:drop|delete)\b", _NOTES.sub("", text)):
            return
        statements(self.call, text, clients[0], {"made_by_session"} if self._own_database() else set())

    def _own_database(self) -> bool:
        """Every database this program opens is in memory, or a file that it or the session made."""
        opened = [call.args[0] for call in self.known.calls.get("connect", []) + self.known.calls.get("create_engine", []) if call.args]
        if not opened:
            return self.private and not self.shared
        return all(
            self.known.is_made(node) or ((text := self.known.text(node)) is not None and (":memory:" in text or self._session_made(text)))
            for node in opened
        )

    def _session_made(self, text: str) -> bool:
        path = text.removeprefix("sqlite:///")
        return HOLE not in path and (path.startswith("/tmp/") or own.session_made(self.shell, Word(path)))  # noqa: S108  a name in the call

    def _service(self, node: ast.Call, name: str, last: str) -> None:
        """Methods of clients: clouds by their verb, stores by the words that empty them."""
        cloud = name.startswith(tuple(self.lists["cloud_prefix"])) or bool(self.known.roots & set(self.lists["cloud_roots"]))
        if cloud and (last in self.lists["secret_methods"]):
            self.call.add("command", "python", traits={"inline", "reads_secret"})
        elif _CHANGES.match(last) and (name.startswith(tuple(self.lists["cloud_prefix"])) or (cloud and last not in _PLAIN)):
            self.call.add("command", "python", traits={"inline", "calls_cloud"})
        elif any(last in methods for root, methods in self.lists["stores"].items() if root in self.known.roots):
            self.call.add("command", "python", traits={"inline", "changes_data"})
        elif (
            last in ("connect", "connect_ex", "sendto")
            and "socket" in self.known.roots
            and not self.known.roots & set(self.lists["databases"])
        ):
            self._network(node, name)

    def _file(self, node: ast.Call, name: str, last: str) -> None:
        method = node.func.value if isinstance(node.func, ast.Attribute) and name not in self.lists["opens"] else None
        given = node.args if method is not None else node.args[1:]
        text = self.known.text(method if method is not None else node.args[0] if node.args else None)
        if text is None:
            return
        word = Word(text, quoted=True)
        modes = [k.value for k in node.keywords if k.arg == "mode"] or (given[:1] if last == "open" else [])
        mode = (self.known.text(modes[0]) or "w") if modes else "r"
        if last in ("write_text", "write_bytes") or mode[:1] in "wax" or "+" in mode:
            put_in = objects.written(self.known, node, given)
            how = {"a": "append", "r": "modify"}.get(mode[:1]) if last == "open" else None
            files.write_file(self.shell, word, UNKNOWN if put_in is None else Flow(put_in), frozenset([how] if how else []))
        elif method is None or last.startswith("read"):
            self.taints |= files.read_file(self.shell, word) & {"secret"}
