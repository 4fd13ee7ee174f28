-- Of a workspace, what its owner said and nothing here goes by: a JSON object with tags and properties.
CREATE TABLE workspace_pages (
  workspace   BLOB NOT NULL PRIMARY KEY REFERENCES workspaces (id),
  page        TEXT NOT NULL,
  modified_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Of a table: for how long its rows are said to be at hand (they are kept for as long as `tables` says), when its plan was last set,
-- whether its owner declared it, and when it was deleted.
CREATE TABLE table_pages (
  table_id         BLOB NOT NULL PRIMARY KEY REFERENCES tables (id),
  interactive_days INTEGER CHECK (interactive_days > 0),
  plan_ms          INTEGER,
  declared         INTEGER NOT NULL DEFAULT 0 CHECK (declared IN (0, 1)),
  deleted_ms       INTEGER
) STRICT, WITHOUT ROWID;
