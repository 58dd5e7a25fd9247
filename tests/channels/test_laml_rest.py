"""Placing calls: every answer and every silence of the provider, against the simulator over real sockets."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from ony_core.channels.laml_rest import Account, CallRefused, Laml, Unanswered, checked_base_url
from ony_core.errors import UsageError
from tests.sim.call import VirtualTime
from tests.sim.laml import Provider

TO = "+15550100123"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(time=VirtualTime(lambda seconds: None)) as running:
        yield running


def client(provider: Provider, **changes: Any) -> Laml:
    account = Account(changes.pop("dialect", "signalwire"), provider.base_url, changes.pop("account", provider.account), provider.token)
    return Laml(account, backoff_s=0.01, **{"deadline_s": 5.0, **changes})


def place(laml: Laml, **changes: Any) -> Awaitable[str]:
    wanted = {
        "to": TO,
        "caller": "+15550100000",
        "url": "http://127.0.0.1:1/start",
        "status_url": "http://127.0.0.1:1/status",
        "ring_s": 25,
    }
    return laml.create(**{**wanted, **changes})


def creates(provider: Provider) -> int:
    return sum(method == "POST" and path.split(".")[0].endswith("/Calls") for method, path, _ in provider.requests)


@pytest.mark.parametrize("dialect", ["signalwire", "twilio"])
def test_a_call_is_placed_once_with_every_event_asked_for(provider: Provider, dialect: str) -> None:
    provider.expect_call(TO).no_answer()
    sid = asyncio.run(place(client(provider, dialect=dialect)))
    provider.check()
    assert list(provider.calls) == [sid] and creates(provider) == 1
    _, path, pairs = provider.requests[0]
    assert path.endswith(".json") == (dialect == "twilio")
    assert [value for name, value in pairs if name == "StatusCallbackEvent"] == ["initiated", "ringing", "answered", "completed"]
    assert ("Timeout", "25") in pairs and not any(name in ("Record", "MachineDetection") for name, _ in pairs)


@pytest.mark.parametrize("fault", ["500", "503", "429", "queue"])
def test_a_refusal_that_will_pass_is_tried_again(provider: Provider, fault: str) -> None:
    provider.expect_call(TO).no_answer()
    provider.next_create(fault)
    asyncio.run(place(client(provider)))
    provider.check()
    assert creates(provider) == 2


@pytest.mark.parametrize("fault", ["timeout_after_accept", "cut", "504", "not_json"])
def test_a_create_without_an_answer_is_never_repeated(provider: Provider, fault: str) -> None:
    if fault == "timeout_after_accept":
        provider.expect_call(TO).no_answer()
    provider.next_create(fault)
    began = time.monotonic()
    with pytest.raises(Unanswered):
        asyncio.run(place(client(provider, deadline_s=0.4)))
    assert time.monotonic() - began < 2
    assert creates(provider) == 1


REFUSALS = {
    "no money": (lambda p: p.next_create("balance"), {}, "balance"), "too dear": (lambda p: None, {"max_price": "0.01"}, "price"),
    "bad number": (lambda p: None, {"to": "+0123"}, "number"),
    "foreign caller": (lambda p: None, {"caller": "+15550100999"}, "caller_number"),
    "text error": (lambda p: p.next_create("text_error"), {}, "request"), "bad ring time": (lambda p: None, {"ring_s": 601}, "request"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_has_a_reason_and_is_final(provider: Provider, name: str) -> None:
    prepare: Callable[[Provider], None]
    prepare, changes, reason = REFUSALS[name]
    prepare(provider)
    with pytest.raises(CallRefused) as refused:
        asyncio.run(place(client(provider), **changes))
    assert refused.value.reason == reason and creates(provider) == 1
    assert TO not in str(refused.value) and provider.token not in str(refused.value)


def test_wrong_credentials_are_named_as_such(provider: Provider) -> None:
    told = client(provider)
    provider.token = "another token"
    with pytest.raises(CallRefused, match="credentials"):
        asyncio.run(place(told))


def test_steady_trouble_ends_after_three_attempts(provider: Provider) -> None:
    for _ in range(5):
        provider.next_create("503")
    with pytest.raises(CallRefused, match="provider_trouble"):
        asyncio.run(place(client(provider)))
    assert creates(provider) == 3


def test_nobody_listening_is_unreachable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        account = Account("signalwire", f"http://127.0.0.1:{closed.getsockname()[1]}/x", "a", "t")
        with pytest.raises(CallRefused, match="unreachable"):
            asyncio.run(place(Laml(account, backoff_s=0.01)))


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"])
def test_one_deadline_holds_against_a_trickle(start: bytes) -> None:
    """A byte every few milliseconds would keep a per-read time-out alive for hours."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            peer, _ = listener.accept()
            with peer:
                try:
                    peer.sendall(start)
                    while not done.wait(0.02):
                        peer.sendall(b"x")
                except OSError:
                    return  # the client hung up, as it must

        thread = threading.Thread(target=trickle)
        thread.start()
        laml = Laml(Account("signalwire", f"http://127.0.0.1:{listener.getsockname()[1]}/x", "a", "t"), deadline_s=0.3)
        began = time.monotonic()
        with pytest.raises(Unanswered):
            asyncio.run(place(laml))
        assert time.monotonic() - began < 1.2
        done.set()
        thread.join()


def test_ending_works_while_ringing_and_in_progress_and_says_when_it_is_over(provider: Provider) -> None:
    async def play() -> list[Any]:
        laml, seen = client(provider), []
        provider.expect_call(TO).keeps_ringing()
        sid = await place(laml)
        seen.append(await laml.end(sid))
        await asyncio.to_thread(provider.join)
        seen += [await laml.status(sid), await laml.end(sid)]
        with pytest.raises(CallRefused):
            await laml.status("no-such-call")
        return seen

    assert asyncio.run(play()) == [True, "canceled", False]


@pytest.mark.parametrize(
    "url",
    [
        "", "ftp://h/2010-04-01", "http://example.com/2010-04-01", "https://", "https://user:pw@h/x", "https://h/x?y=1", "https://h/x#f",
        "http://127.0.0.1.example.com/x", "http://[::2]/x",
    ],
)  # fmt: skip
def test_a_base_url_is_https_or_loopback(url: str) -> None:
    with pytest.raises(UsageError):
        checked_base_url(url)


@pytest.mark.parametrize("url", ["https://example.signalwire.com/api/laml/2010-04-01/", "http://127.0.0.1:9/x", "http://[::1]:9/x"])
def test_a_good_base_url_loses_its_slash(url: str) -> None:
    assert checked_base_url(url) == url.rstrip("/")
