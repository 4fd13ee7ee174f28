//! The doors of our own: health, workspaces, tables, rows and questions, clusters and their keys, Lockbox, audit.

use utoipa::openapi::ComponentsBuilder;

use super::data::{answer, question, question_in_url};
use super::entry::{Book, Door};
use super::schema::{
    Shape, any, between, either, flag, guid, like, list, map, named, number, object, open, or_null, short, text, values, whole, word,
};

pub(super) static DOOR: Door = Door {
    tag: "Native",
    says: "What Azure has no door for, and the shortest ways to what it has.",
    refusal: "Refused",
    // 409: a name that several have.
    refuses: &[400, 401, 403, 404, 409, 503],
    refuses_changes: &[413, 415, 429, 507],
    bearer: true,
    versioned: false,
    azure: false,
};

pub(super) static PROCESS: Door = Door {
    tag: "Process",
    says: "How the process is.",
    refusal: "Refused",
    refuses: &[],
    refuses_changes: &[],
    bearer: false,
    versioned: false,
    azure: false,
};

/// Health, metrics and this document.
pub(super) fn process() -> Book {
    let mut book = Book::of(&PROCESS);
    book.get("/healthz", "healthz", "Whether the process lives").gives_as(200, "text/plain", text());
    book.get("/readyz", "readyz", "Whether it takes requests; if not, why").gives_as(200, "text/plain", text()).gives_as(
        503,
        "text/plain",
        text(),
    );
    book.get("/metrics", "metrics", "Figures, as Prometheus reads them").gives_as(200, "text/plain", text());
    book.get("/openapi.json", "openapi", "This document").gives(200, map());
    book
}

/// Workspaces, their tables, functions, rows and questions.
pub(super) fn describe() -> Book {
    let mut book = Book::of(&DOOR);
    workspaces(&mut book);
    rows(&mut book);
    clusters(&mut book);
    audit(&mut book);
    book
}

fn workspaces(book: &mut Book) {
    let at = |rest: &str| format!("/v1/workspaces/{{workspace}}{rest}");
    let days = || between(1, 4_383);
    book.get("/v1/cache", "cache", "What the hot cache holds").gives(200, cache());
    book.get("/v1/workspaces", "workspaces_list", "The workspaces that the caller may see").gives(200, values(named("Workspace")));
    book.post("/v1/workspaces", "workspaces_create", "Makes a workspace in the default group")
        .takes(object([("name", like("^[A-Za-z0-9][A-Za-z0-9._-]*$", 1, 128)), ("retentionInDays?", or_null(days()))]))
        .gives(201, named("Workspace"));
    book.get(at(""), "workspaces_get", "A workspace").gives(200, named("Workspace"));
    book.patch(at(""), "workspaces_update", "Changes what is named")
        .takes(object([("cmkIngestPolicy?", or_null(word(&["refuse", "seal", "drop"]))), ("retentionInDays?", or_null(days()))]))
        .gives(200, named("Workspace"));
    book.delete(at(""), "workspaces_delete", "Deletes a workspace; it can be brought back for 14 days")
        .asks("force?", flag(), "For good.")
        .gives(200, named("DeletedWorkspace"));
    book.post(at("/recover"), "workspaces_recover", "Brings a deleted workspace back").gives(200, named("Workspace"));
    book.get("/v1/deleted-workspaces", "workspaces_deleted", "What can be brought back").gives(200, values(named("DeletedWorkspace")));
    book.get(at("/tables"), "tables_list", "Tables, their columns and figures").gives(200, values(named("Table")));
    book.patch(at("/tables/{table}"), "tables_update", "Changes retention or plan of a table")
        .takes(object([("retentionInDays?", or_null(days())), ("plan?", or_null(word(&["Analytics", "Basic", "Auxiliary"])))]))
        .gives(200, object([("id", guid()), ("name", text()), ("retentionInDays", or_null(whole())), ("plan", text())]));
    book.post(at("/tables/{table}/shred"), "tables_shred", "Takes rows of a table away, for good")
        .takes(object([("from?", or_null(text())), ("to?", or_null(text())), ("confirm", text())]))
        .gives(200, open([("rows", whole()), ("deleted", whole()), ("rewritten", whole()), ("notice", text())]));
    book.get(at("/metadata"), "metadata_native", "What an editor wants to know to help with a query").gives(
        200,
        object([("tables", list(map())), ("functions", list(map())), ("operators", list(map())), ("storedFunctions?", list(map()))]),
    );
    book.get(at("/functions"), "functions_list", "Stored functions").gives(200, values(function(false)));
    book.get(at("/functions/{function}"), "functions_get", "A stored function").gives(200, function(true));
    let stored = || object([("name", text()), ("parameters", text())]);
    book.put(at("/functions/{function}"), "functions_put", "Stores a function")
        .takes(object([("parameters?", text()), ("body", text()), ("description?", text())]))
        .gives(200, stored())
        .gives(201, stored());
    book.delete(at("/functions/{function}"), "functions_delete", "Deletes a stored function").done(204);
}

