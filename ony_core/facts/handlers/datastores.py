"""Clients of stores that speak no SQL: redis-cli, mongosh. Each command or method is a verb of the table."""

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, scripts
from ony_core.facts.argv import read
from ony_core.facts.words import HOLE, UNKNOWN, Flow, Made, Word
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_LOOKS = {
    "--scan",
    "--bigkeys",
    "--memkeys",
    "--hotkeys",
    "--latency",
    "--latency-history",
    "--stat",
    "--latency-dist",
    "--intrinsic-latency",
}
_STRING = re.compile(
    r"""//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`|/(?:\\.|[^/\\\n])+/[gimsuy]*(?=[,)\s}])""", re.DOTALL
)
_CALLED = re.compile(r"([A-Za-z_$][\w$]*)\s*(?:\?\.)?\(")
_KEYS = re.compile(r"""["']?(\$?[A-Za-z_]\w*)["']?\s*:""")
_COMPUTED = re.compile(r"\]\s*\(")  # a method whose name is put together
_OWN = re.compile(r"function\s+([A-Za-z_$][\w$]*)|(?:const|let|var)\s+([A-Za-z_$][\w$]*)\s*=\s*(?:async\s*)?(?:function|\(|[\w$]+\s*=>)")
MOST = 50  # commands on standard input that are judged one by one


