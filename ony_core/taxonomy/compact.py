"""Writes the compact copy of the tables beside them: `python -m ony_core.taxonomy.compact`. What it is for, and bound to: `reading`."""

import os
import sys
from pathlib import Path

from ony_core.taxonomy import reading, tables


def main() -> int:
    """What `build` refuses is not copied: nothing checks the meaning of a copy when it is read."""
    found = list(reading.sources())
    tables.build(reading.parsed(found))
    made = reading.copy_of(found)
    target = Path(__file__).with_name(reading.COPY)
    fresh = target.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(made)
    fresh.replace(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
