"""What a command does to files: each is read, written, deleted or moved, by its path and by what this call made before.

MUST: leave a fact wherever the path is one that matters; note what a file holds only where that is known to its end.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from ony_core.facts import paths
from ony_core.facts.own import absent, brought, evidence, linked, session_made, stands
from ony_core.facts.place import Unknown
from ony_core.facts.words import EMPTY, UNKNOWN, Flow, Made, Word
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell

LIMIT = 1 << 20  # bytes of a file that are read


def carried(taints: frozenset[str]) -> frozenset[str]:
    """What of a text's origin is said of the file, command or connection that it goes to."""
    return taints & {"secret"}


def read_file(shell: "Shell", word: Word, extra: frozenset[str] = frozenset()) -> frozenset[str]:
    """Reading leaves a fact only where the path is one that matters."""
    if word.flow is not None or word.text == "-":
        return word.taints
    found = paths.traits_of(shell.call, shell.cwd, word)
    if word.text[:1] == "@":  # `gcc @file`, `7z a x @file`: what stands in the file are more words, and errors print them
        found |= paths.traits_of(shell.call, shell.cwd, word.part(word.text[1:])) & {"secret"}
    made = made_at(shell, word)
    carried = made.taints if made else frozenset()
    if not word.known and "names_secret" in word.taints:
        found |= {"secret"}  # `find . -name .env | xargs cat`
    if ("recursive" in extra and found & {"secret_folder"}) or "secret" in found:
        if not (made and made.text is not None):
            shell.call.add("file", verb=("read",), traits=(found | extra | {"secret"}) & _file_words())
        carried |= {"secret"}
    elif found & {"device", "ony_files"}:
        shell.call.add("file", verb=("read",), traits=(found | extra) & _file_words())
    return word.taints | carried


def write_file(shell: "Shell", word: Word, flow: Flow, extra: frozenset[str] = frozenset()) -> frozenset[str]:
    if word.flow is not None and word.flow.text is not None and "into_command" in word.taints:
        into_command(shell, word, flow)
        return frozenset()
    found = paths.traits_of(shell.call, shell.cwd, word)
    if "sink" in found or word.text in ("-", ""):
        return frozenset()
    if session_made(shell, word):
        found |= {"made_by_session"}
    if "modify" not in extra and flow.text == "":
        extra |= {"empties"}
        found |= evidence(shell, word) & {"kept_by_git"}
    if flow.text is not None and starts_on_opening(word.text, flow.text):
        found |= {"startup"}
    verb = "append" if "append" in extra else "write"
    shell.call.add("file", verb=(verb,), traits=(found | extra | carried(flow.taints)) & _file_words())
    if word.known:
        _remember(shell, word, flow, extra)
    return frozenset()


def starts_on_opening(path: str, text: str) -> bool:
    """Whether an editor that opens the folder would start what this file says, outside of any container."""
    patterns = [p for end, listed in tables().words["on_opening"].items() if path.endswith(end) for p in listed]
    return any(re.search(pattern, text) for pattern in patterns)


def _remember(shell: "Shell", word: Word, flow: Flow, extra: frozenset[str]) -> None:
    path = paths.absolute(shell.cwd, word.text)
    before = shell.call.made.get(path)
    added = "\n".join(text for text in (before.added if before is not None else "", flow.text) if text)
    if "append" in extra and (before is not None or absent(shell, path)):
        start = Flow(before.text, before.taints) if before is not None and not before.gone else EMPTY
        made = start.then(flow)
        shell.call.made[path] = Made(made.text, made.taints, added=added[-LIMIT:] if made.text is None else "")
    elif "append" in extra or "modify" in extra:
        own = before.taints if before is not None and not before.gone else frozenset({"changed"})
        taints = (frozenset() if before is None and session_made(shell, word) else own) | flow.taints
        shell.call.made[path] = Made(before.text if before is not None else None, taints, added=added[-LIMIT:])
    else:
        fresh = absent(shell, path) or (before is not None and "changed" not in before.taints)
        shell.call.made[path] = Made(flow.text, flow.taints | (set() if fresh and "placed" not in extra else {"changed"}))


