"""Canonical bytes: one value, one spelling; and everything that two parsers could read differently is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core import canon
from ony_core.errors import Malformed

LETTERS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False).map(lambda f: canon.Number(repr(f)))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | LETTERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(LETTERS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_reads_back_and_writes_the_same(value):
    data = canon.dumps(value)
    assert canon.dumps(canon.loads(data)) == data
    assert json.loads(data) == value
    assert data.isascii() and b"\n" not in data


@given(st.dictionaries(LETTERS, VALUES, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value, random):
    names = list(value)
    random.shuffle(names)
    assert canon.dumps({name: value[name] for name in names}) == canon.dumps(value)


def test_spaces_and_escapes_of_the_source_do_not_matter():
    assert canon.dumps(canon.loads(b' { "b" : [ 1 , 2.50 ] ,\n "a" : "\\u00e9\\/" } ')) == b'{"a":"\\u00e9/","b":[1,2.50]}'


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_malformed(data):
    try:
        value = canon.loads(data)
    except Malformed:
        return
    assert canon.loads(canon.dumps(value)) == value == json.loads(data)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a":1,"a":1}', "repeats a key"),
        ('{"a":{"b":1,"b":2}}', "repeats a key"),
        ('{"a":1,"\\u0061":2}', "repeats a key"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udfff":1}', "surrogate"),
        ('["x\\ud83dy"]', "surrogate"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("[-Infinity]", "-Infinity"),
        ("[" * 65 + "1" + "]" * 65, "nested"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested"),
        ("[" * 200_000, "nested"),
        ("", "not JSON"),
        ("{", "not JSON"),
        ("{'a':1}", "not JSON"),
        ("[1,]", "not JSON"),
        ("01", "not JSON"),
        ("1 2", "not JSON"),
        ("\ufeff1", "not JSON"),
        ("tru", "not JSON"),
        ('"\n"', "not JSON"),
    ],
    ids=lambda value: value[:12],
)
def test_what_two_parsers_could_read_differently_is_refused(text, says):
    with pytest.raises(Malformed, match=says):
        canon.loads(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("data", [b"\xff", b'"\xed\xa0\x80"', b'"\xc0\xaf"', b"\xff\xfe1\x00"])
def test_bytes_that_are_not_utf_8_are_refused(data):
    with pytest.raises(Malformed, match="UTF-8"):
        canon.loads(data)


def test_sixty_four_levels_are_the_limit_both_ways():
    deepest = "[" * 64 + "1" + "]" * 64
    assert canon.dumps(canon.loads(deepest.encode())) == deepest.encode()
    with pytest.raises(Malformed):
        canon.dumps([canon.loads(deepest.encode())])


@pytest.mark.parametrize("text", ["1", "1.0", "1e0", "1E0", "10e-1", "-0", "0", "-0.0", "1.00", "123456789012345678901", "0.1", "1e400"])
def test_a_number_keeps_the_spelling_of_its_source(text):
    assert canon.dumps(canon.loads(text.encode())) == text.encode()


def test_pairs_are_never_equal_where_the_text_differs():
    texts = [b"1", b"1.0", b"1e0", b'"1"', b"true", b"[1]", b'{"1":1}', b"null", b"0", b"-0", b'""', b"[]", b"{}", b"false"]
    assert len({canon.dumps(canon.loads(text)) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "é\n\u2028/"]}, b'{"a":[true,null,"\\u00e9\\n\\u2028/"],"b":1}'),
        ("\U0001f600", b'"\\ud83d\\ude00"'),
        ((1, 2), b"[1,2]"),
    ],
)
def test_the_one_spelling(value, text):
    assert canon.dumps(value) == text


@pytest.mark.parametrize("value", [1.5, b"x", {1: 2}.keys(), object(), {"a": 0.5}])
def test_values_without_a_spelling_are_a_type_error(value):
    with pytest.raises(TypeError):
        canon.dumps(value)


def test_digests_and_comparison():
    assert canon.sha256(b"abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert canon.hmac_sha256(b"Jefe", b"what do ya want for nothing?").endswith(
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    assert canon.same("a", "a") and canon.same("é\ud800", "é\ud800")
    assert not canon.same("a", "b") and not canon.same("a", "aa") and not canon.same("", "a") and not canon.same("é", "e\u0301")
