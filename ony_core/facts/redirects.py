"""Redirects: where what a command reads comes from, and where what it writes goes.

MUST: take the file of every redirect for read or written, whichever of them the command would use in the end.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ony_core.facts import branches, files, heredocs
from ony_core.facts.expand import text_of, word_of
from ony_core.facts.place import Unknown
from ony_core.facts.words import EMPTY, UNKNOWN, Flow, Word, hole

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def statement(shell: "Shell", body: Any, redirects: list[Any], stdin: Flow) -> Flow:
    """A statement with redirects; the grammar hangs those of the last command of a list on the whole list."""
    if body is not None and body.type == "command":
        return shell.command(body, redirects, stdin)
    if body is not None and body.type == "list":
        return branches.sequence(shell, body, stdin, redirects)
    if body is not None and body.type == "pipeline":
        return branches.pipeline(shell, body, stdin, redirects)
    if body is not None and body.type == "redirected_statement":
        inner = [c for c in body.named_children if c.type.endswith("_redirect")]
        return statement(shell, body.child_by_field_name("body"), redirects + inner, stdin)
    return around(shell, redirects, stdin, lambda given: shell.statement(body, given) if body is not None else EMPTY)


def around(shell: "Shell", redirects: list[Any], stdin: Flow, run: Callable[[Flow], Flow], lasting: bool = False) -> Flow:
    """Runs something with its input taken from, and its output handed to, what the redirects say. lasting: so are those of all after it."""
    outputs: list[tuple[Word, bool, bool]] = []
    tails: list[Any] = []
    waiting = list(redirects)
    given = stdin
    while waiting:
        redirect = waiting.pop(0)
        if redirect.type == "heredoc_redirect":
            given = heredocs.given(shell, redirect, waiting, tails)
        elif redirect.type == "herestring_redirect":
            word = word_of(shell, redirect.named_children[-1]) if redirect.named_children else hole()
            given = Flow(word.text + "\n" if word.known else None, word.taints)
        elif redirect.type == "file_redirect":
            given = file(shell, redirect, given, outputs)
    flow = run(given)
    for word, append, main in outputs:
        write(shell, word, flow if main else UNKNOWN, append)
        flow = EMPTY if main else flow
        shell.stdout = word if main and lasting else shell.stdout
    for tail in tails:
        flow = (
            branches.pipeline(shell, tail, flow)
            if tail.type == "pipeline" and tail.children[0].type in ("|", "|&")
            else shell.statement(tail, stdin)
        )
    return flow


def file(shell: "Shell", node: Any, given: Flow, outputs: list[tuple[Word, bool, bool]]) -> Flow:
    """One redirect: what the command reads from here on. outputs: gets (where to, whether to the end, whether it is standard output)."""
    operator = next((c.type for c in node.children if not c.is_named), ">")
    descriptor = next((text_of(c) for c in node.named_children if c.type == "file_descriptor"), "")
    targets = [word_of(shell, d) for d in node.children_by_field_name("destination")]
    target = targets[0] if targets else hole()
    if operator.endswith("&-") or (operator in (">&", "<&") and (target.text.isdigit() or target.text == "-")):
        known = shell.descriptors.get(target.text)
        if known is not None and operator == ">&":
            outputs.append((known, True, True))
        other = operator == "<&" and target.text not in ("0", "-") and given is not EMPTY  # what comes from there is not what was piped
        return UNKNOWN if other else given
    if operator in ("<", "<>"):
        return read_from(shell, target)
    shell.descriptors[descriptor] = target
    outputs.append((target, operator in (">>", "&>>"), descriptor != "2"))
    return given


def write(shell: "Shell", word: Word, flow: Flow, append: bool) -> None:
    """`> word`: the command's output becomes a file, a socket, or another command's input."""
    for text in word.others:
        write(shell, replace(word, text=text, others=()), flow, append)
    if word.others:
        return
    if word.text.startswith(("/dev/tcp/", "/dev/udp/")):
        shell.call.add("network", verb=("socket",), traits=files.carried(flow.taints) | {"sends"})
        return
    files.write_file(shell, word, flow, frozenset({"append"}) if append else frozenset())


def read_from(shell: "Shell", word: Word) -> Flow:
    """`< word`"""
    from ony_core.facts import scripts

    if word.flow is not None:
        return word.flow
    if word.text == "/dev/null":
        return Flow("")
    if word.text.startswith(("/dev/tcp/", "/dev/udp/")):
        shell.call.add("network", verb=("socket",), traits=())
        return Flow(None, frozenset({"network"}))
    taints = files.read_file(shell, word)
    content = files.known_content(shell, word)
    if content is None and word.known and scripts.content_of(shell, word) in (Unknown.MISSING, Unknown.NO_FOLDER):
        taints |= {"absent"} | scripts.name_traits(word.text)  # the shell starts nothing when it cannot open the file
    return Flow(content.text if content else None, taints)
