//! OpenBao and Vault: the Transit engine, and the logins before it.
//!
//! A 403 alone tells nothing: a policy that was withdrawn (the customer's hand) and a token that ended (ours) look alike. So
//! the client asks `auth/token/lookup-self` with the same token, and what came of that is the inner code here. The texts are
//! those of OpenBao 2.7, as recorded; Vault's are the same.

use super::{Answer, Asked, Said, unknown};

/// What `auth/token/lookup-self` made of the token that got a 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenIs {
    /// The server knows it: the 403 was about the key.
    Good,
    /// The server refuses it there, too: the 403 was about us.
    Refused,
}

impl TokenIs {
    /// As it stands in [`Said::inner`].
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "TokenGood",
            Self::Refused => "TokenRefused",
        }
    }
}

pub(super) fn classify(asked: Asked, said: Said<'_>) -> Answer {
    // A status without an error body is not the server's own: a proxy, a load balancer.
    let Some(text) = said.code else { return unknown(said.status) };
    if asked == Asked::Token {
        return login(said.status, text);
    }
    match (said.status, said.inner) {
        (403, Some("TokenGood")) => Answer::Denied("PermissionDenied"),
        (403, Some("TokenRefused")) => Answer::Ambiguous("TokenRefused"),
        // The key's own path, and nothing in the body: no key of that name.
        (404, _) if asked == Asked::Get && text.is_empty() => Answer::Denied("KeyNotFound"),
        (404, _) if text.starts_with("no handler for route") => Answer::Denied("EngineNotFound"),
        (400, _) => refused(asked, text),
        _ => unknown(said.status),
    }
}

fn refused(asked: Asked, text: &str) -> Answer {
    if text.contains("encryption key not found") {
        return Answer::Denied("KeyNotFound");
    }
    if text.contains("soft-deleted key") {
        return Answer::Denied("KeyDisabled");
    }
    if text.contains("disallowed by policy (too old)") {
        return Answer::Denied("VersionTooOld");
    }
    if asked == Asked::Wrap && text.contains("no such key version") {
        return Answer::Denied("VersionNotFound");
    }
    if asked == Asked::Unwrap && (text.contains("message authentication failed") || text.contains("invalid ciphertext")) {
        return Answer::Integrity;
    }
    unknown(400)
}

/// The login refuses who we are, never the key: nothing here is definitive.
fn login(status: u16, text: &str) -> Answer {
    match status {
        400 if text.contains("validating token") => Answer::Ambiguous("LoginRefused"),
        400 if text.contains("could not be found") => Answer::Ambiguous("LoginRoleNotFound"),
        400 if text.contains("could not load configuration") => Answer::Ambiguous("LoginNotConfigured"),
        403 => Answer::Ambiguous("LoginRefused"),
        404 if text.starts_with("no handler for route") => Answer::Ambiguous("LoginNotFound"),
        _ => unknown(status),
    }
}
