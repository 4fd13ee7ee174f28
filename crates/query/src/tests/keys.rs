//! Keys that go and bytes that lie: an error, never fewer rows.

use std::time::Duration;

use futures::StreamExt;
use strongroom_catalog::SchemaRow;
use strongroom_keys::provider::KekRef;
use strongroom_keys::provider::memory::MemoryVault;
use strongroom_keys::{KeyError, Shut, Standing};
use strongroom_model::{AekId, ErrorKind, ObjectId, PrincipalId};

use crate::QueryConfig;
use crate::rig::Rig;

#[tokio::test]
async fn a_guard_killed_in_mid_query_ends_it_with_an_error() {
    let rig = Rig::with(QueryConfig { batch_rows: 64, ..QueryConfig::default() }, false).await;
    rig.send_many("App", 5_000, 90, 0).await;
    rig.flush().await;
    let mut answer = rig.run("select n, text from App").await.unwrap();
    let first = answer.batches.next().await.unwrap().unwrap();
    assert!(first.num_rows() > 0);
    let epoch = rig.blocks("App").await[0].epoch;
    rig.deps.keys.epoch_guard(epoch).await.unwrap().kill();
    let mut rows = first.num_rows();
    let error = loop {
        match answer.batches.next().await {
            Some(Ok(batch)) => rows += batch.num_rows(),
            Some(Err(error)) => break error,
            None => panic!("the answer ended as if it were whole after {rows} rows"),
        }
    };
    assert_eq!((error.kind(), error.code()), (ErrorKind::KeyRevoked, "QueryAbortedKeyRevoked"));
    // What was on its way when the key went, and no more.
    assert!(rows <= 64 * 6, "{rows} rows left after the key was gone");
    assert!(answer.batches.next().await.is_none());
}

#[tokio::test]
async fn memtable_rows_do_not_leave_either_once_the_key_is_gone() {
    let rig = Rig::new().await;
    rig.send_many("App", 50, 5, 0).await;
    let epoch = rig.deps.keys.epochs().await.unwrap()[0];
    rig.deps.keys.epoch_guard(epoch).await.unwrap().kill();
    let error = rig.try_sql("select count(*) from App").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyRevoked);
}

#[tokio::test]
async fn forgetting_an_epoch_ends_running_queries_and_empties_the_caches() {
    let rig = Rig::with(QueryConfig { batch_rows: 64, ..QueryConfig::default() }, true).await;
    rig.send_many("App", 5_000, 90, 0).await;
    rig.flush().await;
    rig.sql("select max(text) from App where n > 10").await;
    let blocks = rig.blocks("App").await.len();
    assert_eq!(rig.engine.cached(), [blocks, blocks, 1, blocks, 0]);
    // A test of terms: of each block the directory of its filters and the part that tells of this one.
    rig.sql("select max(text) from App where word = 'odd'").await;
    assert_eq!(rig.engine.cached(), [blocks, blocks, 1, blocks, 2 * blocks]);
    let mut answer = rig.run("select n, text from App").await.unwrap();
    answer.batches.next().await.unwrap().unwrap();
    let epoch = rig.blocks("App").await[0].epoch;
    rig.engine.forget(epoch);
    assert_eq!(rig.engine.cached(), [0; 5]);
    let ended = loop {
        match answer.batches.next().await {
            Some(Ok(_)) => {}
            other => break other,
        }
    };
    assert_eq!(ended.unwrap().unwrap_err().code(), "QueryAbortedKeyRevoked");
    // The key itself is still there in this test: the next question opens all again.
    assert_eq!(rig.sql("select count(*) from App where n > 10").await.rows(), [serde_json::json!([4989])]);
}

/// As the lock goes: questions are stopped, then keys leave; whoever looked in between took nothing away.
#[tokio::test]
async fn a_query_that_a_key_stops_says_one_code_wherever_it_is_asked() {
    let rig = Rig::new().await;
    rig.send_many("App", 50, 5, 0).await;
    rig.flush().await;
    let epoch = rig.blocks("App").await[0].epoch;
    let context = rig.engine.context_of(rig.workspace, PrincipalId::NIL).await.unwrap();
    context.touch(rig.deps.keys.epoch_guard(epoch).await.unwrap(), None);
    let shut = KeyError::Shut { cluster: "bank".into(), why: Shut::Revoked, since_ms: 0 };
    rig.engine.cut(epoch.account, &shut);
    assert_eq!(context.hold().await.unwrap_err().code(), "CustomerKeyRevoked");
    rig.engine.forget(epoch);
    assert_eq!(context.hold().await.unwrap_err().code(), "CustomerKeyRevoked");
    assert_eq!(context.fault().unwrap().code(), "CustomerKeyRevoked");
}

