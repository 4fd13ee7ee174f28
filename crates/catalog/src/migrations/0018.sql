-- A workspace's two shared keys, with which agents sign what they send: one cell under the provider's root key holds both.
CREATE TABLE shared_keys (
  workspace  BLOB NOT NULL PRIMARY KEY REFERENCES workspaces (id),
  id         BLOB NOT NULL CHECK (length(id) = 16),
  cell       BLOB NOT NULL,
  changed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
