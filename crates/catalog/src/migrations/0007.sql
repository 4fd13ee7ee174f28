-- What comes while a customer's key is away: the public key it is sealed to, how far it was opened, what workspaces want.

-- An AEK's public key, vouched for by the provider's root key.
CREATE TABLE buffer_keys (
  aek  BLOB NOT NULL PRIMARY KEY CHECK (length(aek) = 16),
  cell BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Segments of the sealed buffer whose first records are in blocks; gone once the file is.
CREATE TABLE buffer_opened (
  segment BLOB NOT NULL PRIMARY KEY CHECK (length(segment) = 16),
  through INTEGER NOT NULL CHECK (through > 0)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER buffer_opened_moves_forward BEFORE UPDATE ON buffer_opened
WHEN NEW.through < OLD.through
BEGIN
  SELECT RAISE(ABORT, 'a segment is opened forward only');
END;

-- Where a workspace said something else than 'refuse'.
CREATE TABLE ingest_policies (
  workspace     BLOB NOT NULL PRIMARY KEY REFERENCES workspaces (id),
  while_revoked TEXT NOT NULL CHECK (while_revoked IN ('seal', 'drop'))
) STRICT, WITHOUT ROWID;

-- What became of requests that came while a key was away, since the beginning. table_id: zero for a table that is not there.
CREATE TABLE ingest_away (
  workspace BLOB NOT NULL CHECK (length(workspace) = 16),
  table_id  BLOB NOT NULL CHECK (length(table_id) = 16),
  refused   INTEGER NOT NULL CHECK (refused >= 0),  -- requests
  sealed    INTEGER NOT NULL CHECK (sealed >= 0),   -- rows
  dropped   INTEGER NOT NULL CHECK (dropped >= 0),  -- rows
  last_ms   INTEGER NOT NULL,
  PRIMARY KEY (workspace, table_id)
) STRICT, WITHOUT ROWID;
