//! Requests while a customer's key is away: what is acked comes back once, what is not is not taken.

use strongroom_keys::provider::KekRef;
use strongroom_keys::provider::memory::MemoryVault;
use strongroom_keys::{Shut, Standing};
use strongroom_model::{AccountId, ObjectId, WhileRevoked};

use super::*;

const CLUSTER: ObjectId = ObjectId::from_bytes([0xc1; 16]);
const LEASE: Duration = Duration::from_mins(30);
const SEALED: &str = "/data/sealed";

/// A site whose one workspace is under a customer's key.
pub(super) struct Locked {
    site: Site,
    vault: MemoryVault,
    pub(super) account: AccountId,
}

impl Locked {
    pub(super) async fn new(seed: u64) -> (Self, Up) {
        Self::sealing(seed, SealedConfig::default()).await
    }

    async fn sealing(seed: u64, sealed: SealedConfig) -> (Self, Up) {
        let site = Site { sealed, ..Site::new(seed).await };
        let up = site.up().await;
        let keys = &up.deps.keys;
        let account = keys.open_account("local", CLUSTER, true).await.unwrap();
        let vault = MemoryVault::new(site.sim.world(), KekRef::new("https://vault.example/", "kek", None).unwrap());
        keys.begin_customer_epoch(account, CLUSTER, &vault, LEASE).await.unwrap();
        up.deps.catalog.workspace_move(up.workspace, account, None).await.unwrap();
        keys.gate(account, CLUSTER, "shop-cluster", Standing::Open);
        site.sim.clock().advance(Duration::from_secs(2));
        (Self { site, vault, account }, up)
    }

    pub(super) fn take_away(&self, up: &Up, why: Shut) {
        let keys = &up.deps.keys;
        let since_ms = self.site.sim.world().clock.wall().unix_ms();
        keys.gate(self.account, CLUSTER, "shop-cluster", Standing::Open).set(Standing::Shut(why, since_ms));
        for epoch in keys.kill(self.account) {
            up.intake.forget(epoch);
            up.deps.buffer.forget(epoch);
        }
    }

    /// Another life; the vault does not answer.
    async fn restart(&self, up: Up) -> Up {
        drop(up);
        self.site.sim.fs().power_cut();
        self.start().await
    }

    async fn start(&self) -> Up {
        let up = self.site.up().await;
        let since_ms = self.site.sim.world().clock.wall().unix_ms();
        up.deps.keys.gate(self.account, CLUSTER, "shop-cluster", Standing::Shut(Shut::Unavailable, since_ms));
        up
    }

    /// As the watch does it: unwrap, read the log back, open the gate.
    pub(super) async fn give_back(&self, up: &Up) {
        let polled = up.deps.keys.poll(self.account, &self.vault, 0, LEASE).await.unwrap();
        let flushed = up.deps.catalog.flushed_all().await.unwrap().into_iter().map(|(table, epoch, at)| ((table, epoch), at)).collect();
        for guard in &polled.returned {
            let recovery = up.deps.buffer.restore(guard, &flushed).unwrap();
            up.intake.remember(recovery.marks);
        }
        up.deps.keys.gate(self.account, CLUSTER, "shop-cluster", Standing::Open).set(Standing::Open);
    }

    async fn policy(&self, up: &Up, policy: WhileRevoked) {
        up.deps.catalog.ingest_policy_set(up.workspace, policy).await.unwrap();
    }

    fn sealed_files(&self) -> usize {
        self.site.sim.fs().files().iter().filter(|(path, _)| path.starts_with(SEALED)).count()
    }

    fn shows(&self, canary: &str) -> bool {
        let files = self.site.sim.fs().files();
        files.iter().any(|(_, bytes)| bytes.windows(canary.len()).any(|part| part == canary.as_bytes()))
    }
}

impl Up {
    async fn batch(&self, id: &str, body: String) -> Result<IngestReply, IngestError> {
        self.intake.ingest(IngestRequest { batch_id: Some(id.to_owned()), ..self.request("T", body) }).await
    }

    async fn opened(&self) -> Opened {
        self.intake.open_sealed().await.unwrap()
    }
}

/// The numbers in `n`, with every double.
async fn numbers(up: &Up, table: &str) -> Vec<u64> {
    let mut found: Vec<u64> =
        up.rows(table).await.iter().map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap()["n"].as_u64().unwrap()).collect();
    found.sort_unstable();
    found
}

