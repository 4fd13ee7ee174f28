//! A vault's directory: one sealed file that says everything, one sealed file per private key.
//!
//! The order makes crashes harmless: a private key is on disk before the state names it, and the state calls it doomed
//! before it is destroyed. Only what is doomed is destroyed: a key file that no state knows may be all that is left of a key
//! after somebody put back an old state, so it stays and is told of.

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
/// The row that backups of keys are sealed for.
const BACKUP_ROW: ObjectId = ObjectId::from_bytes(*b"vault/v1/backup\0");
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
        State::read(&plain).map(Some).map_err(|problem| VaultServerError::Corrupt { path, problem })
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

    /// Seals what leaves the vault to come back to it.
    pub(crate) fn seal_backup(&self, plain: &[u8]) -> Vec<u8> {
        self.mmk.seal_cell(&*self.world.rng, BACKUP_ROW, plain)
    }

    /// Opens what [`seal_backup`](Self::seal_backup) sealed under the same root key.
    pub(crate) fn open_backup(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.mmk.open_cell(BACKUP_ROW, sealed).map(Zeroizing::new).ok()
    }

    /// Destroys a private key: overwritten, then unlinked.
    pub(crate) fn destroy(&self, version: VersionId) -> io::Result<()> {
        self.erase(&self.key_path(version))?;
        self.world.fs.sync_dir(&files::keys(&self.dir))
    }

    /// Ends what a crash broke off: destroys what is doomed, removes what was half written.
    pub(crate) fn sweep(&self, state: &mut State) -> io::Result<()> {
        for version in std::mem::take(&mut state.doomed) {
            self.erase(&self.key_path(version))?;
        }
        let dir = files::keys(&self.dir);
        let entries = match self.world.fs.read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let named: std::collections::HashSet<VersionId> = state.versions().map(|version| version.id).collect();
        for entry in entries {
            let id = entry.name.strip_suffix(SUFFIX).and_then(VersionId::parse);
            if entry.name.strip_suffix(".tmp").is_some() {
                self.erase(&dir.join(&entry.name))?;
            } else if !id.is_some_and(|id| named.contains(&id)) {
                tracing::warn!(
                    file = entry.name,
                    "no key names this private key: a creation that a crash broke off, or an old state was put back"
                );
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

#[cfg(test)]
mod tests {
    use strongroom_world::sim::SimWorld;
    use uuid::Uuid;

    use super::*;
    use crate::config::VaultConfig;
    use crate::crypto::{Base64Url, Public, RsaPublic};
    use crate::key::{Changes, Version};

    const DIR: &str = "/vault";

    fn store(world: &World) -> Store {
        Store::new(world.clone(), Path::new(DIR), Path::new("/vault/root.key"), Mmk::from_bytes([5; 32]))
    }

    fn version(id: u8, now: i64) -> Version {
        let public = Public::Rsa(RsaPublic { n: Base64Url(vec![id; 256]), e: Base64Url(vec![1, 0, 1]) });
        Version::new(VersionId::parse(&hex::encode([id; 16])).unwrap(), public, now, &Changes::default()).unwrap()
    }

    fn secret(version: &Version) -> Vec<u8> {
        [b"private ".as_slice(), version.id.to_string().as_bytes()].concat()
    }

    /// What the vault does with two keys, step by step as it does it. Gives how far it came.
    fn script(store: &Store) -> io::Result<()> {
        let config = VaultConfig::default();
        let mut state = State::new(Uuid::nil(), [0; 32]);
        store.save(&state)?;
        for (name, id) in [("a", 1), ("b", 2), ("a", 3)] {
            let new = version(id, i64::from(id));
            store.save_key(new.id, &secret(&new))?;
            state.add(name, new, &config).unwrap();
            store.save(&state)?;
        }
        state.delete("a", 10).unwrap();
        assert_eq!(state.doomed.len(), 2, "soft delete is off");
        store.save(&state)?;
        for version in std::mem::take(&mut state.doomed) {
            store.destroy(version)?;
        }
        let next = version(4, 11);
        store.save_key(next.id, &secret(&next))?;
        state.add("c", next, &config).unwrap();
        store.save(&state)
    }

    #[test]
    fn a_power_cut_at_any_call_leaves_a_state_whose_keys_all_open() {
        let quiet = SimWorld::new(3);
        quiet.world().fs.create_dir_all(Path::new(DIR)).unwrap();
        let before = quiet.fs().ops();
        script(&store(&quiet.world())).unwrap();
        let calls = quiet.fs().ops() - before;
        assert!(calls > 40, "{calls}");
        let mut seen = std::collections::BTreeSet::new();
        for cut in 0..calls {
            let sim = SimWorld::new(cut);
            sim.world().fs.create_dir_all(Path::new(DIR)).unwrap();
            sim.world().fs.sync_dir(Path::new("/")).unwrap();
            sim.fs().power_cut_after(cut);
            script(&store(&sim.world())).unwrap_err();
            sim.fs().power_cut();
            let store = store(&sim.world());
            let Some(mut state) = store.load().unwrap() else {
                seen.insert("nothing".to_owned());
                continue;
            };
            let doomed = state.doomed.clone();
            store.sweep(&mut state).unwrap();
            for version in state.versions() {
                assert_eq!(*store.key(version.id).unwrap(), secret(version), "cut {cut}");
            }
            let left = sim.world().fs.read_dir(&files::keys(Path::new(DIR))).unwrap_or_default();
            let left: Vec<VersionId> =
                left.iter().map(|entry| VersionId::parse(entry.name.strip_suffix(SUFFIX).unwrap()).unwrap()).collect();
            assert!(left.iter().all(|id| !doomed.contains(id)), "cut {cut}: what was doomed is destroyed");
            assert!(left.len() <= state.versions().count() + 1, "cut {cut}: at most one key whose creation was broken off");
            seen.insert(state.keys.keys().cloned().collect::<Vec<_>>().join(" "));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["", "a", "a b", "b", "b c", "nothing"], "each step was cut");
    }

    #[test]
    fn nothing_sealed_shows_and_nothing_changed_opens() {
        let sim = SimWorld::new(4);
        sim.world().fs.create_dir_all(Path::new(DIR)).unwrap();
        let store = store(&sim.world());
        script(&store).unwrap();
        for (path, bytes) in sim.fs().files() {
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!holds(b"private ") && !holds(b"enabled"), "{}", path.display());
        }
        let path = files::state(Path::new(DIR));
        let len = sim.world().fs.metadata(&path).unwrap().len;
        for at in [0, 40, 120, len / 2, len - 1] {
            sim.fs().flip(&path, at, 1).unwrap();
            assert!(store.load().is_err(), "byte {at}");
            sim.fs().flip(&path, at, 1).unwrap();
        }
        store.load().unwrap().unwrap();
        let state = store.load().unwrap().unwrap();
        let id = state.versions().next().unwrap().id;
        sim.fs().flip(&store.key_path(id), 160, 1).unwrap();
        assert!(store.key(id).is_err());
        let other = Store::new(sim.world(), Path::new(DIR), Path::new("/vault/root.key"), Mmk::from_bytes([6; 32]));
        assert!(matches!(other.load(), Err(VaultServerError::RootKey { .. })));
    }
}
