-- The blocks of an account that arrived last: what is opened again after a start or a key's return, without a scan of all.
CREATE INDEX blocks_arrived ON blocks (account, arrived_ms, id) WHERE state = 1;
