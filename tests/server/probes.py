"""The battery: bytes that servers have been smuggled through, exhausted or crashed with, and what ours must answer to each.

Every probe is named by what it tries. answers: the statuses in order. stays: the connection is kept open after them.
"""

from dataclasses import dataclass

H = b"Host: x\r\n"
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True)
class Probe:
    name: str
    data: bytes
    answers: tuple[int, ...]
    stays: bool = False


def _post(headers: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\n" + H + headers + b"\r\n" + body


def _get(headers: bytes) -> bytes:
    return b"GET / HTTP/1.1\r\n" + H + headers + b"\r\n"


def _line(line: bytes) -> bytes:
    return line + b"\r\n" + H + b"\r\n"


PROBES = (
    Probe("two different Content-Lengths", _post(b"Content-Length: 4\r\nContent-Length: 0\r\n", b"ABCD"), (400,)),
    Probe("two equal Content-Lengths", _post(b"Content-Length: 4\r\nContent-Length: 4\r\n", b"ABCD"), (400,)),
    Probe("a list of Content-Lengths", _post(b"Content-Length: 4, 4\r\n", b"ABCD"), (400,)),
    Probe("chunked", _post(b"Transfer-Encoding: chunked\r\n", b"4\r\nABCD\r\n0\r\n\r\n"), (501,)),
    Probe("chunked in odd clothes", _post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), (501,)),
    Probe("Content-Length and chunked", _post(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"1e\r\n" + HIDDEN), (501,)),
    Probe("a request in an undeclared body", _post(b"Transfer-Encoding: chunked\r\n", HIDDEN), (501,)),
    Probe("a request in the body of a GET", _get(b"Content-Length: %d\r\n" % len(HIDDEN)) + HIDDEN, (200,), stays=True),
    Probe("a GET whose body never ends", _get(b"Content-Length: 400\r\n") + HIDDEN, (408,)),
    Probe("negative Content-Length", _post(b"Content-Length: -1\r\n", b"ABCD"), (400,)),
    Probe("signed Content-Length", _post(b"Content-Length: +4\r\n", b"ABCD"), (400,)),
    Probe("hexadecimal Content-Length", _post(b"Content-Length: 0x4\r\n", b"ABCD"), (400,)),
    Probe("Content-Length with an underscore", _post(b"Content-Length: 1_0\r\n", b"0123456789"), (400,)),
    Probe("Content-Length in superscript", _post(b"Content-Length: \xb2\r\n", b"AB"), (400,)),
    Probe("empty Content-Length", _post(b"Content-Length:\r\n"), (400,)),
    Probe("gigantic Content-Length", _post(b"Content-Length: 99999999999\r\n", b"AB"), (413,)),
    Probe("one byte too much", _post(b"Content-Length: 65537\r\n"), (413,)),
    Probe("space before the colon", _post(b"Content-Length : 4\r\n", b"ABCD"), (400,)),
    Probe("folded header", _get(b"X: a\r\n b\r\n"), (400,)),
    Probe("folded first header", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", (400,)),
    Probe("bare LF line ends", b"GET / HTTP/1.1\nHost: x\n\n", (400,)),
    Probe("bare LF before a hidden header", _get(b"X: a\nContent-Length: 9\r\n"), (400,)),
    Probe("bare CR in a header", _get(b"X: a\rb\r\n"), (400,)),
    Probe("control character in a header", _get(b"X: a\x0bb\r\n"), (400,)),
    Probe("header without a name", _get(b": a\r\n"), (400,)),
    Probe("header without a colon", _get(b"nonsense\r\n"), (400,)),
    Probe("no Host", b"GET / HTTP/1.1\r\n\r\n", (400,)),
    Probe("two Hosts", b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", (400,)),
    Probe("empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", (400,)),
    Probe("somebody else's Host", b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", (400,)),
    Probe("Host with a path", b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", (400,)),
    Probe("HTTP/0.9", b"GET /\r\n", (505,)),
    Probe("HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", (505,)),
    Probe("HTTP/1.9", _line(b"GET / HTTP/1.9"), (505,)),
    Probe("HTTP/2.0", _line(b"GET / HTTP/2.0"), (505,)),
    Probe("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505,)),
    Probe("TLS on the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", (400,)),
    Probe("TRACE", _line(b"TRACE / HTTP/1.1"), (405,)),
    Probe("CONNECT", _line(b"CONNECT x:1 HTTP/1.1"), (405,)),
    Probe("HEAD", _line(b"HEAD / HTTP/1.1"), (405,)),
    Probe("an odd method", _line(b"FOO / HTTP/1.1"), (405,)),
    Probe("a method with underscores", _line(b"__init__ / HTTP/1.1"), (405,)),
    Probe("a method in lower case", _line(b"get / HTTP/1.1"), (405,)),
    Probe("NUL in the path", _line(b"GET /\x00 HTTP/1.1"), (400,)),
    Probe("a path beyond ASCII", _line(b"GET /\xc3\xa9 HTTP/1.1"), (400,)),
    Probe("two spaces in the request line", _line(b"GET  / HTTP/1.1"), (400,)),
    Probe("absolute target", _line(b"GET http://evil/ HTTP/1.1"), (400,)),
    Probe("target that begins with //", _line(b"GET //evil/.. HTTP/1.1"), (400,)),
    Probe("target with // inside", _line(b"GET /a//b HTTP/1.1"), (400,)),
    Probe("target with a fragment", _line(b"GET /a#b HTTP/1.1"), (400,)),
    Probe("empty line before the request", b"\r\n" + _get(b""), (400,)),
    Probe("request line of 65,537 bytes", _line(b"GET /" + b"a" * 65600 + b" HTTP/1.1"), (431,)),
    Probe("header line of 65,600 bytes", _get(b"X: " + b"a" * 65600 + b"\r\n"), (431,)),
    Probe("101 headers", _get(b"".join(b"X%d: a\r\n" % i for i in range(101))), (431,)),
    Probe("6.4 MB of headers", _get(b"".join(b"X%d: %s\r\n" % (i, b"a" * 65000) for i in range(98))), (431,)),
    Probe("an expectation we do not know", _post(b"Expect: gold\r\nContent-Length: 2\r\n", b"ok"), (417,)),
    Probe("Expect: 100-continue with its body", _post(b"Expect: 100-continue\r\nContent-Length: 2\r\n", b"ok"), (200,), stays=True),
    Probe("three in a row", _get(b"") * 3, (200, 200, 200), stays=True),
    Probe("Connection: close", _get(b"Connection: Close\r\n") + HIDDEN, (200,)),
    Probe("nothing at all", b"", ()),
    Probe("half a header", b"GET / HTTP/1.1\r\n", (408,)),
)
