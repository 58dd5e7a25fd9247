"""What the gate adds to a harmless call: the installed hook's whole round trip, against starting an interpreter that does nothing."""

import json
import shlex
import shutil
import subprocess

from tests.bench.row import Row, interleaved
from tests.world import World

RUNS = 60


def measure() -> list[Row]:
    with World() as world:
        world.ony("install", "claude", "--user")
        settings = json.loads((world.home / ".claude" / "settings.json").read_text())
        command = settings["hooks"]["PreToolUse"][0]["hooks"][0]["command"]
        argv = shlex.split(command.partition("||")[0])
        event = json.dumps({
            "session_id": "bench", "transcript_path": "/dev/null", "cwd": str(world.project), "permission_mode": "default",
            "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "git status"}, "tool_use_id": "toolu_bench",
        }).encode()  # fmt: skip

        def start(words: list[str], passes: bool) -> None:
            done = subprocess.run(words, input=event, capture_output=True, env=world.environment, check=True)
            if passes and json.loads(done.stdout) != {}:
                raise AssertionError(f"the harmless call did not pass: {done.stdout!r}")

        sides = {
            "bare": lambda: start([argv[0], "-I", "-S", "-c", "pass"], False),
            "hook": lambda: start(argv, True),
            "wrapped": lambda: start(["/bin/sh", "-c", command], True),
        }
        node = shutil.which("node")
        if node:
            sides["node"] = lambda: start([node, "-e", "0"], False)
        took = interleaved(RUNS, **sides)
    rows = [
        Row("hook, harmless call / python3 -I -S -c pass", took["hook"], took["bare"], 1.25, RUNS),
        Row("the same with its shell wrapper", took["wrapped"], took["bare"], 1.4, RUNS),
    ]
    if node:
        rows.append(Row("hook with its shell wrapper / node -e 0", took["wrapped"], took["node"], 0.2, RUNS))
    return rows
