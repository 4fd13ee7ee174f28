//! Which wrapping key: its address, and what its vault says of it.
//!
//! All kinds of vaults go by one form of address. A vault that is called over the network has an https address; a PKCS#11 token
//! has `pkcs11://NAME`, where the operator's configuration says which module and token NAME is.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

/// Characters of a key's name at most (Azure Key Vault's limit).
const NAME_MAX: usize = 127;
/// The scheme of a token's address.
pub(super) const PKCS11: &str = "pkcs11";

/// A customer's wrapping key: `https://vault/keys/{name}` and, if pinned, `/{version}`. Written and read as that one text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KekRef {
    /// The vault: https (or pkcs11), no path.
    pub vault_uri: Url,
    /// The key's name in it.
    pub key_name: String,
    /// The version to stay with; `None` follows the newest.
    pub key_version: Option<String>,
}

/// Why an address is no wrapping key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KekRefError {
    /// Not an absolute https or pkcs11 URL with a host alone.
    #[error("a key vault's address is https://host (or pkcs11://name), without user, path, query or fragment")]
    VaultUri,
    /// Not a key's name.
    #[error("a key's name is 1 to 127 letters, digits and hyphens")]
    KeyName,
    /// Not a key's version.
    #[error("a key's version is 1 to 127 letters, digits and hyphens")]
    KeyVersion,
}

impl KekRef {
    /// Checks the parts: each becomes a piece of a path, so none may hold more than its kind allows. An empty version counts as
    /// none.
    ///
    /// # Errors
    /// [`KekRefError`].
    pub fn new(vault_uri: &str, key_name: &str, key_version: Option<&str>) -> Result<Self, KekRefError> {
        let key_version = key_version.filter(|version| !version.is_empty()).map(str::to_owned);
        let mut uri = Url::parse(vault_uri).map_err(|_| KekRefError::VaultUri)?;
        if uri.scheme() == PKCS11 && uri.path().is_empty() {
            uri.set_path("/");
        }
        let kek = Self { vault_uri: uri, key_name: key_name.to_owned(), key_version };
        kek.check()?;
        Ok(kek)
    }

    /// Reads a key identifier: `https://vault/keys/{name}` or `https://vault/keys/{name}/{version}`.
    ///
    /// # Errors
    /// [`KekRefError`].
    pub fn from_key_id(key_id: &str) -> Result<Self, KekRefError> {
        let mut uri = Url::parse(key_id).map_err(|_| KekRefError::VaultUri)?;
        let path = uri.path().to_owned();
        let rest = path.strip_prefix("/keys/").ok_or(KekRefError::VaultUri)?;
        let (name, version) = rest.split_once('/').map_or((rest, None), |(name, version)| (name, Some(version)));
        uri.set_path("/");
        Self::new(uri.as_str(), name, version)
    }

    /// Whether the parts are what [`KekRef::new`] would take: for one that was read from somewhere.
    ///
    /// # Errors
    /// [`KekRefError`].
    pub fn check(&self) -> Result<(), KekRefError> {
        let uri = &self.vault_uri;
        let token = || uri.port().is_none() && uri.host_str().is_some_and(is_segment);
        let known = uri.scheme() == "https" && uri.host().is_some() || uri.scheme() == PKCS11 && token();
        let clean = known && uri.username().is_empty() && uri.password().is_none();
        if !clean || uri.path() != "/" || uri.query().is_some() || uri.fragment().is_some() {
            return Err(KekRefError::VaultUri);
        }
        if !is_segment(&self.key_name) {
            return Err(KekRefError::KeyName);
        }
        if self.key_version.as_deref().is_some_and(|version| !is_segment(version)) {
            return Err(KekRefError::KeyVersion);
        }
        Ok(())
    }

    /// The key's address without a version: what a record carries.
    #[must_use]
    pub fn key_uri(&self) -> String {
        format!("{}keys/{}", self.vault_uri, self.key_name)
    }
}

impl fmt::Display for KekRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key_uri())?;
        self.key_version.as_ref().map_or(Ok(()), |version| write!(f, "/{version}"))
    }
}

impl TryFrom<String> for KekRef {
    type Error = KekRefError;
    fn try_from(key_id: String) -> Result<Self, Self::Error> {
        Self::from_key_id(&key_id)
    }
}

impl From<KekRef> for String {
    fn from(kek: KekRef) -> Self {
        kek.to_string()
    }
}

