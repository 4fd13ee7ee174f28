//! Tenants, subscriptions, resource groups and regions: what Azure's clients ask for before anything else.
//!
//! A subscription or a group is there because somebody named it or because resources lie in it; nothing has to be made first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strongroom_catalog::{Catalog, DocumentKind, ResourceGroupRow, SubscriptionRow};
use strongroom_model::ObjectId;
use strongroom_world::World;

use crate::clusters::{check_part, region_name};
use crate::{Caller, ControlConfig, ControlError, ScopePath, action};

/// Subscriptions and groups at most.
const SUBSCRIPTIONS_MAX: usize = 1_000;
const GROUPS_MAX: usize = 10_000;
/// Bytes of all tags of a group together.
const TAGS_MAX: usize = 16 << 10;

/// Tenants, subscriptions and regions that are there from the start, and how services log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectoryConfig {
    /// Seconds that an access token works: 300 to 86,400.
    pub token_life_s: u64,
    /// Logins of one service from one address in a minute; the next ones are asked to wait.
    pub logins_per_client_max: u32,
    /// Logins from one address in a minute.
    pub logins_per_address_max: u32,
    /// What tokens may be for besides this server's own address, to be taken at its doors.
    pub audiences: Vec<String>,
    /// Tenants besides the server's own (`control.tenant_id`, else one minted at the first start), GUIDs: clients may log in to each.
    pub tenants: Vec<String>,
    /// Subscriptions that are there from the start; more by `strongroom subscription create`.
    pub subscriptions: Vec<SubscriptionConfig>,
    /// Regions. Empty: the one that the server's workspaces lie in.
    pub regions: Vec<RegionConfig>,
    /// Issuers of other directories whose tokens are believed.
    pub issuers: Vec<IssuerConfig>,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionConfig {
    /// Its id, a GUID.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// Its tenant; empty: the server's own.
    #[serde(default)]
    pub tenant: String,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionConfig {
    /// Its name, like `westeurope`.
    pub name: String,
    /// A name for people; empty: the name.
    #[serde(default)]
    pub display_name: String,
    /// Whether clusters there can have a second layer of encryption.
    #[serde(default = "yes")]
    pub double_encryption: bool,
    /// Whether Lockbox is there.
    #[serde(default = "yes")]
    pub lockbox: bool,
}

/// An issuer of another directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// As its tokens name it (`iss`).
    pub issuer: String,
    /// What its tokens for this server are for (`aud`).
    pub audience: String,
    /// Where its keys are; empty: where `ISSUER/.well-known/openid-configuration` says.
    #[serde(default)]
    pub jwks_url: String,
    /// The claim that names whoever it is.
    #[serde(default = "subject")]
    pub name_claim: String,
    /// Who has which role where, by what the token says.
    pub rules: Vec<IssuerRule>,
}

/// Whoever has this value in this claim has this role there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerRule {
    /// The claim, a text or a list of texts.
    pub claim: String,
    /// The value.
    pub value: String,
    /// The role, by name or id.
    pub role: String,
    /// Where.
    pub scope: String,
}

fn yes() -> bool {
    true
}

fn subject() -> String {
    "sub".to_owned()
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        let audiences = [
            "https://management.azure.com",
            "https://management.core.windows.net",
            "https://monitor.azure.com",
            "https://api.loganalytics.io",
            "https://api.loganalytics.azure.com",
            "https://kusto.kusto.windows.net",
        ];
        Self {
            token_life_s: 3_600,
            logins_per_client_max: 120,
            logins_per_address_max: 1_200,
            audiences: audiences.map(str::to_owned).to_vec(),
            tenants: Vec::new(),
            subscriptions: Vec::new(),
            regions: Vec::new(),
            issuers: Vec::new(),
        }
    }
}

