"""The only SQL of the server. `Store` runs work in transactions; `Tx.org(org_id)` is the only door to an organisation's rows."""

from ony_core.store.store import Store, StoreUnavailable, Tx

__all__ = ["Store", "StoreUnavailable", "Tx"]