def words_client(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """redis-cli and its like: the operands are one command; standard input holds one command a line."""
    line, _ = read(program, [_upper(w) if program.name == "redis-cli" else w for w in words])
    if line.verb or "help" in line.traits or line.flags & (_LOOKS | {"--eval", "--rdb", "--functions-rdb", "--pipe"}):
        return commands.finish(shell, line, stdin)
    if stdin.text == "":
        shell.call.add("grant", traits=("open_ended",))
    rows = stdin.text.strip().split("\n") if stdin.text else []
    for row in rows[:MOST]:
        inner, _ = read(program, [_upper(Word(t)) for t in row.split()])
        commands.finish(shell, inner, UNKNOWN)
    if stdin.text is None or len(rows) > MOST:
        shell.call.opaque("sql_unknown")
    return UNKNOWN


def _upper(word: Word) -> Word:
    """Commands are case-insensitive; flags are not."""
    return word if word.text.startswith("-") else word.part(word.text.upper())


# ---- MongoDB


def mongo(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """mongosh, mongo: --eval text, a script file, or standard input, all JavaScript."""
    line, _ = read(program, words)
    shell.call.add("command", program.name, (), line.flags, len(line.operands), traits=line.traits - {"unknown_word"})
    if "help" in line.traits:
        return UNKNOWN
    codes = line.all("--eval", "-e")
    for word in codes:
        javascript(shell, word.text if word.text.strip(HOLE + " ") else None, word.taints)
    sources = [w for w in line.operands if w.text.endswith((".js", ".mongodb", ".mjs", ".cjs"))] + line.all("--file", "-f")
    for word in sources:
        content = scripts.content_of(shell, word) if word.known else None
        javascript(shell, content.text if isinstance(content, Made) else None, content.taints if isinstance(content, Made) else frozenset())
    if not codes and not sources:
        if stdin.text == "":
            shell.call.add("grant", traits=("open_ended",))
        else:
            javascript(shell, stdin.text, stdin.taints)
    return UNKNOWN


def javascript(shell: "Shell", code: str | None, taints: frozenset[str]) -> None:
    """A script for MongoDB: the methods it calls, each a verb; what can start programs or hide a name is unlisted."""
    if code is None or taints & {"network", "decoded"}:
        shell.call.add("opaque", traits=taints & {"network", "decoded", "secret"} or {"code_unknown"})
        return
    for verb in sorted(methods(code.replace(HOLE, "0"))):
        shell.call.add("command", "mongosh", (verb,))


def methods(code: str) -> set[str]:
    """The methods and administrative commands that a script names, as the table has them; reads leave nothing."""
    lists = tables().words["mongo"]
    bare = _STRING.sub(" ", code)
    own = {a or b for a, b in _OWN.findall(bare)}
    called = {name for name in _CALLED.findall(bare) if name not in lists["reads"] and name not in own}
    found = {name if name in lists["acts"] else UNLISTED for name in called}
    found |= {key for key in _KEYS.findall(code) if key in lists["acts"]}
    if re.search(r"runCommand|adminCommand", bare):
        asked = re.findall(r"""(?:runCommand|adminCommand)\s*\(\s*\{?\s*["']?(\w+)""", code)
        found |= {name if name in lists["acts"] else UNLISTED for name in asked if name not in lists["asks"]}
        found |= {UNLISTED} if not asked else set()
    if _COMPUTED.search(bare):
        found |= {name for name in re.findall(r"\w+", code) if name in lists["acts"]} or {UNLISTED}
    return found


# ---- where a call acts


def queue_sender(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """mosquitto_pub, kafka-console-producer: whether the broker is this computer's."""
    from ony_core.facts.handlers.network import url_traits

    line, _ = read(program, words)
    asked = ("-h", "--host", "--bootstrap-server", "--broker-list", "-L", "--url", "-s", "-u")
    hosts = [host for value in line.all(*asked) for host in value.text.split(",")]
    local = all("localhost" in url_traits(host) for host in hosts)
    taints = stdin.taints.union(*(files.read_file(shell, v) for f, v in line.values if program.roles.get(f) == "read"))
    found = {"localhost"} if local else set()
    shell.call.add("command", program.name, line.verb, line.flags, traits=line.traits | found | (taints & {"secret"}))
    return UNKNOWN


def target_named(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """dbt and its like: a target whose name says production."""
    line, _ = read(program, words)
    named = [v.text.lower() for v in line.all("-t", "--target", "--profile")]
    places = tables().words["names"]["production_places"]
    found = {"production"} if any(fnmatchcase(name, place) for name in named for place in places) else set()
    return commands.finish(shell, line, stdin, frozenset(found))


def chain_named(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """hardhat and its like: a network that is not a test of this computer."""
    line, _ = read(program, words)
    network = line.value("--network")
    tests = tables().words["names"]["test_ledgers"]
    return commands.finish(shell, line, stdin, frozenset({"remote"} if network is not None and network.text not in tests else ()))


def ledger_code(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """geth attach --exec: JavaScript at a node's console; what sends, signs, unlocks or sets changes something."""
    line, _ = read(program, words)
    codes = [v.text for v in line.all("--exec")] + ([stdin.text] if stdin.text else [])
    acts = any(_LEDGER_ACTS.search(code) for code in codes)
    if line.verb == ("attach",) and not codes and "help" not in line.traits:
        if stdin.text == "":
            shell.call.add("grant", traits=("open_ended",))
        else:
            shell.call.opaque("code_unknown")
    return commands.finish(shell, line, stdin, frozenset({"changes_data"} if acts else ()))


_LEDGER_ACTS = re.compile(
    r"(?i)\.(?:send|sign|unlock|import|new|set|start|stop|deploy|submit|export|lock|add|remove|load)\w*\s*\(|personal|miner\.|admin\.(?!peers|nodeInfo)|debug\.(?:set|chaindb)|\beval\b"
)


def spark_job(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """spark-submit: on this computer where no cluster is named, and whether its code comes from an address."""
    line, rest = read(program, words, stop_at_operand=0)
    master = line.value("--master")
    found = {"localhost"} if master is None or master.text.startswith("local") else set()
    code = [*rest[:1], *line.all("--jars", "--py-files", "--repositories", "--archives", "--packages")]
    if any(w.text.startswith(("http:", "https:", "ftp:")) for w in code):
        found.add("from_address")
    return commands.finish(shell, line, stdin, frozenset(found))


_STORED = re.compile(r"[\w.+-]+://|[\w.-]+@[\w.-]+:|[A-Za-z][\w .+-]+:(?!:)")  # behind two colons stands borg's archive
_NAMED_STORE = {"rclone": re.compile(r":?[\w.-]+:"), "mc": re.compile(r"[^./~].*/")}  # mc names its stores like folders


def storage(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """rclone, mc, restic …: which way data flows between this computer and a store, and whether secrets are among it."""
    line, _ = read(program, words)
    places = line.operands + line.all("-r", "--repo")
    stored = [_stored(program.name, w.text) for w in places]
    found: set[str] = set()
    taints: frozenset[str] = frozenset()
    for word, elsewhere in zip(places, stored, strict=True):
        if not elsewhere:
            taints |= files.read_file(shell, word, frozenset({"recursive"}))
    if any(stored):
        takes = program.name not in _BACKUPS and (len(places) == 1 or not stored[-1])
        found.add("receives" if takes else "sends")
        if takes and len(places) > 1:
            files.make_folder(shell, places[-1])
            files.write_file(shell, places[-1], Flow(None, frozenset({"network"})))
    return commands.finish(shell, line, stdin, frozenset(found) | (taints & {"secret"}))


_BACKUPS = ("restic", "borg", "duplicati-cli")  # they name the store first, also where they fill it


def _stored(program: str, text: str) -> bool:
    """Whether a path lies in a store."""
    if text.startswith(("file://", "local:", ":local:")):
        return False
    return bool(_STORED.match(text) or (program in _NAMED_STORE and _NAMED_STORE[program].match(text)))


HANDLERS = {
    "storage": storage,
    "queue_sender": queue_sender,
    "target_named": target_named,
    "spark_job": spark_job,
    "chain_named": chain_named,
    "ledger_code": ledger_code,
    "words_client": words_client,
    "mongo": mongo,
}
