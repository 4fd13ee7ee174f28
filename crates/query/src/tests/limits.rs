//! Bounds: what is cut says so, what is refused says why.

use std::fmt::Write as _;
use std::time::Duration;

use futures::StreamExt;
use strongroom_model::ErrorKind;

use crate::output::{self, JsonOptions, json};
use crate::rig::Rig;
use crate::{Language, Limits, QueryConfig, QueryRequest};

#[tokio::test]
async fn too_many_rows_are_cut_and_marked_partial() {
    let rig = Rig::new().await;
    rig.send_many("App", 500, 5, 0).await;
    let limits = Limits { rows: Some(120), ..Limits::default() };
    let told = rig.told(QueryRequest { limits, ..rig.request("select n from App", Language::Sql) }).await.unwrap();
    assert_eq!(told.rows().len(), 120);
    assert_eq!(told.whole["error"]["code"], "PartialError");
    assert!(told.whole["error"]["details"][0]["innererror"]["message"].as_str().unwrap().contains("E_QUERY_RESULT_SET_TOO_LARGE"));
    let limits = Limits { bytes: Some(400), ..Limits::default() };
    let told = rig.told(QueryRequest { limits, ..rig.request("select n from App", Language::Sql) }).await.unwrap();
    assert_eq!(told.rows().len(), 50);
    let answer = rig.run("select n, text from App").await.unwrap();
    let bytes = json(answer, JsonOptions { bytes_max: 1_000, ..JsonOptions::default() }).await.unwrap();
    assert!(bytes.len() < 2_000);
    let whole: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(whole["error"]["code"], "PartialError");
    assert!(!rig.sql("select n from App limit 120").await.whole.as_object().unwrap().contains_key("error"));
}

#[tokio::test]
async fn a_query_whose_time_is_over_ends() {
    let rig = Rig::new().await;
    rig.send_many("App", 2_000, 5, 0).await;
    let text = "select count(*) from App a, App b, App c where a.n + b.n * c.n = 17";
    let query = rig.told(rig.request(text, Language::Sql));
    let clock = async {
        rig.until(|| rig.sim.clock().sleeping() > 0).await;
        rig.sim.clock().advance(Duration::from_secs(61));
    };
    let (ended, ()) = tokio::join!(query, clock);
    let error = ended.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::TimedOut, "QueryTimeout"), "{error}");
}

/// More dropped queries than there are threads: if one of them ran on, nothing would be answered any more.
#[tokio::test]
async fn a_dropped_join_gives_its_thread_back() {
    let rig = Rig::new().await;
    rig.send_many("App", 3_000, 5, 0).await;
    for text in [
        "select count(*) from App a, App b, App c where a.n * b.n % 7 = c.n % 11",
        "select count(*) from App a join App b on a.n % 2 = b.n % 2 join App c on b.n % 2 = c.n % 2",
    ] {
        for _ in 0..3 {
            let mut answer = rig.run(text).await.unwrap();
            let first = tokio::time::timeout(Duration::from_millis(300), answer.batches.next()).await;
            assert!(first.is_err(), "{text} was to take long: {first:?}");
        }
        let next = tokio::time::timeout(Duration::from_mins(1), rig.sql("select count(*) as n from App")).await;
        assert_eq!(next.expect("the threads are free again").rows().len(), 1);
    }
}

