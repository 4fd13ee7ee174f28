//! What lies where in a vault's directory.

use std::path::{Path, PathBuf};

/// The certificate that clients of this vault trust (PEM).
#[must_use]
pub fn ca_path(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// The admin's token, for the command line's own use.
#[must_use]
pub fn admin_token_path(dir: &Path) -> PathBuf {
    dir.join("admin-token")
}

pub(crate) fn ca_key(dir: &Path) -> PathBuf {
    dir.join("ca.key")
}

pub(crate) fn state(dir: &Path) -> PathBuf {
    dir.join("state.sealed")
}

pub(crate) fn keys(dir: &Path) -> PathBuf {
    dir.join("keys")
}

pub(crate) fn log(dir: &Path) -> PathBuf {
    dir.join("access.log")
}

pub(crate) fn log_before(dir: &Path) -> PathBuf {
    dir.join("access.log.1")
}
