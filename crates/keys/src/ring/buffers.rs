//! The public keys of epochs: what rows are sealed to while nobody here can open anything.

use strongroom_envelope::{Aek, BufferKey};
use strongroom_model::{AccountId, Epoch};

use super::KeyRing;
use crate::KeyError;

impl KeyRing {
    /// The epoch that reigns in an account, and what rows may be sealed to in it. Asks no vault and needs no guard.
    ///
    /// # Errors
    /// [`KeyError::NoKey`] if the epoch has no public key; [`KeyError::Open`] if nobody vouches for the one it has;
    /// [`KeyError::NoAccount`], [`KeyError::Catalog`].
    pub async fn buffer_key(&self, account: AccountId) -> Result<(Epoch, BufferKey), KeyError> {
        let epoch = self.write_epoch(account).await?;
        if let Some(key) = self.buffer_keys.lock().get(&epoch) {
            return Ok((epoch, *key));
        }
        let cell = self.catalog.buffer_key(epoch.aek).await?.ok_or(KeyError::NoKey { epoch })?;
        let key = self.mmk.open_buffer_key(epoch, &cell)?;
        self.buffer_keys.lock().insert(epoch, key);
        Ok((epoch, key))
    }

    /// Compares an unwrapped AEK's public key with the one that rows are sealed to; keeps it if there is none yet. For every AEK
    /// that a vault gave back, and for a new one before it reigns.
    ///
    /// # Errors
    /// [`KeyError::WrongBufferKey`] if it is another: then rows may have been sealed to somebody else. [`KeyError::Open`] if nobody
    /// vouches for it; [`KeyError::Catalog`].
    pub(super) async fn prove_buffer_key(&self, epoch: Epoch, aek: &Aek) -> Result<(), KeyError> {
        let derived = aek.buffer_key();
        // Read each time: what lies in the catalog is what a restart would seal to.
        let found = if let Some(cell) = self.catalog.buffer_key(epoch.aek).await? {
            self.mmk.open_buffer_key(epoch, &cell)?
        } else {
            let cell = self.mmk.seal_buffer_key(self.world.rng.as_ref(), epoch, &derived);
            self.catalog.buffer_key_put(epoch.aek, &cell).await?;
            derived
        };
        if found != derived {
            tracing::error!(aek = %epoch.aek, account = %epoch.account, "rows would be sealed to a key that is not this AEK's");
            return Err(KeyError::WrongBufferKey { aek: epoch.aek });
        }
        self.buffer_keys.lock().insert(epoch, derived);
        Ok(())
    }
}
