//! `Microsoft.OperationalInsights/clusters`.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_catalog::{ClusterRow, IdentityType};
use strongroom_control::{Accepted, ClusterAsk, ClusterView, ControlError, KeyProperties, Place, Refusal, ScopePath, action};
use strongroom_model::ErrorKind;

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::{App, control_error};
use super::json::{member, object, tags, text, whole};
use super::page::{self, Page};
use super::version::{ApiVersion, WHOLE_CLUSTERS};
use super::workspaces::workspace_id;
use super::{INSIGHTS, InGroup, Named, accepted, refused, time};

#[derive(Debug, Deserialize)]
pub(super) struct Deletion {
    #[serde(default)]
    force: bool,
}

pub(super) async fn list(
    State(app): State<App>,
    who: Who,
    version: ApiVersion,
    Path(at): Path<InGroup>,
    Query(page): Query<Page>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Value>, ApiError> {
    who.list(action::CLUSTERS_READ)?;
    let (rows, next) = page.cut(readable(&app, &who, &at).await?, app.site.config.gateway.page_size, |row| row.id)?;
    let value = pages_of(&app, &version, rows).await?;
    Ok(Json(page::body(&app, &headers, &uri, value, next)))
}

async fn readable(app: &App, who: &Who, at: &InGroup) -> Result<Vec<ClusterRow>, ApiError> {
    let mut rows = app.site.clusters.list(Some(&at.subscription), at.group.as_deref()).await.map_err(|error| control_error(&error))?;
    rows.retain(|row| who.0.may(action::CLUSTERS_READ, &ScopePath::cluster(row)));
    Ok(rows)
}

async fn pages_of(app: &App, version: &ApiVersion, rows: Vec<ClusterRow>) -> Result<Vec<Value>, ApiError> {
    let mut value = Vec::with_capacity(rows.len());
    for row in rows {
        let view = app.site.clusters.view(row).await.map_err(|error| control_error(&error))?;
        value.push(page_of(app, version, &view));
    }
    Ok(value)
}

/// Those of a place that the caller may read.
pub(super) async fn shown(app: &App, who: &Who, version: &ApiVersion, at: &InGroup) -> Result<Vec<Value>, ApiError> {
    pages_of(app, version, readable(app, who, at).await?).await
}

pub(super) async fn show(State(app): State<App>, who: Who, version: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::CLUSTERS_READ)?;
    let row = app.site.clusters.get(&named.into()).await.map_err(|error| control_error(&error))?;
    let view = app.site.clusters.view(row).await.map_err(|error| control_error(&error))?;
    Ok(Json(page_of(&app, &version, &view)))
}

pub(super) async fn put(
    State(app): State<App>,
    who: Who,
    version: ApiVersion,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    who.allow(&app, action::CLUSTERS_WRITE)?;
    let place = Place::from(named);
    // Z1: making one is a deployment in its group; changing one is not.
    if matches!(app.site.clusters.get(&place).await, Err(error) if error.kind() == ErrorKind::NotFound) {
        who.on(action::DEPLOYMENTS_WRITE, &ScopePath::group(&place.subscription, &place.resource_group))?;
    }
    let taken = app.site.clusters.put(&place, may_show(&who, read(&whole(body).await?)?)?).await;
    answer(&app, &version, &headers, taken, None).await
}

pub(super) async fn patch(
    State(app): State<App>,
    who: Who,
    version: ApiVersion,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    who.allow(&app, action::CLUSTERS_WRITE)?;
    let taken = app.site.clusters.patch(&named.into(), may_show(&who, read(&whole(body).await?)?)?).await;
    answer(&app, &version, &headers, taken, None).await
}

pub(super) async fn delete(
    State(app): State<App>,
    who: Who,
    version: ApiVersion,
    Path(named): Path<Named>,
    Query(deletion): Query<Deletion>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    who.allow(&app, action::CLUSTERS_DELETE)?;
    let taken = app.site.clusters.delete(&named.into(), deletion.force).await;
    answer(&app, &version, &headers, taken, Some(DELETED)).await
}

/// Whoever has a cluster show an identity must have a right on that, too: it opens what somebody granted it.
fn may_show(who: &Who, ask: ClusterAsk) -> Result<ClusterAsk, ApiError> {
    for place in ask.user_identities.iter().flatten().filter_map(|path| Place::read_identity_path(path)) {
        who.on(action::IDENTITIES_ASSIGN, &ScopePath::of(&place.identity_path()))?;
    }
    Ok(ask)
}

const DELETED: &str = "Linked workspaces are unlinked and go on under the provider's key. Data under the customer's key stays sealed; it is readable while the key works and the cluster's name is reserved (14 days).";