/// Whether a text is a name or version that may stand in a path.
pub(crate) fn is_segment(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What a vault says of a wrapping key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFacts {
    /// The newest version.
    pub newest: String,
    /// The version in use: the pinned one, else the newest.
    pub used: String,
    /// Its type as its vault names it: `RSA`, `RSA-HSM`, `aes256-gcm96`, `SYMMETRIC_DEFAULT`, `AES-256`, …
    #[serde(default)]
    pub key_type: String,
    /// Bits of its modulus; 0 for a key that is not RSA.
    pub rsa_bits: u32,
    /// Why its own kind of vault would not have it used for this; `None` if there is nothing.
    #[serde(default)]
    pub unfit: Option<String>,
    /// Whether the version in use is enabled.
    pub enabled: bool,
    /// From when it may wrap, milliseconds since 1970.
    pub not_before_ms: Option<i64>,
    /// Until when it may wrap, milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// `Recoverable` and its kin; a level with `Purgeable` in it can be lost for good.
    pub recovery_level: String,
    /// Other versions that are still enabled: with one of these the data stays readable for whoever may use it.
    pub other_enabled: Vec<String>,
    /// Those of them that are newer than the one in use, oldest first: what a pinned key may be moved to.
    #[serde(default)]
    pub newer_enabled: Vec<String>,
    /// Whether the vault let us list versions; if not, `other_enabled` is empty because nobody told.
    pub versions_listed: bool,
}

impl KeyFacts {
    /// Whether it is a secret key of 256 bits: what wraps in vaults that do not wrap with RSA.
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        matches!(&*self.key_type, "aes256-gcm96" | "chacha20-poly1305" | "xchacha20-poly1305" | "SYMMETRIC_DEFAULT" | "AES-256")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_identifier_reads_with_and_without_its_version() {
        let kek = KekRef::from_key_id("https://vault.example:7701/keys/payroll/0a1b").unwrap();
        assert_eq!(kek.vault_uri.as_str(), "https://vault.example:7701/");
        assert_eq!((kek.key_name.as_str(), kek.key_version.as_deref()), ("payroll", Some("0a1b")));
        assert_eq!(kek.key_uri(), "https://vault.example:7701/keys/payroll");
        assert_eq!(serde_json::to_string(&kek).unwrap(), r#""https://vault.example:7701/keys/payroll/0a1b""#);
        assert_eq!(serde_json::from_str::<KekRef>(r#""https://vault.example:7701/keys/payroll/0a1b""#).unwrap(), kek);
        assert_eq!(KekRef::from_key_id("https://vault.example/keys/payroll").unwrap().key_version, None);
        assert_eq!(KekRef::from_key_id("https://vault.example/keys/payroll/").unwrap().key_version, None);
        let token = KekRef::new("pkcs11://hsm-1", "payroll", Some("02")).unwrap();
        assert_eq!(
            (token.key_uri().as_str(), token.to_string().as_str()),
            ("pkcs11://hsm-1/keys/payroll", "pkcs11://hsm-1/keys/payroll/02")
        );
        assert_eq!(KekRef::from_key_id(&token.to_string()).unwrap(), token);
    }

    #[test]
    fn what_could_lead_a_request_elsewhere_is_no_key() {
        let vault_uris = [
            "http://vault.example",
            "https://user@vault.example",
            "https://u:p@vault.example",
            "https://vault.example/sub",
            "https://vault.example/?x=1",
            "https://vault.example/#f",
            "vault.example",
            "file:///etc/passwd",
            "pkcs11:///",
            "pkcs11://hsm/sub",
            "pkcs11://hsm:1",
            "pkcs11://u@hsm",
            "pkcs11://hsm?module-path=x",
            "pkcs11:token=hsm",
            "",
        ];
        for uri in vault_uris {
            assert_eq!(KekRef::new(uri, "k", None), Err(KekRefError::VaultUri), "{uri}");
        }
        for name in ["", "a/b", "..", "a%2fb", "a b", "k?x", "ä", &"a".repeat(128)] {
            assert_eq!(KekRef::new("https://vault.example", name, None), Err(KekRefError::KeyName), "{name}");
        }
        for version in ["a/b", "..", "1?x=2", " "] {
            assert_eq!(KekRef::new("https://vault.example", "k", Some(version)), Err(KekRefError::KeyVersion), "{version}");
        }
        assert_eq!(KekRef::from_key_id("https://vault.example/keys/k/v/extra"), Err(KekRefError::KeyVersion));
        assert_eq!(KekRef::from_key_id("https://vault.example/secrets/k"), Err(KekRefError::VaultUri));
    }
}
