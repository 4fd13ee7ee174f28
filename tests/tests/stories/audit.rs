//! The audit chain on the real binaries: what happened to a key stands in it, once, and nobody can take it out again.

use std::fs;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_tests::lock::VaultSite;
use strongroom_tests::scan::{Marker, scan};
use strongroom_tests::{Site, Start};

use crate::lock::{brisk, take, until};

fn audit(site: &Site, query: &str) -> Vec<Value> {
    let reply = site.request(Method::GET, &format!("/v1/audit?limit=10000&{query}")).send().unwrap();
    assert!(reply.status().is_success(), "{}", reply.status());
    reply.json::<Value>().unwrap()["value"].as_array().unwrap().clone()
}

fn events(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["event"].as_str().unwrap()).collect()
}

/// What the command line says of the chain, and whether it is whole.
fn verified(site: &Site, offline: bool) -> (bool, Value) {
    let (data, config) = (site.data_dir().display().to_string(), site.config_dir().display().to_string());
    let mut arguments = vec!["audit", "verify", "--output", "json"];
    if offline {
        arguments.extend(["--offline", "--data-dir", &data, "--config-dir", &config]);
    }
    let output = site.cli(&arguments);
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

#[test]
fn a_revocation_stands_in_the_chain_with_its_evidence_and_comes_to_the_customers_table_when_the_key_is_back() {
    let vault = VaultSite::start();
    let mut environment = brisk().environment;
    environment.push(("STRONGROOM_AUDIT__QUERIES".to_owned(), "true".to_owned()));
    let mut site = Site::start_with(Start { environment, ..Start::default() });
    site.know_vault("customers", &vault);
    vault.create_key("payroll");
    let cluster = site.locked_cluster("shop-cluster", &vault, "payroll");
    site.create_workspace("shop");
    site.link("shop", &cluster).unwrap();
    take(&site, "shop", 0, 50);
    let canary = Marker::new("audit-canary-in-a-query");
    let (status, _) = site.ask("shop", &format!("App | where word == '{}' | count", canary.text()));
    assert_eq!(status, 200);
    let created = site.request(Method::POST, "/v1/principals").json(&json!({"role": "Reader", "name": "auditor"})).send().unwrap();
    let reader: Value = created.json().unwrap();

    let version = vault.newest("payroll");
    vault.enable("payroll", &version, false);
    site.until_key(&cluster, "Revoked");
    let (status, _) = site.send("shop", "App", "{\"n\":1}\n".to_owned());
    assert_ne!(status, 200);
    vault.enable("payroll", &version, true);
    site.until_key(&cluster, "Active");

    // Who asked for what, and what came of it.
    let asked = audit(&site, "event=change.");
    let of = |route: &str| asked.iter().filter(|record| record["details"]["path"].as_str().unwrap().ends_with(route)).collect::<Vec<_>>();
    let principals = of("/v1/principals");
    assert_eq!(principals.iter().map(|record| record["event"].as_str().unwrap()).collect::<Vec<_>>(), ["change.asked", "change.answered"]);
    assert_eq!((&principals[1]["code"], &principals[1]["details"]["status"]), (&json!("Succeeded"), &json!(201)));
    assert!(principals[0]["actor"].is_string());
    let roles = audit(&site, "event=role.");
    let assigned = roles.iter().find(|record| record["details"]["principal"] == reader["id"]).unwrap();
    assert_eq!((&assigned["details"]["role"], &assigned["actor"]), (&json!("Reader"), &principals[0]["actor"]));

    // The key's life, in order.
    let life = audit(&site, &format!("cluster={}", cluster.name));
    let told: Vec<&str> =
        events(&life).into_iter().filter(|event| !matches!(*event, "key.unwraps" | "key.wrapped" | "key.denied")).collect();
    let entered: Vec<&str> = life.iter().filter_map(|record| record["details"]["to"].as_str()).collect();
    assert_eq!(entered[entered.len() - 4..], ["Suspect", "Revoked", "Restoring", "Active"], "{entered:?}");
    for event in ["cluster.created", "key.set", "workspace.linked", "key.taken_away"] {
        assert!(told.contains(&event), "{event} in {told:?}");
    }
    assert!(events(&life).iter().filter(|event| **event == "key.denied").count() >= 2);

    let evidence: Value = site.request(Method::GET, &format!("/v1/clusters/{}/evidence", cluster.name)).send().unwrap().json().unwrap();
    let evidence = evidence["value"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&evidence["code"], &evidence["why"], &evidence["keysWiped"]), (&json!("KeyDisabled"), &json!("Revoked"), &json!(1)));
    assert!(evidence["memoryRowsDropped"].as_u64().unwrap() >= 50, "and rows of the chain's own: {evidence}");
    assert!(evidence["givenBackMs"].as_i64().unwrap() > evidence["atMs"].as_i64().unwrap());
    let page = site.cli(&["key", "evidence", "--cluster", &cluster.name]);
    assert!(page.status.success() && String::from_utf8_lossy(&page.stdout).contains("taken away      gate in"), "{page:?}");

    // In the customer's own table: once each, in order; nobody else writes there.
    let count = |table: &str, filter: &str| {
        let (status, body) = site.ask("shop", &format!("{table} | where {filter} | summarize count(), dcount(Position)"));
        if status == 200 { body["tables"][0]["rows"][0].clone() } else { json!(null) }
    };
    until("rows of the chain to come", || count("StrongroomAudit", "Event == 'state.changed'")[0].as_u64() >= Some(4));
    std::thread::sleep(Duration::from_secs(1));
    let rows = count("StrongroomAudit", "Event == 'state.changed'");
    assert_eq!(rows[0], rows[1], "each once");
    assert_eq!(count("StrongroomNotices", "Event == 'state.changed'"), rows);
    let (_, body) = site
        .ask("shop", "StrongroomAudit | where Event == 'query.run' and QueryText startswith 'App | where' | take 1 | project QueryText");
    assert!(body["tables"][0]["rows"][0][0].as_str().unwrap_or_default().contains(canary.text()), "{body}");
    for table in ["StrongroomAudit", "StrongroomNotices"] {
        let (status, body) = site.send("shop", table, "{\"Event\":\"made.up\"}\n".to_owned());
        assert!((400..500).contains(&status), "{body}");
    }

    // Whole, asked online and offline; what was asked of the rows stands nowhere in clear.
    let (whole, report) = verified(&site, false);
    assert!(whole && report["records"].as_u64().unwrap() > 20, "{report}");
    site.terminate();
    assert_eq!(scan(site.root(), &[canary]), Vec::<String>::new());
    let (whole, report) = verified(&site, true);
    assert!(whole, "{report}");
    let doctor = |site: &Site| {
        let (data, config) = (site.data_dir().display().to_string(), site.config_dir().display().to_string());
        let output = site.cli(&["doctor", "--output", "json", "--data-dir", &data, "--config-dir", &config]);
        let checks: Value = serde_json::from_slice(&output.stdout).unwrap();
        let chain = checks["value"].as_array().unwrap().iter().find(|check| check["name"] == "audit chain").unwrap().clone();
        (output.status.success(), chain)
    };
    let (_, chain) = doctor(&site);
    assert_eq!(chain["verdict"], "ok", "{chain}");
    assert!(chain["text"].as_str().unwrap().contains(report["hash"].as_str().unwrap()), "{chain}");

    // A byte in the middle, then the end cut off: found by its number, and no server starts on it.
    let path = fs::read_dir(site.data_dir().join("audit")).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bytes in [flipped, good[..good.len() - 10].to_vec()] {
        fs::write(&path, bytes).unwrap();
        let (whole, report) = verified(&site, true);
        assert!(!whole && report["problems"][0].as_str().unwrap().starts_with("record "), "{report}");
        let (well, chain) = doctor(&site);
        assert!(!well && chain["verdict"] == "red" && chain["text"].as_str().unwrap().starts_with("record "), "{chain}");
        let refused = site.try_restart().unwrap_err();
        assert!(refused.contains("audit chain is damaged"), "{refused}");
    }
    fs::write(&path, good).unwrap();
    site.restart();
    assert!(verified(&site, false).0);
}
