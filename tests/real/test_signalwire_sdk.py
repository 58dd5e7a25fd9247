"""The vendor's own client as a witness: what our simulator and our signatures are, the official `signalwire` package agrees with.

Ony itself speaks REST with the standard library; the package lives in a virtual environment of its own, because it pins old dependencies.
"""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from ony_core.channels import laml, voice
from tests.real.peers import PEERS
from tests.sim.call import RealTime
from tests.sim.laml import Provider

PACKAGE = "signalwire==2.1.1"
DRIVER = Path(__file__).with_name("signalwire_driver.py")
CALLER, TO = "+15550100000", "+15550100123"


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of an environment that holds the package; built once."""
    home = PEERS / "signalwire-2.1.1"
    program, done = home / "bin" / "python", home / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE], check=True)
        done.touch()
    return program


def test_the_official_client_places_follows_and_lists_calls_at_our_simulator(python: Path) -> None:
    server, forms = _answering_server()
    answer_url = f"http://127.0.0.1:{server.server_address[1]}/v1/voice/ab"
    with Provider(time=RealTime(0.05)) as provider:
        provider.expect_call(TO).answer().hears("Press 5").press("5").hears("Goodbye")
        pairs = [("CallSid", "0703574f"), ("Digits", "5"), ("To", TO)]
        signed = {"key": "PSK_witness", "url": answer_url + "/gate?n=1", "pairs": pairs}
        signed["signature"] = laml.signature("PSK_witness", answer_url + "/gate?n=1", pairs)
        words = [provider.base_url, provider.account, provider.token, CALLER, TO, answer_url + "/start", answer_url + "/status"]
        done = subprocess.run(
            [python, DRIVER, *words], input=json.dumps(signed).encode() + b"\n", capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        said = json.loads(done.stdout)
        provider.check()
        call = provider.calls[said["sid"]]
    server.shutdown()
    server.server_close()
    assert said["seen"][0] == "queued" and said["seen"][-1] == "completed"
    assert said["listed"] == [said["sid"]]
    assert {name: status for name, (status, _) in said["refusals"].items()} == {
        "credentials": 401, "foreign caller": 400, "bad number": 400, "update when over": 400, "absent": 404,
    }  # fmt: skip
    assert {name: code for name, (_, code) in said["refusals"].items()} == {
        "credentials": 20003, "foreign caller": 21210, "bad number": 21211, "update when over": 10000, "absent": 20404,
    }  # fmt: skip
    assert said["signature_holds"] is True
    assert [dict(form).get("CallStatus") for path, form in forms if path.endswith("/status")] == [
        "initiated",
        "ringing",
        "in-progress",
        "completed",
    ]
    assert [hook.status for hook in call.webhooks] == [200, 200] and {hook.status for hook in call.callbacks} == {204}


def _answering_server() -> tuple[ThreadingHTTPServer, list[tuple[str, list[tuple[str, str]]]]]:
    """A gate and a goodbye, in the documents Ony really serves."""
    forms: list[tuple[str, list[tuple[str, str]]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode(), keep_blank_values=True)
            forms.append((self.path, form))
            turn = voice.begin() if self.path.endswith("/start") else voice.too_late()
            assert turn.document is not None
            status = self.path.endswith("/status")
            body = b"" if status else laml.render(turn.document, f"http://{self.headers['Host']}/v1/voice/ab")
            self.send_response(204 if status else 200)
            self.send_header("Content-Type", laml.CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, forms
