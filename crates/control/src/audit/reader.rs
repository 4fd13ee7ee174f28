//! Reading the chain: what happened, and whether it is whole. Beside a running writer, or over the directory of a stopped server.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use strongroom_catalog::Catalog;
use strongroom_envelope::Mmk;
use strongroom_model::{ObjectId, WorkspaceId};
use strongroom_world::World;

use super::chain::{Broken, Head, Record, read_record, walk};
use super::files::{list, missing, read};
use super::{Audit, AuditConfig, AuditError, Event, chain, name};

/// Records in one answer at most.
pub const READ_MAX: usize = 10_000;
/// Problems told at most.
const PROBLEMS_MAX: usize = 100;

/// Which records are asked for.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Of this cluster.
    pub cluster: Option<ObjectId>,
    /// Of this workspace.
    pub workspace: Option<WorkspaceId>,
    /// Whose name begins so.
    pub event: Option<String>,
    /// From then on, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// The newest so many, [`READ_MAX`] at most.
    pub limit: usize,
}

impl AuditFilter {
    fn takes(&self, record: &Record) -> bool {
        self.cluster.is_none_or(|cluster| record.event.cluster == Some(cluster))
            && self.workspace.is_none_or(|workspace| record.event.workspace == Some(workspace))
            && self.event.as_ref().is_none_or(|event| record.event.event.starts_with(event.as_str()))
            && self.since_ms.is_none_or(|since| record.at_ms >= since)
    }
}

/// What a look at the whole chain found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    /// Records that are whole and in their place.
    pub records: u64,
    /// The first of them; older ones were let go.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// Files.
    pub files: u64,
    /// The last record that the catalog vouches for.
    pub head: u64,
    /// SHA-256 of the last record: kept elsewhere, it proves later that nothing before it was changed.
    pub hash: String,
    /// What is wrong, one line each.
    pub problems: Vec<String>,
}

/// Reads a chain.
#[derive(Clone)]
pub struct AuditReader {
    pub(super) world: World,
    pub(super) catalog: Catalog,
    pub(super) mmk: Arc<Mmk>,
    pub(super) dir: PathBuf,
}

