"""Understands one simple command: finds its program's table, says what it does to files, and hands on to what has its own grammar.

MUST: a program or verb that no table knows becomes a fact with the word "unlisted"; it is never skipped.
"""

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from ony_core.facts import escapes, leash, paths
from ony_core.facts.argv import Line, read
from ony_core.facts.own import absent, brought, built, evidence, linked, outputs, session_made
from ony_core.facts.place import Unknown
from ony_core.facts.targets import targets_of, taught
from ony_core.facts.words import EMPTY, HOLE, UNKNOWN, Flow, Made, Word
from ony_core.model import UNLISTED, Fact, Target, at_least
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

LONGEST = 1 << 12  # characters of a flag's value that are searched for a command
GATE = "ony"  # the gate's own program
_SILENT = frozenset({":", "true", "false", "test", "[", "sleep", "wait", "shopt", "break", "continue", "return"})  # they print nothing
_VERSION = re.compile(r"-?\d[\d.]*[a-z]?$")


def run(shell: "Shell", argv: list[Word], stdin: Flow) -> Flow:
    """Runs a command: a function of the script, a program with a table, a script, or something unlisted."""
    from ony_core.facts import handlers, loaded, named, powershell, scripts

    while argv and argv[0].text == "" and not argv[0].quoted:
        argv = argv[1:]
    if not argv:
        return EMPTY
    if any("indirection" in word.taints and not word.known and not word.others for word in argv[1:]) and _holds_something(argv[0].text):
        shell.call.opaque("indirection")
    if any(word.others for word in argv):
        return named.each_way(shell, argv, stdin)
    first = argv[0]
    if not shell.call.spend():
        shell.call.opaque("too_deep")
        return UNKNOWN
    if not first.known or first.glob:
        shell.call.note(argv)
        shell.call.opaque("program_unknown")
        return UNKNOWN
    with shell.call.deeper() as fits:
        if not fits:
            shell.call.opaque("too_deep")
            return UNKNOWN
        shell.call.note(argv)
        for word in argv[1:] if first.text != "tee" else []:
            if word.flow is not None and "into_command" in word.taints:
                _into_command(shell, word, Flow(None, stdin.taints))
        if first.text in shell.functions:
            return named.function(shell, argv, stdin)
        if first.text in shell.aliases and not first.quoted:
            return named.alias(shell, argv, stdin)
        named.left(shell, first.text)
        shell.call.place.starts(first.text, shell.cwd)
        program = program_named(paths.absolute(shell.cwd, first.text) if "../" in first.text else first.text)
        leash.look(shell, program, argv)
        if program is not None:
            escapes.look(shell, program, argv, stdin)
        if program is None and powershell.is_cmdlet(first.text):
            powershell.typed(shell, argv)
            return UNKNOWN
        if program is None:
            system = "/" not in first.text or _program_folder().match(first.text.rpartition("/")[0])
            return unlisted(shell, argv) if system else scripts.run_path(shell, argv, stdin)
        if program.name != GATE and "/" in first.text and scripts.replaced(shell, first.text):
            return scripts.run_path(shell, argv, stdin)
        loaded.look(shell, program)
        return handlers.of(program)(shell, program, argv[1:], stdin)


@lru_cache(maxsize=4096)
def _holds_something(text: str) -> bool:
    """Whether words that the call hides from this reader could make its program do something that is held: all but those that print."""
    program = program_named(text)
    rules = tables().rules.get(("command", program.name), ()) if program is not None else ()
    worst = any(program is not None and program.name in rule.program and at_least(rule.risk, "high") for rule in rules)
    if program is None or worst:
        return True
    return program.handler not in ("", "echo", "read", "export") or (program.handler == "" and program.operands not in ("none", "text"))


@lru_cache(maxsize=4096)
def program_named(text: str) -> Program | None:
    """The table for a command word: by name, by name without a version, or by a path in a folder where programs live."""
    known = tables()
    name = text
    if "/" in text:
        folder, _, name = text.rpartition("/")
        if known.names.get(name) == GATE:
            return known.programs[GATE]  # wherever a copy of it stands
        if not _program_folder().match(folder):
            return None
    name = name.removesuffix(".exe")
    found = known.names.get(name) or known.names.get(_VERSION.sub("", name)) or _family(name)
    return known.programs[found] if found else None


def _family(name: str) -> str | None:
    """The family of programs that a name belongs to by its pattern."""
    lists = tables().words.get("program_patterns", {})
    return next((family for family, patterns in lists.items() if any(fnmatchcase(name, p) for p in patterns)), None)