#[tokio::test]
async fn an_outage_of_six_hours_loses_nothing_and_doubles_nothing() {
    let (locked, mut up) = Locked::new(40).await;
    assert_eq!(up.batch("before", "{\"n\":0,\"v\":1}".to_owned()).await.unwrap().taken, Taken::Stored);
    locked.take_away(&up, Shut::Unavailable);
    let again = up.batch("before", "{\"n\":0,\"v\":1}".to_owned()).await.unwrap();
    assert!(again.duplicate && again.columns_added.is_empty(), "it was taken: {again:?}");

    let mut expected = vec![0];
    let mut doubled = 0;
    for minute in 1..360_u64 {
        if minute == 120 {
            up = locked.restart(up).await;
        }
        // Whatever the table looks like by then: numbers, texts, columns nobody has.
        let value = if minute % 2 == 0 { minute.to_string() } else { format!("\"canary {minute}\"") };
        let body = format!("{{\"n\":{minute},\"v\":{value},\"only{}\":true}}", minute % 10);
        let reply = if minute % 3 == 0 {
            let id = format!("batch {minute}");
            let reply = up.batch(&id, body.clone()).await.unwrap();
            if minute % 9 == 0 {
                assert!(up.batch(&id, body).await.unwrap().duplicate, "minute {minute}");
            }
            reply
        } else {
            up.send("T", body).await.unwrap()
        };
        assert_eq!((reply.taken, reply.accepted, reply.columns_added.len()), (Taken::Buffered, 1, 0), "minute {minute}");
        expected.push(minute);
        if minute == 200 {
            // What was acked before the restart, by a process that forgot the id: known when it is opened.
            let first = "{\"n\":3,\"v\":\"canary 3\",\"only3\":true}";
            assert!(!up.batch("batch 3", first.to_owned()).await.unwrap().duplicate);
            doubled += 1;
        }
        locked.site.sim.clock().advance(MINUTE);
    }
    locked.site.sim.clock().advance(MINUTE);
    let over = up.send("T", "{\"n\":999}").await.unwrap_err();
    assert_eq!((over.code(), over.kind()), ("KeyVaultUnavailable", ErrorKind::Unavailable), "{over}");
    assert!(!locked.shows("canary") && locked.sealed_files() > 1);
    assert_eq!(up.opened().await, Opened::default(), "nothing opens without the key");

    locked.give_back(&up).await;
    // Queries do not wait: what came before the outage is there, what came in it not yet.
    assert_eq!(numbers(&up, "T").await, [0]);
    let opened = up.opened().await;
    assert_eq!((opened.requests, opened.duplicates, opened.rows), (360, doubled, 359));
    assert_eq!(numbers(&up, "T").await, expected);
    assert_eq!(locked.sealed_files(), 0);
    let epoch = up.deps.keys.write_epoch(locked.account).await.unwrap();
    assert!(up.blocks("T").await.iter().all(|block| block.epoch == epoch), "all of it under the customer's key");
    assert!(up.batch("batch 9", "{\"n\":9,\"v\":\"canary 9\",\"only9\":true}".to_owned()).await.unwrap().duplicate, "and remembered");
    assert!(up.batch("batch 9", "{}".to_owned()).await.unwrap_err().kind() == ErrorKind::Conflict);
    assert_eq!(up.opened().await, Opened::default());
    let up = locked.restart(up).await;
    locked.give_back(&up).await;
    assert_eq!(numbers(&up, "T").await, expected);
}

/// D6: the other value of the buffer's setting. Nothing is kept: whoever sends is told at once to come again.
#[tokio::test]
async fn without_a_buffer_for_outages_nothing_is_taken_in_one() {
    let (locked, up) = Locked::sealing(47, SealedConfig { outage_max: Duration::ZERO, ..SealedConfig::default() }).await;
    up.send("T", "{\"n\":0}").await.unwrap();
    locked.take_away(&up, Shut::Unavailable);
    let told = up.send("T", "{\"n\":1}").await.unwrap_err();
    assert_eq!((told.code(), told.kind()), ("KeyVaultUnavailable", ErrorKind::Unavailable), "{told}");
    assert!(up.intake.ready(up.workspace, &"T".parse().unwrap()).await.is_err(), "before its body is read");
    assert_eq!(locked.sealed_files(), 0);
    locked.give_back(&up).await;
    assert_eq!(up.opened().await, Opened::default());
    up.send("T", "{\"n\":2}").await.unwrap();
    assert_eq!(numbers(&up, "T").await, [0, 2]);
}

