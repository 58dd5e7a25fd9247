"""What the listener hands to a route, and what a route hands back. No sockets, no parsing: server/framing.py has decided by then."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

from ony_core import canon
from ony_core.errors import Malformed


@dataclass(frozen=True, slots=True)
class Request:
    """One request that passed the framing policy. path and query are raw, as received, so that signatures over the URL can be checked."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()  # names in lower case
    body: bytes = b""
    peer: str = ""  # address of the client; "" on the local socket
    peer_uid: int | None = None  # local socket only: by peer credentials

    def header(self, name: str) -> str:
        """The value, or "" where the header is absent. Malformed where it came twice: two values are two opinions."""
        found = [value for key, value in self.headers if key == name]
        if len(found) > 1:
            raise Malformed(f"header {name} is repeated")
        return found[0] if found else ""


class Known(NamedTuple):
    """Whose an authenticated request is, as far as connections are shared out. person: somebody at a browser, who needs few."""

    name: str
    person: bool


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = field(default=())


Waited = Callable[[], "Awaitable[Response | Parked]"]


class Parked:
    """In place of a Response: there is nothing to say yet. Ten thousand of them wait at the same time, so it is small.

    seconds: after which it is answered as things stand. answer: makes the Response then. wake: set by who holds the connection.
    """

    __slots__ = ("answer", "called", "seconds", "wake")

    def __init__(self, seconds: float, answer: Waited) -> None:
        self.seconds, self.answer = seconds, answer
        self.called = False
        self.wake: Callable[[], None] | None = None

    def call(self) -> None:
        """There is something to say. It may come before anybody holds the connection, and is not forgotten then."""
        self.called = True
        if self.wake is not None:
            self.wake()

    def leave(self) -> None:
        """Nobody waits any more. To be called once it is answered or given up; a second time changes nothing."""
        raise NotImplementedError


def answer(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(status, canon.dumps(value))


def problem(status: int, code: str, message: str, hint: str = "") -> Response:
    """{"error":{"code","message","hint"}}: code is a closed word, message and hint are for people and hold nothing of the request."""
    return Response(status, canon.dumps({"error": {"code": code, "message": message, "hint": hint}}))


def later(message: str) -> Response:
    """Too much is going on: come again."""
    return with_headers(problem(503, "busy", message, "ask again in a second"), ("Retry-After", "1"))


def refusal(status: int, reason: str, methods: tuple[str, ...]) -> Response:
    """To a client whose bytes are not a request. methods: what a wrong method might have been."""
    said = problem(status, reason, "the request is not one this server takes")
    return with_headers(said, ("Allow", ", ".join(methods))) if status == HTTPStatus.METHOD_NOT_ALLOWED else said


def fields(request: Request, shape: dict[str, type], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object of the body: these fields of these types, and of the optional ones (name -> default) those that are there."""
    value, spare = canon.loads(request.body), optional or {}
    if not isinstance(value, dict) or not set(shape) <= set(value) <= set(shape) | set(spare):
        raise Malformed("the body is not an object of the expected fields")
    found = {**spare, **value}
    if any(type(found[name]) is not kind for name, kind in {**shape, **{name: type(one) for name, one in spare.items()}}.items()):
        raise Malformed("a field of the body has another type")
    return found


def one_line(text: str, most: int) -> bool:
    """Whether a text may be shown beside others: at most so many characters, none of which steers a terminal, ends a line, turns the
    direction of what follows (Unicode TR 36, 2.5) or cannot be seen.
    """
    return len(text) <= most and text.isprintable() and not {"<", ">"} & set(text)


def with_headers(response: Response, *headers: tuple[str, str]) -> Response:
    return Response(response.status, response.body, response.content_type, (*response.headers, *headers))
