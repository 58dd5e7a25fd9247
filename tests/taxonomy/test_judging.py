"""All examples of the tables, and all evasions with their twins, at one go."""

from ony_core.policy import gate
from ony_core.taxonomy.reading import documents
from tests.facts.evasions import GROUPS
from tests.facts.test_evasions import assessed
from tests.taxonomy.judging import examples, wrong


def test_no_example_of_the_tables_comes_out_wrong() -> None:
    assert next((example for example in examples(documents()) if wrong(example)), None) is None


def test_no_evasion_comes_out_wrong() -> None:
    for pairs in GROUPS.values():
        for held, passes in pairs:
            assert "hold" in [gate(found, "on") for found in assessed(held)], held
            assert all(gate(found, "on") == "pass" for found in assessed(passes)), passes
