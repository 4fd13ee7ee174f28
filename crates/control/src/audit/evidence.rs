//! The evidence of revocations, put together from the chain.

use serde::Serialize;
use serde_json::{Map, Value};
use strongroom_model::ObjectId;

use super::chain::Record;
use super::{AuditError, AuditFilter, AuditReader, READ_MAX, name};

/// One revocation, from the state's change to the key's return.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The record of the chain that tells it.
    pub position: u64,
    /// SHA-256 of that record.
    pub hash: String,
    /// The cluster.
    pub cluster: ObjectId,
    /// When all of it was taken away, milliseconds since 1970.
    pub at_ms: i64,
    /// What the vault said.
    pub code: String,
    /// Since when, steps, answers, counts.
    #[serde(flatten)]
    pub details: Map<String, Value>,
    /// When it was given back, milliseconds since 1970; `None`: not yet.
    pub given_back_ms: Option<i64>,
}

impl AuditReader {
    /// What was taken away from a cluster, each time, oldest first.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn evidence(&self, cluster: ObjectId) -> Result<Vec<Evidence>, AuditError> {
        let filter =
            |event: &str| AuditFilter { cluster: Some(cluster), event: Some(event.to_owned()), limit: READ_MAX, ..AuditFilter::default() };
        let taken = self.read(filter(name::TAKEN_AWAY)).await?;
        let changes = self.read(filter(name::STATE_CHANGED)).await?;
        let back = |after: &Record| {
            let active = |record: &&Record| record.seq > after.seq && record.event.details.get("to").is_some_and(|to| to == "Active");
            changes.iter().find(active).map(|record| record.at_ms)
        };
        Ok(taken
            .iter()
            .map(|record| Evidence {
                position: record.seq,
                hash: super::chain::hex(&record.hash),
                cluster,
                at_ms: record.at_ms,
                code: record.event.code.clone().unwrap_or_default().into_owned(),
                details: record.event.details.clone(),
                given_back_ms: back(record),
            })
            .collect())
    }
}
