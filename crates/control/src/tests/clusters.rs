use std::future::poll_fn;
use std::task::Poll;

use strongroom_catalog::{Billing, ClusterState, IdentityType};
use strongroom_model::ErrorKind;

use super::desk::{VAULT, Works, key, new_cluster, place, refused, vault, with_key};
use super::*;
use crate::{ClusterAsk, ControlError, KeyProperties, Place, Refusal, action};

#[tokio::test]
async fn a_cluster_is_made_in_the_background_with_an_identity_and_an_account_of_its_own() {
    let works = Works::new().await;
    works.desk.hold();
    let accepted = works.clusters.put(&place("contoso"), new_cluster()).await.unwrap();
    assert_eq!((accepted.cluster.state, accepted.cluster.double), (ClusterState::Creating, true));
    assert_eq!((accepted.cluster.region.as_str(), accepted.cluster.billing), ("here", Billing::Cluster));
    works.desk.go_on();
    works.end(&accepted).await.unwrap();
    let row = works.clusters.get(&place("CONTOSO")).await.unwrap();
    assert_eq!(row.state, ClusterState::Succeeded);
    assert_eq!(row.identity.as_ref().unwrap().principal, row.id.to_string());
    assert_ne!(row.account.unwrap(), works.site.account);
    assert_eq!(*works.desk.calls.lock(), ["identity", "open true"]);
    let other = works.cluster("fabrikam").await;
    assert_ne!(other.identity.unwrap().principal, row.identity.unwrap().principal);
    let names = |rows: Vec<strongroom_catalog::ClusterRow>| {
        let mut names: Vec<String> = rows.into_iter().map(|row| row.name).collect();
        names.sort();
        names
    };
    assert_eq!(names(works.clusters.list(Some("SUB"), Some("Default")).await.unwrap()), ["contoso", "fabrikam"]);
    assert!(works.clusters.list(Some("sub"), Some("other")).await.unwrap().is_empty());
    assert!(works.clusters.list(Some("other"), None).await.unwrap().is_empty());
    assert_eq!(works.clusters.named("Fabrikam").await.unwrap().id, other.id);
    assert_eq!(works.clusters.named(&row.id.to_string()).await.unwrap().id, row.id);
}

#[tokio::test]
async fn a_new_cluster_is_refused_in_the_printed_words() {
    let works = Works::new().await;
    let name = "Cluster name is not valid. Cluster name can contain characters a-z, A-Z, 0-9 and length of 4-63.";
    for bad in ["abc", &"a".repeat(64), "a_bcd", "a bcd", "äbcd", "-abcd", "abcd-", ""] {
        assert_eq!(refused(works.clusters.put(&place(bad), new_cluster()).await), ("InvalidClusterName", name.to_owned()), "{bad}");
    }
    let none = ClusterAsk { identity: Some(IdentityType::None), ..new_cluster() };
    for ask in [ClusterAsk { identity: None, ..new_cluster() }, none] {
        let text = "Identity is null or empty. Set Identity with systemAssigned type.";
        assert_eq!(refused(works.clusters.put(&place("contoso"), ask).await), ("MissingIdentity", text.to_owned()));
    }
    let early = ClusterAsk { key: Some(key("kek", None)), ..new_cluster() };
    let text = "KeyVaultProperties are set on creation. Update KeyVaultProperties after cluster creation.";
    assert_eq!(refused(works.clusters.put(&place("contoso"), early).await), ("KeyVaultPropertiesOnCreate", text.to_owned()));
    assert!(works.clusters.list(None, None).await.unwrap().is_empty());
    works.cluster("contoso").await;
    works.cluster("fabrikam").await;
    works.cluster("northwind").await;
    let fourth = works.clusters.put(&place("adatum"), new_cluster()).await;
    assert_eq!(refused(fourth), ("ClusterLimitReached", "There can be 3 clusters; there are 3. Delete one first.".to_owned()));
}

