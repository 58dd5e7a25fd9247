"""What a patch does to files: the envelope of apply_patch, and unified diffs as git and patch take them.

MUST: a patch nobody can read is not known to be harmless where it came from the network; the files a readable one names are judged by path.
"""

import re
from typing import TYPE_CHECKING

from ony_core.facts import files
from ony_core.facts.place import Unknown
from ony_core.facts.words import UNKNOWN, Flow, Made, Word

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

_PART = re.compile(r"^\*\*\* (Add|Update|Delete) File: (.+)$|^\*\*\* (Move to): (.+)$", re.MULTILINE)
_DIFF = re.compile(r"^(?:\+\+\+|---) (?:[abciow]/)?([^\t\n]+)|^(?:rename|copy) to (.+)$|^diff --git a/\S+ b/(.+)$", re.MULTILINE)
_FILES = re.compile(r"^(?=diff --git |--- )", re.MULTILINE)
_UNREAD = (Unknown.UNREADABLE, Unknown.NOT_REGULAR, Unknown.TOO_BIG, Unknown.LATE)
MOST = 400


def envelope(shell: "Shell", text: str | None) -> None:
    """apply_patch: `*** Add File: …`, `*** Update File: …`, `*** Delete File: …`, `*** Move to: …`."""
    text = text or ""
    parts = list(_PART.finditer(text))
    if not parts or len(parts) > MOST:
        shell.call.opaque("unparsed")
        return
    ends = [part.start() for part in parts[1:]] + [len(text)]
    before: Made | None = None
    for part, end in zip(parts, ends, strict=True):
        action, word = part[1], Word((part[2] or part[4]).strip(), quoted=True)
        body = text[part.end() : end]
        if action == "Delete":
            files.delete_file(shell, word)
        elif action == "Add":
            lines = [line[1:] for line in body.split("\n") if line.startswith("+")]
            files.write_file(shell, word, Flow("\n".join(lines) + "\n"))
        else:
            before = files.known_content(shell, word) if action == "Update" else before
            put_in = Flow(_added(body)) if action == "Update" else UNKNOWN
            files.write_file(shell, word, put_in, frozenset({"modify"}) if action == "Update" else frozenset())
            if before is not None and before.text is not None:
                files.edited(shell, word, before, _changed(before.text, body))


def _added(body: str) -> str:
    """The lines that a patch puts in."""
    return "\n".join(line[1:] for line in body.split("\n") if line.startswith("+") and not line.startswith("+++ "))


def _changed(text: str, body: str) -> str | None:
    """The text after the hunks of one file, where each finds its place."""
    for hunk in re.split(r"^@@.*\n?", body, flags=re.MULTILINE):
        lines = [line for line in hunk.split("\n") if line[:1] in " +-" and line]
        old = "\n".join(line[1:] for line in lines if line[0] != "+")
        new = "\n".join(line[1:] for line in lines if line[0] != "-")
        if not lines or old == new:
            continue
        if old not in text:
            return None
        text = text.replace(old, new, 1)
    return text


def diff(shell: "Shell", flow: Flow, folder: Word | None = None) -> None:
    """A unified diff: every file it names is changed, below `folder` if one is given.

    One that came from the network and cannot be read could change any.
    """
    if flow.text is None:
        if "network" in flow.taints:
            shell.call.add("opaque", traits={"network"})
        return
    named: dict[str, str] = {}
    for part in _FILES.split(flow.text):
        for name in {(a or b or c).strip() for a, b, c in _DIFF.findall(part)} - {"/dev/null"}:
            named[name] = named.get(name, "") + _added(part)
    for name in sorted(named)[:MOST]:
        last = name.rpartition("/")[2]  # as -p may have it
        for path in (name,) if folder is None else (f"{folder.text}/{name}", f"{folder.text}/{last}"):
            files.write_file(shell, Word(path, quoted=True), Flow(named[name]), frozenset({"modify"}))
    if len(named) > MOST:
        shell.call.opaque("too_deep")


def diff_file(shell: "Shell", word: Word, folder: Word | None = None) -> None:
    from ony_core.facts import scripts

    content = files.known_content(shell, word)
    if content is None and word.known and scripts.content_of(shell, word) in _UNREAD:
        shell.call.opaque("unreadable")
    taints = files.read_file(shell, word) | (content.taints if content else frozenset())
    diff(shell, Flow(content.text if content else None, taints), folder)
