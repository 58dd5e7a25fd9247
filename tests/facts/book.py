"""The book of calls (`tests/facts/book/*.txt`): what Ony says of each, to the letter of the risk, the action and the title.

A call stands at the left margin, what it means below it, indented, one action a line and in their order:

    git push --force origin main
        critical git.force_push: Force-push to main

A call is a command line; what cannot be one is JSON: `{"tool": "Write", "input": {…}}` for another tool or several lines, a list of such
steps for a session of which the last is judged. Lines that start with `# ` are comments. All calls happen in one place, `shop()`.

`python -m tests.facts.book FILE …` writes the meanings anew, for whoever changed one on purpose and then reads the difference.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ony_core.evidence.place import DictPlace
from ony_core.facts import understand
from ony_core.facts.words import Made
from ony_core.model import ToolCall
from ony_core.taxonomy import assess

BOOK = Path(__file__).with_suffix("")
INDENT = "    "
FILES = {
    "/shop/Makefile": b"test:\n\tpytest -q\nship: build\n\tterraform apply -auto-approve\nbuild:\n\tpython -m build\n",
    "/shop/justfile": b"check:\n    cargo test\nship:\n    kubectl delete ns prod\n",
    "/shop/package.json": b'{"name":"shop","scripts":{"test":"jest","ship":"npm publish","pretest":"eslint src","wipe":"rm -rf /srv"}}',
    "/shop/pyproject.toml": b'[project]\nname = "shop"\n[tool.poe.tasks]\nship = "twine upload dist/*"\ntest = "pytest"\n',
    "/shop/src/app.py": b"print('hello')\n",
    "/shop/src/wipe.py": b"import shutil\nshutil.rmtree('/srv/data')\n",
    "/shop/src/index.js": b"console.log('hello')\n",
    "/shop/src/wipe.js": b"require('fs').rmSync('/srv/data', {recursive: true})\n",
    "/shop/scripts/check.sh": b"#!/bin/sh\nset -e\npytest -q\ngit status\n",
    "/shop/scripts/wipe.sh": b'#!/bin/sh\nset -e\ncd "${1:-/srv/data}" && rm -rf ./*\n',
    "/shop/sql/report.sql": b"SELECT name, count(*) FROM orders GROUP BY name;\n",
    "/shop/sql/reset.sql": b"BEGIN;\nTRUNCATE orders;\nCOMMIT;\n",
    "/shop/README.md": b"# Shop\nNever run rm -rf / here.\n",
    "/shop/made.py": b"print('made')\n",
    "/shop/made.txt": b"made\n",
    "/shop/.env": b"TOKEN=not-a-real-one\n",
}
TRACKED = [path for path in FILES if path.startswith(("/shop/src/", "/shop/scripts/", "/shop/sql/"))]
MADE = ["/shop/made.txt", "/shop/made.py", "/shop/notes"]  # what this session began
CHANGED = ["/shop/made.py"]
CONTEXTS = {
    "project_root": "/shop",
    "home": "/home/dev",
    "git_default_branch": "main",
    "git_branch": "topic",
    "git_remote": "origin",
    "kube_context": "staging",
    "workspace": "staging",
    "ignored:/shop/cached.json": "yes",
    "ignored:/shop/target": "yes",
    "workspace:/shop/infra": "staging",  # what the folder is set to
    "workspace:/shop/live": "eu-prod",
    "workspace:/shop/odd": "AKIAIOSFODNN7EXAMPLE",
    "workspace:/shop/spaced": "two words",
}
NAMES = [("branch", "topic"), ("branch", "main"), ("kube_context", "staging"), ("workspace", "staging"), ("remote", "origin")]


class Entry(NamedTuple):
    call: str
    meaning: tuple[str, ...]


def shop() -> DictPlace:
    """A small web shop: a work branch, sources under version control, a staging cluster."""
    return DictPlace(FILES, "/shop", dict(CONTEXTS), NAMES, tracked=TRACKED, made=MADE, changed=CHANGED)


def meaning(call: str) -> tuple[str, ...]:
    """`risk action: title` of everything the call means; of a session, its last step."""
    earlier: dict[str, Made] = {}
    found: tuple[str, ...] = ()
    for step in _steps(call):
        understood = understand(step, shop(), earlier)
        earlier = understood.made
        found = tuple(f"{one.risk} {one.key}: {one.title}" for one in assess(understood.facts).actions)
    return found


def _steps(call: str) -> list[ToolCall]:
    given: Any = json.loads(call) if call.startswith(('{"', '["', '[{"')) else call
    steps = [one if isinstance(one, dict) else {"input": {"command": one}} for one in (given if isinstance(given, list) else [given])]
    return [ToolCall("claude-code", "s", one.get("tool", "Bash"), one["input"], one.get("cwd", "/shop")) for one in steps]


def entries(text: str) -> Iterator[Entry]:
    """Of one file. ValueError for a meaning that stands below no call."""
    call, found = "", list[str]()
    for line in [*text.splitlines(), "end"]:
        if line.startswith(INDENT):
            if not call:
                raise ValueError(f"a meaning without a call: {line.strip()}")
            found.append(line.strip())
        elif line and not line.startswith("# "):
            if call:
                yield Entry(call, tuple(found))
            call, found = line, []


def files() -> list[Path]:
    return sorted(BOOK.glob("*.txt"))


def _anew(text: str) -> str:
    """The same calls and comments with today's meanings."""
    kept = [line for line in text.splitlines() if not line.startswith(INDENT)]
    said = [[line] if not line or line.startswith("# ") else [line, *(INDENT + one for one in meaning(line))] for line in kept]
    return "\n".join(line for lines in said for line in lines) + "\n"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        page = Path(name)
        page.write_text(_anew(page.read_text("utf-8")), "utf-8")
