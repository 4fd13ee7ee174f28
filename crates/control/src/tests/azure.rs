//! Capacity, limits and the differences between the years, rule by rule.

use strongroom_catalog::ClusterState;
use strongroom_model::ErrorKind;

use super::desk::{Works, new_cluster, place, refused, with_key};
use super::*;
use crate::azure::{AzureConfig, Choice, Compat};
use crate::{ClusterAsk, Clusters, ControlError, Place};

fn sized(name: Option<&str>, capacity: Option<i64>) -> ClusterAsk {
    ClusterAsk { sku_name: name.map(str::to_owned), sku_capacity: capacity, ..new_cluster() }
}

fn capacity(gb: i64) -> ClusterAsk {
    ClusterAsk { sku_name: Some("capacityreservation".to_owned()), sku_capacity: Some(gb), ..ClusterAsk::default() }
}

/// A subscription of its own, so that the bound on all clusters is not in the way.
fn in_region(subscription: &str, name: &str, region: &str) -> (Place, ClusterAsk) {
    let place = Place { subscription: subscription.to_owned(), ..place(name) };
    (place, ClusterAsk { region: Some(region.to_owned()), ..new_cluster() })
}

/// A site with room for more clusters than the others have.
async fn roomy(azure: &AzureConfig) -> (Works, Arc<Clusters>) {
    let works = Works::new().await;
    let config = ControlConfig::default();
    let workspaces = Arc::new(Workspaces::new(works.site.world.clone(), works.site.catalog.clone(), works.site.account, config.clone()));
    let desk = Arc::clone(&works.desk) as Arc<dyn crate::KeyDesk>;
    let clusters = Clusters::new(works.site.world.clone(), works.site.catalog.clone(), desk, workspaces, config, azure.rules());
    (works, clusters)
}

#[tokio::test]
async fn a_capacity_is_refused_in_the_printed_words_er3_er4_er5_er6_er8_c7_c8_c10() {
    let works = Works::new().await;
    let missing = |min: i64| format!("Missing capacity in SKU. Set Capacity value to {min} or higher in steps of 100 (GB).");
    let range = |min: i64| {
        format!(
            "Capacity in SKU is not in range. Should be minimum {min} and up to the max allowed capacity which is available under 'Usage and estimated cost' in your workspace."
        )
    };
    let none = |min: i64| {
        format!("No SKU was set. Set the SKU name to capacityReservation and Capacity value to {min} or higher in steps of 100 (GB).")
    };
    let name = "SKU name is invalid. Set SKU name to capacityReservation.".to_owned();
    let other = "Capacity was provided but SKU is not capacityReservation. Set SKU name to capacityReservation.".to_owned();
    let ours = Some("CapacityReservation");
    let old = AzureConfig { compat: Compat::Y2021, ..AzureConfig::default() };
    for (clusters, min) in [(Arc::clone(&works.clusters), 100), (works.ruled(&old), 1_000)] {
        for (ask, expected) in [
            (sized(Some("PerGB2018"), None), ("InvalidSkuName", name.clone())),
            (sized(Some("PerGB2018"), Some(min)), ("CapacityWithoutReservation", other.clone())),
            (sized(None, Some(min)), ("CapacityWithoutReservation", other.clone())),
            (sized(ours, None), ("MissingCapacity", missing(min))),
            (sized(ours, Some(min + 50)), ("MissingCapacity", missing(min))),
            (sized(ours, Some(min - 1)), ("CapacityOutOfRange", range(min))),
            (sized(ours, Some(50_100)), ("CapacityOutOfRange", range(min))),
            (sized(ours, Some(-100)), ("CapacityOutOfRange", range(min))),
            (sized(ours, Some(1 << 31)), ("CapacityOutOfRange", range(min))),
            (sized(None, None), ("MissingSku", none(min))),
        ] {
            let shown = format!("{ask:?}");
            let error = clusters.put(&place("contoso"), ask).await.unwrap_err();
            assert_eq!((error.kind(), error.code(), error.to_string()), (ErrorKind::Invalid, expected.0, expected.1), "{shown}");
        }
        // 99 and 999 are refused above; the least there is, and the tier's name however it is spelled.
        let name = format!("least-{min}");
        for (at, spelled) in ["capacityreservation", "capacityReservation"].into_iter().enumerate() {
            let made = clusters.put(&place(&name), sized(Some(spelled), Some(min))).await.unwrap();
            assert_eq!((made.cluster.sku_name.as_str(), made.cluster.sku_capacity), ("CapacityReservation", min));
            assert_eq!(made.operation.is_some(), at == 0, "the same again is no change");
            clusters.idle().await;
        }
    }
}

