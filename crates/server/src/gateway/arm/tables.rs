//! `Microsoft.OperationalInsights/workspaces/tables`. Search jobs and restored logs are tables, too, in Azure; here they are refused by
//! name: rows are asked where they are for as long as they are kept.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use strongroom_catalog::{TablePlan, TableRow, WorkspaceRow};
use strongroom_control::collection::{RESERVED_COLUMNS, column_type};
use strongroom_control::{Place, TableAsk, TableView, action};
use strongroom_model::{Column, ColumnType, ErrorKind, TIME_COLUMN, TableName, TimeRange};
use strongroom_query::TableInfo;

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::ingest::ingest_error;
use super::super::query::query_error;
use super::super::{App, control_error};
use super::json::{member, text};
use super::workspaces::{known_workspace, workspace_id};
use super::{ApiVersion, INSIGHTS, Named, accepted, sent, time};

/// How the name of a table ends that is the customer's own.
const CUSTOM: &str = "_CL";
/// The column that only the write path fills.
const OVERFLOW: &str = "_Overflow";

#[derive(Debug, Deserialize)]
pub(super) struct Table {
    subscription: String,
    group: String,
    name: String,
    #[serde(rename = "table")]
    wanted: String,
}

impl Table {
    /// The workspace, and the name that the path says; what is there may be spelled with other letter case.
    async fn workspace(&self, app: &App, who: &Who, action: &str) -> Result<(WorkspaceRow, TableName), ApiError> {
        let place = Place { subscription: self.subscription.clone(), resource_group: self.group.clone(), name: self.name.clone() };
        let row = known_workspace(app, who, &place).await?;
        who.on_table(app, &row, &self.wanted, action).await?;
        let name = self.wanted.parse().map_err(|error| wrong("name", format!("{}: {error}", self.wanted)))?;
        Ok((row, name))
    }

    /// Likewise, and the table of that name.
    async fn table(&self, app: &App, who: &Who, action: &str) -> Result<(WorkspaceRow, TableView), ApiError> {
        let (row, name) = self.workspace(app, who, action).await?;
        let view = app.site.tables.get(row.id, &name).await.map_err(|error| absent(&name, &error))?;
        Ok((row, view))
    }
}

/// The tables that the caller may read.
pub(super) async fn list(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    let row = known_workspace(&app, &who, &named.into()).await?;
    let open = app.site.tables.open_to(&who.0, &row, action::TABLES_READ).await.map_err(|error| control_error(&error))?;
    let views = app.site.tables.views(open).await.map_err(|error| control_error(&error))?;
    let known = columns(&app, &who, &row).await?;
    let value: Vec<Value> = views.iter().map(|view| page(&row, view, known.as_deref())).collect();
    Ok(Json(json!({"value": value})))
}

pub(super) async fn show(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<Table>) -> Result<Json<Value>, ApiError> {
    let (row, view) = at.table(&app, &who, action::TABLES_READ).await?;
    Ok(Json(page(&row, &view, columns(&app, &who, &row).await?.as_deref())))
}

/// Declares a table, or changes the one that is there. Done when it is answered.
pub(super) async fn put(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(at): Path<Table>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let (row, name) = at.workspace(&app, &who, action::TABLES_WRITE).await?;
    let ask = Ask::read(&sent(body).await?, &name)?;
    let there = app.site.tables.called(row.id, &name).await.map_err(|error| control_error(&error))?;
    if there.is_none() && !name.as_str().ends_with(CUSTOM) {
        let text = format!("There is no table {name}. A table that you declare yourself has a name that ends in {CUSTOM}.");
        return Err(ApiError::new(ErrorKind::Invalid, "InvalidTableName", text).target("name"));
    }
    declare(&app, &who, &row, &name, there, &ask).await
}

/// Changes a table that is there.
pub(super) async fn patch(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(at): Path<Table>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let (row, name) = at.workspace(&app, &who, action::TABLES_WRITE).await?;
    let ask = Ask::read(&sent(body).await?, &name)?;
    let view = app.site.tables.get(row.id, &name).await.map_err(|error| absent(&name, &error))?;
    declare(&app, &who, &row, &name, Some(view.row), &ask).await
}

