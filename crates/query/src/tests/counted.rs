//! What was counted when blocks were written answers as reading them would.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use strongroom_model::{ErrorKind, TimeRange};

use crate::output::{JsonOptions, json as as_json};
use crate::rig::{NOW, Rig};
use crate::{Engine, Language, QueryConfig, QueryRequest};

const MINUTE: i64 = 60_000_000_000;

/// Four blocks of 50 rows, 299, 149, 89 and 29 minutes old, and 5 rows in memory.
async fn four_blocks() -> Rig {
    let rig = Rig::new().await;
    for (minutes, from) in [(299, 0), (149, 1_000), (89, 2_000), (29, 3_000)] {
        rig.send_many("App", 50, minutes, from).await;
        rig.flush().await;
    }
    rig.send_many("App", 5, 1, 9_000).await;
    rig
}

fn span(from: i64, to: i64) -> TimeRange {
    TimeRange { start: NOW - from * MINUTE, end: NOW - to * MINUTE }
}

/// How many blocks are answered by their counts, and how many are read.
async fn fates(rig: &Rig, request: QueryRequest) -> (usize, usize) {
    let items = rig.told(QueryRequest { explain: true, ..request }).await.unwrap().items();
    let count = |fate: &str| items.iter().filter(|item| item["Item"] == "block" && item["Fate"] == fate).count();
    (count("answered by counts"), count("read"))
}

#[tokio::test]
async fn explain_tells_which_blocks_their_counts_answer() {
    let rig = four_blocks().await;
    for (text, expected) in [
        ("App | count", (4, 0)),
        ("App | summarize count() by word", (4, 0)),
        ("App | summarize n = count() by word | order by n", (4, 0)),
        ("App | where word == \"odd\" | count", (4, 0)),
        ("App | where word has \"odd\" or word =~ \"EVEN\" | summarize count(), countif(word startswith \"e\")", (4, 0)),
        ("App | distinct word", (4, 0)),
        ("App | summarize count() by bin(TimeGenerated, 1m)", (4, 0)),
        ("App | summarize count() by bin(TimeGenerated, 5m), word", (4, 0)),
        ("App | where word == \"odd\" | summarize count() by bin(TimeGenerated, 1h), startofday(TimeGenerated)", (4, 0)),
        ("App | summarize count() by hourofday(TimeGenerated), strlen(word)", (4, 0)),
        ("App | extend w = toupper(word) | summarize count() by w", (4, 0)),
        ("App | make-series count() on TimeGenerated from bin(ago(1d), 1h) to now() step 1h", (4, 0)),
        ("union App, App | count", (8, 0)),
        // A block that the span of time cuts is read; in whole minutes it need not be.
        ("App | where TimeGenerated > ago(89m) - 30s | count", (1, 1)),
        ("App | where TimeGenerated > ago(89m) - 30s | summarize count() by word", (1, 1)),
        ("App | where TimeGenerated >= ago(90m) and TimeGenerated < ago(29m) | count", (2, 0)),
        ("App | where TimeGenerated between (ago(90m) .. ago(29m) - 1s) | summarize count() by word", (1, 1)),
        // Too many values, two columns, finer than minutes, more than a count.
        ("App | where text has \"1003\" | count", (0, 4)),
        ("App | summarize count() by text", (0, 4)),
        ("App | summarize count() by n, word", (0, 4)),
        ("App | summarize count() by bin(TimeGenerated, 90s)", (0, 4)),
        ("App | summarize count() by bin(TimeGenerated, 1s)", (0, 4)),
        ("App | summarize count(), max(n) by word", (0, 4)),
        ("App | summarize count() by TimeGenerated", (0, 4)),
        ("App | take 3 | count", (0, 4)),
        ("App | where rand() < 2 | count", (0, 4)),
    ] {
        assert_eq!(fates(&rig, rig.request(text, Language::Kql)).await, expected, "{text}");
    }
    let time = "\"TimeGenerated\"";
    for (text, expected) in [
        ("select count(*), count(1), count(word) from App", (4, 0)),
        ("select word, count(*) filter (where word like 'o%') from App group by word having count(*) > 1", (4, 0)),
        (&format!("select date_trunc('minute', {time}) m, count(*) from App group by m"), (4, 0)),
        (&format!("select date_trunc('second', {time}) m, count(*) from App group by m"), (0, 4)),
        (&format!("select date_bin(interval '5 minutes', {time}) m, word, count(*) from App group by m, word"), (4, 0)),
        (
            &format!("select date_bin(interval '5 minutes', {time}, timestamp '2001-01-01 00:00:30') m, count(*) from App group by m"),
            (0, 4),
        ),
        (&format!("select extract(hour from {time}) h, count(*) from App where extract(dow from {time}) >= 0 group by h"), (4, 0)),
        (&format!("select extract(second from {time}) h, count(*) from App group by h"), (0, 4)),
        ("select count(distinct word) from App", (4, 0)),
        ("select word, count(*) from (select word from App union all select word from App) x group by rollup(word)", (0, 8)),
    ] {
        assert_eq!(fates(&rig, rig.request(text, Language::Sql)).await, expected, "{text}");
    }
    // The request's own span of time is a condition like others.
    let cut = TimeRange { start: NOW - 89 * MINUTE - MINUTE / 2, end: NOW };
    for (timespan, expected) in [(span(150, 60), (2, 0)), (span(300, 0), (4, 0)), (span(89, 0), (2, 0)), (cut, (1, 1))] {
        let request = QueryRequest { timespan: Some(timespan), ..rig.request("App | summarize count() by word", Language::Kql) };
        assert_eq!(fates(&rig, request).await, expected, "{timespan:?}");
    }
}

