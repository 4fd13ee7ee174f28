//! Fixed keys, fixed randomness, a plaintext whose bytes say where they are.

use std::sync::Mutex;

use strongroom_envelope::{Aek, Header, InfrastructureKey, KeyGuard, ObjectKind, WorkspaceSecret};
use strongroom_model::{AccountId, AekId, Epoch, KeyClass, ObjectId, TableId, WorkspaceId};
use strongroom_world::{BootTime, Rng};

pub(crate) const NOW: BootTime = BootTime(1_000);
pub(crate) const WORKSPACE: WorkspaceId = WorkspaceId::from_bytes([0x33; 16]);
pub(crate) const OTHER_WORKSPACE: WorkspaceId = WorkspaceId::from_bytes([0x34; 16]);
pub(crate) const TABLE: TableId = TableId::from_bytes([0x44; 16]);
pub(crate) const OBJECT: ObjectId = ObjectId::from_bytes([0x55; 16]);
pub(crate) const EPOCH: Epoch = Epoch { account: AccountId::from_bytes([0x22; 16]), aek: AekId::from_bytes([0x11; 16]) };

/// SplitMix64: the same bytes on every run.
#[derive(Debug)]
pub(crate) struct Seeded(Mutex<u64>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Rng for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            chunk.copy_from_slice(&z.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Gives the bytes it was made of, then panics: for keys that have to be known.
#[derive(Debug)]
pub(crate) struct Exactly(pub(crate) [u8; 32]);

impl Rng for Exactly {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0);
    }
}

pub(crate) const AEK_BYTES: [u8; 32] = *b"an account key of 32 known bytes";
pub(crate) const SECRET_BYTES: [u8; 32] = *b"the secret of a workspace, known";
pub(crate) const INFRASTRUCTURE_BYTES: [u8; 32] = *b"the provider's outer key, known.";
pub(crate) const ROOT_BYTES: [u8; 32] = *b"the provider's root key is known";

pub(crate) fn aek() -> Aek {
    Aek::generate(EPOCH.aek, &Exactly(AEK_BYTES))
}

/// What a guard is made of; a test changes one thing.
pub(crate) struct Making {
    pub(crate) epoch: Epoch,
    pub(crate) class: KeyClass,
    pub(crate) aek: [u8; 32],
    pub(crate) secret: [u8; 32],
    pub(crate) infrastructure: Option<[u8; 32]>,
    pub(crate) deadline: BootTime,
}

impl Making {
    pub(crate) fn new(double: bool) -> Self {
        Self {
            epoch: EPOCH,
            class: KeyClass::Mmk,
            aek: AEK_BYTES,
            secret: SECRET_BYTES,
            infrastructure: double.then_some(INFRASTRUCTURE_BYTES),
            deadline: BootTime::NEVER,
        }
    }

    pub(crate) fn guard(&self) -> KeyGuard {
        let aek = Aek::generate(self.epoch.aek, &Exactly(self.aek));
        let infrastructure = self.infrastructure.map(|bytes| InfrastructureKey::generate(&Exactly(bytes)));
        let guard = KeyGuard::new(self.epoch, self.class, aek, infrastructure, self.deadline);
        guard.install_workspace(WORKSPACE, WorkspaceSecret::generate(&Exactly(self.secret)));
        guard.install_workspace(OTHER_WORKSPACE, WorkspaceSecret::generate(&Exactly(self.secret)));
        guard
    }
}

pub(crate) fn guard(double: bool) -> KeyGuard {
    Making::new(double).guard()
}

pub(crate) fn header(double: bool) -> Header {
    Header {
        kind: ObjectKind::Block,
        double,
        aek: EPOCH.aek,
        account: EPOCH.account,
        workspace: WORKSPACE,
        table: TABLE,
        window_start: 1_700_000_000,
        object: OBJECT,
    }
}

pub(crate) fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at ^ (at >> 8) ^ (at >> 14)) & 0xff).unwrap()).collect()
}
