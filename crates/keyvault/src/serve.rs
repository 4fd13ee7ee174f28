//! One call from its head to its answer: host, route, caller, right, body, key; and a line in the access log whatever came of it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use zeroize::Zeroize as _;

use crate::access_log::Entry;
use crate::auth::{self, LoginError, LoginForm};
use crate::key::{TAG_BYTES_MAX, TAGS_MAX, VersionId};
use crate::refusal::Refusal;
use crate::route::{Keys, Route};
use crate::vault::{Caller, Vault, split_port};
use crate::wire::{self, Page};

/// Bytes that a backup has for each version at most: 4096 bits, private and public, and its tags, each byte of which JSON may write as
/// six; in base64.
const BACKUP_BYTES_EACH: usize = (6 << 10) + TAGS_MAX * 2 * TAG_BYTES_MAX * 6 * 4 / 3;

/// A good answer.
pub(crate) type Answer = Result<(StatusCode, Value), Refusal>;

#[expect(clippy::unnecessary_wraps, reason = "what every good call ends in")]
pub(crate) fn ok(value: Value) -> Answer {
    Ok((StatusCode::OK, value))
}

/// Answers one request. It runs to its end and into the log even if the caller hangs up.
pub(crate) async fn answer(vault: Arc<Vault>, request: Request<Body>) -> Response<Body> {
    let call = tokio::spawn(async move {
        let (parts, body) = request.into_parts();
        let mut call = Call { host: host(&parts), parts, vault, entry: Entry::default(), challenge: false, logged: true };
        let outcome = call.run(body).await;
        call.finish(outcome)
    });
    call.await.unwrap_or_else(|_| respond(StatusCode::INTERNAL_SERVER_ERROR, &Refusal::internal("The call was broken off.").body()))
}

pub(crate) struct Call {
    pub(crate) vault: Arc<Vault>,
    parts: Parts,
    host: Option<String>,
    pub(crate) entry: Entry,
    /// Tell the caller where to log in.
    challenge: bool,
    logged: bool,
}

/// A request's body, wiped once it was read: it may hold a private key.
pub(crate) struct Content(pub(crate) Vec<u8>);

impl Drop for Content {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Call {
    async fn run(&mut self, body: Body) -> Answer {
        "-".clone_into(&mut self.entry.operation);
        let route = Route::of(&self.parts.method, self.parts.uri.path())?;
        route.operation().clone_into(&mut self.entry.operation);
        if route == Route::Health {
            self.logged = false;
            return ok(json!({"status": "ok"}));
        }
        let host = self.host.as_deref().filter(|host| self.vault.answers_for(host));
        let base = host.map(|host| format!("https://{host}")).ok_or_else(|| {
            Refusal::new(StatusCode::MISDIRECTED_REQUEST, "MisdirectedRequest", "This vault does not answer for the host that was named.")
        })?;
        match route {
            Route::Health => unreachable!("answered above"),
            Route::Discovery { tenant } => {
                self.logged = false;
                ok(discovery(&base, &tenant))
            }
            Route::Login { tenant } => self.login(&base, &tenant, body).await,
            Route::Manage(call) => {
                if self.caller(&base).await? != Caller::Admin {
                    return Err(Refusal::forbidden("AccessDenied", "Only the vault's admin may do this."));
                }
                let content = self.content(body, self.vault.config.max_body_bytes).await?;
                let query = self.parts.uri.query().unwrap_or_default();
                self.vault.manage(call, &base, query, &content.0).await
            }
            Route::Keys(call) => {
                let (key, version) = call.subject();
                // Names that cannot be names stay out of the log.
                self.entry.key = key.filter(|key| crate::key::key_of(key).is_ok()).map(str::to_owned);
                self.entry.version = version.and_then(VersionId::parse).map(|version| version.to_string());
                let caller = self.caller(&base).await?;
                if let (Caller::Principal(principal), Some(permission)) = (caller, call.permission()) {
                    self.vault.state().may(principal, permission)?;
                }
                let page = self.page()?;
                let max = self.vault.config.max_body_bytes;
                let max = if call == Keys::Restore { max.max(self.vault.config.versions_max * BACKUP_BYTES_EACH) } else { max };
                let content = self.content(body, max).await?;
                self.keys(call, &base, &page, content).await
            }
        }
    }