/// The workspace is the provider's today; what it asks for is under the key of a cluster that it was linked to once.
#[tokio::test]
async fn a_running_query_over_a_once_linked_clusters_rows_waits_while_a_denial_is_confirmed() {
    let rig = Rig::with(QueryConfig { batch_rows: 64, ..QueryConfig::default() }, false).await;
    let keys = &rig.deps.keys;
    let cluster = ObjectId::from_bytes([5; 16]);
    let account = keys.open_account("local", cluster, false).await.unwrap();
    let vault = MemoryVault::new(rig.sim.world(), KekRef::new("https://vault.example/", "kek", None).unwrap());
    keys.begin_customer_epoch(account, cluster, &vault, Duration::from_mins(30)).await.unwrap();
    let gate = keys.gate(account, cluster, "bank", Standing::Open);
    let live_in = async |account| {
        rig.deps.catalog.workspace_move(rig.workspace, account, None).await.unwrap();
        drop(rig.intake.barrier(rig.workspace).await);
    };
    live_in(account).await;
    rig.send_many("App", 5_000, 90, 0).await;
    rig.flush().await;
    live_in(keys.shared_account()).await;
    assert!(rig.blocks("App").await.iter().all(|block| block.epoch.account == account));

    let mut answer = rig.run("select n, text from App").await.unwrap();
    let mut rows = answer.batches.next().await.unwrap().unwrap().num_rows();
    gate.set(Standing::Held);
    // What was on its way, and then nothing.
    while let Ok(next) = tokio::time::timeout(Duration::from_millis(300), answer.batches.next()).await {
        rows += next.expect("the answer went on to its end").unwrap().num_rows();
    }
    assert!(rows < 5_000);
    gate.set(Standing::Open);
    while let Some(batch) = answer.batches.next().await {
        rows += batch.unwrap().num_rows();
    }
    assert_eq!(rows, 5_000, "the denial was none");
}

#[tokio::test]
async fn a_tampered_block_is_an_error_that_names_it() {
    let rig = Rig::new().await;
    rig.send_many("App", 500, 90, 0).await;
    rig.flush().await;
    rig.send_many("App", 500, 30, 500).await;
    rig.flush().await;
    let blocks = rig.blocks("App").await;
    assert_eq!(blocks.len(), 2);
    let len = usize::try_from(blocks[0].sealed_len).unwrap();
    for offset in [0, 10, 100, 130, 152, 400, len / 2, len - 17, len - 1] {
        rig.flip(&blocks[0], offset).await;
        for text in ["select n, word, text from App", "select sum(n) from App where word = 'odd'", "select max(text) from App"] {
            let error = rig.try_sql(text).await.expect_err(text);
            assert_eq!((error.kind(), error.code()), (ErrorKind::Corrupt, "IntegrityError"), "{text} at {offset}: {error}");
            assert_eq!(error.block(), Some(blocks[0].object), "{text} at {offset}");
        }
        // The other block is none the worse.
        assert_eq!(rig.sql("select count(n) from App where n < 500 and text like 'line%'").await.rows().len(), 1);
        rig.flip(&blocks[0], offset).await;
    }
    assert_eq!(rig.sql("select sum(n) from App where word is not null").await.rows(), [serde_json::json!([499_500])]);
}

#[tokio::test]
async fn a_block_in_the_place_of_another_is_refused() {
    use object_store::ObjectStoreExt;
    let rig = Rig::new().await;
    rig.send_many("App", 500, 90, 0).await;
    rig.flush().await;
    rig.send_many("App", 500, 30, 500).await;
    rig.flush().await;
    let blocks = rig.blocks("App").await;
    let path = |i: usize| crate::blk::stored(&blocks[i]).key.path();
    let other = rig.objects.get(&path(1)).await.unwrap().bytes().await.unwrap();
    rig.objects.put(&path(0), other.into()).await.unwrap();
    let error = rig.try_sql("select max(text) from App").await.unwrap_err();
    assert_eq!((error.kind(), error.block()), (ErrorKind::Corrupt, Some(blocks[0].object)));
    rig.objects.delete(&path(0)).await.unwrap();
    let error = rig.try_sql("select max(text) from App").await.unwrap_err();
    assert_eq!(error.block(), Some(blocks[0].object), "{error}");
}