#[tokio::test]
async fn counts_cost_no_byte_of_a_block_and_are_counted() {
    let rig = four_blocks().await;
    for text in ["select word, count(*) from App group by word", "select count(*) from App where word = 'odd'"] {
        let answer = rig.run(text).await.unwrap();
        let stats = answer.stats.clone();
        as_json(answer, JsonOptions::default()).await.unwrap();
        assert_eq!((stats.blocks_seen(), stats.blocks_kept(), stats.blocks_counted(), stats.bytes_read()), (4, 4, 4, 0), "{text}");
        assert_eq!(stats.to_json()["query"]["blocks"], json!({"seen": 4, "counted": 4, "read": 0, "bytesRead": 0}));
    }
    assert_eq!(
        rig.sql("select word, count(*) from App group by word order by word").await.rows(),
        [json!(["even", 103]), json!(["odd", 102])]
    );
}

#[tokio::test]
async fn a_block_that_is_answered_by_its_counts_is_none_of_those_that_may_be_read() {
    let rig = four_blocks().await;
    let engine = |blocks_max| Engine::open(rig.deps.clone(), QueryConfig { blocks_max, ..QueryConfig::default() });
    let three = engine(3).await.unwrap();
    let ask =
        async |engine: &Engine, text: &str| engine.run(rig.request(text, Language::Kql)).await.map(|_| ()).map_err(|error| error.code());
    assert_eq!(ask(&three, "App | summarize count() by word").await, Ok(()));
    assert_eq!(ask(&three, "App | summarize sum(n) by word").await, Err("TooManyBlocks"));
    assert_eq!(ask(&three, "App | where TimeGenerated > ago(89m) - 30s | count").await, Ok(()));
    // Not even looked at.
    assert_eq!(ask(&*engine(0).await.unwrap(), "App | count").await, Err("TooManyBlocks"));
}

/// Counts are of rows: what keeps rows back keeps them back.
#[tokio::test]
async fn counts_do_not_leave_once_the_key_is_gone() {
    let rig = four_blocks().await;
    rig.flush().await;
    let text = "select word, count(*) from App group by word";
    assert_eq!(fates(&rig, rig.request(text, Language::Sql)).await, (5, 0));
    // Planned and answered, not handed out yet.
    let answer = rig.run(text).await.unwrap();
    let epoch = rig.blocks("App").await[0].epoch;
    rig.deps.keys.epoch_guard(epoch).await.unwrap().kill();
    let error = answer.egress.pass().await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::KeyRevoked, "QueryAbortedKeyRevoked"));
    // Nor is one planned: the statistics are cached still, and take a guard all the same.
    assert_eq!(rig.engine.cached()[3], 5);
    for text in [text, "select count(*) from App"] {
        assert_eq!(rig.try_sql(text).await.unwrap_err().kind(), ErrorKind::KeyRevoked, "{text}");
    }
    rig.engine.forget(epoch);
    assert_eq!(rig.engine.cached(), [0; 5]);
}

