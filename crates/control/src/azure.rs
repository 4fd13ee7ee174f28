//! Where users of Azure Monitor find other rules than those of today: the year whose documents hold, and each difference alone.
//!
//! Two documents describe dedicated clusters, of 2025 and of 2021. `compat` takes one of them as a whole; every setting that is left
//! at `compat` follows it, any other word stands for itself. Limits that both agree on have a number of their own.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ControlError;

/// Steps of a capacity reservation, GB a day.
pub const CAPACITY_STEP_GB: i64 = 100;

/// Whose document holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// That of 2025.
    #[default]
    Y2025,
    /// That of 2021.
    Y2021,
}

/// With which status a change that takes its time is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AsyncStatus {
    /// 202 to clients of an api-version from 2022-10-01 on, 200 to older ones, which know no other.
    #[default]
    Auto,
    /// Always 200.
    Ok,
    /// Always 202.
    Accepted,
}

/// What linking a storage account does to the searches that a workspace has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkedContent {
    /// They go there.
    #[default]
    Move,
    /// They are removed for good: copied before, or lost.
    Remove,
}

/// How vaults may give rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PermissionModels {
    /// By roles or by access policies, as a vault says.
    #[default]
    Both,
    /// By access policies alone.
    AccessPolicy,
}

/// A word, or a number that stands for it: the environment tells the two apart by looks alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(i64),
    Text(String),
}

impl Word {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

macro_rules! words {
    ($name:ident, $($word:literal => $value:ident),+) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$value => $word),+ })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                match Word::deserialize(from)?.text().as_str() {
                    $($word => Ok(Self::$value),)+
                    other => Err(D::Error::custom(format!(concat!("{} is none of: ", $("\"", $word, "\" "),+), other))),
                }
            }
        }
    };
}
words!(Compat, "2025" => Y2025, "2021" => Y2021);
words!(LinkedContent, "move" => Move, "remove" => Remove);
words!(PermissionModels, "both" => Both, "access-policy" => AccessPolicy);
words!(AsyncStatus, "auto" => Auto, "200" => Ok, "202" => Accepted);

/// A setting that follows `compat` unless it says something itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice<T> {
    /// As `compat` has it.
    #[default]
    Compat,
    /// This.
    Set(T),
}

impl<T: Copy> Choice<T> {
    fn or(self, default: T) -> T {
        match self {
            Self::Compat => default,
            Self::Set(value) => value,
        }
    }
}

impl<T: Serialize> Serialize for Choice<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Compat => to.serialize_str("compat"),
            Self::Set(value) => value.serialize(to),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Said<T> {
            Set(T),
            Word(String),
        }
        match Said::deserialize(from)? {
            Said::Set(value) => Ok(Self::Set(value)),
            Said::Word(word) if word == "compat" => Ok(Self::Compat),
            Said::Word(word) => Err(D::Error::custom(format!("{word} is neither \"compat\" nor a value of this setting"))),
        }
    }
}

