"""The settings of a server: one table, three sources, one frozen value.

TOML file < environment (`ONY_<SECTION>_<KEY>`, or `…_FILE` to read a file) < flags. MUST refuse what it does not know, by name: a misspelt
setting that is quietly ignored is a setting that is not in force. MUST NOT show a secret, nor quote a value of one in an error.
"""

import argparse
import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ony_core.errors import UsageError

FOLDERS = ("./ony-data", "/var/lib/ony")
MAX_BYTES = 64 * 1024
RISKS = ("low", "medium", "high")  # policy may lower the risk from which a code is asked, never raise it above high
Check = Callable[[Any], str]  # "" for a good value, else what it must be


def _one_of(*words: str) -> Check:
    return lambda value: "" if value in words else f"must be one of: {', '.join(word or 'empty' for word in words)}"


def _between(low: int, high: int, unit: str) -> Check:
    return lambda value: "" if low <= value <= high else f"must be {low} to {high} {unit}"


def _like(pattern: str, example: str) -> Check:
    return lambda value: "" if not value or re.fullmatch(pattern, value, re.ASCII) else f"must look like {example}"


def _address(value: str) -> str:
    try:
        host_and_port(value)
    except ValueError:
        return "must be HOST:PORT such as 127.0.0.1:8750; a host is an address or localhost"
    return ""


def _url(path: bool) -> Check:
    def check(value: str) -> str:
        return "" if not value or _plain_url(value, path) else f"must be {form}; http is for loopback only"

    form = "https://host/path" if path else "https://host without a path"
    return check


