//! What alerts need of other rooms, as traits of their own; the server implements them.

use std::fmt;

use async_trait::async_trait;
use strongroom_catalog::WorkspaceRow;
use strongroom_model::{ObjectId, PrincipalId, TimeRange, WorkspaceId};
use zeroize::Zeroizing;

use super::rule::Condition;
use super::state::Measured;
use crate::{ControlError, Said};

/// A condition to look at.
#[derive(Clone, Debug)]
pub struct AskedAlert {
    /// Whom to ask.
    pub workspace: WorkspaceId,
    /// As whom.
    pub principal: PrincipalId,
    /// What.
    pub condition: Condition,
    /// About which time.
    pub span: TimeRange,
    /// Combinations of dimension values at most.
    pub series_max: usize,
}

/// Asks. By the query engine.
#[async_trait]
pub trait Evaluate: fmt::Debug + Send + Sync {
    /// What the rows of a time come to, for each combination of dimension values.
    ///
    /// # Errors
    /// [`Said`]: why there is no whole answer. It is never taken for a condition that does not hold.
    async fn evaluate(&self, asked: AskedAlert) -> Result<Vec<Measured>, Said>;
}

/// Calls somebody outside.
#[async_trait]
pub trait Post: fmt::Debug + Send + Sync {
    /// Hands a JSON text over to an address; a 2xx is a taking.
    ///
    /// # Errors
    /// A code for the log.
    async fn post(&self, url: &str, body: Zeroizing<String>) -> Result<(), String>;
}

/// What of a rule is kept apart from its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// Its texts and its condition, as they were given.
    Rule,
    /// What it remembers of rows.
    State,
}

/// Where texts and memories of rules lie: under the key of their workspace.
#[async_trait]
pub trait Safe: fmt::Debug + Send + Sync {
    /// Why the workspace's key is away, if it is: the code that its customers see.
    async fn away(&self, workspace: &WorkspaceRow) -> Option<&'static str>;
    /// Whether texts of rules lie in an account that the customer linked.
    ///
    /// # Errors
    /// What the catalog says.
    async fn is_linked(&self, workspace: WorkspaceId) -> Result<bool, ControlError>;
    /// Puts an entry under its id, in the place of what is there.
    ///
    /// # Errors
    /// [`ControlError::Keys`] while the key is away.
    async fn put(&self, workspace: WorkspaceId, kept: Kept, id: ObjectId, plain: &[u8]) -> Result<(), ControlError>;
    /// Opens it; `None`: there is none.
    ///
    /// # Errors
    /// [`ControlError::Keys`] while the key is away.
    async fn get(&self, workspace: WorkspaceId, kept: Kept, id: ObjectId) -> Result<Option<Zeroizing<Vec<u8>>>, ControlError>;
    /// Takes it away; takes no key.
    ///
    /// # Errors
    /// What catalog and store say.
    async fn delete(&self, workspace: WorkspaceId, id: ObjectId) -> Result<(), ControlError>;
}
