"""Programs that run a command somewhere else: ssh, docker exec, kubectl exec. What runs there is understood as if it ran here,
with the trait "remote", and nothing this machine knows speaks in its favour."""

from typing import TYPE_CHECKING

from ony_core.facts import commands
from ony_core.facts.argv import Line, read
from ony_core.facts.handlers.files import _ssh_option
from ony_core.facts.sql import statements
from ony_core.facts.targets import targets_of
from ony_core.facts.words import EMPTY, HOLE, Flow, Word
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def ssh(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    line, rest = read(program, words, stop_at_operand=1)
    for option in line.all("-o"):
        _ssh_option(shell, option)
    traits = set(line.traits) - {"unknown_word"}
    if stdin.taints & {"secret"}:
        traits.add("secret")
    if any(f in ("-L", "-R", "-D", "-w") for f, _ in line.values):
        traits.add("tunnel")
    if not rest and line.value("-W") is None and not line.flags & {"-N", "-V", "-G", "-Q", "-T"} and stdin.text in (None, ""):
        traits.add("open_ended")
    shell.call.add("command", program.name, (), line.flags, len(line.operands), targets_of(shell.call, line), traits)
    text = " ".join(w.text for w in rest) if rest else stdin.text
    if text:
        far(shell, text, stdin)
    return Flow(None, frozenset({"remote_output"}))


def far(shell: "Shell", text: str, stdin: Flow) -> None:
    """Program text for a shell elsewhere."""
    inner = shell.child()
    inner.cwd, inner.variables = HOLE, {}
    with shell.call.lending("remote"):
        inner.source(text.replace(HOLE, "${_}"), Flow(None, stdin.taints))


def container(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """docker, podman, kubectl, oc: verbs by table; `exec` and `run` carry a command after their operand (or after `--`)."""
    line, _ = read(program, words)
    if set(line.verb) & set(tables().words["names"]["container_runs"]) and program.name != "kubectl":
        line, _ = read(program, words, stop_at_operand=1)  # what follows the container's name is the inner command's
    if line.verb[-1:] == ("cp",):
        for word in line.operands:
            if ":" not in word.text:
                commands.read_file(shell, word, frozenset({"recursive"}))
    commands.finish(shell, line, stdin, mounts(line) | _from_pod(shell, program, line))
    if not set(line.verb) & set(tables().words["names"]["container_runs"]) or "help" in line.traits:
        return Flow(None)
    inner = _inner_command(program, words, line)
    if inner and inner[0].text.startswith("-"):
        return Flow(None)
    if inner:
        child = shell.child()
        child.cwd, child.variables = HOLE, {}
        with shell.call.lending("in_container" if _here(program, line) else "remote"):
            commands.run(child, inner, stdin)
    elif "exec" in line.verb:
        shell.call.add("grant", traits=("remote",))
    return Flow(None)


def _here(program: Program, line: Line) -> bool:
    """Whether the container is one of this computer's own."""
    return "run" in line.verb or (program.name not in ("kubectl", "oc") and not line.all("-H", "--host", "-c", "--context"))


def _from_pod(shell: "Shell", program: Program, line: Line) -> frozenset[str]:
    """`kubectl cp pod:/x ./x` only receives; what it writes here is judged by its path."""
    from ony_core.facts.handlers.carriers import copied

    return copied(shell, line.operands) if program.name == "kubectl" and line.verb == ("cp",) else frozenset()


def _inner_command(program: Program, words: list[Word], line: Line) -> list[Word]:
    texts = [w.text for w in words]
    if program.name in ("kubectl", "oc"):
        return words[texts.index("--") + 1 :] if "--" in texts else line.operands[1:]
    _, rest = read(program, words, stop_at_operand=1)
    return rest


def mounts(line: Line) -> frozenset[str]:
    """Mounts and options of a container that reach out of it."""
    found: set[str] = set()
    for value in line.all("-v", "--volume", "--mount"):
        source = value.text.partition("source=")[2].partition("src=")[2] or value.text.partition("src=")[2] or value.text
        source = source.partition("source=")[2] or source
        source = source.split(":")[0].split(",")[0]
        if (
            source in ("/", "/etc", "/root", "/var/run", "/proc", "/sys", "/dev", "/var/lib/docker", "/home", "/usr", "/boot")
            or "docker.sock" in value.text
        ):
            found.add("host_mount")
        if source.startswith(("~/.ssh", "~/.aws", "/root/.ssh")) or "/.ssh" in source or "/.aws" in source:
            found.add("secret")
    for flag, value in line.values:
        if (
            flag in ("--pid", "--net", "--network", "--ipc", "--uts", "--userns")
            and value.text == "host"
            and flag in ("--pid", "--ipc", "--userns")
        ):
            found.add("host_mount")
        if flag in ("--cap-add", "--device") or (flag == "--security-opt" and "unconfined" in value.text):
            found.add("host_mount")
        if flag in ("-H", "--host", "-c", "--context") and line.program.name in ("docker", "podman"):
            found.add("other_host")
    return frozenset(found)


def far_text(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """gcloud compute ssh --command, aws ssm, vagrant ssh -c: a flag holds the far command."""
    line, _ = read(program, words)
    commands.finish(shell, line, stdin)
    for flag, value in line.values:
        if flag == "--query-string" and "start-query-execution" in line.verb:
            statements(shell.call, value.text, "psql", set())
        if flag in ("--command", "-c") and "ssh" in line.verb:
            far(shell, value.text, EMPTY)
    return Flow(None, frozenset(tables().words["outputs"].get(program.name, ())))


def compose(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """docker-compose as its own program: the same table as `docker compose`."""
    docker = tables().programs["docker"]
    return container(shell, docker, [Word("compose"), *words], stdin)


HANDLERS = {"ssh": ssh, "container": container, "far_text": far_text, "compose": compose}
