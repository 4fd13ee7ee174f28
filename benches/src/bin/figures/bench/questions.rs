//! The twelve questions of the peers' comparison, and one more, in the languages of all who answer them.

use strongroom_benches::data::{RARE_WORD, REGEX, SELDOM_WORD, timestamp};

use super::corpus::Corpus;

/// One question.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) kql: String,
    pub(crate) sql: String,
    /// As plain DataFusion and DuckDB take it.
    pub(crate) datafusion: String,
    pub(crate) duckdb: String,
}

/// Name, KQL, SQL; and for DuckDB where it has another word for it. `{trace}` and others are filled in.
const TEXTS: [(&str, &str, &str, Option<&str>); 13] = [
    ("count", "logs | count", "SELECT count(*) AS n FROM logs", None),
    ("by_level", "logs | summarize n = count() by level", r#"SELECT "level", count(*) AS n FROM logs GROUP BY "level""#, None),
    (
        "hist_1m",
        "logs | summarize n = count() by t = bin(TimeGenerated, 1m)",
        r#"SELECT date_bin(interval '1 minute', "TimeGenerated") AS t, count(*) AS n FROM logs GROUP BY 1"#,
        Some(r#"SELECT date_trunc('minute', "TimeGenerated") AS t, count(*) AS n FROM logs GROUP BY 1"#),
    ),
    ("needle_trace", r#"logs | where trace_id == "{trace}""#, r#"SELECT * FROM logs WHERE "trace_id" = '{trace}'"#, None),
    ("word", r#"logs | where message has "{rare}""#, r#"SELECT * FROM logs WHERE "message" LIKE '%{rare}%'"#, None),
    (
        "top_err",
        r#"logs | where level == "ERROR" | summarize n = count() by service | top 10 by n"#,
        r#"SELECT "service", count(*) AS n FROM logs WHERE "level" = 'ERROR' GROUP BY "service" ORDER BY n DESC LIMIT 10"#,
        None,
    ),
    (
        "p95",
        "logs | summarize p95 = percentile(duration_ms, 95) by service",
        r#"SELECT "service", approx_percentile_cont("duration_ms", 0.95) AS p95 FROM logs GROUP BY "service""#,
        Some(r#"SELECT "service", approx_quantile("duration_ms", 0.95) AS p95 FROM logs GROUP BY "service""#),
    ),
    (
        "regex",
        r#"logs | where message matches regex @"{regex}" | summarize n = count()"#,
        r#"SELECT count(*) AS n FROM logs WHERE "message" ~ '{regex}'"#,
        Some(r#"SELECT count(*) AS n FROM logs WHERE regexp_matches("message", '{regex}')"#),
    ),
    (
        "last100",
        r#"logs | where service == "{service}" | top 100 by TimeGenerated desc"#,
        r#"SELECT * FROM logs WHERE "service" = '{service}' ORDER BY "TimeGenerated" DESC LIMIT 100"#,
        None,
    ),
    (
        "distinct_trace",
        "logs | where isnotempty(trace_id) | summarize n = count_distinct(trace_id)",
        r#"SELECT count(DISTINCT "trace_id") AS n FROM logs"#,
        None,
    ),
    (
        "last_hour_err",
        r#"logs | where TimeGenerated >= datetime({hour}) and level == "ERROR" | summarize n = count()"#,
        r#"SELECT count(*) AS n FROM logs WHERE "TimeGenerated" >= TIMESTAMP '{hour}' AND "level" = 'ERROR'"#,
        None,
    ),
    ("last100_all", "logs | top 100 by TimeGenerated desc", r#"SELECT * FROM logs ORDER BY "TimeGenerated" DESC LIMIT 100"#, None),
    (
        "seldom_word",
        r#"logs | where message has "{seldom}" | summarize n = count()"#,
        r#"SELECT count(*) AS n FROM logs WHERE "message" LIKE '%{seldom}%'"#,
        None,
    ),
];

/// All of them, about this data set.
pub(crate) fn about(corpus: &Corpus) -> Vec<Question> {
    let hour = timestamp(corpus.end - 3_600 * 1_000_000_000);
    let fill = |text: &str| {
        text.replace("{trace}", &corpus.trace)
            .replace("{service}", &corpus.service)
            .replace("{rare}", RARE_WORD)
            .replace("{seldom}", SELDOM_WORD)
            .replace("{regex}", REGEX)
    };
    let question = |(name, kql, sql, duckdb): (&'static str, &str, &str, Option<&str>)| Question {
        name,
        kql: fill(kql).replace("{hour}", &hour),
        // Readers of plain files keep times without a zone.
        sql: fill(sql).replace("{hour}", &hour),
        datafusion: fill(sql).replace("{hour}", hour.trim_end_matches('Z')),
        duckdb: fill(duckdb.unwrap_or(sql)).replace("{hour}", hour.trim_end_matches('Z')),
    };
    TEXTS.into_iter().map(question).collect()
}
