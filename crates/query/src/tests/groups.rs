//! Filters of several blocks side by side: they spare the blocks, tell the same, and go with what they are made of.

use std::fmt::Write as _;
use std::time::Duration;

use object_store::ObjectStoreExt;
use strongroom_catalog::{BlockState, CatalogError, GroupRow};
use strongroom_control::{ControlConfig, Sweep};
use strongroom_envelope::{Header, ObjectKind, open, seal};
use strongroom_ingest::IngestError;
use strongroom_keys::Purpose;
use strongroom_keys::provider::KekRef;
use strongroom_keys::provider::memory::MemoryVault;
use strongroom_model::{ErrorKind, ObjectId, PrincipalId, TimeRange};
use strongroom_store::ObjectKey;
use strongroom_world::WallTime;

use super::terms::{Dice, answered, body_at, questions};
use crate::output::format_datetime;
use crate::rig::{NOW, Rig};
use crate::{Engine, QueryConfig};

const HOUR: i64 = 3_600_000_000_000;
/// The day of every test is over before this.
const MIDNIGHT: i64 = NOW - 12 * HOUR;

/// So many hours from the midnight on, each a block of its own with words of its own; then the days are over.
async fn hours(rig: &Rig, count: i64) {
    for hour in 0..count {
        let at = MIDNIGHT + hour * HOUR;
        rig.sim.clock().set_wall(WallTime(at + HOUR));
        let mut body = String::new();
        for row in 0..520_i64 {
            let time = format_datetime(at + row * 1_000_000_000);
            writeln!(
                body,
                r#"{{"TimeGenerated":"{time}","n":{},"m":"took word{hour:03} of {}","level":"info"}}"#,
                hour * 1_000 + row,
                row % 9
            )
            .unwrap();
        }
        rig.send("App", body).await;
        rig.flush().await;
    }
    over(rig, count);
}

fn over(rig: &Rig, hours: i64) {
    rig.sim.clock().set_wall(WallTime(MIDNIGHT + ((hours + 23) / 24 * 24 + 2) * HOUR));
}

async fn groups(rig: &Rig) -> Vec<GroupRow> {
    let mut groups = rig.deps.catalog.groups().await.unwrap();
    groups.retain(|row| row.state == BlockState::Live);
    groups
}

fn key(row: &GroupRow) -> ObjectKey {
    let (account, workspace, table) = (row.epoch.account, row.workspace, row.table);
    ObjectKey { account, workspace, table, window_start: row.day, object: row.object }
}

/// What a group's place says in its sealed header.
fn header(row: &GroupRow, double: bool) -> Header {
    let (workspace, table, object) = (row.workspace, row.table, row.object);
    let (aek, account) = (row.epoch.aek, row.epoch.account);
    Header { kind: ObjectKind::Filters, double, aek, account, workspace, table, window_start: row.day, object }
}

async fn fresh(rig: &Rig) -> std::sync::Arc<Engine> {
    Engine::open(rig.deps.clone(), QueryConfig::default()).await.unwrap()
}

/// What EXPLAIN says of groups, and how many blocks are read.
async fn explained(rig: &Rig, text: &str) -> (Option<String>, usize) {
    let items = rig.explain(text).await;
    let told = items.iter().find(|item| item["Item"] == "filter groups").map(|item| item["Detail"].as_str().unwrap().to_owned());
    (told, items.iter().filter(|item| item["Item"] == "block" && item["Fate"] == "read").count())
}

