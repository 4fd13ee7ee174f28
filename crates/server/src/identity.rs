//! The rooms that say who there is: directory, tokens, services, rights; put together.

use std::sync::Arc;

use strongroom_catalog::Catalog;
use strongroom_control::audit::Audit;
use strongroom_control::{Directory, Principals, Rights, Roles, Services, TokenReader, Tokens, Workspaces};
use strongroom_envelope::Mmk;
use strongroom_world::World;

use crate::issuers::Issuers;
use crate::{Config, ServeError};

/// Who there is, and how they show it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) directory: Directory,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) services: Services,
    pub(crate) rights: Rights,
}

impl Identity {
    pub(crate) async fn open(
        config: &Config,
        (world, catalog, mmk): (&World, &Catalog, &Arc<Mmk>),
        (roles, principals): (&Arc<Roles>, &Arc<Principals>),
        workspaces: &Workspaces,
        audit: &Arc<Audit>,
    ) -> Result<Self, ServeError> {
        config.directory.check().map_err(ServeError::start("directory"))?;
        let region = workspaces.region().await.map_err(ServeError::start("directory"))?;
        let directory = Directory::open(world.clone(), catalog.clone(), &config.control, config.directory.clone(), region);
        let directory = directory.await.map_err(ServeError::start("directory"))?;
        let tokens = Tokens::open(world.clone(), catalog.clone(), Arc::clone(mmk), &config.directory);
        let tokens = Arc::new(tokens.await.map_err(ServeError::start("access tokens"))?);
        let services = Services::new(world.clone(), catalog.clone(), Arc::clone(principals), &config.directory);
        let rights = Rights::new(world.clone(), catalog.clone(), Arc::clone(roles), Arc::clone(principals));
        tokens.audited_by(audit.scribe());
        services.audited_by(audit.scribe());
        rights.audited_by(audit.scribe());
        let mut readers: Vec<Arc<dyn TokenReader>> = vec![Arc::clone(&tokens) as _];
        if !config.directory.issuers.is_empty() {
            readers.push(Arc::new(Issuers::open(config, world, catalog, roles).map_err(ServeError::start("issuers"))?));
        }
        principals.believe(readers);
        Ok(Self { directory, tokens, services, rights })
    }
}