#[tokio::test]
async fn double_encryption_is_chosen_at_creation_and_never_again() {
    let works = Works::new().await;
    let ask = |double| ClusterAsk { double: Some(double), ..ClusterAsk::default() };
    let single = ClusterAsk { double: Some(false), ..new_cluster() };
    works.clusters.put(&place("single"), single).await.unwrap();
    works.clusters.idle().await;
    assert!(!works.clusters.get(&place("single")).await.unwrap().double);
    assert!(works.desk.calls.lock().contains(&"open false".to_owned()));
    works.cluster("double").await;
    for (name, is) in [("single", false), ("double", true)] {
        assert!(works.clusters.patch(&place(name), ask(is)).await.unwrap().operation.is_none());
        assert!(works.clusters.put(&place(name), ClusterAsk { double: Some(is), ..new_cluster() }).await.unwrap().operation.is_none());
        let error = works.clusters.patch(&place(name), ask(!is)).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), ("DoubleEncryptionImmutable", ErrorKind::Invalid));
        assert_eq!(works.clusters.put(&place(name), ask(!is)).await.unwrap_err().code(), "DoubleEncryptionImmutable");
    }
}

#[tokio::test]
async fn a_key_is_set_versionless_or_pinned_and_shown_when_it_is_in_use() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    for empty in [None, Some("")] {
        let row = works.patched("contoso", with_key("kek", empty)).await.unwrap();
        let key = row.key.unwrap();
        assert_eq!((key.vault_uri.as_str(), key.name.as_str(), key.version, key.rsa_bits), (VAULT, "kek", None, Some(2_048)));
    }
    // The second time there was nothing to change.
    assert_eq!(works.desk.calls.lock().iter().filter(|call| call.starts_with("set")).count(), 1);

    works.desk.hold();
    let accepted = works.clusters.patch(&place("contoso"), with_key("kek", Some("0a1b"))).await.unwrap();
    let during = works.clusters.get(&place("contoso")).await.unwrap();
    assert_eq!((during.state, during.key.unwrap().version), (ClusterState::Updating, None));
    works.desk.go_on();
    works.end(&accepted).await.unwrap();
    let after = works.clusters.get(&place("contoso")).await.unwrap();
    assert_eq!((after.state, after.key.unwrap().version.as_deref()), (ClusterState::Succeeded, Some("0a1b")));
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_before_anything_is_asked() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    let text = "KeyVaultProperties isn't empty but has a bad format. See key identifier update.";
    let bad = |uri: &str, name: &str, version: Option<&str>| ClusterAsk {
        key: Some(KeyProperties { vault_uri: uri.to_owned(), name: name.to_owned(), version: version.map(str::to_owned) }),
        ..ClusterAsk::default()
    };
    let asks = [
        bad("http://vault.example", "kek", None),
        bad("https://vault.example/keys/kek", "kek", None),
        bad("vault.example", "kek", None),
        bad(VAULT, "", None),
        bad(VAULT, "a/b", None),
        bad(VAULT, "kek", Some("../x")),
    ];
    for ask in asks {
        assert_eq!(refused(works.clusters.patch(&place("contoso"), ask).await), ("InvalidKeyVaultProperties", text.to_owned()));
    }
    let stranger = works.clusters.patch(&place("contoso"), bad("https://other.example", "kek", None)).await;
    let (code, text) = refused(stranger);
    assert_eq!(code, "KeyVaultNotRegistered");
    assert!(text.contains("https://other.example "), "{text}");
    assert_eq!(works.desk.calls.lock().len(), 2);
}

