//! What a workspace's owner says of it and clients want to read back: tags, price plan, caps, features. Nothing here goes by it but
//! for one feature, `disableLocalAuth`, which ends the use of shared keys.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strongroom_catalog::{Catalog, CatalogError, WorkspacePageRow};
use strongroom_model::WorkspaceId;
use strongroom_world::World;

use crate::ControlError;

/// Bytes of a page at most, tags and features included.
const PAGE_MAX: usize = 32 << 10;
/// Tags at most, as Azure has it.
const TAGS_MAX: usize = 50;
/// Price plans that there are; only their names mean anything here.
const SKUS: &[&str] = &["Free", "Standard", "Premium", "PerNode", "PerGB2018", "Standalone", "CapacityReservation", "LACluster"];
/// What a linked workspace shows: the cluster's doing, not the owner's.
const LINKED_SKU: &str = "LACluster";
/// Members of `features` that the server alone writes.
const OWN_FEATURES: &[&str] = &["clusterResourceId", "unifiedSentinelBillingOnly", "associations"];
/// The words of both network accesses.
const ACCESS: &[&str] = &["Enabled", "Disabled", "SecuredByPerimeter"];

/// What was said of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkspacePage {
    /// Its tags.
    pub tags: Map<String, Value>,
    /// Its price plan: name, and level of a reservation.
    pub sku: Map<String, Value>,
    /// Properties by their names.
    pub properties: Map<String, Value>,
    /// Its features, those that are unknown here included.
    pub features: Map<String, Value>,
    /// Last change, milliseconds since 1970; 0: never.
    #[serde(skip)]
    pub modified_ms: i64,
}

/// The pages of a catalog's workspaces.
#[derive(Debug)]
pub struct WorkspacePages {
    world: World,
    catalog: Catalog,
}

impl WorkspacePages {
    /// Those of a catalog.
    #[must_use]
    pub fn new(world: World, catalog: Catalog) -> Self {
        Self { world, catalog }
    }

    /// What was said of a workspace.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn get(&self, workspace: WorkspaceId) -> Result<WorkspacePage, ControlError> {
        self.read(workspace).await.map(|(page, _)| page)
    }

    /// Whether senders may sign with the workspace's shared keys.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn takes_shared_keys(&self, workspace: WorkspaceId) -> Result<bool, ControlError> {
        let page = self.get(workspace).await?;
        Ok(page.features.get("disableLocalAuth") != Some(&Value::Bool(true)))
    }

    async fn read(&self, workspace: WorkspaceId) -> Result<(WorkspacePage, Option<WorkspacePageRow>), ControlError> {
        let Some(row) = self.catalog.workspace_page(workspace).await? else { return Ok((WorkspacePage::default(), None)) };
        let mut page: WorkspacePage = serde_json::from_str(&row.page).map_err(|_| ControlError::Damaged { what: "a workspace's page" })?;
        page.modified_ms = row.modified_ms;
        Ok((page, Some(row)))
    }

    /// Takes over what a body says: members that are absent stay, null takes one away, and what the server writes is passed over.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] naming the member; [`ControlError::Conflict`] if somebody else changed it meanwhile.
    pub async fn change(&self, workspace: WorkspaceId, body: &Map<String, Value>) -> Result<WorkspacePage, ControlError> {
        let (before, row) = self.read(workspace).await?;
        let mut page = before.clone();
        take(&mut page, body)?;
        if page == before {
            return Ok(page);
        }
        let text = serde_json::to_string(&page).unwrap_or_default();
        if text.len() > PAGE_MAX {
            return Err(ControlError::Invalid { what: "tags and features", why: "32 KiB in all are allowed" });
        }
        page.modified_ms = self.world.clock.wall().unix_ms();
        let next = WorkspacePageRow { page: text, modified_ms: page.modified_ms };
        self.catalog.workspace_page_put(workspace, &next, row.as_ref()).await.map_err(|error| match error {
            CatalogError::Conflict { .. } => ControlError::Conflict { why: "the workspace was changed meanwhile: try again" },
            other => other.into(),
        })?;
        Ok(page)
    }

    /// Whether a body could be taken over: to be asked before a workspace is made.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] naming the member.
    pub fn check(body: &Map<String, Value>) -> Result<(), ControlError> {
        take(&mut WorkspacePage::default(), body)
    }
}

