-- What a question needs to know before it looks at blocks, kept by triggers: so that none of it grows with blocks it does not read.

CREATE TABLE table_sums (
  table_id  BLOB NOT NULL PRIMARY KEY CHECK (length(table_id) = 16),
  blocks    INTEGER NOT NULL CHECK (blocks >= 0), -- live ones
  rows      INTEGER NOT NULL CHECK (rows >= 0),
  bytes     INTEGER NOT NULL CHECK (bytes >= 0),
  forgotten INTEGER NOT NULL DEFAULT 0            -- the last commit that removed a block which is forgotten: nobody can read as of an earlier one
) STRICT, WITHOUT ROWID;

-- The commit that last changed which blocks of a window are live: whoever holds the window as of that one holds it still.
CREATE TABLE window_changes (
  table_id     BLOB NOT NULL CHECK (length(table_id) = 16),
  window_start INTEGER NOT NULL,
  longest      INTEGER NOT NULL,                     -- of the windows that begin here, in seconds
  seq          INTEGER NOT NULL CHECK (seq >= 0),
  blocks       INTEGER NOT NULL CHECK (blocks >= 0), -- that are live or were
  PRIMARY KEY (table_id, window_start)
) STRICT, WITHOUT ROWID;

INSERT INTO table_sums (table_id, blocks, rows, bytes, forgotten)
  SELECT table_id, count(*), sum(rows), sum(sealed_len), 0 FROM blocks WHERE state = 1 GROUP BY table_id;
INSERT INTO window_changes (table_id, window_start, longest, seq, blocks)
  SELECT table_id, window_start, max(window_len), max(max(added_seq, coalesce(removed_seq, 0))), count(*) FROM blocks WHERE added_seq IS NOT NULL
  GROUP BY table_id, window_start;

CREATE TRIGGER block_is_counted AFTER UPDATE OF state ON blocks
WHEN NEW.state = 1 AND OLD.state <> 1
BEGIN
  INSERT INTO table_sums (table_id, blocks, rows, bytes) VALUES (NEW.table_id, 1, NEW.rows, NEW.sealed_len)
  ON CONFLICT (table_id) DO UPDATE SET blocks = blocks + 1, rows = rows + excluded.rows, bytes = bytes + excluded.bytes;
  INSERT INTO window_changes (table_id, window_start, longest, seq, blocks)
  VALUES (NEW.table_id, NEW.window_start, NEW.window_len, NEW.added_seq, 1)
  ON CONFLICT (table_id, window_start) DO UPDATE SET longest = max(longest, excluded.longest), seq = excluded.seq, blocks = blocks + 1;
END;

CREATE TRIGGER block_is_discounted AFTER UPDATE OF state ON blocks
WHEN OLD.state = 1 AND NEW.state <> 1
BEGIN
  UPDATE table_sums SET blocks = blocks - 1, rows = rows - OLD.rows, bytes = bytes - OLD.sealed_len WHERE table_id = OLD.table_id;
  UPDATE window_changes SET seq = NEW.removed_seq WHERE table_id = OLD.table_id AND window_start = OLD.window_start;
END;

CREATE TRIGGER block_is_forgotten AFTER DELETE ON blocks
WHEN OLD.added_seq IS NOT NULL
BEGIN
  UPDATE table_sums SET forgotten = max(forgotten, OLD.removed_seq) WHERE table_id = OLD.table_id;
  UPDATE window_changes SET blocks = blocks - 1 WHERE table_id = OLD.table_id AND window_start = OLD.window_start;
  DELETE FROM window_changes WHERE blocks = 0 AND table_id = OLD.table_id AND window_start = OLD.window_start;
END;
