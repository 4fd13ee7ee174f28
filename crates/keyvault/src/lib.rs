//! A small key vault server: the customer's side.
//!
//! It speaks the keys part of Azure Key Vault's REST, so that a real vault can take its place by one setting, and it is
//! another trust domain than the log server: a directory, a root key, a CA and a token endpoint of its own. It holds RSA and
//! EC keys and uses them for those who were granted it; a private key leaves as a backup alone, sealed under the vault's root.
//! Left out: secrets, certificates, symmetric keys, an HSM. Start at [`Vault`]; the rules of keys are in `key.rs`,
//! `rotation.rs` and `state.rs`, pure.
//!
//! ```text
//! TLS ─▶ host, route ─▶ who ─▶ may: role │ policy ─▶ key ─▶ access log
//!                       admin's token │ own token, for an ES256 assertion or a client secret │ JWT of a configured issuer
//! root.key ─seals─▶ state.sealed (all that is known), keys/*.key (one private key each), ca.key
//! ```

mod access_log;
mod auth;
mod backup;
mod calls;
mod config;
mod crypto;
mod error;
mod files;
mod issuer;
mod key;
mod listen;
mod making;
mod manage;
mod refusal;
mod rights;
mod root;
mod rotation;
mod route;
mod serve;
mod state;
mod store;
mod tls;
mod vault;
mod wire;

pub use config::{IssuerConfig, VaultConfig};
pub use error::VaultServerError;
pub use files::{admin_token_path, ca_path};
/// What [`Vault::open`] takes, for those who know no other room of the house.
pub use strongroom_world::World;
pub use vault::{Protection, Vault};