#[tokio::test]
async fn a_key_that_does_not_work_is_told_at_once_in_the_printed_words() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    let why = Refusal::KeyNotValid { problem: "KeyDisabled".to_owned(), why: "the key is disabled".to_owned() };
    *works.desk.probe_fails.lock() = Some(why.into());
    let error = works.clusters.patch(&place("contoso"), with_key("kek", None)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str(), error.detail()),
        (
            "KeyValidationFailed",
            "Failed to validate key in Key Vault. Could be due to lack of permissions or when key doesn't exist. Verify that you set key and Access Policy in Key Vault.",
            Some(("KeyDisabled", "the key is disabled"))
        )
    );
    *works.desk.probe_fails.lock() = Some(Refusal::KeyNotRecoverable.into());
    let text = "Key isn't recoverable. Key Vault must be set to Soft-delete and Purge-protection. See Key Vault documentation";
    assert_eq!(
        refused(works.clusters.put(&place("contoso"), ClusterAsk { key: Some(key("kek", None)), ..new_cluster() }).await),
        ("KeyNotRecoverable", text.to_owned())
    );
    let row = works.clusters.get(&place("contoso")).await.unwrap();
    assert_eq!((row.state, row.key), (ClusterState::Succeeded, None));

    // The key in use expires: sending it again is told so, sending the whole cluster back is no update of the key.
    works.patched("contoso", with_key("kek", None)).await.unwrap();
    let expired = || Refusal::KeyNotValid { problem: "KeyExpired".to_owned(), why: "the key has expired".to_owned() };
    *works.desk.probe_fails.lock() = Some(expired().into());
    let refused = works.clusters.patch(&place("contoso"), with_key("kek", None)).await.unwrap_err();
    assert_eq!(refused.detail(), Some(("KeyExpired", "the key has expired")));
    *works.desk.probe_fails.lock() = Some(expired().into());
    let whole = ClusterAsk { key: Some(key("kek", None)), sku_capacity: Some(200), ..new_cluster() };
    works.clusters.put(&place("contoso"), whole).await.unwrap();
    works.clusters.idle().await;
    assert_eq!(works.clusters.get(&place("contoso")).await.unwrap().sku_capacity, 200);
    assert!(works.desk.probe_fails.lock().take().is_some(), "the vault was not asked");

    // Good when asked, gone when used: the operation fails and the key stays as it was.
    works.patched("contoso", with_key("kek", None)).await.unwrap();
    *works.desk.change_fails.lock() = Some(Refusal::KeyNotRecoverable.into());
    let accepted = works.clusters.patch(&place("contoso"), with_key("other", None)).await.unwrap();
    assert_eq!(works.end(&accepted).await, Err("KeyNotRecoverable".to_owned()));
    let row = works.clusters.get(&place("contoso")).await.unwrap();
    assert_eq!((row.state, row.key.unwrap().name.as_str()), (ClusterState::Succeeded, "kek"));
}

#[tokio::test]
async fn identity_and_key_do_not_change_together_and_what_is_the_same_is_no_change() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    works.patched("contoso", with_key("kek", None)).await.unwrap();
    let both = ClusterAsk { identity: Some(IdentityType::UserAssigned), ..with_key("other", None) };
    assert_eq!(works.clusters.put(&place("contoso"), both).await.unwrap_err().code(), "IdentityAndKeyInOneUpdate");
    // As `az … update` sends it: everything, with one member changed.
    let whole = ClusterAsk {
        region: Some("Here".to_owned()),
        sku_name: Some("capacityreservation".to_owned()),
        sku_capacity: Some(100),
        billing: Some(Billing::Workspaces),
        double: Some(true),
        ..ClusterAsk { key: Some(key("kek", Some(""))), ..new_cluster() }
    };
    let accepted = works.clusters.put(&place("contoso"), whole.clone()).await.unwrap();
    works.end(&accepted).await.unwrap();
    assert_eq!(works.clusters.get(&place("contoso")).await.unwrap().billing, Billing::Workspaces);
    assert!(works.clusters.put(&place("contoso"), whole).await.unwrap().operation.is_none());
    assert_eq!(works.desk.calls.lock().iter().filter(|call| call.starts_with("set")).count(), 1);
}

