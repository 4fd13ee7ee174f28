//! Logging in, as Azure's clients do it: where the endpoints are (OpenID Connect Discovery), a token for a service's secret or
//! certificate (RFC 6749 §4.4, RFC 7523), and the keys that tokens are signed with (RFC 7517).
//!
//! The same under each tenant's id, under `common`, and under `adfs`: clients that are told the last one ask nobody else first.
//! Refusals are told in the words of Entra ID, for those are what its clients show to people.

use std::net::SocketAddr;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use strongroom_control::{LoginError, Proof, Subject, audience_name};
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{App, body};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Bytes of a login.
const FORM_MAX: usize = 64 << 10;
const AUDIENCE_MAX: usize = 256;
const ADFS: &str = "adfs";

/// A login that was refused.
#[derive(Debug)]
pub(crate) struct Refused(LoginError);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let LoginError { status, error, number, text } = self.0;
        let (trace, correlation) = (Uuid::now_v7(), Uuid::now_v7());
        let now = chrono::Utc::now().format("%Y-%m-%d %H:%M:%SZ");
        let description = format!("AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}");
        let told = json!({
            "error": error,
            "error_description": description,
            "error_codes": [number],
            "timestamp": now.to_string(),
            "trace_id": trace,
            "correlation_id": correlation,
        });
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = (status, Json(told)).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(60));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"token\""));
        }
        private(response)
    }
}

