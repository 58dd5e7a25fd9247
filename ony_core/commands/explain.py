"""`ony explain`: what a call would do and what each mode would make of it, without running it and without a server.

For people it shows what was found in the call, what each part means, what would be said on the phone, and what could be taught.
`--jsonl` answers one line for each line, in order; earlier lines of a `session` are its history: files it made are known as its own.
Facts and title are exactly what would leave the machine.
"""

import argparse
import gc
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from ony_core import canon
from ony_core.commands import explaining
from ony_core.errors import EXIT_OK, OnyError, UsageError
from ony_core.evidence.place import DiskPlace, NoPlace
from ony_core.facts import Place, understand
from ony_core.facts.words import Made
from ony_core.model import Assessment, Fact, ToolCall
from ony_core.policy import gate
from ony_core.taxonomy import assess
from ony_core.taxonomy.tables import tables

HELP = "say what a command or tool call would do, and whether it would ring you"
EXAMPLE = "ony explain 'git push --force origin main'"
DEADLINE_S = 2.0
MAX_SESSIONS = 4096


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs="?", help="a shell command, in quotes")
    parser.add_argument("--tool", default="Bash", metavar="NAME", help="another tool; COMMAND is then its input, a JSON object")
    parser.add_argument("--json", action="store_true", help="answer as one JSON object")
    parser.add_argument("--jsonl", action="store_true", help="read tool calls from standard input, one JSON object a line")


def run(args: argparse.Namespace) -> int:
    if args.jsonl:
        settle()
        for answer in answers(sys.stdin.buffer):
            sys.stdout.write(answer + "\n")
        sys.stdout.flush()
        return EXIT_OK
    if not args.command:
        raise UsageError("nothing to explain", f"try: {EXAMPLE}")
    given = {"command": args.command} if args.tool == "Bash" else canon.loads(args.command.encode())
    call = ToolCall("", "", args.tool, given, os.getcwd())
    told = explaining.explained(call, _place(call.cwd))
    print(json.dumps({**_answer(None, told.assessment), **explaining.fields(told)}) if args.json else "\n".join(explaining.prose(told)))
    return EXIT_OK


def settle() -> None:
    """Before many calls: reads the tables, and keeps the collector of garbage from walking them again and again."""
    tables()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # a call leaves few cycles behind, but makes thousands of objects


def answers(lines: Any) -> Iterator[str]:
    """One JSON text for each line; a line that is not a call gets the answer of an opaque one."""
    history: dict[str, dict[str, Made]] = {}
    for line in lines:
        try:
            identity, call = _call(canon.loads(line))
        except OnyError:
            yield json.dumps(_answer(None, assess((Fact("opaque", traits=("unparsed",)),))))
            continue
        understood = understand(call, _place(call.cwd), history.get(call.session) if call.session else None)
        if call.session:
            if call.session not in history and len(history) >= MAX_SESSIONS:
                history.clear()
            history[call.session] = understood.made
        yield json.dumps(_answer(identity, assess(understood.facts)))


def _call(value: Any) -> tuple[Any, ToolCall]:
    """The call in a line: `tool`/`input`, or Claude's `tool_name`/`tool_input`."""
    if not isinstance(value, dict):
        raise UsageError("a line is not an object")
    tool, given = value.get("tool", value.get("tool_name")), value.get("input", value.get("tool_input"))
    cwd, session = value.get("cwd", ""), value.get("session", value.get("session_id", ""))
    call = ToolCall("", session if isinstance(session, str) else "", tool, given, cwd if isinstance(cwd, str) else "")  # type: ignore[arg-type]
    return value.get("id"), call


def _place(cwd: str) -> Place:
    if cwd and os.path.isdir(cwd):
        from ony_core.clock import SystemClock

        tables()  # reading them is no part of the time a call is given
        clock = SystemClock()
        return DiskPlace(cwd, None, clock.boot() + DEADLINE_S, clock.boot)
    return NoPlace(cwd)


def _answer(identity: Any, assessment: Assessment) -> dict[str, Any]:
    lead = assessment.lead
    return {
        "id": identity,
        "action": lead.key,
        "risk": assessment.risk,
        "gate": {mode: gate(assessment, mode) for mode in explaining.MODES},
        "facts": [_plain(fact) for fact in assessment.facts],
        "title": lead.title,
        "why": lead.why,
    }


def _plain(fact: Fact) -> dict[str, Any]:
    """A fact as it goes over the wire: empty parts left out."""
    parts: dict[str, Any] = {"kind": fact.kind, "program": fact.program, "verb": list(fact.verb), "flags": list(fact.flags)}
    parts["args"] = fact.args
    parts["targets"] = [{"kind": t.kind, "name": t.name} for t in fact.targets]
    parts["traits"] = list(fact.traits)
    return {name: part for name, part in parts.items() if part or name == "args"}


def _main(out: TextIO) -> int:
    parser = argparse.ArgumentParser(prog="ony explain", description=HELP)
    arguments(parser)
    try:
        return run(parser.parse_args())
    except OnyError as error:
        print(f"ony: {error}", file=out)
        return error.code


if __name__ == "__main__":
    sys.exit(_main(sys.stderr))