@lru_cache(maxsize=1)
def _program_folder() -> re.Pattern[str]:
    return paths.glob_pattern(tables().words["locations"]["programs"])


def unlisted(shell: "Shell", argv: list[Word]) -> Flow:
    """A program without a table. Asking a program for its version or help is the one use that needs none."""
    asks = len(argv) == 2 and argv[1].text in ("--version", "--help")
    told = taught(shell.call, argv[0].text.rpartition("/")[2], argv[1:])
    kept = told and shell.call.place.context(f"recipe:{argv[0].text}") == "kept"
    traits = {trait for trait, holds in (("help", asks), ("recipe_kept", kept)) if holds}
    if told and any(not word.known for word in argv):
        traits.add("unknown_word")
    shell.call.add("command", UNLISTED, args=len(argv) - 1, targets=told, traits=traits)
    taints = frozenset(t for w in argv for t in w.taints)
    return Flow(None, taints | {"unlisted_output"})


def plain(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """A program that its table describes in full."""
    line, _ = read(program, words)
    flow = finish(shell, line, stdin)
    return EMPTY if program.name in _SILENT else flow


def finish(
    shell: "Shell", line: Line, stdin: Flow, traits: frozenset[str] = frozenset(), role: str = "", seen: tuple[Target, ...] = ()
) -> Flow:
    """Adds the facts of a parsed line: the command itself, then each file it touches. seen: targets that its handler found."""
    program = line.program
    line.traits |= traits
    taints = stdin.taints.union(*(w.taints for w in line.operands), *(v.taints for _, v in line.values))
    targets = targets_of(shell.call, line) + seen
    if UNLISTED in line.verb:
        targets += taught(shell.call, program.name, [*(Word(w) for w in line.verb if w != UNLISTED), *line.operands])
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), targets, line.traits | _carried(taints))
    if "help" in line.traits:
        return Flow(None)
    if program.name in tables().words["names"]["names_only"]:
        role = "none"  # what it prints of a file is not its content
        if any("secret" in paths.traits_of(shell.call, shell.cwd, word) for word in line.operands):
            taints |= {"names_secret"}
    if line.blind is not None and could_be_worse(program.name, line.blind):
        shell.call.opaque("program_unknown")
    taints |= _touch(shell, line, role or program.operands, stdin)
    verb = " ".join(word for word in line.verb if word != UNLISTED)
    outputs(shell, line, program.name, verb)
    built(shell, program.name, verb)
    return Flow(None, taints | frozenset(tables().words["outputs"].get(program.name, ())))


@lru_cache(maxsize=1024)
def could_be_worse(program: str, path: tuple[str, ...]) -> bool:
    """Whether a word that nobody knows yet could turn `program path …` into something that is held.

    Where the words so far are a whole verb by themselves, the next one is most often an operand: only a critical verb counts there.
    """
    from ony_core.taxonomy.engine import assess

    trie = tables().trie(program)
    for step in path:
        trie = trie.get(step, {})
    whole = bool(path) and " ".join(path) in tables().whole(program)
    floor = "critical" if whole and " ".join((program, *path)) not in tables().words["names"]["verb_follows"] else "high"
    words = [word for word in trie if word != UNLISTED and "*" not in word]
    return any(at_least(assess((Fact("command", program, (*path, word)),)).risk, floor) for word in words)


def _carried(taints: frozenset[str]) -> frozenset[str]:
    return taints & {"secret"}


def _touch(shell: "Shell", line: Line, role: str, stdin: Flow) -> frozenset[str]:
    program = line.program
    deep = program.recursive & line.flags or program.name in tables().words["names"]["always_recursive"]
    extra = frozenset({"recursive"}) if deep else frozenset()
    found: frozenset[str] = frozenset()
    found |= flag_values(shell, line, extra, stdin)
    operands = line.operands[0 if line.value("-e", "--regexp", "-f", "--file", "--from-file") else program.skip :]
    if role in ("copy", "move", "link") and line.value("--target-directory", "-t") is None and len(operands) > 1:
        return found | transfer(shell, role, operands[:-1], operands[-1], extra)
    if role in ("copy", "move", "link"):
        into = line.value("--target-directory", "-t")
        return found | transfer(shell, role, operands, into, extra)
    for word in operands:
        found |= use(shell, word, role, extra, stdin)
    return found


