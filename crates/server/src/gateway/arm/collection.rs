//! `Microsoft.Insights/dataCollectionEndpoints` and `dataCollectionRules`: where rows may be sent, and how they find their tables.
//!
//! A right is asked for where the rule lies, and once more at the workspace that its rows go to: writing a rule changes what comes
//! there, and seeing one tells of its columns. Its texts are bound before it is kept: a mistake is told with its place.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use strongroom_catalog::{CollectionEndpointRow, CollectionRuleRow};
use strongroom_control::collection::{CollectionAsk, CollectionError, Misread, RESERVED_COLUMNS, RuleBody, RuleFlow, is_column_name};
use strongroom_control::{ControlError, Place, ScopePath, action};
use strongroom_model::{Column, ErrorKind, WorkspaceId};

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::query::query_error;
use super::super::{App, control_error};
use super::{ApiVersion, InGroup, MONITOR, Named, external_url, sent, time};
use crate::gateway::azure::immutable_id;

const ENDPOINTS: &str = "dataCollectionEndpoints";
const RULES: &str = "dataCollectionRules";

/// The routes.
pub(super) fn routes() -> Router<App> {
    let group = |rest: &str| format!("/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{MONITOR}/{rest}");
    let all = |rest: &str| format!("/subscriptions/{{subscription}}/providers/{MONITOR}/{rest}");
    let one = |kind: &str| format!("{}/{{name}}", group(kind));
    Router::new()
        .route(&all(ENDPOINTS), get(list_endpoints))
        .route(&group(ENDPOINTS), get(list_endpoints))
        .route(&one(ENDPOINTS), get(show_endpoint).put(put_endpoint).patch(patch_endpoint).delete(delete_endpoint))
        .route(&all(RULES), get(list_rules))
        .route(&group(RULES), get(list_rules))
        .route(&one(RULES), get(show_rule).put(put_rule).patch(patch_rule).delete(delete_rule))
}

type Shown = Result<Json<Value>, ApiError>;

async fn list_endpoints(State(app): State<App>, who: Who, _: ApiVersion, headers: HeaderMap, Path(at): Path<InGroup>) -> Shown {
    who.list(action::COLLECTION_READ)?;
    Ok(Json(json!({"value": shown_endpoints(&app, &who, &headers, &at).await?})))
}

/// Those of a place that the caller may read.
pub(super) async fn shown_endpoints(app: &App, who: &Who, headers: &HeaderMap, at: &InGroup) -> Result<Vec<Value>, ApiError> {
    let mut rows = app.site.collection.endpoints(&at.subscription, at.group.as_deref()).await.map_err(|error| control_error(&error))?;
    rows.retain(|row| who.0.may(action::COLLECTION_READ, &place_of(ENDPOINTS, &row.subscription, &row.resource_group, &row.name)));
    Ok(rows.iter().map(|row| endpoint_json(app, headers, row)).collect())
}

async fn show_endpoint(State(app): State<App>, who: Who, _: ApiVersion, headers: HeaderMap, Path(named): Path<Named>) -> Shown {
    who.allow(&app, action::COLLECTION_READ)?;
    let place = Place::from(named);
    let row = app.site.collection.endpoint(&place).await.map_err(|error| absent(error, ENDPOINTS, &place))?;
    Ok(Json(endpoint_json(&app, &headers, &row)))
}

async fn put_endpoint(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    headers: HeaderMap,
    Path(named): Path<Named>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    who.allow(&app, action::COLLECTION_WRITE)?;
    let (ask, properties) = asked(&sent(body).await?)?;
    let (row, new) = app.site.collection.put_endpoint(&named.into(), ask, &properties).await.map_err(|error| wrong(&error))?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(endpoint_json(&app, &headers, &row))))
}

async fn patch_endpoint(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    headers: HeaderMap,
    Path(named): Path<Named>,
    body: Body,
) -> Shown {
    who.allow(&app, action::COLLECTION_WRITE)?;
    let place = Place::from(named);
    let row = app.site.collection.endpoint(&place).await.map_err(|error| absent(error, ENDPOINTS, &place))?;
    let tags = tags(&sent(body).await?)?.unwrap_or_else(|| read(&row.tags));
    let ask = CollectionAsk { region: row.region.clone(), kind: row.kind.clone(), tags };
    let put = app.site.collection.put_endpoint(&place, ask, &read(&row.properties)).await;
    let (row, _) = put.map_err(|error| wrong(&error))?;
    Ok(Json(endpoint_json(&app, &headers, &row)))
}

