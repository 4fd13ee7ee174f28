//! How many clusters there may be in a place, and how often a workspace may be linked.

use strongroom_catalog::ClusterRow;
use strongroom_model::WorkspaceId;

use super::{Clusters, DAY_MS, Place, RESERVED_DAYS, rfc3339};
use crate::{ControlError, Refusal};

impl Clusters {
    /// Whether there is room for one more cluster there.
    ///
    /// # Errors
    /// M1, M2.
    pub(super) async fn check_room(&self, place: &Place, region: &str, now_ms: i64) -> Result<(), ControlError> {
        let all = self.catalog.cluster_list().await?;
        if all.len() >= self.config.clusters_max {
            return Err(Refusal::ClusterLimit { max: self.config.clusters_max, there: all.len() }.into());
        }
        let here =
            |row: &&ClusterRow| row.subscription.eq_ignore_ascii_case(&place.subscription) && row.region.eq_ignore_ascii_case(region);
        let (max, active) = (self.rules.clusters_active_max, all.iter().filter(here).count());
        if active >= max {
            return Err(Refusal::ActiveLimit { max, region: region.to_owned(), there: active }.into());
        }
        let Some(max) = self.rules.clusters_reserved_max else { return Ok(()) };
        let gone = self.catalog.cluster_list_deleted().await?;
        // One that never got an account never held anything.
        let ends = gone.iter().filter(here).filter(|row| row.account.is_some()).filter_map(|row| row.deleted_ms);
        let mut ends: Vec<i64> = ends.map(|ms| ms + i64::from(RESERVED_DAYS) * DAY_MS).filter(|&ms| now_ms < ms).collect();
        let there = active + ends.len();
        if there < max {
            return Ok(());
        }
        ends.sort_unstable();
        let until = ends.first().map(|&ms| rfc3339(ms)).unwrap_or_default();
        Err(Refusal::ReservedLimit { max, region: region.to_owned(), there, deleted: ends.len(), until }.into())
    }

    /// Whether there is room for one more workspace at a cluster.
    ///
    /// # Errors
    /// M3.
    pub(super) async fn check_linked(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        let (there, max) = (self.catalog.workspaces_linked(cluster.id).await?.len(), self.rules.linked_workspaces_max);
        if there >= max {
            return Err(Refusal::LinkedLimit { name: cluster.name.clone(), max, there }.into());
        }
        Ok(())
    }

    /// Whether a workspace may be linked once more.
    ///
    /// # Errors
    /// M4.
    pub(super) async fn check_link_count(&self, workspace: WorkspaceId) -> Result<(), ControlError> {
        let days = self.rules.link_operations_days;
        let since_ms = self.now_ms() - i64::from(days) * DAY_MS;
        let times = self.catalog.link_times(workspace, since_ms).await?;
        let (max, there) = (self.rules.link_operations_max, times.len());
        if there < max {
            return Ok(());
        }
        // Of as many as there are, so many have to be past that one more fits.
        let last = times.get(there - max).copied().unwrap_or_default();
        Err(Refusal::LinkLimit { max, days, there, until: rfc3339(last + i64::from(days) * DAY_MS) }.into())
    }
}
