//! `workspaces/purge`: rows of a table taken away, by time of event alone. What else a row says is not looked at: it would have to be
//! opened, and asked for, as a question is.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use serde_json::{Map, Value, json};
use strongroom_catalog::OperationStatus;
use strongroom_control::{Place, action};
use strongroom_model::{ErrorKind, ObjectId, TIME_COLUMN, TableName, TimeRange};

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::{App, control_error};
use super::json::text;
use super::workspaces::{workspace, workspace_id};
use super::{ApiVersion, Named, external_url, sent};

const STATUS_LOCATION: HeaderName = HeaderName::from_static("x-ms-status-location");

pub(super) async fn begin(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let row = workspace(&app, &who, &named.into(), action::SHRED).await?;
    let body = sent(body).await?;
    let table: TableName = text(&body, "table")?.unwrap_or_default().parse().map_err(|error| wrong("table", format!("table: {error}")))?;
    let range = range(&body)?;
    let operation = app.site.shredder.begin_table(&who.0, &row, &table, range).await.map_err(|error| control_error(&error))?;
    let id = format!("purge-{}", operation.id);
    let mut response = (StatusCode::ACCEPTED, Json(json!({"operationId": id}))).into_response();
    let url = format!("{}{}/operations/{id}?api-version=2025-07-01", external_url(&app, &headers), workspace_id(&row));
    if let Ok(url) = HeaderValue::from_str(&url) {
        response.headers_mut().insert(STATUS_LOCATION, url);
    }
    Ok(response)
}

/// `GET …/operations/purge-{id}`.
pub(super) async fn status(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path((subscription, resource_group, name, id)): Path<(String, String, String, String)>,
) -> Result<Json<Value>, ApiError> {
    let row = workspace(&app, &who, &Place { subscription, resource_group, name }, action::WORKSPACES_READ).await?;
    let absent = || ApiError::new(ErrorKind::NotFound, "ResourceNotFound", "There is no such purge, or it ended too long ago.");
    let id: ObjectId = id.strip_prefix("purge-").and_then(|id| id.parse().ok()).ok_or_else(absent)?;
    let operation = app.site.clusters.operation(id).await.map_err(|error| control_error(&error))?.ok_or_else(absent)?;
    if !operation.resource.to_ascii_lowercase().starts_with(&format!("{}/tables/", workspace_id(&row).to_ascii_lowercase())) {
        return Err(absent());
    }
    let mut told = json!({"status": match operation.status {
        OperationStatus::InProgress => "pending",
        OperationStatus::Succeeded => "completed",
        OperationStatus::Failed => "failed",
    }});
    if let Some(error) = &operation.error {
        told["error"] = json!({"code": error.code, "message": error.message});
    }
    Ok(Json(told))
}

/// The time that all filters leave together.
fn range(body: &Map<String, Value>) -> Result<TimeRange, ApiError> {
    let filters = match body.get("filters") {
        Some(Value::Array(filters)) if !filters.is_empty() => filters,
        _ => return Err(wrong("filters", "filters is a list of {column, operator, value}; to take a whole table away, delete it")),
    };
    let mut range = TimeRange::ALL;
    for filter in filters {
        let part = |name: &str| filter.get(name).and_then(Value::as_str).unwrap_or_default();
        if !part("column").eq_ignore_ascii_case(TIME_COLUMN) {
            let text = format!("rows are purged by {TIME_COLUMN} alone: a filter on another column would have to open them");
            return Err(ApiError::new(ErrorKind::Invalid, "PurgeFilterNotSupported", text).target("filters"));
        }
        let at = DateTime::parse_from_rfc3339(part("value")).ok().and_then(|at| at.timestamp_nanos_opt());
        let at = at.ok_or_else(|| wrong("filters", "the value is an instant like 2026-03-01T12:00:00Z"))?;
        match part("operator") {
            ">" => range.start = range.start.max(at.saturating_add(1)),
            ">=" => range.start = range.start.max(at),
            "<" => range.end = range.end.min(at.saturating_sub(1)),
            "<=" => range.end = range.end.min(at),
            "==" | "=" => (range.start, range.end) = (range.start.max(at), range.end.min(at)),
            _ => {
                let text = "the operators are <, <=, >, >= and ==";
                return Err(ApiError::new(ErrorKind::Invalid, "PurgeFilterNotSupported", text).target("filters"));
            }
        }
    }
    if range.start > range.end {
        return Err(wrong("filters", "the filters leave no time"));
    }
    Ok(range)
}

fn wrong(target: &str, text: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "InvalidParameter", text).target(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "as it is written down")]
    fn check(filters: Value) -> Result<(i64, i64), &'static str> {
        let body = json!({"filters": filters});
        range(body.as_object().unwrap()).map(|range| (range.start, range.end)).map_err(|error| error.code())
    }

    #[test]
    fn filters_by_time_are_a_range_and_others_are_refused_by_name() {
        let march = 1_772_323_200_000_000_000;
        let by = |operator: &str, value: &str| json!({"column": "timegenerated", "operator": operator, "value": value});
        let (from, to) = ("2026-03-01T00:00:00Z", "2026-03-01T01:00:00+01:00");
        assert_eq!(check(json!([by(">=", from)])), Ok((march, i64::MAX)));
        assert_eq!(check(json!([by(">", from)])), Ok((march + 1, i64::MAX)));
        assert_eq!(check(json!([by("<", to)])), Ok((i64::MIN, march - 1)));
        assert_eq!(check(json!([by("<=", to), by(">=", from)])), Ok((march, march)));
        assert_eq!(check(json!([by("==", from)])), Ok((march, march)));
        assert_eq!(check(json!([by("<", from), by(">", from)])), Err("InvalidParameter"));
        assert_eq!(check(json!([])), Err("InvalidParameter"));
        assert_eq!(check(json!([by(">", "yesterday")])), Err("InvalidParameter"));
        assert_eq!(check(json!([by("in", from)])), Err("PurgeFilterNotSupported"));
        assert_eq!(check(json!([{"column": "Level", "operator": "==", "value": "x"}])), Err("PurgeFilterNotSupported"));
    }
}
