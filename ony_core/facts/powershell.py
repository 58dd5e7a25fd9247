"""What PowerShell text does: its statements are cut out, each command is judged by its verb, its paths, or as the program it starts.

MUST: a command that no table knows stays an unlisted verb; text that is put together at run time and then run is opaque.
Follows the language specification, chapter 2 (lexical structure) and "about_Parsing", as far as commands can be told from expressions.
"""

import re
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, shown
from ony_core.facts.words import EMPTY, HOLE, UNKNOWN, Flow, Word
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

MAX_COMMANDS = 500
_TOKEN = re.compile(
    r"""(?P<space>[ \t]+|`\r?\n)|(?P<comment><\#.*?\#>|\#[^\n]*)|(?P<here>@'\r?\n.*?\n'@|@"\r?\n.*?\n"@)|(?P<raw>'(?:''|[^'])*')"""
    r"""|(?P<text>"(?:""|`.|\$\((?:[^()]|\([^()]*\))*\)|[^"`])*")|(?P<cut>&&|\|\||[;|{}()\n\r]|\$\(|@\(|@\{|&)|(?P<odd>['"])"""
    r"""|(?P<into>[1-6*]?>>?(?:&[12])?)|(?P<bare>(?:`.|\$\{[^}]*\}|[^\s;|{}()'"&`>])+|`)""",
    re.DOTALL,
)
_KEYWORDS = frozenset(
    "if elseif else while for do until switch default try catch finally return throw begin process end exit break continue trap".split()  # noqa: SIM905
)
_NAMING = frozenset(["function", "filter", "param", "foreach", "class", "enum", "using", "workflow"])  # a name follows, no command
_INSIDE = re.compile(r"\$\(((?:[^()]|\([^()]*\))*)\)")
_CMDLET = re.compile(r"[a-z]+-[a-z]\w*")
_TYPED = re.compile(r"[A-Z][a-z]+-[A-Z][A-Za-z]{2,40}")
_INTO = frozenset({"into"})  # marks a redirection among the words
_NUMBER = re.compile(r"\.?\d[\d.,xa-f]*(?:[kmgtp]b|[ldnsuy]{1,2})?(?:\.\.\S*)?$", re.IGNORECASE)
_PATHS = ("-path", "-literalpath", "-lp", "-filepath", "-pspath")


def understand(shell: "Shell", text: str, taints: frozenset[str] = frozenset()) -> None:
    """Adds the facts of PowerShell program text."""
    from ony_core.facts.handlers.interpreters import inline

    with shell.call.deeper() as fits:
        if not fits or len(text) > shell.call.MAX_TEXT:
            shell.call.opaque("too_deep")
            return
        inline(shell, "pwsh", text.replace(HOLE, "$_"), taints)
        found = statements(text.replace(HOLE, "$_"))
        if found is None or len(found) > MAX_COMMANDS:
            shell.call.opaque("unparsed")
            return
        piped, called = False, False
        for words, cut in found:
            words = _redirected(shell, words)
            if called and words:
                _command(shell, words, piped)
            else:
                _statement(shell, words, piped)
            called = cut == "&" or (called and not words)
            piped = cut == "|" or (piped and cut in ("{", "}", "(", ")"))


def statements(text: str) -> list[tuple[list[Word], str]] | None:
    """The statements of a text with what ends each; None where quotes do not close. What is assigned is a statement of its own."""
    found: list[tuple[list[Word], str]] = []
    words: list[Word] = []
    glued = False
    for token in _TOKEN.finditer(text):
        kind = str(token.lastgroup)
        if kind == "odd":
            return None
        if kind in ("space", "comment"):
            glued = False
        elif kind == "cut":
            found.append((words, token[0].strip("$@")))
            words, glued = [], False
        elif kind == "bare" and _assigns(words, token[0]):
            found.append(([], ";"))
            after = token[0].partition("=")[2]
            words, glued = [_word(kind, after)] if after else [], bool(after)
        elif kind == "into":
            words.append(Word(token[0], taints=_INTO))
            glued = False
        else:
            for inner in _INSIDE.findall(token[0]) if kind in ("text", "here") else []:
                found.extend(statements(inner) or [])
            _take(words, _word(kind, token[0]), glued)
            glued = True
    return [*found, (words, ";")]


def _assigns(words: list[Word], text: str) -> bool:
    """Whether the `=` in a bare word sets a variable, an entry or a property; in the arguments of a command it is a letter like others."""
    if "=" not in text:
        return False
    if not words:
        return re.match(r"[$\[\w]", text) is not None
    return words[0].text[:1] in ("$", "[") or (len(words) == 1 and text[0] == "=")