    fn finish(mut self, outcome: Answer) -> Response<Body> {
        let (status, body, code) = match outcome {
            Ok((status, body)) => (status, body, None),
            Err(refusal) => (refusal.status, refusal.body(), Some(refusal.finest())),
        };
        if self.logged {
            self.entry.status = status.as_u16();
            self.entry.code = code.map(str::to_owned);
            self.vault.log.lock().append(self.entry);
        }
        let mut response = respond(status, &body);
        let challenge = self.host.filter(|host| self.vault.answers_for(host)).map(|host| {
            let own = || format!("https://{host}/{}", self.vault.state().tenant);
            challenge(&host, &self.vault.issuers.authority().map_or_else(own, str::to_owned))
        });
        if self.challenge
            && let Some(challenge) = challenge.and_then(|challenge| HeaderValue::try_from(challenge).ok())
        {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// Who calls; nobody known is told where to log in.
    async fn caller(&mut self, base: &str) -> Result<Caller, Refusal> {
        let given = self.parts.headers.get(header::AUTHORIZATION);
        let scheme = given.and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
        let token = scheme.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let caller = match token {
            Some(token) => {
                let audiences = [base.to_owned(), format!("https://{}", resource(base.trim_start_matches("https://")))];
                self.vault.caller(token, &audiences).await
            }
            None => None,
        };
        let Some(caller) = caller else {
            self.challenge = true;
            let text = if given.is_some() {
                "The access token is unknown or has expired."
            } else {
                "AKV10000: Request is missing a Bearer or PoP token."
            };
            return Err(Refusal::unknown_caller(text));
        };
        match caller {
            Caller::Admin => self.entry.principal = Some("admin".to_owned()),
            Caller::Principal(id) => self.name(id),
            Caller::Unregistered(id) => {
                self.entry.principal_id = Some(id.to_string());
                return Err(self.vault.state().nothing_granted(&id.to_string()));
            }
        }
        Ok(caller)
    }

    fn name(&mut self, principal: uuid::Uuid) {
        self.entry.principal = self.vault.state().identities.get(&principal).map(|identity| identity.name.clone());
        self.entry.principal_id = Some(principal.to_string());
    }

    /// The query of a Key Vault call: a version of the interface is compulsory.
    fn page(&self) -> Result<Page, Refusal> {
        let mut page = Page::default();
        for (name, value) in url::form_urlencoded::parse(self.parts.uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "api-version" => page.api_version = value.into_owned(),
                "maxresults" => page.max = Some(value.into_owned()),
                "$skiptoken" => page.token = Some(value.into_owned()),
                _ => {}
            }
        }
        if page.api_version.is_empty() {
            return Err(Refusal::bad("api-version must be specified"));
        }
        if !wire::is_api_version(&page.api_version) {
            return Err(Refusal::bad("api-version is not one"));
        }
        Ok(page)
    }

    async fn content(&self, body: Body, max: usize) -> Result<Content, Refusal> {
        let config = &self.vault.config;
        let read = tokio::time::timeout(Duration::from_millis(config.handshake_timeout_ms), to_bytes(body, max));
        let slow = || Refusal::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", "The body did not arrive in time.");
        let bytes = read.await.map_err(|_| slow())?.map_err(|_| {
            let text = format!("The body broke off, or is longer than {max} bytes.");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", text)
        })?;
        Ok(Content(bytes.into()))
    }

    async fn login(&mut self, base: &str, tenant: &str, body: Body) -> Answer {
        let basic = self.parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let form = LoginForm::parse(&self.content(body, self.vault.config.max_body_bytes).await?.0).with_basic(basic);
        // As the client named it: its assertion is for this address alone.
        let audience = format!("{base}{}", self.parts.uri.path());
        let state = self.vault.state();
        let (now, bounds) = (self.vault.clocks(), self.vault.login_bounds());
        // The signature is checked outside the lock: strangers' logins keep nobody waiting.
        let outcome = auth::check(&state, &form, &audience, now.wall.unix_secs()).and_then(|checked| {
            self.name(checked.principal);
            let admitted = self.vault.logins.lock().admit(&checked, now, &*self.vault.world.rng, bounds);
            admitted.map_err(|error| (Some(checked.principal), error))
        });
        match outcome {
            Ok(token) => {
                let life = bounds.token_life.as_secs();
                ok(json!({"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token}))
            }
            Err((principal, error)) => {
                if let Some(principal) = principal {
                    self.name(principal);
                }
                tracing::debug!(tenant, "a login was refused");
                Ok(self.login_refused(error))
            }
        }
    }

    /// OAuth has an envelope of its own.
    fn login_refused(&mut self, error: LoginError) -> (StatusCode, Value) {
        let (status, code, number, text) = match error {
            LoginError::Request(text) => (StatusCode::BAD_REQUEST, "invalid_request", 900_144, text),
            LoginError::Client(text) => (StatusCode::UNAUTHORIZED, "invalid_client", 700_027, text),
            LoginError::Secret => {
                (StatusCode::UNAUTHORIZED, "invalid_client", 7_000_215, "no identity is registered that has this client id and secret")
            }
            LoginError::Later(text) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", 90_033, text),
        };
        self.entry.code = Some(code.to_owned());
        let body = json!({"error": code, "error_description": format!("AADSTS{number}: {text}"), "error_codes": [number]});
        (status, body)
    }
}

/// The host that the client named: the address of HTTP/2, the header of HTTP/1.
fn host(parts: &Parts) -> Option<String> {
    let named = parts.uri.authority().map(axum::http::uri::Authority::as_str);
    let header = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = named.or(header)?;
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]_".contains(&byte);
    (host.len() <= 255 && host.bytes().all(harmless)).then(|| host.to_owned())
}

fn discovery(base: &str, tenant: &str) -> Value {
    let token = if tenant == "adfs" { "oauth2/token" } else { "oauth2/v2.0/token" };
    json!({
        "issuer": format!("{base}/{tenant}/v2.0"),
        "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/{tenant}/{token}"),
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post", "client_secret_basic"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

/// Clients check that the host ends with the resource, port included: the host without its first label.
fn resource(host: &str) -> &str {
    let (name, _) = split_port(host);
    match host.split_once('.') {
        Some((_, rest)) if !name.starts_with('[') && name.contains('.') => rest,
        _ => host,
    }
}

fn challenge(host: &str, authority: &str) -> String {
    format!("Bearer authorization=\"{authority}\", resource=\"https://{}\"", resource(host))
}

fn respond(status: StatusCode, body: &Value) -> Response<Body> {
    let content = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let mut response = Response::new(content);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if !body.is_null() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_names_a_resource_that_the_host_ends_with() {
        let resource = |host| challenge(host, "https://t").split("resource=").nth(1).unwrap().to_owned();
        assert_eq!(resource("127.0.0.1:8443"), "\"https://0.0.1:8443\"");
        assert_eq!(resource("v1.vault.example:8443"), "\"https://vault.example:8443\"");
        assert_eq!(resource("localhost:7701"), "\"https://localhost:7701\"");
        assert_eq!(resource("[::1]:7701"), "\"https://[::1]:7701\"");
        assert!(challenge("a.b:1", "https://a.b:1/t").starts_with("Bearer authorization=\"https://a.b:1/t\", "));
    }
}