/// `there`: the table that the name means, if there is one.
async fn declare(
    app: &App,
    who: &Who,
    row: &WorkspaceRow,
    name: &TableName,
    there: Option<TableRow>,
    ask: &Ask,
) -> Result<Json<Value>, ApiError> {
    let table = match &there {
        Some(table) if ask.columns.is_empty() => table.id,
        _ => {
            let name = there.as_ref().map_or(name, |table| &table.name);
            app.site.intake.declare(row.id, name, &ask.columns).await.map_err(|error| ingest_error(&error))?
        }
    };
    let view = app.site.tables.set(row, table, ask.page).await.map_err(|error| control_error(&error))?;
    Ok(Json(page(row, &view, columns(app, who, row).await?.as_deref())))
}

/// Takes all rows of a table away, for good, and shows it no more.
pub(super) async fn delete(
    State(app): State<App>,
    who: Who,
    version: ApiVersion,
    Path(at): Path<Table>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (row, name) = at.workspace(&app, &who, action::TABLES_DELETE).await?;
    let view = match app.site.tables.get(row.id, &name).await {
        Ok(view) => view,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => return Err(control_error(&error)),
    };
    let name = &view.row.name;
    if !name.as_str().ends_with(CUSTOM) {
        let text = format!("Table {name} can't be deleted: only one whose name ends in {CUSTOM} can.");
        return Err(ApiError::new(ErrorKind::Invalid, "TableNotDeletable", text));
    }
    let begun = app.site.shredder.begin_table(&who.0, &row, name, TimeRange::ALL).await.map_err(|error| control_error(&error))?;
    app.site.tables.hide(&view).await.map_err(|error| control_error(&error))?;
    let mut body = page(&row, &view, None);
    body["properties"]["provisioningState"] = "Deleting".into();
    Ok(accepted(&app, &version, &headers, &row.subscription, body, Some(&begun)))
}

/// `POST …/migrate`: every table here is what Azure calls migrated.
pub(super) async fn migrate(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<Table>) -> Result<StatusCode, ApiError> {
    at.table(&app, &who, action::TABLES_WRITE).await?;
    Ok(StatusCode::OK)
}

/// `POST …/cancelSearch`: there are no search jobs.
pub(super) async fn cancel_search(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<Table>) -> Result<(), ApiError> {
    at.workspace(&app, &who, action::TABLES_WRITE).await?;
    Err(not_built("SearchJobsNotSupported"))
}

/// The columns of the workspace's tables; `None` while its key is away.
async fn columns(app: &App, who: &Who, row: &WorkspaceRow) -> Result<Option<Vec<TableInfo>>, ApiError> {
    match app.site.engine.tables(row.id, who.0.principal).await {
        Ok(tables) => Ok(Some(tables)),
        Err(error) if matches!(error.kind(), ErrorKind::KeyRevoked | ErrorKind::Unavailable | ErrorKind::Forbidden) => Ok(None),
        Err(error) => Err(query_error(&error)),
    }
}

fn absent(name: &TableName, error: &strongroom_control::ControlError) -> ApiError {
    match error.kind() {
        ErrorKind::NotFound => {
            ApiError::new(ErrorKind::NotFound, "ResourceNotFound", format!("There is no table {name} in this workspace."))
        }
        _ => control_error(error),
    }
}

fn not_built(code: &'static str) -> ApiError {
    let text = "Search jobs and restored logs are not built here: rows can be asked where they are, for as long as they are kept.";
    ApiError::new(ErrorKind::Invalid, code, text)
}

fn wrong(target: &str, text: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "InvalidParameter", text).target(target)
}

#[derive(Debug, Default)]
struct Ask {
    page: TableAsk,
    columns: Vec<Column>,
}

