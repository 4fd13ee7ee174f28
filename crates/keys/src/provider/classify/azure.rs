//! Azure Key Vault and Managed HSM, and the token endpoints before them.

use super::{Answer, Asked, Said, unknown};

pub(super) fn classify(asked: Asked, said: Said<'_>) -> Answer {
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
