"""One run of the real Claude Code, headless and offline: an empty environment, a HOME and project of its own, a scripted model on loopback.

Nothing of the developer's set-up is read: the environment is built from nothing, the API key is a word, the model's address is loopback.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.real.claude.model import Model, Result, Turn


@dataclass(frozen=True)
class Run:
    """How one run ended. `ran`: the argument lines that the stub program on PATH recorded, one each time it was started."""

    code: int
    stdout: str
    stderr: str
    results: list[Result]
    ran: list[str]

    @property
    def denials(self) -> list[dict[str, Any]]:
        """What Claude Code itself says it was not allowed to run."""
        return json.loads(self.stdout).get("permission_denials", []) if self.stdout.strip().startswith("{") else []


@dataclass(frozen=True)
class Agent:
    """A machine account with Claude Code on it. `home` may already hold settings that `ony install` wrote."""

    executable: Path
    home: Path
    project: Path
    stubs: Path
    environment: dict[str, str] = field(default_factory=dict)

    def stub(self, name: str) -> Path:
        """Puts a program on the agent's PATH that does nothing but record that it ran, and with which arguments."""
        # Where the agent falls back to a login shell, /etc/profile sets a PATH of its own: a real program would start instead.
        (self.home / ".bash_profile").write_text(f'PATH="{self.stubs}:$PATH"\n')
        self.stubs.mkdir(parents=True, exist_ok=True)
        record = self.stubs / f"{name}.ran"
        program = self.stubs / name
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> "{record}"\necho "Apply complete"\n')
        program.chmod(0o755)
        return record

    def run(self, script: list[Turn], mode: str, allow: tuple[str, ...] = (), meanwhile: Callable[[int], None] | None = None,
            timeout_s: float = 90) -> Run:  # fmt: skip
        """`claude -p` plays the script. mode: a --permission-mode. allow: permission rules granted up front.

        meanwhile: called with the process id once the program has started; what it does happens while the run goes on.
        """
        with Model(script) as model:
            process = subprocess.Popen(
                self._argv(mode, allow), cwd=self.project, env=self._environment(model.url), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            )  # fmt: skip
            try:
                if meanwhile:
                    meanwhile(process.pid)
                out, err = process.communicate(timeout=timeout_s)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                raise
            return Run(process.returncode, out, err, model.results(), self.recorded())

    def recorded(self) -> list[str]:
        """What every stub has recorded so far."""
        return [line for record in sorted(self.stubs.glob("*.ran")) for line in record.read_text().splitlines()]

    def _argv(self, mode: str, allow: tuple[str, ...]) -> list[str]:
        rules = ["--allowedTools", *allow] if allow else []
        return [str(self.executable), "-p", "deploy it", "--output-format", "json", "--permission-mode", mode, *rules]

    def _environment(self, model_url: str) -> dict[str, str]:
        return {
            "PATH": f"{self.stubs}:/usr/bin:/bin", "HOME": str(self.home), "LANG": "C.UTF-8", "IS_SANDBOX": "1",
            "ANTHROPIC_BASE_URL": model_url, "ANTHROPIC_API_KEY": "stand-in", "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", **self.environment,
        }  # fmt: skip
