"""What Python source does, by its syntax tree: the calls that start programs, delete, write, connect or hide code.

MUST: source that does not parse, or that builds code at run time from what is not written in it, is opaque.
Imports are followed by name only; nothing is imported.
"""

import ast
from typing import TYPE_CHECKING

from ony_core.facts import commands, own
from ony_core.facts.words import HOLE, UNKNOWN, Flow, Word
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

MAX_CALLS = 4000


def understand(shell: "Shell", source: str) -> frozenset[str]:
    """Adds the facts of a Python program; the answer is what its output may carry."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset() if _fails_by_itself(source) else _opaque(shell)
    reader = _Reader(shell)
    reader.walk(tree)
    return frozenset(reader.taints)


def _opaque(shell: "Shell") -> frozenset[str]:
    shell.call.opaque("unparsed")
    return frozenset()


def _fails_by_itself(source: str) -> bool:
    """A syntax error stops Python before the first statement; only text of another version of the language could run."""
    return len(source) < 1 << 20 and "print " not in source and "exec " not in source


def _names_the_gate(node: ast.AST) -> bool:
    """Imports Ony, or spells the name of one of its modules: such code can do whatever the program can."""
    if isinstance(node, ast.Import):
        named = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        named = [node.module or ""]
    else:
        named = [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
    return any(name == "ony_core" or name.startswith("ony_core.") for name in named)


class _Reader:
    def __init__(self, shell: "Shell") -> None:
        self.shell = shell
        self.call = shell.call
        self.names: dict[str, str] = {}  # local name -> dotted origin
        self.strings: dict[str, str | None] = {}  # variables that hold a known text; None: assigned twice
        self.made: set[str] = set()  # names of temporary files
        self.not_made: set[str] = set()  # names that may stand for something else as well
        self.taints: set[str] = set()
        self.lists = tables().words["python"]

    def walk(self, tree: ast.AST) -> None:
        """Two passes without recursion: names first, then calls."""
        nodes = list(ast.walk(tree))
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.names[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self.names[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
            elif isinstance(node, ast.arg):
                self.not_made.add(node.arg)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self._assigned(node.targets[0].id, node.value)
        if any(_names_the_gate(node) for node in nodes):
            self.call.add("command", commands.GATE, ("unlisted",))
        for node in nodes:
            if isinstance(node, ast.Dict):
                self._database_files(node)
        calls = [n for n in nodes if isinstance(n, ast.Call)]
        for call in calls[:MAX_CALLS]:
            self._call(call)
        if len(calls) > MAX_CALLS:
            self.call.opaque("too_deep")

    def _database_files(self, node: ast.Dict) -> None:
        """A settings entry `'NAME': 'x.sqlite3'`: connecting makes that file if it is not there."""
        for key, value in zip(node.keys, node.values, strict=False):
            text = self._text(value)
            if (
                key is not None
                and self._text(key) == "NAME"
                and text
                and text.endswith((".sqlite3", ".sqlite", ".db"))
                and HOLE not in text
            ):
                own.made_if_absent(self.shell, Word(text))

    def _assigned(self, name: str, value: ast.expr) -> None:
        text = self._text(value)
        self.strings[name] = text if name not in self.strings or self.strings[name] == text else None
        origin = self._name(value)
        if origin and origin.split(".")[0] in ("os", "subprocess", "shutil", "socket", "builtins", "pathlib"):
            self.names[name] = origin
        if isinstance(value, ast.Call) and self._name(value.func) in self.lists["temporary"]:
            self.made.add(name)
        else:
            self.not_made.add(name)

    def _name(self, node: ast.expr) -> str:
        """Dotted origin of an expression such as `sp.run`, or "" """
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Call):
            inner = self._name(node.func)
            if inner in ("__import__", "importlib.import_module") and node.args and (text := self._text(node.args[0])):
                return ".".join([text, *reversed(parts)])
            return ".".join([inner + "()", *reversed(parts)]) if parts else ""
        if not isinstance(node, ast.Name):
            return ".".join(["?", *reversed(parts)]) if parts else ""
        return ".".join([self.names.get(node.id, node.id), *reversed(parts)])

    def _text(self, node: ast.expr | None) -> str | None:
        """The text of an expression if it stands in the source; pieces that do not are holes."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else node.value.decode("latin-1") if isinstance(node.value, bytes) else None
        if isinstance(node, ast.JoinedStr):
            return "".join(p.value if isinstance(p, ast.Constant) and isinstance(p.value, str) else HOLE for p in node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._text(node.left), self._text(node.right)
            return None if left is None and right is None else (left or HOLE) + (right or HOLE)
        if isinstance(node, ast.Name):
            return self.strings.get(node.id)
        if isinstance(node, ast.Call):
            name = self._name(node.func)
            if name in ("os.path.join", "posixpath.join"):
                return "/".join(self._text(a) or HOLE for a in node.args)
            if name in ("os.path.expanduser", "pathlib.Path", "os.path.abspath", "pathlib.PurePath") and node.args:
                return self._text(node.args[0])
            if name in ("pathlib.Path.home", "pathlib.Path().home"):
                return "~"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return f"{self._text(node.left) or HOLE}/{self._text(node.right) or HOLE}"
        return None

    def _call(self, node: ast.Call) -> None:
        if self._built(node.func):
            self.call.opaque("code_unknown")
            return
        name = self._name(node.func)
        last = name.rpartition(".")[2]
        if name in self.lists["runs_shell"]:
            self._shell(node)
        elif name in self.lists["runs_program"]:
            self._program(node)
        elif name in self.lists["hides"] or name.startswith(tuple(self.lists["hides_prefix"])):
            self._hidden(node, name)
        elif name in self.lists["deletes"] or name in self.lists["deletes_tree"]:
            self._delete(node.args[0] if node.args else None, name in self.lists["deletes_tree"])
        elif name in self.lists["moves"] or name in self.lists["copies"] or name in self.lists["links"]:
            self._transfer(node, "move" if name in self.lists["moves"] else "copy" if name in self.lists["copies"] else "link")
        elif last in ("unlink", "rmdir") and isinstance(node.func, ast.Attribute):
            self._delete(node.func.value, False)
        elif name in self.lists["network"] or name.startswith(tuple(self.lists["network_prefix"])):
            self._network(node, name)
        elif name in ("os.makedirs", "os.mkdir") or (last == "mkdir" and isinstance(node.func, ast.Attribute)):
            where = self._text(
                node.args[0] if name.startswith("os.") and node.args else node.func.value if isinstance(node.func, ast.Attribute) else None
            )
            if where:
                commands.make_folder(self.shell, Word(where, quoted=True))
        elif name in ("open", "io.open") or last in ("write_text", "write_bytes", "open", "read_text", "read_bytes"):
            self._file(node, name, last)
        elif name in self.lists["environment"]:
            self.taints.add("secret")
        elif name.startswith(tuple(self.lists["cloud_prefix"])):
            self.call.add("command", "python", traits={"inline", "calls_cloud"})

    def _built(self, func: ast.expr) -> bool:
        """A callee that is put together at run time: `getattr(m, name)(…)`, `vars(os)["system"](…)`."""
        if isinstance(func, ast.Call):
            return self._name(func.func) in ("getattr", "operator.attrgetter", "vars", "globals", "locals")
        if isinstance(func, ast.Subscript):
            name = self._name(func.value)
            return name.endswith("__dict__") or name.split(".")[0] in ("os", "subprocess", "builtins") or self._built(func.value)
        return False

    def _shell(self, node: ast.Call) -> None:
        text = self._text(node.args[0]) if node.args else None
        if text is None or text.strip() == HOLE:
            self.call.opaque("code_unknown")
        else:
            self.shell.child().source(text.replace(HOLE, "${_}"))

    def _program(self, node: ast.Call) -> None:
        """subprocess: a list of words, or one text (a shell's where shell=True)."""
        first = next((k.value for k in node.keywords if k.arg == "args"), node.args[0] if node.args else None)
        if isinstance(first, ast.Name) and self.strings.get(first.id) is None:
            first = self._list_named(first.id) or first
        if isinstance(first, ast.List | ast.Tuple):
            argv = [self._argument(item) for item in first.elts]
            if argv and argv[0].text == "sys.executable":
                argv[0] = Word("python")
            commands.run(self.shell.child(), argv, UNKNOWN if any(k.arg in ("input", "stdin") for k in node.keywords) else Flow(""))
            return
        if isinstance(first, ast.Call) and self._name(first.func) == "shlex.split":
            first = first.args[0] if first.args else None
        text = self._text(first)
        if text is None or text.strip() == HOLE:
            self.call.opaque("code_unknown")
        else:
            self.shell.child().source(text.replace(HOLE, "${_}"))

    def _list_named(self, name: str) -> ast.expr | None:
        return None

    def _argument(self, item: ast.expr) -> Word:
        if self._name(item) == "sys.executable":
            return Word("sys.executable")
        text = self._text(item)
        return Word(HOLE if text is None else text, quoted=True)

    def _hidden(self, node: ast.Call, name: str) -> None:
        """exec, eval, compile, pickle, ctypes: fine only with text that stands in the source (or another file opened by name)."""
        text = self._text(node.args[0]) if node.args else None
        if name in ("exec", "eval", "compile") and text is not None and HOLE not in text:
            if name != "compile":
                understand(self.shell, text)
            return
        if name in ("exec", "compile", "eval") and node.args and self._reads_a_file(node.args[0]):
            self.call.add("command", "project_code")
            return
        if name in ("eval", "compile") and not self._decodes(node):
            self.call.add("command", "python", traits={"inline", "evaluates"})
            return
        self.call.opaque("decoded" if self._decodes(node) else "code_unknown")

    def _reads_a_file(self, node: ast.expr) -> bool:
        return any(
            isinstance(n, ast.Call) and self._name(n.func).rpartition(".")[2] in ("read", "read_text", "open") for n in ast.walk(node)
        )

    def _decodes(self, node: ast.AST) -> bool:
        return any(
            isinstance(n, ast.Call)
            and self._name(n.func).rpartition(".")[2] in ("b64decode", "fromhex", "decompress", "decode", "urlopen", "chr", "get")
            for n in ast.walk(node)
        )

    def _delete(self, node: ast.expr | None, tree: bool) -> None:
        if isinstance(node, ast.Name) and node.id in self.made - self.not_made:
            self.call.add("file", verb=("delete",), traits={"tmp", "made_by_session"} | ({"recursive"} if tree else set()))
            return
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.made - self.not_made:
            self.call.add("file", verb=("delete",), traits={"tmp", "made_by_session"})
            return
        text = self._text(node)
        commands.delete_file(
            self.shell, Word(HOLE if text is None else text, quoted=True), frozenset({"recursive"}) if tree else frozenset()
        )

    def _transfer(self, node: ast.Call, role: str) -> None:
        """os.rename, shutil.copy, os.symlink …: a file takes the place of another."""
        if len(node.args) >= 2:
            source, into = (Word(HOLE if (text := self._text(arg)) is None else text, quoted=True) for arg in node.args[:2])
            commands.transfer(self.shell, role, [source], into, frozenset())

    def _network(self, node: ast.Call, name: str) -> None:
        from ony_core.facts.handlers.network import url_traits

        method = name.rpartition(".")[2].lower()
        sends = method in ("post", "put", "patch", "delete", "connect", "sendto", "request") or any(
            k.arg in ("data", "json", "files") for k in node.keywords
        )
        texts = [t for a in node.args if (t := self._text(a)) and ("/" in t or "." in t)]
        traits = url_traits(texts[0]) if texts else {"address_unknown"}
        verb = "deletes" if method == "delete" else "sends" if sends else "reads"
        self.call.add("network", "python", (verb,), traits=traits | (self.taints & {"secret"}))
        self.taints.add("network")

    def _file(self, node: ast.Call, name: str, last: str) -> None:
        attribute = isinstance(node.func, ast.Attribute) and name not in ("open", "io.open", "codecs.open", "gzip.open")
        where = node.func.value if attribute and isinstance(node.func, ast.Attribute) else node.args[0] if node.args else None
        text = self._text(where)
        mode_at = 0 if attribute else 1
        mode = self._text(node.args[mode_at]) if len(node.args) > mode_at and last == "open" else None
        mode = next((self._text(k.value) for k in node.keywords if k.arg == "mode"), mode)
        if text is None:
            return
        word = Word(text, quoted=True)
        if last in ("write_text", "write_bytes") or (mode and mode[0] in "wax+"):
            commands.write_file(self.shell, word, UNKNOWN, frozenset({"append"}) if mode and mode[0] == "a" else frozenset())
        elif mode and "+" in mode:
            commands.write_file(self.shell, word, UNKNOWN, frozenset({"modify"}))
        elif not attribute or last.startswith("read"):
            self.taints |= commands.read_file(self.shell, word) & {"secret"}
