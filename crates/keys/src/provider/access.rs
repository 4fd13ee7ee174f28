//! How to log in at a vault: what its reference object says besides the address.
//!
//! It is given as JSON, kept as a sealed cell and never shown again. Nothing in it names a module to load, a file to read or a
//! metadata service to ask: those are the operator's, in [`ProvidersConfig`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::Provider;

/// Bytes of what a reference object says of logging in, at most.
const ACCESS_MAX: usize = 16 << 10;
/// Bytes of one secret, at most.
const SECRET_MAX: usize = 8 << 10;

/// What the operator alone may say of providers: it holds for all reference objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProvidersConfig {
    /// Where Entra ID logs clients in.
    pub azure_authority: String,
    /// What a token for Azure Key Vault is for.
    pub azure_vault_audience: String,
    /// What a token for a Managed HSM is for.
    pub azure_hsm_audience: String,
    /// The metadata service that knows this machine's managed identity; empty: reference objects may not ask for one.
    pub azure_metadata: String,
    /// The token that a workload identity shows Entra ID; empty: reference objects may not ask for one.
    pub azure_federated_token_file: PathBuf,
    /// PKCS#11 tokens: a vault `pkcs11://NAME` is the token of that name here.
    pub pkcs11: BTreeMap<String, Pkcs11Token>,
}

impl Default for ProvidersConfig {
    fn default() -> Self {
        Self {
            azure_authority: "https://login.microsoftonline.com".to_owned(),
            azure_vault_audience: "https://vault.azure.net".to_owned(),
            azure_hsm_audience: "https://managedhsm.azure.net".to_owned(),
            azure_metadata: String::new(),
            azure_federated_token_file: PathBuf::new(),
            pkcs11: BTreeMap::new(),
        }
    }
}

/// A PKCS#11 token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Token {
    /// The module: a shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
}

/// A secret out of a reference object. Wiped on drop; `Debug` prints nothing of it.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    fn is_usable(&self) -> bool {
        (1..=SECRET_MAX).contains(&self.0.len()) && self.0.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// How to log in at a vault.
#[derive(Debug)]
pub enum Access {
    /// Azure Key Vault or Managed HSM.
    Azure(AzureAccess),
    /// OpenBao or Vault.
    Transit(TransitAccess),
    /// AWS KMS.
    AwsKms(AwsAccess),
    /// A PKCS#11 token.
    Pkcs11(Pkcs11Access),
}

/// How to log in at an Azure Key Vault or a Managed HSM.
#[derive(Debug, Default, Deserialize)]
#[serde(tag = "login", rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum AzureAccess {
    /// As the cluster itself, at the vault's own token endpoint.
    #[default]
    Cluster,
    /// As an application with a client secret.
    ClientSecret {
        /// The directory (a GUID or a domain).
        tenant: String,
        /// The application.
        client: String,
        /// Its secret.
        secret: Secret,
        /// Whether the vault is a Managed HSM.
        #[serde(default)]
        hsm: bool,
    },
    /// As the identity of the machine that the server runs on, if the operator lets it.
    ManagedIdentity {
        /// Which, if it has several.
        #[serde(default)]
        client: Option<String>,
        /// Whether the vault is a Managed HSM.
        #[serde(default)]
        hsm: bool,
    },
    /// As an application that trusts the server's platform, if the operator lets it.
    WorkloadIdentity {
        /// The directory (a GUID or a domain).
        tenant: String,
        /// The application.
        client: String,
        /// Whether the vault is a Managed HSM.
        #[serde(default)]
        hsm: bool,
    },
}

/// How to log in at an OpenBao or Vault server, and where its Transit engine is.
#[derive(Debug)]
pub struct TransitAccess {
    /// Where the engine is mounted.
    pub mount: String,
    /// How to log in.
    pub login: TransitLogin,
}

/// How to log in at an OpenBao or Vault server.
#[derive(Debug)]
pub enum TransitLogin {
    /// As the cluster itself: with a JWT that it signs.
    Jwt {
        /// Where the method is mounted.
        mount: String,
        /// The role.
        role: String,
        /// What the JWT is for; the vault's address unless it says otherwise.
        audience: Option<String>,
    },
    /// With a token.
    Token(Secret),
}

/// As it is written: serde cannot flatten an enum and refuse unknown members at once.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TransitText {
    #[serde(default = "transit_mount")]
    mount: String,
    #[serde(default)]
    login: Option<String>,
    #[serde(default)]
    login_mount: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    audience: Option<String>,
    #[serde(default)]
    token: Option<Secret>,
}

