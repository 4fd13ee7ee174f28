//! How a cluster's key stands, with whose data hangs on it and what would be wiser.

use strongroom_catalog::{ClusterRow, HoldingRow};
use strongroom_keys::state::KeyState;

use super::{Clusters, RewriteView};
use crate::ControlError;
use crate::desk::KeyStatus;

/// How a cluster's key stands.
#[derive(Clone, Debug)]
pub struct KeyReport {
    /// The cluster.
    pub row: ClusterRow,
    /// Its keys.
    pub status: KeyStatus,
    /// Whose blocks are under which of its AEKs.
    pub holdings: Vec<Held>,
    /// The re-key that began last.
    pub rekey: Option<RewriteView>,
    /// What would be wiser.
    pub advice: Vec<String>,
}

/// What a workspace has in blocks of one epoch.
#[derive(Clone, Debug)]
pub struct Held {
    /// How much.
    pub holding: HoldingRow,
    /// The workspace's name, if it is still there.
    pub name: Option<String>,
    /// Whether it is linked to this cluster now.
    pub linked: bool,
}

impl Clusters {
    /// Everything that there is to say of a cluster's key, without asking the vault.
    ///
    /// # Errors
    /// What catalog and keys say.
    pub async fn key_report(&self, row: ClusterRow) -> Result<KeyReport, ControlError> {
        let status = self.desk.status(&row).await?;
        let mut holdings = Vec::new();
        if let Some(account) = row.account {
            for holding in self.catalog.holdings(account).await? {
                let workspace = self.catalog.workspace(holding.workspace).await?;
                let linked = workspace.as_ref().is_some_and(|there| there.link.is_some_and(|link| link.cluster == row.id));
                holdings.push(Held { holding, name: workspace.map(|there| there.name.to_string()), linked });
            }
        }
        let advice = advice(&row, &status);
        let rekey = self.rekey_of(&row).await?;
        Ok(KeyReport { row, status, holdings, rekey, advice })
    }

    /// Lets a cluster's key out of quarantine: an operator looked into it, and the vault proves all of it now.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] if it is not in quarantine; what the vault says, and then it stays there.
    pub async fn release_key(&self, row: &ClusterRow) -> Result<(), ControlError> {
        self.desk.release(row).await
    }
}

/// What to do now and what would be wiser, the most urgent first.
fn advice(row: &ClusterRow, status: &KeyStatus) -> Vec<String> {
    let mut advice = Vec::new();
    if status.state == "Revoked"
        && matches!(status.code.as_deref(), Some("KeyDisabled" | "KeyNotFound"))
        && let Some(pinned) = row.key.as_ref().and_then(|key| key.version.as_deref())
    {
        let mut ready: Vec<&str> = status.aeks.iter().flat_map(|aek| &aek.standby).map(String::as_str).collect();
        ready.sort_unstable();
        ready.dedup();
        let otherwise = match ready.as_slice() {
            [] => String::new(),
            ready => format!(", or update the cluster to version {}: `strongroom cluster set-key {}`", ready.join(" or "), row.name),
        };
        advice
            .push(format!("the vault refuses version {pinned}, which the cluster is pinned to: enable version {pinned} again{otherwise}"));
    }
    if let Some(kek) = status.kek.as_ref().filter(|kek| kek.expired) {
        advice.push(format!(
            "key {} has expired. Data comes and goes as before, but the cluster's key can't be updated: extend its expiry in {}, then \
             update the cluster with it",
            kek.key_name, kek.vault_uri
        ));
    }
    let Some(key) = &row.key else {
        advice.push(format!("no key of yours is set: `strongroom cluster set-key {}` sets one", row.name));
        return advice;
    };
    if status.state == KeyState::Quarantined.as_str() {
        advice.push(format!(
            "the vault gave back another key than was wrapped, or an old key record was put back: somebody has to look into it; `strongroom \
             key release --cluster {}` ends the quarantine if the vault proves every key then",
            row.name
        ));
    }
    let facts = status.kek.as_ref().and_then(|kek| kek.facts.as_ref());
    if let Some(version) = &key.version {
        advice.push(format!(
            "the cluster is pinned to version {version}: after a rotation it has to be updated; an empty version follows the newest by itself"
        ));
        if let Some(facts) = facts.filter(|facts| facts.newest != *version) {
            advice.push(format!("a newer version {} exists: `strongroom cluster set-key {}` moves to it", facts.newest, row.name));
        }
    }
    if let Some(facts) = facts.filter(|facts| !facts.other_enabled.is_empty()) {
        let others = facts.other_enabled.join(", ");
        advice.push(format!("other versions of the key are enabled ({others}): to revoke, disable the one in use, {}", facts.used));
    }
    advice
}
