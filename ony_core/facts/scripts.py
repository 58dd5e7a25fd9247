"""Looks through code that a call would run: scripts and package scripts.

MUST: content that was fetched this session, is not a regular file, cannot be read or is too big is opaque.
A file that is not there fails by itself: the run is the project's own code, medium.
"""

import json
import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from ony_core.facts import loaded, makefiles, own, paths
from ony_core.facts.place import Unknown
from ony_core.facts.words import HOLE, UNKNOWN, Flow, Made, Word
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

LIMIT = 1 << 20


def run_path(shell: "Shell", argv: list[Word], stdin: Flow) -> Flow:
    """A command word with a slash in it: a file of the project, or one somewhere else."""
    name = argv[0].text.rpartition("/")[2]
    own.note(shell, "ran", name)
    if name in tables().words["names"]["project_tools"]:
        from ony_core.facts import commands

        return commands.run(shell, [Word(name), *argv[1:]], stdin)
    return run_file(shell, argv[0], argv[1:], "", stdin=stdin)


def replaced(shell: "Shell", text: str) -> bool:
    """Whether this call or session wrote the program file that is about to run."""
    path = paths.absolute(shell.cwd, text)
    made = shell.call.made.get(path)
    return (made is not None and not made.gone) or (
        shell.call.place.made_by_session(path) is True and "/.venv/" not in path and "/node_modules/" not in path
    )


def run_file(shell: "Shell", word: Word, arguments: list[Word], language: str, inside: bool = False, stdin: Flow = UNKNOWN) -> Flow:
    """Runs a script file in the given language ("" = by its first line or ending)."""
    if not word.known or word.glob:
        shell.call.opaque("code_unknown")
        return UNKNOWN
    from ony_core.facts.commands import GATE, program_named, run

    program = program_named(word.text)
    if program is not None and program.name == GATE:
        return run(shell, [Word(GATE), *arguments], UNKNOWN)
    known_as = _program_behind(word.text)
    if known_as is not None:
        with shell.call.lending(*(["made_by_session"] if _own_project(shell, word) else [])):
            run(shell, [Word(known_as), *arguments], stdin)
    found = paths.traits_of(shell.call, shell.cwd, word)
    content = content_of(shell, word)
    traits = name_traits(word.text)
    if isinstance(content, Made):
        return _run_made(shell, word, content, arguments, language, traits, inside)
    if found & {"system", "home", "home_top", "outside"} and not found & {"program_folder"} and not language:
        shell.call.add("command", UNLISTED, args=len(arguments))  # no script of the project: a program no table knows
        return UNKNOWN
    if content in (Unknown.NO_FOLDER, Unknown.MISSING, Unknown.UNTOLD):
        shell.call.add("command", "project_code", args=len(arguments), traits=traits)
        return UNKNOWN
    shell.call.opaque("unreadable")
    return UNKNOWN


def _program_behind(text: str) -> str | None:
    """Projects carry scripts of a well-known program: `manage.py`, `bin/console`."""
    known = tables().words["script_programs"]
    tail = text.rpartition("/")[2]
    parts = (tail, "/".join(text.split("/")[-2:]))
    return next((known[part] for part in parts if part in known), None)


def _own_project(shell: "Shell", word: Word) -> bool:
    """Whether this session made the project itself, its settings included: then its database is no one else's."""
    from ony_core.facts.own import session_made

    if not session_made(shell, word):
        return False
    content = content_of(shell, word)
    named = re.search(r"SETTINGS_MODULE\W+([\w.]+)", content.text or "") if isinstance(content, Made) else None
    beside = word.text[: word.text.rfind("/") + 1]
    return named is None or session_made(shell, Word(f"{beside}{named[1].replace('.', '/')}.py"))


def _run_made(shell: "Shell", word: Word, made: Made, arguments: list[Word], language: str, traits: set[str], inside: bool) -> Flow:
    if made.taints & {"network", "decoded"}:
        shell.call.add("opaque", traits=made.taints & {"network", "decoded"})
        return UNKNOWN
    loaded.put_in(shell, word.text, made.added)
    if made.text is None:
        shell.call.add("command", "project_code", args=len(arguments), traits=traits)
        return UNKNOWN
    shell.call.add("command", "project_code", args=len(arguments), traits=traits | {"read_through"})
    path = paths.absolute(shell.cwd, word.text)
    if path in shell.call.reading:
        return UNKNOWN
    shell.call.reading.add(path)
    try:
        return _by_language(shell, language or language_of(word.text, made.text), made.text, arguments, inside)
    finally:
        shell.call.reading.discard(path)


