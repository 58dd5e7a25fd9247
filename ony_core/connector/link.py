"""The connector's line to the server: JSON over HTTPS, one request a connection, every one with an end.

MUST use plain http on loopback only; MUST NOT follow a redirect, use a proxy from the environment, or wait past its own total deadline,
however slowly the other side drips. The token stands in the header and nowhere else.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ony_core import canon
from ony_core.errors import Malformed, OnyError, UsageError

MAX_ANSWER = 4 * 1024 * 1024


class Unreachable(OnyError):
    """No answer: not connected, cut off, or too late. What was asked may or may not have happened."""


class Problem(OnyError):
    """The server said no: HTTP status and its closed word."""

    def __init__(self, status: int, word: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.status = status
        self.word = word


@dataclass(frozen=True, slots=True)
class Answer:
    """status 2xx or 304; body: parsed JSON, None where there is none; date: the server's own Date header."""

    status: int
    body: Any
    etag: str = ""
    date: str = ""


class Link:
    """url: https://host[:port][/prefix], or http on loopback. token: the connector's bearer token, "" before enrolment.

    authority: a PEM file of the only certificate authority that is believed, for servers with one of their own; None: the system's.
    """

    def __init__(self, url: str, token: str = "", authority: Path | None = None) -> None:  # before enrolment # nosec B107
        self.secure, self.host, self.port, self.prefix = _address(url)
        self._token, self._authority = token, authority

    def call(self, method: str, path: str, body: bytes | None = None, *, timeout_s: float = 10, etag: str = "") -> Answer:
        """One request within timeout_s. Unreachable, Problem (4xx, 5xx) or Malformed (an answer that is not ours)."""
        connection = self._connection(timeout_s)
        cut = threading.Timer(timeout_s, _cut, (connection,))
        cut.daemon = True
        cut.start()
        try:
            connection.request(method, self.prefix + path, body, self._headers(body, etag))
            response = connection.getresponse()
            data = response.read(MAX_ANSWER + 1)
            if response.length and len(data) <= MAX_ANSWER:
                raise http.client.IncompleteRead(data, response.length)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the server at {self.host}:{self.port} does not answer ({type(error).__name__})") from None
        finally:
            cut.cancel()
            connection.close()
        return _answer(response, data)

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self.secure:
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout_s, context=_trusting(self._authority))
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)

    def _headers(self, body: bytes | None, etag: str) -> dict[str, str]:
        headers = {"Accept": "application/json", "Connection": "close", "User-Agent": "ony-connector"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if etag:
            headers["If-None-Match"] = etag
        return headers


def _trusting(authority: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise OnyError(f"the authority's certificate cannot be used ({why})", f"look at {authority}") from None


def _address(url: str) -> tuple[bool, str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UsageError("the server's address is not a URL", "give one such as https://ony.example.com") from None
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host or parts.query or parts.fragment or "@" in parts.netloc:
        raise UsageError("the server's address is not a plain URL", "give one such as https://ony.example.com")
    if parts.scheme == "http" and not is_loopback(host):
        raise UsageError("http is for servers on this machine only", "use https://")
    return parts.scheme == "https", host, port or (443 if parts.scheme == "https" else 80), parts.path.rstrip("/")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _cut(connection: http.client.HTTPConnection) -> None:
    """Ends a request that outlives its total deadline: socket timeouts bound each read, not their sum."""
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _answer(response: http.client.HTTPResponse, data: bytes) -> Answer:
    if len(data) > MAX_ANSWER:
        raise Malformed("the server's answer is too large")
    status = response.status
    if status == 503:  # it stops, or has too much to do: the same as no answer, but for the waiting
        raise Unreachable("the server asks to come again later")
    if status == 304 or (200 <= status < 300 and not data):
        return Answer(status, None, response.headers.get("ETag", ""), response.headers.get("Date", ""))
    if not 200 <= status < 300:
        raise _problem(status, data)
    return Answer(status, canon.loads(data), response.headers.get("ETag", ""), response.headers.get("Date", ""))


def _problem(status: int, data: bytes) -> Problem:
    try:
        error = canon.loads(data)["error"]
        return Problem(status, _word(error["code"]), _printable(error["message"]), _printable(error.get("hint", "")))
    except (Malformed, KeyError, TypeError, AttributeError):
        return Problem(status, "unknown", f"the server answered with status {status}", "is this the address of an Ony server?")


def _printable(value: Any) -> str:
    """At most 200 characters that cannot steer a terminal."""
    return "".join(c for c in str(value) if c.isprintable())[:200]


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return text if text.replace("_", "").isalnum() and text.isascii() and len(text) <= 40 else "unknown"