def flag_values(shell: "Shell", line: Line, extra: frozenset[str] = frozenset(), stdin: Flow = UNKNOWN) -> frozenset[str]:
    """What the values of flags do: files, commands, program text, things to load."""
    found: frozenset[str] = frozenset()
    for flag, value in line.values:
        role = line.program.roles.get(flag) or ("read" if flag in tables().words["names"]["list_flags"] else "")
        if role in ("code", "load") or ":" in role:
            _runs(shell, line.program, value, role)
        else:
            found |= use(shell, value, role, extra, stdin)
    return found


def _runs(shell: "Shell", program: Program, value: Word, role: str) -> None:
    """code: program text in the program's own language. load: a file of code. run:PATTERN: what the pattern's groups catch is a command."""
    from ony_core.facts.handlers.interpreters import inline

    kind, _, pattern = role.partition(":")
    if kind == "code":
        inline(shell, program.name, value.text if value.known or not value.taints & {"network", "decoded"} else None, value.taints)
    elif kind == "load":
        load(shell, program, value)
    else:
        by_pattern(shell, program, value, kind, pattern)


def by_pattern(shell: "Shell", program: Program, value: Word, kind: str, pattern: str) -> None:
    """run:PATTERN and hold:PATTERN: a value that matches is a command (what the groups catch), or enough to hold the call."""
    if len(value.text) > LONGEST:  # a pattern may look to the end from every place it could begin
        shell.call.add("command", program.name, traits=("loads_code",))
        return
    found = re.search(pattern, value.text)
    texts = [text for text in found.groups() if text] if found and kind == "run" else []
    for text in texts:
        shell.child().source(text.replace("\\ ", " ").replace(HOLE, "${_}"))
    if (found and not texts) or (not found and value.text.startswith(HOLE)):
        shell.call.add("command", program.name, traits=("loads_code",))


def load(shell: "Shell", program: Program, word: Word) -> None:
    """A plugin, library, configuration or script that a program takes into itself; a bare name is one that is installed."""
    from ony_core.facts import scripts

    content = known_content(shell, word)
    if content is not None and content.text is not None and scripts.readable(word.text, content.text):
        scripts.run_file(shell, word, [], "")
    elif not word.known or content is not None or not re.fullmatch(r"[A-Za-z][\w-]*", word.text):
        shell.call.add("command", program.name, traits=("loads_code",))


def use(shell: "Shell", word: Word, role: str, extra: frozenset[str], stdin: Flow = UNKNOWN) -> frozenset[str]:
    """What a program does with one operand; the answer is what its content brings along."""
    if role == "read":
        return read_file(shell, word, extra)
    if role == "write":
        return write_file(shell, word, Flow(None, stdin.taints), extra)
    if role == "create":
        return write_file(shell, word, UNKNOWN, extra)
    if role == "modify":
        read_file(shell, word, extra)
        return write_file(shell, word, UNKNOWN, extra | {"modify"})
    if role == "delete":
        delete_file(shell, word, extra)
    elif role == "folder":
        make_folder(shell, word)
    elif role == "run":
        shell.child().source(word.text.replace(HOLE, "${_}"))
    elif role == "script":
        from ony_core.facts import scripts

        scripts.run_file(shell, word, [], "shell")
    return word.taints


# ---- files


def read_file(shell: "Shell", word: Word, extra: frozenset[str] = frozenset()) -> frozenset[str]:
    """Reading leaves a fact only where the path is one that matters."""
    if word.flow is not None or word.text == "-":
        return word.taints
    found = paths.traits_of(shell.call, shell.cwd, word)
    if word.text[:1] == "@":  # `gcc @file`, `7z a x @file`: what stands in the file are more words, and errors print them
        found |= paths.traits_of(shell.call, shell.cwd, word.part(word.text[1:])) & {"secret"}
    made = made_at(shell, word)
    carried = made.taints if made else frozenset()
    if not word.known and "names_secret" in word.taints:
        found |= {"secret"}  # `find . -name .env | xargs cat`
    if ("recursive" in extra and found & {"secret_folder"}) or "secret" in found:
        if not (made and made.text is not None):
            shell.call.add("file", verb=("read",), traits=(found | extra | {"secret"}) & _file_words())
        carried |= {"secret"}
    elif found & {"device", "ony_files"}:
        shell.call.add("file", verb=("read",), traits=(found | extra) & _file_words())
    return word.taints | carried