def edited(shell: "Shell", word: Word, before: Made, text: str | None) -> None:
    """A file after a change whose outcome is known."""
    path = paths.absolute(shell.cwd, word.text)
    now = shell.call.made.get(path)
    if text is not None and now is not None:
        shell.call.made[path] = Made(text, now.taints, added=before.added)
        if starts_on_opening(word.text, text):
            shell.call.add("file", verb=("write",), traits={"startup", "modify"})


def delete_file(shell: "Shell", word: Word, extra: frozenset[str] = frozenset()) -> None:
    found = paths.traits_of(shell.call, shell.cwd, word, itself=word.text.endswith("/")) | extra
    if "sink" in found:
        found |= {"device"}
    if word.glob and "recursive" not in found:
        found |= {"many"}
    found |= evidence(shell, word)
    if "kept_by_git" in found and not _is_folder(shell, word):
        found -= {"recursive"}  # `rm -rf package-lock.json` is `rm`; but a folder may stand today where the index has a file
    _count_deletion(shell, found & _file_words())
    if word.known:
        shell.call.made[paths.absolute(shell.cwd, word.text)] = Made(gone=True)


def _is_folder(shell: "Shell", word: Word) -> bool:
    path = paths.absolute(shell.cwd, word.text)
    made = shell.call.made.get(path)
    return (made is not None and made.folder) or shell.call.place.read(path, 0) is Unknown.NOT_REGULAR


def _count_deletion(shell: "Shell", found: frozenset[str]) -> None:
    """One fact for all files of a kind, with their number: that is what a person wants to hear."""
    traits = tuple(sorted(shell.call.also | found))
    before = next((f for f in shell.call.facts if f.kind == "file" and f.verb == ("delete",) and f.traits == traits), None)
    counted = not found & {"recursive", "many", "unknown_path"}
    if before is not None:
        del shell.call.facts[before]
    shell.call.add("file", verb=("delete",), args=(before.args if before else 0) + counted, traits=found)


def make_folder(shell: "Shell", word: Word) -> None:
    found = paths.traits_of(shell.call, shell.cwd, word)
    path = paths.absolute(shell.cwd, word.text)
    if found & {"system", "ony_files"}:
        shell.call.add("file", verb=("write",), traits=found & _file_words())
    root = paths.absolute("/", shell.call.place.cwd or paths.NOWHERE)
    while word.known and path not in shell.call.made and path != root and len(path) > 1 and absent(shell, path):
        shell.call.made[path] = Made(folder=True)
        path = path.rpartition("/")[0]
        if not path.startswith(root + "/"):
            break


def transfer(shell: "Shell", role: str, sources: list[Word], into: Word | None, extra: frozenset[str]) -> frozenset[str]:
    """cp, mv, ln: the sources are read (or taken away), the destination is written."""
    if not shell.call.transfers():
        shell.call.opaque("too_deep")
        return frozenset()
    taints: frozenset[str] = frozenset()
    content = UNKNOWN
    older = role == "move" and not all(session_made(shell, source) for source in sources)
    if role == "move" and into is not None and "sink" in paths.traits_of(shell.call, shell.cwd, into):
        for source in sources:
            delete_file(shell, source, frozenset({"recursive"}))
        return taints
    for source in sources:
        found = paths.traits_of(shell.call, shell.cwd, source)
        made = known_content(shell, source)
        taints |= read_file(shell, source, extra | {"recursive"})
        if "sink" in found and role == "copy":
            made = Made("")  # `cp /dev/null f` empties it
        content = Flow(made.text if made and len(sources) == 1 else None, taints | (made.taints if made else frozenset()))
        if role == "move" and (found & {"agent_settings", "ony_files"} or not session_made(shell, source)):
            shell.call.add("file", verb=("move",), traits=(found | extra) & _file_words())
    if into is not None:
        sample = {"template"} if role == "copy" and _sample(shell, sources, into) else set()
        write_file(shell, into, content, extra - {"recursive"} | ({"is_link"} if role == "link" else set()) | sample | _placed(into))
        _inherit(shell, sources, into)
        if stands(shell, into) or (role != "link" and _placed(into)):
            _landing(shell, sources, into)
        if older:
            brought(shell, into, sources)
    if role == "link":
        linked(shell, sources, into)
    return taints