async fn delete_endpoint(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::COLLECTION_DELETE)?;
    let there = app.site.collection.delete_endpoint(&named.into()).await.map_err(|error| control_error(&error))?;
    Ok(if there { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

async fn list_rules(State(app): State<App>, who: Who, _: ApiVersion, headers: HeaderMap, Path(at): Path<InGroup>) -> Shown {
    who.list(action::COLLECTION_READ)?;
    Ok(Json(json!({"value": shown_rules(&app, &who, &headers, &at).await?})))
}

/// Those of a place that the caller may read.
pub(super) async fn shown_rules(app: &App, who: &Who, headers: &HeaderMap, at: &InGroup) -> Result<Vec<Value>, ApiError> {
    let mut value = Vec::new();
    for row in app.site.collection.rules(&at.subscription, at.group.as_deref()).await.map_err(|error| control_error(&error))? {
        if !who.0.may(action::COLLECTION_READ, &rule_place(&row)) {
            continue;
        }
        match seen(app, who, &row, action::COLLECTION_READ).await {
            Ok(()) => {}
            // One rule that this caller may not see hides no other.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Forbidden) => continue,
            Err(error) => return Err(control_error(&error)),
        }
        // One whose key is away, or that is damaged, is there all the same and can be deleted; what it says is not told.
        let body = match app.site.collection.open(&row).await {
            Ok(body) => Some(body),
            Err(error) if matches!(error.kind(), ErrorKind::KeyRevoked | ErrorKind::Unavailable | ErrorKind::Corrupt) => None,
            Err(error) => return Err(control_error(&error)),
        };
        value.push(rule_json(app, headers, &row, body.as_ref()));
    }
    Ok(value)
}

async fn show_rule(State(app): State<App>, who: Who, _: ApiVersion, headers: HeaderMap, Path(named): Path<Named>) -> Shown {
    let row = rule(&app, &who, &named.into(), action::COLLECTION_READ).await?;
    let body = app.site.collection.open(&row).await.map_err(|error| control_error(&error))?;
    Ok(Json(rule_json(&app, &headers, &row, Some(&body))))
}

async fn put_rule(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    headers: HeaderMap,
    Path(named): Path<Named>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    who.allow(&app, action::COLLECTION_WRITE)?;
    let place = Place::from(named);
    // Whoever may not change the rule that is there is told so before anything of the new one is looked at.
    match app.site.collection.rule(&place).await {
        Ok(row) => seen(&app, &who, &row, action::COLLECTION_WRITE).await.map_err(|error| absent(error, RULES, &place))?,
        // Whether it may make one, its workspace says, too.
        Err(ControlError::NotFound { .. }) => {}
        Err(error) => return Err(control_error(&error)),
    }
    let (ask, properties) = asked(&sent(body).await?)?;
    let rule = RuleBody::read(properties).map_err(|error| misread(&error))?;
    let workspace = workspace_of(&app, &who, &rule).await?;
    for (index, flow) in rule.flows.iter().enumerate() {
        check_flow(&app, workspace, &rule.declared, flow)
            .await
            .map_err(|error| error.target(format!("properties.dataFlows[{index}].transformKql")))?;
    }
    let (row, new) = app.site.collection.put_rule(&place, ask, &rule, workspace).await.map_err(|error| wrong(&error))?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(rule_json(&app, &headers, &row, Some(&rule)))))
}

async fn patch_rule(State(app): State<App>, who: Who, _: ApiVersion, headers: HeaderMap, Path(named): Path<Named>, body: Body) -> Shown {
    let place = Place::from(named);
    let row = rule(&app, &who, &place, action::COLLECTION_WRITE).await?;
    let rule = app.site.collection.open(&row).await.map_err(|error| control_error(&error))?;
    let row = match tags(&sent(body).await?)? {
        Some(tags) => app.site.collection.tag_rule(row, tags).await.map_err(|error| control_error(&error))?,
        None => row,
    };
    Ok(Json(rule_json(&app, &headers, &row, Some(&rule))))
}

