"""The tree against an independent reading of RFC 6962 section 2.1: recursive, over the whole list of leaves, sharing no code with ours."""

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core import merkle

SIZES = 131
LEAVES = [sha256(b"\x00" + bytes([i])).digest() for i in range(SIZES)]


def mth(leaves):
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m, leaves):
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m, leaves, known):
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


@pytest.fixture(scope="module")
def nodes():
    made = {}
    for size, leaf in enumerate(LEAVES):
        made.update({(level, at): h for level, at, h in merkle.append_nodes(size, leaf, lambda level, at: made[level, at])})
    return made


@pytest.fixture
def get(nodes):
    return lambda level, at: nodes[level, at]


def test_published_roots_of_rfc_6962_test_data():
    """The eight entries and the root of github.com/google/certificate-transparency merkletree tests."""
    data = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    tree = merkle.Frontier()
    for text in data:
        tree.append(sha256(b"\x00" + bytes.fromhex(text)).digest())
    assert tree.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert merkle.EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", range(SIZES))
def test_the_root_is_the_rfc_s_however_it_is_computed(size, get):
    expected = mth(LEAVES[:size])
    tree = merkle.Frontier()
    for leaf in LEAVES[:size]:
        tree.append(leaf)
    assert merkle.root(size, get) == expected == tree.root()


@pytest.mark.parametrize("size", range(1, SIZES))
def test_inclusion_proofs_are_the_rfc_s_and_hold_for_their_leaf_alone(size, get):
    root = mth(LEAVES[:size])
    for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
        proof = merkle.inclusion_proof(index, size, get)
        assert proof == path(index, LEAVES[:size])
        assert merkle.verify_inclusion(index, size, LEAVES[index], root, proof)
        assert not merkle.verify_inclusion(index, size, LEAVES[(index + 1) % SIZES], root, proof)
        assert not merkle.verify_inclusion(index, size, LEAVES[index], root, [*proof, root])
        assert not proof or not merkle.verify_inclusion(index, size, LEAVES[index], root, proof[:-1])
        assert not merkle.verify_inclusion(size, size, LEAVES[index], root, proof)
        assert not merkle.verify_inclusion(-1, size, LEAVES[index], root, proof)


@pytest.mark.parametrize("new", range(65))
def test_consistency_proofs_of_all_pairs_are_the_rfc_s_and_hold_for_their_heads_alone(new, get):
    after = mth(LEAVES[:new])
    for old in range(new + 1):
        before, proof = mth(LEAVES[:old]), merkle.consistency_proof(old, new, get)
        assert proof == (subproof(old, LEAVES[:new], True) if 0 < old < new else [])
        assert merkle.verify_consistency(old, new, before, after, proof)
        assert not merkle.verify_consistency(old, new, sha256(before).digest(), after, proof)
        assert not merkle.verify_consistency(old, new, before, after, [*proof, after])
        assert old in (0, new) or not merkle.verify_consistency(old, new, before, after, [])
        if proof:
            assert not merkle.verify_consistency(old, new, before, after, proof[:-1])
            assert not merkle.verify_consistency(old, new, before, sha256(after).digest(), proof)
            assert not merkle.verify_consistency(old, new, before, after, [sha256(proof[0]).digest(), *proof[1:]])


def test_a_shorter_log_is_never_consistent_with_a_longer_head(get):
    assert not merkle.verify_consistency(5, 4, mth(LEAVES[:5]), mth(LEAVES[:4]), [])
    for wrong in [(5, 4), (-1, 4)]:
        with pytest.raises(ValueError):
            merkle.consistency_proof(*wrong, get)
    for wrong in [(4, 4), (-1, 4), (0, 0)]:
        with pytest.raises(ValueError):
            merkle.inclusion_proof(*wrong, get)


def test_an_empty_head_needs_the_empty_root(get):
    assert not merkle.verify_consistency(0, 3, LEAVES[0], mth(LEAVES[:3]), [])


@given(st.integers(1, SIZES - 1), st.integers(1, SIZES - 1), st.integers(0, 7), st.randoms(use_true_random=False))
def test_a_garbled_proof_never_holds(a, b, where, random):
    old, new = sorted((a, b))
    proof = subproof(old, LEAVES[:new], True) if old < new else []
    if proof:
        proof[where % len(proof)] = random.randbytes(32)
        assert not merkle.verify_consistency(old, new, mth(LEAVES[:old]), mth(LEAVES[:new]), proof)


def test_a_frontier_can_be_taken_up_where_another_stopped():
    for size, _ in pairwise(range(70)):
        whole = merkle.Frontier()
        for leaf in LEAVES[:size]:
            whole.append(leaf)
        rest = merkle.Frontier(size, whole.peaks)
        for leaf in LEAVES[size:70]:
            rest.append(leaf)
        assert rest.root() == mth(LEAVES[:70])
    with pytest.raises(ValueError):
        merkle.Frontier(3, [LEAVES[0]])