impl DirectoryConfig {
    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// [`ControlError::Setting`] or [`ControlError::Invalid`], naming the first one that is wrong.
    pub fn check(&self) -> Result<(), ControlError> {
        for (name, value, min, max) in [
            ("directory.token_life_s", self.token_life_s, 300, 86_400),
            ("directory.logins_per_client_max", u64::from(self.logins_per_client_max), 1, 1_000_000),
            ("directory.logins_per_address_max", u64::from(self.logins_per_address_max), 1, 1_000_000),
        ] {
            if !(min..=max).contains(&value) {
                return Err(ControlError::Setting { name, value, min, max });
            }
        }
        let guid = |text: &str| text.parse::<ObjectId>().is_ok();
        if !self.tenants.iter().all(|tenant| guid(tenant)) {
            return Err(ControlError::Invalid { what: "directory.tenants", why: "each is a GUID" });
        }
        if !self.subscriptions.iter().all(|one| guid(&one.id) && (one.tenant.is_empty() || guid(&one.tenant))) {
            return Err(ControlError::Invalid { what: "directory.subscriptions", why: "id and tenant are GUIDs" });
        }
        for issuer in &self.issuers {
            if !issuer.issuer.starts_with("https://") || !(issuer.jwks_url.is_empty() || issuer.jwks_url.starts_with("https://")) {
                return Err(ControlError::Invalid { what: "directory.issuers", why: "issuer and jwks_url begin with https://" });
            }
            if issuer.audience.is_empty() || issuer.rules.iter().any(|rule| ScopePath::read(&rule.scope).is_none()) {
                return Err(ControlError::Invalid { what: "directory.issuers", why: "each needs an audience, and rules a scope like /" });
            }
        }
        Ok(())
    }
}

/// The directory of a server.
#[derive(Debug)]
pub struct Directory {
    world: World,
    catalog: Catalog,
    config: DirectoryConfig,
    tenant: String,
    region: String,
}

