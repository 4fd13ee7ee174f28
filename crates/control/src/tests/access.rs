use strongroom_model::{ErrorKind, PrincipalId, WorkspaceId};

use super::*;
use crate::{ADMIN, ControlError, DEFAULT_NAME, Place, RETENTION_DAYS_MAX, ScopePath, action};

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_first_start_makes_the_defaults_and_a_second_one_nothing() {
    let site = Site::new().await;
    let made = site.workspaces.ensure_defaults().await.unwrap();
    assert_eq!((made.name.as_str(), made.resource_group.as_str(), made.region.as_str()), (DEFAULT_NAME, DEFAULT_NAME, "here"));
    assert_eq!((made.retention_days, made.account), (30, site.account));
    assert!(made.subscription.parse::<ObjectId>().is_ok());
    assert_eq!(site.workspaces.ensure_defaults().await.unwrap(), made);
    assert_eq!(site.catalog.workspaces().await.unwrap(), std::slice::from_ref(&made));
    let other = site.workspaces.create("shop".parse().unwrap(), Some(7)).await.unwrap();
    assert_eq!((other.subscription, other.retention_days), (made.subscription, 7));
}

#[tokio::test]
async fn a_workspace_is_found_by_id_and_by_name_whatever_the_case() {
    let site = Site::new().await;
    let shop = site.workspaces.create("Shop".parse().unwrap(), None).await.unwrap();
    let owner = site.caller("Owner", Scope::All).await;
    for name in [shop.id.to_string(), shop.id.to_string().to_uppercase(), "Shop".to_owned(), "SHOP".to_owned()] {
        assert_eq!(site.workspaces.resolve(&owner, &name, action::QUERY).await.unwrap(), shop, "{name}");
    }
}

#[tokio::test]
async fn a_foreign_workspace_looks_exactly_like_one_that_is_not_there() {
    let site = Site::new().await;
    let mine = site.workspaces.create("mine".parse().unwrap(), None).await.unwrap();
    let theirs = site.workspaces.create("theirs".parse().unwrap(), None).await.unwrap();
    // Whatever the role, even one that could not do it anywhere.
    for role in ["Owner", "Reader", "Ingest", "Operator"] {
        let caller = site.caller(role, Scope::Workspace(mine.id)).await;
        for action in [action::QUERY, action::INGEST, action::WORKSPACES_READ, action::TABLES_WRITE] {
            for (foreign, absent) in [
                (theirs.id.to_string(), WorkspaceId::from_bytes([9; 16]).to_string()),
                ("theirs".to_owned(), "nobodys".to_owned()),
                ("theirs".to_owned(), "not a name/..".to_owned()),
            ] {
                let look = async |name: &str| {
                    let error = site.workspaces.resolve(&caller, name, action).await.unwrap_err();
                    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, "NotFound"));
                    format!("{error:?} {error}").replace(name, "IT")
                };
                assert_eq!(look(&foreign).await, look(&absent).await);
                // Nor does having been looked up just now make a difference.
                assert_eq!(look(&foreign).await, look(&absent).await);
            }
            // By its path, too.
            let look = async |name: &str| {
                let place = Place { name: name.to_owned(), ..Place::of_workspace(&theirs) };
                let error = site.workspaces.at(&caller, &place, action).await.unwrap_err();
                format!("{error:?} {error}").replace(name, "IT")
            };
            assert_eq!(look("theirs").await, look("nobodys").await);
            assert_eq!(look("theirs").await, look("not a name").await);
        }
        let ghost = WorkspaceRow { name: "ghost".parse().unwrap(), ..theirs.clone() };
        for (row, name) in [(&theirs, "theirs"), (&ghost, "ghost")] {
            let error = caller.check(action::QUERY, &ScopePath::workspace(row)).unwrap_err();
            assert!(matches!(error, ControlError::NotFound { what: "resource", name: path } if path.ends_with(name)));
        }
    }
    let reader = site.caller("Reader", Scope::Workspace(mine.id)).await;
    let error = site.workspaces.resolve(&reader, "mine", action::INGEST).await.unwrap_err();
    let path = ScopePath::workspace(&mine);
    let expected = format!(
        "the client 'a Reader' with object id '{}' does not have authorization to perform action \
         'Microsoft.OperationalInsights/workspaces/ingest/action' over scope '{path}'",
        reader.principal
    );
    assert_eq!((error.code(), error.to_string()), ("AuthorizationFailed", expected));
    assert_eq!(site.workspaces.list(&reader).await.unwrap(), [mine]);
}

