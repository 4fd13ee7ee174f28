use Answer::{Ambiguous, Denied, Expired, Good, Integrity, Transient};
use Asked::{Get, Token, Unwrap, Wrap};

use super::*;

/// asked, status, `code`, `innererror.code`, what it means.
type Row = (Asked, u16, Option<&'static str>, Option<&'static str>, Answer);

const FORBIDDEN: Option<&str> = Some("Forbidden");

#[rustfmt::skip]
const VAULT: &[Row] = &[
    (Unwrap, 200, None, None, Good),
    (Wrap, 200, None, None, Good),
    (Get, 200, None, None, Good),
    (Unwrap, 204, None, None, Good),
    // Definitive, in the vault's own words only.
    (Unwrap, 403, FORBIDDEN, Some("KeyDisabled"), Denied("KeyDisabled")),
    (Wrap, 403, FORBIDDEN, Some("KeyDisabled"), Denied("KeyDisabled")),
    (Unwrap, 403, FORBIDDEN, Some("AccessDenied"), Denied("AccessDenied")),
    (Wrap, 403, FORBIDDEN, Some("AccessDenied"), Denied("AccessDenied")),
    (Get, 403, FORBIDDEN, Some("AccessDenied"), Denied("AccessDenied")),
    (Unwrap, 403, FORBIDDEN, Some("ForbiddenByPolicy"), Denied("ForbiddenByPolicy")),
    (Get, 403, FORBIDDEN, Some("ForbiddenByPolicy"), Denied("ForbiddenByPolicy")),
    (Unwrap, 403, FORBIDDEN, Some("ForbiddenByRbac"), Denied("ForbiddenByRbac")),
    (Wrap, 403, FORBIDDEN, Some("ForbiddenByRbac"), Denied("ForbiddenByRbac")),
    (Get, 403, FORBIDDEN, Some("ForbiddenByRbac"), Denied("ForbiddenByRbac")),
    (Unwrap, 403, FORBIDDEN, Some("KeyOperationForbidden"), Denied("KeyOperationForbidden")),
    (Wrap, 403, FORBIDDEN, Some("KeyOperationForbidden"), Denied("KeyOperationForbidden")),
    (Unwrap, 404, Some("KeyNotFound"), None, Denied("KeyNotFound")),
    (Wrap, 404, Some("KeyNotFound"), None, Denied("KeyNotFound")),
    (Get, 404, Some("KeyNotFound"), None, Denied("KeyNotFound")),
    (Unwrap, 404, Some("KeyNotFound"), Some("Anything"), Denied("KeyNotFound")),
    // May be about us.
    (Unwrap, 403, FORBIDDEN, Some("ForbiddenByFirewall"), Ambiguous("ForbiddenByFirewall")),
    (Get, 403, FORBIDDEN, Some("ForbiddenByFirewall"), Ambiguous("ForbiddenByFirewall")),
    (Unwrap, 403, FORBIDDEN, Some("ForbiddenByConnection"), Ambiguous("ForbiddenByConnection")),
    (Wrap, 403, FORBIDDEN, Some("ForbiddenByConnection"), Ambiguous("ForbiddenByConnection")),
    (Unwrap, 401, Some("Unauthorized"), None, Ambiguous("Unauthorized")),
    (Unwrap, 401, None, None, Ambiguous("Unauthorized")),
    (Get, 401, Some("Unauthorized"), Some("KeyDisabled"), Ambiguous("Unauthorized")),
    // Dates: a matter of wrapping.
    (Wrap, 403, FORBIDDEN, Some("KeyExpired"), Expired("KeyExpired")),
    (Wrap, 403, FORBIDDEN, Some("KeyNotYetValid"), Expired("KeyNotYetValid")),
    (Unwrap, 403, FORBIDDEN, Some("KeyExpired"), Transient("Status403")),
    (Unwrap, 403, FORBIDDEN, Some("KeyNotYetValid"), Transient("Status403")),
    (Get, 403, FORBIDDEN, Some("KeyExpired"), Transient("Status403")),
    // Not what was wrapped.
    (Unwrap, 400, Some("BadParameter"), None, Integrity),
    (Unwrap, 400, Some("BadParameter"), Some("x"), Integrity),
    (Wrap, 400, Some("BadParameter"), None, Transient("Status400")),
    (Get, 400, Some("BadParameter"), None, Transient("Status400")),
    (Unwrap, 400, None, None, Transient("Status400")),
    (Unwrap, 400, Some("InvalidRequest"), None, Transient("Status400")),
    // An error page that is not the vault's denies nothing.
    (Unwrap, 403, None, None, Transient("Status403")),
    (Unwrap, 403, FORBIDDEN, None, Transient("Status403")),
    (Unwrap, 403, FORBIDDEN, Some("SomethingNew"), Transient("Status403")),
    (Unwrap, 403, Some("KeyDisabled"), None, Transient("Status403")),
    (Unwrap, 404, None, None, Transient("Status404")),
    (Get, 404, None, None, Transient("Status404")),
    (Unwrap, 404, Some("ResourceNotFound"), None, Transient("Status404")),
    (Unwrap, 404, Some("VaultNotFound"), None, Transient("Status404")),
    (Unwrap, 404, None, Some("KeyNotFound"), Transient("Status404")),
    (Unwrap, 404, Some("keynotfound"), None, Transient("Status404")),
    (Unwrap, 500, FORBIDDEN, Some("KeyDisabled"), Transient("Status500")),
    (Unwrap, 503, Some("KeyNotFound"), None, Transient("Status503")),
    (Unwrap, 400, FORBIDDEN, Some("KeyDisabled"), Transient("Status400")),
    (Unwrap, 429, FORBIDDEN, Some("AccessDenied"), Transient("Throttled")),
    // Outages.
    (Unwrap, 301, None, None, Transient("Redirect")),
    (Unwrap, 302, None, None, Transient("Redirect")),
    (Unwrap, 307, None, None, Transient("Redirect")),
    (Unwrap, 405, None, None, Transient("Status4xx")),
    (Unwrap, 407, None, None, Transient("Status407")),
    (Unwrap, 408, Some("RequestTimeout"), None, Transient("Status408")),
    (Unwrap, 409, Some("Conflict"), None, Transient("Status409")),
    (Unwrap, 409, Some("Conflict"), Some("ObjectIsDeletedButRecoverable"), Transient("Status409")),
    (Unwrap, 410, None, None, Transient("Status4xx")),
    (Unwrap, 412, None, None, Transient("Status412")),
    (Unwrap, 418, None, None, Transient("Status4xx")),
    (Unwrap, 429, Some("Throttled"), None, Transient("Throttled")),
    (Get, 429, None, None, Transient("Throttled")),
    (Unwrap, 451, None, None, Transient("Status4xx")),
    (Unwrap, 500, Some("InternalServerError"), None, Transient("Status500")),
    (Unwrap, 501, None, None, Transient("Status5xx")),
    (Unwrap, 502, None, None, Transient("Status502")),
    (Unwrap, 503, Some("ServiceUnavailable"), None, Transient("Status503")),
    (Wrap, 503, None, None, Transient("Status503")),
    (Unwrap, 504, None, None, Transient("Status504")),
    (Unwrap, 511, None, None, Transient("Status5xx")),
    (Unwrap, 599, None, None, Transient("Status5xx")),
    (Unwrap, 100, None, None, Transient("StatusUnknown")),
    (Unwrap, 0, None, None, Transient("StatusUnknown")),
    (Unwrap, 999, None, None, Transient("StatusUnknown")),
];