/// Whose credentials AWS KMS is called with.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AwsAccess {
    /// The key's region.
    pub region: String,
    /// The access key's id.
    pub access_key_id: String,
    /// The access key.
    pub secret_access_key: Secret,
    /// The token of temporary credentials.
    #[serde(default)]
    pub session_token: Option<Secret>,
}

/// How to log in at a PKCS#11 token.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pkcs11Access {
    /// The user's PIN.
    pub pin: Secret,
}

/// Why what a reference object says of logging in will not do. Says nothing of what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AccessError(&'static str);

impl AccessError {
    /// What is needed.
    #[must_use]
    pub const fn why(self) -> &'static str {
        self.0
    }
}

impl Access {
    /// Reads what a reference object of such a vault says, JSON; `None` says nothing.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn read(provider: Provider, text: Option<&str>) -> Result<Self, AccessError> {
        if text.is_some_and(|text| text.len() > ACCESS_MAX) {
            return Err(AccessError("16 KiB in all are allowed"));
        }
        Ok(match provider {
            Provider::Azure => {
                let need = "give {\"login\": \"cluster\"}, \"client-secret\" with tenant, client and secret, \"managed-identity\", or \
                            \"workload-identity\" with tenant and client";
                let access = text.map_or(Ok(AzureAccess::default()), |text| parse(text, need))?;
                access.check()?;
                Self::Azure(access)
            }
            Provider::Transit => {
                let need =
                    "give {\"login\": \"jwt\", \"role\"} or {\"login\": \"token\", \"token\"}, with mount and loginMount as they are";
                Self::Transit(TransitAccess::of(parse(text.ok_or(AccessError(need))?, need)?, need)?)
            }
            Provider::AwsKms => {
                let need = "give region, accessKeyId and secretAccessKey";
                let access: AwsAccess = parse(text.ok_or(AccessError(need))?, need)?;
                let secrets = access.secret_access_key.is_usable() && access.session_token.as_ref().is_none_or(Secret::is_usable);
                if !secrets || ![&access.region, &access.access_key_id].into_iter().all(|text| is_word(text)) {
                    return Err(AccessError(need));
                }
                Self::AwsKms(access)
            }
            Provider::Pkcs11 => {
                let need = "give pin";
                let access: Pkcs11Access = parse(text.ok_or(AccessError(need))?, need)?;
                if !access.pin.is_usable() {
                    return Err(AccessError(need));
                }
                Self::Pkcs11(access)
            }
        })
    }

    /// Whose vault it is for.
    #[must_use]
    pub const fn provider(&self) -> Provider {
        match self {
            Self::Azure(_) => Provider::Azure,
            Self::Transit(_) => Provider::Transit,
            Self::AwsKms(_) => Provider::AwsKms,
            Self::Pkcs11(_) => Provider::Pkcs11,
        }
    }
}

impl AzureAccess {
    fn check(&self) -> Result<(), AccessError> {
        let words = |texts: &[&String]| texts.iter().all(|text| is_word(text));
        let good = match self {
            Self::Cluster => true,
            Self::ClientSecret { tenant, client, secret, .. } => words(&[tenant, client]) && secret.is_usable(),
            Self::ManagedIdentity { client, .. } => client.as_ref().is_none_or(|client| is_word(client)),
            Self::WorkloadIdentity { tenant, client, .. } => words(&[tenant, client]),
        };
        if good { Ok(()) } else { Err(AccessError("tenant and client are GUIDs, and a secret is text in ASCII")) }
    }
}

impl TransitAccess {
    fn of(text: TransitText, need: &'static str) -> Result<Self, AccessError> {
        let TransitText { mount, login, login_mount, role, audience, token } = text;
        let mounted = |mount: &String| mount.split('/').all(is_word);
        if !mounted(&mount) {
            return Err(AccessError("a mount is a path of letters, digits, - and _"));
        }
        let login = match (login.as_deref(), role, token) {
            (None | Some("jwt"), Some(role), None) if is_word(&role) => {
                let login_mount = login_mount.unwrap_or_else(|| "jwt".to_owned());
                if !mounted(&login_mount) || audience.as_ref().is_some_and(|text| text.len() > 256 || text.chars().any(char::is_control)) {
                    return Err(AccessError("a mount is a path of letters, digits, - and _, and an audience 256 bytes at most"));
                }
                TransitLogin::Jwt { mount: login_mount, role, audience }
            }
            (None | Some("token"), None, Some(token)) if token.is_usable() && login_mount.is_none() && audience.is_none() => {
                TransitLogin::Token(token)
            }
            _ => return Err(AccessError(need)),
        };
        Ok(Self { mount, login })
    }
}

fn transit_mount() -> String {
    "transit".to_owned()
}

