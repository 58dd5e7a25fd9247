"""What a session made itself, so that losing it loses nothing from before.

MUST: count nothing as its own that was moved, linked or written over; the nearest thing known of a path decides.
"""

import re
from typing import TYPE_CHECKING

from ony_core.facts import paths
from ony_core.facts.argv import Line
from ony_core.facts.place import Unknown
from ony_core.facts.words import HOLE, Made, Word
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def evidence(shell: "Shell", word: Word) -> frozenset[str]:
    """What the disk says in favour of losing a file: made in this session, or kept by version control."""
    if not word.known:
        return frozenset()
    if holds_moved(shell, word):
        return frozenset({"moved_in"})
    made = shell.call.made.get(paths.absolute(shell.cwd, word.text))
    if session_made(shell, word) or (made is not None and made.gone):
        return frozenset({"made_by_session"})
    if word.text.endswith((".rej", ".orig")) and noted(shell, "patched", "") and not word.glob:
        return frozenset({"made_by_session"})
    path = paths.absolute(shell.cwd, word.text)
    if word.glob:
        return frozenset()
    if rebuilt(shell, word):
        return frozenset({"rebuilt"})
    tracked = shell.call.place.tracked(path)
    if tracked is True:
        return frozenset({"kept_by_git"})
    if shell.call.place.context("ignored:" + path) == "yes":
        return frozenset({"ignored"})
    return frozenset({"not_kept"}) if tracked is False else frozenset()


def session_made(shell: "Shell", word: Word) -> bool:
    path = paths.absolute(shell.cwd, word.text)
    made = shell.call.made.get(path)
    if made is not None:
        return not made.gone and "changed" not in made.taints
    return shell.call.place.made_by_session(path) is True or (".." not in word.text and _below_own_folder(shell, path))


def _below_own_folder(shell: "Shell", path: str) -> bool:
    """Whether the nearest thing above it that this session touched is a folder of its own making: no link, nothing moved into it."""
    while path := path.rpartition("/")[0]:
        above = shell.call.made.get(path)
        if above is not None:
            return above.folder and not above.taints - {"network"}
    return False


def absent(shell: "Shell", path: str) -> bool:
    """Whether nothing stood there before, as far as the place knows; a folder that is not on this machine knows nothing against it."""
    return shell.call.place.read(path, 0) in (Unknown.MISSING, Unknown.NO_FOLDER) or shell.call.place.made_by_session(path) is True


def made_if_absent(shell: "Shell", word: Word) -> None:
    """A file that a program makes on first use."""
    path = paths.absolute(shell.cwd, word.text)
    if path not in shell.call.made and absent(shell, path):
        shell.call.made[path] = Made()


def brought(shell: "Shell", into: Word, sources: list[Word]) -> None:
    """What was moved there is older than the session: neither the place nor anything below it is the session's own any more.

    Nor is it as easily lost as the place says (a temporary folder, one that a build fills), unless it was so where it came from.
    """
    if not into.known:
        return
    path = paths.absolute(shell.cwd, into.text)
    moved = {"changed", "moved_in"} if any(not _disposable(shell, source) for source in sources) else {"changed"}
    standing = stands(shell, into)
    for landing in _landings(path, sources):
        before = shell.call.made.get(landing, Made())
        new = {"changed"} if landing == path and standing else moved
        shell.call.made[landing] = Made(None if before.folder else before.text, before.taints | new, before.folder)


def _landings(path: str, sources: list[Word]) -> list[str]:
    """The destination itself, and where its sources stand if it is a folder."""
    names = [source.text.rstrip("/").rpartition("/")[2] for source in sources if source.known]
    return [path, *(f"{path.rstrip('/')}/{name}" for name in names if name)]


def linked(shell: "Shell", sources: list[Word], into: Word | None) -> None:
    """What is done to a link is done to what it leads to; a target is meant from the folder of its link."""
    into = into if into is not None else Word(".")
    if not into.known:
        return
    path = paths.absolute(shell.cwd, into.text)
    for source in sources:
        for landing in _landings(path, [source])[stands(shell, into) :]:
            target = paths.absolute(landing.rpartition("/")[0] or "/", source.text) if source.known else HOLE
            if target != landing:
                shell.call.links[landing] = target


