"""The ways through a shell program: conditions, loops, pipes. Every way is walked from where it begins, and all of them meet behind it.

MUST: take no condition for true or false, and no loop for one that runs, or runs once only.
"""

import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ony_core.facts import bombs, redirects
from ony_core.facts.expand import listed, text_of
from ony_core.facts.state import State, keep, meet, put
from ony_core.facts.words import EMPTY, UNKNOWN, Flow, hole

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

MAX_LOOP = 24
_WORKS = frozenset({"cd", "mkdir", "true", ":", "echo", "printf", "export", "pwd", "pushd"})  # taken to succeed, as `cd` itself is

_ENVIRONMENT = re.compile(r"(?:env|printenv|export -p|export)\Z")
_ONE_NAME = re.compile(  # `grep -i path`: a pattern of plain words, none of which begins or could name a secret
    r"grep\s+(?:-[iEcqw]+\s+)*(['\"]?)\^?\(?(?!(?i:[^'\"]*(?:key|tok|sec|pass|pw|cred|auth|api|aws|env|url|uri|db|conn|account|cert|sig|azure|gh_|git|npm|yarn|docker|hub|lab|openai|anthropic|claude|stripe|slack|sentry|heroku|all)))"
    r"[A-Za-z_]{3,}(?:\\?\|\^?[A-Za-z_]{3,})*\)?=?\1\Z"
)


def sequence(shell: "Shell", node: Any, stdin: Flow, outer: list[Any] | None = None) -> Flow:
    """`a && b || c`: what the right side changes may or may not hold afterwards. outer: the redirects of the last command."""
    parts = _chain(node)
    if len(parts) > 1:
        return _all_of(shell, parts, stdin, outer)
    left, right = node.named_children[0], node.named_children[1:]
    out = shell.statement(left, stdin)
    before = keep(shell)
    for child in right:
        out = out.then(redirects.statement(shell, child, outer, stdin) if outer else shell.statement(child, stdin))
    meet(shell, [before, keep(shell)])
    return out


def _chain(node: Any) -> list[Any]:
    """The parts of `a && b && c`; a list with another operator is one part."""
    parts: list[Any] = []
    while {child.type for child in node.children if not child.is_named} == {"&&"}:
        parts[:0] = node.named_children[1:]
        node = node.named_children[0]
    return [node, *parts]


def _all_of(shell: "Shell", parts: list[Any], stdin: Flow, outer: list[Any] | None) -> Flow:
    """Each part runs where all before it have worked; behind the chain, any of them may have been the last."""
    out, stops = shell.statement(parts[0], stdin), []
    for before, part in pairwise(parts):
        if not _works(before):
            stops.append(keep(shell))
        last = outer if part is parts[-1] else None
        out = out.then(redirects.statement(shell, part, last, stdin) if last else shell.statement(part, stdin))
    if stops:
        meet(shell, [*stops, keep(shell)])
    return out


def _works(node: Any) -> bool:
    return node.type == "variable_assignment" or (node.type == "command" and text_of(node.named_children[0]) in _WORKS)


def pipeline(shell: "Shell", node: Any, stdin: Flow, outer: list[Any] | None = None) -> Flow:
    """Each part is a process of its own; only some shells run the last one themselves. outer: the redirects of the last command."""
    flow, before = stdin, keep(shell)
    children = node.named_children
    if len(children) > 1 and _ENVIRONMENT.match(text_of(children[0])) and _ONE_NAME.match(text_of(children[1])):
        flow, children = UNKNOWN, children[1:]  # of the whole environment only what has a harmless name is seen
    for child in children:
        put(shell, before)
        last = outer if child is children[-1] else None
        flow = redirects.statement(shell, child, last, flow) if last else shell.statement(child, flow)
    meet(shell, [before, keep(shell)])
    shell.cwd = before.cwd
    return flow


