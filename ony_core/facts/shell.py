"""Walks a shell program as it would run, without running it: every command that could run is understood, none is skipped.

MUST: follow all branches: a condition is never taken to be false.
MUST: end in an opaque fact wherever the walk cannot go on: unparsed text, unknown syntax, too deep, too many commands.
"""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from ony_core.facts import arrays, bombs, branches, commands, environment, heredocs, parsing, redirects, shown
from ony_core.facts.call import Call
from ony_core.facts.expand import text_of, word_of, words_of
from ony_core.facts.state import State
from ony_core.facts.words import EMPTY, HOLE, UNKNOWN, Flow, Made, Word, hole

MAX_NODES_DEEP = 100
MAX_NAMES = 512
LONG = 1 << 18  # characters of one variable
_BLOCKS = frozenset({"program", "compound_statement", "do_group", "subshell", "negated_command"})
_WAYS: dict[str, Callable[["Shell", Any, Flow], Flow]] = {
    "if_statement": branches.condition,
    "case_statement": branches.case,
    "for_statement": branches.counted,
    "while_statement": branches.loop,
    "c_style_for_statement": branches.loop,
}
_TIMED = re.compile(r"(?m)(^|[;&|(]\s*)time(?:\s+-p)?\s+(?=[({])")  # the grammar knows no `time` before a group
_IN_BACKTICKS = re.compile(r"\\([$`\\])")
_TOLD = {"HOME": "~", "TMPDIR": "/tmp", "IFS": " \t\n", "?": "0", "SHELL": "bash", "UID": "1000", "EUID": "1000"}  # noqa: S108  a name in the call that is judged


@cache
def _shell_setup() -> re.Pattern[str]:
    from fnmatch import translate

    from ony_core.taxonomy.tables import tables

    return re.compile("|".join(translate(pattern) for pattern in tables().words["names"]["shell_setup"]))


def _set_up(node: Any) -> frozenset[str]:
    """Whether a substitution is one plain command whose output is made to be evaluated, such as `ssh-agent -s`."""
    text = re.sub(r"\s*2>\s*/dev/null$", "", text_of(node).strip("$<>(`)").strip()) if len(node.named_children) == 1 else ""
    plain = len(text) < 120 and not set(text) & set(";|&$`()<>\n")
    return frozenset({"shell_setup"}) if plain and _shell_setup().match(text) else frozenset()


def _is_descriptor(node: Any) -> bool:
    """The number of `0<&2`, which the grammar takes for a word of the command."""
    if not node.text.isdigit():
        return False
    around = node
    while around.next_sibling is None and around.parent is not None:
        around = around.parent
    following = around.next_sibling
    return following is not None and following.type == "file_redirect" and following.start_byte == node.end_byte


def _continued(source: bytes, end: int, start: int) -> bool:
    """A word right behind a quote, or behind a line continuation alone, is one with it, though the grammar parts them."""
    if start == end:
        return source[end - 1 : end] in (b"'", b'"')
    return source[end:start] == b"\\\n"


