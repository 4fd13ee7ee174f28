-- Data collection endpoints, and rules by which rows that come there find their tables. What a rule says of columns is in its cell,
-- under the key of the workspace that its rows go to; in clear is which streams it has and which tables they go to.
CREATE TABLE collection_endpoints (
  id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name           TEXT NOT NULL COLLATE NOCASE,
  subscription   TEXT NOT NULL COLLATE NOCASE,
  resource_group TEXT NOT NULL COLLATE NOCASE,
  region         TEXT NOT NULL,
  kind           TEXT,
  tags           TEXT NOT NULL,
  properties     TEXT NOT NULL,
  created_ms     INTEGER NOT NULL,
  changed_ms     INTEGER NOT NULL,
  UNIQUE (name, subscription, resource_group)
) STRICT, WITHOUT ROWID;
CREATE TABLE collection_rules (
  id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name           TEXT NOT NULL COLLATE NOCASE,
  subscription   TEXT NOT NULL COLLATE NOCASE,
  resource_group TEXT NOT NULL COLLATE NOCASE,
  region         TEXT NOT NULL,
  kind           TEXT,
  tags           TEXT NOT NULL,
  workspace      BLOB NOT NULL REFERENCES workspaces (id),
  streams        TEXT NOT NULL,
  aek            BLOB NOT NULL CHECK (length(aek) = 16),
  cell_id        BLOB NOT NULL CHECK (length(cell_id) = 16),
  cell           BLOB NOT NULL,
  created_ms     INTEGER NOT NULL,
  changed_ms     INTEGER NOT NULL,
  UNIQUE (name, subscription, resource_group)
) STRICT, WITHOUT ROWID;
CREATE INDEX collection_rules_workspace ON collection_rules (workspace);
CREATE INDEX collection_rules_aek ON collection_rules (aek);
