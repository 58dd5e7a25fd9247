"""The three things Ony asks of a telephone provider: place a call, say how it stands, end it. Compatibility REST, standard library only.

Sources: SignalWire Compatibility API "Calls", Twilio "Call resource". One class serves both; `DIALECTS` holds the differences.

MUST bound every request by one deadline, whatever the other side trickles; MUST NOT follow redirects nor read without a limit.
MUST NOT repeat a create whose request went out unanswered: the phone may be ringing already (`Unanswered`); retry only where nothing
was sent, or the provider itself said that it placed nothing (429, 500, 502, 503).
MUST NOT put a number, a token or an answer's text into an error or a log.
"""

import asyncio
import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from ony_core.errors import OnyError, UsageError

MAX_ANSWER = 64 * 1024
EVENTS = ("initiated", "ringing", "answered", "completed")
TERMINAL = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_SID = re.compile(r"[A-Za-z0-9-]{2,64}\Z", re.ASCII)
_RETRY_STATUS = frozenset({429, 500, 502, 503})
_RETRY_CODES = frozenset({"20429", "21611"})
_WRONG_STATE = frozenset({"10000", "21220"})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
# Error codes of both providers, as reasons an administrator can act on.
_REASONS = {
    "20003": "credentials", "20010": "account_feature", "10001": "account_feature", "4001": "balance", "30002": "balance",
    "21201": "number", "21211": "number", "21217": "number", "21210": "caller_number", "21212": "caller_number", "21213": "caller_number",
    "21219": "trial_limits", "30010": "price",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dialect:
    """suffix: what follows a resource's path to get JSON. price_cap: whether MaxPricePerMinute exists."""

    suffix: str
    price_cap: bool


DIALECTS = {"signalwire": Dialect("", True), "twilio": Dialect(".json", False)}


@dataclass(frozen=True, slots=True)
class Account:
    """provider: a key of DIALECTS. base_url: up to and with /2010-04-01. account: project id or account SID."""

    provider: str
    base_url: str
    account: str
    token: str = field(repr=False)


class CallRefused(OnyError):
    """The provider placed no call, and said so. reason: a closed word for logs and audit rows."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the telephone provider placed no call ({reason})", "see docs/signalwire.md for what each reason asks for")
        self.reason = reason


class Unanswered(OnyError):
    """The request went out and no usable answer came back: there may be a call or not."""

    def __init__(self) -> None:
        super().__init__("the telephone provider gave no usable answer", "its status page and your network are the places to look")


class _NotSent(Exception):
    """Nothing left this machine."""


def checked_base_url(url: str) -> str:
    """The address without a trailing slash. UsageError unless it is https, or http on loopback, with nothing but a host and a path."""
    parts = urlsplit(url)
    plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not parts.hostname or not (parts.scheme == "https" or plain) or parts.username is not None or parts.query or parts.fragment:
        raise UsageError("voice.base_url is not a usable address", "give https://…/2010-04-01; http is for loopback only")
    return url.rstrip("/")


class Laml:
    """One account at one provider. deadline_s: for an operation with its retries. backoff_s: before the second attempt, then doubled."""

    def __init__(self, account: Account, *, deadline_s: float = 10.0, attempts: int = 3, backoff_s: float = 0.5) -> None:
        self._url = urlsplit(checked_base_url(account.base_url))
        self._account = account
        self._dialect = DIALECTS[account.provider]
        self._deadline_s, self._attempts, self._backoff_s = deadline_s, attempts, backoff_s
        basic = base64.b64encode(f"{account.account}:{account.token}".encode()).decode("ascii")
        self._headers = {"Authorization": f"Basic {basic}", "Accept": "application/json", "User-Agent": "ony"}
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="telephone")

    async def create(self, *, to: str, caller: str, url: str, status_url: str, ring_s: int, max_price: str = "") -> str:
        """Place a call; its SID. url: fetched on answer. ring_s: 1 to 600. CallRefused or Unanswered."""
        fields = [("To", to), ("From", caller), ("Url", url), ("Method", "POST"), ("Timeout", str(ring_s))]
        fields += [("StatusCallback", status_url), ("StatusCallbackMethod", "POST")]
        fields += [("StatusCallbackEvent", event) for event in EVENTS]
        if max_price and self._dialect.price_cap:
            fields.append(("MaxPricePerMinute", max_price))
        status, body = await self._ask("POST", self._path("Calls"), fields)
        if not 200 <= status < 300:
            raise CallRefused(_reason(status, body))
        return _sid(body)

    async def status(self, sid: str) -> str:
        """How the call stands: queued, ringing, in-progress, or one of TERMINAL. CallRefused or Unanswered."""
        status, body = await self._ask("GET", self._path(f"Calls/{quote(sid, safe='')}"), [])
        if status != 200:
            raise CallRefused(_reason(status, body))
        return str(_object(body).get("status", ""))

    async def end(self, sid: str) -> bool:
        """Stop it ringing, or hang up: `canceled` holds for a call not yet answered, `completed` for one in progress. False: neither."""
        for wanted in ("canceled", "completed"):
            status, body = await self._ask("POST", self._path(f"Calls/{quote(sid, safe='')}"), [("Status", wanted)])
            if 200 <= status < 300:
                return True
            if _code(body) not in _WRONG_STATE:
                break
        return False

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _path(self, resource: str) -> str:
        return f"{self._url.path}/Accounts/{quote(self._account.account, safe='')}/{resource}{self._dialect.suffix}"

    async def _ask(self, method: str, path: str, fields: list[tuple[str, str]]) -> tuple[int, bytes]:
        """One operation in a thread. The thread keeps its own deadline; the extra second here covers a name lookup that hangs."""
        deadline = time.monotonic() + self._deadline_s
        work = asyncio.get_running_loop().run_in_executor(self._pool, partial(self._attempt, method, path, fields, deadline))
        try:
            return await asyncio.wait_for(work, self._deadline_s + 1)
        except TimeoutError:
            raise Unanswered() from None

    def _attempt(self, method: str, path: str, fields: list[tuple[str, str]], deadline: float) -> tuple[int, bytes]:
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                status, body = self._exchange(method, path, fields, deadline)
            except _NotSent:
                if last or not self._rest(attempt, deadline):
                    raise CallRefused("unreachable") from None
                continue
            if status == 504:
                raise Unanswered()
            if last or not (status in _RETRY_STATUS or _code(body) in _RETRY_CODES) or not self._rest(attempt, deadline):
                break
        return status, body

    def _rest(self, attempt: int, deadline: float) -> bool:
        """Wait before the next attempt; False where the deadline leaves no room for one."""
        wait = self._backoff_s * 2 ** (attempt - 1)
        if time.monotonic() + wait >= deadline:
            return False
        time.sleep(wait)
        return True

    def _exchange(self, method: str, path: str, fields: list[tuple[str, str]], deadline: float) -> tuple[int, bytes]:
        """One request. _NotSent: nothing went out. Unanswered: something did, and no whole answer came back in time."""
        connection = self._connected(deadline)
        with contextlib.closing(connection), _cut_at(deadline, connection):
            try:
                headers = dict(self._headers)
                if method == "POST":
                    headers["Content-Type"] = "application/x-www-form-urlencoded"
                connection.request(method, path, urlencode(fields) if method == "POST" else None, headers)
                response = connection.getresponse()
                body = response.read(MAX_ANSWER + 1)
            except (OSError, http.client.HTTPException, ValueError):
                raise Unanswered() from None
            if len(body) > MAX_ANSWER:
                raise Unanswered()
            return response.status, body

    def _connected(self, deadline: float) -> http.client.HTTPConnection:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _NotSent
        host, port = str(self._url.hostname), self._url.port
        if self._url.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=left, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=left)
        try:
            connection.connect()
        except OSError:
            connection.close()
            raise _NotSent from None
        return connection


@contextlib.contextmanager
def _cut_at(deadline: float, connection: http.client.HTTPConnection) -> Iterator[None]:
    """A socket's own timeout starts anew with every byte; this ends the exchange as a whole."""
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), partial(_cut, connection.sock))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # already closed by the exchange that just ended
        sock.shutdown(socket.SHUT_RDWR)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _sid(body: bytes) -> str:
    """Malformed success means a call may exist: Unanswered."""
    sid = _object(body).get("sid")
    if not isinstance(sid, str) or not _SID.match(sid):
        raise Unanswered()
    return sid


def _code(body: bytes) -> str:
    """The provider's error code from {"code":…} or {"errors":[{"code":…}]}; number or text; "" where there is none."""
    value = _object(body)
    errors = value.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        value = errors[0]
    code = value.get("code", "")
    return str(code) if isinstance(code, int | str) else ""


def _reason(status: int, body: bytes) -> str:
    if status in (401, 403):
        return "credentials"
    if status in _RETRY_STATUS:
        return "provider_trouble"
    return _REASONS.get(_code(body), "request")
