//! EXPLAIN tells what is read and why not more, and plans have the shape that makes them fast.

use serde_json::json;
use strongroom_store::Hotness;

use crate::rig::Rig;
use crate::{Language, QueryConfig, QueryRequest};

#[tokio::test]
async fn explain_tells_of_each_block_what_pruned_it() {
    let rig = Rig::new().await;
    for (minutes, from) in [(299, 0), (149, 1_000), (89, 2_000), (87, 3_000)] {
        rig.send_many("App", 50, minutes, from).await;
        rig.flush().await;
    }
    rig.send_many("App", 5, 1, 9_000).await;
    let fates = |items: &[std::collections::HashMap<String, serde_json::Value>]| {
        let mut fates: Vec<String> =
            items.iter().filter(|item| item["Item"] == "block").map(|item| item["Fate"].as_str().unwrap().to_owned()).collect();
        fates.sort();
        fates
    };
    let all = rig.explain("select * from App").await;
    assert_eq!(fates(&all), ["read", "read", "read", "read"]);
    let block = all.iter().find(|item| item["Item"] == "block").unwrap();
    assert_eq!(block["KeyClass"], "MMK");
    assert_eq!(block["Cache"], Hotness::Cold.as_str());
    assert_eq!(block["Rows"], json!(50));
    assert!(block["Window"].as_str().unwrap().ends_with("Z/PT1H"));
    let memory = all.iter().find(|item| item["Item"] == "memtable").unwrap();
    assert_eq!((memory["Fate"].clone(), memory["Rows"].clone()), (json!("read"), json!(5)));

    let by_window = rig.explain("select n from App where \"TimeGenerated\" >= timestamp '2026-03-01 10:00:00'").await;
    assert_eq!(fates(&by_window), ["pruned by window", "pruned by window", "read", "read"]);
    let by_time = rig.explain("select n from App where \"TimeGenerated\" >= timestamp '2026-03-01 10:32:00'").await;
    assert_eq!(fates(&by_time), ["pruned by time", "pruned by window", "pruned by window", "read"]);
    let by_value = rig.explain("select n from App where n = 2010").await;
    assert_eq!(fates(&by_value), ["pruned by statistics", "pruned by statistics", "pruned by statistics", "read"]);
    let by_text = rig.explain("select n from App where word = 'zebra'").await;
    assert_eq!(fates(&by_text), vec!["pruned by statistics"; 4]);
    let by_list = rig.explain("select n from App where n in (5, 3005) and word like 'o%'").await;
    assert_eq!(fates(&by_list), ["pruned by statistics", "pruned by statistics", "read", "read"]);
    let memory = rig.explain("select n from App where \"TimeGenerated\" < timestamp '2026-03-01 11:00:00'").await;
    assert_eq!(memory.iter().find(|item| item["Item"] == "memtable").unwrap()["Fate"], "pruned by time");
    // And the statement form.
    let stated = rig.sql("explain select n from App where n = 2010").await.items();
    assert_eq!(fates(&stated), fates(&by_value));
}

#[tokio::test]
async fn explain_tells_hot_from_cold() {
    let rig = Rig::with(QueryConfig::default(), true).await;
    rig.send_many("App", 50, 5, 0).await;
    rig.flush().await;
    let items = rig.explain("select * from App").await;
    assert_eq!(items.iter().find(|item| item["Item"] == "block").unwrap()["Cache"], "hot");
}

async fn physical(rig: &Rig, text: &str) -> String {
    let items = rig.explain(text).await;
    items.iter().find(|item| item["Item"] == "physical plan").unwrap()["Detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_newest_n_are_merged_from_ordered_chains_without_sorting_blocks() {
    let rig = Rig::new().await;
    for (minutes, from) in [(299, 0), (149, 1_000), (89, 2_000), (87, 3_000)] {
        rig.send_many("App", 60, minutes, from).await;
        rig.flush().await;
    }
    let plan = physical(&rig, "select * from App order by \"TimeGenerated\" desc limit 10").await;
    assert!(!plan.contains("SortExec"), "{plan}");
    assert!(plan.contains("fetch=10") || plan.contains("limit=10"), "{plan}");
    rig.send_many("App", 5, 1, 9_000).await;
    let plan = physical(&rig, "select * from App order by \"TimeGenerated\" desc limit 10").await;
    assert!(plan.contains("SortPreservingMergeExec"), "{plan}");
    assert_eq!(plan.matches("SortExec").count(), 1, "only the memtable is sorted: {plan}");
}

#[tokio::test]
async fn filters_reach_parquet_and_stay_on_the_memtable() {
    let rig = Rig::new().await;
    rig.send_many("App", 50, 90, 0).await;
    rig.flush().await;
    rig.send_many("App", 5, 1, 100).await;
    let plan = physical(&rig, "select n from App where word = 'odd' and n > 10").await;
    let parquet = plan.lines().find(|line| line.contains("file_type=parquet")).unwrap();
    assert!(parquet.contains("predicate=") && parquet.contains("word"), "{plan}");
    assert_eq!(plan.matches("FilterExec").count(), 1, "one, above the memtable: {plan}");
    assert!(plan.find("UnionExec").unwrap() < plan.find("FilterExec").unwrap(), "{plan}");
}

#[tokio::test]
async fn a_count_of_blocks_reads_no_block() {
    let rig = Rig::new().await;
    rig.send_many("App", 50, 90, 0).await;
    rig.flush().await;
    let answer = rig.run("select count(*) from App").await.unwrap();
    let stats = answer.stats.clone();
    crate::output::json(answer, crate::output::JsonOptions::default()).await.unwrap();
    assert_eq!(stats.bytes_read(), 0);
    assert_eq!((stats.blocks_seen(), stats.blocks_kept()), (1, 1));
    // Not with rows in memory either: both sides know how many they are.
    rig.send_many("App", 5, 1, 100).await;
    let answer = rig.run("select count(*) from App").await.unwrap();
    let stats = answer.stats.clone();
    let bytes = crate::output::json(answer, crate::output::JsonOptions::default()).await.unwrap();
    assert!(std::str::from_utf8(&bytes).unwrap().contains("[[55]]"));
    assert_eq!(stats.bytes_read(), 0);
}

#[tokio::test]
async fn both_languages_explain_one_question_alike() {
    let rig = Rig::new().await;
    for (minutes, from) in [(149, 0), (89, 1_000)] {
        rig.send_many("App", 50, minutes, from).await;
        rig.flush().await;
    }
    let fates = |items: Vec<std::collections::HashMap<String, serde_json::Value>>| {
        let mut fates: Vec<(serde_json::Value, serde_json::Value)> =
            items.iter().filter(|item| item["Item"] == "block").map(|item| (item["Block"].clone(), item["Fate"].clone())).collect();
        fates.sort_by_key(|(block, _)| block.to_string());
        assert!(items.iter().any(|item| item["Item"] == "logical plan") && items.iter().any(|item| item["Item"] == "physical plan"));
        fates
    };
    let sql = fates(rig.explain("select n from App where n = 1010").await);
    let question = QueryRequest { explain: true, ..rig.request("App | where n == 1010 | project n", Language::Kql) };
    let kql = fates(rig.told(question).await.unwrap().items());
    assert_eq!(kql, sql);
    assert_eq!(kql.iter().filter(|(_, fate)| fate == "read").count(), 1, "{kql:?}");
}
