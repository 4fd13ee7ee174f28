//! Azure's data doors: rows in by the Logs Ingestion API and the HTTP Data Collector API, questions by resource and in batches, Kusto.

use utoipa::openapi::ComponentsBuilder;

use super::entry::{Book, Door, Entry};
use super::schema::{Shape, any, either, example, flag, list, map, named, object, open, or_null, short, text, whole, word};

static LOGS: Door = Door {
    tag: "Logs data",
    says: "Logs Ingestion API and Log Analytics query API.",
    refusal: "Refused",
    refuses: &[400, 401, 403, 404, 409, 503],
    refuses_changes: &[413, 415, 429, 507],
    bearer: true,
    versioned: false,
    azure: true,
};

static COLLECTOR: Door = Door {
    tag: "HTTP Data Collector",
    says: "Rows signed with a workspace's shared key.",
    refusal: "CollectorRefused",
    refuses: &[400, 403, 404, 429, 503, 507],
    refuses_changes: &[],
    bearer: false,
    versioned: false,
    azure: true,
};

static KUSTO: Door = Door {
    tag: "Kusto",
    says: "Kusto's protocol, as azure-kusto-data speaks it.",
    refusal: "KustoRefused",
    refuses: &[400, 401, 403, 409, 503],
    refuses_changes: &[413, 415, 429, 504],
    bearer: true,
    versioned: false,
    azure: true,
};

pub(super) fn describe() -> Vec<Book> {
    vec![logs(), collector(), kusto()]
}

fn logs() -> Book {
    let mut book = Book::of(&LOGS);
    book.post("/dataCollectionRules/{rule}/streams/{stream}", "LogsIngestion_Upload", "Sends rows through a data collection rule")
        .asks("api-version", example(short(32), "2023-01-01".into()), "Any; 2023-01-01 is what clients send.")
        .reads("content-encoding?", word(&["identity"]), "gzip, unless the body is as it is.")
        .takes(list(map()))
        .done(204)
        .differs("a rule has one workspace; a batch is a transaction: `transformKql` is all of our KQL over it");
    let path = "/v1/subscriptions/{subscription}/{*resource}";
    let ask = book.get(path, "Query_ResourceGet", "Asks a workspace by its resource id");
    answer(question_in_url(ask)).differs("workspaces alone: no other resource has logs here");
    let ask = book.post(path, "Query_ResourceExecute", "Asks a workspace by its resource id");
    let ask = ask.takes(question()).asks("timespan?", short(64), "Holds together with the body's.").refuses(&[406, 504]);
    answer(ask).differs("workspaces alone: no other resource has logs here");
    book.post("/v1/$batch", "Query_Batch", "Asks several questions")
        .takes(open([(
            "requests",
            list(open([
                ("id", short(64)),
                ("workspace?", or_null(text())),
                ("path?", or_null(word(&["/query"]))),
                ("method?", or_null(word(&["POST"]))),
                ("headers?", or_null(map())),
                ("body?", question()),
            ])),
        )]))
        .gives(200, object([("responses", list(object([("id", text()), ("status", whole()), ("headers", map()), ("body", map())])))]));
    book
}

fn collector() -> Book {
    let mut book = Book::of(&COLLECTOR);
    book.post("/api/logs", "DataCollector_Post", "Sends rows signed with a shared key")
        .asks("api-version", word(&["2016-04-01"]), "The one version that there is.")
        .reads("authorization?", text(), "`SharedKey WORKSPACE:SIGNATURE`")
        .reads("log-type?", short(100), "The table's name without `_CL`.")
        .reads("x-ms-date?", short(64), "When it was signed, RFC 1123.")
        .reads("time-generated-field?", short(128), "The member that holds the time of the event.")
        .takes(either(map(), list(map())))
        .done(200)
        .differs("rows are there when it is answered; a log type may not begin with a digit");
    book
}

fn kusto() -> Book {
    let mut book = Book::of(&KUSTO);
    let call = || object([("db?", or_null(text())), ("csl", text()), ("properties?", any())]);
    let v1 = || open([("Tables", list(open([("TableName", text()), ("Columns", list(map())), ("Rows", list(any()))])))]);
    book.post("/v1/rest/query", "Kusto_QueryV1", "Asks a workspace as a database")
        .takes(call())
        .gives(200, v1())
        .differs("bool is true and false, not 0 and 1");
    book.post("/v2/rest/query", "Kusto_QueryV2", "Asks a workspace as a database; frames")
        .takes(call())
        .gives(200, list(open([("FrameType", text())])));
    book.post("/v1/rest/mgmt", "Kusto_Mgmt", "What there is to ask about")
        .takes(call())
        .gives(200, v1())
        .differs("`.show version`, `databases`, `tables`, `table T cslschema`, `table T schema as json`, `database schema`; no command that changes anything");
    book.get("/v1/rest/auth/metadata", "Kusto_AuthMetadata", "Where to log in").gives(200, map()).public();
    book
}

/// The body of a question.
pub(super) fn question() -> Shape {
    object([
        ("query", example(short(20_000), "print 1".into())),
        ("language?", or_null(word(&["kql", "sql"]))),
        ("timespan?", or_null(short(64))),
        ("explain?", or_null(flag())),
        ("workspaces?", or_null(list(text()))),
        ("parameters?", or_null(map())),
    ])
}

/// A question in a URL, which has 64 KiB at most, each letter up to twelve bytes.
pub(super) fn question_in_url(entry: &mut Entry) -> &mut Entry {
    entry
        .asks("query", example(short(2_000), "print 1".into()), "The question; a longer one goes by POST.")
        .asks("language?", word(&["kql", "sql"]), "Its language, KQL unless said.")
        .asks("timespan?", short(64), "A time range, ISO 8601.")
        .asks("workspaces?", short(1_000), "Others to ask along, with commas between them.")
        .asks("explain?", flag(), "Tells the plan instead of running it.")
        .refuses(&[406, 413, 414, 429, 431, 504])
}

/// What a question is answered with, in the shape that the caller likes best.
pub(super) fn answer(entry: &mut Entry) -> &mut Entry {
    entry.gives(200, named("Answer")).gives_as(200, "application/x-ndjson", text()).gives_as(200, "text/csv", text()).gives_as(
        200,
        "application/vnd.apache.arrow.stream",
        super::schema::formatted("binary"),
    )
}

/// The shapes that these doors share.
pub(super) fn components(to: ComponentsBuilder) -> ComponentsBuilder {
    let column = object([("name", text()), ("type", text())]);
    let table = object([("name", text()), ("columns", list(column)), ("rows", list(list(any())))]);
    to.schema(
        "Answer",
        open([
            ("tables", list(table)),
            ("statistics?", map()),
            ("render?", map()),
            ("dataSources?", list(object([("resourceId", text()), ("region", text())]))),
            ("error?", named("Error")),
        ]),
    )
}