def write_file(shell: "Shell", word: Word, flow: Flow, extra: frozenset[str] = frozenset()) -> frozenset[str]:
    if word.flow is not None and word.flow.text is not None and "into_command" in word.taints:
        _into_command(shell, word, flow)
        return frozenset()
    found = paths.traits_of(shell.call, shell.cwd, word)
    if "sink" in found or word.text in ("-", ""):
        return frozenset()
    if session_made(shell, word):
        found |= {"made_by_session"}
    if "modify" not in extra and flow.text == "":
        extra |= {"empties"}
    if flow.text is not None and starts_on_opening(word.text, flow.text):
        found |= {"startup"}
    verb = "append" if "append" in extra else "write"
    shell.call.add("file", verb=(verb,), traits=(found | extra | _carried(flow.taints)) & _file_words())
    if word.known:
        _remember(shell, word, flow, extra)
    return frozenset()


def starts_on_opening(path: str, text: str) -> bool:
    """Whether an editor that opens the folder would start what this file says, outside of any container."""
    patterns = [p for end, listed in tables().words["on_opening"].items() if path.endswith(end) for p in listed]
    return any(re.search(pattern, text) for pattern in patterns)


def _remember(shell: "Shell", word: Word, flow: Flow, extra: frozenset[str]) -> None:
    path = paths.absolute(shell.cwd, word.text)
    before = shell.call.made.get(path)
    if "append" in extra and before is not None:
        made = Flow(before.text, before.taints).then(flow)
        shell.call.made[path] = Made(made.text, made.taints)
    elif "append" in extra or "modify" in extra:
        own = before is not None and not before.gone
        added = "\n".join(text for text in (before.added if before is not None else "", flow.text) if text and "modify" in extra)
        taints = (before.taints if before is not None and own else frozenset({"changed"})) | flow.taints
        shell.call.made[path] = Made(None, taints, added=added[-LIMIT:])
    else:
        fresh = absent(shell, path) or (before is not None and "changed" not in before.taints)
        shell.call.made[path] = Made(flow.text, flow.taints | (set() if fresh and "placed" not in extra else {"changed"}))


def edited(shell: "Shell", word: Word, before: Made, text: str | None) -> None:
    """A file after a change whose outcome is known."""
    path = paths.absolute(shell.cwd, word.text)
    now = shell.call.made.get(path)
    if text is not None and now is not None:
        shell.call.made[path] = Made(text, now.taints, added=before.added)
        if starts_on_opening(word.text, text):
            shell.call.add("file", verb=("write",), traits={"startup", "modify"})


def delete_file(shell: "Shell", word: Word, extra: frozenset[str] = frozenset()) -> None:
    found = paths.traits_of(shell.call, shell.cwd, word, itself=word.text.endswith("/")) | extra
    if "sink" in found:
        found |= {"device"}
    if word.glob and "recursive" not in found:
        found |= {"many"}
    found |= evidence(shell, word)
    _count_deletion(shell, found & _file_words())
    if word.known:
        shell.call.made[paths.absolute(shell.cwd, word.text)] = Made(gone=True)


def _count_deletion(shell: "Shell", found: frozenset[str]) -> None:
    """One fact for all files of a kind, with their number: that is what a person wants to hear."""
    traits = tuple(sorted(shell.call.also | found))
    before = next((f for f in shell.call.facts if f.kind == "file" and f.verb == ("delete",) and f.traits == traits), None)
    counted = not found & {"recursive", "many", "unknown_path"}
    if before is not None:
        del shell.call.facts[before]
    shell.call.add("file", verb=("delete",), args=(before.args if before else 0) + counted, traits=found)


def make_folder(shell: "Shell", word: Word) -> None:
    found = paths.traits_of(shell.call, shell.cwd, word)
    path = paths.absolute(shell.cwd, word.text)
    if found & {"system", "ony_files"}:
        shell.call.add("file", verb=("write",), traits=found & _file_words())
    root = paths.absolute("/", shell.call.place.cwd or paths.NOWHERE)
    while word.known and path not in shell.call.made and path != root and len(path) > 1 and absent(shell, path):
        shell.call.made[path] = Made(folder=True)
        path = path.rpartition("/")[0]
        if not path.startswith(root + "/"):
            break


def transfer(shell: "Shell", role: str, sources: list[Word], into: Word | None, extra: frozenset[str]) -> frozenset[str]:
    """cp, mv, ln: the sources are read (or taken away), the destination is written."""
    taints: frozenset[str] = frozenset()
    content = UNKNOWN
    older = role == "move" and not all(session_made(shell, source) for source in sources)
    if role == "move" and into is not None and "sink" in paths.traits_of(shell.call, shell.cwd, into):
        for source in sources:
            delete_file(shell, source, frozenset({"recursive"}))
        return taints
    for source in sources:
        found = paths.traits_of(shell.call, shell.cwd, source)
        made = known_content(shell, source)
        taints |= read_file(shell, source, extra | {"recursive"})
        content = Flow(made.text if made and len(sources) == 1 else None, taints | (made.taints if made else frozenset()))
        if role == "move" and (found & {"agent_settings", "ony_files"} or not session_made(shell, source)):
            shell.call.add("file", verb=("move",), traits=(found | extra) & _file_words())
    if into is not None:
        sample = {"template"} if role == "copy" and _sample(shell, sources, into) else set()
        write_file(shell, into, content, extra - {"recursive"} | ({"is_link"} if role == "link" else set()) | sample | _placed(into))
        _inherit(shell, sources, into)
        if older:
            brought(shell, into, sources)
    if role == "link":
        linked(shell, sources, into)
    return taints


