-- What an AEK still holds, without a scan: blocks in whatever state.
CREATE INDEX blocks_aek ON blocks (aek);
