//! Who asks: a bearer token becomes a caller, or nothing does; and where they ask for something.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use strongroom_catalog::{ClusterRow, WorkspaceRow};
use strongroom_control::{Caller, ControlError, Place, Refusal, ScopePath, action};
use strongroom_model::{ErrorKind, WorkspaceId};

use super::error::ApiError;
use super::{App, control_error};

/// An authenticated caller, taken from `Authorization: Bearer …`; and the place that the request's path names, for rights to hold at:
/// a resource of the control plane, else everything.
#[derive(Debug)]
pub(crate) struct Who(pub(crate) Caller, pub(crate) ScopePath);

/// A place that the path does not name by itself; see `arm::authorization`.
#[derive(Clone, Debug)]
pub(crate) struct AskedAt(pub(crate) Option<ScopePath>);

impl FromRequestParts<App> for Who {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers)?;
        let caller = app.site.principals.authenticate(token).await.map_err(|error| control_error(&error))?;
        Ok(Self(caller, place(parts.uri.path())))
    }
}

/// The token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| unauthenticated("the header Authorization: Bearer TOKEN is missing"))?;
    if values.next().is_some() {
        return Err(unauthenticated("there is more than one Authorization header"));
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(|| unauthenticated("the Authorization header is not of the form Bearer TOKEN"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthenticated("only the Bearer scheme is known here"));
    }
    Ok(token.trim())
}

fn unauthenticated(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Unauthenticated, "AuthenticationFailed", message)
}

/// The place of a request of the control plane: the resource its path names, of a list or an action that which it belongs to.
fn place(path: &str) -> ScopePath {
    let mut steps = Vec::new();
    for step in path.trim_matches('/').split('/') {
        let decoded = percent_decode_str(step).decode_utf8().ok().filter(|decoded| !decoded.contains('/'));
        steps.push(decoded.map_or_else(|| step.to_owned(), std::borrow::Cow::into_owned));
    }
    if !steps[0].eq_ignore_ascii_case("subscriptions") {
        return ScopePath::root();
    }
    if let Some(at) = steps.iter().rposition(|step| step.eq_ignore_ascii_case("providers")) {
        let below = steps.len().saturating_sub(at + 2);
        let named = below - below % 2;
        steps.truncate(if named == 0 { at } else { at + 2 + named });
    }
    ScopePath::of(&steps.join("/"))
}

/// The workspace that `name` means to a caller, if it may ask questions there; see [`Who::questions`].
pub(super) async fn questions(app: &App, caller: &Caller, name: &str) -> Result<WorkspaceId, ControlError> {
    let row = app.site.workspaces.find(caller, name).await?;
    let at = ScopePath::workspace(&row);
    if caller.may_within(action::QUERY, &at) || caller.may(action::QUERY_APPROVED, &at) {
        return Ok(row.id);
    }
    Err(caller.forbidden(action::QUERY, &at))
}

impl Who {
    /// The workspace that `name` (a GUID or a name) means to this caller, if it may do `action` there.
    /// One that is absent and one that is another's look alike.
    pub(crate) async fn workspace(&self, app: &App, name: &str, action: &str) -> Result<WorkspaceId, ApiError> {
        app.site.workspaces.resolve(&self.0, name, action).await.map(|row| row.id).map_err(|error| control_error(&error))
    }

    /// Likewise, for something that is done to one of its tables.
    pub(crate) async fn table(&self, app: &App, name: &str, table: &str, action: &str) -> Result<WorkspaceRow, ApiError> {
        let row = app.site.workspaces.find(&self.0, name).await.map_err(|error| control_error(&error))?;
        self.on_table(app, &row, table, action).await?;
        Ok(row)
    }

    /// Refuses unless the caller may do `action` on the table of that name, be it there or not.
    pub(crate) async fn on_table(&self, app: &App, workspace: &WorkspaceRow, table: &str, action: &str) -> Result<(), ApiError> {
        let checked = app.site.tables.check(&self.0, workspace, table, action).await;
        checked.map_err(|error| refused(&error, &ScopePath::workspace(workspace).table(table)))
    }

    /// The workspace that `name` means to this caller, if it may ask questions there: by its own right, on all or on some of its
    /// tables, or as far as the customer approved; which, is for whoever gives the keys to say, table by table.
    pub(crate) async fn questions(&self, app: &App, name: &str) -> Result<WorkspaceId, ApiError> {
        questions(app, &self.0, name).await.map_err(|error| path_error(&error))
    }