#[tokio::test]
async fn a_capacity_is_raised_at_any_time_and_lowered_after_30_days_er7_c3_c9_k14() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    let raised = works.patched("contoso", capacity(300)).await.unwrap();
    assert_eq!((raised.sku_capacity, raised.sku_ms), (300, works.site.world.clock.wall().unix_ms()));
    let locked = ("CapacityLocked", "Capacity is locked for 30 days. Decreasing capacity is permitted 30 days after update.".to_owned());
    works.site.sim.clock().advance(29 * DAY);
    assert_eq!(refused(works.clusters.patch(&place("contoso"), capacity(200)).await), locked);
    // A key alone, or the whole cluster sent back with the capacity it has: nothing of the lock. Without a sku the stored one stays.
    for ask in [
        with_key("kek", None),
        ClusterAsk { key: with_key("other", None).key, ..sized(Some("CapacityReservation"), Some(300)) },
        ClusterAsk { billing: Some(strongroom_catalog::Billing::Workspaces), ..ClusterAsk::default() },
    ] {
        works.clusters.put(&place("contoso"), ask).await.unwrap();
        works.clusters.idle().await;
        let row = works.clusters.get(&place("contoso")).await.unwrap();
        assert_eq!((row.sku_capacity, row.sku_ms, row.state), (300, raised.sku_ms, ClusterState::Succeeded));
    }
    assert_eq!(works.clusters.get(&place("contoso")).await.unwrap().key.unwrap().name, "other");
    assert_eq!(works.patched("contoso", capacity(400)).await.unwrap().sku_capacity, 400, "raising is never locked");
    works.site.sim.clock().advance(29 * DAY);
    assert_eq!(refused(works.clusters.patch(&place("contoso"), capacity(300)).await), locked, "it counts from the last change");
    works.site.sim.clock().advance(DAY);
    assert_eq!(works.patched("contoso", capacity(100)).await.unwrap().sku_capacity, 100);
    let (name, other) = (ClusterAsk { sku_name: Some("Free".to_owned()), ..ClusterAsk::default() }, capacity(150));
    assert_eq!(refused(works.clusters.patch(&place("contoso"), name).await).0, "InvalidSkuName");
    assert_eq!(refused(works.clusters.patch(&place("contoso"), other).await).0, "MissingCapacity");
}

#[tokio::test]
async fn clusters_of_a_subscription_and_region_are_counted_the_deleted_ones_too_m1_m2_c11() {
    let (works, clusters) = roomy(&AzureConfig::default()).await;
    let make = async |subscription: &str, name: &str, region: &str| {
        let (place, ask) = in_region(subscription, name, region);
        let made = clusters.put(&place, ask).await;
        clusters.idle().await;
        made
    };
    let delete = async |name: &str| {
        clusters.delete(&in_region("one", name, "").0, false).await.unwrap();
        clusters.idle().await;
    };
    for name in ["a-one", "a-two", "a-three", "a-four", "a-five"] {
        make("one", name, "West Europe").await.unwrap();
    }
    let (code, text) = refused(make("one", "a-six", "westeurope").await);
    assert_eq!(code, "ClusterLimitReached");
    assert_eq!(text, "There can be 5 active clusters of a subscription in region westeurope; there are 5. Delete one first.");
    make("one", "a-six", "northeurope").await.unwrap();
    make("two", "a-six", "westeurope").await.unwrap();

    delete("a-one").await;
    make("one", "a-six", "westeurope").await.unwrap_err(); // The name is taken in the other region.
    make("one", "a-seven", "westeurope").await.unwrap();
    works.site.sim.clock().advance(DAY);
    delete("a-two").await;
    make("one", "a-eight", "westeurope").await.unwrap();
    delete("a-three").await;
    let (code, text) = refused(make("one", "a-nine", "westeurope").await);
    assert_eq!(code, "ReservedClusterLimitReached");
    assert!(text.contains("there are 7, 3 of them deleted"), "{text}");
    // The name of the first is reserved for 14 days from its deletion; then there is room for one, under that name as well.
    works.site.sim.clock().advance(12 * DAY);
    let reserved = make("one", "a-one", "westeurope").await.unwrap_err();
    assert_eq!((reserved.code(), reserved.kind()), ("ClusterNameReserved", ErrorKind::Conflict));
    works.site.sim.clock().advance(DAY);
    make("one", "a-one", "westeurope").await.unwrap();
    assert_eq!(refused(make("one", "a-nine", "westeurope").await).0, "ClusterLimitReached");
}

