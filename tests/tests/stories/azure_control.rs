//! The control plane under the hands of `azure-mgmt-loganalytics`, as it is installed from its registry.

use reqwest::Method;
use serde_json::json;
use strongroom_tests::azure::script;
use strongroom_tests::lock::files;
use strongroom_tests::{ADMIN, Site};

fn subscription(site: &Site) -> String {
    let path = site.provider();
    path.split('/').nth(2).unwrap().to_owned()
}

fn run(site: &Site, what: &str) {
    let (subscription, token) = (subscription(site), ADMIN.to_owned());
    let environment = [("BASE", site.base()), ("TOKEN", token.as_str()), ("SUBSCRIPTION", subscription.as_str())];
    let said = script("control.py", &[what], &environment);
    assert!(said.contains(&format!("done {what}")), "{said}");
}

#[test]
fn the_sdk_makes_changes_links_recovers_and_deletes_in_three_versions_of_the_protocol() {
    let site = Site::start();
    run(&site, "lifecycle");
}

#[test]
fn tables_are_declared_searches_kept_and_rows_purged_by_the_sdk_and_nothing_of_it_lies_in_clear() {
    let site = Site::start();
    run(&site, "content");
    // What was declared is what rows are typed by: a number where a number was declared, whatever the row says.
    let rows = r#"[{"TimeGenerated":"2026-03-01T10:00:00Z","Level":"INFO","Took":5},{"TimeGenerated":"2026-03-03T10:00:00Z","Level":"WARN","Took":1.5}]"#;
    let (status, answer) = site.send("content", "My_CL", rows.to_owned());
    assert!((200..300).contains(&status), "{status} {answer}");
    let (_, typed) = site.ask("content", "My_CL | getschema | where ColumnName == 'Took' | project ColumnType");
    assert_eq!(typed["tables"][0]["rows"][0][0], "real", "{typed}");
    // A search with an alias is a function.
    let (_, called) = site.ask("content", "OneMore(41)");
    assert_eq!(called["tables"][0]["rows"][0][0], 42, "{called}");
    // And there through the other door.
    let (_, function) = site.arm(Method::GET, "/v1/workspaces/content/functions/OneMore", None);
    assert_eq!(function["parameters"], "a:long", "{function}");
    site.flush_of("content");
    run(&site, "purge");
    let (_, left) = site.ask("content", "My_CL | project Level");
    assert_eq!(left["tables"][0]["rows"], json!([["WARN"]]), "{left}");
    for canary in ["canary-name", "canary-comment", "canary-tag", "OneMore"] {
        for (path, bytes) in files(&site.data_dir()) {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} lies in {}", path.display());
        }
        assert!(!site.output().contains(canary), "{canary} was logged");
    }
}
