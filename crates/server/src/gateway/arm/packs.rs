//! `Microsoft.OperationalInsights/queryPacks` and the queries in them: of the provider's side, whatever storage is linked. Their answers
//! say so, and what to use instead.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use strongroom_catalog::{DocumentKind, DocumentRow};
use strongroom_control::documents::DocumentAsk;
use strongroom_control::{ControlError, Place, ScopePath, action};
use strongroom_model::{ErrorKind, ObjectId};

use super::super::auth::{Who, absent};
use super::super::error::ApiError;
use super::super::{App, control_error};
use super::{ApiVersion, INSIGHTS, InGroup, Named, sent, time};

/// What every answer says of where this lies.
const ADVICE: &str = "query packs are sealed under the provider's key (MMK) and never lie in linked storage; what is to be under the customer's key \
                      is saved in savedSearches of the workspace";
/// Members of a query that the server alone writes.
const OWN: [&str; 6] = ["id", "timeCreated", "timeModified", "author", "provisioningState", "strongroom"];

/// The routes.
pub(super) fn routes() -> Router<App> {
    let group = format!("/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{INSIGHTS}/queryPacks");
    Router::new()
        .route(&format!("/subscriptions/{{subscription}}/providers/{INSIGHTS}/queryPacks"), get(list))
        .route(&group, get(list).put(put_nameless))
        .route(&format!("{group}/{{name}}"), get(show).put(put).patch(patch).delete(delete))
        .route(&format!("{group}/{{name}}/queries"), get(list_queries))
        .route(&format!("{group}/{{name}}/queries/search"), post(search))
        .route(&format!("{group}/{{name}}/queries/{{query}}"), get(show_query).put(put_query).patch(patch_query).delete(delete_query))
}

type Shown = Result<Json<Value>, ApiError>;

#[derive(Debug, Deserialize)]
struct InPack {
    subscription: String,
    group: String,
    name: String,
    query: String,
}

impl InPack {
    fn pack(&self) -> Place {
        Place { subscription: self.subscription.clone(), resource_group: self.group.clone(), name: self.name.clone() }
    }

    fn query(&self) -> Place {
        Place { name: self.query.clone(), ..self.pack() }
    }
}

/// What lists take besides.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    #[serde(rename = "$top")]
    top: Option<usize>,
    #[serde(rename = "includeBody")]
    body: Option<String>,
}

fn told(error: ControlError, who: &Who) -> ApiError {
    match error {
        ControlError::NotFound { .. } => absent(&who.1),
        other => control_error(&other),
    }
}

fn wrong(target: &str, why: &str) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "BadRequest", format!("{target}: {why}")).target(target)
}

fn path(row: &DocumentRow) -> String {
    let (subscription, group, name) = (&row.subscription, &row.resource_group, &row.name);
    format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{INSIGHTS}/queryPacks/{name}")
}

async fn pack(app: &App, who: &Who, place: &Place, action: &str) -> Result<DocumentRow, ApiError> {
    who.allow(app, action)?;
    app.site.documents.get(DocumentKind::Pack, ObjectId::NIL, place).await.map_err(|error| told(error, who))
}

async fn list(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InGroup>) -> Shown {
    who.list(action::PACKS_READ)?;
    Ok(Json(json!({"value": shown(&app, &who, &at).await?})))
}

/// Those of a place that the caller may read.
pub(super) async fn shown(app: &App, who: &Who, at: &InGroup) -> Result<Vec<Value>, ApiError> {
    let mut rows = app.site.documents.list(DocumentKind::Pack, ObjectId::NIL).await.map_err(|error| control_error(&error))?;
    rows.retain(|row| at.holds(&row.subscription, &row.resource_group) && who.0.may(action::PACKS_READ, &ScopePath::of(&path(row))));
    Ok(rows.iter().map(page).collect())
}

