use strongroom_catalog::{ClusterRow, ClusterState, IdentityType, UserIdentityRow, VaultRefRow};
use strongroom_model::{ErrorKind, ObjectId};

use super::desk::{Works, key, new_cluster, place, refused, with_key};
use super::*;
use crate::{ClusterAsk, KeyProperties, Place, Refusal, UserIdentities, UserIdentityAsk};

fn show(kind: Option<IdentityType>, users: Option<&[&str]>) -> ClusterAsk {
    let user_identities = users.map(|users| users.iter().map(|&path| path.to_owned()).collect());
    ClusterAsk { identity: kind, user_identities, ..ClusterAsk::default() }
}

/// The same of a cluster that is not there yet.
fn make(kind: Option<IdentityType>, users: Option<&[&str]>) -> ClusterAsk {
    let ClusterAsk { identity, user_identities, .. } = show(kind, users);
    ClusterAsk { identity, user_identities, ..new_cluster() }
}

/// A user-assigned identity and its path.
async fn user(works: &Works, name: &str) -> (String, String) {
    let identities = UserIdentities::new(works.site.world.clone(), works.site.catalog.clone(), Arc::clone(&works.desk) as _);
    let ask = UserIdentityAsk { region: "here".to_owned(), ..UserIdentityAsk::default() };
    let row = identities.put(&place(name), ask.clone()).await.unwrap();
    assert_eq!(identities.put(&place(&name.to_uppercase()), ask).await.unwrap(), row, "made once");
    (Place::of_identity(&row).identity_path(), row.identity.principal)
}

fn shown(row: &ClusterRow) -> (IdentityType, &str) {
    (row.identity_type, row.identity.as_ref().unwrap().principal.as_str())
}

#[tokio::test]
async fn a_cluster_shows_another_identity_once_that_works_and_else_the_one_it_had() {
    let works = Works::new().await;
    let own = works.cluster("contoso").await;
    works.patched("contoso", with_key("kek", None)).await.unwrap();
    let (path, principal) = user(&works, "reader").await;
    let ask = make(Some(IdentityType::UserAssigned), Some(&[&path]));
    // Not granted: told at once, nothing changed.
    let why = || Refusal::KeyNotValid { problem: "PermissionMissing(unwrapKey)".to_owned(), why: "not granted".to_owned() };
    *works.desk.probe_fails.lock() = Some(why().into());
    assert_eq!(works.clusters.patch(&place("contoso"), ask.clone()).await.unwrap_err().code(), "KeyValidationFailed");
    let row = works.clusters.get(&place("contoso")).await.unwrap();
    assert_eq!((row.state, shown(&row)), (ClusterState::Succeeded, shown(&own)));
    // Taken away between the look and the change.
    *works.desk.change_fails.lock() = Some(why().into());
    let accepted = works.clusters.patch(&place("contoso"), ask.clone()).await.unwrap();
    assert_eq!(works.end(&accepted).await, Err("KeyValidationFailed".to_owned()));
    assert_eq!(shown(&works.clusters.get(&place("contoso")).await.unwrap()), shown(&own));

    let row = works.patched("contoso", ask.clone()).await.unwrap();
    assert_eq!(shown(&row), (IdentityType::UserAssigned, principal.as_str()));
    let view = works.clusters.view(row.clone()).await.unwrap();
    assert_eq!(view.user_identity.unwrap().identity_path(), path);
    assert_eq!(view.own_identity.unwrap().principal, own.identity.as_ref().unwrap().principal);
    // The same again, in whatever case and with another slash; and what az sends back whole.
    let upper = format!("{}/", path.to_uppercase());
    for same in [show(None, Some(&[&upper])), show(Some(IdentityType::UserAssigned), None), ClusterAsk::default(), ask] {
        assert!(works.clusters.patch(&place("contoso"), same).await.unwrap().operation.is_none());
    }
    let row = works.patched("contoso", show(Some(IdentityType::SystemAssigned), None)).await.unwrap();
    assert_eq!((shown(&row), row.user_identity), (shown(&own), None), "its own, the very same");
}

