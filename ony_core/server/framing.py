"""The framing policy: which bytes are one HTTP/1.1 request, and which are refused. Pure; h11 reads what passed again, and writes answers.

MUST refuse whatever two programs could read differently (RFC 9112 section 11): any Transfer-Encoding, a Content-Length that is repeated
or not [0-9]{1,10}, bare CR or LF, folded header lines, space before a colon, control characters, absolute targets, "//", a repeated Host.
MUST refuse a Host that is not ours (DNS rebinding), every version but HTTP/1.1, and every method but GET and POST.
MUST hold its limits before memory is spent: 16 KiB and 50 header lines a head, 64 KiB a body.
MUST remember nothing of a request but that h11 took its head.
MUST answer with a Head or a Violation for every input, never with another exception. After a Violation the connection ends.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import h11

MAX_HEAD = 16 * 1024
MAX_HEADERS = 50
MAX_BODY = 64 * 1024
MOST_TAKEN = 4096
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
METHODS = ("GET", "POST")

_taken: set[bytes] = set()  # digests, because a head holds tokens
_END = b"\r\n\r\n"
_BAD_LINE_END = re.compile(rb"\A\n|[^\r]\n|\r[^\n]|\0")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ ]+) HTTP/([0-9])\.([0-9])\Z")
_OLD_REQUEST_LINE = re.compile(rb"[A-Z]+ [^ ]+\Z")
_TARGET = re.compile(rb"(/(?!/)(?:[A-Za-z0-9._~!$&'()*+,;=:@%-]|/(?!/))*)(?:\?([A-Za-z0-9._~!$&'()*+,;=:@%/?-]*))?\Z")
_HEADER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\Z")
_HOST = re.compile(r"([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?\Z", re.ASCII)
_DIGITS = re.compile(r"[0-9]+\Z", re.ASCII)


class Violation(Exception):
    """The bytes are not a request we take. status: what to answer. reason: a closed word for the log."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Head:
    """A request up to its body. headers: names in lower case. length: bytes of body that follow. closes: the client wants no other."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    length: int
    expects_continue: bool
    closes: bool


def head_end(buffer: bytes | bytearray, seen: int = 0) -> int | None:
    """Where the head in `buffer` ends, None while more is to come. seen: bytes that an earlier call has looked at.

    Violation as soon as what has come cannot become a head.
    """
    found = buffer.find(_END, max(0, seen - 3))
    end = len(buffer) if found < 0 else found + len(_END)
    if _BAD_LINE_END.search(buffer, max(0, seen - 1), min(end, MAX_HEAD)):
        raise Violation(400, "line_end")
    if end > MAX_HEAD:
        raise Violation(431, "head_too_large")
    line_end = buffer.find(b"\r\n", 0, end)
    if line_end >= 0 and seen < line_end + 2:
        _request_line(bytes(buffer[:line_end]))
    return None if found < 0 else end


def head(raw: bytes, hosts: frozenset[str] | None) -> Head:
    """The head in `raw`, which `head_end` has delimited. hosts: the names we answer to, lower case; None: any."""
    lines = raw[: -len(_END)].split(b"\r\n")
    method, path, query = _request_line(lines[0])
    if len(lines) - 1 > MAX_HEADERS:
        raise Violation(431, "too_many_headers")
    if not all(map(_HEADER_LINE.match, lines[1:])):
        raise Violation(400, "header_line")
    headers = tuple(_field(line) for line in lines[1:])
    _require_host(_values(headers, "host"), hosts)
    length, expects_continue = _length(headers), _expects_continue(headers)
    _require_grammar(raw)
    return Head(method, path, query, headers, length, expects_continue, "close" in _tokens(headers, "connection"))


def render(status: int, reason: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """An answer as bytes. ValueError for a header that cannot be written, and for a body of another length than they say."""
    fields = tuple(headers)
    named = {name.lower(): value for name, value in fields}
    if named.get("content-length", "0") != str(len(body)):
        raise ValueError("an answer says the length of its body")
    return (_rendered_head if "set-cookie" in named else _kept_head)(status, reason, fields) + body


def _rendered_head(status: int, reason: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    fields = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
    try:
        head = h11.Connection(h11.SERVER).send(h11.Response(status_code=status, headers=fields, reason=reason.encode("ascii")))
    except h11.LocalProtocolError as error:
        raise ValueError(str(error)) from None
    return head or b""


_kept_head = lru_cache(maxsize=64)(_rendered_head)  # within a second most answers begin alike; those with a cookie are not kept


def client_of(peer: str, headers: Iterable[tuple[str, str]], proxies: Sequence[str]) -> str:
    """Who asks: the peer, or, where the peer is one of our proxies, the last address in X-Forwarded-For that is not.

    peer: an address. proxies: addresses or networks.
    """
    if not proxies:
        return peer
    chain = [hop.strip() for value in _values(headers, "x-forwarded-for") for hop in value.split(",")]
    for hop in (peer, *reversed(chain)):
        if not _is_address(hop):
            return peer
        if not within(hop, proxies):
            return hop
    return peer


def within(address: str, networks: Sequence[str]) -> bool:
    """Whether an address is one of these addresses or in one of these networks."""
    there = _undressed(ipaddress.ip_address(address))
    return any(there in ipaddress.ip_network(network) for network in networks)


@lru_cache(maxsize=1024)
def network_of(peer: str) -> str:
    """What counts as one address: an IPv6 customer has a /64 to choose from. IPv4 may come dressed as IPv6 (RFC 4291, 2.5.5.2)."""
    try:
        address = _undressed(ipaddress.ip_address(peer))
    except ValueError:
        return peer
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def _undressed(address: Address) -> Address:
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


def _request_line(line: bytes) -> tuple[str, str, str]:
    match = _REQUEST_LINE.match(line)
    if match is None:
        raise Violation(505, "version") if _OLD_REQUEST_LINE.match(line) else Violation(400, "request_line")
    method, target, major, minor = match.groups()
    if (major, minor) != (b"1", b"1"):
        raise Violation(505, "version")
    if method.decode("ascii") not in METHODS:
        raise Violation(405, "method")
    origin_form = _TARGET.match(target)
    if origin_form is None:
        raise Violation(400, "target")
    path, query = origin_form.groups()
    return method.decode("ascii"), path.decode("ascii"), (query or b"").decode("ascii")


def _field(line: bytes) -> tuple[str, str]:
    """As it came: h11 would fold equal lengths into one."""
    name, _, value = line.decode("latin-1").partition(":")
    return name.lower(), value.strip(" \t")


def _require_grammar(raw: bytes) -> None:
    """RFC 9112 once more, by other hands than ours. A kept connection sends the same head again and again: what h11 has taken once, by
    its digest, is not read a second time.
    """
    digest = sha256(raw).digest()
    if digest in _taken:
        return
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        reader.receive_data(raw)
        event = reader.next_event()
    except h11.RemoteProtocolError:
        raise Violation(400, "grammar") from None
    if not isinstance(event, h11.Request):
        raise Violation(400, "grammar")
    if len(_taken) >= MOST_TAKEN:
        _taken.clear()
    _taken.add(digest)


def _require_host(found: list[str], hosts: frozenset[str] | None) -> None:
    match = _HOST.match(found[0].lower()) if len(found) == 1 else None
    if match is None:
        raise Violation(400, "host")
    if hosts is not None and match[1].rstrip(".") not in hosts:
        raise Violation(400, "foreign_host")


def _length(headers: tuple[tuple[str, str], ...]) -> int:
    if _values(headers, "transfer-encoding"):
        raise Violation(501, "transfer_encoding")
    found = _values(headers, "content-length")
    if not found:
        return 0
    if len(found) > 1 or not _DIGITS.match(found[0]):
        raise Violation(400, "content_length")
    if len(found[0]) > 10 or int(found[0]) > MAX_BODY:
        raise Violation(413, "body_too_large")
    return int(found[0])


def _expects_continue(headers: tuple[tuple[str, str], ...]) -> bool:
    found = _values(headers, "expect")
    if found and [value.lower() for value in found] != ["100-continue"]:
        raise Violation(417, "expectation")
    return bool(found)


def _values(headers: Iterable[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in headers if key == name]


def _tokens(headers: Iterable[tuple[str, str]], name: str) -> set[str]:
    return {token.strip().lower() for value in _values(headers, name) for token in value.split(",")}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
