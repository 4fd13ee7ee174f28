//! `api-version`: which shapes a client knows.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use strongroom_model::ErrorKind;

use super::super::App;
use super::super::error::ApiError;

/// The first that shows all there is to say of a cluster.
pub(super) const WHOLE_CLUSTERS: &str = "2020-10-01";
/// The first whose clients take a 202 wherever a change takes its time.
pub(super) const ACCEPTED: &str = "2022-10-01";

/// The version of the protocol that a client speaks: a date, which may be a preview's.
#[derive(Clone, Debug)]
pub(in super::super) struct ApiVersion(String);

impl ApiVersion {
    /// Of a client that knows all there is to say.
    pub(super) fn newest() -> Self {
        Self("2025-07-01".to_owned())
    }

    /// Whether it is of that day or later.
    pub(super) fn since(&self, date: &str) -> bool {
        self.0.get(..10).is_some_and(|own| own >= date)
    }
}

impl FromRequestParts<App> for ApiVersion {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let mut all = query.split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.eq_ignore_ascii_case("api-version").then_some(value)
        });
        let given = all.next();
        if all.next().is_some() {
            return Err(ApiError::new(
                ErrorKind::Invalid,
                "InvalidApiVersionParameter",
                "The api-version query parameter is given more than once: which version is meant?",
            ));
        }
        match given {
            None | Some("") => Err(ApiError::new(
                ErrorKind::Invalid,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )),
            Some(version) if is_version(version) => Ok(Self(version.to_owned())),
            Some(_) => Err(ApiError::new(
                ErrorKind::Invalid,
                "InvalidApiVersionParameter",
                "The api-version query parameter is a date, as in 2025-07-01 or 2021-12-01-preview.",
            )),
        }
    }
}

/// `2025-07-01`, `2021-12-01-preview`.
fn is_version(text: &str) -> bool {
    let date = text.strip_suffix("-preview").unwrap_or(text);
    date.len() == 10 && date.bytes().enumerate().all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_date_and_may_be_a_preview() {
        for good in ["2025-07-01", "2020-08-01", "2021-12-01-preview"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["2025-7-1", "latest", "2025-07-01-beta", "20250701", "2025-07-01-preview-preview", "2025/07/01"] {
            assert!(!is_version(bad), "{bad}");
        }
        let version = ApiVersion("2022-10-01-preview".to_owned());
        assert!(version.since(ACCEPTED) && version.since("2020-08-01") && !version.since("2022-10-02"));
    }
}
