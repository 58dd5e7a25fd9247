"""Where a path lies and what it names: one row per case, what stands beside a boundary included."""

import pytest

from ony_core.evidence.place import DictPlace
from ony_core.facts import paths
from ony_core.facts.call import Call
from ony_core.facts.words import HOLE, Word

ABSOLUTE = {
    "within the folder": ("/project", "a/b", "/project/a/b"),
    "no folder": ("", "a", "/project/a"),
    "absolute": ("/project", "/etc//x/./y/../z", "/etc/x/z"),
    "two slashes": ("/project", "//etc", "/etc"),
    "an address of a file": ("/project", "file:///etc/x", "/etc/x"),
    "above": ("/project/a", "../../x", "/x"),
    "home": ("/project", "~", "~"),
    "below home": ("/project", "~/a/../b", "~/b"),
    "above home": ("/project", "~/../x", "~"),
    "beside every home": ("/project", "~/../../x", "/x"),
    "another's home": ("/project", "~bob/x", "~/x"),
    "another's home alone": ("/project", "~bob", "~bob"),
    "above another's home": ("/project", "~bob/../../etc", "/etc"),
    "home by its path": ("/project", "/home/dev/x", "~/x"),
    "home itself by its path": ("/project", "/home/dev", "~"),
    "a home on a Mac": ("/project", "/Users/dev/x", "~/x"),
    "root's home": ("/project", "/root/x", "~/x"),
    "root's home on a Mac": ("/project", "/var/root/x", "~/x"),
    "only its name": ("/project", "/rooted", "/rooted"),
    "all homes": ("/project", "/home", "/home"),
    "as long as a path may be": ("/project", "/" + "a" * 4095, "/" + "a" * 4095),
    "longer": ("/project", "/" + "a" * 4096, "/" + "a" * 4095),
}


@pytest.mark.parametrize(("cwd", "text", "path"), ABSOLUTE.values(), ids=ABSOLUTE.keys())
def test_a_path_in_one_spelling(cwd: str, text: str, path: str) -> None:
    assert paths.absolute(cwd, text) == path


LOCATIONS = {
    "sink": ["/dev/null", "/dev/pts/1"],
    "socket": ["/dev/tcp/host/80", "/dev/udp/host/53"],
    "device": ["/dev/sda", "/dev/disk/by-id/x", "/dev/tcp"],
    "root": ["/", "/*", "//*", "/**"],
    "project_root": ["/data/dev/shop", "/data/dev/shop/*"],
    "project": ["/data/dev/shop/a", "/data/dev/shop/a/*"],
    "above_project": ["/data", "/data/dev", "/data/dev/*"],
    "tmp": ["/tmp/x", "/var/tmp/x", "/dev/shm/x", "/tmp/x/*"],
    "tmp_root": ["/tmp", "/var/tmp", "/private/tmp", "/tmp/*"],
    "home_root": ["~", "~bob", "/home", "/Users", "~/*"],
    "home_top": ["~/x", "~/Documents", "~/Documents/*"],
    "home": ["~/x/y", "~/.config", "~/.cache/x"],
    "system": ["/etc", "/etc/x", "/usr/lib", "/var/log", "/opt/x"],
    "outside": ["/dat", "/data/dev/shop2", "/srv2/x"],
}


@pytest.mark.parametrize(("path", "where"), [(path, where) for where, listed in LOCATIONS.items() for path in listed])
def test_where_a_path_lies(path: str, where: str) -> None:
    assert paths.location(path, "/data/dev/shop", "*" in path) == where


ROOTS = {
    "a project that is everything is none": ("/etc/x", "/", "system"),
    "nor a home": ("~/x/y", "~", "home"),
    "nor the folder for temporary files": ("/tmp/x", "/tmp", "tmp"),
    "nor a folder of the system": ("/etc/x", "/etc", "system"),
    "a project below home": ("~/shop/a", "~/shop", "project"),
    "its root": ("~/shop", "~/shop", "project_root"),
    "home above it": ("~", "~/shop", "home_root"),
    "a project below a temporary folder": ("/tmp/shop/a", "/tmp/shop", "project"),
    "beside it": ("/tmp/other", "/tmp/shop", "tmp"),
    "a pattern below nothing": ("~/shop*", "~/shop", "project_root"),
    "a folder that only begins so": ("~/shopping/a", "~/shop", "home"),
}


@pytest.mark.parametrize(("path", "root", "where"), ROOTS.values(), ids=ROOTS.keys())
def test_a_projects_root(path: str, root: str, where: str) -> None:
    assert paths.location(path, root, "*" in path) == where


def test_a_star_is_a_name_where_it_is_no_pattern() -> None:
    assert paths.location("/home/dev/shop*", "/home/dev/shop", False) == "outside"
    assert paths.location("/home/dev/shop*", "/home/dev/shop", True) == "project_root"