async fn delete_rule(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::COLLECTION_DELETE)?;
    let place = Place::from(named);
    let row = match app.site.collection.rule(&place).await {
        Ok(row) => row,
        Err(ControlError::NotFound { .. }) => return Ok(StatusCode::NO_CONTENT),
        Err(error) => return Err(control_error(&error)),
    };
    match seen(&app, &who, &row, action::COLLECTION_DELETE).await {
        Ok(()) => {}
        // As if it were not there.
        Err(ControlError::NotFound { .. }) => return Ok(StatusCode::NO_CONTENT),
        Err(error) => return Err(control_error(&error)),
    }
    let there = app.site.collection.delete_rule(&row).await.map_err(|error| control_error(&error))?;
    Ok(if there { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

/// The rule there, if this caller may do that with it, and with rules of its workspace.
async fn rule(app: &App, who: &Who, place: &Place, action: &str) -> Result<CollectionRuleRow, ApiError> {
    who.allow(app, action)?;
    let row = app.site.collection.rule(place).await.map_err(|error| absent(error, RULES, place))?;
    seen(app, who, &row, action).await.map_err(|error| absent(error, RULES, place))?;
    Ok(row)
}

fn place_of(kind: &str, subscription: &str, group: &str, name: &str) -> ScopePath {
    ScopePath::of(&format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{MONITOR}/{kind}/{name}"))
}

/// Where a rule lies.
pub(in crate::gateway) fn rule_place(row: &CollectionRuleRow) -> ScopePath {
    place_of(RULES, &row.subscription, &row.resource_group, &row.name)
}

async fn seen(app: &App, who: &Who, row: &CollectionRuleRow, action: &str) -> Result<(), ControlError> {
    app.site.workspaces.resolve(&who.0, &row.workspace.to_string(), action).await.map(drop)
}

/// The workspace that a rule's rows go to, if this caller may change what goes there.
async fn workspace_of(app: &App, who: &Who, rule: &RuleBody) -> Result<WorkspaceId, ApiError> {
    let absent = || {
        let text = format!("there is no workspace {}, or you may not see it", rule.workspace);
        ApiError::new(ErrorKind::Invalid, "InvalidPayload", text).target("properties.destinations.logAnalytics")
    };
    let place = Place::read_workspace_path(&rule.workspace).ok_or_else(absent)?;
    match app.site.workspaces.at(&who.0, &place, action::COLLECTION_WRITE).await {
        Ok(row) => Ok(row.id),
        Err(ControlError::NotFound { .. }) => Err(absent()),
        Err(error) => Err(control_error(&error)),
    }
}

/// Binds a flow's text over each of its streams: what it makes are columns that a table may have.
async fn check_flow(app: &App, workspace: WorkspaceId, declared: &BTreeMap<String, Vec<Column>>, flow: &RuleFlow) -> Result<(), ApiError> {
    let text = flow.text.as_deref().unwrap_or("source");
    for columns in flow.streams.iter().filter_map(|stream| declared.get(stream)) {
        let made = app.site.engine.shape_columns(workspace, columns, text).await.map_err(|error| match error.innererror() {
            Some(inner) => {
                let told = ApiError::new(error.kind(), "InvalidTransformQuery", error.message()).inner(inner);
                error.details().into_iter().fold(told, ApiError::detail)
            }
            None => query_error(&error),
        })?;
        for column in &made {
            if RESERVED_COLUMNS.iter().any(|reserved| reserved.eq_ignore_ascii_case(&column.name)) {
                let why = format!("the column {} is reserved: {} are", column.name, RESERVED_COLUMNS.join(", "));
                return Err(ApiError::new(ErrorKind::Invalid, "InvalidTransformOutput", why));
            }
            if !is_column_name(&column.name) {
                let why =
                    format!("{:?} is no name of a column: at most 45 letters, digits and underscores, the first no digit", column.name);
                return Err(ApiError::new(ErrorKind::Invalid, "InvalidTransformOutput", why));
            }
        }
    }
    Ok(())
}

/// What a body says of itself, and its properties.
fn asked(body: &Map<String, Value>) -> Result<(CollectionAsk, Map<String, Value>), ApiError> {
    let text = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(ApiError::new(ErrorKind::Invalid, "InvalidPayload", format!("{name} is a text")).target(name)),
    };
    let properties = match body.get("properties") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(properties)) => properties.clone(),
        Some(_) => return Err(ApiError::new(ErrorKind::Invalid, "InvalidPayload", "properties is an object").target("properties")),
    };
    // What the server says of a resource comes back from clients that read, change and write.
    let properties = properties.into_iter().filter(|(name, _)| !OWN.contains(&name.as_str())).collect();
    let ask = CollectionAsk { region: text("location")?.unwrap_or_default(), kind: text("kind")?, tags: tags(body)?.unwrap_or_default() };
    Ok((ask, properties))
}

