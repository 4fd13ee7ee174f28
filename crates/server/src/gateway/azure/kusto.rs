//! Kusto's protocol, as `azure-kusto-data` speaks it: `/v1/rest/query`, `/v2/rest/query`, the `.show` commands that clients ask before
//! their first question, and where to log in. A database is a workspace, by its name or id.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use strongroom_control::ControlError;
use strongroom_model::{Column, ColumnType, ErrorKind, WorkspaceId};
use strongroom_query::output::{self, Rows, net_name};
use strongroom_query::{Egress, TableInfo};

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::query::{Asked, Asking, Preferences, Question, ask, failed, query_error, request_id};
use super::super::{App, SMALL_BODY, body, control_error, egress};
use crate::timespan;

/// Bytes of rows of one answer (Kusto's limit is of that order).
const BYTES_MAX: usize = 64_000_000;

/// What is asked, and of which database.
#[derive(Debug, Deserialize)]
pub(super) struct Call {
    #[serde(default)]
    db: Option<String>,
    csl: String,
    /// JSON, as a text or as it is.
    #[serde(default)]
    properties: Option<Value>,
}

/// An error in Kusto's envelope.
pub(super) struct KustoError(ApiError);

impl From<ApiError> for KustoError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for KustoError {
    fn into_response(self) -> Response {
        let (status, told) = self.0.status_and_body();
        let (kind, told) = (self.0.kind(), &told["error"]);
        // The innermost says what is wrong and where.
        let mut deepest = told;
        while deepest["innererror"].is_object() {
            deepest = &deepest["innererror"];
        }
        let (code, name) = match (kind, deepest["code"].as_str()) {
            (ErrorKind::Invalid, Some(inner)) if told["innererror"].is_object() => {
                let kind = told["innererror"]["code"].as_str().unwrap_or("SemanticError");
                let code = if kind == "SyntaxError" { "BadRequest_SyntaxError" } else { "BadRequest_SemanticError" };
                (code.to_owned(), format!("Kusto.Data.Exceptions.{kind}Exception ({inner})"))
            }
            (ErrorKind::NotFound, _) => {
                ("BadRequest_EntityNotFound".to_owned(), "Kusto.Data.Exceptions.EntityNotFoundException".to_owned())
            }
            _ => (self.0.code().to_owned(), format!("Strongroom.{}", self.0.code())),
        };
        // A database that is not there is a bad request in Kusto; its clients take a 404 for a wrong address.
        let status = if status == StatusCode::NOT_FOUND { StatusCode::BAD_REQUEST } else { status };
        let permanent = !kind.is_transient();
        let mut error = json!({
            "code": code,
            "message": told["message"],
            "@type": name,
            "@message": deepest["message"],
            "@context": {},
            "@permanent": permanent,
        });
        if told["innererror"].is_object() {
            error["innererror"] = deepest.clone();
        }
        let mut response = (status, Json(json!({"error": error}))).into_response();
        if !permanent && kind != ErrorKind::TimedOut {
            super::ingestion::retry_after(&mut response, Some(2));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

type Outcome = Result<Response, KustoError>;

pub(super) async fn query_v1(State(app): State<App>, who: Result<Who, ApiError>, headers: HeaderMap, body: Body) -> Outcome {
    let who = who?;
    let (rows, egress) = answered(&app, &who, &headers, body).await?;
    let mut out = Vec::with_capacity(rows.rows.len() + 1_024);
    out.extend_from_slice(b"{\"Tables\":[{\"TableName\":\"Table_0\",\"Columns\":");
    out.extend_from_slice(Value::from(rows.columns.iter().map(v1_column).collect::<Vec<_>>()).to_string().as_bytes());
    out.extend_from_slice(b",\"Rows\":");
    match &rows.cut {
        None => out.extend_from_slice(&rows.rows),
        // Behind the rows, as Kusto tells of errors there.
        Some(cut) => {
            out.extend_from_slice(rows.rows.strip_suffix(b"]").unwrap_or(&rows.rows));
            let separator: &[u8] = if rows.rows == b"[]" { b"" } else { b"," };
            out.extend_from_slice(separator);
            out.extend_from_slice(json!({"Exceptions": [cut.message]}).to_string().as_bytes());
            out.push(b']');
        }
    }
    out.extend_from_slice(b"}]}");
    Ok(guarded(egress, out))
}

pub(super) async fn query_v2(State(app): State<App>, who: Result<Who, ApiError>, headers: HeaderMap, body: Body) -> Outcome {
    let who = who?;
    let (rows, egress) = answered(&app, &who, &headers, body).await?;
    let mut out = Vec::with_capacity(rows.rows.len() + 2_048);
    let header = json!({"FrameType": "DataSetHeader", "IsProgressive": false, "Version": "v2.0"});
    let visualization = rows.render.as_ref().map_or_else(|| json!({"Visualization": null}), visualization);
    let properties = json!({
        "FrameType": "DataTable", "TableId": 0, "TableKind": "QueryProperties", "TableName": "@ExtendedProperties",
        "Columns": [v2("TableId", "int"), v2("Key", "string"), v2("Value", "dynamic")],
        "Rows": [[1, "Visualization", visualization.to_string()]],
    });
    out.push(b'[');
    out.extend_from_slice(header.to_string().as_bytes());
    out.push(b',');
    out.extend_from_slice(properties.to_string().as_bytes());
    out.extend_from_slice(
        b",{\"FrameType\":\"DataTable\",\"TableId\":1,\"TableKind\":\"PrimaryResult\",\"TableName\":\"PrimaryResult\",\"Columns\":",
    );
    let columns: Vec<Value> = rows.columns.iter().map(|column| v2(&column.name, column.kind.as_str())).collect();
    out.extend_from_slice(Value::from(columns).to_string().as_bytes());
    out.extend_from_slice(b",\"Rows\":");
    out.extend_from_slice(&rows.rows);
    out.extend_from_slice(b"},");
    let completion = json!({
        "FrameType": "DataTable", "TableId": 2, "TableKind": "QueryCompletionInformation", "TableName": "QueryCompletionInformation",
        "Columns": [v2("Timestamp", "datetime"), v2("ClientRequestId", "string"), v2("Level", "int"), v2("LevelName", "string"),
                    v2("StatusCode", "int"), v2("StatusCodeName", "string"), v2("EventType", "int"), v2("EventTypeName", "string"),
                    v2("Payload", "string")],
        "Rows": [[
            output::format_datetime(app.site.world.clock.wall().0),
            request_id(&headers).map(String::from_utf8_lossy),
            4, "Info", 0, "S_OK (0)", 5, "QueryResourceConsumption", rows.stats.to_json()["query"].to_string(),
        ]],
    });
    out.extend_from_slice(completion.to_string().as_bytes());
    let mut end = json!({"FrameType": "DataSetCompletion", "HasErrors": rows.cut.is_some(), "Cancelled": false});
    if let Some(cut) = &rows.cut {
        end["OneApiErrors"] = json!([{"error": {
            "code": "LimitsExceeded",
            "message": "Request is invalid and cannot be executed.",
            "@type": "Kusto.Data.Exceptions.KustoServicePartialQueryFailureLimitsExceededException",
            "@message": cut.message,
            "@context": {},
            "@permanent": true,
        }}]);
    }
    out.push(b',');
    out.extend_from_slice(end.to_string().as_bytes());
    out.push(b']');
    Ok(guarded(egress, out))
}

fn visualization(render: &strongroom_query::Render) -> Value {
    let mut shown = Map::new();
    shown.insert("Visualization".to_owned(), render.visualization.clone().into());
    for (name, value) in &render.properties {
        let mut name = name.clone();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        shown.insert(name, value.clone());
    }
    shown.into()
}

/// The rows of a question's answer.
async fn answered(app: &App, who: &Who, headers: &HeaderMap, body: Body) -> Result<(Rows, Egress), KustoError> {
    let call = call(body).await?;
    if call.csl.trim_start().starts_with('.') {
        let text = "a control command goes to /v1/rest/mgmt";
        return Err(ApiError::new(ErrorKind::Invalid, "BadRequest_CommandInQuery", text).into());
    }
    let workspace = database(app, who, call.db.as_deref()).await?;
    let (parameters, prefer) = options(call.properties.as_ref())?;
    let request = request_id(headers);
    let question = Question::kql(call.csl, parameters);
    let asking = Asking { workspace, question, url_timespan: None, prefer: &prefer, request, bytes_max: None };
    let Asked { answer, late, .. } = ask(app, who, asking).await?;
    let egress = answer.egress.clone();
    let rows = output::rows(answer, true, BYTES_MAX).await.map_err(|error| failed(app, late, &error))?;
    Ok((rows, egress))
}

async fn call(body: Body) -> Result<Call, KustoError> {
    let bytes = body::read(body, SMALL_BODY).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let text = format!("the body is not {{\"db\": \"…\", \"csl\": \"…\"}}: see line {} column {}", error.line(), error.column());
        ApiError::new(ErrorKind::Invalid, "BadRequest", text).into()
    })
}

async fn database(app: &App, who: &Who, name: Option<&str>) -> Result<WorkspaceId, ApiError> {
    let name = name.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("NetDefaultDB")).unwrap_or("default");
    super::super::query::workspace_named(app, &who.0, name).await.map_err(|error| match error {
        ControlError::NotFound { .. } => {
            ApiError::new(ErrorKind::NotFound, "EntityNotFound", format!("Entity ID '{name}' of kind 'Database' was not found."))
        }
        other => control_error(&other),
    })
}

