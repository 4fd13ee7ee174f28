//! What earlier builds wrote is read as they meant it.

use std::collections::BTreeSet;

use object_store::ObjectStoreExt;
use serde_json::{Value, json};
use strongroom_catalog::{BlockRow, CompactionCommit, LiveBlock, PendingBlock};
use strongroom_envelope::{CellPlace, Header, ObjectKind, open, open_cell, seal, seal_cell};
use strongroom_keys::Purpose;
use strongroom_model::{ObjectId, Position, PrincipalId};

use crate::Language;
use crate::rig::Rig;

/// Puts a block's object once more, under another id, its statistics as they were before there were counts.
async fn without_counts(rig: &Rig, block: &BlockRow) {
    let deps = &rig.deps;
    let (now, rng) = (deps.world.clock.boot(), &*deps.world.rng);
    let guard = deps.keys.guard(block.epoch, block.workspace, PrincipalId::NIL, Purpose::Maintain).await.unwrap();
    let (ms, random) = deps.world.id_seed();
    let object = ObjectId::mint(ms, random);
    let header = |object| Header {
        kind: ObjectKind::Block,
        double: guard.is_double(),
        aek: block.epoch.aek,
        account: block.epoch.account,
        workspace: block.workspace,
        table: block.table,
        window_start: block.window.start,
        object,
    };
    let cell = |row| CellPlace { epoch: block.epoch, workspace: block.workspace, table: block.table, row };

    let mut stats: Value = serde_json::from_slice(&open_cell(&guard, now, &cell(block.object), &block.stats).unwrap()).unwrap();
    let members = stats.as_object_mut().unwrap();
    assert!(members.remove("counts").is_some(), "it had some");
    assert_eq!(members.keys().collect::<BTreeSet<_>>(), BTreeSet::from([&"columns".to_owned(), &"rows".to_owned()]));
    let stats = seal_cell(&guard, now, rng, &cell(object), stats.to_string().as_bytes()).unwrap();

    let place = crate::blk::stored(block).key.path();
    let sealed = rig.objects.get(&place).await.unwrap().bytes().await.unwrap();
    let plain = open(&guard, now, &header(block.object), &sealed).unwrap();
    let again = seal(&guard, now, rng, &header(object), &plain).unwrap();
    let moved = BlockRow { object, ..block.clone() };
    rig.objects.put(&crate::blk::stored(&moved).key.path(), again.into()).await.unwrap();

    let &BlockRow { workspace, table, epoch, window, time, rows, sealed_len, plain_len, sha256, level, arrived_ms, .. } = block;
    let writer = deps.catalog.acquire_writer().await.unwrap();
    let pending = PendingBlock { object, workspace, table, epoch, window, through: Position::default() };
    deps.catalog.blocks_pend(writer, &[pending]).await.unwrap();
    let output = LiveBlock { object, window, time, rows, sealed_len, plain_len, sha256, level, arrived_ms, stats };
    let swap = CompactionCommit { table, workspace, epoch, inputs: vec![block.object], outputs: vec![output] };
    deps.catalog.compaction_commit(writer, &swap).await.unwrap();
}

#[tokio::test]
async fn a_block_whose_statistics_know_no_counts_prunes_and_is_counted_by_reading() {
    let rig = Rig::new().await;
    for (minutes, from) in [(149, 0), (29, 1_000)] {
        rig.send_many("App", 50, minutes, from).await;
        rig.flush().await;
    }
    let fates = async |text: &str| {
        let request = rig.request(text, Language::Kql);
        let items = rig.told(crate::QueryRequest { explain: true, ..request }).await.unwrap().items();
        let mut fates: Vec<String> =
            items.iter().filter(|item| item["Item"] == "block").map(|item| item["Fate"].as_str().unwrap().to_owned()).collect();
        fates.sort();
        fates
    };
    assert_eq!(fates("App | summarize count() by word").await, ["answered by counts", "answered by counts"]);
    let old = rig.blocks("App").await.into_iter().min_by_key(|block| block.time.start).unwrap();
    without_counts(&rig, &old).await;
    assert_eq!(fates("App | summarize count() by word").await, ["answered by counts", "read"]);
    assert_eq!(rig.kql("App | summarize n = count() by word | order by word asc").await.rows(), [json!(["even", 50]), json!(["odd", 50])]);
    assert_eq!(rig.kql("App | where word == \"odd\" | count").await.rows(), [json!([50])]);
    // Its bounds mean what they meant.
    assert_eq!(fates("App | where n > 900 | project n").await, ["pruned by statistics", "read"]);
    assert_eq!(rig.kql("App | where n < 3 | project n | order by n asc").await.rows(), [json!([0]), json!([1]), json!([2])]);
}
