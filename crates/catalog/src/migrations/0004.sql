-- When somebody last said how long rows are kept: a log segment whose key is away says only what was said when it was begun.
ALTER TABLE workspaces ADD COLUMN retention_set_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tables ADD COLUMN retention_set_ms INTEGER NOT NULL DEFAULT 0;