fn function(whole_one: bool) -> Shape {
    let members = [("name", text()), ("parameters", text()), ("description", text()), ("changedMs", whole())];
    object(members.into_iter().chain(whole_one.then(|| ("body", text()))))
}

fn cache() -> Shape {
    let figures = || [("entries", whole()), ("bytes", whole()), ("hits", whole()), ("misses", whole()), ("fetchedBytes", whole())];
    let one = object(figures().into_iter().chain([("workspace", guid())]));
    object(figures().into_iter().chain([("workspaces", list(one))]))
}

fn rows(book: &mut Book) {
    let at = |rest: &str| format!("/v1/workspaces/{{workspace}}{rest}");
    let only = "One table, instead of all.";
    let table = || like("^[A-Za-z_][A-Za-z0-9_]*$", 1, 128);
    book.post(at("/ingest/{table}"), "ingest", "Takes rows: JSON, a line or an array of it, or plain lines")
        .asks("on_error?", word(&["refuse", "skip"]), "What becomes of the others if a row is none.")
        .asks("format?", word(&["json", "lines"]), "Instead of what Content-Type says.")
        .asks("time_field?", short(128), "The column that holds the time of the event.")
        .reads("x-batch-id?", like("^[A-Za-z0-9-]+$", 1, 128), "A batch of that id is taken once.")
        .takes_as("application/json", either(map(), list(map())))
        .takes_as("application/x-ndjson", text())
        .takes_as("text/plain", text())
        .gives(
            200,
            open([
                ("accepted?", whole()),
                ("rejected?", whole()),
                ("duplicate?", flag()),
                ("columnsAdded?", list(any())),
                ("dropped?", whole()),
            ]),
        );
    book.post(at("/flush"), "flush", "Makes blocks of what is in memory")
        .asks("table?", table(), only)
        .gives(200, object([("blocks", whole()), ("rows", whole()), ("bytes", whole())]));
    book.post(at("/compact"), "compact", "Merges small blocks")
        .asks("table?", table(), only)
        .gives(200, object([("merged", whole()), ("blocks", whole()), ("rows", whole()), ("bytes", whole())]));
    let ask = book.get(at("/query"), "Query_Get", "Asks, with the question in the URL");
    answer(question_in_url(ask)).differs("the answer also comes as NDJSON, CSV and Arrow; `language` takes SQL");
    let ask = book.post(at("/query"), "Query_Execute", "Asks");
    let ask = ask.takes(question()).asks("timespan?", short(64), "Holds together with the body's.").refuses(&[504, 406]);
    answer(ask).differs("the answer also comes as NDJSON, CSV and Arrow; `language` takes SQL");
    book.post(at("/metadata"), "Metadata_Post", "Tables, functions and workspaces, as Azure's clients read them")
        .gives(200, metadata())
        .differs("lists of what is not here are empty; GET has a shape of our own");
}

fn metadata() -> Shape {
    let lists = [
        "tables",
        "functions",
        "workspaces",
        "categories",
        "resourceTypes",
        "resources",
        "queries",
        "solutions",
        "applications",
        "permissions",
    ];
    object(lists.map(|name| (name, list(map()))))
}

fn clusters(book: &mut Book) {
    let at = |rest: &str| format!("/v1/clusters/{{cluster}}{rest}");
    let pace = || object([("rateMbS?", or_null(between(1, 100_000))), ("paused?", or_null(flag()))]);
    book.get("/v1/clusters", "clusters_list", "The clusters that the caller may see").gives(200, values(named("Cluster")));
    book.get(at(""), "clusters_get", "A cluster").gives(200, named("Cluster"));
    book.get(at("/key"), "clusters_key", "How its key stands, and what lies under it").gives(200, named("KeyStatus"));
    book.post(at("/key/release"), "clusters_key_release", "Ends a quarantine, if the vault proves the key").gives(200, named("KeyStatus"));
    book.post(at("/check"), "clusters_check", "Looks whether everything is in order for a key or a link")
        .may_take(object([
            ("keyVaultProperties?", or_null(open([("keyVaultUri", text()), ("keyName", text()), ("keyVersion?", or_null(text()))]))),
            ("workspace?", or_null(text())),
        ]))
        .gives(
            200,
            object([("cluster", text()), ("ok", flag()), ("checks", list(object([("name", text()), ("ok", flag()), ("text", text())])))]),
        );
    book.get(at("/evidence"), "clusters_evidence", "What each revocation did, and when")
        .gives(200, object([("cluster", text()), ("value", list(map()))]));
    book.get(at("/rekey"), "rekey_get", "How the last re-key stands").gives(200, named("Rewriting"));
    book.post(at("/rekey"), "rekey_start", "Seals everything under a new account key").may_take(pace()).gives(200, named("Rewriting"));
    book.post(at("/recover"), "clusters_recover", "Brings a deleted cluster back, where the settings have it").gives(200, named("Cluster"));
    book.post(at("/restore-identity"), "clusters_restore_identity", "Ends `identity: None`")
        .gives(200, object([("restored", flag()), ("cluster", named("Cluster"))]));
    let of = "/v1/workspaces/{workspace}/reencrypt";
    book.get(of, "reencrypt_get", "How the re-encryption of older blocks stands").gives(200, named("Rewriting"));
    book.post(of, "reencrypt_start", "Seals a workspace's older blocks under its cluster's key, paces or pauses that")
        .may_take(pace())
        .gives(200, named("Rewriting"));
}

