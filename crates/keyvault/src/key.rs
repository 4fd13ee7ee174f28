//! A key and its versions: what each says of itself, and what it may be used for at a time.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use strongroom_model::ObjectId;
use strongroom_world::Rng;

use crate::crypto::Public;
use crate::refusal::Refusal;
use crate::rotation::Policy;

/// Tags of one version: how many, and bytes of each name and value.
pub(crate) const TAGS_MAX: usize = 15;
pub(crate) const TAG_BYTES_MAX: usize = 256;

/// Names one version of one key for ever: 16 random bytes, 32 hex digits in a kid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct VersionId([u8; 16]);

impl VersionId {
    pub(crate) fn mint(rng: &dyn Rng) -> Self {
        let mut bytes = [0; 16];
        rng.fill(&mut bytes);
        Self(bytes)
    }

    /// The row its private key's cell is sealed for.
    pub(crate) fn row(self) -> ObjectId {
        ObjectId::from_bytes(self.0)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<VersionId> for String {
    fn from(id: VersionId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for VersionId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a version has 32 hex digits")
    }
}

/// What a key can be used for; the names of `key_ops` (RFC 7517 §4.3, and Key Vault's two more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum KeyOp {
    Encrypt,
    Decrypt,
    Sign,
    Verify,
    WrapKey,
    UnwrapKey,
    Import,
    Export,
}

impl KeyOp {
    const ALL: [(&'static str, Self); 8] = [
        ("encrypt", Self::Encrypt),
        ("decrypt", Self::Decrypt),
        ("sign", Self::Sign),
        ("verify", Self::Verify),
        ("wrapKey", Self::WrapKey),
        ("unwrapKey", Self::UnwrapKey),
        ("import", Self::Import),
        ("export", Self::Export),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).expect("every operation is listed").0
    }

    pub(crate) fn parse_all(names: &[String]) -> Result<Vec<Self>, Refusal> {
        let mut ops = Vec::new();
        for name in names {
            let op = Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            let op = op.ok_or_else(|| Refusal::bad("key_ops holds an operation that is not known"))?.1;
            if op == Self::Export {
                return Err(Refusal::bad("keys of this vault cannot be exported"));
            }
            if !ops.contains(&op) {
                ops.push(op);
            }
        }
        Ok(ops)
    }

    /// Whether it needs the private key: refused of a disabled key.
    fn is_private(self) -> bool {
        matches!(self, Self::Decrypt | Self::UnwrapKey | Self::Sign)
    }

    /// Whether it only deals with what was made before: allowed of an expired key.
    fn looks_back(self) -> bool {
        matches!(self, Self::Decrypt | Self::UnwrapKey | Self::Verify)
    }
}

/// What a caller may set of a version; an absent member stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) enabled: Option<bool>,
    /// Seconds since 1970.
    pub(crate) nbf: Option<i64>,
    /// Seconds since 1970.
    pub(crate) exp: Option<i64>,
    pub(crate) key_ops: Option<Vec<KeyOp>>,
    pub(crate) tags: Option<BTreeMap<String, String>>,
}

/// One version. Its private key is not here but in a cell of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Version {
    pub(crate) id: VersionId,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) enabled: bool,
    pub(crate) nbf: Option<i64>,
    pub(crate) exp: Option<i64>,
    pub(crate) key_ops: Vec<KeyOp>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) public: Public,
    /// Whether it is on record that this version expires soon.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) told: bool,
}

impl Version {
    pub(crate) fn new(id: VersionId, public: Public, now: i64, changes: &Changes) -> Result<Self, Refusal> {
        let mut version = Self {
            id,
            created: now,
            updated: now,
            enabled: true,
            nbf: None,
            exp: None,
            key_ops: public.usual(),
            tags: BTreeMap::new(),
            public,
            told: false,
        };
        version.change(now, changes)?;
        Ok(version)
    }