async fn show(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Shown {
    Ok(Json(page(&pack(&app, &who, &named.into(), action::PACKS_READ).await?)))
}

async fn put_nameless(
    State(app): State<App>,
    who: Who,
    version: ApiVersion,
    Path(at): Path<InGroup>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let name = uuid::Uuid::now_v7().to_string();
    let named = Named { subscription: at.subscription, group: at.group.unwrap_or_default(), name };
    put(State(app), who, version, Path(named), body).await.map(|shown| (StatusCode::CREATED, shown))
}

async fn put(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>, body: Body) -> Shown {
    who.allow(&app, action::PACKS_WRITE)?;
    let body = sent(body).await?;
    let region = super::json::text(&body, "location")?.filter(|region| !region.is_empty() && region.len() <= 64);
    let region = region.ok_or_else(|| wrong("location", "the region is needed"))?.to_owned();
    let tags = super::json::tags(&body)?.cloned().unwrap_or_default();
    let ask = DocumentAsk { kind: DocumentKind::Pack, parent: ObjectId::NIL, region, tags, properties: Map::new(), workspace: None };
    let (row, _) = app.site.documents.put(&named.into(), ask).await.map_err(|error| told(error, &who))?;
    Ok(Json(page(&row)))
}

async fn patch(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>, body: Body) -> Shown {
    let place = Place::from(named);
    let row = pack(&app, &who, &place, action::PACKS_WRITE).await?;
    let Some(tags) = super::json::tags(&sent(body).await?)?.cloned() else { return Ok(Json(page(&row))) };
    let region = row.region.clone();
    let ask = DocumentAsk { kind: DocumentKind::Pack, parent: ObjectId::NIL, region, tags, properties: Map::new(), workspace: None };
    let (row, _) = app.site.documents.put(&place, ask).await.map_err(|error| told(error, &who))?;
    Ok(Json(page(&row)))
}

async fn delete(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::PACKS_DELETE)?;
    let row = match app.site.documents.get(DocumentKind::Pack, ObjectId::NIL, &named.into()).await {
        Ok(row) => row,
        Err(ControlError::NotFound { .. }) => return Ok(StatusCode::NO_CONTENT),
        Err(error) => return Err(control_error(&error)),
    };
    app.site.documents.delete(&row).await.map_err(|error| control_error(&error))?;
    Ok(StatusCode::OK)
}

fn page(row: &DocumentRow) -> Value {
    json!({
        "id": path(row),
        "name": row.name,
        "type": format!("{INSIGHTS}/queryPacks"),
        "location": row.region,
        "tags": serde_json::from_str::<Value>(&row.tags).unwrap_or_default(),
        "properties": {
            "queryPackId": row.id.to_string(),
            "timeCreated": time(row.created_ms),
            "timeModified": time(row.changed_ms),
            "provisioningState": "Succeeded",
            "strongroom": {"sealedUnder": "the provider's key (MMK)", "advice": ADVICE},
        },
    })
}

fn query_page(pack: &DocumentRow, row: &DocumentRow, mut properties: Map<String, Value>) -> Value {
    properties.insert("id".to_owned(), row.name.as_str().into());
    properties.insert("timeCreated".to_owned(), time(row.created_ms).into());
    properties.insert("timeModified".to_owned(), time(row.changed_ms).into());
    properties.insert("strongroom".to_owned(), json!({"sealedUnder": "the provider's key (MMK)", "advice": ADVICE}));
    json!({
        "id": format!("{}/queries/{}", path(pack), row.name),
        "name": row.name,
        "type": format!("{INSIGHTS}/queryPacks/queries"),
        "properties": properties,
    })
}

/// The queries of a pack that `fits`, newest first.
async fn queries(app: &App, pack: &DocumentRow, wanted: &Wanted, fits: impl Fn(&Map<String, Value>) -> bool) -> Shown {
    let whole = !wanted.body.as_deref().is_some_and(|text| text.eq_ignore_ascii_case("false"));
    let mut rows = app.site.documents.list(DocumentKind::PackQuery, pack.id).await.map_err(|error| control_error(&error))?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.changed_ms));
    let mut value = Vec::new();
    for row in rows {
        let mut properties = app.site.documents.open(&row).await.map_err(|error| control_error(&error))?;
        if fits(&properties) && wanted.top.is_none_or(|top| value.len() < top) {
            if !whole {
                properties.remove("body");
            }
            value.push(query_page(pack, &row, properties));
        }
    }
    Ok(Json(json!({"value": value})))
}

async fn list_queries(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>, Query(wanted): Query<Wanted>) -> Shown {
    let pack = pack(&app, &who, &named.into(), action::PACK_QUERIES_READ).await?;
    queries(&app, &pack, &wanted, |_| true).await
}

