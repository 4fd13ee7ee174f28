//! Whole objects: one call seals, one call opens.
//!
//! One layer: `header 96 ‖ salt 24 ‖ commitment 32 ‖ chunks`. Two layers: the same around `salt ‖ commitment ‖ chunks` of the
//! inner one; both contexts are the one header.

use strongroom_world::{BootTime, Rng};

use crate::aead::NotAuthentic;
use crate::chunked::{ChunkCipher, PREAMBLE_LEN, always, chunks_len, open_layer, seal_layer};
use crate::guard::Keys;
use crate::key::Key32;
use crate::secret::Purpose;
use crate::{GuardError, Header, KeyGuard, ObjectKind, OpenError, SealError, aead};

/// Seals `plain` as the object that `header` names (kind block or cell). With `header.double` the guard must hold an
/// infrastructure key.
///
/// # Errors
/// [`SealError::Guard`] if the keys may not be used, [`SealError::WrongHeader`] if the header is of another epoch or kind.
pub fn seal(guard: &KeyGuard, now: BootTime, rng: &dyn Rng, header: &Header, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let input = InputKey::of(header.kind).ok_or(SealError::WrongHeader { object: header.object })?;
    seal_guarded(guard, now, rng, header, input, plain)
}

/// Opens a whole object.
///
/// # Errors
/// [`OpenError`]: nothing of an object is given out unless all of it is authentic and in its place.
pub fn open(guard: &KeyGuard, now: BootTime, expected: &Header, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let input = InputKey::of(expected.kind).ok_or(OpenError::WrongPlace { object: expected.object })?;
    open_guarded(guard, now, expected, input, sealed)
}

/// How long an object with `plain_len` bytes of plaintext is once sealed, in bytes.
#[must_use]
pub fn sealed_len(plain_len: u64, double: bool) -> u64 {
    let layer = |plain| (PREAMBLE_LEN as u64).saturating_add(chunks_len(plain));
    let inner = layer(plain_len);
    (Header::LEN as u64).saturating_add(if double { layer(inner) } else { inner })
}

/// Which of a guard's keys an object's DEK is derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputKey {
    /// The block key of the header's workspace: also for what is made of blocks.
    Block,
    /// The cell key of the header's workspace; the purpose key if it has none.
    Cell,
    /// The purpose key: a WAL segment, which holds rows of many workspaces.
    Wal,
    /// The purpose key, though the header names a workspace: the cell of its secret, which its own keys hang on.
    WorkspaceSecret,
}

impl InputKey {
    /// `None` for kinds that a guard's keys do not seal as whole objects.
    pub(crate) const fn of(kind: ObjectKind) -> Option<Self> {
        match kind {
            ObjectKind::Block | ObjectKind::Filters => Some(Self::Block),
            ObjectKind::Cell => Some(Self::Cell),
            _ => None,
        }
    }

    pub(crate) fn select<'k>(self, keys: &'k Keys, header: &Header) -> Result<&'k Key32, GuardError> {
        match self {
            Self::Block => keys.block(header.workspace),
            Self::Cell => keys.cell(header.workspace),
            Self::Wal => Ok(keys.purpose(Purpose::Wal)),
            Self::WorkspaceSecret => Ok(keys.purpose(Purpose::Cell)),
        }
    }
}

pub(crate) fn seal_guarded(
    guard: &KeyGuard,
    now: BootTime,
    rng: &dyn Rng,
    header: &Header,
    input: InputKey,
    plain: &[u8],
) -> Result<Vec<u8>, SealError> {
    if header.epoch() != guard.epoch() {
        return Err(SealError::WrongHeader { object: header.object });
    }
    let context = header.to_bytes();
    let (inner, outer) = guard.with(now, |keys| -> Result<_, GuardError> {
        let inner = ChunkCipher::<aead::Inner>::create(input.select(keys, header)?, rng, &context);
        let outer = if header.double { Some(ChunkCipher::<aead::Outer>::create(keys.infrastructure()?, rng, &context)) } else { None };
        Ok((inner, outer))
    })?;
    let allowed = || guard.still_alive();
    let mut out = with_capacity(sealed_len(plain.len() as u64, header.double));
    out.extend_from_slice(&context);
    match outer {
        None => seal_layer(&inner, plain, &mut out, &allowed)?,
        Some(outer) => {
            let mut middle = with_capacity(sealed_len(plain.len() as u64, false));
            seal_layer(&inner, plain, &mut middle, &allowed)?;
            seal_layer(&outer, &middle, &mut out, &allowed)?;
        }
    }
    Ok(out)
}

pub(crate) fn open_guarded(
    guard: &KeyGuard,
    now: BootTime,
    expected: &Header,
    input: InputKey,
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let object = expected.object;
    guard.check(now)?;
    if expected.epoch() != guard.epoch() {
        return Err(OpenError::WrongPlace { object });
    }
    expected.expect_in(sealed)?;
    let (context, layer) = sealed.split_at(Header::LEN);
    let allowed = || guard.still_alive();
    let open_inner = |layer: &[u8]| {
        open_layer::<aead::Inner>(
            object,
            layer,
            |preamble| guard.with(now, |keys| reopen(input.select(keys, expected)?, preamble, context, expected)),
            &allowed,
        )
    };
    if !expected.double {
        return open_inner(layer);
    }
    let middle = open_layer::<aead::Outer>(
        object,
        layer,
        |preamble| guard.with(now, |keys| reopen(keys.infrastructure()?, preamble, context, expected)),
        &allowed,
    )?;
    open_inner(&middle)
}

/// The cipher a preamble was made with.
pub(crate) fn reopen<A: aead::ChunkAead>(
    input: &Key32,
    preamble: &[u8; PREAMBLE_LEN],
    context: &[u8],
    expected: &Header,
) -> Result<ChunkCipher<A>, OpenError> {
    ChunkCipher::reopen(input, preamble, context).map_err(|NotAuthentic| OpenError::NotCommitted { object: expected.object })
}

/// Seals one layer under a key that no guard holds (the MMK's).
pub(crate) fn seal_unguarded(input: &Key32, rng: &dyn Rng, header: &Header, plain: &[u8]) -> Vec<u8> {
    let context = header.to_bytes();
    let mut out = with_capacity(sealed_len(plain.len() as u64, false));
    out.extend_from_slice(&context);
    seal_layer(&ChunkCipher::<aead::Inner>::create(input, rng, &context), plain, &mut out, &always).expect("nobody forbids it");
    out
}

/// Opens what [`seal_unguarded`] sealed.
pub(crate) fn open_unguarded(input: &Key32, expected: &Header, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    expected.expect_in(sealed)?;
    let (context, layer) = sealed.split_at(Header::LEN);
    open_layer::<aead::Inner>(expected.object, layer, |preamble| reopen(input, preamble, context, expected), &always)
}

/// Room for `len` bytes; a plaintext in memory never makes a length that does not fit.
pub(crate) fn with_capacity(len: u64) -> Vec<u8> {
    Vec::with_capacity(usize::try_from(len).unwrap_or(0))
}
