//! Lists in pages, as Azure's clients follow them: `nextLink` is an absolute address with the place of the last resource seen
//! as an opaque token. What comes or goes between two pages neither doubles nor hides any other.

use axum::http::{HeaderMap, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_model::{ErrorKind, ObjectId};

use super::super::App;
use super::super::error::ApiError;
use super::super::external_url;

const TOKEN: &str = "$skiptoken";

/// Which page is asked for.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Page {
    #[serde(default, rename = "$skiptoken", alias = "$skipToken")]
    after: Option<String>,
}

impl Page {
    /// Of rows in the order of their ids, those of this page, and the token of the next one if there is any.
    ///
    /// # Errors
    /// 400 if the token is none of ours.
    pub(super) fn cut<T>(&self, rows: Vec<T>, size: usize, id: impl Fn(&T) -> ObjectId) -> Result<(Vec<T>, Option<String>), ApiError> {
        self.cut_by(rows, size, |row| id(row).as_bytes().to_vec(), |bytes| bytes.len() == ObjectId::NIL.as_bytes().len())
    }

    /// Likewise, of rows in the order of these keys.
    ///
    /// # Errors
    /// 400 if the token is no such key.
    pub(super) fn cut_by<T>(
        &self,
        mut rows: Vec<T>,
        size: usize,
        key: impl Fn(&T) -> Vec<u8>,
        is_key: impl Fn(&[u8]) -> bool,
    ) -> Result<(Vec<T>, Option<String>), ApiError> {
        if let Some(token) = &self.after {
            let after = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| is_key(bytes)).ok_or_else(|| {
                ApiError::new(
                    ErrorKind::Invalid,
                    "InvalidParameter",
                    "The $skiptoken is not one that this server gave: follow nextLink as it is.",
                )
            })?;
            rows.retain(|row| key(row) > after);
        }
        let size = size.max(1);
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(key(last)));
        Ok((rows, next))
    }
}

/// The body of one page of a list that was asked for at `uri`.
pub(super) fn body(app: &App, headers: &HeaderMap, uri: &Uri, value: Vec<Value>, next: Option<String>) -> Value {
    let mut body = json!({});
    body["value"] = value.into();
    if let Some(token) = next {
        let is_token = |pair: &&str| {
            let name = pair.split('=').next().unwrap_or_default();
            name.eq_ignore_ascii_case(TOKEN) || name.eq_ignore_ascii_case("%24skiptoken")
        };
        let kept: Vec<&str> = uri.query().unwrap_or_default().split('&').filter(|pair| !is_token(pair)).collect();
        body["nextLink"] = format!("{}{}?{}&{TOKEN}={token}", external_url(app, headers), uri.path(), kept.join("&")).into();
    }
    body
}
