//! Key records beside the data, and the rule that no old one comes back.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use strongroom_envelope::{RecordIds, WrappedAek};
use strongroom_model::{AccountId, AekId};

use crate::KeyError;

/// The copies of key records in the object store: with the root key and these a lost catalog can be rebuilt.
#[derive(Debug)]
pub(crate) struct RecordCopies {
    objects: Arc<dyn ObjectStore>,
}

impl RecordCopies {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects }
    }

    /// Where they lie.
    pub(crate) fn objects(&self) -> &dyn ObjectStore {
        self.objects.as_ref()
    }

    /// Makes the copy of a record equal to it.
    ///
    /// # Errors
    /// [`KeyError::Stale`] if the copy is of a later generation: then the catalog's record is an old one put back.
    pub(crate) async fn reconcile(&self, record: &WrappedAek) -> Result<(), KeyError> {
        let path = copy_path(record.ids.account, record.ids.aek);
        let bytes = record.to_bytes();
        let found = match self.objects.get(&path).await {
            Ok(found) => Some(found.bytes().await?),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if found.as_deref() == Some(bytes.as_slice()) {
            return Ok(());
        }
        if let Some(copy) = found.and_then(|found| WrappedAek::from_bytes(&found).ok())
            && copy.ids.generation > record.ids.generation
        {
            return Err(KeyError::Stale { aek: record.ids.aek, found: record.ids.generation, highest: copy.ids.generation });
        }
        self.objects.put(&path, bytes.into()).await?;
        tracing::info!(aek = %record.ids.aek, account = %record.ids.account, generation = record.ids.generation, "key record copied beside the data");
        Ok(())
    }
}

impl RecordCopies {
    /// Removes every copy of an account's records.
    pub(crate) async fn erase_account(&self, account: AccountId) -> Result<(), KeyError> {
        let mut places = vec![Path::from_iter(["keys".to_owned(), account.to_string()])];
        while let Some(place) = places.pop() {
            let here = self.objects.list_with_delimiter(Some(&place)).await?;
            for object in here.objects {
                match self.objects.delete(&object.location).await {
                    Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            places.extend(here.common_prefixes);
        }
        Ok(())
    }

    /// Keeps an account's wrapped infrastructure key beside the data, before anything is sealed under it.
    pub(crate) async fn keep_infrastructure(&self, account: AccountId, cell: &[u8]) -> Result<(), KeyError> {
        let path = Path::from_iter(["keys".to_owned(), account.to_string(), "infrastructure".to_owned()]);
        self.objects.put(&path, cell.to_vec().into()).await?;
        Ok(())
    }
}

impl RecordCopies {
    /// Erases the copy of a record whose AEK ends.
    pub(crate) async fn erase(&self, account: AccountId, aek: AekId) -> Result<(), KeyError> {
        match self.objects.delete(&copy_path(account, aek)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the copies of an account's waiting records exactly these: `keys/{account}/standby/{aek}.{version}`.
    pub(crate) async fn settle_standbys(&self, account: AccountId, records: &[WrappedAek]) -> Result<(), KeyError> {
        let dir = Path::from_iter(["keys".to_owned(), account.to_string(), "standby".to_owned()]);
        let place = |record: &WrappedAek| dir.clone().join(format!("{}.{}", record.ids.aek, record.key_version));
        let wanted: HashMap<Path, Vec<u8>> = records.iter().map(|record| (place(record), record.to_bytes())).collect();
        let there: Vec<Path> = self.objects.list_with_delimiter(Some(&dir)).await?.objects.into_iter().map(|meta| meta.location).collect();
        for path in there.iter().filter(|path| !wanted.contains_key(path)) {
            self.objects.delete(path).await?;
        }
        for (path, bytes) in wanted {
            let found = if there.contains(&path) { Some(self.objects.get(&path).await?.bytes().await?) } else { None };
            if found.as_deref() != Some(bytes.as_slice()) {
                self.objects.put(&path, bytes.into()).await?;
            }
        }
        Ok(())
    }
}

/// `keys/{account}/{aek}`.
pub(crate) fn copy_path(account: AccountId, aek: AekId) -> Path {
    Path::from_iter(["keys".to_owned(), account.to_string(), aek.to_string()])
}

/// Remembers records of keys for longer than this process lives, where nobody can put an old one back unnoticed.
pub trait Ledger: Send + Sync {
    /// The highest generation of each AEK's record that was ever kept.
    fn highest(&self) -> HashMap<AekId, u64>;
    /// A record was kept: it is in the catalog. Waits for nothing.
    fn kept(&self, record: &WrappedAek);
}

/// For a ring that nobody writes down: commands that read and end, tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLedger;

impl Ledger for NoLedger {
    fn highest(&self) -> HashMap<AekId, u64> {
        HashMap::new()
    }
    fn kept(&self, _: &WrappedAek) {}
}

/// The highest generation seen of each AEK: by the ledger, and since start.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    highest: Mutex<HashMap<AekId, u64>>,
}

impl Generations {
    pub(crate) fn above(highest: HashMap<AekId, u64>) -> Self {
        Self { highest: Mutex::new(highest) }
    }

    /// A record of that generation is known of.
    pub(crate) fn note(&self, aek: AekId, generation: u64) {
        let mut highest = self.highest.lock();
        let highest = highest.entry(aek).or_default();
        *highest = generation.max(*highest);
    }

    /// Refuses a record below the highest one seen.
    ///
    /// # Errors
    /// [`KeyError::Stale`].
    pub(crate) fn admit(&self, ids: &RecordIds) -> Result<(), KeyError> {
        let mut highest = self.highest.lock();
        let highest = highest.entry(ids.aek).or_default();
        if ids.generation < *highest {
            return Err(KeyError::Stale { aek: ids.aek, found: ids.generation, highest: *highest });
        }
        *highest = ids.generation;
        Ok(())
    }
}
