"""What understanding a call costs: a mix of ordinary and dangerous calls through the facts and the taxonomy, against parsing them as JSON.

The mix is built in: commands of the tables' own examples, in a fixed order. Processor time, so that a busy machine changes little.
"""

import json
import resource
import sys
import time

from ony_core.commands.explain import answers
from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.model import ToolCall
from ony_core.taxonomy import assess
from ony_core.taxonomy.reading import documents
from tests.bench.row import Row

SHARE = 4  # every fourth example
CALLS_S, P99_MS, MIB = 2000, 3.0, 120


def mix() -> list[str]:
    """Commands, each once; a third of them with a pipe, a loop or a heredoc around."""
    rules = [rule for _, document in documents() for rule in document.get("rule", ())]
    plain = [example for rule in rules for example in (*rule.get("passes", ()), *rule.get("holds", ()))][::SHARE]
    around = ("{}", "{}", "cd src && {} | head", "for i in a b; do {}; done", "{} > out.txt 2>&1")
    return [around[at % len(around)].format(command) for at, command in enumerate(plain)]


def measure() -> list[Row]:
    commands = mix()
    lines = [json.dumps({"id": at, "tool": "Bash", "input": {"command": command}}).encode() for at, command in enumerate(commands)]
    list(answers(lines))  # a daemon has seen its programs before
    began = time.process_time()
    count = sum(1 for _ in answers(lines))
    each_ms = (time.process_time() - began) * 1000 / count
    slowest = _percentile(commands)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
    return [
        Row(f"explain --jsonl, {1000 / each_ms:,.0f} calls/s / {CALLS_S} calls/s", each_ms, 1000 / CALLS_S, 1.0, count),
        Row(f"one call understood, 99 of 100 / {P99_MS} ms", slowest, P99_MS, 1.0, count),
        Row(f"peak memory {peak:.0f} MiB / {MIB} MiB", peak, MIB, 1.0, 1),
    ]


def _percentile(commands: list[str]) -> float:
    took = []
    for command in commands:
        call = ToolCall("claude-code", "s", "Bash", {"command": command}, "/project")
        began = time.thread_time()
        assess(derive(call, DictPlace()))
        took.append((time.thread_time() - began) * 1000)
    return sorted(took)[int(0.99 * len(took))]
