//! Talking to a server: where it is, who we are, what its answers mean.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rand::Rng;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use strongroom_server::{Config, admin_token_path, ca_path};

use crate::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An error's body is read up to here; what a server of ours says is far shorter.
const ERROR_BODY_MAX: usize = 64 << 10;
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Which server, and as whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// The server's address
    #[arg(long, env = "STRONGROOM_SERVER", default_value = "http://127.0.0.1:7700", value_name = "URL")]
    server: String,
    /// The access token; the environment is safer, as arguments show in process lists.
    /// Default: the admin token in the server's config directory
    #[arg(long, env = "STRONGROOM_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Certificates to trust (PEM) if the server is spoken to by https.
    /// Default: the authority that the server left in its config directory
    #[arg(long, env = "STRONGROOM_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Which workspace.
#[derive(Clone, Debug, Args)]
pub(crate) struct InWorkspace {
    /// The workspace's name or id
    #[arg(long, env = "STRONGROOM_WORKSPACE", default_value = "default", value_name = "NAME")]
    pub(crate) workspace: String,
}

/// A connection pool to one server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: String,
}

/// Why one call did not succeed, and whether it may later.
#[derive(Debug)]
pub(crate) struct CallError {
    pub(crate) failure: Failure,
    /// The same call may succeed later; nothing of it was done, or doing it twice is harmless.
    pub(crate) transient: bool,
    /// What the server asked us to wait.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) status: Option<StatusCode>,
    /// Where a query is wrong.
    pub(crate) wrong: Vec<Wrong>,
}

/// A place in a query, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        error.failure
    }
}

impl Target {
    pub(crate) fn at(server: &str, token: &str) -> Self {
        Self { server: server.to_owned(), token: Some(token.to_owned()), ca: None }
    }

    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let base = Url::parse(&self.server).map_err(|error| Failure::Usage(format!("--server {}: {error}", self.server)))?;
        let tls = base.scheme() == "https";
        if !(tls || base.scheme() == "http") || base.host_str().is_none() {
            return Err(Failure::Usage(format!("--server {}: give it as http://HOST:PORT or https://HOST:PORT", self.server)));
        }
        let host = base.host_str().unwrap_or_default();
        let loopback = host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if !loopback && !tls {
            eprintln!("strongroom: warning: {host} is spoken to without TLS; token and rows can be read on the way");
        }
        let mut http = plain();
        if tls {
            for certificate in self.authorities()? {
                http = http.add_root_certificate(certificate);
            }
        }
        let http = http.build().map_err(|error| Failure::Failed(format!("no HTTP client: {error}")))?;
        Ok(Client { http, base, token: self.token()? })
    }

    /// The certificates that an https server's is to be under.
    fn authorities(&self) -> Result<Vec<reqwest::Certificate>, Failure> {
        let path = self.ca.clone().unwrap_or_else(|| ca_path(&config_dir()));
        let pem = std::fs::read(&path).map_err(|error| {
            Failure::Usage(format!("https needs certificates to trust: give --ca FILE or STRONGROOM_CA ({}: {error})", path.display()))
        })?;
        reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| Failure::Usage(format!("{}: no certificates in PEM", path.display())))
    }

    fn token(&self) -> Result<String, Failure> {
        if let Some(token) = self.token.as_deref().map(str::trim).filter(|token| !token.is_empty()) {
            return Ok(token.to_owned());
        }
        let path = admin_token_path(&config_dir());
        match std::fs::read_to_string(&path) {
            Ok(token) => Ok(token.trim().to_owned()),
            Err(error) => Err(Failure::Usage(format!(
                "no token: give --token or STRONGROOM_TOKEN (the admin token would be in {}, but: {error})",
                path.display()
            ))),
        }
    }
}

/// Where the server of this machine keeps what is its own.
fn config_dir() -> PathBuf {
    match std::env::var_os("STRONGROOM_CONFIG_DIR") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => Config::default().config_dir,
    }
}

/// What all our HTTP clients have in common: no redirects, no proxies, a bounded time to connect.
pub(crate) fn plain() -> reqwest::ClientBuilder {
    // Without a choice of ciphers no HTTP client comes up. Of two choices the first counts.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("strongroom/", env!("CARGO_PKG_VERSION")))
}

impl Client {
    /// Speaks to `base` by `http`, with `token`.
    pub(crate) fn over(http: reqwest::Client, base: Url, token: String) -> Self {
        Self { http, base, token }
    }