def _redirected(shell: "Shell", words: list[Word]) -> list[Word]:
    """The words without redirections; the files these name are written."""
    kept: list[Word] = []
    into = ""
    for word in words:
        if word.taints == _INTO:
            into = word.text if word.text.endswith(">") else ""
        elif into:
            if word.text.lower() != "$null":
                files.write_file(shell, _path(word), UNKNOWN, frozenset({"append"}) if ">>" in into else frozenset())
            into = ""
        else:
            kept.append(word)
    return kept


def _word(kind: str, raw: str) -> Word:
    if kind == "raw":
        return Word(raw[1:-1].replace("''", "'"), quoted=True)
    if kind in ("text", "here"):
        body = raw[2:-2].strip("\r\n") if kind == "here" else raw[1:-1].replace('""', '"')
        return Word(re.sub(r"`(.)", r"\1", _INSIDE.sub(HOLE, re.sub(r"\$(?:\{[^}]*\}|\w+(?::\w+)?)", HOLE, body))), quoted=True)
    return Word(re.sub(r"`(.)", r"\1", raw), glob="*" in raw or "?" in raw)


def _take(words: list[Word], word: Word, glued: bool) -> None:
    if glued:
        before = words[-1]
        words[-1] = Word(before.text + word.text, before.glob or word.glob, before.quoted)
    else:
        words.append(word)


def _statement(shell: "Shell", words: list[Word], piped: bool) -> None:
    """One command, or an expression that is only a value."""
    while words and not words[0].quoted and words[0].text.lower() in _KEYWORDS:
        words = words[1:]
    if not words or words[0].quoted:
        return
    first = words[0].text
    if first == ".":
        _command(shell, words[1:] or [Word(HOLE)], piped)
    elif (
        first == "%"
        or re.match(r"\.{1,2}[\\/]", first)
        or not (first[0] in "$[@-+!,.%=<" or first.lower() in _NAMING or _NUMBER.match(first))
    ):
        _command(shell, words, piped)


def _command(shell: "Shell", words: list[Word], piped: bool) -> None:
    lists = tables().words["powershell"]
    name = words[0].text.lower().rpartition("\\")[2].removesuffix(".exe")
    name = name if words[0].text.lower().endswith(".exe") else lists["aliases"].get(name, name)
    if _CMDLET.fullmatch(name):
        _cmdlet(shell, name, words[1:], piped)
    else:
        plain = [Word(w.text if not w.text.startswith("$") else HOLE, w.glob, w.quoted) for w in words]
        if plain[0].text[:1] == ".":
            plain[0] = Word(plain[0].text.replace("\\", "/"))
        commands.run(shell.child(), plain, UNKNOWN if piped else EMPTY)


def _cmdlet(shell: "Shell", name: str, words: list[Word], piped: bool) -> None:
    from ony_core.facts.argv import _child

    lists = tables().words["powershell"]
    verb = _child("pwsh", (), name)
    flags = {w.text.lower().partition(":")[0] for w in words if w.text[:1] == "-" and not w.quoted}
    if any("-whatif".startswith(w.text.lower().removesuffix(":$true")) and len(w.text) > 2 for w in words if not w.quoted):
        shell.call.add("command", "pwsh", traits=("help",))
        return
    shell.call.add("command", "pwsh", (verb,), flags, len(words))
    operands, named = _parameters(words)
    where = operands + [v for f, v in named if f in _PATHS] + [v for f, v in named if f in ("-destination", "-destinationpath", "-newname")]
    if name == "invoke-expression":
        text = (operands or [v for _, v in named] or [Word(HOLE)])[0]
        understand(shell, text.text) if text.known and text.quoted else shell.call.opaque("code_unknown")
    elif name in lists["fetches"]:
        _fetch(shell, operands, named)
    elif name == "start-process":
        _start(shell, operands, named)
    elif name in lists["deletes"]:
        _delete(shell, where, flags, piped)
    elif name in lists["writes"]:
        for word in where[-1:] if name.endswith("-archive") else where[:1]:
            files.write_file(shell, _path(word), EMPTY if name.startswith("clear") else UNKNOWN)
    elif name in lists["copies"] and len(where) > 1:
        files.transfer(shell, "move" if name[0] in "mr" else "copy", [_path(where[0])], _path(where[1]), frozenset())
    elif name in lists["reads"]:
        for word in where:
            files.read_file(shell, _path(word))
            _shown(shell, word.text)