/// A join makes any number of rows out of one batch. Each stands right below a step that gives way, whatever it is made as.
#[tokio::test]
async fn every_join_gives_way() {
    let rig = Rig::new().await;
    rig.send_many("App", 100, 5, 0).await;
    let mut kinds = std::collections::BTreeSet::new();
    for text in [
        "select count(*) from App a, App b where a.n * b.n % 7 = 3",
        "select a.n, b.n as m from App a cross join App b",
        "select count(*) from App a join App b on a.n = b.n",
        "select a.n from App a left join App b on a.n = b.n and a.text < b.text",
        "select n from App where n in (select n + 1 from App)",
        "select n from App where n not in (select n + 1 from App where n > 5)",
        "select a.n from App a full join App b on a.n > b.n",
        "select unnest(make_array(n, n + 1)) as m from App",
    ] {
        let items = rig.explain(text).await;
        let physical = items.iter().find(|item| item["Item"] == "physical plan").unwrap_or_else(|| panic!("{text}: {items:?}"));
        let lines: Vec<&str> = physical["Detail"].as_str().unwrap().lines().map(str::trim_start).collect();
        let found = |line: &str| {
            let name = line.split([':', ' ']).next().unwrap_or_default().to_owned();
            (name.ends_with("JoinExec") || name == "UnnestExec").then_some(name)
        };
        let joins: Vec<(usize, String)> = lines.iter().enumerate().filter_map(|(at, line)| Some((at, found(line)?))).collect();
        assert!(!joins.is_empty(), "{text} joins nothing: {lines:#?}");
        for (at, name) in joins {
            assert!(at > 0 && lines[at - 1].starts_with("CooperativeExec"), "{text}: {name} does not give way: {lines:#?}");
            kinds.insert(name);
        }
    }
    assert!(kinds.len() >= 3, "only {kinds:?} were tried");
}

#[tokio::test]
async fn a_constant_that_is_no_pattern_is_told_with_its_place() {
    let rig = Rig::new().await;
    rig.send_many("App", 10, 5, 0).await;
    for text in [
        "select n from App where text ~ '('",
        "select n from App where regexp_like(text, '(')",
        "select regexp_replace(text, '(', 'x') from App",
        "select count(*) from App where n in (select n from App where text !~* '(')",
    ] {
        let error = rig.try_sql(text).await.unwrap_err();
        let place = error.place().unwrap_or_else(|| panic!("{text}: {error}"));
        assert_eq!((error.kind(), place.token.as_str()), (ErrorKind::Invalid, "'('"), "{text}: {error}");
        assert!(error.message().contains("no regular expression: unclosed group"), "{error}");
    }
    // SQL's `replace` takes texts, not patterns.
    assert_eq!(rig.sql("select replace(text, '(', 'x') as t from App").await.rows().len(), 10);
}

#[tokio::test]
async fn what_the_sql_parser_says_comes_in_words_with_line_and_column() {
    let rig = Rig::new().await;
    for text in ["select\n  * frm App", "select 'x", "select ((("] {
        let error = rig.try_sql(text).await.unwrap_err();
        assert_eq!(error.code(), "SyntaxError");
        assert!(!error.message().contains("ParserError") && !error.message().contains("TokenizerError"), "{error}");
        assert!(error.place().is_some(), "{error}");
    }
    let error = rig.try_sql("select\n  * frm App").await.unwrap_err();
    assert_eq!(error.place().map(|place| (place.line, place.column)), Some((2, 9)), "{error}");
}

#[tokio::test]
async fn now_is_an_instant_in_sql() {
    let rig = Rig::new().await;
    rig.send_many("App", 10, 5, 0).await;
    for text in [
        "select now() as t",
        "select current_timestamp as t",
        "select current_date as t",
        "select date_trunc('hour', now()) as t",
        "select count(*) as n from App where \"TimeGenerated\" > now() - interval '1 day'",
    ] {
        assert_eq!(rig.sql(text).await.rows().len(), 1, "{text}");
    }
}

#[tokio::test]
async fn a_query_that_finds_no_place_in_time_is_told_to_come_back() {
    let rig = Rig::with(QueryConfig { concurrent_max: 1, waiting_max: 1, batch_rows: 64, ..QueryConfig::default() }, false).await;
    rig.send_many("App", 5_000, 5, 0).await;
    let running = rig.run("select n from App").await.unwrap();
    let before = rig.sim.clock().sleeping();
    let waiting = rig.run("select 1");
    let rest = async {
        rig.until(|| rig.sim.clock().sleeping() > before).await;
        // One waits; the next is turned away at once.
        let error = rig.run("select 2").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        rig.sim.clock().advance(Duration::from_secs(31));
    };
    let (waited, ()) = tokio::join!(waiting, rest);
    assert_eq!(waited.unwrap_err().code(), "TooManyQueries");
    drop(running);
}