fn take(page: &mut WorkspacePage, body: &Map<String, Value>) -> Result<(), ControlError> {
    match body.get("tags") {
        None => {}
        Some(Value::Null) => page.tags.clear(),
        Some(Value::Object(tags)) if tags.len() <= TAGS_MAX && tags.values().all(Value::is_string) => page.tags.clone_from(tags),
        Some(_) => return Err(ControlError::Invalid { what: "tags", why: "up to 50 names with texts are allowed" }),
    }
    let Some(properties) = body.get("properties").and_then(Value::as_object) else { return Ok(()) };
    for (name, value) in properties {
        match (name.as_str(), value) {
            ("sku", Value::Null) => page.sku.clear(),
            ("sku", Value::Object(sku)) => take_sku(page, sku)?,
            ("features", Value::Null) => page.features.clear(),
            ("features", Value::Object(features)) => {
                // Whatever the case: there are clients that read names without it.
                let own = |name: &str| OWN_FEATURES.iter().any(|own| own.eq_ignore_ascii_case(name));
                for (name, value) in features.iter().filter(|(name, _)| !own(name)) {
                    set(&mut page.features, name, value.clone());
                }
            }
            ("sku" | "features", _) => return Err(ControlError::Invalid { what: "sku, features", why: "each is an object" }),
            _ => {
                if let Some(value) = known(name, value)? {
                    set(&mut page.properties, name, value);
                }
            }
        }
    }
    Ok(())
}

fn take_sku(page: &mut WorkspacePage, sku: &Map<String, Value>) -> Result<(), ControlError> {
    let name = sku.get("name").and_then(Value::as_str).and_then(|name| SKUS.iter().find(|known| known.eq_ignore_ascii_case(name)));
    let name = *name.ok_or(ControlError::Invalid {
        what: "properties.sku.name",
        why: "it is one of Free, Standard, Premium, PerNode, PerGB2018, Standalone, CapacityReservation",
    })?;
    // A linked workspace sent back whole says so; it is nothing that its owner sets.
    if name == LINKED_SKU {
        return Ok(());
    }
    page.sku.clear();
    page.sku.insert("name".to_owned(), name.into());
    match sku.get("capacityReservationLevel") {
        None | Some(Value::Null) => {}
        Some(level) if level.as_u64().is_some_and(|level| level > 0) => {
            drop(page.sku.insert("capacityReservationLevel".to_owned(), level.clone()));
        }
        Some(_) => return Err(ControlError::Invalid { what: "properties.sku.capacityReservationLevel", why: "a number of GB a day" }),
    }
    Ok(())
}

