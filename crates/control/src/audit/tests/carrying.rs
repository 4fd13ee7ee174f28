//! Records on their way into tables and to webhooks.

use object_store::memory::InMemory;
use strongroom_catalog::{AuditSink, WorkspaceRow};
use strongroom_keys::{KeyRing, Purpose};
use strongroom_model::WorkspaceId;

use super::*;

/// What came, and how often it is refused before something is taken.
#[derive(Debug, Default)]
struct Sink {
    rows: Mutex<Vec<(WorkspaceId, &'static str, String, serde_json::Value)>>,
    calls: Mutex<Vec<serde_json::Value>>,
    refusals: AtomicU64,
    gone: Mutex<Option<WorkspaceId>>,
}

impl Sink {
    fn refuses(&self) -> bool {
        self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
    fn numbers(&self, workspace: WorkspaceId, table: &str) -> Vec<u64> {
        let rows = self.rows.lock();
        let here = rows.iter().filter(|row| row.0 == workspace && row.1 == table);
        here.filter_map(|row| row.3["Details"]["n"].as_u64()).collect()
    }
}

#[async_trait::async_trait]
impl Emit for Sink {
    async fn emit(&self, workspace: WorkspaceId, table: &'static str, id: &str, row: &serde_json::Value) -> Result<(), NotTaken> {
        if *self.gone.lock() == Some(workspace) {
            return Err(NotTaken::Never);
        }
        if self.refuses() {
            return Err(NotTaken::Later);
        }
        self.rows.lock().push((workspace, table, id.to_owned(), row.clone()));
        Ok(())
    }
}

#[async_trait::async_trait]
impl Caller for Sink {
    async fn call(&self, notice: &serde_json::Value) -> Result<(), String> {
        if self.refuses() {
            return Err("HTTP 500".to_owned());
        }
        self.calls.lock().push(notice.clone());
        Ok(())
    }
}

struct Carrying {
    site: Site,
    audit: Arc<Audit>,
    keys: Arc<KeyRing>,
    sink: Arc<Sink>,
    carrier: Arc<Carrier>,
}

const ONE: WorkspaceId = WorkspaceId::from_bytes([1; 16]);
const TWO: WorkspaceId = WorkspaceId::from_bytes([2; 16]);

impl Carrying {
    async fn new(seed: u64, config: AuditConfig) -> Self {
        let mut site = Site::new(seed).await;
        site.config = config;
        let audit = site.open().await.unwrap();
        let mmk = Arc::new(Mmk::from_bytes(ROOT));
        let keys = KeyRing::open_with(site.sim.world(), site.catalog.clone(), Arc::new(InMemory::new()), mmk, Arc::clone(&audit) as _);
        let keys = keys.await.unwrap();
        let sink = Arc::new(Sink::default());
        let carrier = Carrier::new(Arc::clone(&audit), Arc::clone(&keys), Arc::clone(&sink) as _, Some(Arc::clone(&sink) as _));
        Self { site, audit, keys, sink, carrier }
    }
    async fn write(&self, event: &'static str, workspace: WorkspaceId, n: u64) {
        self.audit.record(Event::new(event).workspace(workspace).with("n", n)).await.unwrap();
    }
    /// A round after everybody has rested.
    async fn round(&self) {
        self.site.sim.clock().advance(Duration::from_mins(15));
        self.carrier.round().await.unwrap();
    }
    async fn waiting(&self) -> usize {
        self.site.catalog.audit_targets().await.unwrap().len()
    }
}

#[tokio::test]
async fn rows_come_once_and_in_order_however_long_the_key_was_away() {
    let all = Carrying::new(20, AuditConfig::default()).await;
    for n in 0..300 {
        all.write(name::KEY_SET, if n % 3 == 0 { TWO } else { ONE }, n).await;
    }
    all.audit.note(Event::new(name::KEY_DENIED).workspace(ONE).with("n", 999));
    all.audit.record(Event::new(name::STATE_CHANGED).workspace(ONE).cluster(CLUSTER).with("n", 300)).await.unwrap();
    // Away; then it takes some and goes again.
    all.sink.refusals.store(4, Ordering::Relaxed);
    all.carrier.round().await.unwrap();
    assert!(all.sink.rows.lock().is_empty());
    all.sink.refusals.store(0, Ordering::Relaxed);
    all.carrier.round().await.unwrap();
    assert!(all.sink.numbers(ONE, AUDIT_TABLE).is_empty(), "left alone for a while");
    all.round().await;
    let expected: Vec<u64> = (0..=300).filter(|n| n % 3 != 0 || *n == 300).collect();
    assert_eq!(all.sink.numbers(ONE, AUDIT_TABLE), expected);
    assert_eq!(all.sink.numbers(TWO, AUDIT_TABLE), (0..300).step_by(3).collect::<Vec<_>>());
    assert_eq!((all.sink.numbers(ONE, NOTICES_TABLE), all.sink.calls.lock().len()), (vec![300], 1));
    assert_eq!(all.waiting().await, 0);
    all.round().await;
    assert_eq!(all.sink.rows.lock().len(), 302);
    let mut ids: Vec<String> = all.sink.rows.lock().iter().map(|row| row.2.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 302, "each is named");
}

#[tokio::test]
async fn what_a_crash_left_between_taking_and_striking_off_comes_again_under_the_same_name() {
    let all = Carrying::new(21, AuditConfig::default()).await;
    all.write(name::KEY_SET, ONE, 0).await;
    let waiting = all.site.catalog.audit_waiting(AuditSink::Audit, ONE.as_bytes(), 9).await.unwrap();
    all.round().await;
    // As the catalog was before: the row had been taken, and was not struck off.
    let errand = strongroom_catalog::AuditErrand {
        seq: waiting[0].seq,
        file: waiting[0].file,
        start: waiting[0].start,
        workspace: Some(ONE),
        cluster: None,
        notice: false,
        call: false,
        told: None,
    };
    let head = all.site.catalog.audit_head().await.unwrap().unwrap();
    all.site.catalog.audit_advance(&head, &[errand]).await.unwrap();
    all.round().await;
    let rows = all.sink.rows.lock();
    assert_eq!((rows.len(), &rows[0]), (2, &rows[1]));
}

#[tokio::test]
async fn what_waits_too_long_is_given_up_oldest_first_and_a_gone_workspace_gets_nothing() {
    let all = Carrying::new(22, AuditConfig { waiting_max: 100, ..AuditConfig::default() }).await;
    for n in 0..130 {
        all.write(name::KEY_SET, ONE, n).await;
        all.write(name::KEY_SET, TWO, n).await;
    }
    *all.sink.gone.lock() = Some(TWO);
    all.round().await;
    assert_eq!(all.sink.numbers(ONE, AUDIT_TABLE), (30..130).collect::<Vec<_>>());
    assert_eq!((all.sink.numbers(TWO, AUDIT_TABLE).len(), all.waiting().await), (0, 0));
    all.audit.record(Event::new(name::KEY_SET)).await.unwrap();
    let filter = AuditFilter { event: Some(name::NOT_CARRIED.to_owned()), limit: 9, ..AuditFilter::default() };
    let said = all.audit.reader().read(filter).await.unwrap();
    assert_eq!(said.iter().map(|record| record.event.details["records"].as_u64().unwrap()).collect::<Vec<_>>(), [30, 30]);
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_is_called_again_less_and_less_and_then_no_more() {
    let all = Carrying::new(23, AuditConfig::default()).await;
    let event =
        Event::new(name::KEY_EXPIRING).cluster(CLUSTER).with("days", 7).with("version", "v1").with("expires", "2026-03-01T00:00:00Z");
    all.audit.record(event).await.unwrap();
    all.sink.refusals.store(3, Ordering::Relaxed);
    all.carrier.round().await.unwrap();
    all.carrier.round().await.unwrap();
    assert_eq!(all.sink.refusals.load(Ordering::Relaxed), 2, "not at once again");
    for _ in 0..3 {
        all.round().await;
    }
    assert_eq!(all.sink.calls.lock().len(), 1);
    assert_eq!(all.waiting().await, 0);
    let text = all.sink.calls.lock()[0]["Text"].as_str().unwrap().to_owned();
    assert!(text.contains("expires in 7 days") && text.contains("2026-03-01"), "{text}");
    all.audit.record(Event::new(name::KEY_EXPIRED).cluster(CLUSTER)).await.unwrap();
    all.sink.refusals.store(100, Ordering::Relaxed);
    for _ in 0..20 {
        all.round().await;
    }
    assert_eq!((100 - all.sink.refusals.load(Ordering::Relaxed), all.waiting().await), (8, 0));
}

#[tokio::test]
async fn a_querys_text_is_kept_as_a_cell_of_its_workspace_and_opens_nowhere_else() {
    let all = Carrying::new(24, AuditConfig { queries: true, queries_per_minute_max: 2, ..AuditConfig::default() }).await;
    for (id, name) in [(ONE, "one"), (TWO, "two")] {
        let row = WorkspaceRow {
            id,
            name: name.parse().unwrap(),
            account: all.keys.shared_account(),
            subscription: "s".to_owned(),
            resource_group: "default".to_owned(),
            region: "local".to_owned(),
            created_ms: 0,
            retention_days: 30,
            link: None,
        };
        all.site.catalog.workspace_insert(&row).await.unwrap();
    }
    let text = "Payroll | where Name == 'canary-in-a-query'";
    for _ in 0..5 {
        let asked = AskedQuery {
            principal: PrincipalId::from_bytes([6; 16]),
            workspace: ONE,
            text: text.to_owned(),
            language: "kql",
            code: "ok",
            took: Duration::from_millis(3),
            rows: Some(1),
            bytes: None,
        };
        all.audit.query(&all.keys, asked);
    }
    let queries = AuditFilter { workspace: Some(ONE), event: Some(name::QUERY.to_owned()), limit: 9, ..AuditFilter::default() };
    let found = async {
        loop {
            let found = all.audit.reader().read(queries.clone()).await.unwrap();
            if found.len() == 2 {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(5), found).await.unwrap();
    let sealed = found[0].event.text.clone().unwrap();
    let world = all.site.sim.world();
    assert_eq!(open_text(&all.keys, &world, ONE, &sealed).await.unwrap(), text);
    all.keys.guard(all.keys.write_epoch(all.keys.shared_account()).await.unwrap(), TWO, PrincipalId::NIL, Purpose::Ingest).await.unwrap();
    assert_eq!(open_text(&all.keys, &world, TWO, &sealed).await.unwrap_err().code(), "IntegrityError");
    // Under the MMK alone, record by record: no text.
    let json = serde_json::to_string(&found).unwrap();
    assert!(json.contains("\"cell\"") && !json.contains("canary"), "{json}");
    all.round().await;
    let carried = all.sink.rows.lock().iter().filter(|row| row.3["QueryText"] == text).count();
    assert_eq!(carried, 2);
    all.audit.tell_counts(true);
    all.audit.record(Event::new(name::KEY_SET)).await.unwrap();
    let lost = AuditFilter { event: Some(name::LOST.to_owned()), limit: 9, ..AuditFilter::default() };
    assert_eq!(all.audit.reader().read(lost).await.unwrap()[0].event.details["queries"], 3);
}

#[tokio::test]
async fn what_comes_too_often_is_counted_by_the_minute_and_changes_have_a_bound() {
    let all = Carrying::new(25, AuditConfig { changes_per_minute_max: 60, ..AuditConfig::default() }).await;
    for _ in 0..7 {
        all.audit.not_accepted(ONE, "Payroll", "CustomerKeyRevoked");
        all.audit.token_refused();
    }
    all.audit.dropped(ONE, "Payroll", "CustomerKeyRevoked", 12);
    all.audit.dropped(ONE, "Payroll", "CustomerKeyRevoked", 30);
    all.audit.tell_counts(false);
    all.site.sim.clock().advance(Duration::from_mins(2));
    all.audit.tell_counts(false);
    let (somebody, other) = (PrincipalId::from_bytes([1; 16]), PrincipalId::from_bytes([2; 16]));
    assert_eq!((0..100).filter(|_| all.audit.may_ask(somebody)).count(), 60);
    assert!(all.audit.may_ask(other));
    all.audit.record(Event::new(name::KEY_SET)).await.unwrap();
    let records = all.audit.reader().read(AuditFilter { limit: 99, ..AuditFilter::default() }).await.unwrap();
    let of = |event: &str| {
        records.iter().filter(|record| record.event.event == event).map(|record| record.event.details.clone()).collect::<Vec<_>>()
    };
    assert_eq!(of(name::NOT_ACCEPTED).iter().map(|details| details["requests"].as_u64().unwrap()).collect::<Vec<_>>(), [7]);
    assert_eq!(of(name::DROPPED).iter().map(|details| details["rows"].as_u64().unwrap()).collect::<Vec<_>>(), [42]);
    assert_eq!(of(name::TOKENS_REFUSED)[0]["requests"], 7);
}

#[tokio::test]
async fn an_older_key_record_put_back_is_refused_by_the_chain_though_catalog_and_copy_agree() {
    let site = Site::new(26).await;
    let mmk = Arc::new(Mmk::from_bytes(ROOT));
    let audit = site.open().await.unwrap();
    let objects = Arc::new(InMemory::new());
    let open = |audit: &Arc<Audit>| {
        let ledger = Arc::clone(audit) as Arc<dyn Ledger>;
        KeyRing::open_with(site.sim.world(), site.catalog.clone(), Arc::clone(&objects) as _, Arc::clone(&mmk), ledger)
    };
    let keys = open(&audit).await.unwrap();
    let epoch = keys.write_epoch(keys.shared_account()).await.unwrap();
    audit.record(Event::new(name::KEY_WRAPPED).account(epoch.account).aek(epoch.aek, 5)).await.unwrap();
    audit.close().await;
    let audit = site.open().await.unwrap();
    assert_eq!(open(&audit).await.unwrap_err().code(), "IntegrityError");
    let destroyed = Event::new(name::KEY_DESTROYED).destroyed(epoch.aek);
    audit.record(destroyed).await.unwrap();
    assert_eq!(audit.generations()[&epoch.aek], u64::MAX);
}

#[tokio::test]
async fn a_damaged_chain_is_put_aside_only_if_it_is_damaged_and_the_new_one_says_so() {
    let site = Site::new(27).await;
    site.written(4).await.close().await;
    let reader = AuditReader::new(site.sim.world(), site.catalog.clone(), Arc::new(Mmk::from_bytes(ROOT)), Site::dir());
    assert_eq!(reader.mend(site.config.clone(), "nothing").await.unwrap_err().kind(), ErrorKind::Conflict);
    let (path, whole) = site.files().pop().unwrap();
    site.put(&path, &whole[..whole.len() - 1]);
    let aside = reader.mend(site.config.clone(), "a disk was changed").await.unwrap();
    let audit = site.open().await.unwrap();
    let all = audit.reader().read(AuditFilter { limit: 9, ..AuditFilter::default() }).await.unwrap();
    assert_eq!(all.iter().map(|record| record.event.event.as_ref()).collect::<Vec<_>>(), [name::CHAIN_BEGUN, name::CHAIN_MENDED]);
    assert_eq!((&all[1].event.details["because"], &all[1].event.details["lastRecord"]), (&"a disk was changed".into(), &5.into()));
    assert!(site.sim.fs().files().iter().any(|(path, _)| path.starts_with(&aside)));
}
