"""git: its global options, what its refspecs and pathspecs mean, and the many options that start programs."""

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, own, patches, paths
from ony_core.facts.argv import Line, read
from ony_core.facts.place import Unknown
from ony_core.facts.targets import target
from ony_core.facts.words import EMPTY, HOLE, Flow, Made, Word
from ony_core.model import Target
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def git(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, _ = read(program, words)
    here = _global_options(shell, line)
    verb = line.verb[0] if line.verb else ""
    traits: set[str] = set()
    targets: tuple[Target, ...] = ()
    if "help" not in line.traits:
        _runs_programs(here, line, verb, words)
        if verb == "push":
            targets = _push(here, line, traits)
        elif verb in ("checkout", "restore", "switch", "branch"):
            _begins(here, line, verb)
            _discard(here, line, verb, words, traits)
        elif verb == "config":
            _config(here, line, traits)
        _files(here, line, verb, stdin)
    line.traits |= traits
    if line.blind is not None and commands.could_be_worse("git", line.blind):
        shell.call.opaque("program_unknown")
    if line.verb == ("unlisted",) and line.operands[0].text in _given_aliases(line):
        return Flow(None)  # understood where the alias was given
    taints = stdin.taints.union(*(w.taints for w in line.operands)) & {"secret"}
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), targets, line.traits | taints)
    return (
        Flow(None, stdin.taints | frozenset(tables().words["outputs"].get("git", ()))) if verb != "rev-parse" else _rev_parse(here, words)
    )


def _given_aliases(line: Line) -> set[str]:
    return {v.text.partition("=")[0][6:] for v in line.all("-c") if v.text.lower().startswith("alias.")}


def _rev_parse(shell: "Shell", words: list[Word]) -> Flow:
    root = shell.call.place.context("project_root")
    return Flow((root if isinstance(root, str) else shell.cwd) + "\n") if any(w.text == "--show-toplevel" for w in words) else Flow(None)


def _global_options(shell: "Shell", line: Line) -> "Shell":
    """The shell in whose folder git works; `-c key=value` may name programs to run."""
    inner = shell.child()
    for value in line.all("-C"):  # of commit, branch and switch it names no folder, but they look at no file either
        inner.cwd = paths.absolute(inner.cwd, value.text) if value.known else HOLE
    for value in line.all("--git-dir"):
        line.traits |= {"config_exec"} if another_repository(inner, value) else set()
    for value in line.all("-c", "--config-env"):
        key, _, text = value.text.partition("=")
        if "." in key:
            _setting(inner, key, text, line.traits)
    return inner


def another_repository(shell: "Shell", folder: Word) -> bool:
    """Whether git is sent to a folder that no `git init` or clone would have named so: its settings name programs, and anybody may have put
    them there without writing to what this gate knows for a repository."""
    return not folder.text.rstrip("/").endswith(".git") and bool(
        paths.traits_of(shell.call, shell.cwd, folder) & {"tmp", "tmp_root", "project", "outside"}
    )


def _setting(shell: "Shell", key: str, text: str, traits: set[str]) -> None:
    key = key.lower()
    if key.startswith("alias."):
        traits |= {"config_exec"} if text[:1] == "!" else set()
        shell.child().source(text[1:].replace(HOLE, "${_}") if text[:1] == "!" else "git " + text.replace(HOLE, "${_}"))
    elif key.endswith("sslverify"):
        traits |= {"unchecked"} if text not in tables().words["names"]["git_checks_on"] else set()
    elif _runs(key) and text not in tables().words["names"]["git_harmless_values"]:
        traits.add("config_exec")


def _runs(key: str) -> bool:
    """Whether git starts what a setting of this name says."""
    return any(fnmatchcase(key, pattern) for pattern in tables().words["names"]["git_running_config"])


def _config(shell: "Shell", line: Line, traits: set[str]) -> None:
    operands = [w.text for w in line.operands if w.text not in ("set", "get", "unset", "list")]
    if line.flags & {"--get", "--list", "--get-all", "--get-regexp"} or "get" in line.verb or "list" in line.verb:
        return
    if "--edit" in line.flags:
        traits.add("config_exec")
    if len(operands) > 1:
        _setting(shell, operands[0], operands[1], traits)
        traits.add("sets")