def _by_language(shell: "Shell", language: str, text: str, arguments: list[Word], inside: bool) -> Flow:
    if language == "python":
        from ony_core.facts.python import understand

        return Flow(None, understand(shell, text.replace(HOLE, "0")))
    if language == "pwsh":
        from ony_core.facts.powershell import program_text

        return program_text(shell, text.replace(HOLE, "$_"), frozenset())
    if language in ("shell", "source"):
        inner = shell if inside else shell.child()
        before = inner.arguments
        inner.arguments = list(arguments)
        flow = inner.source(text.replace(HOLE, "${_}"))
        inner.arguments = before
        return flow
    known = tables().programs.get(language)
    if language in tables().words["languages"] or language == "awk" or (known is not None and known.handler in ("language", "debugger")):
        from ony_core.facts.handlers.interpreters import inline

        inline(shell, language if known is not None else "node", text, frozenset())
        return UNKNOWN
    shell.call.opaque("code_unknown")
    return UNKNOWN


def content_of(shell: "Shell", word: Word) -> Made | Unknown:
    """What the file holds: as this call wrote it, else as the place has it.

    After a change that nobody can follow, what stood there before may stand there still; what was put in is beside it (`added`).
    """
    path = paths.absolute(shell.cwd, word.text)
    made = shell.call.made.get(path)
    if made is not None and made.text is None and "changed" in made.taints and not made.folder and not made.gone:
        before = shell.call.place.read(path, LIMIT) if shell.call.place.cwd else None
        return replace(made, text=before.decode("utf-8", "replace")) if isinstance(before, bytes) and b"\0" not in before[:4096] else made
    if made is not None:
        return Unknown.MISSING if made.gone else made if not made.folder else Unknown.MISSING
    unpacked = _unpacked(shell, path)
    if unpacked is not None:
        return unpacked
    if not shell.call.place.cwd:
        return Unknown.NO_FOLDER
    data = shell.call.place.read(path, LIMIT)
    if isinstance(data, Unknown):
        return data
    if b"\0" in data[:4096]:
        return Unknown.UNREADABLE if shell.call.place.made_by_session(path) is True else Unknown.MISSING
    return Made(data.decode("utf-8", "replace"))


def _unpacked(shell: "Shell", path: str) -> Made | None:
    """Something fetched was unpacked above this path, and nothing says that the file was there before."""
    fetched = [(folder, made) for folder, made in shell.call.made.items() if made.taints & {"network", "decoded"}]
    above = [(folder, made) for folder, made in fetched if path.startswith(folder.rstrip("/") + "/")]
    if not above or isinstance(shell.call.place.read(path, LIMIT), bytes):
        return None
    return max(above, key=lambda pair: len(pair[0]))[1]


def language_of(name: str, text: str) -> str:
    """By the interpreter line, then by the ending; a file without either is a shell script (POSIX execvp)."""
    first = text.partition("\n")[0]
    if first.startswith("#!"):
        program = re.sub(r"^#!\s*(?:\S*/env\s+(?:-S\s+)?)?", "", first).split()
        base = re.sub(r"[\d.]+$", "", program[0].rpartition("/")[2]) if program else ""
        return {**dict.fromkeys(("sh", "bash", "zsh", "dash", "ksh"), "shell"), "deno": "node", "bun": "node"}.get(base, base)
    ending = name.rpartition(".")[2] if "." in name.rpartition("/")[2] else ""
    return str(tables().words["endings"].get(ending, "shell" if ending in ("", "sh", "bash") else "unlisted"))


def readable(name: str, text: str) -> bool:
    """Whether there is a reader for the language of this source."""
    language = language_of(name, text)
    return language in ("python", "shell", "source", "awk") or language in tables().words["languages"].keys() - {"every", "other"}


@cache
def _telling_names() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((trait, re.compile("|".join(words))) for trait, words in tables().words["script_names"].items())


def name_traits(name: str) -> set[str]:
    """What a script or target says of itself by its name: names_deploy, names_destroy, …"""
    words = re.sub(r"[^a-z]+", " ", re.sub(r"\.\w+$", "", name.rpartition("/")[2]).lower())
    return {trait for trait, pattern in _telling_names() if pattern.search(f" {words} ")}


def package_script(shell: "Shell", name: str) -> None:
    """`npm run name`: pre, main and post script from package.json."""
    content = content_of(shell, Word("package.json"))
    makefiles.put_in(shell, Word("package.json"), content)
    if not isinstance(content, Made) or content.text is None:
        if content in (Unknown.UNREADABLE, Unknown.NOT_REGULAR, Unknown.TOO_BIG, Unknown.LATE):
            shell.call.opaque("unreadable")
        return
    try:
        listed = json.loads(content.text).get("scripts", {})
    except (ValueError, AttributeError, RecursionError):
        shell.call.opaque("unparsed")
        return
    for key in ("pre" + name, name, "post" + name):
        text = listed.get(key) if isinstance(listed, dict) else None
        if isinstance(text, str) and ("script:" + key) not in shell.call.reading:
            shell.call.reading.add("script:" + key)
            shell.child().source(text)
            shell.call.reading.discard("script:" + key)