/// What is kept of a property; `None`: it is not one that an owner sets, or means nothing here.
fn known(name: &str, value: &Value) -> Result<Option<Value>, ControlError> {
    let wrong = |what: &'static str, why: &'static str| Err(ControlError::Invalid { what, why });
    match (name, value) {
        (
            "publicNetworkAccessForIngestion"
            | "publicNetworkAccessForQuery"
            | "forceCmkForQuery"
            | "workspaceCapping"
            | "defaultDataCollectionRuleResourceId",
            Value::Null,
        ) => Ok(Some(Value::Null)),
        ("publicNetworkAccessForIngestion" | "publicNetworkAccessForQuery", value) => {
            let word = value.as_str().and_then(|text| ACCESS.iter().find(|word| word.eq_ignore_ascii_case(text)));
            match word {
                Some(word) => Ok(Some((*word).into())),
                None => wrong("properties.publicNetworkAccess", "Enabled, Disabled or SecuredByPerimeter"),
            }
        }
        ("forceCmkForQuery", Value::Bool(_)) | ("defaultDataCollectionRuleResourceId", Value::String(_)) => Ok(Some(value.clone())),
        ("forceCmkForQuery", _) => wrong("properties.forceCmkForQuery", "true or false"),
        ("workspaceCapping", Value::Object(capping)) => match capping.get("dailyQuotaGb") {
            None | Some(Value::Null) => Ok(None),
            Some(quota) if quota.as_f64().is_some_and(|gb| gb > 0.0 || (gb + 1.0).abs() < f64::EPSILON) => Ok(Some(quota.clone())),
            Some(_) => wrong("properties.workspaceCapping.dailyQuotaGb", "a number of GB a day, or -1 for none"),
        },
        ("workspaceCapping", _) => wrong("properties.workspaceCapping", "an object"),
        ("defaultDataCollectionRuleResourceId", _) => wrong("properties.defaultDataCollectionRuleResourceId", "the path of a rule"),
        ("replication", Value::Object(replication)) if replication.get("enabled") == Some(&Value::Bool(true)) => {
            wrong("properties.replication", "workspaces are not replicated to another region here")
        }
        _ => Ok(None),
    }
}

fn set(members: &mut Map<String, Value>, name: &str, value: Value) {
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taken(bodies: &[Value]) -> Result<WorkspacePage, String> {
        let mut page = WorkspacePage::default();
        for body in bodies {
            take(&mut page, body.as_object().unwrap()).map_err(|error| error.to_string())?;
        }
        Ok(page)
    }

    #[test]
    fn what_is_absent_stays_null_goes_and_unknown_features_come_back() {
        let page = taken(&[
            json!({"tags": {"team": "shop"}, "properties": {
                "sku": {"name": "pergb2018", "lastSkuUpdate": "x"}, "publicNetworkAccessForQuery": "disabled", "customerId": "x",
                "features": {"enableDataExport": true, "somethingNew": {"a": [1]}, "clusterResourceId": "/x",
                             "ClusterResourceId": "/x", "ASSOCIATIONS": []},
                "workspaceCapping": {"dailyQuotaGb": 2.5, "quotaNextResetTime": "x"}, "forceCmkForQuery": true,
            }}),
            json!({"properties": {"features": {"disableLocalAuth": true, "enableDataExport": null}, "forceCmkForQuery": null}}),
            json!({"properties": {"sku": {"name": "LACluster"}}}),
        ])
        .unwrap();
        assert_eq!(Value::from(page.tags), json!({"team": "shop"}));
        assert_eq!(Value::from(page.sku), json!({"name": "PerGB2018"}));
        assert_eq!(Value::from(page.features), json!({"disableLocalAuth": true, "somethingNew": {"a": [1]}}));
        assert_eq!(Value::from(page.properties), json!({"publicNetworkAccessForQuery": "Disabled", "workspaceCapping": 2.5}));
        let none = taken(&[json!({"tags": {"a": "b"}}), json!({"tags": null, "properties": null})]).unwrap();
        assert_eq!(none, WorkspacePage::default());
    }

    #[test]
    fn a_value_that_is_none_is_refused_by_its_name() {
        for (properties, name) in [
            (json!({"sku": {"name": "Gold"}}), "properties.sku.name"),
            (json!({"sku": {"name": "CapacityReservation", "capacityReservationLevel": "much"}}), "capacityReservationLevel"),
            (json!({"publicNetworkAccessForIngestion": "Sometimes"}), "publicNetworkAccess"),
            (json!({"forceCmkForQuery": "yes"}), "forceCmkForQuery"),
            (json!({"workspaceCapping": {"dailyQuotaGb": -2}}), "dailyQuotaGb"),
            (json!({"features": []}), "features"),
            (json!({"replication": {"enabled": true, "location": "there"}}), "replication"),
        ] {
            let error = taken(&[json!({"properties": properties})]).unwrap_err();
            assert!(error.contains(name), "{name}: {error}");
        }
        assert!(taken(&[json!({"tags": {"a": 5}})]).unwrap_err().contains("tags"));
    }
}