class Shell:
    """One shell process: its variables, functions, aliases and folder. `call` collects what it would do."""

    def __init__(self, call: Call, cwd: str, arguments: list[Word] | None = None) -> None:
        self.call = call
        self.cwd = cwd
        self.variables: dict[str, Word] = {}
        self.arrays: dict[str, tuple[Word, ...]] = {}
        self.functions: dict[str, tuple[Any, ...]] = {}
        self.aliases: dict[str, Word] = {}
        self.escapes: list[State] = []  # where `break`, `continue` and `return` left the loop or function that is being walked
        self.locals: dict[str, Word | None] | None = None  # in a function: what its own names stood for outside
        self.descriptors: dict[str, Word] = {}
        self.stdout: Word | None = None  # where `exec > file` leads what is written from there on
        self.arguments = arguments
        self.deep = 0
        self.fixed: set[str] = set()

    def child(self) -> "Shell":
        """A nested shell that starts with what this one exports; taking all of it is the careful reading."""
        made = Shell(self.call, self.cwd, self.arguments)
        made.variables = dict(self.variables)
        made.arrays, made.aliases = dict(self.arrays), dict(self.aliases)
        made.functions = dict(self.functions)
        made.descriptors, made.stdout = dict(self.descriptors), self.stdout
        made.deep = self.deep
        return made

    def source(self, text: str, stdin: Flow = EMPTY) -> Flow:
        """Runs program text in this shell."""
        with self.call.deeper() as fits:
            if not fits or len(text) > self.call.MAX_TEXT:
                self.call.opaque("too_deep")
                return UNKNOWN
            text = _TIMED.sub(r"\1", text)
            root = parsing.tree(self.call, heredocs.marked(text))
            if root is not None and root.has_error and (ordered := heredocs.ordered(text)) != text:
                root = parsing.tree(self.call, heredocs.marked(ordered))
            if root is None:
                self.call.opaque("too_deep")
                return UNKNOWN
            if root.has_error:
                self.call.opaque("unparsed")
            return self.statement(root, stdin)

    def statement(self, node: Any, stdin: Flow = EMPTY) -> Flow:
        """Runs one syntax node; the answer is what it writes to its standard output."""
        self.deep += 1
        try:
            if self.deep > MAX_NODES_DEEP or not self.call.spend():
                self.call.opaque("too_deep")
                return UNKNOWN
            return self._statement(node, stdin)
        finally:
            self.deep -= 1

    def _statement(self, node: Any, stdin: Flow) -> Flow:
        kind = node.type
        if kind == "command":
            return self.command(node, [], stdin)
        if kind in ("test_command", "comment") or (node.children and node.children[0].type == "(("):
            self.scan(node)
            return EMPTY
        if kind in _BLOCKS:
            return self._block(node, stdin)
        if kind == "list":
            return branches.sequence(self, node, stdin)
        if kind == "pipeline":
            return branches.pipeline(self, node, stdin)
        if kind == "redirected_statement":
            return redirects.statement(self, node, [], stdin)
        if kind in _WAYS:
            return _WAYS[kind](self, node, stdin)
        if kind in ("variable_assignment", "variable_assignments", "declaration_command"):
            return self._declare(node)
        if kind == "function_definition":
            name, body = text_of(node.child_by_field_name("name")), node.child_by_field_name("body")
            bombs.function(self, name, body)
            self.functions[name] = (body,)
        elif kind == "unset_command":
            self._unset(node)
        else:  # ERROR, and what the grammar may come to know
            self.call.opaque("unparsed")
            self._block(node, stdin)
        return EMPTY

    def _block(self, node: Any, stdin: Flow) -> Flow:
        shell = self.child() if node.type == "subshell" else self
        out = EMPTY
        for child, following in itertools.pairwise([*node.children, None]):
            if child.is_named:
                apart = following is not None and following.type == "&"  # asking a node for the next one takes as long as there are nodes
                out = out.then((shell.child() if apart else shell).statement(child, stdin))
        return out

    def _declare(self, node: Any) -> Flow:
        if node.type == "variable_assignment":
            self._assign(node)
            return EMPTY
        word = node.children[0].type if node.type == "declaration_command" else ""
        first = {child.id: self._value(child) for child in node.named_children if word and child.type == "variable_assignment"}
        texts, out = [text_of(child) for child in node.named_children], EMPTY
        fixes = word == "readonly" or any(text[:1] == "-" and "r" in text for text in texts)
        if word:
            out = shown.declared(self.call, texts)
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._own(text_of(child.child_by_field_name("name")), word)
                name = self._assign(child, first.get(child.id))
                self.fixed |= {name} if fixes else set()
            elif child.type == "variable_name":
                self._own(text_of(child), word)
                self.fixed |= {text_of(child)} if fixes else set()
            elif text_of(child).startswith("-") and "n" in text_of(child) and word in ("declare", "local", "typeset"):
                self.call.opaque("indirection")
            else:
                self._declared_word(child, word)
        return out

    def _own(self, name: str, word: str) -> None:
        """A function's own name: what it stood for outside comes back when the function ends."""
        if self.locals is not None and word in ("local", "declare", "typeset"):
            self.locals.setdefault(name, self.variables.get(name))

    def _unset(self, node: Any) -> None:
        """Names that stand for nothing from here on; for a function, the program of its name comes back."""
        self.scan(node)
        for word in (w for child in node.named_children for w in words_of(self, child)):
            self.arrays.pop(word.text, None)
            if word.text in self.functions:
                self.functions[word.text] = tuple(dict.fromkeys((None, *self.functions[word.text])))
            if word.text in self.variables and word.text not in self.fixed:
                self.variables[word.text] = Word("")

    def _declared_word(self, child: Any, word: str) -> None:
        for found in words_of(self, child):
            name, equals, value = found.text.partition("=")
            self._own(name, word)
            if equals:
                self.set(name, found.part(value))

    def _value(self, node: Any) -> Word:
        value = node.child_by_field_name("value")
        return word_of(self, value) if value is not None else Word("", quoted=True)

    def _assign(self, node: Any, word: Word | None = None) -> str:
        name = node.child_by_field_name("name")
        plain = text_of(name).partition("[")[0]
        more = any(c.type == "+=" for c in node.children)
        arrays.assigned(self, plain, node, more)
        word = self._value(node) if word is None else word
        if name.type == "subscript":
            self.scan(name)
            word = hole(*word.taints, "indirection")
        elif more:
            before = self.variables.get(plain, Word(""))
            word = Word(before.text + word.text, word.glob, word.quoted, before.taints | word.taints)
        self.set(plain, replace(word, quoted=False, flow=None))
        return plain

    def set(self, name: str, value: Word) -> None:
        """An assignment. Names that make later programs load or run something are themselves an action."""
        if len(value.text) > LONG:  # `x=$x$x` over and over would fill the memory
            self.call.opaque("too_deep")
            value = hole(*value.taints)
        if len(self.variables) > MAX_NAMES:
            self.call.opaque("too_deep")
            return
        self.variables[name] = hole() if name in self.fixed else value
        environment.assigned(self, name, value)

    def variable(self, name: str) -> Word:
        found = self.variables.get(name)
        if found is not None:
            return found
        if name.isdigit() and self.arguments is not None and 0 < int(name) <= len(self.arguments):
            return self.arguments[int(name) - 1]
        if name in ("@", "*") and self.arguments is not None:
            return Word(" ".join(a.text for a in self.arguments), taints=frozenset(t for a in self.arguments for t in a.taints))
        if name == "PWD":
            return Word(self.cwd)
        if name in _TOLD:
            return Word(_TOLD[name])
        return hole(shown.TAINT) if shown.secretive(name) else hole()

    def inherited(self, name: str) -> bool:
        return name in _TOLD or name == "PWD"

    def command(self, node: Any, outer: list[Any], stdin: Flow) -> Flow:
        """A simple command; outer: the redirects that stand around it."""
        argv: list[Word] = []
        here = list(outer)
        assigned: list[str] = []
        saved = dict(self.variables)
        end, source = -len(" \\\n"), b""
        for child in node.children:
            if child.type == "variable_assignment":
                assigned.append(self._assign(child))
            elif child.type in ("file_redirect", "herestring_redirect", "heredoc_redirect"):
                here.append(child)
            elif child.is_named and not _is_descriptor(child):
                found = self._argument(child)
                if found and argv and child.start_byte - end in (0, 2):
                    source = source or node.text  # once: asking for it copies the command
                    if _continued(source, end - node.start_byte, child.start_byte - node.start_byte):
                        last, first = argv.pop(), found.pop(0)
                        argv.append(Word(last.text + first.text, first.glob, last.quoted, last.taints | first.taints))
                argv.extend(found)
                end = child.end_byte
        here.sort(key=lambda redirect: redirect.start_byte)  # the last of them counts
        for redirect in here:
            argv.extend(w for c in redirect.children_by_field_name("argument") for w in self._argument(c))
            if redirect.type == "file_redirect":  # the grammar hands the words after `> file` to the redirect
                argv.extend(
                    w for c in redirect.children_by_field_name("destination")[1:] for w in self._argument(c) if not _is_descriptor(c)
                )
        lasting = len(argv) == 1 and argv[0].text == "exec"
        flow = redirects.around(self, here, stdin, lambda given: commands.run(self, argv, given) if argv else EMPTY, lasting)
        if self.stdout is not None and flow is not EMPTY:
            redirects.write(self, self.stdout, flow, append=True)
        if argv and argv[0].text not in ("export", "declare", "local", "readonly", "typeset", "exec", "eval"):
            for name in assigned:
                self.variables.pop(name, None)
                if name in saved:
                    self.variables[name] = saved[name]
        return flow

    def _argument(self, child: Any) -> list[Word]:
        inner = child.named_children[0] if child.type == "command_name" and child.named_children else child
        return words_of(self, inner)

    # ---- substitutions

    def substitute(self, node: Any) -> Word:
        """`$( … )` and backticks: what is inside runs; its output becomes the word."""
        shell = self.child()
        text = text_of(node)
        if text[:1] == "`" and "\\" in text:  # within backticks a backslash is taken away once more
            written = shell.source(_IN_BACKTICKS.sub(r"\1", text.strip("`")))
            return Word(HOLE if written.text is None else written.text.rstrip("\n"), taints=written.taints)
        out = EMPTY
        for child in node.named_children:
            if child.type == "file_redirect":  # `$(< file)`
                out = out.then(redirects.around(shell, [child], EMPTY, lambda given: given))
            else:
                out = out.then(shell.statement(child))
        if out.text is None:
            return Word(HOLE, taints=out.taints | _set_up(node))
        return Word(out.text.rstrip("\n"), taints=out.taints)

    def process_substitution(self, node: Any) -> Word:
        shell = self.child()
        out = EMPTY
        if node.children[0].type == ">(":
            self.call.consumers.append((shell, node))
            return Word("/dev/fd/63", quoted=True, taints=frozenset({"into_command"}), flow=Flow(f"{len(self.call.consumers) - 1}"))
        for child in node.named_children:
            out = out.then(shell.statement(child))
        taints = out.taints | _set_up(node)
        return Word("/dev/fd/63", quoted=True, taints=taints, flow=Flow(out.text, taints))

    def scan(self, root: Any) -> None:
        """Runs every substitution anywhere below a node that is otherwise only a value."""
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node.type == "command_substitution":
                self.substitute(node)
            elif node.type == "process_substitution":
                self.process_substitution(node)
            else:
                waiting.extend(node.named_children)

    def made(self, path: str) -> Made | None:
        return self.call.made.get(path)
