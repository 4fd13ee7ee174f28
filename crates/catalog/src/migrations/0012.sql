-- A workspace's stored functions. Name, parameters, body and remarks are in the cell; a changed function is another row.
CREATE TABLE functions (
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  workspace  BLOB NOT NULL REFERENCES workspaces (id),
  aek        BLOB NOT NULL CHECK (length(aek) = 16),
  cell       BLOB NOT NULL,
  changed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX functions_workspace ON functions (workspace);
CREATE INDEX functions_aek ON functions (aek);
