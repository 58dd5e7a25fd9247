"""What a server costs: start, idle memory, ten thousand waiting connectors, durable handoffs a second, and how soon a decision is heard.

The server is the real program on loopback; its clients share the machine's cores with it. Each row is a ratio to the number that issue and
contract promise (bound 1.0), but for the store, whose yardstick is a bare sqlite3 loop that commits the same rows in the same groups.
"""

import asyncio
import json
import os
import resource
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ony_core import handoff, program
from ony_core.clock import SystemClock, new_id
from ony_core.model import Fact
from ony_core.store import Store
from ony_core.store import store as store_module
from tests.bench.row import Row
from tests.server.serving import enrolled
from tests.server.world import COMMIT, Hall, Person, waited
from tests.store.world import a_handoff, add_org, an_id, open_store

CONNECTORS, HANDOFFS, CLIENTS, WRITES, RINGING = 10_000, 6000, 64, 3000, 100
MOST, WARM_S = 20_000, 10
PUSH = (Fact("command", "git", ("push",)),)


def measure() -> Iterator[Row]:
    yield from _process()
    yield from _throughput()
    yield _store()
    yield from _heard()


class Serving:
    """`ony serve` on a new folder. token: of an enrolled connector."""

    def __init__(self, folder: Path) -> None:
        data = folder / "data"
        subprocess.run([*program.command(), "admin", "init", "--data", str(data), "--org", "Bench", "--email", "a@example.com",
                        "--password-stdin"], input=b"correct horse battery", check=True, stdout=subprocess.DEVNULL)  # fmt: skip
        self.token = enrolled(data)
        limits = {f"ONY_SERVER_MAX_CONNECTORS{more}": str(MOST) for more in ("", "_PER_ORG")} | {"ONY_SERVER_MAX_CONNECTOR_MIB": "1000"}
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [*program.command(), "serve", "--data", str(data), "--listen", "127.0.0.1:0"],
            env={**os.environ, **limits}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().split("127.0.0.1:")[1].split(",")[0])
        self.started_ms = (time.perf_counter() - began) * 1000

    def rss(self) -> float:
        """MiB in memory now."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def _serving(work: Callable[[Serving], Any]) -> Any:
    with tempfile.TemporaryDirectory(prefix="ony-") as folder:
        server = Serving(Path(folder))
        try:
            return work(server)
        finally:
            server.stop()


def a_request(session: str) -> bytes:
    clock = SystemClock()
    return handoff.request_to_wire(new_id("req", clock), session, "claude-code", "Bash", "on", "bench", PUSH,
                                   "hmac-sha256:" + os.urandom(32).hex(), None)  # fmt: skip


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    assert head.startswith(b"HTTP/1.1 2"), (head, body)
    return body


# ---------------------------------------------------------------- one process


def _process() -> Iterator[Row]:
    def work(server: Serving) -> list[Row]:
        time.sleep(1)
        idle = server.rss()
        full, page = asyncio.run(_crowd(server))
        return [Row("server: start to the line that says ready", server.started_ms, 500, 1, 1),
                Row("server: idle memory, MiB for ms", idle, 60, 1, 1),
                Row(f"server: memory with {CONNECTORS} waiting connectors, MiB", full, 150, 1, 1),
                Row("server: another request meanwhile, p99", page, 50, 1, 200)]  # fmt: skip

    yield from _serving(work)


async def _crowd(server: Serving) -> tuple[float, float]:
    """(MiB, ms): memory while all wait for one request in mode here, and the p99 of 200 other requests."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, MOST), hard))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    mode = json.dumps({"session": "", "mode": "here", "minutes": None, "code": None}).encode()
    body = a_request("sess_" + "1" * 32)
    for asked in (server.request("POST", "/v1/modes", mode), server.request("POST", "/v1/handoffs", body)):
        writer.write(asked)
        said = json.loads(await _answer(reader))
    wait = server.request("GET", f"/v1/handoffs/{said['request_id']}?wait=25")
    bundle, crowd, took = server.request("GET", "/v1/bundle"), [], []
    writer.close()

    async def waits(there: Any) -> None:
        while True:  # as a connector does: 25 seconds, and again
            there[1].write(wait)
            await _answer(there[0])

    for _ in range(CONNECTORS):
        there = await asyncio.open_connection("127.0.0.1", server.port)
        there[1].write(bundle)  # it is counted among the known from here on
        await _answer(there[0])
        crowd.append((there, asyncio.create_task(waits(there))))
    await asyncio.sleep(3)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for _ in range(200):
        began = time.perf_counter()
        writer.write(bundle)
        await _answer(reader)
        took.append((time.perf_counter() - began) * 1000)
    full = server.rss()
    assert not any(task.done() for _, task in crowd), "all of them wait"
    for there, task in crowd:
        task.cancel()
        there[1].transport.abort()
    writer.transport.abort()
    await asyncio.gather(*(task for _, task in crowd), return_exceptions=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return full, sorted(took)[-2]


# ---------------------------------------------------------------- handoffs a second


def _throughput() -> Iterator[Row]:
    """Without a way to ring anybody each handoff is stored, failed and logged in one commit: as durable as any, and it does not pile up."""
    seconds = _serving(lambda server: asyncio.run(_many(server)))
    yield Row(f"server: {HANDOFFS} durable handoffs by keep-alive, ms for 1,000", seconds * 1000 / HANDOFFS * 1000, 1000, 1, HANDOFFS)


async def _many(server: Serving) -> float:
    await asyncio.sleep(WARM_S)  # the tables are read in a thread after the start
    bodies = iter([server.request("POST", "/v1/handoffs", a_request(f"sess_{n:032x}")) for n in range(HANDOFFS)])
    links = []
    for _ in range(CLIENTS):
        link = await asyncio.open_connection("127.0.0.1", server.port)
        link[1].write(server.request("GET", "/v1/bundle"))
        await _answer(link[0])
        links.append(link)

    async def client(link: Any) -> None:
        for body in bodies:
            link[1].write(body)
            await _answer(link[0])

    began = time.perf_counter()
    await asyncio.gather(*map(client, links))
    return time.perf_counter() - began


# ---------------------------------------------------------------- the store alone


class Recorded:
    """A connection that writes down what changes something, in the groups in which it was committed."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self.real, self.group, self.groups = real, [], []  # type: ignore[var-annotated]

    def execute(self, text: str, values: Any = ()) -> sqlite3.Cursor:
        if text == "COMMIT":
            self.groups.append(self.group)
            self.group = []
        elif text.startswith(("INSERT", "UPDATE", "DELETE")):
            self.group.append((text, [values]))
        return self.real.execute(text, values)

    def executemany(self, text: str, values: Any) -> sqlite3.Cursor:
        self.group.append((text, list(values)))
        return self.real.executemany(text, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def _store() -> Row:
    ours, bare = [], []
    for turn in range(4):
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            took, groups = asyncio.run(_stored(Path(first)))
            again = _bare(Path(second), groups)
            if turn:
                ours.append(took * 1000)
                bare.append(again * 1000)
    return Row(f"store: {WRITES} handoffs with their log, to a bare loop", statistics.median(ours), statistics.median(bare), 1 / 0.7, 3)


async def _stored(folder: Path) -> tuple[float, list[Any]]:
    store = open_store(folder, SystemClock())
    mine = add_org(store, folder, 1)
    rows = [a_handoff(mine, an_id("req", 1000 + n)) for n in range(WRITES)]
    writer = store._writer = Recorded(store._writer)  # type: ignore[assignment]
    began = time.perf_counter()
    await asyncio.gather(*(store.write(lambda tx, row=row: tx.org(mine.org_id).add_handoff(row)) for row in rows))
    took = time.perf_counter() - began
    store.close()
    return took, writer.groups


def _bare(folder: Path, groups: list[Any]) -> float:
    """The same rows, prepared beforehand, by sqlite3 alone."""
    store = Store.open(folder / "ony.db", SystemClock())
    add_org(_with_log(store, folder), folder, 1)
    store.close()
    db = store_module._connect(folder / "ony.db")
    for table in ("audit", "audit_node", "checkpoint"):  # what the recorded rows go on from
        db.execute(f"DROP TRIGGER IF EXISTS {table}_no_delete")
        db.execute(f"DELETE FROM {table}")
    began = time.perf_counter()
    for group in groups:
        db.execute("BEGIN IMMEDIATE")
        for text, values in group:
            db.executemany(text, values)
        db.execute("COMMIT")
    took = time.perf_counter() - began
    db.close()
    return took


def _with_log(store: Store, folder: Path) -> Store:
    class Silent:
        def append(self, *_: Any) -> int:
            return 1

        def checkpoint(self, *_: Any) -> None:
            return None

    store.attach(Silent())
    return store


# ---------------------------------------------------------------- a decision is heard


def _heard() -> Iterator[Row]:
    """From a person's key (the desk hears it) to the waiting connector's verdict and its signed claim, with a hundred calls on hold."""
    with tempfile.TemporaryDirectory() as folder:
        hall = Hall(Path(folder))
        try:
            took = asyncio.run(_decided(hall))
        finally:
            hall.close()
    yield Row(f"desk: key to claimed verdict, {RINGING} on hold, p50", statistics.median(took), 15, 1, RINGING)
    yield Row(f"desk: key to claimed verdict, {RINGING} on hold, p99", sorted(took)[int(0.99 * RINGING) - 1], 60, 1, RINGING)


async def _decided(hall: Hall) -> list[float]:
    people = [Person(hall, hall.org_id, f"p{n}@example.com") for n in range(RINGING)]
    held = []
    for n, person in enumerate(people):
        asked = hall.request(COMMIT, session=f"sess_{n:032x}")
        await hall.desk.open(person.connector, asked.body)
        held.append((person, asked))
    await hall.settle()

    async def waits(person: Any, asked: Any) -> float:
        row = await waited(hall.desk, person.connector, asked.request_id, 30)
        kept = hall.store.read(lambda tx: tx.org(hall.org_id).verdict(row.id))
        await hall.desk.claim(person.connector, row.id, "ab" * 32, kept.payload_digest)
        return time.perf_counter()

    ends = [asyncio.ensure_future(waits(*one)) for one in held]
    await asyncio.sleep(0)
    began = []
    for person, asked in held:  # one key every five milliseconds: a hundred people within half a second
        began.append(time.perf_counter())
        key = {"device_id": person.device_id, "decision": "approve", "code": None, "channel": "voice"}
        pressed = hall.desk.decide(hall.org_id, asked.request_id, **key)  # type: ignore[arg-type]
        ends.append(asyncio.ensure_future(pressed))  # type: ignore[arg-type]
        await asyncio.sleep(0.005)
    done = await asyncio.gather(*ends)
    return [(end - start) * 1000 for end, start in zip(done[:RINGING], began, strict=True)]
