-- Identities that a customer makes: a cluster may show one instead of its own.
CREATE TABLE user_identities (
  id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name           TEXT NOT NULL COLLATE NOCASE,
  subscription   TEXT NOT NULL COLLATE NOCASE,
  resource_group TEXT NOT NULL COLLATE NOCASE,
  region         TEXT NOT NULL,
  tags           TEXT NOT NULL,                  -- a JSON object
  principal      TEXT NOT NULL,
  tenant         TEXT NOT NULL,
  public_key     TEXT NOT NULL,
  cell           BLOB NOT NULL,                  -- the private key, sealed for this row
  created_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX user_identities_name ON user_identities (name, subscription, resource_group);

-- Which of them a cluster shows. Its own columns then hold that one's parts, sealed for the cluster; its own identity waits here.
ALTER TABLE clusters ADD COLUMN user_identity BLOB REFERENCES user_identities (id);
CREATE INDEX clusters_user_identity ON clusters (user_identity) WHERE user_identity IS NOT NULL;
CREATE TABLE own_identities (
  cluster    BLOB NOT NULL PRIMARY KEY REFERENCES clusters (id),
  principal  TEXT NOT NULL,
  tenant     TEXT NOT NULL,
  public_key TEXT NOT NULL,
  cell       BLOB NOT NULL
) STRICT, WITHOUT ROWID;