// What follows asks random questions of random rows, once by counts and once by reading.

fn pick(runner: &mut TestRunner, from: &'static [&'static str]) -> &'static str {
    prop::sample::select(from).new_tree(runner).unwrap().current()
}

fn number(runner: &mut TestRunner, from: std::ops::Range<i64>) -> i64 {
    from.new_tree(runner).unwrap().current()
}

/// Sends some rows: minutes and their edges, values that are few, many, of two types, absent.
async fn rows(rig: &Rig, runner: &mut TestRunner, late: bool) {
    let width = number(runner, 1..20);
    let lines: Vec<String> = (0..number(runner, 1..200))
        .map(|_| {
            // About a full hour: two windows.
            let minute = 50 + number(runner, 0..width);
            let within = [0, 100, MINUTE / 2, MINUTE - 100][usize::try_from(number(runner, 0..4)).unwrap()];
            let back = if number(runner, 0..100) == 0 { 57 * 365 * 1_440 * MINUTE } else { 0 };
            let mut row = serde_json::Map::new();
            row.insert("TimeGenerated".into(), json!(crate::output::format_datetime(NOW - 240 * MINUTE + minute * MINUTE + within - back)));
            match number(runner, 0..8) {
                0 => {}
                1 => drop(row.insert("level".into(), json!(""))),
                _ => drop(row.insert("level".into(), json!(pick(runner, &["INFO", "info", "ERROR", "WARN", "a level of some length"])))),
            }
            row.insert("status".into(), if late && number(runner, 0..9) == 0 { json!(1.5) } else { json!(number(runner, 200..204)) });
            row.insert("many".into(), json!(number(runner, 0..1_000)));
            if number(runner, 0..3) > 0 {
                row.insert("good".into(), json!(number(runner, 0..2) == 0));
            }
            if late {
                row.insert("region".into(), json!(pick(runner, &["eu", "us"])));
            }
            Value::Object(row).to_string()
        })
        .collect();
    rig.send("App", lines.join("\n")).await;
}

fn question(runner: &mut TestRunner) -> (Language, String) {
    let from = number(runner, 40..70) * MINUTE + [0, 0, 1, -1, 12_345][usize::try_from(number(runner, 0..5)).unwrap()] * 100;
    let at = |ns: i64| crate::output::format_datetime(NOW - 240 * MINUTE + ns);
    let (from, to) = (at(from), at(from + number(runner, 0..40) * MINUTE));
    if number(runner, 0..3) == 0 {
        let test = pick(
            runner,
            &[
                "true",
                "level = 'ERROR'",
                "level is null",
                "level <> ''",
                "status > 201",
                "good",
                "region = 'eu' or region is null",
                "many < 500",
                "extract(minute from \"TimeGenerated\") < 30",
                "level in ('INFO', 'x') and status < 203",
            ],
        );
        let time = [
            String::new(),
            format!("and \"TimeGenerated\" >= timestamp '{from}'"),
            format!("and \"TimeGenerated\" > timestamp '{from}' and \"TimeGenerated\" <= timestamp '{to}'"),
        ];
        let time = &time[usize::try_from(number(runner, 0..3)).unwrap()];
        let (groups, values) = (
            pick(
                runner,
                &[
                    "",
                    "level",
                    "status",
                    "region",
                    "good",
                    "date_trunc('minute', \"TimeGenerated\")",
                    "date_trunc('day', \"TimeGenerated\"), level",
                    "date_bin(interval '7 minutes', \"TimeGenerated\"), status",
                    "many",
                ],
            ),
            pick(runner, &["count(*)", "count(*), count(level), count(region)", "count(status) filter (where good), count(1)"]),
        );
        let (select, by) =
            if groups.is_empty() { (String::new(), String::new()) } else { (format!("{groups}, "), format!("group by {groups}")) };
        return (Language::Sql, format!("select {select}{values} from App where {test} {time} {by}"));
    }
    let mut text = "App".to_owned();
    for _ in 0..number(runner, 0..3) {
        text += " | where ";
        text += &[
            pick(
                runner,
                &[
                    "level == \"ERROR\"",
                    "level =~ \"info\"",
                    "isempty(level)",
                    "isnotempty(region)",
                    "status >= 202",
                    "status == 1.5",
                    "good",
                    "good == false",
                    "isnull(good)",
                    "level in (\"INFO\", \"WARN\")",
                    "level has \"some\"",
                    "many > 500",
                    "hourofday(TimeGenerated) > 8",
                    "bin(TimeGenerated, 10m) == bin(TimeGenerated, 1h) or level == \"WARN\"",
                ],
            )
            .to_owned(),
            format!("TimeGenerated > datetime({from})"),
            format!("TimeGenerated >= datetime({from}) and TimeGenerated < datetime({to})"),
            format!("TimeGenerated between (datetime({from}) .. datetime({to}))"),
        ][usize::try_from(number(runner, 0..4)).unwrap()];
    }
    text += pick(
        runner,
        &[
            " | count",
            " | summarize count()",
            " | summarize n = count() by level | order by level",
            " | summarize count() by status",
            " | summarize count() by tolower(level), good = coalesce(good, false)",
            " | summarize count(), countif(level == \"ERROR\"), countif(status > 200) by region",
            " | summarize countif(good), count() by bin(TimeGenerated, 1m)",
            " | summarize count() by bin(TimeGenerated, 1m)",
            " | summarize count() by bin(TimeGenerated, 5m), level",
            " | summarize count() by bin(TimeGenerated, 7m), status",
            " | summarize count() by startofday(TimeGenerated), dayofweek(TimeGenerated), region",
            " | summarize count() by bin(TimeGenerated, 30s)",
            " | summarize count() by many",
            " | distinct level",
            " | distinct good, region",
            " | extend l = strcat(level, \"!\") | summarize count() by l",
        ],
    );
    (Language::Kql, text)
}

