-- The audit chain: its head, sealed, and which of its records are still to be carried elsewhere, in order.

CREATE TABLE audit_head (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  seq  INTEGER NOT NULL CHECK (seq >= 0), -- the last record; told again in the cell
  cell BLOB NOT NULL
) STRICT;

-- target: a workspace for rows, a cluster (or zero) for calls.
CREATE TABLE audit_carry (
  sink   TEXT NOT NULL CHECK (sink IN ('audit', 'notice', 'call')),
  target BLOB NOT NULL CHECK (length(target) = 16),
  seq    INTEGER NOT NULL CHECK (seq > 0),
  file   INTEGER NOT NULL CHECK (file > 0), -- the first record of the file it lies in
  start  INTEGER NOT NULL CHECK (start >= 0),
  PRIMARY KEY (sink, target, seq)
) STRICT, WITHOUT ROWID;

-- What was told once and is not told again.
CREATE TABLE audit_told (
  cluster BLOB NOT NULL CHECK (length(cluster) = 16),
  mark    TEXT NOT NULL,
  seq     INTEGER NOT NULL,
  PRIMARY KEY (cluster, mark)
) STRICT, WITHOUT ROWID;
