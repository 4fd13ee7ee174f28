//! `Microsoft.Insights/workbooks`: sealed under the provider's key, or, asked for by `storageUri`, in the storage account that the
//! workspace of `sourceId` has linked for its queries.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use strongroom_catalog::{DocumentKind, DocumentRow};
use strongroom_control::documents::DocumentAsk;
use strongroom_control::{ControlError, Place, ScopePath, action};
use strongroom_model::{ErrorKind, ObjectId, WorkspaceId};

use super::super::auth::{Who, absent};
use super::super::error::ApiError;
use super::super::{App, control_error};
use super::{ApiVersion, InGroup, MONITOR, Named, sent, time};

const KIND: DocumentKind = DocumentKind::Workbook;
/// Members that the server alone writes.
const OWN: [&str; 4] = ["timeModified", "revision", "userId", "strongroom"];

/// The routes.
pub(super) fn routes() -> Router<App> {
    let group = format!("/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{MONITOR}/workbooks");
    Router::new()
        .route(&format!("/subscriptions/{{subscription}}/providers/{MONITOR}/workbooks"), get(list))
        .route(&group, get(list))
        .route(&format!("{group}/{{name}}"), get(show).put(put).patch(patch).delete(delete))
}

type Shown = Result<Json<Value>, ApiError>;

/// What clients ask for besides.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    #[serde(rename = "canFetchContent")]
    content: Option<String>,
    category: Option<String>,
    #[serde(rename = "sourceId")]
    source: Option<String>,
}

fn path(row: &DocumentRow) -> String {
    let (subscription, group, name) = (&row.subscription, &row.resource_group, &row.name);
    format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{MONITOR}/workbooks/{name}")
}

fn told(error: ControlError, who: &Who) -> ApiError {
    match error {
        ControlError::NotFound { .. } => absent(&who.1),
        other => control_error(&other),
    }
}

/// The workbook there; one in a customer's storage, if this caller may see workbooks of that workspace.
async fn found(app: &App, who: &Who, place: &Place, action: &str) -> Result<DocumentRow, ApiError> {
    who.allow(app, action)?;
    let row = app.site.documents.get(KIND, ObjectId::NIL, place).await.map_err(|error| told(error, who))?;
    if let Some(workspace) = row.workspace {
        app.site.workspaces.resolve(&who.0, &workspace.to_string(), action).await.map_err(|error| told(error, who))?;
    }
    Ok(row)
}

async fn list(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InGroup>, Query(wanted): Query<Wanted>) -> Shown {
    who.list(action::WORKBOOKS_READ)?;
    Ok(Json(json!({"value": shown(&app, &who, &at, &wanted).await?})))
}

/// Those of a place that the caller may read.
pub(super) async fn shown(app: &App, who: &Who, at: &InGroup, wanted: &Wanted) -> Result<Vec<Value>, ApiError> {
    let whole = wanted.content.as_deref().is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let same = |asked: &Option<String>, found: Option<&Value>| {
        asked.as_ref().is_none_or(|asked| found.and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(asked)))
    };
    let mut value = Vec::new();
    for row in app.site.documents.list(KIND, ObjectId::NIL).await.map_err(|error| control_error(&error))? {
        if !at.holds(&row.subscription, &row.resource_group) || !who.0.may(action::WORKBOOKS_READ, &ScopePath::of(&path(&row))) {
            continue;
        }
        if let Some(workspace) = row.workspace {
            match app.site.workspaces.resolve(&who.0, &workspace.to_string(), action::WORKBOOKS_READ).await {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Forbidden) => continue,
                Err(error) => return Err(control_error(&error)),
            }
        }
        // One whose key is away, or whose text is gone, is there all the same; what it says is not told.
        let mut properties = match app.site.documents.open(&row).await {
            Ok(properties) => properties,
            Err(error) if matches!(error.kind(), ErrorKind::KeyRevoked | ErrorKind::Unavailable | ErrorKind::NotFound) => Map::new(),
            Err(error) => return Err(control_error(&error)),
        };
        if !same(&wanted.category, properties.get("category")) || !same(&wanted.source, properties.get("sourceId")) {
            continue;
        }
        if !whole {
            properties.remove("serializedData");
        }
        value.push(page(&row, properties));
    }
    Ok(value)
}

async fn show(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Shown {
    let row = found(&app, &who, &named.into(), action::WORKBOOKS_READ).await?;
    let properties = app.site.documents.open(&row).await.map_err(|error| control_error(&error))?;
    Ok(Json(page(&row, properties)))
}

async fn put(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(named): Path<Named>,
    Query(wanted): Query<Wanted>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    who.allow(&app, action::WORKBOOKS_WRITE)?;
    let body = sent(body).await?;
    let region = super::json::text(&body, "location")?.unwrap_or_default().to_owned();
    if region.is_empty() || region.len() > 64 {
        return Err(wrong("location", "the region is needed"));
    }
    let mut properties = super::json::member(&body, "properties")?.cloned().unwrap_or_default();
    if let Some(source) = wanted.source {
        properties.entry("sourceId").or_insert(source.into());
    }
    let tags = super::json::tags(&body)?.cloned().unwrap_or_default();
    write(&app, &who, &named.into(), region, tags, properties).await
}

async fn patch(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>, body: Body) -> Shown {
    let place = Place::from(named);
    let row = found(&app, &who, &place, action::WORKBOOKS_WRITE).await?;
    let body = sent(body).await?;
    let mut now = app.site.documents.open(&row).await.map_err(|error| control_error(&error))?;
    now.extend(super::json::member(&body, "properties")?.cloned().unwrap_or_default());
    let tags = match super::json::tags(&body)? {
        Some(tags) => tags.clone(),
        None => serde_json::from_str(&row.tags).unwrap_or_default(),
    };
    write(&app, &who, &place, row.region.clone(), tags, now).await.map(|(_, shown)| shown)
}

fn wrong(target: &str, why: &str) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "BadRequest", format!("{target}: {why}")).target(target)
}