    /// A request to the path made of these segments, each of them encoded.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an http address has a path").pop_if_empty().extend(segments);
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// The answer to a request, if it is a good one.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, CallError> {
        let response = request.send().await.map_err(|error| self.not_sent(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let (text, wrong) = said(status, &error_body(response).await);
        let (failure, transient) = match status.as_u16() {
            429 | 502 | 503 | 504 | 507 => (Failure::Unreachable(text), true),
            400..=499 => (Failure::Refused(text), false),
            _ => (Failure::Failed(text), false),
        };
        Err(CallError { failure, transient, retry_after, status: Some(status), wrong })
    }

    fn not_sent(&self, error: &reqwest::Error) -> CallError {
        let why = root_cause(error);
        let failure = if error.is_builder() {
            Failure::Usage(format!("the request cannot be made: {why}"))
        } else {
            Failure::Unreachable(format!("{} does not answer: {why}", self.base))
        };
        CallError { transient: !error.is_builder(), failure, retry_after: None, status: None, wrong: Vec::new() }
    }

    /// The JSON answer to a request.
    pub(crate) async fn json(&self, request: RequestBuilder) -> Result<Value, CallError> {
        let response = self.send(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let bytes = response.bytes().await.map_err(|error| self.not_sent(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| CallError {
            failure: Failure::Failed(format!("{} answers something that is not JSON ({error}); is it a strongroom server?", self.base)),
            transient: false,
            retry_after: None,
            status: None,
            wrong: Vec::new(),
        })
    }
}

async fn error_body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ERROR_BODY_MAX {
            body.truncate(ERROR_BODY_MAX);
            break;
        }
    }
    body
}

/// What an error answer says: code, sentence, details; and the places in the query that it is about.
fn said(status: StatusCode, body: &[u8]) -> (String, Vec<Wrong>) {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &parsed["error"];
    let Some(code) = error["code"].as_str() else {
        let text = String::from_utf8_lossy(&body[..body.len().min(500)]);
        return (format!("the server answers {status}: {}", text.trim()), Vec::new());
    };
    let mut inner = &error["innererror"];
    while inner["innererror"].is_object() {
        inner = &inner["innererror"];
    }
    // Azure's form: what is wrong with a query stands innermost, and what kind of mistake it is around that.
    let mut text = match (error["innererror"]["code"].as_str(), inner["message"].as_str()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => format!("{code}: {}", error["message"].as_str().unwrap_or("no message")),
    };
    let wrong = |error: &Value| {
        let figure = |name: &str| error[name].as_u64().and_then(|figure| usize::try_from(figure).ok());
        let message = error["message"].as_str().unwrap_or_default().to_owned();
        Some(Wrong { line: figure("line")?, column: figure("pos")?, message })
    };
    let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut places: Vec<Wrong> = details.iter().filter_map(wrong).collect();
    // A detail with a place is told below the line of the query that it is about.
    for message in details.iter().filter(|detail| wrong(detail).is_none()).filter_map(|detail| detail["message"].as_str()) {
        text.extend(["\n  ", message]);
    }
    if places.is_empty() {
        places.extend(wrong(inner));
    }
    (text, places)
}

pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// How long to wait before the next try: what the server asked for, or twice as long each time, shaken.
pub(crate) fn backoff(tries: u32, asked: Option<Duration>) -> Duration {
    let longest = BACKOFF_FIRST.saturating_mul(1 << tries.min(10)).min(BACKOFF_MAX);
    let wait = asked.map_or(longest, |asked| asked.min(Duration::from_mins(1)).max(BACKOFF_FIRST));
    wait.mul_f64(rand::rng().random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answer_is_told_with_code_sentence_and_place() {
        let body = br#"{"error":{"code":"BadArgumentError","message":"the query is wrong","details":[{"code":"x","message":"first"}],
            "innererror":{"code":"SyntaxError","innererror":{"code":"SYN0002","line":2,"pos":7,"token":"|"}}}}"#;
        assert_eq!(
            said(StatusCode::BAD_REQUEST, body),
            ("BadArgumentError: the query is wrong\n  first".into(), vec![Wrong { line: 2, column: 7, message: String::new() }])
        );
        let azure = br#"{"error":{"code":"BadArgumentError","message":"The request had some invalid properties","innererror":
            {"code":"SyntaxError","message":"m","innererror":{"code":"SYN0002","message":"no such operator","line":1,"pos":3,"token":"x"}}}}"#;
        let place = Wrong { line: 1, column: 3, message: "no such operator".into() };
        assert_eq!(said(StatusCode::BAD_REQUEST, azure), ("SyntaxError: no such operator".into(), vec![place]));
        assert_eq!(said(StatusCode::BAD_GATEWAY, b"<html>"), ("the server answers 502 Bad Gateway: <html>".into(), Vec::new()));
    }

    #[test]
    fn waiting_grows_to_a_bound_and_heeds_the_server() {
        assert!(backoff(0, None) < Duration::from_millis(400));
        assert!(backoff(30, None) <= BACKOFF_MAX.mul_f64(1.25));
        let asked = backoff(0, Some(Duration::from_secs(2)));
        assert!(asked > Duration::from_secs(1) && asked < Duration::from_secs(3));
    }

    #[test]
    fn path_segments_cannot_leave_their_place() {
        let target = Target { server: "http://localhost:7700".into(), token: Some("t".into()), ca: None };
        let request = target.client().unwrap().request(Method::GET, &["v1", "workspaces", "a/../b?c", "tables"]).build().unwrap();
        assert_eq!(request.url().as_str(), "http://localhost:7700/v1/workspaces/a%2F..%2Fb%3Fc/tables");
    }
}
