//! Right answers, whatever lies where.

use serde_json::json;
use strongroom_model::TimeRange;

use crate::rig::{NOW, Rig};
use crate::{Language, QueryRequest, output};
use futures::StreamExt;

const MINUTE: i64 = 60_000_000_000;

#[tokio::test]
async fn rows_are_counted_once_in_memory_in_blocks_and_in_both() {
    let rig = Rig::new().await;
    rig.send_many("App", 100, 5, 0).await;
    assert_eq!(rig.sql("select count(*) as c, sum(n) as s from App").await.rows(), [json!([100, 4950])]);
    rig.flush().await;
    assert_eq!(rig.sql("select count(*) as c, sum(n) as s from App").await.rows(), [json!([100, 4950])]);
    rig.send_many("App", 50, 1, 100).await;
    assert_eq!(rig.sql("select count(*) as c, max(n) as m from App").await.rows(), [json!([150, 149])]);
    rig.flush().await;
    assert_eq!(rig.sql("select count(*) as c, max(n) as m from App").await.rows(), [json!([150, 149])]);
    assert_eq!(rig.sql("select count(*) as c from App where n >= 90 and word = 'even'").await.rows(), [json!([30])]);
}

#[tokio::test]
async fn a_flush_between_the_two_snapshots_neither_loses_nor_doubles_rows() {
    let rig = Rig::new().await;
    rig.send_many("App", 10, 5, 0).await;
    let table = rig.deps.catalog.table_get(rig.workspace, &"App".parse().unwrap()).await.unwrap().unwrap();
    // Memory first, then a flush, then the catalog: the order of a read.
    let memory = rig.deps.buffer.snapshot(table.id);
    rig.flush().await;
    let pin = rig.deps.catalog.pin(table.id).await.unwrap();
    let left: usize = crate::pin::unflushed(memory, &pin).iter().map(|(_, batch)| batch.num_rows()).sum();
    let blocks = pin.rows;
    assert_eq!((left, blocks), (0, 10));
    // The other order would have lost them: nothing is left in memory after the flush.
    assert!(rig.deps.buffer.snapshot(table.id).iter().all(|part| part.rows.is_empty()));
}

#[tokio::test]
async fn every_answer_is_the_same_while_flushes_run_beside_it() {
    let rig = std::sync::Arc::new(Rig::new().await);
    rig.send_many("App", 20, 5, 0).await;
    let flusher = {
        let rig = rig.clone();
        tokio::spawn(async move {
            for i in 1..8 {
                rig.flush().await;
                rig.send_many("App", 20, 5, i * 20).await;
            }
        })
    };
    let mut last = 0;
    while !flusher.is_finished() {
        let rows = rig.sql("select count(*), count(distinct n) from App").await.rows();
        let (all, distinct) = (rows[0][0].as_i64().unwrap(), rows[0][1].as_i64().unwrap());
        assert_eq!(all, distinct, "no row twice");
        assert!(all >= last && all % 20 == 0, "whole requests, and none lost: {all} after {last}");
        last = all;
    }
    flusher.await.unwrap();
    assert_eq!(rig.sql("select count(*) from App").await.rows(), [json!([160])]);
}

