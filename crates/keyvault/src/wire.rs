//! Key Vault's JSON: what comes in, and what goes out.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::crypto::{Base64Url, Curve, EcParts, Kind, PrivateParts, RsaParts, SecretBytes};
use crate::key::{Changes, Deleted, Key, KeyOp, Version};
use crate::refusal::Refusal;
use crate::state::{Properties, State};

/// Entries of one page of a list.
const PAGE: usize = 25;

#[derive(Default, Deserialize)]
struct AttributesIn {
    enabled: Option<bool>,
    nbf: Option<i64>,
    exp: Option<i64>,
    exportable: Option<bool>,
}

#[derive(Deserialize)]
pub(crate) struct CreateIn {
    kty: String,
    key_size: Option<u32>,
    crv: Option<String>,
    public_exponent: Option<u64>,
    key_ops: Option<Vec<String>>,
    attributes: Option<AttributesIn>,
    tags: Option<BTreeMap<String, String>>,
    release_policy: Option<Value>,
}

#[derive(Deserialize)]
pub(crate) struct ImportIn {
    #[serde(rename = "Hsm", alias = "hsm")]
    hsm: Option<bool>,
    key: JwkIn,
    attributes: Option<AttributesIn>,
    tags: Option<BTreeMap<String, String>>,
    release_policy: Option<Value>,
}

#[derive(Deserialize)]
struct JwkIn {
    kty: String,
    key_ops: Option<Vec<String>>,
    n: Option<Base64Url>,
    e: Option<Base64Url>,
    d: Option<SecretBytes>,
    p: Option<SecretBytes>,
    q: Option<SecretBytes>,
    dp: Option<SecretBytes>,
    dq: Option<SecretBytes>,
    qi: Option<SecretBytes>,
    crv: Option<String>,
    x: Option<Base64Url>,
    y: Option<Base64Url>,
}

#[derive(Deserialize)]
pub(crate) struct UpdateIn {
    key_ops: Option<Vec<String>>,
    attributes: Option<AttributesIn>,
    tags: Option<BTreeMap<String, String>>,
    release_policy: Option<Value>,
}

/// To wrap, unwrap, encrypt, decrypt or sign; and to verify, where the value is the signature.
#[derive(Deserialize)]
pub(crate) struct UseIn {
    pub(crate) alg: String,
    pub(crate) value: SecretBytes,
    pub(crate) digest: Option<Base64Url>,
}

#[derive(Deserialize)]
pub(crate) struct RestoreIn {
    pub(crate) value: Base64Url,
}

#[derive(Deserialize)]
pub(crate) struct RandomIn {
    pub(crate) count: usize,
}

/// Reads a body. The library's words could quote a private key, so only the place of a mistake is told.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Refusal::bad(format!("The body is not the JSON expected: line {line}, column {column}, or a member is missing."))
    })
}

fn changes(
    attributes: Option<AttributesIn>,
    key_ops: Option<&[String]>,
    tags: Option<BTreeMap<String, String>>,
    release_policy: Option<Value>,
) -> Result<Changes, Refusal> {
    let attributes = attributes.unwrap_or_default();
    if attributes.exportable == Some(true) || release_policy.is_some_and(|policy| !policy.is_null()) {
        return Err(Refusal::bad("keys of this vault cannot be exported"));
    }
    if [attributes.nbf, attributes.exp].into_iter().flatten().any(|time| time < 0) {
        return Err(Refusal::bad("nbf and exp are seconds since 1970"));
    }
    let key_ops = key_ops.map(KeyOp::parse_all).transpose()?;
    Ok(Changes { enabled: attributes.enabled, nbf: attributes.nbf, exp: attributes.exp, key_ops, tags })
}

/// Types of keys, and why some are refused.
fn is_rsa(kty: &str) -> Result<bool, Refusal> {
    match kty {
        "RSA" => Ok(true),
        "EC" => Ok(false),
        "RSA-HSM" | "EC-HSM" | "oct-HSM" => {
            Err(Refusal::bad(format!("kty {kty} is refused: this vault has no HSM and calls no key made in software one; use RSA or EC")))
        }
        "oct" => Err(Refusal::bad("kty oct is refused: as in a standard key vault, symmetric keys are for a managed HSM; use RSA or EC")),
        _ => Err(Refusal::bad("kty must be RSA or EC")),
    }
}

