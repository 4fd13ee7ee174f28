//! A key that leaves before, between and after the steps of saved content.

use super::*;

impl Rig {
    /// A workspace under one customer's key, and a storage account under another's.
    async fn two_keys() -> (Self, (ObjectId, AccountId), (ObjectId, AccountId), StorageAccountRow) {
        let rig = Self::new().await;
        let (cluster, holder) = (rig.customer("cluster").await, rig.customer("holder").await);
        rig.catalog.workspace_move(rig.workspace, cluster.1, Some((cluster.0, 1))).await.unwrap();
        let storage = rig.storage("one", Some(holder.0)).await;
        (rig, cluster, holder, storage)
    }

    async fn is_linked(&self) -> bool {
        self.contents.linked(self.workspace, ContentKind::Query).await.unwrap()
    }
}

#[tokio::test]
async fn a_link_begins_only_while_the_keys_of_both_sides_are_there() {
    for (of_storage, remove) in [(true, false), (true, true), (false, false), (false, true)] {
        let case = format!("the account's key: {of_storage}, what there is goes: {remove}");
        let (rig, cluster, holder, storage) = Rig::two_keys().await;
        rig.put(ContentKind::Query, b"q").await;
        let (id, account) = if of_storage { holder } else { cluster };
        rig.shut(id, account);
        let refused = rig.contents.link_to(&rig.link(&storage, DataSource::Query), DataSource::Query, remove).await.unwrap_err();
        assert_eq!(refused.code(), "CustomerKeyRevoked", "{case}");
        assert!(!rig.is_linked().await, "{case}");
        assert_eq!((rig.places().await, rig.objects(&storage).await.len()), ((1, 0), 0), "{case}: nothing has changed");
    }
}

#[tokio::test]
async fn a_link_ends_only_while_the_keys_of_both_sides_are_there() {
    for of_storage in [true, false] {
        let (rig, cluster, holder, storage) = Rig::two_keys().await;
        rig.linked(&storage).await;
        rig.put(ContentKind::Query, b"q").await;
        let (id, account) = if of_storage { holder } else { cluster };
        rig.shut(id, account);
        let refused = rig.contents.unlink(rig.workspace, DataSource::Query).await.unwrap_err();
        assert_eq!(refused.code(), "CustomerKeyRevoked", "the account's key: {of_storage}");
        assert!(rig.is_linked().await, "the account's key: {of_storage}");
        assert_eq!((rig.places().await, rig.objects(&storage).await.len()), ((0, 1), 1), "nothing has changed");
    }
}

/// It lies under one key and belongs under another: either of the two keeps it from being shown.
#[tokio::test]
async fn an_entry_on_its_way_is_not_shown_once_the_gate_of_the_key_that_it_leaves_is_shut() {
    let rig = Rig::new().await;
    let (cluster, account) = rig.customer("cluster").await;
    rig.catalog.workspace_move(rig.workspace, account, Some((cluster, 1))).await.unwrap();
    rig.put(ContentKind::Query, CANARY).await;
    let storage = rig.storage("one", None).await;
    rig.catalog.storage_link_put(&rig.link(&storage, DataSource::Query), &[]).await.unwrap();
    let opened = rig.contents.open(rig.workspace, &[ContentKind::Query], Reader::Server).await.unwrap();
    assert_eq!(opened.entries[0].value.as_slice(), CANARY);
    opened.check(&rig.sim.world()).unwrap();
    // The gate comes first; the keys behind it are wiped a moment later.
    rig.keys.gate(account, cluster, "", Standing::Open).set(Standing::Shut(Shut::Revoked, 1));
    assert_eq!(opened.check(&rig.sim.world()).unwrap_err().kind(), ErrorKind::KeyRevoked);
}

#[tokio::test]
async fn an_entry_whose_key_leaves_while_it_is_being_written_is_not_kept() {
    let rig = Rig::new().await;
    let (holder, own) = rig.customer("holder").await;
    let account = rig.storage("one", Some(holder)).await;
    rig.linked(&account).await;
    rig.stores.of(account.id).at.store(HELD, Ordering::Release);
    let (contents, workspace, id) = (Arc::clone(&rig.contents), rig.workspace, rig.contents.mint());
    let writing = tokio::spawn(async move {
        let new = NewEntry { workspace, kind: ContentKind::Query, id, replaces: None, value: CANARY, by: PrincipalId::NIL };
        contents.put(new).await
    });
    while rig.objects(&account).await.is_empty() {
        tokio::task::yield_now().await;
    }
    rig.shut(holder, own);
    rig.stores.of(account.id).at.store(NOWHERE, Ordering::Release);
    assert_eq!(writing.await.unwrap().unwrap_err().code(), "CustomerKeyRevoked");
    assert_eq!(rig.contents.count(rig.workspace, &ContentKind::ALL).await.unwrap(), 0);
    assert!(rig.contents.settle_rest().await, "its object is to be deleted, for which no key is needed");
    assert!(rig.objects(&account).await.is_empty() && rig.catalog.content_objects().await.unwrap().is_empty());
}
