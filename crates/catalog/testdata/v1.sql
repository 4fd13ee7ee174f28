-- A catalog of version 1 as text, rows included: dumped once, never edited.
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
CREATE TABLE accounts (
  id      BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  region  TEXT NOT NULL,
  cluster TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO "accounts" VALUES(X'02020202020202020202020202020202','local',NULL);
CREATE TABLE aeks (
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  account    BLOB NOT NULL REFERENCES accounts (id),
  class      TEXT NOT NULL CHECK (class IN ('MMK', 'CMK')),
  generation INTEGER NOT NULL CHECK (generation >= 0),
  record     BLOB NOT NULL,
  current    INTEGER NOT NULL CHECK (current IN (0, 1)),
  created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "aeks" VALUES(X'03030303030303030303030303030303',X'02020202020202020202020202020202','MMK',1,X'612077726170706564207265636F7264206F662076657273696F6E2031',1,5);
CREATE TABLE batches (
  workspace  BLOB NOT NULL CHECK (length(workspace) = 16),
  id_sha256  BLOB NOT NULL CHECK (length(id_sha256) = 32),
  key_sha256 BLOB NOT NULL CHECK (length(key_sha256) = 32),
  reply      BLOB NOT NULL,
  at_ms      INTEGER NOT NULL,
  PRIMARY KEY (workspace, id_sha256)
) STRICT, WITHOUT ROWID;
INSERT INTO "batches" VALUES(X'04040404040404040404040404040404',X'0101010101010101010101010101010101010101010101010101010101010101',X'0202020202020202020202020202020202020202020202020202020202020202',X'7B7D',11);
CREATE TABLE block_stats (
  n    INTEGER PRIMARY KEY,
  cell BLOB NOT NULL
) STRICT;
INSERT INTO "block_stats" VALUES(1,X'7365616C65642073746174697374696373');
INSERT INTO "block_stats" VALUES(2,X'7365616C65642073746174697374696373');
CREATE TABLE blocks (
  table_id     BLOB NOT NULL REFERENCES tables (id),
  window_start INTEGER NOT NULL,
  id           BLOB NOT NULL CHECK (length(id) = 16),
  window_len   INTEGER NOT NULL CHECK (window_len IN (3600, 86400) AND window_start % window_len = 0),
  workspace    BLOB NOT NULL CHECK (length(workspace) = 16),
  account      BLOB NOT NULL CHECK (length(account) = 16),
  aek          BLOB NOT NULL CHECK (length(aek) = 16),
  state        INTEGER NOT NULL CHECK (state IN (0, 1, 2)),
  since_ms     INTEGER NOT NULL,
  writer       INTEGER NOT NULL,           -- who announced it
  through      INTEGER NOT NULL,           -- the last WAL position it may hold
  time_min     INTEGER NOT NULL DEFAULT 0,
  time_max     INTEGER NOT NULL DEFAULT 0,
  rows         INTEGER NOT NULL DEFAULT 0,
  sealed_len   INTEGER NOT NULL DEFAULT 0,
  plain_len    INTEGER NOT NULL DEFAULT 0,
  sha256       BLOB CHECK (length(sha256) = 32),
  level        INTEGER NOT NULL DEFAULT 0,
  arrived_ms   INTEGER NOT NULL DEFAULT 0,
  added_seq    INTEGER,
  removed_seq  INTEGER,
  stats        INTEGER,                    -- block_stats.n, while live
  PRIMARY KEY (table_id, window_start, id),
  CHECK (time_min <= time_max),
  CHECK (state <> 0 OR (added_seq IS NULL AND removed_seq IS NULL)),
  CHECK (state <> 1 OR (added_seq IS NOT NULL AND removed_seq IS NULL AND stats IS NOT NULL
                        AND rows > 0 AND sealed_len > 0 AND sha256 IS NOT NULL)),
  CHECK (state <> 2 OR (removed_seq IS NOT NULL AND stats IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO "blocks" VALUES(X'06060606060606060606060606060606',1700006400,X'20202020202020202020202020202020',3600,X'04040404040404040404040404040404',X'02020202020202020202020202020202',X'03030303030303030303030303030303',1,10,3,1,1700006460000000000,1700006520000000000,10,1000,900,X'0000000000000000000000000000000000000000000000000000000000000000',0,77,1,NULL,1);
INSERT INTO "blocks" VALUES(X'06060606060606060606060606060606',1700010000,X'21212121212121212121212121212121',3600,X'04040404040404040404040404040404',X'02020202020202020202020202020202',X'03030303030303030303030303030303',1,10,3,2,1700010060000000000,1700010120000000000,10,1000,900,X'0101010101010101010101010101010101010101010101010101010101010101',0,77,2,NULL,2);
CREATE TABLE flushed (
  table_id BLOB NOT NULL REFERENCES tables (id),
  account  BLOB NOT NULL CHECK (length(account) = 16),
  aek      BLOB NOT NULL CHECK (length(aek) = 16),
  through  INTEGER NOT NULL CHECK (through >= 0),
  PRIMARY KEY (table_id, aek)
) STRICT, WITHOUT ROWID;
INSERT INTO "flushed" VALUES(X'06060606060606060606060606060606',X'02020202020202020202020202020202',X'03030303030303030303030303030303',2);
CREATE TABLE principals (
  id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name         TEXT NOT NULL,
  token_sha256 BLOB NOT NULL CHECK (length(token_sha256) = 32),
  role         TEXT NOT NULL,
  workspace    BLOB CHECK (length(workspace) = 16), -- NULL: all of them
  created_ms   INTEGER NOT NULL,
  expires_ms   INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO "principals" VALUES(X'08080808080808080808080808080808','admin',X'0909090909090909090909090909090909090909090909090909090909090909','Owner',NULL,8,NULL);
CREATE TABLE schemas (
  table_id BLOB NOT NULL REFERENCES tables (id),
  aek      BLOB NOT NULL,
  version  INTEGER NOT NULL CHECK (version >= 0),
  id       BLOB NOT NULL CHECK (length(id) = 16),
  cell     BLOB NOT NULL,
  PRIMARY KEY (table_id, aek, version)
) STRICT, WITHOUT ROWID;
INSERT INTO "schemas" VALUES(X'06060606060606060606060606060606',X'03030303030303030303030303030303',1,X'07070707070707070707070707070707',X'61207365616C656420736368656D61');
CREATE TABLE segments (
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  account    BLOB NOT NULL CHECK (length(account) = 16),
  aek        BLOB NOT NULL CHECK (length(aek) = 16),
  writer     INTEGER NOT NULL,
  created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE state (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  node   BLOB NOT NULL CHECK (length(node) = 16),
  writer INTEGER NOT NULL CHECK (writer >= 0), -- the reigning writer epoch
  seq    INTEGER NOT NULL CHECK (seq >= 0)     -- the last commit that changed what readers see
) STRICT;
INSERT INTO "state" VALUES(1,X'11111111111111111111111111111111',3,2);
CREATE TABLE tables (
  id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  workspace      BLOB NOT NULL REFERENCES workspaces (id),
  name           TEXT NOT NULL, -- compared byte by byte
  retention_days INTEGER CHECK (retention_days > 0),
  created_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "tables" VALUES(X'06060606060606060606060606060606',X'04040404040404040404040404040404','Logs',NULL,7);
CREATE TABLE windows (
  table_id     BLOB NOT NULL,
  window_start INTEGER NOT NULL,
  window_len   INTEGER NOT NULL,
  aek          BLOB NOT NULL,
  account      BLOB NOT NULL,
  workspace    BLOB NOT NULL,
  small        INTEGER NOT NULL CHECK (small >= 0),
  bytes        INTEGER NOT NULL CHECK (bytes >= 0),
  PRIMARY KEY (table_id, window_start, window_len, aek)
) STRICT, WITHOUT ROWID;
INSERT INTO "windows" VALUES(X'06060606060606060606060606060606',1700006400,3600,X'03030303030303030303030303030303',X'02020202020202020202020202020202',X'04040404040404040404040404040404',1,1000);
INSERT INTO "windows" VALUES(X'06060606060606060606060606060606',1700010000,3600,X'03030303030303030303030303030303',X'02020202020202020202020202020202',X'04040404040404040404040404040404',1,1000);
CREATE TABLE workspace_secrets (
  workspace BLOB NOT NULL REFERENCES workspaces (id),
  aek       BLOB NOT NULL REFERENCES aeks (id),
  id        BLOB NOT NULL CHECK (length(id) = 16),
  cell      BLOB NOT NULL,
  PRIMARY KEY (workspace, aek)
) STRICT, WITHOUT ROWID;
INSERT INTO "workspace_secrets" VALUES(X'04040404040404040404040404040404',X'03030303030303030303030303030303',X'05050505050505050505050505050505',X'61207365616C656420736563726574');
CREATE TABLE workspaces (
  id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name           TEXT NOT NULL COLLATE NOCASE,
  account        BLOB NOT NULL REFERENCES accounts (id),
  subscription   TEXT NOT NULL COLLATE NOCASE,
  resource_group TEXT NOT NULL COLLATE NOCASE,
  region         TEXT NOT NULL,
  created_ms     INTEGER NOT NULL,
  retention_days INTEGER NOT NULL CHECK (retention_days > 0)
) STRICT, WITHOUT ROWID;
INSERT INTO "workspaces" VALUES(X'04040404040404040404040404040404','default',X'02020202020202020202020202020202','0192f0c4-0000-7000-8000-000000000001','default','local',6,30);
CREATE UNIQUE INDEX aeks_generation ON aeks (account, generation);
CREATE UNIQUE INDEX aeks_current ON aeks (account) WHERE current = 1;
CREATE UNIQUE INDEX workspaces_name ON workspaces (name, subscription, resource_group);
CREATE UNIQUE INDEX tables_name ON tables (workspace, name);
CREATE UNIQUE INDEX principals_token ON principals (token_sha256);
CREATE UNIQUE INDEX blocks_id ON blocks (id);
CREATE INDEX blocks_pending ON blocks (since_ms) WHERE state = 0;
CREATE INDEX blocks_tombstones ON blocks (since_ms) WHERE state = 2;
CREATE INDEX windows_small ON windows (small) WHERE small > 1;
CREATE TRIGGER block_goes_live AFTER UPDATE OF state ON blocks
WHEN NEW.state = 1 AND OLD.state <> 1 AND NEW.sealed_len < 67108864
BEGIN
  INSERT INTO windows (table_id, window_start, window_len, aek, account, workspace, small, bytes)
  VALUES (NEW.table_id, NEW.window_start, NEW.window_len, NEW.aek, NEW.account, NEW.workspace, 1, NEW.sealed_len)
  ON CONFLICT (table_id, window_start, window_len, aek) DO UPDATE SET small = small + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER block_leaves AFTER UPDATE OF state ON blocks
WHEN OLD.state = 1 AND NEW.state <> 1
BEGIN
  DELETE FROM block_stats WHERE n = OLD.stats;
  UPDATE windows SET small = small - 1, bytes = bytes - OLD.sealed_len
  WHERE OLD.sealed_len < 67108864
    AND table_id = OLD.table_id AND window_start = OLD.window_start AND window_len = OLD.window_len AND aek = OLD.aek;
  DELETE FROM windows
  WHERE small = 0
    AND table_id = OLD.table_id AND window_start = OLD.window_start AND window_len = OLD.window_len AND aek = OLD.aek;
END;
CREATE TRIGGER flushed_moves_forward BEFORE UPDATE ON flushed
WHEN NEW.through < OLD.through
BEGIN
  SELECT RAISE(ABORT, 'flushed-through moves only forward');
END;
CREATE INDEX batches_at ON batches (at_ms);
COMMIT;
PRAGMA application_id = 1397902659;
PRAGMA user_version = 1;