#[tokio::test]
async fn nothing_that_spills_lies_in_clear() {
    let config = QueryConfig { memory_bytes: 8 << 20, batch_rows: 256, threads: 1, ..QueryConfig::default() };
    let rig = Rig::with(config, false).await;
    for part in 0..4 {
        let lines: Vec<String> = (0..8_000)
            .map(|i| {
                let n = part * 8_000 + i;
                // Nothing here repeats: compression of its own would not hide it.
                format!(r#"{{"n":{n},"secret":"canary-{}-{n:08}-wxyz-{}"}}"#, (n * 7_919) % 100_003, "k".repeat(200))
            })
            .collect();
        rig.send("App", lines.join("\n")).await;
    }
    let mut answer = rig.run("select secret, n from App order by secret desc, n").await.unwrap();
    let first = answer.batches.next().await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    assert!(first.num_rows() > 0);
    let spilled: Vec<Vec<u8>> =
        rig.sim.fs().files().into_iter().filter(|(path, _)| path.starts_with("/data/spill")).map(|(_, bytes)| bytes).collect();
    assert!(spilled.iter().map(Vec::len).sum::<usize>() > 100_000, "the test means to spill");
    for bytes in &spilled {
        for canary in [b"canary".as_slice(), b"kkkkkkkk", b"wxyz", b"secret", b"ARROW"] {
            assert!(memchr::memmem::find(bytes, canary).is_none(), "found {}", String::from_utf8_lossy(canary));
        }
    }
    let mut rows = first.num_rows();
    while let Some(batch) = answer.batches.next().await {
        rows += batch.unwrap().num_rows();
    }
    assert_eq!(rows, 32_000);
    drop(answer);
    rig.until(|| !rig.sim.fs().files().iter().any(|(path, _)| path.starts_with("/data/spill"))).await;
}

#[tokio::test]
async fn an_earlier_lifes_spill_is_wiped_at_start() {
    let rig = Rig::new().await;
    rig.deps.world.fs.write_atomic("/data/spill/old.spill".as_ref(), b"left behind").unwrap();
    crate::Engine::open(rig.deps.clone(), QueryConfig::default()).await.unwrap();
    assert!(rig.deps.world.fs.read_dir("/data/spill".as_ref()).unwrap().is_empty());
}

#[tokio::test]
async fn one_workspace_cannot_name_another_ones_table() {
    let rig = Rig::new().await;
    rig.send_many("App", 5, 5, 0).await;
    let (ms, random) = rig.deps.world.id_seed();
    let own = rig.deps.catalog.workspace(rig.workspace).await.unwrap().unwrap();
    let other =
        strongroom_catalog::WorkspaceRow { id: strongroom_model::WorkspaceId::mint(ms, random), name: "other".parse().unwrap(), ..own };
    rig.deps.catalog.workspace_insert(&other).await.unwrap();
    let mut request = rig.request("select * from App", crate::Language::Sql);
    request.workspace = other.id;
    request.principal = PrincipalId::NIL;
    let error = rig.told(request).await.unwrap_err();
    assert!(error.message().contains("no table App"), "{error}");
    assert!(!error.message().contains("did you mean"), "no hint at what others have: {error}");
}

#[tokio::test]
async fn a_dropped_answer_gives_its_place_back() {
    let rig = Rig::with(QueryConfig { concurrent_max: 1, batch_rows: 64, ..QueryConfig::default() }, false).await;
    rig.send_many("App", 5_000, 5, 0).await;
    for _ in 0..3 {
        let mut answer = rig.run("select n from App").await.unwrap();
        answer.batches.next().await.unwrap().unwrap();
        drop(answer);
    }
    // The simulated clock stands still: a place that was never given back would be waited for for ever.
    let count = tokio::time::timeout(Duration::from_secs(20), rig.sql("select count(*) from App")).await.unwrap();
    assert_eq!(count.rows(), [serde_json::json!([5_000])]);
}

/// Somebody of the provider's staff reads while an approval lasts, and nobody else but the customer at all.
#[derive(Debug)]
struct Lent(std::sync::Arc<strongroom_keys::Approval>);

const STAFF: PrincipalId = PrincipalId::from_bytes([5; 16]);

#[async_trait::async_trait]
impl strongroom_keys::Judge for Lent {
    async fn judge(
        &self,
        principal: PrincipalId,
        _: strongroom_model::WorkspaceId,
        _: strongroom_model::TableId,
    ) -> Result<strongroom_keys::Verdict, strongroom_keys::KeyError> {
        match principal {
            PrincipalId::NIL => Ok(strongroom_keys::Verdict::Own),
            STAFF => Ok(strongroom_keys::Verdict::Until(std::sync::Arc::clone(&self.0))),
            _ => {
                let why = "nobody approved it".to_owned();
                Err(strongroom_keys::KeyError::NotAllowed(strongroom_keys::Refused { code: "LockboxApprovalRequired", why }))
            }
        }
    }
}

#[tokio::test]
async fn no_row_in_memory_or_block_leaves_without_leave_or_after_it_ended() {
    let rig = Rig::with(QueryConfig { batch_rows: 64, threads: 1, ..QueryConfig::default() }, false).await;
    rig.send_many("App", 5_000, 60, 0).await;
    rig.flush().await;
    rig.send_many("App", 5_000, 5, 5_000).await;
    // Whoever may, has filled the caches: columns and statistics take no key any more.
    rig.sql("select count(*) from App").await;
    let approval =
        strongroom_keys::Approval::new(strongroom_model::ObjectId::NIL, rig.deps.world.clock.boot().after(Duration::from_mins(1)));
    rig.deps.keys.obey(std::sync::Arc::new(Lent(std::sync::Arc::clone(&approval))));
    let ask = |principal, text: &str| crate::QueryRequest { principal, ..rig.request(text, crate::Language::Sql) };
    for text in ["select count(*) from App", "select * from App where n < 0", "explain select n from App"] {
        let error = rig.told(ask(PrincipalId::from_bytes([6; 16]), text)).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Forbidden, "LockboxApprovalRequired"), "{text}");
    }
    assert_eq!(rig.told(ask(STAFF, "select count(*) from App")).await.unwrap().rows(), [serde_json::json!([10_000])]);
    let mut answer = rig.engine.run(ask(STAFF, "select n from App")).await.unwrap();
    answer.batches.next().await.unwrap().unwrap();
    let mut own = rig.engine.run(ask(PrincipalId::NIL, "select n from App")).await.unwrap();
    approval.end();
    assert_eq!(answer.egress.pass().await.unwrap_err().code(), "LockboxApprovalOver");
    let mut rows = 0;
    let error = loop {
        match answer.batches.next().await.expect("an answer that broke off says so") {
            Ok(batch) => rows += batch.num_rows(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), "LockboxApprovalOver");
    // A few batches were on their way to the reader; the gate of the door holds those.
    assert!(rows < 5_000, "{rows}");
    let mut all = 0;
    while let Some(batch) = own.batches.next().await {
        all += batch.unwrap().num_rows();
    }
    assert_eq!(all, 10_000, "the customer's own answer goes on");
    let late = rig.told(ask(STAFF, "select count(*) from App")).await.unwrap_err();
    assert_eq!(late.code(), "LockboxApprovalOver");
}