def _sample(shell: "Shell", sources: list[Word], into: Word) -> bool:
    """`cp .env.example .env`: a first copy of what is nobody's secret, where nothing is known to be overwritten."""
    sampled = all(re.search(r"[._-](?:example|sample|template|dist|defaults?)(?:\.\w+)?$", source.text) for source in sources)
    return (
        bool(sources)
        and sampled
        and into.known
        and not isinstance(shell.call.place.read(paths.absolute(shell.cwd, into.text), LIMIT), bytes)
    )


LIMIT = 1 << 20


def _placed(into: Word) -> frozenset[str]:
    """A destination without an ending may be a folder that was there before: nothing below it becomes the session's own."""
    return frozenset() if "." in into.text.strip("./").rpartition("/")[2] else frozenset({"placed"})


def _inherit(shell: "Shell", sources: list[Word], into: Word) -> None:
    """A copy into a folder lands under the source's own name."""
    if not into.known or len(sources) != 1 or not sources[0].known:
        return
    here = paths.absolute(shell.cwd, into.text)
    name = sources[0].text.rstrip("/").rpartition("/")[2]
    made = shell.call.made.get(here)
    if made and name:
        shell.call.made.setdefault(here + "/" + name, made)


def made_at(shell: "Shell", word: Word) -> Made | None:
    """What this call wrote there earlier, itself or (for a folder) anything below it."""
    if not word.known:
        return None
    path = paths.absolute(shell.cwd, word.text)
    found = shell.call.made.get(path)
    if found is not None and not found.folder:
        return found
    below = [m for p, m in shell.call.made.items() if p.startswith(path.rstrip("/") + "/") and m.taints]
    return Made(None, frozenset().union(*(m.taints for m in below)), folder=True) if below else found


@lru_cache(maxsize=1)
def _file_words() -> frozenset[str]:
    return frozenset(tables().traits) - {"secret_folder"}


# ---- redirects and the environment


def redirect(shell: "Shell", word: Word, flow: Flow, append: bool) -> None:
    """`> word`: the command's output becomes a file, a socket, or another command's input."""
    for text in word.others:
        redirect(shell, replace(word, text=text, others=()), flow, append)
    if word.others:
        return
    if word.text.startswith(("/dev/tcp/", "/dev/udp/")):
        shell.call.add("network", verb=("socket",), traits=_carried(flow.taints) | {"sends"})
        return
    write_file(shell, word, flow, frozenset({"append"}) if append else frozenset())


def input_from(shell: "Shell", word: Word) -> Flow:
    """`< word`"""
    from ony_core.facts import scripts

    if word.flow is not None:
        return word.flow
    if word.text.startswith(("/dev/tcp/", "/dev/udp/")):
        shell.call.add("network", verb=("socket",), traits=())
        return Flow(None, frozenset({"network"}))
    taints = read_file(shell, word)
    content = known_content(shell, word)
    if content is None and word.known and scripts.content_of(shell, word) in (Unknown.MISSING, Unknown.NO_FOLDER):
        taints |= {"absent"} | scripts.name_traits(word.text)  # the shell starts nothing when it cannot open the file
    return Flow(content.text if content else None, taints)


def known_content(shell: "Shell", word: Word) -> Made | None:
    """What a file holds, as this call wrote it or as the place has it; None if nobody knows."""
    from ony_core.facts import scripts

    if not word.known or word.glob:
        return None
    made = made_at(shell, word)
    content = scripts.content_of(shell, word) if made is None else made
    return content if isinstance(content, Made) else None


def _into_command(shell: "Shell", word: Word, flow: Flow) -> None:
    """`> >(command)`: what is written becomes the command's standard input."""
    assert word.flow is not None and word.flow.text is not None
    inner, node = shell.call.consumers[int(word.flow.text)]
    for child in node.named_children:
        inner.statement(child, flow)


def line_of(program: Program, words: list[Word]) -> Line:
    return read(program, words)[0]
