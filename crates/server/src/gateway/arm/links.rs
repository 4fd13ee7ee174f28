//! `Microsoft.OperationalInsights/workspaces/linkedServices`: the one to a cluster.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_catalog::WorkspaceRow;
use strongroom_control::{ControlError, LinkAccepted, Place, Refusal, ScopePath, action};
use strongroom_model::ErrorKind;

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::{App, control_error};
use super::workspaces::workspace_id;
use super::{ApiVersion, INSIGHTS, Named, accepted, refused, sent};

#[derive(Debug, Deserialize)]
pub(super) struct Service {
    subscription: String,
    group: String,
    name: String,
    #[serde(rename = "service")]
    kind: String,
}

impl Service {
    /// The workspace meant, if the service is the cluster's: there are no others.
    async fn workspace(self, app: &App, who: &Who, action: &str) -> Result<WorkspaceRow, ApiError> {
        if !self.kind.eq_ignore_ascii_case("cluster") {
            let text = format!("The linked service {} is not known; the one to a cluster is named cluster.", self.kind);
            return Err(ApiError::new(ErrorKind::NotFound, "ResourceNotFound", text));
        }
        let place = Place { subscription: self.subscription, resource_group: self.group, name: self.name };
        workspace(app, who, place, action).await
    }
}

async fn workspace(app: &App, who: &Who, place: Place, action: &str) -> Result<WorkspaceRow, ApiError> {
    app.site.workspaces.at(&who.0, &place, action).await.map_err(|error| match error {
        ControlError::NotFound { .. } => refused(Refusal::WorkspaceAbsent),
        other => control_error(&other),
    })
}

pub(super) async fn list(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    let row = workspace(&app, &who, named.into(), action::WORKSPACES_READ).await?;
    let link = app.site.clusters.link_of(&row).await.map_err(|error| control_error(&error))?;
    let value: Vec<Value> =
        link.iter().map(|link| link_json(&row, &Place::of_cluster(&link.cluster).cluster_path(), state(link.busy))).collect();
    Ok(Json(json!({"value": value})))
}

pub(super) async fn show(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<Service>) -> Result<Json<Value>, ApiError> {
    let row = at.workspace(&app, &who, action::WORKSPACES_READ).await?;
    let link = app.site.clusters.link_of(&row).await.map_err(|error| control_error(&error))?;
    let link = link.ok_or_else(|| refused(Refusal::NotLinked))?;
    Ok(Json(link_json(&row, &Place::of_cluster(&link.cluster).cluster_path(), state(link.busy))))
}

pub(super) async fn put(
    State(app): State<App>,
    who: Who,
    version: ApiVersion,
    Path(at): Path<Service>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    // Z3: each right where it belongs; of the cluster only the body says which it is.
    let own = app.site.clusters.rules().link_requires_linked_services_write.then_some(action::LINKS_WRITE);
    for action in [action::WORKSPACES_WRITE].into_iter().chain(own) {
        who.allow(&app, action)?;
    }
    let body = sent(body).await?;
    let row = at.workspace(&app, &who, own.unwrap_or(action::WORKSPACES_WRITE)).await?;
    let target = body.get("properties").and_then(|properties| properties.get("writeAccessResourceId")).and_then(Value::as_str);
    let target = target.unwrap_or_default().to_owned();
    if let Some(cluster) = Place::read_cluster_path(&target) {
        who.on(action::CLUSTERS_WRITE, &ScopePath::of(&cluster.cluster_path()))?;
    }
    let LinkAccepted { workspace, operation } = app.site.clusters.link(row, &target).await.map_err(|error| control_error(&error))?;
    let body = link_json(&workspace, &target, state(operation.is_some()));
    Ok(accepted(&app, &version, &headers, &workspace.subscription, body, operation.as_ref()))
}

pub(super) async fn delete(
    State(app): State<App>,
    who: Who,
    version: ApiVersion,
    Path(at): Path<Service>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    who.allow(&app, action::LINKS_DELETE)?;
    let row = at.workspace(&app, &who, action::LINKS_DELETE).await?;
    let link = app.site.clusters.link_of(&row).await.map_err(|error| control_error(&error))?;
    let LinkAccepted { workspace, operation } = app.site.clusters.unlink(row).await.map_err(|error| control_error(&error))?;
    let Some((operation, link)) = operation.zip(link) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let body = link_json(&workspace, &Place::of_cluster(&link.cluster).cluster_path(), "Deleting");
    Ok(accepted(&app, &version, &headers, &workspace.subscription, body, Some(&operation)))
}

const fn state(busy: bool) -> &'static str {
    if busy { "Updating" } else { "Succeeded" }
}

fn link_json(workspace: &WorkspaceRow, cluster: &str, state: &str) -> Value {
    json!({
        "id": format!("{}/linkedServices/cluster", workspace_id(workspace)),
        "name": format!("{}/cluster", workspace.name),
        "type": format!("{INSIGHTS}/workspaces/linkedServices"),
        "properties": {"writeAccessResourceId": cluster, "provisioningState": state},
    })
}