#[tokio::test]
async fn a_term_that_is_nowhere_opens_a_group_a_day_and_no_block() {
    const BLOCKS: i64 = 216;
    let rig = Rig::grouping(1).await;
    hours(&rig, BLOCKS).await;
    assert_eq!(rig.blocks("App").await.len(), 216);
    // A filter says yes once in 256 to what is not there: a word of which none does.
    let mut absent = String::new();
    for n in 0..20 {
        absent = format!("select n from App where has(m, 'nowhere{n}')");
        if explained(&rig, &absent).await == (None, 0) {
            break;
        }
    }
    let cold = async |text: &str| {
        let engine = fresh(&rig).await;
        rig.watched.told();
        let (rows, kept) = answered(&engine, rig.request(text, crate::Language::Sql)).await;
        (rows.len(), kept, rig.watched.told().0)
    };
    let (rows, kept, without) = cold(&absent).await;
    assert!((rows, kept) == (0, 0) && without >= 216, "{without} reads");
    let made = rig.intake.group_filters(rig.workspace, None).await.unwrap();
    assert_eq!((made.groups, made.blocks), (9, 216));
    let (rows, kept, with) = cold(&absent).await;
    assert!((rows, kept) == (0, 0) && with <= 9 * 4, "{with} reads");
    assert_eq!(explained(&rig, &absent).await, (Some("told of 216 of 216 blocks".to_owned()), 0));
    // The next question finds all in memory.
    rig.watched.told();
    assert_eq!(rig.sql(&absent).await.rows().len(), 0);
    assert_eq!(rig.watched.told().0, 0);
    // One that is in one block is found, and little else is read.
    let one = "select n from App where has(m, 'word100')";
    let (rows, kept, with) = cold(one).await;
    assert!(rows == 520 && kept <= 5 && with < 60, "{rows} rows, {kept} blocks, {with} reads");
    assert_eq!(rig.sql("select n from App where has(m, 'word007') or has(m, 'word215')").await.rows().len(), 1_040);
    // What is asked of few blocks asks no group.
    rig.watched.told();
    let day = format!("select n from App where has(m, 'nowhere') and TimeGenerated < '{}'", format_datetime(MIDNIGHT + 2 * HOUR));
    assert_eq!(explained(&rig, &day).await.0, None);
    // Nothing of it lies in clear: neither words nor names of columns nor hashes.
    let hash = strongroom_model::terms::hash(b"word100").to_le_bytes();
    for row in groups(&rig).await {
        let bytes = rig.objects.get(&key(&row).path()).await.unwrap().bytes().await.unwrap();
        for clear in [b"word".as_slice(), b"level", b"version", b"columns", &hash] {
            assert!(memchr::memmem::find(&bytes, clear).is_none());
        }
    }
    assert_eq!(rig.intake.group_filters(rig.workspace, None).await.unwrap().groups, 0, "all are named");
}

#[tokio::test]
async fn groups_tell_the_same_whatever_becomes_of_the_blocks() {
    let rig = Rig::grouping(1).await;
    let plain = Engine::open(rig.deps.clone(), QueryConfig { filter_blocks_max: 0, ..QueryConfig::default() }).await.unwrap();
    let mut dice = Dice(11);
    let mut spared = 0;
    let mut compared = async |dice: &mut Dice, round: usize| {
        for (at, (language, text)) in questions(dice).into_iter().enumerate() {
            if at % 5 == round % 5 {
                let (found, read) = answered(&rig.engine, rig.request(&text, language)).await;
                let (expected, all) = answered(&plain, rig.request(&text, language)).await;
                assert_eq!(found, expected, "round {round}: {text}");
                spared += all - read;
            }
        }
    };
    let late = async |dice: &mut Dice, hour: i64, block: usize| {
        rig.send("App", body_at(MIDNIGHT + (hour + 1) * HOUR - 60_000_000_000, dice, block, 520)).await;
    };
    for hour in 0..12 {
        rig.sim.clock().set_wall(WallTime(MIDNIGHT + (hour + 1) * HOUR));
        late(&mut dice, hour, usize::try_from(hour).unwrap()).await;
        rig.flush().await;
    }
    over(&rig, 12);
    let grouped = async || rig.intake.group_filters(rig.workspace, None).await.unwrap();
    assert_eq!((grouped().await.blocks, groups(&rig).await.len()), (12, 1));
    compared(&mut dice, 0).await;
    // Late rows: in memory, in blocks that nobody named, merged with some that are.
    late(&mut dice, 3, 20).await;
    late(&mut dice, 7, 21).await;
    compared(&mut dice, 1).await;
    rig.flush().await;
    compared(&mut dice, 2).await;
    rig.intake.compact(rig.workspace, None).await.unwrap();
    assert_eq!((rig.blocks("App").await.len(), groups(&rig).await.len()), (12, 1));
    compared(&mut dice, 3).await;
    // Shredded: the group goes at once, object and all, and another is made of what is left.
    let table = rig.blocks("App").await[0].table;
    let old = groups(&rig).await[0];
    let range = TimeRange { start: MIDNIGHT + 3 * HOUR, end: MIDNIGHT + 4 * HOUR };
    rig.intake.shred(rig.workspace, table, range).await.unwrap();
    rig.engine.drop_caches(old.epoch);
    assert!(rig.deps.catalog.groups().await.unwrap().is_empty() && rig.objects.head(&key(&old).path()).await.is_err());
    compared(&mut dice, 4).await;
    assert_eq!(grouped().await.blocks, 11);
    compared(&mut dice, 5).await;
    // Sealed anew under another key: the group of the old one goes with its last block.
    let account = rig.deps.keys.shared_account();
    let from = rig.deps.keys.write_epoch(account).await.unwrap();
    let vault = MemoryVault::new(rig.sim.world(), KekRef::new("https://vault.example/", "kek", None).unwrap());
    let to = rig.deps.keys.begin_customer_epoch(account, ObjectId::from_bytes([4; 16]), &vault, Duration::from_hours(1)).await.unwrap();
    rig.intake.carry_columns(from, to, None).await.unwrap();
    for _ in 0..4 {
        rig.intake.rewrite_next(from, to, None).await.unwrap().unwrap();
    }
    compared(&mut dice, 6).await;
    assert_eq!(groups(&rig).await.len(), 1);
    while rig.intake.rewrite_next(from, to, None).await.unwrap().is_some() {}
    assert!(groups(&rig).await.is_empty());
    assert_eq!(grouped().await.blocks, 11);
    assert!(groups(&rig).await.iter().all(|row| row.epoch == to));
    compared(&mut dice, 7).await;
    // Expired.
    rig.deps.catalog.expire(table, (MIDNIGHT + 25 * HOUR) / 1_000_000_000).await.unwrap_or_default();
    assert!(groups(&rig).await.is_empty());
    compared(&mut dice, 8).await;
    rig.deps.catalog.verify().await.unwrap();
    assert!(spared > 30, "groups that rule nothing out prove nothing: {spared}");
}

