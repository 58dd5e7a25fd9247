"""The owner's own rules at the server: nothing changes without an approver's code, every change is a row of the log."""

import asyncio

import pytest

from ony_core import canon
from ony_core.model import Fact, Target
from ony_core.server.policies import Policies
from tests.server.office import EMAIL, Office, refused, request, said
from tests.server.world import WRONG

RECIPE = "sha256:" + "a" * 64
WISH = {"email": EMAIL, "match": "program acme verb deploy", "project": "shop", "risk": "medium", "recipe": RECIPE}
ACME = (Fact("command", "unlisted", args=1, targets=(Target("taught", "acme deploy"),), traits=("recipe_kept",)),)


class Rules(Office):
    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.policies = Policies(self.hall.store, self.hall.keyring, self.hall.clock)

    def set(self, code: str | None = None, **changes: str):
        self.hall.clock.pass_(60)
        return asyncio.run(self.policies.set(request("POST", {**WISH, "code": code or self.hall.owner.code(), **changes})))

    def remove(self, identity: str, code: str | None = None):
        self.hall.clock.pass_(60)
        return asyncio.run(self.policies.remove(request("POST", {"email": "", "code": code or self.hall.owner.code()}), identity))

    def listed(self) -> list[dict]:
        return said(asyncio.run(self.policies.listed(request("GET"))))["rules"]

    def in_bundle(self) -> list[dict]:
        return canon.loads(said(self.bundle())["payload"].encode())["overlay"]

    def log(self, kind: str) -> list[dict]:
        return [row for row in self.hall.logged() if row["kind"] == kind]


@pytest.fixture
def rules(tmp_path):
    made = Rules(tmp_path)
    yield made
    made.hall.close()


def test_a_rule_is_set_listed_sent_and_removed_and_each_change_is_logged(rules):
    made = rules.set()
    assert made.status == 201
    one = said(made)
    assert {name: one[name] for name in WISH if name != "email"} == {name: WISH[name] for name in WISH if name != "email"}
    assert rules.listed() == rules.in_bundle() == [one]
    assert rules.remove(one["id"]).status == 200
    assert rules.listed() == rules.in_bundle() == []
    set_, removed = rules.log("policy_set"), rules.log("policy_removed")
    assert [row["rule_id"] for row in (*set_, *removed)] == [one["id"]] * 2
    assert set_[0]["rule_digest"] == canon.sha256(canon.dumps(one))


def test_each_change_makes_the_bundle_a_newer_one(rules):
    def version() -> int:
        return canon.loads(said(rules.bundle())["payload"].encode())["version"]

    before = version()
    one = said(rules.set())
    rules.remove(one["id"])
    assert version() == before + 2


def test_without_the_right_code_nothing_changes(rules):
    assert refused(rules.set(WRONG)) == (403, "wrong_code")
    code = rules.hall.owner.code()
    rules.hall.clock.pass_(-60)
    assert rules.set(code).status == 201
    rules.hall.clock.pass_(-60)
    assert refused(rules.set(code, match="program other")) == (403, "wrong_code"), "a code allows one thing"
    assert refused(rules.remove(rules.listed()[0]["id"], WRONG)) == (403, "wrong_code")
    assert len(rules.listed()) == 1


def test_five_wrong_codes_close_this_way(rules):
    answers = [refused(rules.set(WRONG))[1] for _ in range(6)]
    assert answers == ["wrong_code"] * 4 + ["closed"] * 2
    assert refused(rules.set()) == (403, "closed")


NO_RULES = {
    "what is critical by a rule": {"match": "program terraform verb destroy"},
    "no project": {"project": ""},
    "no recipe": {"recipe": ""},
    "the gate": {"match": "program ony"},
    "no match": {"match": "acme"},
}


@pytest.mark.parametrize("change", NO_RULES.values(), ids=NO_RULES.keys())
def test_a_rule_that_could_never_apply_is_refused_and_costs_no_code(rules, change):
    assert refused(rules.set(**change)) == (400, "bad_rule")
    assert rules.listed() == [] and rules.log("policy_set") == []


def test_an_unknown_rule_is_not_removed(rules):
    assert refused(rules.remove("pol_" + "0" * 32)) == (404, "unknown_rule")


def test_somebody_elses_email_confirms_nothing(rules):
    assert refused(rules.set(email="nobody@example.com")) == (404, "unknown_user")


def test_the_desk_judges_by_the_rules_of_the_requests_own_project(rules):
    rules.set()
    hall = rules.hall
    asked = {name: asyncio.run(hall.held(ACME, project=name)) for name in ("shop", "other")}
    assert {name: hall.row(one).risk for name, one in asked.items()} == {"shop": "medium", "other": "critical"}
    assert hall.row(asked["shop"]).title == "Run acme deploy"
