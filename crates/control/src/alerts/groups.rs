//! Action groups: who is called when an alert fires. Webhooks alone; a group that names others is refused, not kept half.
//!
//! Addresses of webhooks hold secrets, so what a group says is a cell under the provider's root key: a group belongs to no workspace.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use strongroom_catalog::{ActionGroupRow, Catalog};
use strongroom_envelope::Mmk;
use strongroom_model::ObjectId;
use strongroom_world::World;
use url::Url;
use zeroize::Zeroizing;

use super::check_place;
use crate::collection::Misread;
use crate::{ControlError, Place};

/// Groups that there may be.
const COUNT_MAX: usize = 5_000;
/// Webhooks of a group (Azure's limit).
const WEBHOOKS_MAX: usize = 10;
/// Bytes of an address.
const ADDRESS_MAX: usize = 2_048;
/// Characters of a short name (Azure's limit).
const SHORT_NAME_MAX: usize = 12;

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// What it is called in its group.
    pub name: String,
    /// Where it listens.
    pub url: String,
}

/// What a group says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionGroup {
    /// As it was given.
    pub properties: Map<String, Value>,
    /// Whether anybody is called.
    pub enabled: bool,
    /// Its webhooks.
    pub receivers: Vec<Receiver>,
}

fn misread(target: impl Into<String>, message: impl Into<String>) -> Misread {
    Misread { target: target.into(), message: message.into() }
}

impl ActionGroup {
    /// Reads a group's `properties`.
    ///
    /// # Errors
    /// [`Misread`], the first thing that is wrong, or that is not to be had here.
    pub fn read(mut properties: Map<String, Value>) -> Result<Self, Misread> {
        properties.retain(|name, value| !value.is_null() && name != "provisioningState");
        let mut receivers: Vec<Receiver> = Vec::new();
        let enabled = match properties.get("enabled") {
            None => true,
            Some(Value::Bool(enabled)) => *enabled,
            Some(_) => return Err(misread("properties.enabled", "true or false is expected")),
        };
        let short = properties.get("groupShortName").and_then(Value::as_str).unwrap_or_default();
        if short.is_empty() || short.chars().count() > SHORT_NAME_MAX {
            return Err(misread("properties.groupShortName", format!("1 to {SHORT_NAME_MAX} characters are expected")));
        }
        for (name, value) in &properties {
            match (name.as_str(), value) {
                ("enabled" | "groupShortName", _) => {}
                ("webhookReceivers", Value::Array(listed)) if listed.len() <= WEBHOOKS_MAX => {
                    for (index, one) in listed.iter().enumerate() {
                        let receiver = receiver(one, &format!("properties.webhookReceivers[{index}]"))?;
                        if receivers.iter().any(|known| known.name == receiver.name) {
                            let at = format!("properties.webhookReceivers[{index}].name");
                            return Err(misread(at, "there is a receiver of that name already"));
                        }
                        receivers.push(receiver);
                    }
                }
                ("webhookReceivers", _) => {
                    return Err(misread("properties.webhookReceivers", format!("an array of at most {WEBHOOKS_MAX} is expected")));
                }
                (_, Value::Array(listed)) if name.ends_with("Receivers") && listed.is_empty() => {}
                _ if name.ends_with("Receivers") => {
                    return Err(misread(format!("properties.{name}"), "webhooks alone are called here: webhookReceivers"));
                }
                _ => return Err(misread(format!("properties.{name}"), "there is no such property of an action group here")),
            }
        }
        Ok(Self { properties, enabled, receivers })
    }
}

