"""What facts mean: tables (TOML, one file per family) and the pure engine that reads them."""

from ony_core.taxonomy.engine import assess

__all__ = ["assess"]
