-- Who there is, what they prove it with, and what they may do where: a right is a role at a place. A place is the path of a resource in
-- lower case, and holds for all below it; '/' is everything.

CREATE TABLE role_assignments (
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  principal  BLOB NOT NULL CHECK (length(principal) = 16), -- perhaps nobody known here: one that another issuer vouches for
  role       BLOB NOT NULL CHECK (length(role) = 16),      -- a built-in one, or a row of role_definitions
  scope      TEXT NOT NULL CHECK (scope LIKE '/%'),
  created_ms INTEGER NOT NULL,
  created_by BLOB CHECK (length(created_by) = 16)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX role_assignments_once ON role_assignments (principal, role, scope);
CREATE INDEX role_assignments_scope ON role_assignments (scope);

INSERT INTO role_assignments (id, principal, role, scope, created_ms, created_by)
  SELECT p.id, p.id,
    CASE lower(p.role)
      WHEN 'owner'           THEN x'8e3af657a8ff443ca75c2fe8c4bcb635'
      WHEN 'contributor'     THEN x'b24988ac618042a0ab8820f7382dd24c'
      WHEN 'reader'          THEN x'acdd72a7338548efbd42f606fba81ae7'
      WHEN 'ingest'          THEN x'5f0c3b1e6d2a4b7f9c5e1a2d4e6f8091'
      WHEN 'operator'        THEN x'7b1d9e52c3f84a06b8d4e0f1a2c3d495'
      WHEN 'lockboxapprover' THEN x'a9c4e7f102b34d58867f3e5d1c0b9a72'
    END,
    CASE WHEN p.workspace IS NULL THEN '/' ELSE lower(
      '/subscriptions/' || w.subscription || '/resourceGroups/' || w.resource_group ||
      '/providers/Microsoft.OperationalInsights/workspaces/' || w.name) END,
    p.created_ms, NULL
  FROM principals p LEFT JOIN workspaces w ON w.id = p.workspace
  WHERE lower(p.role) IN ('owner', 'contributor', 'reader', 'ingest', 'operator', 'lockboxapprover')
    AND (p.workspace IS NULL OR w.id IS NOT NULL);

-- Whoever holds a token of ours, and services, which log in for one.
CREATE TABLE principals_now (
  id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name         TEXT NOT NULL,
  token_sha256 BLOB CHECK (length(token_sha256) = 32),
  client_id    BLOB CHECK (length(client_id) = 16),
  created_ms   INTEGER NOT NULL,
  expires_ms   INTEGER,
  CHECK ((token_sha256 IS NULL) <> (client_id IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO principals_now (id, name, token_sha256, client_id, created_ms, expires_ms)
  SELECT id, name, token_sha256, NULL, created_ms, expires_ms FROM principals;
DROP TABLE principals;
ALTER TABLE principals_now RENAME TO principals;
CREATE UNIQUE INDEX principals_token ON principals (token_sha256) WHERE token_sha256 IS NOT NULL;
CREATE UNIQUE INDEX principals_client ON principals (client_id) WHERE client_id IS NOT NULL;

-- What services log in with. Of a secret only its SHA-256 is here; of a certificate the whole, which is no secret.
CREATE TABLE credentials (
  id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  principal   BLOB NOT NULL REFERENCES principals (id),
  name        TEXT NOT NULL,
  sha256      BLOB NOT NULL CHECK (length(sha256) = 32), -- of the secret or of the certificate
  certificate BLOB,
  created_ms  INTEGER NOT NULL,
  expires_ms  INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX credentials_once ON credentials (principal, sha256);

-- Roles that somebody made. Lists are JSON.
CREATE TABLE role_definitions (
  id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  name        TEXT NOT NULL COLLATE NOCASE,
  description TEXT NOT NULL,
  actions     TEXT NOT NULL,
  not_actions TEXT NOT NULL,
  scopes      TEXT NOT NULL,   -- where it may be given
  changed_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX role_definitions_name ON role_definitions (name);

-- What access tokens are signed with: the newest signs, older ones are still believed until their tokens have ended.
CREATE TABLE signing_keys (
  id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  cell       BLOB NOT NULL,    -- the key pair, under the root key
  created_ms INTEGER NOT NULL,
  retired_ms INTEGER
) STRICT, WITHOUT ROWID;

-- The directory that all of them belong to.
CREATE TABLE directory (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  tenant TEXT NOT NULL
) STRICT;

-- Subscriptions and resource groups that somebody named; others are there because resources are in them.
CREATE TABLE subscriptions (
  id         TEXT NOT NULL COLLATE NOCASE PRIMARY KEY,
  name       TEXT NOT NULL,
  tenant     TEXT NOT NULL,
  created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE resource_groups (
  subscription TEXT NOT NULL COLLATE NOCASE,
  name         TEXT NOT NULL COLLATE NOCASE,
  region       TEXT NOT NULL,
  tags         TEXT NOT NULL,  -- a JSON object
  created_ms   INTEGER NOT NULL,
  PRIMARY KEY (subscription, name)
) STRICT, WITHOUT ROWID;

-- A name that is free again gives nobody the rights that somebody had on what bore it before.
CREATE TRIGGER workspace_takes_its_rights_along AFTER UPDATE OF shredded_ms ON workspaces
WHEN NEW.shredded_ms IS NOT NULL AND OLD.shredded_ms IS NULL
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || NEW.subscription || '/resourceGroups/' || NEW.resource_group || '/providers/Microsoft.OperationalInsights/workspaces/' || NEW.name || '/')) = 1;
END;
CREATE TRIGGER cluster_takes_its_rights_along AFTER UPDATE OF shredded_ms ON clusters
WHEN NEW.shredded_ms IS NOT NULL AND OLD.shredded_ms IS NULL
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || NEW.subscription || '/resourceGroups/' || NEW.resource_group || '/providers/Microsoft.OperationalInsights/clusters/' || NEW.name || '/')) = 1;
END;
CREATE TRIGGER vault_takes_its_rights_along AFTER DELETE ON vault_refs
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || OLD.subscription || '/resourceGroups/' || OLD.resource_group || '/providers/Microsoft.KeyVault/vaults/' || OLD.name || '/')) = 1;
END;
CREATE TRIGGER identity_takes_its_rights_along AFTER DELETE ON user_identities
BEGIN
  DELETE FROM role_assignments WHERE instr(scope || '/', lower('/subscriptions/' || OLD.subscription || '/resourceGroups/' || OLD.resource_group || '/providers/Microsoft.ManagedIdentity/userAssignedIdentities/' || OLD.name || '/')) = 1;
END;
