//! Which vault, as whom, and whose word is trusted that it is the one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use reqwest::{Method, RequestBuilder, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use strongroom_keyvault::{admin_token_path, ca_path};

use crate::Failure;
use crate::client::{Client, plain};

/// The version of Key Vault's interface that is asked for.
const API_VERSION: (&str, &str) = ("api-version", "7.6");
/// Pages of one list; a list without end is an error of the other side.
const PAGES_MAX: usize = 10_000;

/// Which vault, and as whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Vault")]
pub(crate) struct VaultTarget {
    /// The vault's address
    #[arg(
        id = "vault-url",
        long = "vault-url",
        env = "STRONGROOM_VAULT",
        default_value = "https://127.0.0.1:7701",
        value_name = "URL",
        global = true
    )]
    url: String,
    /// The vault's directory, where its ca.pem and admin token lie [default: $XDG_DATA_HOME/strongroom-vault]
    #[arg(id = "vault-dir", long = "vault-dir", env = "STRONGROOM_VAULT_DIR", value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// The certificate to trust, where the vault's directory is not at hand [default: ca.pem in the directory]
    #[arg(id = "vault-ca", long = "vault-ca", env = "STRONGROOM_VAULT_CA", value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// The vault's admin token; the environment is safer, as arguments show in process lists
    /// [default: admin-token in the directory]
    #[arg(
        id = "vault-token",
        long = "vault-token",
        env = "STRONGROOM_VAULT_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        global = true
    )]
    token: Option<String>,
}

/// A vault, from the outside.
pub(crate) struct VaultClient {
    client: Client,
    /// `https://host:port`, as cluster settings want it.
    pub(crate) uri: String,
}

impl VaultTarget {
    /// The vault's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| {
            let base = match std::env::var_os("XDG_DATA_HOME") {
                Some(set) if !set.is_empty() => PathBuf::from(set),
                _ => PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| ".".into())).join(".local/share"),
            };
            base.join("strongroom-vault")
        })
    }

    pub(crate) fn client(&self) -> Result<VaultClient, Failure> {
        let wrong = || Failure::Usage(format!("--vault-url {}: give it as https://HOST:PORT", self.url));
        let base = Url::parse(&self.url).map_err(|_| wrong())?;
        if base.scheme() != "https" || base.host_str().is_none() || base.path() != "/" || base.query().is_some() {
            return Err(wrong());
        }
        let http =
            trusting(&self.ca_file(), &self.ca_pem()?)?.build().map_err(|error| Failure::Failed(format!("no HTTP client: {error}")))?;
        let uri = base.as_str().trim_end_matches('/').to_owned();
        Ok(VaultClient { client: Client::over(http, base, self.token()?), uri })
    }

    fn ca_file(&self) -> PathBuf {
        self.ca.clone().unwrap_or_else(|| ca_path(&self.dir()))
    }

    /// The certificate to trust.
    pub(crate) fn ca_pem(&self) -> Result<String, Failure> {
        let ca = self.ca_file();
        std::fs::read_to_string(&ca).map_err(|error| {
            Failure::Usage(format!("the vault's certificate {} cannot be read ({error}); give --vault-dir or --vault-ca", ca.display()))
        })
    }

    fn token(&self) -> Result<String, Failure> {
        if let Some(token) = self.token.as_deref().map(str::trim).filter(|token| !token.is_empty()) {
            return Ok(token.to_owned());
        }
        let path = admin_token_path(&self.dir());
        std::fs::read_to_string(&path).map(|token| token.trim().to_owned()).map_err(|error| {
            Failure::Usage(format!(
                "no token: give --vault-token or STRONGROOM_VAULT_TOKEN (the vault's admin token would be in {}, but: {error})",
                path.display()
            ))
        })
    }
}

/// A client that trusts the certificates in `pem`, read from `file`, and no others.
pub(crate) fn trusting(file: &Path, pem: &str) -> Result<reqwest::ClientBuilder, Failure> {
    let unusable = |error: &dyn std::fmt::Display| Failure::Usage(format!("{} is not a certificate: {error}", file.display()));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|error| unusable(&error))?).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"there is none in it"));
    }
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Failed(format!("no TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(plain().use_preconfigured_tls(tls))
}

impl VaultClient {
    /// Calls a route of the vault's own.
    pub(crate) async fn manage(&self, method: Method, segments: &[&str], body: Option<&Value>) -> Result<Value, Failure> {
        let path: Vec<&str> = std::iter::once("vault").chain(segments.iter().copied()).collect();
        self.send(self.client.request(method, &path), body).await
    }

    /// Calls in the access log after `after`.
    pub(crate) async fn log(&self, after: u64) -> Result<Value, Failure> {
        self.send(self.client.request(Method::GET, &["vault", "log"]).query(&[("after", after)]), None).await
    }

    /// Calls a route of Key Vault.
    pub(crate) async fn keys(&self, method: Method, segments: &[&str], body: Option<&Value>) -> Result<Value, Failure> {
        self.send(self.client.request(method, segments).query(&[API_VERSION]), body).await
    }

    async fn send(&self, request: RequestBuilder, body: Option<&Value>) -> Result<Value, Failure> {
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        Ok(self.client.json(request).await?)
    }

    /// All entries of a list, page after page.
    pub(crate) async fn all(&self, segments: &[&str]) -> Result<Value, Failure> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut request = self.client.request(Method::GET, segments).query(&[API_VERSION]);
            if let Some(token) = &after {
                request = request.query(&[("$skiptoken", token)]);
            }
            let mut page = self.client.json(request).await?;
            if let Some(value) = page["value"].as_array_mut() {
                all.append(value);
            }
            // The token alone is taken of the link: it leads nowhere but here.
            let next = page["nextLink"].as_str().and_then(|link| Url::parse(link).ok());
            let next = next.and_then(|link| link.query_pairs().find(|(name, _)| name == "$skiptoken").map(|(_, token)| token.into_owned()));
            if next.is_none() || next == after {
                break;
            }
            after = next;
        }
        Ok(json!({"value": all}))
    }
}
