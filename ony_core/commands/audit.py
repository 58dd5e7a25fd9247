"""`ony audit`: verify, list, show or export a log, offline, from a data folder or an export. Reads only; standard library alone."""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from ony_core import auditexport, auditkey, auditlog, chain, checkpoint, notes
from ony_core.errors import EXIT_OK, Malformed, OnyError, UsageError
from ony_core.verify import EXITS, Finding, Report, verify

HELP = "verify, list, show or export the audit log, offline"
EXAMPLES = {
    "verify": "ony audit verify --data /var/lib/ony --witness ~/.ony/heads --strict",
    "list": "ony audit list --data /var/lib/ony --kind verdict",
    "show": "ony audit show 13 --data /var/lib/ony",
    "export": "ony audit export --data /var/lib/ony --out log.ony-audit.jsonl",
}
EXAMPLE = "\n".join([*EXAMPLES.values(), "ony audit verify --export log.ony-audit.jsonl --key verification-key.txt"])
_KEYS = "pass --key with audit.key or the verification key that `ony admin init` printed"
FOLDERS = ("./ony-data", "/var/lib/ony")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = _verb(verbs, "verify", "check every row, checkpoint and kept head; exit 0, 3 with --strict, or 10 to 18", _verify)
    check.add_argument("--key", metavar="FILE", help="audit.key, or the verification key in a file (default: audit.key of the data folder)")
    check.add_argument("--witness", metavar="FILE", action="append", default=[], help="a connector's heads folder, a file of it, or a note")
    check.add_argument("--strict", action="store_true", help="exit 3 where no head kept outside agrees")
    listing = _verb(verbs, "list", "one line per row", _list)
    listing.add_argument("--from", dest="first", type=int, default=1, metavar="SEQ", help="begin with this row")
    listing.add_argument("--kind", help="only rows of this kind")
    listing.add_argument("--limit", type=int, metavar="N", help="at most so many rows")
    show = _verb(verbs, "show", "one row in full, with its hashes and the checkpoint that covers it", _show)
    show.add_argument("seq", type=int, metavar="SEQ")
    out = _verb(verbs, "export", "write the log as JSON lines that verify anywhere", _export)
    out.add_argument("--from", dest="first", type=int, default=1, metavar="SEQ", help="begin with this row")
    out.add_argument("--out", metavar="FILE", help="a new file (default: standard output)")


def run(args: argparse.Namespace) -> int:
    return int(args.act(args))


def _verb(verbs: Any, word: str, text: str, act: Any) -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    example = f"example:\n  {EXAMPLES[word]}"
    parser: argparse.ArgumentParser = verbs.add_parser(word, help=text, description=text, epilog=example, formatter_class=plain)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", metavar="DIR", help=f"a server's data folder, or a copy (default: {' or '.join(FOLDERS)})")
    source.add_argument("--export", metavar="FILE", help="a file written by `ony audit export`")
    parser.add_argument("--org", metavar="ORG", help="one organisation (default: all, or the only one)")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.set_defaults(act=act)
    return parser


# ---------------------------------------------------------------- verify


def _verify(args: argparse.Namespace) -> int:
    started = time.monotonic()
    keys = _keys(args)
    heads = [head for path in args.witness for head in notes.witnesses(path)]
    with _logs(args, keys) as logs:
        reports = [_checked(log, keys, heads) for log in logs]
    if not reports:
        raise OnyError("there is no organisation in this database", "run `ony admin init` first, or name another folder with --data")
    worst = min(reports, key=lambda report: (not report.findings, report.result == "OK"))
    if args.json:
        others = [report.to_json() for report in reports if report is not worst]
        print(json.dumps({**worst.to_json(), "seconds": round(time.monotonic() - started, 3), "other_logs": others}))
    else:
        print("\n\n".join(_text(report) for report in reports))
    return worst.exit_code(args.strict)


def _checked(log: auditlog.Log, keys: dict[str, bytes], heads: list[notes.Head]) -> Report:
    key = keys.get(log.org_id) or keys.get("")
    if key is None:
        return Report(log.origin, "", findings=[Finding("KEY", 1, "the key file holds no key of this organisation")])
    log.lines = _progress(log.lines)
    return verify(log, key, heads)


def _progress(items: Iterator[Any]) -> Iterator[Any]:
    if not sys.stderr.isatty():
        return items
    return _counted(items)


def _counted(items: Iterator[Any]) -> Iterator[Any]:
    for count, item in enumerate(items):
        if count % 100_000 == 99_999:
            print(f"\r{count + 1:,} read", end="", file=sys.stderr, flush=True)
        yield item
    print("\r", end="", file=sys.stderr)


def _keys(args: argparse.Namespace) -> dict[str, bytes]:
    """{org_id: key}; a verification key names no organisation and stands under "". Without any key nothing can be said: an error."""
    path = Path(args.key) if args.key else None if args.export else _folder(args) / "audit.key"
    if path is None:
        raise OnyError("an export needs a key to be checked with", _KEYS)
    try:
        data = path.read_bytes()
        return auditkey.parse_keys(data) if data.lstrip().startswith(b"{") else {"": auditkey.from_text(data.decode("ascii", "replace"))}
    except OSError as error:
        raise OnyError(f"cannot read the key file {path.name} ({error.strerror})", _KEYS) from None
    except Malformed as error:
        raise OnyError(f"the key file {path.name} is of no use ({error.what})", _KEYS) from None


