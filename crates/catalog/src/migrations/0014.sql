-- When a cluster's capacity was last set.
ALTER TABLE clusters ADD COLUMN sku_ms INTEGER NOT NULL DEFAULT 0;
UPDATE clusters SET sku_ms = created_ms;

-- Links that were asked for, one row each: how often a workspace may be linked is limited.
CREATE TABLE link_marks (
  operation BLOB NOT NULL PRIMARY KEY CHECK (length(operation) = 16),
  workspace BLOB NOT NULL REFERENCES workspaces (id),
  at_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX link_marks_workspace ON link_marks (workspace, at_ms);

-- What a workspace was linked to when it, or the cluster, was deleted: whichever comes back brings the link back.
CREATE TABLE links_kept (
  workspace BLOB NOT NULL PRIMARY KEY REFERENCES workspaces (id),
  cluster   BLOB NOT NULL REFERENCES clusters (id)
) STRICT, WITHOUT ROWID;
