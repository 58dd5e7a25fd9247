"""`ony daemon`: the connector on this machine. `start` leaves nothing of the caller behind: no terminal, no descriptors, no environment."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from ony_core import program
from ony_core.clock import SystemClock
from ony_core.connector import control, enrolled, home
from ony_core.errors import OnyError

HELP = "start, stop or look at the connector on this machine"
EXAMPLE = """ony daemon start
ony daemon status --json
in the foreground, for systemd --user or launchd:
ony daemon run"""

START_S = 20.0
STOP_S = 10.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", nargs="?", choices=("start", "stop", "status", "run"), default="status")
    parser.add_argument("--json", action="store_true", help="machine-readable (status)")


def run(args: argparse.Namespace) -> int:
    return {"start": _start, "stop": _stop, "status": _status, "run": _run}[args.verb](args)


def _run(args: argparse.Namespace) -> int:
    from ony_core.commands.explain import settle
    from ony_core.connector import daemon
    from ony_core.connector.gate import Gate

    os.umask(0o077)
    folder = home.opened(make=True)
    daemon.harden()
    known = enrolled.load(folder)
    daemon.log_to(folder)
    settle()  # work of a tenth of a second: done before the first call, whose time to look around it would use up
    gate = Gate(folder, known, enrolled.link(folder, known), SystemClock())
    asyncio.run(_listen(daemon.Daemon(folder, gate), folder))
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)  # threads that still wait for a server must not keep the process alive


async def _listen(listener: object, folder: Path) -> None:
    await listener.run(f"ony: the daemon answers on {home.socket_path(folder)}")  # type: ignore[attr-defined]


def _start(args: argparse.Namespace) -> int:
    folder = home.opened(make=True)
    enrolled.load(folder)
    if control.running(folder):
        print("The daemon is running already.")
        return 0
    errors = folder / "log" / "start.log"
    with open(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as log:
        child = subprocess.Popen(
            [*program.command(), "daemon", "run"], env=_environment(folder), cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, close_fds=True,
        )  # fmt: skip
    _until_it_answers(folder, child, errors)
    print(f"The daemon runs (process {control.ask('status', folder=folder)['pid']}) and answers on {home.socket_path(folder)}.")
    return 0


def _environment(folder: Path) -> dict[str, str]:
    """The same for whoever starts it: an agent's environment must not reach the daemon."""
    return {"PATH": "/usr/bin:/bin", "HOME": os.path.expanduser("~"), "LANG": "C.UTF-8", "ONY_HOME": str(folder)}


def _until_it_answers(folder: Path, child: "subprocess.Popen[bytes]", errors: Path) -> None:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up:
        if control.running(folder):
            return
        if child.poll() is not None and not control.holder(folder):
            break
        time.sleep(0.05)
    if child.poll() is not None:
        _refuse_stuck(folder)
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    said = errors.read_text(errors="replace").strip().splitlines()
    why = next((line.removeprefix("ony: ") for line in reversed(said) if line.startswith("ony: ")), "")
    raise OnyError(f"the daemon did not start ({why})" if why else "the daemon did not start", f"see {errors} and {folder / 'log'}")


def _refuse_stuck(folder: Path) -> None:
    """OnyError where a daemon is there and does not answer: to say that none runs would be a lie."""
    if pid := control.holder(folder):
        end = f"end it with `kill -9 {pid}`" if pid > 0 else f"`fuser {folder / control.LOCK}` finds it"
        raise OnyError(f"the daemon (process {pid}) is there but does not answer, so every call of a gated agent is blocked", end)


def _stop(args: argparse.Namespace) -> int:
    folder = home.opened()
    if not control.running(folder):
        _refuse_stuck(folder)
        print("No daemon is running.")
        return 0
    pid = control.ask("status", folder=folder)["pid"]
    control.ask("stop", folder=folder)
    give_up = time.monotonic() + STOP_S
    while time.monotonic() < give_up:
        if not _alive(pid):
            print("The daemon has stopped. Until it runs again every call of a gated agent is blocked.")
            return 0
        time.sleep(0.02)
    raise OnyError(f"the daemon (process {pid}) does not end", f"end it with `kill {pid}`")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", "rb") as stat:  # a zombie of a parent that does not collect it has ended too
            return stat.read(4096).rpartition(b")")[2].split()[0] != b"Z"
    except ProcessLookupError:
        return False
    except OSError:
        return True


def _status(args: argparse.Namespace) -> int:
    folder = home.opened()
    if not control.running(folder):
        if not args.json:
            _refuse_stuck(folder)
        print(json.dumps({"running": False}) if args.json else "No daemon is running: every call of a gated agent is blocked.")
        return 1
    said = {"running": True, **control.ask("status", folder=folder)}
    print(json.dumps(said) if args.json else f"The daemon runs (process {said['pid']}), mode {said['mode']}, {said['waiting']} waiting.")
    return 0
