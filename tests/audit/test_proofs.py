"""What a connector believes about the log: the proof beside a verdict, and every way it can be wrong."""

import copy
import hashlib
import hmac

import pytest

from ony_core import chain, checkpoint
from ony_core.errors import OnyError, Refused
from tests.audit.world import ORG, ORIGIN, STRANGER, World, digest, ed25519_holds, origin_of

ROW = 13
VERDICT = digest(ROW)


@pytest.fixture
def proof(world):
    return world.log.proof(world.db, ORG, ROW, _head(world, 8))


def _head(world: World, size: int) -> chain.Head:
    return size, world.head(size).root


def _check(proof, head, payload=VERDICT, origin=ORIGIN, verify=ed25519_holds):
    return chain.check_proof(proof, payload, origin, head, verify)


def _reason(*args, **kwargs) -> str:
    with pytest.raises(Refused) as refused:
        _check(*args, **kwargs)
    return refused.value.reason


def test_a_true_proof_moves_the_head_to_the_newest_checkpoint(world, proof):
    assert _check(proof, _head(world, 8)) == _head(world, 23)


@pytest.mark.parametrize("size", [0, 2, 4, 5, 8, 11, 13, 16, 20, 23])
def test_every_row_is_proven_against_every_head(world, size):
    head = _head(world, size) if size else None
    for seq in range(1, 24):
        assert _check(world.log.proof(world.db, ORG, seq, head), head, payload=digest(seq)) == _head(world, 23)


def test_the_first_proof_needs_no_head_and_later_ones_do(world):
    proof = world.log.proof(world.db, ORG, ROW, None)
    assert _check(proof, None) == _head(world, 23)
    assert _reason(proof, _head(world, 8)) == "proof_other_head"


def test_a_proof_of_a_shorter_tree_is_fine_once_it_is_shown_to_be_a_prefix(world, proof):
    """Two holds at once: the answer to the first arrives after the second has moved the head."""
    world.grown(3, 2)
    kept = _head(world, 28)
    assert _reason(proof, kept) == "proof_other_head"
    grown = world.log.consistency(world.db, ORG, 23, 28)
    assert checkpoint.parse(grown["note"]).size == 28
    mended = {**proof, "consistency": {"from": 23, "hashes": grown["hashes"]}}
    assert _check(mended, kept) == kept
    assert _reason({**proof, "consistency": {"from": 23, "hashes": []}}, kept) == "proof_not_consistent"


def test_a_log_that_was_rolled_back_is_refused(world):
    ahead = (40, b"\x07" * 32)
    assert _reason(world.log.proof(world.db, ORG, ROW, ahead), ahead) == "proof_other_head"
    shorter = world.log.proof(world.db, ORG, ROW, ahead)
    shorter["consistency"]["from"] = 23
    assert _reason(shorter, ahead) == "proof_not_consistent"


def test_a_forked_log_is_refused(world):
    for size in (8, 23):
        other = (size, b"\x07" * 32)
        assert _reason(world.log.proof(world.db, ORG, ROW, other), other) == "proof_not_consistent"


def test_another_log_another_signer_and_another_verdict_are_refused(world, proof):
    head = _head(world, 8)
    assert _reason(proof, head, origin=origin_of("org_" + "0c" * 16)) == "proof_wrong_origin"
    assert _reason(proof, head, verify=lambda signature, message: False) == "proof_bad_signature"
    assert _reason(proof, head, payload=digest(ROW + 1)) == "proof_wrong_row"
    assert _reason(proof, head, payload=digest(ROW) + "ä") == "proof_wrong_row"


def test_a_note_signed_by_a_stranger_is_refused(world, proof):
    text = checkpoint.parse(proof["note"]).text
    forged = text + "\n" + checkpoint.sign(text, STRANGER.sign, b"")
    assert _reason({**proof, "note": forged}, _head(world, 8)) == "proof_bad_signature"
    unsigned = text + "\n" + checkpoint.seal(text + "\n", world.key)
    assert _reason({**proof, "note": unsigned}, _head(world, 8)) == "proof_bad_signature"


def test_a_row_that_is_not_a_verdict_proves_nothing(world):
    world.commit(1, kind="refusal")
    assert _reason(world.log.proof(world.db, ORG, 24, None), None, payload=digest(24)) == "proof_wrong_row"
    lacking = world.log.append(world.db, ORG, "verdict", {})
    world.log.checkpoint(world.db, [ORG])
    assert _reason(world.log.proof(world.db, ORG, lacking, None), None) == "proof_wrong_row"


def _with(proof, path, value):
    changed = copy.deepcopy(proof)
    place = changed
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return changed