def _host_name(value: str) -> str:
    try:
        ipaddress.ip_address(value or "::1")
    except ValueError:
        return _like(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", "ony.lan or 192.168.1.5")(value)
    return ""


def _networks(value: tuple[str, ...]) -> str:
    try:
        for item in value:
            ipaddress.ip_network(item)
    except ValueError:
        return 'must list addresses or networks such as ["10.0.0.5", "10.1.0.0/16"]'
    return ""


def _token(value: str) -> str:
    good = not value or re.fullmatch(r"[\x21-\x7e]{20,200}", value, re.ASCII)
    return "" if good else "must be 20 to 200 visible characters without spaces"


def setting(default: Any, doc: str, check: Check = lambda value: "", *, secret: bool = False, key: str = "", flag: str = "") -> Any:
    """A row of the table. key: its name in TOML and the environment where it is not the attribute's. flag: on the command line too."""
    return field(default=default, repr=not secret, metadata={"doc": doc, "check": check, "secret": secret, "key": key, "flag": flag})


@dataclass(frozen=True, slots=True)
class Server:
    listen: str = setting("127.0.0.1:8750", "where to listen", _address, flag="listen")
    public_url: str = setting("", "how the world reaches this server; what webhooks are signed over", _url(path=False))
    data: str = setting("", f"the data folder (empty: {' or '.join(FOLDERS)}, whichever there is)", flag="data")
    tls_cert: str = setting("", "the server's own certificate, PEM with its chain; renewed files are taken up by themselves")
    tls_key: str = setting("", "the key of tls_cert")
    tls_local: str = setting("", "serve TLS under this name by an authority of this server's own", _host_name, flag="tls-local")
    max_connectors: int = setting(2000, "connectors that may wait at the same time", _between(1, 50_000, "connectors"))
    max_connectors_per_org: int = setting(1000, "of one organisation", _between(1, 50_000, "connectors"))
    max_connector_mib: int = setting(8, "what one connector may have written down in an hour, in MiB", _between(1, 100_000, "MiB"))
    metrics_token: str = setting("", "what /metrics asks for, 20 characters or more; empty: there is none", _token, secret=True)
    trusted_proxies: tuple[str, ...] = setting((), "proxies whose X-Forwarded-For is believed; not counted per address", _networks)


@dataclass(frozen=True, slots=True)
class Voice:
    provider: str = setting("", "who places the calls; empty: nobody", _one_of("", "signalwire", "twilio"))
    base_url: str = setting("", "the provider's address, where it is not its own", _url(path=True))
    space: str = setting("", "SignalWire: the first word of example.signalwire.com", _like(r"[a-z0-9][a-z0-9-]{0,62}", "example"))
    project_id: str = setting("", "project id or account SID", _like(r"[A-Za-z0-9_-]{1,64}", "6bfbbe86-…"))
    api_token: str = setting("", "token for placing calls", secret=True)
    signing_key: str = setting("", "what webhooks are signed with", secret=True)
    old_signing_key: str = setting("", "the signing key before, while it is being changed", secret=True)
    caller: str = setting("", "the number calls come from", _like(r"\+[1-9][0-9]{6,14}", "+15550100000"), key="from")
    max_price: str = setting("", "SignalWire: refuse calls dearer a minute, in US dollars", _like(r"\d{1,3}(\.\d{1,4})?", '"0.05"'))


@dataclass(frozen=True, slots=True)
class Policy:
    code_required: str = setting("high", "risk from which the six-digit code is asked", _one_of(*RISKS))
    decision_deadline: int = setting(300, "seconds a hold may last", _between(1, 840, "seconds"))
    verdict_ttl: int = setting(120, "seconds a verdict stays usable", _between(1, 900, "seconds"))
    calls_per_hour: int = setting(6, "how often one user may be rung in an hour; a session may use half", _between(1, 240, "calls"))
    history_days: int = setting(400, "days a settled request is kept to look at; the log keeps its own rows", _between(30, 36500, "days"))
    on_no_verdict: str = setting("deny", "without a verdict: deny, or ask = the agent's own prompt, for high only", _one_of("deny", "ask"))


@dataclass(frozen=True, slots=True)
class Payload:
    attach: bool = setting(False, "let connectors attach sealed payloads; the connector's own switch is needed too")
    retention_days: int = setting(30, "days an attached payload is kept", _between(1, 3650, "days"))


@dataclass(frozen=True, slots=True)
class Config:
    """The effective settings. origin: "section.key" -> where its value came from."""

    server: Server = field(default_factory=Server)
    voice: Voice = field(default_factory=Voice)
    policy: Policy = field(default_factory=Policy)
    payload: Payload = field(default_factory=Payload)
    origin: Mapping[str, str] = field(default_factory=dict, compare=False)


SECTIONS: dict[str, Any] = {"server": Server, "voice": Voice, "policy": Policy, "payload": Payload}
TABLE: dict[str, tuple[str, Field[Any]]] = {
    f"{section}.{row.metadata['key'] or row.name}": (section, row) for section, kind in SECTIONS.items() for row in fields(kind)
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """--config, and a flag for each setting that has one."""
    parser.add_argument("--config", metavar="FILE", help="settings as TOML; the environment (ONY_…) and flags win over it")
    for _, row in TABLE.values():
        if flag := row.metadata["flag"]:
            parser.add_argument(f"--{flag}", metavar=flag.upper().replace("TLS-LOCAL", "NAME"), help=row.metadata["doc"])


def from_arguments(args: argparse.Namespace) -> Config:
    flags = {name: getattr(args, row.metadata["flag"].replace("-", "_")) for name, (_, row) in TABLE.items() if row.metadata["flag"]}
    return load(args.config, os.environ, {name: value for name, value in flags.items() if value is not None})


def load(file: str | None, environ: Mapping[str, str], flags: Mapping[str, str]) -> Config:
    """flags: "section.key" -> text. UsageError names the setting that is unknown, of the wrong type or out of bounds."""
    values: dict[str, Any] = {}
    origin = dict.fromkeys(TABLE, "default")
    for source in (*_file(file), *_environment(environ), Source("flag", flags, text=True)):
        for name, value in source.values.items():
            values[name] = _typed(name, value, source)
            origin[name] = source.name
    sections = {word: kind(**_of(word, values)) for word, kind in SECTIONS.items()}
    config = Config(**sections, origin=origin)
    _require_sense(config)
    return config


def data_folder(named: str) -> Path:
    """The data folder that was named, else the first of FOLDERS that holds a database, else the first."""
    if named:
        return Path(named)
    return next((Path(name) for name in FOLDERS if (Path(name) / "ony.db").is_file()), Path(FOLDERS[0]))


def host_and_port(value: str) -> tuple[str, int]:
    """The parts of 127.0.0.1:8750, [::1]:0, localhost:80. ValueError for anything else."""
    host, _, port = value.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare != "localhost" and (ipaddress.ip_address(bare).version == 6) != (bare != host):
        raise ValueError("an IPv6 address stands in brackets")
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
        raise ValueError("not a port")
    return bare, int(port)


def own_tls(config: Config) -> bool:
    """Whether this server speaks TLS by itself."""
    return bool(config.server.tls_cert or config.server.tls_local)


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown(config: Config) -> list[dict[str, Any]]:
    """One row per setting for `ony config show`: name, value (a secret only as set or not), where it came from, what it means."""
    rows = []
    for name, (section, row) in TABLE.items():
        value = getattr(getattr(config, section), row.name)
        value = ("********" if value else "") if row.metadata["secret"] else list(value) if isinstance(value, tuple) else value
        rows.append({"name": name, "value": value, "from": config.origin[name], "doc": row.metadata["doc"]})
    return rows


# ---------------------------------------------------------------- sources


@dataclass(frozen=True, slots=True)
class Source:
    """values: "section.key" -> value. text: they are words to be read as the setting's type; TOML has types of its own."""

    name: str
    values: Mapping[str, Any]
    text: bool = False


def _file(name: str | None) -> list[Source]:
    if name is None:
        return []
    try:
        tree = tomllib.loads(_read(name, "the configuration file", trusted=True))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the configuration file is not TOML ({_position(error)})", f"edit {name}") from None
    found: dict[str, Any] = {}
    for section, table in tree.items():
        if section not in SECTIONS or not isinstance(table, dict):
            raise UsageError(f"the configuration file has an unknown section {section[:40]!r}", f"sections are: {', '.join(SECTIONS)}")
        found |= {f"{section}.{key}": value for key, value in table.items()}
    for key in found:
        _require_known(key, f"in {name}")
    if any(TABLE[key][1].metadata["secret"] and value for key, value in found.items()) and os.stat(name).st_mode & stat.S_IROTH:
        raise UsageError("the configuration file holds a secret and anybody may read it", f"run `chmod o-rwx {name}`")
    return [Source(name, found)]


def _environment(environ: Mapping[str, str]) -> list[Source]:
    names = {f"ONY_{name.replace('.', '_').upper()}": name for name in TABLE}
    found: list[Source] = []
    for variable, value in environ.items():
        plain = variable.removesuffix("_FILE")
        if plain not in names:
            if variable.startswith(tuple(f"ONY_{section.upper()}_" for section in SECTIONS)):
                raise UsageError(f"the environment holds {variable[:60]}, which is no setting", "`ony config show` lists them")
        elif variable == plain:
            found.append(Source(variable, {names[plain]: value}, text=True))
        elif plain in environ:
            raise UsageError(f"the environment holds both {plain} and {variable}", "keep one of them")
        else:
            found.append(Source(variable, {names[plain]: _read(value, variable, trusted=False).rstrip("\r\n")}, text=True))
    return found


def _read(name: str, what: str, *, trusted: bool) -> str:
    """trusted: others must not be able to write it (it decides where secrets go and what is believed)."""
    try:
        with open(name, "rb") as file:
            about, data = os.fstat(file.fileno()), file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{what} cannot be read ({error.strerror})", f"look at {name}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{what} is larger than {MAX_BYTES // 1024} KiB", f"look at {name}")
    if trusted and (about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or about.st_uid not in (0, os.geteuid())):
        raise UsageError(f"{what} can be changed by others", f"make it yours and run `chmod go-w {name}`")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{what} is not UTF-8 text", f"look at {name}") from None


def _position(error: tomllib.TOMLDecodeError) -> str:
    """Only where: what stands there may be a secret."""
    found = re.search(r"at (line \d+, column \d+|end of document)", str(error))
    return found[1] if found else "somewhere"


# ---------------------------------------------------------------- values


def _require_known(name: str, where: str) -> None:
    if name not in TABLE:
        raise UsageError(f"there is no setting {name[:60]} ({where})", "`ony config show` lists them")


def _typed(name: str, value: Any, source: Source) -> Any:
    """The value as its setting's type. UsageError."""
    default, check = TABLE[name][1].default, TABLE[name][1].metadata["check"]
    wanted = {str: "text", int: "a whole number", bool: "true or false", tuple: "a list of texts"}[type(default)]
    parsed = _parsed(value, type(default), source.text)
    wrong = f"must be {wanted}" if parsed is None else check(parsed)
    if wrong:
        raise UsageError(f"{name} {wrong}", f"it came from: {source.name}")
    return parsed


def _parsed(value: Any, kind: type, text: bool) -> Any:
    if kind is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if not text or kind is str:
        return value if type(value) is kind and "\0" not in str(value) else None
    if kind is int:
        return int(value) if re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) else None
    if kind is bool:
        return {"true": True, "false": False}.get(value)
    return tuple(item.strip() for item in value.split(",") if item.strip())


def _of(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {row.name: values[name] for name, (word, row) in TABLE.items() if word == section and name in values}


def _require_sense(config: Config) -> None:
    """What no setting shows alone."""
    voice, server = config.voice, config.server
    if voice.provider and not server.public_url:
        raise UsageError("server.public_url is empty", "the telephone provider must be told where to reach this server")
    if voice.provider == "signalwire" and not (voice.space or voice.base_url):
        raise UsageError("voice.space is empty", "it is the first word of your SignalWire address: docs/signalwire.md")
    if bool(server.tls_cert) != bool(server.tls_key):
        raise UsageError("server.tls_cert and server.tls_key belong together", "set both, or none")
    if server.tls_cert and server.tls_local:
        raise UsageError("there are two kinds of TLS", "keep server.tls_cert and tls_key, or server.tls_local")
    host, _ = host_and_port(server.listen)
    if not own_tls(config) and not is_loopback(host) and urlsplit(server.public_url).scheme != "https":
        raise UsageError(
            f"server.listen {server.listen} can be reached from elsewhere, and server.public_url is not https",
            "set tls_cert and tls_key, or --tls-local NAME, or put a TLS proxy in front and set public_url; or listen on 127.0.0.1",
        )


def _plain_url(value: str, path: bool) -> bool:
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?", value, re.ASCII) or not host or port == 0:
        return False
    if parts.path.strip("/") and not path:
        return False
    return parts.scheme == "https" or is_loopback(host)
