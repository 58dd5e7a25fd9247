-- Ony's one schema. Only ony_core/store speaks SQL. Every row that belongs to an organisation carries org_id and is reached through store.org(org_id).
-- Times: *_at = UTC seconds since 1970 (INTEGER). Secrets are sealed (AES-256-GCM under master.key, which is not in this file) or stored as SHA-256.
-- PRAGMA user_version = 1; a newer number than the program knows is refused. STRICT tables need SQLite >= 3.37.

CREATE TABLE meta (                       -- one row per name: server_id (random, 128 bits), created_at, schema notes
  name TEXT PRIMARY KEY, value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE server_key (                 -- one key per purpose: verdict (Ed25519), audit (Ed25519). The newest active one signs, all listed ones verify.
  id TEXT PRIMARY KEY, purpose TEXT NOT NULL CHECK (purpose IN ('verdict', 'audit')),
  public BLOB NOT NULL, private_sealed BLOB NOT NULL, state TEXT NOT NULL CHECK (state IN ('active', 'retiring', 'retired')),
  created_at INTEGER NOT NULL, statement TEXT                                -- rotation: payload signed by the old and the new key
) STRICT, WITHOUT ROWID;

CREATE TABLE org (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at INTEGER NOT NULL, frozen_at INTEGER, policy_version INTEGER NOT NULL DEFAULT 1,
  policy TEXT NOT NULL DEFAULT '{}',                                         -- JSON: overrides of [policy] and [payload]; floors are in code
  restored TEXT NOT NULL DEFAULT ''                                          -- JSON {"at","user_id"}: a declared restore of a backup
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- people
CREATE TABLE user (                       -- erasable side table of names: audit rows know only usr_ ids
  id TEXT PRIMARY KEY, org_id TEXT NOT NULL REFERENCES org(id), email TEXT NOT NULL, name TEXT NOT NULL DEFAULT '',
  role TEXT NOT NULL CHECK (role IN ('admin', 'member', 'viewer')), timezone TEXT NOT NULL DEFAULT 'UTC', language TEXT NOT NULL DEFAULT 'en',
  password TEXT, state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')), created_at INTEGER NOT NULL,
  UNIQUE (org_id, email)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_by_email ON user (email);

CREATE TABLE totp (                       -- two secrets a user: login and approval are never the same factor
  user_id TEXT NOT NULL REFERENCES user(id), org_id TEXT NOT NULL, purpose TEXT NOT NULL
  CHECK (purpose IN ('login', 'login_new', 'approval')),                     -- login_new: shown, and not yet proven by a first code
  secret_sealed BLOB NOT NULL, last_step INTEGER NOT NULL DEFAULT 0, confirmed_at INTEGER, PRIMARY KEY (user_id, purpose)
) STRICT, WITHOUT ROWID;

CREATE TABLE code_failure (               -- wrong codes, counted per user and channel: five in a row close that channel for 15 minutes
  user_id TEXT NOT NULL REFERENCES user(id), org_id TEXT NOT NULL, channel TEXT NOT NULL, in_a_row INTEGER NOT NULL DEFAULT 0, closed_until INTEGER,
  PRIMARY KEY (user_id, channel)
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery_code (
  user_id TEXT NOT NULL REFERENCES user(id), org_id TEXT NOT NULL, digest BLOB NOT NULL, used_at INTEGER, PRIMARY KEY (user_id, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE web_session (                -- level half: the password held, the second factor is still missing. created_at: of the login, over all rotations
  token_digest BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, org_id TEXT NOT NULL, user_id TEXT NOT NULL REFERENCES user(id),
  level TEXT NOT NULL CHECK (level IN ('half', 'full')), created_at INTEGER NOT NULL, seen_at INTEGER NOT NULL, confirmed_at INTEGER NOT NULL,
  agent TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX session_by_user ON web_session (org_id, user_id);

CREATE TABLE invitation (                 -- to a new person, or (reset = 1) to one who lost password or second factor
  digest BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, org_id TEXT NOT NULL REFERENCES org(id), email TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('admin', 'member', 'viewer')), reset INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL, used_at INTEGER
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- devices and connectors
CREATE TABLE device (                     -- what a person decides with; decision_key never leaves the server, connectors get an HKDF of it
  id TEXT PRIMARY KEY, org_id TEXT NOT NULL REFERENCES org(id), user_id TEXT NOT NULL REFERENCES user(id),
  kind TEXT NOT NULL CHECK (kind IN ('voice', 'sms', 'telegram', 'slack', 'browser')), label TEXT NOT NULL,
  address_sealed BLOB NOT NULL,                                              -- phone number or chat id
  decision_key_sealed BLOB NOT NULL, public_key BLOB,                        -- browser phones sign themselves
  state TEXT NOT NULL CHECK (state IN ('unverified', 'active', 'revoked')), active_from INTEGER NOT NULL, created_at INTEGER NOT NULL, seen_at INTEGER,
  endorsed_by TEXT, endorsed_at INTEGER                                      -- the device whose owner's code let it join: ony_core/endorse.py
) STRICT, WITHOUT ROWID;
CREATE INDEX device_by_user ON device (org_id, user_id);

CREATE TABLE connector (
  id TEXT PRIMARY KEY, org_id TEXT NOT NULL REFERENCES org(id), user_id TEXT NOT NULL REFERENCES user(id), name TEXT NOT NULL,
  token_digest BLOB NOT NULL UNIQUE, state TEXT NOT NULL CHECK (state IN ('active', 'revoked')), created_at INTEGER NOT NULL, seen_at INTEGER,
  version TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE enroll_code (
  digest BLOB PRIMARY KEY, org_id TEXT NOT NULL REFERENCES org(id), user_id TEXT NOT NULL REFERENCES user(id), expires_at INTEGER NOT NULL, used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE session_mode (               -- missing or expired = on
  org_id TEXT NOT NULL, connector_id TEXT NOT NULL REFERENCES connector(id), session TEXT NOT NULL,       -- '' = the connector's default
  mode TEXT NOT NULL CHECK (mode IN ('on', 'away', 'here', 'off')), until INTEGER NOT NULL, eased_until INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (connector_id, session)
) STRICT, WITHOUT ROWID;

CREATE TABLE pause (                      -- a paused session is denied without a call
  org_id TEXT NOT NULL, connector_id TEXT NOT NULL REFERENCES connector(id), session TEXT NOT NULL, until INTEGER NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (connector_id, session)
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- handoffs
CREATE TABLE handoff (                    -- states and steps: ony_core/states.py; `version` makes every step a compare-and-set
  id TEXT PRIMARY KEY, org_id TEXT NOT NULL REFERENCES org(id), connector_id TEXT NOT NULL REFERENCES connector(id),
  session TEXT NOT NULL, agent TEXT NOT NULL, tool TEXT NOT NULL, mode TEXT NOT NULL, project TEXT NOT NULL,
  facts TEXT NOT NULL, facts_digest TEXT NOT NULL, request_digest TEXT NOT NULL, body_digest TEXT NOT NULL,
  action TEXT NOT NULL, actions TEXT NOT NULL, risk TEXT NOT NULL, title TEXT NOT NULL, titles TEXT NOT NULL, word TEXT NOT NULL,
  state TEXT NOT NULL, version INTEGER NOT NULL DEFAULT 1, reason TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL, deadline_at INTEGER NOT NULL, decided_at INTEGER, decided_by TEXT, first_device_id TEXT,
  head_size INTEGER NOT NULL DEFAULT 0, head_root BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX handoff_by_time ON handoff (org_id, created_at);
CREATE INDEX handoff_by_session ON handoff (connector_id, session, created_at);
CREATE INDEX handoff_waiting ON handoff (state, deadline_at) WHERE state IN ('pending', 'ringing', 'approved');

CREATE TABLE verdict (                    -- at most one a handoff; `used` is decided here
  request_id TEXT PRIMARY KEY REFERENCES handoff(id), org_id TEXT NOT NULL, device_id TEXT NOT NULL, decision TEXT NOT NULL,
  payload TEXT NOT NULL, signature TEXT NOT NULL, server_signature TEXT NOT NULL, payload_digest TEXT NOT NULL, audit_seq INTEGER NOT NULL,
  issued_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, claimed_at INTEGER, claim_nonce TEXT, claim TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE call (                       -- one leg to one device: the nonce names its webhooks, sid is pinned by the first signed one
  nonce_digest BLOB PRIMARY KEY, org_id TEXT NOT NULL, request_id TEXT NOT NULL REFERENCES handoff(id), device_id TEXT NOT NULL REFERENCES device(id),
  sid TEXT, provider TEXT NOT NULL, step TEXT NOT NULL,   -- created, gate, choice, code, done
  tries INTEGER NOT NULL DEFAULT 0, prompts INTEGER NOT NULL DEFAULT 0, served_at_ms INTEGER NOT NULL DEFAULT 0,
  choice TEXT NOT NULL DEFAULT '', status TEXT NOT NULL DEFAULT '', status_seq INTEGER NOT NULL DEFAULT -1, created_at INTEGER NOT NULL, ended_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX call_by_time ON call (org_id, created_at);
CREATE INDEX call_by_request ON call (org_id, request_id);

CREATE TABLE chat_message (               -- what was sent elsewhere about a handoff, so that it can be edited to the outcome
  org_id TEXT NOT NULL, request_id TEXT NOT NULL REFERENCES handoff(id), device_id TEXT NOT NULL REFERENCES device(id), channel TEXT NOT NULL,
  reference TEXT NOT NULL, nonce_digest BLOB NOT NULL UNIQUE, sent_at INTEGER NOT NULL, PRIMARY KEY (request_id, device_id, channel)
) STRICT, WITHOUT ROWID;

CREATE TABLE payload (                    -- only where organisation and connector both switched it on
  request_id TEXT PRIMARY KEY REFERENCES handoff(id), org_id TEXT NOT NULL, sealed BLOB NOT NULL, created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE ladder_step (                -- who is reached, how, and for how long, before the next step
  org_id TEXT NOT NULL REFERENCES org(id), position INTEGER NOT NULL, user_id TEXT REFERENCES user(id), channel TEXT NOT NULL, wait_s INTEGER NOT NULL,
  PRIMARY KEY (org_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE overlay (                    -- an organisation's own rules; never lowers critical, ony.* or opaque
  id TEXT PRIMARY KEY, org_id TEXT NOT NULL REFERENCES org(id), project TEXT NOT NULL DEFAULT '',
  rule TEXT NOT NULL,                     -- JSON: {"match","recipe"}, as taxonomy/overlay.py reads it
  risk TEXT NOT NULL, created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pass_count (                 -- harmless calls, counted by the hour and family, reported by connectors
  org_id TEXT NOT NULL, connector_id TEXT NOT NULL REFERENCES connector(id), session TEXT NOT NULL, hour INTEGER NOT NULL, family TEXT NOT NULL,
  passes INTEGER NOT NULL, PRIMARY KEY (connector_id, session, hour, family)
) STRICT, WITHOUT ROWID;

-- ---------------------------------------------------------------- the log (docs/audit-format.md)
CREATE TABLE audit (                      -- body: exact canonical JSON bytes as MACed; mac: HMAC-SHA256 over the previous mac, seq and body
  org_id TEXT NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL, mac BLOB NOT NULL CHECK (length(mac) = 32), PRIMARY KEY (org_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (                 -- note: C2SP tlog-checkpoint text, written in the transaction of the rows it covers
  org_id TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL CHECK (length(root) = 32), note TEXT NOT NULL, PRIMARY KEY (org_id, size)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_node (                 -- RFC 6962 hashes of complete subtrees of 2^level leaves, so that a proof costs O(log n)
  org_id TEXT NOT NULL, level INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (org_id, level, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE head (                       -- the newest head each connector has shown: a witness that survives on this side too
  org_id TEXT NOT NULL, connector_id TEXT NOT NULL REFERENCES connector(id), size INTEGER NOT NULL, root BLOB NOT NULL, seen_at INTEGER NOT NULL,
  PRIMARY KEY (connector_id)
) STRICT, WITHOUT ROWID;

-- These stop our own mistakes, not an intruder: he can drop them. What he cannot do unseen is change a row.
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows never change'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are never deleted'); END;
CREATE TRIGGER checkpoint_no_update BEFORE UPDATE ON checkpoint BEGIN SELECT RAISE(ABORT, 'checkpoints never change'); END;
CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint BEGIN SELECT RAISE(ABORT, 'checkpoints are never deleted'); END;
