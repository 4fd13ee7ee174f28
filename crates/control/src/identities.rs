//! User-assigned identities: what a customer makes, grants in their vault, and lets clusters show instead of their own.

use std::sync::Arc;

use strongroom_catalog::{Catalog, CatalogError, UserIdentityRow};
use strongroom_model::{ErrorKind, ObjectId};
use strongroom_world::World;

use crate::desk::KeyDesk;
use crate::{ControlError, Place, Refusal};

const PROVIDER: &str = "Microsoft.ManagedIdentity";
const KIND: &str = "userAssignedIdentities";
/// Identities at most.
const IDENTITIES_MAX: usize = 10_000;
/// Characters of a name, as Azure has it.
const NAME_MAX: usize = 128;
/// Bytes of all tags together.
const TAGS_MAX: usize = 16 << 10;

/// What is told of a new identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserIdentityAsk {
    /// The region.
    pub region: String,
    /// The tags, as a whole.
    pub tags: serde_json::Map<String, serde_json::Value>,
}

/// The user-assigned identities of a catalog.
#[derive(Debug)]
pub struct UserIdentities {
    world: World,
    catalog: Catalog,
    desk: Arc<dyn KeyDesk>,
    /// Held while one is counted and made, so that no two are the last one.
    making: tokio::sync::Mutex<()>,
}

impl Place {
    /// The path of a user-assigned identity there.
    #[must_use]
    pub fn identity_path(&self) -> String {
        let Self { subscription, resource_group, name } = self;
        format!("/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/{PROVIDER}/{KIND}/{name}")
    }

    /// Where a user-assigned identity lies.
    #[must_use]
    pub fn of_identity(row: &UserIdentityRow) -> Self {
        Self { subscription: row.subscription.clone(), resource_group: row.resource_group.clone(), name: row.name.clone() }
    }

    /// Reads the path of a user-assigned identity; case of the fixed parts does not count.
    #[must_use]
    pub fn read_identity_path(path: &str) -> Option<Self> {
        Self::read(path, PROVIDER, KIND)
    }
}

impl UserIdentities {
    /// The user-assigned identities of a catalog.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, desk: Arc<dyn KeyDesk>) -> Self {
        Self { world, catalog, desk, making: tokio::sync::Mutex::default() }
    }

    /// Makes an identity with a key pair of its own, or shows the one that is there.
    ///
    /// # Errors
    /// [`ControlError::Invalid`], [`ControlError::TooMany`].
    pub async fn put(&self, place: &Place, ask: UserIdentityAsk) -> Result<UserIdentityRow, ControlError> {
        let named = (3..=NAME_MAX).contains(&place.name.len())
            && place.name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && place.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !named {
            return Err(ControlError::Invalid { what: "name", why: "3 to 128 letters, digits, hyphens and underscores are allowed" });
        }
        if ask.region.is_empty() || ask.region.len() > 128 || ask.region.chars().any(char::is_control) {
            return Err(ControlError::Invalid { what: "location", why: "1 to 128 bytes without control characters are allowed" });
        }
        let tags = serde_json::Value::from(ask.tags).to_string();
        if tags.len() > TAGS_MAX {
            return Err(ControlError::Invalid { what: "tags", why: "16 KiB in all are allowed" });
        }
        // Before it is looked up: whoever comes second for one name finds it made, also when it was the last that could be.
        let _making = self.making.lock().await;
        if let Some(row) = self.find(place).await? {
            return Ok(row);
        }
        place.check()?;
        if self.catalog.user_identities().await?.len() >= IDENTITIES_MAX {
            return Err(ControlError::TooMany { what: "user-assigned identities", max: IDENTITIES_MAX });
        }
        let (ms, random) = self.world.id_seed();
        let id = ObjectId::mint(ms, random);
        let row = UserIdentityRow {
            id,
            name: place.name.clone(),
            subscription: place.subscription.clone(),
            resource_group: place.resource_group.clone(),
            region: ask.region.chars().filter(|c| *c != ' ').collect::<String>().to_ascii_lowercase(),
            tags,
            identity: self.desk.new_identity(id).await?,
            created_ms: self.world.clock.wall().unix_ms(),
        };
        match self.catalog.user_identity_insert(&row).await {
            Ok(()) => {
                tracing::info!(identity = %row.id, "user-assigned identity made");
                Ok(row)
            }
            // Somebody was quicker: theirs it is.
            Err(CatalogError::Conflict { .. }) => self.get(place).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn find(&self, place: &Place) -> Result<Option<UserIdentityRow>, ControlError> {
        Ok(self.catalog.user_identity_by_name(&place.subscription, &place.resource_group, &place.name).await?)
    }

    /// One identity.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn get(&self, place: &Place) -> Result<UserIdentityRow, ControlError> {
        self.find(place).await?.ok_or_else(|| ControlError::NotFound { what: "user-assigned identity", name: place.name.clone() })
    }

    /// The identities of a subscription, or of one of its resource groups, by name.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn list(&self, subscription: &str, group: Option<&str>) -> Result<Vec<UserIdentityRow>, ControlError> {
        let mut all = self.catalog.user_identities().await?;
        all.retain(|row| {
            row.subscription.eq_ignore_ascii_case(subscription) && group.is_none_or(|name| row.resource_group.eq_ignore_ascii_case(name))
        });
        Ok(all)
    }

    /// Deletes an identity; whether it was there.
    ///
    /// # Errors
    /// [`Refusal::IdentityInUse`] if a cluster shows it.
    pub async fn delete(&self, place: &Place) -> Result<bool, ControlError> {
        let Some(row) = self.find(place).await? else { return Ok(false) };
        self.catalog.user_identity_delete(row.id).await.map_err(|error| match error {
            CatalogError::Orphan { .. } => Refusal::IdentityInUse { name: row.name }.into(),
            other if other.kind() == ErrorKind::NotFound => {
                ControlError::NotFound { what: "user-assigned identity", name: place.name.clone() }
            }
            other => other.into(),
        })
    }
}