/// What a call's properties say: values of declared parameters, and how long the question may take.
fn options(properties: Option<&Value>) -> Result<(Map<String, Value>, Preferences), ApiError> {
    let wrong = || ApiError::new(ErrorKind::Invalid, "BadRequest", "properties is a JSON object, or one as a text");
    let read;
    let properties = match properties {
        None | Some(Value::Null) => return Ok((Map::new(), Preferences::default())),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok((Map::new(), Preferences::default())),
        Some(Value::String(text)) => {
            read = serde_json::from_str::<Value>(text).map_err(|_| wrong())?;
            &read
        }
        Some(other) => other,
    };
    if !properties.is_object() {
        return Err(wrong());
    }
    let parameters = properties["Parameters"].as_object().cloned().unwrap_or_default();
    let mut prefer = Preferences::default();
    if let Some(text) = properties["Options"]["servertimeout"].as_str() {
        prefer.wait = timespan::clock(text);
    }
    Ok((parameters, prefer))
}

/// `POST /v1/rest/mgmt`: what there is to ask about.
pub(super) async fn manage(State(app): State<App>, who: Result<Who, ApiError>, body: Body) -> Outcome {
    let who = who?;
    let call = call(body).await?;
    let words: Vec<&str> = call.csl.split(|c: char| c.is_whitespace() || c == ';').filter(|word| !word.is_empty()).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let table = match lower.as_slice() {
        [".show", "version"] => one_table(
            &[
                ("BuildVersion", ColumnType::String),
                ("BuildTime", ColumnType::DateTime),
                ("ServiceType", ColumnType::String),
                ("ProductVersion", ColumnType::String),
            ],
            &[json!([env!("CARGO_PKG_VERSION"), null, "Engine", concat!("Strongroom ", env!("CARGO_PKG_VERSION"))])],
        ),
        [".show", "databases"] => databases(&app, &who).await?,
        [".show", "tables"] | [".show", "tables", "details"] => {
            let (name, tables) = tables(&app, &who, call.db.as_deref()).await?;
            let rows: Vec<Value> = tables.iter().map(|table| json!([table.name, name, "", ""])).collect();
            one_table(
                &[
                    ("TableName", ColumnType::String),
                    ("DatabaseName", ColumnType::String),
                    ("Folder", ColumnType::String),
                    ("DocString", ColumnType::String),
                ],
                &rows,
            )
        }
        [".show", "table", _, "cslschema"] | [".show", "table", _, "schema", "as", "csl"] => {
            let (name, table) = table(&app, &who, call.db.as_deref(), words[2]).await?;
            let spelled: Vec<String> =
                table.columns.iter().map(|column| format!("{}:{}", quoted(&column.name), column.kind.as_str())).collect();
            one_table(&SCHEMA, &[json!([table.name, spelled.join(","), name, "", ""])])
        }
        [".show", "table", _, "schema", "as", "json"] | [".show", "table", _, "schema"] => {
            let (name, table) = table(&app, &who, call.db.as_deref(), words[2]).await?;
            let columns: Vec<Value> = table
                .columns
                .iter()
                .map(|column| json!({"Name": column.name, "Type": net_name(column.kind), "CslType": column.kind.as_str()}))
                .collect();
            one_table(&SCHEMA, &[json!([table.name, json!({"Name": table.name, "OrderedColumns": columns}).to_string(), name, "", ""])])
        }
        [".show", "database", "schema"] | [".show", "database", _, "schema"] => {
            let asked = if lower.len() == 4 { Some(bare(words[2])) } else { call.db.clone() };
            database_schema(&app, &who, asked.as_deref()).await?
        }
        _ => {
            let text = "the commands here are .show version, .show databases, .show tables, .show table T cslschema, .show table T schema as json and .show database schema";
            return Err(ApiError::new(ErrorKind::Invalid, "BadRequest_UnknownCommand", text).into());
        }
    };
    Ok(Json(table).into_response())
}