impl Ask {
    fn read(body: &Map<String, Value>, table: &TableName) -> Result<Self, ApiError> {
        let Some(properties) = member(body, "properties")? else { return Ok(Self::default()) };
        let ends = |end: &str| table.as_str().to_ascii_uppercase().ends_with(end);
        let job = |name: &str| properties.get(name).is_some_and(|job| !job.is_null());
        if job("searchResults") || ends("_SRCH") {
            return Err(not_built("SearchJobsNotSupported"));
        }
        if job("restoredLogs") || ends("_RST") {
            return Err(not_built("RestoreNotSupported"));
        }
        let plan = text(properties, "plan")?
            .map(|plan| plan.parse::<TablePlan>().map_err(|()| wrong("plan", "plan is Analytics, Basic or Auxiliary")));
        let page = TableAsk {
            interactive_days: days(properties, "retentionInDays")?,
            total_days: days(properties, "totalRetentionInDays")?,
            plan: plan.transpose()?,
        };
        let columns = match member(properties, "schema")? {
            None => Vec::new(),
            Some(schema) => {
                if let Some(name) = text(schema, "name")?.filter(|name| !name.eq_ignore_ascii_case(table.as_str())) {
                    return Err(wrong("schema.name", format!("schema.name is {name}, the path says {table}")));
                }
                match schema.get("columns") {
                    None | Some(Value::Null) => Vec::new(),
                    Some(Value::Array(columns)) => read_columns(columns)?,
                    Some(_) => return Err(wrong("schema.columns", "columns is a list of {name, type}")),
                }
            }
        };
        Ok(Self { page, columns })
    }
}

/// A number of days; -1: the default.
#[expect(clippy::option_option, reason = "absent, the default and a number are three things")]
fn days(properties: &Map<String, Value>, name: &str) -> Result<Option<Option<u32>>, ApiError> {
    match properties.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) if value.as_i64() == Some(-1) => Ok(Some(None)),
        Some(value) => {
            let days = value.as_u64().and_then(|days| u32::try_from(days).ok());
            days.map(|days| Some(Some(days))).ok_or_else(|| wrong(name, format!("{name} is a number of days, or -1 for the default")))
        }
    }
}

fn read_columns(columns: &[Value]) -> Result<Vec<Column>, ApiError> {
    let mut read: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        let part = |name: &str| column.get(name).and_then(Value::as_str);
        let (Some(name), Some(kind)) = (part("name"), part("type")) else {
            return Err(wrong("schema.columns", "a column has a name and a type"));
        };
        let mut letters = name.chars();
        let fine = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && name.len() <= 128;
        if !fine {
            return Err(wrong("schema.columns", format!("{name} is no name of a column: letters, digits and _, no digit first")));
        }
        let kind = column_type(kind).ok_or_else(|| {
            wrong("schema.columns", format!("{name}: the types are string, int, long, real, boolean, dateTime, guid and dynamic"))
        })?;
        if name == TIME_COLUMN && kind != ColumnType::DateTime {
            return Err(wrong("schema.columns", format!("{TIME_COLUMN} is of type dateTime")));
        }
        if RESERVED_COLUMNS.contains(&name) || name == OVERFLOW {
            return Err(wrong("schema.columns", format!("{name} is a name of the service's own")));
        }
        if read.iter().any(|known| known.name == name) {
            return Err(wrong("schema.columns", format!("{name} is named twice")));
        }
        read.push(Column { name: name.to_owned(), kind });
    }
    Ok(read)
}

/// As clients of this door spell it.
fn word_of(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bool => "boolean",
        ColumnType::DateTime => "dateTime",
        other => other.as_str(),
    }
}

