"""Programs that work on files in their own grammar: find, fd, sed, awk, dd, tar, rsync's local use, truncate."""

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, own, paths, shown
from ony_core.facts.argv import read
from ony_core.facts.place import Unknown
from ony_core.facts.sed import effects
from ony_core.facts.words import EMPTY, HOLE, UNKNOWN, Flow, Word
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_RUNS = ("-exec", "-execdir", "-ok", "-okdir")
_FILTERS = frozenset(
    [
        "-name",
        "-iname",
        "-path",
        "-ipath",
        "-regex",
        "-iregex",
        "-mtime",
        "-mmin",
        "-atime",
        "-ctime",
        "-newer",
        "-size",
        "-empty",
        "-user",
        "-perm",
        "-inum",
        "-lname",
    ]
)
_FD_RUNS = ("-x", "--exec", "-X", "--exec-batch")
_FD_FILTERS = frozenset(["-S", "--size", "--changed-within", "--changed-before", "-o", "--owner"])
_FD_FOUND = re.compile(r"\{/?/?\.?\}")
_IN_PLACE = re.compile(r"-[nErsuzb]*i|--in")
# a substitution whose outcome is known: no pattern but the dot, no group, nothing taken from the match or from the run
_PLAIN = re.compile(r"s([/|#,@])((?:(?!\1)[\w \-./:=\"'<>])+)\1((?:(?!\1)[^\\&\0])*)\1(g?)")
_ALL_LINES = re.compile(r"\s*(?:[01],\$|\d~1|/\^?(?:\.\*)?\$?/)?\s*d[\s;]*")  # a script that keeps no line
# a string, or a regular expression: a slash where no value stands before it
_AWK_LITERAL = re.compile(
    r'"(?P<text>(?:\\.|[^"\\\n])*)"'
    r"|(?P<before>(?:^|[~(,;{}!&|?:=]|(?<!\\)\n)\s*)/(?:\\.|\[\^?\]?(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/"
)
_AWK_STARTS = re.compile(r"\bsystem\b|(?<!\|)\|(?!\|)|@")
_AWK_TOLD = re.compile(r'system\s*\(\s*"(\d+)"\s*\)|(?:^|[{;(\n])\s*"(\d+)"\s*\|&?\s*getline\b|\|&?\s*"(\d+)"\s*(?=[;}\n)]|$)')
_AWK_WRITE = re.compile(r">>?\s*\"([^\"]+)\"")


