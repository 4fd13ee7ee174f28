//! Who waits before the door: everything but the socket is real.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Request, StatusCode};
use futures::StreamExt as _;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::config::Config;
use crate::gateway::router;
use crate::wiring::Site;

const ADMIN: &str = "srt_a-token-for-the-tests-of-this-door";

async fn open(change: impl FnOnce(&mut Config)) -> (Router, TempDir) {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dirs = TempDir::new().unwrap();
    let mut config = Config::under(dirs.path());
    change(&mut config);
    let claimed = Site::claim(&config).unwrap();
    let (site, _) = Site::open(config, claimed, Some(ADMIN.to_owned()), vec!["127.0.0.1:1".to_owned()]).await.unwrap();
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
    (router(App { site, metrics }), dirs)
}

fn post(length: usize, body: Body) -> Request<Body> {
    let request = Request::post("/v1/workspaces/default/ingest/logs")
        .header("host", "logs.example:7700")
        .header("authorization", format!("Bearer {ADMIN}"))
        .header("content-type", "application/x-ndjson")
        .header("content-length", length);
    request.body(body).unwrap()
}

/// Rows of a kibibyte each.
fn rows(count: usize) -> Bytes {
    format!("{{\"text\":\"{}\"}}\n", "a".repeat(1_024 - 12)).repeat(count).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_room_leaves_its_body_unread() {
    let (router, _dirs) = open(|config| config.ingest.wait_above_bytes = 1 << 20).await;
    // The first has sent most of what it brings, and holds the room until it has sent the rest.
    let (rest, ending) = tokio::sync::oneshot::channel::<()>();
    let (most, last) = (rows(900), rows(1));
    let length = most.len() + last.len();
    let slow = futures::stream::once(async { Ok::<_, std::io::Error>(most) }).chain(futures::stream::once(async {
        ending.await.unwrap();
        Ok(last)
    }));
    let first = tokio::spawn(router.clone().oneshot(post(length, Body::from_stream(slow))));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!first.is_finished());

    let pieces = Arc::new(AtomicUsize::new(0));
    let counted = {
        let pieces = Arc::clone(&pieces);
        futures::stream::iter(0..512).map(move |_| {
            pieces.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(rows(1))
        })
    };
    let second = tokio::spawn(router.clone().oneshot(post(512 * rows(1).len(), Body::from_stream(counted))));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!second.is_finished());
    assert_eq!(pieces.load(Ordering::SeqCst), 0, "pieces of a body that were read before there was room for it");

    rest.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(second.await.unwrap().unwrap().status(), StatusCode::OK);
    assert_eq!(pieces.load(Ordering::SeqCst), 512);
}
