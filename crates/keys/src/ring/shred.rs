//! Keys that end for good.

use strongroom_model::{AccountId, WorkspaceId};

use super::KeyRing;
use crate::KeyError;

impl KeyRing {
    /// Wipes a workspace's keys of every epoch, for all holders: its secrets were destroyed.
    pub fn forget_workspace(&self, workspace: WorkspaceId) {
        for guard in self.guards.read().values() {
            guard.forget_workspace(workspace);
        }
    }

    /// Wipes every key of an account, whatever its class, and forgets its gate: its records are to be destroyed.
    pub fn kill_account(&self, account: AccountId) {
        self.guards.write().retain(|epoch, guard| {
            let keep = epoch.account != account;
            if !keep {
                guard.kill();
            }
            keep
        });
        self.reigning.lock().remove(&account);
        self.gates.write().remove(&account);
    }

    /// Removes the copies of an account's key records that lie beside the data.
    ///
    /// # Errors
    /// [`KeyError::Objects`]; what is left is found by the next try.
    pub async fn erase_copies(&self, account: AccountId) -> Result<(), KeyError> {
        self.copies.erase_account(account).await
    }
}
