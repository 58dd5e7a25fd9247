"""Writes docs/taxonomy.md from the tables: `python -m ony_core.taxonomy.document > docs/taxonomy.md`."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from ony_core.model import RISKS
from ony_core.taxonomy import reading
from ony_core.taxonomy.tables import ROLES, build

FORMAT = """# The taxonomy

What a tool call means, written from the tables in `ony_core/taxonomy/*.toml`. Do not edit this page; edit the tables and run
`python -m ony_core.taxonomy.document > docs/taxonomy.md`.

## How a call is judged

1. The call is taken apart into facts: a program with its verb and flags, a file that is written, a request to a server, a statement of SQL.
2. Each fact meets the rules of its kind and program in file order; the first rule whose conditions all hold gives key, risk and title.
3. No rule: critical. A program that no table knows: critical. A call's risk is the worst of its facts.

Risks: {risks}. In mode `on`, high and critical ring you.

## How to extend it

One file per family. Files are read in name order. `compact.json` beside them is a copy that make keeps and that loads faster; a change of a
file makes it stale, and it is passed by until it is made anew. A rule:

```toml
[[rule]]
key = "git.force_push"            # what the phone and the log call it
risk = "critical"
title = "Force-push to {{branch}}"  # {{program}}, {{verb}}, {{count}} of files and target kinds are filled in; no brackets: it is spoken
why = "commits of others on the remote are overwritten"
program = ["git"]                 # kind = "command" unless said otherwise
verbs = ["push"]                  # whole verbs; `*` is any word no table knows: "run *"
flags = ["--force", "--mirror"]   # any of; also all_flags, not_flags
traits = ["recursive"]            # all of; also any_traits, not_traits; words in 00_words.toml
args = [1, 9]                     # how many operands
takes = ["push"]                  # of an open program: the word behind it is an operand, though a longer verb is held
holds = ["git push --force"]      # examples that must ring, and are decided by this rule: they are tests
passes = ["grep 'push --force' x"]  # near misses that must not ring; under a rule that passes it is the other way round
```

An example is a command line. For another tool, or for what a place knows, it is the call as JSON:
`{{"tool": "Write", "input": {{"file_path": "a.txt"}}, "place": {{"tracked": ["/project/a.txt"]}}}}`.

A program's grammar, where the default does not fit:

```toml
[program.git]
names = ["g"]                     # other names
values = ["-C", "-m"]             # flags that take a value; verb_values = {{ commit = ["-m"] }} for one verb
spell = {{ "push -f" = "--force" }} # other spellings
verbs = "first"                   # or "last": the verb stands after groups nobody can list (clouds)
open = true                       # words after a whole verb are operands
abbreviates = true                # takes any beginning of a verb, part by part between colons: `d:s:u`
operands = "read"                 # what operands are: {roles}
roles = {{ "-o" = "write" }}        # what the values of flags are
skip = 1                          # leading operands that are no files
recursive = ["-r"]                # flags that mean everything below
wraps = 0                         # runs the command after so many operands
handler = "find"                  # a grammar of its own, in ony_core/facts/handlers
```

## The rules
"""


def page() -> Iterator[str]:
    """The page, line by line."""
    yield FORMAT.format(risks=" < ".join(RISKS), roles=", ".join(ROLES))
    shown = ""
    documents = reading.documents()
    build(documents)  # what is refused is no page
    for family, rule in ((family, rule) for family, document in documents for rule in document.get("rule", ())):
        if family != shown:
            shown = family
            yield f"\n### {family.removesuffix('.toml').split('_', 1)[-1]}\n\n| key | risk | what | held | passes |\n|---|---|---|---|---|"
        yield _row(rule)


def _row(rule: dict[str, Any]) -> str:
    what = rule["title"] + (f": {rule['why']}" if rule.get("why") else "")
    return f"| {rule['key']} | {rule['risk']} | {_cell(what)} | {_examples(rule.get('holds', ()))} | {_examples(rule.get('passes', ()))} |"


def _examples(lines: Iterable[str]) -> str:
    return "<br>".join(f"`{_cell(line)}`" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write("\n".join(page()) + "\n")
