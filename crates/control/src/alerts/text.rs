//! What a rule says, as it is sealed: along with the etag of the row that it was written with. A text runs as whoever wrote it and as
//! nobody else; so it is never taken for that of another writing.
//!
//! The text is sealed before the row is written. Until that is done the text before goes along in `before`: whatever stops in between,
//! the row that counts finds its own.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strongroom_model::ObjectId;
use zeroize::Zeroizing;

/// One writing.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    etag: ObjectId,
    properties: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Box<Written>>,
}

/// The text of one writing; `before`: what it takes the place of, as long as that may still count.
pub(super) fn encode(
    etag: ObjectId,
    properties: &Map<String, Value>,
    before: Option<(ObjectId, Map<String, Value>)>,
) -> Zeroizing<Vec<u8>> {
    let before = before.map(|(etag, properties)| Box::new(Written { etag, properties, before: None }));
    Zeroizing::new(serde_json::to_vec(&Written { etag, properties: properties.clone(), before }).unwrap_or_default())
}

/// The properties that were written along with the row of that etag; `Ok(None)`: they are of another writing.
///
/// # Errors
/// It is no text of a rule.
pub(super) fn decode(plain: &[u8], etag: ObjectId) -> Result<Option<Map<String, Value>>, serde_json::Error> {
    let Ok(written) = serde_json::from_slice::<Written>(plain) else {
        // As it was kept first, without an etag. No rule has a property of those names.
        let properties: Map<String, Value> = serde_json::from_slice(plain)?;
        return Ok((!properties.contains_key("properties")).then_some(properties));
    };
    if written.etag == etag {
        return Ok(Some(written.properties));
    }
    Ok(written.before.filter(|before| before.etag == etag).map(|before| before.properties))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const V0: &[u8] = include_bytes!("../../testdata/alert-text-v0.json");
    const V1: &[u8] = include_bytes!("../../testdata/alert-text-v1.json");

    fn properties(severity: u8) -> Map<String, Value> {
        json!({"severity": severity, "enabled": true}).as_object().unwrap().clone()
    }

    #[test]
    fn every_layout_that_was_ever_written_reads_and_a_text_is_one_writings() {
        let [now, before, other] = [1, 2, 3].map(|byte| ObjectId::from_bytes([byte; 16]));
        let told = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        assert_eq!(told(&encode(now, &properties(1), Some((before, properties(2))))), told(V1));
        assert_eq!(decode(V1, now).unwrap(), Some(properties(1)));
        assert_eq!(decode(V1, before).unwrap(), Some(properties(2)));
        assert_eq!(decode(V1, other).unwrap(), None);
        assert_eq!(decode(V0, other).unwrap(), Some(properties(1)), "before texts were bound");
        assert!(decode(b"[]", now).is_err());
    }
}
