"""The real Caddy (Debian) with deploy/Caddyfile in front of the real server: who asks is told truly, and no request gains by the way."""

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.server.serving import Server, enrolled

FILE = Path(__file__).resolve().parent.parent.parent / "deploy" / "Caddyfile"
SITE = "ony.example.com {"
PROXIES = "127.0.0.1"
HOME = "http://localhost"  # what a browser names as Origin
CLIENT, NEIGHBOUR = "127.0.0.7", "127.9.9.9"  # other addresses than the proxy's
TRIES, WRONG = 40, 403
READY_S = 20
CHUNKED = (
    b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
)


class Behind(NamedTuple):
    server: Server
    port: int
    token: str

    def ask(self, method: str, path: str, body: bytes | None = None, source: str = CLIENT, **headers: str) -> tuple[int, bytes]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(source, 0))
        with contextlib.closing(link):
            link.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = link.getresponse()
            return response.status, response.read()

    def login(self, source: str, n: int) -> int:
        """Somebody else, from another address as its header says, at every try."""
        body = json.dumps({"email": f"nobody{n}@example.com", "password": "wrong horse battery"}).encode()
        headers = {"Content_Type": "application/json", "Origin": HOME, "X_Forwarded_For": f"198.51.100.{n}"}
        return self.ask("POST", "/v1/login", body, source, **headers)[0]


def caddy() -> str:
    program = shutil.which("caddy")
    assert program, "caddy is not installed: apt install caddy"
    return program


def a_free_port() -> int:
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def behind(tmp_path_factory) -> Iterator[Behind]:
    """The shipped file but for its name: plain http on a free port, so that no authority is asked for a certificate."""
    folder = tmp_path_factory.mktemp("proxy")
    server, port = Server(folder), a_free_port()
    token = enrolled(server.data)
    server.start(ONY_SERVER_TRUSTED_PROXIES=PROXIES, ONY_SERVER_PUBLIC_URL=HOME)
    text = FILE.read_text()
    assert SITE in text
    (folder / "Caddyfile").write_text("{\n\tadmin off\n}\n" + text.replace(SITE, f"http://localhost:{port}, http://127.0.0.1:{port} {{"))
    with open(folder / "caddy.log", "w") as log:
        process = subprocess.Popen(
            [caddy(), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")], stdout=log, stderr=log,
            env={"HOME": str(folder), "ONY_UPSTREAM": f"127.0.0.1:{server.port}"},
        )  # fmt: skip
    try:
        _ready(port, folder / "caddy.log")
        yield Behind(server, port, token)
    finally:
        process.kill()
        process.wait()
        server.stop()


def _ready(port: int, log: Path) -> None:
    give_up = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
            return
        assert time.monotonic() < give_up, log.read_text()[-2000:]


def test_the_shipped_file_is_one_that_caddy_takes(tmp_path):
    done = subprocess.run(
        [caddy(), "validate", "--adapter", "caddyfile", "--config", str(FILE)], env={"HOME": str(tmp_path)}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_a_connector_is_answered_through_it(behind):
    assert behind.ask("GET", "/v1/bundle", Authorization=f"Bearer {behind.token}")[0] == 200
    assert behind.ask("GET", "/v1/bundle", Authorization="Bearer other")[0] == 401


def test_nobody_chooses_the_address_that_is_counted(behind):
    """Whoever names another address at every try is still one who tries too often; a neighbour is not."""
    tries = [behind.login(CLIENT, n) for n in range(TRIES)]
    assert tries[0] == WRONG and tries[-1] == 429, tries
    assert behind.login(NEIGHBOUR, TRIES) == WRONG


def test_a_body_in_chunks_is_refused_and_hides_no_second_request(behind):
    with contextlib.closing(socket.create_connection(("127.0.0.1", behind.port), timeout=20)) as link:
        link.sendall(CHUNKED)
        said = b""
        while more := link.recv(65536):
            said += more
    first, second = (part.split()[1] for part in _answers(said))
    assert first in (b"401", b"501") and second == b"200"


def _answers(said: bytes) -> list[bytes]:
    return [b"HTTP/1.1 " + part for part in said.split(b"HTTP/1.1 ")[1:]]


def test_what_is_too_large_ends_at_the_proxy_or_at_the_server(behind):
    """502 where the server, which reads no further, hangs up before the proxy has counted to the end."""
    assert behind.ask("POST", "/v1/events", b"x" * (64 * 1024 + 1))[0] in (413, 502)
