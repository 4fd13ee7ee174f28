-- Saved content: searches, functions, texts of alert rules. Each is one cell under the key of its workspace, kept here or, if the workspace
-- has linked a storage account for its kind, as an object there; then this is what tells which object is the one that counts.

CREATE TABLE storage_accounts (
  id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name           TEXT NOT NULL COLLATE NOCASE,
  subscription   TEXT NOT NULL COLLATE NOCASE,
  resource_group TEXT NOT NULL COLLATE NOCASE,
  region         TEXT NOT NULL,
  kind           TEXT NOT NULL,
  sku            TEXT NOT NULL,
  tags           TEXT NOT NULL,                   -- a JSON object
  url            TEXT,                            -- NULL: a directory of this server's own
  holder         BLOB REFERENCES clusters (id),   -- whose key: a cluster's, or that of a row there which is the account's alone
  own            INTEGER NOT NULL CHECK (own IN (0, 1)),
  created_ms     INTEGER NOT NULL,
  changed_ms     INTEGER NOT NULL,
  CHECK (own = 0 OR holder IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX storage_accounts_name ON storage_accounts (name, subscription, resource_group);
CREATE UNIQUE INDEX storage_accounts_url ON storage_accounts (url) WHERE url IS NOT NULL;
CREATE INDEX storage_accounts_holder ON storage_accounts (holder) WHERE holder IS NOT NULL;

-- A row of clusters that is no cluster: what watches a key of a storage account's own.
ALTER TABLE clusters ADD COLUMN storage INTEGER NOT NULL DEFAULT 0 CHECK (storage IN (0, 1));

-- Where a workspace's content of one kind of source goes.
CREATE TABLE storage_links (
  workspace BLOB NOT NULL REFERENCES workspaces (id),
  source    TEXT NOT NULL,
  storage   BLOB NOT NULL REFERENCES storage_accounts (id),
  at_ms     INTEGER NOT NULL,
  PRIMARY KEY (workspace, source)
) STRICT, WITHOUT ROWID;
CREATE INDEX storage_links_storage ON storage_links (storage);

-- rev names the cell that counts; a changed entry has another. format 0: as stored functions were before there were kinds.
CREATE TABLE contents (
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  workspace  BLOB NOT NULL REFERENCES workspaces (id),
  kind       TEXT NOT NULL,
  rev        BLOB NOT NULL CHECK (length(rev) = 16),
  format     INTEGER NOT NULL CHECK (format >= 0),
  aek        BLOB NOT NULL CHECK (length(aek) = 16),
  storage    BLOB REFERENCES storage_accounts (id),
  cell       BLOB,
  sealed_len INTEGER NOT NULL CHECK (sealed_len > 0),
  changed_ms INTEGER NOT NULL,
  CHECK ((storage IS NULL) = (cell IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX contents_rev ON contents (rev);
CREATE INDEX contents_workspace ON contents (workspace, kind);
CREATE INDEX contents_aek ON contents (aek);
CREATE INDEX contents_storage ON contents (storage) WHERE storage IS NOT NULL;
INSERT INTO contents (id, workspace, kind, rev, format, aek, storage, cell, sealed_len, changed_ms)
  SELECT id, workspace, 'Query', id, 0, aek, NULL, cell, length(cell), changed_ms FROM functions;
DROP TABLE functions;

-- Objects in storage accounts that nothing counts: being written, or to be deleted.
CREATE TABLE content_objects (
  rev       BLOB NOT NULL PRIMARY KEY CHECK (length(rev) = 16),
  storage   BLOB NOT NULL REFERENCES storage_accounts (id),
  workspace BLOB NOT NULL CHECK (length(workspace) = 16),
  kind      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER storage_takes_its_rights_along AFTER DELETE ON storage_accounts
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || OLD.subscription || '/resourceGroups/' || OLD.resource_group || '/providers/Microsoft.Storage/storageAccounts/' || OLD.name || '/')) = 1;
END;
