//! The end of data: workspaces deleted and brought back, rows of tables taken away. The rules are `strongroom_control::Shredder`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use chrono::{DateTime, NaiveDate, NaiveTime};
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_catalog::DeletedRow;
use strongroom_control::action;
use strongroom_model::{ErrorKind, TableName, TimeRange};

use super::auth::Who;
use super::error::ApiError;
use super::resources::{body, workspace_json};
use super::{App, control_error};

/// How a workspace is deleted.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Deletion {
    #[serde(default)]
    force: bool,
}

/// Which rows are to go, and that this is meant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shredding {
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    confirm: String,
}

fn deleted_json(row: &DeletedRow) -> Value {
    let mut page = workspace_json(&row.workspace);
    page["deletedMs"] = row.deleted_ms.into();
    page["shredMs"] = row.shred_ms.into();
    page
}

pub(crate) async fn delete(
    State(app): State<App>,
    who: Who,
    Path(workspace): Path<String>,
    Query(how): Query<Deletion>,
) -> Result<Json<Value>, ApiError> {
    let row = app.site.workspaces.resolve(&who.0, &workspace, action::WORKSPACES_DELETE).await.map_err(|error| control_error(&error))?;
    let (gone, shredded) = app.site.shredder.delete(&who.0, row, how.force).await.map_err(|error| control_error(&error))?;
    let mut page = deleted_json(&gone);
    page["shredded"] = shredded.into();
    page["notice"] = match (how.force, shredded) {
        (false, _) => "The workspace can be brought back for 14 days; then its secrets are destroyed and its objects go.",
        (true, true) => "The workspace is gone for good: its secrets are destroyed, its objects go with the next sweep.",
        (true, false) => "The workspace can't be brought back. Its secrets are destroyed as soon as the log holds no row of it.",
    }
    .into();
    Ok(Json(page))
}

pub(crate) async fn deleted(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    let rows = app.site.shredder.deleted(&who.0).await.map_err(|error| control_error(&error))?;
    Ok(Json(json!({"value": rows.iter().map(deleted_json).collect::<Vec<_>>()})))
}

pub(crate) async fn recover(State(app): State<App>, who: Who, Path(workspace): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = app.site.shredder.recover(&who.0, &workspace).await.map_err(|error| control_error(&error))?;
    Ok(Json(workspace_json(&row)))
}

pub(crate) async fn rows(
    State(app): State<App>,
    who: Who,
    Path((workspace, table)): Path<(String, TableName)>,
    request: Result<Json<Shredding>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let row = who.table(&app, &workspace, table.as_str(), action::SHRED).await?;
    let called = app.site.tables.called(row.id, &table).await.map_err(|error| control_error(&error))?;
    let table = called.map_or(table, |row| row.name);
    let asked = body(request)?;
    if asked.confirm != table.as_str() {
        let text = format!("to take rows of {table} away for good, confirm it by the table's name: {{\"confirm\": \"{table}\"}}");
        return Err(ApiError::new(ErrorKind::Invalid, "ConfirmationRequired", text).target("confirm"));
    }
    let range = range(asked.from.as_deref(), asked.to.as_deref())?;
    let gone = app.site.shredder.table(&who.0, &row, &table, range).await.map_err(|error| control_error(&error))?;
    let mut page = serde_json::to_value(gone).unwrap_or_default();
    page["notice"] = "A table or a day has no key of its own: its rows are deleted, or rewritten without. Old objects are unlinked, not \
                      overwritten; copies of them open for who has the account's keys until the workspace is shredded."
        .into();
    Ok(Json(page))
}

/// From one instant on, up to and without another; without both, everything.
fn range(from: Option<&str>, to: Option<&str>) -> Result<TimeRange, ApiError> {
    let bound = |text: Option<&str>, name: &'static str| {
        text.map(|text| {
            instant(text).ok_or_else(|| {
                let why = format!("{text} is not a date like 2026-03-01 or an instant like 2026-03-01T12:00:00Z");
                ApiError::new(ErrorKind::Invalid, "InvalidParameter", why).target(name)
            })
        })
        .transpose()
    };
    let (start, end) = (bound(from, "from")?.unwrap_or(i64::MIN), bound(to, "to")?.map_or(i64::MAX, |to| to.saturating_sub(1)));
    if start > end {
        return Err(ApiError::new(ErrorKind::Invalid, "InvalidParameter", "to is not after from").target("to"));
    }
    Ok(TimeRange { start, end })
}

/// Nanoseconds since 1970 of a date (its first moment, UTC) or an instant.
fn instant(text: &str) -> Option<i64> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return date.and_time(NaiveTime::MIN).and_utc().timestamp_nanos_opt();
    }
    DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_from_an_instant_up_to_another() {
        let day = 86_400_000_000_000;
        let march = 1_772_323_200_000_000_000;
        assert_eq!(range(Some("2026-03-01"), Some("2026-03-02")).unwrap(), TimeRange { start: march, end: march + day - 1 });
        assert_eq!(range(Some("2026-03-01T01:00:00+01:00"), None).unwrap(), TimeRange { start: march, end: i64::MAX });
        assert_eq!(range(None, None).unwrap(), TimeRange::ALL);
        for (from, to) in [("2026-03-01", "2026-03-01"), ("2026-03-02", "2026-03-01"), ("yesterday", "2026-03-01")] {
            assert_eq!(range(Some(from), Some(to)).unwrap_err().code(), "InvalidParameter", "{from} {to}");
        }
    }
}
