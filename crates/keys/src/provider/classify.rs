//! What a vault's answer means, as one table for each kind of vault.
//!
//! Pure: status and codes in, an [`Answer`] out. Two mistakes cost much: to take an outage for a denial (a customer's service
//! stops for nothing) and a denial for an outage (their revocation waits for the lease). So a denial is only what a vault
//! says in its own words; whatever is unknown, a proxy's error page included, is an outage and bounded by the lease. Every
//! answer that is known, with what it means, stands in [`samples`].

mod azure;
mod kms;
pub(super) mod pkcs11;
pub mod samples;
mod transit;

pub use transit::TokenIs;

use super::Provider;

/// What a call to a vault showed. The codes are short stable words, never a vault's own text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It did what it was asked.
    Good,
    /// No usable answer: the lease runs on.
    Transient(&'static str),
    /// The key is gone, disabled, or no longer ours to use.
    Denied(&'static str),
    /// A denial that may be about us and not the key.
    Ambiguous(&'static str),
    /// What came back is not what was wrapped.
    Integrity,
    /// The key's dates forbid wrapping; nothing else is wrong.
    Expired(&'static str),
}

impl Answer {
    /// The word for logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Good => "Good",
            Self::Transient(code) | Self::Denied(code) | Self::Ambiguous(code) | Self::Expired(code) => code,
            Self::Integrity => "Integrity",
        }
    }
    /// The class of the answer, as a metric's label.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Transient(_) => "transient",
            Self::Denied(_) => "denied",
            Self::Ambiguous(_) => "ambiguous",
            Self::Integrity => "integrity",
            Self::Expired(_) => "expired",
        }
    }
}

/// What a vault was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// A token at its token endpoint.
    Token,
    /// A key's public half and attributes, or its versions.
    Get,
    /// To wrap.
    Wrap,
    /// To unwrap.
    Unwrap,
}

/// What a vault said: the status, and the codes of an error body that could be read. Which word of a body is the code and
/// which the inner one is each protocol's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said<'a> {
    /// HTTP status; 0 from a token, which has none.
    pub status: u16,
    /// Azure: `error.code`; a token endpoint: `error`; Transit: the first of `errors`; KMS: `__type`; PKCS#11: the name of the
    /// `CKR_`. `None` if the body was no error body.
    pub code: Option<&'a str>,
    /// Azure: `error.innererror.code`; KMS: `message`; Transit: what `lookup-self` made of our token ([`TokenIs`]);
    /// PKCS#11: what came of a second try with the same key.
    pub inner: Option<&'a str>,
}

/// Sorts what a vault, or a token endpoint before it, answered. A 401 of a vault counts once a fresh token has brought
/// another.
#[must_use]
pub fn classify(provider: Provider, asked: Asked, said: Said<'_>) -> Answer {
    if (200..300).contains(&said.status) {
        return Answer::Good;
    }
    match provider {
        Provider::Azure => azure::classify(asked, said),
        Provider::Transit => transit::classify(asked, said),
        Provider::AwsKms => kms::classify(asked, said),
        Provider::Pkcs11 => pkcs11::classify(asked, said),
    }
}

const fn unknown(status: u16) -> Answer {
    Answer::Transient(status_word(status))
}

/// The word of a status: a bounded set, so that it may be a metric's label.
const fn status_word(status: u16) -> &'static str {
    match status {
        300..=399 => "Redirect",
        400 => "Status400",
        401 => "Status401",
        403 => "Status403",
        404 => "Status404",
        407 => "Status407",
        408 => "Status408",
        409 => "Status409",
        412 => "Status412",
        429 => "Throttled",
        500 => "Status500",
        502 => "Status502",
        503 => "Status503",
        504 => "Status504",
        402..=499 => "Status4xx",
        505..=599 | 501 => "Status5xx",
        _ => "StatusUnknown",
    }
}

#[cfg(test)]
mod page;
#[cfg(test)]
mod tests;