impl Directory {
    /// The directory of a catalog; `region` is where the server's own workspaces lie.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn open(
        world: World,
        catalog: Catalog,
        control: &ControlConfig,
        config: DirectoryConfig,
        region: String,
    ) -> Result<Self, ControlError> {
        let (ms, random) = world.id_seed();
        let fresh = ObjectId::mint(ms, random).to_string();
        let wanted = control.tenant()?.map(|tenant| tenant.to_string());
        let tenant = catalog.directory_tenant(wanted.as_deref(), &fresh).await?;
        Ok(Self { world, catalog, config, tenant, region })
    }

    /// The server's own tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &DirectoryConfig {
        &self.config
    }

    /// The tenant that somebody means who writes `text` into a path: a GUID, or a word for the server's own. `None`: there is no such.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn tenant_of(&self, text: &str) -> Result<Option<String>, ControlError> {
        if ["adfs", "common", "organizations"].iter().any(|word| word.eq_ignore_ascii_case(text)) {
            return Ok(Some(self.tenant.clone()));
        }
        let named = self.config.tenants.iter().chain([&self.tenant]).find(|tenant| tenant.eq_ignore_ascii_case(text)).cloned();
        if named.is_some() {
            return Ok(named);
        }
        // Anybody may ask for what is no tenant: that is to cost nothing.
        if text.parse::<ObjectId>().is_err() {
            return Ok(None);
        }
        let all = self.all_subscriptions().await?;
        Ok(all.into_values().map(|row| row.tenant).find(|tenant| tenant.eq_ignore_ascii_case(text)))
    }

    /// The regions there are.
    #[must_use]
    pub fn regions(&self) -> Vec<RegionConfig> {
        if !self.config.regions.is_empty() {
            return self.config.regions.clone();
        }
        let name = self.region.clone();
        vec![RegionConfig { display_name: name.clone(), name, double_encryption: true, lockbox: true }]
    }

    /// A region by its name, however it is written.
    #[must_use]
    pub fn region(&self, name: &str) -> Option<RegionConfig> {
        self.regions().into_iter().find(|region| region_name(&region.name) == region_name(name))
    }

    /// All subscriptions: configured, named later, or there because resources lie in them.
    async fn all_subscriptions(&self) -> Result<BTreeMap<String, SubscriptionRow>, ControlError> {
        let mut all = BTreeMap::new();
        let row = |id: &str, name: &str, tenant: &str, created_ms| {
            let tenant = if tenant.is_empty() { self.tenant.clone() } else { tenant.to_owned() };
            (id.to_ascii_lowercase(), SubscriptionRow { id: id.to_ascii_lowercase(), name: name.to_owned(), tenant, created_ms })
        };
        for (subscription, _, _) in self.places().await? {
            let (id, row) = row(&subscription, &subscription, "", 0);
            all.entry(id).or_insert(row);
        }
        for found in self.catalog.resource_groups().await? {
            let (id, row) = row(&found.subscription, &found.subscription, "", 0);
            all.entry(id).or_insert(row);
        }
        all.extend(self.config.subscriptions.iter().map(|one| row(&one.id, &one.name, &one.tenant, 0)));
        all.extend(self.catalog.subscriptions().await?.iter().map(|one| row(&one.id, &one.name, &one.tenant, one.created_ms)));
        Ok(all)
    }

    /// Subscription, group and region of every resource.
    async fn places(&self) -> Result<Vec<(String, String, String)>, ControlError> {
        let mut places: Vec<_> =
            self.catalog.workspaces().await?.into_iter().map(|row| (row.subscription, row.resource_group, row.region)).collect();
        places.extend(self.catalog.cluster_list().await?.into_iter().map(|row| (row.subscription, row.resource_group, row.region)));
        places.extend(self.catalog.vault_ref_list().await?.into_iter().map(|row| (row.subscription, row.resource_group, row.region)));
        places.extend(self.catalog.storage_accounts().await?.into_iter().map(|row| (row.subscription, row.resource_group, row.region)));
        places.extend(self.catalog.user_identities().await?.into_iter().map(|row| (row.subscription, row.resource_group, row.region)));
        places.extend(self.catalog.collection_endpoints().await?.into_iter().map(|row| (row.subscription, row.resource_group, row.region)));
        places.extend(self.catalog.collection_rules().await?.into_iter().map(|row| (row.subscription, row.resource_group, row.region)));
        places.extend(self.catalog.alert_rules().await?.into_iter().map(|row| (row.subscription, row.resource_group, row.region)));
        for kind in [DocumentKind::Workbook, DocumentKind::Pack] {
            let found = self.catalog.documents(kind, ObjectId::NIL).await?;
            places.extend(found.into_iter().map(|row| (row.subscription, row.resource_group, row.region)));
        }
        // Those are of no region; the group that they lie in is of the server's.
        let groups = self.catalog.action_groups().await?;
        places.extend(groups.into_iter().map(|row| (row.subscription, row.resource_group, self.region.clone())));
        Ok(places)
    }

    /// The subscriptions of which a caller may know, by name.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn subscriptions(&self, caller: &Caller) -> Result<Vec<SubscriptionRow>, ControlError> {
        let all = self.all_subscriptions().await?;
        let mut seen: Vec<SubscriptionRow> = all.into_values().filter(|row| caller.sees(&ScopePath::subscription(&row.id))).collect();
        seen.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(seen)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], the same for an absent one and one that the caller may not know of.
    pub async fn subscription(&self, caller: &Caller, id: &str) -> Result<SubscriptionRow, ControlError> {
        let absent = || ControlError::NotFound { what: "subscription", name: id.to_owned() };
        if !caller.sees(&ScopePath::subscription(id)) {
            return Err(absent());
        }
        self.all_subscriptions().await?.remove(&id.to_ascii_lowercase()).ok_or_else(absent)
    }

    /// Makes a subscription, or renames it.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`]: that is for whoever may do it everywhere; [`ControlError::Invalid`], [`ControlError::TooMany`].
    pub async fn put_subscription(&self, caller: &Caller, id: &str, name: &str, tenant: &str) -> Result<SubscriptionRow, ControlError> {
        caller.check(action::SUBSCRIPTIONS_WRITE, &ScopePath::root())?;
        let id: ObjectId = id.parse().map_err(|_| ControlError::Invalid { what: "subscription", why: "its id is a GUID" })?;
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return Err(ControlError::Invalid { what: "name", why: "1 to 64 bytes without control characters are allowed" });
        }
        let tenant = match tenant {
            "" => self.tenant.clone(),
            given => self.tenant_of(given).await?.ok_or(ControlError::Invalid { what: "tenant", why: "not one of [directory] tenants" })?,
        };
        let known = self.catalog.subscriptions().await?;
        if known.len() >= SUBSCRIPTIONS_MAX && !known.iter().any(|row| row.id == id.to_string()) {
            return Err(ControlError::TooMany { what: "subscriptions", max: SUBSCRIPTIONS_MAX });
        }
        let row = SubscriptionRow { id: id.to_string(), name: name.to_owned(), tenant, created_ms: self.world.clock.wall().unix_ms() };
        self.catalog.subscription_put(&row).await?;
        Ok(row)
    }

    /// Forgets a subscription that somebody named; whether it was. One with resources in it stays, without a name.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`]; what the catalog says.
    pub async fn delete_subscription(&self, caller: &Caller, id: &str) -> Result<bool, ControlError> {
        caller.check(action::SUBSCRIPTIONS_WRITE, &ScopePath::root())?;
        Ok(self.catalog.subscription_delete(id).await?)
    }

    /// The resource groups of a subscription of which a caller may know, by name.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn groups(&self, caller: &Caller, subscription: &str) -> Result<Vec<ResourceGroupRow>, ControlError> {
        let mut all = BTreeMap::new();
        for (own, group, region) in self.places().await? {
            if own.eq_ignore_ascii_case(subscription) {
                let row = ResourceGroupRow { subscription: own, name: group.clone(), region, tags: "{}".to_owned(), created_ms: 0 };
                all.entry(group.to_ascii_lowercase()).or_insert(row);
            }
        }
        for row in self.catalog.resource_groups().await? {
            if row.subscription.eq_ignore_ascii_case(subscription) {
                all.insert(row.name.to_ascii_lowercase(), row);
            }
        }
        Ok(all.into_values().filter(|row| caller.sees(&ScopePath::group(subscription, &row.name))).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], the same for an absent one and one that the caller may not know of.
    pub async fn group(&self, caller: &Caller, subscription: &str, name: &str) -> Result<ResourceGroupRow, ControlError> {
        let found = self.groups(caller, subscription).await?.into_iter().find(|row| row.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| ControlError::NotFound { what: "resource group", name: name.to_owned() })
    }

    /// Makes a resource group, or changes its tags. Whether it is new.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`], [`ControlError::NotFound`], [`ControlError::Invalid`], [`ControlError::TooMany`];
    /// [`ControlError::Conflict`] if it lies in another region.
    pub async fn put_group(
        &self,
        caller: &Caller,
        subscription: &str,
        name: &str,
        region: &str,
        tags: serde_json::Map<String, serde_json::Value>,
    ) -> Result<(ResourceGroupRow, bool), ControlError> {
        caller.check(action::GROUPS_WRITE, &ScopePath::group(subscription, name))?;
        check_part("subscription", subscription)?;
        check_part("resource group", name)?;
        if region.is_empty() || region.len() > 128 || region.chars().any(char::is_control) {
            return Err(ControlError::Invalid { what: "location", why: "1 to 128 bytes without control characters are allowed" });
        }
        let tags = serde_json::Value::from(tags).to_string();
        if tags.len() > TAGS_MAX {
            return Err(ControlError::Invalid { what: "tags", why: "16 KiB in all are allowed" });
        }
        let everybody = self.groups(caller, subscription).await?;
        let there = everybody.into_iter().find(|row| row.name.eq_ignore_ascii_case(name));
        if let Some(there) = &there
            && region_name(&there.region) != region_name(region)
        {
            return Err(ControlError::Conflict { why: "the resource group is there already, in another region" });
        }
        if there.is_none() && self.catalog.resource_groups().await?.len() >= GROUPS_MAX {
            return Err(ControlError::TooMany { what: "resource groups", max: GROUPS_MAX });
        }
        let row = ResourceGroupRow {
            subscription: subscription.to_ascii_lowercase(),
            name: there.as_ref().map_or_else(|| name.to_owned(), |row| row.name.clone()),
            region: region_name(region),
            tags,
            created_ms: self.world.clock.wall().unix_ms(),
        };
        self.catalog.resource_group_put(&row).await?;
        Ok((row, there.is_none()))
    }

    /// Deletes an empty resource group; whether it was there.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`], [`ControlError::NotFound`]; [`ControlError::Conflict`] while resources lie in it.
    pub async fn delete_group(&self, caller: &Caller, subscription: &str, name: &str) -> Result<bool, ControlError> {
        caller.check(action::GROUPS_DELETE, &ScopePath::group(subscription, name))?;
        let here = |(own, group, _): &(String, String, String)| own.eq_ignore_ascii_case(subscription) && group.eq_ignore_ascii_case(name);
        if self.places().await?.iter().any(here) {
            return Err(ControlError::Conflict { why: "resources lie in the resource group: delete them first" });
        }
        Ok(self.catalog.resource_group_delete(subscription, name).await?)
    }
}
