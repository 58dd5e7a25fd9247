"""Programs that run what the project says: make, npm run, just, ./scripts; and pip-like installers whose source decides."""

import re
from functools import cache
from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING

from ony_core.facts import commands, makefiles, own, paths, scripts
from ony_core.facts.argv import Line, read
from ony_core.facts.words import HOLE, UNKNOWN, Flow, Word
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


_SCRIPTS = {"t": "test", "tst": "test"}


def make(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """make, just, task, rake: each target by its recipe where the file can be read, and by its name."""
    line, _ = read(program, words)
    shell.call.add("command", program.name, line.verb, line.flags, len(line.operands), traits=line.traits)
    if "help" in line.traits or line.flags & set(tables().words["only_looks"][program.name]):
        return UNKNOWN
    own.built(shell, program.name)
    given = dict(w.text.split("=", 1) for w in line.operands if "=" in w.text)
    names = [w.text for w in line.operands if "=" not in w.text]
    traits: set[str] = set()
    for name in names:
        if name.startswith("db:") and program.name == "rake":
            commands.run(shell, [Word("rails"), Word(name)], stdin)  # Rails' own tasks mean the same under both names
        elif plugin := re.match(r":?(flyway|liquibase):?([A-Za-z]+)$", name):  # `mvn flyway:clean`, `gradle flywayClean`
            commands.run(shell, [Word(plugin[1]), Word(plugin[2][0].lower() + plugin[2][1:])], stdin)
        else:
            traits |= scripts.name_traits(name)
    inner = _in_folder(shell, line.value("-C", "--directory"))
    file = line.value("-f", "--file", "--makefile")
    if program.name == "make" or file is not None:
        makefiles.run(inner, names, file, given)
    shell.call.add("command", "project_code", traits=traits)
    return UNKNOWN


def package_script(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """npm, yarn, pnpm, bun, composer, poetry: verbs by table; `run x` by the project's own script."""
    line, _ = read(program, words)
    commands.finish(shell, line, stdin, installs_from(line))
    if "help" in line.traits:
        return UNKNOWN
    inner = _in_folder(shell, line.value("--prefix", "-C", "--dir", "--cwd", "-d", "--working-dir"))
    verb, first = line.verb[:1], line.operands[0].text if line.operands else ""
    if verb and verb[0] in tables().words["names"]["script_verbs"]:
        name = first if verb[0] in ("run", "run-script", "rum", "urn") else _SCRIPTS.get(verb[0], verb[0])
        if name:
            scripts.package_script(inner, name)
            shell.call.add("command", "project_code", traits=scripts.name_traits(name))
    elif verb in (("dlx",), ("x",)) or (verb == ("exec",) and program.name == "npm"):
        package_runner(shell, tables().programs["npx"], _behind(words, verb[0]), stdin)
    elif verb == ("exec",):
        _run_rest(shell, _behind(words, "exec"), stdin)
    elif program.name == "yarn" and verb == ("node",):  # Yarn 2: Node.js with the project's packages
        commands.run(shell.child(), words, stdin)
    elif program.name == "yarn" and [w.text for w in words[:2]] == ["workspaces", "foreach"]:
        _each_workspace(shell, program, words[2:], stdin)
    elif program.name in ("yarn", "pnpm", "bun"):
        _bare_script(shell, inner, line, words, stdin)
    return UNKNOWN


def _in_folder(shell: "Shell", folder: Word | None) -> "Shell":
    """A shell that stands in the folder that a flag names."""
    inner = shell.child()
    if folder is not None:
        inner.cwd = paths.absolute(shell.cwd, folder.text)
    return inner


def _each_workspace(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> None:
    """`yarn workspaces foreach -A npm publish`: a yarn command in each of them."""
    command = _without_flags(words)
    if command:
        commands.run(shell, [Word(program.name), *command], stdin)


def _without_flags(words: list[Word]) -> list[Word]:
    """From the first word on that is no flag."""
    return list(dropwhile(lambda word: word.text[:1] == "-", words))


def _behind(words: list[Word], verb: str) -> list[Word]:
    """What stands behind a verb; `--` says nothing more."""
    return [w for w in list(dropwhile(lambda word: word.text != verb, words))[1:] if w.text != "--"]


def _run_rest(shell: "Shell", words: list[Word], stdin: Flow) -> None:
    rest = _without_flags(words)
    if rest and commands.program_named(rest[0].text):
        commands.run(shell, rest, stdin)


def _bare_script(shell: "Shell", inner: "Shell", line: Line, words: list[Word], stdin: Flow) -> None:
    """`yarn x`: a script of the project where it has one of that name, else a program it has installed. `deploy` is no word of yarn."""
    unlisted = UNLISTED in line.verb
    name = line.operands[0].text if unlisted else " ".join(line.verb[:1])
    scripts.package_script(inner, name)
    if unlisted and name in tables().words["names"]["package_programs"]:
        commands.run(shell, [Word(name), *_behind(words, name)], stdin)
    if unlisted or (name == "deploy" and line.program.name != "pnpm"):
        shell.call.add("command", "project_code", traits=scripts.name_traits(name))


_FILES = (".whl", ".tgz", ".tar.gz", ".deb", ".rpm", ".snap", ".flatpak", ".flatpakref", ".ipk")


def installer(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """apt, dnf, brew and their kin: verbs by table; a file or an address did not come from the system's own sources."""
    line, _ = read(program, words)
    return commands.finish(shell, line, stdin, installs_from(line))


def installs_from(line: Line) -> frozenset[str]:
    """Where packages come from: a lock file or the usual registry, or an address that anyone may own."""
    found: set[str] = set()
    for word in (*line.operands, *line.all("-e", "--editable")):
        if re.match(r"(?:git\+|https?://|git://|ssh://|git@|github:|gitlab:|bitbucket:|gist:)|[\w.-]+ @ (?:git|http)", word.text):
            found.add("from_address")
        elif word.text in (".", "..") or word.text.startswith(("./", "../", "/", ".[", "file:")) or word.text.endswith(_FILES):
            found.add("from_path")
    for flag, value in line.values:
        if flag in ("-i", "--index-url", "--extra-index-url", "--registry", "-f", "--find-links", "--index", "--default-index", "--source"):
            found |= set() if _known_registry(value.text) else {"other_registry"}
        if flag in ("-r", "--requirement") and value.text.startswith("http"):
            found.add("from_address")
    return frozenset(found)


def _known_registry(url: str) -> bool:
    return any(url == known or url.startswith(known + "/") for known in tables().words["names"]["known_registries"])


def package_runner(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """npx, uvx, pipx run, bunx: a program from a registry; one that a table knows is understood as that program."""
    line, rest = read(program, words, stop_at_operand=0)
    if not rest:
        shell.call.add("command", program.name, line.verb, line.flags, 0, traits=line.traits)
        return UNKNOWN
    known = _in_registry(rest[0].text)
    others = [value.text for value in line.all("-p", "--package", "--from", "--spec") if not value.text[:1].isdigit()]  # uvx -p 3.12
    scopes = tables().words["names"]["registry_scopes"]
    strange = any(_in_registry(other) is None and other.partition("/")[0] not in scopes for other in others)
    if known is None or strange or known.name in tables().words["names"]["not_from_registry"]:
        shell.call.add("command", program.name, line.verb, line.flags, len(rest), traits={"unlisted_package"})
        return UNKNOWN
    shell.call.add("command", program.name, line.verb, line.flags, len(rest))
    return commands.run(shell, [Word(known.name), *rest[1:]], stdin)


def _in_registry(name: str) -> Program | None:
    """The program that a package holds. Anyone may own a scope: behind one that the tables do not name, `@x/eslint` is not eslint."""
    name = re.sub(r"(?<=.)@[\w.^~-]+$|[\[=<>~!].*", "", name)
    scope, _, last = name.rpartition("/")
    if scope and scope not in tables().words["names"]["registry_scopes"]:
        return None
    return commands.program_named(tables().words["registry_names"].get(name, last))


def tool_runner(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """poetry run, uv run, bundle exec, pipenv run, dotenv, nix-shell --run: a verb, then a command."""
    line, _ = read(program, words)
    commands.finish(shell, line, stdin, installs_from(line))
    runs = set(tables().words["names"]["command_verbs"])
    if line.verb == ("tool", "run") or (program.name == "pipx" and line.verb[:1] == ("run",)):
        package_runner(shell, tables().programs["npx"], _behind(words, "run"), stdin)
        return UNKNOWN
    if not line.verb or line.verb[0] not in runs or "help" in line.traits:
        return UNKNOWN
    at = next(i for i, w in enumerate(words) if w.text == line.verb[0])
    own, rest = read(program, words[at + 1 :], stop_at_operand=0)
    module = own.value("-m", "--module")  # `uv run -m pytest`
    if module is not None:
        rest = [Word("python"), Word("-m"), module, *rest]
    if rest and rest[0].text.endswith(".py"):
        rest = [Word("python"), *rest]
    return commands.run(shell, rest, stdin) if rest else UNKNOWN


def go(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`go run module@version` fetches and runs in one step, as npx does; whose module it is stands in its path alone."""
    line, _ = read(program, words)
    before = takewhile(lambda word: not word.text.startswith((".", "/")) and not word.text.endswith(".go"), words)  # code that is here
    module = next((w.text for w in before if "@" in w.text), "") if line.verb[:1] == ("run",) else ""
    ours = module.startswith(tuple(tables().words["names"]["go_modules"]))
    return commands.finish(shell, line, stdin, frozenset({"unlisted_package"} if module and not ours else ()))


def mix(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """`mix do a, b + c`: several tasks in one line; `mix eval` and `mix run -e`: code."""
    from ony_core.facts.handlers.interpreters import inline

    if words and words[0].text == "do":
        for task in _tasks(_without_flags(words[3:] if words[1:2] and words[1].text == "--app" else words[1:])):
            commands.run(shell, [Word(program.name), *task], stdin)
        return UNKNOWN
    line, _ = read(program, words)
    flow = commands.finish(shell, line, stdin)
    for code in (*line.all("-e", "--eval"), *(words[1:2] if words and words[0].text == "eval" else [])):
        inline(shell, "elixir", code.text if code.known else None, code.taints)
    return flow


def _tasks(words: list[Word]) -> list[list[Word]]:
    found: list[list[Word]] = [[]]
    for word in words:
        if word.text not in (",", "+"):
            found[-1].append(word.part(word.text.rstrip(",")))
        if word.text == "+" or word.text.endswith(","):
            found.append([])
    return [task for task in found if task]


def told(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """A builder or framework, which runs tasks by name: what a task says that it deploys, publishes or destroys is believed."""
    line, _ = read(program, words)
    flow = commands.finish(shell, line, stdin)
    tasks = [w.text for w in (*line.operands, *line.all("-t", "-e", "--target", "--targets"))]
    if "help" in line.traits or not tasks or tasks[0] in tables().words["names"]["builds_only"]:
        return flow
    traits = {trait for task in tasks if not _A_FILE.search(task) for trait in scripts.name_traits(_CONFIGURATION.sub(" ", task))}
    if traits:
        shell.call.add("command", "project_code", traits=traits)
    return flow


_A_FILE = re.compile(r"^[~.]|\.\w{1,5}$")
_CONFIGURATION = re.compile(r"\b(?:release|prod|production|reset)\b")  # how something is built, and what is emptied to build it anew


def project_command(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """Django, Rails, Laravel, Symfony, Flask: a verb by its table; a command of the project by its name; code by what it names."""
    line, _ = read(program, words)
    found: set[str] = set()
    if UNLISTED in line.verb or line.verb in (("*:*",),):
        found |= scripts.name_traits(next((w.text for w in words if w.text[:1] != "-"), ""))
    language = tables().words["project_commands"]["code_verbs"].get(line.verb[0] if line.verb else "")
    if language is not None and "help" not in line.traits:
        found |= _project_code(shell, language, line, stdin)
    return commands.finish(shell, line, stdin, frozenset(found))


def _project_code(shell: "Shell", language: str, line: Line, stdin: Flow) -> set[str]:
    """Code that runs with the project's models at hand: by its own language, and by the methods that change data."""
    from ony_core.facts.handlers.interpreters import inline
    from ony_core.facts.python import understand

    codes = [v.text for f, v in line.values if line.program.roles.get(f) == "text"]
    codes += [w.text for w in line.operands if language == "ruby"]
    if not codes and stdin.text:
        codes = [stdin.text]
    if not codes and stdin.text is None and stdin.taints:
        shell.call.opaque("code_unknown")
    for code in codes:
        if language == "python":
            understand(shell, code.replace(HOLE, "0"))
        else:
            inline(shell, language, code, frozenset())
    return {"changes_data"} if any(_changes_data().search(code) for code in codes) else set()


@cache
def _changes_data() -> re.Pattern[str]:
    return re.compile("|".join(tables().words["project_commands"]["changes_data"]))


_SAIL = {"test": "artisan", "t": "artisan", "tinker": "artisan", "dusk": "artisan", "redis": "redis-cli", "a": "artisan", "art": "artisan"}
_SAIL_INSIDE = frozenset(
    {"artisan", "php", "composer", "node", "npm", "npx", "yarn", "pnpm", "bun", "bunx", "mysql", "mariadb", "psql", "bash"}
)


def sail(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """sail: a command inside the project's container, else docker compose."""
    shell.call.add("command", program.name, args=len(words))
    if not words:
        return UNKNOWN
    first = words[0].text
    if first in ("shell", "root-shell", "root-bash"):
        shell.call.add("grant", traits=("open_ended",))
        return UNKNOWN
    if first in _SAIL:
        inside = [Word(_SAIL[first]), *(words[1:] if first in ("redis", "a", "art") else words)]
        return commands.run(shell, inside, stdin)
    if first == "bin":  # `sail bin phpunit`: a program that the project has installed
        return commands.run(shell, words[1:], stdin)
    return commands.run(shell, words if first in _SAIL_INSIDE else [Word("docker"), Word("compose"), *words], stdin)


def restarting(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """nodemon, wasmtime: what `--exec` says with the operands behind it, else the script; it is started again on every change."""
    line, rest = read(program, words, stop_at_operand=0)
    if rest and rest[0].text == "run":  # `wasmtime run --dir=. a.wasm`
        line, rest = read(program, rest[1:], stop_at_operand=0)
    shell.call.add("command", program.name, line.verb, line.flags, len(rest), traits=line.traits)
    first = line.value("-x", "--exec")
    if "help" in line.traits:
        return UNKNOWN
    if first is not None:
        text = " ".join([first.text, *(f"'{word.text}'" if word.known else "${_}" for word in rest)])
        return shell.child().source(text.replace(HOLE, "${_}"))
    return scripts.run_file(shell, rest[0], rest[1:], "") if rest else UNKNOWN


_TASKS = (make, mix, told, project_command, restarting, sail)
_PACKAGES = (package_script, package_runner, installer, tool_runner, go)
HANDLERS = {handler.__name__: handler for handler in (*_TASKS, *_PACKAGES)}
