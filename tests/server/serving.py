"""`ony serve` as a process on a folder of its own, and what every test of it needs: the command, a caller, an enrolled connector."""

import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess
from pathlib import Path

from ony_core import program
from ony_core.clock import SystemClock, new_id
from ony_core.server.admin import DATABASE
from ony_core.server.keyring import Keyring
from ony_core.server.sessions import FULL, Sessions
from ony_core.store import Store

EMAIL, PASSWORD = "owner@example.com", "correct horse battery"
NUMBER = "+15550100123"
VOICE = {
    "ONY_SERVER_PUBLIC_URL": "https://ony.example.com",
    "ONY_VOICE_PROVIDER": "signalwire",
    "ONY_VOICE_BASE_URL": "http://127.0.0.1:9/api",
    "ONY_VOICE_PROJECT_ID": "abc",
    "ONY_VOICE_API_TOKEN": "hunter2",
    "ONY_VOICE_FROM": "+15550100000",
}
LIMIT_S = 30
ID = "req_" + "0" * 32


def ony(*words: str, stdin: str = "", **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*program.command(), *words], input=stdin, env={**os.environ, **environ}, capture_output=True, text=True, timeout=20
    )


class Server:
    """One folder, one server on it at a time. log: its standard error."""

    def __init__(self, folder: Path) -> None:
        self.data, self.log = folder / "data", folder / "log"
        made = ony(
            "admin", "init", "--data", str(self.data), "--org", "Test", "--email", EMAIL, "--password-stdin", "--json", stdin=PASSWORD
        )
        self.made = json.loads(made.stdout)
        self.process: subprocess.Popen[str] | None = None

    def start(self, **environ: str) -> "Server":
        with open(self.log, "w") as log:
            words = ["serve", "--data", str(self.data), "--listen", "127.0.0.1:0"]
            self.process = subprocess.Popen(
                [*program.command(), *words], env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        self.ready_line = self.process.stdout.readline()
        self.port = int(self.ready_line.split("127.0.0.1:")[1].split(",")[0])
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        try:
            return self.process.wait(LIMIT_S)
        finally:
            self.process.kill()
            self.process.stdout.close()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)) as link:
            link.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = link.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

    def problem(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        status, _, said = self.ask(method, path, body, **headers)
        return status, json.loads(said)["error"]["code"]

    def admin(self, *words: str, stdin: str = ""):
        done = ony("admin", *words, "--data", str(self.data), "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def enrolled(data: Path, revoke: bool = False) -> str:
    """A connector's token, written before any server runs."""
    clock, token = SystemClock(), "con_" + os.urandom(32).hex()
    store = Store.open(data / DATABASE, clock)

    def add(tx):
        org = tx.org(tx.org_ids()[0])
        connector_id = new_id("con", clock)
        org.add_connector(connector_id, org.users()[0].id, "laptop", hashlib.sha256(token.encode()).digest(), "0.2.0")
        if revoke:
            org.revoke_connector(connector_id)

    store.write_now(add)
    store.close()
    return token


def signed_in(data: Path) -> tuple[str, dict[str, str]]:
    """The cookie's value of an administrator who has logged in a moment ago, and what else there is in the organisation, as the words of
    paths; written before any server runs.
    """
    enrolled(data)
    clock = SystemClock()
    store = Store.open(data / DATABASE, clock)
    sessions = Sessions(store, clock, public_url="", secure=True)

    def begin(tx):
        org = tx.org(tx.org_ids()[0])
        user = new_id("usr", clock)
        admin = org.users()[0]
        secret = Keyring.open(data, store).seal(b"JBSWY3DPEHPK3PXP", "totp.login", org.id, admin.id, clock)
        org.add_totp(admin.id, "login", secret)  # without one, a rule that asks everybody for it would end the session
        token = sessions.begun(org, admin, FULL, "tests")[1]
        org.add_user(user, "viewer@example.com", "viewer", "")
        return token, {"user": user, "connector": org.connectors()[0].id}

    made = store.write_now(begin)
    store.close()
    return made
