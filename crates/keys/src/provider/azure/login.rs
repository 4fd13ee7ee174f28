//! Logging in for a token that is kept until shortly before it ends.
//!
//! The cluster's own way is a signed assertion (RFC 7523) at the vault's token endpoint. Entra ID has three more: a client's
//! secret, the identity of the machine we run on (from its metadata service) and an assertion that our platform signed. Where
//! to log in and what the token is for come from configuration.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use strongroom_model::AekId;
use strongroom_world::{BootTime, WallTime};
use url::Url;
use zeroize::Zeroizing;

use super::AzureKeyVault;
use crate::outbound::{Body, Call, Metadata, Reply};
use crate::provider::access::{AzureAccess, ProvidersConfig, Secret};
use crate::provider::call::{MALFORMED, Token, failure, unreachable};
use crate::provider::classify::{Asked, Said, classify};
use crate::provider::{Provider, VaultError};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Bytes of a federated token at most.
const FEDERATED_MAX: u64 = 64 << 10;

/// Who logs in, and where.
#[derive(Debug)]
pub enum AzureLogin {
    /// The cluster itself, at the vault's own token endpoint.
    Cluster,
    /// An application with a secret.
    ClientSecret {
        /// Its directory's token endpoint.
        endpoint: Url,
        /// The application.
        client: String,
        /// Its secret.
        secret: Secret,
        /// What the token is for.
        audience: String,
    },
    /// This machine.
    ManagedIdentity {
        /// Its metadata service.
        metadata: Metadata,
        /// Which of its identities.
        client: Option<String>,
        /// What the token is for.
        audience: String,
    },
    /// An application that trusts our platform.
    WorkloadIdentity {
        /// Its directory's token endpoint.
        endpoint: Url,
        /// The application.
        client: String,
        /// What our platform signed; it is renewed, so it is read for each login.
        file: PathBuf,
        /// What the token is for.
        audience: String,
    },
}

impl AzureLogin {
    /// What a reference object asks for, as far as the operator lets it.
    ///
    /// # Errors
    /// What the operator would have to set.
    pub fn of(access: AzureAccess, config: &ProvidersConfig) -> Result<Self, &'static str> {
        let endpoint = |tenant: &str| {
            let mut url = Url::parse(&config.azure_authority).map_err(|_| "providers.azure_authority is no URL")?;
            url.set_path(&format!("{tenant}/oauth2/v2.0/token"));
            Ok::<_, &'static str>(url)
        };
        let audience = |hsm: bool| if hsm { &config.azure_hsm_audience } else { &config.azure_vault_audience }.clone();
        Ok(match access {
            AzureAccess::Cluster => Self::Cluster,
            AzureAccess::ClientSecret { tenant, client, secret, hsm } => {
                Self::ClientSecret { endpoint: endpoint(&tenant)?, client, secret, audience: audience(hsm) }
            }
            AzureAccess::ManagedIdentity { client, hsm } => {
                if config.azure_metadata.is_empty() {
                    return Err("the operator has not set providers.azure_metadata: this server has no managed identity to lend");
                }
                let metadata = Metadata::open(&config.azure_metadata)
                    .map_err(|_| "providers.azure_metadata is not http://ADDRESS of this machine or its host")?;
                Self::ManagedIdentity { metadata, client, audience: audience(hsm) }
            }
            AzureAccess::WorkloadIdentity { tenant, client, hsm } => {
                if config.azure_federated_token_file.as_os_str().is_empty() {
                    return Err("the operator has not set providers.azure_federated_token_file: this server has no workload identity");
                }
                let file = config.azure_federated_token_file.clone();
                Self::WorkloadIdentity { endpoint: endpoint(&tenant)?, client, file, audience: audience(hsm) }
            }
        })
    }
}

