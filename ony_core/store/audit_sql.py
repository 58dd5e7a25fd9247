"""The SQL of the audit log: the only text that reads or writes its tables. Used inside the store's transactions and by the offline
verifier.
"""

LAST_ROW = "SELECT seq, mac FROM audit WHERE org_id = ? ORDER BY seq DESC LIMIT 1"
ROW = "SELECT body, mac FROM audit WHERE org_id = ? AND seq = ?"
ADD_ROW = "INSERT INTO audit (org_id, seq, body, mac) VALUES (?, ?, ?, ?)"
ROWS = "SELECT seq, body, mac FROM audit WHERE org_id = ? ORDER BY seq"
ROWS_FROM = "SELECT seq, body, mac FROM audit WHERE org_id = ? AND seq >= ? ORDER BY seq"

NODE = "SELECT hash FROM audit_node WHERE org_id = ? AND level = ? AND position = ?"
ADD_NODE = "INSERT INTO audit_node (org_id, level, position, hash) VALUES (?, ?, ?, ?)"

LAST_CHECKPOINT = "SELECT size, root, note FROM checkpoint WHERE org_id = ? ORDER BY size DESC LIMIT 1"
CHECKPOINT = "SELECT root, note FROM checkpoint WHERE org_id = ? AND size = ?"
ADD_CHECKPOINT = "INSERT INTO checkpoint (org_id, size, root, note) VALUES (?, ?, ?, ?)"
CHECKPOINTS = "SELECT size, root, note FROM checkpoint WHERE org_id = ? ORDER BY size"

SERVER_ID = "SELECT value FROM meta WHERE name = 'server_id'"
ORGS = "SELECT id FROM org UNION SELECT org_id FROM audit UNION SELECT org_id FROM checkpoint ORDER BY 1"
HEADS = "SELECT connector_id, size, root FROM head WHERE org_id = ? ORDER BY size"
