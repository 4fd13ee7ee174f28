use strongroom_model::{ErrorKind, PrincipalId, TableName};

use super::*;
use crate::{AssignmentRow, CatalogError, CredentialRow, PrincipalRow, SchemaRow, SecretRow, SegmentRow, SigningKeyRow, StandbyRow};

#[tokio::test]
async fn a_new_current_aek_ends_the_reign_of_the_one_before() {
    let site = Site::new().await;
    let account = site.epoch.account;
    assert_eq!(site.catalog.aek_current(account).await.unwrap().unwrap().aek, site.epoch.aek);
    let next = aek(account, 2, true);
    site.catalog.aek_insert(&next).await.unwrap();
    assert_eq!(site.catalog.aek_current(account).await.unwrap().unwrap(), next);
    let all = site.catalog.aeks(account).await.unwrap();
    assert_eq!(all.iter().map(|row| (row.generation, row.current)).collect::<Vec<_>>(), [(1, false), (2, true)]);
    assert_eq!(site.catalog.aek(next.aek).await.unwrap().unwrap().record, next.record);
    assert_eq!(site.catalog.aek(AekId::NIL).await.unwrap(), None);
}

#[tokio::test]
async fn an_aek_below_the_highest_generation_is_refused() {
    let site = Site::new().await;
    site.catalog.aek_insert(&aek(site.epoch.account, 7, true)).await.unwrap();
    for generation in [6, 7] {
        let error = site.catalog.aek_insert(&aek(site.epoch.account, generation, true)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert_eq!(site.catalog.aek_current(site.epoch.account).await.unwrap().unwrap().generation, 7);
    let orphan = site.catalog.aek_insert(&aek(AccountId::NIL, 1, true)).await.unwrap_err();
    assert_eq!((orphan.kind(), orphan.code()), (ErrorKind::NotFound, "NotFound"));
}

fn waiting(row: &AekRow, version: &str, created_ms: i64) -> StandbyRow {
    StandbyRow { aek: row.aek, version: version.to_owned(), account: row.account, record: version.as_bytes().to_vec(), created_ms }
}

#[tokio::test]
async fn a_record_that_waits_goes_with_the_one_it_waits_beside() {
    let site = Site::new().await;
    let account = site.epoch.account;
    let (one, two) = (aek(account, 2, true), aek(account, 3, false));
    for row in [&one, &two] {
        site.catalog.aek_insert(row).await.unwrap();
    }
    let versions = async || site.catalog.standbys(account).await.unwrap().into_iter().map(|row| row.version).collect::<Vec<_>>();
    assert!(site.catalog.standby_put(&waiting(&one, "v2", 1), 2).await.unwrap());
    assert!(site.catalog.standby_put(&waiting(&one, "v3", 2), 2).await.unwrap());
    assert!(site.catalog.standby_put(&waiting(&two, "v3", 3), 3).await.unwrap());
    assert!(!site.catalog.standby_put(&waiting(&two, "v4", 4), 2).await.unwrap(), "made beside a record that is not live");
    assert_eq!(versions().await, ["v2", "v3", "v3"]);
    site.catalog.aek_rewrap(&AekRow { generation: 4, ..one.clone() }).await.unwrap();
    assert_eq!(site.catalog.standbys(account).await.unwrap(), [waiting(&two, "v3", 3)]);
    site.catalog.aek_supersede(&[AekRow { generation: 5, ..two.clone() }], &aek(account, 6, true)).await.unwrap();
    assert!(versions().await.is_empty());
    // Bounded: the oldest gives way.
    for n in 0..20 {
        site.catalog.standby_put(&waiting(&one, &format!("w{n:02}"), n), 4).await.unwrap();
    }
    assert_eq!(versions().await, (12..20).map(|n| format!("w{n:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_replaced_record_is_in_no_file_once_it_is_scrubbed() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&dir.path().join("catalog.db"), World::real()).await.unwrap();
    let account = AccountId::from_bytes([3; 16]);
    catalog.account_insert(&AccountRow { id: account, region: "here".to_owned(), cluster: None }).await.unwrap();
    let record = |text: &str| text.repeat(40).into_bytes();
    let row = AekRow { record: record("the old record"), ..aek(account, 1, true) };
    catalog.aek_insert(&row).await.unwrap();
    catalog.standby_put(&StandbyRow { record: record("one that waits"), ..waiting(&row, "v2", 1) }, 1).await.unwrap();
    let anywhere = |text: &str| {
        let files = std::fs::read_dir(dir.path()).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        files.into_iter().any(|bytes| bytes.windows(text.len()).any(|found| found == text.as_bytes()))
    };
    assert!(anywhere("the old record") && anywhere("one that waits"));
    catalog.aek_rewrap(&AekRow { generation: 2, record: record("the new record"), ..row }).await.unwrap();
    assert!(anywhere("the old record"), "the journal still has it");
    assert!(catalog.scrub().await.unwrap());
    assert!(!anywhere("the old record") && !anywhere("one that waits") && anywhere("the new record"));
}

#[tokio::test]
async fn the_first_workspace_secret_wins() {
    let site = Site::new().await;
    let (workspace, aek) = (site.workspace, site.epoch.aek);
    assert_eq!(site.catalog.workspace_secret(workspace, aek).await.unwrap(), None);
    let first = SecretRow { row: object(), cell: b"first".to_vec() };
    let second = SecretRow { row: object(), cell: b"second".to_vec() };
    assert_eq!(site.catalog.workspace_secret_insert(workspace, aek, &first).await.unwrap(), first);
    assert_eq!(site.catalog.workspace_secret_insert(workspace, aek, &second).await.unwrap(), first);
    assert_eq!(site.catalog.workspace_secret(workspace, aek).await.unwrap(), Some(first));
    let nowhere = site.catalog.workspace_secret_insert(WorkspaceId::NIL, aek, &second).await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn many_who_race_for_a_secret_or_a_table_all_get_the_same() {
    let site = Site::new().await;
    let mut racers = tokio::task::JoinSet::new();
    for n in 0..16_u8 {
        let (catalog, workspace, aek) = (site.catalog.clone(), site.workspace, site.epoch.aek);
        racers.spawn(async move {
            let secret = catalog.workspace_secret_insert(workspace, aek, &SecretRow { row: object(), cell: vec![n] }).await.unwrap();
            let table = catalog.table_ensure(workspace, &"Raced".parse::<TableName>().unwrap()).await.unwrap();
            (secret.cell, table.id)
        });
    }
    let mut answers = racers.join_all().await;
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

#[tokio::test]
async fn a_schema_version_is_written_once() {
    let site = Site::new().await;
    let version = |version, cell: &[u8]| SchemaRow { table: site.table, aek: site.epoch.aek, version, row: object(), cell: cell.to_vec() };
    assert!(site.catalog.schema_cells(site.table).await.unwrap().is_empty());
    site.catalog.schema_put(&version(1, b"one")).await.unwrap();
    site.catalog.schema_put(&version(2, b"two")).await.unwrap();
    for stale in [1, 2] {
        assert_eq!(site.catalog.schema_put(&version(stale, b"late")).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    let mut other = version(1, b"other epoch");
    other.aek = aek(site.epoch.account, 2, true).aek;
    site.catalog.schema_put(&other).await.unwrap();
    let mut cells: Vec<_> = site.catalog.schema_cells(site.table).await.unwrap().into_iter().map(|row| (row.version, row.cell)).collect();
    cells.sort();
    assert_eq!(cells, [(1, b"other epoch".to_vec()), (2, b"two".to_vec())]);
}

#[tokio::test]
async fn workspace_names_ignore_case_and_tables_are_found_by_theirs_to_the_letter() {
    let site = Site::new().await;
    let account = site.epoch.account;
    let taken = site.catalog.workspace_insert(&workspace("SHOP", account)).await.unwrap_err();
    assert_eq!((taken.kind(), taken.code()), (ErrorKind::Conflict, "Conflict"));
    let mut elsewhere = workspace("Shop", account);
    elsewhere.resource_group = "other".to_owned();
    site.catalog.workspace_insert(&elsewhere).await.unwrap();
    let named = site.catalog.workspaces_named(&"sHoP".parse().unwrap()).await.unwrap();
    assert_eq!(named.iter().map(|row| row.id).collect::<Vec<_>>(), [site.workspace, elsewhere.id]);
    assert_eq!(named[1], elsewhere);
    assert_eq!(site.catalog.workspaces().await.unwrap().len(), 2);
    assert_eq!(site.catalog.workspace(site.workspace).await.unwrap().unwrap().name.as_str(), "shop");

    let name = |text: &str| text.parse::<TableName>().unwrap();
    let other = site.catalog.table_ensure(site.workspace, &name("audits")).await.unwrap();
    assert_eq!(site.catalog.table_ensure(site.workspace, &name("audits")).await.unwrap(), other);
    assert_eq!(site.catalog.table_get(site.workspace, &name("AUDITS")).await.unwrap(), None);
    assert_eq!(site.catalog.table(other.id).await.unwrap().unwrap(), other);
    assert_eq!(site.catalog.tables_alike(site.workspace, &name("AUDITS")).await.unwrap(), std::slice::from_ref(&other));
    assert_eq!(site.catalog.table_ensure(WorkspaceId::NIL, &name("logs")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn no_table_is_made_whose_name_differs_in_case_alone() {
    let site = Site::new().await;
    let name = |text: &str| text.parse::<TableName>().unwrap();
    let twin = site.catalog.table_ensure(site.workspace, &name("logs")).await.unwrap_err();
    assert_eq!((twin.kind(), twin.code()), (ErrorKind::Conflict, "TableNameConflict"));
    assert!(twin.to_string().contains("table logs") && twin.to_string().contains("Logs is there"), "{twin}");
    // Another workspace's are its own; the server's own table has to be, whatever an older build let somebody make.
    let elsewhere = workspace("annex", site.epoch.account);
    site.catalog.workspace_insert(&elsewhere).await.unwrap();
    site.catalog.table_ensure(elsewhere.id, &name("logs")).await.unwrap();
    let own = site.catalog.table_ensure_own(site.workspace, &name("logs")).await.unwrap();
    assert_eq!(site.catalog.table_ensure(site.workspace, &name("logs")).await.unwrap(), own, "what is there stays");
    let tables = site.catalog.tables_alike(site.workspace, &name("LOGS")).await.unwrap();
    assert_eq!(tables.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["Logs", "logs"]);
    assert!(site.catalog.table_ensure(site.workspace, &name("LOGS")).await.is_err());
}

#[tokio::test]
async fn of_many_spellings_that_race_one_becomes_a_table() {
    let site = Site::new().await;
    let mut racers = tokio::task::JoinSet::new();
    for n in 0..16_u32 {
        let (catalog, workspace) = (site.catalog.clone(), site.workspace);
        let spelled: String =
            "raced".chars().enumerate().map(|(at, c)| if n >> at & 1 == 1 { c.to_ascii_uppercase() } else { c }).collect();
        racers.spawn(async move { catalog.table_ensure(workspace, &spelled.parse::<TableName>().unwrap()).await.is_ok() });
    }
    assert_eq!(racers.join_all().await.into_iter().filter(|made| *made).count(), 1);
    assert_eq!(site.catalog.tables_alike(site.workspace, &"Raced".parse().unwrap()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn retention_is_set_changed_and_never_nothing() {
    let site = Site::new().await;
    site.catalog.table_set_retention(site.table, Some(7)).await.unwrap();
    assert_eq!(site.catalog.table(site.table).await.unwrap().unwrap().retention_days, Some(7));
    site.catalog.table_set_retention(site.table, None).await.unwrap();
    assert_eq!(site.catalog.table(site.table).await.unwrap().unwrap().retention_days, None);
    site.catalog.workspace_set_retention(site.workspace, 90).await.unwrap();
    assert_eq!(site.catalog.workspace(site.workspace).await.unwrap().unwrap().retention_days, 90);
    assert_eq!(site.catalog.table_set_retention(site.table, Some(0)).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(site.catalog.workspace_set_retention(site.workspace, 0).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(site.catalog.table_set_retention(TableId::NIL, None).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(site.catalog.workspace_set_retention(WorkspaceId::NIL, 1).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_principal_is_found_by_the_hash_of_its_token_until_deleted() {
    let site = Site::new().await;
    let mut rows = Vec::new();
    for n in [1, 2] {
        let (ms, random) = fresh();
        rows.push(PrincipalRow {
            id: PrincipalId::mint(ms, random),
            name: format!("agent {n}"),
            token_sha256: Some([n; 32]),
            client_id: None,
            created_ms: 3,
            expires_ms: (n == 2).then_some(99),
        });
        let row = rows.last().unwrap();
        let right = right(row.id, 1, "/");
        site.catalog.principal_insert(row, Some(&right)).await.unwrap();
        assert_eq!(site.catalog.assignments_of(row.id).await.unwrap(), [right]);
    }
    assert_eq!(site.catalog.principal_by_token(&[2; 32]).await.unwrap().as_ref(), rows.last());
    assert_eq!(site.catalog.principal_by_token(&[3; 32]).await.unwrap(), None);
    assert_eq!(site.catalog.principals().await.unwrap(), rows);
    let (ms, random) = fresh();
    let twin = PrincipalRow { id: PrincipalId::mint(ms, random), ..rows[0].clone() };
    assert_eq!(site.catalog.principal_insert(&twin, None).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(site.catalog.principal_delete(rows[0].id).await.unwrap());
    assert!(!site.catalog.principal_delete(rows[0].id).await.unwrap());
    assert_eq!(site.catalog.principal_by_token(&[1; 32]).await.unwrap(), None);
    assert_eq!(site.catalog.assignments_of(rows[0].id).await.unwrap(), [], "its rights go with it");
}

fn right(principal: PrincipalId, role: u8, scope: &str) -> AssignmentRow {
    let (ms, random) = fresh();
    let (id, role) = (ObjectId::mint(ms, random), ObjectId::from_bytes([role; 16]));
    AssignmentRow { id, principal, role, scope: scope.to_owned(), created_ms: 4, created_by: None }
}

#[tokio::test]
async fn a_service_has_several_credentials_each_once_and_they_go_with_it() {
    let site = Site::new().await;
    let (ms, random) = fresh();
    let client = ObjectId::mint(ms, random);
    let service = PrincipalRow {
        id: PrincipalId::mint(ms, random),
        name: "pipeline".to_owned(),
        token_sha256: None,
        client_id: Some(client),
        created_ms: 3,
        expires_ms: None,
    };
    site.catalog.principal_insert(&service, None).await.unwrap();
    assert_eq!(site.catalog.principal_by_client(client).await.unwrap().as_ref(), Some(&service));
    let credential = |n: u8| CredentialRow {
        id: ObjectId::from_bytes([n; 16]),
        principal: service.id,
        name: "one".to_owned(),
        sha256: [n; 32],
        certificate: (n == 2).then(|| vec![1, 2, 3]),
        created_ms: 5,
        expires_ms: (n == 1).then_some(7),
    };
    for n in [1, 2] {
        site.catalog.credential_insert(&credential(n)).await.unwrap();
    }
    let again = CredentialRow { id: ObjectId::from_bytes([9; 16]), ..credential(1) };
    assert_eq!(site.catalog.credential_insert(&again).await.unwrap_err().kind(), ErrorKind::Conflict);
    let orphan = CredentialRow { principal: PrincipalId::NIL, ..again };
    assert!(matches!(site.catalog.credential_insert(&orphan).await.unwrap_err(), CatalogError::Orphan { .. }));
    assert_eq!(site.catalog.credentials(service.id).await.unwrap(), [credential(1), credential(2)]);
    assert!(site.catalog.credential_delete(service.id, credential(1).id).await.unwrap());
    assert!(!site.catalog.credential_delete(PrincipalId::NIL, credential(2).id).await.unwrap());
    assert!(site.catalog.principal_delete(service.id).await.unwrap());
    assert_eq!(site.catalog.credentials(service.id).await.unwrap(), []);
}

#[tokio::test]
async fn rights_go_with_what_they_hold_on_and_no_neighbour_loses_any() {
    let site = Site::new().await;
    let row = site.catalog.workspace(site.workspace).await.unwrap().unwrap();
    let group = format!("/subscriptions/{}/resourcegroups/{}", row.subscription, row.resource_group).to_ascii_lowercase();
    let path = format!("{group}/providers/microsoft.operationalinsights/workspaces/{}", row.name).to_ascii_lowercase();
    let kept = ["/".to_owned(), group.clone(), format!("{path}2"), format!("{path}-x/tables/t")];
    for (n, scope) in kept.iter().chain(&[path.clone(), format!("{path}/tables/t")]).enumerate() {
        let who = PrincipalId::from_bytes([u8::try_from(n).unwrap() + 1; 16]);
        site.catalog.assignment_insert(&right(who, 1, scope)).await.unwrap();
    }
    let twice = site.catalog.assignments().await.unwrap().remove(0);
    let (ms, random) = fresh();
    let twice = AssignmentRow { id: ObjectId::mint(ms, random), ..twice };
    assert_eq!(site.catalog.assignment_insert(&twice).await.unwrap_err().kind(), ErrorKind::Conflict);
    site.catalog.workspace_delete(site.workspace, 1, 2).await.unwrap();
    assert_eq!(site.catalog.assignments().await.unwrap().len(), 6, "it may come back");
    sqlx::query("UPDATE workspaces SET shredded_ms = 3").execute(site.catalog.writer().await.unwrap().conn()).await.unwrap();
    let mut left: Vec<String> = site.catalog.assignments().await.unwrap().into_iter().map(|right| right.scope).collect();
    left.sort();
    let mut kept = kept.to_vec();
    kept.sort();
    assert_eq!(left, kept);
    site.catalog.resource_group_delete(&row.subscription, &row.resource_group).await.unwrap();
    assert_eq!(site.catalog.assignments().await.unwrap().len(), 1, "all but the one on everything lay in the group");
}

#[tokio::test]
async fn one_signing_key_signs_and_older_ones_are_kept_for_a_while() {
    let site = Site::new().await;
    for n in [1, 2] {
        let row = SigningKeyRow { id: ObjectId::from_bytes([n; 16]), cell: vec![n], created_ms: i64::from(n) * 10, retired_ms: None };
        site.catalog.signing_key_insert(&row).await.unwrap();
    }
    let keys = site.catalog.signing_keys().await.unwrap();
    let told: Vec<_> = keys.iter().map(|key| (key.cell[0], key.retired_ms)).collect();
    assert_eq!(told, [(2, None), (1, Some(20))]);
    site.catalog.signing_keys_forget(20).await.unwrap();
    assert_eq!(site.catalog.signing_keys().await.unwrap().len(), 2);
    site.catalog.signing_keys_forget(21).await.unwrap();
    assert_eq!(site.catalog.signing_keys().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_tenant_is_made_once_and_the_configuration_has_the_last_word() {
    let site = Site::new().await;
    assert_eq!(site.catalog.directory_tenant(None, "a").await.unwrap(), "a");
    assert_eq!(site.catalog.directory_tenant(None, "b").await.unwrap(), "a");
    assert_eq!(site.catalog.directory_tenant(Some("c"), "d").await.unwrap(), "c");
    assert_eq!(site.catalog.directory_tenant(None, "d").await.unwrap(), "c");
}

#[tokio::test]
async fn segments_are_listed_until_deleted_and_begun_by_the_reigning_writer_only() {
    let site = Site::new().await;
    let row = SegmentRow { segment: object(), epoch: site.epoch, writer: site.writer, created_ms: 4 };
    site.catalog.segment_insert(&row).await.unwrap();
    assert_eq!(site.catalog.segment_insert(&row).await.unwrap_err().kind(), ErrorKind::Conflict);
    site.catalog.acquire_writer().await.unwrap();
    let late = SegmentRow { segment: object(), ..row.clone() };
    assert!(matches!(site.catalog.segment_insert(&late).await.unwrap_err(), CatalogError::Fenced { .. }));
    assert_eq!(site.catalog.segments().await.unwrap(), std::slice::from_ref(&row));
    assert!(site.catalog.segment_delete(row.segment).await.unwrap());
    assert!(!site.catalog.segment_delete(row.segment).await.unwrap());
    assert!(site.catalog.segments().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_error_says_what_and_which_code_but_quotes_no_value() {
    let site = Site::new().await;
    let secret_name = "canary-7f3a";
    site.catalog.workspace_insert(&workspace(secret_name, site.epoch.account)).await.unwrap();
    let error = site.catalog.workspace_insert(&workspace(secret_name, site.epoch.account)).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
    assert_eq!(error.to_string(), "a workspace conflicts with what the catalog holds: it is there already");
}