impl CreateIn {
    /// What is to be made, and what is set of the new version.
    pub(crate) fn check(self) -> Result<(Kind, Changes), Refusal> {
        let kind = if is_rsa(&self.kty)? {
            if self.public_exponent.is_some_and(|exponent| exponent != 65_537) {
                return Err(Refusal::bad("public_exponent must be 65537"));
            }
            let bits = self.key_size.unwrap_or(2048);
            if ![2048, 3072, 4096].contains(&bits) {
                return Err(Refusal::bad("key_size must be 2048, 3072 or 4096"));
            }
            Kind::Rsa(bits)
        } else {
            Kind::Ec(Curve::of(self.crv.as_deref(), self.key_size)?)
        };
        Ok((kind, changes(self.attributes, self.key_ops.as_deref(), self.tags, self.release_policy)?))
    }
}

impl ImportIn {
    pub(crate) fn check(self) -> Result<(PrivateParts, Changes), Refusal> {
        let is_rsa = is_rsa(&self.key.kty)?;
        if self.hsm == Some(true) {
            return Err(Refusal::bad("this vault has no HSM"));
        }
        let key = self.key;
        let changes = changes(self.attributes, key.key_ops.as_deref(), self.tags, self.release_policy)?;
        let parts = if is_rsa {
            let missing = || Refusal::bad("an imported RSA key needs n, e, d, p, q, dp, dq and qi");
            PrivateParts::Rsa(RsaParts {
                n: key.n.ok_or_else(missing)?,
                e: key.e.ok_or_else(missing)?,
                d: key.d.ok_or_else(missing)?,
                p: key.p.ok_or_else(missing)?,
                q: key.q.ok_or_else(missing)?,
                dp: key.dp.ok_or_else(missing)?,
                dq: key.dq.ok_or_else(missing)?,
                qi: key.qi.ok_or_else(missing)?,
            })
        } else {
            let missing = || Refusal::bad("an imported EC key needs crv, x, y and d");
            PrivateParts::Ec(EcParts {
                crv: Curve::parse(&key.crv.ok_or_else(missing)?)?,
                x: key.x.ok_or_else(missing)?,
                y: key.y.ok_or_else(missing)?,
                d: key.d.ok_or_else(missing)?,
            })
        };
        Ok((parts, changes))
    }
}

impl UpdateIn {
    pub(crate) fn check(self) -> Result<Changes, Refusal> {
        changes(self.attributes, self.key_ops.as_deref(), self.tags, self.release_policy)
    }
}

fn attributes(properties: Properties, version: &Version) -> Value {
    let mut attributes = Map::new();
    attributes.insert("enabled".into(), version.enabled.into());
    for (name, time) in [("nbf", version.nbf), ("exp", version.exp)] {
        if let Some(time) = time {
            attributes.insert(name.into(), time.into());
        }
    }
    attributes.insert("created".into(), version.created.into());
    attributes.insert("updated".into(), version.updated.into());
    attributes.insert("recoveryLevel".into(), properties.recovery_level().into());
    attributes.insert("recoverableDays".into(), properties.recoverable_days().into());
    attributes.insert("exportable".into(), false.into());
    attributes.into()
}

/// A key as `GET` gives it. `base` is `https://` and the host as the client named it.
pub(crate) fn bundle(properties: Properties, base: &str, key: &Key, version: &Version) -> Value {
    let mut jwk = Map::new();
    jwk.insert("kid".into(), format!("{base}/keys/{}/{}", key.name, version.id).into());
    version.public.fill(&mut jwk);
    jwk.insert("key_ops".into(), json!(version.key_ops));
    let mut bundle = json!({"key": jwk, "attributes": attributes(properties, version)});
    if !version.tags.is_empty() {
        bundle["tags"] = json!(version.tags);
    }
    bundle
}

/// The members that a deleted key has beside a key's.
pub(crate) fn deleted_members(base: &str, deleted: &Deleted, into: &mut Value) {
    into["recoveryId"] = format!("{base}/deletedkeys/{}", deleted.key.name).into();
    into["deletedDate"] = deleted.at.into();
    into["scheduledPurgeDate"] = deleted.purge.into();
}

fn item(properties: Properties, kid: &str, version: &Version) -> Value {
    let mut item = json!({"kid": kid, "attributes": attributes(properties, version)});
    if !version.tags.is_empty() {
        item["tags"] = json!(version.tags);
    }
    item
}

/// What a list is asked by.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) max: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) api_version: String,
}

