-- When a window last got a small block: whether it is quiet is known at once and after a restart, without looking twice.
ALTER TABLE windows ADD COLUMN last_ms INTEGER NOT NULL DEFAULT 0;
UPDATE windows SET last_ms = coalesce((SELECT max(since_ms) FROM blocks b
  WHERE b.table_id = windows.table_id AND b.window_start = windows.window_start AND b.window_len = windows.window_len AND b.aek = windows.aek AND b.state = 1), 0);

-- What can be merged, table by table: so that compaction gets round to every window, however many busy tables there are.
CREATE INDEX windows_mergeable ON windows (table_id, window_start, window_len, aek) WHERE small > 1;

DROP TRIGGER block_goes_live;
CREATE TRIGGER block_goes_live AFTER UPDATE OF state ON blocks
WHEN NEW.state = 1 AND OLD.state <> 1 AND NEW.sealed_len < 67108864
BEGIN
  INSERT INTO windows (table_id, window_start, window_len, aek, account, workspace, small, bytes, last_ms)
  VALUES (NEW.table_id, NEW.window_start, NEW.window_len, NEW.aek, NEW.account, NEW.workspace, 1, NEW.sealed_len, NEW.since_ms)
  ON CONFLICT (table_id, window_start, window_len, aek) DO UPDATE SET small = small + 1, bytes = bytes + excluded.bytes, last_ms = excluded.last_ms;
END;
