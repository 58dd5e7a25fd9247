"""Every place where a sealed secret lies, so that all of them can be sealed anew under another master key in one transaction."""

import sqlite3
from collections.abc import Callable

# table, key column, sealed column, SQL of the purpose, SQL of the organisation: the names under which server/keyring.py sealed them
PLACES = (
    ("server_key", "id", "private_sealed", "'server_key'", "''"),
    ("totp", "user_id", "secret_sealed", "'totp.' || purpose", "org_id"),
    ("device", "id", "address_sealed", "'device.address'", "org_id"),
    ("device", "id", "decision_key_sealed", "'device.decision_key'", "org_id"),
    ("payload", "request_id", "sealed", "'payload'", "org_id"),
)
Reseal = Callable[[bytes, str, str, str], bytes]  # sealed, purpose, org_id, row id -> sealed anew


def reseal(db: sqlite3.Connection, change: Reseal) -> int:
    """How many values were sealed anew. What `change` raises is raised; the caller's transaction undoes the rest."""
    many = 0
    for table, key, column, purpose, org in PLACES:
        for row_id, value, what, org_id in db.execute(f"SELECT {key}, {column}, {purpose}, {org} FROM {table}").fetchall():
            fresh = change(bytes(value), str(what), str(org_id), str(row_id))
            done = db.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ? AND {column} = ?", (fresh, row_id, value))
            many += done.rowcount  # a sealed value is unique: it begins with its nonce
    return many