const SCHEMA: [(&str, ColumnType); 5] = [
    ("TableName", ColumnType::String),
    ("Schema", ColumnType::String),
    ("DatabaseName", ColumnType::String),
    ("Folder", ColumnType::String),
    ("DocString", ColumnType::String),
];

async fn databases(app: &App, who: &Who) -> Result<Value, ApiError> {
    let rows = app.site.workspaces.list(&who.0).await.map_err(|error| control_error(&error))?;
    let rows: Vec<Value> = rows.iter().map(|row| json!([row.name, "", "v1.0", false, "ReadOnly", row.name, null, row.id])).collect();
    Ok(one_table(
        &[
            ("DatabaseName", ColumnType::String),
            ("PersistentStorage", ColumnType::String),
            ("Version", ColumnType::String),
            ("IsCurrent", ColumnType::Bool),
            ("DatabaseAccessMode", ColumnType::String),
            ("PrettyName", ColumnType::String),
            ("ReservedSlot1", ColumnType::Bool),
            ("DatabaseId", ColumnType::Guid),
        ],
        &rows,
    ))
}

async fn database_schema(app: &App, who: &Who, name: Option<&str>) -> Result<Value, ApiError> {
    let (name, tables) = tables(app, who, name).await?;
    let mut rows = Vec::new();
    for table in &tables {
        rows.push(json!([name, table.name, "", "", false, false, name, "v1.0", "", ""]));
        let column = |column: &Column| json!([name, table.name, column.name, net_name(column.kind), false, false, "", "", "", ""]);
        rows.extend(table.columns.iter().map(column));
    }
    Ok(one_table(
        &[
            ("DatabaseName", ColumnType::String),
            ("TableName", ColumnType::String),
            ("ColumnName", ColumnType::String),
            ("ColumnType", ColumnType::String),
            ("IsDefaultTable", ColumnType::Bool),
            ("IsDefaultColumn", ColumnType::Bool),
            ("PrettyName", ColumnType::String),
            ("Version", ColumnType::String),
            ("Folder", ColumnType::String),
            ("DocString", ColumnType::String),
        ],
        &rows,
    ))
}