def _text(report: Report) -> str:
    lines = [f"{report.result}  {report.origin}"]
    for found in report.findings:
        lines.append(f"  {found.result} at row {found.seq}: {found.what}")
        lines += [f"    {name.replace('_', ' '):12} {value}" for name, value in found.details.items() if name != "note" and value]
    lines.append(f"  rows         {report.rows} read, from {report.first_time or 'no time'} to {report.last_time or 'no time'}, "
                 f"good up to row {report.last_good}")  # fmt: skip
    if report.later_good:
        lines.append(f"  later rows   {report.later_good} still follow from the one before them")
    lines.append(f"  checkpoints  {report.checkpoints} read, key {report.key_id or 'none'}")
    lines += _heads(report)
    lines += [f"  note: {text}" for text in report.notes]
    return "\n".join(_printable(line) for line in lines)


def _heads(report: Report) -> list[str]:
    lines = []
    if report.agreeing:
        at = checkpoint.parse(report.agreeing.note).at
        age = _age(int(time.time()) - at)
        lines.append(f"  outside      {report.agreeing.source} agrees at {report.agreeing.size} rows; that head is {age} old")
    if report.disagreeing:
        lines.append(f"  the note kept outside ({report.disagreeing.source}):")
        lines += ["    " + line for line in report.disagreeing.note.splitlines()]
    for found in report.findings:
        if "note" in found.details:
            lines += ["  the log's own note:", *("    " + line for line in str(found.details["note"]).splitlines())]
    return lines


def _age(seconds: int) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


# ---------------------------------------------------------------- list, show, export


def _list(args: argparse.Namespace) -> int:
    with _one_log(args) as log:
        rows = ((seq, _fields(body)) for seq, body, _ in _readable(log.rows()) if seq >= args.first)
        wanted = (row for row in rows if args.kind in (None, row[1].get("kind")))
        for seq, fields in islice(wanted, args.limit):
            print(json.dumps({"seq": seq, **fields}) if args.json else _line(seq, fields))
    print("ony: listed as stored: `ony audit verify` says whether it is what was written", file=sys.stderr)
    return EXIT_OK


def _show(args: argparse.Namespace) -> int:
    with _one_log(args) as log:
        items = _readable(log.items())
        row = next((item for item in items if not isinstance(item, auditlog.Promise) and item[0] == args.seq), None)
        if row is None:
            raise OnyError(f"there is no row {args.seq}", "`ony audit list` shows what there is")
        covering = next((item.note for item in items if isinstance(item, auditlog.Promise)), "")
    shown = {"seq": row[0], "body": _fields(row[1]), "mac": row[2].hex(), "leaf": chain.leaf(*row).hex(), "checkpoint": covering}
    print(json.dumps(shown) if args.json else json.dumps(shown, indent=2))
    return EXIT_OK


def _export(args: argparse.Namespace) -> int:
    if args.first < 1:
        raise UsageError("rows are counted from 1", "pass --from 1 or more")
    with _one_log(args) as log, ExitStack() as stack:
        out = stack.enter_context(_new_file(args.out)) if args.out else sys.stdout.buffer
        for line in _readable(auditexport.export(log, args.first)):
            out.write(line)
        out.flush()
    return EXIT_OK


@contextmanager
def _new_file(name: str) -> Iterator[Any]:
    try:
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise OnyError(f"cannot write {name} ({error.strerror})", "name a file that does not exist yet") from None
    with os.fdopen(handle, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _line(seq: int, fields: dict[str, Any]) -> str:
    rest = " ".join(f"{name}={json.dumps(value)}" for name, value in fields.items() if name not in ("at", "kind"))
    return f"{seq:>8}  {_plain(fields.get('at')):20}  {_plain(fields.get('kind')):16}  {rest}".rstrip()


def _printable(line: str) -> str:
    """A log may hold what an intruder wrote; it must not drive the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _plain(value: Any) -> str:
    return json.dumps(value)[1:-1][:40] if isinstance(value, str) else "?"


def _fields(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"kind": "?", "unreadable": len(body)}


def _readable(items: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from items
    except auditlog.Broken as broken:
        place = "" if broken.offset is None else f", byte {broken.offset}"
        raise OnyError(f"{broken.what} (row {broken.seq}{place})", "run `ony audit verify`", EXITS[broken.result]) from None


# ---------------------------------------------------------------- where the log is


@contextmanager
def _logs(args: argparse.Namespace, keys: dict[str, bytes]) -> Iterator[list[auditlog.Log]]:
    """The logs asked for, read inside one transaction. Every organisation that has a key is expected to have a log."""
    with ExitStack() as stack:
        if args.export:
            log = auditexport.read_export(stack.enter_context(_open(args.export)))
            if args.org not in (None, log.org_id):
                raise OnyError("the export is of another organisation", "leave --org away")
            yield [log]
            return
        db = stack.enter_context(auditlog.database(_folder(args)))
        known = sorted({*auditlog.organisations(db), *(org for org in keys if org)})
        if args.org and args.org not in known:
            raise OnyError("there is no such organisation in this database", "`ony audit verify` without --org names them all")
        yield [auditlog.log_of(db, org) for org in known if args.org in (None, org)]


@contextmanager
def _one_log(args: argparse.Namespace) -> Iterator[auditlog.Log]:
    with _logs(args, {}) as logs:
        if len(logs) != 1:
            known = ", ".join(log.org_id for log in logs) or "none"
            raise UsageError(f"the database holds {len(logs)} organisations", f"pass --org with one of: {known}")
        yield logs[0]


def _open(name: str) -> Any:
    try:
        return open(name, "rb")
    except OSError as error:
        raise OnyError(f"cannot read {name} ({error.strerror})", "name a file written by `ony audit export`") from None


def _folder(args: argparse.Namespace) -> Path:
    if args.data:
        return Path(args.data)
    found = next((Path(name) for name in FOLDERS if (Path(name) / "ony.db").is_file()), None)
    if found is None:
        raise OnyError("there is no data folder here", "name the server's data folder with --data, or an export with --export")
    return found
