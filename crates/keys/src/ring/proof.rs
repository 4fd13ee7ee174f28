//! Proof that an account's records unwrap, without taking what they hold.

use strongroom_model::{AccountId, AekId, Epoch};

use super::KeyRing;
use crate::KeyError;
use crate::provider::KeyVault;

impl KeyRing {
    /// Has every AEK of an account that the customer's key wraps unwrapped and verified. No guard is made or renewed. How many.
    ///
    /// # Errors
    /// As the first that did not: [`KeyError::Vault`]; [`KeyError::Stale`], [`KeyError::WrongRecord`] for a record that is not the
    /// right one; [`KeyError::NoKey`] if there is none.
    pub async fn prove(&self, account: AccountId, vault: &dyn KeyVault) -> Result<usize, KeyError> {
        let records = self.customer_records(account).await?;
        if records.is_empty() {
            return Err(KeyError::NoKey { epoch: Epoch { account, aek: AekId::NIL } });
        }
        for record in &records {
            drop(vault.unwrap_key(record).await?);
        }
        Ok(records.len())
    }
}
