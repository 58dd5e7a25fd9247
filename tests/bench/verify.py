"""How close the verifier comes to the least any keyed log must cost: one HMAC over every row."""

import hmac
import tempfile
from pathlib import Path

from ony_core import auditlog
from ony_core.verify import verify
from tests.audit.world import ORG, World
from tests.bench.row import Row, interleaved

RUNS = 15
COMMITS, ROWS = 100, 50
BOUND = 1.6  # 350,000 rows a second where one HMAC a row alone manages 550,000


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="ony-bench-") as folder:
        world = World(Path(folder)).grown(*[ROWS] * COMMITS)
        bodies = [body for (body,) in world.db.execute("SELECT body FROM audit ORDER BY seq")]
        key, head = world.key, world.head(world.size)
        world.db.close()

        def verified() -> None:
            with auditlog.database(world.folder) as db:
                report = verify(auditlog.log_of(db, ORG), key, [head])
            if (report.result, report.rows) != ("OK", COMMITS * ROWS):
                raise AssertionError(report.to_json())

        def bare() -> None:
            previous = bytes(32)
            for seq, body in enumerate(bodies, 1):
                previous = hmac.digest(key, previous + seq.to_bytes(8, "big") + body, "sha256")

        took = interleaved(RUNS, verified=verified, bare=bare)
    rows_s = COMMITS * ROWS / took["verified"] * 1000
    return [Row(f"audit verify ({rows_s:,.0f} rows/s) / one HMAC a row", took["verified"], took["bare"], BOUND, RUNS)]
