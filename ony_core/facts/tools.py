"""What each tool of an agent does: files, web, other agents, MCP servers. Shell tools go to the shell walker."""

import re
from typing import Any

from ony_core.facts import commands, edits, files, mcp, patches, paths, shown
from ony_core.facts.call import Call
from ony_core.facts.edits import named, text_of
from ony_core.facts.handlers.network import carries, host_of, url_traits
from ony_core.facts.secrets import token_shaped
from ony_core.facts.shell import Shell
from ony_core.facts.words import EMPTY, Word
from ony_core.model import UNLISTED
from ony_core.taxonomy.tables import tables

MOST_FILES = 200  # of one call; more are opaque
MOST_URLS = 20


def understand(call: Call, tool: str, given: dict[str, Any], cwd: str) -> None:
    """Adds the facts of one tool call."""
    shell = Shell(call, cwd)
    kind = tables().words["tools"].get(tool, "")
    if kind:
        _KINDS[kind](shell, tool, given)
    elif tool.startswith(("mcp__", "mcp.")):
        mcp.understand(shell, tool, given)
    elif tool in tables().rules.get("agent", {}):
        call.add("agent", tool)
    else:
        call.add("agent", UNLISTED)


def _shell(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    action = given.get("action")
    if isinstance(action, dict):  # local_shell
        given = {**given, **action}
    command = given.get("command", given.get("cmd", given.get("commands")))
    folder = given.get("workdir", given.get("cwd"))
    if isinstance(folder, str):
        shell.cwd = paths.absolute(shell.cwd, folder)
    if isinstance(command, str) and "\0" in command:
        shell.call.opaque("unparsed")  # no shell can be given one
    elif isinstance(command, str):
        shown.look(shell.call, shell.source(command))
    elif isinstance(command, list) and all(isinstance(w, str) for w in command):
        shown.look(shell.call, commands.run(shell, [Word(w, quoted=True) for w in command], EMPTY))
    else:
        shell.call.opaque("unparsed")


def _word(given: dict[str, Any]) -> Word | None:
    """The path a tool is given, under whichever key its agent uses."""
    text = text_of(given, "path")
    return named(text) if text else None


def _write(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    word = _word(given)
    if word is None:
        shell.call.opaque("unparsed")
    else:
        edits.written(shell, word, given)


def _delete(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    word = _word(given)
    if word is None:
        shell.call.opaque("unparsed")
    else:
        files.delete_file(shell, word)


def _either(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    """An editor whose `command` says what it does: view, create, str_replace, insert, undo_edit."""
    (_read if given.get("command") == "view" else _write)(shell, "Read", given)


def _patch(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    patches.envelope(
        shell, next((given[key] for key in ("input", "patch", "command", "patchText") if isinstance(given.get(key), str)), None)
    )


def _read(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    shell.call.add("agent", tool)
    word = _word(given)
    listed = [v for key in ("paths", "file_paths", "path") if isinstance(given.get(key), list) for v in given[key] if isinstance(v, str)]
    if len(listed) > MOST_FILES:
        shell.call.opaque("too_deep")
    for one in [word] if word is not None else [named(text) for text in listed[:MOST_FILES]]:
        searched = tool in tables().words["tool_keys"]["searches"] and given.get("output_mode") != "files_with_matches"
        files.read_file(shell, one, frozenset({"recursive"}) if searched else frozenset())
    pattern = given.get("glob", given.get("pattern") if tool.lower() in ("glob", "glob_file_search") else None)
    if isinstance(pattern, str):
        base = word.text.rstrip("/") + "/" if word and not pattern.startswith(("/", "~")) else ""
        files.read_file(shell, Word(base + pattern.replace("\0", "?"), glob=True))


def _fetch(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    """An address, or a prompt with addresses in it. What stands in an address leaves this machine."""
    listed = given.get("urls")
    text = text_of(given, "url") or ""
    urls = [text] if "url" in given and text else re.findall(r"https?://[^\s)>\"']+", text)
    if isinstance(listed, list):
        urls = [url for url in listed if isinstance(url, str)]
    if not 0 < len(urls) <= MOST_URLS:
        shell.call.opaque("unparsed")
    for url in urls[:MOST_URLS]:
        traits = url_traits(url)
        if "local_file" in traits:
            files.read_file(shell, named(url))
        if carries(url):
            traits |= {"secret"}
        verb = "sends" if "secret" in traits else "reads"
        shell.call.add("network", "WebFetch", (verb,), targets=host_of(shell.call, url), traits=traits)


def _search(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    """A search: the words of the query leave this machine."""
    shell.call.add("agent", tool)
    if token_shaped(text_of(given, "query") or ""):
        shell.call.add("network", "WebFetch", ("sends",), traits={"secret"})


def _type(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    """Input for a program that runs: nothing at all is a look at its output, and a control key can only stop it."""
    text = text_of(given, "typed")
    harmless = text is not None and not text.strip("\x03\x04\x1a\x1b\r\n ")
    shell.call.add("agent", "LookAtOutput" if harmless else tool)


def _computer(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    """The whole desktop: looking is a read; a key or a click may be anything."""
    looks = given.get("action") in tables().words["tool_keys"]["looks"]
    shell.call.add("agent", "LookAtScreen" if looks else tool)


def _later(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    """A prompt for later or for others. A word to the gate itself is not theirs to say."""
    shell.call.add("agent", tool)
    if any(isinstance(value, str) and re.search(r"(?:^|\s)/ony\b", value) for value in given.values()):
        shell.call.add("command", commands.GATE, (UNLISTED,))


def _skill(shell: Shell, tool: str, given: dict[str, Any]) -> None:
    """A skill or command of the user's: its `!` lines run without another call, so they are read where its body can be."""
    _later(shell, tool, given)
    words = str(given.get("skill", given.get("command", given.get("name", "")))).split() or [""]
    name = words[0].lstrip("/").rpartition(":")[2]
    if not re.fullmatch(r"[\w.-]{1,80}", name):
        return
    for folder in (".claude", "~/.claude", ".agents", "~/.agents", "~/.codex"):
        for file in (f"{folder}/skills/{name}/SKILL.md", f"{folder}/commands/{name}.md"):
            body = files.known_content(shell, Word(file))
            if body is not None and body.text is None and body.taints & {"network"}:
                shell.call.add("opaque", traits=("network",))  # nobody here has read the lines it runs
            if body is not None and body.text is not None:
                for line in re.findall(r"(?m)(?:^|(?<=\s))!`([^`]+)`|^```!\s*\n(.*?)^```", body.text, re.DOTALL):
                    shell.child().source(line[0] or line[1])
                return


_KINDS = {
    "shell": _shell, "write": _write, "delete": _delete, "patch": _patch, "read": _read, "fetch": _fetch, "search": _search, "type": _type,
    "either": _either, "computer": _computer, "later": _later, "skill": _skill,
}  # fmt: skip