async fn write(
    app: &App,
    who: &Who,
    place: &Place,
    region: String,
    tags: Map<String, Value>,
    mut properties: Map<String, Value>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    properties.retain(|name, value| !value.is_null() && !OWN.contains(&name.as_str()));
    for name in ["displayName", "serializedData", "category"] {
        if properties.get(name).is_none_or(|value| value.as_str().is_none_or(str::is_empty)) {
            return Err(wrong(&format!("properties.{name}"), "a text is needed"));
        }
    }
    // Whoever may not change the one that is there is told so first.
    match app.site.documents.get(KIND, ObjectId::NIL, place).await {
        Ok(_) => drop(found(app, who, place, action::WORKBOOKS_WRITE).await?),
        Err(ControlError::NotFound { .. }) => {}
        Err(error) => return Err(control_error(&error)),
    }
    let workspace = stored_in(app, who, &properties).await?;
    let ask = DocumentAsk { kind: KIND, parent: ObjectId::NIL, region, tags, properties: properties.clone(), workspace };
    let (row, new) = app.site.documents.put(place, ask).await.map_err(|error| told(error, who))?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(page(&row, properties))))
}

/// The workspace whose linked storage a workbook is asked into. Takes leave to write both.
async fn stored_in(app: &App, who: &Who, properties: &Map<String, Value>) -> Result<Option<WorkspaceId>, ApiError> {
    let Some(uri) = properties.get("storageUri") else { return Ok(None) };
    let uri = uri.as_str().ok_or_else(|| wrong("properties.storageUri", "a text is expected"))?;
    // What follows the account (a container) is the account's own business.
    let account = uri.to_ascii_lowercase().find("/blobservices").map_or(uri, |at| &uri[..at]);
    let source = properties.get("sourceId").and_then(Value::as_str).and_then(Place::read_workspace_path);
    let source = source
        .ok_or_else(|| wrong("properties.sourceId", "with storageUri, the resource id of the workspace that has linked it is needed"))?;
    let absent = || wrong("properties.sourceId", "there is no such workspace, or you may not see it");
    let row = match app.site.workspaces.at(&who.0, &source, action::WORKBOOKS_WRITE).await {
        Ok(row) => row,
        Err(ControlError::NotFound { .. }) => return Err(absent()),
        Err(error) => return Err(control_error(&error)),
    };
    who.on(action::STORAGE_WRITE, &ScopePath::of(account))?;
    let links = app.site.storages.links(&row).await.map_err(|error| control_error(&error))?;
    let linked = links.iter().any(|link| {
        link.source == strongroom_control::contents::DataSource::Query
            && Place::of_storage(&link.storage).storage_path().trim_matches('/').eq_ignore_ascii_case(account.trim_matches('/'))
    });
    if !linked {
        return Err(wrong("properties.storageUri", "this account is not linked for Query to the workspace of sourceId"));
    }
    Ok(Some(row.id))
}

async fn delete(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<StatusCode, ApiError> {
    match found(&app, &who, &named.into(), action::WORKBOOKS_DELETE).await {
        Ok(row) => app.site.documents.delete(&row).await.map(drop).map_err(|error| control_error(&error))?,
        // Gone is gone, and what is another's looks it.
        Err(error) if error.code() == "ResourceNotFound" && who.0.may(action::WORKBOOKS_DELETE, &who.1) => {}
        Err(error) => return Err(error),
    }
    // The one status that every version of the clients takes.
    Ok(StatusCode::NO_CONTENT)
}

fn page(row: &DocumentRow, mut properties: Map<String, Value>) -> Value {
    let key = if row.workspace.is_some() { "the key of the linked storage account" } else { "the provider's key (MMK)" };
    properties.insert("timeModified".to_owned(), time(row.changed_ms).into());
    properties.insert("revision".to_owned(), row.cell_id.to_string().into());
    properties.insert("strongroom".to_owned(), json!({"sealedUnder": key}));
    json!({
        "id": path(row),
        "name": row.name,
        "type": format!("{MONITOR}/workbooks"),
        "kind": "shared",
        "location": row.region,
        "tags": serde_json::from_str::<Value>(&row.tags).unwrap_or_default(),
        "etag": row.cell_id.to_string(),
        "properties": properties,
        "systemData": {"createdAt": time(row.created_ms), "lastModifiedAt": time(row.changed_ms)},
    })
}
