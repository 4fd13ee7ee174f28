//! What a vault's answers look like. Unknown members are ignored; what is missing or of another shape makes the whole answer
//! none.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The answer of wrapkey and unwrapkey, borrowed from a body that is wiped.
#[derive(Deserialize)]
pub(super) struct Operation<'a> {
    #[serde(borrow)]
    pub(super) kid: Cow<'a, str>,
    /// Base64url needs no escapes in JSON, so it can be borrowed and no copy of a key is left behind.
    pub(super) value: &'a str,
}

impl<'a> Operation<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bundle {
    pub(super) version: String,
    /// `RSA`, `RSA-HSM`, `EC`, …
    pub(super) key_type: String,
    /// 0 for a key that is not RSA.
    pub(super) rsa_bits: u32,
    pub(super) enabled: bool,
    /// When it was made, seconds since 1970; 0 if the vault does not say.
    pub(super) created_s: i64,
    pub(super) not_before_ms: Option<i64>,
    pub(super) expires_ms: Option<i64>,
    pub(super) recovery_level: String,
}

#[derive(Deserialize)]
struct RawBundle<'a> {
    #[serde(borrow)]
    key: RawKey<'a>,
    #[serde(borrow)]
    attributes: RawAttributes<'a>,
}

#[derive(Deserialize)]
struct RawKey<'a> {
    #[serde(borrow)]
    kid: Cow<'a, str>,
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow)]
    n: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawAttributes<'a> {
    enabled: Option<bool>,
    created: Option<i64>,
    nbf: Option<i64>,
    exp: Option<i64>,
    #[serde(borrow, rename = "recoveryLevel")]
    recovery_level: Option<Cow<'a, str>>,
}

impl Bundle {
    /// `version_of` tells the version in a key identifier, if it is the right key's.
    pub(super) fn read(body: &[u8], version_of: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let RawBundle { key, attributes } = serde_json::from_slice(body).ok()?;
        let ms = |seconds: i64| seconds.saturating_mul(1_000);
        let rsa = matches!(&*key.kty, "RSA" | "RSA-HSM");
        Some(Self {
            version: version_of(&key.kid)?,
            key_type: key.kty.into_owned(),
            rsa_bits: if rsa { modulus_bits(key.n.as_deref()?)? } else { 0 },
            enabled: attributes.enabled.unwrap_or(true),
            created_s: attributes.created.unwrap_or(0),
            not_before_ms: attributes.nbf.map(ms),
            expires_ms: attributes.exp.map(ms),
            // Azure's own default when a vault says nothing.
            recovery_level: attributes.recovery_level.map_or_else(|| "Purgeable".to_owned(), Cow::into_owned),
        })
    }
}

fn modulus_bits(text: &str) -> Option<u32> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let significant = bytes.iter().position(|byte| *byte != 0).map(|at| &bytes[at..])?;
    Some(u32::try_from(significant.len()).ok()?.checked_mul(8)? - significant[0].leading_zeros())
}

/// A page of a key's versions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    /// Key identifiers, each with when it was made: seconds since 1970.
    pub(super) enabled: Vec<(String, i64)>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
struct RawListing<'a> {
    #[serde(borrow)]
    value: Vec<RawItem<'a>>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct RawItem<'a> {
    kid: String,
    #[serde(borrow)]
    attributes: RawAttributes<'a>,
}

impl Listing {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let raw: RawListing<'_> = serde_json::from_slice(body).ok()?;
        let enabled = raw.value.into_iter().filter(|item| item.attributes.enabled.unwrap_or(true));
        let enabled = enabled.map(|item| (item.kid, item.attributes.created.unwrap_or(0)));
        Some(Self { enabled: enabled.collect(), next: raw.next_link.filter(|link| !link.is_empty()) })
    }
}

#[derive(Deserialize)]
struct RawError {
    error: RawCodes,
}

#[derive(Deserialize)]
struct RawCodes {
    code: Option<String>,
    #[serde(alias = "innerError")]
    innererror: Option<RawInner>,
}

