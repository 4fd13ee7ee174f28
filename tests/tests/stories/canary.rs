//! Nothing a customer sent or asked is found in any file, log or output, in any disguise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use strongroom_tests::scan::{Marker, scan};
use strongroom_tests::{Site, Start};

fn marker(what: &str) -> Marker {
    let random: [u8; 8] = rand::random();
    Marker::new(&format!("cnry{what}{}", hex::encode(random)))
}

#[test]
fn nothing_is_in_clear_before_and_after_flush_compaction_spill_and_crash() {
    let (value, number, column, nested, asked, wrong, table_text) =
        (marker("v"), marker("n"), marker("c"), marker("d"), marker("q"), marker("w"), marker("t"));
    let all = [&value, &number, &column, &nested, &asked, &wrong, &table_text].map(Clone::clone);
    let environment = vec![("STRONGROOM_QUERY__MEMORY_BYTES".to_owned(), "33554432".to_owned())];
    let mut site = Site::start_with(Start { environment, ..Start::default() });
    let nothing = |site: &Site, when: &str| {
        let hits = scan(site.root(), &all);
        assert!(hits.is_empty(), "{when}: {hits:#?}");
    };
    let body: String = (0..4000)
        .map(|n| {
            json!({
                "Message": format!("{} {n} {}", value.text(), table_text.text()),
                "Id": format!("{}-{n}", number.text()),
                column.text(): n,
                "Nested": {nested.text(): {"deep": value.text()}},
            })
            .to_string()
                + "\n"
        })
        .collect();
    // With a batch id: its remembered answer names the new columns.
    let reply = site
        .request(reqwest::Method::POST, "/v1/workspaces/default/ingest/Canary")
        .header("x-batch-id", "first")
        .body(body.clone())
        .send()
        .unwrap();
    assert!(reply.status().is_success());
    assert!(reply.text().unwrap().contains(column.text()), "the answer names the new column");
    let ask = |site: &Site| {
        let found = site.kql(&format!("Canary | where Message has '{}' and Message !has '{}' | count", value.text(), asked.text()));
        assert_eq!(found, [[json!(4000)]]);
        let found = site.sql(&format!("SELECT count(*) AS n FROM \"Canary\" WHERE \"Message\" <> '{}'", asked.text()));
        assert_eq!(found, [[json!(4000)]]);
        // Wrong queries and wrong rows are told to their sender and to nobody else.
        for text in [format!("Canary | where {} == 1", wrong.text()), format!("Canary | {}", wrong.text()), format!("'{}", wrong.text())] {
            let (status, body) = site.try_query("kql", &text);
            assert_eq!(status, 400, "{body}");
            let (status, _) = site.try_query("sql", &text);
            assert_eq!(status, 400);
        }
        let reply = site.post_rows("Canary", format!("{{\"{}\": tru}}", wrong.text())).unwrap();
        assert_eq!(reply.status(), 400);
    };
    ask(&site);
    nothing(&site, "before the flush");
    site.flush();
    ask(&site);
    nothing(&site, "after the flush");
    site.ingest("Canary", body);
    site.flush();
    site.compact();
    assert_eq!(site.kql("Canary | count"), [[json!(8000)]]);
    nothing(&site, "after the compaction");
    site.kill();
    site.restart();
    assert_eq!(site.kql("Canary | count"), [[json!(8000)]]);
    nothing(&site, "after the restart");

    // A sort that does not fit its memory writes to disk: looked at while it runs.
    let running = Arc::new(AtomicBool::new(true));
    let spill = site.data_dir().join("spill");
    let watch = {
        let (running, markers) = (Arc::clone(&running), all.to_vec());
        std::thread::spawn(move || {
            let (mut seen, mut hits) = (0u64, Vec::new());
            while running.load(Ordering::Relaxed) {
                seen += strongroom_tests::scan::files(&spill)
                    .iter()
                    .filter_map(|path| path.metadata().ok())
                    .map(|meta| meta.len())
                    .sum::<u64>();
                hits.extend(scan(&spill, &markers));
            }
            (seen, hits)
        })
    };
    for _ in 0..3 {
        let (status, body) = site.try_query(
            "sql",
            "SELECT count(*) AS n FROM (SELECT a.\"Message\" AS m, row_number() OVER (ORDER BY a.\"Message\" DESC, a.\"Id\") AS r FROM \"Canary\" a CROSS JOIN (VALUES (1),(2),(3),(4),(5),(6),(7),(8),(9),(10),(11),(12),(13),(14),(15),(16),(17),(18),(19),(20),(21),(22),(23),(24),(25),(26),(27),(28),(29),(30),(31),(32),(33),(34),(35),(36),(37),(38),(39),(40)) AS v(x)) AS t WHERE r > 5",
        );
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["tables"][0]["rows"], json!([[319_995]]));
    }
    running.store(false, Ordering::Relaxed);
    let (seen, hits) = watch.join().unwrap();
    assert!(seen > 0, "nothing was ever spilled: the test shows nothing");
    assert!(hits.is_empty(), "in spill files: {hits:#?}");
    nothing(&site, "after the spill");
    site.terminate();
    nothing(&site, "after the end");
}
