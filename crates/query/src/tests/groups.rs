//! Filters of several blocks side by side: they spare the blocks, tell the same, and go with what they are made of.

use std::fmt::Write as _;
use std::time::Duration;

use object_store::ObjectStoreExt;
use strongroom_catalog::{BlockState, GroupRow};
use strongroom_keys::provider::KekRef;
use strongroom_keys::provider::memory::MemoryVault;
use strongroom_model::{ErrorKind, ObjectId, TimeRange};
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
