//! The words that messages and names are made of.

/// Words of messages.
#[rustfmt::skip]
pub(super) const WORDS: [&str; 240] = [
    "request", "connection", "session", "queue", "worker", "shard", "timeout", "retry", "cache", "snapshot", "leader", "replica",
    "transaction", "lock", "batch", "partition", "handshake", "token", "index", "segment", "upstream", "payload", "checkpoint", "lease",
    "scheduler", "socket", "quota", "heartbeat", "migration", "cursor", "buffer", "stream", "accepted", "completed", "rejected", "restarted",
    "expired", "flushed", "acquired", "dropped", "resumed", "rebalanced", "validated", "closed", "opened", "received", "sent", "from",
    "to", "for", "with", "the", "of", "in", "on", "by", "is", "was", "not", "has",
    "been", "will", "be", "after", "before", "while", "until", "because", "no", "all", "some", "more",
    "than", "less", "into", "over", "under", "between", "during", "again", "now", "later", "since", "without",
    "block", "file", "directory", "disk", "memory", "page", "thread", "process", "service", "server", "client", "host",
    "node", "cluster", "network", "port", "packet", "frame", "header", "body", "message", "event", "record", "row",
    "table", "column", "key", "value", "user", "group", "role", "policy", "rule", "filter", "route", "path",
    "started", "stopped", "failed", "succeeded", "loaded", "saved", "created", "deleted", "updated", "found", "missing", "invalid",
    "valid", "unknown", "expected", "unexpected", "pending", "active", "idle", "busy", "ready", "waiting", "running", "done",
    "starting", "stopping", "loading", "saving", "creating", "deleting", "updating", "finding", "opening", "closing", "reading", "writing",
    "sending", "receiving", "waking", "sleeping", "checking", "verifying", "scanning", "merging", "sorting", "splitting", "joining", "leaving",
    "size", "length", "count", "total", "limit", "offset", "position", "version", "state", "status", "result", "reason",
    "code", "level", "type", "name", "id", "number", "time", "interval", "delay", "duration", "rate", "ratio",
    "bytes", "seconds", "millis", "items", "entries", "rows", "pages", "blocks", "attempts", "errors", "warnings", "tasks",
    "task", "job", "stage", "step", "phase", "round", "epoch", "term", "vote", "election", "quorum", "member",
    "primary", "secondary", "local", "remote", "internal", "external", "temporary", "permanent", "current", "previous", "next", "last",
    "first", "new", "old", "empty", "full", "partial", "complete", "broken", "stale", "fresh", "hot", "cold",
];

/// Stems of names.
#[rustfmt::skip]
pub(super) const STEMS: [&str; 96] = [
    "amber", "anchor", "arrow", "atlas", "badger", "basalt", "beacon", "birch", "bison", "bolt", "bramble", "breeze",
    "bronze", "cedar", "cinder", "cliff", "clover", "cobalt", "comet", "copper", "coral", "crane", "cricket", "delta",
    "drift", "dune", "eagle", "ember", "falcon", "fern", "fjord", "flint", "forge", "garnet", "geyser", "glacier",
    "granite", "grove", "harbor", "hazel", "heron", "hollow", "indigo", "iris", "island", "ivory", "jasper", "juniper",
    "kestrel", "lagoon", "lantern", "larch", "linden", "lotus", "lynx", "magnet", "maple", "marble", "meadow", "mesa",
    "mist", "moss", "nectar", "nimbus", "oak", "ocean", "onyx", "orbit", "otter", "pebble", "pine", "plume",
    "prairie", "quartz", "quill", "raven", "reef", "ridge", "river", "robin", "saffron", "sage", "slate", "spruce",
    "sparrow", "summit", "thistle", "timber", "topaz", "tundra", "umber", "valley", "violet", "willow", "wren", "zephyr",
];
