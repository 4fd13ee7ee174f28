//! A vault's directory: one sealed file that says everything, one sealed file per private key.
//!
//! The order makes crashes harmless: a private key is on disk before the state names it, and the state has forgotten it
//! before it is destroyed. What no state names is destroyed at the next start.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use strongroom_envelope::Mmk;
use strongroom_model::ObjectId;
use strongroom_world::World;
use zeroize::Zeroizing;

use crate::VaultServerError;
use crate::files;
use crate::key::VersionId;
use crate::refusal::Refusal;
use crate::state::State;

/// The rows that the state and the CA's key are sealed for. A version's row is random and can be neither.
const STATE_ROW: ObjectId = ObjectId::from_bytes(*b"vault/v1/state\0\0");
const CA_ROW: ObjectId = ObjectId::from_bytes(*b"vault/v1/ca\0\0\0\0\0");
/// More than the bounds of a configuration let a state grow to.
const STATE_BYTES_MAX: u64 = 256 << 20;
const KEY_BYTES_MAX: u64 = 64 << 10;
const SUFFIX: &str = ".key";

#[derive(Debug)]
pub(crate) struct Store {
    world: World,
    dir: PathBuf,
    root: PathBuf,
    mmk: Mmk,
}

impl Store {
    pub(crate) fn new(world: World, dir: &Path, root: &Path, mmk: Mmk) -> Self {
        Self { world, dir: dir.to_owned(), root: root.to_owned(), mmk }
    }

    /// The state as it was last saved; `None` in a new directory.
    pub(crate) fn load(&self) -> Result<Option<State>, VaultServerError> {
        let path = files::state(&self.dir);
        let sealed = match self.world.fs.read(&path, STATE_BYTES_MAX) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(VaultServerError::directory(&path)(error)),
        };
        let plain = self.mmk.open_cell(STATE_ROW, &sealed).map_err(|_| VaultServerError::RootKey {
            path: self.root.clone(),
            problem: "it does not open this vault: either it is another vault's root key, or state.sealed was changed",
        })?;
        let state: State = serde_json::from_slice(&plain)
            .map_err(|_| VaultServerError::Corrupt { path: path.clone(), problem: "another build wrote it" })?;
        if state.format != State::FORMAT {
            return Err(VaultServerError::Corrupt { path, problem: "a newer build wrote it" });
        }
        Ok(Some(state))
    }

    /// Replaces the state, durably: a crash leaves the old one or the new one.
    pub(crate) fn save(&self, state: &State) -> io::Result<()> {
        let plain = serde_json::to_vec(state).expect("a state can be written as JSON");
        let sealed = self.mmk.seal_cell(&*self.world.rng, STATE_ROW, &plain);
        self.world.fs.write_atomic(&files::state(&self.dir), &sealed)
    }

    /// Writes a private key, durably.
    pub(crate) fn save_key(&self, version: VersionId, pkcs8: &[u8]) -> io::Result<()> {
        let dir = files::keys(&self.dir);
        self.world.fs.create_dir_all(&dir)?;
        self.world.fs.sync_dir(&self.dir)?;
        let sealed = self.mmk.seal_cell(&*self.world.rng, version.row(), pkcs8);
        self.world.fs.write_atomic(&self.key_path(version), &sealed)
    }

    /// Opens a private key for one use.
    pub(crate) fn key(&self, version: VersionId) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let unreadable = |what: &str| {
            tracing::error!(%version, what, "a private key cannot be used");
            Refusal::internal("the private key of this version cannot be read")
        };
        let sealed = self.world.fs.read(&self.key_path(version), KEY_BYTES_MAX).map_err(|_| unreadable("read"))?;
        self.mmk.open_cell(version.row(), &sealed).map(Zeroizing::new).map_err(|_| unreadable("open"))
    }

    /// Destroys a private key: overwritten, then unlinked.
    pub(crate) fn destroy(&self, version: VersionId) -> io::Result<()> {
        self.erase(&self.key_path(version))?;
        self.world.fs.sync_dir(&files::keys(&self.dir))
    }

    /// Destroys private keys that no state names: what a crash left between two steps.
    pub(crate) fn sweep(&self, state: &State) -> io::Result<()> {
        let dir = files::keys(&self.dir);
        let entries = match self.world.fs.read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let named: std::collections::HashSet<VersionId> = state.versions().map(|version| version.id).collect();
        for entry in entries {
            let id = entry.name.strip_suffix(SUFFIX).and_then(VersionId::parse);
            let left_over = entry.name.strip_suffix(".tmp").is_some() || id.is_some_and(|id| !named.contains(&id));
            if left_over {
                tracing::info!(file = entry.name, "a private key that no key names was destroyed");
                self.erase(&dir.join(&entry.name))?;
            }
        }
        self.world.fs.sync_dir(&dir)
    }

    /// The CA's key, if there is one.
    pub(crate) fn ca_key(&self) -> Result<Option<Zeroizing<Vec<u8>>>, VaultServerError> {
        let path = files::ca_key(&self.dir);
        match self.world.fs.read(&path, KEY_BYTES_MAX) {
            Ok(sealed) => match self.mmk.open_cell(CA_ROW, &sealed) {
                Ok(plain) => Ok(Some(Zeroizing::new(plain))),
                Err(_) => Err(VaultServerError::Corrupt { path, problem: "it does not open under the root key" }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(VaultServerError::directory(&path)(error)),
        }
    }

    pub(crate) fn save_ca_key(&self, pkcs8: &[u8]) -> Result<(), VaultServerError> {
        let path = files::ca_key(&self.dir);
        let sealed = self.mmk.seal_cell(&*self.world.rng, CA_ROW, pkcs8);
        self.world.fs.write_atomic(&path, &sealed).map_err(VaultServerError::directory(&path))
    }

    fn key_path(&self, version: VersionId) -> PathBuf {
        files::keys(&self.dir).join(format!("{version}{SUFFIX}"))
    }

    fn erase(&self, path: &Path) -> io::Result<()> {
        let file = match self.world.fs.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let zeros = vec![0; usize::try_from(file.len()?.min(KEY_BYTES_MAX)).expect("64 KiB")];
        file.write_all_at(&[IoSlice::new(&zeros)], 0)?;
        file.sync_all()?;
        drop(file);
        self.world.fs.remove_file(path)
    }
}