const REVOKED: &str = "The cluster shows no identity: access to its data is revoked, and only the operator of this service can restore it. To revoke access so that you can give it back yourself, disable the key in the vault instead.";

async fn answer(
    app: &App,
    version: &ApiVersion,
    headers: &HeaderMap,
    taken: Result<Accepted, ControlError>,
    notice: Option<&str>,
) -> Result<Response, ApiError> {
    let taken = taken.map_err(|error| control_error(&error))?;
    let subscription = taken.cluster.subscription.clone();
    let view = app.site.clusters.view(taken.cluster).await.map_err(|error| control_error(&error))?;
    let mut body = page_of(app, version, &view);
    let none = view.row.identity_type == IdentityType::None;
    if let Some(notice) = notice.or(none.then_some(REVOKED)) {
        body["properties"]["notice"] = notice.into();
    }
    Ok(accepted(app, version, headers, &subscription, body, taken.operation.as_ref()))
}

/// A cluster's page as clients of that version know it. Members that an old one does not know by name are left out where they could
/// be taken for something else; double encryption, key state and public key are shown to all.
fn page_of(app: &App, version: &ApiVersion, view: &ClusterView) -> Value {
    let mut page = cluster_json(view);
    page["properties"]["capacityReservationProperties"]["minCapacity"] = app.site.clusters.rules().capacity_min_gb.into();
    if version.since(WHOLE_CLUSTERS) {
        return page;
    }
    page["sku"]["lastSkuUpdate"] = http_date(view.row.sku_ms).into();
    let billing = view.row.billing.as_str().to_ascii_lowercase();
    if let Some(properties) = page["properties"].as_object_mut() {
        properties.insert("billingType".to_owned(), billing.into());
        let newer =
            ["capacityReservationProperties", "associatedWorkspaces", "isAvailabilityZonesEnabled", "createdDate", "lastModifiedDate"];
        for name in newer {
            properties.remove(name);
        }
        if let Some(key) = properties.get_mut("keyVaultProperties").and_then(Value::as_object_mut) {
            key.remove("keyRsaSize");
        }
    }
    page
}

