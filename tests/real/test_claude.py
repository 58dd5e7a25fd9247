"""Ony in front of the real Claude Code: twelve situations and a control, in two permission modes, on two versions. What counts is what ran.

A stub `terraform` on the agent's PATH records every start. It must start exactly once where the owner said yes, and never otherwise.
Wherever the call must be stopped, Claude Code's own rules allow it (or all prompts are off), so that a gate which fails open is seen.
The table of all rows is printed and written to build/real/claude.json.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real import peers
from tests.real.claude.agent import Agent, Run
from tests.real.claude.model import Turn, text, tool
from tests.real.conftest import PASSED
from tests.real.tamper import Forger, Proxy, Replayer
from tests.world import ROOT, World

COMMAND = "terraform apply -auto-approve"
APPLY = tool("Bash", command=COMMAND, description="just listing files")
DONE = text("finished")
ONCE = ["apply -auto-approve"]
MODES = ("default", "bypassPermissions")
HELD = ("Bash(terraform:*)",)  # what Claude Code itself lets through in the rows where Ony must not
SHORT_S = 30  # the shortest a server lets a hold last


@dataclass
class Scene:
    """One row: a world, an agent with the gate installed, and what the person does."""

    world: World
    agent: Agent
    mode: str
    proxy: Proxy

    def play(self, script: list[Turn], meanwhile: Callable[[int], None] | None = None, allow: tuple[str, ...] = HELD) -> Run:
        return self.agent.run(script, self.mode, allow if self.mode == "default" else (), meanwhile)

    def once_ringing(self, do: Callable[[], object]) -> Callable[[int], None]:
        def meanwhile(_: int) -> None:
            self.world.until("the phone rings", lambda: self.world.states()[-1:] == ["ringing"])
            do()

        return meanwhile


@pytest.fixture(scope="module")
def table() -> Iterator[list[dict[str, object]]]:
    """Rows that `row` adds to; printed and written once all have been played."""
    rows: list[dict[str, object]] = []
    yield rows
    folder = ROOT / "build" / "real"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "claude.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(f"\n\n{'':4} {'situation':40} {'mode':18} {'version':9} {'ran':4} {'handoffs':20} what the model was told")
    for row in rows:
        print("{ok:4} {situation:40} {mode:18} {version:9} {ran:<4} {states:20} {told}".format(**row))


@pytest.fixture(params=sorted(peers.CLAUDE))
def executable(request: pytest.FixtureRequest) -> Path:
    return peers.claude(request.param)


@pytest.fixture(params=MODES)
def scene(request: pytest.FixtureRequest, executable: Path, table: list[dict[str, object]]) -> Iterator[Scene]:
    how = {"deadline_s": 60, "proxied": False, "gated": True} | getattr(request.function, "how", {})
    with Proxy() as proxy, World(how["deadline_s"], through=proxy.before if how["proxied"] else None) as world:
        stubs = world.folder / "stubs"
        agent = Agent(executable, world.home, world.project, stubs)
        agent.stub("terraform")
        (world.project / "main.tf").write_text("terraform {}\n")
        if how["gated"]:
            world.ony("install", "claude", "--user")
        made = Scene(world, agent, request.param, proxy)
        told: list[Run] = []
        play = made.play
        made.play = lambda *args, **kwargs: told.append(play(*args, **kwargs)) or told[-1]  # type: ignore[method-assign]
        yield made
        situation = request.function.__name__.removeprefix("test_").replace("_", " ")
        said = " | ".join(result.text for result in told[-1].results) if told and told[-1].results else "-"
        ok = "ok" if request.node.stash.get(PASSED, False) else "BAD"
        version, ran = peers.version_of(executable), len(agent.recorded())
        table.append({"ok": ok, "situation": situation, "mode": request.param, "version": version, "ran": ran,
                      "states": " ".join(world.states()) or "-", "told": said.replace("\n", " ")[:110]})  # fmt: skip


def staged(**how: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """What is special about the world of a test: deadline_s (how long a hold may last), proxied, gated."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        test.how = how  # type: ignore[attr-defined]
        return test

    return mark


def refused(run: Run) -> bool:
    """Nothing ran, and the model was told so."""
    return run.ran == [] and bool(run.results) and all(result.is_error for result in run.results)


