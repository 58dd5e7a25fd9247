"""What is asked on every held call is found by an index: a server with a year of history is as fast as a new one."""

import pytest

from tests.store.world import NOON, Clock, add_org, open_store

ASKED = {
    "waiting, of all": (lambda org, mine: org.waiting(), "handoff_waiting"),
    "waiting, of one connector": (lambda org, mine: org.waiting(mine.connector_id), "handoff_waiting"),
    "what rang": (lambda org, mine: org.rung_since(mine.user_id, NOON - 9), "call_by_time"),
    "the last of a session": (lambda org, mine: org.settled_last(mine.connector_id, mine.session, NOON - 9, 2), "handoff_by_session"),
}


class Explained:
    """Passes everything on, and keeps how SQLite would go about each statement."""

    def __init__(self, real) -> None:
        self.real, self.plans = real, []

    def execute(self, text, values=()):
        self.plans += [row[3] for row in self.real.execute("EXPLAIN QUERY PLAN " + text, values)]
        return self.real.execute(text, values)


@pytest.mark.parametrize("asked", ASKED)
def test_it_is_found_by_its_index(tmp_path, asked):
    store = open_store(tmp_path, Clock())
    mine = add_org(store, tmp_path, 1)
    ask, index = ASKED[asked]

    def explained(tx):
        org = tx.org(mine.org_id)
        org._db = Explained(org._db)
        ask(org, mine)
        return org._db.plans

    plans = store.read(explained)
    store.close()
    assert any(f"USING INDEX {index}" in plan for plan in plans) and not any(plan.startswith("SCAN") for plan in plans), plans
    assert not any("handoff_by_time" in plan for plan in plans), "the organisation's whole history"
