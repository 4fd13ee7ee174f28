-- What a vault is known to protect its keys with, where that is known: shown with the reference object.
ALTER TABLE vault_refs ADD COLUMN soft_delete INTEGER CHECK (soft_delete IN (0, 1));
ALTER TABLE vault_refs ADD COLUMN purge_protection INTEGER CHECK (purge_protection IN (0, 1));
ALTER TABLE vault_refs ADD COLUMN rbac INTEGER CHECK (rbac IN (0, 1));
