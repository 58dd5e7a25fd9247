"""The simulated provider itself: its rules for keys and prompts, its callbacks, and that its checks can fail."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

import pytest

from tests.sim.call import VirtualTime, sign
from tests.sim.laml import Provider

TO, FROM = "+15550100123", "+15550100000"
GATHER = '<Gather numDigits="{n}" finishOnKey="{finish}" timeout="5" action="/next" {more}><Say>{say}</Say></Gather>'
PROMPT = f"<Response>{GATHER}<Say>fell</Say></Response>"


class Application:
    """Serves documents in turn; `digits` holds what each request brought."""

    def __init__(self) -> None:
        self.documents: list[tuple[int, str]] = []
        self.requests: list[tuple[str, dict[str, str], str]] = []
        self.statuses: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode(), keep_blank_values=True))
                if self.path == "/status":
                    outer.statuses.append(form["CallStatus"])
                    status, text = 204, ""
                else:
                    outer.requests.append((self.path, form, self.headers.get("X-SignalWire-Signature", "")))
                    status, text = outer.documents.pop(0) if outer.documents else (200, "<Response/>")
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", text)
                    text = ""
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def serve(self, *documents: str | tuple[int, str]) -> None:
        self.documents += [(200, d) if isinstance(d, str) else d for d in documents]

    @property
    def digits(self) -> list[str | None]:
        return [form.get("Digits") for _, form, _ in self.requests]


@pytest.fixture
def app() -> Iterator[Application]:
    running = Application()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(time=VirtualTime(lambda seconds: None)) as running:
        yield running


def create(provider: Provider, app: Application, **more: str) -> int:
    pairs = [("To", TO), ("From", FROM), ("Url", app.url + "/start"), ("StatusCallback", app.url + "/status"), *more.items()]
    pairs += [("StatusCallbackEvent", event) for event in ("initiated", "ringing", "answered", "completed")]
    answer = provider._create(pairs)
    assert answer is not None
    return answer[0]


def prompt(n: int = 1, finish: str = "", say: str = "Press.", more: str = "") -> str:
    return PROMPT.format(n=n, finish=finish, say=say, more=more)


KEYS: dict[str, tuple[str, Callable[..., object], list[str | None]]] = {
    "one key completes": (prompt(), lambda p: p.press("7"), [None, "7"]),
    "surplus keys wait for the next prompt": (prompt(), lambda p: p.press("71"), [None, "7", "1"]),
    "finishOnKey is not part of the digits": (prompt(6, "#"), lambda p: p.press("12#"), [None, "12"]),
    "an empty finishOnKey lets # through": (prompt(), lambda p: p.press("#"), [None, "#"]),
    "too few digits are sent after a silence": (prompt(6), lambda p: p.press("123"), [None, "123"]),
    "silence falls through": (prompt(), lambda p: p, [None]),
    "silence is sent where asked": (prompt(more='actionOnEmptyResult="true"'), lambda p: p, [None, ""]),
}


@pytest.mark.parametrize("name", KEYS)
def test_gather(provider: Provider, app: Application, name: str) -> None:
    document, script, expected = KEYS[name]
    app.serve(document, prompt() if "surplus" in name else "<Response/>")
    script(provider.expect_call(TO).answer())
    assert create(provider, app) == 201
    provider.join()
    assert app.digits == expected
    assert ("fell" in " ".join(provider.calls.popitem()[1].heard)) == (name == "silence falls through")


def test_every_webhook_is_signed_and_status_callbacks_come_in_order(provider: Provider, app: Application) -> None:
    app.serve(prompt(say="Hello."))
    provider.expect_call(TO, contains="Hello").answer().press("1")
    create(provider, app)
    provider.check()
    assert all(given == sign(provider.signing_key, app.url + path, list(form.items())) for path, form, given in app.requests)
    assert app.statuses == ["initiated", "ringing", "in-progress", "completed"]


def test_callbacks_can_be_doubled_reversed_and_lost(provider: Provider, app: Application) -> None:
    provider.delivery.twice, provider.delivery.backwards, provider.delivery.lose = True, True, frozenset({"ringing"})
    provider.expect_call(TO).busy()
    create(provider, app)
    provider.check()
    assert app.statuses == ["busy", "busy", "initiated", "initiated"]


def test_three_redirects_are_followed_without_digits_and_then_the_fallback_is_asked(provider: Provider, app: Application) -> None:
    app.serve(prompt(), (302, "/a"), (302, "/b"), (302, "/c"), (302, "/d"), "<Response><Say>fallback</Say></Response>")
    provider.expect_call(TO, contains="fallback").answer().press("1")
    create(provider, app, FallbackUrl=app.url + "/fallback")
    provider.check()
    assert [path for path, _, _ in app.requests] == ["/start", "/next", "/a", "/b", "/c", "/fallback"]
    assert app.digits == [None, "1", None, None, None, "1"]


def test_forged_and_replayed_webhooks_are_sent_beside_the_true_ones(provider: Provider, app: Application) -> None:
    app.serve(prompt(), prompt(), (403, ""), prompt())
    phone = provider.expect_call(TO).answer().press("1").forges(signature="bad", fields={"To": "+1"}).replays(0).press("2")
    create(provider, app)
    provider.check()
    assert phone.attacks == [403, 200]
    assert [form["To"] for _, form, _ in app.requests].count("+1") == 1


def test_an_unexpected_call_fails_the_check(provider: Provider, app: Application) -> None:
    create(provider, app)
    with pytest.raises(AssertionError, match="unexpected"):
        provider.check()


def test_a_call_that_never_came_fails_the_check(provider: Provider) -> None:
    provider.expect_call(TO)
    provider.patience_s = 0.1
    with pytest.raises(AssertionError, match="never came"):
        provider.check()


@pytest.mark.parametrize(
    "script", [lambda p: p.answer().hears("Goodbye"), lambda p: p.answer().hears("Press").press("1").press("2").press("3").press("4")]
)
def test_a_script_that_did_not_finish_fails_the_check(provider: Provider, app: Application, script: Callable[..., object]) -> None:
    app.serve(prompt())
    script(provider.expect_call(TO))
    create(provider, app)
    with pytest.raises(AssertionError, match="ended before"):
        provider.check()


def test_a_call_for_the_wrong_words_fails_the_check(provider: Provider, app: Application) -> None:
    app.serve(prompt())
    provider.expect_call(TO, contains="something else").answer()
    create(provider, app)
    with pytest.raises(AssertionError, match="something else"):
        provider.check()


@pytest.mark.parametrize(
    "document",
    ["<Response><Dial>+1</Dial></Response>", "<Say>no root</Say>", "<Response>", "<Response><Say>" + "x" * 4097 + "</Say></Response>"],
)
def test_a_document_against_the_rules_fails_the_check(provider: Provider, app: Application, document: str) -> None:
    app.serve(document)
    provider.expect_call(TO).answer()
    create(provider, app)
    with pytest.raises(AssertionError, match="protocol"):
        provider.check()
