//! Bodies: JSON objects, and where one is none.

use axum::body::Body;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use strongroom_control::Refusal;

use super::super::error::ApiError;
use super::super::{SMALL_BODY, body};
use super::refused;

/// The JSON object that is sent, read at last: whoever may not ask for this was told so before.
///
/// # Errors
/// As [`object`]; 413, or 400 if it comes too slowly.
pub(super) async fn sent(body: Body) -> Result<Map<String, Value>, ApiError> {
    object(&whole(body).await?)
}

/// What is sent, whatever it is.
pub(super) async fn whole(body: Body) -> Result<Bytes, ApiError> {
    body::read(body, SMALL_BODY).await
}

/// The JSON object that a body is.
///
/// # Errors
/// ER2, with line, column and byte of the first mistake.
pub(super) fn object(body: &Bytes) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(refused(Refusal::Body).detail(json!({"code": "BadFormat", "message": "the body is JSON, but no object"}))),
        Err(error) => Err(misplaced(body, &error)),
    }
}

/// The member that is an object; null is as good as absent.
pub(super) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, ApiError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(member)) => Ok(Some(member)),
        Some(_) => Err(wrong(name, "an object")),
    }
}

/// As in Azure: tags of a resource, and characters of their names and of their values.
const TAGS_MAX: usize = 50;
const TAG_NAME_MAX: usize = 512;
const TAG_VALUE_MAX: usize = 256;

/// The tags: names and texts; null is as good as absent.
pub(super) fn tags(object: &Map<String, Value>) -> Result<Option<&Map<String, Value>>, ApiError> {
    match member(object, "tags")? {
        Some(tags) if !tags.values().all(Value::is_string) => Err(wrong("tags", "an object of texts")),
        Some(tags) if tags.len() > TAGS_MAX => Err(wrong("tags", "50 tags at most")),
        Some(tags)
            if tags.iter().any(|(name, value)| {
                let long = value.as_str().is_some_and(|value| value.chars().count() > TAG_VALUE_MAX);
                name.is_empty() || name.chars().count() > TAG_NAME_MAX || long
            }) =>
        {
            Err(wrong("tags", "names of 1 to 512 characters and values of at most 256"))
        }
        tags => Ok(tags),
    }
}

/// The member that is a text; null is as good as absent.
pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, ApiError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(name, "a text")),
    }
}

fn wrong(name: &str, what: &str) -> ApiError {
    refused(Refusal::Body).detail(json!({"code": "BadFormat", "message": format!("{name} is {what}")}))
}

fn misplaced(body: &[u8], error: &serde_json::Error) -> ApiError {
    if body.is_empty() {
        return refused(Refusal::Body).detail(json!({"code": "BadFormat", "message": "the body is empty"}));
    }
    let starts = std::iter::once(0).chain(body.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1));
    let start = starts.take(error.line().max(1)).last().unwrap_or(0);
    let at = (start + error.column().saturating_sub(1)).min(body.len());
    let line = String::from_utf8_lossy(&body[start..at]);
    let column = line.chars().count() + 1;
    let found = std::str::from_utf8(&body[at..]).ok().and_then(|rest| rest.chars().next());
    let told = match found {
        _ if error.is_eof() => "the body ends there, before its last brace".to_owned(),
        Some('\u{a0}') => "byte 0xC2 there begins U+00A0, a no-break space: type a plain space instead".to_owned(),
        Some(letter) if letter.is_ascii_graphic() => format!("byte 0x{:02X} there is `{letter}`", u32::from(letter)),
        Some(letter) => format!("byte 0x{:02X} there begins U+{:04X}", body[at], u32::from(letter)),
        None => body.get(at).map_or_else(String::new, |byte| format!("byte 0x{byte:02X} there is no UTF-8")),
    };
    // What the reader says of itself closes with its own count of the place.
    let why = error.to_string();
    let why = why.rsplit_once(" at line").map_or(why.as_str(), |(why, _)| why);
    let line = error.line();
    refused(Refusal::Body)
        .detail(json!({"code": "BadFormat", "message": format!("line {line}, column {column}, byte {at}: {why}; {told}")}))
        .inner(json!({"line": line, "column": column, "byte": at, "found": found.map(|letter| format!("U+{:04X}", u32::from(letter)))}))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use http_body_util::BodyExt as _;

    use super::*;

    async fn said(body: &str) -> Value {
        let error = object(&Bytes::copy_from_slice(body.as_bytes())).unwrap_err();
        assert_eq!(error.code(), "InvalidRequestBody", "{body}");
        let bytes = error.into_response().into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&bytes).unwrap()["error"].take()
    }

    async fn place(body: &str) -> (Value, String) {
        let mut error = said(body).await;
        assert_eq!(error["message"], "The body of the request is null or in bad format.");
        (error["innererror"].take(), error["details"][0]["message"].as_str().unwrap().to_owned())
    }

    #[test]
    fn tags_are_as_many_and_as_long_as_in_azure() {
        let of = |tags: Vec<(String, String)>| {
            let map: Map<String, Value> = tags.into_iter().map(|(name, value)| (name, value.into())).collect();
            super::tags(json!({"tags": map}).as_object().unwrap()).is_ok()
        };
        let many = |count: usize| (0..count).map(|n| (format!("t{n}"), String::new())).collect();
        assert_eq!((of(many(50)), of(many(51))), (true, false));
        let one = |name: usize, value: usize| of(vec![("ä".repeat(name), "ä".repeat(value))]);
        assert_eq!((one(512, 256), one(513, 1), one(1, 257), one(0, 1)), (true, false, false, false));
    }

    #[tokio::test]
    async fn a_body_that_is_none_says_where_er2() {
        let (at, told) = place("{\n  \"a\": 1\n  \"b\": 2\n}").await;
        assert_eq!(at, json!({"line": 3, "column": 3, "byte": 13, "found": "U+0022"}));
        assert_eq!(told, "line 3, column 3, byte 13: expected `,` or `}`; byte 0x22 there is `\"`");
        let (at, told) = place("{\n\u{a0} \"a\": 1\n}").await;
        assert_eq!(at, json!({"line": 2, "column": 1, "byte": 2, "found": "U+00A0"}));
        assert!(told.contains("byte 0xC2 there begins U+00A0, a no-break space"), "{told}");
        // After letters of more than one byte, columns are letters and bytes are bytes.
        let (at, _) = place("{\"ä\": 1 x}").await;
        assert_eq!(at, json!({"line": 1, "column": 9, "byte": 9, "found": "U+0078"}));
        let (at, told) = place("{\"a\": {\"b\": 1}\n").await;
        assert_eq!(at["line"], 2);
        assert!(told.contains("the body ends there"), "{told}");
        for (body, why) in [("", "is empty"), ("null", "no object"), ("[]", "no object"), ("5", "no object")] {
            let error = said(body).await;
            assert!(error["details"][0]["message"].as_str().unwrap().contains(why), "{error}");
        }
        let torn = object(&Bytes::from_static(b"{\"a\": \"\xff\"}")).unwrap_err();
        assert_eq!(torn.code(), "InvalidRequestBody");
    }
}