fn receiver(one: &Value, at: &str) -> Result<Receiver, Misread> {
    let Value::Object(one) = one else { return Err(misread(at, "an object is expected")) };
    let name = one.get("name").and_then(Value::as_str).filter(|name| !name.is_empty() && name.len() <= 128);
    let name = name.ok_or_else(|| misread(format!("{at}.name"), "1 to 128 bytes are expected"))?;
    let url = one.get("serviceUri").and_then(Value::as_str).filter(|url| url.len() <= ADDRESS_MAX);
    let read = url.and_then(|url| Url::parse(url).ok());
    let fine = read
        .is_some_and(|url| url.scheme() == "https" && url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    let url = url
        .filter(|_| fine)
        .ok_or_else(|| misread(format!("{at}.serviceUri"), "an https:// address is expected, without user or fragment"))?;
    if one.get("useAadAuth").and_then(Value::as_bool).unwrap_or(false) {
        return Err(misread(format!("{at}.useAadAuth"), "a webhook is called as nobody here: put a secret into its address"));
    }
    Ok(Receiver { name: name.to_owned(), url: url.to_owned() })
}

/// The action groups of a catalog.
#[derive(Debug)]
pub struct ActionGroups {
    world: World,
    catalog: Catalog,
    mmk: Arc<Mmk>,
    /// Held while one is counted and made, so that no two are the last one.
    making: tokio::sync::Mutex<()>,
}

impl ActionGroups {
    /// Those of a catalog, sealed under `mmk`.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, mmk: Arc<Mmk>) -> Self {
        Self { world, catalog, mmk, making: tokio::sync::Mutex::default() }
    }

    /// Makes a group or writes one anew. Whether it is new.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for a bad name; [`ControlError::TooMany`].
    pub async fn put(
        &self,
        place: &Place,
        region: &str,
        tags: &Map<String, Value>,
        group: &ActionGroup,
    ) -> Result<(ActionGroupRow, bool), ControlError> {
        check_place(place)?;
        let _making = self.making.lock().await;
        let there = self.catalog.action_group(&place.subscription, &place.resource_group, &place.name).await?;
        if there.is_none() && self.catalog.action_groups().await?.len() >= COUNT_MAX {
            return Err(ControlError::TooMany { what: "action groups", max: COUNT_MAX });
        }
        let (cell_id, now_ms) = (self.mint(), self.world.clock.wall().unix_ms());
        let plain = Zeroizing::new(serde_json::to_vec(&group.properties).unwrap_or_default());
        let row = ActionGroupRow {
            id: there.as_ref().map_or_else(|| self.mint(), |row| row.id),
            name: there.as_ref().map_or_else(|| place.name.clone(), |row| row.name.clone()),
            subscription: place.subscription.clone(),
            resource_group: place.resource_group.clone(),
            region: there.as_ref().map_or_else(|| region.to_owned(), |row| row.region.clone()),
            tags: json!(tags).to_string(),
            cell_id,
            cell: self.mmk.seal_cell(self.world.rng.as_ref(), cell_id, &plain),
            created_ms: there.as_ref().map_or(now_ms, |row| row.created_ms),
            changed_ms: now_ms,
        };
        self.catalog.action_group_put(&row).await?;
        tracing::info!(group = %row.id, "action group written");
        Ok((row, there.is_none()))
    }

    /// One group, sealed.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn get(&self, place: &Place) -> Result<ActionGroupRow, ControlError> {
        let row = self.catalog.action_group(&place.subscription, &place.resource_group, &place.name).await?;
        row.ok_or_else(|| ControlError::NotFound { what: "action group", name: place.name.clone() })
    }

    /// All groups, sealed.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn list(&self) -> Result<Vec<ActionGroupRow>, ControlError> {
        Ok(self.catalog.action_groups().await?)
    }

    /// Takes a group away. Whether it was there. Rules that name it call nobody of it any more.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn delete(&self, place: &Place) -> Result<bool, ControlError> {
        let row = self.catalog.action_group(&place.subscription, &place.resource_group, &place.name).await?;
        let Some(row) = row else { return Ok(false) };
        Ok(self.catalog.action_group_delete(row.id).await?)
    }

    /// What a group says.
    ///
    /// # Errors
    /// [`ControlError::Damaged`].
    pub fn open(&self, row: &ActionGroupRow) -> Result<ActionGroup, ControlError> {
        let damaged = || ControlError::Damaged { what: "the action group" };
        let plain = Zeroizing::new(self.mmk.open_cell(row.cell_id, &row.cell).map_err(|_| damaged())?);
        ActionGroup::read(serde_json::from_slice(&plain).map_err(|_| damaged())?).map_err(|_| damaged())
    }

    fn mint(&self) -> ObjectId {
        let (ms, random) = self.world.id_seed();
        ObjectId::mint(ms, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(properties: Value) -> Result<ActionGroup, Misread> {
        let Value::Object(properties) = properties else { panic!("an object") };
        ActionGroup::read(properties)
    }

    #[test]
    fn webhooks_are_taken_and_all_else_is_refused_by_name() {
        let hook = json!({"name": "pager", "serviceUri": "https://pager.example/x?token=1", "useCommonAlertSchema": false});
        // As the command line sends it: every kind of receiver, empty.
        let group = read(json!({
            "groupShortName": "ops", "enabled": true, "webhookReceivers": [hook], "emailReceivers": [], "smsReceivers": [],
            "eventHubReceivers": [], "armRoleReceivers": null,
        }))
        .unwrap();
        assert_eq!(group.receivers, [Receiver { name: "pager".to_owned(), url: "https://pager.example/x?token=1".to_owned() }]);
        for (change, target) in [
            (json!({"emailReceivers": [{"name": "a", "emailAddress": "a@b.example"}]}), "properties.emailReceivers"),
            (json!({"groupShortName": "more than twelve"}), "properties.groupShortName"),
            (json!({"webhookReceivers": [{"name": "a", "serviceUri": "http://a.example/"}]}), "properties.webhookReceivers[0].serviceUri"),
            (
                json!({"webhookReceivers": [{"name": "a", "serviceUri": "https://u:p@a.example/"}]}),
                "properties.webhookReceivers[0].serviceUri",
            ),
            (
                json!({"webhookReceivers": [{"name": "a", "serviceUri": "https://a.example/", "useAadAuth": true}]}),
                "properties.webhookReceivers[0].useAadAuth",
            ),
            (json!({"colour": "red"}), "properties.colour"),
        ] {
            let mut properties = json!({"groupShortName": "ops"});
            properties.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            assert_eq!(read(properties).unwrap_err().target, target);
        }
    }
}