async fn search(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(named): Path<Named>,
    Query(wanted): Query<Wanted>,
    body: Body,
) -> Shown {
    let pack = pack(&app, &who, &named.into(), action::PACK_QUERIES_READ).await?;
    let asked = sent(body).await?;
    // Everything that is asked for has to be there: of each list one, of each tag one value.
    let texts = |value: Option<&Value>| -> Vec<String> {
        value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_ascii_lowercase).collect()
    };
    let meets = |asked: Option<&Value>, found: Option<&Value>| {
        let (asked, found) = (texts(asked), texts(found));
        asked.is_empty() || asked.iter().any(|one| found.contains(one))
    };
    let fits = |query: &Map<String, Value>| {
        let related = asked.get("related").and_then(Value::as_object);
        let of = |object: Option<&Value>, name: &str| object.and_then(|object| object.get(name)).cloned();
        let related = related.is_none_or(|related| {
            ["categories", "resourceTypes", "solutions"]
                .iter()
                .all(|name| meets(related.get(*name), of(query.get("related"), name).as_ref()))
        });
        let tags = asked.get("tags").and_then(Value::as_object);
        related && tags.is_none_or(|tags| tags.iter().all(|(name, values)| meets(Some(values), of(query.get("tags"), name).as_ref())))
    };
    queries(&app, &pack, &wanted, fits).await
}

async fn show_query(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InPack>) -> Shown {
    let pack = pack(&app, &who, &at.pack(), action::PACK_QUERIES_READ).await?;
    let row = app.site.documents.get(DocumentKind::PackQuery, pack.id, &at.query()).await.map_err(|error| told(error, &who))?;
    let properties = app.site.documents.open(&row).await.map_err(|error| control_error(&error))?;
    Ok(Json(query_page(&pack, &row, properties)))
}

async fn put_query(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InPack>, body: Body) -> Shown {
    let pack = pack(&app, &who, &at.pack(), action::PACK_QUERIES_WRITE).await?;
    let properties = super::json::member(&sent(body).await?, "properties")?.cloned().unwrap_or_default();
    write(&app, &who, &pack, &at.query(), properties).await
}

async fn patch_query(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InPack>, body: Body) -> Shown {
    let pack = pack(&app, &who, &at.pack(), action::PACK_QUERIES_WRITE).await?;
    let row = app.site.documents.get(DocumentKind::PackQuery, pack.id, &at.query()).await.map_err(|error| told(error, &who))?;
    let mut now = app.site.documents.open(&row).await.map_err(|error| control_error(&error))?;
    now.extend(super::json::member(&sent(body).await?, "properties")?.cloned().unwrap_or_default());
    write(&app, &who, &pack, &at.query(), now).await
}

async fn write(app: &App, who: &Who, pack: &DocumentRow, place: &Place, mut properties: Map<String, Value>) -> Shown {
    properties.retain(|name, value| !value.is_null() && !OWN.contains(&name.as_str()));
    for name in ["displayName", "body"] {
        if properties.get(name).is_none_or(|value| value.as_str().is_none_or(|text| text.trim().is_empty())) {
            return Err(wrong(&format!("properties.{name}"), "a text is needed"));
        }
    }
    let (region, tags) = (pack.region.clone(), Map::new());
    let ask = DocumentAsk { kind: DocumentKind::PackQuery, parent: pack.id, region, tags, properties: properties.clone(), workspace: None };
    let (row, _) = app.site.documents.put(place, ask).await.map_err(|error| told(error, who))?;
    Ok(Json(query_page(pack, &row, properties)))
}

async fn delete_query(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InPack>) -> Result<StatusCode, ApiError> {
    let pack = pack(&app, &who, &at.pack(), action::PACK_QUERIES_DELETE).await?;
    let row = match app.site.documents.get(DocumentKind::PackQuery, pack.id, &at.query()).await {
        Ok(row) => row,
        Err(ControlError::NotFound { .. }) => return Ok(StatusCode::NO_CONTENT),
        Err(error) => return Err(control_error(&error)),
    };
    app.site.documents.delete(&row).await.map_err(|error| control_error(&error))?;
    Ok(StatusCode::OK)
}
