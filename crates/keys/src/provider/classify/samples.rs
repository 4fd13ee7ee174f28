//! Every answer that is known, with what it means: the tables that tests and documents go by.
//!
//! Transit's texts are recorded from OpenBao 2.7.2, KMS's names from its API reference and its sentences from recorded answers,
//! PKCS#11's from its specification. What stands in none of them is transient.

use Answer::{Ambiguous, Denied, Expired, Good, Integrity, Transient};
use Asked::{Get, Token, Unwrap, Wrap};

use super::{Answer, Asked, Said};
use crate::provider::Provider;

/// An answer, as it came and as it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Who was asked.
    pub provider: Provider,
    /// What for.
    pub asked: Asked,
    /// What was said.
    pub said: Said<'static>,
    /// What it means.
    pub answer: Answer,
}

/// All samples, kind by kind.
pub fn all() -> impl Iterator<Item = Sample> {
    let tables = [
        (Provider::Azure, AZURE),
        (Provider::Azure, AZURE_TOKEN),
        (Provider::Transit, TRANSIT),
        (Provider::AwsKms, AWS_KMS),
        (Provider::Pkcs11, PKCS11),
    ];
    tables.into_iter().flat_map(|(provider, rows)| {
        rows.iter().map(move |&(asked, status, code, inner, answer)| Sample { provider, asked, said: Said { status, code, inner }, answer })
    })
}

/// asked, status, code, inner code, what it means.
type Row = (Asked, u16, Option<&'static str>, Option<&'static str>, Answer);

const FORBIDDEN: Option<&str> = Some("Forbidden");

#[rustfmt::skip]
const AZURE: &[Row] = &[
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
    // Managed HSM speaks the same words.
    (Wrap, 403, FORBIDDEN, Some("ForbiddenByPolicy"), Denied("ForbiddenByPolicy")),
    (Wrap, 403, FORBIDDEN, Some("ForbiddenByFirewall"), Ambiguous("ForbiddenByFirewall")),
    (Get, 404, Some("SecretNotFound"), None, Transient("Status404")),
];

