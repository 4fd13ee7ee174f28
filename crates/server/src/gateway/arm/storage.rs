//! `Microsoft.Storage/storageAccounts`, reference objects of customers' stores; and `workspaces/linkedStorageAccounts`, by which a
//! workspace's saved searches, functions and alert texts go there.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use strongroom_catalog::{StorageAccountRow, WorkspaceRow};
use strongroom_control::contents::DataSource;
use strongroom_control::{KeyProperties, LinkedStorage, Place, ScopePath, StorageAsk, StorageKey, StorageLink, StorageView, action};
use strongroom_model::ErrorKind;

use super::super::App;
use super::super::auth::Who;
use super::super::control_error;
use super::super::error::ApiError;
use super::json::{member, text};
use super::workspaces::{workspace, workspace_id};
use super::{ApiVersion, INSIGHTS, InGroup, Named, STORAGE, sent, time};

/// Whose key, in Azure's words; the last is ours.
const PROVIDER_KEY: &str = "Microsoft.Storage";
const OWN_KEY: &str = "Microsoft.Keyvault";
const CLUSTER_KEY: &str = "Microsoft.OperationalInsights";

pub(super) fn routes() -> Router<App> {
    let group = |rest: &str| format!("/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{rest}");
    let accounts = |rest: &str| format!("{STORAGE}/storageAccounts{rest}");
    let links = group(&format!("{INSIGHTS}/workspaces/{{name}}/linkedStorageAccounts"));
    Router::new()
        .route(&format!("/subscriptions/{{subscription}}/providers/{}", accounts("")), get(list))
        .route(&group(&accounts("")), get(list))
        .route(&group(&accounts("/{name}")), get(show).put(put).patch(patch).delete(delete))
        .route(&links, get(links_list))
        .route(&format!("{links}/{{source}}"), get(link_show).put(link_put).delete(link_delete))
}

async fn list(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InGroup>) -> Result<Json<Value>, ApiError> {
    who.list(action::STORAGE_READ)?;
    Ok(Json(json!({"value": shown(&app, &who, &at).await?})))
}

/// Those of a place that the caller may read.
pub(super) async fn shown(app: &App, who: &Who, at: &InGroup) -> Result<Vec<Value>, ApiError> {
    let rows = app.site.storages.list(&at.subscription, at.group.as_deref()).await.map_err(|error| control_error(&error))?;
    let mut value = Vec::new();
    for row in rows {
        if who.0.may(action::STORAGE_READ, &ScopePath::of(&Place::of_storage(&row).storage_path())) {
            value.push(page(app, row).await?);
        }
    }
    Ok(value)
}

async fn show(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::STORAGE_READ)?;
    let row = app.site.storages.get(&named.into()).await.map_err(|error| who.told(&error))?;
    Ok(Json(page(&app, row).await?))
}

async fn put(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>, body: Body) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::STORAGE_WRITE)?;
    write(&app, &who, &named.into(), &sent(body).await?).await
}

async fn patch(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>, body: Body) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::STORAGE_WRITE)?;
    let (place, body) = (Place::from(named), sent(body).await?);
    app.site.storages.get(&place).await.map_err(|error| who.told(&error))?;
    write(&app, &who, &place, &body).await
}

async fn write(app: &App, who: &Who, place: &Place, body: &Map<String, Value>) -> Result<Json<Value>, ApiError> {
    let ask = read(body)?;
    // A key that is used for the account's content: whoever says so must have a right on that, too.
    match &ask.key {
        Some(StorageKey::Cluster(path)) => {
            if let Some(cluster) = Place::read_cluster_path(path) {
                who.on(action::CLUSTERS_WRITE, &ScopePath::of(&cluster.cluster_path()))?;
            }
        }
        Some(StorageKey::Own(_, path)) => {
            if let Some(identity) = Place::read_identity_path(path) {
                who.on(action::IDENTITIES_ASSIGN, &ScopePath::of(&identity.identity_path()))?;
            }
        }
        Some(StorageKey::Provider) | None => {}
    }
    let row = app.site.storages.put(place, ask).await.map_err(|error| control_error(&error))?;
    Ok(Json(page(app, row).await?))
}

