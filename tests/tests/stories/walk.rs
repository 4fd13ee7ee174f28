//! Rows in, rows out: the first walk through the house.

use serde_json::{Value, json};
use strongroom_tests::Site;

fn lines(from: u64, count: u64) -> String {
    (from..from + count)
        .map(|n| {
            json!({
                "TimeGenerated": format!("2026-03-01T10:{:02}:{:02}Z", n / 60 % 60, n % 60),
                "Level": if n.is_multiple_of(10) { "ERROR" } else { "INFO" },
                "Number": n,
                "Nested": {"a": {"b": [n, n + 1]}},
            })
            .to_string()
                + "\n"
        })
        .collect()
}

fn check_all(site: &Site, count: u64) {
    let sum = count * (count - 1) / 2;
    assert_eq!(site.kql("Walk | count"), [[json!(count)]]);
    assert_eq!(site.sql("SELECT count(*) AS n FROM Walk"), [[json!(count)]]);
    assert_eq!(site.kql("Walk | summarize sum(Number), sum(tolong(Nested.a.b[1]))"), [[json!(sum), json!(sum + count)]]);
    assert_eq!(
        site.kql("Walk | summarize n = count() by Level | sort by Level asc"),
        [[json!("ERROR"), json!(count.div_ceil(10))], [json!("INFO"), json!(count - count.div_ceil(10))]]
    );
    let newest = site.kql("Walk | top 3 by Number | project Number");
    assert_eq!(newest, (1..=3).map(|back| vec![json!(count - back)]).collect::<Vec<Vec<Value>>>());
}

#[test]
fn rows_are_there_at_once_and_after_flush_restart_and_compaction() {
    let mut site = Site::start();
    let reply = site.ingest("Walk", lines(0, 500));
    assert_eq!(reply["accepted"], 500);
    check_all(&site, 500);
    site.flush();
    check_all(&site, 500);
    site.ingest("Walk", lines(500, 500));
    check_all(&site, 1000);
    site.kill();
    site.restart();
    check_all(&site, 1000);
    for part in 0..4 {
        site.ingest("Walk", lines(1000 + part * 100, 100));
        site.flush();
    }
    check_all(&site, 1400);
    site.compact();
    check_all(&site, 1400);
    assert!(site.terminate().success());
    site.restart();
    check_all(&site, 1400);
}
