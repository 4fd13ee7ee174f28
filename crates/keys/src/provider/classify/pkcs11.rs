//! PKCS#11: the `CKR_` that a token's module returned, by its name.
//!
//! Some modules answer a ciphertext that does not authenticate with a general failure. So after one, the client has the same key
//! encrypt and decrypt something else in the same session; that this worked is the inner code here.

use super::{Answer, Asked, Said};

/// Not a `CKR_`: the token has no key of that name and version. A search that finds nothing is no error in PKCS#11.
pub(in crate::provider) const NO_KEY: &str = "no key";

/// The inner code: the same key did another encryption and decryption.
pub(in crate::provider) const KEY_WORKS: &str = "key works";

pub(super) fn classify(asked: Asked, said: Said<'_>) -> Answer {
    match said.code {
        None => Answer::Transient("StatusUnknown"),
        Some("CKR_OK") => Answer::Good,
        // Found a moment ago in the same session, so it went just now.
        Some(NO_KEY | "CKR_KEY_HANDLE_INVALID" | "CKR_OBJECT_HANDLE_INVALID") => Answer::Denied("KeyNotFound"),
        // CKA_ENCRYPT or CKA_DECRYPT was taken from it.
        Some("CKR_KEY_FUNCTION_NOT_PERMITTED") => Answer::Denied("KeyFunctionNotPermitted"),
        Some("CKR_ACTION_PROHIBITED") => Answer::Denied("ActionProhibited"),
        Some("CKR_PIN_INCORRECT" | "CKR_PIN_INVALID" | "CKR_PIN_LEN_RANGE") => Answer::Ambiguous("PinRefused"),
        Some("CKR_PIN_LOCKED") => Answer::Ambiguous("PinLocked"),
        Some("CKR_PIN_EXPIRED") => Answer::Ambiguous("PinExpired"),
        Some("CKR_USER_PIN_NOT_INITIALIZED") => Answer::Ambiguous("PinNotSet"),
        Some("CKR_ENCRYPTED_DATA_INVALID" | "CKR_ENCRYPTED_DATA_LEN_RANGE") if asked == Asked::Unwrap => Answer::Integrity,
        Some("CKR_GENERAL_ERROR" | "CKR_FUNCTION_FAILED") if asked == Asked::Unwrap && said.inner == Some(KEY_WORKS) => Answer::Integrity,
        Some("CKR_TOKEN_NOT_PRESENT" | "CKR_SLOT_ID_INVALID" | "CKR_TOKEN_NOT_RECOGNIZED") => Answer::Transient("TokenNotPresent"),
        Some("CKR_DEVICE_ERROR" | "CKR_DEVICE_MEMORY") => Answer::Transient("DeviceError"),
        Some("CKR_DEVICE_REMOVED") => Answer::Transient("DeviceRemoved"),
        Some("CKR_HOST_MEMORY") => Answer::Transient("HostMemory"),
        Some("CKR_GENERAL_ERROR" | "CKR_FUNCTION_FAILED" | "CKR_FUNCTION_CANCELED") => Answer::Transient("FunctionFailed"),
        Some("CKR_SESSION_CLOSED" | "CKR_SESSION_HANDLE_INVALID" | "CKR_SESSION_COUNT") => Answer::Transient("SessionLost"),
        Some("CKR_USER_NOT_LOGGED_IN" | "CKR_USER_ALREADY_LOGGED_IN" | "CKR_USER_ANOTHER_ALREADY_LOGGED_IN") => {
            Answer::Transient("LoginLost")
        }
        Some("CKR_MECHANISM_INVALID" | "CKR_MECHANISM_PARAM_INVALID" | "CKR_KEY_TYPE_INCONSISTENT") => {
            Answer::Transient("MechanismRefused")
        }
        Some(_) => Answer::Transient("CkrUnknown"),
    }
}
