//! Commands that work on the directories of a server that is not running: `verify` and `doctor`.

use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use strongroom_catalog::{BlockRow, BlockState, Catalog, GroupRow};
use strongroom_control::ControlError;
use strongroom_control::audit::{AuditReader, AuditReport};
use strongroom_control::watch::fetch_keys;
use strongroom_envelope::{CellPlace, Header, ObjectKind, open, open_cell};
use strongroom_keys::outbound::Outbound;
use strongroom_keys::{KeyRing, Purpose};
use strongroom_model::{PrincipalId, TimeRange};
use strongroom_store::{BlockStore, HotCache, LocalObjects, ObjectKey, Reader, StoredBlock};
use strongroom_world::World;

use crate::config::{Config, ServeOptions, admin_token_path, load, mmk_path};
use crate::vault_clients::VaultClients;
use crate::wiring::{Layout, root_key};
use crate::{ServeError, embedded, lock};

/// What `verify` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// Blocks read.
    pub blocks: u64,
    /// Rows in them, as the catalog has it.
    pub rows: u64,
    /// Sealed bytes read; every tag in them was checked.
    pub bytes: u64,
    /// What is wrong, one line each, naming the block.
    pub problems: Vec<String>,
}

/// How a check of `doctor` went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Works, but should be looked at.
    Warning,
    /// Must be mended.
    Red,
}

/// One check of `doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen and what to do.
    pub text: String,
}

struct Offline {
    world: World,
    catalog: Catalog,
    keys: Arc<KeyRing>,
    blocks: Arc<BlockStore>,
}

impl Offline {
    async fn open(config: &Config) -> Result<Self, ServeError> {
        let world = World::real();
        let layout = Layout::new(&config.data_dir);
        if !layout.catalog().exists() {
            return Err(ServeError::directory(
                &layout.catalog(),
                std::io::Error::new(std::io::ErrorKind::NotFound, "there is no data here; see --data-dir"),
            ));
        }
        let mmk = Arc::new(root_key(&world, &config.config_dir, true)?);
        let catalog = Catalog::open(&layout.catalog(), world.clone()).await.map_err(ServeError::start("catalog"))?;
        let objects: Arc<dyn object_store::ObjectStore> = LocalObjects::peek(world.clone(), layout.objects());
        let keys = KeyRing::open(world.clone(), catalog.clone(), Arc::clone(&objects), Arc::clone(&mmk))
            .await
            .map_err(ServeError::start("keys"))?;
        // What is stored is read, never a copy of it; and a server may be running beside this.
        let cache = HotCache::absent(world.clone(), mmk, catalog.node());
        Ok(Self { blocks: BlockStore::new(world.clone(), objects, cache), world, catalog, keys })
    }

    /// Blocks under customers' keys need their vaults.
    async fn fetch_keys(&self, config: &Config) -> Result<Vec<(String, ControlError)>, ServeError> {
        let mut outbound = config.outbound.clone();
        if config.vault.embedded {
            // Where the embedded vault was when the server last ran.
            let known = self.catalog.vault_ref_list().await.map_err(ServeError::start("catalog"))?;
            let own = known.into_iter().filter(|row| row.name == embedded::NAME);
            outbound.allow.extend(own.filter_map(|row| row.uri.strip_prefix("https://").map(str::to_owned)));
        }
        let outbound = Outbound::open(&self.world, &outbound, &[]).map_err(ServeError::start("outbound client"))?;
        let vaults = VaultClients::new(config, &self.world, &self.catalog, Arc::clone(self.keys.mmk()), outbound);
        fetch_keys(&self.catalog, &self.keys, &vaults, config.keys.states().lease).await.map_err(ServeError::start("keys"))
    }

