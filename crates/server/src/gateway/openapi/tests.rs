use std::collections::BTreeSet;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::config::Config;
use crate::gateway::{App, router};
use crate::wiring::Site;

const ADMIN: &str = "srt_a-token-for-the-doors-of-the-document";
const METHODS: [Method; 5] = [Method::GET, Method::PUT, Method::PATCH, Method::POST, Method::DELETE];

async fn doors() -> (Router, TempDir) {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dirs = TempDir::new().unwrap();
    let config = Config::under(dirs.path());
    let claimed = Site::claim(&config).unwrap();
    let (site, _) = Site::open(config, claimed, Some(ADMIN.to_owned()), Vec::new()).await.unwrap();
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
    (router(App { site, metrics }), dirs)
}

/// The router's own list, as it prints it.
fn mounted_paths() -> BTreeSet<String> {
    let printed = format!("{:?}", crate::gateway::doors());
    let paths = printed.split("paths: {").nth(1).expect("the router prints its paths");
    let paths = paths.split('"').skip(1).step_by(2).filter(|path| path.starts_with('/'));
    // The router's own, for what matches nothing.
    paths.filter(|path| !path.contains("__private__")).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_mounted_is_described_and_what_is_described_is_mounted() {
    let (doors, _dirs) = doors().await;
    let paths = mounted_paths();
    assert!(paths.len() > 100, "{paths:?}");
    let mut mounted = BTreeSet::new();
    for path in &paths {
        let named = path.replace("{tenant}", "common").replace(['{', '}', '*'], "");
        for method in METHODS {
            let request = Request::builder().method(&method).uri(&named).header("host", "here").body(Body::empty()).unwrap();
            let response = doors.clone().oneshot(request).await.unwrap();
            if response.status() != StatusCode::METHOD_NOT_ALLOWED {
                mounted.insert((path.clone(), method.to_string()));
            }
        }
    }
    let entries = entries();
    let described: BTreeSet<_> =
        entries.iter().filter(|entry| entry.method != Method::HEAD).map(|entry| (entry.path.clone(), entry.method.to_string())).collect();
    let undescribed: Vec<_> = mounted.difference(&described).collect();
    assert!(undescribed.is_empty(), "describe these in gateway/openapi: {undescribed:#?}");
    let unmounted: Vec<_> = described.difference(&mounted).collect();
    assert!(unmounted.is_empty(), "these are described and not mounted: {unmounted:#?}");
}

#[tokio::test]
async fn the_document_is_given_to_everybody_and_names_each_operation_once() {
    let (doors, _dirs) = doors().await;
    let request = Request::builder().uri("/openapi.json").header("host", "here").body(Body::empty()).unwrap();
    let response = doors.oneshot(request).await.unwrap();
    assert_eq!((response.status(), response.headers()["content-type"].to_str().unwrap()), (StatusCode::OK, "application/json"));
    let told: Value = serde_json::from_slice(&to_bytes(response.into_body(), 4 << 20).await.unwrap()).unwrap();
    assert_eq!(told["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    let mut count = 0;
    for (path, item) in told["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            count += 1;
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
            // Every name in the path is told of.
            let names: BTreeSet<&str> = parameters::names(path).collect();
            let told: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(names, told, "{method} {path}");
        }
    }
    assert_eq!(count, entries().len());
    // What is referred to is there.
    let text = told.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(told.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

/// What was found by trying the doors.
#[tokio::test]
async fn refusals_are_in_their_doors_envelope_and_tags_are_texts() {
    let (doors, _dirs) = doors().await;
    let ask = async |method: Method, path: &str, token: &str, body: &str| {
        let request = Request::builder().method(method).uri(path).header("host", "here").header("content-type", "application/json");
        let request = if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) };
        let response = doors.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice::<Value>(&bytes).unwrap_or_default())
    };
    for path in ["/v1/rest/query", "/v2/rest/query", "/v1/rest/mgmt"] {
        let (status, told) = ask(Method::POST, path, "", r#"{"csl": "print 1"}"#).await;
        assert_eq!((status, &told["error"]["@permanent"]), (StatusCode::UNAUTHORIZED, &Value::Bool(true)), "{path}: {told}");
    }
    let (status, told) = ask(Method::POST, "/api/logs?api-version=a&api-version=b", "", "[]").await;
    assert_eq!((status, &told["Error"]), (StatusCode::BAD_REQUEST, &Value::from("InvalidApiVersion")), "{told}");
    let home = ask(Method::GET, "/v1/workspaces", ADMIN, "").await.1["value"][0]["subscription"].as_str().unwrap().to_owned();
    let group = format!("/subscriptions/{home}/resourceGroups/default");
    for below in [
        "",
        "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/x",
        "/providers/Microsoft.Insights/dataCollectionEndpoints/x",
        "/providers/Microsoft.Insights/workbooks/x",
        "/providers/Microsoft.OperationalInsights/queryPacks/x",
        "/providers/Microsoft.Storage/storageAccounts/account",
    ] {
        let path = format!("{group}{below}?api-version=2025-07-01");
        let (status, told) = ask(Method::PUT, &path, ADMIN, r#"{"location": "local", "tags": {"a": {"b": 1}}}"#).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {told}");
        assert!(told["error"]["code"].is_string(), "{told}");
    }
}
