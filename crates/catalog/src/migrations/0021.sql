-- Alerts: who is called (one cell under the provider's root key each, since addresses hold secrets), rules that ask a question on
-- schedule, and what fired. A rule's texts and what it remembers of rows are cells under its workspace's key and lie elsewhere; in
-- clear is what the schedule goes by.
CREATE TABLE action_groups (
  id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name           TEXT NOT NULL COLLATE NOCASE,
  subscription   TEXT NOT NULL COLLATE NOCASE,
  resource_group TEXT NOT NULL COLLATE NOCASE,
  region         TEXT NOT NULL,
  tags           TEXT NOT NULL,
  cell_id        BLOB NOT NULL CHECK (length(cell_id) = 16),
  cell           BLOB NOT NULL,
  created_ms     INTEGER NOT NULL,
  changed_ms     INTEGER NOT NULL,
  UNIQUE (name, subscription, resource_group)
) STRICT, WITHOUT ROWID;
CREATE TABLE alert_rules (
  id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name           TEXT NOT NULL COLLATE NOCASE,
  subscription   TEXT NOT NULL COLLATE NOCASE,
  resource_group TEXT NOT NULL COLLATE NOCASE,
  region         TEXT NOT NULL,
  tags           TEXT NOT NULL,
  workspace      BLOB NOT NULL REFERENCES workspaces (id),
  principal      BLOB NOT NULL CHECK (length(principal) = 16), -- who wrote it last: it asks as them
  enabled        INTEGER NOT NULL,
  severity       INTEGER NOT NULL,
  frequency_ms   INTEGER NOT NULL CHECK (frequency_ms > 0),
  memory         BLOB NOT NULL CHECK (length(memory) = 16),    -- the entry of content that it remembers rows in
  etag           BLOB NOT NULL CHECK (length(etag) = 16),      -- changes with each writing
  next_ms        INTEGER NOT NULL,                             -- when it is due
  calls_ms       INTEGER,                                      -- when a call of its is due again
  outcome        TEXT NOT NULL,                                -- '', 'ok' or a code
  outcome_ms     INTEGER NOT NULL,
  failures       INTEGER NOT NULL,                             -- in a row
  suspended_ms   INTEGER,                                      -- since when its key is away
  created_ms     INTEGER NOT NULL,
  changed_ms     INTEGER NOT NULL,
  UNIQUE (name, subscription, resource_group)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_rules_workspace ON alert_rules (workspace);
CREATE INDEX alert_rules_next ON alert_rules (next_ms) WHERE enabled = 1;
CREATE INDEX alert_rules_calls ON alert_rules (calls_ms) WHERE calls_ms IS NOT NULL;
CREATE TABLE alerts (
  id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  rule        BLOB NOT NULL REFERENCES alert_rules (id) ON DELETE CASCADE,
  severity    INTEGER NOT NULL,
  fired_ms    INTEGER NOT NULL,
  resolved_ms INTEGER,
  delivery    TEXT NOT NULL,    -- none, muted, pending, delivered, failed
  tries       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX alerts_rule ON alerts (rule, fired_ms);
-- Workbooks, query packs and the queries in them: what they say is a cell under the provider's root key each. A workbook that was
-- asked into the customer's own storage has none; its workspace's saved content has an entry of its id.
CREATE TABLE documents (
  id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  kind           TEXT NOT NULL,
  parent         BLOB NOT NULL CHECK (length(parent) = 16),  -- the pack of a query; zeros: it is in none
  name           TEXT NOT NULL COLLATE NOCASE,
  subscription   TEXT NOT NULL COLLATE NOCASE,
  resource_group TEXT NOT NULL COLLATE NOCASE,
  region         TEXT NOT NULL,
  tags           TEXT NOT NULL,
  workspace      BLOB REFERENCES workspaces (id),
  cell_id        BLOB NOT NULL CHECK (length(cell_id) = 16),
  cell           BLOB,
  created_ms     INTEGER NOT NULL,
  changed_ms     INTEGER NOT NULL,
  CHECK ((workspace IS NULL) = (cell IS NOT NULL)),
  UNIQUE (kind, parent, name, subscription, resource_group)
) STRICT, WITHOUT ROWID;