#[rustfmt::skip]
const AZURE_TOKEN: &[Row] = &[
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

#[rustfmt::skip]
const TRANSIT: &[Row] = &[
    (Unwrap, 200, None, None, Good),
    (Wrap, 200, None, None, Good),
    (Get, 200, None, None, Good),
    (Token, 200, None, None, Good),
    // The key: gone, set aside, its versions withdrawn, or no longer ours to use.
    (Unwrap, 400, Some("encryption key not found"), None, Denied("KeyNotFound")),
    (Wrap, 400, Some("encryption key not found"), None, Denied("KeyNotFound")),
    (Get, 404, Some(""), None, Denied("KeyNotFound")),
    (Unwrap, 400, Some("refusing to use soft-deleted key"), None, Denied("KeyDisabled")),
    (Wrap, 400, Some("refusing to use soft-deleted key"), None, Denied("KeyDisabled")),
    (Unwrap, 400, Some("ciphertext or signature version is disallowed by policy (too old)"), None, Denied("VersionTooOld")),
    (Wrap, 400, Some("requested version for encryption is disallowed by policy (too old)"), None, Denied("VersionTooOld")),
    (Wrap, 400, Some("no such key version"), None, Denied("VersionNotFound")),
    (Unwrap, 403, Some("1 error occurred:\n\t* permission denied\n\n"), Some("TokenGood"), Denied("PermissionDenied")),
    (Wrap, 403, Some("1 error occurred:\n\t* permission denied\n\n"), Some("TokenGood"), Denied("PermissionDenied")),
    (Get, 403, Some("1 error occurred:\n\t* permission denied\n\n"), Some("TokenGood"), Denied("PermissionDenied")),
    (Unwrap, 404, Some("no handler for route \"transit/decrypt/k\". route entry not found."), None, Denied("EngineNotFound")),
    (Get, 404, Some("no handler for route \"transit/keys/k\". route entry not found."), None, Denied("EngineNotFound")),
    // Us.
    (Unwrap, 403, Some("permission denied"), Some("TokenRefused"), Ambiguous("TokenRefused")),
    (Wrap, 403, Some("permission denied"), Some("TokenRefused"), Ambiguous("TokenRefused")),
    (Get, 403, Some("permission denied"), Some("TokenRefused"), Ambiguous("TokenRefused")),
    (Token, 403, Some("permission denied"), None, Ambiguous("LoginRefused")),
    (Token, 400, Some("error validating token: invalid subject (sub) claim"), None, Ambiguous("LoginRefused")),
    (Token, 400, Some("error validating token: invalid expiration time (exp) claim: token is expired"), None, Ambiguous("LoginRefused")),
    (Token, 400, Some("role \"c\" could not be found"), None, Ambiguous("LoginRoleNotFound")),
    (Token, 400, Some("could not load configuration"), None, Ambiguous("LoginNotConfigured")),
    (Token, 404, Some("no handler for route \"auth/jwt/login\". route entry not found."), None, Ambiguous("LoginNotFound")),
    // Not what was wrapped.
    (Unwrap, 400, Some("cipher: message authentication failed"), None, Integrity),
    (Unwrap, 400, Some("invalid ciphertext length"), None, Integrity),
    (Unwrap, 400, Some("invalid ciphertext: no prefix"), None, Integrity),
    (Unwrap, 400, Some("invalid ciphertext: version is too new"), None, Integrity),
    // Sealed, standing by, starting.
    (Unwrap, 503, Some("Vault is sealed"), None, Transient("Status503")),
    (Token, 503, Some("Vault is sealed"), None, Transient("Status503")),
    (Wrap, 503, Some("Vault is sealed"), None, Transient("Status503")),
    (Unwrap, 472, None, None, Transient("Status4xx")),
    (Unwrap, 473, None, None, Transient("Status4xx")),
    (Unwrap, 412, Some("required index state not present"), None, Transient("Status412")),
    (Unwrap, 429, Some("request path \"transit/decrypt/k\": rate limit quota exceeded"), None, Transient("Throttled")),
    (Unwrap, 500, Some("internal error"), None, Transient("Status500")),
    (Unwrap, 500, Some("encryption key not found"), None, Transient("Status500")),
    (Unwrap, 502, None, None, Transient("Status502")),
    (Unwrap, 504, None, None, Transient("Status504")),
    (Token, 500, Some("error validating token: x"), None, Transient("Status500")),
    // Denies nothing.
    (Unwrap, 403, None, None, Transient("Status403")),
    (Unwrap, 403, None, Some("TokenGood"), Transient("Status403")),
    (Unwrap, 403, Some("permission denied"), None, Transient("Status403")),
    (Unwrap, 404, Some(""), None, Transient("Status404")),
    (Unwrap, 404, None, None, Transient("Status404")),
    (Unwrap, 400, Some("something new"), None, Transient("Status400")),
    (Wrap, 400, Some("requested version for encryption is higher than the latest key version"), None, Transient("Status400")),
    (Unwrap, 400, Some("no such key version"), None, Transient("Status400")),
    (Wrap, 400, Some("cipher: message authentication failed"), None, Transient("Status400")),
    (Unwrap, 405, Some("1 error occurred:\n\t* unsupported operation\n\n"), None, Transient("Status4xx")),
    (Token, 400, Some("missing role"), None, Transient("Status400")),
    (Token, 403, None, None, Transient("Status403")),
    (Unwrap, 302, None, None, Transient("Redirect")),
];

#[rustfmt::skip]
const AWS_KMS: &[Row] = &[
    (Unwrap, 200, None, None, Good),
    (Wrap, 200, None, None, Good),
    (Get, 200, None, None, Good),
    (Unwrap, 400, Some("DisabledException"), Some("arn:aws:kms:eu-central-1:123456789012:key/k is disabled."), Denied("KeyDisabled")),
    (Wrap, 400, Some("DisabledException"), None, Denied("KeyDisabled")),
    (Unwrap, 400, Some("NotFoundException"), Some("Key 'arn:aws:kms:eu-central-1:123456789012:key/k' does not exist"), Denied("KeyNotFound")),
    (Wrap, 400, Some("NotFoundException"), None, Denied("KeyNotFound")),
    (Get, 400, Some("NotFoundException"), Some("Invalid keyId k"), Denied("KeyNotFound")),
    (Get, 400, Some("com.amazonaws.kms#NotFoundException"), None, Denied("KeyNotFound")),
    (Unwrap, 400, Some("AccessDeniedException"), Some("User: arn:aws:iam::123456789012:user/u is not authorized to perform: kms:Decrypt"), Denied("AccessDenied")),
    (Wrap, 400, Some("AccessDeniedException"), None, Denied("AccessDenied")),
    (Get, 400, Some("AccessDeniedException"), None, Denied("AccessDenied")),
    (Unwrap, 400, Some("KMSInvalidStateException"), Some("arn:aws:kms:eu-central-1:123456789012:key/k is pending deletion."), Denied("KeyPendingDeletion")),
    (Wrap, 400, Some("KMSInvalidStateException"), Some("arn:aws:kms:eu-central-1:123456789012:key/k is pending deletion."), Denied("KeyPendingDeletion")),
    (Unwrap, 400, Some("KMSInvalidStateException"), Some("arn:aws:kms:eu-central-1:123456789012:key/k is pending import."), Denied("KeyPendingImport")),
    (Unwrap, 400, Some("KMSInvalidStateException"), Some("arn:aws:kms:eu-central-1:123456789012:key/k is disabled."), Denied("KeyDisabled")),
    // Us, or a key store that somebody cut off.
    (Unwrap, 400, Some("KMSInvalidStateException"), Some("arn:aws:kms:eu-central-1:123456789012:key/k is unavailable."), Ambiguous("KeyStoreUnavailable")),
    (Unwrap, 400, Some("UnrecognizedClientException"), Some("The security token included in the request is invalid."), Ambiguous("CredentialsUnknown")),
    (Wrap, 400, Some("UnrecognizedClientException"), None, Ambiguous("CredentialsUnknown")),
    (Get, 400, Some("UnrecognizedClientException"), None, Ambiguous("CredentialsUnknown")),
    (Unwrap, 403, Some("InvalidClientTokenId"), None, Ambiguous("CredentialsUnknown")),
    (Unwrap, 400, Some("MissingAuthenticationTokenException"), None, Ambiguous("CredentialsUnknown")),
    (Unwrap, 400, Some("ExpiredTokenException"), Some("The security token included in the request is expired"), Ambiguous("CredentialsExpired")),
    (Unwrap, 400, Some("InvalidSignatureException"), Some("The request signature we calculated does not match the signature you provided."), Ambiguous("SignatureRefused")),
    (Unwrap, 400, Some("IncompleteSignatureException"), None, Ambiguous("SignatureRefused")),
    // Not what was wrapped.
    (Unwrap, 400, Some("InvalidCiphertextException"), None, Integrity),
    (Unwrap, 400, Some("IncorrectKeyException"), None, Integrity),
    // Outages, and what denies nothing.
    (Unwrap, 400, Some("InvalidSignatureException"), Some("Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z"), Transient("ClockSkew")),
    (Unwrap, 400, Some("InvalidSignatureException"), Some("Signature not yet current: 20260101T010000Z is still later than"), Transient("ClockSkew")),
    (Unwrap, 400, Some("ThrottlingException"), None, Transient("Throttled")),
    (Wrap, 400, Some("ThrottlingException"), None, Transient("Throttled")),
    (Unwrap, 400, Some("KMSInternalException"), None, Transient("KMSInternal")),
    (Unwrap, 500, Some("KMSInternalException"), None, Transient("Status500")),
    (Unwrap, 400, Some("DependencyTimeoutException"), None, Transient("DependencyTimeout")),
    (Unwrap, 500, Some("DependencyTimeoutException"), None, Transient("Status500")),
    (Unwrap, 400, Some("KeyUnavailableException"), None, Transient("KeyUnavailable")),
    (Unwrap, 400, Some("LimitExceededException"), None, Transient("LimitExceeded")),
    (Unwrap, 400, Some("KMSInvalidStateException"), None, Transient("KMSInvalidState")),
    (Unwrap, 400, Some("KMSInvalidStateException"), Some("arn:aws:kms:eu-central-1:123456789012:key/k is creating."), Transient("KMSInvalidState")),
    (Wrap, 400, Some("InvalidCiphertextException"), None, Transient("Status400")),
    (Unwrap, 400, Some("ValidationException"), None, Transient("Status400")),
    (Unwrap, 400, Some("SomethingNewException"), None, Transient("Status400")),
    (Unwrap, 400, None, None, Transient("Status400")),
    (Unwrap, 400, Some("disabledexception"), None, Transient("Status400")),
    (Unwrap, 500, Some("DisabledException"), None, Transient("Status500")),
    (Unwrap, 503, Some("AccessDeniedException"), None, Transient("Status503")),
    (Unwrap, 403, None, None, Transient("Status403")),
    (Unwrap, 404, None, None, Transient("Status404")),
    (Unwrap, 413, None, None, Transient("Status4xx")),
    (Unwrap, 302, Some("DisabledException"), None, Transient("Redirect")),
];

#[rustfmt::skip]
const PKCS11: &[Row] = &[
    (Unwrap, 0, Some("CKR_OK"), None, Good),
    (Wrap, 0, Some("CKR_OK"), None, Good),
    (Unwrap, 0, Some("no key"), None, Denied("KeyNotFound")),
    (Wrap, 0, Some("no key"), None, Denied("KeyNotFound")),
    (Get, 0, Some("no key"), None, Denied("KeyNotFound")),
    (Unwrap, 0, Some("CKR_KEY_HANDLE_INVALID"), None, Denied("KeyNotFound")),
    (Unwrap, 0, Some("CKR_OBJECT_HANDLE_INVALID"), None, Denied("KeyNotFound")),
    (Unwrap, 0, Some("CKR_KEY_FUNCTION_NOT_PERMITTED"), None, Denied("KeyFunctionNotPermitted")),
    (Wrap, 0, Some("CKR_KEY_FUNCTION_NOT_PERMITTED"), None, Denied("KeyFunctionNotPermitted")),
    (Unwrap, 0, Some("CKR_ACTION_PROHIBITED"), None, Denied("ActionProhibited")),
    (Token, 0, Some("CKR_PIN_INCORRECT"), None, Ambiguous("PinRefused")),
    (Token, 0, Some("CKR_PIN_LEN_RANGE"), None, Ambiguous("PinRefused")),
    (Token, 0, Some("CKR_PIN_LOCKED"), None, Ambiguous("PinLocked")),
    (Token, 0, Some("CKR_PIN_EXPIRED"), None, Ambiguous("PinExpired")),
    (Token, 0, Some("CKR_USER_PIN_NOT_INITIALIZED"), None, Ambiguous("PinNotSet")),
    (Unwrap, 0, Some("CKR_ENCRYPTED_DATA_INVALID"), None, Integrity),
    (Unwrap, 0, Some("CKR_ENCRYPTED_DATA_LEN_RANGE"), None, Integrity),
    (Unwrap, 0, Some("CKR_GENERAL_ERROR"), Some("key works"), Integrity),
    (Wrap, 0, Some("CKR_GENERAL_ERROR"), Some("key works"), Transient("FunctionFailed")),
    (Wrap, 0, Some("CKR_ENCRYPTED_DATA_INVALID"), None, Transient("CkrUnknown")),
    (Unwrap, 0, Some("CKR_TOKEN_NOT_PRESENT"), None, Transient("TokenNotPresent")),
    (Token, 0, Some("CKR_SLOT_ID_INVALID"), None, Transient("TokenNotPresent")),
    (Unwrap, 0, Some("CKR_DEVICE_ERROR"), None, Transient("DeviceError")),
    (Unwrap, 0, Some("CKR_DEVICE_REMOVED"), None, Transient("DeviceRemoved")),
    (Unwrap, 0, Some("CKR_HOST_MEMORY"), None, Transient("HostMemory")),
    (Unwrap, 0, Some("CKR_GENERAL_ERROR"), None, Transient("FunctionFailed")),
    (Unwrap, 0, Some("CKR_FUNCTION_FAILED"), None, Transient("FunctionFailed")),
    (Unwrap, 0, Some("CKR_SESSION_HANDLE_INVALID"), None, Transient("SessionLost")),
    (Token, 0, Some("CKR_SESSION_COUNT"), None, Transient("SessionLost")),
    (Unwrap, 0, Some("CKR_USER_NOT_LOGGED_IN"), None, Transient("LoginLost")),
    (Unwrap, 0, Some("CKR_MECHANISM_INVALID"), None, Transient("MechanismRefused")),
    (Unwrap, 0, Some("CKR_VENDOR_DEFINED"), None, Transient("CkrUnknown")),
    (Unwrap, 0, Some("ckr_key_handle_invalid"), None, Transient("CkrUnknown")),
    (Unwrap, 0, None, None, Transient("StatusUnknown")),
];