def test_approved(scene):
    person = scene.world.rings().approves().hears("pproved")
    run = scene.play([APPLY, DONE], allow=())
    assert run.ran == ONCE
    assert not run.results[0].is_error
    scene.world.provider.check()
    assert "terraform" not in person.heard and "auto-approve" not in person.heard
    scene.world.until("the verdict is used", lambda: scene.world.states() == ["used"])
    scene.world.ony("audit", "verify", "--data", str(scene.world.data), "--witness", str(scene.world.ony_home / "heads"))


def test_denied(scene):
    scene.world.rings().denies()
    assert refused(scene.play([APPLY, DONE]))
    assert scene.world.states() == ["denied"]
    scene.world.provider.check()


@staged(deadline_s=SHORT_S)
def test_expired(scene):
    scene.world.rings().lets_it_ring()
    assert refused(scene.play([APPLY, DONE]))
    scene.world.until("the request is closed", lambda: scene.world.states() == ["expired"])


def test_cancelled_because_the_hook_was_killed(scene):
    scene.world.rings().lets_it_ring()
    kill = scene.once_ringing(lambda: os.kill(hook_of(scene.world), signal.SIGKILL))
    assert refused(scene.play([APPLY, DONE], kill))
    scene.world.until("the phone stops", lambda: scene.world.states() == ["cancelled"])


def test_cancelled_because_the_agent_was_killed(scene):
    scene.world.rings().lets_it_ring()
    run = scene.play([APPLY, DONE], lambda pid: scene.once_ringing(lambda: os.kill(pid, signal.SIGKILL))(pid))
    scene.world.until("the phone stops", lambda: scene.world.states() == ["cancelled"])
    assert run.ran == scene.agent.recorded() == []


@staged(deadline_s=SHORT_S)
def test_server_down_at_the_start(scene):
    scene.world.kill_server()
    assert refused(scene.play([APPLY, DONE]))
    assert scene.world.states() == []


@staged(deadline_s=SHORT_S)
def test_server_down_while_waiting(scene):
    scene.world.rings().lets_it_ring()
    assert refused(scene.play([APPLY, DONE], scene.once_ringing(scene.world.kill_server)))


def test_daemon_absent(scene):
    scene.world.stop_daemon()
    assert refused(scene.play([APPLY, DONE]))
    assert scene.world.states() == []


def test_daemon_killed_while_waiting(scene):
    scene.world.rings().lets_it_ring()
    assert refused(scene.play([APPLY, DONE], scene.once_ringing(scene.world.kill_daemon)))


@staged(proxied=True)
def test_forged_verdict(scene):
    forger = scene.proxy.change = Forger(scene.world.ony_home)
    scene.world.rings().denies()
    assert refused(scene.play([APPLY, DONE]))
    assert forger.forged, "the proxy was never asked for a verdict, so nothing was shown here"
    assert scene.world.states() == ["denied"]


@staged(proxied=True, deadline_s=SHORT_S)
def test_replayed_verdict(scene):
    replayer = scene.proxy.change = Replayer()
    scene.world.rings().approves()
    scene.world.rings().lets_it_ring()
    run = scene.play([APPLY, APPLY, DONE])
    assert run.ran == ONCE
    assert [result.is_error for result in run.results] == [False, True]
    assert replayer.replayed


def test_git_status_passes(scene):
    subprocess.run(["git", "init", "-q", scene.world.project], check=True, env=scene.world.environment)
    run = scene.play([tool("Bash", command="git status", description="look"), DONE], allow=())
    assert "No commits yet" in run.results[0].text and not run.results[0].is_error
    assert scene.world.states() == []


def test_an_ordinary_edit_passes(scene):
    file = scene.world.project / "notes.txt"
    file.write_text("one\n")
    edit = tool("Edit", file_path=str(file), old_string="one", new_string="two")
    run = scene.play([tool("Read", file_path=str(file)), edit, DONE], allow=("Edit",))
    assert not any(result.is_error for result in run.results)
    assert file.read_text() == "two\n"
    assert scene.world.states() == []


@staged(gated=False)
def test_control_without_the_gate_it_runs(scene):
    assert scene.play([APPLY, DONE]).ran == ONCE


def hook_of(world: World) -> int:
    """The process id of the hook that waits on this world's daemon: its argv holds the socket's path (proc(5))."""
    wanted = str(world.ony_home / "ony.sock").encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # processes end while they are looked at
            if wanted in (process / "cmdline").read_bytes().split(b"\0"):
                return int(process.name)
    raise AssertionError("no hook waits on this world's daemon")
