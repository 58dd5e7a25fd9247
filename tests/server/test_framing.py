"""The framing policy without a socket: the battery cut in every place, and bytes nobody thought of."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ony_core.server import framing
from ony_core.server.framing import Head, Violation
from tests.server.probes import PROBES, H

HOSTS = frozenset({"x", "[::1]"})


def read(data: bytes, step: int = 0) -> Head | int | None:
    """What the listener makes of bytes that come `step` at a time (0: at once): a head, a status, or None where more must come."""
    seen = 0
    try:
        for cut in range(step, len(data) + step, step) if step else (len(data),):
            if (end := framing.head_end(bytearray(data[:cut]), seen)) is not None:
                return framing.head(data[:end], HOSTS)
            seen = min(cut, len(data))
    except Violation as violation:
        return violation.status
    return None


def request(*headers: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((line, b"Host: x", *headers, b"", b""))


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
@pytest.mark.parametrize("step", [0, 1, 7], ids=["whole", "byte by byte", "by sevens"])
def test_each_probe_is_read_the_same_however_it_is_cut(probe, step):
    found = read(probe.data[:20_000], step)
    expected = probe.answers[0] if probe.answers else None
    if expected in (200, 408):  # the rest is a matter of body and deadlines
        assert found is None or isinstance(found, Head)
    else:
        assert found == expected


@pytest.mark.parametrize(("text", "length"), [(b"0", 0), (b"5", 5), (b"65536", 65536), (b"0000000005", 5)])
def test_a_plain_content_length_is_the_length_of_the_body(text, length):
    found = read(request(b"Content-Length: " + text))
    assert isinstance(found, Head) and found.length == length


@pytest.mark.parametrize("host", [b"x", b"X", b"x:8750", b"x.", b"[::1]", b"[::1]:80"])
def test_our_own_names_are_taken_in_every_spelling(host):
    assert isinstance(read(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"), Head)


@pytest.mark.parametrize("host", [b"y", b"x.evil.example", b"x@evil", b"x:", b"x:http", b"::1", b"x x", b"x,y"])
def test_no_other_name_is(host):
    assert read(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") == 400


def test_path_query_and_headers_arrive_as_they_were_sent():
    found = read(request(b"X-Two: a", b"x-two:  b \t", line=b"GET /v1/a%2Fb?n=1&m=/? HTTP/1.1"))
    assert isinstance(found, Head)
    assert (found.method, found.path, found.query) == ("GET", "/v1/a%2Fb", "n=1&m=/?")
    assert found.headers == (("host", "x"), ("x-two", "a"), ("x-two", "b"))


@pytest.mark.parametrize(("lines", "status"), [(49, None), (50, 431)])
def test_fifty_header_lines_are_the_most(lines, status):
    found = read(request(*[b"A: b"] * lines))
    assert found == status if status else isinstance(found, Head)


def test_16_kib_of_head_are_the_most():
    room = framing.MAX_HEAD - len(request(b"X: "))
    assert isinstance(read(request(b"X: " + b"a" * room)), Head)
    assert read(request(b"X: " + b"a" * (room + 1))) == 431


@pytest.mark.parametrize("value", [b"close", b"Close", b"keep-alive, close"])
def test_a_client_that_wants_no_more_is_heard(value):
    found = read(request(b"Connection: " + value))
    assert isinstance(found, Head) and found.closes


PIECES = [b"GET", b"POST", b" ", b"/", b"//", b"?", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n", b"\r", b"\0", b":", b"Host", b"Host: x",
          b"Content-Length", b"Transfer-Encoding: chunked", b"0", b"5", b"\t", b"\xff", b"Connection: close", b"Expect: "]  # fmt: skip
NAMES = [b"Content-Length", b"content-length", b"Transfer-Encoding", b"X", b"Host", b"X "]
SOUP = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=40).map(b"".join)
VALUES = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=20).map(lambda text: text.encode("latin-1"))
NEARLY = st.builds(
    lambda line, headers: b"".join((line, b"\r\n", H, *(name + b":" + value + b"\r\n" for name, value in headers), b"\r\n")),
    st.sampled_from([b"GET / HTTP/1.1", b"POST /v1/x?y HTTP/1.1"]),
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4),
)


@given(st.one_of(SOUP, NEARLY), st.sampled_from([0, 1, 3]))
def test_any_bytes_become_a_head_or_a_status_and_never_another_error(data, step):
    found = read(data, step)
    assert found is None or isinstance(found, Head) or found in (400, 405, 413, 417, 431, 501, 505)


@given(st.one_of(SOUP, NEARLY))
def test_what_we_take_h11_takes_too_and_reads_the_same(data):
    found = read(data)
    if isinstance(found, Head):
        reader = h11.Connection(h11.SERVER)
        reader.receive_data(data)
        event = reader.next_event()
        assert event.http_version == b"1.1" and event.method == found.method.encode()
        path, _, query = event.target.decode().partition("?")
        assert (path, query) == (found.path, found.query)
        assert int(dict(event.headers).get(b"content-length", b"0")) == found.length


@given(NEARLY, st.integers(1, 200))
def test_where_the_bytes_are_cut_makes_no_difference(data, step):
    at_once, in_steps = read(data), read(data, step)
    assert at_once == in_steps if isinstance(at_once, Head) else not isinstance(in_steps, Head)


# ---------------------------------------------------------------- who asks, and answers


@pytest.mark.parametrize(
    ("peer", "forwarded", "who"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.1, ::ffff:10.0.0.2", "198.51.100.1"),
    ],
    ids=["a stranger's word", "a proxy's word", "what the client made up", "two proxies", "not an address", "nothing said", "only proxies",
         "proxies dressed as IPv6"],
)
def test_forwarded_addresses_are_believed_of_our_own_proxies_alone(peer, forwarded, who):
    assert framing.client_of(peer, (("x-forwarded-for", forwarded),), ("10.0.0.0/8",)) == who


def test_a_header_that_would_split_the_answer_is_never_written():
    with pytest.raises(ValueError, match="header"):
        framing.render(200, "OK", [("X", "a\r\nSet-Cookie: b")], b"")


@given(NEARLY)
def test_a_head_that_was_taken_before_is_read_the_same_again(data):
    assert read(data) == read(data) or not isinstance(read(data), Head)
    assert len(framing._taken) <= framing.MOST_TAKEN


def test_an_answer_says_how_long_its_body_is():
    for headers, body in (([], b"x"), ([("Content-Length", "2")], b"x"), ([("Content-Length", "1")], b"")):
        with pytest.raises(ValueError, match="length"):
            framing.render(200, "OK", headers, body)