/// A workspace's name and its tables, as far as the caller may see them.
async fn tables(app: &App, who: &Who, name: Option<&str>) -> Result<(String, Vec<TableInfo>), ApiError> {
    let workspace = database(app, who, name).await?;
    let row = app.site.catalog.workspace(workspace).await.map_err(|error| control_error(&error.into()))?;
    let name = row.map_or_else(|| workspace.to_string(), |row| row.name.to_string());
    let tables = app.site.engine.tables(workspace, who.0.principal).await.map_err(|error| query_error(&error))?;
    Ok((name, tables))
}

async fn table(app: &App, who: &Who, database: Option<&str>, wanted: &str) -> Result<(String, TableInfo), ApiError> {
    let wanted = bare(wanted);
    let (name, tables) = tables(app, who, database).await?;
    let found = tables.into_iter().find(|table| table.name == wanted);
    let found = found.ok_or_else(|| {
        ApiError::new(ErrorKind::NotFound, "EntityNotFound", format!("Entity ID '{wanted}' of kind 'Table' was not found."))
    })?;
    Ok((name, found))
}

/// A name without what may quote it: `['a b']`, `["a b"]`.
fn bare(name: &str) -> String {
    let inner = name.strip_prefix("['").and_then(|rest| rest.strip_suffix("']"));
    inner.or_else(|| name.strip_prefix("[\"").and_then(|rest| rest.strip_suffix("\"]"))).unwrap_or(name).to_owned()
}