#[derive(Deserialize)]
struct RawInner {
    code: Option<String>,
}

/// `error.code` and `error.innererror.code`; nothing from a body that is no error body.
pub(super) fn error_codes(body: &[u8]) -> (Option<String>, Option<String>) {
    match serde_json::from_slice::<RawError>(body) {
        Ok(RawError { error }) => (error.code, error.innererror.and_then(|inner| inner.code)),
        Err(_) => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bundle(text: &str) -> Option<Bundle> {
        Bundle::read(text.as_bytes(), |kid| kid.rsplit('/').next().map(str::to_owned))
    }

    #[test]
    fn a_bundle_reads_with_what_a_vault_says_of_its_key() {
        let n = URL_SAFE_NO_PAD.encode([&[0, 0x80][..], &[1; 255]].concat());
        let text = format!(
            r#"{{"key":{{"kid":"https:\/\/v/keys/k/ab","kty":"RSA","n":"{n}","e":"AQAB","key_ops":["wrapKey"]}},
                "attributes":{{"enabled":false,"nbf":5,"exp":7,"created":1,"recoveryLevel":"Recoverable"}},"tags":{{}}}}"#
        );
        let expected = Bundle {
            version: "ab".to_owned(),
            key_type: "RSA".to_owned(),
            rsa_bits: 2048,
            enabled: false,
            created_s: 1,
            not_before_ms: Some(5_000),
            expires_ms: Some(7_000),
            recovery_level: "Recoverable".to_owned(),
        };
        assert_eq!(bundle(&text), Some(expected));
        let curve = bundle(r#"{"key":{"kid":"https://v/keys/k/ab","kty":"EC","x":"AA"},"attributes":{}}"#).unwrap();
        assert_eq!((curve.rsa_bits, curve.enabled, curve.recovery_level.as_str()), (0, true, "Purgeable"));
        for bad in [
            "",
            "null",
            "{}",
            r#"{"key":{}}"#,
            r#"{"key":{"kid":"k","kty":"RSA","n":"!"},"attributes":{}}"#,
            r#"{"key":{"kid":"k","kty":"RSA"},"attributes":{}}"#,
        ] {
            assert_eq!(bundle(bad), None, "{bad}");
        }
    }

    #[test]
    fn bits_count_from_the_first_one() {
        let bits = |bytes: &[u8]| modulus_bits(&URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(bits(&[1]), Some(1));
        assert_eq!(bits(&[0, 0, 0xff, 0xff]), Some(16));
        assert_eq!(bits(&[&[0x7f][..], &[0xff; 255]].concat()), Some(2047));
        assert_eq!(bits(&[0, 0]), None);
        assert_eq!(bits(&[]), None);
    }

    #[test]
    fn error_codes_come_from_error_bodies_only() {
        let both = r#"{"error":{"code":"Forbidden","message":"no","innererror":{"code":"KeyDisabled"}}}"#;
        assert_eq!(error_codes(both.as_bytes()), (Some("Forbidden".to_owned()), Some("KeyDisabled".to_owned())));
        assert_eq!(error_codes(br#"{"error":{"code":"KeyNotFound"}}"#), (Some("KeyNotFound".to_owned()), None));
        for none in ["", "<html>403</html>", r#"{"error":"invalid_client"}"#, r#"{"error":{"code":{}}}"#, "[]", r#"{"code":"KeyDisabled"}"#]
        {
            assert_eq!(error_codes(none.as_bytes()), (None, None), "{none}");
        }
    }

    proptest! {
        #[test]
        fn no_body_breaks_a_reader(body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..512),
            r#"\{"(error|key|value|kid)":(\{"code":"[a-z"]{0,8}"\}|\[|null|"x")[,}]?.{0,40}"#.prop_map(String::into_bytes),
        ]) {
            let _codes = error_codes(&body);
            let _bundle = Bundle::read(&body, |kid| Some(kid.to_owned()));
            let _listing = Listing::read(&body);
            let _operation = Operation::read(&body).is_some();
        }
    }
}