/// The control plane as Azure's clients know it (`docs/azure.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AzureConfig {
    /// "2025" or "2021": what every setting below that says "compat" follows.
    pub compat: Compat,
    /// GB a day that a cluster reserves at least: 100 (2021: 1,000).
    pub capacity_min_gb: Choice<i64>,
    /// And at most.
    pub capacity_max_gb: i64,
    /// Days after a change of the capacity in which it can't be lowered.
    pub capacity_lock_days: u32,
    /// Clusters of a subscription in one region: 5 (2021: 2).
    pub clusters_active_max: Choice<usize>,
    /// The same with those that were deleted and whose names are still reserved: 7 (2021: no such rule).
    pub clusters_reserved_max: Choice<usize>,
    /// Characters of a cluster's name at least: 4 (2021: 3).
    pub cluster_name_min_len: Choice<usize>,
    /// Whether linking takes `workspaces/linkedServices/write` besides writing to cluster and workspace: true (2021: false).
    pub link_requires_linked_services_write: Choice<bool>,
    /// Whether an empty `keyVersion` is taken, and follows the newest version: true (2021: false).
    pub autorotation: Choice<bool>,
    /// Whether an operator can bring a deleted cluster back while its name is reserved: false (2021: true). Texts follow it.
    pub cluster_recover: Choice<bool>,
    /// The status of an answer to a change that takes its time: "auto" (2021: "202"), or "200".
    pub async_status: Choice<AsyncStatus>,
    /// What linking a storage account does to the saved searches that a workspace has: "move" (2021: "remove", for good).
    pub linked_storage_existing: Choice<LinkedContent>,
    /// Whether functions go to the linked storage account along with saved searches: true (2021: false).
    pub linked_storage_functions: Choice<bool>,
    /// Whether a workbook can be asked into the linked storage account, by `storageUri`: true (2021: false, workbooks are the provider's).
    pub linked_storage_workbooks: Choice<bool>,
    /// Whether a linked storage account has to be of kind StorageV2: true (2021: false).
    pub linked_storage_require_v2: Choice<bool>,
    /// Whether searches and alerts of a workspace may be linked to two accounts: true (2021: false).
    pub linked_storage_separate: Choice<bool>,
    /// Whether the hot cache keeps what was asked for lately beyond its days, for `cache.queried_hours`: true (2021: false).
    pub cache_keep_recently_queried: Choice<bool>,
    /// How the embedded vault may give rights: "both" ways (2021: "access-policy"). What a vault was set to before stays.
    pub vault_permission_models: Choice<PermissionModels>,
    /// Workspaces linked to one cluster at most.
    pub linked_workspaces_max: usize,
    /// How often one workspace is linked within `link_operations_days` at most. Unlinking is not counted.
    pub link_operations_max: usize,
    /// Days over which links are counted.
    pub link_operations_days: u32,
    /// Regions whose clusters are not encrypted twice: creating one there has to say so.
    pub single_encryption_regions: Vec<String>,
}

impl Default for AzureConfig {
    fn default() -> Self {
        Self {
            compat: Compat::default(),
            capacity_min_gb: Choice::Compat,
            capacity_max_gb: 50_000,
            capacity_lock_days: 30,
            clusters_active_max: Choice::Compat,
            clusters_reserved_max: Choice::Compat,
            cluster_name_min_len: Choice::Compat,
            link_requires_linked_services_write: Choice::Compat,
            autorotation: Choice::Compat,
            cluster_recover: Choice::Compat,
            async_status: Choice::Compat,
            linked_storage_existing: Choice::Compat,
            linked_storage_functions: Choice::Compat,
            linked_storage_workbooks: Choice::Compat,
            linked_storage_require_v2: Choice::Compat,
            linked_storage_separate: Choice::Compat,
            cache_keep_recently_queried: Choice::Compat,
            vault_permission_models: Choice::Compat,
            linked_workspaces_max: 1_000,
            link_operations_max: 2,
            link_operations_days: 30,
            single_encryption_regions: Vec::new(),
        }
    }
}

/// Those rules, each with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, clippy::struct_excessive_bools, reason = "each is the setting of its name")]
pub struct Rules {
    pub capacity_min_gb: i64,
    pub capacity_max_gb: i64,
    pub capacity_lock_days: u32,
    pub clusters_active_max: usize,
    /// `None`: no such rule.
    pub clusters_reserved_max: Option<usize>,
    pub cluster_name_min: usize,
    pub link_requires_linked_services_write: bool,
    pub autorotation: bool,
    pub cluster_recover: bool,
    pub async_status: AsyncStatus,
    pub linked_storage: LinkedRules,
    pub cache_keep_recently_queried: bool,
    pub vault_permission_models: PermissionModels,
    pub linked_workspaces_max: usize,
    pub link_operations_max: usize,
    pub link_operations_days: u32,
    pub single_encryption_regions: Vec<String>,
}

