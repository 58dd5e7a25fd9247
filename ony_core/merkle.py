"""The Merkle tree over a log's rows: roots, and the proofs that a row is in the log and that the log has only grown.

Source: RFC 6962 section 2.1 and RFC 9162 section 2.1 (SHA-256, leaf prefix 0x00, node prefix 0x01). Pure; `get(level, position)`
returns the hash of the complete subtree of 2^level leaves that begins at leaf position * 2^level. A proof checker MUST refuse a proof
that is too long or too short.
"""

import hmac
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

Get = Callable[[int, int], bytes]
EMPTY_ROOT = sha256(b"").digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def append_nodes(size: int, leaf_hash: bytes, get: Get) -> list[tuple[int, int, bytes]]:
    """What a new leaf adds to a tree of `size` leaves: (level, position, hash) of itself and of every subtree it completes."""
    made = [(0, size, leaf_hash)]
    level, position, current = made[0]
    while position & 1:
        current = node(get(level, position - 1), current)
        level, position = level + 1, position >> 1
        made.append((level, position, current))
    return made


def root(size: int, get: Get) -> bytes:
    """The root of the first `size` leaves."""
    return _subtree(0, size, get) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, get: Get) -> list[bytes]:
    """PATH(index, D[size]), leaf side first (RFC 9162 section 2.1.3.1). index counts from 0."""
    if not 0 <= index < size:
        raise ValueError("the leaf is not in the tree")
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_subtree(middle, high, get))
            high = middle
        else:
            path.append(_subtree(low, middle, get))
            low = middle
    return path[::-1]


def consistency_proof(old: int, new: int, get: Get) -> list[bytes]:
    """PROOF(old, D[new]) (RFC 9162 section 2.1.4.1); empty where there is nothing to prove: old is 0 or old equals new."""
    if not 0 <= old <= new:
        raise ValueError("a log cannot be consistent with a longer one")
    path: list[bytes] = []
    low, high = 0, new
    while low < old < high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_subtree(middle, high, get))
            high = middle
        else:
            path.append(_subtree(low, middle, get))
            low = middle
    if low:
        path.append(_subtree(low, high, get))
    return path[::-1]


def verify_inclusion(index: int, size: int, leaf_hash: bytes, tree_root: bytes, proof: Sequence[bytes]) -> bool:
    """Does the tree (size, root) hold this leaf at this index? RFC 9162 section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    at, last, current = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            current = node(sibling, current)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            current = node(current, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and hmac.compare_digest(current, tree_root)


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Is the tree (new, new_root) the tree (old, old_root) with leaves appended? RFC 9162 section 2.1.4.2; an empty old tree is always
    a prefix.
    """
    if not 0 <= old <= new:
        return False
    if old == 0:
        return not proof and hmac.compare_digest(old_root, EMPTY_ROOT)
    if old == new:
        return not proof and hmac.compare_digest(old_root, new_root)
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            before, after = node(sibling, before), node(sibling, after)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            after = node(after, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and hmac.compare_digest(before, old_root) and hmac.compare_digest(after, new_root)


class Frontier:
    """The roots of a log read once from front to back, in memory O(log n): the hashes of its complete subtrees, largest first."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count():
            raise ValueError("a tree has one peak for each set bit of its size")

    def append(self, leaf_hash: bytes) -> None:
        peaks, size = self.peaks, self.size
        while size & 1:
            leaf_hash = sha256(b"\x01" + peaks.pop() + leaf_hash).digest()
            size >>= 1
        peaks.append(leaf_hash)
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return EMPTY_ROOT
        whole = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            whole = node(peak, whole)
        return whole


def _split(width: int) -> int:
    """The largest power of two below width."""
    return 1 << (width - 1).bit_length() - 1


def _subtree(low: int, high: int, get: Get) -> bytes:
    """The root of leaves low..high-1, where low is a multiple of the next power of two, as in every split of the RFC."""
    width = high - low
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return get(level, low >> level)
    middle = low + _split(width)
    return node(_subtree(low, middle, get), _subtree(middle, high, get))