impl std::fmt::Debug for AuditReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditReader").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl AuditReader {
    /// Over a directory.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, mmk: Arc<Mmk>, dir: PathBuf) -> Self {
        Self { world, catalog, mmk, dir }
    }

    /// The newest records that a filter takes, oldest first.
    ///
    /// # Errors
    /// [`AuditError`]; a damaged part ends the reading of its file, so what is behind it is not in the answer.
    pub async fn read(&self, filter: AuditFilter) -> Result<Vec<Record>, AuditError> {
        let this = self.clone();
        blocking(move || this.read_now(&filter)).await
    }

    fn read_now(&self, filter: &AuditFilter) -> Result<Vec<Record>, AuditError> {
        let limit = filter.limit.clamp(1, READ_MAX);
        let mut found: Vec<Record> = Vec::new();
        for first in list(&self.world, &self.dir)?.into_iter().rev() {
            let bytes = read(&self.world, &self.dir, first)?;
            let (mut here, mut older) = (Vec::new(), false);
            walk(&self.mmk, &bytes, first, None, |record| {
                older |= filter.since_ms.is_some_and(|since| record.at_ms < since);
                if filter.takes(&record) {
                    here.push(record);
                }
            });
            here.append(&mut found);
            found = here;
            if found.len() >= limit || older {
                break;
            }
        }
        found.drain(..found.len().saturating_sub(limit));
        Ok(found)
    }

    /// One record, by where it lies; `None` if its file was let go.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn record(&self, seq: u64, file: u64, start: u64) -> Result<Option<Record>, AuditError> {
        let this = self.clone();
        blocking(move || this.record_now(seq, file, start)).await
    }

    fn record_now(&self, seq: u64, file: u64, start: u64) -> Result<Option<Record>, AuditError> {
        let open = match self.world.fs.open_read(&super::files::path(&self.dir, file)) {
            Ok(open) => open,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(AuditError::disk("opening it")(error)),
        };
        let disk = AuditError::disk("reading it");
        let mut head = [0; chain::FRAME_LEN];
        open.read_at(&mut head, start).map_err(&disk)?;
        let len = u32::from_le_bytes(*head.first_chunk().expect("eight bytes hold four")) as usize;
        let mut frame = vec![0; chain::FRAME_LEN + len.min(4 << 20)];
        open.read_at(&mut frame, start).map_err(&disk)?;
        let (record, _) =
            read_record(&self.mmk, &frame, 0, seq).map_err(|broken| AuditError::damaged(format!("record {seq} {}", broken.text())))?;
        Ok(Some(record))
    }

    /// Reads the whole chain and checks every seal and every link, and its end against the head in the catalog.
    ///
    /// # Errors
    /// [`AuditError`] if it cannot be read; what is wrong with it is in the report.
    pub async fn verify(&self) -> Result<AuditReport, AuditError> {
        let Some(row) = self.catalog.audit_head().await? else {
            let files = list(&self.world, &self.dir)?;
            let mut report = AuditReport { files: files.len() as u64, ..AuditReport::default() };
            if !files.is_empty() {
                report.problems.push("the catalog knows of no audit chain, but its files are there".to_owned());
            }
            return Ok(report);
        };
        let head = match Head::open(&self.mmk, &row) {
            Ok(head) => head,
            Err(error) => return Ok(AuditReport { problems: vec![error.to_string()], ..AuditReport::default() }),
        };
        let this = self.clone();
        blocking(move || this.verify_now(&head)).await
    }

    /// Puts a damaged chain aside and begins a new one in its place: its first record says that, and why. What the head knew of
    /// keys' records it goes on knowing. Where the damaged one lies.
    ///
    /// # Errors
    /// [`AuditError::Whole`] if nothing is wrong with it; [`AuditError::Disk`], [`AuditError::Catalog`].
    pub async fn mend(&self, config: AuditConfig, because: &str) -> Result<PathBuf, AuditError> {
        let report = self.verify().await?;
        if report.problems.is_empty() {
            return Err(AuditError::Whole);
        }
        let head = self.catalog.audit_head().await?.and_then(|row| Head::open(&self.mmk, &row).ok()).unwrap_or_default();
        let aside = self.dir.with_extension(format!("damaged-{}", self.world.clock.wall().unix_ms()));
        if self.world.fs.metadata(&self.dir).is_ok() {
            let moved = self.world.fs.rename(&self.dir, &aside);
            let moved = moved.and_then(|()| aside.parent().map_or(Ok(()), |parent| self.world.fs.sync_dir(parent)));
            moved.map_err(AuditError::disk("putting it aside"))?;
        }
        let fresh = Head { generations: head.generations, ..Head::default() };
        self.catalog.audit_advance(&fresh.seal(&self.mmk, self.world.rng.as_ref()), &[]).await?;
        self.catalog.audit_forget().await?;
        let audit = Audit::open(self.world.clone(), self.catalog.clone(), Arc::clone(&self.mmk), self.dir.clone(), config).await?;
        let event = Event::new(name::CHAIN_MENDED).with("because", because).with("problems", report.problems.len());
        audit.record(event.with("lastRecord", head.seq).with("lastHash", chain::hex(&head.hash))).await?;
        audit.close().await;
        Ok(aside)
    }

    fn verify_now(&self, head: &Head) -> Result<AuditReport, AuditError> {
        let files = list(&self.world, &self.dir)?;
        let mut report = AuditReport { files: files.len() as u64, head: head.seq, ..AuditReport::default() };
        let problem = |report: &mut AuditReport, text: String| {
            if report.problems.len() < PROBLEMS_MAX {
                report.problems.push(text);
            }
        };
        if head.seq > 0 && files.first() != Some(&head.oldest) {
            problem(&mut report, format!("its oldest file is not there: it begins with record {}", head.oldest));
        }
        let mut previous = None;
        let mut last = (0, None);
        for (at, &first) in files.iter().enumerate() {
            let mut bytes = read(&self.world, &self.dir, first)?;
            if at > 0 && first != last.0 + 1 {
                problem(&mut report, format!("records {} to {} are missing", last.0 + 1, first - 1));
                previous = None;
            }
            // Where a write failed, a file may go on behind the record that the next file follows.
            if let Some(next) = files.get(at + 1) {
                let mut end = bytes.len();
                walk(&self.mmk, &bytes, first, None, |record| {
                    if record.seq + 1 == *next {
                        end = read_record(&self.mmk, &bytes, usize::try_from(record.start).unwrap_or(usize::MAX), record.seq)
                            .map_or(end, |(_, end)| end);
                    }
                });
                bytes.truncate(end);
            }
            let mut wrong_head = false;
            let walked = walk(&self.mmk, &bytes, first, previous, |record| {
                if report.first == 0 {
                    report.first = record.seq;
                }
                report.records += 1;
                wrong_head |= record.seq == head.seq && record.hash != head.hash;
            });
            if wrong_head {
                problem(&mut report, format!("record {} is not the one that the catalog vouches for", head.seq));
            }
            if let Some(broken) = walked.broken
                // Behind the head lies what is being written, or what a crash tore off: never anything that was answered.
                && (walked.seq < head.seq || broken == Broken::Unchained)
            {
                problem(
                    &mut report,
                    format!("record {} in {} {}", walked.seq + 1, super::files::path(&self.dir, first).display(), broken.text()),
                );
            }
            (previous, last) = (walked.hash, (walked.seq, walked.hash));
        }
        if last.0 < head.seq {
            problem(&mut report, missing(None, last.0, head.seq));
        }
        report.last = last.0;
        report.hash = last.1.map(|hash| chain::hex(&hash)).unwrap_or_default();
        Ok(report)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, AuditError> + Send + 'static) -> Result<T, AuditError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| AuditError::Closed)?
}
