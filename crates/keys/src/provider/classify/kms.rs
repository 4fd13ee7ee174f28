//! AWS KMS: what counts is the exception's name; the status is 400 for almost everything.

use super::{Answer, Asked, Said, unknown};

pub(super) fn classify(asked: Asked, said: Said<'_>) -> Answer {
    let Some(kind) = said.code.filter(|_| (400..500).contains(&said.status)) else { return unknown(said.status) };
    // `com.amazonaws.kms#NotFoundException` in some protocols.
    let kind = kind.rsplit('#').next().unwrap_or(kind);
    let message = said.inner.unwrap_or_default();
    match kind {
        "DisabledException" => Answer::Denied("KeyDisabled"),
        "NotFoundException" => Answer::Denied("KeyNotFound"),
        "AccessDeniedException" => Answer::Denied("AccessDenied"),
        "KMSInvalidStateException" => state(message),
        "UnrecognizedClientException" | "InvalidClientTokenId" | "MissingAuthenticationTokenException" => {
            Answer::Ambiguous("CredentialsUnknown")
        }
        "ExpiredTokenException" => Answer::Ambiguous("CredentialsExpired"),
        // A clock that is off, not a credential that was taken away.
        "InvalidSignatureException" if message.contains("ignature expired") || message.contains("ignature not yet current") => {
            Answer::Transient("ClockSkew")
        }
        "InvalidSignatureException" | "IncompleteSignature" | "IncompleteSignatureException" => Answer::Ambiguous("SignatureRefused"),
        "InvalidCiphertextException" | "IncorrectKeyException" if asked == Asked::Unwrap => Answer::Integrity,
        "ThrottlingException" => Answer::Transient("Throttled"),
        "KMSInternalException" => Answer::Transient("KMSInternal"),
        "DependencyTimeoutException" => Answer::Transient("DependencyTimeout"),
        "KeyUnavailableException" => Answer::Transient("KeyUnavailable"),
        "LimitExceededException" => Answer::Transient("LimitExceeded"),
        _ => unknown(said.status),
    }
}

/// One name for all states but `Enabled`; which one is in the sentence.
fn state(message: &str) -> Answer {
    let says = |word: &str| message.contains(word);
    if says("pending deletion") || says("PendingDeletion") || says("pending replica deletion") {
        return Answer::Denied("KeyPendingDeletion");
    }
    if says("pending import") || says("PendingImport") {
        return Answer::Denied("KeyPendingImport");
    }
    if says("is disabled") || says("Disabled") {
        return Answer::Denied("KeyDisabled");
    }
    // A custom key store that was disconnected: whose hand that was is not told.
    if says("unavailable") || says("Unavailable") {
        return Answer::Ambiguous("KeyStoreUnavailable");
    }
    Answer::Transient("KMSInvalidState")
}
