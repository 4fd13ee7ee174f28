//! What `/openapi.json` says is what the doors do: Schemathesis asks them everything, in turn with what is in order and what is not.
//!
//! More by hand, with the values that Schemathesis tries at each boundary and with what one answer leads to: `STRONGROOM_TEST_CASES=4000 cargo
//! nextest run -p strongroom-tests -E 'test(azure_openapi)'` is 13,000 cases and takes two minutes; another seed by `STRONGROOM_TEST_SEED`.

use std::time::Duration;

use serde_json::Value;
use strongroom_tests::azure::{script, script_within};
use strongroom_tests::{ADMIN, Site, Start};

fn number(variable: &str, unless: u64) -> u64 {
    std::env::var(variable).ok().map_or(unless, |text| text.parse().expect("a number"))
}

#[test]
fn the_doors_do_what_their_description_says_whatever_is_asked() {
    let (cases, seed) = (number("STRONGROOM_TEST_CASES", 500), number("STRONGROOM_TEST_SEED", 20_261_123));
    let long = cases > 500;
    let (seconds, phases) = if long { (3_000, "examples,coverage,fuzzing,stateful") } else { (180, "examples,fuzzing") };
    let site = Site::start_with(Start {
        // A caller may change more in a minute than one who means it.
        environment: vec![("STRONGROOM_AUDIT__CHANGES_PER_MINUTE_MAX".to_owned(), "1000000".to_owned())],
        ..Start::default()
    });
    let directory = site.root().join("schemathesis");
    let arguments = [site.base(), &cases.to_string(), &seed.to_string(), directory.to_str().unwrap(), phases];
    let told = script_within(Duration::from_secs(seconds), "openapi.py", &arguments, &[("STRONGROOM_TOKEN", ADMIN)]);
    let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    println!("{told}");
    assert_eq!((&told["found"], &told["errors"]), (&Value::from(0), &Value::from(0)), "{told}");
    assert_eq!(told["tested"], told["operations"], "{told}");
    assert!(told["cases"].as_u64() >= Some(cases), "{told}");
}

#[test]
fn every_operation_of_azures_sdk_is_in_the_tables() {
    let page = include_str!("../../../docs/azure.md").to_ascii_lowercase();
    let told = script("operations.py", &[], &[]);
    let named: Vec<&str> = told.split_whitespace().collect();
    assert!(named.len() > 80, "{told}");
    let missing: Vec<&&str> = named.iter().filter(|name| !page.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "what has docs/azure.md to say of these? {missing:?}");
}
