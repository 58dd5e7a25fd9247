"""A first breath of what `make dist` built: `python scripts/smoke.py dist/ony dist/ony.pyz`. Each runs in an empty HOME and environment."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CALL = {
    "session_id": "smoke", "cwd": "/", "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "git status"},
    "tool_use_id": "t",
}  # fmt: skip


def main(built: list[str]) -> int:
    for name in built:
        with tempfile.TemporaryDirectory(prefix="ony-smoke-") as folder:
            for step, seconds in smoke(Path(name).resolve(), Path(folder)):
                print(f"ok  {name}: {step} ({seconds:.1f} s)")
    return 0


def smoke(executable: Path, folder: Path) -> Iterator[tuple[str, float]]:
    """Yields (what held, seconds); AssertionError at the first that did not."""
    began = time.monotonic()
    ony = Ony(executable, folder)
    steps = [ony.says_its_version, ony.explains, ony.serves_enrolls_and_gates, ony.verifies_its_log, ony.blocks_without_a_daemon]
    if executable.suffix == ".pyz":
        steps.append(ony.refuses_parts_that_were_changed)
    for step in steps:
        step()
        yield step.__name__.replace("_", " "), time.monotonic() - began
        began = time.monotonic()


class Ony:
    """One built file, run as a stranger would: no PATH but the system's, no configuration, a HOME of its own."""

    def __init__(self, executable: Path, folder: Path) -> None:
        start = [sys.executable, "-I"] if executable.suffix == ".pyz" else []
        self.argv = [*start, str(executable)]
        self.home, self.data = folder / "home", folder / "data"
        self.home.mkdir()
        self.environment = {"HOME": str(self.home), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}

    def says_its_version(self) -> None:
        assert self.run("--version").startswith("ony ")

    def explains(self) -> None:
        told = json.loads(self.run("explain", "--json", "git push --force"))
        assert (told["action"], told["gate"]["on"]) == ("git.force_push", "hold"), told

    def serves_enrolls_and_gates(self) -> None:
        made = json.loads(self.admin("init", "--org", "Smoke", "--password-stdin", stdin="correct horse battery"))
        assert made["org_id"].startswith("org_") and made["verification_key"]
        with self.serving() as port:
            assert self.status(port, "/healthz") == 200
            assert json.loads(self.admin("phone", "--number", "+15550100123", "--verified"))["otpauth_uri"].startswith("otpauth://totp/")
            code = json.loads(self.admin("enroll-code"))["code"]
            self.run("enroll", f"http://127.0.0.1:{port}", "--name", "smoke", stdin=code + "\n")
            self.installs()
            self.run("daemon", "start")
            try:
                assert json.loads(self.run("hook", "claude", stdin=json.dumps(CALL))) == {}, "a harmless call must pass"
                done = self.start(["/bin/sh", "-c", self.installed()], json.dumps(CALL))
                assert json.loads(done.stdout) == {}, done
            finally:
                self.run("daemon", "stop")

    def installs(self) -> None:
        settings = self.home / ".claude" / "settings.json"
        settings.parent.mkdir()
        settings.write_text('{"model": "opus"}\n')
        self.run("install", "claude", "--user")
        assert self.installed()

    def installed(self) -> str:
        settings = json.loads((self.home / ".claude" / "settings.json").read_text())
        command: str = settings["hooks"]["PreToolUse"][0]["hooks"][0]["command"]
        return command

    def verifies_its_log(self) -> None:
        told = json.loads(self.run("audit", "verify", "--data", str(self.data), "--json"))
        assert told["result"] == "OK-UNANCHORED", told  # no call was held, so no connector keeps a head yet

    def blocks_without_a_daemon(self) -> None:
        for argv in ([*self.argv, "hook", "claude"], ["/bin/sh", "-c", self.installed()]):
            done = self.start(argv, json.dumps(CALL))
            assert (done.returncode, done.stdout) == (2, ""), done
        self.run("uninstall", "claude", "--user")
        assert (self.home / ".claude" / "settings.json").read_text() == '{"model": "opus"}\n'

    def refuses_parts_that_were_changed(self) -> None:
        """What stands in the cache folder is imported and runs as the owner, so a changed byte there must end the start."""
        part = next(self.home.glob(".cache/ony/*/**/*.so"))
        part.write_bytes(part.read_bytes()[:-1] + b"!")
        done = self.start([*self.argv, "--version"], "")
        assert (done.returncode, done.stdout) == (1, "") and "were changed" in done.stderr, done
        shutil.rmtree(self.home / ".cache" / "ony")
        self.says_its_version()

    def run(self, *words: str, stdin: str = "") -> str:
        done = self.start([*self.argv, *words], stdin)
        assert done.returncode == 0, f"ony {' '.join(words[:2])} ended with {done.returncode}: {done.stderr.strip()}"
        return done.stdout

    def admin(self, verb: str, *words: str, stdin: str = "") -> str:
        return self.run("admin", verb, "--data", str(self.data), "--email", "a@example.com", *words, "--json", stdin=stdin)

    def start(self, argv: list[str], stdin: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(argv, input=stdin, env=self.environment, capture_output=True, text=True, timeout=120, check=False)

    @contextmanager
    def serving(self) -> Iterator[int]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        server = subprocess.Popen([*self.argv, "serve", "--data", str(self.data), "--listen", f"127.0.0.1:{port}"], env=self.environment,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # fmt: skip
        try:
            self.until_up(server, port)
            yield port
        finally:
            server.terminate()
            server.communicate(timeout=20)

    def until_up(self, server: "subprocess.Popen[bytes]", port: int) -> None:
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up and server.poll() is None:
            try:
                self.status(port, "/healthz")
                return
            except ConnectionError:
                time.sleep(0.05)
        raise AssertionError(f"ony serve did not come up (exit code {server.poll()})")

    @staticmethod
    def status(port: int, path: str) -> int:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            link.request("GET", path)
            return link.getresponse().status
        finally:
            link.close()


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
