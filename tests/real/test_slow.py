"""slowhttptest (Debian) against the real server: a thousand clients that dawdle, in three ways, cost little and keep nobody else out."""

import contextlib
import http.client
import shutil
import subprocess
import time

import pytest

from tests.server.serving import Server, enrolled

CLIENTS, RATE, SECONDS = 1000, 200, 25
MODES = {"slow headers": ["-H"], "slow bodies": ["-B", "-s", "8192"], "slow reading": ["-X", "-w", "1", "-y", "2", "-n", "5", "-z", "1"]}
ANSWER_S = 2.0
CUT_S = 30  # well above the longest deadline of a stranger: 5 s for a head, 10 s for a body
TOKEN = "m" * 20


def asked(server: Server, path: str, **headers: str) -> tuple[float, bytes]:
    """(seconds, body): from another address of this machine than the slow ones use."""
    began = time.monotonic()
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20, source_address=("127.0.0.2", 0))
    link.request("GET", path, headers=headers)
    response = link.getresponse()
    body = response.read()
    link.close()
    assert response.status == 200, (response.status, body)
    return time.monotonic() - began, body


def connections(server: Server) -> int:
    text = asked(server, "/metrics", Authorization=f"Bearer {TOKEN}")[1].decode()
    return int(next(line for line in text.splitlines() if line.startswith("ony_http_connections ")).split()[1])


@pytest.mark.parametrize("mode", MODES)
def test_others_are_answered_and_the_slow_ones_are_cut(tmp_path_factory, mode):
    program = shutil.which("slowhttptest")
    assert program, "slowhttptest is not installed: apt install slowhttptest"
    server = Server(tmp_path_factory.mktemp("s"))
    token = enrolled(server.data)
    server.start(ONY_SERVER_METRICS_TOKEN=TOKEN)
    url = f"http://127.0.0.1:{server.port}/healthz"
    words = [program, *MODES[mode], "-c", str(CLIENTS), "-r", str(RATE), "-i", "3", "-l", str(SECONDS), "-p", "3", "-u", url]
    attack = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took, most = [], 0
    try:
        while attack.poll() is None and len(took) < 2 * SECONDS:
            took.append(asked(server, "/healthz")[0])
            took.append(asked(server, "/v1/bundle", Authorization=f"Bearer {token}")[0])
            most = max(most, connections(server))
            with contextlib.suppress(subprocess.TimeoutExpired):
                attack.wait(1)
        attack.wait(60)
    finally:
        attack.kill()
        attack.wait()
    give_up = time.monotonic() + CUT_S
    while (left := connections(server)) > 2 and time.monotonic() < give_up:
        pass  # each look is a request of its own
    assert server.stop() == 0
    print(f"{mode}: slowest other answer {max(took):.2f} s of {len(took)}, most connections {most}, left {left}")
    assert max(took) < ANSWER_S and most <= 256 and left <= 2