#[tokio::test]
async fn a_name_that_means_several_workspaces_is_a_conflict_for_those_who_see_several() {
    let site = Site::new().await;
    let first = site.workspaces.create("twin".parse().unwrap(), None).await.unwrap();
    let (ms, random) = site.world.id_seed();
    let second = WorkspaceRow { id: WorkspaceId::mint(ms, random), resource_group: "other".to_owned(), ..first.clone() };
    site.catalog.workspace_insert(&second).await.unwrap();

    let owner = site.caller("Owner", Scope::All).await;
    let error = site.workspaces.resolve(&owner, "twin", action::QUERY).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "AmbiguousName"));
    assert_eq!(site.workspaces.resolve(&owner, &second.id.to_string(), action::QUERY).await.unwrap(), second);
    let reader = site.caller("Reader", Scope::Workspace(first.id)).await;
    assert_eq!(site.workspaces.resolve(&reader, "twin", action::QUERY).await.unwrap(), first);
}

#[tokio::test]
async fn names_are_taken_once_and_never_look_like_ids() {
    let site = Site::new().await;
    site.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    let twice = site.workspaces.create("SHOP".parse().unwrap(), None).await.unwrap_err();
    assert_eq!((twice.kind(), twice.code()), (ErrorKind::Conflict, "Conflict"));
    for id in ["0190b2a4-7c1e-7000-8000-000000000001", "0190b2a47c1e70008000000000000001"] {
        assert_eq!(site.workspaces.create(id.parse().unwrap(), None).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    let full = Site::with(ControlConfig { workspaces_max: 1, ..ControlConfig::default() }).await;
    full.workspaces.ensure_defaults().await.unwrap();
    assert!(matches!(full.workspaces.create("more".parse().unwrap(), None).await.unwrap_err(), ControlError::TooMany { max: 1, .. }));
}

#[tokio::test]
async fn retention_has_bounds_and_a_table_that_is_not_there_has_none() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    let name: TableName = "Logs".parse().unwrap();
    let table = site.table(&shop, "Logs").await;
    assert_eq!(site.workspaces.set_table_retention(shop.id, &name, Some(7)).await.unwrap().retention_days, Some(7));
    assert_eq!(site.catalog.table(table).await.unwrap().unwrap().retention_days, Some(7));
    assert_eq!(site.workspaces.set_table_retention(shop.id, &name, None).await.unwrap().retention_days, None);
    for days in [0, RETENTION_DAYS_MAX + 1] {
        assert!(matches!(site.workspaces.set_table_retention(shop.id, &name, Some(days)).await, Err(ControlError::Setting { .. })));
        assert!(matches!(site.workspaces.set_retention(shop.id, days).await, Err(ControlError::Setting { .. })));
        assert!(matches!(site.workspaces.create("x".parse().unwrap(), Some(days)).await, Err(ControlError::Setting { .. })));
    }
    let absent = site.workspaces.set_table_retention(shop.id, &"logs".parse().unwrap(), Some(7)).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    site.workspaces.set_retention(shop.id, RETENTION_DAYS_MAX).await.unwrap();
    assert_eq!(site.workspaces.set_retention(WorkspaceId::NIL, 3).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_admin_token_is_minted_once_and_a_given_one_replaces_it() {
    let site = Site::new().await;
    let minted = site.principals.ensure_admin(None).await.unwrap().unwrap();
    assert_eq!((minted.len(), &minted[..4]), (47, "srt_"));
    assert_eq!(site.principals.ensure_admin(None).await.unwrap(), None);
    let admin = site.principals.authenticate(&minted).await.unwrap();
    assert_eq!((admin.name.as_str(), admin.grants[0].role.name.as_str(), &admin.grants[0].scope), (ADMIN, "Owner", &ScopePath::root()));

    let given = "a-token-from-the-environment".to_owned();
    assert_eq!(site.principals.ensure_admin(Some(given.clone())).await.unwrap(), None);
    assert_eq!(site.principals.ensure_admin(Some(given.clone())).await.unwrap(), None);
    site.principals.authenticate(&given).await.unwrap();
    assert!(matches!(site.principals.authenticate(&minted).await, Err(ControlError::Unauthenticated)));
    assert_eq!(site.principals.list().await.unwrap().len(), 1);
    assert_eq!(site.principals.ensure_admin(None).await.unwrap(), None);
    for bad in ["short", "with a space in the middle", "with-an-ümlaut-in-it", &"x".repeat(257)] {
        assert_eq!(site.principals.ensure_admin(Some(bad.to_owned())).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_only_its_hash_is_kept() {
    let site = Site::new().await;
    let created = site.principals.create("agent".to_owned(), "ingest", Scope::All, None).await.unwrap();
    let row = &site.principals.list().await.unwrap()[0];
    assert_eq!((row.id, row.name.as_str()), (created.id, "agent"));
    assert!(!format!("{row:?} {created:?}").contains(&created.token));
    let caller = site.principals.authenticate(&created.token).await.unwrap();
    assert_eq!((caller.principal, caller.grants[0].role.name.as_str()), (created.id, "Ingest"));
    let second = site.principals.create("agent".to_owned(), "Ingest", Scope::All, None).await.unwrap();
    assert_ne!(second.token, created.token);
}

#[tokio::test]
async fn every_token_that_is_not_valid_is_refused_alike() {
    let site = Site::new().await;
    let ttl = Duration::from_mins(10);
    let short = site.principals.create("short".to_owned(), "Reader", Scope::All, Some(ttl)).await.unwrap();
    site.principals.authenticate(&short.token).await.unwrap();
    site.sim.clock().advance(ttl);
    let changed = format!("{}A", &short.token[..short.token.len() - 1]);
    for token in [short.token.as_str(), changed.as_str(), "", "srt_", &"x".repeat(5_000)] {
        let error = site.principals.authenticate(token).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unauthenticated, "AuthenticationFailed"));
        assert_eq!(error.to_string(), "the token is not valid");
    }
}

/// Rows are given to whom the judge knows by their id, long after their token was looked at.
#[tokio::test]
async fn whoever_had_a_token_for_a_while_is_nobody_afterwards() {
    let site = Site::new().await;
    let created = site.principals.create("for a while".to_owned(), "Reader", Scope::All, Some(HOUR)).await.unwrap();
    site.sim.clock().advance(HOUR.saturating_sub(Duration::from_millis(1)));
    assert!(site.principals.by_id(created.id).await.unwrap().may(action::QUERY, &ScopePath::root()));
    site.sim.clock().advance(Duration::from_millis(1));
    for look in ["as it was known", "anew"] {
        assert!(matches!(site.principals.by_id(created.id).await, Err(ControlError::Unauthenticated)), "{look}");
        site.sim.clock().advance(HOUR);
    }
}

#[tokio::test]
async fn a_token_deleted_elsewhere_works_for_a_second_at_most_and_one_deleted_here_no_more() {
    let site = Site::new().await;
    let here = site.principals.create("here".to_owned(), "Reader", Scope::All, None).await.unwrap();
    let elsewhere = site.principals.create("elsewhere".to_owned(), "Reader", Scope::All, None).await.unwrap();
    for created in [&here, &elsewhere] {
        site.principals.authenticate(&created.token).await.unwrap();
    }
    site.catalog.principal_delete(elsewhere.id).await.unwrap();
    site.sim.clock().advance(Duration::from_millis(999));
    site.principals.authenticate(&elsewhere.token).await.unwrap();
    site.sim.clock().advance(Duration::from_millis(1));
    assert!(site.principals.authenticate(&elsewhere.token).await.is_err());

    site.principals.authenticate(&here.token).await.unwrap();
    site.principals.delete(here.id).await.unwrap();
    assert!(site.principals.authenticate(&here.token).await.is_err());
    assert_eq!(site.principals.delete(here.id).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_last_owner_of_everything_cannot_be_deleted() {
    let site = Site::new().await;
    site.principals.ensure_admin(None).await.unwrap();
    let admin = site.principals.list().await.unwrap()[0].id;
    // Neither an owner of one workspace nor one who ends soon could take over for good.
    let shop = site.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    site.caller("Owner", Scope::Workspace(shop.id)).await;
    let brief = site.principals.create("brief".to_owned(), "Owner", Scope::All, Some(Duration::from_mins(1))).await.unwrap();
    site.sim.clock().advance(Duration::from_mins(1));
    assert_eq!(site.principals.delete(admin).await.unwrap_err().kind(), ErrorKind::Conflict);
    site.principals.delete(brief.id).await.unwrap();
    site.caller("Owner", Scope::All).await;
    site.principals.delete(admin).await.unwrap();
}

#[tokio::test]
async fn a_principal_needs_a_known_role_a_name_and_a_workspace_that_exists() {
    let site = Site::new().await;
    let attempt = async |name: &str, role: &str, scope: Scope, ttl: Option<u64>| {
        site.principals.create(name.to_owned(), role, scope, ttl.map(Duration::from_secs)).await.unwrap_err().kind()
    };
    assert_eq!(attempt("a", "Root", Scope::All, None).await, ErrorKind::Invalid);
    assert_eq!(attempt("", "Owner", Scope::All, None).await, ErrorKind::Invalid);
    assert_eq!(attempt("a\nb", "Owner", Scope::All, None).await, ErrorKind::Invalid);
    assert_eq!(attempt(ADMIN, "Owner", Scope::All, None).await, ErrorKind::Conflict);
    assert_eq!(attempt("a", "Owner", Scope::All, Some(59)).await, ErrorKind::Invalid);
    assert_eq!(attempt("a", "Owner", Scope::All, Some(u64::MAX)).await, ErrorKind::Invalid);
    assert_eq!(attempt("a", "Owner", Scope::Workspace(WorkspaceId::NIL), None).await, ErrorKind::NotFound);
    assert!(site.principals.list().await.unwrap().is_empty());
    assert_eq!(site.principals.delete(PrincipalId::NIL).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn each_role_allows_what_its_name_says() {
    let all = [
        action::INGEST,
        action::QUERY,
        action::FLUSH,
        action::WORKSPACES_READ,
        action::WORKSPACES_WRITE,
        action::TABLES_READ,
        action::TABLES_WRITE,
        action::PRINCIPALS_READ,
        action::PRINCIPALS_WRITE,
        action::PRINCIPALS_DELETE,
        action::CACHE_READ,
        action::LOCKBOX_REQUEST,
        action::LOCKBOX_APPROVE,
        action::QUERY_APPROVED,
        action::WORKSPACES_DELETE,
        action::SHRED,
    ];
    // In the order of the list above.
    let table = [
        ("Owner", "yyyyyyyyyyyyyyyy"),
        ("Contributor", "yyyyyyyynnyynyyn"),
        ("Reader", "nynynynynnynnnnn"),
        ("Ingest", "ynnnnnnnnnnnnnnn"),
        ("Operator", "nnyyynnynnyynynn"),
        ("LockboxApprover", "nnnynnnnnnnnynnn"),
        ("Log Analytics Contributor", "yyyyyyyynnynnnyn"),
        ("Log Analytics Reader", "nynynynynnynnnnn"),
        ("User Access Administrator", "nynynynynnynnnnn"),
        ("Monitoring Metrics Publisher", "nnnnnnnnnnnnnnnn"),
    ];
    let roles = Roles::built_in();
    for (name, expected) in table {
        let role = roles.get(name).unwrap();
        let allowed: String = all.iter().map(|action| if role.allows(action) { 'y' } else { 'n' }).collect();
        assert_eq!(allowed, expected, "{name}");
        assert!(!role.description.is_empty());
    }
    assert_eq!(roles.iter().count(), table.len());
    assert!(roles.get("owner").is_some() && roles.get("Root").is_none());
}

#[test]
fn a_pattern_matches_any_run_of_characters_and_nothing_else() {
    for (pattern, action, expected) in [
        ("*", "anything/at/all", true),
        ("*/read", "workspaces/tables/read", true),
        ("*/read", "workspaces/tables/readall", false),
        ("*/read", "read", false),
        ("workspaces/*", "workspaces/query/action", true),
        ("workspaces/*", "workspace", false),
        ("workspaces/*/action", "workspaces/query/action", true),
        ("workspaces/*/action", "workspaces/action", false),
        ("a*b*c", "a-b-c", true),
        ("a*b*c", "acb", false),
        ("ab*ba", "aba", false),
        ("Workspaces/Query/Action", "workspaces/query/action", true),
        ("workspaces/query", "workspaces/query/action", false),
        ("", "x", false),
    ] {
        let role = crate::Role {
            id: ObjectId::NIL,
            scopes: None,
            name: "x".to_owned(),
            description: String::new(),
            actions: vec![pattern.to_owned()],
            not_actions: vec!["never/*".to_owned()],
        };
        assert_eq!(role.allows(action), expected, "{pattern} {action}");
        assert!(!role.allows("never/this"));
    }
}

#[tokio::test]
async fn a_caller_for_one_workspace_may_do_nothing_on_everything() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    let local = site.caller("Owner", Scope::Workspace(shop.id)).await;
    let global = site.caller("Reader", Scope::All).await;
    let everything = ScopePath::root();
    assert_eq!(local.check(action::PRINCIPALS_WRITE, &everything).unwrap_err().kind(), ErrorKind::Forbidden);
    local.check(action::TABLES_WRITE, &ScopePath::workspace(&shop)).unwrap();
    global.check(action::PRINCIPALS_READ, &everything).unwrap();
    assert_eq!(global.check(action::PRINCIPALS_WRITE, &everything).unwrap_err().kind(), ErrorKind::Forbidden);
}

#[test]
fn settings_out_of_bounds_are_named() {
    ControlConfig::default().check().unwrap();
    let bad = [
        ControlConfig { cache_ms: 1_001, ..ControlConfig::default() },
        ControlConfig { pending_age_s: 86_399, ..ControlConfig::default() },
        ControlConfig { retention_days_default: 0, ..ControlConfig::default() },
        ControlConfig { sweep_batch: 0, ..ControlConfig::default() },
    ];
    for (config, expected) in bad.iter().zip(["cache_ms", "pending_age_s", "retention_days_default", "sweep_batch"]) {
        assert!(matches!(config.check(), Err(ControlError::Setting { name, .. }) if name == expected));
    }
    assert!(serde_json::from_str::<ControlConfig>(r#"{"cache_ms": 5, "unknown": 1}"#).is_err());
    assert_eq!(serde_json::from_str::<ControlConfig>(r#"{"cache_ms": 5}"#).unwrap().cache_ms, 5);
}
