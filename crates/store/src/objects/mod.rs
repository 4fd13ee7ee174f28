//! The local object store.
use std::path::PathBuf;
use std::sync::Arc;
use strongroom_world::World;
/// local
#[derive(Debug)]
pub struct LocalObjects;
impl LocalObjects {
    /// open
    pub fn open(world: World, dir: PathBuf) -> std::io::Result<Arc<Self>> { todo!() }
}