def _runs_programs(shell: "Shell", line: Line, verb: str, words: list[Word]) -> None:
    """Options whose value git hands to a shell, and verbs whose operands are a command."""
    for value in line.all("--exec", "-x", "--extcmd", "--upload-pack", "--receive-pack", "--tree-filter", "--index-filter", "--msg-filter"):
        if not re.fullmatch(r"git-[\w-]+", value.text):
            shell.child().source(value.text.replace(HOLE, "${_}"))
    for value in line.all("-u") if verb == "clone" else []:
        shell.child().source(value.text.replace(HOLE, "${_}"))
    for word in words:
        name, equals, value_text = word.text.partition("=")
        if verb == "grep" and ((name == "--open-files-in-pager" and equals) or re.match(r"-O.", word.text)):
            shell.child().source((value_text if equals else word.text[2:]).replace(HOLE, "${_}") + " ${_}")
        elif name == "--exec-path" and equals:
            line.traits.add("config_exec")
    if verb != "grep" and any(w.text.startswith(("ext::", "fd::")) for w in line.operands + line.all("--remote")):
        line.traits.add("config_exec")
    if verb in ("clone", "init") and (template := line.value("--template")) is not None and template.text:
        line.traits.add("config_exec")
    if line.verb in (("submodule", "foreach"), ("bisect", "run")):
        _each(shell, words[next(i for i, w in enumerate(words) if w.text == line.verb[1]) + 1 :])


def _each(shell: "Shell", words: list[Word]) -> None:
    """One word is text for a shell; several are a command with its own flags, behind those of git."""
    while words and words[0].text[:1] == "-":
        words = words[1:]
    if len(words) == 1:
        shell.child().source(words[0].text.replace(HOLE, "${_}"))
    else:
        commands.run(shell.child(), words, EMPTY)


def _push(shell: "Shell", line: Line, traits: set[str]) -> tuple[Target, ...]:
    """Refspecs: `+x` forces, `:x` deletes. A feature branch is one that the place knows, and knows not to be protected."""
    refs = line.operands[1:]
    if line.operands and re.search(r"://|^[\w.-]+@[\w.-]+:", line.operands[0].text):
        traits.add("other_host")
    names: list[str] = []
    for ref in refs:
        text = ref.text
        if text.startswith("+"):
            line.flags.add("--force")
            text = text[1:]
        if text.startswith(":"):
            line.flags.add("--delete")
        names.append(text.rpartition(":")[2].removeprefix("refs/heads/"))
    default = shell.call.place.context("git_default_branch")
    current = shell.call.place.context("git_branch")
    names = [str(current) if n in ("HEAD", "") and isinstance(current, str) else n for n in names or ["HEAD"]]
    if any(_protected(n, default) for n in names):
        traits.add("protected_branch")
    elif all(own.noted(shell, "branch", n) for n in names):
        traits.add("feature_branch")  # begun in this session
    else:
        known = all(shell.call.place.known("branch", n) or n == current for n in names)
        known = known and all(word.known for word in line.operands)  # `git push $FLAGS`: any word may be an option, or another branch
        traits |= {"feature_branch"} if isinstance(default, str) and known and "HEAD" not in names else set()
    return tuple(dict.fromkeys(target(shell.call, "branch", n) for n in names))


def _protected(name: str, default: object) -> bool:
    return name == default or any(fnmatchcase(name, p) for p in tables().words["names"]["protected_branches"])


def _discard(shell: "Shell", line: Line, verb: str, words: list[Word], traits: set[str]) -> None:
    """Whether the command overwrites work in files, and whether that work was this session's own."""
    texts = [w.text for w in words]
    operands = line.operands
    if verb == "checkout":
        after = list(words[texts.index("--") + 1 :]) if "--" in texts else []
        creates = line.flags & {"-b", "-B", "--orphan", "--detach", "-t", "--track"}
        pathspecs = after or (operands[1:] if len(operands) > 1 else [] if creates else [w for w in operands if _is_path(shell, w)])
    elif verb == "restore":
        pathspecs = operands
    else:
        pathspecs = []
    if not pathspecs:
        return
    traits.add("discards")
    if all(_own(shell, w) for w in pathspecs):
        traits.add("session_changes")
    if any(w.text in (".", ":/", "*") or w.glob for w in pathspecs):
        traits.add("many")


def _begins(shell: "Shell", line: Line, verb: str) -> None:
    """A branch that this session began: nobody else's commits are on it."""
    names = line.all("-b", "-c", "--create") if verb != "branch" else line.operands[:1] if not line.flags else []
    for word in names:
        if word.known:
            own.note(shell, "branch", word.text)


