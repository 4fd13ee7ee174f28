//! What the key watch needs of other rooms, as traits of its own; `server::wiring` implements them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use strongroom_envelope::KeyGuard;
use strongroom_keys::identity::ClusterIdentity;
use strongroom_keys::provider::{KekRef, KeyFacts, KeyVault};
use strongroom_keys::{KeyError, Shut};
use strongroom_model::{AccountId, Epoch, TableId, WorkspaceId};

use super::Lost;
use crate::ControlError;

/// What was taken away.
#[derive(Clone, Debug)]
pub struct Gone {
    /// The account whose gate is shut.
    pub account: AccountId,
    /// Its epochs under the customer's key: their guards are dead.
    pub epochs: Vec<Epoch>,
    /// Why.
    pub why: Shut,
    /// What each step counts of what went.
    pub lost: Arc<Lost>,
}

/// One step of taking data away. The gate is shut and the guards are dead when it is called; it returns when it is done.
#[async_trait]
pub trait Forget: fmt::Debug + Send + Sync {
    /// Its name in the evidence.
    fn name(&self) -> &'static str;
    /// Forgets. Doing it twice is no harm.
    ///
    /// # Errors
    /// A sentence for the log, without data; it will be tried again.
    async fn forget(&self, gone: &Gone) -> Result<(), String>;
}

/// Stops what is on its way out.
pub trait Cut: fmt::Debug + Send + Sync {
    /// Ends the queries that concern an account, with `error`.
    fn cut(&self, account: AccountId, error: &KeyError);
}

/// Brings back what had been acked before the key went.
#[async_trait]
pub trait Recall: fmt::Debug + Send + Sync {
    /// Reads the log of these epochs back into memory; those that are there already are left as they are. How many rows.
    ///
    /// # Errors
    /// A sentence for the log, without data.
    async fn recall(&self, guards: &[KeyGuard]) -> Result<u64, String>;
}

/// Keeps a workspace's requests still while it gets another account or epoch.
#[async_trait]
pub trait Still: fmt::Debug + Send + Sync {
    /// Waits for requests under way; later ones wait until the value is dropped.
    async fn still(&self, workspace: WorkspaceId) -> Box<dyn Any + Send>;
    /// Makes blocks of everything in memory under an account's keys.
    ///
    /// # Errors
    /// A code, if rows had to stay in memory and log.
    async fn flush_account(&self, account: AccountId) -> Result<(), String>;
    /// Makes blocks of what a workspace has in memory, in the background.
    fn flush(&self, workspace: WorkspaceId);
    /// What an account's keys hold besides blocks.
    fn unflushed(&self, account: AccountId) -> Unflushed;
}

/// Rows that are in no block yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unflushed {
    /// Tables with such rows.
    pub tables: Vec<TableId>,
    /// There are rows besides of which nobody knows whose they are while their key is away.
    pub unread: bool,
}

/// Seals blocks anew under another epoch.
#[async_trait]
pub trait Rewrite: fmt::Debug + Send + Sync {
    /// Gives an epoch every column that another has, for one workspace's tables or for all.
    ///
    /// # Errors
    /// A code.
    async fn carry(&self, from: Epoch, to: Epoch, workspace: Option<WorkspaceId>) -> Result<(), String>;
    /// Seals some block of an epoch anew in another, of one workspace or of any; its bytes. `None`: there is none left.
    ///
    /// # Errors
    /// A code; the block is as it was.
    async fn next(&self, from: Epoch, to: Epoch, workspace: Option<WorkspaceId>) -> Result<Option<u64>, String>;
    /// Makes blocks of what a workspace has in memory.
    ///
    /// # Errors
    /// A code, if rows had to stay in memory and log.
    async fn flush(&self, workspace: WorkspaceId) -> Result<(), String>;
    /// Ends the log of an epoch that takes no more rows. Whether nothing of it is left, in memory or on disk.
    ///
    /// # Errors
    /// A code.
    async fn retire(&self, epoch: Epoch) -> Result<bool, String>;
}

/// Makes clients of customers' vaults.
#[async_trait]
pub trait Vaults: fmt::Debug + Send + Sync {
    /// Everything a key must be before a cluster comes under it, a round trip of wrap and unwrap included; changes nothing.
    ///
    /// # Errors
    /// [`Refusal::KeyNotValid`](crate::Refusal) and [`Refusal::KeyNotRecoverable`](crate::Refusal).
    async fn validate(&self, kek: &KekRef, identity: Arc<ClusterIdentity>) -> Result<KeyFacts, ControlError>;
    /// A client of the vault that keeps `kek`, logging in as `identity`.
    ///
    /// # Errors
    /// [`ControlError`] if no client may be made for that address.
    async fn client(&self, kek: &KekRef, identity: Arc<ClusterIdentity>) -> Result<Arc<dyn KeyVault>, ControlError>;
}
