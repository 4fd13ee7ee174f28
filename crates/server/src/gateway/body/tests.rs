//! Bodies that trickle: everything but the socket is real.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use axum::Router;
use axum::body::to_bytes;
use axum::http::StatusCode;
use futures::StreamExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::config::Config;
use crate::gateway::router;
use crate::wiring::Site;

const ADMIN: &str = "srt_a-token-for-the-tests-of-bodies";
/// No request is under way for longer in these tests, ten times what the settings allow.
const PATIENCE: Duration = Duration::from_secs(20);

async fn open(change: impl FnOnce(&mut GatewayConfig)) -> (Router, TempDir) {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let dirs = TempDir::new().unwrap();
    let mut config = Config::under(dirs.path());
    change(&mut config.gateway);
    let claimed = Site::claim(&config).unwrap();
    let (site, _) = Site::open(config, claimed, Some(ADMIN.to_owned()), Vec::new()).await.unwrap();
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
    (router(App { site, metrics }), dirs)
}

/// The beginning of an object, and then a blank now and again for as long as anybody reads.
fn trickle(every: Duration) -> Body {
    let first = futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"{")) });
    let rest = futures::stream::repeat(()).then(move |()| async move {
        sleep(every).await;
        Ok(Bytes::from_static(b" "))
    });
    Body::from_stream(first.chain(rest))
}

fn request(method: &str, path: &str, kind: &str, body: Body) -> Request {
    let request = axum::http::Request::builder().method(method).uri(path).header("host", "logs.example");
    request.header("authorization", format!("Bearer {ADMIN}")).header("content-type", kind).body(body).unwrap()
}

/// Status and code; a door that goes on reading has failed.
async fn told(router: &Router, request: Request) -> (StatusCode, String) {
    let what = format!("{} {}", request.method(), request.uri());
    let response = timeout(PATIENCE, router.clone().oneshot(request)).await.unwrap_or_else(|_| panic!("{what} reads on")).unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 4 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    // The HTTP Data Collector API and the token door have envelopes of their own.
    let code = body["error"]["code"].as_str().or_else(|| body["Error"].as_str()).or_else(|| body["error"].as_str());
    (status, code.unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_door_reads_on_when_a_body_trickles() {
    let (router, _dirs) = open(|config| config.body_grace_ms = 300).await;
    let document = router.clone().oneshot(request("GET", "/openapi.json", "", Body::empty())).await.unwrap();
    let document: Value = serde_json::from_slice(&to_bytes(document.into_body(), 4 << 20).await.unwrap()).unwrap();
    let mut asked = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(content) = operation["requestBody"]["content"].as_object() else { continue };
            let kind = content.keys().next().unwrap().clone();
            let path = path.replace("{workspace}", "default").replace("{tenant}", "common").replace(['{', '}', '*'], "");
            let version = if path.to_lowercase().contains("/subscriptions/") { "?api-version=2022-10-01" } else { "" };
            let (router, method) = (router.clone(), method.to_uppercase());
            asked.push(tokio::spawn(async move {
                let path = format!("{path}{version}");
                let (status, code) = told(&router, request(&method, &path, &kind, trickle(Duration::from_millis(20)))).await;
                (format!("{method} {path}"), status, code)
            }));
        }
    }
    assert!(asked.len() > 50, "{} doors take bodies", asked.len());
    let mut slow = Vec::new();
    for door in asked {
        let (door, status, code) = door.await.unwrap();
        assert!(status.is_client_error(), "{door}: {status} {code}");
        if code == "BodyTooSlow" {
            assert_eq!(status, StatusCode::BAD_REQUEST, "{door}");
            slow.push(door);
        }
    }
    // Read by an extractor as JSON, as bytes, and by hand.
    for door in [
        "POST /v1/workspaces",
        "PATCH /v1/workspaces/default",
        "POST /v1/workspaces/default/reencrypt",
        "POST /v1/workspaces/default/query",
        "POST /v1/workspaces/default/ingest/table",
        "POST /v1/principals",
        "POST /v1/lockbox",
    ] {
        assert!(slow.iter().any(|known| known == door), "{door} is not among those that told of the pace: {slow:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_falls_silent_is_given_up_and_one_that_keeps_its_pace_is_not() {
    let (router, _dirs) = open(|config| {
        (config.body_grace_ms, config.body_silence_max_ms, config.body_min_bytes_per_second) = (100, 2_000, 100);
    })
    .await;
    let silent = futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"{")) }).chain(futures::stream::pending());
    let start = Instant::now();
    let silent = told(&router, request("POST", "/v1/workspaces", "application/json", Body::from_stream(silent))).await;
    assert_eq!(silent, (StatusCode::BAD_REQUEST, "BodyTooSlow".to_owned()));
    assert!(start.elapsed() >= Duration::from_secs(2));

    // A workspace's name, and blanks for three seconds at five times the pace: longer than either bound.
    let text = Bytes::from(r#"{"name":"shop"}"#.to_owned() + &" ".repeat(1_500 - 15));
    let steady = futures::stream::iter(0..60).then(move |at| {
        let piece = text.slice(at * 25..(at + 1) * 25);
        async move {
            sleep(Duration::from_millis(50)).await;
            Ok::<_, std::io::Error>(piece)
        }
    });
    let steady = told(&router, request("POST", "/v1/workspaces", "application/json", Body::from_stream(steady))).await;
    assert_eq!(steady.0, StatusCode::CREATED, "{}", steady.1);
}

#[tokio::test]
async fn only_the_time_that_somebody_waited_for_a_body_counts() {
    let config = GatewayConfig { body_grace_ms: 200, body_min_bytes_per_second: 4_000, ..GatewayConfig::default() };
    let pieces = |pause: u64| {
        Body::from_stream(futures::stream::iter(0..4).then(move |_| async move {
            sleep(Duration::from_millis(pause)).await;
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 400]))
        }))
    };
    let paced = |body| Paced::new(body, &config, oneshot::channel().0);
    // A reader that takes its time between the pieces.
    let mut body = paced(pieces(1));
    for _ in 0..4 {
        sleep(Duration::from_millis(300)).await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 400);
    }
    assert!(body.frame().await.is_none());
    // A sender that does: 400 bytes in 150 ms are few enough, and not late enough; 800 in 300 ms are both.
    let mut body = paced(pieces(150));
    body.frame().await.unwrap().unwrap();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(slowness(&error).unwrap().code(), "BodyTooSlow");
    assert!(body.frame().await.is_none() && body.is_end_stream());
}