#[tokio::test]
async fn the_limits_of_2021_are_two_clusters_and_each_number_is_a_setting_d1_d2_d3() {
    let (_works, clusters) = roomy(&AzureConfig { compat: Compat::Y2021, ..AzureConfig::default() }).await;
    let ask = |region: &str| ClusterAsk { sku_capacity: Some(1_000), ..in_region("one", "", region).1 };
    // Three characters are a name, two are none.
    let text = "Cluster name is not valid. Cluster name can contain characters a-z, A-Z, 0-9 and length of 3-63.";
    assert_eq!(refused(clusters.put(&place("ab"), ask("r")).await), ("InvalidClusterName", text.to_owned()));
    for name in ["abc", "abd"] {
        clusters.put(&place(name), ask("r")).await.unwrap();
        clusters.idle().await;
    }
    assert_eq!(refused(clusters.put(&place("abe"), ask("r")).await).0, "ClusterLimitReached");
    // No rule of reserved ones: deleted and made anew as often as one likes.
    for name in ["abd", "abe", "abf", "abg", "abh", "abi", "abj"] {
        clusters.delete(&place(name), false).await.unwrap();
        clusters.idle().await;
        let next: String = name[..2].to_owned() + &char::from(name.as_bytes()[2] + 1).to_string();
        clusters.put(&place(&next), ask("r")).await.unwrap();
        clusters.idle().await;
    }
    let (_works, clusters) = roomy(&AzureConfig { clusters_active_max: Choice::Set(1), ..AzureConfig::default() }).await;
    clusters.put(&place("abcd"), new_cluster()).await.unwrap();
    assert_eq!(refused(clusters.put(&place("abce"), new_cluster()).await).0, "ClusterLimitReached");
    clusters.idle().await;
}

#[tokio::test]
async fn a_region_without_double_encryption_says_so_c14_c16_c17() {
    let azure = AzureConfig { single_encryption_regions: vec!["China East".to_owned()], ..AzureConfig::default() };
    let (_works, clusters) = roomy(&azure).await;
    let (at, ask) = in_region("one", "contoso", "chinaeast");
    for double in [None, Some(true)] {
        let error = clusters.put(&at, ClusterAsk { double, ..ask.clone() }).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("DoubleEncryptionNotSupported", ErrorKind::Invalid));
        assert_eq!(error.to_string(), "chinaeast doesn't support Double Encryption for clusters");
    }
    assert!(!clusters.put(&at, ClusterAsk { double: Some(false), ..ask }).await.unwrap().cluster.double);
    let (at, ask) = in_region("one", "fabrikam", "westeurope");
    assert!(clusters.put(&at, ask).await.unwrap().cluster.double, "elsewhere it is on unless said otherwise");
    clusters.idle().await;
}

#[tokio::test]
async fn an_empty_version_follows_the_newest_unless_the_setting_says_no_d5_k4() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    let strict = works.ruled(&AzureConfig { autorotation: Choice::Set(false), ..AzureConfig::default() });
    let old = works.ruled(&AzureConfig { compat: Compat::Y2021, ..AzureConfig::default() });
    for clusters in [&strict, &old] {
        let error = clusters.patch(&place("contoso"), with_key("kek", None)).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("InvalidKeyVaultProperties", ErrorKind::Invalid));
        assert_eq!(error.to_string(), "KeyVaultProperties isn't empty but has a bad format. See key identifier update.");
        assert!(error.detail().unwrap().1.contains("keyVersion is needed"), "{error:?}");
    }
    strict.patch(&place("contoso"), with_key("kek", Some("v1"))).await.unwrap();
    strict.idle().await;
    assert_eq!(works.clusters.get(&place("contoso")).await.unwrap().key.unwrap().version.as_deref(), Some("v1"));
    assert_eq!(works.patched("contoso", with_key("kek", None)).await.unwrap().key.unwrap().version, None);
}

