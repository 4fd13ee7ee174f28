-- The end of workspaces and clusters: deleted, kept for a while, shredded. A shredded one keeps its row, without a name to itself.

ALTER TABLE workspaces ADD COLUMN deleted_ms INTEGER CHECK (deleted_ms IS NULL OR cluster IS NULL);
ALTER TABLE workspaces ADD COLUMN shred_ms INTEGER CHECK ((shred_ms IS NULL) = (deleted_ms IS NULL));
ALTER TABLE workspaces ADD COLUMN shredded_ms INTEGER CHECK (shredded_ms IS NULL OR deleted_ms IS NOT NULL);
DROP INDEX workspaces_name;
CREATE UNIQUE INDEX workspaces_name ON workspaces (name, subscription, resource_group) WHERE shredded_ms IS NULL;

ALTER TABLE clusters ADD COLUMN shredded_ms INTEGER CHECK (shredded_ms IS NULL OR deleted_ms IS NOT NULL);
