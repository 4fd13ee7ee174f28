//! The vault in memory.

use std::sync::Arc;

use async_trait::async_trait;
use strongroom_keys::provider::memory::{MemoryVault, Mood};
use strongroom_keys::provider::{KekRef, KeyVault};
use strongroom_world::World;
use strongroom_world::sim::SimWorld;

use super::conformance::{Rig, conforms};

struct Memory {
    world: World,
    vault: MemoryVault,
    other: MemoryVault,
}

#[async_trait]
impl Rig for Memory {
    fn world(&self) -> World {
        self.world.clone()
    }
    fn client(&self) -> Arc<dyn KeyVault> {
        Arc::new(self.vault.clone())
    }
    fn other(&self) -> Arc<dyn KeyVault> {
        Arc::new(self.other.clone())
    }
    async fn rotate(&self) -> bool {
        self.vault.rotate();
        true
    }
    async fn take_away(&self) -> bool {
        self.vault.set(Mood::Denies("KeyDisabled"));
        true
    }
    async fn give_back(&self) {
        self.vault.set(Mood::Well);
    }
    async fn stop(&mut self) {
        self.vault.set(Mood::Silent("ConnectionRefused"));
    }
    async fn start(&mut self) {
        self.vault.set(Mood::Well);
    }
}

#[tokio::test]
async fn the_vault_in_memory_conforms() {
    let world = SimWorld::new(7).world();
    let vault = |name| MemoryVault::new(world.clone(), KekRef::new("https://vault.test", name, None).unwrap());
    conforms(&mut Memory { world: world.clone(), vault: vault("payroll"), other: vault("other") }).await;
}