async fn delete(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::STORAGE_DELETE)?;
    let there = app.site.storages.delete(&named.into()).await.map_err(|error| control_error(&error))?;
    Ok(if there { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

fn wrong(target: &str, why: &str) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "InvalidParameter", format!("{target}: {why}")).target(target)
}

/// What a body asks for. Members that Azure's clients send besides (access tier, network rules) say nothing of interest here.
fn read(body: &Map<String, Value>) -> Result<StorageAsk, ApiError> {
    let owned = |value: Option<&str>| value.map(str::to_owned);
    let mut ask = StorageAsk {
        region: owned(text(body, "location")?),
        kind: owned(text(body, "kind")?),
        sku: match member(body, "sku")? {
            Some(sku) => owned(text(sku, "name")?),
            None => None,
        },
        tags: super::json::tags(body)?.cloned(),
        url: None,
        key: None,
    };
    let Some(properties) = member(body, "properties")? else { return Ok(ask) };
    ask.url = owned(text(properties, "backingUrl")?);
    if let Some(encryption) = member(properties, "encryption")? {
        ask.key = key(encryption)?;
    }
    Ok(ask)
}

fn key(encryption: &Map<String, Value>) -> Result<Option<StorageKey>, ApiError> {
    const AT: &str = "properties.encryption";
    let Some(source) = text(encryption, "keySource")? else { return Ok(None) };
    if source.eq_ignore_ascii_case(PROVIDER_KEY) {
        return Ok(Some(StorageKey::Provider));
    }
    if source.eq_ignore_ascii_case(CLUSTER_KEY) {
        let cluster =
            text(encryption, "cluster")?.ok_or_else(|| wrong(&format!("{AT}.cluster"), "the resource id of a cluster is needed"))?;
        return Ok(Some(StorageKey::Cluster(cluster.to_owned())));
    }
    if !source.eq_ignore_ascii_case(OWN_KEY) {
        return Err(wrong(&format!("{AT}.keySource"), "Microsoft.Storage, Microsoft.Keyvault or Microsoft.OperationalInsights"));
    }
    let named = member(encryption, "keyvaultproperties")?;
    let named = named.ok_or_else(|| wrong(&format!("{AT}.keyvaultproperties"), "keyvaulturi and keyname are needed"))?;
    let part = |name: &str| text(named, name).map(|value| value.unwrap_or_default().to_owned());
    let properties = KeyProperties { vault_uri: part("keyvaulturi")?, name: part("keyname")?, version: Some(part("keyversion")?) };
    let identity = match member(encryption, "identity")? {
        Some(identity) => text(identity, "userAssignedIdentity")?.unwrap_or_default().to_owned(),
        None => String::new(),
    };
    Ok(Some(StorageKey::Own(properties, identity)))
}

async fn page(app: &App, row: StorageAccountRow) -> Result<Value, ApiError> {
    let StorageView { row, holder, identity, key, progress } = app.site.storages.view(row).await.map_err(|error| control_error(&error))?;
    let mut encryption = match (&holder, row.own) {
        (None, _) => json!({"keySource": PROVIDER_KEY}),
        (Some(cluster), false) => json!({"keySource": CLUSTER_KEY, "cluster": Place::of_cluster(cluster).cluster_path()}),
        (Some(holder), true) => {
            let named = holder.key.as_ref().map(
                |key| json!({"keyvaulturi": key.vault_uri, "keyname": key.name, "keyversion": key.version.as_deref().unwrap_or_default()}),
            );
            let identity = identity.as_ref().map(Place::identity_path);
            json!({"keySource": OWN_KEY, "keyvaultproperties": named, "identity": {"userAssignedIdentity": identity}})
        }
    };
    if holder.is_some() {
        encryption["keyState"] = key.state.into();
    }
    encryption["content"] = json!(progress);
    let mut page = json!({
        "id": Place::of_storage(&row).storage_path(),
        "name": row.name,
        "type": format!("{STORAGE}/storageAccounts"),
        "location": row.region,
        "kind": row.kind,
        "sku": {"name": row.sku, "tier": row.sku.split('_').next().unwrap_or_default()},
        "tags": serde_json::from_str::<Value>(&row.tags).unwrap_or_default(),
        "properties": {
            "provisioningState": "Succeeded",
            "creationTime": time(row.created_ms),
            "primaryLocation": row.region,
            "statusOfPrimary": "available",
            "supportsHttpsTrafficOnly": true,
            "encryption": encryption,
        },
    });
    if let Some(url) = row.url {
        page["properties"]["backingUrl"] = url.into();
    }
    Ok(page)
}

