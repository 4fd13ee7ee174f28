//! A new cluster: what a request may ask of one that is not there yet.

use std::sync::Arc;

use strongroom_catalog::{Billing, CatalogError, ClusterRow, ClusterState, IdentityType};
use strongroom_keys::provider::KekRef;
use strongroom_model::ObjectId;

use super::{Accepted, ClusterAsk, Clusters, DAY_MS, Place, RESERVED_DAYS, SKU, apply, is_name, is_region, region_name, rfc3339};
use crate::operations::Change;
use crate::{ControlError, Refusal};

impl Clusters {
    pub(super) async fn create(self: &Arc<Self>, place: &Place, ask: ClusterAsk) -> Result<Accepted, ControlError> {
        let name_min = self.rules.cluster_name_min;
        if !is_name(&place.name, name_min) {
            return Err(Refusal::ClusterName { min: name_min }.into());
        }
        place.check()?;
        let sku_capacity = self.rules.new_capacity(&ask)?;
        let user_identity = self.identity_of_new(&ask).await?;
        let kek = self.kek_of(&ask)?;
        if kek.is_some() && user_identity.is_none() {
            // Its own identity does not exist yet: nobody can have granted it anything.
            return Err(Refusal::KeyOnCreate.into());
        }
        let now_ms = self.now_ms();
        self.check_reserved(place, now_ms).await?;
        let region = match ask.region.as_deref().map(region_name) {
            Some(region) if is_region(&region) => region,
            Some(_) => return Err(ControlError::Invalid { what: "location", why: "1 to 64 letters and digits are allowed" }),
            None => self.workspaces.region().await?,
        };
        self.check_room(place, &region, now_ms).await?;
        let single = self.rules.single_encryption_regions.iter().any(|name| region_name(name) == region);
        if single && ask.double != Some(false) {
            return Err(Refusal::DoubleNotSupported { region }.into());
        }
        let (ms, random) = self.world.id_seed();
        let mut row = ClusterRow {
            id: ObjectId::mint(ms, random),
            name: place.name.clone(),
            subscription: place.subscription.clone(),
            resource_group: place.resource_group.clone(),
            region,
            account: None,
            state: ClusterState::Creating,
            identity_type: if user_identity.is_some() { IdentityType::UserAssigned } else { IdentityType::SystemAssigned },
            identity: None,
            user_identity,
            sku_name: SKU.to_owned(),
            sku_capacity,
            billing: Billing::Cluster,
            double: ask.double.unwrap_or(true),
            tags: "{}".to_owned(),
            key: None,
            created_ms: now_ms,
            modified_ms: now_ms,
            deleted_ms: None,
            sku_ms: now_ms,
        };
        apply(&mut row, &ask, now_ms)?;
        if let Some(kek) = &kek {
            self.try_key(&row, kek).await?;
        }
        // Once more, alone: others may have come meanwhile.
        let _making = self.making.lock().await;
        self.check_room(place, &row.region, now_ms).await?;
        let change = Change::Create { cluster: row.id, key: ask.key };
        let operation = self.begin(&row, &change, || Refusal::ReplaceWhileBusy).await?;
        if let Err(error) = self.catalog.cluster_insert(&row).await {
            let error = match error {
                CatalogError::Conflict { .. } => Refusal::ReplaceWhileBusy.into(),
                other => ControlError::from(other),
            };
            self.operations.finish(&operation, Some(&error)).await?;
            return Err(error);
        }
        tracing::info!(cluster = %row.id, "cluster is being created");
        self.spawn(operation.clone(), change);
        Ok(Accepted { cluster: row, operation: Some(operation) })
    }

    /// Whether the identity that the customer made gets at the key, before there is a cluster: refused, none is left behind.
    async fn try_key(&self, row: &ClusterRow, kek: &KekRef) -> Result<(), ControlError> {
        self.check_vault(row, kek).await?;
        let user = row.user_identity.ok_or(ControlError::Damaged { what: "a user-assigned identity" })?;
        let user = self.catalog.user_identity(user).await?.ok_or(ControlError::Damaged { what: "a user-assigned identity" })?;
        let identity = Some(self.desk.lend_identity(row.id, &user).await?);
        self.desk.probe(&ClusterRow { identity, ..row.clone() }, kek).await.map(drop)
    }

    /// A deleted cluster's name is not for others: its data may still lie there.
    async fn check_reserved(&self, place: &Place, now_ms: i64) -> Result<(), ControlError> {
        let same = |row: &&ClusterRow| {
            row.name.eq_ignore_ascii_case(&place.name)
                && row.subscription.eq_ignore_ascii_case(&place.subscription)
                && row.resource_group.eq_ignore_ascii_case(&place.resource_group)
                // One that never got an account never held anything.
                && row.account.is_some()
        };
        let gone = self.catalog.cluster_list_deleted().await?;
        let until_ms = gone.iter().filter(same).filter_map(|row| row.deleted_ms).max().map(|ms| ms + i64::from(RESERVED_DAYS) * DAY_MS);
        match until_ms {
            Some(until_ms) if now_ms < until_ms => {
                Err(Refusal::NameReserved { name: place.name.clone(), days: RESERVED_DAYS, until: rfc3339(until_ms) }.into())
            }
            _ => Ok(()),
        }
    }
}