#[tokio::test]
async fn a_cluster_has_one_identity_and_changes_it_by_itself() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    let (path, _) = user(&works, "reader").await;
    let (other, _) = user(&works, "other").await;
    let (own, users) = (Some(IdentityType::SystemAssigned), Some(IdentityType::UserAssigned));
    for bad in [
        make(users, Some(&[&path, &other])),
        make(users, None),
        make(users, Some(&[])),
        make(own, Some(&[&path])),
        make(None, Some(&[&path])),
    ] {
        assert_eq!(refused(works.clusters.patch(&place("contoso"), bad.clone()).await).0, "SingleIdentityRequired", "{bad:?}");
    }
    let absent =
        make(users, Some(&["/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nobody"]));
    assert_eq!(refused(works.clusters.patch(&place("contoso"), absent).await).0, "IdentityNotFound");
    let both = ClusterAsk { key: Some(key("kek", None)), ..make(users, Some(&[&path])) };
    assert_eq!(refused(works.clusters.patch(&place("contoso"), both).await).0, "IdentityAndKeyInOneUpdate");

    // Made with a user-assigned one: its own is there all the same, to be granted before it is shown.
    works.clusters.put(&place("second"), make(users, Some(&[&path]))).await.unwrap();
    works.clusters.idle().await;
    let row = works.clusters.get(&place("second")).await.unwrap();
    assert_eq!(row.identity_type, IdentityType::UserAssigned);
    assert!(works.clusters.view(row).await.unwrap().own_identity.is_some());
    let identities = UserIdentities::new(works.site.world.clone(), works.site.catalog.clone(), Arc::clone(&works.desk) as _);
    assert_eq!(identities.delete(&place("reader")).await.unwrap_err().code(), "IdentityInUse");
    assert!(identities.delete(&place("other")).await.unwrap() && !identities.delete(&place("other")).await.unwrap());
}

#[tokio::test]
async fn a_new_cluster_comes_under_a_key_at_once_if_the_identity_it_shows_was_granted_before() {
    let works = Works::new().await;
    let (path, principal) = user(&works, "reader").await;
    let ask = ClusterAsk { key: Some(key("kek", Some("v7"))), ..make(Some(IdentityType::UserAssigned), Some(&[&path])) };
    let why = Refusal::KeyNotValid { problem: "PermissionMissing(unwrapKey)".to_owned(), why: "not granted".to_owned() };
    *works.desk.probe_fails.lock() = Some(why.into());
    assert_eq!(refused(works.clusters.put(&place("contoso"), ask.clone()).await).0, "KeyValidationFailed");
    assert!(works.clusters.list(None, None).await.unwrap().is_empty(), "no cluster is left behind");
    let elsewhere =
        ClusterAsk { key: Some(KeyProperties { vault_uri: "https://nobody.example".to_owned(), ..key("kek", None) }), ..ask.clone() };
    assert_eq!(refused(works.clusters.put(&place("contoso"), elsewhere).await).0, "KeyVaultNotRegistered");
    assert!(works.clusters.list(None, None).await.unwrap().is_empty());

    let accepted = works.clusters.put(&place("contoso"), ask).await.unwrap();
    assert_eq!(works.end(&accepted).await, Ok(()));
    let row = works.clusters.get(&place("contoso")).await.unwrap();
    assert_eq!((row.state, shown(&row)), (ClusterState::Succeeded, (IdentityType::UserAssigned, principal.as_str())));
    let set = row.key.unwrap();
    assert_eq!((set.name.as_str(), set.version.as_deref(), set.rsa_bits), ("kek", Some("v7"), Some(2_048)));
    let calls = works.desk.calls.lock().clone();
    let at = |what: &str| calls.iter().position(|call| call.starts_with(what)).unwrap_or_else(|| panic!("{what}: {calls:?}"));
    assert!(at("open") < at("set"), "the account first: {calls:?}");
}

