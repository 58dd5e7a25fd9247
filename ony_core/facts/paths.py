"""Where a path lies and what kind of file it names, in trait words. The lists are data: `taxonomy/paths.toml`."""

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from posixpath import basename, dirname, join, normpath
from re import Pattern
from typing import TYPE_CHECKING

from ony_core.facts.words import HOLE, Word
from ony_core.taxonomy.tables import tables

if TYPE_CHECKING:
    from ony_core.facts.call import Call

_HOMES = re.compile(r"^(?:/home/[^/]+|/Users/[^/]+|/root|/var/root)(?=/|$)")
MAX_LINKS = 40  # as Linux follows (path_resolution(7))
MAX_PATH = 4096  # PATH_MAX: no system call takes more
NOWHERE = "/project"  # the folder of a call that names none


@lru_cache(maxsize=8192)
def absolute(cwd: str, text: str) -> str:
    """The path without `.`, `..` and doubled slashes; the home folder is written `~`. What is longer than a path may be is cut."""
    if len(text) > MAX_PATH:
        text = text[:MAX_PATH]
    if text.startswith("file://"):
        text = text[7:]
    if text[:1] != "~":
        text = normpath(join(cwd or NOWHERE, text))
    elif "/" in text:
        name, rest = text.split("/", 1)
        text = normpath(join("/home/~", rest))
        text = text if name == "~" or not text.startswith("/home/~") else "/home/" + name[1:] + text[7:]
        text = "~" + text[7:] if text.startswith("/home/~") else text
    if text.startswith("//"):
        text = text[1:]
    return _HOMES.sub("~", text)


def followed(call: "Call", path: str, itself: bool = True) -> str:
    """Where a path leads through the links of this call; a link that is taken away or replaced is not followed itself."""
    if not call.links:
        return path
    for _ in range(MAX_LINKS):
        link = next((at for at in _downwards(path) if at in call.links and (itself or at != path)), None)
        if link is None:
            return path
        path = absolute("/", call.links[link] + path[len(link) :])
    return HOLE  # a circle, or a chain that no system follows


def _downwards(path: str) -> Iterator[str]:
    """The folders of a path from the top, and the path itself: the order in which links are followed."""
    yield from (path[:at] for at, letter in enumerate(path) if letter == "/" and at)
    yield path


def traits_of(call: "Call", cwd: str, word: Word, itself: bool = True) -> frozenset[str]:
    """One location word, plus a word for every list in `paths.toml` that the path is on. itself: whether a link at its end is followed."""
    text = word.text
    if text.startswith(HOLE) or (HOLE in cwd and text[:1] not in "/~"):
        return frozenset({"unknown_path"}) | _listed(text.lstrip(HOLE), False)
    place = call.place
    home = place.context("home")
    if isinstance(home, str) and (text == home or text.startswith(home + "/")):
        text = "~" + text[len(home) :]
    root = place.context("project_root")
    path = followed(call, absolute(cwd, text), itself or word.glob)
    if path.startswith(HOLE):
        return frozenset({"unknown_path"}) | _listed(path.lstrip(HOLE), False)
    found = {location(path, absolute("/", root) if isinstance(root, str) else absolute("/", place.cwd or NOWHERE), word.glob)}
    found |= _listed(path, word.glob)
    real = place.real(path)
    if isinstance(real, str) and real != path:
        found |= _listed(absolute("/", real), False) | ({"linked_out"} if location(absolute("/", real), path, False) == "system" else set())
    return frozenset(found)


@lru_cache(maxsize=8192)
def location(path: str, root: str, glob: bool = False) -> str:
    """root, system, home_root, home, device, sink, socket, tmp, tmp_root, project, project_root, outside."""
    spare = path.rstrip("*").rstrip("/") if glob or path.endswith("/*") else path
    here = spare or "/"
    if here.startswith("/dev/") and not _lists()["tmp"].match(here):
        return "sink" if _lists()["sink"].match(here) else "socket" if here.startswith(("/dev/tcp/", "/dev/udp/")) else "device"
    if here == "/":
        return "root"
    own = not _lists()["system"].match(root) or _lists()["project_homes"].match(root)
    if root not in ("/", "~", "/tmp") and own:  # noqa: S108  a name in the call that is judged
        if here == root:
            return "project_root"
        if here.startswith(root + "/"):
            return "project"
        if root.startswith(here + "/") and not here.startswith("~"):
            return "above_project"
    if _lists()["tmp"].match(here + "/"):
        return "tmp_root" if here in ("/tmp", "/var/tmp", "/private/tmp") else "tmp"  # noqa: S108  a name in the call that is judged
    if here == "~" or here in ("/home", "/Users") or (here[0] == "~" and "/" not in here):
        return "home_root"
    if here[0] == "~":
        return "home_top" if here.count("/") == 1 and not here.startswith("~/.") else "home"
    return "system" if _lists()["system"].match(here) else "outside"


@cache
def _lists() -> dict[str, Pattern[str]]:
    return {name: glob_pattern(patterns) for name, patterns in tables().words["locations"].items()}


@cache
def _kinds() -> tuple[tuple[str, Pattern[str], Pattern[str] | None], ...]:
    lists = tables().words["paths"]
    but = tables().words.get("paths_except", {})
    return tuple((name, glob_pattern(patterns), glob_pattern(but[name]) if name in but else None) for name, patterns in lists.items())


@lru_cache(maxsize=8192)
def _listed(path: str, glob: bool) -> frozenset[str]:
    found = {name for name, pattern, but in _kinds() if pattern.match(path) and not (but and but.match(path))}
    if glob and _glob_meets_secret(path):
        found.add("secret")
    if glob:
        found |= _glob_meets_the_gate(path)
    return frozenset(found)


def _glob_meets_secret(path: str) -> bool:
    """`cat ~/.ssh/*`, `cat .e*`: a pattern that a well-known secret file would match."""
    literal = re.split(r"[*?\[]", path)[0]
    if _kinds_named("secret_folder").match(dirname(path) + "/x") or "secret" in _listed(literal, False):
        return True
    name = basename(path)
    if name[:1] in "*" or not re.search(r"[^*?.]", name):
        return False
    from fnmatch import fnmatchcase

    return any(fnmatchcase(known, name) for known in tables().words["names"]["secret_files"])


_GUARDED = {"agent_settings": (".claude", ".codex"), "ony_files": (".ony", "ony-data")}


def _glob_meets_the_gate(path: str) -> set[str]:
    """`rm .claude/*`, `rm -rf ~/.o*`, `rm -rf ony-d*`: a pattern below, or that matches, a folder of settings or of Ony."""
    from fnmatch import fnmatchcase

    parts = [part for part in path.split("/") if re.search(r"[*?\[]", part) and part.startswith((".", "ony"))]
    meets = {kind for kind, names in _GUARDED.items() if any(fnmatchcase(name, part) for part in parts for name in names)}
    return meets | ({"agent_settings"} & _listed(dirname(path), False))  # of Ony's own folders the lists name all that is in them


@cache
def _kinds_named(name: str) -> Pattern[str]:
    return next(pattern for kind, pattern, _ in _kinds() if kind == name)


def glob_pattern(patterns: list[str]) -> Pattern[str]:
    """`*` stays within a folder, `**` crosses folders, a leading `**/` also matches no folder at all."""
    return re.compile("(?:" + "|".join(_translate(p) for p in patterns) + r")\Z", re.DOTALL)


def _translate(pattern: str) -> str:
    out = ""
    for piece in re.split(r"(\*\*/|\*\*|\*|\?)", pattern):
        out += {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}.get(piece, re.escape(piece))
    return out
