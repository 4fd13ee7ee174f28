//! What a vault's answer means, as one table.
//!
//! Pure: status and codes in, an [`Answer`] out. Two mistakes cost much: to take an outage for a denial (a customer's service
//! stops for nothing) and a denial for an outage (their revocation waits for the lease). So a denial is only what a vault
//! says in its own words; whatever is unknown, a proxy's error page included, is an outage and bounded by the lease.

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

/// What a vault said: the status, and the codes of an error body that could be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said<'a> {
    /// HTTP status.
    pub status: u16,
    /// `error.code` of a vault, `error` of a token endpoint; `None` if the body was no error body.
    pub code: Option<&'a str>,
    /// `error.innererror.code`.
    pub inner: Option<&'a str>,
}

/// Sorts what Azure Key Vault, or a token endpoint before it, answered. A 401 of a vault counts once a fresh token has
/// brought another.
#[must_use]
pub fn classify(asked: Asked, said: Said<'_>) -> Answer {
    if (200..300).contains(&said.status) {
        return Answer::Good;
    }
    match asked {
        Asked::Token => classify_token(said),
        Asked::Get | Asked::Wrap | Asked::Unwrap => classify_vault(asked, said),
    }
}

fn classify_vault(asked: Asked, said: Said<'_>) -> Answer {
    // An error body without its code is not the vault's: a proxy, a captive portal, a load balancer.
    let Some(code) = said.code else {
        return if said.status == 401 { Answer::Ambiguous("Unauthorized") } else { unknown(said.status) };
    };
    match (said.status, code, said.inner) {
        (401, ..) => Answer::Ambiguous("Unauthorized"),
        (403, _, Some("KeyDisabled")) => Answer::Denied("KeyDisabled"),
        (403, _, Some("AccessDenied")) => Answer::Denied("AccessDenied"),
        (403, _, Some("ForbiddenByPolicy")) => Answer::Denied("ForbiddenByPolicy"),
        (403, _, Some("ForbiddenByRbac")) => Answer::Denied("ForbiddenByRbac"),
        (403, _, Some("KeyOperationForbidden")) => Answer::Denied("KeyOperationForbidden"),
        (403, _, Some("ForbiddenByFirewall")) => Answer::Ambiguous("ForbiddenByFirewall"),
        (403, _, Some("ForbiddenByConnection")) => Answer::Ambiguous("ForbiddenByConnection"),
        // Out of its dates a key still unwraps, so this is only ever true of wrapping.
        (403, _, Some("KeyExpired")) if asked == Asked::Wrap => Answer::Expired("KeyExpired"),
        (403, _, Some("KeyNotYetValid")) if asked == Asked::Wrap => Answer::Expired("KeyNotYetValid"),
        (404, "KeyNotFound", _) => Answer::Denied("KeyNotFound"),
        (400, "BadParameter", _) if asked == Asked::Unwrap => Answer::Integrity,
        _ => unknown(said.status),
    }
}

/// RFC 6749 §5.2 has the codes. The endpoint refuses who we are, never the key: nothing here is definitive.
fn classify_token(said: Said<'_>) -> Answer {
    match (said.status, said.code) {
        (400 | 401 | 403, Some("invalid_client")) => Answer::Ambiguous("InvalidClient"),
        (400 | 401 | 403, Some("unauthorized_client")) => Answer::Ambiguous("UnauthorizedClient"),
        (400 | 401 | 403, Some("invalid_grant")) => Answer::Ambiguous("InvalidGrant"),
        (400 | 401 | 403, Some("access_denied")) => Answer::Ambiguous("AccessDeniedByIdentityProvider"),
        _ => unknown(said.status),
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
mod tests;
