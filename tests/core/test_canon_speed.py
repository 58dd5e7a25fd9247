"""The canonical form does not depend on how fast it is written: the plainest writer we know, over values of every kind."""

import json
from json.encoder import encode_basestring_ascii

from hypothesis import given
from hypothesis import strategies as st

from ony_core import canon
from ony_core.errors import Malformed

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(), st.sampled_from(["1.0", "-0", "1e3", "0.10"]).map(canon.Number),
    st.text(alphabet="\ud800\u2028\x00\x7f\"\\/é🚀", max_size=5),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(st.text(), inner)), max_leaves=30
)


def plainly(value):
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode_basestring_ascii(key)}:{plainly(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(plainly, value)) + "]"
    return value.text if isinstance(value, canon.Number) else json.dumps(value)


@given(VALUES)
def test_the_bytes_are_those_of_the_plainest_writer(value):
    assert canon.dumps(value) == plainly(value).encode("ascii")


def _refusal(data):
    try:
        canon.loads(data)
    except Malformed as error:
        return error.what
    return None


@given(VALUES.map(lambda value: plainly(value).encode()) | st.integers(60, 70).map(lambda deep: b"[" * deep + b"]" * deep))
def test_what_is_not_looked_through_holds_nothing_to_find(data):
    """`loads` looks for half characters and deep nesting only where the bytes could hold them."""
    refused = _refusal(data)
    try:
        canon._inspect(json.loads(data, object_pairs_hook=dict))
    except Malformed as error:
        assert refused == error.what
    else:
        assert refused is None
