"""Programs that run a command somewhere else: ssh, docker exec, kubectl exec. What runs there is understood as if it ran here,
with the trait "remote", and nothing this machine knows speaks in its favour."""

import re
from typing import TYPE_CHECKING

from ony_core.facts import commands, files, paths, shown
from ony_core.facts.argv import Line, read
from ony_core.facts.handlers.files import _ssh_option, behind_host
from ony_core.facts.own import note, noted
from ony_core.facts.targets import targets_of
from ony_core.facts.words import EMPTY, HOLE, Flow, Word
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def ssh(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, rest = read(program, words, stop_at_operand=1)
    for option in line.all("-o"):
        _ssh_option(shell, option)
    traits = set(line.traits)
    if stdin.taints & {"secret"}:
        traits.add("secret")
    if any(f in ("-L", "-R", "-D", "-w") for f, _ in line.values):
        traits.add("tunnel")
    if not rest and line.value("-W") is None and not line.flags & {"-N", "-V", "-G", "-Q", "-T"} and stdin.text in (None, ""):
        traits.add("open_ended")
    shell.call.add("command", program.name, (), line.flags, len(line.operands), targets_of(shell.call, line), traits)
    text = " ".join(shown.for_shell(w.text, w.taints) for w in rest) if rest else stdin.text
    out = far(shell, text, stdin) if text else EMPTY
    return shown.also(Flow(None, frozenset({"remote_output"})), out)


def far(shell: "Shell", text: str, stdin: Flow) -> Flow:
    """Program text for a shell elsewhere; the answer is what it prints."""
    inner = shell.child()
    inner.cwd, inner.variables = HOLE, {}
    with shell.call.lending("remote"):
        return inner.source(text.replace(HOLE, "${_}"), Flow(None, stdin.taints))


def container(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """docker, podman, kubectl, oc: verbs by table; `exec` and `run` carry a command after their operand (or after `--`)."""
    line, inner = read(program, words)
    runs = bool(set(line.verb) & set(tables().words["names"]["container_runs"]))
    if runs and program.name != "kubectl":
        line, inner = _parted(program, words)
    if line.verb[-1:] == ("cp",):
        for word in line.operands:
            if ":" not in word.text:
                files.read_file(shell, word, frozenset({"recursive"}))
            elif word is not line.operands[-1]:
                files.read_file(shell, word.part(behind_host(word.text)))
    commands.finish(shell, line, stdin, mounts(shell, line) | _from_pod(shell, program, line) | _own(shell, line))
    if not runs or "help" in line.traits:
        return Flow(None)
    inner = _inner_command(program, words, line, inner)
    if inner and inner[0].text.startswith("-"):
        return Flow(None)
    if inner:
        child = shell.child()
        child.cwd, child.variables = HOLE, {}
        with shell.call.lending("in_container" if _here(program, line) else "remote"):
            return shown.also(Flow(None), commands.run(child, inner, stdin))
    elif "exec" in line.verb:
        shell.call.add("grant", traits=("remote",))
    return Flow(None)


def _here(program: Program, line: Line) -> bool:
    """Whether the container is one of this computer's own."""
    return program.name != "kubectl" and ("run" in line.verb or "other_host" not in line.traits)


def _from_pod(shell: "Shell", program: Program, line: Line) -> frozenset[str]:
    """`kubectl cp pod:/x ./x` only receives; what it writes here is judged by its path."""
    from ony_core.facts.handlers.carriers import copied

    return copied(shell, line.operands) if program.name == "kubectl" and line.verb == ("cp",) else frozenset()


def _parted(program: Program, words: list[Word]) -> tuple[Line, list[Word]]:
    """The line up to the image or the container, and what follows: the inner command's own words, flags included."""
    line, _ = read(program, words)
    at = next((i for i, word in enumerate(words) if line.operands and word is line.operands[0]), len(words))
    return read(program, words[: at + 1])[0], words[at + 1 :]


def _inner_command(program: Program, words: list[Word], line: Line, rest: list[Word]) -> list[Word]:
    texts = [w.text for w in words]
    if program.name == "kubectl":
        return words[texts.index("--") + 1 :] if "--" in texts else line.operands[1:]
    first = line.value("--entrypoint") if "run" in line.verb else None
    if first is not None:
        return [first, *rest] if first.text else rest
    starts = image_program(line.operands[0].text) if rest and line.verb in _RUNS_IMAGE else None
    return [Word(starts), *rest] if starts else rest


def _own_project(shell: "Shell", line: Line) -> frozenset[str]:
    """Whether this session started the compose project that the line speaks of: then what it takes down holds nothing from before."""
    named = "|".join([shell.cwd, *(value.text for value in line.all("-f", "--file", "-p", "--project-name"))])
    if line.verb[1:2] in (("up",), ("create",)):
        note(shell, "compose", named)
    return frozenset({"made_by_session"}) if noted(shell, "compose", named) else frozenset()


_RUNS_IMAGE = (("run",), ("container", "run"))


def image_program(image: str) -> str | None:
    """The program that an image starts by itself, where a table knows it: no registry, tag or digest counts."""
    known: dict[str, str] = tables().words["image_programs"]
    parts = image.partition("@")[0].split("/")
    parts[-1] = parts[-1].partition(":")[0]
    return known.get("/".join(parts[-2:])) if len(parts) > 1 and parts[-2] != "library" else known.get(parts[-1])


_MAKES = {"run": "container", "create": "container", "container run": "container", "container create": "container"}
_MAKES |= {"volume create": "volume", "network create": "network", "build": "image", "image build": "image", "buildx build": "image"}
_TAKES = {"rm": "container", "container rm": "container", "container remove": "container", "volume rm": "volume", "network rm": "network"}
_TAKES |= {"rmi": "image", "image rm": "image", "image remove": "image", "kill": "container", "container kill": "container"}


def _own(shell: "Shell", line: Line) -> frozenset[str]:
    """Notes the containers, images, volumes and networks that this session makes; whether all that the line takes away are among them.

    `import URL` brings an image from an address that anyone may own.
    """
    verb = " ".join(line.verb)
    if "help" in line.traits:
        return frozenset()
    if verb in ("import", "image import") and any("://" in word.text for word in line.operands[:1]):
        return frozenset({"from_address"})
    names = line.all("--name") if _MAKES.get(verb) == "container" else line.all("-t", "--tag") if "build" in line.verb else line.operands
    for word in names if verb in _MAKES else []:
        note(shell, f"docker {_MAKES[verb]}", word.text)
    if line.verb[:1] == ("compose",):
        return _own_project(shell, line)
    taken = line.operands if verb in _TAKES else []
    own = bool(taken) and all(word.known and noted(shell, f"docker {_TAKES[verb]}", word.text) for word in taken)
    return frozenset({"made_by_session"}) if own else frozenset()


_REACHES_OUT = frozenset(
    {"/", "/etc", "~", "/var", "/var/run", "/run", "/proc", "/sys", "/dev", "/var/lib/docker", "/home", "/Users", "/usr", "/boot"}
)


def mounts(shell: "Shell", line: Line) -> frozenset[str]:
    """Mounts and options of a container that reach out of it."""
    found: set[str] = set()
    for value in line.all("-v", "--volume", "--mount"):
        source = _source(value.text)
        if paths.absolute(shell.cwd, source) in _REACHES_OUT or "docker.sock" in value.text:
            found.add("host_mount")
        if "/.ssh" in source or "/.aws" in source:
            found.add("secret")
    for flag, value in line.values:
        if flag in ("--pid", "--ipc", "--userns") and value.text == "host":
            found.add("host_mount")
        if flag in ("--cap-add", "--device") or (flag == "--security-opt" and "unconfined" in value.text):
            found.add("host_mount")
        if flag in ("-H", "--host", "-c", "--context") and line.program.name == "docker":
            found.add("other_host")
    return frozenset(found)


def _source(mount: str) -> str:
    """What a mount shows of this computer: `SOURCE:TARGET`, or `type=bind,source=SOURCE,…`."""
    named = re.search(r"(?:^|,)(?:source|src)=([^,]*)", mount)
    return named[1] if named else mount.partition(":")[0]


def compose(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """docker-compose as its own program: the same table as `docker compose`."""
    docker = tables().programs["docker"]
    return container(shell, docker, [Word("compose"), *words], stdin)


HANDLERS = {handler.__name__: handler for handler in (ssh, container, compose)}