/// A column's name as KQL spells it.
fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain { name.to_owned() } else { format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'")) }
}

fn one_table(columns: &[(&str, ColumnType)], rows: &[Value]) -> Value {
    let columns: Vec<Value> = columns.iter().map(|(name, kind)| v1_column(&Column { name: (*name).to_owned(), kind: *kind })).collect();
    json!({"Tables": [{"TableName": "Table_0", "Columns": columns, "Rows": rows}]})
}

fn v1_column(column: &Column) -> Value {
    // The type's name alone, as Kusto's first version tells it.
    let kind = net_name(column.kind).rsplit('.').next();
    json!({"ColumnName": column.name, "DataType": kind, "ColumnType": column.kind.as_str()})
}

fn v2(name: &str, kind: &str) -> Value {
    json!({"ColumnName": name, "ColumnType": kind})
}

/// `GET /v1/rest/auth/metadata`: where to log in. Nothing of it is secret.
pub(super) async fn authentication(State(app): State<App>, headers: HeaderMap) -> Json<Value> {
    let own = super::super::external_url(&app, &headers);
    Json(json!({"AzureAD": {
        "LoginEndpoint": own,
        "LoginMfaRequired": false,
        "KustoClientAppId": "db662dc1-0cfe-4e1c-a843-19a68e65be58",
        "KustoClientRedirectUri": "http://localhost",
        "KustoServiceResourceId": own,
        "FirstPartyAuthorityUrl": own,
    }}))
}

fn guarded(egress: Egress, whole: Vec<u8>) -> Response {
    let length = whole.len();
    let mut response = egress::guarded_by_all(vec![egress], whole.into()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn properties_are_json_or_json_in_a_text() {
        let text = r#"{"Options":{"servertimeout":"0:04:00"},"Parameters":{"x":"1"}}"#;
        for given in [json!(text), serde_json::from_str(text).unwrap()] {
            let (parameters, prefer) = options(Some(&given)).unwrap();
            assert_eq!((parameters["x"].as_str(), prefer.wait), (Some("1"), Some(Duration::from_mins(4))));
        }
        assert!(options(None).unwrap().0.is_empty() && options(Some(&json!(""))).unwrap().1.wait.is_none());
        assert!(options(Some(&json!("{"))).is_err() && options(Some(&json!([]))).is_err());
    }

    #[test]
    fn the_first_version_tells_types_by_their_names_alone() {
        let told = |kind| v1_column(&Column { name: "c".to_owned(), kind })["DataType"].clone();
        let kinds = [ColumnType::Decimal, ColumnType::Bool, ColumnType::Dynamic, ColumnType::DateTime];
        assert_eq!(kinds.map(told), ["SqlDecimal", "SByte", "Object", "DateTime"].map(Value::from));
    }

    #[test]
    fn names_are_quoted_where_kql_needs_it() {
        assert_eq!([quoted("a_1"), quoted("a b"), quoted("1a"), quoted("it's")], ["a_1", "['a b']", "['1a']", "['it\\'s']"]);
        assert_eq!([bare("T"), bare("['a-b']"), bare("[\"a\"]")], ["T", "a-b", "a"]);
    }
}