NOT_INCLUDED, MALFORMED, WRONG_ROW = "proof_not_included", "proof_malformed", "proof_wrong_row"
HEX = "0" * 64


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("row", "seq"), 12, NOT_INCLUDED),
        (("row", "seq"), 0, MALFORMED),
        (("row", "seq"), True, MALFORMED),
        (("row", "seq"), 2**64, MALFORMED),
        (("row", "seq"), 24, NOT_INCLUDED),
        (("row", "mac"), HEX, NOT_INCLUDED),
        (("row", "mac"), "0" * 63, MALFORMED),
        (("row", "mac"), "G" * 64, MALFORMED),
        (("row", "mac"), "x" * 64, MALFORMED),
        (("row", "seq"), 2**63 - 1, NOT_INCLUDED),
        (("row", "seq"), 2**63, MALFORMED),
        (("inclusion",), [HEX] * 130, NOT_INCLUDED),
        (("row", "mac"), HEX.encode(), MALFORMED),
        (("row", "body"), "{}", WRONG_ROW),
        (("row", "body"), "[]", WRONG_ROW),
        (("row", "body"), "{", MALFORMED),
        (("row", "body"), "é", MALFORMED),
        (("row", "body"), None, MALFORMED),
        (("row",), [], MALFORMED),
        (("note",), "x", MALFORMED),
        (("note",), 1, MALFORMED),
        (("inclusion",), [], NOT_INCLUDED),
        (("inclusion",), [HEX] * 5, NOT_INCLUDED),
        (("inclusion",), [HEX] * 131, MALFORMED),
        (("inclusion",), HEX, MALFORMED),
        (("consistency", "from"), 4, "proof_other_head"),
        (("consistency", "from"), -1, MALFORMED),
        (("consistency", "from"), "8", MALFORMED),
        (("consistency", "hashes"), [], "proof_not_consistent"),
        (("consistency", "hashes"), [HEX], "proof_not_consistent"),
        (("consistency",), None, MALFORMED),
        (("more",), 1, MALFORMED),
        (("row", "more"), 1, MALFORMED),
    ],
)
def test_each_field_altered_one_by_one(world, proof, path, value, reason):
    assert _reason(_with(proof, path, value), _head(world, 8)) == reason


@pytest.mark.parametrize("field", ["row", "note", "inclusion", "consistency"])
def test_each_field_left_out(world, proof, field):
    assert _reason({name: value for name, value in proof.items() if name != field}, _head(world, 8)) == MALFORMED


@pytest.mark.parametrize("value", [None, [], "x", 1, {}])
def test_what_is_no_proof_at_all(value):
    assert _reason(value, None) == MALFORMED


def test_a_row_body_with_a_repeated_key_is_refused_as_two_opinions(world, proof):
    body = proof["row"]["body"].replace('{"at"', '{"kind":"verdict","at"')
    assert _reason(_with(proof, ("row", "body"), body), _head(world, 8)) == MALFORMED


def test_what_the_log_does_not_hold_cannot_be_proven(world):
    for ask in (lambda: world.log.proof(world.db, ORG, 24, None), lambda: world.log.consistency(world.db, ORG, 2, 22),
                lambda: world.log.consistency(world.db, ORG, 9, 8), lambda: world.log.consistency(world.db, ORG, -1, 8)):  # fmt: skip
        with pytest.raises(OnyError):
            ask()


def test_the_row_mac_is_the_published_formula_both_ways():
    key, previous, body = b"k" * 32, chain.first_mac(ORIGIN), b'{"a":1}'
    message = b"ony-row-v2" + ORIGIN.encode() + hashlib.sha256(ORIGIN.encode()).digest() + (1).to_bytes(8, "big") + body
    expected = hmac.new(key, message, "sha256").digest()
    assert chain.row_mac(key, ORIGIN, previous, 1, body) == chain.row_macs(key, ORIGIN)(previous, 1, body) == expected
    long = b"k" * 100
    assert chain.row_macs(long, ORIGIN)(previous, 1, body) == chain.row_mac(long, ORIGIN, previous, 1, body)


def test_the_leaf_is_the_published_formula():
    mac, body = b"m" * 32, b'{"a":1}'
    expected = hashlib.sha256(b"\0" + b"\0\0\0\0\0\0\1\2" + hashlib.sha256(body).digest() + mac).digest()
    assert chain.leaf(258, body, mac) == expected
    assert chain.node(b"l" * 32, b"r" * 32) == hashlib.sha256(b"\1" + b"l" * 32 + b"r" * 32).digest()
