"""Code that a runner loads by itself: what this session changed and a test, build or task runner would pick up is judged by what it can do.

Judged is what stands in the code for everybody to see: held commands, deletions and writes outside the project, secrets sent away.
What such code leaves open (a program in a variable, a client of some server) is ordinary in an edit-and-test loop and says nothing.
"""

import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, paths
from ony_core.facts.call import Call
from ony_core.facts.place import Unknown
from ony_core.facts.words import EMPTY, HOLE, Word
from ony_core.model import UNLISTED, Fact, at_least
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

MOST_FILES, MOST_LINES, MOST_TEXT, STEPS = 48, 500, 1 << 19, 1500
_FAR = frozenset(
    {"outside", "home", "home_root", "home_top", "system", "root", "above_project", "project_root", "device", "linked_out"}
    | {"agent_settings", "ony_files", "startup"}
)
_AWAY = frozenset({"secret", "drop_host", "metadata", "hands_over_shell"})
_STRING = r"(?:\"((?:[^\"\\\n]|\\.)*)\"|'((?:[^'\\\n]|\\.)*)'|`([^`]*)`)"
_STARTS = re.compile(
    r"\b(?:exec(?:Sync|File|FileSync|_process|a|aSync)?|spawn(?:Sync)?|system|popen2?e?|shell_exec|passthru|proc_open|sh|bash|zx|execute|shell|run"
    r"|Command(?:::new|Context)?|commandLine|executable|ProcessBuilder|Process\.(?:run|start|Start)|cmd|Cmd|capture[23]e?|add_custom_command|COMMAND|\$)"
    rf"\s*\(?\s*\[?\s*(?:ctx\s*,\s*|new\s+String\s*\[\s*\]\s*\{{\s*)?{_STRING}"
)
_NEXT = re.compile(rf"\s*\)?\s*\.?(?:args?\s*\(\s*)?[,(&\s]*(?:new\s+String)?\s*[\[{{(]*\s*{_STRING}")
_DELETES = re.compile(
    r"\b(?:rm|rmSync|rmdir|rmdirSync|unlink|unlinkSync|rimraf(?:\.sync)?|remove|removeSync|emptyDirSync|del|RemoveAll|Remove|remove_dir_all|remove_file"
    r"|rm_rf?|rmtree|remove_dir|deleteDirectory|deleteRecursively|deleteIfExists|deleteDir|Delete|REMOVE_RECURSE|rm_r)"
    rf"\s*\(?\s*(?:Paths?\.get\(|new File\(|Path::new\()?\s*{_STRING}"
)
_BARE = re.compile(r"\bCOMMAND\s+([^\"')][^)\n]*)|^\s*sh\s+['\"](.+)['\"]\s*$|%x[\[({](.+?)[\])}]", re.MULTILINE)
_ENTRY = re.compile(r"^\s*(?:-\s+)?(?:[\"']?[\w.:-]+[\"']?\s*[:=]\s+|[\w.-]+\s*=\s*)?(?:\[\s*)?[\"']?(.*?)[\"']?,?\s*\]?$")
_REACHES_OUT = re.compile(
    r"privileged:\s*true|(?:pid|ipc|network_mode):\s*[\"']?host|docker\.sock|(?:^|[\s\"'\[-])/:/|source:\s*/\s*$", re.MULTILINE
)


def look(shell: "Shell", program: Program) -> None:
    """Adds what the changed files that this runner loads would plainly do."""
    endings = _endings().get(program.name, ())
    mark = "loads:" + ",".join(endings)
    if not endings or mark in shell.call.reading:
        return
    shell.call.reading.add(mark)
    for path, text in itertools.islice(_changed(shell, endings), MOST_FILES):
        for fact in judged(shell, path, text):
            shell.call.take(fact)


def put_in(shell: "Shell", path: str, added: str) -> None:
    """Adds what text plainly does that a change put into code whose whole nobody can tell."""
    if not added.strip():
        return
    from ony_core.facts.shell import Shell

    apart = Call(shell.call.place, STEPS)
    inner = Shell(apart, shell.cwd)
    for line in _lines(added[:MOST_TEXT]):
        _command(inner, line)
    for fact in [*judged(shell, path, added), *(fact for fact in apart.facts if speaks(fact))]:
        shell.call.take(fact)


@cache
def _endings() -> dict[str, tuple[str, ...]]:
    """Each runner's list, by the runner's canonical name."""
    known = tables()
    found: dict[str, tuple[str, ...]] = {}
    for name, ends in known.words["loads"].items():
        program = known.names.get(name, name)
        found[program] = (*found.get(program, ()), *ends)
    return found