/// `Sun, 22 Mar 2020 15:39:29 GMT`.
fn http_date(unix_ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(unix_ms).map_or_else(String::new, |time| time.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// A cluster's page.
pub(crate) fn cluster_json(view: &ClusterView) -> Value {
    let row = &view.row;
    let mut identity = json!({"type": row.identity_type.as_str()});
    let linked: Vec<Value> = view
        .linked
        .iter()
        .map(|workspace| {
            json!({
                "workspaceId": workspace.id,
                "workspaceName": workspace.name,
                "resourceId": workspace_id(workspace),
                "associateDate": workspace.link.map(|link| time(link.linked_ms)),
            })
        })
        .collect();
    let mut properties = json!({
        "clusterId": row.id,
        "provisioningState": row.state.as_str(),
        "isDoubleEncryptionEnabled": row.double,
        "isAvailabilityZonesEnabled": false,
        "billingType": row.billing.as_str(),
        "createdDate": time(row.created_ms),
        "lastModifiedDate": time(row.modified_ms),
        "capacityReservationProperties": {"lastSkuUpdate": time(row.sku_ms)},
        "associatedWorkspaces": linked,
        "keyState": view.key.state,
    });
    match (&row.identity, row.identity_type) {
        (Some(own), IdentityType::SystemAssigned) => {
            identity["principalId"] = own.principal.as_str().into();
            identity["tenantId"] = own.tenant.as_str().into();
            properties["identityPublicKey"] = own.public_key_pem.as_str().into();
        }
        (Some(shown), IdentityType::UserAssigned) => {
            let path = view.user_identity.as_ref().map(Place::identity_path).unwrap_or_default();
            identity["userAssignedIdentities"] = json!({path: {"principalId": shown.principal, "clientId": shown.principal}});
            properties["identityPublicKey"] = shown.public_key_pem.as_str().into();
            if let Some(own) = &view.own_identity {
                properties["ownIdentity"] = json!({"principalId": own.principal, "tenantId": own.tenant, "publicKey": own.public_key_pem});
            }
        }
        _ => {}
    }
    if let Some(key) = &row.key {
        let mut told = json!({"keyVaultUri": key.vault_uri, "keyName": key.name, "keyVersion": key.version.as_deref().unwrap_or_default()});
        if let Some(bits) = key.rsa_bits {
            told["keyRsaSize"] = bits.into();
        }
        properties["keyVaultProperties"] = told;
    }
    json!({
        "id": Place::of_cluster(row).cluster_path(),
        "name": row.name,
        "type": format!("{INSIGHTS}/clusters"),
        "location": row.region,
        "tags": serde_json::from_str::<Value>(&row.tags).unwrap_or_default(),
        "identity": identity,
        "sku": {"name": row.sku_name, "capacity": row.sku_capacity},
        "properties": properties,
    })
}

/// What a body asks for. Members that only the server writes are passed over: clients send back what they were shown.
fn read(body: &Bytes) -> Result<ClusterAsk, ApiError> {
    let body = object(body)?;
    let properties = member(&body, "properties")?;
    // Within the properties, as a printed body puts it that forgets a brace.
    let sku = match (member(&body, "sku")?, properties) {
        (None, Some(properties)) => member(properties, "sku")?,
        (sku, _) => sku,
    };
    let identity = member(&body, "identity")?;
    let kind = identity.and_then(|identity| identity.get("type")).and_then(Value::as_str).unwrap_or_default();
    let ask = ClusterAsk {
        region: text(&body, "location")?.map(str::to_owned),
        identity: match kind {
            "" => None,
            both if both.contains(',') => return Err(refused(Refusal::SingleIdentity)),
            known => Some(known.parse().map_err(|()| bad("identity.type", "None, SystemAssigned or UserAssigned"))?),
        },
        user_identities: match identity.and_then(|identity| identity.get("userAssignedIdentities")) {
            None => None,
            Some(Value::Null) => Some(Vec::new()),
            Some(Value::Object(map)) => {
                // Null takes one away, in a client that changes the list: beside another it is how one is changed for that other.
                let kept: Vec<String> = map.iter().filter(|(_, value)| !value.is_null()).map(|(path, _)| path.clone()).collect();
                if kept.is_empty() && !map.is_empty() {
                    return Err(refused(Refusal::SingleIdentity));
                }
                Some(kept)
            }
            Some(_) => return Err(refused(Refusal::Body)),
        },
        sku_name: sku.map(|sku| text(sku, "name")).transpose()?.flatten().map(str::to_owned),
        sku_capacity: match sku.and_then(|sku| sku.get("capacity")) {
            None | Some(Value::Null) => None,
            Some(number) => Some(number.as_i64().ok_or_else(|| bad("sku.capacity", "a whole number"))?),
        },
        billing: match properties.map(|properties| text(properties, "billingType")).transpose()?.flatten() {
            None => None,
            Some(word) => Some(word.parse().map_err(|()| bad("properties.billingType", "Cluster or Workspaces"))?),
        },
        double: match properties.and_then(|properties| properties.get("isDoubleEncryptionEnabled")) {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_bool().ok_or_else(|| refused(Refusal::Body))?),
        },
        tags: tags(&body)?.cloned(),
        key: match properties.and_then(|properties| properties.get("keyVaultProperties")) {
            None | Some(Value::Null) => None,
            Some(key) => read_key(key)?,
        },
    };
    Ok(ask)
}

/// An object in which nothing is said counts as absent; a member that is not known is a slip that must not pass.
fn read_key(value: &Value) -> Result<Option<KeyProperties>, ApiError> {
    let wrong = |why| refused(Refusal::KeyFormat { why });
    let key = value.as_object().ok_or_else(|| wrong("keyVaultProperties is an object"))?;
    let mut said: [Option<&str>; 3] = [None; 3];
    for (name, value) in key {
        let slot = match name.as_str() {
            "keyVaultUri" => 0,
            // `kyName` as a document of 2021 misprints it.
            "keyName" | "kyName" => 1,
            "keyVersion" => 2,
            "keyRsaSize" => continue,
            _ => return Err(wrong("the members are keyVaultUri, keyName and keyVersion")),
        };
        said[slot] = match value {
            Value::Null => None,
            Value::String(text) => Some(text.as_str()),
            _ => return Err(wrong("the members are texts")),
        };
    }
    if said.iter().all(|said| said.is_none_or(str::is_empty)) {
        return Ok(None);
    }
    let [uri, name, version] = said;
    Ok(Some(KeyProperties {
        vault_uri: uri.unwrap_or_default().to_owned(),
        name: name.unwrap_or_default().to_owned(),
        version: version.filter(|version| !version.is_empty()).map(str::to_owned),
    }))
}

fn bad(target: &str, allowed: &str) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "InvalidParameter", format!("{target} is {allowed}")).target(target)
}

#[cfg(test)]
mod tests {
    use strongroom_catalog::Billing;

    use super::*;