#[derive(Debug, Deserialize)]
struct Link {
    subscription: String,
    group: String,
    name: String,
    source: String,
}

impl Link {
    async fn workspace(&self, app: &App, who: &Who, action: &str) -> Result<WorkspaceRow, ApiError> {
        let place = Place { subscription: self.subscription.clone(), resource_group: self.group.clone(), name: self.name.clone() };
        workspace(app, who, &place, action).await
    }

    fn absent(&self) -> ApiError {
        let source: String = self.source.chars().filter(|c| !c.is_control()).take(64).collect();
        ApiError::new(ErrorKind::NotFound, "ResourceNotFound", format!("The workspace has no linked storage account for {source}."))
    }
}

async fn links_list(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    let row = workspace(&app, &who, &named.into(), action::WORKSPACES_READ).await?;
    let links = app.site.storages.links(&row).await.map_err(|error| control_error(&error))?;
    Ok(Json(json!({"value": links.iter().map(|link| link_json(&row, link)).collect::<Vec<_>>()})))
}

async fn link_show(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<Link>) -> Result<Json<Value>, ApiError> {
    let row = at.workspace(&app, &who, action::WORKSPACES_READ).await?;
    let links = app.site.storages.links(&row).await.map_err(|error| control_error(&error))?;
    let source = DataSource::read(&at.source);
    let link = links.iter().find(|link| Some(link.source) == source).ok_or_else(|| at.absent())?;
    Ok(Json(link_json(&row, link)))
}

async fn link_put(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<Link>, body: Body) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::WORKSPACES_WRITE)?;
    let row = at.workspace(&app, &who, action::WORKSPACES_WRITE).await?;
    let body = sent(body).await?;
    let properties = member(&body, "properties")?;
    let ids = match properties.and_then(|properties| properties.get("storageAccountIds")) {
        None | Some(Value::Null) => Vec::new(),
        Some(ids) => serde_json::from_value::<Vec<String>>(ids.clone())
            .map_err(|_| wrong("properties.storageAccountIds", "a list of resource ids is expected"))?,
    };
    // Most clients leave it to the path; one that says it says the same.
    let said = match properties {
        Some(properties) => text(properties, "dataSourceType")?,
        None => None,
    };
    if said.is_some_and(|said| !said.eq_ignore_ascii_case(&at.source)) {
        return Err(wrong("properties.dataSourceType", "it is another than the one in the path"));
    }
    let ask = LinkedStorage::read(&at.source, &ids).map_err(|error| control_error(&error))?;
    who.on(action::STORAGE_WRITE, &ScopePath::of(&ask.place.storage_path()))?;
    let link = app.site.storages.link(&row, &ask).await.map_err(|error| control_error(&error))?;
    Ok(Json(link_json(&row, &link)))
}

async fn link_delete(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<Link>) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::WORKSPACES_WRITE)?;
    let row = at.workspace(&app, &who, action::WORKSPACES_WRITE).await?;
    if let Some(source) = DataSource::read(&at.source) {
        // Gone is gone: clients take nothing but 200.
        app.site.storages.unlink(&row, source).await.map_err(|error| control_error(&error))?;
    }
    Ok(StatusCode::OK)
}

fn link_json(workspace: &WorkspaceRow, link: &StorageLink) -> Value {
    let source = link.source.as_str();
    json!({
        "id": format!("{}/linkedStorageAccounts/{source}", workspace_id(workspace)),
        "name": source,
        "type": format!("{INSIGHTS}/workspaces/linkedStorageAccounts"),
        "properties": {
            "dataSourceType": source,
            "storageAccountIds": [Place::of_storage(&link.storage).storage_path()],
            "content": link.progress,
        },
    })
}
