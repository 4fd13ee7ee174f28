-- A vault reference says what kind of vault it is, and how to log in there: a cell under the root key.
ALTER TABLE vault_refs ADD COLUMN provider TEXT NOT NULL DEFAULT 'azure';
ALTER TABLE vault_refs ADD COLUMN access_id BLOB CHECK (access_id IS NULL OR length(access_id) = 16);
ALTER TABLE vault_refs ADD COLUMN access BLOB CHECK ((access IS NULL) = (access_id IS NULL));
