"""Programs that work on files in their own grammar: find, fd, sed, awk, dd, tar, rsync's local use, truncate."""

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, own, paths, shown
from ony_core.facts.argv import read
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
_AWK_RUN = re.compile(r"system\s*\(|\|\s*getline|\|\s*&?\s*[\"']?|/inet/")
_AWK_WRITE = re.compile(r">>?\s*\"([^\"]+)\"")


def find(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """find: starting points, then an expression that may delete, write or run."""
    start = next((i for i, w in enumerate(words) if w.text[:1] in ("-", "(", "!") and w.text not in ("-H", "-L", "-P")), len(words))
    folders = [w for w in words[:start] if w.text not in ("-H", "-L", "-P")] or [Word(".")]
    shell.call.add("command", program.name, args=len(folders))
    valued = program.values
    at = start
    while at < len(words):
        text = words[at].text
        if text in _RUNS:
            at = _find_runs(shell, words, at + 1, _below(shell, folders, words))
            continue
        if text == "-delete":
            for folder in _below(shell, folders, words):
                whole = frozenset({"many"}) if _filtered(words) else frozenset({"many", "recursive"})
                whole |= {"empty_ones"} if _only_empty(words) else frozenset()
                files.delete_file(shell, folder if _is_named(folder) else Word(folder.text.rstrip("/") + "/*", True), whole)
        elif text in ("-fprint", "-fprint0", "-fls", "-fprintf") and at + 1 < len(words):
            files.write_file(shell, words[at + 1], UNKNOWN)
        at += 3 if text == "-fprintf" else 2 if text in valued else 1
    return _found(shell, folders, words)


def _only_empty(words: list[Word]) -> bool:
    """Whether nothing but empty folders is found: `-type d -empty`, with nothing that turns it round or stands beside it."""
    texts = [word.text for word in words]
    return (
        "-empty" in texts
        and ("-type", "d") in pairwise(texts)
        and texts[-1] == "-delete"
        and not {"!", "-not", "-o", "-or", ",", "(", "-delete"} & set(texts[:-1])
    )


def _find_runs(shell: "Shell", words: list[Word], at: int, folders: list[Word]) -> int:
    end = next(
        (i for i in range(at, len(words)) if words[i].text == ";" or (words[i].text == "+" and words[i - 1].text == "{}")), len(words)
    )
    for folder in folders[:8]:
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


def _below(shell: "Shell", folders: list[Word], words: list[Word]) -> list[Word]:
    """A search that asks for names or ages finds some things in the project's own folder, not the folder itself."""
    named = next((words[i + 1].text for i, w in enumerate(words[:-1]) if w.text in ("-name", "-iname")), "")
    narrowed = []
    for folder in folders:
        inside = _filtered(words) and "project_root" in paths.traits_of(shell.call, shell.cwd, folder)
        text = folder.text.rstrip("/") + ("/found" if inside else "")
        text += "/" + named.replace("*", "x") if named and (named.startswith((".", "*.")) or "*" not in named) else ""
        told = {"named"} if text.rpartition("/")[2] == named.replace("*", "x") and named else set()
        narrowed.append(Word(text or "/", folder.glob, folder.quoted, folder.taints | told))
    return narrowed


def _is_named(folder: Word) -> bool:
    """Whether the word already names what is found, not the folder that is searched."""
    return folder.taints >= {"named"}


def _filtered(words: list[Word]) -> bool:
    return any(w.text in _FILTERS for w in words)


def _found(shell: "Shell", folders: list[Word], words: list[Word]) -> Flow:
    """The names that find prints: below its starting points. Names of secrets are marked: whoever reads what they name reads a secret."""
    asked = [b for a, b in pairwise(words) if a.text in ("-name", "-iname", "-path", "-wholename")]
    if any("secret" in paths.traits_of(shell.call, shell.cwd, Word(word.text, glob=True)) for word in asked if word.text[:2] != "*/"):
        return Flow(None, frozenset({"names_secret"}))
    if len(folders) == 1 and folders[0].known:
        return Flow(None, folders[0].taints)
    return Flow(None)


def sed(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, _ = read(program, words)
    scripts = line.all("-e", "--expression")
    operands = line.operands
    if not scripts and line.value("-f", "--file") is None and operands:
        scripts, operands = operands[:1], operands[1:]
    in_place = any(w.text.startswith(("-i", "--in-place")) or (re.match(r"-[nErsuz]+i", w.text)) for w in words if w.text[:1] == "-")
    if in_place and operands and operands[0].text == "" and operands[0].quoted:
        operands = operands[1:]
    if in_place:
        _backups(shell, words, operands)
    does = [effects(script.text) for script in scripts]
    shell.call.add("command", program.name, args=len(operands), traits={"runs_code"} if any(d.runs for d in does) else set())
    for target in (name for d in does for name in d.writes):
        files.write_file(shell, Word(target, quoted=True), UNKNOWN)
    taints = stdin.taints
    for word in operands:
        before = files.known_content(shell, word) if in_place else None
        taints |= files.read_file(shell, word)
        if in_place:
            files.write_file(shell, word, Flow("\n".join(text for d in does for text in d.adds)), frozenset({"modify"}))
        if before is not None and before.text is not None and in_place:
            files.edited(shell, word, before, substituted(scripts, before.text))
    return Flow(None, taints)


def _backups(shell: "Shell", words: list[Word], operands: list[Word]) -> None:
    """`sed -i.bak`: the copy beside each file is the session's own, if nothing stood there."""
    given = (re.match(r"(?:-[nErsuz]*i|--in-place=)(.+)", w.text) for w in words)
    ending = next((m[1] for m in given if m), "")
    for word in operands if ending and "*" not in ending else []:
        own.made_if_absent(shell, word.part(word.text + ending))


def substituted(scripts: list[Word], text: str) -> str | None:
    """The text after plain substitutions; None where a script does more than that."""
    for script in scripts:
        found = re.fullmatch(r"s([/|#,@])((?:(?!\1)[\w \-./:=\"'()<>]*))\1((?:(?!\1)[^\\&])*)\1(g?)", script.text)
        if found is None or ("." in found[2] and found[2].strip(".") == ""):
            return None
        text = text.replace(found[2], found[3])
    return text


def awk(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, _ = read(program, words)
    sources = line.all("-f", "--file")
    operands = line.operands
    code = [] if sources else operands[:1]
    operands = operands if sources else operands[1:]
    traits: set[str] = set()
    for script in code:
        traits |= shown.in_text(script.text)
        bare = re.sub(r'"(?:\\.|[^"\\])*"|/(?:\\.|[^/\\\n])+/', '""', script.text)
        if "system" in bare or (re.search(r"getline|\|&", bare) and "|" in bare) or re.search(r"(?<!\|)\|(?!\|)", bare):
            _awk_runs(shell, script.text, traits)
        for found in _AWK_WRITE.finditer(script.text):
            if not found[1].startswith("/dev/std"):
                files.write_file(shell, Word(found[1]), UNKNOWN)
        if not script.known and script.text.strip() == HOLE:
            traits.add("runs_code")
    shell.call.add("command", program.name, args=len(operands), traits=traits - {shown.TAINT})
    from ony_core.facts import scripts as look

    for word in sources:
        look.run_file(shell, word, [], "awk")
    taints = stdin.taints
    in_place = any(v.text == "inplace" for v in line.all("-i", "--include"))
    for word in operands:
        taints |= commands.use(shell, word, "modify" if in_place else "read", frozenset()) if "=" not in word.text else frozenset()
    return Flow(None, taints | (traits & {shown.TAINT}))


def _awk_runs(shell: "Shell", code: str, traits: set[str]) -> None:
    """system("text") and "text" | getline with text that is known are followed; all else stays unknown."""
    found = re.findall(r'system\s*\(\s*"((?:[^"\\]|\\.)*)"\s*\)|"((?:[^"\\]|\\.)*)"\s*\|\s*getline|\|\s*"((?:[^"\\]|\\.)*)"', code)
    texts = [a or b or c for a, b, c in found]
    if not texts or len(re.findall(r"system\s*\(", code)) > sum(1 for a, _, _ in found if a):
        traits.add("runs_code")
    for text in texts:
        shell.child().source(text)


def dd(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    shell.call.add("command", program.name, args=len(words), traits={"help"} if any(w.text in program.help for w in words) else ())
    taints = stdin.taints
    pairs = [(w.text.partition("=")[0], w.part(w.text.partition("=")[2])) for w in words]
    for name, value in pairs:
        if name == "if":
            taints |= files.read_file(shell, value)
    for name, value in pairs:
        if name == "of":
            files.write_file(shell, value, Flow(None, taints))
    return Flow(None, taints)


def archive(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """tar: creating reads, extracting writes below the folder; some options run programs."""
    if words and words[0].text[:1].isalpha():
        words = [words[0].part("-" + words[0].text), *words[1:]]
    line, _ = read(program, words)
    for flag in ("--to-command", "--checkpoint-action", "-I", "--use-compress-program", "-F", "--info-script", "--rsh-command"):
        for value in line.all(flag):
            text = value.text.partition("exec=")[2] if flag == "--checkpoint-action" else value.text
            if text and text not in ("dot", "echo", "gzip", "zstd", "xz", "pigz", "lz4", "bzip2"):
                shell.child().source(text.replace(HOLE, "${_}"))
    commands.flag_values(shell, line)
    where = line.value("-C", "--directory") or Word(".")
    file = line.value("-f", "--file")
    made = files.made_at(shell, file) if file else None
    taints = stdin.taints | (made.taints if made else frozenset())
    creates = bool(line.flags & {"-c", "--create", "-r", "--append", "-u", "--update", "-A"})
    if not creates and line.flags & {"-x", "--extract"}:
        if "--to-stdout" not in line.flags and "-O" not in line.flags:
            files.write_file(shell, where, Flow(None, taints), frozenset({"recursive", "placed"}))
        shell.call.add("command", program.name, (), line.flags, len(line.operands), traits=line.traits)
        return Flow(None, taints)
    operands = line.operands if creates else []
    for word in operands:
        whole = Word(where.text.rstrip("/") + "/" + word.text) if where.text != "." and word.text[:1] not in "/~" else word
        taints |= files.read_file(shell, whole, frozenset({"recursive"}))
        if "--remove-files" in line.flags:
            files.delete_file(shell, whole, frozenset({"recursive"}))
    shell.call.add("command", program.name, (), line.flags, len(line.operands), traits=line.traits)
    if creates and file is not None and remote(file):
        shell.call.add("network", program.name, ("sends",), traits={"from_file"} | (taints & {"secret"}))
    elif creates and file is not None:
        files.write_file(shell, file, Flow(None, taints))
    return Flow(None, taints)


def truncate(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, _ = read(program, words)
    shell.call.add("command", program.name, (), line.flags, len(line.operands), traits=line.traits)
    if "help" not in line.traits:
        for word in line.operands:
            files.write_file(shell, word, EMPTY)
    return EMPTY


def fd(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """fd: -x and -X run a command on what is found."""
    at = next((i for i, w in enumerate(words) if w.text in ("-x", "--exec", "-X", "--exec-batch")), -1)
    shell.call.add("command", program.name, args=len(words))
    if at >= 0 and words[at + 1 :]:
        inner = [w if "{" not in w.text else Word("./*", True) for w in words[at + 1 :]]
        if all("{" not in w.text for w in words[at + 1 :]):
            inner.append(Word("./*", True))
        commands.run(shell.child(), inner, EMPTY)
    return Flow(None)


def sync(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """rsync, scp, rclone copy: a `host:` operand leaves or enters this machine."""
    line, _ = read(program, words)
    for value in line.all("-e", "--rsh", "-S", "--rsync-path"):
        if not value.text.startswith("ssh") or "ProxyCommand" in value.text:
            shell.child().source(value.text.replace(HOLE, "${_}"))
    for option in line.all("-o"):
        _ssh_option(shell, option)
    traits: set[str] = set(line.traits)
    taints: frozenset[str] = frozenset()
    if program.name == "scp" and not line.operands[1:]:
        traits |= _batch(shell, stdin)
    *sources, into = line.operands or [Word("")]
    for source in sources:
        taints |= frozenset({"network"}) if remote(source) else files.read_file(shell, source, frozenset({"recursive"}))
    if any(remote(s) for s in sources):
        traits.add("receives")
    if remote(into) and into.text and sources:
        traits |= ({"sends"} if not line.flags & {"-n", "--dry-run", "--list-only"} else set()) | (taints & {"secret"})
    elif sources and "help" not in traits:
        if line.flags & set(tables().words["names"]["mirror_flags"]) and not line.flags & {"-n", "--dry-run"}:
            files.delete_file(shell, into, frozenset({"recursive", "many"}))
        files.write_file(shell, into, Flow(None, taints), frozenset({"modify"}))
    if "--remove-source-files" in line.flags:
        for source in sources:
            files.delete_file(shell, source, frozenset({"recursive"}))
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), traits=traits)
    return EMPTY


def _batch(shell: "Shell", stdin: Flow) -> set[str]:
    """sftp, lftp, ftp: lines such as `put FILE` on standard input."""
    sent = [line.split()[1:2] for line in (stdin.text or "").split("\n") if line.split()[:1] in (["put"], ["mput"], ["mirror"], ["reput"])]
    taints: frozenset[str] = frozenset().union(*(files.read_file(shell, Word(name)) for names in sent for name in names))
    return ({"sends"} if sent else set()) | (taints & {"secret"})


def _ssh_option(shell: "Shell", option: Word) -> None:
    name, _, value = re.sub(r"^\s*(\w+)\s*[=\s]\s*", r"\1=", option.text).partition("=")
    if name.lower() in ("proxycommand", "localcommand", "knownhostscommand") and value.lower() != "none":
        shell.child().source(value.replace(HOLE, "${_}"))


def remote(word: Word) -> bool:
    return bool(re.match(r"^(?:[\w.@\0-]+:(?!\\)|rsync://|[\w-]+:)", word.text)) and not word.text.startswith(("/", "./"))


def paths_of(shell: "Shell", words: list[Word]) -> list[frozenset[str]]:
    return [paths.traits_of(shell.call, shell.cwd, w) for w in words]


_EDITOR_RUNS = re.compile(
    r"(?<![A-Za-z])!|system\s*\(|\b(?:delete|rename|writefile|execute|feedkeys)\s*\(|\bterm|\b(?:lua|py3?|python3?|perl|ruby|tcl|source|so)\b|shell|process|delete-|url-|call-|load|eval\s*\("
)


def editor(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """vim, emacs, ed: files are edited; commands given beside them may start programs."""
    line, _ = read(program, [w for w in words if w.text[:1] != "+"])
    given = [v.text for f, v in line.values if f not in ("-u", "-T", "-i", "-w", "-W")] + [w.text for w in words if w.text[:1] == "+"]
    given += [stdin.text] if stdin.text else []
    traits = {"runs_code"} if any(_EDITOR_RUNS.search(text) or HOLE in text for text in given) else set()
    if stdin.text is None and program.name in ("ed", "ex"):
        traits.add("runs_code")
    line.traits.discard("unknown_word")
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
