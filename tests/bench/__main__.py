"""`make bench`: what Ony costs, each as a ratio to a yardstick measured on the same machine in the same minute.

Runs are interleaved, so that a busy moment hits both sides; medians are compared. Prints a table and writes build/bench.json. The bounds
are reported, not enforced: a number that depends on the machine is no test.
"""

import json
import sys
from pathlib import Path

from tests.bench import daemon, hook, judge, server, verify

OUT = Path(__file__).resolve().parent.parent.parent / "build" / "bench.json"


def main() -> int:
    rows = [row for bench in (hook, daemon, judge, verify, server) for row in bench.measure()]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([row.__dict__ for row in rows], indent=1) + "\n")
    print(f"{'what':52} {'measured':>12} {'yardstick':>12} {'ratio':>7} {'bound':>7}")
    for row in rows:
        mark = "" if row.holds else "  over"
        print(f"{row.what:52} {row.measured_ms:9.2f} ms {row.yardstick_ms:9.2f} ms {row.ratio:7.2f} {row.bound:7.2f}{mark}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
