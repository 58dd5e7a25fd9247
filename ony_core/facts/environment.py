"""Assignments that later programs obey: what they load, start as a pager, editor or compiler, or connect through.

Folders and options are looked into, so that a heap size or a library of the project passes, and a preloaded file does not.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ony_core.facts import paths
from ony_core.facts.words import HOLE, UNKNOWN, Word
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def assigned(shell: "Shell", name: str, value: Word) -> None:
    """Adds what the assignment of one variable means."""
    from ony_core.facts import files
    from ony_core.facts.handlers.git import another_repository

    kind = _kind(name)
    if not kind or _harmless(name, value.text):
        return
    text = value.text.replace(HOLE, "${_}")
    if kind in ("runs", "edits", "connects") and _anybodys(shell, text.split(" ")[0]):
        shell.call.add("command", "env", traits=("loader_environment",))
    if kind == "appends":
        files.write_file(shell, value, UNKNOWN, frozenset({"append"})) if text[:1] in "/~" else None
    elif kind == "runs":
        shell.child().source(text)
    elif kind == "edits":
        shell.child().source(text + " COMMIT_EDITMSG")
    elif kind == "connects":
        shell.child().source(text + " host.example true")
    elif kind == "expands":
        shell.child().source('echo "' + text.replace('"', '\\"') + '"')
    elif kind == "tools":
        _tool(shell, value)
    elif kind == "repositories":
        shell.call.add("command", "env", traits=("loader_environment",)) if another_repository(shell, value) else None
    elif kind == "searches":
        _folders(shell, value, {"tmp", "tmp_root", "outside", "root"}, "loader_environment", ())
    elif kind == "path":
        allowed = tuple(tables().words["locations"]["project_programs"])
        _folders(shell, value, {"project", "project_root", "tmp", "tmp_root", "outside"}, "path_environment", allowed)
    else:
        shell.call.add("command", "env", traits=("config_environment" if kind == "configures" else "loader_environment",))


@lru_cache(maxsize=1024)
def _kind(name: str) -> str:
    if name == "PATH":
        return "path"
    if name in tables().words["environment_options"]:
        return "options"
    return next((kind for kind, names in tables().words["environment"].items() if name in names), "")


@lru_cache(maxsize=2048)
def _harmless(name: str, text: str) -> bool:
    """A value that says nothing, or options of which none loads or starts anything. What only the run knows is not harmless."""
    lists = tables().words
    if name in lists["environment_options"]:
        return not any(re.search(pattern, text) for pattern in lists["environment_options"][name])
    known = lists["environment_harmless"]
    patterns = known.get(name, []) + (known["every"] if _kind(name) in ("runs", "edits", "connects", "tools") else [""])
    return any(re.fullmatch(pattern, text) for pattern in patterns)


def _anybodys(shell: "Shell", text: str) -> bool:
    """Whether a program lies where anybody may have put it, and nobody knows what is in it."""
    from ony_core.facts import files

    word = Word(text, quoted=True)
    if text[:1] not in "./~" or not paths.traits_of(shell.call, shell.cwd, word) & {"tmp", "tmp_root", "outside"}:
        return False
    made = files.known_content(shell, word)
    return made is None or made.text is None


def _folders(shell: "Shell", value: Word, wrong: set[str], trait: str, allowed: tuple[str, ...]) -> None:
    """Where programs or modules are looked for: a folder that anybody may fill makes later words mean something else."""
    for folder in value.text.split(":"):
        if folder in ("", HOLE) or folder.endswith(allowed or "\n"):
            continue
        if paths.traits_of(shell.call, shell.cwd, Word(folder)) & wrong:
            shell.call.add("command", "env", traits=(trait,))


def _tool(shell: "Shell", value: Word) -> None:
    """A compiler or wrapper: a name is looked up as ever; a file elsewhere, or a command with words a shell reads, is judged."""
    first = value.text.split(" ")[0]
    if first[:1] in "./~" and paths.traits_of(shell.call, shell.cwd, Word(first)) & {
        "tmp",
        "tmp_root",
        "outside",
        "project",
        "unknown_path",
    }:
        shell.call.add("command", "env", traits=("loader_environment",))
    elif re.search(r"[;&|`$<>]|\s-c\s", value.text):
        shell.child().source(value.text.replace(HOLE, "${_}"))