#[tokio::test]
async fn a_column_that_came_late_is_null_in_older_rows() {
    let rig = Rig::new().await;
    rig.send("App", r#"{"n":1}"#).await;
    rig.flush().await;
    rig.send("App", r#"{"n":2,"late":"yes"}"#).await;
    let want = [json!([1, null]), json!([2, "yes"])];
    assert_eq!(rig.sql("select n, late from App order by n").await.rows(), want);
    rig.flush().await;
    assert_eq!(rig.sql("select n, late from App order by n").await.rows(), want);
    assert_eq!(rig.sql("select n from App where late is null").await.rows(), [json!([1])]);
    assert_eq!(rig.sql("select n from App where late = 'yes'").await.rows(), [json!([2])]);
}

#[tokio::test]
async fn a_long_column_that_met_a_real_is_real_in_every_block() {
    let rig = Rig::new().await;
    rig.send("App", r#"[{"v":1},{"v":3}]"#).await;
    rig.flush().await;
    rig.send("App", r#"{"v":2.5}"#).await;
    for _ in 0..2 {
        let told = rig.sql("select v from App order by v").await;
        assert_eq!(told.rows(), [json!([1.0]), json!([2.5]), json!([3.0])]);
        assert_eq!(told.columns()[0].1, "real");
        assert_eq!(rig.sql("select sum(v) from App where v > 2").await.rows(), [json!([5.5])]);
        assert_eq!(rig.sql("select count(*) from App where v = 3").await.rows(), [json!([1])]);
        rig.flush().await;
    }
}

#[tokio::test]
async fn values_are_spelled_the_azure_way() {
    let rig = Rig::new().await;
    rig.send(
        "App",
        r#"{"TimeGenerated":"2026-03-01T10:00:00.1234567Z","big":9007199254740993,"r":0.5,"b":true,"s":"a\"b","d":{"k":[1,null]},"e":""}"#,
    )
    .await;
    let told = rig.sql(r#"select "TimeGenerated", big, r, b, s, d, e from App"#).await;
    assert_eq!(
        told.rows(),
        [json!(["2026-03-01T10:00:00.1234567Z", 9_007_199_254_740_993_i64, 0.5, true, "a\"b", "{\"k\":[1,null]}", ""])]
    );
    let kinds: Vec<_> = told.columns().into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, ["datetime", "long", "real", "bool", "string", "dynamic", "string"]);
    let odd = rig.sql("select cast('NaN' as double) x, cast('-inf' as double) y, interval '1 day' is null z").await;
    assert_eq!(odd.rows(), [json!(["NaN", "-Infinity", false])]);
}

#[tokio::test]
async fn names_keep_their_case_and_a_near_miss_is_pointed_out() {
    let rig = Rig::new().await;
    rig.send("AppLogs", r#"{"Level":"info","level":"low"}"#).await;
    assert_eq!(rig.sql("select Level, level from AppLogs").await.rows(), [json!(["info", "low"])]);
    let error = rig.try_sql("select 1 from applogs").await.unwrap_err();
    assert_eq!(error.kind(), strongroom_model::ErrorKind::Invalid);
    assert!(error.message().contains("did you mean AppLogs?"), "{error}");
    let place = error.place().unwrap();
    assert_eq!((place.line, place.column, place.token.as_str()), (1, 15, "applogs"));
    assert!(rig.try_sql("select Levle from AppLogs").await.unwrap_err().message().contains("Levle"));
}

#[tokio::test]
async fn the_timespan_cuts_memory_and_blocks_alike() {
    let rig = Rig::new().await;
    rig.send_many("App", 60, 30, 0).await;
    rig.flush().await;
    rig.send_many("App", 60, 10, 60).await;
    let span = |start, end| Some(TimeRange { start: NOW - start * MINUTE, end: NOW - end * MINUTE });
    let count = async |timespan, text: &str| {
        let request = QueryRequest { timespan, ..rig.request(text, Language::Sql) };
        rig.told(request).await.unwrap().rows()[0][0].as_i64().unwrap()
    };
    assert_eq!(count(span(60, 0), "select count(*) from App").await, 120);
    assert_eq!(count(span(60, 20), "select count(*) from App").await, 60);
    assert_eq!(count(span(15, 0), "select count(*) from App").await, 60);
    assert_eq!(count(span(30, 30), "select count(*) from App").await, 1);
    assert_eq!(count(span(15, 0), "select sum(n) from App where word = 'even'").await, (60..120).filter(|n| n % 2 == 0).sum::<i64>());
    assert_eq!(count(span(15, 0), "select max(n) from (select n from App limit 1000)").await, 119);
    assert_eq!(count(span(5, 0), "select count(*) from App").await, 0);
}

#[tokio::test]
async fn joins_unions_windows_and_subqueries_answer() {
    let rig = Rig::new().await;
    rig.send_many("A", 10, 5, 0).await;
    rig.flush().await;
    rig.send_many("B", 10, 5, 5).await;
    assert_eq!(rig.sql("select count(*) from A join B on A.n = B.n").await.rows(), [json!([5])]);
    assert_eq!(rig.sql("select count(*) from (select n from A union all select n from B) u").await.rows(), [json!([20])]);
    assert_eq!(rig.sql("select n from A where n in (select n from B) order by n limit 1").await.rows(), [json!([5])]);
    assert_eq!(
        rig.sql("with x as (select n, row_number() over (order by n desc) r from A) select n from x where r = 2").await.rows(),
        [json!([8])]
    );
    assert_eq!(
        rig.sql("select word, count(*) c from A group by word having count(*) > 1 order by word").await.rows(),
        [json!(["even", 5]), json!(["odd", 5])]
    );
    assert_eq!(
        rig.sql("select date_bin(interval '1 hour', \"TimeGenerated\") h, count(*) from A group by h").await.rows(),
        [json!(["2026-03-01T11:00:00Z", 10])]
    );
}

#[tokio::test]
async fn the_newest_rows_come_in_order_from_memory_and_overlapping_blocks() {
    let rig = Rig::new().await;
    for (minutes, from) in [(200, 0), (90, 100), (91, 200), (5, 300)] {
        rig.send_many("App", 50, minutes, from).await;
        rig.flush().await;
    }
    rig.send_many("App", 5, 1, 400).await;
    let newest: Vec<_> = rig
        .sql("select n from App order by \"TimeGenerated\" desc limit 8")
        .await
        .rows()
        .iter()
        .map(|row| row[0].as_i64().unwrap())
        .collect();
    assert_eq!(newest, [400, 401, 402, 403, 404, 300, 301, 302]);
    let all = rig.sql("select \"TimeGenerated\" t from App order by t desc limit 1000").await.rows();
    assert_eq!(all.len(), 205);
    assert!(all.windows(2).all(|pair| pair[0][0].as_str() >= pair[1][0].as_str()));
    let text = "select n from App order by \"TimeGenerated\" desc limit 3";
    let timespan = Some(TimeRange { start: NOW - 300 * MINUTE, end: NOW - 90 * MINUTE - 1_000_000_000 });
    let request = QueryRequest { timespan, ..rig.request(text, Language::Sql) };
    assert_eq!(rig.told(request).await.unwrap().rows(), [json!([101]), json!([102]), json!([103])]);
    let within = "select n from App where \"TimeGenerated\" < timestamp '2026-03-01 10:29:01' order by \"TimeGenerated\" desc limit 2";
    let newest = rig.sql(within).await.rows();
    assert_eq!(newest, [json!([200]), json!([201])]);
    let oldest = rig.sql("select n from App order by \"TimeGenerated\" limit 2").await.rows();
    assert_eq!(oldest, [json!([49]), json!([48])]);
}

#[tokio::test]
async fn answers_stream_as_csv_ndjson_and_arrow() {
    let rig = Rig::new().await;
    rig.send("App", r#"[{"n":1,"s":"a,\"b\"","d":{"k":1}},{"n":2,"e":""}]"#).await;
    let text = "select n, s, e, d from App order by n";
    let whole = async |mut stream: output::ByteStream| {
        let mut all = Vec::new();
        while let Some(bytes) = stream.next().await {
            all.extend_from_slice(&bytes.unwrap());
        }
        all
    };
    let csv = String::from_utf8(whole(output::csv(rig.run(text).await.unwrap())).await).unwrap();
    assert_eq!(csv, "n,s,e,d\r\n1,\"a,\"\"b\"\"\",,\"{\"\"k\"\":1}\"\r\n2,,\"\",\r\n");
    let lines = String::from_utf8(whole(output::ndjson(rig.run(text).await.unwrap())).await).unwrap();
    assert_eq!(lines, "{\"n\":1,\"s\":\"a,\\\"b\\\"\",\"d\":{\"k\":1}}\n{\"n\":2,\"e\":\"\"}\n");
    let ipc = whole(output::arrow_ipc(rig.run(text).await.unwrap())).await;
    let batches: Vec<_> = arrow_ipc::reader::StreamReader::try_new(ipc.as_slice(), None).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 2);
    assert_eq!(batches[0].schema().field(0).name(), "n");
}

#[tokio::test]
async fn tables_are_listed_with_columns_rows_and_sizes() {
    let rig = Rig::new().await;
    rig.send_many("App", 10, 5, 0).await;
    rig.flush().await;
    rig.send_many("App", 5, 5, 10).await;
    let tables = rig.engine.tables(rig.workspace, strongroom_model::PrincipalId::NIL).await.unwrap();
    let app = tables.iter().find(|table| table.name == "App").unwrap();
    assert_eq!((app.rows_live, app.blocks), (15, 1));
    assert!(app.bytes > 0);
    assert_eq!(app.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["TimeGenerated", "n", "word", "text"]);
}

#[tokio::test]
async fn an_empty_table_and_no_table_at_all_answer() {
    let rig = Rig::new().await;
    rig.send_many("App", 3, 5, 0).await;
    let told = rig.sql("select n from App where n > 100").await;
    assert!(told.rows().is_empty());
    assert_eq!(told.columns(), [("n".to_owned(), "long".to_owned())]);
    assert_eq!(rig.sql("select 1 + 1 as two").await.rows(), [json!([2])]);
}

#[tokio::test]
async fn kql_runs_over_the_same_tables_and_bounds() {
    let rig = Rig::new().await;
    rig.send_many("App", 100, 30, 0).await;
    rig.flush().await;
    rig.send_many("App", 20, 5, 100).await;
    assert_eq!(rig.kql("App | count").await.rows(), [json!([120])]);
    assert_eq!(rig.kql("App | where word == 'even' | summarize c = count(), m = max(n)").await.rows(), [json!([60, 118])]);
    assert_eq!(rig.kql("App | top 2 by TimeGenerated | project n").await.rows(), [json!([100]), json!([101])]);
    let timespan = Some(TimeRange { start: NOW - 10 * MINUTE, end: NOW });
    let told = rig.told(QueryRequest { timespan, ..rig.request("App | count", Language::Kql) }).await.unwrap();
    assert_eq!(told.rows(), [json!([20])]);
    let explained = rig.told(QueryRequest { explain: true, ..rig.request("App | where n > 110", Language::Kql) }).await.unwrap().items();
    assert!(explained.iter().any(|item| item["Fate"] == "pruned by statistics"), "{explained:?}");
    let request = rig.request("App | summarize count() by word | render piechart", Language::Kql);
    let render = rig.engine.run(request).await.unwrap().render.unwrap();
    assert_eq!(render.visualization, "piechart");
    let error = rig.told(rig.request("Ap | count", Language::Kql)).await.unwrap_err();
    assert_eq!(error.kind(), strongroom_model::ErrorKind::Invalid);
    assert!(error.innererror().is_some(), "{error}");
}