/// The tables that whoever asks may read.
#[derive(Debug)]
struct Only(Vec<strongroom_model::TableId>);

#[async_trait::async_trait]
impl strongroom_keys::Judge for Only {
    async fn judge(
        &self,
        _: PrincipalId,
        _: strongroom_model::WorkspaceId,
        table: strongroom_model::TableId,
    ) -> Result<strongroom_keys::Verdict, strongroom_keys::KeyError> {
        if self.0.contains(&table) {
            return Ok(strongroom_keys::Verdict::Own);
        }
        let why = "not this one".to_owned();
        Err(strongroom_keys::KeyError::NotAllowed(strongroom_keys::Refused { code: "AuthorizationFailed", why }))
    }
}

#[tokio::test]
async fn whoever_may_read_some_tables_is_shown_those() {
    let names = async |allowed: &[&str]| {
        let rig = Rig::new().await;
        for table in ["App", "Secret"] {
            rig.send(table, r#"[{"a":1}]"#).await;
        }
        let rows = rig.deps.catalog.tables(rig.workspace).await.unwrap();
        let ids = rows.iter().filter(|row| allowed.contains(&row.name.as_str())).map(|row| row.id).collect();
        rig.deps.keys.obey(std::sync::Arc::new(Only(ids)));
        let tables = rig.engine.tables(rig.workspace, STAFF).await;
        tables.map(|tables| tables.into_iter().map(|table| table.name).collect::<Vec<_>>()).map_err(|error| error.kind())
    };
    assert_eq!(names(&["App"]).await, Ok(vec!["App".to_owned()]));
    assert_eq!(names(&["App", "Secret"]).await.map(|names| names.len()), Ok(2));
    assert_eq!(names(&[]).await, Err(ErrorKind::Forbidden), "not as if there were none");
}

#[tokio::test]
async fn columns_of_an_epoch_that_ended_meanwhile_are_those_that_are_left() {
    let rig = Rig::new().await;
    rig.send_many("App", 4, 90, 0).await;
    let (keys, lineage) = (&rig.deps.keys, rig.engine.lineage());
    let table = rig.deps.catalog.table_get(rig.workspace, &"App".parse().unwrap()).await.unwrap().unwrap().id;
    let warrant = keys.warrant(PrincipalId::NIL, rig.workspace, table).await.unwrap();
    let cells = rig.deps.catalog.schema_cells(table).await.unwrap();
    let gone = SchemaRow { aek: AekId::from_bytes([9; 16]), ..cells[0].clone() };
    let read = lineage.schema_of(vec![gone.clone(), cells[0].clone()], &warrant).await.unwrap();
    assert_eq!(read, lineage.schema(&warrant).await.unwrap());
    assert!(read.column("text").is_some());
    // One that is still there and whose key nobody knows is no such thing.
    rig.deps.catalog.schema_put(&gone).await.unwrap();
    assert_eq!(lineage.schema(&warrant).await.unwrap_err().code(), "IntegrityError");
}
