"""Links that a call makes, and files that it moves: followed to where they lead, within bounds that end in critical."""

import pytest

from ony_core import policy, taxonomy
from ony_core.evidence.place import DictPlace
from ony_core.facts import derive
from ony_core.facts.call import Call
from ony_core.facts.paths import MAX_LINKS, followed
from ony_core.facts.place import Unknown
from ony_core.facts.words import HOLE
from ony_core.model import Assessment, ToolCall


class Disk(DictPlace):
    """A project whose index has a file `x`, where a folder or a file of that name stands."""

    def __init__(self, standing: bytes | Unknown) -> None:
        super().__init__(cwd="/project", contexts={"project_root": "/project"}, tracked=["/project/x"])
        self._standing = standing

    def read(self, path: str, limit: int) -> bytes | Unknown:
        return self._standing if path == "/project/x" else Unknown.MISSING


def assessed(command: str, place: DictPlace | None = None) -> Assessment:
    return taxonomy.assess(derive(ToolCall("", "", "Bash", {"command": command}, "/project"), place or DictPlace(cwd="/project")))


def linking(links: dict[str, str]) -> Call:
    call = Call(DictPlace(cwd="/project"))
    call.links.update(links)
    return call


@pytest.mark.parametrize(
    ("links", "path", "itself", "leads"),
    [
        ({}, "/project/a", True, "/project/a"),
        ({"/project/a": "/etc"}, "/project/a/hosts", True, "/etc/hosts"),
        ({"/project/a": "/etc"}, "/project/ab", True, "/project/ab"),
        ({"/project/a": "/etc"}, "/project/a", True, "/etc"),
        ({"/project/a": "/etc"}, "/project/a", False, "/project/a"),
        ({"/project/a": "/project/b", "/project/b": "/etc"}, "/project/a/x", True, "/etc/x"),
        ({"/project/a/x": "/srv", "/project/a": "/etc"}, "/project/a/x", True, "/etc/x"),
        ({"/project/a": "/project/b", "/project/b": "/project/a"}, "/project/a", True, HOLE),
        ({f"/project/l{n}": f"/project/l{n + 1}" for n in range(MAX_LINKS + 1)}, "/project/l0", True, HOLE),
    ],
)
def test_a_path_leads_where_the_links_of_the_call_lead(links: dict[str, str], path: str, itself: bool, leads: str) -> None:
    assert followed(linking(links), path, itself) == leads


@pytest.mark.parametrize(("standing", "outcome"), [(Unknown.NOT_REGULAR, "hold"), (Unknown.TOO_BIG, "pass"), (b"", "pass")])
def test_a_folder_where_the_index_has_a_file_is_not_kept(standing: bytes | Unknown, outcome: str) -> None:
    assert policy.gate(assessed("rm -rf x", Disk(standing)), "on") == outcome


@pytest.mark.parametrize("command", ["cp a{0} b{0}", "mv a{0} b{0}", "ln -s a{0} b{0}"])
def test_more_transfers_than_are_followed_are_critical(command: str) -> None:
    few, many = ("\n".join(command.format(n) for n in range(count)) for count in (Call.MAX_TRANSFERS // 2, Call.MAX_TRANSFERS + 1))
    assert policy.gate(assessed(few), "on") == "pass"
    assert assessed(many).risk == "critical"
