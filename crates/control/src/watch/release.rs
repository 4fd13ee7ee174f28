//! Letting a key out of quarantine: an operator's decision, and the vault's proof.

use std::sync::Arc;
use std::time::Duration;

use strongroom_catalog::ClusterRow;
use strongroom_keys::KeyError;
use strongroom_keys::state::{KeyState, Moment};

use super::Watch;
use crate::audit::{Event, name};
use crate::{ControlError, Refusal};

/// How long the vault may take to give every AEK of the cluster back.
const PROOF_MAX: Duration = Duration::from_secs(20);

impl Watch {
    /// Ends a quarantine: every record of the cluster has to unwrap and verify now, over a new connection and login. The key then
    /// is as after a start: the poll that follows at once brings it back, or does not.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] if it is not in quarantine or the vault takes too long; [`Refusal::KeyNotValid`] with the vault's code,
    /// and an error of integrity, if it does not unwrap all of it truly: then it stays where it is.
    pub(super) async fn release(self: &Arc<Self>, cluster: &ClusterRow) -> Result<(), ControlError> {
        let none = ControlError::Conflict { why: "the cluster's key is not in quarantine" };
        let Some(watched) = self.of(cluster.id) else { return Err(none) };
        {
            let _alone = watched.busy.lock().await;
            if watched.machine.lock().state() != KeyState::Quarantined {
                return Err(none);
            }
            let (_, vault) = watched.vault.read().clone();
            let proved = async {
                vault.fresh().await;
                // An older record that was put back gives way to the newest one known, if that still lies beside the data.
                let mended = self.deps.keys.mend_records(watched.account).await?;
                Ok((mended, self.deps.keys.prove(watched.account, vault.as_ref()).await?))
            };
            let proved = tokio::select! {
                proved = proved => proved,
                () = self.deps.world.clock.sleep(PROOF_MAX) => return Err(ControlError::Conflict { why: "the vault did not answer in time" }),
            };
            let (mended, keys) = proved.map_err(refused)?;
            self.deps.keys.trust(watched.account);
            // The one place where a quarantine ends.
            tracing::warn!(cluster = %watched.cluster, keys, "key released from quarantine by an operator");
            let event = Event::new(name::KEY_RELEASED).cluster(watched.cluster).account(watched.account);
            self.deps.audit.note(event.with("keys", keys).with("mended", mended));
            let step = watched.machine.lock().on_released(Moment::now(&self.deps.world));
            self.act(&watched, step).await;
        }
        self.turn(&watched, true).await;
        self.settle(&watched).await;
        watched.wake.notify_one();
        Ok(())
    }
}

/// A proof that failed: what the vault said, as a refusal; what did not verify, as what it is.
fn refused(error: KeyError) -> ControlError {
    match error {
        KeyError::Vault(vault) if vault.code() != "IntegrityError" => {
            Refusal::KeyNotValid { problem: vault.vault_code().to_owned(), why: vault.to_string() }.into()
        }
        other => other.into(),
    }
}