def _changed(shell: "Shell", endings: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Files of the project that this session wrote, as far as their text is known: by its calls, or by the disk."""
    seen: set[str] = set()
    for path, made in list(shell.call.made.items()):
        seen.add(path)
        if made.text and path.endswith(endings) and _within(shell, path):
            yield path, made.text[:MOST_TEXT]
    for path in shell.call.place.changed():
        if path not in seen and path.endswith(endings):
            data = shell.call.place.read(path, MOST_TEXT)
            if not isinstance(data, Unknown):
                yield path, data.decode("utf-8", "replace")


def _within(shell: "Shell", path: str) -> bool:
    return bool(paths.traits_of(shell.call, shell.cwd, Word(path)) & {"project", "tmp"}) and "/node_modules/" not in path


def judged(shell: "Shell", path: str, text: str) -> list[Fact]:
    """The facts of a file that speak for themselves."""
    from ony_core.facts.shell import Shell

    apart = Call(shell.call.place, STEPS)
    inner = Shell(apart, shell.cwd)
    if path.endswith((".py", ".ipynb")):
        from ony_core.facts.python import understand

        understand(inner, text)
        if path.endswith(("noxfile.py", "tasks.py", "fabfile.py")):
            _literals(inner, text)
    elif path.endswith("package.json"):
        for line in _scripts(text):
            _command(inner, line)
    elif path.endswith(tuple(tables().words["loads"]["entries"])):
        for line in _lines(text):
            _command(inner, line)
        if _REACHES_OUT.search(text):
            apart.add("command", "docker", ("run",), traits=("host_mount",))
    else:
        _literals(inner, text)
    return [fact for fact in [*apart.facts, *_together(list(apart.facts))] if speaks(fact)]


def _together(facts: list[Fact]) -> list[Fact]:
    """What facts mean only beside each other: a connection and a shell, or and a secret that is none of the project's."""
    if not any(fact.kind == "network" and "localhost" not in fact.traits for fact in facts):
        return []
    shell = any(fact.kind == "grant" for fact in facts)
    secret = any(fact.kind == "file" and "secret" in fact.traits and _FAR.intersection(fact.traits) for fact in facts)
    meant = (["hands_over_shell"] if shell else []) + (["secret"] if secret else [])
    return [Fact("network", verb=("socket",), traits=(trait,)) for trait in meant]


def _lines(text: str) -> list[str]:
    """What may be a command in a file of entries: the recipes of a makefile, the values of YAML, TOML, INI."""
    return [_ENTRY.sub(r"\1", line.lstrip("\t @-+")) for line in text.split("\n")[:MOST_LINES]]


def _scripts(text: str) -> list[str]:
    """What a package manager runs by itself around an installation; a named script is looked through where it is run."""
    names = ("preinstall", "install", "postinstall", "prepare", "prepublish", "preprepare", "postprepare")
    try:
        listed = json.loads(text)["scripts"]
        return [listed[name] for name in names if isinstance(listed.get(name), str)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []


def _literals(shell: "Shell", text: str) -> None:
    """Commands and paths that stand in quotes behind a word that starts programs or deletes, in languages without a parser here."""
    for found in _STARTS.finditer(text):
        words = [_quoted(found)]
        at = found.end()
        while (following := _NEXT.match(text, at)) and len(words) < 24:
            words.append(_quoted(following))
            at = following.end()
        if len(words) < 3 or " " in words[0].strip():
            _command(shell, " ".join(words[:2]))  # `Process.Start("rm", "-rf /x")`
        else:
            commands.run(shell.child(), [Word(word) for word in words], EMPTY)
    for found in _DELETES.finditer(text):
        files.delete_file(shell, Word(_quoted(found)), frozenset({"recursive"}))
    for found in _BARE.finditer(text):
        _command(shell, next(group for group in found.groups() if group))


def _quoted(found: re.Match[str]) -> str:
    text = next(group for group in found.groups() if group is not None)
    return re.sub(r"\$\{[^}]*\}|#\{[^}]*\}", HOLE, text)


def _command(shell: "Shell", text: str) -> None:
    shell.child().source(text.replace(HOLE, "${_}"))


def speaks(fact: Fact) -> bool:
    """Whether a fact is held for something that is plain to see."""
    from ony_core.taxonomy.engine import assess

    if not at_least(assess((fact,)).risk, "high"):
        return False
    traits = set(fact.traits)
    if fact.kind == "file":
        return bool(traits & _FAR) and fact.verb != ("read",)
    if fact.kind == "network":
        return bool(traits & _AWAY)
    if fact.kind == "opaque":
        return "network" in traits
    return fact.kind in ("sql", "command") and fact.program not in (UNLISTED, "project_code", "env") and "inline" not in traits
