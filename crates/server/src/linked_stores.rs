//! Where storage accounts may keep their objects: below directories of the configuration, or below this server's own.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use strongroom_control::ControlError;
use strongroom_control::contents::Stores;
use strongroom_model::ObjectId;
use strongroom_store::LocalObjects;
use strongroom_world::World;

/// Storage accounts that customers register, and link to workspaces (`docs/azure.md`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Directories below which a storage account's `file://` address may lie; none: accounts lie in the data directory.
    pub roots: Vec<PathBuf>,
}

/// Opens directories, and no others than may be.
#[derive(Clone, Debug)]
pub(crate) struct LinkedStores {
    pub(crate) world: World,
    /// Accounts without an address have a directory each below this.
    pub(crate) own: PathBuf,
    pub(crate) roots: Vec<PathBuf>,
}

impl LinkedStores {
    /// The directory that an address means, if it lies below a root: as it is written, and as it is once links are followed.
    fn directory(&self, url: &str) -> Result<PathBuf, ControlError> {
        let wrong = |why| ControlError::Invalid { what: "properties.backingUrl", why };
        let given = url::Url::parse(url).ok().filter(|url| url.scheme() == "file" && url.host().is_none());
        let path = given.and_then(|url| url.to_file_path().ok()).ok_or(wrong("an address like file:///srv/strongroom/NAME is expected"))?;
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !plain || !self.roots.iter().any(|root| path.starts_with(root) && path != *root) {
            return Err(wrong("it does not lie below a directory that this server's configuration allows ([storage] roots)"));
        }
        let real = real(&path).ok_or(wrong("its directory cannot be looked at"))?;
        let allowed = self.roots.iter().filter_map(|root| std::fs::canonicalize(root).ok()).any(|root| real.starts_with(root));
        if !allowed {
            return Err(wrong("it leads out of the directories that this server's configuration allows ([storage] roots)"));
        }
        Ok(path)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&this)).await;
        done.unwrap_or(Err(ControlError::Damaged { what: "the task that looks at a directory" }))
    }
}

/// What a path is once links are followed, as far as it is there.
fn real(path: &Path) -> Option<PathBuf> {
    let there = path.ancestors().find(|part| part.symlink_metadata().is_ok())?;
    let rest = path.strip_prefix(there).ok()?;
    Some(std::fs::canonicalize(there).ok()?.join(rest))
}

#[async_trait]
impl Stores for LinkedStores {
    async fn check(&self, url: &str) -> Result<String, ControlError> {
        let url = url.to_owned();
        let path = self.blocking(move |this| this.directory(&url)).await?;
        let told = url::Url::from_directory_path(&path).map_err(|()| ControlError::Damaged { what: "a directory's address" })?;
        Ok(told.as_str().trim_end_matches('/').to_owned())
    }

    async fn open(&self, account: ObjectId, url: Option<&str>) -> Result<Arc<dyn ObjectStore>, ControlError> {
        let url = url.map(str::to_owned);
        self.blocking(move |this| {
            let path = match url {
                Some(url) => this.directory(&url)?,
                None => this.own.join(account.to_string()),
            };
            Ok(LocalObjects::open(this.world.clone(), path)? as Arc<dyn ObjectStore>)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_lies_below_a_root_whatever_its_spelling_and_wherever_links_lead() {
        let dir = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(dir.path()).unwrap();
        let root = base.join("allowed");
        std::fs::create_dir_all(root.join("there")).unwrap();
        std::fs::create_dir_all(base.join("secret")).unwrap();
        std::os::unix::fs::symlink(base.join("secret"), root.join("out")).unwrap();
        std::os::unix::fs::symlink(root.join("there"), root.join("in")).unwrap();
        let stores = LinkedStores { world: World::real(), own: base.join("own"), roots: vec![root.clone()] };
        let url = |path: &Path| format!("file://{}", path.display());
        for good in ["new", "there", "in", "there/deeper"] {
            assert_eq!(stores.check(&url(&root.join(good))).await.unwrap(), url(&root.join(good)), "{good}");
        }
        for bad in [
            url(&root),
            url(&base.join("secret")),
            url(&root.join("out")),
            url(&root.join("out/deeper")),
            format!("{}/../secret", url(&root)),
            format!("{}/%2e%2e/secret", url(&root)),
            url(&base.join("allowed-not")),
            format!("file://host{}/x", root.display()),
            format!("http://{}/x", root.display()),
            "s3://bucket/x".to_owned(),
            root.join("x").display().to_string(),
        ] {
            assert!(stores.check(&bad).await.is_err(), "{bad}");
            assert!(stores.open(ObjectId::NIL, Some(&bad)).await.is_err(), "{bad}");
        }
        assert!(!base.join("secret/.staging").exists());
        stores.open(ObjectId::NIL, None).await.unwrap();
        assert!(base.join("own").join(ObjectId::NIL.to_string()).is_dir());
        let none = LinkedStores { roots: Vec::new(), ..stores };
        assert!(none.check(&url(&root.join("new"))).await.is_err());
    }
}