/// An answer's rows in no order.
fn bag(told: &crate::rig::Told) -> HashMap<String, usize> {
    let mut rows = HashMap::new();
    told.rows().iter().for_each(|row| *rows.entry(row.to_string()).or_default() += 1);
    rows
}

#[tokio::test]
async fn an_answer_is_the_same_whether_its_blocks_are_counted_or_read() {
    let mut runner = TestRunner::deterministic();
    let (mut counted, mut both) = (0, 0);
    for tables in 0..3 {
        let rig = Rig::new().await;
        for block in 0..number(&mut runner, 2..5) {
            rows(&rig, &mut runner, block > 0 || tables == 2).await;
            rig.flush().await;
            if tables == 1 {
                rig.intake.compact(rig.workspace, None).await.unwrap();
            }
        }
        if number(&mut runner, 0..2) == 0 {
            rows(&rig, &mut runner, true).await;
        }
        let reading = Engine::open(rig.deps.clone(), QueryConfig { counts: false, ..QueryConfig::default() }).await.unwrap();
        for _ in 0..20 {
            let (language, text) = question(&mut runner);
            let timespan = (number(&mut runner, 0..4) == 0).then(|| {
                let start = NOW - 240 * MINUTE + number(&mut runner, 40..70) * MINUTE;
                TimeRange { start, end: start + number(&mut runner, 0..40) * MINUTE - number(&mut runner, 0..2) }
            });
            let request = QueryRequest { timespan, ..rig.request(&text, language) };
            let answer = rig.engine.run(request.clone()).await.unwrap_or_else(|error| panic!("{text}: {error}"));
            let stats = answer.stats.clone();
            let by_counts =
                crate::rig::Told { whole: serde_json::from_slice(&as_json(answer, JsonOptions::default()).await.unwrap()).unwrap() };
            let answer = reading.run(request).await.unwrap();
            let by_reading =
                crate::rig::Told { whole: serde_json::from_slice(&as_json(answer, JsonOptions::default()).await.unwrap()).unwrap() };
            assert_eq!(bag(&by_counts), bag(&by_reading), "{text} {timespan:?}");
            counted += usize::from(stats.blocks_counted() > 0);
            both += usize::from(stats.blocks_counted() > 0 && stats.blocks_counted() < stats.blocks_kept());
        }
    }
    assert!(counted > 15 && both > 8, "the questions ask too little: {counted} of 60 answered by counts, {both} by both");
}
