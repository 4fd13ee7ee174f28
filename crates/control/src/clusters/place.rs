//! Where resources lie: subscription, resource group, name; and their paths in Azure's form.

use strongroom_catalog::{ClusterRow, WorkspaceRow};

use crate::ControlError;

const PROVIDER: &str = "Microsoft.OperationalInsights";

/// Where a resource lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The subscription.
    pub subscription: String,
    /// The resource group.
    pub resource_group: String,
    /// The name in it.
    pub name: String,
}

impl Place {
    /// Whether something may be made there: subscription and resource group are names that a path can say.
    ///
    /// # Errors
    /// [`ControlError::Invalid`].
    pub fn check(&self) -> Result<(), ControlError> {
        check_part("subscription", &self.subscription)?;
        check_part("resource group", &self.resource_group)
    }

    /// The path of a cluster there.
    #[must_use]
    pub fn cluster_path(&self) -> String {
        self.path("clusters")
    }

    /// The path of a workspace there.
    #[must_use]
    pub fn workspace_path(&self) -> String {
        self.path("workspaces")
    }

    fn path(&self, kind: &str) -> String {
        let Self { subscription, resource_group, name } = self;
        format!("/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.OperationalInsights/{kind}/{name}")
    }

    /// Where a cluster lies.
    #[must_use]
    pub fn of_cluster(row: &ClusterRow) -> Self {
        Self { subscription: row.subscription.clone(), resource_group: row.resource_group.clone(), name: row.name.clone() }
    }

    /// Where a workspace lies.
    #[must_use]
    pub fn of_workspace(row: &WorkspaceRow) -> Self {
        Self { subscription: row.subscription.clone(), resource_group: row.resource_group.clone(), name: row.name.to_string() }
    }

    /// Reads the path of a cluster; case of the fixed parts does not count.
    #[must_use]
    pub fn read_cluster_path(path: &str) -> Option<Self> {
        Self::read(path, PROVIDER, "clusters")
    }

    /// Reads the path of a workspace; case of the fixed parts does not count.
    #[must_use]
    pub fn read_workspace_path(path: &str) -> Option<Self> {
        Self::read(path, PROVIDER, "workspaces")
    }

    /// Reads the path of a resource of that kind of that provider.
    pub(crate) fn read(path: &str, of: &str, wanted: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let &[s, subscription, g, resource_group, p, provider, kind, name] = parts.as_slice() else {
            return None;
        };
        let fixed = [(s, "subscriptions"), (g, "resourceGroups"), (p, "providers"), (provider, of), (kind, wanted)];
        let known = fixed.iter().all(|(found, wanted)| found.eq_ignore_ascii_case(wanted));
        let whole = [subscription, resource_group, name].iter().all(|part| !part.is_empty());
        (known && whole).then(|| Self {
            subscription: subscription.to_owned(),
            resource_group: resource_group.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// Azure's rule for resource groups, and no more is allowed of a subscription: what a path takes apart, a header refuses or a screen hides
/// is in no name.
pub(crate) fn check_part(what: &'static str, name: &str) -> Result<(), ControlError> {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
    if name.is_empty() || name.len() > 90 || !name.chars().all(fine) || name.ends_with('.') {
        let why = "1 to 90 letters, digits and any of -_.() are allowed, and no full stop at the end";
        return Err(ControlError::Invalid { what, why });
    }
    Ok(())
}
