//! What another node did to a cluster's identity: read from its row before each call.

use super::*;

/// A vault that remembers as whom its clients were made.
#[derive(Debug)]
struct Asked(OneVault, Mutex<Vec<String>>);

#[async_trait]
impl Vaults for Asked {
    async fn validate(&self, kek: &KekRef, identity: Arc<ClusterIdentity>) -> Result<KeyFacts, ControlError> {
        self.0.validate(kek, identity).await
    }
    async fn client(&self, kek: &KekRef, identity: Arc<ClusterIdentity>) -> Result<Arc<dyn KeyVault>, ControlError> {
        self.1.lock().push(identity.principal().to_string());
        self.0.client(kek, identity).await
    }
}

#[tokio::test]
async fn an_identity_that_another_node_took_away_revokes_at_the_next_poll_and_its_return_brings_it_back() {
    let mut house = House::new(56).await;
    let vaults = Arc::new(Asked(OneVault(house.vault.clone()), Mutex::default()));
    house.anew(Arc::clone(&vaults) as _).await;
    house.until(KeyState::Active, Duration::from_secs(30)).await;
    assert_eq!(vaults.1.lock().len(), 1);
    let desk = house.desk();
    for round in 0..3 {
        house.rooms.take();
        house.catalog.cluster_identity_remove(house.cluster.id, 5).await.unwrap();
        house.until(KeyState::Revoked, Duration::from_secs(13)).await;
        house.quiet().await;
        assert_eq!(house.pass_code().await, Some("CustomerKeyRevoked"), "{round}");
        assert_eq!(house.rooms.take().first().map(String::as_str), Some("cut CustomerKeyRevoked"));
        assert!(house.keys.customer_guards(house.account()).is_empty());
        let asked = house.unwraps().len();
        house.pass(Duration::from_mins(10)).await;
        assert_eq!((house.unwraps().len(), house.state()), (asked, KeyState::Revoked), "{round}: nobody is asked");
        house.catalog.cluster_identity_restore(house.cluster.id, 6).await.unwrap();
        house.until(KeyState::Active, Duration::from_secs(13)).await;
        assert_eq!((house.pass_code().await, vaults.1.lock().len()), (None, 2 + round), "a client of the one that is back");
    }

    // Another identity, shown on another node: asked with at the next poll, and nobody notices.
    let another = desk.new_identity(house.cluster.id).await.unwrap();
    let row = house.catalog.cluster_get(house.cluster.id).await.unwrap().unwrap();
    let principal = another.principal.clone();
    house.catalog.cluster_update(&ClusterRow { identity: Some(another), ..row }).await.unwrap();
    house.rooms.take();
    house.pass(Duration::from_mins(1)).await;
    assert_eq!((house.state(), house.rooms.take()), (KeyState::Active, Vec::new()));
    let made = vaults.1.lock().clone();
    assert_eq!((made.len(), made.last()), (5, Some(&principal)), "once");
}

/// The command of this node comes while a poll is between reading the row and asking.
#[tokio::test]
async fn an_identity_that_is_taken_away_twice_is_not_given_back_by_a_row_that_was_read_between() {
    let house = House::new(57).await;
    let (desk, watched) = (house.desk(), house.watched());
    house.catalog.cluster_identity_remove(house.cluster.id, 5).await.unwrap();
    desk.remove_identity(&house.cluster).await.unwrap();
    house.catalog.cluster_identity_restore(house.cluster.id, 6).await.unwrap();
    // Held up where a client is made: by then the row has been read.
    let slow = Arc::new(Slow { vault: OneVault(house.vault.clone()), made: Notify::new(), go: Notify::new() });
    let deps = WatchDeps { vaults: Arc::clone(&slow) as _, ..house.watch.deps.clone() };
    let watch = Watch::new(deps, STATES);
    watch.watched.write().insert(house.cluster.id, Arc::clone(&watched));
    let heeding = {
        let (watch, watched) = (Arc::clone(&watch), Arc::clone(&watched));
        tokio::spawn(async move { watch.heed_row(&watched).await })
    };
    slow.made.notified().await;
    house.catalog.cluster_identity_remove(house.cluster.id, 7).await.unwrap();
    Desk(Arc::clone(&watch)).remove_identity(&house.cluster).await.unwrap();
    slow.go.notify_one();
    heeding.await.unwrap();
    assert!(watched.nameless.load(Ordering::Acquire), "the command stands");
    assert_eq!((house.state(), house.pass_code().await), (KeyState::Revoked, Some("CustomerKeyRevoked")));
}

#[derive(Debug)]
struct Slow {
    vault: OneVault,
    made: Notify,
    go: Notify,
}

#[async_trait]
impl Vaults for Slow {
    async fn validate(&self, kek: &KekRef, identity: Arc<ClusterIdentity>) -> Result<KeyFacts, ControlError> {
        self.vault.validate(kek, identity).await
    }
    async fn client(&self, kek: &KekRef, identity: Arc<ClusterIdentity>) -> Result<Arc<dyn KeyVault>, ControlError> {
        self.made.notify_one();
        self.go.notified().await;
        self.vault.client(kek, identity).await
    }
}