    async fn check_block(&self, row: &BlockRow) -> Result<(), String> {
        let key = ObjectKey {
            account: row.epoch.account,
            workspace: row.workspace,
            table: row.table,
            window_start: row.window.start,
            object: row.object,
        };
        let stored = StoredBlock { key, epoch: row.epoch, len: row.sealed_len, arrived_ms: row.arrived_ms };
        let guard = self
            .keys
            .guard(row.epoch, row.workspace, PrincipalId::NIL, Purpose::Maintain)
            .await
            .map_err(|error| format!("its key: {}", error.code()))?;
        let whole = 0..row.sealed_len;
        let sealed = self.blocks.read(&stored, &guard, &[whole], Reader::Maintain).await.map_err(|error| error.to_string())?;
        let sealed = sealed.first().ok_or("nothing was read")?;
        if sealed.len() as u64 != row.sealed_len {
            return Err(format!("{} bytes are stored, the catalog says {}", sealed.len(), row.sealed_len));
        }
        if Sha256::digest(sealed).as_slice() != row.sha256.as_slice() {
            return Err("its bytes are not those that were put (SHA-256 differs)".to_owned());
        }
        let header = Header {
            kind: ObjectKind::Block,
            double: guard.is_double(),
            aek: row.epoch.aek,
            account: row.epoch.account,
            workspace: row.workspace,
            table: row.table,
            window_start: row.window.start,
            object: row.object,
        };
        let now = self.world.clock.boot();
        let plain = open(&guard, now, &header, sealed).map_err(|error| error.to_string())?;
        if plain.len() as u64 != row.plain_len {
            return Err(format!("it opens to {} bytes, the catalog says {}", plain.len(), row.plain_len));
        }
        let place = CellPlace { epoch: row.epoch, workspace: row.workspace, table: row.table, row: row.object };
        open_cell(&guard, now, &place, &row.stats).map_err(|error| format!("its statistics: {error}"))?;
        Ok(())
    }
}

impl Offline {
    /// Whether filters of several blocks open to the end.
    async fn check_group(&self, row: &GroupRow) -> Result<(), String> {
        let (epoch, GroupRow { workspace, table, day, object, .. }) = (row.epoch, *row);
        let key = ObjectKey { account: epoch.account, workspace, table, window_start: day, object };
        let stored = StoredBlock { key, epoch, len: row.sealed_len, arrived_ms: row.arrived_ms };
        let guard = self.keys.guard(epoch, workspace, PrincipalId::NIL, Purpose::Maintain).await;
        let guard = guard.map_err(|error| format!("its key: {}", error.code()))?;
        let whole = 0..row.sealed_len;
        let sealed = self.blocks.read(&stored, &guard, &[whole], Reader::Maintain).await.map_err(|error| error.to_string())?;
        let sealed = sealed.first().ok_or("nothing was read")?;
        let header = Header {
            kind: ObjectKind::Filters,
            double: guard.is_double(),
            aek: epoch.aek,
            account: epoch.account,
            workspace,
            table,
            window_start: day,
            object,
        };
        let plain = open(&guard, self.world.clock.boot(), &header, sealed).map_err(|error| error.to_string())?;
        let as_said = plain.len() as u64 == row.plain_len;
        if as_said { Ok(()) } else { Err(format!("it opens to {} bytes, the catalog says {}", plain.len(), row.plain_len)) }
    }
}