#[tokio::test]
async fn none_acts_at_once_is_final_for_the_customer_and_ended_by_the_operator() {
    let works = Works::new().await;
    let own = works.cluster("contoso").await;
    works.patched("contoso", with_key("kek", None)).await.unwrap();
    let (path, principal) = user(&works, "reader").await;
    let none = show(Some(IdentityType::None), None);
    let accepted = works.clusters.patch(&place("contoso"), ClusterAsk { sku_capacity: Some(300), ..none.clone() }).await.unwrap();
    assert_eq!(accepted.cluster.identity_type, IdentityType::None);
    assert!(works.desk.calls.lock().contains(&"remove".to_owned()), "before it answers");
    works.clusters.idle().await;
    assert_eq!(works.clusters.get(&place("contoso")).await.unwrap().sku_capacity, 300, "what was sent along is done, too");
    // Every way back, a new key too, is the operator's.
    let way_back =
        [show(Some(IdentityType::SystemAssigned), None), show(Some(IdentityType::UserAssigned), Some(&[&path])), with_key("other", None)];
    for ask in way_back {
        let error = works.clusters.patch(&place("contoso"), ask).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("IdentityNoneIsFinal", ErrorKind::Forbidden));
        assert!(error.to_string().contains("operator"), "{error}");
    }
    assert!(works.clusters.patch(&place("contoso"), none).await.unwrap().operation.is_none());
    works.patched("contoso", ClusterAsk { sku_capacity: Some(400), ..ClusterAsk::default() }).await.unwrap();
    let row = works.clusters.get(&place("contoso")).await.unwrap();
    assert_eq!(row.identity_type, IdentityType::None, "another change does not end it");
    assert!(works.clusters.restore_identity(row).await.unwrap());
    let row = works.clusters.get(&place("contoso")).await.unwrap();
    assert_eq!(shown(&row), shown(&own));
    assert!(!works.clusters.restore_identity(row).await.unwrap());

    // The other form: the map of a user-assigned cluster said to be empty.
    let row = works.patched("contoso", show(Some(IdentityType::UserAssigned), Some(&[&path]))).await.unwrap();
    assert_eq!(shown(&row), (IdentityType::UserAssigned, principal.as_str()));
    let accepted = works.clusters.patch(&place("contoso"), show(Some(IdentityType::UserAssigned), Some(&[]))).await.unwrap();
    assert_eq!(accepted.cluster.identity_type, IdentityType::None);
    works.clusters.restore_identity(accepted.cluster).await.unwrap();
    assert_eq!(shown(&works.clusters.get(&place("contoso")).await.unwrap()), (IdentityType::UserAssigned, principal.as_str()));
}

#[tokio::test]
async fn vault_cluster_and_workspace_lie_in_one_region_and_one_tenant() {
    let works = Works::new().await;
    let tenant = "0192f0c4-0000-7000-8000-0000000000aa";
    let cluster = works.cluster("contoso").await;
    let place_of = async |vault: VaultRefRow| works.site.catalog.vault_ref_put(&vault).await.unwrap();
    let known = works.site.catalog.vault_ref_by_uri(super::desk::VAULT).await.unwrap().unwrap();
    place_of(VaultRefRow { region: "elsewhere".to_owned(), ..known.clone() }).await;
    let (code, text) = refused(works.clusters.patch(&place("contoso"), with_key("kek", None)).await);
    assert_eq!(code, "RegionMismatch");
    assert!(text.contains("elsewhere") && text.contains("cluster contoso in here"), "{text}");
    // A private link and a user-assigned identity do not go together, whichever comes first.
    place_of(VaultRefRow { private_link: true, ..known.clone() }).await;
    let (path, _) = user(&works, "reader").await;
    let users = make(Some(IdentityType::UserAssigned), Some(&[&path]));
    works.patched("contoso", users.clone()).await.unwrap();
    assert_eq!(refused(works.clusters.patch(&place("contoso"), with_key("kek", None)).await).0, "PrivateLinkNeedsSystemAssigned");
    works.patched("contoso", show(Some(IdentityType::SystemAssigned), None)).await.unwrap();
    works.patched("contoso", with_key("kek", None)).await.unwrap();
    assert_eq!(refused(works.clusters.patch(&place("contoso"), users).await).0, "PrivateLinkNeedsSystemAssigned");

    works.site.workspaces.ensure_defaults().await.unwrap();
    let mut workspace = works.site.catalog.workspaces().await.unwrap().remove(0);
    workspace.region = "elsewhere".to_owned();
    let (code, text) = refused(works.clusters.link(workspace.clone(), &Place::of_cluster(&cluster).cluster_path()).await);
    assert_eq!(code, "RegionMismatch");
    assert!(text.starts_with("Workspace default is in region elsewhere"), "{text}");

    let ours = works.of_tenant(tenant);
    assert_eq!(refused(ours.patch(&place("contoso"), with_key("other", None)).await).0, "TenantMismatch");
    place_of(VaultRefRow { tenant: tenant.to_uppercase(), ..known }).await;
    ours.patch(&place("contoso"), with_key("other", None)).await.unwrap();
    ours.idle().await;
}

