//! `Microsoft.OperationalInsights/workspaces/savedSearches`: KQL that people keep, sealed under the workspace's key. One with a function
//! alias is the stored function of that name.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use strongroom_catalog::WorkspaceRow;
use strongroom_control::{Place, action};
use strongroom_model::ErrorKind;
use strongroom_query::{LANGUAGE_VERSION, SavedAs, SavedSearch, SearchTag};

use super::super::App;
use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::query::query_error;
use super::json::{member, text};
use super::workspaces::{workspace, workspace_id};
use super::{ApiVersion, INSIGHTS, Named, sent};

#[derive(Debug, Deserialize)]
pub(super) struct Search {
    subscription: String,
    group: String,
    name: String,
    #[serde(rename = "search")]
    id: String,
}

impl Search {
    async fn workspace(&self, app: &App, who: &Who, action: &str) -> Result<WorkspaceRow, ApiError> {
        let place = Place { subscription: self.subscription.clone(), resource_group: self.group.clone(), name: self.name.clone() };
        workspace(app, who, &place, action).await
    }
}

pub(super) async fn list(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    let row = workspace(&app, &who, &named.into(), action::FUNCTIONS_READ).await?;
    let found = app.site.engine.searches(row.id, who.0.principal).await.map_err(|error| query_error(&error))?;
    Ok(Json(json!({"value": found.iter().map(|search| page(&row, search)).collect::<Vec<_>>()})))
}

pub(super) async fn show(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<Search>) -> Result<Json<Value>, ApiError> {
    let row = at.workspace(&app, &who, action::FUNCTIONS_READ).await?;
    let found = app.site.engine.searches(row.id, who.0.principal).await.map_err(|error| query_error(&error))?;
    let found = found.iter().find(|search| search.saved.id.eq_ignore_ascii_case(&at.id));
    let found =
        found.ok_or_else(|| ApiError::new(ErrorKind::NotFound, "ResourceNotFound", "There is no such saved search in this workspace."))?;
    Ok(Json(page(&row, found)))
}

pub(super) async fn put(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(at): Path<Search>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let row = at.workspace(&app, &who, action::FUNCTIONS_WRITE).await?;
    let body = sent(body).await?;
    let search = read(&at.id, &body)?;
    let stored = app.site.engine.search_put(row.id, who.0.principal, search, text(&body, "etag")?).await;
    let (stored, _) = stored.map_err(|error| query_error(&error))?;
    Ok(Json(page(&row, &stored)))
}

pub(super) async fn delete(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<Search>) -> Result<StatusCode, ApiError> {
    let row = at.workspace(&app, &who, action::FUNCTIONS_DELETE).await?;
    // Gone is gone: clients take nothing but 200.
    app.site.engine.search_delete(row.id, who.0.principal, &at.id).await.map_err(|error| query_error(&error))?;
    Ok(StatusCode::OK)
}

fn read(id: &str, body: &Map<String, Value>) -> Result<SavedSearch, ApiError> {
    let wrong = |what: &str| ApiError::new(ErrorKind::Invalid, "InvalidParameter", what).target("properties");
    let properties = member(body, "properties")?.ok_or_else(|| wrong("properties are needed: category, displayName, query"))?;
    let part = |name: &str| Ok::<_, ApiError>(text(properties, name)?.unwrap_or_default().to_owned());
    let tags = match properties.get("tags") {
        None | Some(Value::Null) => Vec::new(),
        Some(tags) => serde_json::from_value::<Vec<SearchTag>>(tags.clone()).map_err(|_| wrong("tags is a list of {name, value}"))?,
    };
    let version = match properties.get("version") {
        None | Some(Value::Null) => LANGUAGE_VERSION,
        Some(version) => version.as_i64().ok_or_else(|| wrong("version is a number"))?,
    };
    Ok(SavedSearch {
        saved: SavedAs {
            id: id.to_owned(),
            category: part("category")?,
            display_name: part("displayName")?,
            version,
            tags,
            etag: String::new(),
        },
        query: part("query")?,
        alias: part("functionAlias")?,
        parameters: part("functionParameters")?,
        changed_ms: 0,
    })
}

fn page(workspace: &WorkspaceRow, search: &SavedSearch) -> Value {
    let SavedAs { id, category, display_name, version, tags, etag } = &search.saved;
    let mut properties = json!({"category": category, "displayName": display_name, "query": search.query, "version": version});
    if !tags.is_empty() {
        properties["tags"] = json!(tags);
    }
    if !search.alias.is_empty() {
        properties["functionAlias"] = search.alias.as_str().into();
        if !search.parameters.is_empty() {
            properties["functionParameters"] = search.parameters.as_str().into();
        }
    }
    json!({
        "id": format!("{}/savedSearches/{id}", workspace_id(workspace)),
        "name": id,
        "type": format!("{INSIGHTS}/workspaces/savedSearches"),
        "etag": etag,
        "properties": properties,
    })
}
