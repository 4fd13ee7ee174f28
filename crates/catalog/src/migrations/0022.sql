-- Token filters of several blocks of a table's day and epoch, side by side in one sealed object. States as a block's. Nothing reads as of a
-- commit here: what a group says of a block holds for as long as the group is there.
CREATE TABLE filter_groups (
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  table_id   BLOB NOT NULL REFERENCES tables (id),
  day        INTEGER NOT NULL CHECK (day % 86400 = 0),
  workspace  BLOB NOT NULL CHECK (length(workspace) = 16),
  account    BLOB NOT NULL CHECK (length(account) = 16),
  aek        BLOB NOT NULL CHECK (length(aek) = 16),
  state      INTEGER NOT NULL CHECK (state IN (0, 1, 2)),
  since_ms   INTEGER NOT NULL,
  sealed_len INTEGER NOT NULL DEFAULT 0,
  plain_len  INTEGER NOT NULL DEFAULT 0,
  arrived_ms INTEGER NOT NULL DEFAULT 0,
  CHECK (state <> 1 OR (sealed_len > 0 AND plain_len > 0))
) STRICT, WITHOUT ROWID;
CREATE INDEX filter_groups_day ON filter_groups (table_id, day);
CREATE INDEX filter_groups_aek ON filter_groups (aek);
CREATE INDEX filter_groups_workspace ON filter_groups (workspace);
CREATE INDEX filter_groups_account ON filter_groups (account);
CREATE INDEX filter_groups_pending ON filter_groups (since_ms) WHERE state = 0;
CREATE INDEX filter_groups_tombstones ON filter_groups (since_ms) WHERE state = 2;

-- The live blocks that a live group names.
CREATE TABLE filter_group_blocks (
  block    BLOB NOT NULL PRIMARY KEY CHECK (length(block) = 16),
  group_id BLOB NOT NULL REFERENCES filter_groups (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX filter_group_blocks_group ON filter_group_blocks (group_id);

-- Live blocks of a table's day and epoch that no group names, kept by triggers: where a group is to be made, without a scan.
CREATE TABLE table_days (
  table_id  BLOB NOT NULL,
  day       INTEGER NOT NULL,
  aek       BLOB NOT NULL,
  account   BLOB NOT NULL,
  workspace BLOB NOT NULL,
  alone     INTEGER NOT NULL CHECK (alone >= 0),
  PRIMARY KEY (table_id, day, aek)
) STRICT, WITHOUT ROWID;
CREATE INDEX table_days_alone ON table_days (table_id, day) WHERE alone >= 8;
CREATE INDEX table_sums_blocks ON table_sums (blocks);

INSERT INTO table_days (table_id, day, aek, account, workspace, alone)
  SELECT table_id, window_start - ((window_start % 86400) + 86400) % 86400, aek, account, workspace, count(*) FROM blocks WHERE state = 1
  GROUP BY 1, 2, 3, 4, 5;

CREATE TRIGGER block_is_alone AFTER UPDATE OF state ON blocks
WHEN NEW.state = 1 AND OLD.state <> 1
BEGIN
  INSERT INTO table_days (table_id, day, aek, account, workspace, alone)
  VALUES (NEW.table_id, NEW.window_start - ((NEW.window_start % 86400) + 86400) % 86400, NEW.aek, NEW.account, NEW.workspace, 1)
  ON CONFLICT (table_id, day, aek) DO UPDATE SET alone = alone + 1;
END;

-- The last block that a group names takes it along.
CREATE TRIGGER block_leaves_its_group AFTER UPDATE OF state ON blocks
WHEN OLD.state = 1 AND NEW.state <> 1
BEGIN
  UPDATE table_days SET alone = alone - 1
  WHERE table_id = OLD.table_id AND day = OLD.window_start - ((OLD.window_start % 86400) + 86400) % 86400 AND aek = OLD.aek
    AND NOT EXISTS (SELECT 1 FROM filter_group_blocks WHERE block = OLD.id);
  UPDATE filter_groups SET state = 2, since_ms = NEW.since_ms
  WHERE id = (SELECT group_id FROM filter_group_blocks WHERE block = OLD.id) AND state = 1
    AND NOT EXISTS (SELECT 1 FROM filter_group_blocks f WHERE f.group_id = filter_groups.id AND f.block <> OLD.id);
  DELETE FROM filter_group_blocks WHERE block = OLD.id;
END;

CREATE TRIGGER block_is_named AFTER INSERT ON filter_group_blocks
BEGIN
  UPDATE table_days SET alone = alone - 1
  WHERE (table_id, day, aek) = (SELECT table_id, day, aek FROM filter_groups WHERE id = NEW.group_id);
END;

-- A group that ends leaves its blocks alone, those that are still live.
CREATE TRIGGER filter_group_ends AFTER UPDATE OF state ON filter_groups
WHEN NEW.state = 2 AND OLD.state <> 2
BEGIN
  INSERT INTO table_days (table_id, day, aek, account, workspace, alone)
  SELECT NEW.table_id, NEW.day, NEW.aek, NEW.account, NEW.workspace, count(*)
  FROM filter_group_blocks f JOIN blocks b ON b.id = f.block WHERE f.group_id = NEW.id AND b.state = 1 HAVING count(*) > 0
  ON CONFLICT (table_id, day, aek) DO UPDATE SET alone = alone + excluded.alone;
  DELETE FROM filter_group_blocks WHERE group_id = NEW.id;
END;

CREATE TRIGGER table_day_is_done AFTER UPDATE OF alone ON table_days
WHEN NEW.alone = 0
BEGIN
  DELETE FROM table_days WHERE table_id = NEW.table_id AND day = NEW.day AND aek = NEW.aek;
END;
