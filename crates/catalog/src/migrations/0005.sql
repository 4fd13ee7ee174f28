-- Lockbox: requests of the provider's staff to see a workspace's rows; and what a table's plan is.

ALTER TABLE tables ADD COLUMN plan TEXT NOT NULL DEFAULT 'Analytics' CHECK (plan IN ('Analytics', 'Basic', 'Auxiliary'));

CREATE TABLE lockbox_requests (
  id              BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  workspace       BLOB NOT NULL REFERENCES workspaces (id),
  cluster         BLOB NOT NULL CHECK (length(cluster) = 16), -- that it was linked to when it was asked for
  requester       BLOB NOT NULL CHECK (length(requester) = 16),
  requester_name  TEXT NOT NULL,
  reason          TEXT NOT NULL,
  hours           INTEGER NOT NULL CHECK (hours > 0),
  state           TEXT NOT NULL CHECK (state IN ('Pending', 'Approved', 'Rejected', 'Ended', 'Expired')),
  asked_ms        INTEGER NOT NULL,
  answer_by_ms    INTEGER NOT NULL,                           -- unanswered until then, it has expired
  decider         BLOB CHECK (length(decider) = 16),
  decider_name    TEXT,
  decided_ms      INTEGER,
  until_ms        INTEGER,                                    -- an approval lasts to then
  ended_ms        INTEGER,                                    -- when it was ended early, or was seen to have expired
  CHECK ((decider IS NULL) = (decided_ms IS NULL)),
  CHECK ((decider IS NULL) = (decider_name IS NULL)),
  CHECK (state <> 'Approved' OR until_ms IS NOT NULL),
  CHECK (state <> 'Pending' OR decider IS NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX lockbox_requests_approved ON lockbox_requests (workspace, requester) WHERE state = 'Approved';
CREATE INDEX lockbox_requests_open ON lockbox_requests (state) WHERE state IN ('Pending', 'Approved');