    fn asked(body: &str) -> Result<ClusterAsk, &'static str> {
        read(&Bytes::copy_from_slice(body.as_bytes())).map_err(|error| error.code())
    }

    #[test]
    fn bodies_of_the_sdk_and_of_az_are_read() {
        let sdk = r#"{"location":"westeurope","tags":{"a":"b"},"properties":{"billingType":"Cluster"},
            "identity":{"type":"SystemAssigned"},"sku":{"capacity":100,"name":"CapacityReservation"}}"#;
        let ask = asked(sdk).unwrap();
        assert_eq!((ask.identity, ask.billing, ask.sku_capacity), (Some(IdentityType::SystemAssigned), Some(Billing::Cluster), Some(100)));
        assert_eq!((ask.region.as_deref(), ask.key, ask.double), (Some("westeurope"), None, None));
        let az = r#"{"identity":{"type":"SystemAssigned"},"location":"l","properties":{"billingType":"cluster","capacityReservationProperties":{},
            "isAvailabilityZonesEnabled":false,"isDoubleEncryptionEnabled":true,
            "keyVaultProperties":{"keyName":"kek","keyVaultUri":"https://v","keyVersion":""}},"sku":{"capacity":100,"name":"CapacityReservation"}}"#;
        let ask = asked(az).unwrap();
        let key = KeyProperties { vault_uri: "https://v".to_owned(), name: "kek".to_owned(), version: None };
        assert_eq!((ask.key, ask.double, ask.billing), (Some(key), Some(true), Some(Billing::Cluster)));
        let set = asked(r#"{"properties":{"keyVaultProperties":{"keyVaultUri":"https://v","kyName":"k","keyVersion":"1"}}}"#).unwrap();
        assert_eq!(set.key.unwrap().version.as_deref(), Some("1"));
        for nothing in [r#"{"identity":{}}"#, r#"{"identity":null,"properties":null}"#, r#"{"properties":{"keyVaultProperties":{}}}"#, "{}"]
        {
            assert_eq!(asked(nothing), Ok(ClusterAsk::default()), "{nothing}");
        }
    }

    #[test]
    fn an_identity_that_is_not_named_is_told_from_one_that_is_said_to_be_none() {
        let users = |identity: &str| asked(&format!(r#"{{"identity":{identity}}}"#)).map(|ask| (ask.identity, ask.user_identities));
        let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/u";
        let user = Some(IdentityType::UserAssigned);
        assert_eq!(users(r#"{"type":"UserAssigned"}"#), Ok((user, None)));
        for none in ["null", "{}"] {
            let body = format!(r#"{{"type":"UserAssigned","userAssignedIdentities":{none}}}"#);
            assert_eq!(users(&body), Ok((user, Some(Vec::new()))), "{none}");
        }
        let one = format!(r#"{{"type":"userassigned","userAssignedIdentities":{{"{id}":{{"principalId":"p","clientId":"c"}}}}}}"#);
        assert_eq!(users(&one), Ok((user, Some(vec![id.to_owned()]))));
        for bad in [r#"{"type":"SystemAssigned, UserAssigned"}"#, r#"{"userAssignedIdentities":{"x":null}}"#] {
            assert_eq!(users(bad), Err("SingleIdentityRequired"), "{bad}");
        }
        assert_eq!(users(r#"{"userAssignedIdentities":["x"]}"#), Err("InvalidRequestBody"));
        let swap = format!(r#"{{"type":"UserAssigned","userAssignedIdentities":{{"{id}old":null,"{id}":{{}}}}}}"#);
        assert_eq!(users(&swap), Ok((user, Some(vec![id.to_owned()]))), "one for another");
    }

    #[test]
    fn bodies_in_bad_format_are_told_apart() {
        for body in ["", "null", "[]", "{", r#"{"sku":5}"#, r#"{"location":5}"#, r#"{"properties":{"isDoubleEncryptionEnabled":"yes"}}"#] {
            assert_eq!(asked(body), Err("InvalidRequestBody"), "{body}");
        }
        for key in [r#""text""#, "[]", r#"{"keyVaultUrl":"https://v"}"#, r#"{"keyVaultUri":5}"#] {
            assert_eq!(asked(&format!(r#"{{"properties":{{"keyVaultProperties":{key}}}}}"#)), Err("InvalidKeyVaultProperties"), "{key}");
        }
        for body in [r#"{"identity":{"type":"Both"}}"#, r#"{"properties":{"billingType":"Nobody"}}"#, r#"{"sku":{"capacity":"much"}}"#] {
            assert_eq!(asked(body), Err("InvalidParameter"), "{body}");
        }
    }
}
