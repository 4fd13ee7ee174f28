use std::time::Duration;

use strongroom_catalog::ClusterRow;
use strongroom_model::ErrorKind;

use super::desk::{Works, place, with_key};
use crate::{Refusal, RewriteStep, RewriteView};

impl Works {
    /// A cluster under a key in use.
    async fn keyed(&self) -> ClusterRow {
        self.cluster("contoso").await;
        let row = self.patched("contoso", with_key("kek", None)).await.unwrap();
        *self.desk.state.lock() = "Active";
        row
    }

    /// Time passes until something holds.
    async fn until(&self, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..2_000 {
            if holds().await {
                return;
            }
            self.site.sim.clock().advance(Duration::from_millis(500));
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        panic!("it never holds");
    }

    fn calls(&self, what: &str) -> usize {
        self.desk.calls.lock().iter().filter(|call| *call == what).count()
    }
}

fn stands(view: Option<RewriteView>) -> (String, u64) {
    let view = view.unwrap();
    (view.status, view.percent_complete)
}

#[tokio::test]
async fn a_rekey_goes_step_by_step_waits_when_it_must_and_goes_on_after_a_restart() {
    let mut works = Works::new().await;
    let plain = works.cluster("plain").await;
    assert_eq!(works.clusters.rekey(plain.clone(), None).await.unwrap_err().kind(), ErrorKind::Conflict, "no key of its own");
    assert!(works.clusters.rekey_of(&plain).await.unwrap().is_none());
    let row = works.keyed().await;
    *works.desk.state.lock() = "Revoked";
    assert_eq!(works.clusters.rekey(row.clone(), None).await.unwrap_err().kind(), ErrorKind::Conflict, "not without the key");
    *works.desk.state.lock() = "Active";
    assert_eq!(works.clusters.rekey(row.clone(), Some(0)).await.unwrap_err().code(), "InvalidParameter");

    *works.desk.steps.lock() = vec![RewriteStep::Done, RewriteStep::Waits("readers"), RewriteStep::Wrote(3_000_000), RewriteStep::Wrote(5)];
    works.desk.hold();
    let view = works.clusters.rekey(row.clone(), Some(1)).await.unwrap();
    assert_eq!((view.status.as_str(), view.rate_mb_s, view.paused), ("InProgress", Some(1), false));
    assert_eq!(works.clusters.rekey(row.clone(), None).await.unwrap_err().kind(), ErrorKind::Conflict, "one at a time");
    // Nothing else of the cluster waits for it.
    works.desk.go_on();
    works.until(async || works.calls("rekey") == 1).await;
    works.restart().await;
    works.until(async || stands(works.clusters.rekey_of(&row).await.unwrap()).0 == "Succeeded").await;
    assert_eq!(stands(works.clusters.rekey_of(&row).await.unwrap()), ("Succeeded".to_owned(), 100));
    assert!(works.calls("epoch") >= 2, "asked again after the restart: the desk knows that it is there");
    assert!(works.calls("rekey") >= 4);
}

#[tokio::test]
async fn a_step_that_fails_is_tried_again_and_a_cluster_that_goes_ends_it() {
    let works = Works::new().await;
    let row = works.keyed().await;
    *works.desk.steps.lock() = vec![RewriteStep::Done, RewriteStep::Wrote(1)];
    works.desk.hold();
    works.clusters.rekey(row.clone(), None).await.unwrap();
    *works.desk.change_fails.lock() = Some(Refusal::Interrupted.into());
    works.desk.go_on();
    works.until(async || stands(works.clusters.rekey_of(&row).await.unwrap()).0 == "Succeeded").await;
    assert!(works.calls("epoch") >= 2);

    *works.desk.steps.lock() = vec![RewriteStep::Waits("for ever"); 1_000];
    works.clusters.rekey(row.clone(), None).await.unwrap();
    works.until(async || works.calls("rekey") > 3).await;
    works.clusters.delete(&place("contoso"), true).await.unwrap();
    works.until(async || stands(works.clusters.rekey_of(&row).await.unwrap()).0 == "Failed").await;
}

#[tokio::test]
async fn a_reencryption_is_paced_paused_resumed_and_ended_by_an_unlink() {
    let mut works = Works::new().await;
    let cluster = works.keyed().await;
    works.site.workspaces.ensure_defaults().await.unwrap();
    let workspace = async |works: &Works| works.site.catalog.workspaces().await.unwrap().remove(0);
    let unlinked = workspace(&works).await;
    assert_eq!(works.clusters.reencrypt(unlinked.clone(), None, None).await.unwrap_err().code(), "ResourceNotFound");
    works.clusters.link(unlinked, &crate::Place::of_cluster(&cluster).cluster_path()).await.unwrap();
    works.clusters.idle().await;
    let row = workspace(&works).await;
    assert_eq!(works.clusters.reencrypt(row.clone(), None, Some(true)).await.unwrap_err().kind(), ErrorKind::Conflict, "nothing to pause");

    *works.desk.steps.lock() = vec![RewriteStep::Waits("a while"); 10_000];
    works.clusters.reencrypt(row.clone(), Some(7), None).await.unwrap();
    works.until(async || works.calls("reencrypt") > 0).await;
    let view = works.clusters.reencrypt(row.clone(), None, Some(true)).await.unwrap();
    assert_eq!((view.paused, view.rate_mb_s), (true, Some(7)));
    works.restart().await;
    for _ in 0..20 {
        works.site.sim.clock().advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = works.calls("reencrypt");
    for _ in 0..50 {
        works.site.sim.clock().advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    assert_eq!(works.calls("reencrypt"), before, "paused, over a restart, too");
    let view = works.clusters.reencrypt(row.clone(), Some(9), Some(false)).await.unwrap();
    assert_eq!((view.paused, view.rate_mb_s), (false, Some(9)));
    works.until(async || works.calls("reencrypt") > before).await;
    works.site.catalog.workspace_move(row.id, works.site.account, None).await.unwrap();
    works.until(async || stands(works.clusters.reencrypt_of(&row).await.unwrap()).0 == "Failed").await;
}
