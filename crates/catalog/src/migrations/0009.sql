-- Records that wait beside the live ones: the same AEK, wrapped by a newer version of a pinned key. None opens anything before the
-- cluster is updated to that version.
CREATE TABLE standby_records (
  aek        BLOB NOT NULL REFERENCES aeks (id),
  version    TEXT NOT NULL,
  account    BLOB NOT NULL REFERENCES accounts (id),
  record     BLOB NOT NULL,
  created_ms INTEGER NOT NULL,
  PRIMARY KEY (aek, version)
) STRICT, WITHOUT ROWID;
CREATE INDEX standby_records_account ON standby_records (account);