#[tokio::test]
async fn memory_beyond_the_pool_without_spill_is_an_error_not_a_crash() {
    let rig = Rig::with(QueryConfig { memory_bytes: 1 << 20, spill_bytes: 0, ..QueryConfig::default() }, false).await;
    rig.send_many("App", 20_000, 5, 0).await;
    let error = rig.try_sql("select text, count(*) from App group by text order by text").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::TooLarge, "MemoryLimitExceeded"), "{error}");
}

#[tokio::test]
async fn spill_beyond_its_quota_is_an_error() {
    let rig =
        Rig::with(QueryConfig { memory_bytes: 4 << 20, spill_bytes: 100_000, batch_rows: 256, ..QueryConfig::default() }, false).await;
    for part in 0..3 {
        rig.send_many("App", 20_000, 5, part * 20_000).await;
    }
    let error = rig.try_sql("select text, n from App order by text, n").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
}

#[tokio::test]
async fn a_text_that_is_too_long_or_unfolds_too_far_is_refused() {
    let rig = Rig::new().await;
    let long = format!("select '{}'", "x".repeat(70_000));
    assert_eq!(rig.try_sql(&long).await.unwrap_err().code(), "QueryTooLong");
    let deep = format!("select {}1{}", "(".repeat(500), ")".repeat(500));
    assert_eq!(rig.try_sql(&deep).await.unwrap_err().kind(), ErrorKind::Invalid);
    let mut bomb = "with c0 as (select 1 as x)".to_owned();
    for i in 1..40 {
        write!(bomb, ", c{i} as (select a.x from c{0} a, c{0} b)", i - 1).unwrap();
    }
    bomb.push_str(" select count(*) from c39");
    assert!(rig.try_sql(&bomb).await.unwrap_err().message().contains("unfolds"));
}

#[tokio::test]
async fn values_that_would_outgrow_memory_are_refused_before_they_are_made() {
    let rig = Rig::new().await;
    rig.send_many("App", 5, 5, 0).await;
    let mut doubling = "with c0 as (select repeat('x', 10000) as s from App)".to_owned();
    for i in 1..30 {
        write!(doubling, ", c{i} as (select s || s as s from c{})", i - 1).unwrap();
    }
    doubling.push_str(" select length(s) from c29");
    let long = "y".repeat(9_000);
    for text in [
        doubling,
        format!("select replace(repeat('x', 10000), 'x', '{long}') from App"),
        "select repeat(repeat('x', 10000), 10000) from App".to_owned(),
        "select replace(replace(replace(text, 'n', text), 'e', text), 'i', text) from App".to_owned(),
    ] {
        let error = rig.try_sql(&text).await.unwrap_err();
        assert!(error.message().contains("as long as"), "{error}");
    }
    let fine = "select replace(word || '-' || text || concat(word, text, word), 'e', '<b>e</b>') from App";
    assert_eq!(rig.sql(fine).await.rows().len(), 5);
}

#[tokio::test]
async fn a_stream_that_is_cut_by_a_limit_breaks_instead_of_ending() {
    let rig = Rig::new().await;
    rig.send_many("App", 500, 5, 0).await;
    let limits = Limits { rows: Some(120), ..Limits::default() };
    let request = QueryRequest { limits, ..rig.request("select n from App", Language::Sql) };
    for encode in [output::csv, output::ndjson, output::arrow_ipc] {
        let parts: Vec<_> = encode(rig.engine.run(request.clone()).await.unwrap()).collect().await;
        assert_eq!(parts.last().unwrap().as_ref().unwrap_err().code(), "ResultTooLarge");
    }
}