/// The parser's own complaint may quote a secret: it is dropped.
fn parse<T: DeserializeOwned>(text: &str, need: &'static str) -> Result<T, AccessError> {
    serde_json::from_str(text).map_err(|_| AccessError(need))
}

/// Letters, digits and what GUIDs, domains, roles and regions have besides: it becomes a piece of a path, a form or a header.
fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=128).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_logging_in_reads() {
        let read = |provider, text| Access::read(provider, text).unwrap();
        assert!(matches!(read(Provider::Azure, None), Access::Azure(AzureAccess::Cluster)));
        assert!(matches!(read(Provider::Azure, Some(r#"{"login":"cluster"}"#)), Access::Azure(AzureAccess::Cluster)));
        let secret = r#"{"login":"client-secret","tenant":"t-1","client":"c","secret":"s3 cret","hsm":true}"#;
        assert!(matches!(read(Provider::Azure, Some(secret)), Access::Azure(AzureAccess::ClientSecret { hsm: true, .. })));
        let managed = r#"{"login":"managed-identity"}"#;
        assert!(matches!(read(Provider::Azure, Some(managed)), Access::Azure(AzureAccess::ManagedIdentity { client: None, hsm: false })));
        let workload = r#"{"login":"workload-identity","tenant":"t","client":"c"}"#;
        assert!(matches!(read(Provider::Azure, Some(workload)), Access::Azure(AzureAccess::WorkloadIdentity { .. })));
        let jwt = r#"{"role":"shop","mount":"team/transit","loginMount":"clusters"}"#;
        let Access::Transit(access) = read(Provider::Transit, Some(jwt)) else { panic!() };
        assert_eq!(access.mount, "team/transit");
        assert!(matches!(access.login, TransitLogin::Jwt { mount, role, audience: None } if mount == "clusters" && role == "shop"));
        let token = r#"{"login":"token","token":"s.abc"}"#;
        let Access::Transit(access) = read(Provider::Transit, Some(token)) else { panic!() };
        assert!(matches!(access.login, TransitLogin::Token(token) if token.text() == "s.abc"));
        let aws = r#"{"region":"eu-central-1","accessKeyId":"AKIA","secretAccessKey":"x/y+z"}"#;
        assert!(matches!(read(Provider::AwsKms, Some(aws)), Access::AwsKms(AwsAccess { session_token: None, .. })));
        assert!(matches!(read(Provider::Pkcs11, Some(r#"{"pin":"1234"}"#)), Access::Pkcs11(_)));
    }

    #[test]
    fn what_is_missing_unknown_or_could_lead_elsewhere_is_refused_without_a_word_of_it() {
        for (provider, text) in [
            (Provider::Azure, r#"{"login":"client-secret","tenant":"t","client":"c"}"#),
            (Provider::Azure, r#"{"login":"client-secret","tenant":"../x","client":"c","secret":"hidden"}"#),
            (Provider::Azure, r#"{"login":"managed-identity","endpoint":"http://169.254.169.254"}"#),
            (Provider::Azure, r#"{"login":"workload-identity","tenant":"t","client":"c","file":"/etc/passwd"}"#),
            (Provider::Azure, r#"{"login":"hidden"}"#),
            (Provider::Transit, "{}"),
            (Provider::Transit, r#"{"role":"r","token":"hidden"}"#),
            (Provider::Transit, r#"{"role":"r","mount":"../sys"}"#),
            (Provider::Transit, r#"{"role":"r","mount":"a//b"}"#),
            (Provider::Transit, r#"{"login":"token","token":"hid\nden"}"#),
            (Provider::Transit, r#"{"role":"r","address":"https://hidden"}"#),
            (Provider::AwsKms, r#"{"region":"eu/1","accessKeyId":"A","secretAccessKey":"hidden"}"#),
            (Provider::AwsKms, r#"{"region":"eu-1","accessKeyId":"A","secretAccessKey":""}"#),
            (Provider::Pkcs11, r#"{"pin":"hidden","module":"/evil.so"}"#),
            (Provider::Pkcs11, "hidden"),
        ] {
            let error = Access::read(provider, Some(text)).expect_err(text);
            assert!(!error.to_string().contains("hidden") && !format!("{error:?}").contains("hidden"), "{text}");
        }
        for provider in [Provider::Transit, Provider::AwsKms, Provider::Pkcs11] {
            assert!(Access::read(provider, None).is_err(), "{provider}");
        }
        assert!(Access::read(Provider::Azure, Some(&" ".repeat(ACCESS_MAX + 1))).is_err());
    }

    #[test]
    fn debug_prints_no_secret() {
        let access = Access::read(Provider::Pkcs11, Some(r#"{"pin":"4711"}"#)).unwrap();
        assert!(!format!("{access:?}").contains("4711"));
    }
}
