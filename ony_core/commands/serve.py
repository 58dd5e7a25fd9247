"""`ony serve`: the server in the foreground, for systemd, a container or a terminal. One line on stdout when it is ready; its log is JSON
lines on stderr, which name events and types, never what a request held.
"""

import argparse
import asyncio
import os
import resource

from ony_core import config
from ony_core.clock import SystemClock
from ony_core.errors import EXIT_OK
from ony_core.server import logs
from ony_core.server.app import App

HELP = "run the server: handoffs, phone calls, signed verdicts, the audit log"
EXAMPLE = """ony serve --data /var/lib/ony --config /etc/ony.toml
ony serve --listen 0.0.0.0:8750 --tls-local ony.lan    # a local network; the other machines get tls/ca.pem of the data folder
ony serve --listen 127.0.0.1:0          # any free port; the line it prints names it"""

SPARE_FILES = 2048  # beside the waiting connectors: strangers, the database, calls out


def arguments(parser: argparse.ArgumentParser) -> None:
    config.arguments(parser)


def run(args: argparse.Namespace) -> int:
    settings = config.from_arguments(args)
    os.umask(0o077)
    logs.to_stderr()
    _allow_files(settings.server.max_connectors + SPARE_FILES)
    asyncio.run(App(settings, SystemClock()).run(lambda app: _say_ready(app, settings)))
    return EXIT_OK


def _say_ready(app: App, settings: config.Config) -> None:
    host = settings.server.listen.rpartition(":")[0]
    scheme = "https" if config.own_tls(settings) else "http"
    print(f"ony: serving on {scheme}://{host}:{app.port}, data in {app.data}", flush=True)


def _allow_files(files: int) -> None:
    """One descriptor per waiting connector; the usual soft limit of 1,024 is below what the listener allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