fn audit(book: &mut Book) {
    book.get("/v1/audit", "audit_read", "Records of the audit chain, newest first")
        .asks("cluster?", short(63), "Of one cluster.")
        .asks("workspace?", short(128), "Of one workspace.")
        .asks("event?", short(64), "Of one kind.")
        .asks("since?", short(64), "A date, or so long ago, as in 24h.")
        .asks("limit?", between(0, 10_000), "At most so many.")
        .gives(200, values(open([("seq", whole()), ("atMs", whole()), ("hash", text()), ("previous", text()), ("event", text())])));
    book.get("/v1/audit/verify", "audit_verify", "Reads the whole chain and tells what is wrong with it").gives(
        200,
        open([
            ("records", whole()),
            ("first", whole()),
            ("last", whole()),
            ("head", whole()),
            ("hash", text()),
            ("problems", list(text())),
        ]),
    );
    let request = || named("LockboxRequest");
    book.get("/v1/lockbox", "lockbox_list", "Requests for leave to read a customer's data").gives(200, values(request()));
    book.post("/v1/lockbox", "lockbox_request", "Asks a customer for leave")
        .takes(object([("workspace", short(128)), ("reason", like(".*", 1, 1_000)), ("hours?", between(1, 24))]))
        .gives(201, request());
    book.get("/v1/lockbox/{request}", "lockbox_get", "A request").gives(200, request());
    book.post("/v1/lockbox/{request}/approve", "lockbox_approve", "Gives leave").gives(200, request());
    book.post("/v1/lockbox/{request}/reject", "lockbox_reject", "Refuses it").gives(200, request());
    book.post("/v1/lockbox/{request}/end", "lockbox_end", "Takes leave back").gives(200, request());
}

/// The shapes that these doors share.
pub(super) fn components(to: ComponentsBuilder) -> ComponentsBuilder {
    let workspace = || {
        [
            ("id", guid()),
            ("name", text()),
            ("subscription", text()),
            ("resourceGroup", text()),
            ("region", text()),
            ("retentionInDays", whole()),
            ("createdMs", whole()),
        ]
    };
    let shown = [("cluster?", text()), ("cmkIngestPolicy?", word(&["refuse", "seal", "drop"])), ("whileKeyAway?", list(map()))];
    let gone = [("deletedMs", whole()), ("shredMs", whole()), ("shredded?", flag()), ("notice?", text())];
    let column = object([("name", text()), ("type", text())]);
    let who = || object([("id", guid()), ("name", text())]);
    to.schema("Workspace", object(workspace().into_iter().chain(shown)))
        .schema("DeletedWorkspace", object(workspace().into_iter().chain(gone)))
        .schema(
            "Table",
            object([
                ("name", text()),
                ("rowsLive", whole()),
                ("bytes", whole()),
                ("blocks", whole()),
                ("columns", list(column)),
                ("retentionDays", or_null(whole())),
            ]),
        )
        .schema(
            "Rewriting",
            object([
                ("operation", guid()),
                ("status", text()),
                ("percentComplete", number()),
                ("remainingBytes", whole()),
                ("rateMbS", or_null(whole())),
                ("paused", flag()),
                ("error", or_null(text())),
            ]),
        )
        .schema(
            "KeyStatus",
            open([
                ("state", text()),
                ("sinceMs", or_null(whole())),
                ("code", or_null(text())),
                ("lastGoodMs", or_null(whole())),
                ("leaseLeftS", or_null(whole())),
                ("kek", or_null(map())),
                ("aeks", list(map())),
                ("infrastructureKey", flag()),
                ("cluster", text()),
                ("resourceId", text()),
                ("holdings", list(map())),
                ("sealedWaiting", map()),
            ]),
        )
        .schema(
            "LockboxRequest",
            object([
                ("id", guid()),
                ("workspace", guid()),
                ("workspaceName", or_null(text())),
                ("cluster", or_null(text())),
                ("requester", who()),
                ("reason", text()),
                ("hours", whole()),
                ("state", text()),
                ("askedMs", whole()),
                ("answerByMs", whole()),
                ("decidedBy", or_null(who())),
                ("decidedMs", or_null(whole())),
                ("untilMs", or_null(whole())),
                ("endedMs", or_null(whole())),
            ]),
        )
}