#[tokio::test]
async fn a_group_that_lies_is_an_error_that_names_it_and_one_that_is_gone_is_not_missed() {
    let rig = Rig::grouping(1).await;
    hours(&rig, 48).await;
    rig.intake.group_filters(rig.workspace, None).await.unwrap();
    let found = groups(&rig).await;
    assert_eq!(found.len(), 2);
    let absent = "select n from App where has(m, 'nowhere')";
    let ask = async || {
        let engine = fresh(&rig).await;
        match engine.run(rig.request(absent, crate::Language::Sql)).await {
            Ok(answer) => crate::output::json(answer, crate::output::JsonOptions::default()).await.map(|_| ()),
            Err(error) => Err(error),
        }
    };
    ask().await.unwrap();
    let path = key(&found[0]).path();
    let sound = rig.objects.get(&path).await.unwrap().bytes().await.unwrap();
    for offset in [0, 70, 79, 100, 130, 160, sound.len() - 20, sound.len() - 1] {
        let mut bytes = sound.to_vec();
        bytes[offset] ^= 1;
        rig.objects.put(&path, bytes.into()).await.unwrap();
        let error = ask().await.unwrap_err();
        assert_eq!((error.kind(), error.code(), error.block()), (ErrorKind::Corrupt, "IntegrityError", Some(found[0].object)), "{offset}");
    }
    // Another day's, or a block, in its place.
    let block = &rig.blocks("App").await[0];
    for other in [key(&found[1]).path(), crate::blk::stored(block).key.path()] {
        let bytes = rig.objects.get(&other).await.unwrap().bytes().await.unwrap();
        rig.objects.put(&path, bytes.into()).await.unwrap();
        assert_eq!(ask().await.unwrap_err().block(), Some(found[0].object));
    }
    // Swept while the question was under way.
    rig.objects.delete(&path).await.unwrap();
    ask().await.unwrap();
    assert_eq!(rig.sql("select n from App where has(m, 'word003')").await.rows().len(), 520);
}