#[tokio::test]
async fn of_a_request_that_is_refused_not_even_the_identity_goes() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    works.patched("contoso", with_key("kek", None)).await.unwrap();
    let none = show(Some(IdentityType::None), None);
    for (ask, code) in [
        (ClusterAsk { sku_capacity: Some(99), ..none.clone() }, "CapacityOutOfRange"),
        (ClusterAsk { double: Some(false), ..none.clone() }, "DoubleEncryptionImmutable"),
        (ClusterAsk { region: Some("elsewhere".to_owned()), ..none.clone() }, "InvalidParameter"),
        (ClusterAsk { identity: Some(IdentityType::None), ..with_key("other", None) }, "IdentityAndKeyInOneUpdate"),
    ] {
        assert_eq!(refused(works.clusters.patch(&place("contoso"), ask).await).0, code);
        let row = works.clusters.get(&place("contoso")).await.unwrap();
        assert_eq!(row.identity_type, IdentityType::SystemAssigned, "{code}");
    }
    let (path, _) = user(&works, "reader").await;
    works.patched("contoso", show(Some(IdentityType::UserAssigned), Some(&[&path]))).await.unwrap();
    let emptied = ClusterAsk { user_identities: Some(Vec::new()), ..with_key("other", None) };
    assert_eq!(refused(works.clusters.patch(&place("contoso"), emptied).await).0, "IdentityAndKeyInOneUpdate");

    // What needs the cluster's turn, while something else has it, is refused whole, too.
    works.desk.hold();
    works.clusters.patch(&place("contoso"), with_key("other", None)).await.unwrap();
    let both = ClusterAsk { sku_capacity: Some(300), ..none.clone() };
    assert_eq!(works.clusters.patch(&place("contoso"), both).await.unwrap_err().to_string(), Refusal::UpdateWhileBusy.to_string());
    assert_eq!(works.clusters.get(&place("contoso")).await.unwrap().identity_type, IdentityType::UserAssigned);
    assert!(!works.desk.calls.lock().contains(&"remove".to_owned()));
    works.desk.go_on();
    works.clusters.idle().await;
    assert_eq!(works.clusters.patch(&place("contoso"), none).await.unwrap().cluster.identity_type, IdentityType::None);
}

#[tokio::test]
async fn another_user_assigned_identity_and_another_key_do_not_come_in_one_update() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    let ((first, principal), (second, _)) = (user(&works, "first").await, user(&works, "second").await);
    works.patched("contoso", show(Some(IdentityType::UserAssigned), Some(&[&first]))).await.unwrap();
    works.patched("contoso", with_key("kek", None)).await.unwrap();
    for kind in [None, Some(IdentityType::UserAssigned)] {
        let both = ClusterAsk { key: Some(key("other", None)), ..show(kind, Some(&[&second])) };
        assert_eq!(refused(works.clusters.patch(&place("contoso"), both).await).0, "IdentityAndKeyInOneUpdate", "{kind:?}");
    }
    let row = works.clusters.get(&place("contoso")).await.unwrap();
    assert_eq!((shown(&row).1, row.key.as_ref().unwrap().name.as_str()), (principal.as_str(), "kek"));
    // With the key that it has, it is no change of key.
    let same = ClusterAsk { key: Some(key("kek", None)), ..show(None, Some(&[&second])) };
    assert_ne!(shown(&works.patched("contoso", same).await.unwrap()).1, principal);
}

#[tokio::test]
async fn the_last_identity_that_may_be_is_made_once_and_all_who_asked_for_it_are_shown_it() {
    let works = Works::new().await;
    let identities = UserIdentities::new(works.site.world.clone(), works.site.catalog.clone(), Arc::clone(&works.desk) as _);
    let ask = || UserIdentityAsk { region: "here".to_owned(), ..UserIdentityAsk::default() };
    let one = identities.put(&place("one"), ask()).await.unwrap();
    for n in 1..9_999 {
        let (ms, random) = works.site.world.id_seed();
        let row = UserIdentityRow { id: ObjectId::mint(ms, random), name: format!("n{n}"), ..one.clone() };
        works.site.catalog.user_identity_insert(&row).await.unwrap();
    }
    // One may be made: all who asked for the name that came first have it, all who asked for the other are refused.
    let names = [place("last"), place("other")];
    let answers = futures::future::join_all((0..8).map(|n| identities.put(&names[n % 2], ask()))).await;
    let mut made = Vec::new();
    for pair in answers.chunks(2) {
        let ([Ok(row), Err(error)] | [Err(error), Ok(row)]) = pair else { panic!("{pair:?}") };
        assert!(matches!(error, ControlError::TooMany { max: 10_000, .. }), "{error}");
        made.push(row.id);
    }
    assert!(made.iter().all(|id| *id == made[0]));
}
