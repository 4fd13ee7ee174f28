-- Dedicated clusters, what links to them, and the operations that change them.

-- A deleted cluster keeps its row: its name stays reserved and its keys stay known for a while.
CREATE TABLE clusters (
  id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name           TEXT NOT NULL COLLATE NOCASE,
  subscription   TEXT NOT NULL COLLATE NOCASE,
  resource_group TEXT NOT NULL COLLATE NOCASE,
  region         TEXT NOT NULL,
  account        BLOB REFERENCES accounts (id),  -- NULL until it is opened
  state          TEXT NOT NULL CHECK (state IN ('Creating', 'ProvisioningAccount', 'Updating', 'Deleting', 'Succeeded', 'Failed', 'Canceled')),
  identity_type  TEXT NOT NULL CHECK (identity_type IN ('None', 'SystemAssigned', 'UserAssigned')),
  principal      TEXT,
  tenant         TEXT,
  public_key     TEXT,
  identity_cell  BLOB,                           -- the identity's private key, sealed
  sku_name       TEXT NOT NULL,
  sku_capacity   INTEGER NOT NULL,
  billing        TEXT NOT NULL CHECK (billing IN ('Cluster', 'Workspaces')),
  double_sealed  INTEGER NOT NULL CHECK (double_sealed IN (0, 1)),
  tags           TEXT NOT NULL,                  -- a JSON object
  vault_uri      TEXT,
  key_name       TEXT,
  key_version    TEXT,                           -- NULL: always the newest
  key_bits       INTEGER CHECK (key_bits > 0),
  created_ms     INTEGER NOT NULL,
  modified_ms    INTEGER NOT NULL,
  deleted_ms     INTEGER,
  CHECK ((principal IS NULL) = (tenant IS NULL)),
  CHECK ((principal IS NULL) = (public_key IS NULL)),
  CHECK ((principal IS NULL) = (identity_cell IS NULL)),
  CHECK ((vault_uri IS NULL) = (key_name IS NULL)),
  CHECK (vault_uri IS NOT NULL OR (key_version IS NULL AND key_bits IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX clusters_name ON clusters (name, subscription, resource_group) WHERE deleted_ms IS NULL;
CREATE UNIQUE INDEX clusters_account ON clusters (account) WHERE account IS NOT NULL;

ALTER TABLE workspaces ADD COLUMN cluster BLOB REFERENCES clusters (id);
ALTER TABLE workspaces ADD COLUMN linked_ms INTEGER CHECK ((cluster IS NULL) = (linked_ms IS NULL));
CREATE INDEX workspaces_cluster ON workspaces (cluster) WHERE cluster IS NOT NULL;

-- At most one runs on a resource.
CREATE TABLE operations (
  id       BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  resource TEXT NOT NULL COLLATE NOCASE,         -- the path of what it changes
  region   TEXT NOT NULL,
  kind     TEXT NOT NULL,
  input    TEXT NOT NULL,                        -- a JSON document: what it needs to go on after a restart
  status   TEXT NOT NULL CHECK (status IN ('InProgress', 'Succeeded', 'Failed')),
  start_ms INTEGER NOT NULL,
  end_ms   INTEGER,
  code     TEXT,
  message  TEXT,
  details  TEXT,                                 -- a JSON list
  CHECK ((status = 'InProgress') = (end_ms IS NULL)),
  CHECK ((status = 'Failed') = (code IS NOT NULL)),
  CHECK ((code IS NULL) = (message IS NULL)),
  CHECK ((code IS NULL) = (details IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX operations_running ON operations (resource) WHERE status = 'InProgress';
CREATE INDEX operations_ended ON operations (end_ms) WHERE end_ms IS NOT NULL;

-- Reference objects: what is known of a customer's key vault without asking it.
CREATE TABLE vault_refs (
  name           TEXT NOT NULL COLLATE NOCASE,
  subscription   TEXT NOT NULL COLLATE NOCASE,
  resource_group TEXT NOT NULL COLLATE NOCASE,
  uri            TEXT NOT NULL COLLATE NOCASE,
  region         TEXT NOT NULL,
  tenant         TEXT NOT NULL,
  private_link   INTEGER NOT NULL CHECK (private_link IN (0, 1)),
  ca_pem         TEXT,
  created_ms     INTEGER NOT NULL,
  PRIMARY KEY (name, subscription, resource_group)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX vault_refs_uri ON vault_refs (uri);

CREATE TABLE key_states (
  cluster      BLOB NOT NULL PRIMARY KEY REFERENCES clusters (id),
  state        TEXT NOT NULL,
  since_ms     INTEGER NOT NULL,
  code         TEXT,
  last_good_ms INTEGER
) STRICT, WITHOUT ROWID;

-- An account's infrastructure key, sealed under the provider's root.
CREATE TABLE infrastructure (
  account BLOB NOT NULL PRIMARY KEY REFERENCES accounts (id),
  cell    BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Live blocks by epoch and workspace, kept by the two triggers: whose data hangs on which key, without a scan.
CREATE TABLE holdings (
  account   BLOB NOT NULL,
  aek       BLOB NOT NULL,
  workspace BLOB NOT NULL,
  blocks    INTEGER NOT NULL CHECK (blocks >= 0),
  rows      INTEGER NOT NULL CHECK (rows >= 0),
  bytes     INTEGER NOT NULL CHECK (bytes >= 0),
  PRIMARY KEY (account, aek, workspace)
) STRICT, WITHOUT ROWID;
CREATE INDEX holdings_workspace ON holdings (workspace);
INSERT INTO holdings (account, aek, workspace, blocks, rows, bytes)
  SELECT account, aek, workspace, count(*), sum(rows), sum(sealed_len) FROM blocks WHERE state = 1 GROUP BY account, aek, workspace;

CREATE TRIGGER block_is_held AFTER UPDATE OF state ON blocks
WHEN NEW.state = 1 AND OLD.state <> 1
BEGIN
  INSERT INTO holdings (account, aek, workspace, blocks, rows, bytes)
  VALUES (NEW.account, NEW.aek, NEW.workspace, 1, NEW.rows, NEW.sealed_len)
  ON CONFLICT (account, aek, workspace) DO UPDATE
    SET blocks = blocks + 1, rows = rows + excluded.rows, bytes = bytes + excluded.bytes;
END;

CREATE TRIGGER block_is_let_go AFTER UPDATE OF state ON blocks
WHEN OLD.state = 1 AND NEW.state <> 1
BEGIN
  UPDATE holdings SET blocks = blocks - 1, rows = rows - OLD.rows, bytes = bytes - OLD.sealed_len
  WHERE account = OLD.account AND aek = OLD.aek AND workspace = OLD.workspace;
  DELETE FROM holdings WHERE blocks = 0 AND account = OLD.account AND aek = OLD.aek AND workspace = OLD.workspace;
END;