/// Members that the server owns.
const OWN: [&str; 7] =
    ["immutableId", "provisioningState", "endpoints", "logsIngestion", "metricsIngestion", "configurationAccess", "metadata"];

fn tags(body: &Map<String, Value>) -> Result<Option<Map<String, Value>>, ApiError> {
    match body.get("tags") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(tags)) if tags.values().all(Value::is_string) => Ok(Some(tags.clone())),
        Some(_) => Err(ApiError::new(ErrorKind::Invalid, "InvalidPayload", "tags is an object of texts").target("tags")),
    }
}

fn read(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap_or_default()
}

fn misread(error: &Misread) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "InvalidPayload", &error.message).target(error.target.clone())
}

fn wrong(error: &CollectionError) -> ApiError {
    match error {
        CollectionError::Misread(error) => misread(error),
        CollectionError::Control(error) => control_error(error),
    }
}

/// Absent and another's look alike.
fn absent(error: ControlError, kind: &str, place: &Place) -> ApiError {
    match error {
        ControlError::NotFound { .. } => {
            let text =
                format!("The Resource '{MONITOR}/{kind}/{}' under resource group '{}' was not found.", place.name, place.resource_group);
            ApiError::new(ErrorKind::NotFound, "ResourceNotFound", text)
        }
        other => control_error(&other),
    }
}

fn head(kind: &str, (subscription, group, name): (&str, &str, &str), region: &str, sort: Option<&str>, tags: &str) -> Map<String, Value> {
    let mut page = Map::new();
    page.insert("id".to_owned(), format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{MONITOR}/{kind}/{name}").into());
    page.insert("name".to_owned(), name.into());
    page.insert("type".to_owned(), format!("{MONITOR}/{kind}").into());
    page.insert("location".to_owned(), region.into());
    if let Some(sort) = sort {
        page.insert("kind".to_owned(), sort.into());
    }
    page.insert("tags".to_owned(), read(tags).into());
    page
}

fn history(created_ms: i64, changed_ms: i64) -> Value {
    json!({"createdAt": time(created_ms), "lastModifiedAt": time(changed_ms)})
}

fn endpoint_json(app: &App, headers: &HeaderMap, row: &CollectionEndpointRow) -> Value {
    let url = external_url(app, headers);
    let place = (&*row.subscription, &*row.resource_group, &*row.name);
    let mut page = head(ENDPOINTS, place, &row.region, row.kind.as_deref(), &row.tags);
    let mut properties = read(&row.properties);
    properties.insert("immutableId".to_owned(), immutable_id("dce", row.id).into());
    properties.insert("logsIngestion".to_owned(), json!({"endpoint": url}));
    properties.insert("configurationAccess".to_owned(), json!({"endpoint": url}));
    properties.insert("provisioningState".to_owned(), "Succeeded".into());
    page.insert("properties".to_owned(), properties.into());
    page.insert("systemData".to_owned(), history(row.created_ms, row.changed_ms));
    page.into()
}

/// Without a body, what stands in clear.
fn rule_json(app: &App, headers: &HeaderMap, row: &CollectionRuleRow, body: Option<&RuleBody>) -> Value {
    let place = (&*row.subscription, &*row.resource_group, &*row.name);
    let mut page = head(RULES, place, &row.region, row.kind.as_deref(), &row.tags);
    let mut properties = body.map(|body| body.properties.clone()).unwrap_or_default();
    properties.insert("immutableId".to_owned(), immutable_id("dcr", row.id).into());
    if row.kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("Direct")) {
        properties.insert("endpoints".to_owned(), json!({"logsIngestion": external_url(app, headers)}));
    }
    properties.insert("provisioningState".to_owned(), "Succeeded".into());
    page.insert("properties".to_owned(), properties.into());
    page.insert("systemData".to_owned(), history(row.created_ms, row.changed_ms));
    page.into()
}
