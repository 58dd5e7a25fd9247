"""What may leave the agent's machine, field by field: the facts and the request that carries them."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core import canon, handoff
from ony_core.errors import Malformed
from ony_core.handoff import Head
from ony_core.model import KINDS, UNLISTED, Fact, Target

FACTS = (
    Fact(
        "command",
        "terraform",
        ("apply",),
        ("-auto-approve",),
        2,
        (Target("workspace", "production"), Target("branch", UNLISTED)),
        ("recursive",),
    ),
    Fact("opaque"),
)
REQUEST, SESSION = "req_" + "e" * 32, "sess_" + "5" * 32
DIGEST = "hmac-sha256:" + "1" * 64


HEAD = Head(40, "ab" * 32)


def _wire(head: Head | None = HEAD) -> bytes:
    return handoff.request_to_wire(REQUEST, SESSION, "claude-code", "Bash", "on", "prod-api", FACTS, DIGEST, head)


def _with(path, value) -> bytes:
    body = copy.deepcopy(canon.loads(_wire()))
    place = body
    for name in path[:-1]:
        place = place[name]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    if path[0] == "facts" and "facts" in body:
        body["facts_digest"] = canon.sha256(canon.dumps(body["facts"]))
    return canon.dumps(body)


@pytest.mark.parametrize("head", [None, Head(0, "00" * 32), Head(40, "ab" * 32)])
def test_what_one_side_writes_the_other_reads(head):
    read = handoff.request_from_wire(_wire(head))
    assert (read.facts, read.head, read.request_digest, read.facts_digest) == (FACTS, head, DIGEST, handoff.facts_digest(FACTS))
    assert (read.request_id, read.session, read.agent, read.tool, read.mode, read.project) == (
        REQUEST,
        SESSION,
        "claude-code",
        "Bash",
        "on",
        "prod-api",
    )
    assert read.body_digest == canon.sha256(_wire(head))


def test_another_body_has_another_digest_and_the_same_body_the_same():
    assert handoff.request_from_wire(_wire()).body_digest == handoff.request_from_wire(_wire()).body_digest
    assert handoff.request_from_wire(_wire(None)).body_digest != handoff.request_from_wire(_wire()).body_digest


BAD = [
    (("request_id",), ["req_" + "e" * 31, "req_" + "E" * 32, "e" * 32, "req_" + "e" * 33, "req_" + "e" * 32 + "\n", "", None, 1, ["req"]]),
    (("agent_session_id",), ["sess", "sess_" + "g" * 32, None]),
    (("agent",), ["", "claude code", "x" * 81, "a\n", "é", None, 3]),
    (("tool",), ["", "Bash; rm", "a b", None]),
    (("mode",), ["ON", "", None, "of"]),
    (("project",), ["", "-x", "a" * 81, "a\tb", "naïve", None]),
    (("request_digest",), ["sha256:" + "1" * 63, "md5:" + "1" * 64, "1" * 64, "sha256:" + "G" * 64, None]),
    (("facts_digest",), ["sha256:" + "1" * 64, "", None]),
    (
        ("head",),
        [
            {},
            [],
            1,
            {"size": 1},
            {"size": -1, "root": "ab" * 32},
            {"size": True, "root": "ab" * 32},
            {"size": 1, "root": "ab"},
            {"size": 1, "root": "AB" * 32},
            {"size": 1, "root": "ab" * 32, "note": ""},
            {"size": "1", "root": "ab" * 32},
            {"size": 1 << 63, "root": "ab" * 32},
        ],
    ),
    (("facts",), [[], {}, None, [{"kind": "opaque", "args": 0}] * 65, ["x"], [[]]]),
    (("facts", 0, "kind"), ["", "shell", None, ...]),
    (("facts", 0, "args"), [-1, 1_000_001, True, "2", None, ...]),
    (("facts", 0, "program"), ["two words", "$(x)", "é", 5, None, "x" * 81, "a\n"]),
    (("facts", 0, "verb"), [["two words"], "apply", [1], [""], ["x"] * 33, None, {}]),
    (("facts", 0, "flags"), [["--password=hunter 2"], "x", [None]]),
    (("facts", 0, "traits"), [["a;b"], 1]),
    (
        ("facts", 0, "targets"),
        [[{}], ["x"], [{"kind": "branch"}], "x", [{"kind": "branch", "name": "a", "more": 1}], [{"kind": "b c", "name": "a"}]],
    ),
    (("facts", 0, "targets", 0, "name"), ["", "-rf", "a\nb", "x" * 81, None, "{}"]),
    (("facts", 0, "title"), ["Delete everything"]),
    (("facts", 0, "risk"), ["none"]),
    (("title",), ["harmless"]),
    (("risk",), ["none"]),
]


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in BAD for value in values], ids=repr)
def test_a_field_that_is_off_is_malformed_and_never_quoted(path, value):
    with pytest.raises(Malformed) as refused:
        handoff.request_from_wire(_with(path, value))
    if isinstance(value, str) and len(value) > 6:
        assert value not in str(refused.value)


@pytest.mark.parametrize("name", sorted(handoff._FIELDS))
def test_every_field_of_a_request_is_needed(name):
    with pytest.raises(Malformed):
        handoff.request_from_wire(_with((name,), ...))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b'"x"', b" " * (64 * 1024 + 1), _wire()[:-1] + b',"tool":"Read"}'], ids=len)
def test_what_is_no_request_at_all(data):
    with pytest.raises(Malformed):
        handoff.request_from_wire(data)


def test_the_limits_themselves_are_allowed():
    fact = {"kind": "opaque", "args": 1_000_000, "verb": ["x" * 80] * 32}
    assert len(handoff.facts_from_wire([fact] * 64)) == 64
    assert handoff.request_from_wire(_with(("project",), "a" * 80)).project == "a" * 80


WORDS = st.text("abcXYZ019._:/@+-", min_size=1, max_size=12)
NAMES = st.builds(lambda a, b: a + b, st.sampled_from("abZ9"), st.text("abZ9._:/@+ -", max_size=12)) | st.just(UNLISTED)
A_FACT = st.builds(
    Fact,
    st.sampled_from(KINDS),
    WORDS,
    st.lists(WORDS, max_size=4).map(tuple),
    st.lists(WORDS, max_size=4).map(tuple),
    st.integers(0, 1_000_000),
    st.lists(st.builds(Target, WORDS, NAMES), max_size=3).map(tuple),
    st.lists(WORDS, max_size=4).map(tuple),
)


@given(st.lists(A_FACT, min_size=1, max_size=5).map(tuple))
def test_facts_survive_the_wire_and_their_digest_names_them(facts):
    wire = handoff.facts_to_wire(facts)
    assert handoff.facts_from_wire(json.loads(json.dumps(wire))) == facts
    assert handoff.facts_digest(facts) == canon.sha256(canon.dumps(wire))
    assert handoff.facts_digest((*facts, Fact("opaque", args=999_999))) != handoff.facts_digest(facts)
