"""`ony doctor --server`: what can be checked about a server from its own machine, line by line. It changes nothing and rings nobody."""

import datetime
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ony_core import auditkey, config
from ony_core.commands import admin
from ony_core.errors import OnyError
from ony_core.server.admin import AUDIT_KEY, DATABASE
from ony_core.server.keyring import MASTER_FILE
from ony_core.server.telephone import account, signing_keys
from ony_core.store import copies

SPACE = 200 * 1024 * 1024  # bytes that should be free beside the database
RENEW_DAYS = 14
WAL_BUG = ((3, 7, 0), (3, 51, 3), {(3, 44, 6), (3, 50, 7)})  # sqlite.org/wal.html section 11: from, fixed in, fixed too

Check = tuple[str, Callable[[], str]]


def checks(settings: config.Config, folder: Path) -> Iterator[Check]:
    """(name, check) in the order in which one thing needs the other; a check says what it found or raises OnyError."""
    yield "configuration", lambda: _configuration(settings)
    yield "data folder", lambda: _folder(folder)
    yield "keys", lambda: _keys(folder)
    yield "disk", lambda: _disk(folder)
    yield "sqlite", _sqlite
    yield "running", lambda: _running(folder)
    yield "voice", lambda: _voice(settings)
    yield "phones", lambda: _phones(folder)
    if settings.server.tls_cert:
        yield "certificate", lambda: _certificate(Path(settings.server.tls_cert))


def _configuration(settings: config.Config) -> str:
    server = settings.server
    if server.public_url.startswith("https://") and not (config.own_tls(settings) or server.trusted_proxies):
        raise OnyError("a TLS proxy stands before this server, and server.trusted_proxies does not name it",
                       "without it all the world is one address, and anybody's wrong passwords keep everybody out")  # fmt: skip
    sources = {source for source in settings.origin.values() if source != "default"}
    return f"from {', '.join(sorted(sources)) or 'defaults alone'}"


def _folder(folder: Path) -> str:
    if not (folder / DATABASE).is_file():
        raise OnyError(f"there is no server in {folder}", f"run `ony admin init --data {folder}`")
    about = os.stat(folder)
    if about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise OnyError(f"others can look into {folder}", f"run `chmod 700 {folder}`")
    if about.st_uid != os.geteuid():
        raise OnyError(f"{folder} belongs to another user", "run this as the server's user")
    return str(folder)


def _keys(folder: Path) -> str:
    for name in (MASTER_FILE, AUDIT_KEY, DATABASE):
        try:
            mode = (folder / name).stat().st_mode
        except OSError as error:
            raise OnyError(f"{name} cannot be seen ({error.strerror})", "put it back from where it was kept; none is made anew") from None
        if mode & 0o077:
            raise OnyError(f"others can read {name}", f"run `chmod 600 {folder / name}`")
    return f"{MASTER_FILE} and {AUDIT_KEY} ({len(auditkey.read_keys(folder / AUDIT_KEY))} log(s)): keep a copy of both elsewhere"


def _disk(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    if free < SPACE:
        raise OnyError(f"{free // 1024 // 1024} MiB are free", "without space nothing can be approved: make some")
    return f"{free // 1024 // 1024} MiB free, database {(folder / DATABASE).stat().st_size // 1024} KiB"


def _sqlite() -> str:
    first, fixed, others = WAL_BUG
    shown = ".".join(map(str, copies.SQLITE))
    if first <= copies.SQLITE < fixed and copies.SQLITE not in others:
        return f"{shown} has the WAL-reset bug: harmless here as long as nothing else writes to the database"
    return shown


def _running(folder: Path) -> str:
    said = admin.ask(folder, "GET", "/admin/status")
    if said["latched"]:
        raise OnyError(f"writes are refused: {said['latched']}", "restart the server")
    return f"answers, {said['waiting']} waiting"


def _voice(settings: config.Config) -> str:
    if not settings.voice.provider:
        raise OnyError("no voice provider is set, so every held call is denied", "docs/signalwire.md")
    account(settings.voice)
    signing_keys(settings.voice)
    return f"{settings.voice.provider}; what only a call shows, `ony demo` or a held call shows"


def _phones(folder: Path) -> str:
    devices: list[dict[str, Any]] = admin.ask(folder, "GET", "/admin/devices")["devices"]
    active = sum(device["state"] == "active" for device in devices)
    if not active:
        raise OnyError("no phone is enrolled", "`ony admin phone` adds one")
    return f"{active} active"


def _certificate(path: Path) -> str:
    from cryptography import x509

    try:
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        raise OnyError(f"{path} cannot be read ({type(error).__name__})", "look at server.tls_cert") from None
    left = (ends - datetime.datetime.now(datetime.UTC)).days
    if left < RENEW_DAYS:
        raise OnyError(f"it ends in {left} days", "renew it: renewed files are taken up within a minute")
    return f"good for {left} days"
