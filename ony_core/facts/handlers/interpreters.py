"""Interpreters: shells, Python, and the languages that are read by lists of telling words (`taxonomy/languages.toml`)."""

import re
from functools import cache
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, own
from ony_core.facts.argv import Line, read
from ony_core.facts.handlers import servers
from ony_core.facts.handlers.builtins import STANDARD_INPUT, run_text
from ony_core.facts.words import EMPTY, HOLE, UNKNOWN, Flow, Word
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def shell_program(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """sh, bash, zsh …: -c text, a script with arguments, or standard input."""
    from ony_core.facts import scripts

    inner = shell.child()
    options, rest = _shell_options(words)
    if options & {"help"}:
        shell.call.add("command", program.name, traits=("help",))
        return EMPTY
    shell.call.add("command", program.name, args=len(rest))
    if "c" in options:
        if not rest:
            return EMPTY
        inner.arguments = rest[2:]
        if len(rest) > 1:
            inner.variables["0"] = rest[1]
        return run_text(inner, rest[0].text, rest[0].taints, stdin)
    if "n" in options and rest:
        return EMPTY
    if rest and "s" not in options:
        if rest[0].flow is not None:
            return run_text(inner, rest[0].flow.text, rest[0].taints, stdin)
        if rest[0].text in STANDARD_INPUT:
            return run_text(inner, stdin.text, stdin.taints)
        return scripts.run_file(shell, rest[0], rest[1:], "shell")
    if stdin is EMPTY:
        shell.call.add("grant", traits=("open_ended",))
        return UNKNOWN
    inner.arguments = rest
    return run_text(inner, stdin.text, stdin.taints)


def _shell_options(words: list[Word]) -> tuple[set[str], list[Word]]:
    """Option letters, and the words after them; `-o name` and `+O name` take one."""
    options: set[str] = set()
    at = 0
    while at < len(words) and len(words[at].text) > 1 and words[at].text[0] in "-+":
        text = words[at].text
        at += 1
        if text == "--":
            break
        if text.startswith("--"):
            if text in ("--version", "--help"):
                options.add("help")
            elif text in ("--rcfile", "--init-file"):
                at += 1
            elif text in ("--command",):
                options.add("c")
            continue
        options |= set(text[1:])
        if text[-1] in "oO":
            at += 1
    return options, words[at + 1 :] if at < len(words) and words[at].text == "-" else words[at:]  # like `--`


def python(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """python: -c code, -m module, a script, or standard input."""
    from ony_core.facts import scripts

    at = 0
    while at < len(words) and words[at].text[:1] == "-" and len(words[at].text) > 1:
        text = words[at].text
        if text in ("--version", "-V", "--help", "-h", "-VV"):
            shell.call.add("command", program.name, traits=("help",))
            return UNKNOWN
        if text.endswith("c"):
            code = words[at + 1] if at + 1 < len(words) else Word("")
            return _python_text(shell, code.text, code.taints | stdin.taints & {"secret"}, stdin.taints)
        if text.endswith("m"):
            return _module(shell, words[at + 1 :], stdin)
        at += 2 if text in ("-W", "-X", "--check-hash-based-pycs") else 1
    rest = words[at:]
    if not rest or rest[0].text in ("-", *STANDARD_INPUT):
        if stdin is EMPTY:
            shell.call.add("grant", traits=("open_ended",))
            return UNKNOWN
        return _python_text(shell, stdin.text, stdin.taints)
    if rest[0].flow is not None:
        return _python_text(shell, rest[0].flow.text, rest[0].taints)
    shell.call.add("command", program.name, args=len(rest))
    if rest[0].text.endswith("setup.py") and any(word.text == "upload" for word in rest[1:]):
        commands.run(shell.child(), [Word("twine"), Word("upload"), Word("dist")], EMPTY)  # what setuptools did before twine
    return scripts.run_file(shell, rest[0], rest[1:], "python", stdin=stdin)


def _python_text(shell: "Shell", code: str | None, taints: frozenset[str], fed: frozenset[str] = frozenset()) -> Flow:
    from ony_core.facts.python import understand

    if code is None or code.strip() == HOLE or (HOLE in code and taints & {"network", "decoded"}):
        shell.call.add("opaque", traits=taints & {"network", "decoded", "secret"} or {"code_unknown"})
        return UNKNOWN
    shell.call.add("command", "python", args=0, traits=("inline",))
    return Flow(None, understand(shell, code.replace(HOLE, "0"), fed) | taints)


def _module(shell: "Shell", words: list[Word], stdin: Flow) -> Flow:
    """`python -m name`: a program of that name where one has a table, else a module of the project."""
    if not words or not words[0].known:
        shell.call.opaque("program_unknown")
        return UNKNOWN
    name = words[0].text
    if _running_module(shell, name, words[1:], stdin):
        return UNKNOWN
    known = tables().words["names"]["python_modules"]
    if name in known:
        return commands.run(shell, [Word(name), *words[1:]], stdin)
    if name == "venv":
        own.outputs(shell, Line(tables().programs["python"], operands=[w for w in words[1:] if w.text[:1] != "-"]), "python", "venv")
    if name in tables().words["names"]["python_harmless"] or name.split(".")[0] in tables().words["names"]["python_harmless"]:
        shell.call.add("command", "python", args=len(words))
        return UNKNOWN
    if name in tables().words["names"]["python_file_servers"]:
        return servers.serves(shell, tables().programs["http-server"], words[1:], stdin)
    if name in tables().words["names"]["python_servers"]:
        shell.call.add("network", "python", ("socket",), traits=("listens",))
        return UNKNOWN
    shell.call.add("command", "project_code", traits=_named(name))
    return UNKNOWN


def _running_module(shell: "Shell", name: str, words: list[Word], stdin: Flow) -> bool:
    """Modules of the standard library that open a session, run a file or code, or unpack."""
    from ony_core.facts import scripts
    from ony_core.facts.python import understand

    kinds = tables().words["python"]["modules"]
    operands = [
        w
        for i, w in enumerate(words)
        if w.text[:1] != "-" and (i == 0 or words[i - 1].text not in ("-c", "-s", "-o", "-n", "-r", "-u", "-m", "-C", "-f"))
    ]
    given = [words[i + 1] for i, w in enumerate(words[:-1]) if w.text in ("-c", "-s", "--setup", "--command")]
    if "--help" in {w.text for w in words}:
        return False
    if name in kinds["sessions"] and not operands and not given:
        shell.call.add("grant", traits=("open_ended",)) if stdin is EMPTY else _python_text(shell, stdin.text, stdin.taints)
        return True
    for word in (
        [*given, *(operands if name in kinds["code"] else [])] if name in kinds["code"] + kinds["files"] + kinds["sessions"] else []
    ):
        understand(shell, word.text.lstrip("!").replace(HOLE, "0"))
    if name in kinds["files"] and operands:
        shell.call.add("command", "python", args=len(operands))
        module = any(w.text == "-m" for w in words)
        _module(shell, operands, stdin) if module else scripts.run_file(shell, operands[0], operands[1:], "python")
        return True
    if name in kinds["unpacks"] and any(w.text in ("-e", "--extract") for w in words) and len(operands) > 1:
        files.write_file(shell, operands[-1], UNKNOWN, frozenset({"recursive", "placed"}))
    return False


def _named(name: str) -> set[str]:
    from ony_core.facts.scripts import name_traits

    return name_traits(name.replace(".", "/"))


def language(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """node, ruby, perl, php …: inline code is searched for words that start programs, delete or connect; a file is looked into."""
    from ony_core.facts import scripts

    line, rest = read(program, words, stop_at_operand=0)
    shell.call.add("command", program.name, line.verb, line.flags, len(rest), traits=line.traits - {"unknown_word"})
    if "help" in line.traits:
        return UNKNOWN
    codes = [v for f, v in line.values if program.roles.get(f) in ("text", "code")]
    prints = program.name == "node" and line.flags & {"-p", "--print", "-pe"}  # the value of the text is printed
    for code in codes:
        code = code.part(f"console.log({code.text})") if prints else code
        inline(shell, program.name, code.text if code.known or not code.taints & {"network", "decoded"} else None, code.taints)
    loads = [v for f, v in line.values if program.roles.get(f) in ("script", "load", "run")]
    for flag, value in line.values:
        role = program.roles.get(flag, "")
        if role == "script":
            scripts.run_file(shell, value, [], program.name)
        elif role == "load":
            commands.load(shell, program, value)
        elif role == "run":
            commands.use(shell, value, role, frozenset())
    if codes:
        edits = program.name in ("perl", "ruby") and any(
            w.text.startswith("-") and "i" in w.text and not w.text.startswith("--") for w in words
        )
        for word in rest:
            commands.use(shell, word, "modify" if edits else "read", frozenset())
        return Flow(None, stdin.taints)
    if rest and line.flags & frozenset(tables().words["names"]["syntax_only"].get(program.name, ())) and not loads:
        for word in rest:
            files.read_file(shell, word)
        return UNKNOWN
    if rest and rest[0].text != "-":
        return scripts.run_file(shell, rest[0], rest[1:], program.name, stdin=stdin)
    if stdin is not EMPTY:
        inline(shell, program.name, stdin.text, stdin.taints)
        return UNKNOWN
    if not loads and not line.flags & program.batch:
        shell.call.add("grant", traits=("open_ended",))
    return UNKNOWN


_PARAMETER = re.compile(r"--?\w|/[A-Za-z?]+$|-\?$")  # of pwsh; a path may begin with a stroke, too


def powershell(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """pwsh: -Command text (all that follows), -File script, -EncodedCommand, or standard input. Parameters may be cut short."""
    from ony_core.facts import scripts
    from ony_core.facts.powershell import program_text

    at = 0
    while at < len(words) and _PARAMETER.match(words[at].text):
        flag = words[at].text.lower().lstrip("-/")
        at += 1
        if flag in ("help", "h", "?") or (flag in ("version", "v") and at == len(words)):
            shell.call.add("command", program.name, traits=("help",))
            return UNKNOWN
        if flag in ("noexit", "noe", "i", "interactive"):
            shell.call.add("grant", traits=("open_ended",))
        if flag == "ec" or "encodedcommand".startswith(flag):
            shell.call.opaque("decoded")
            return UNKNOWN
        if flag == "cwa" or "commandwithargs".startswith(flag):
            if [w.text for w in words[at:]] == ["-"]:
                return program_text(shell, stdin.text, stdin.taints)
            return program_text(shell, " ".join(w.text for w in words[at:]), _taints(words[at:]))
        if "file".startswith(flag):
            break
        at += flag in (
            "executionpolicy",
            "ep",
            "ex",
            "exec",
            "windowstyle",
            "w",
            "workingdirectory",
            "wd",
            "outputformat",
            "o",
            "of",
            "inputformat",
            "if",
            "version",
            "v",
            "configurationname",
            "psconsolefile",
            "settingsfile",
            "custompipename",
        )
    rest = words[at:]
    shell.call.add("command", program.name, args=len(rest))
    if rest and rest[0].text != "-":
        if rest[0].text.lower().endswith((".ps1", ".psm1")) or not rest[0].known:
            return scripts.run_file(shell, rest[0], rest[1:], "pwsh")
        return program_text(shell, " ".join(w.text for w in rest), _taints(rest))
    if stdin is EMPTY:
        shell.call.add("grant", traits=("open_ended",))
        return UNKNOWN
    return program_text(shell, stdin.text, stdin.taints)


def _taints(words: list[Word]) -> frozenset[str]:
    return frozenset(t for w in words for t in w.taints)


def debugger(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """gdb, lldb: commands given beside a program or a core file; the program it starts runs under it."""
    from ony_core.facts import scripts

    at = next((i for i, w in enumerate(words) if w.text in ("--args", "-args", "--")), len(words))
    line, _ = read(program, words[:at])
    traits = line.traits - {"unknown_word"}
    first = line.value("-p", "--pid", "--attach-pid")
    traits |= {"system"} if first is not None and first.text == "1" else set()
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), traits=traits)
    if "help" in traits:
        return UNKNOWN
    for value in (v for f, v in line.values if program.roles.get(f) == "script"):
        scripts.run_file(shell, value, [], program.name)
    told = [] if stdin is EMPTY else [None] if stdin.text is None else stdin.text.split("\n")
    codes = [*(v.text for f, v in line.values if program.roles.get(f) == "text"), *told]
    for code in codes:
        inline(shell, program.name, code, stdin.taints)
    started = words[at + 1 :] or line.operands[:1]
    if started and any(re.match(r"\s*(?:r|run|start|starti|process launch)\b", code or "") for code in codes):
        commands.run(shell.child(), started, EMPTY)
    return UNKNOWN


_LOCAL = re.compile(  # a request to a server of this computer: the address stands in the call, and nothing can follow its port but a path
    r"\b(?:fetch|axios(?:\.\w+)?|https?\.get|Net::HTTP\.get(?:_response)?|URI\.open)\s*\(\s*(?:URI\s*\(\s*)?"
    r"([\"'`])https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?(?:/[^\"'`@\\$]*)?\1"
)


def inline(shell: "Shell", language_name: str, code: str | None, taints: frozenset[str]) -> None:
    """Facts from source text in a language without a parser here: one fact for each list of telling words that it meets."""
    if code is None or code.strip() == HOLE:
        shell.call.add("opaque", traits=taints & {"network", "decoded", "secret"} or {"code_unknown"})
        return
    if taints & {"network"}:
        shell.call.add("opaque", traits={"network"})
    asked = _LOCAL.sub("asked_here(", code)
    traits = {trait for trait, pattern in telling(language_name) if pattern.search(asked if trait == "opens_network" else code)}
    shell.call.add("command", language_name, traits=traits | {"inline"})


@cache
def telling(name: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    lists = tables().words["languages"]
    own = lists.get(name, lists["other"])
    parts = [lists["every"], own, *(lists[like] for like in own.get("like", []))]
    traits = sorted({trait for part in parts for trait in part} - {"like"})
    return tuple((t, re.compile("|".join(_anycase(p) for part in parts for p in part.get(t, [])))) for t in traits)


def _anycase(pattern: str) -> str:
    return f"(?i:{pattern[4:]})" if pattern.startswith("(?i)") else pattern


HANDLERS = {"shell": shell_program, "python": python, "language": language, "debugger": debugger, "powershell": powershell}
