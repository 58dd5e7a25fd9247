"""The on-screen phone of the demo: an honest provider, as far as it goes."""

import asyncio
import io
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import pytest

from ony_core.channels import laml, screen, voice
from ony_core.channels.laml_rest import Account, CallRefused, Laml
from ony_core.channels.screen import ScreenPhone

TO = "+15550100123"


class Answers:
    """A tiny server that serves given documents in turn and keeps what it was sent."""

    def __init__(self) -> None:
        self.documents: list[bytes] = []
        self.seen: list[tuple[str, list[tuple[str, str]], str]] = []
        self.completed = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                pairs = parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode(), keep_blank_values=True)
                outer.seen.append((self.path, pairs, self.headers["X-SignalWire-Signature"]))
                status = self.path == "/status"
                body = b"" if status else outer.documents.pop(0)
                self.send_response(204 if status else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                if dict(pairs)["CallStatus"] in ("completed", "canceled"):
                    outer.completed.set()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def prompt(self, step: str, digits: int) -> None:
        document = voice.Document(gather=voice.Gather(step, 1, digits, 5, (f"The {step} prompt.",)))
        self.documents.append(laml.render(document, self.url))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    monkeypatch.setattr(screen, "SPEAKING_S", 0.01)
    running = Answers()
    yield running
    running.server.shutdown()
    running.server.server_close()


def ring(answers: Answers, base_url: str, token: str = "token") -> str:
    client = Laml(Account("signalwire", base_url, "account", token))
    fields: dict[str, Any] = {"to": TO, "caller": "+15550100000", "url": answers.url + "/start", "status_url": answers.url + "/status"}
    return asyncio.run(client.create(ring_s=25, **fields))


def test_given_keys_travel_as_signed_webhooks_and_a_code_is_not_shown(answers: Answers) -> None:
    answers.prompt("gate", 1)
    answers.prompt("code", 6)
    answers.documents.append(laml.render(voice.Document(("Approved.",)), answers.url))
    out, keys = io.StringIO(), iter(("5", "code"))
    phone = ScreenPhone("account", "token", "PSK_x", out, keys=lambda: next(keys, ""), code=lambda: "482913")
    ring(answers, phone.start())
    assert answers.completed.wait(10)
    phone.stop()
    pressed = [dict(pairs).get("Digits") for path, pairs, _ in answers.seen if path != "/status"]
    assert pressed == [None, "5", "482913"]
    assert all(given == laml.signature("PSK_x", answers.url + path, pairs) for path, pairs, given in answers.seen)
    sequence = [dict(pairs)["SequenceNumber"] for path, pairs, _ in answers.seen if path == "/status"]
    assert sequence == ["0", "1", "2", "3"]
    shown = out.getvalue()
    assert "The gate prompt." in shown and "Approved." in shown and "482913" not in shown and TO not in shown


def test_without_the_account_nothing_rings(answers: Answers) -> None:
    phone = ScreenPhone("account", "token", "PSK_x", io.StringIO(), keys=lambda: "")
    with pytest.raises(CallRefused, match="credentials"):
        ring(answers, phone.start(), token="other")
    phone.stop()
    assert answers.seen == []


def test_a_call_in_progress_can_be_ended_from_outside(answers: Answers) -> None:
    asked, ended = threading.Event(), threading.Event()
    answers.prompt("gate", 1)

    def keys() -> str:
        asked.set()
        ended.wait(10)
        return "5"

    phone = ScreenPhone("account", "token", "PSK_x", io.StringIO(), keys=keys)
    base_url = phone.start()
    sid = ring(answers, base_url)
    assert asked.wait(10)
    assert asyncio.run(Laml(Account("signalwire", base_url, "account", "token")).end(sid))
    ended.set()
    assert answers.completed.wait(10)
    phone.stop()
    assert not any(dict(pairs).get("Digits") for _, pairs, _ in answers.seen)


def test_keys_are_read_from_the_terminal_and_silence_ends_with_the_call(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, terminal = os.openpty()
    answers.prompt("gate", 1)
    answers.prompt("code", 6)
    answers.documents.append(laml.render(voice.Document(("Denied.",)), answers.url))
    with open(terminal, encoding="ascii") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        phone = ScreenPhone("account", "token", "PSK_x", io.StringIO())
        os.write(owner, b"5\n482 913\n")
        ring(answers, phone.start())
        assert answers.completed.wait(10)
        phone.stop()
    os.close(owner)
    assert [dict(pairs).get("Digits") for path, pairs, _ in answers.seen if path != "/status"] == [None, "5", "482913"]
