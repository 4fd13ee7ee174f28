//! What can be set, and the bound of everything that could grow.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Settings of a vault. Reading files and the environment is the caller's business.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaultConfig {
    /// The vault's own directory.
    pub dir: PathBuf,
    /// The root key's file: 32 bytes, mode 0600. Empty: `root.key` in the directory.
    pub root: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// What the vault is called.
    pub name: String,
    /// Names (`vault.example`, `vault.example:8443`) by which clients reach it besides localhost, 127.0.0.1 and ::1; a
    /// name without a port has the listener's. Requests for another host are refused.
    pub names: Vec<String>,
    /// Token issuers whose principals may be registered here.
    pub issuers: Vec<IssuerConfig>,
    /// Rights are given by access policies alone: a new vault begins so, and none is changed to roles.
    pub access_policies_only: bool,
    /// Open connections in all.
    pub max_connections: usize,
    /// Open connections from one address.
    pub max_connections_per_address: usize,
    /// Time for a TLS handshake and for a request's body, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// Time for a request's headers, and for an idle connection to send the next request, in milliseconds.
    pub header_timeout_ms: u64,
    /// Bytes of a request body.
    pub max_body_bytes: usize,
    /// Time given to requests under way when the vault is told to stop, in milliseconds.
    pub drain_ms: u64,
    /// How long an identity's token works, in seconds; at most 600.
    pub token_life_s: u64,
    /// Tokens that one identity can have at a time; the oldest makes room.
    pub tokens_per_identity: usize,
    /// Logins of one identity within an assertion's life (ten minutes); more are turned away until old ones have expired.
    pub logins_per_identity: usize,
    /// Keys, deleted ones included.
    pub keys_max: usize,
    /// Versions of one key.
    pub versions_max: usize,
    /// Registered identities.
    pub identities_max: usize,
    /// Calls that `GET /vault/log` can look back.
    pub log_entries: usize,
    /// Bytes of `access.log` before it becomes `access.log.1` (and what was there before goes).
    pub log_file_bytes: u64,
}

/// An issuer of tokens (RS256, PS256 or ES256 JWTs) that this vault takes. What its principals may do the vault alone says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerConfig {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Further `iss` that the same issuer uses, like that of its ADFS-style endpoint: whoever is registered for the first is
    /// taken with each of them.
    pub aliases: Vec<String>,
    /// Its keys: an https address of a JSON Web Key Set, or a file with one, or a file with a public key in PEM.
    pub keys: String,
    /// The certificates to trust at that address (PEM); those of the system are not.
    pub ca: PathBuf,
    /// Audiences of tokens for this vault, besides its own address and the resource that it names in its challenge.
    pub audiences: Vec<String>,
    /// Where a client that comes without a token is told to log in, like `https://login.example/TENANT`; empty: at the vault
    /// itself. That of the first issuer counts.
    pub authority: String,
}

impl Default for VaultConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("strongroom-vault"),
            root: PathBuf::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7701)),
            name: "vault".to_owned(),
            names: Vec::new(),
            issuers: Vec::new(),
            access_policies_only: false,
            max_connections: 512,
            max_connections_per_address: 256,
            handshake_timeout_ms: 10_000,
            header_timeout_ms: 60_000,
            max_body_bytes: 64 << 10,
            drain_ms: 5_000,
            token_life_s: 600,
            tokens_per_identity: 64,
            logins_per_identity: 4_096,
            keys_max: 500,
            versions_max: 100,
            identities_max: 1_000,
            log_entries: 10_000,
            log_file_bytes: 16 << 20,
        }
    }
}

impl VaultConfig {
    /// The defaults, in a directory, with the root key beside what it seals.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), ..Self::default() }
    }

    pub(crate) fn root_path(&self) -> PathBuf {
        if self.root.as_os_str().is_empty() { self.dir.join("root.key") } else { self.root.clone() }
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.dir == Path::new("") {
            return Err("dir is empty");
        }
        if self.name.is_empty() || self.name.len() > 127 || self.name.chars().any(char::is_control) {
            return Err("name must have 1 to 127 bytes and no control characters");
        }
        if !(1..=600).contains(&self.token_life_s) {
            return Err("token_life_s must be between 1 and 600");
        }
        let bounds = [
            self.max_connections,
            self.max_connections_per_address,
            self.max_body_bytes,
            self.tokens_per_identity,
            self.logins_per_identity,
            self.keys_max,
            self.versions_max,
            self.identities_max,
            self.log_entries,
        ];
        if self.issuers.iter().any(|issuer| issuer.issuer.is_empty() || issuer.keys.is_empty()) {
            return Err("an issuer needs the issuer of its tokens and where its keys are");
        }
        if self.issuers.iter().any(|issuer| is_address(&issuer.keys) && issuer.ca == Path::new("")) {
            return Err("an issuer whose keys are at an address needs the certificate to trust there");
        }
        if self.issuers.iter().any(|issuer| issuer.keys.starts_with("http://")) {
            return Err("an issuer's keys are fetched by https or read from a file");
        }
        let harmless = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",=".contains(&byte));
        let authorities = self.issuers.iter().map(|issuer| issuer.authority.as_str());
        if authorities.filter(|text| !text.is_empty()).any(|text| !is_address(text) || !harmless(text)) {
            return Err("an issuer's authority is an https address with a tenant");
        }
        if bounds.contains(&0) || self.log_file_bytes == 0 || self.handshake_timeout_ms == 0 || self.header_timeout_ms == 0 {
            return Err("bounds must be above zero");
        }
        Ok(())
    }
}

pub(crate) fn is_address(text: &str) -> bool {
    text.starts_with("https://")
}