def condition(shell: "Shell", node: Any, stdin: Flow) -> Flow:
    """`if`: the ways part at each `then`."""
    out, ends = EMPTY, []
    waiting, whole = list(node.children), False
    after = keep(shell)
    while waiting:
        child = waiting.pop(0)
        if child.type == "then":
            after = keep(shell)
        elif child.type in ("elif_clause", "else_clause"):
            ends.append(keep(shell))
            put(shell, after)
            whole |= child.type == "else_clause"
            waiting = list(child.children) + waiting
        elif child.is_named:
            out = out.then(shell.statement(child, stdin))
    ends.append(keep(shell))
    meet(shell, ends if whole else [after, *ends])
    return out


def case(shell: "Shell", node: Any, stdin: Flow) -> Flow:
    out, before = EMPTY, keep(shell)
    ends: list[State] = []
    falls = False
    for item in node.named_children:
        if item.type != "case_item":
            shell.scan(item)
            before = keep(shell)
            continue
        if falls:
            meet(shell, [before, keep(shell)])
        else:
            put(shell, before)
        patterns = {child.id for child in item.children_by_field_name("value")}
        for child in item.named_children:
            if child.id in patterns:
                shell.scan(child)
            else:
                out = out.then(shell.statement(child, stdin))
        falls = any(child.type in (";&", ";;&") for child in item.children)
        ends.append(keep(shell))
    meet(shell, [before, *ends])
    return out


def counted(shell: "Shell", node: Any, stdin: Flow) -> Flow:
    """`for name in words`: once for each word where all of them are known."""
    name, body = text_of(node.child_by_field_name("variable")), node.child_by_field_name("body")
    values = listed(shell, node, node.children_by_field_name("value"))
    if not any(child.type == "in" for child in node.children) and shell.arguments is not None:
        values = list(shell.arguments)
    chosen = any(child.type == "select" for child in node.children)
    sure = 0 < len(values) <= MAX_LOOP and not chosen and not any(w.glob or not w.known for w in values)
    if not 0 < len(values) <= MAX_LOOP:
        values = [hole(*(t for w in values for t in w.taints))]

    def rounds() -> Flow:
        out = EMPTY
        for value in values:
            shell.variables[name] = replace(value, quoted=False)
            out = out.then(shell.statement(body, stdin))
        return out

    if not sure:
        return _again(shell, rounds)
    outer, shell.escapes = shell.escapes, []
    out = rounds()
    meet(shell, [keep(shell), *shell.escapes])
    shell.escapes = outer
    return out


def loop(shell: "Shell", node: Any, stdin: Flow) -> Flow:
    """`while`, `until`, `for ((…))`: any number of times."""
    bombs.loop(shell, node)
    walked, values = node.named_children, []
    if node.type == "c_style_for_statement":
        walked = [child for child in walked if child.type in ("variable_assignment", "do_group", "compound_statement")]
        values = [child for child in node.named_children if child not in walked]

    def once() -> Flow:
        for child in values:
            shell.scan(child)
        out = EMPTY
        for child in walked:
            out = out.then(shell.statement(child, stdin))
        return out

    return _again(shell, once)


def _again(shell: "Shell", once: Any) -> Flow:
    """A round from where the loop begins and, if it changes anything, one from whatever a round may leave."""
    outer, shell.escapes = shell.escapes, []
    before = keep(shell)
    out: Flow = once()
    ends = [before, keep(shell), *shell.escapes]
    if meet(shell, ends, forget=True):
        shell.escapes = []
        out = out.then(once())
        ends += [keep(shell), *shell.escapes]
    meet(shell, ends)
    shell.escapes = outer
    return out


def either(shell: "Shell", ways: list[Any]) -> Flow:
    """Different runs of the same command, only one of which will be."""
    before, ends, flows = keep(shell), [], []
    for way in ways:
        put(shell, before)
        flows.append(way())
        ends.append(keep(shell))
    meet(shell, ends)
    return flows[0] if len({flow.text for flow in flows}) == 1 else Flow(None, frozenset(t for flow in flows for t in flow.taints))