/// RFC 6749 §5.1. Some endpoints write the number as text.
#[derive(Deserialize)]
struct Granted<'a> {
    access_token: String,
    #[serde(borrow)]
    expires_in: Seconds<'a>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds<'a> {
    Number(u64),
    Text(&'a str),
}

/// RFC 6749 §5.2.
#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl AzureKeyVault {
    /// The token in hand, or a new one.
    pub(super) async fn token(&self) -> Result<Arc<Token>, VaultError> {
        let (boot, wall) = (self.world.clock.boot(), self.world.clock.wall());
        match self.tokens.in_hand(boot) {
            Some(token) => Ok(token),
            None => Ok(self.tokens.keep(self.log_in(boot, wall).await?)),
        }
    }

    async fn log_in(&self, boot: BootTime, wall: WallTime) -> Result<Token, VaultError> {
        let reply = match &self.login {
            AzureLogin::Cluster => self.log_in_as_cluster(wall).await,
            AzureLogin::ClientSecret { endpoint, client, secret, audience } => {
                let scope = format!("{audience}/.default");
                let fields = [
                    ("grant_type", "client_credentials"),
                    ("client_id", client.as_str()),
                    ("client_secret", secret.text()),
                    ("scope", scope.as_str()),
                ];
                self.post(endpoint, &fields).await
            }
            AzureLogin::ManagedIdentity { metadata, client, audience } => {
                let mut query = vec![("api-version", "2018-02-01"), ("resource", audience.as_str())];
                query.extend(client.as_deref().map(|client| ("client_id", client)));
                metadata.get("/metadata/identity/oauth2/token", &query).await.map_err(unreachable)
            }
            AzureLogin::WorkloadIdentity { endpoint, client, file, audience } => {
                let unread = |_| VaultError::Unreachable { code: "FederatedTokenUnread", retry_after: None };
                let (fs, file) = (Arc::clone(&self.world.fs), file.clone());
                let read = tokio::task::spawn_blocking(move || fs.read(&file, FEDERATED_MAX).map(Zeroizing::new)).await;
                let bytes =
                    read.map_err(|_| VaultError::Unreachable { code: "FederatedTokenUnread", retry_after: None })?.map_err(unread)?;
                let assertion = std::str::from_utf8(&bytes).map_err(|_| MALFORMED)?.trim();
                let scope = format!("{audience}/.default");
                self.post(endpoint, &assertion_form(client, assertion, &scope)).await
            }
        }?;
        read(boot, &reply)
    }

    async fn log_in_as_cluster(&self, wall: WallTime) -> Result<Reply, VaultError> {
        let unsigned = |_| VaultError::Unreachable { code: "LoginNotSigned", retry_after: None };
        let assertion = self.identity.assertion(self.token_endpoint.as_str(), wall, self.world.rng.as_ref()).map_err(unsigned)?;
        let client = self.identity.principal().to_string();
        let scope = format!("{}.default", self.kek.vault_uri);
        self.post(&self.token_endpoint, &assertion_form(&client, &assertion, &scope)).await
    }

    async fn post(&self, endpoint: &Url, fields: &[(&str, &str)]) -> Result<Reply, VaultError> {
        self.outbound.send(Call::new(endpoint, Body::Form(fields))).await.map_err(unreachable)
    }
}

fn assertion_form<'a>(client: &'a str, assertion: &'a str, scope: &'a str) -> [(&'static str, &'a str); 5] {
    [
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
        ("scope", scope),
    ]
}

fn read(boot: BootTime, reply: &Reply) -> Result<Token, VaultError> {
    let refused: Option<Refused> = serde_json::from_slice(&reply.body).ok();
    let said = Said { status: reply.status, code: refused.as_ref().map(|refused| refused.error.as_str()), inner: None };
    if let Some(error) = failure(classify(Provider::Azure, Asked::Token, said), reply.retry_after, AekId::NIL) {
        return Err(error);
    }
    let granted: Granted<'_> = serde_json::from_slice(&reply.body).map_err(|_| MALFORMED)?;
    let text = Zeroizing::new(granted.access_token);
    let seconds = match granted.expires_in {
        Seconds::Number(seconds) => seconds,
        Seconds::Text(text) => text.parse().map_err(|_| MALFORMED)?,
    };
    // 0 is a token that is over already; `Token` knows it as one without an end.
    Token::granted(text, boot, seconds.max(1))
}

#[cfg(test)]
mod tests;