#[rustfmt::skip]
const TOKEN: &[Row] = &[
    (Token, 200, None, None, Good),
    (Token, 400, Some("invalid_client"), None, Ambiguous("InvalidClient")),
    (Token, 401, Some("invalid_client"), None, Ambiguous("InvalidClient")),
    (Token, 400, Some("unauthorized_client"), None, Ambiguous("UnauthorizedClient")),
    (Token, 403, Some("unauthorized_client"), None, Ambiguous("UnauthorizedClient")),
    (Token, 400, Some("invalid_grant"), None, Ambiguous("InvalidGrant")),
    (Token, 400, Some("access_denied"), None, Ambiguous("AccessDeniedByIdentityProvider")),
    (Token, 400, Some("invalid_request"), None, Transient("Status400")),
    (Token, 400, Some("invalid_scope"), None, Transient("Status400")),
    (Token, 400, Some("temporarily_unavailable"), None, Transient("Status400")),
    (Token, 401, None, None, Transient("Status401")),
    (Token, 403, None, None, Transient("Status403")),
    (Token, 403, Some("Forbidden"), Some("KeyDisabled"), Transient("Status403")),
    (Token, 404, Some("KeyNotFound"), None, Transient("Status404")),
    (Token, 404, None, None, Transient("Status404")),
    (Token, 408, None, None, Transient("Status408")),
    (Token, 429, Some("invalid_client"), None, Transient("Throttled")),
    (Token, 500, Some("invalid_client"), None, Transient("Status500")),
    (Token, 502, None, None, Transient("Status502")),
    (Token, 503, Some("temporarily_unavailable"), None, Transient("Status503")),
    (Token, 504, None, None, Transient("Status504")),
];

#[test]
fn every_known_answer_means_what_the_table_says() {
    assert!(VAULT.len() + TOKEN.len() >= 80);
    for &(asked, status, code, inner, meaning) in VAULT.iter().chain(TOKEN) {
        assert_eq!(classify(asked, Said { status, code, inner }), meaning, "{asked:?} {status} {code:?} {inner:?}");
    }
}

/// Whoever answers with anything at all, it is a denial only in the very words of the table.
#[test]
fn nothing_but_the_vaults_own_words_denies() {
    const CODES: [Option<&str>; 6] = [None, Some(""), Some("Forbidden"), Some("KeyNotFound"), Some("denied"), Some("BadParameter")];
    const INNER: [Option<&str>; 5] = [None, Some(""), Some("KeyDisabled"), Some("keydisabled"), Some("Revoked")];
    for asked in [Token, Get, Wrap, Unwrap] {
        for status in 0..=1000 {
            for (code, inner) in CODES.into_iter().flat_map(|code| INNER.map(|inner| (code, inner))) {
                let denied = matches!(classify(asked, Said { status, code, inner }), Denied(_));
                let vault = asked != Token && code.is_some();
                let told = status == 403 && inner == Some("KeyDisabled") || status == 404 && code == Some("KeyNotFound");
                assert_eq!(denied, vault && told, "{asked:?} {status} {code:?} {inner:?}");
            }
        }
    }
}