#[tokio::test]
async fn one_change_at_a_time_and_each_wrong_moment_has_its_words() {
    let works = Works::new().await;
    works.desk.hold();
    let made = works.clusters.put(&place("contoso"), new_cluster()).await.unwrap();
    let patch = || ClusterAsk { billing: Some(Billing::Workspaces), ..ClusterAsk::default() };
    let busy = "Operation can't be executed now. Wait for the Async operation to complete and try again.";
    assert_eq!(refused(works.clusters.patch(&place("contoso"), patch()).await), ("OperationInProgress", busy.to_owned()));
    let busy = "Operation cannot be executed now. Async operation is in a state other than succeeded. Cluster must complete its operation before any update operation is performed.";
    assert_eq!(refused(works.clusters.put(&place("contoso"), new_cluster()).await), ("OperationInProgress", busy.to_owned()));
    let error = works.clusters.delete(&place("contoso"), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let text = "Can't delete a cluster while in provisioning state. Wait for the Async operation to complete and try again.";
    assert_eq!((error.code(), error.to_string()), ("ClusterProvisioning", text.to_owned()));
    works.desk.go_on();
    works.end(&made).await.unwrap();

    works.desk.hold();
    let going = works.clusters.delete(&place("contoso"), false).await.unwrap();
    let again = works.clusters.delete(&place("contoso"), false).await.unwrap();
    assert_eq!(going.operation.as_ref().unwrap().id, again.operation.unwrap().id);
    let text = "Cluster is in deleting state. Async operation is in progress. Cluster must complete its operation before any update operation is performed.";
    assert_eq!(refused(works.clusters.patch(&place("contoso"), patch()).await), ("ClusterDeleting", text.to_owned()));
    let text = "Cluster is in deleting state. Wait for the Async operation to complete and try again.";
    assert_eq!(refused(works.clusters.put(&place("contoso"), new_cluster()).await), ("ClusterDeleting", text.to_owned()));
    works.desk.go_on();
    works.end(&going).await.unwrap();
    let text = "Cluster not found, the cluster might have been deleted. If you try to create a cluster with that name and get a conflict, the cluster is in the deletion process.";
    for gone in ["contoso", "never"] {
        assert_eq!(refused(works.clusters.get(&place(gone)).await), ("ResourceNotFound", text.to_owned()));
        assert_eq!(refused(works.clusters.delete(&place(gone), false).await), ("ResourceNotFound", text.to_owned()));
    }
}

#[tokio::test]
async fn a_deleted_name_is_reserved_for_fourteen_days() {
    let works = Works::new().await;
    let row = works.cluster("contoso").await;
    let deleted = works.clusters.delete(&place("contoso"), false).await.unwrap();
    works.end(&deleted).await.unwrap();
    let kept = works.clusters.by_id(row.id).await.unwrap().unwrap();
    assert_eq!((kept.account, kept.deleted_ms.is_some()), (row.account, true));
    works.site.sim.clock().advance(13 * DAY);
    let error = works.clusters.put(&place("Contoso"), new_cluster()).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("ClusterNameReserved", ErrorKind::Conflict));
    assert!(error.to_string().contains("was deleted in the last 14 days"), "{error}");
    works.cluster("other").await;
    works.site.sim.clock().advance(DAY);
    let again = works.cluster("contoso").await;
    assert_ne!(again.id, row.id);
}

#[tokio::test]
async fn a_stop_in_mid_creation_goes_on_and_makes_nothing_twice() {
    let mut works = Works::new().await;
    works.desk.hold();
    let accepted = works.clusters.put(&place("contoso"), new_cluster()).await.unwrap();
    // The identity is made and kept; the account is waited for.
    while works.clusters.get(&place("contoso")).await.unwrap().identity.is_none() {
        tokio::task::yield_now().await;
    }
    works.clusters.stop().await;
    works.desk.go_on();
    works.restart().await;
    works.end(&accepted).await.unwrap();
    assert_eq!(works.clusters.get(&place("contoso")).await.unwrap().state, ClusterState::Succeeded);
    assert_eq!(*works.desk.calls.lock(), ["identity", "open true"]);
}

#[tokio::test]
async fn a_stop_in_mid_change_of_key_leaves_the_key_that_the_records_name() {
    let mut works = Works::new().await;
    works.cluster("contoso").await;
    works.patched("contoso", with_key("first", None)).await.unwrap();
    for (switched, name) in [(false, "first"), (true, "second")] {
        works.desk.hold();
        let accepted = works.clusters.patch(&place("contoso"), with_key("second", None)).await.unwrap();
        works.clusters.stop().await;
        let row = works.clusters.get(&place("contoso")).await.unwrap();
        assert_eq!(row.state, ClusterState::Updating);
        if switched {
            works.desk.switch(&row, &key("second", None).kek().unwrap()).await;
        }
        works.desk.go_on();
        works.restart().await;
        let expected = if switched { Ok(()) } else { Err("OperationInterrupted".to_owned()) };
        assert_eq!(works.end(&accepted).await, expected);
        let row = works.clusters.get(&place("contoso")).await.unwrap();
        assert_eq!((row.state, row.key.unwrap().name.as_str()), (ClusterState::Succeeded, name));
    }
}