LISTED: dict[str, tuple[str, bool, set[str]]] = {
    "a secret": ("/project/.env", False, {"secret"}),
    "an example of one": ("/project/.env.example", False, set()),
    "a pattern that meets it": ("/project/.e*", True, {"secret"}),
    "where it is none": ("/project/.e*", False, set()),
    "a pattern that meets a key": ("/project/id_[re]*", True, {"secret"}),
    "a pattern behind a secret's name": ("/project/.env?", True, {"secret"}),
    "a pattern in a folder of secrets": ("~/.ssh/x*", True, {"secret", "secret_folder"}),
    "a pattern that meets anything": ("/project/*", True, set()),
    "a pattern that begins with anything": ("/project/*_rsa", True, set()),
    "letters of any kind": ("/project/????", True, set()),
    "dots and letters of any kind": ("/project/.???", True, {"ony_files"}),
    "a pattern of something else": ("/project/id*.txt", True, set()),
    "an agent's settings": ("/project/.cl*", True, {"agent_settings"}),
    "below them": ("/project/.claude/s*", True, {"agent_settings"}),
    "another agent's": ("/project/.co*", True, {"agent_settings"}),
    "a folder by a pattern": ("/project/.clau?e/x", True, {"agent_settings"}),
    "by letters": ("/project/.[c]laude/x", True, {"agent_settings"}),
    "Ony's own files": ("/data/.on*", True, {"ony_files"}),
    "its data": ("/data/ony-d*", True, {"ony_files"}),
    "its data but for a letter": ("/data/ony-dat?", True, {"ony_files"}),
    "another agent's but for a letter": ("/data/.code?", True, {"agent_settings"}),
    "Ony's own but for a letter": ("/data/.on?", True, {"ony_files"}),
    "a letter of it": ("/data/o*", True, set()),
    "below its data": ("/data/ony-data/x*", True, {"ony_files"}),
    "all that is hidden": ("/data/.*", True, {"ony_files", "agent_settings"}),
    "an ordinary folder": ("/data/.x*/y", True, set()),
    "no pattern at all": ("/data/.x/y", True, set()),
}


@pytest.mark.parametrize(("path", "glob", "found"), LISTED.values(), ids=LISTED.keys())
def test_what_a_path_may_name(path: str, glob: bool, found: set[str]) -> None:
    words = {"secret", "secret_folder", "agent_settings", "ony_files"}
    assert paths._listed(path, glob) & words == found


class Linked(DictPlace):
    """A place in which one path leads to another."""

    LINKS = {"~/shop/link": "/etc/x", "~/shop/key": "~/shop/.env", "~/shop/other": "~/shop/a", "~/shop/pipe": "/etc/../data/x"}

    def real(self, path: str) -> str:
        return self.LINKS.get(path, path)


CALL = Call(Linked(cwd="/home/dev/shop", contexts={"project_root": "/home/dev/shop", "home": "/data/dev"}))
TRAITS: dict[str, tuple[str, str, set[str]]] = {
    "in the project": ("/home/dev/shop", "a.txt", {"project"}),
    "home by another path": ("/home/dev/shop", "/data/dev/x", {"home_top"}),
    "that home itself": ("/home/dev/shop", "/data/dev", {"home_root"}),
    "a folder beside it": ("/home/dev/shop", "/data/developer", {"outside"}),
    "a link out": ("/home/dev/shop", "link", {"project", "linked_out"}),
    "a link to a secret": ("/home/dev/shop", "key", {"project", "secret"}),
    "a link to somewhere else": ("/home/dev/shop", "pipe", {"project"}),
    "a link within": ("/home/dev/shop", "other", {"project"}),
    "what only the run will know": ("/home/dev/shop", f"{HOLE}/x", {"unknown_path"}),
    "with a secret at its end": ("/home/dev/shop", f"{HOLE}/.env", {"unknown_path", "secret"}),
    "in a folder that only the run will know": (HOLE, "x", {"unknown_path"}),
    "absolute, from such a folder": (HOLE, "/etc/x", {"system"}),
    "from home, from such a folder": (HOLE, "~/x", {"home_top"}),
}  # fmt: skip


@pytest.mark.parametrize(("cwd", "text", "found"), TRAITS.values(), ids=TRAITS.keys())
def test_the_traits_of_a_path(cwd: str, text: str, found: set[str]) -> None:
    paths.location.cache_clear()
    assert set(paths.traits_of(CALL, cwd, Word(text))) - {"lockfile"} == found


def test_without_a_known_root_the_folder_of_the_call_is_the_project() -> None:
    assert paths.traits_of(Call(DictPlace(cwd="/data/x")), "/data/x/y", Word("z")) == {"project"}
    assert paths.traits_of(Call(DictPlace(cwd="")), "/data", Word("/project/z")) == {"project"}


GLOBS = {
    "*": (["a", "a.b", ""], ["a/b"]),
    "a/**": (["a/", "a/b/c"], ["a", "b/a"]),
    "**/a": (["a", "x/a", "x/y/a"], ["xa", "a/b"]),
    "a?c": (["abc"], ["ac", "a/c"]),
    "a.c": (["a.c"], ["abc"]),
    "a": (["a"], ["a\n", "ab"]),
}


@pytest.mark.parametrize(("pattern", "fits", "fails"), [(pattern, *both) for pattern, both in GLOBS.items()], ids=GLOBS.keys())
def test_patterns_of_paths(pattern: str, fits: list[str], fails: list[str]) -> None:
    made = paths.glob_pattern([pattern, "never"])
    assert [text for text in [*fits, *fails] if made.match(text)] == fits