fn page(workspace: &WorkspaceRow, view: &TableView, known: Option<&[TableInfo]>) -> Value {
    let name = view.row.name.as_str();
    let (total, custom) = (view.total_days.unwrap_or(workspace.retention_days), name.ends_with(CUSTOM));
    let interactive = view.interactive_days.unwrap_or(workspace.retention_days).min(total);
    let mut schema = json!({
        "name": name,
        "tableType": if custom { "CustomLog" } else { "Microsoft" },
        "tableSubType": "DataCollectionRuleBased",
        "source": if custom { "customer" } else { "microsoft" },
    });
    if let Some(known) = known {
        let columns = known.iter().find(|table| table.name == name).map(|table| table.columns.as_slice()).unwrap_or_default();
        let shown = |column: &Column| json!({"name": column.name, "type": word_of(column.kind)});
        let (standard, own): (Vec<&Column>, Vec<&Column>) = columns.iter().partition(|column| !custom || column.name == TIME_COLUMN);
        schema["columns"] = own.into_iter().map(shown).collect();
        schema["standardColumns"] = standard.into_iter().map(shown).collect();
    }
    let mut properties = json!({
        "plan": view.row.plan.as_str(),
        "retentionInDays": interactive,
        "totalRetentionInDays": total,
        "archiveRetentionInDays": total - interactive,
        "retentionInDaysAsDefault": view.interactive_days.is_none(),
        "totalRetentionInDaysAsDefault": view.total_days.is_none(),
        "provisioningState": "Succeeded",
        "schema": schema,
    });
    if let Some(ms) = view.page.plan_ms {
        properties["lastPlanModifiedDate"] = time(ms).into();
    }
    json!({
        "id": format!("{}/tables/{name}", workspace_id(workspace)),
        "name": name,
        "type": format!("{INSIGHTS}/workspaces/tables"),
        "properties": properties,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "as it is written down")]
    fn asked(table: &str, properties: Value) -> Result<Ask, &'static str> {
        let body = json!({"properties": properties});
        Ask::read(body.as_object().unwrap(), &table.parse().unwrap()).map_err(|error| error.code())
    }

    #[test]
    fn a_table_is_read_as_az_and_the_sdk_send_it() {
        let ask = asked(
            "My_CL",
            json!({"retentionInDays": 30, "totalRetentionInDays": -1, "plan": "analytics", "schema": {"name": "My_CL", "columns": [
                {"name": "TimeGenerated", "type": "datetime"}, {"name": "RawData", "type": "String"}, {"name": "Ok", "type": "boolean"},
            ]}}),
        )
        .unwrap();
        assert_eq!(ask.page, TableAsk { interactive_days: Some(Some(30)), total_days: Some(None), plan: Some(TablePlan::Analytics) });
        let kinds: Vec<_> = ask.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
        assert_eq!(kinds, [("TimeGenerated", ColumnType::DateTime), ("RawData", ColumnType::String), ("Ok", ColumnType::Bool)]);
        assert_eq!(asked("My_CL", Value::Null).unwrap().page, TableAsk::default());
    }

    #[test]
    fn what_is_not_built_or_no_column_is_refused() {
        for (table, properties, code) in [
            ("Found_SRCH", json!({}), "SearchJobsNotSupported"),
            ("My_CL", json!({"searchResults": {"query": "T"}}), "SearchJobsNotSupported"),
            ("My_RST", json!({"restoredLogs": {"sourceTable": "My_CL"}}), "RestoreNotSupported"),
            ("My_CL", json!({"plan": "Gold"}), "InvalidParameter"),
            ("My_CL", json!({"retentionInDays": "long"}), "InvalidParameter"),
            ("My_CL", json!({"schema": {"name": "Other_CL"}}), "InvalidParameter"),
            ("My_CL", json!({"schema": {"columns": [{"name": "a"}]}}), "InvalidParameter"),
            ("My_CL", json!({"schema": {"columns": [{"name": "a b", "type": "string"}]}}), "InvalidParameter"),
            ("My_CL", json!({"schema": {"columns": [{"name": "a", "type": "text"}]}}), "InvalidParameter"),
            ("My_CL", json!({"schema": {"columns": [{"name": "TimeGenerated", "type": "string"}]}}), "InvalidParameter"),
            ("My_CL", json!({"schema": {"columns": [{"name": "TenantId", "type": "string"}]}}), "InvalidParameter"),
            ("My_CL", json!({"schema": {"columns": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]}}), "InvalidParameter"),
            ("My_CL", json!({"schema": []}), "InvalidRequestBody"),
        ] {
            assert_eq!(asked(table, properties.clone()).unwrap_err(), code, "{table} {properties}");
        }
    }
}
