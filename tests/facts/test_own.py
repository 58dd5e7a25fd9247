"""What the connector says in favour of losing a file: one row per reason, beside what looks like it and is none.

A row is the calls of one session; the last one deletes, and its facts say why losing it costs nothing (or nothing at all).
"""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import understand
from ony_core.facts.words import Made
from ony_core.model import ToolCall

WHY = {"made_by_session", "kept_by_git", "not_kept", "ignored", "rebuilt"}
PLACE = DictPlace(
    {"/project/old.txt": b"x", "/project/kept.py": b"x"}, "/project", {"ignored:/project/ign.log": "yes", "project_root": "/project"},
    tracked=["/project/kept.py"], made=["/project/new.txt"],
)  # fmt: skip


def reasons(calls: list[str], place: DictPlace = PLACE) -> set[str]:
    earlier: dict[str, Made] = {}
    for call in calls:
        found = understand(ToolCall("claude-code", "s", "Bash", {"command": call}, "/project"), place, earlier)
        earlier = found.made
    return WHY & {trait for fact in found.facts for trait in fact.traits}


ROWS: dict[str, tuple[list[str], set[str]]] = {
    "a file that git keeps": (["rm kept.py"], {"kept_by_git"}),
    "one that it does not": (["rm old.txt"], {"not_kept"}),
    "one that it ignores": (["rm ign.log"], {"ignored"}),
    "one that began with the session": (["rm new.txt"], {"made_by_session"}),
    "one that the session wrote": (["echo x > a.txt", "rm a.txt"], {"made_by_session"}),
    "one that it wrote over": (["echo x > old.txt", "rm old.txt"], {"not_kept"}),
    "one that it deleted before": (["rm old.txt", "rm old.txt"], {"made_by_session"}),
    "a folder": (["mkdir d", "rm -r d"], {"made_by_session"}),
    "a file below it": (["mkdir d", "rm d/x"], {"made_by_session"}),
    "a file far below it": (["mkdir d", "rm d/e/x"], {"made_by_session"}),
    "a path that leaves it": (["mkdir d", "rm d/../x"], {"not_kept"}),
    "a file beside it": (["mkdir d", "rm dx"], {"not_kept"}),
    "a folder that is gone": (["mkdir d", "rm -r d", "rm d/x"], {"not_kept"}),
    "a pattern": (["rm old*"], set()),
    "what only the run will know": (['rm "$x"'], set()),
    # patches
    "what a patch left": (["patch -p1 < x.diff", "rm a.rej b.orig"], {"made_by_session"}),
    "without a patch": (["rm a.rej"], {"not_kept"}),
    "another file after a patch": (["patch -p1 < x.diff", "rm a.txt"], {"not_kept"}),
    "a pattern after a patch": (["patch -p1 < x.diff", "rm *.rej"], set()),
    # what programs make
    "a clone": (["git clone https://host/a/lib.git", "rm -r lib"], {"made_by_session"}),
    "a clone by another address": (["git clone git@host:lib.git", "rm -r lib"], {"made_by_session"}),
    "into a name of its own": (["git clone https://host/a/lib.git app", "rm -r app"], {"made_by_session"}),
    "a clone with a slash": (["git clone https://host/a/lib/", "rm -r lib"], {"made_by_session"}),
    "not its neighbour": (["git clone https://host/a/lib.git", "rm -r libs"], {"not_kept"}),
    "a new project": (["cargo new app", "rm -r app"], {"made_by_session"}),
    "below it": (["cargo new app", "rm app/src/main.rs"], {"made_by_session"}),
    "only its name": (["cargo new app other", "rm -r other"], {"not_kept"}),
    "by a flag": (["pytest --junitxml=r.xml", "rm r.xml"], {"made_by_session"}),
    "by the last word": (["flutter create --org x app", "rm -r app"], {"made_by_session"}),
    "a file of its own": (["go mod init x", "rm go.mod"], {"made_by_session"}),
    "one that stood there": (["cargo new old.txt", "rm old.txt"], {"not_kept"}),
    "this folder": (["cargo init .", "rm old.txt"], {"not_kept"}),
    # builds
    "what a build fills": (["cargo build", "rm -r target"], {"rebuilt"}),
    "below a folder of it": (["cargo build", "rm -r sub/target"], {"rebuilt"}),
    "in a build elsewhere": (["cd sub && cargo build", "rm -r target"], {"not_kept"}),
    "in that folder": (["cd sub && cargo build", "rm -r sub/target"], {"rebuilt"}),
    "what it does not fill": (["cargo build", "rm -r src"], {"not_kept"}),
    "without a build": (["rm -r target"], {"not_kept"}),
}  # fmt: skip


@pytest.mark.parametrize(("calls", "why"), ROWS.values(), ids=ROWS.keys())
def test_why_losing_a_file_costs_nothing(calls: list[str], why: set[str]) -> None:
    assert reasons(calls) == why


def test_nothing_is_said_where_nobody_knows() -> None:
    assert reasons(["rm a.txt"], DictPlace()) == set()
