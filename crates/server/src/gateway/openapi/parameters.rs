//! Names in paths: what they look like, and what they mean.

use super::schema::{Shape, guid, like, short, word};

/// The parameters of a path, in their order.
pub(super) fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// What a parameter of a path looks like. What does not look so is absent, or is refused where it would be made.
pub(super) fn shape(path: &str, name: &str) -> (Shape, &'static str) {
    let resource = |max| like("^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$", 1, max);
    match name {
        "subscription" => (guid(), "The subscription's id."),
        "group" => (like(r"^[-\w().]*[-\w()]$", 1, 90), "The resource group's name."),
        "name" if path.contains("/Microsoft.Authorization/") => (guid(), "The assignment's or the role's id."),
        "name" if path.contains("/clusters/") => (like("^[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9]$", 4, 63), "The cluster's name."),
        "name" if path.contains("/workspaces/") => (like("^[A-Za-z0-9][A-Za-z0-9._-]*$", 1, 128), "The workspace's name."),
        "name" => (resource(63), "The resource's name."),
        "workspace" => (like("^[A-Za-z0-9][A-Za-z0-9._-]*$", 1, 128), "The workspace, by its name or its id."),
        "cluster" => (like("^[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9]$", 3, 63), "The cluster, by its name or its id."),
        "table" => (like("^[A-Za-z_][A-Za-z0-9_]*$", 1, 128), "The table's name."),
        "function" => (like("^[A-Za-z_][A-Za-z0-9_]*$", 1, 128), "The function's name."),
        "search" => (like("^[A-Za-z0-9_-]+$", 1, 128), "The saved search's id."),
        "principal" => (guid(), "The principal's id."),
        "request" => (guid(), "The request's id."),
        "credential" => (guid(), "The credential's id."),
        "source" => (word(&["Query", "Alerts", "CustomLogs", "AzureWatson", "Ingestion"]), "The kind of content."),
        "query" => (guid(), "The query's id."),
        "alert" => (guid(), "The alert's id."),
        "pin" => (guid(), "The pin's id."),
        "operation" => (guid(), "The operation's id."),
        "purge" => (like("^purge-[0-9a-f-]{36}$", 42, 42), "The purge's id."),
        "service" if path.contains("/linkedServices/") => (word(&["cluster"]), "The one linked service that there is."),
        "service" => (short(128), "The service, by its name or its id."),
        "tenant" => (either_tenant(), "The tenant's id, `common` or `adfs`."),
        "rule" => (like("^dcr-[0-9a-f]{32}$", 36, 36), "The data collection rule's immutable id."),
        "stream" => (like("^(Custom|Microsoft)-[A-Za-z0-9_]+$", 8, 128), "A stream of the rule."),
        "region" => (like("^[a-z0-9-]+$", 1, 64), "The region's name."),
        "provider" => (like(r"^[A-Za-z]+(\.[A-Za-z]+)+$", 3, 64), "The provider's namespace."),
        _ => (short(128), "A name."),
    }
}

fn either_tenant() -> Shape {
    super::schema::either(word(&["common", "adfs"]), guid())
}