#[tokio::test]
async fn a_change_goes_on_when_whoever_asked_for_it_has_gone() {
    let works = Works::new().await;
    works.cluster("contoso").await;
    let mut let_go = 0;
    for polls in 0..12 {
        let billing = if polls % 2 == 0 { Billing::Workspaces } else { Billing::Cluster };
        let ask = ClusterAsk { billing: Some(billing), ..ClusterAsk::default() };
        let place = place("contoso");
        let mut attempt = Box::pin(works.clusters.patch(&place, ask));
        let mut done = false;
        // How far it gets in so many looks is the scheduler's affair.
        for look in 0..=polls {
            if look > 0 {
                tokio::task::yield_now().await;
            }
            if let Poll::Ready(outcome) = poll_fn(|context| Poll::Ready(attempt.as_mut().poll(context))).await {
                outcome.unwrap();
                done = true;
                break;
            }
        }
        let_go += usize::from(!done);
        drop(attempt);
        // It is done all the same, and nothing is left that would block the next one.
        while works.clusters.get(&place).await.unwrap().billing != billing {
            tokio::task::yield_now().await;
        }
        while !works.site.catalog.operation_list_running().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }
    assert!(let_go > 0, "nobody went before it was answered");
}

#[tokio::test]
async fn a_change_that_was_written_down_but_not_begun_is_told_as_failed() {
    let mut works = Works::new().await;
    works.cluster("contoso").await;
    works.desk.hold();
    let ask = ClusterAsk { billing: Some(Billing::Workspaces), ..with_key("kek", None) };
    let accepted = works.clusters.patch(&place("contoso"), ask).await.unwrap();
    works.clusters.stop().await;
    works.desk.go_on();
    works.restart().await;
    assert_eq!(works.end(&accepted).await, Err("OperationInterrupted".to_owned()));
    // As a stop between the operation's row and the cluster's leaves it.
    let row = works.clusters.get(&place("contoso")).await.unwrap();
    let operation = strongroom_catalog::OperationRow {
        id: works.site.object(),
        kind: "Update".to_owned(),
        input: format!(r#"{{"kind":"Update","cluster":"{}","key":null}}"#, row.id),
        status: strongroom_catalog::OperationStatus::InProgress,
        end_ms: None,
        error: None,
        ..accepted.operation.unwrap()
    };
    works.site.catalog.operation_insert(&operation).await.unwrap();
    works.restart().await;
    let ended = works.clusters.operation(operation.id).await.unwrap().unwrap();
    assert_eq!(ended.error.unwrap().code, "Conflict");
    assert_eq!(works.clusters.get(&place("contoso")).await.unwrap().state, ClusterState::Succeeded);
}

#[tokio::test]
async fn a_failed_creation_says_failed_and_frees_the_name_once_deleted() {
    let works = Works::new().await;
    *works.desk.change_fails.lock() = Some(ControlError::Conflict { why: "no room" });
    let accepted = works.clusters.put(&place("contoso"), new_cluster()).await.unwrap();
    assert_eq!(works.end(&accepted).await, Err("Conflict".to_owned()));
    assert_eq!(works.clusters.get(&place("contoso")).await.unwrap().state, ClusterState::Failed);
    assert_eq!(works.clusters.put(&place("contoso"), new_cluster()).await.unwrap_err().code(), "OperationInProgress");
    let deleted = works.clusters.delete(&place("contoso"), false).await.unwrap();
    works.end(&deleted).await.unwrap();
    assert_eq!(works.cluster("contoso").await.state, ClusterState::Succeeded);
}

#[tokio::test]
async fn a_vault_is_registered_once_and_held_by_the_keys_in_it() {
    let works = Works::new().await;
    let row = works.vaults.put(&place("Vault2"), vault("https://Two.example:8443/")).await.unwrap();
    assert_eq!((row.uri.as_str(), row.region.as_str()), ("https://two.example:8443", "here"));
    assert_eq!(works.vaults.get(&place("vault2")).await.unwrap(), row);
    assert_eq!(works.vaults.list("SUB", Some("default")).await.unwrap().len(), 2);
    assert!(works.vaults.list("sub", Some("other")).await.unwrap().is_empty());
    let twin = works.vaults.put(&place("twin"), vault("https://two.example:8443")).await.unwrap_err();
    assert_eq!(twin.kind(), ErrorKind::Conflict);
    for bad in ["http://two.example", "https://two.example/keys", "two.example", "https://user@two.example"] {
        assert_eq!(works.vaults.put(&place("bad"), vault(bad)).await.unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
    }
    works.cluster("contoso").await;
    works.patched("contoso", with_key("kek", None)).await.unwrap();
    assert_eq!(works.vaults.delete(&place("vault1")).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(works.vaults.delete(&place("vault2")).await.unwrap());
    assert!(!works.vaults.delete(&place("vault2")).await.unwrap());
    assert_eq!(works.vaults.get(&place("vault2")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn operators_manage_clusters_readers_look_and_senders_do_neither() {
    let site = Site::new().await;
    let changes = [action::CLUSTERS_WRITE, action::CLUSTERS_DELETE, action::LINKS_WRITE, action::LINKS_DELETE, action::VAULTS_WRITE];
    for (role, reads, writes) in
        [("Owner", true, true), ("Contributor", true, true), ("Operator", true, true), ("Reader", true, false), ("Ingest", false, false)]
    {
        let caller = site.caller(role, Scope::All).await;
        for action in [action::CLUSTERS_READ, action::VAULTS_READ] {
            assert_eq!(caller.check(action, &crate::ScopePath::root()).is_ok(), reads, "{role} {action}");
        }
        for action in changes {
            assert_eq!(caller.check(action, &crate::ScopePath::root()).is_ok(), writes, "{role} {action}");
        }
        let releases = matches!(role, "Owner" | "Operator");
        assert_eq!(caller.check(action::KEY_RELEASE, &crate::ScopePath::root()).is_ok(), releases, "{role} ends a quarantine");
    }
}

#[tokio::test]
async fn as_many_clusters_as_may_be_are_made_however_many_are_asked_for_at_once() {
    let works = Works::new().await;
    let asked = ["adatum", "contoso", "fabrikam", "northwind", "tailspin", "wingtip"].map(|name| {
        let clusters = Arc::clone(&works.clusters);
        async move { clusters.put(&place(name), new_cluster()).await }
    });
    let answers = futures::future::join_all(asked).await;
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).map(|error| error.code()).collect();
    assert_eq!(refused, ["ClusterLimitReached"; 3]);
    works.clusters.idle().await;
    assert_eq!(works.clusters.list(None, None).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_cluster_lies_where_a_path_can_say() {
    let works = Works::new().await;
    let long = "g".repeat(91);
    for odd in ["a/b", "..", ".", "a.", "a\r\nb", "a b", "a?b", "a\0b", "", &long] {
        let group = Place { resource_group: odd.to_owned(), ..place("contoso") };
        let subscription = Place { subscription: odd.to_owned(), ..place("contoso") };
        for at in [group, subscription] {
            let (code, text) = refused(works.clusters.put(&at, new_cluster()).await);
            assert!(code == "InvalidParameter" && text.contains("-_.()"), "{odd:?}: {code} {text}");
        }
    }
    assert!(works.clusters.list(None, None).await.unwrap().is_empty());
    let fine = Place { resource_group: "größe_(1).x-y".to_owned(), ..place("contoso") };
    works.clusters.put(&fine, new_cluster()).await.unwrap();
    works.clusters.idle().await;
}

#[tokio::test]
async fn a_stop_in_mid_change_of_version_leaves_the_version_that_the_records_name() {
    let mut works = Works::new().await;
    works.cluster("contoso").await;
    works.patched("contoso", with_key("kek", Some("v1"))).await.unwrap();
    for (switched, version) in [(false, "v1"), (true, "v2")] {
        works.desk.hold();
        let accepted = works.clusters.patch(&place("contoso"), with_key("kek", Some("v2"))).await.unwrap();
        works.clusters.stop().await;
        if switched {
            let row = works.clusters.get(&place("contoso")).await.unwrap();
            works.desk.switch(&row, &key("kek", Some("v2")).kek().unwrap()).await;
        }
        works.desk.go_on();
        works.restart().await;
        let expected = if switched { Ok(()) } else { Err("OperationInterrupted".to_owned()) };
        assert_eq!(works.end(&accepted).await, expected);
        let row = works.clusters.get(&place("contoso")).await.unwrap();
        assert_eq!((row.state, row.key.unwrap().version.as_deref()), (ClusterState::Succeeded, Some(version)));
    }
}