/// Reads every live block of a stopped server, and filters of several of them, and checks every tag in it.
///
/// # Errors
/// [`ServeError`] if the directories cannot be opened or a server runs on them; bad blocks are in the report.
pub async fn verify(options: &ServeOptions, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport, ServeError> {
    let config = load(options)?;
    let _lock = lock::DirLock::take(&config.data_dir)?;
    let site = Offline::open(&config).await?;
    let mut rows = Vec::new();
    for workspace in site.catalog.workspaces().await.map_err(ServeError::start("catalog"))? {
        for table in site.catalog.tables(workspace.id).await.map_err(ServeError::start("catalog"))? {
            rows.extend(site.catalog.snapshot(table.id, TimeRange::ALL).await.map_err(ServeError::start("catalog"))?.blocks);
        }
    }
    let mut report = VerifyReport::default();
    for (cluster, error) in site.fetch_keys(&config).await? {
        report.problems.push(format!("cluster {cluster}: its key did not come, so its blocks cannot be checked: {error}"));
    }
    for row in &rows {
        if let Err(problem) = site.check_block(row).await {
            report.problems.push(format!("block {} of table {}: {problem}", row.object, row.table));
        }
        report.blocks += 1;
        report.rows += row.rows;
        report.bytes += row.sealed_len;
        progress(report.blocks, rows.len() as u64);
    }
    let mut groups = site.catalog.groups().await.map_err(ServeError::start("catalog"))?;
    groups.retain(|row| row.state == BlockState::Live);
    for row in &groups {
        if let Err(problem) = site.check_group(row).await {
            report.problems.push(format!("filters {} of blocks of table {}: {problem}", row.object, row.table));
        }
        report.bytes += row.sealed_len;
    }
    site.catalog.close().await;
    Ok(report)
}

/// Reads the whole audit chain of a stopped server and checks every seal and link of it.
///
/// # Errors
/// [`ServeError`] if the directories cannot be opened or a server runs on them; what is wrong with the chain is in the report.
pub async fn verify_audit(options: &ServeOptions) -> Result<AuditReport, ServeError> {
    let (_lock, catalog, reader, _) = audit_chain(options).await?;
    let report = reader.verify().await.map_err(ServeError::start("audit chain"));
    catalog.close().await;
    report
}

/// Puts a damaged audit chain of a stopped server aside, and begins one that says so. Where the old one lies.
///
/// # Errors
/// [`ServeError`] if the directories cannot be opened or a server runs on them, or if the chain is whole.
pub async fn mend_audit(options: &ServeOptions, because: &str) -> Result<PathBuf, ServeError> {
    let (_lock, catalog, reader, config) = audit_chain(options).await?;
    let mended = reader.mend(config.audit, because).await.map_err(ServeError::start("audit chain"));
    catalog.close().await;
    mended
}

async fn audit_chain(options: &ServeOptions) -> Result<(lock::DirLock, Catalog, AuditReader, Config), ServeError> {
    let config = load(options)?;
    let layout = Layout::new(&config.data_dir);
    if !layout.catalog().exists() {
        let absent = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no data here; see --data-dir");
        return Err(ServeError::directory(&layout.catalog(), absent));
    }
    let lock = lock::DirLock::take(&config.data_dir)?;
    let world = World::real();
    let mmk = Arc::new(root_key(&world, &config.config_dir, true)?);
    let catalog = Catalog::open(&layout.catalog(), world.clone()).await.map_err(ServeError::start("catalog"))?;
    let reader = AuditReader::new(world, catalog.clone(), mmk, layout.audit());
    Ok((lock, catalog, reader, config))
}

/// Looks at everything an operator should know of before trouble comes. Works beside a running server.
///
/// # Errors
/// [`ServeError::Config`] if the configuration itself is wrong.
pub async fn doctor(options: &ServeOptions) -> Result<Vec<Check>, ServeError> {
    let config = load(options)?;
    let mut checks = vec![
        root_key_check(&config.config_dir),
        secret_file_check("admin token", &admin_token_path(&config.config_dir)),
        separate_check(&config),
        swap_check(&std::fs::read_to_string("/proc/swaps").unwrap_or_default()),
        space_check(&config),
    ];
    match Offline::open(&config).await {
        Ok(site) => {
            checks.push(objects_check(&site).await);
            checks.push(chain_check(&site, &config).await);
            site.catalog.close().await;
        }
        Err(error) => {
            let verdict = if config.data_dir.exists() { Verdict::Red } else { Verdict::Warning };
            checks.push(Check { name: "data", verdict, text: error.to_string() });
        }
    }
    Ok(checks)
}

/// Every seal and link of the audit chain, and its end against the catalog.
async fn chain_check(site: &Offline, config: &Config) -> Check {
    let name = "audit chain";
    let dir = Layout::new(&config.data_dir).audit();
    let reader = AuditReader::new(site.world.clone(), site.catalog.clone(), Arc::clone(site.keys.mmk()), dir);
    match reader.verify().await {
        Ok(report) if report.problems.is_empty() => {
            let text =
                format!("{} records, each sealed and linked to the one before; the last one's hash is {}", report.records, report.hash);
            Check { name, verdict: Verdict::Ok, text }
        }
        Ok(report) => {
            let first = report.problems.first().cloned().unwrap_or_default();
            let more = report.problems.len() - 1;
            let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
            Check { name, verdict: Verdict::Red, text: format!("{first}{rest}; `strongroom audit verify --offline` tells all of it") }
        }
        Err(error) => Check { name, verdict: Verdict::Red, text: error.to_string() },
    }
}

fn root_key_check(config_dir: &Path) -> Check {
    secret_file_check("root key", &mmk_path(config_dir))
}

fn secret_file_check(name: &'static str, path: &Path) -> Check {
    let (verdict, text) = match std::fs::metadata(path) {
        Err(error) => (Verdict::Warning, format!("{}: {error}; it is made at the first start", path.display())),
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
            (Verdict::Red, format!("{} can be read by others; chmod 600 it", path.display()))
        }
        Ok(_) => (Verdict::Ok, format!("{} is there, mode 0600; keep a copy of it elsewhere", path.display())),
    };
    Check { name, verdict, text }
}