def _landing(shell: "Shell", sources: list[Word], into: Word) -> None:
    """Into a folder, a file lands under its own name, which may mean more than the folder's: `cp .bashrc ~/`."""
    itself = paths.traits_of(shell.call, shell.cwd, into)
    for source in sources:
        name = source.text.rstrip("/").rpartition("/")[2]
        if not source.known or not into.known or not name or "sink" in itself:
            continue
        found = paths.traits_of(shell.call, shell.cwd, into.part(f"{into.text.rstrip('/') or '/'}/{name}"))
        if (found - itself) & _TELLING:
            shell.call.add("file", verb=("write",), traits=found & _file_words())


_TELLING = frozenset({"startup", "agent_settings", "ony_files", "git_config", "program_folder", "loader_file", "package_config"})


def _sample(shell: "Shell", sources: list[Word], into: Word) -> bool:
    """`cp .env.example .env`: a first copy of what is nobody's secret, where nothing is known to be overwritten."""
    sampled = all(re.search(r"[._-](?:example|sample|template|dist|defaults?)(?:\.\w+)?$", source.text) for source in sources)
    return (
        bool(sources)
        and sampled
        and into.known
        and not isinstance(shell.call.place.read(paths.absolute(shell.cwd, into.text), LIMIT), bytes)
    )


def _placed(into: Word) -> frozenset[str]:
    """A destination without an ending may be a folder that was there before: nothing below it becomes the session's own."""
    return frozenset() if "." in into.text.strip("./").rpartition("/")[2] else frozenset({"placed"})


def _inherit(shell: "Shell", sources: list[Word], into: Word) -> None:
    """A copy into a folder lands under the source's own name."""
    if not into.known or len(sources) != 1 or not sources[0].known:
        return
    here = paths.absolute(shell.cwd, into.text)
    name = sources[0].text.rstrip("/").rpartition("/")[2]
    made = shell.call.made.get(here)
    if made and name:
        shell.call.made.setdefault(here + "/" + name, made)


def made_at(shell: "Shell", word: Word) -> Made | None:
    """What this call wrote there earlier, itself or (for a folder) anything below it."""
    if not word.known:
        return None
    path = paths.absolute(shell.cwd, word.text)
    found = shell.call.made.get(path)
    if found is not None and not found.folder:
        return found
    below = [m for p, m in shell.call.made.items() if p.startswith(path.rstrip("/") + "/") and m.taints]
    return Made(None, frozenset().union(*(m.taints for m in below)), folder=True) if below else found


@lru_cache(maxsize=1)
def _file_words() -> frozenset[str]:
    return frozenset(tables().traits) - {"secret_folder"}


def known_content(shell: "Shell", word: Word) -> Made | None:
    """What a file holds, as this call wrote it or as the place has it; None if nobody knows."""
    from ony_core.facts import scripts

    if not word.known or word.glob:
        return None
    made = made_at(shell, word)
    content = scripts.content_of(shell, word) if made is None else made
    return content if isinstance(content, Made) else None


def into_command(shell: "Shell", word: Word, flow: Flow) -> None:
    """`> >(command)`: what is written becomes the command's standard input."""
    assert word.flow is not None and word.flow.text is not None
    inner, node = shell.call.consumers[int(word.flow.text)]
    for child in node.named_children:
        inner.statement(child, flow)
