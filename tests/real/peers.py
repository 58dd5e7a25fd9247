"""The real programs Ony works with, installed once into build/peers of this checkout and reused; `rm -r build/peers` fetches them anew.

A peer that cannot be installed is a failure, never a skip: a green line must mean that the real program was driven.
"""

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "build" / "peers"
CLAUDE = {"2.1.197": "@anthropic-ai/claude-code@2.1.197", "latest": "@anthropic-ai/claude-code@latest"}


def claude(version: str) -> Path:
    """The native executable of Claude Code. version: a key of CLAUDE. Taken from npm's registry."""
    folder = PEERS / f"claude-{version}"
    if not folder.is_dir() and (why := _install(CLAUDE[version], folder)):
        pytest.fail(why)
    found = sorted(folder.glob("node_modules/@anthropic-ai/claude-code-*/claude"))
    if not found:
        pytest.fail(f"{CLAUDE[version]} holds no executable for this machine: remove {folder} and run again")
    return found[0]


def version_of(executable: Path) -> str:
    """What the program says about itself, for instance "2.1.197"."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run([executable, "--version"], capture_output=True, text=True, env={"HOME": home}, timeout=60, check=True)
    return done.stdout.split()[0]


@cache
def _install(package: str, folder: Path) -> str:
    """Why it could not be installed, "" if it was. Asked once: a registry out of reach would be waited for in every test."""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is missing: install node and npm (Debian, Ubuntu: apt install nodejs npm)"
    PEERS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PEERS) as scratch:
        command = [npm, "install", "--prefix", f"{scratch}/made", "--no-audit", "--no-fund", "--ignore-scripts", package]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "HOME": scratch})
        except subprocess.TimeoutExpired:
            return f"npm did not install {package} within five minutes: is the registry within reach?"
        if done.returncode:
            return f"npm could not install {package}: {done.stderr.strip()[-600:]}"
        os.rename(f"{scratch}/made", folder)
    return ""
