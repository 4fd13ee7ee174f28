//! KQL on the real engine: what reaches the blocks, and where reading stops.

use crate::rig::Rig;
use crate::{Language, QueryConfig, QueryRequest};

async fn items(rig: &Rig, text: &str) -> Vec<std::collections::HashMap<String, serde_json::Value>> {
    rig.told(QueryRequest { explain: true, ..rig.request(text, Language::Kql) }).await.unwrap().items()
}

async fn physical(rig: &Rig, text: &str) -> String {
    let items = items(rig, text).await;
    items.iter().find(|item| item["Item"] == "physical plan").unwrap()["Detail"].as_str().unwrap().to_owned()
}

/// What happens to each block, oldest first.
async fn fates(rig: &Rig, text: &str) -> Vec<String> {
    let mut fates: Vec<(String, String)> = items(rig, text)
        .await
        .iter()
        .filter(|item| item["Item"] == "block")
        .map(|item| (item["Window"].as_str().unwrap().to_owned(), item["Fate"].as_str().unwrap().to_owned()))
        .collect();
    fates.sort();
    fates.into_iter().map(|(_, fate)| fate).collect()
}

/// Four blocks of 50 rows, 299, 149, 89 and 29 minutes old; n counts from 0, 1000, 2000 and 3000.
async fn four_blocks() -> Rig {
    let rig = Rig::new().await;
    for (minutes, from) in [(299, 0), (149, 1_000), (89, 2_000), (29, 3_000)] {
        rig.send_many("App", 50, minutes, from).await;
        rig.flush().await;
    }
    rig
}

#[tokio::test]
async fn conditions_rule_out_blocks_before_they_are_opened() {
    let rig = four_blocks().await;
    let read = |fates: &[String]| fates.iter().map(|fate| fate == "read").collect::<Vec<_>>();
    for (text, expected) in [
        ("App | where TimeGenerated > ago(100m)", [false, false, true, true]),
        ("App | where TimeGenerated between (ago(160m) .. 40m)", [false, true, false, false]),
        ("let from = now() - 100m; App | extend x = n + 1 | where TimeGenerated >= from and x > 0", [false, false, true, true]),
        ("App | where n == 2010", [false, false, true, false]),
        ("App | where n in (5, 3005)", [true, false, false, true]),
        ("App | where n between (1010 .. 2010)", [false, true, true, false]),
        ("App | where n > 2500 or n < 10", [true, false, false, true]),
        ("App | where word == \"zebra\"", [false; 4]),
        ("App | where word in (\"zebra\", \"yak\")", [false; 4]),
        ("App | where word startswith_cs \"z\"", [false; 4]),
        ("App | where word startswith \"Ze\"", [false; 4]),
        ("App | where word startswith \"OD\"", [true; 4]),
        ("App | where word =~ \"Yak\"", [false; 4]),
        ("App | where word has \"odd\"", [true; 4]),
    ] {
        assert_eq!(read(&fates(&rig, text).await), expected, "{text}");
    }
}

#[tokio::test]
async fn string_operators_reach_parquet_and_can_be_told_apart_there() {
    let rig = Rig::new().await;
    rig.send_many("App", 50, 90, 0).await;
    rig.flush().await;
    for (condition, wanted) in [
        ("text has \"line\"", "has("),
        ("text has_cs \"line\"", "has_cs("),
        ("text hasprefix \"li\"", "hasprefix("),
        ("text has_any (\"line\", \"row\")", "has_any("),
        ("text contains \"ine\"", "contains("),
        ("text startswith \"Li\"", "startswith("),
    ] {
        let plan = physical(&rig, &format!("App | where {condition} | project n")).await;
        let parquet = plan.lines().find(|line| line.contains("file_type=parquet")).unwrap();
        assert!(parquet.contains("predicate=") && parquet.contains(wanted), "{condition}: {plan}");
        assert!(!plan.contains("FilterExec"), "{condition}: {plan}");
        assert!(parquet.contains("projection=[n]"), "{condition}: {plan}");
    }
}

#[tokio::test]
async fn only_columns_that_count_are_read() {
    let rig = Rig::new().await;
    rig.send_many("App", 50, 90, 0).await;
    rig.flush().await;
    for (text, expected) in [
        ("App | extend a = n + 1, b = word | project a", "projection=[n@1 + 1 as a]"),
        ("App | summarize max(n) by word", "projection=[n, word]"),
        ("App | sort by n asc | extend p = prev(word) | project p", "projection=["),
    ] {
        let plan = physical(&rig, text).await;
        assert!(plan.contains(expected) && !plan.contains("text@"), "{text}: {plan}");
    }
}