#[tokio::test]
async fn links_are_counted_unlinks_are_not_and_what_comes_to_nothing_is_not_m4_l5() {
    let works = Works::new().await;
    let path = place("contoso").cluster_path();
    works.cluster("contoso").await;
    let shop = works.site.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    let fresh = async || works.site.catalog.workspace(shop.id).await.unwrap().unwrap();
    let link = async || {
        let linked = works.clusters.link(fresh().await, &path).await.map(drop);
        works.clusters.idle().await;
        linked
    };
    let unlink = async || {
        works.clusters.unlink(fresh().await).await.unwrap();
        works.clusters.idle().await;
    };
    *works.desk.change_fails.lock() = Some(crate::Refusal::Interrupted.into());
    link().await.unwrap();
    assert!(fresh().await.link.is_none(), "that one failed");
    link().await.unwrap();
    link().await.unwrap(); // To the same: nothing to do.
    unlink().await;
    works.site.sim.clock().advance(10 * DAY);
    link().await.unwrap();
    unlink().await;
    works.site.sim.clock().advance(19 * DAY);
    let error = link().await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("LinkOperationLimitReached", ErrorKind::Invalid));
    assert!(error.to_string().starts_with("A workspace can be linked 2 times in 30 days; this one was linked 2 times."), "{error}");
    let until = error.to_string();
    works.site.sim.clock().advance(DAY);
    link().await.unwrap();
    assert!(fresh().await.link.is_some());
    let day = crate::clusters::rfc3339(works.site.world.clock.wall().unix_ms());
    assert!(until.contains(&day[..10]), "{until}: {day}");
    let strict = works.ruled(&AzureConfig { linked_workspaces_max: 1, ..AzureConfig::default() });
    let other = works.site.workspaces.create("other".parse().unwrap(), None).await.unwrap();
    assert_eq!(refused(strict.link(other.clone(), &path).await).0, "LinkedWorkspaceLimitReached");
    unlink().await;
    strict.link(other, &path).await.unwrap();
    strict.idle().await;

    // Two that are asked for at once find room both, and one of them is linked.
    let [more, most] = ["more", "most"].map(|name| works.site.workspaces.create(name.parse().unwrap(), None));
    let (more, most) = (more.await.unwrap(), most.await.unwrap());
    let two = works.ruled(&AzureConfig { linked_workspaces_max: 2, ..AzureConfig::default() });
    works.desk.hold();
    let mut ends = Vec::new();
    for workspace in [more, most] {
        ends.push(two.link(workspace, &path).await.unwrap().operation.unwrap().id);
    }
    works.desk.go_on();
    two.idle().await;
    let mut codes = Vec::new();
    for id in ends {
        codes.push(two.operation(id).await.unwrap().unwrap().error.map(|error| error.code));
    }
    codes.sort();
    assert_eq!(codes, [None, Some("LinkedWorkspaceLimitReached".to_owned())]);
}

#[tokio::test]
async fn an_operator_brings_a_deleted_cluster_back_with_its_links_c12_d11() {
    let mut works = Works::new().await;
    let was = works.cluster("contoso").await;
    let shop = works.site.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    let target = place("contoso").cluster_path();
    works.clusters.link(shop.clone(), &target).await.unwrap();
    works.clusters.idle().await;
    works.clusters.delete(&place("contoso"), false).await.unwrap();
    works.clusters.idle().await;
    let fresh = async |works: &Works| works.site.catalog.workspace(shop.id).await.unwrap().unwrap();
    assert!(fresh(&works).await.link.is_none());
    // Not by today's rules, and the texts say nothing of it.
    assert!(matches!(works.clusters.recover("contoso").await, Err(ControlError::Conflict { .. })));
    let now = works.clusters.get(&place("contoso")).await.unwrap_err().to_string();
    assert!(now.ends_with("the cluster is in the deletion process."), "{now}");

    let old = works.ruled(&AzureConfig { cluster_recover: Choice::Set(true), ..AzureConfig::default() });
    let absent = old.get(&place("contoso")).await.unwrap_err().to_string();
    assert_eq!(
        absent,
        "Cluster not found, the cluster was probably deleted. If you try to create a cluster with that name and get a conflict, the cluster is in soft delete for 14 days. To create a new cluster contact support, or use another name."
    );
    let (code, text) = refused(old.link(shop.clone(), &target).await);
    assert_eq!(
        (code, text.as_str()),
        (
            "ClusterNotFound",
            "Cluster not found, the cluster you specified doesn't exist or was deleted. If you try to create a cluster with that name and get a conflict, the cluster is in soft delete for 14 days. You can contact support to recover it."
        )
    );
    let back = old.recover("CONTOSO").await.unwrap();
    assert_eq!((back.id, back.account, back.state, back.deleted_ms), (was.id, was.account, ClusterState::Succeeded, None));
    assert_eq!(fresh(&works).await.link.unwrap().cluster, was.id);
    assert!(works.site.catalog.links_kept().await.unwrap().is_empty());
    assert_eq!(refused(old.recover("contoso").await).0, "ResourceNotFound", "it is there");

    // A stop between the two: the next start links it again.
    works.clusters.delete(&place("contoso"), false).await.unwrap();
    works.clusters.idle().await;
    works.site.catalog.cluster_recover(was.id, 1).await.unwrap();
    works.restart().await;
    assert_eq!(fresh(&works).await.link.unwrap().cluster, was.id);

    // After its time it is gone for good.
    works.clusters.delete(&place("contoso"), false).await.unwrap();
    works.clusters.idle().await;
    works.site.sim.clock().advance(14 * DAY);
    assert_eq!(refused(old.recover("contoso").await).0, "ResourceNotFound");
}
