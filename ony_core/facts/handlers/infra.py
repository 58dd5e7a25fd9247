"""Infrastructure programs: which place their folder is set to, as it was before the session."""

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ony_core.facts import commands, paths
from ony_core.facts.argv import Line, read
from ony_core.facts.secrets import looks_secret
from ony_core.facts.words import Flow, Made, Word
from ony_core.model import Target
from ony_core.taxonomy.tables import Program, tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_OTHERWISE = ("TF_WORKSPACE", "TF_DATA_DIR", "TF_CLI_ARGS")  # variables that name another place than the folder does
_SECRET = re.compile(  # names of outputs; what a secret is called or where it is kept is none
    r"(?i)(?:passw(?:or)?d|secret|token|private_?key|(?:api|access|secret|master|account|admin)_?key|credentials?|kube_?config|connection_?string)s?"
    r"(?:_?(?:value|raw|b64|base64|json|yaml|text|\d+))?$"
)


def terraform(shell: "Shell", program: Program, words: list[Word], stdin: Flow) -> Flow:
    """terraform, with its workspace as a target where a file from before the session names it."""
    line, _ = read(program, words)
    chosen = line.value("-chdir")
    folder = shell.cwd if chosen is None else paths.absolute(shell.cwd, chosen.text)
    if line.verb[:1] in (("workspace",), ("init",)):
        shell.call.made[f"{folder}/.terraform/environment"] = Made(taints=frozenset({"changed"}))
    seen = _workspace(shell, line, folder)
    said = tables().words["names"]["production_places"]
    secret = any(_SECRET.search(word.text) for word in line.operands)
    traits = {"production" if any(fnmatchcase(t.name, p) for p in said) else "place_known" for t in seen}
    return commands.finish(shell, line, stdin, frozenset(traits | ({"reads_secret"} if secret else set())), seen=seen)


def _workspace(shell: "Shell", line: Line, folder: str) -> tuple[Target, ...]:
    """Nothing where the call itself, a variable or a flag may choose another place."""
    if f"{folder}/.terraform/environment" in shell.call.made or any(name.startswith(_OTHERWISE) for name in shell.variables):
        return ()
    if line.flags & {"-state", "-backend-config"}:
        return ()
    name = shell.call.place.context("workspace:" + folder)
    fits = isinstance(name, str) and tables().targets["workspace"].fullmatch(name) is not None
    return (Target("workspace", str(name)),) if fits and not looks_secret(str(name)) else ()


HANDLERS = {terraform.__name__: terraform}
