"""`ony demo`: the whole path on one machine, with nothing faked but the phone network.

A real server, connector, hook and audit log run as child processes in a temporary folder; the phone is a loopback provider that
speaks in this terminal, so that keys travel the same signed webhooks as on a real line. It must never touch the user's own Ony
folder or agent settings, and it must say that it protects nothing: everything runs as one user.
"""

import argparse
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ony_core import program, verdict
from ony_core.errors import OnyError

HELP = "show one gated call from the agent to a key press and back; needs no account and no internet"
EXAMPLE = "ony demo\nony demo --auto     # answers the phone by itself; also without a terminal"

EMAIL = "you@demo.invalid"
NUMBER = "+15550100123"
GATED = "terraform apply -auto-approve"
HARMLESS = "git status"
AUTO_KEYS = ("5", "1", "code")
START_LIMIT_S = 30
WIDTH = 120  # columns; longer lines of the log are cut, `ony audit show` has them whole
ANSWER_LIMIT_S = 300


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--auto", action="store_true", help="answer the phone by itself (5, 1, then the code)")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder and print where it is")


def run(args: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="ony-demo-"))
    stage = Stage(folder, auto=args.auto or not sys.stdin.isatty())
    try:
        stage.play()
    finally:
        stage.close()
        if args.keep:
            print(f"\nKept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


class Stage:
    """One performance. Children are ended by pid in `close`, the newest first."""

    def __init__(self, folder: Path, auto: bool) -> None:
        self.folder, self.auto = folder, auto
        self.data, self.home, self.project = folder / "server", folder / "connector", folder / "prod-api"
        self.url = f"http://127.0.0.1:{_free_port()}"
        self.environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "ONY_HOME": str(self.home), "LANG": "C.UTF-8"}
        self.server: subprocess.Popen[bytes] | None = None
        self.phone: Any = None
        self.secret = ""  # not one yet # nosec B105

    def play(self) -> None:
        _step("1", "Setting up: a server on SQLite, a phone, a connector")
        self._project()
        self._serve()
        self._connect()
        _step("2", f"The agent runs a harmless call:  {HARMLESS}")
        self._hook(HARMLESS)  # the first call of a connector's life loads the parsers; the second is like every other
        began = time.monotonic()
        reply = self._hook(HARMLESS)
        print(f"   Hook answers {reply} after {(time.monotonic() - began) * 1000:.0f} ms. Nobody was called.")
        _step("3", f"The agent is about to run:  {GATED}")
        print("   Claude Code asks its hook, the hook asks the connector, the connector asks the server. Your phone rings.\n")
        reply = self._hook(GATED)
        self._show_reply(reply)
        self._show_verdict()
        self._show_audit()
        print(
            "\nThis was a demo: it protects nothing. Server, phone and agent all ran as one user here,"
            "\nand that user could have answered for you."
            '\nIn earnest the server runs on another machine: see README.md, "Set it up for real".'
        )

    def close(self) -> None:
        if (self.home / "connector.json").exists():
            self._ony("daemon", "stop", check=False)
        if self.phone is not None:
            self.phone.stop()
        if self.server is not None:
            self.server.terminate()
            try:
                self.server.wait(10)
            except subprocess.TimeoutExpired:
                self.server.kill()

    def _project(self) -> None:
        self.project.mkdir()
        (self.project / "main.tf").write_text('terraform {\n  required_version = ">= 1.5"\n}\n')

    def _serve(self) -> None:
        account, token, signing_key = secrets.token_hex(16), secrets.token_hex(16), "PSK_" + secrets.token_urlsafe(18)
        from ony_core.channels.screen import ScreenPhone

        self.phone = ScreenPhone(
            account, token, signing_key, out=sys.stdout, keys=self._auto_keys() if self.auto else None, code=self._code
        )
        base_url = self.phone.start()
        answer = self._ony("admin", "init", "--data", str(self.data), "--org", "Demo", "--email", EMAIL, "--password-stdin", "--json",
                           stdin=secrets.token_urlsafe(24))  # fmt: skip
        json.loads(answer)
        config = self.folder / "ony.toml"
        config.touch(0o600)
        config.write_text(
            f'[server]\nlisten = "{self.url.removeprefix("http://")}"\npublic_url = "{self.url}"\ndata = "{self.data}"\n'
            f'[voice]\nprovider = "signalwire"\nbase_url = "{base_url}"\nproject_id = "{account}"\napi_token = "{token}"\n'
            f'signing_key = "{signing_key}"\nfrom = "+15550100000"\n'
        )
        with open(self.folder / "server.log", "wb") as log:
            self.server = subprocess.Popen(
                [*program.command(), "serve", "--data", str(self.data), "--config", str(config)],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._until_ready()

    def _until_ready(self) -> None:
        give_up = time.monotonic() + START_LIMIT_S
        while time.monotonic() < give_up:
            if self.server is None or self.server.poll() is not None:
                break
            try:
                if self._get("/readyz")[0] == 200:
                    return
            except OSError:
                pass  # not listening yet; the loop is bounded and a dead server ends it
            time.sleep(0.05)
        raise OnyError("the demo's server did not start", (self.folder / "server.log").read_text(errors="replace")[-300:].strip())

    def _connect(self) -> None:
        phone = json.loads(
            self._ony("admin", "phone", "--data", str(self.data), "--email", EMAIL, "--number", NUMBER, "--verified", "--json")
        )
        self.secret = phone["totp_secret"]
        code = json.loads(self._ony("admin", "enroll-code", "--data", str(self.data), "--email", EMAIL, "--json"))["code"]
        self._ony("enroll", self.url, "--name", "demo", stdin=code + "\n")
        label = self.home / "connector.toml"
        label.touch(0o600)
        label.write_text(f'[projects]\n"{self.project}" = "{self.project.name}"\n')
        self._ony("daemon", "start")
        print(f"   Server {self.url}, connector {self.home}, phone {NUMBER[:2]}•••{NUMBER[-4:]}")
        if not self.auto:
            print(f"   Add this secret to an authenticator app: {self.secret}   (or type the word code when the phone asks for it)")

    def _hook(self, command: str) -> dict[str, Any]:
        """What the agent's hook prints for one Bash call, exactly as Claude Code would send it."""
        event = {
            "session_id": "00000000-0000-4000-8000-00000000demo",
            "transcript_path": str(self.folder / "transcript.jsonl"),
            "cwd": str(self.project),
            "permission_mode": "default",
            "hook_event_name": "PreToolUse",
            "tool_name": "Bash",
            "tool_input": {"command": command, "description": "Roll out the new version"},
            "tool_use_id": "toolu_" + secrets.token_hex(6),
        }
        done = subprocess.run(
            [*program.command(), "hook", "claude"], input=json.dumps(event).encode(), env=self.environment, cwd=self.project,
            capture_output=True, timeout=ANSWER_LIMIT_S, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise OnyError(f"the hook blocked the call with exit code {done.returncode}", done.stderr.decode(errors="replace").strip())
        reply: dict[str, Any] = json.loads(done.stdout)
        return reply

    def _show_reply(self, reply: dict[str, Any]) -> None:
        said = reply.get("hookSpecificOutput", {})
        _step("4", f"The hook answers: {said.get('permissionDecision', 'no opinion')}")
        print(f"   {said.get('permissionDecisionReason', '')}")
        if said.get("permissionDecision") == "allow":
            print(f"   Released, once: {said['updatedInput']['command']}   (the demo stops here; Claude Code would run it now)")
        else:
            print("   The call does not run.")

    def _show_verdict(self) -> None:
        known = json.loads((self.home / "connector.json").read_text())
        rows = [json.loads(line) for line in self._ony("audit", "list", "--data", str(self.data), "--json").splitlines()]
        request_id = next((row["request_id"] for row in reversed(rows) if row["kind"] == "verdict"), "")
        if not request_id:
            print("   No verdict was given, so there is none to show.")
            return
        _, answer = self._get(f"/v1/handoffs/{request_id}?wait=0", known["token"])
        path = self.folder / "verdict.json"
        path.write_text(json.dumps(verdict.flat(json.loads(answer)["verdict"]), indent=2) + "\n")
        _step("5", "verdict.json")
        print("   " + path.read_text().strip().replace("\n", "\n   "))

    def _show_audit(self) -> None:
        _step("6", "The audit chain")
        heads = self.home / "heads"  # kept with the first approval; a no needs no proof
        witness = ["--witness", str(heads)] if heads.is_dir() and any(heads.iterdir()) else []
        for words in (["audit", "list"], ["audit", "verify", *witness]):
            for line in self._ony(*words, "--data", str(self.data)).rstrip().splitlines():
                print("   " + (line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"))

    def _auto_keys(self) -> Any:
        script = iter(AUTO_KEYS)
        return lambda: next(script, "")

    def _code(self) -> str:
        import pyotp

        return pyotp.TOTP(self.secret).now()

    def _get(self, target: str, token: str = "") -> tuple[int, bytes]:  # no input # nosec B107
        link = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        try:
            link.request("GET", target, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = link.getresponse()
            return answer.status, answer.read()
        finally:
            link.close()

    def _ony(self, *words: str, stdin: str = "", check: bool = True) -> str:
        done = subprocess.run(
            [*program.command(), *words], input=stdin.encode(), env=self.environment, capture_output=True, timeout=60, check=False
        )
        if check and done.returncode != 0:
            raise OnyError(f"`ony {' '.join(words[:2])}` failed in the demo", done.stderr.decode(errors="replace").strip())
        return done.stdout.decode()


def _step(number: str, text: str) -> None:
    print(f"\n{number}. {text}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