def _is_path(shell: "Shell", word: Word) -> bool:
    text = word.text
    if shell.call.place.known("branch", text):
        return False
    if text in (".", "..") or text.startswith(("./", "../", "/", "~", ":/", "*")) or word.glob:
        return True
    name = text.rpartition("/")[2]
    if re.search(r"\.[A-Za-z][A-Za-z0-9]{0,5}$", name) is not None and not re.match(r"v?\d", name):
        return True
    standing = shell.call.place.read(paths.absolute(shell.cwd, text), 0)  # git takes a name that is no branch for the folder of that name
    return isinstance(standing, bytes) or standing in (Unknown.NOT_REGULAR, Unknown.TOO_BIG)


def _own(shell: "Shell", word: Word) -> bool:
    """Changed by this session and by nobody else, or not changed at all."""
    path = paths.absolute(shell.cwd, word.text)
    made = shell.call.made.get(path)
    return made is not None or shell.call.place.context("changed:" + path) == "session"


def _files(shell: "Shell", line: Line, verb: str, stdin: Flow) -> None:
    """Files that git reads or writes by name: `show HEAD:.env`, `--output`, `diff --no-index`, `apply`."""
    for value in line.all("--output", "--output-directory", *(["-o"] if verb in ("archive", "format-patch") else [])):
        files.write_file(shell, value, Flow(None))
    if line.verb[:2] == ("bundle", "create") or (verb == "bundle" and line.operands[:1] and line.operands[0].text == "create"):
        for word in [w for w in line.operands if w.text != "create"][:1]:
            files.write_file(shell, word, Flow(None))
    for word in line.operands:
        if verb in ("show", "cat-file", "checkout", "restore") and ":" in word.text:
            files.read_file(shell, word.part(word.text.partition(":")[2]))
        elif verb in ("show", "diff", "log", "blame", "grep", "add", "stash"):
            files.read_file(shell, word) if verb != "add" or not word.glob else None
    if verb in ("apply", "am") and not line.flags & {"--check", "--stat", "--numstat", "--summary"}:
        below = line.value("--directory")
        for word in line.operands:
            patches.diff_file(shell, word, below)
        if not line.operands:
            patches.diff(shell, stdin, below)
    if verb == "clone" and line.operands:
        url = line.operands[0].text.rstrip("/").removesuffix(".git")
        into = line.operands[1] if len(line.operands) > 1 else Word(re.split(r"[/:]", url)[-1])
        files.make_folder(shell, into)
        _fetched(shell, into, line.operands[0])
    if verb == "mv" and line.operands:
        own.brought(shell, line.operands[-1], line.operands[:-1])
    if verb == "rm" and "--cached" not in line.flags:
        for word in line.operands:
            files.delete_file(shell, word, frozenset({"kept_by_git"}))


def _fetched(shell: "Shell", into: Word, url: Word) -> None:
    """What another machine gave: nobody here has read the code in it."""
    path = paths.absolute(shell.cwd, into.text)
    made = shell.call.made.get(path)
    if made is not None and made.folder and re.search(r"://|@.+:", url.text) and not url.text.startswith("file:"):
        shell.call.made[path] = Made(folder=True, taints=frozenset({"network"}))


def gh(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """gh, glab: verbs by table; `api` is a read only as GET, and fields make it a POST (gh manual, "gh api")."""
    line, _ = read(program, words)
    if line.verb[:1] == ("api",) and "help" not in line.traits:
        method = line.value("-X", "--method")
        fields = line.all("-f", "--raw-field", "-F", "--field", "--input")
        asks = any("graphql" in w.text for w in line.operands) and not any(_may_change(shell, f) for f in fields)
        if method.text.upper() not in ("GET", "HEAD") if method is not None else fields and not asks:
            line.traits.add("sends")
    if line.verb == ("alias", "set") and len(line.operands + line.all("-s")) > 1:  # to an alias -s is no flag with a value
        _gh_alias(shell, program, line.operands[-1], line.flags)
    return commands.finish(shell, line, stdin)


def _may_change(shell: "Shell", field: Word) -> bool:
    """Whether a field of a GraphQL request may be a mutation: `query=…`, or `query=@file`, or the file of `--input`."""
    file = field.text.partition("=@")[2] if "=@" in field.text else "" if "=" in field.text else field.text
    text = field.text if not file else getattr(files.known_content(shell, field.part(file)), "text", None)
    return text is None or not field.known or "mutation" in text


def _gh_alias(shell: "Shell", program: Program, value: Word, flags: set[str]) -> None:
    """What an alias stands for is judged where it is given: a command for a shell, or words of the program itself."""
    text = value.text.replace(HOLE, "${_}")
    plain = text[:1] != "!" and not flags & {"-s", "--shell"}
    shell.child().source(f"{program.name} {text}" if plain else text.removeprefix("!"))


HANDLERS = {"git": git, "gh": gh}