def stands(shell: "Shell", into: Word) -> bool:
    """Whether this is surely a folder that stands already."""
    where = paths.traits_of(shell.call, shell.cwd, into)
    path = paths.absolute(shell.cwd, into.text)
    if into.text.endswith("/") or where & {"tmp_root", "project_root", "home_root"}:
        return True
    return shell.call.made.get(path, Made()).folder or shell.call.place.read(path, 0) is Unknown.NOT_REGULAR


def _disposable(shell: "Shell", word: Word) -> bool:
    """Whether losing it where it stands would lose nothing."""
    if session_made(shell, word):
        return True
    where = paths.traits_of(shell.call, shell.cwd, word)
    kept = evidence(shell, word)
    if "moved_in" in kept:
        return False
    return bool(where & {"tmp", "regenerated"} or kept & {"rebuilt", "kept_by_git"} or ("build_folder" in where and "ignored" in kept))


def holds_moved(shell: "Shell", word: Word) -> bool:
    """Whether something worth keeping was moved to this place, below it, or to a folder above it."""
    here = paths.absolute(shell.cwd, word.text)
    if word.glob:
        here = re.split(r"[*?\[{]", here)[0].rpartition("/")[0]
    return any(
        path == here or path.startswith(here.rstrip("/") + "/") or here.startswith(path + "/")
        for path, made in shell.call.made.items()
        if "moved_in" in made.taints
    )


# ---- what programs make, by the table `makes`

_PLACE = re.compile(r"\{(url|\*|-?\d|--?[\w-]+)\}")


def outputs(shell: "Shell", line: Line, program: str, verb: str = "") -> None:
    """The files and folders that a known program makes, by the names in its own command line."""
    table = tables().words["makes"]
    verb = verb if verb or not line.operands else line.operands[0].text  # a verb that no rule asks about stands among the operands
    for form in table.get(f"{program} {verb}".strip(), table.get(program, ())):
        place = _PLACE.search(form)
        for word in _named_by(line, place[1]) if place else [Word("")]:
            text = form[: place.start()] + word.text + form[place.end() :] if place else form
            _makes(shell, word.part(text))


def _makes(shell: "Shell", word: Word) -> None:
    """A name that ends in a slash is a folder. Neither counts if something stood there, as far as anybody knows."""
    from ony_core.facts import files

    if not word.known or word.glob or word.text.strip("./") == "":
        return
    if word.text.endswith("/"):
        files.make_folder(shell, word.part(word.text.rstrip("/")))
    else:
        made_if_absent(shell, word)


def _named_by(line: Line, place: str) -> list[Word]:
    if place.startswith("-") and not place[1:].isdigit():
        return line.all(place)
    if place == "*":
        return line.operands
    if place == "url":
        return [w.part(re.sub(r"\.git$", "", w.text.rstrip("/")).rpartition("/")[2].rpartition(":")[2]) for w in line.operands[:1]]
    at = int(place)
    return line.operands[at : at + 1] if at >= 0 else line.operands[at:][:1]


# ---- what the session did besides files: its builds, its branches, the servers it started


def note(shell: "Shell", kind: str, name: str) -> None:
    """Notes stand among the made files under names that no path can have."""
    shell.call.made[f"{kind}:{name}"] = Made()


def noted(shell: "Shell", kind: str, name: str) -> bool:
    return f"{kind}:{name}" in shell.call.made


def built(shell: "Shell", program: str, verb: str = "") -> None:
    """A build ran here: what it fills, it fills again."""
    table = tables().words["rebuilds"]
    here = paths.absolute("/", shell.cwd or paths.NOWHERE)
    for folder in {*table.get(program, ()), *table.get(f"{program} {verb}".strip(), ())}:
        note(shell, "built", f"{here}/{folder}")


def rebuilt(shell: "Shell", word: Word) -> bool:
    """Whether a build of this session, in this folder or one above it, fills what is deleted."""
    path = paths.absolute(shell.cwd, word.text)
    if noted(shell, "built", path):
        return True
    above, name = path.rpartition("/")[0], path.rpartition("/")[2]
    while above:
        if noted(shell, "built", f"{above}/{name}"):
            return True
        above = above.rpartition("/")[0]
    return False