def _start(shell: "Shell", operands: list[Word], named: list[tuple[str, Word]]) -> None:
    """Start-Process: the words of its list are put together with spaces, and the program takes them apart again."""
    started = [v for f, v in named if "-filepath".startswith(f)] + operands
    given = started[1:] + [v for f, v in named if f == "-args" or "-argumentlist".startswith(f)]
    above = [Word("sudo")] if any("-verb".startswith(f) and v.text.lower() == "runas" for f, v in named) else []
    words = [word.part(text) for word in given for text in word.text.replace(",", " ").split()]
    if started:
        commands.run(shell.child(), [*above, started[0], *words], EMPTY)


def _shown(shell: "Shell", text: str) -> None:
    """`env:` is the whole environment, `env:NAME` one variable."""
    drive, colon, name = text.lower().partition(":")
    if drive == "env" and colon:
        name = name.strip("\\/")
        if "*" in name or not name:
            shell.call.add("command", "env", traits=("prints_environment",))
        elif shown.secretive(name.upper()):
            shell.call.add("command", "env", traits=(shown.TAINT,))


def _parameters(words: list[Word]) -> tuple[list[Word], list[tuple[str, Word]]]:
    """Positional operands, and parameters with their values."""
    operands: list[Word] = []
    named: list[tuple[str, Word]] = []
    switches = tables().words["powershell"]["switches"]  # names may be cut short
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word.quoted or word.text[:1] != "-" or word.text == "-":
            operands.extend(word.part(part) for part in word.text.split(",") if part)
            continue
        flag, colon, value = word.text.lower().partition(":")
        if colon:
            named.append((flag, word.part(value)))
            continue
        valued = flag == "-verb" or not any(switch.startswith(flag) for switch in switches)
        if valued and at < len(words) and (words[at].quoted or words[at].text[:1] != "-"):
            named.append((flag, words[at]))
            at += 1
    return operands, named


def _path(word: Word) -> Word:
    text = word.text.replace("\\", "/")
    return Word(
        HOLE if text.startswith("$") and not text.lower().startswith("$home") else re.sub(r"(?i)^\$home", "~", text), word.glob, word.quoted
    )


def _delete(shell: "Shell", where: list[Word], flags: set[str], piped: bool) -> None:
    deep = frozenset({"recursive"}) if any(f.startswith("-r") for f in flags) else frozenset()
    for word in where or ([Word(HOLE)] if piped else []):
        path = _path(word)
        if re.match(r"(?i)[a-z]:/?\*?$|(?:hk\w+|cert|wsman):", path.text):
            shell.call.add("file", verb=("delete",), traits={"system"} | deep)
        elif not re.match(r"(?i)(?:env|function|variable|alias):", path.text):  # of this session alone
            files.delete_file(shell, path, deep)


def _fetch(shell: "Shell", operands: list[Word], named: list[tuple[str, Word]]) -> None:
    """Invoke-WebRequest and its cousins, in curl's words."""
    words = [Word("curl"), *operands[:1]]
    for flag, word in named:
        spelled = next(
            (
                c
                for f, c in (("-uri", ""), ("-method", "-X"), ("-body", "-d"), ("-infile", "-T"), ("-outfile", "-o"), ("-form", "-F"))
                if f.startswith(flag)
            ),
            None,
        )
        if spelled is not None:
            words.extend([Word(spelled)] if spelled else [])
            words.append(Word(HOLE, quoted=True) if word.text.startswith("$") else word)
    commands.run(shell.child(), words, EMPTY)


def is_cmdlet(text: str) -> bool:
    """Whether a command word has the form that only PowerShell's own commands have: `Get-Process`."""
    return _TYPED.fullmatch(text) is not None


def typed(shell: "Shell", argv: list[Word]) -> None:
    """A cmdlet where the agent's own shell is PowerShell, though the call came as a line of any shell."""
    _command(shell, argv, True)


def program_text(shell: "Shell", text: str | None, taints: frozenset[str]) -> Flow:
    """Text for PowerShell that came from somewhere: an argument or standard input."""
    if text is None or text.strip() == HOLE or (HOLE in text and taints & {"network", "decoded"}):
        shell.call.add("opaque", traits=taints & {"network", "decoded", "secret"} or {"code_unknown"})
        return UNKNOWN
    understand(shell, text, taints)
    return UNKNOWN
