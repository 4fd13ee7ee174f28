//! What is opened before anybody asks: after a start, and when a key is back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use strongroom_model::ErrorKind;

use crate::rig::Rig;
use crate::{Engine, Language, QueryConfig};

/// Three blocks of enough rows to have filters.
async fn three(config: QueryConfig) -> Rig {
    let rig = Rig::with(config, true).await;
    for block in 0..3 {
        rig.send_many("App", 600, 5 + 120 * block, 600 * block).await;
        rig.flush().await;
    }
    rig
}

async fn again(rig: &Rig, config: QueryConfig) -> Arc<Engine> {
    Engine::open(rig.deps.clone(), config).await.unwrap()
}

#[tokio::test]
async fn what_a_restart_forgot_is_open_before_anybody_asks() {
    let mut rig = three(QueryConfig::default()).await;
    let blocks = rig.blocks("App").await.len();
    let account = rig.deps.keys.shared_account();
    rig.engine = again(&rig, QueryConfig::default()).await;
    let opened = rig.engine.warm(account).await.unwrap();
    assert_eq!(opened, blocks as u64);
    // Of each its footer, its opener, its statistics, the directory of its filters and their one part.
    assert_eq!(rig.engine.cached(), [blocks, blocks, 0, blocks, 2 * blocks]);
    // Once more opens nothing twice, and a question opens no end and no statistics.
    rig.engine.warm(account).await.unwrap();
    assert_eq!(rig.engine.cached(), [blocks, blocks, 0, blocks, 2 * blocks]);
    let question = "select max(text) from App where text like '%number 7 %'";
    let reads = async |engine| {
        let answer = Engine::run(engine, rig.request(question, Language::Sql)).await.unwrap();
        let stats = Arc::clone(&answer.stats);
        assert_eq!(answer.batches.map(|batch| batch.unwrap().num_rows()).collect::<Vec<_>>().await.iter().sum::<usize>(), 1);
        (stats.cells_opened.load(Ordering::Relaxed), stats.reads.load(Ordering::Relaxed))
    };
    let (warm, cold) = (reads(&rig.engine).await, reads(&*again(&rig, QueryConfig::default()).await).await);
    // Its ends and its footer: two reads of each block.
    assert_eq!((warm.0, cold.0), (0, blocks as u64));
    assert!(cold.1 >= warm.1 + 2 * blocks as u64, "{} and {} reads", warm.1, cold.1);
}

#[tokio::test]
async fn filters_are_read_while_they_take_less_than_half_of_their_room_the_last_arrivals_first() {
    let rig = three(QueryConfig::default()).await;
    let blocks = rig.blocks("App").await;
    let account = rig.deps.keys.shared_account();
    let whole = again(&rig, QueryConfig::default()).await;
    whole.warm(account).await.unwrap();
    let bytes = whole.filters_bytes();
    // Room for three directories and one block's filters, or so: whoever finds half of it full reads no more.
    let limit = bytes * 2 * 5 / 8;
    let engine = again(&rig, QueryConfig { filter_cache_bytes: limit, ..QueryConfig::default() }).await;
    assert_eq!(engine.warm(account).await.unwrap(), 3);
    let held = engine.cached()[4] - blocks.len();
    assert!(
        (1..3).contains(&held) && engine.filters_bytes() <= limit,
        "{held} blocks' filters, {} of {limit} bytes",
        engine.filters_bytes()
    );
    let newest = blocks.iter().max_by_key(|block| (block.arrived_ms, block.object)).unwrap();
    assert!(engine.has_filters(newest.object));
}

#[tokio::test]
async fn what_is_rehearsed_is_understood_and_asked_once() {
    let rig = Rig::new().await;
    let account = rig.deps.keys.shared_account();
    let pass = rig.deps.keys.pass(account).await.unwrap();
    for (text, language) in crate::warm::REHEARSAL {
        let answer = rig.engine.run_for_nobody(pass.clone(), text, language).await.unwrap();
        let rows: usize = answer.batches.map(|batch| batch.unwrap().num_rows()).collect::<Vec<_>>().await.iter().sum();
        assert_eq!(rows, 1, "{text}");
    }
    assert_eq!(rig.engine.warm(account).await.unwrap(), 0);
    assert!(!rig.engine.first_time());
    // A text for nobody sees nobody's tables.
    rig.send_many("App", 4, 90, 0).await;
    for (text, language) in [("App | count", Language::Kql), ("select count(*) from App", Language::Sql)] {
        assert!(rig.engine.run_for_nobody(pass.clone(), text, language).await.is_err(), "{text}");
    }
}

#[tokio::test]
async fn no_more_blocks_are_opened_than_are_allowed_and_none_where_it_is_turned_off() {
    let rig = three(QueryConfig::default()).await;
    let account = rig.deps.keys.shared_account();
    let newest = again(&rig, QueryConfig { warm_blocks: 2, ..QueryConfig::default() }).await;
    assert_eq!((newest.warm(account).await.unwrap(), newest.cached()), (2, [2, 2, 0, 2, 4]));
    let off = again(&rig, QueryConfig { warm_blocks: 0, ..QueryConfig::default() }).await;
    assert_eq!((off.warm(account).await.unwrap(), off.cached()), (0, [0; 5]));
    let small = again(&rig, QueryConfig { metadata_cache_bytes: 1, ..QueryConfig::default() }).await;
    assert_eq!((small.warm(account).await.unwrap(), small.cached()), (0, [0; 5]));
}

#[tokio::test]
async fn a_key_that_is_away_opens_nothing_and_what_was_opened_goes_with_it() {
    let rig = three(QueryConfig::default()).await;
    let account = rig.deps.keys.shared_account();
    let epoch = rig.blocks("App").await[0].epoch;
    let engine = again(&rig, QueryConfig::default()).await;
    engine.warm(account).await.unwrap();
    engine.forget(epoch);
    assert_eq!(engine.cached(), [0; 5]);
    rig.deps.keys.epoch_guard(epoch).await.unwrap().kill();
    assert_eq!((engine.warm(account).await.unwrap(), engine.cached()), (0, [0; 5]));
}

#[tokio::test]
async fn a_block_that_does_not_open_is_left_to_the_question_that_asks_for_it() {
    let rig = three(QueryConfig::default()).await;
    let blocks = rig.blocks("App").await;
    rig.deps.blocks.cache().forget(blocks[0].epoch).await.unwrap();
    rig.flip(&blocks[1], 80).await;
    let engine = again(&rig, QueryConfig::default()).await;
    assert_eq!(engine.warm(rig.deps.keys.shared_account()).await.unwrap(), 2);
    let error = rig.try_sql("select max(text) from App").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