def find(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """find: starting points, then an expression that may delete, write or run."""
    start = next((i for i, w in enumerate(words) if w.text[:1] in ("-", "(", "!") and w.text not in ("-H", "-L", "-P")), len(words))
    folders = [w for w in words[:start] if w.text not in ("-H", "-L", "-P")] or [Word(".")]
    shell.call.add("command", program.name, args=len(folders))
    valued = program.values
    named = next((b.text for a, b in pairwise(words) if a.text in ("-name", "-iname")), "")
    at = start
    while at < len(words):
        text = words[at].text
        if text in _RUNS:
            at = _find_runs(shell, words, at + 1, _below(shell, folders, named, _filtered(words)))
            continue
        if text == "-delete":
            for folder in _below(shell, folders, named, _filtered(words)):
                whole = frozenset() if _filtered(words) else frozenset({"recursive"})
                whole |= {"empty_ones"} if _only_empty(words) else frozenset()
                files.delete_file(shell, folder if _is_named(folder) else Word(folder.text.rstrip("/") + "/*", True), whole)
        elif text in ("-fprint", "-fprint0", "-fls", "-fprintf") and at + 1 < len(words):
            files.write_file(shell, words[at + 1], UNKNOWN)
        elif text == "-files0-from" and at + 1 < len(words):
            files.read_file(shell, words[at + 1])  # names in it that are none are printed
        at += 3 if text == "-fprintf" else 2 if text in valued else 1
    asked = [b.text for a, b in pairwise(words) if a.text in ("-name", "-iname", "-path", "-wholename")]
    return _found(shell, folders, asked)


def _only_empty(words: list[Word]) -> bool:
    """Whether nothing but empty folders can go: `-type d … -delete` takes no others, if nothing turns it round or stands beside it."""
    texts = [word.text for word in words]
    return ("-type", "d") in pairwise(texts) and not {"!", "-not", "-o", "-or", ",", "(", "-delete"} & set(texts[:-1])


def _find_runs(shell: "Shell", words: list[Word], at: int, folders: list[Word]) -> int:
    end = next(
        (i for i in range(at, len(words)) if words[i].text == ";" or (words[i].text == "+" and words[i - 1].text == "{}")), len(words)
    )
    for folder in folders:
        inner = [_found_word(w, folder) if "{}" in w.text else w for w in words[at:end]]
        if inner:
            commands.run(shell.child(), inner, EMPTY)
    return end + 1


def _found_word(word: Word, folder: Word) -> Word:
    """What `{}` stands for: something below the starting point."""
    return Word(
        word.text.replace("{}", folder.text.rstrip("/") + ("" if _is_named(folder) else "/*")),
        True,
        word.quoted,
        word.taints | folder.taints,
    )


def _below(shell: "Shell", folders: list[Word], named: str, filtered: bool) -> list[Word]:
    """A search that asks for names or ages finds some things in the project's own folder, not the folder itself."""
    narrowed = []
    for folder in folders:
        inside = filtered and "project_root" in paths.traits_of(shell.call, shell.cwd, folder)
        text = folder.text.rstrip("/") + ("/found" if inside else "") + (f"/{named}" if named else "")
        narrowed.append(Word(text, bool(named), folder.quoted, folder.taints | ({"named"} if named else set())))
    return narrowed


def _is_named(folder: Word) -> bool:
    """Whether the word already names what is found, not the folder that is searched."""
    return folder.taints >= {"named"}


def _filtered(words: list[Word]) -> bool:
    return any(w.text in _FILTERS for w in words)


def _found(shell: "Shell", folders: list[Word], asked: list[str]) -> Flow:
    """The names that find prints: below its starting points. Names of secrets are marked: whoever reads what they name reads a secret."""
    if any("secret" in paths.traits_of(shell.call, shell.cwd, Word(name, glob=True)) for name in asked if name[:2] != "*/"):
        return Flow(None, frozenset({"names_secret"}))
    return Flow(None, frozenset().union(*(folder.taints for folder in folders)))


def sed(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, _ = read(program, words)
    in_place = any(_IN_PLACE.match(w.text) for w in words)
    operands = line.operands
    if in_place and operands and operands[0].text == "":
        operands = operands[1:]  # `sed -i '' …`, as macOS wants it
    scripts, sources = line.all("-e", "--expression"), line.all("-f", "--file")
    if not scripts and not sources:
        scripts, operands = operands[:1], operands[1:]
    if in_place:
        _backups(shell, words, operands)
    does = [effects(text) for text in [script.text for script in scripts] + _sed_files(shell, program, sources)]
    unread = any(script.text.strip() == HOLE for script in scripts)
    shell.call.add("command", program.name, args=len(operands), traits={"runs_code"} if unread or any(d.runs for d in does) else set())
    for target in (name for d in does for name in d.writes):
        files.write_file(shell, Word(target), UNKNOWN)
    plain = not sources and not line.flags & {"-n", "--quiet", "--silent", "-z", "--null-data"}
    taints = stdin.taints
    for word in operands:
        before = files.known_content(shell, word) if in_place and plain else None
        taints |= files.read_file(shell, word)
        if in_place:
            emptied = any(_ALL_LINES.fullmatch(script.text) for script in scripts)
            added = EMPTY if emptied else Flow("\n".join(text for d in does for text in d.adds))
            files.write_file(shell, word, added, frozenset() if emptied else frozenset({"modify"}))
        if before is not None and before.text is not None:
            files.edited(shell, word, before, substituted(scripts, before.text))
    return Flow(None, taints)


def _sed_files(shell: "Shell", program: Program, sources: list[Word]) -> list[str]:
    """The scripts of `-f`; one that nobody can read is code that is loaded."""
    from ony_core.facts import scripts

    found = [files.known_content(shell, word) for word in sources]
    texts = [made.text for made in found if made is not None and made.text is not None]
    if len(texts) < len(sources):
        absent = all(scripts.content_of(shell, word) in (Unknown.MISSING, Unknown.NO_FOLDER) for word in sources if word.known)
        here = absent and all(word.known for word in sources)  # sed starts nothing when it cannot open the file
        shell.call.add("command", "project_code") if here else shell.call.add("command", program.name, traits=("loads_code",))
    return texts


def _backups(shell: "Shell", words: list[Word], operands: list[Word]) -> None:
    """`sed -i.bak`: the copy beside each file is the session's own, if nothing stood there."""
    given = (re.match(r"(?:-[nErsuz]*i|--in-place=)(.+)", w.text) for w in words)
    ending = next((m[1] for m in given if m), "")
    for word in operands if ending else []:
        own.made_if_absent(shell, word.part(word.text + ending))


def substituted(scripts: list[Word], text: str) -> str | None:
    """The text after plain substitutions; None where a script does more than that. A dot stands for any character, as sed reads it."""
    for script in scripts:
        found = _PLAIN.fullmatch(script.text)
        if found is None:
            return None
        pattern, times = re.compile(re.escape(found[2]).replace(r"\.", ".")), 0 if found[4] else 1
        text = "\n".join(pattern.sub(found[3], line, times) for line in text.split("\n"))
    return text


def awk(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, _ = read(program, words)
    sources, code = line.all("-f", "--file", "-E", "--exec"), line.all("-e", "--source")
    operands = line.operands
    if not sources and not code:
        code, operands = operands[:1], operands[1:]
    traits: set[str] = set()
    shows: set[str] = set()
    for script in code:
        shows |= shown.in_text(script.text)
        _awk_runs(shell, script.text, traits)
        for found in _AWK_WRITE.finditer(script.text):
            files.write_file(shell, Word(found[1]), UNKNOWN)
        if script.text.strip() == HOLE:
            traits.add("runs_code")
    shell.call.add("command", program.name, args=len(operands), traits=traits)
    from ony_core.facts import scripts as look

    included = line.all("-i", "--include")
    in_place = any(word.text == "inplace" for word in included)
    for word in sources + [word for word in included if word.text != "inplace"]:
        look.run_file(shell, word, [], "awk")
    taints = stdin.taints
    for word in operands:
        if not re.match(r"[A-Za-z_]\w*=", word.text):
            taints |= commands.use(shell, word, "modify" if in_place else "read", frozenset())
    return Flow(None, taints | shows)


def _awk_runs(shell: "Shell", code: str, traits: set[str]) -> None:
    """Commands whose text stands in the program are followed; a program that starts others, more than those, starts unknown ones."""
    strings: list[str] = []

    def token(found: re.Match[str]) -> str:
        if found["text"] is None:
            return found["before"] + " r "
        strings.append(found["text"])
        return f'"{len(strings) - 1}"'

    def kept(found: re.Match[str]) -> str:
        return found["before"] if found["text"] is None else found[0]

    bare = _AWK_LITERAL.sub(token, code)
    texts = [strings[int(a or b or c)] for a, b, c in _AWK_TOLD.findall(bare)]
    odd = re.search(r'/[^/\n]*"', bare)  # a division, or a regular expression with a quote in it: then what seems a string may be code
    starts = _AWK_STARTS.findall(_AWK_LITERAL.sub(kept, code) if odd else bare)
    if len(starts) > len(texts):
        traits.add("runs_code")
    for text in texts:
        shell.child().source(text)


def dd(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    shell.call.add("command", program.name, args=len(words), traits={"help"} if any(w.text in program.help for w in words) else ())
    taints = stdin.taints
    pairs = [(w.text.partition("=")[0], w.part(w.text.partition("=")[2])) for w in words]
    nothing = any(value.text == "/dev/null" for _, value in pairs)  # what it writes is emptied
    for name, value in pairs:
        if name == "if":
            taints |= files.read_file(shell, value)
    for name, value in pairs:
        if name == "of":
            files.write_file(shell, value, Flow("" if nothing else None, taints))
    return Flow(None, taints)


_TAR_RUNS = ("--to-command", "-I", "--use-compress-program", "-F", "--info-script", "--rsh-command")


def archive(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """tar: creating reads, extracting writes below the folder; some options run programs."""
    if words and words[0].text[:1] != "-":
        words = [words[0].part("-" + words[0].text), *words[1:]]
    line, _ = read(program, words)
    for value in line.all(*_TAR_RUNS):  # also behind others of one dash, `-cI x`, which the table of escapes does not take apart
        shell.child().source(value.text.replace(HOLE, "${_}"))
    commands.flag_values(shell, line)
    folders = line.all("-C", "--directory") or [Word(".")]
    file = line.value("-f", "--file")
    made = files.made_at(shell, file) if file else None
    taints = stdin.taints | (made.taints if made else frozenset())
    creates = bool(line.flags & {"-c", "--create", "-r", "--append", "-u", "--update", "-A"})
    prints = bool(line.flags & {"-O", "--to-stdout"})
    if not prints and line.flags & {"-x", "--extract"}:
        files.write_file(shell, folders[-1], Flow(None, taints), frozenset({"recursive", "placed"}))
    for word in line.operands if creates or prints else []:
        for whole in (_within(folder, word) for folder in folders):
            taints |= files.read_file(shell, whole, frozenset({"recursive"}))
            if creates and "--remove-files" in line.flags:
                files.delete_file(shell, whole, frozenset({"recursive"}))
    shell.call.add("command", program.name, (), line.flags, len(line.operands), traits=line.traits)
    if creates and file is not None and remote(file):
        shell.call.add("network", program.name, ("sends",), traits={"from_file"} | (taints & {"secret"}))
    elif creates and file is not None:
        files.write_file(shell, file, Flow(None, taints))
    return Flow(None, taints)


def _within(folder: Word, word: Word) -> Word:
    return word if word.text[:1] in ("/", "~", HOLE) else word.part(folder.text.rstrip("/") + "/" + word.text)


def truncate(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, _ = read(program, words)
    shell.call.add("command", program.name, (), line.flags, len(line.operands), traits=line.traits)
    size = line.value("-s", "--size")
    keeps = size is not None and re.match(r"[+>]?0*[1-9]", size.text)
    for word in line.operands:
        files.write_file(shell, word, UNKNOWN if keeps else EMPTY)
    return EMPTY


def fd(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """fd: a pattern, then folders; -x and -X run a command on what is found."""
    at = next((i for i, w in enumerate(words) if w.text in _FD_RUNS), len(words))
    line, _ = read(program, words[:at])
    shell.call.add("command", program.name, args=len(words))
    folders = [*line.all("--base-directory", "--search-path"), *line.operands[1:]] or [Word(".")]
    pattern = line.operands[0].text if line.operands else ""
    ending = line.value("-e", "--extension")
    named = re.sub(r"[\\^$]", "", pattern)  # a name, where the pattern is as plain as one
    if not re.fullmatch(r"[.*-]*\w[\w.*-]*", named):
        named = f"*.{ending.text}" if ending is not None else ""
    filtered = pattern not in ("", ".") or bool(line.flags & _FD_FILTERS)
    while at < len(words):
        end = next((i for i in range(at, len(words)) if words[i].text == ";"), len(words))
        inner = [w.part(_FD_FOUND.sub("{}", w.text)) for w in words[at + 1 : end]]
        inner += [] if any("{}" in w.text for w in inner) else [Word("{}")]
        _find_runs(shell, inner, 0, _below(shell, folders, named, filtered))
        at = next((i for i in range(end, len(words)) if words[i].text in _FD_RUNS), len(words))
    return _found(shell, folders, [named] if named else [])


def sync(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """rsync, scp, rclone copy: a `host:` operand leaves or enters this machine."""
    line, _ = read(program, words)
    for value in line.all("-e", "--rsh", "-S", "--rsync-path"):
        if not value.text.startswith("ssh") or "ProxyCommand" in value.text:
            shell.child().source(value.text.replace(HOLE, "${_}"))
    for option in line.all("-o"):
        _ssh_option(shell, option)
    commands.flag_values(shell, line)
    traits: set[str] = set(line.traits)
    taints: frozenset[str] = frozenset()
    if not line.operands[1:]:
        traits |= _batch(shell, stdin.text or "")
    dry = bool(line.flags & {"-n", "--dry-run", "--list-only"})
    *sources, into = line.operands or [Word("")]
    for source in sources:
        if remote(source):
            taints |= files.read_file(shell, source.part(behind_host(source.text))) | {"network"}
        else:
            taints |= files.read_file(shell, source, frozenset({"recursive"}))
    if (remote(into) or (into.text.startswith(HOLE) and program.name == "rsync")) and sources:  # `"$DEST"` may name another machine
        traits |= (set() if dry else {"sends"}) | (taints & {"secret"})
    elif sources and not dry:
        if line.flags & set(tables().words["names"]["mirror_flags"]):
            files.delete_file(shell, into, frozenset({"recursive"}))
        files.write_file(shell, into, Flow(None, taints), frozenset({"modify"}))
    if "--remove-source-files" in line.flags and not dry:
        for source in sources:
            files.delete_file(shell, source, frozenset({"recursive"}))
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), traits=traits)
    return EMPTY


def _batch(shell: "Shell", text: str) -> set[str]:
    """sftp: lines such as `put FILE`."""
    sent = [line.split()[1:2] for line in text.split("\n") if line.split()[:1] in (["put"], ["mput"], ["reput"])]
    taints: frozenset[str] = frozenset().union(*(files.read_file(shell, Word(name)) for names in sent for name in names))
    return ({"sends"} if sent else set()) | (taints & {"secret"})


def _ssh_option(shell: "Shell", option: Word) -> None:
    name, _, value = re.sub(r"^\s*(\w+)\s*[=\s]\s*", r"\1=", option.text).partition("=")
    if name.lower() in ("proxycommand", "localcommand", "knownhostscommand") and value.lower() != "none":
        shell.child().source(value.replace(HOLE, "${_}"))


def remote(word: Word) -> bool:
    """`host:path`, `[::1]:path`, `rsync://…`: a colon before any slash (rsync(1), scp(1)); a drive of Windows is none."""
    return bool(re.match(r"[^/]+:(?!\\)", word.text))


_EDITOR_RUNS = re.compile(
    r"(?<![A-Za-z])!|system\s*\(|\b(?:delete|rename|writefile|execute|feedkeys)\s*\(|\bterm|\b(?:lua|py3?|python3?|perl|ruby|tcl|source|so)\b|shell|process|delete-|url-|call-|load|eval\s*\("
)


def behind_host(text: str) -> str:
    """The path of `s3://bucket/path` or `pod:/path`, to be judged by its name."""
    return re.sub(r"^(?:\w+://[^/]*/?|[^/]*:)", "", text) or "."


# all lines are deleted: `%d`, `,d`, `1,$d` as a command of its own, `ggdG` typed in
_EMPTIES = re.compile(r"(?:^|[\n|+:])\s*(?:silent!?\s+)?(?:%|[01]?,\$?)\s*d(?:e(?:l(?:ete)?)?)?(?:\s+_)?\s*(?:$|[\n|])|ggd?[dV]G")


def editor(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """vim, emacs, ed: files are edited; commands given beside them may start programs."""
    silent = program.name in ("ed", "ex")  # what `-s` says there; to vim it names a script
    line, _ = read(program, [w for w in words if w.text[:1] != "+" and not (silent and w.text == "-s")])
    given = [v.text for f, v in line.values if f not in ("-u", "-T", "-i", "-w", "-W")] + [w.text for w in words if w.text[:1] == "+"]
    given += [stdin.text] if stdin.text else []
    traits = {"runs_code"} if any(_EDITOR_RUNS.search(text) or HOLE in text for text in given) else set()
    if stdin.text is None and program.name in ("ed", "ex"):
        traits.add("runs_code")
    for word in line.operands if any(_EMPTIES.search(text) for text in given) else []:
        files.write_file(shell, word, EMPTY)
    return commands.finish(shell, line, Flow(None, stdin.taints), frozenset(traits))


def compress(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """gzip -k, xz -k …: `a` becomes `a.gz` beside it. Without -k the packed file is the only one left, so it is not called new."""
    line, _ = read(program, words)
    flow = commands.finish(shell, line, stdin)
    if line.flags & {"-k", "--keep"} and "help" not in line.traits:
        for word in line.operands:
            for ending in tables().words["makes"]["packed"]:
                own.made_if_absent(shell, word.part(word.text + ending))
    return flow


HANDLERS = {
    "compress": compress,
    "editor": editor,
    "find": find,
    "sed": sed,
    "awk": awk,
    "dd": dd,
    "archive": archive,
    "truncate": truncate,
    "fd": fd,
    "sync": sync,
}