    /// Merges `changes` in.
    pub(crate) fn change(&mut self, now: i64, changes: &Changes) -> Result<(), Refusal> {
        let nbf = changes.nbf.or(self.nbf);
        let exp = changes.exp.or(self.exp);
        if nbf.zip(exp).is_some_and(|(nbf, exp)| exp <= nbf) {
            return Err(Refusal::bad("exp must be later than nbf"));
        }
        let usual = self.public.usual();
        if changes.key_ops.as_ref().is_some_and(|ops| ops.iter().any(|op| *op != KeyOp::Import && !usual.contains(op))) {
            return Err(Refusal::bad("key_ops holds an operation that a key of this type cannot do"));
        }
        if let Some(tags) = &changes.tags {
            let fits = |text: &String| text.len() <= TAG_BYTES_MAX;
            if tags.len() > TAGS_MAX || !tags.iter().all(|(name, value)| fits(name) && fits(value)) {
                return Err(Refusal::bad(format!("at most {TAGS_MAX} tags of {TAG_BYTES_MAX} bytes are kept")));
            }
            self.tags.clone_from(tags);
        }
        if let Some(ops) = &changes.key_ops {
            self.key_ops.clone_from(ops);
        }
        self.told &= self.exp == exp;
        (self.nbf, self.exp) = (nbf, exp);
        self.enabled = changes.enabled.unwrap_or(self.enabled);
        self.updated = now;
        Ok(())
    }

    /// Whether `op` may be done now.
    ///
    /// As Azure does it: a *disabled* version does nothing that needs its private key, but still wraps and encrypts, which
    /// need the public key alone (azure-sdk-for-python #45342; anybody with a copy of the public key can do the same); an
    /// *expired* or not yet valid one refuses to wrap, encrypt and sign, but still unwraps, decrypts and verifies, so that
    /// what was made in time is not lost (Key Vault's "date-time controlled operations").
    pub(crate) fn may(&self, op: KeyOp, now: i64) -> Result<(), Refusal> {
        let name = op.name();
        if !self.key_ops.contains(&op) {
            return Err(Refusal::forbidden("KeyOperationForbidden", format!("Operation {name} is not permitted on this key.")));
        }
        if op.is_private() && !self.enabled {
            return Err(Refusal::forbidden("KeyDisabled", format!("Operation {name} is not allowed on a disabled key.")));
        }
        if op.looks_back() {
            return Ok(());
        }
        if self.exp.is_some_and(|exp| exp <= now) {
            return Err(Refusal::forbidden("KeyExpired", format!("Operation {name} is not allowed on an expired key.")));
        }
        if self.nbf.is_some_and(|nbf| now < nbf) {
            return Err(Refusal::forbidden("KeyNotYetValid", format!("Operation {name} is not allowed on a key that is not yet valid.")));
        }
        Ok(())
    }
}

/// A key: versions in order of their making; never without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    /// As its maker spelt it.
    pub(crate) name: String,
    pub(crate) versions: Vec<Version>,
    /// When it gets a new version by itself, if its owner said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rotation: Option<Policy>,
}

impl Key {
    /// The policy in force: its own, or the one that every key has.
    pub(crate) fn policy(&self) -> Policy {
        self.rotation.clone().unwrap_or_else(|| Policy::usual(self.versions[0].created))
    }

    /// The newest version, enabled or not.
    pub(crate) fn newest(&self) -> &Version {
        self.versions.last().expect("a key has a version")
    }

    /// The version of that id, or the newest.
    pub(crate) fn version(&self, id: Option<&str>) -> Result<&Version, Refusal> {
        let Some(text) = id else { return Ok(self.newest()) };
        let id = VersionId::parse(text);
        self.versions.iter().find(|version| Some(version.id) == id).ok_or_else(|| Refusal::no_key(&self.name, Some(text)))
    }
}

/// A key that can still be recovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deleted {
    pub(crate) key: Key,
    /// Seconds since 1970.
    pub(crate) at: i64,
    /// When it is destroyed, seconds since 1970.
    pub(crate) purge: i64,
}

