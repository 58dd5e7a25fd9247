"""Canonical bytes: the only place that turns values into what is digested or signed, and untrusted JSON into values.

MUST: refuse duplicate keys, lone surrogates, NaN and Infinity, nesting above 64 levels, bytes that are not UTF-8.
MUST: keep numbers as they stood in their source, so that 1.0 and 1 never share a digest.
MUST: write sorted keys, no spaces, ASCII escapes.
"""

import hashlib
import hmac
import json
from json.encoder import encode_basestring_ascii as _quote
from typing import Any, NoReturn

from ony_core.errors import Malformed

MAX_DEPTH = 64


class Number(float):
    """A number whose source text matters ("1.0", "1e3", "-0")."""

    text: str

    def __new__(cls, text: str) -> "Number":
        number = super().__new__(cls, text)
        number.text = text
        return number


def loads(data: bytes) -> Any:
    """Strict JSON (RFC 8259, narrowed by the MUST list above). Malformed says which rule was broken, never the content."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("JSON is not UTF-8") from None
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise Malformed("JSON is nested too deeply") from None
    except ValueError:
        raise Malformed("not JSON") from None
    if b"\\u" in data or data.count(b"[") + data.count(b"{") > MAX_DEPTH:  # nothing else can nest so deeply, or name half a character
        _inspect(value)
    return value


def dumps(value: Any) -> bytes:
    """Canonical JSON of dict, list, tuple, str, int, bool, None and Number. A plain float is a TypeError: its text is lost."""
    return _write(value, 0).encode("ascii")


def sha256(data: bytes) -> str:
    """ "sha256:<hex>" """
    return "sha256:" + hashlib.sha256(data).hexdigest()


def hmac_sha256(key: bytes, data: bytes) -> str:
    """ "hmac-sha256:<hex>" """
    return "hmac-sha256:" + hmac.digest(key, data, "sha256").hex()


def same(a: str, b: str) -> bool:
    """Constant-time equality of two texts."""
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))


def _int(text: str) -> int | Number:
    return Number(text) if text == "-0" or len(text) > 19 else int(text)


def _constant(name: str) -> NoReturn:
    raise Malformed(f"JSON holds {name}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed("JSON repeats a key")
    return made


_DECODER = json.JSONDecoder(parse_int=_int, parse_float=Number, parse_constant=_constant, object_pairs_hook=_object)


def _inspect(root: Any) -> None:
    """Depth and surrogates, without recursion."""
    waiting = [(root, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise Malformed("JSON is nested too deeply")
        if isinstance(value, str):
            _no_surrogates(value)
        elif isinstance(value, dict):
            for key, item in value.items():
                _no_surrogates(key)
                waiting.append((item, depth + 1))
        elif isinstance(value, list):
            waiting.extend((item, depth + 1) for item in value)


def _no_surrogates(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("JSON holds a lone surrogate") from None


def _write(value: Any, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise Malformed("value is nested too deeply")
    if isinstance(value, str):
        return _quote(value)
    if value is None or value is True or value is False:
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, Number):
        return value.text
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, dict):
        return "{" + ",".join([_quote(key) + ":" + _write(value[key], depth + 1) for key in sorted(value)]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([_write(item, depth + 1) for item in value]) + "]"
    raise TypeError(f"no canonical form for {type(value).__name__}")