/// One page of `items` (in order of their names), those after the page's token.
fn page(url: &str, page: &Page, items: impl Iterator<Item = (String, Value)>) -> Result<Value, Refusal> {
    let max = match &page.max {
        None => PAGE,
        Some(text) => {
            let fits = text.parse().ok().filter(|max| (1..=PAGE).contains(max));
            fits.ok_or_else(|| Refusal::bad(format!("maxresults must be between 1 and {PAGE}")))?
        }
    };
    let mut items = items.filter(|(name, _)| page.token.as_ref().is_none_or(|token| name > token)).peekable();
    let (mut value, mut last) = (Vec::new(), None);
    while value.len() < max
        && let Some((name, item)) = items.next()
    {
        value.push(item);
        last = Some(name);
    }
    let more = items.peek().is_some().then_some(last).flatten();
    let next = more.map(|last| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("api-version", &page.api_version).append_pair("$skiptoken", &last).append_pair("maxresults", &max.to_string());
        format!("{url}?{}", query.finish())
    });
    Ok(json!({"value": value, "nextLink": next}))
}

pub(crate) fn list(state: &State, base: &str, asked: &Page) -> Result<Value, Refusal> {
    let items = state.keys.iter().map(|(id, key)| {
        let kid = format!("{base}/keys/{}", key.name);
        (id.clone(), item(state.properties, &kid, key.newest()))
    });
    page(&format!("{base}/keys"), asked, items)
}

pub(crate) fn versions(state: &State, base: &str, key: &Key, asked: &Page) -> Result<Value, Refusal> {
    // By age, not by name: the place in the list is what the token holds.
    let items = key.versions.iter().enumerate().map(|(place, version)| {
        let kid = format!("{base}/keys/{}/{}", key.name, version.id);
        (format!("{place:010}"), item(state.properties, &kid, version))
    });
    page(&format!("{base}/keys/{}/versions", key.name), asked, items)
}

pub(crate) fn deleted_list(state: &State, base: &str, asked: &Page) -> Result<Value, Refusal> {
    let items = state.deleted.iter().map(|(id, deleted)| {
        let kid = format!("{base}/keys/{}", deleted.key.name);
        let mut item = item(state.properties, &kid, deleted.key.newest());
        deleted_members(base, deleted, &mut item);
        (id.clone(), item)
    });
    page(&format!("{base}/deletedkeys"), asked, items)
}

/// Whether that is a version of Azure's interface: `7.6`, `7.6-preview.1`, `2025-07-01`, `2025-06-01-preview`.
pub(crate) fn is_api_version(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (version, preview) = text.split_once("-preview").map_or((text, None), |(version, rest)| (version, Some(rest)));
    let preview_fits = preview.is_none_or(|rest| rest.is_empty() || rest.strip_prefix('.').is_some_and(number));
    let dotted = version.split_once('.').is_some_and(|(major, minor)| number(major) && number(minor));
    let dated = {
        let parts: Vec<&str> = version.split('-').collect();
        parts.iter().map(|part| part.len()).eq([4, 2, 2]) && parts.iter().all(|part| number(part))
    };
    text.len() <= 32 && preview_fits && (dotted || dated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_are_azures() {
        for version in ["7.4", "7.6-preview.1", "2025-07-01", "2025-06-01-preview"] {
            assert!(is_api_version(version), "{version}");
        }
        for wrong in ["", "7", "seven", "7.", "2025-7-1", "7.4-beta", "7.4-preview.x", "2025-07-01-08"] {
            assert!(!is_api_version(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_mistake_in_a_body_is_placed_and_not_quoted() {
        let refusal = read::<ImportIn>(br#"{"key":{"kty":"RSA","d":"TOPSECRET!!"}}"#).err().unwrap();
        assert!(refusal.message.contains("line 1") && !refusal.message.contains("SECRET"), "{}", refusal.message);
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let items = || (0..7).map(|n| (format!("k{n}"), json!(n)));
        let mut asked = Page { max: Some("3".into()), token: None, api_version: "7.4".into() };
        let mut seen = Vec::new();
        loop {
            let answer = page("https://v/keys", &asked, items()).unwrap();
            seen.extend(answer["value"].as_array().unwrap().iter().map(|item| item.as_i64().unwrap()));
            let Some(next) = answer["nextLink"].as_str() else { break };
            let url = url::Url::parse(next).unwrap();
            asked.token = url.query_pairs().find(|(name, _)| name == "$skiptoken").map(|(_, value)| value.into_owned());
            assert!(asked.token.is_some());
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
        assert!(page("u", &Page { max: Some("0".into()), ..Page::default() }, items()).is_err());
    }
}