/// Those of linked storage accounts: the settings that begin `linked_storage_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, clippy::struct_excessive_bools, reason = "each is the setting of its name")]
pub struct LinkedRules {
    pub existing: LinkedContent,
    pub functions: bool,
    pub workbooks: bool,
    pub require_v2: bool,
    pub separate: bool,
}

impl Default for Rules {
    fn default() -> Self {
        AzureConfig::default().rules()
    }
}

impl AzureConfig {
    /// What holds.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let old = self.compat == Compat::Y2021;
        Rules {
            capacity_min_gb: self.capacity_min_gb.or(if old { 1_000 } else { 100 }),
            capacity_max_gb: self.capacity_max_gb,
            capacity_lock_days: self.capacity_lock_days,
            clusters_active_max: self.clusters_active_max.or(if old { 2 } else { 5 }),
            clusters_reserved_max: match self.clusters_reserved_max {
                Choice::Set(max) => Some(max),
                Choice::Compat => (!old).then_some(7),
            },
            cluster_name_min: self.cluster_name_min_len.or(if old { 3 } else { 4 }),
            link_requires_linked_services_write: self.link_requires_linked_services_write.or(!old),
            autorotation: self.autorotation.or(!old),
            cluster_recover: self.cluster_recover.or(old),
            async_status: self.async_status.or(if old { AsyncStatus::Accepted } else { AsyncStatus::Auto }),
            linked_storage: LinkedRules {
                existing: self.linked_storage_existing.or(if old { LinkedContent::Remove } else { LinkedContent::Move }),
                functions: self.linked_storage_functions.or(!old),
                workbooks: self.linked_storage_workbooks.or(!old),
                require_v2: self.linked_storage_require_v2.or(!old),
                separate: self.linked_storage_separate.or(!old),
            },
            cache_keep_recently_queried: self.cache_keep_recently_queried.or(!old),
            vault_permission_models: self.vault_permission_models.or(if old {
                PermissionModels::AccessPolicy
            } else {
                PermissionModels::Both
            }),
            linked_workspaces_max: self.linked_workspaces_max,
            link_operations_max: self.link_operations_max,
            link_operations_days: self.link_operations_days,
            single_encryption_regions: self.single_encryption_regions.clone(),
        }
    }

    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// [`ControlError::Setting`], naming the first one out of bounds.
    pub fn check(&self) -> Result<(), ControlError> {
        let rules = self.rules();
        let gb = |value: i64| u64::try_from(value).unwrap_or(0);
        let settings = [
            ("azure.capacity_min_gb", gb(rules.capacity_min_gb), 1, 1_000_000),
            ("azure.capacity_max_gb", gb(rules.capacity_max_gb), gb(rules.capacity_min_gb), 1_000_000_000),
            ("azure.capacity_lock_days", u64::from(rules.capacity_lock_days), 0, 366),
            ("azure.clusters_active_max", rules.clusters_active_max as u64, 1, 10_000),
            ("azure.clusters_reserved_max", rules.clusters_reserved_max.unwrap_or(1) as u64, 1, 10_000),
            ("azure.cluster_name_min_len", rules.cluster_name_min as u64, 1, 63),
            ("azure.linked_workspaces_max", rules.linked_workspaces_max as u64, 1, 100_000),
            ("azure.link_operations_max", rules.link_operations_max as u64, 1, 1_000_000),
            ("azure.link_operations_days", u64::from(rules.link_operations_days), 1, 366),
        ];
        for (name, value, min, max) in settings {
            if !(min..=max).contains(&value) {
                return Err(ControlError::Setting { name, value, min, max });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AzureConfig, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn the_year_sets_every_difference_and_each_can_be_set_alone() {
        let new = read("{}").unwrap().rules();
        assert_eq!((new.capacity_min_gb, new.clusters_active_max, new.clusters_reserved_max), (100, 5, Some(7)));
        assert_eq!((new.cluster_name_min, new.link_requires_linked_services_write, new.autorotation), (4, true, true));
        assert_eq!((new.cluster_recover, new.async_status), (false, AsyncStatus::Auto));
        let linked = |existing, all| LinkedRules { existing, functions: all, workbooks: all, require_v2: all, separate: all };
        assert_eq!(new.linked_storage, linked(LinkedContent::Move, true));
        assert_eq!((new.cache_keep_recently_queried, new.vault_permission_models), (true, PermissionModels::Both));
        for year in [r#"{"compat": "2021"}"#, r#"{"compat": 2021}"#] {
            let old = read(year).unwrap().rules();
            assert_eq!((old.capacity_min_gb, old.clusters_active_max, old.clusters_reserved_max), (1_000, 2, None));
            assert_eq!((old.cluster_name_min, old.link_requires_linked_services_write, old.autorotation), (3, false, false));
            assert_eq!((old.cluster_recover, old.async_status), (true, AsyncStatus::Accepted));
            assert_eq!(old.linked_storage, linked(LinkedContent::Remove, false));
            assert_eq!((old.cache_keep_recently_queried, old.vault_permission_models), (false, PermissionModels::AccessPolicy));
        }
        let alone = |setting: &str| read(&format!("{{{setting}}}")).unwrap().rules();
        let with = |change: fn(&mut Rules)| {
            let mut rules = new.clone();
            change(&mut rules);
            rules
        };
        for (setting, expected) in [
            (r#""capacity_min_gb": 1000"#, with(|rules| rules.capacity_min_gb = 1_000)),
            (r#""clusters_active_max": 2"#, with(|rules| rules.clusters_active_max = 2)),
            (r#""clusters_reserved_max": 9"#, with(|rules| rules.clusters_reserved_max = Some(9))),
            (r#""cluster_name_min_len": 3"#, with(|rules| rules.cluster_name_min = 3)),
            (r#""link_requires_linked_services_write": false"#, with(|rules| rules.link_requires_linked_services_write = false)),
            (r#""autorotation": false"#, with(|rules| rules.autorotation = false)),
            (r#""cluster_recover": true"#, with(|rules| rules.cluster_recover = true)),
            (r#""linked_storage_existing": "remove""#, with(|rules| rules.linked_storage.existing = LinkedContent::Remove)),
            (r#""linked_storage_functions": false"#, with(|rules| rules.linked_storage.functions = false)),
            (r#""linked_storage_workbooks": false"#, with(|rules| rules.linked_storage.workbooks = false)),
            (r#""linked_storage_require_v2": false"#, with(|rules| rules.linked_storage.require_v2 = false)),
            (r#""linked_storage_separate": false"#, with(|rules| rules.linked_storage.separate = false)),
            (r#""cache_keep_recently_queried": false"#, with(|rules| rules.cache_keep_recently_queried = false)),
            (r#""vault_permission_models": "access-policy""#, with(|rules| rules.vault_permission_models = PermissionModels::AccessPolicy)),
            (r#""async_status": "202""#, with(|rules| rules.async_status = AsyncStatus::Accepted)),
            (r#""async_status": 200"#, with(|rules| rules.async_status = AsyncStatus::Ok)),
            (r#""async_status": "compat""#, new.clone()),
        ] {
            assert_eq!(alone(setting), expected, "{setting}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for bad in [
            r#"{"compat": "2023"}"#,
            r#"{"autorotation": "perhaps"}"#,
            r#"{"async_status": "204"}"#,
            r#"{"capacity_min_gb": "much"}"#,
            r#"{"unknown": 1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        AzureConfig::default().check().unwrap();
        for bad in
            [r#"{"capacity_min_gb": -1}"#, r#"{"capacity_max_gb": 99}"#, r#"{"clusters_active_max": 0}"#, r#"{"link_operations_days": 0}"#]
        {
            assert!(matches!(read(bad).unwrap().check(), Err(ControlError::Setting { .. })), "{bad}");
        }
        let text = serde_json::to_string(&AzureConfig::default()).unwrap();
        assert!(text.contains(r#""compat":"2025","capacity_min_gb":"compat""#), "{text}");
        assert_eq!(read(&text).unwrap(), AzureConfig::default());
    }
}