/// Answers with tokens, and about them, are nobody's to keep.
fn private(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refused(status: u16, error: &'static str, number: u32, text: impl Into<String>) -> Refused {
    Refused(LoginError::new(status, error, number, text))
}

/// The tenant that a path names.
async fn tenant(app: &App, text: &str) -> Result<String, Refused> {
    let found = app.site.identity.directory.tenant_of(text).await;
    let found = found.map_err(|_| refused(503, "temporarily_unavailable", 90_033, "The service is temporarily unavailable. Try again."))?;
    found.ok_or_else(|| {
        let named: String = text.chars().filter(char::is_ascii_graphic).take(64).collect();
        refused(400, "invalid_request", 90_002, format!("Tenant '{named}' not found."))
    })
}

fn issuer(app: &App, headers: &HeaderMap, tenant: &str, adfs: bool) -> String {
    let base = super::external_url(app, headers);
    if adfs { format!("{base}/{ADFS}") } else { format!("{base}/{tenant}/v2.0") }
}

/// `GET /{tenant}/v2.0/.well-known/openid-configuration`, and without `v2.0`.
pub(crate) async fn discovery(
    State(app): State<App>,
    Path(named): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Json<Value>, Refused> {
    let own = tenant(&app, &named).await?;
    let base = super::external_url(&app, &headers);
    let adfs = named.eq_ignore_ascii_case(ADFS);
    let v2 = uri.path().contains("/v2.0/");
    // Under the tenant's id even if it was asked for by a word: who logs in is to be told in one place.
    let root = if adfs { format!("{base}/{ADFS}") } else { format!("{base}/{own}") };
    let (oauth, keys) = if v2 { ("oauth2/v2.0", "discovery/v2.0/keys") } else { ("oauth2", "discovery/keys") };
    Ok(Json(json!({
        "issuer": issuer(&app, &headers, &own, adfs),
        "authorization_endpoint": format!("{root}/{oauth}/authorize"),
        "token_endpoint": format!("{root}/{oauth}/token"),
        "jwks_uri": format!("{root}/{keys}"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256"],
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": [".default"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "nbf", "oid", "tid", "appid", "azp"],
        "tenant_region_scope": null,
    })))
}

/// `GET /common/discovery/instance`: clients that do not know this host ask whether it is an authority. It is its own.
pub(crate) async fn instance(State(app): State<App>, headers: HeaderMap) -> Json<Value> {
    let base = super::external_url(&app, &headers);
    let tenant = app.site.identity.directory.tenant();
    Json(json!({
        "tenant_discovery_endpoint": format!("{base}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [],
    }))
}

/// `GET /{tenant}/discovery/v2.0/keys`.
pub(crate) async fn keys(State(app): State<App>, Path(named): Path<String>) -> Result<Json<Value>, Refused> {
    tenant(&app, &named).await?;
    Ok(Json(app.site.identity.tokens.jwks()))
}

/// What a client posts. Secrets in it are wiped.
#[derive(Default)]
struct Form {
    grant_type: Option<String>,
    client_id: Option<String>,
    secret: Option<Zeroizing<String>>,
    assertion_type: Option<String>,
    assertion: Option<String>,
    scope: Option<String>,
    resource: Option<String>,
}

impl Form {
    /// `None`: something is there twice, which RFC 6749 §3.2 forbids.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut form = Self::default();
        for (name, value) in url::form_urlencoded::parse(bytes) {
            if name == "client_secret" {
                if form.secret.replace(Zeroizing::new(value.into_owned())).is_some() {
                    return None;
                }
                continue;
            }
            let place = match &*name {
                "grant_type" => &mut form.grant_type,
                "client_id" => &mut form.client_id,
                "client_assertion_type" => &mut form.assertion_type,
                "client_assertion" => &mut form.assertion,
                "scope" => &mut form.scope,
                "resource" => &mut form.resource,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(form)
    }

    /// Id and secret out of `Authorization: Basic` (RFC 6749 §2.3.1), if the form has none.
    fn read_header(&mut self, headers: &HeaderMap) -> Option<()> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, text) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") || self.secret.is_some() {
            return None;
        }
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        self.client_id = Some(decode(id)?);
        self.secret = Some(Zeroizing::new(decode(secret)?));
        Some(())
    }
}

/// `POST /{tenant}/oauth2/v2.0/token`, and without `v2.0`.
pub(crate) async fn token(
    State(app): State<App>,
    Path(named): Path<String>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    uri: Uri,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, Refused> {
    let tenant = tenant(&app, &named).await?;
    let bytes = body::read(content, FORM_MAX).await;
    let bytes = bytes.map_err(|_| refused(400, "invalid_request", 900_144, "The request body could not be read."))?;
    let missing = |name: &str| {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        refused(400, "invalid_request", 900_144, text)
    };
    let mut form = Form::read(&bytes).ok_or_else(|| refused(400, "invalid_request", 90_013, "A parameter is there more than once."))?;
    let _named_by_header = form.read_header(&headers);
    match form.grant_type.as_deref() {
        Some("client_credentials") => {}
        None => return Err(missing("grant_type")),
        Some(_) => {
            return Err(refused(
                400,
                "unsupported_grant_type",
                70_003,
                "The app requested an unsupported grant type; there is client_credentials.",
            ));
        }
    }
    let client = form.client_id.as_deref().ok_or_else(|| missing("client_id"))?;
    let base = super::external_url(&app, &headers);
    let endpoint = format!("{base}{}", uri.path());
    let proof = match (&form.secret, form.assertion.as_deref()) {
        (Some(secret), None) => Proof::Secret(secret),
        (None, Some(jwt)) if form.assertion_type.as_deref() == Some(ASSERTION_TYPE) => Proof::Assertion { jwt, endpoint: &endpoint },
        (None, Some(_)) => return Err(missing("client_assertion_type")),
        (None, None) => {
            let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
            return Err(refused(401, "invalid_client", 7_000_218, text));
        }
        (Some(_), Some(_)) => return Err(refused(400, "invalid_request", 90_014, "Give a secret or an assertion, not both.")),
    };
    let (audience, own) = audience(&app, &headers, &form)?;
    // What is signed for the address of another host is not for this one, whatever host the request names: else whoever is sent an
    // assertion could use it here.
    if matches!(proof, Proof::Assertion { .. }) && !crate::tls::is_own_name(&app.site.config, &base) {
        let text = "The address of this token endpoint is not one that this server knows as its own: its operator names it in gateway.external_url or [tls] names.";
        return Err(refused(401, "invalid_client", 700_023, text));
    }
    let address = peer.map_or_else(|| std::net::Ipv4Addr::UNSPECIFIED.into(), |Extension(ConnectInfo(peer))| peer.ip());
    let row = app.site.identity.services.log_in(client, &proof, address).await.map_err(Refused)?;
    let Some(client) = row.client_id else {
        return Err(refused(400, "unauthorized_client", 700_016, "This is no application that can log in."));
    };
    let issuer = issuer(&app, &headers, &tenant, named.eq_ignore_ascii_case(ADFS));
    let by_certificate = matches!(proof, Proof::Assertion { .. });
    let subject = Subject { principal: row.id, client, tenant: &tenant, issuer: &issuer, audience: &audience, own, by_certificate };
    let made = app.site.identity.tokens.issue(&subject);
    let (token, life) =
        made.map_err(|_| refused(503, "temporarily_unavailable", 90_033, "The service is temporarily unavailable. Try again."))?;
    let answer = json!({"token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token});
    Ok(private(Json(answer).into_response()))
}

/// Whom the token is to be for, and whether that is this server by an address of its own.
fn audience(app: &App, headers: &HeaderMap, form: &Form) -> Result<(String, bool), Refused> {
    let wrong = |text: &str| refused(400, "invalid_scope", 1_002_012, text);
    let asked = match (&form.scope, &form.resource) {
        (Some(scope), _) => {
            // Besides the resource, clients name scopes of OpenID Connect, which say nothing here.
            let mut named = scope.split(' ').filter(|scope| !scope.is_empty() && !["openid", "profile", "offline_access"].contains(scope));
            let first = named.next().ok_or_else(|| wrong("The scope names no resource."))?;
            if named.next().is_some() {
                return Err(wrong("The scope names more than one resource."));
            }
            let resource = first.strip_suffix("/.default").or((first == ".default").then_some(""));
            resource.ok_or_else(|| {
                wrong("The scope is not valid: client credential flows must have a scope value with /.default suffixed to the resource identifier.")
            })?
        }
        (None, Some(resource)) => resource,
        (None, None) => "",
    };
    let base = super::external_url(app, headers);
    let asked = asked.trim_end_matches('/');
    let own = asked.is_empty() || same_place(asked, &base);
    let audience = if asked.is_empty() { base } else { asked.to_owned() };
    let fine = audience.len() <= AUDIENCE_MAX && audience.bytes().all(|byte| byte.is_ascii_graphic());
    if !fine || audience_name(&audience).is_empty() {
        return Err(refused(400, "invalid_resource", 500_011, "The resource principal was not found in the tenant."));
    }
    Ok((audience, own))
}

/// Whether two addresses name the same scheme, host and port.
fn same_place(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one.origin() == other.origin() && one.path() == "/",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_each_thing_once_and_a_header_may_say_who_it_is() {
        let form = Form::read(b"grant_type=client_credentials&client_id=a&client_secret=b%2Bc&scope=https%3A%2F%2Fx%2F.default").unwrap();
        assert_eq!((form.client_id.as_deref(), form.secret.as_deref().map(String::as_str)), (Some("a"), Some("b+c")));
        for twice in ["client_id=a&client_id=b", "client_secret=a&client_secret=b", "scope=a&scope=a"] {
            assert!(Form::read(twice.as_bytes()).is_none(), "{twice}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode("a%3Ab:c%25d")).parse().unwrap());
        let mut form = Form::default();
        form.read_header(&headers).unwrap();
        assert_eq!((form.client_id.as_deref(), form.secret.as_deref().map(String::as_str)), (Some("a:b"), Some("c%d")));
        assert!(form.read_header(&headers).is_none(), "what the form says stays");
    }

    #[test]
    fn addresses_are_compared_as_places() {
        for (one, same) in [
            ("https://host:8443", true),
            ("https://HOST:8443/", true),
            ("https://host", false),
            ("http://host:8443", false),
            ("https://host:8443/x", false),
            ("host:8443", false),
        ] {
            assert_eq!(same_place(one, "https://host:8443"), same, "{one}");
        }
    }
}