#[tokio::test]
async fn dying_while_it_is_opened_loses_nothing_and_doubles_nothing() {
    let (locked, mut up) = Locked::new(41).await;
    locked.take_away(&up, Shut::AccessLost);
    for n in 0..40_u64 {
        let table = if n % 2 == 0 { "T" } else { "U" };
        let request = IngestRequest { batch_id: (n % 3 == 0).then(|| format!("b{n}")), ..up.request(table, format!("{{\"n\":{n}}}")) };
        assert_eq!(up.intake.ingest(request).await.unwrap().taken, Taken::Buffered);
        if n % 8 == 7 {
            up = locked.restart(up).await;
        }
    }
    assert!(locked.sealed_files() >= 5);
    // The power goes a few calls further on each time, until it does not go at all.
    for calls in (0..).step_by(3) {
        locked.give_back(&up).await;
        locked.site.sim.fs().power_cut_after(calls);
        let done = up.intake.open_sealed().await;
        let died = locked.site.sim.fs().is_dark();
        if !died {
            done.unwrap();
            assert!(calls > 6, "it died somewhere at least");
            break;
        }
        up = locked.restart(up).await;
    }
    locked.site.sim.fs().heal();
    let up = locked.restart(up).await;
    locked.give_back(&up).await;
    up.opened().await;
    assert_eq!(numbers(&up, "T").await, (0..40).filter(|n| n % 2 == 0).collect::<Vec<_>>());
    assert_eq!(numbers(&up, "U").await, (0..40).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    assert_eq!(locked.sealed_files(), 0);
    assert!(up.deps.catalog.buffer_opened().await.unwrap().len() <= 1, "forgotten with their files, but for one that a crash left");
}

#[tokio::test]
async fn a_lease_that_ends_before_the_gate_knows_refuses_nobody() {
    let (locked, up) = Locked::new(46).await;
    up.send("T", "{\"n\":0}").await.unwrap();
    locked.site.sim.clock().advance(LEASE);
    assert_eq!(up.send("T", "{\"n\":1}").await.unwrap().taken, Taken::Buffered);
    locked.take_away(&up, Shut::Unavailable);
    locked.give_back(&up).await;
    up.opened().await;
    assert_eq!(numbers(&up, "T").await, [0, 1]);
}

#[tokio::test]
async fn a_revoked_key_refuses_seals_or_drops_as_the_workspace_says() {
    let (locked, up) = Locked::new(42).await;
    up.send("T", "{\"n\":0}").await.unwrap();
    locked.take_away(&up, Shut::Revoked);

    let refused = up.batch("one", "{\"n\":1}".to_owned()).await.unwrap_err();
    assert_eq!((refused.code(), refused.kind()), ("CustomerKeyRevoked", ErrorKind::KeyRevoked));
    assert!(refused.to_string().contains("not accepted"), "{refused}");
    assert!(up.intake.ready(up.workspace, &"T".parse().unwrap()).await.is_err(), "before its body is read");

    locked.policy(&up, WhileRevoked::Seal).await;
    let sealed = up.batch("one", "{\"n\":1}".to_owned()).await.unwrap();
    assert_eq!((sealed.taken, sealed.accepted, sealed.duplicate), (Taken::Sealed, 1, false));
    assert_eq!(up.send("New", "{\"n\":10}").await.unwrap().taken, Taken::Sealed, "also for a table that nobody had");
    // No outage: it may last.
    locked.site.sim.clock().advance(Duration::from_hours(72));
    assert_eq!(up.send("T", "{\"n\":2}").await.unwrap().taken, Taken::Sealed);
    let bad = up.send("T", "{\"n\":2}\nnonsense").await.unwrap_err();
    assert_eq!(bad.code(), "InvalidRecord", "what could not be typed later is not taken now");

    locked.policy(&up, WhileRevoked::Drop).await;
    let dropped = up.batch("two", "{\"n\":3}\n{\"n\":4}".to_owned()).await.unwrap();
    assert_eq!((dropped.taken, dropped.accepted), (Taken::Dropped, 2));
    assert!(!up.batch("two", "{\"n\":3}\n{\"n\":4}".to_owned()).await.unwrap().duplicate, "it was not taken");

    // What the vault does not say, nobody drops; what is wrong, nobody seals.
    locked.take_away(&up, Shut::AccessLost);
    assert_eq!(up.send("T", "{\"n\":5}").await.unwrap().taken, Taken::Buffered);
    locked.take_away(&up, Shut::Quarantined);
    assert_eq!(up.send("T", "{\"n\":6}").await.unwrap_err().code(), "KeyQuarantined");

    locked.give_back(&up).await;
    up.opened().await;
    assert_eq!(numbers(&up, "T").await, [0, 1, 2, 5]);
    assert_eq!(numbers(&up, "New").await, [10]);
    assert!(!up.batch("two", "{\"n\":3}\n{\"n\":4}".to_owned()).await.unwrap().duplicate, "now it is");
    assert_eq!(numbers(&up, "T").await, [0, 1, 2, 3, 4, 5]);

    up.intake.write_tallies().await;
    let tables = up.deps.catalog.tables(up.workspace).await.unwrap();
    let of = |name: &str| tables.iter().find(|row| row.name.as_str() == name).unwrap().id;
    let counts = up.deps.catalog.away_counts(up.workspace).await.unwrap();
    let counted = |table| counts.iter().find(|row| row.table == table).map(|row| (row.refused, row.sealed, row.dropped)).unwrap();
    assert_eq!((counted(of("T")), counted(of("New"))), ((3, 3, 4), (0, 1, 0)));
}

#[tokio::test]
async fn bad_records_that_were_to_be_skipped_are_kept_where_bad_records_are() {
    let (locked, up) = Locked::new(43).await;
    locked.take_away(&up, Shut::Unavailable);
    let skip = IngestRequest { on_error: OnError::Skip, ..up.request("T", "{\"n\":1}\nnonsense\n{\"n\":2}") };
    let reply = up.intake.ingest(skip).await.unwrap();
    assert_eq!((reply.taken, reply.accepted, reply.rejected), (Taken::Buffered, 2, 1));
    locked.give_back(&up).await;
    up.opened().await;
    assert_eq!(numbers(&up, "T").await, [1, 2]);
    let notes = up.rows(REJECTED_TABLE).await;
    assert!(notes.len() == 1 && notes[0].contains("\"Table\":\"T\"") && notes[0].contains("nonsense"), "{notes:?}");
}

#[tokio::test]
async fn rows_of_a_workspace_that_was_unlinked_meanwhile_go_where_they_were_sealed_for() {
    let (locked, up) = Locked::new(44).await;
    let cmk = up.deps.keys.write_epoch(locked.account).await.unwrap();
    locked.take_away(&up, Shut::Unavailable);
    up.send("T", "{\"n\":1}").await.unwrap();
    // An unlink needs no key.
    let barrier = up.intake.barrier(up.workspace).await;
    up.deps.catalog.workspace_move(up.workspace, up.deps.keys.shared_account(), None).await.unwrap();
    drop(barrier);
    assert_eq!(up.send("T", "{\"n\":2}").await.unwrap().taken, Taken::Stored);
    locked.give_back(&up).await;
    up.opened().await;
    assert_eq!(numbers(&up, "T").await, [1, 2]);
    assert!(up.blocks("T").await.iter().all(|block| block.epoch == cmk));
}

#[tokio::test]
async fn a_damaged_buffer_gives_what_is_whole_and_is_kept_for_whoever_looks_into_it() {
    let (locked, up) = Locked::new(45).await;
    locked.take_away(&up, Shut::Unavailable);
    for n in 0..5 {
        up.send("T", format!("{{\"n\":{n}}}")).await.unwrap();
    }
    let (path, bytes) = locked.site.sim.fs().files().into_iter().find(|(path, _)| path.starts_with(SEALED)).unwrap();
    locked.site.sim.fs().flip(&path, bytes.len() as u64 - 40, 1).unwrap();
    locked.give_back(&up).await;
    up.opened().await;
    assert_eq!(numbers(&up, "T").await, [0, 1, 2, 3]);
    let kept = locked.site.sim.fs().files();
    assert!(kept.iter().any(|(path, _)| path.starts_with(SEALED) && path.extension().is_some_and(|end| end == "damaged")));
}