#[tokio::test]
async fn without_its_key_a_group_is_forgotten_and_opens_no_more() {
    let rig = Rig::grouping(1).await;
    hours(&rig, 24).await;
    rig.intake.group_filters(rig.workspace, None).await.unwrap();
    let absent = "select n from App where has(m, 'nowhere')";
    rig.sql(absent).await;
    assert!(rig.engine.cached()[4] >= 2, "its directory and a cut");
    let epoch = groups(&rig).await[0].epoch;
    rig.deps.keys.epoch_guard(epoch).await.unwrap().kill();
    rig.engine.forget(epoch);
    assert_eq!(rig.engine.cached(), [0; 5]);
    rig.watched.told();
    assert_eq!(rig.try_sql(absent).await.unwrap_err().kind(), ErrorKind::KeyRevoked);
    assert_eq!((rig.engine.cached(), rig.watched.told().0), ([0; 5], 0));
    assert_eq!(rig.intake.group_filters(rig.workspace, None).await.unwrap().groups, 0);
}

#[tokio::test]
async fn small_tables_days_that_go_on_and_a_setting_of_none_make_no_group() {
    for (from, expected) in [(0, 0), (10, 0), (9, 1)] {
        let rig = Rig::grouping(from).await;
        hours(&rig, 9).await;
        rig.sim.clock().set_wall(WallTime(MIDNIGHT + 24 * HOUR + 1_000_000_000));
        assert_eq!(rig.intake.group_filters(rig.workspace, None).await.unwrap().groups, 0, "rows may still come");
        over(&rig, 9);
        assert_eq!(rig.intake.group_filters(rig.workspace, None).await.unwrap().groups, expected);
    }
}

#[tokio::test]
async fn what_another_version_or_a_faulty_writer_sealed_rules_nothing_out() {
    let rig = Rig::grouping(1).await;
    hours(&rig, 12).await;
    rig.intake.group_filters(rig.workspace, None).await.unwrap();
    let row = groups(&rig).await[0];
    let path = key(&row).path();
    let guard = rig.deps.keys.guard(row.epoch, row.workspace, PrincipalId::NIL, Purpose::Maintain).await.unwrap();
    let (world, header) = (rig.sim.world(), header(&row, guard.is_double()));
    let sound = rig.objects.get(&path).await.unwrap().bytes().await.unwrap();
    let plain = open(&guard, world.clock.boot(), &header, &sound).unwrap();
    let one = "select n from App where has(m, 'word003')";
    let told = async |plain: &[u8]| {
        let sealed = seal(&guard, world.clock.boot(), &*world.rng, &header, plain).unwrap();
        assert_eq!(sealed.len(), sound.len(), "the catalog knows its length");
        rig.objects.put(&path, sealed.into()).await.unwrap();
        let engine = fresh(&rig).await;
        assert_eq!(answered(&engine, rig.request(one, crate::Language::Sql)).await.0.len(), 520);
        let explain = crate::QueryRequest { explain: true, ..rig.request(one, crate::Language::Sql) };
        let answer = engine.run(explain).await.unwrap();
        let text = crate::output::json(answer, crate::output::JsonOptions::default()).await.unwrap();
        memchr::memmem::find(&text, b"told of 12 of 12 blocks").is_some()
    };
    assert!(told(&plain).await);
    // A newer version.
    let version = memchr::memmem::find(&plain, b"\"version\":1").unwrap();
    let mut newer = plain.clone();
    newer[version + b"\"version\":".len()] = b'2';
    assert!(!told(&newer).await);
    // A directory longer than the group, one that is none, and one that begins elsewhere.
    for trailer in [u32::MAX, 0, 7] {
        let mut other = plain.clone();
        let at = other.len() - 4;
        other[at..].copy_from_slice(&trailer.to_le_bytes());
        assert!(!told(&other).await, "{trailer}");
    }
    // Cuts that are none, under a directory that is sound: its blocks may hold anything.
    let mut other = plain.clone();
    other[..version / 2].fill(0xff);
    told(&other).await;
}