fn separate_check(config: &Config) -> Check {
    let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
    let same = device(&config.data_dir).zip(device(&config.config_dir)).is_some_and(|(data, keys)| data == keys);
    let (verdict, text) = if same {
        (
            Verdict::Warning,
            "the root key lies on the filesystem of the data: who takes the disk takes both; move --config-dir to another one".to_owned(),
        )
    } else {
        (Verdict::Ok, "root key and data lie on different filesystems".to_owned())
    };
    Check { name: "separation", verdict, text }
}

fn swap_check(swaps: &str) -> Check {
    let open: Vec<&str> = swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .filter(|device| !device.starts_with("/dev/dm-") && !device.contains("zram"))
        .collect();
    let (verdict, text) = if open.is_empty() {
        (Verdict::Ok, "no swap that looks unencrypted".to_owned())
    } else {
        (Verdict::Red, format!("swap on {} looks unencrypted: keys and rows may be written to it; swapoff or encrypt it", open.join(", ")))
    };
    Check { name: "swap", verdict, text }
}

fn space_check(config: &Config) -> Check {
    let (verdict, text) = match World::real().fs.space(&config.data_dir) {
        Err(error) => (Verdict::Warning, format!("{}: {error}", config.data_dir.display())),
        Ok(space) => {
            let reserve = config.buffer.reserve_bytes.max(space.total / 100 * config.buffer.reserve_percent);
            let text = format!("{} MiB free of {} MiB; ingest is refused below {} MiB", space.free >> 20, space.total >> 20, reserve >> 20);
            (if space.free < reserve { Verdict::Red } else { Verdict::Ok }, text)
        }
    };
    Check { name: "space", verdict, text }
}

async fn objects_check(site: &Offline) -> Check {
    let name = "objects";
    let (listed, live) = match (site.blocks.list().await, site.catalog.live_objects().await) {
        (Ok(listed), Ok(live)) => (listed, live),
        (Err(error), _) => return Check { name, verdict: Verdict::Red, text: error.to_string() },
        (_, Err(error)) => return Check { name, verdict: Verdict::Red, text: error.to_string() },
    };
    let sizes: HashMap<_, _> = listed.iter().map(|(key, size)| (key.object, *size)).collect();
    let missing: Vec<String> =
        live.iter().filter(|row| sizes.get(&row.object) != Some(&row.sealed_len)).map(|row| row.object.to_string()).collect();
    if missing.is_empty() {
        return Check {
            name,
            verdict: Verdict::Ok,
            text: format!("{} live blocks, all stored at their size; {} objects in all", live.len(), listed.len()),
        };
    }
    Check { name, verdict: Verdict::Red, text: format!("missing or of another size: {}; queries over them fail", missing.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_swap_is_red_and_encrypted_swap_is_not() {
        let head = "Filename\tType\tSize\tUsed\tPriority\n";
        assert_eq!(swap_check(head).verdict, Verdict::Ok);
        assert_eq!(swap_check(&format!("{head}/dev/dm-1 partition 1 0 -2\n/dev/zram0 partition 1 0 5\n")).verdict, Verdict::Ok);
        assert_eq!(swap_check(&format!("{head}/swapfile file 1 0 -2\n")).verdict, Verdict::Red);
    }
}