    /// The cluster that `name` (an id or a name) means to this caller, if it may do `action` on it.
    pub(crate) async fn cluster(&self, app: &App, name: &str, action: &str) -> Result<ClusterRow, ApiError> {
        let mut found = app.site.clusters.list(None, None).await.map_err(|error| control_error(&error))?;
        let id = name.parse().ok();
        found.retain(|row| {
            (row.name.eq_ignore_ascii_case(name) || Some(row.id) == id)
                && self.0.sees(&ScopePath::of(&Place::of_cluster(row).cluster_path()))
        });
        if found.len() > 1 {
            return Err(control_error(&ControlError::Ambiguous { what: "clusters", name: name.to_owned() }));
        }
        let row =
            found.pop().ok_or_else(|| control_error(&Refusal::ClusterAbsent { soft: app.site.clusters.rules().cluster_recover }.into()))?;
        self.on(action, &ScopePath::cluster(&row))?;
        Ok(row)
    }

    /// Refuses unless the caller may do `action` at the place that the request names, or on everything if it names none.
    pub(crate) fn allow(&self, _: &App, action: &str) -> Result<(), ApiError> {
        self.on(action, &self.1)
    }

    /// Refuses unless the caller may read something of what a list of that place may show.
    pub(crate) fn list(&self, action: &str) -> Result<(), ApiError> {
        if self.0.may_within(action, &self.1) { Ok(()) } else { self.on(action, &self.1) }
    }

    /// What the control plane says of the resource that the request names: absent ones of all kinds look alike.
    pub(crate) fn told(&self, error: &ControlError) -> ApiError {
        refused(error, &self.1)
    }

    /// Refuses unless the caller may do `action` there.
    pub(crate) fn on(&self, action: &str, at: &ScopePath) -> Result<(), ApiError> {
        self.0.check(action, at).map_err(|error| refused(&error, at))
    }
}

/// A workspace that cannot be asked, in the words of Azure's query service.
pub(crate) fn path_error(error: &ControlError) -> ApiError {
    match error {
        ControlError::NotFound { .. } => {
            ApiError::new(ErrorKind::NotFound, "PathNotFoundError", format!("The requested path does not exist: {error}"))
        }
        other => control_error(other),
    }
}

fn refused(error: &ControlError, at: &ScopePath) -> ApiError {
    match error {
        ControlError::NotFound { .. } => absent(at),
        other => control_error(other),
    }
}

/// What is said of a resource that is absent, or of which the caller may not know.
pub(crate) fn absent(at: &ScopePath) -> ApiError {
    let (before, of) = at.as_str().split_once("/providers/").unwrap_or((at.as_str(), ""));
    if of.is_empty() {
        let name = before.rsplit('/').next().unwrap_or_default();
        return if before.contains("/resourcegroups/") {
            ApiError::new(ErrorKind::NotFound, "ResourceGroupNotFound", format!("Resource group '{name}' could not be found."))
        } else {
            ApiError::new(ErrorKind::NotFound, "SubscriptionNotFound", format!("The subscription '{name}' could not be found."))
        };
    }
    let group = before.rsplit('/').next().unwrap_or_default();
    ApiError::new(ErrorKind::NotFound, "ResourceNotFound", format!("The Resource '{of}' under resource group '{group}' was not found."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_asks_at_the_resource_its_path_names() {
        for (path, expected) in [
            ("/v1/clusters", "/"),
            ("/Subscriptions/S", "/subscriptions/s"),
            ("/subscriptions/S/resourceGroups/G", "/subscriptions/s/resourcegroups/g"),
            ("/subscriptions/S/providers/P/clusters", "/subscriptions/s"),
            ("/subscriptions/S/resourceGroups/G/providers/P/clusters", "/subscriptions/s/resourcegroups/g"),
            ("/subscriptions/S/resourceGroups/G/providers/P/clusters/C", "/subscriptions/s/resourcegroups/g/providers/p/clusters/c"),
            ("/subscriptions/S/resourceGroups/G/providers/P/w/W/keys", "/subscriptions/s/resourcegroups/g/providers/p/w/w"),
            ("/subscriptions/S/resourceGroups/G/providers/P/w/W/t/T", "/subscriptions/s/resourcegroups/g/providers/p/w/w/t/t"),
            ("/subscriptions/S/resourceGroups/a%28b%29", "/subscriptions/s/resourcegroups/a(b)"),
            ("/subscriptions/S/resourceGroups/G%2Fproviders%2FP/x", "/subscriptions/s/resourcegroups/g%2fproviders%2fp/x"),
        ] {
            assert_eq!(place(path).as_str(), expected, "{path}");
        }
    }
}