/// Failpoints are the process's: `cargo nextest` gives each test its own.
#[tokio::test]
async fn a_failure_at_each_step_leaves_answers_as_they_were_and_nothing_behind_the_sweep() {
    if !fail::has_failpoints() {
        return;
    }
    let scenario = fail::FailScenario::setup();
    // Where it fails, how, and whether a group was announced and its object put by then.
    for (point, how, announced, put) in [
        ("group.read", "1*return->off", 0, 0),
        ("group.read", "5*off->1*return->off", 0, 0),
        ("group.pend", "1*return->off", 0, 0),
        ("group.put", "1*return->off", 1, 0),
        ("group.put_unknown", "1*return->off", 1, 1),
        ("group.txn", "1*return->off", 1, 1),
    ] {
        let rig = Rig::grouping(1).await;
        hours(&rig, 12).await;
        let names = rig.names().await.len();
        let answers = async || {
            let engine = fresh(&rig).await;
            for (word, rows) in [("word003", 520), ("word011", 520), ("nowhere", 0)] {
                let text = format!("select n from App where has(m, '{word}')");
                let found = answered(&engine, rig.request(&text, crate::Language::Sql)).await.0;
                assert_eq!(found.len(), rows, "{point}: {word}");
            }
            explained(&rig, "select n from App where has(m, 'nowhere')").await.0
        };
        fail::cfg(point, how).unwrap();
        let error = rig.intake.group_filters(rig.workspace, None).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unavailable, format!("failpoint {point}")));
        assert!(matches!(error, IngestError::Failpoint { .. } | IngestError::Catalog(CatalogError::Failpoint { .. })));
        assert_eq!(answers().await, None, "{point}: nobody is told of what is not live");
        assert_eq!(rig.names().await.len(), names + put, "{point}");
        assert_eq!(rig.deps.catalog.groups().await.unwrap().len(), announced, "{point}");

        // The next turn does it, under another name.
        let made = rig.intake.group_filters(rig.workspace, None).await.unwrap();
        assert_eq!((made.groups, made.blocks), (1, 12), "{point}");
        assert_eq!(answers().await, Some("told of 12 of 12 blocks".to_owned()), "{point}");
        assert_eq!(rig.deps.catalog.groups().await.unwrap().len(), announced + 1, "{point}");

        // What is left of the first try goes with the sweep, and that alone.
        let sweep = Sweep::new(rig.sim.world(), rig.deps.catalog.clone(), rig.deps.blocks.clone(), ControlConfig::default());
        let inventory = sweep.inventory().await.unwrap();
        assert_eq!((inventory.unknown.len(), inventory.missing.len(), inventory.resized.len()), (0, 0, 0), "{point}");
        let later = |seconds: u64| {
            let by = i64::try_from(seconds * 1_000_000_000).unwrap() + 1_000_000;
            rig.sim.clock().set_wall(WallTime(rig.sim.world().clock.wall().0 + by));
        };
        later(ControlConfig::default().pending_age_s);
        assert_eq!(sweep.pass().await.unwrap().abandoned, announced as u64, "{point}");
        later(ControlConfig::default().tombstone_grace_s);
        assert_eq!(sweep.pass().await.unwrap().deleted, announced as u64, "{point}");
        assert_eq!((rig.names().await.len(), rig.deps.catalog.groups().await.unwrap().len()), (names + 1, 1), "{point}");
        assert_eq!(answers().await, Some("told of 12 of 12 blocks".to_owned()), "{point}");
        rig.deps.catalog.verify().await.unwrap();
    }
    scenario.teardown();
}

/// Likewise, in the background.
#[tokio::test]
async fn a_day_that_failed_in_the_background_has_its_group_a_minute_later() {
    if !fail::has_failpoints() {
        return;
    }
    let scenario = fail::FailScenario::setup();
    fail::cfg("group.put", "1*return->off").unwrap();
    let rig = Rig::grouping(1).await;
    hours(&rig, 12).await;
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(std::sync::Arc::clone(&rig.intake).maintain(stopping));
    let state = async || {
        let all = rig.deps.catalog.groups().await.unwrap();
        (all.len(), all.iter().filter(|row| row.state == BlockState::Live).count())
    };
    let began = rig.sim.world().clock.boot();
    let mut failed_after = None;
    for _ in 0..4_000 {
        match state().await {
            (0, _) => {}
            (_, 0) => failed_after = failed_after.or_else(|| Some(rig.sim.world().clock.boot())),
            _ => break,
        }
        rig.sim.clock().advance(Duration::from_millis(200));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(state().await, (2, 1), "the one announced in vain, and the one that is live");
    let failed = failed_after.expect("the first try was seen");
    let now = rig.sim.world().clock.boot();
    assert!(failed.since(began) < Duration::from_secs(30) && now.since(failed) >= Duration::from_secs(50), "{began:?} {failed:?} {now:?}");
    stop.send(true).unwrap();
    rig.until(|| {
        rig.sim.clock().advance(Duration::from_secs(1));
        running.is_finished()
    })
    .await;
    scenario.teardown();
}
