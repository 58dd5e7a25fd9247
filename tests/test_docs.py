"""Documents and program say the same: every command explains itself and is written about, every line a reader may copy is understood."""

import re
import shlex
from pathlib import Path

import pytest

from ony_core import cli
from ony_core.errors import OnyError

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN = [page for page in PAGES if page.name not in ("taxonomy.md", "explain.md")]  # those quote what agents type, and are generated
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))


def lines_to_copy(page: Path) -> list[str]:
    """The command lines inside ```sh blocks, without comments and prompts."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = (re.sub(r"\s+#.*", "", line).removeprefix("$ ").strip() for block in blocks for line in block.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def words_of_ony(line: str) -> list[str] | None:
    """The words after `ony` in a line that starts it, else None. Pipes and redirects end the command."""
    command = re.split(r"\s[|<>;&#]", line)[0]
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z_]+=.*|sudo|env", words[0]):
        words.pop(0)
    return words[1:] if words and words[0].rsplit("/", 1)[-1] in ("ony", "ony.pyz") else None


COPIED = [(page.name, line) for page in PAGES for line in lines_to_copy(page)]


@pytest.mark.parametrize("word", cli.COMMANDS)
def test_every_command_has_help_with_an_example_that_it_understands(word):
    parser = cli.parser_of(word)
    examples = [line.strip() for line in parser.format_help().partition("example:")[2].splitlines() if line.strip()]
    assert examples
    understood = [words for line in examples if (words := words_of_ony(line)) is not None]
    assert understood, f"no example of `ony {word}` starts with ony"
    for words in understood:
        cli.parser_of(words[0]).parse_args(words[1:])


@pytest.mark.parametrize("word", [word for word in cli.COMMANDS if word not in cli.ALIASES])
def test_every_command_is_in_the_documents(word):
    assert any(re.search(rf"\bony {word}\b", page.read_text("utf-8")) for page in PAGES)


@pytest.mark.parametrize(("page", "line"), [row for row in COPIED if words_of_ony(row[1]) is not None])
def test_every_ony_line_a_reader_may_copy_is_understood(page, line):
    words = words_of_ony(line)
    if words[:1] in (["--version"], ["--help"]):
        return
    try:
        cli.parser_of(words[0]).parse_args(words[1:])
    except (OnyError, ImportError) as error:
        pytest.fail(f"{page}: {line}: {error}")


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_every_make_target_and_every_local_link_a_page_names_exists(page):
    text = page.read_text("utf-8")
    assert set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE)) <= TARGETS
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_make_target_explains_itself():
    spoken = set(re.findall(r"'make ([a-z-]+)", MAKEFILE))
    assert spoken == TARGETS - {"help"}


def test_the_pages_are_about_the_project_alone():
    for page in WRITTEN:
        assert not re.findall(r"/work/|/tmp/|/root/", page.read_text("utf-8")), page.name