/// A key's name in the form under which it is found: names differ by more than case.
pub(crate) fn key_of(name: &str) -> Result<String, Refusal> {
    if name.is_empty() || name.len() > 127 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Refusal::bad("a key's name has 1 to 127 letters, digits and dashes"));
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Base64Url, RsaPublic};

    fn version(changes: &Changes) -> Version {
        let public = Public::Rsa(RsaPublic { n: Base64Url(vec![0xff; 256]), e: Base64Url(vec![1, 0, 1]) });
        Version::new(VersionId([7; 16]), public, 1_000, changes).unwrap()
    }

    fn inner(outcome: Result<(), Refusal>) -> Option<&'static str> {
        outcome.err().and_then(|refusal| refusal.inner)
    }

    #[test]
    fn a_disabled_version_gives_nothing_back_but_still_wraps() {
        let disabled = version(&Changes { enabled: Some(false), ..Changes::default() });
        assert_eq!(inner(disabled.may(KeyOp::UnwrapKey, 2_000)), Some("KeyDisabled"));
        assert_eq!(inner(disabled.may(KeyOp::Decrypt, 2_000)), Some("KeyDisabled"));
        assert_eq!(inner(disabled.may(KeyOp::Sign, 2_000)), Some("KeyDisabled"));
        assert_eq!(disabled.may(KeyOp::WrapKey, 2_000), Ok(()));
        assert_eq!(disabled.may(KeyOp::Encrypt, 2_000), Ok(()));
        assert_eq!(disabled.may(KeyOp::Verify, 2_000), Ok(()));
    }

    #[test]
    fn outside_its_time_a_version_unwraps_but_does_not_wrap() {
        let expired = version(&Changes { exp: Some(2_000), ..Changes::default() });
        assert_eq!(expired.may(KeyOp::WrapKey, 1_999), Ok(()));
        assert_eq!(inner(expired.may(KeyOp::WrapKey, 2_000)), Some("KeyExpired"));
        assert_eq!(inner(expired.may(KeyOp::Encrypt, 2_000)), Some("KeyExpired"));
        assert_eq!(inner(expired.may(KeyOp::Sign, 2_000)), Some("KeyExpired"));
        assert_eq!(expired.may(KeyOp::UnwrapKey, 2_000), Ok(()));
        assert_eq!(expired.may(KeyOp::Verify, 2_000), Ok(()));
        let early = version(&Changes { nbf: Some(3_000), ..Changes::default() });
        assert_eq!(inner(early.may(KeyOp::WrapKey, 2_999)), Some("KeyNotYetValid"));
        assert_eq!(early.may(KeyOp::Decrypt, 2_999), Ok(()));
        assert_eq!(early.may(KeyOp::WrapKey, 3_000), Ok(()));
    }

    #[test]
    fn an_operation_that_was_not_given_is_refused() {
        let wraps = version(&Changes { key_ops: Some(vec![KeyOp::WrapKey]), ..Changes::default() });
        assert_eq!(wraps.may(KeyOp::WrapKey, 0), Ok(()));
        assert_eq!(inner(wraps.may(KeyOp::UnwrapKey, 0)), Some("KeyOperationForbidden"));
        let refused = KeyOp::parse_all(&["wrapKey".into(), "export".into()]);
        assert!(refused.is_err() && KeyOp::parse_all(&["dance".into()]).is_err());
    }

    #[test]
    fn changes_merge_and_times_keep_their_order() {
        let mut one =
            version(&Changes { nbf: Some(10), exp: Some(20), tags: Some([("a".into(), "b".into())].into()), ..Changes::default() });
        assert!(one.change(2_000, &Changes { exp: Some(10), ..Changes::default() }).is_err());
        assert_eq!((one.updated, one.exp), (1_000, Some(20)), "a refused change changes nothing");
        one.change(2_000, &Changes { enabled: Some(false), ..Changes::default() }).unwrap();
        assert_eq!((one.enabled, one.nbf, one.exp, one.tags.len(), one.updated), (false, Some(10), Some(20), 1, 2_000));
        let many = (0..16).map(|n| (n.to_string(), String::new())).collect();
        assert!(one.change(3_000, &Changes { tags: Some(many), ..Changes::default() }).is_err());
    }

    #[test]
    fn names_and_versions_have_one_form() {
        assert_eq!(key_of("Kek-1"), Ok("kek-1".into()));
        for wrong in ["", "a b", "ä", "a/b", &"x".repeat(128)] {
            assert!(key_of(wrong).is_err(), "{wrong}");
        }
        let id = VersionId([0xab; 16]);
        assert_eq!(VersionId::parse(&id.to_string().to_uppercase()), Some(id));
        assert_eq!(VersionId::parse("abc"), None);
    }
}