#[tokio::test]
async fn the_newest_rows_are_merged_and_not_sorted() {
    let rig = four_blocks().await;
    for text in [
        "App | top 10 by TimeGenerated",
        "App | sort by TimeGenerated desc | take 10",
        "App | where TimeGenerated > ago(1d) | top 10 by TimeGenerated | project n",
        "App | top 10 by TimeGenerated | extend n = row_number()",
        "App | sort by TimeGenerated desc | extend r = row_number(), p = prev(n) | take 10",
    ] {
        let plan = physical(&rig, text).await;
        assert!(!plan.contains("SortExec") && (plan.contains("fetch=10") || plan.contains("limit=10")), "{text}: {plan}");
    }
    let told = rig.kql("App | sort by TimeGenerated desc | extend r = row_number(), p = prev(n) | take 3 | project n, r, p").await;
    assert_eq!(told.rows(), serde_json::json!([[3_000, 1, null], [3_001, 2, 3_000], [3_002, 3, 3_001]]).as_array().unwrap().clone());
}

#[tokio::test]
async fn what_a_top_leaves_is_neither_spread_over_threads_nor_sorted_again() {
    let rig = Rig::with(QueryConfig { threads: 4, ..QueryConfig::default() }, false).await;
    for (minutes, from) in [(299, 0), (149, 1_000), (89, 2_000), (29, 3_000)] {
        rig.send_many("App", 50, minutes, from).await;
        rig.flush().await;
    }
    for text in ["App | top 10 by TimeGenerated", "App | top 10 by n", "App | top 10 by n | project n, word"] {
        let plan = physical(&rig, text).await;
        assert!(!plan.contains("RoundRobin") && plan.matches("SortExec").count() <= 1, "{text}: {plan}");
    }
}

#[tokio::test]
async fn texts_that_repeat_are_dropped_before_they_are_counted_once_each() {
    let rig = four_blocks().await;
    for text in ["App | summarize count_distinct(word)", "App | where n > 5 | distinct word"] {
        let plan = physical(&rig, text).await;
        assert_eq!(plan.matches("ThinExec: by=word").count(), 1, "{text}: {plan}");
    }
    assert_eq!(rig.kql("App | summarize count_distinct(word), dcount(word)").await.rows(), [serde_json::json!([2, 2])]);
    assert_eq!(rig.kql("App | summarize n = count() by word | summarize sum(n)").await.rows(), [serde_json::json!([200])]);
    for text in [
        "App | summarize count() by word",
        "App | summarize by n",
        "App | summarize by word, n",
        "App | summarize count_distinctif(word, n > 5)",
    ] {
        let plan = physical(&rig, text).await;
        assert!(!plan.contains("ThinExec"), "{text}: {plan}");
    }
}

#[tokio::test]
async fn a_take_reads_no_more_than_it_needs() {
    let rig = four_blocks().await;
    let plan = physical(&rig, "App | take 5 | project n").await;
    assert!(plan.contains("limit=5"), "{plan}");
    let plan = physical(&rig, "App | where TimeGenerated > ago(1d) | take 5").await;
    assert!(plan.contains("limit=5") || plan.contains("fetch=5"), "{plan}");
}

#[tokio::test]
async fn rows_in_bins_of_time_are_counted_as_they_stream() {
    let rig = four_blocks().await;
    let plan = physical(&rig, "App | where n > 5 | summarize count() by bin(TimeGenerated, 1h)").await;
    assert!(plan.contains("mode=Partial") && !plan.contains("Sort"), "{plan}");
    assert!(!plan.contains("text@") && !plan.contains("word"), "{plan}");
}

#[tokio::test]
async fn rows_that_are_held_back_are_charged_to_the_query() {
    // A pool of its own each: what a failed query held goes back when its tasks have ended, a little after its error came.
    // One thread: what waits between threads is charged as well, and how much that is depends on the machine's load.
    let small = || Rig::with(QueryConfig { memory_bytes: 6 << 20, spill_bytes: 0, threads: 1, ..QueryConfig::default() }, false);
    for held in [
        "range x from 1 to 1000000 step 1 | extend n = next(x, 900000) | summarize max(n)",
        "range x from 1 to 1000000 step 1 | extend n = prev(x, 900000) | summarize max(n)",
        "let m = materialize(range x from 1 to 1000000 step 1); union m, m | summarize max(x)",
    ] {
        let rig = small().await;
        let error = rig.told(rig.request(held, Language::Kql)).await.unwrap_err();
        assert_eq!(error.code(), "MemoryLimitExceeded", "{held}: {error}");
    }
    let few =
        small().await.kql("range x from 1 to 1000000 step 1 | extend n = next(x, 9), p = prev(x, 9) | summarize max(n), max(p)").await;
    assert_eq!(few.rows(), [serde_json::json!([1_000_000, 999_991])]);
}
