"""What a session made itself, so that losing it loses nothing from before.

MUST: count nothing as its own that was moved, linked or written over; the nearest thing known of a path decides.
"""

from typing import TYPE_CHECKING

from ony_core.facts import paths
from ony_core.facts.place import Unknown
from ony_core.facts.words import Made, Word

if TYPE_CHECKING:
    from ony_core.facts.shell import Shell


def evidence(shell: "Shell", word: Word) -> frozenset[str]:
    """What the disk says in favour of losing a file: made in this session, or kept by version control."""
    if not word.known:
        return frozenset()
    made = shell.call.made.get(paths.absolute(shell.cwd, word.text))
    if session_made(shell, word) or (made is not None and made.gone):
        return frozenset({"made_by_session"})
    path = paths.absolute(shell.cwd, word.text)
    if word.glob:
        return frozenset()
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
            return above.folder and not above.gone and not above.taints - {"network"}
    return False


def absent(shell: "Shell", path: str) -> bool:
    """Whether nothing stood there before, as far as the place knows; a folder that is not on this machine knows nothing against it."""
    return shell.call.place.read(path, 0) in (Unknown.MISSING, Unknown.NO_FOLDER) or shell.call.place.made_by_session(path) is True


def made_if_absent(shell: "Shell", word: Word) -> None:
    """A file that a program makes on first use."""
    path = paths.absolute(shell.cwd, word.text)
    if path not in shell.call.made and absent(shell, path):
        shell.call.made[path] = Made()


def brought(shell: "Shell", into: Word) -> None:
    """What was moved there is older than the session: neither the place nor anything below it is the session's own any more."""
    if into.known:
        path = paths.absolute(shell.cwd, into.text)
        before = shell.call.made.get(path, Made())
        shell.call.made[path] = Made(None if before.folder else before.text, before.taints | {"changed"})
