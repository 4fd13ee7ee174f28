//! What would be refused later, told before: everything that setting a key and linking a workspace insist on.

use serde::Serialize;
use strongroom_catalog::{ClusterRow, ClusterState, IdentityType, WorkspaceRow};
use strongroom_keys::provider::KeyFacts;

use super::{Clusters, KeyProperties};
use crate::vaults::vault_uri;
use crate::{ControlError, Refusal};

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it is in order.
    pub ok: bool,
    /// What was found, and what to do about it.
    pub text: String,
}

impl Check {
    fn good(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, ok: true, text: text.into() }
    }

    fn bad(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, ok: false, text: text.into() }
    }
}

impl Clusters {
    /// Looks at a cluster, a key (the cluster's own if `None`) and a workspace that is to be linked, and changes nothing.
    ///
    /// # Errors
    /// ER13 for a key that is none; what the catalog says.
    pub async fn check(
        &self,
        row: &ClusterRow,
        key: Option<KeyProperties>,
        workspace: Option<&WorkspaceRow>,
    ) -> Result<Vec<Check>, ControlError> {
        let mut checks = vec![check_state(row), check_identity(row)];
        let own = row.key.as_ref().map(|key| KeyProperties {
            vault_uri: key.vault_uri.clone(),
            name: key.name.clone(),
            version: key.version.clone(),
        });
        match key.or(own) {
            None => checks.push(Check::bad("key", "no key is set and none was named: `cluster set-key` sets one")),
            Some(key) => self.check_key(row, &key, &mut checks).await?,
        }
        if let Some(workspace) = workspace {
            self.check_workspace(row, workspace, &mut checks).await?;
        }
        Ok(checks)
    }

    async fn check_key(&self, row: &ClusterRow, key: &KeyProperties, checks: &mut Vec<Check>) -> Result<(), ControlError> {
        let kek = key.kek()?;
        let uri = vault_uri(&kek);
        let Some(vault) = self.catalog.vault_ref_by_uri(&uri).await? else {
            checks.push(Check::bad("vault", Refusal::VaultUnknown { uri }.to_string()));
            return Ok(());
        };
        checks.push(Check::good("vault", format!("{uri} is registered as {}", vault.name)));
        checks.push(same_region("vault region", &format!("vault {}", vault.name), &vault.region, row));
        if let Err(ControlError::Refused(refusal @ (Refusal::TenantMismatch { .. } | Refusal::PrivateLinkNeedsSystem { .. }))) =
            self.check_vault(row, &kek).await
        {
            checks.push(Check::bad("vault use", refusal.to_string()));
        }
        checks.push(match kek.key_version.as_deref() {
            None => Check::good("version", "follows the newest version of the key"),
            Some(version) => Check::good(
                "version",
                format!("pinned to {version}: after a rotation the cluster has to be updated; an empty version follows the newest and is advised"),
            ),
        });
        match self.desk.probe(row, &kek).await {
            Ok(facts) => {
                checks.push(Check::good("permissions", "get, wrapKey and unwrapKey work with the cluster's identity"));
                checks.push(Check::good("recoverable", format!("the vault keeps deleted keys: {}", facts.recovery_level)));
                checks.push(Check::good("key", format!("{}, version {} in use, newest {}", strength(&facts), facts.used, facts.newest)));
                if !facts.other_enabled.is_empty() {
                    let others = facts.other_enabled.join(", ");
                    checks.push(Check::good("other versions", format!("still enabled: {others}")));
                }
            }
            Err(ControlError::Refused(refusal)) => {
                let name = if refusal == Refusal::KeyNotRecoverable { "recoverable" } else { "key" };
                let text = refusal.detail().map_or_else(|| refusal.to_string(), |(code, why)| format!("{code}: {why}"));
                checks.push(Check::bad(name, text));
            }
            Err(error) => checks.push(Check::bad("key", format!("{}: {error}", error.code()))),
        }
        Ok(())
    }

    async fn check_workspace(&self, row: &ClusterRow, workspace: &WorkspaceRow, checks: &mut Vec<Check>) -> Result<(), ControlError> {
        checks.push(same_region("workspace region", &format!("workspace {}", workspace.name), &workspace.region, row));
        checks.push(match workspace.link {
            None => Check::good("link", "the workspace is not linked yet"),
            Some(link) if link.cluster == row.id => Check::good("link", "the workspace is linked to this cluster"),
            Some(link) => {
                let cluster = self.catalog.cluster_get(link.cluster).await?.map_or_else(|| link.cluster.to_string(), |row| row.name);
                Check::bad("link", Refusal::LinkedElsewhere { cluster }.to_string())
            }
        });
        Ok(())
    }
}

fn check_state(row: &ClusterRow) -> Check {
    match row.state {
        ClusterState::Succeeded => Check::good("cluster", "its last change succeeded"),
        state => Check::bad("cluster", format!("it is in state {state}; wait until it is Succeeded")),
    }
}

fn check_identity(row: &ClusterRow) -> Check {
    if row.identity_type == IdentityType::None {
        return Check::bad("identity", Refusal::IdentityNoneIsFinal { cluster: row.name.clone() }.to_string());
    }
    match &row.identity {
        Some(identity) => Check::good("identity", format!("{} of tenant {}", identity.principal, identity.tenant)),
        None => Check::bad("identity", "the cluster has no identity to show to a vault"),
    }
}

fn same_region(name: &'static str, what: &str, region: &str, row: &ClusterRow) -> Check {
    if region.eq_ignore_ascii_case(&row.region) {
        return Check::good(name, format!("{what} and the cluster are in {region}"));
    }
    Check::bad(
        name,
        format!("{what} is in {region}, cluster {} in {}: vault, cluster and workspaces belong in one region", row.name, row.region),
    )
}

/// A key's kind and size: `RSA 2048`, `aes256-gcm96`.
fn strength(facts: &KeyFacts) -> String {
    let kind = if facts.key_type.is_empty() { "RSA" } else { &facts.key_type };
    if facts.rsa_bits == 0 { kind.to_owned() } else { format!("{kind} {}", facts.rsa_bits) }
}
