//! Sealing and opening a block.

use std::hint::black_box;

use criterion::Criterion;
use strongroom_benches::{CpuTime, clock};
use strongroom_envelope::{Aek, Header, InfrastructureKey, KeyGuard, ObjectKind, WorkspaceSecret, open, seal};
use strongroom_model::{AccountId, AekId, Epoch, KeyClass, ObjectId, TableId, WorkspaceId};
use strongroom_world::{BootTime, World};

const LEN: usize = 8 << 20;
const NOW: BootTime = BootTime(1);

fn guard(world: &World, workspace: WorkspaceId, double: bool) -> KeyGuard {
    let rng = world.rng.as_ref();
    let (ms, random) = world.id_seed();
    let epoch = Epoch { account: AccountId::mint(ms, random), aek: AekId::mint(ms, random) };
    let infrastructure = double.then(|| InfrastructureKey::generate(rng));
    let guard = KeyGuard::new(epoch, KeyClass::Mmk, Aek::generate(epoch.aek, rng), infrastructure, BootTime::NEVER);
    guard.install_workspace(workspace, WorkspaceSecret::generate(rng));
    guard
}

pub(crate) fn seal_block(criterion: &mut Criterion<CpuTime>) {
    let world = World::real();
    let rng = world.rng.as_ref();
    let (ms, random) = world.id_seed();
    let (workspace, table, object) = (WorkspaceId::mint(ms, random), TableId::mint(ms, random), ObjectId::mint(ms, random));
    let mut plain = vec![0; LEN];
    rng.fill(&mut plain);
    let mut group = criterion.benchmark_group("seal_block");
    group.throughput(clock::bytes(LEN));
    for (double, name) in [(false, "aes_256_gcm"), (true, "double")] {
        let guard = guard(&world, workspace, double);
        let epoch = guard.epoch();
        let header =
            Header { kind: ObjectKind::Block, double, aek: epoch.aek, account: epoch.account, workspace, table, window_start: 0, object };
        let sealed = seal(&guard, NOW, rng, &header, &plain).expect("sealed");
        group.bench_function(format!("{name}/8MiB"), |bench| bench.iter(|| seal(&guard, NOW, rng, &header, black_box(&plain))));
        group.bench_function(format!("{name}_open/8MiB"), |bench| bench.iter(|| open(&guard, NOW, &header, black_box(&sealed))));
    }
    group.finish();
}
