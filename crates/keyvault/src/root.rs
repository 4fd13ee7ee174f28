//! The root key's file, and one vault per directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use strongroom_envelope::Mmk;
use strongroom_world::World;
use zeroize::{Zeroize, Zeroizing};

use crate::VaultServerError;

/// Held for as long as this lives; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DirLock(#[expect(dead_code, reason = "holds the lock")] File);

impl DirLock {
    /// Takes the lock of `dir`, or says who has it.
    pub(crate) fn take(dir: &Path) -> Result<Self, VaultServerError> {
        let path = dir.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(VaultServerError::directory(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(VaultServerError::directory(&path))?;
                return Err(VaultServerError::Locked { dir: dir.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(VaultServerError::directory(&path)(error)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(VaultServerError::directory(&path))?;
        Ok(Self(file))
    }
}

/// Reads the root key, or makes one for a vault that has sealed nothing yet.
pub(crate) fn root_key(world: &World, path: &Path, sealed_before: bool) -> Result<Mmk, VaultServerError> {
    let wrong = |problem| VaultServerError::RootKey { path: path.to_owned(), problem };
    match world.fs.read(path, 64) {
        Ok(bytes) => {
            let bytes = Zeroizing::new(bytes);
            refuse_open_mode(path)?;
            let mut root: [u8; 32] = bytes.as_slice().try_into().map_err(|_| wrong("it must have exactly 32 bytes"))?;
            let key = Mmk::from_bytes(root);
            root.zeroize();
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && sealed_before => {
            Err(wrong("it is missing, but there are keys sealed under it; bring the file back, a new one opens nothing"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                world.fs.create_dir_all(parent).map_err(VaultServerError::directory(parent))?;
            }
            let root = Mmk::generate(&*world.rng);
            root.expose(|bytes| world.fs.write_atomic(path, bytes)).map_err(VaultServerError::directory(path))?;
            Ok(root)
        }
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(wrong("it must have exactly 32 bytes")),
        Err(error) => Err(VaultServerError::directory(path)(error)),
    }
}

fn refuse_open_mode(path: &Path) -> Result<(), VaultServerError> {
    let mode = std::fs::metadata(path).map_err(VaultServerError::directory(path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(VaultServerError::RootKey { path: path.to_owned(), problem: "others may read it; set its mode to 0600" });
    }
    Ok(())
}
