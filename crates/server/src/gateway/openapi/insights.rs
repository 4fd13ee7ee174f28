//! `Microsoft.OperationalInsights`: clusters, workspaces and what lies in them, links, operations.

use serde_json::json;
use utoipa::openapi::ComponentsBuilder;

use super::arm::{self, all, group, region, resource};
use super::entry::Book;
use super::schema::{
    Shape, any, between, example, flag, guid, like, list, map, named, number, object, open, or_null, page, short, text, texts, time,
    values, whole, word,
};

pub(super) fn describe() -> Vec<Book> {
    vec![clusters(), workspaces(), in_workspace()]
}

fn of(rest: &str) -> String {
    format!("Microsoft.OperationalInsights/{rest}")
}

fn clusters() -> Book {
    let mut book = Book::of(&arm::DOOR);
    book.versions("2020-08-01 as of 2020; 2020-10-01 whole; 2022-10-01 and later take 202");
    let list_of = || page(named("Cluster"));
    let (one, cluster) = (|| group(&of("clusters/{name}")), || named("Cluster"));
    let token = "Where the page before ended: follow nextLink.";
    book.get(all(&of("clusters")), "Clusters_List", "Clusters of a subscription").asks("$skiptoken?", text(), token).gives(200, list_of());
    book.get(group(&of("clusters")), "Clusters_ListByResourceGroup", "Clusters of a group")
        .asks("$skiptoken?", text(), token)
        .gives(200, list_of());
    book.get(one(), "Clusters_Get", "A cluster")
        .gives(200, cluster())
        .differs("`keyState`, `identityPublicKey` and `minCapacity` are shown besides");
    book.put(one(), "Clusters_CreateOrUpdate", "Makes a cluster, or changes it")
        .takes(example(
            cluster_body(true),
            json!({"identity": {"type": "SystemAssigned"}, "location": "local", "sku": {"name": "CapacityReservation", "capacity": 100}}),
        ))
        .gives(200, cluster())
        .gives(202, cluster())
        .differs("a key is tried in the vault before it is taken; clusters in zones are not");
    book.patch(one(), "Clusters_Update", "Changes what is named").takes(cluster_body(false)).gives(200, cluster()).gives(202, cluster());
    book.delete(one(), "Clusters_Delete", "Deletes a cluster; its name is reserved for 14 days")
        .asks("force?", flag(), "Although it holds data of workspaces.")
        .gives(200, cluster())
        .gives(202, cluster())
        .differs("one that holds data of workspaces is refused unless `force=true`");
    book.get(all(&of("locations/{region}/operationStatuses/{operation}")), "OperationStatuses_Get", "How a change stands").gives(
        200,
        object([
            ("id", text()),
            ("name", text()),
            ("status", word(&["InProgress", "Updating", "Deleting", "Succeeded", "Failed"])),
            ("startTime", time()),
            ("endTime?", time()),
            ("percentComplete?", number()),
            ("error?", named("Error")),
        ]),
    );
    book.get("/providers/Microsoft.OperationalInsights/operations", "Operations_List", "What actions there are")
        .gives(200, values(object([("name", text()), ("display", texts())])));
    book
}

fn cluster_body(whole_one: bool) -> Shape {
    let key = open([("keyVaultUri?", text()), ("keyName?", text()), ("keyVersion?", text())]);
    let identity =
        object([("type", word(&["SystemAssigned", "UserAssigned", "None"])), ("userAssignedIdentities?", or_null(map_of_identities()))]);
    let sku = object([("name?", word(&["CapacityReservation"])), ("capacity?", whole())]);
    let properties = open([
        ("billingType?", word(&["Cluster", "Workspaces"])),
        ("isDoubleEncryptionEnabled?", flag()),
        ("keyVaultProperties?", or_null(key)),
    ]);
    object([
        (if whole_one { "location" } else { "location?" }, region()),
        ("identity?", or_null(identity)),
        ("sku?", or_null(sku)),
        ("properties?", or_null(properties)),
        ("tags?", or_null(texts())),
    ])
}

fn map_of_identities() -> Shape {
    super::schema::map_of(map())
}

fn workspaces() -> Book {
    let mut book = Book::of(&arm::DOOR);
    book.versions("2020-08-01 as of 2020; 2020-10-01 whole; 2021-12-01 and later `etag`");
    let (one, workspace) = (|| group(&of("workspaces/{name}")), || named("ArmWorkspace"));
    book.get(all(&of("workspaces")), "Workspaces_List", "Workspaces of a subscription").gives(200, values(workspace()));
    book.get(group(&of("workspaces")), "Workspaces_ListByResourceGroup", "Workspaces of a group").gives(200, values(workspace()));
    book.get(one(), "Workspaces_Get", "A workspace").gives(200, workspace());
    book.put(one(), "Workspaces_CreateOrUpdate", "Makes a workspace, changes it, or brings a deleted one back")
        .takes(workspace_body(true))
        .gives(200, workspace())
        .gives(201, workspace())
        .differs("`replication` is refused; price plan, cap and network access are kept and shown only");
    book.patch(one(), "Workspaces_Update", "Changes what is named").takes(workspace_body(false)).gives(200, workspace());
    book.delete(one(), "Workspaces_Delete", "Deletes a workspace; it can be brought back for 14 days")
        .asks("force?", word(&["true", "false"]), "For good.")
        .done(200)
        .done(204);
    for (path, id) in [
        (all(&of("deletedWorkspaces")), "DeletedWorkspaces_List"),
        (group(&of("deletedWorkspaces")), "DeletedWorkspaces_ListByResourceGroup"),
    ] {
        book.get(path, id, "What can be brought back").gives(200, values(workspace()));
    }
    book.get(all(&of("linkTargets")), "LinkTargets_List", "Accounts of an older service: none")
        .gives(200, list(any()))
        .differs("always empty");
    let link = || named("LinkedService");
    let (links, linked) = (group(&of("workspaces/{name}/linkedServices")), || group(&of("workspaces/{name}/linkedServices/{service}")));
    book.get(links, "LinkedServices_ListByWorkspace", "Links").gives(200, values(link()));
    book.get(linked(), "LinkedServices_Get", "The link to a cluster").gives(200, link());
    book.put(linked(), "LinkedServices_CreateOrUpdate", "Links a workspace to a cluster")
        .takes(open([("properties", open([("writeAccessResourceId", text())]))]))
        .gives(200, link())
        .gives(202, link())
        .differs("`cluster` is the one service that there is; refused before the cluster is provisioned");
    book.delete(linked(), "LinkedServices_Delete", "Unlinks it").gives(200, link()).gives(202, link()).done(204);
    book
}

fn workspace_body(whole_one: bool) -> Shape {
    let properties = open([
        ("retentionInDays?", between(1, 730)),
        ("cmkIngestPolicy?", word(&["refuse", "seal", "drop"])),
        ("sku?", open([("name", word(&["PerGB2018"]))])),
        ("publicNetworkAccessForIngestion?", word(&["Enabled", "Disabled"])),
        ("publicNetworkAccessForQuery?", word(&["Enabled", "Disabled"])),
        ("features?", map()),
    ]);
    open([(if whole_one { "location" } else { "location?" }, region()), ("tags?", or_null(texts())), ("properties?", or_null(properties))])
}

fn in_workspace() -> Book {
    let mut book = Book::of(&arm::DOOR);
    book.versions("one shape");
    let at = |rest: &str| group(&of(&format!("workspaces/{{name}}/{rest}")));
    let table = || named("ArmTable");
    book.get(at("tables"), "Tables_ListByWorkspace", "Tables").gives(200, values(table()));
    book.get(at("tables/{table}"), "Tables_Get", "A table").gives(200, table());
    book.put(at("tables/{table}"), "Tables_CreateOrUpdate", "Declares a table, or changes it")
        .takes(table_body())
        .gives(200, table())
        .differs("no archive apart, no search jobs, no restored logs; descriptions of columns are not kept");
    book.patch(at("tables/{table}"), "Tables_Update", "Changes a table").takes(table_body()).gives(200, table());
    book.delete(at("tables/{table}"), "Tables_Delete", "Takes all rows of a table away").gives(200, table()).gives(202, table()).done(204);
    book.post(at("tables/{table}/migrate"), "Tables_Migrate", "Has nothing to do")
        .done(200)
        .differs("tables are of the newer kind already");
    book.post(at("tables/{table}/cancelSearch"), "Tables_CancelSearch", "Refused: there are no search jobs").differs("always refused");
    let search = || named("SavedSearch");
    book.get(at("savedSearches"), "SavedSearches_ListByWorkspace", "Saved searches").gives(200, values(search()));
    book.get(at("savedSearches/{search}"), "SavedSearches_Get", "A saved search").gives(200, search());
    book.put(at("savedSearches/{search}"), "SavedSearches_CreateOrUpdate", "Keeps a search")
        .takes(search_body())
        .gives(200, search())
        .refuses(&[412])
        .differs("its function's text is checked; it lies under the workspace's key");
    book.delete(at("savedSearches/{search}"), "SavedSearches_Delete", "Deletes a saved search").done(200);
    let filter = object([("column", word(&["TimeGenerated"])), ("operator", word(&["<", "<=", ">", ">=", "=="])), ("value", time())]);
    book.post(at("purge"), "WorkspacePurge_Purge", "Takes rows away, for good")
        .takes(object([("table", like("^[A-Za-z_][A-Za-z0-9_]*$", 1, 128)), ("filters", list(filter))]))
        .gives(202, object([("operationId", text())]))
        .differs("by TimeGenerated alone");
    book.get(at("operations/{purge}"), "WorkspacePurge_GetPurgeStatus", "How a purge stands")
        .gives(200, object([("status", word(&["pending", "completed", "failed"])), ("error?", named("Error"))]));
    book.get(at("usages"), "Usages_List", "What is kept")
        .gives(200, values(open([("name", texts()), ("unit", text()), ("currentValue", number()), ("limit", number())])))
        .differs("sealed bytes and blocks that are kept, not a day's volume");
    book.post(at("schema"), "Schema_Get", "The columns of all tables").gives(
        200,
        object([
            ("metadata", object([("resultType", text()), ("total", whole())])),
            ("value", list(open([("name", text()), ("displayName", text()), ("type", text()), ("ownerType", list(text()))]))),
        ]),
    );
    book.get(at("availableServiceTiers"), "AvailableServiceTiers_ListByWorkspace", "Price plans")
        .gives(
            200,
            list(open([
                ("serviceTier", text()),
                ("enabled", flag()),
                ("minimumRetention", whole()),
                ("maximumRetention", whole()),
                ("defaultRetention", whole()),
            ])),
        )
        .differs("one");
    book.get(at("managementGroups"), "ManagementGroups_List", "None").gives(200, values(any())).differs("always empty");
    book.get(at("intelligencePacks"), "IntelligencePacks_List", "None").gives(200, list(any())).differs("always empty");
    book.post(at("intelligencePacks/{pack}/{turn}"), "IntelligencePacks_Enable", "Refused: there are none")
        .differs("Enable and Disable answer 404");
    for (path, id, says) in [
        ("sharedKeys", "SharedKeys_GetSharedKeys", "The keys that senders sign with"),
        ("regenerateSharedKey", "SharedKeys_Regenerate", "New keys; the first becomes the second"),
    ] {
        book.post(at(path), id, says).gives(200, object([("primarySharedKey", text()), ("secondarySharedKey", text())]));
    }
    book
}

fn table_body() -> Shape {
    let column = open([
        ("name", like("^[A-Za-z_][A-Za-z0-9_]*$", 1, 45)),
        ("type", word(&["string", "int", "long", "real", "boolean", "dateTime", "guid", "dynamic"])),
    ]);
    open([(
        "properties",
        open([
            ("retentionInDays?", between(4, 730)),
            ("totalRetentionInDays?", between(4, 4_383)),
            ("plan?", word(&["Analytics", "Basic", "Auxiliary"])),
            ("schema?", open([("columns?", list(column))])),
        ]),
    )])
}

fn search_body() -> Shape {
    object([
        ("etag?", or_null(text())),
        (
            "properties",
            open([
                ("category", short(200)),
                ("displayName", short(200)),
                ("query", example(short(10_000), json!("print 1"))),
                ("version?", or_null(between(1, 2))),
                ("functionAlias?", or_null(text())),
                ("functionParameters?", or_null(text())),
                ("tags?", or_null(list(object([("name", text()), ("value", text())])))),
            ]),
        ),
    ])
}

/// The shapes that these doors share.
pub(super) fn components(to: ComponentsBuilder) -> ComponentsBuilder {
    let identity = open([
        ("type", word(&["None", "SystemAssigned", "UserAssigned"])),
        ("principalId?", text()),
        ("tenantId?", text()),
        ("userAssignedIdentities?", map()),
    ]);
    let cluster = open([
        ("clusterId", guid()),
        ("provisioningState", text()),
        ("isDoubleEncryptionEnabled", flag()),
        ("billingType", text()),
        ("keyState", text()),
        (
            "associatedWorkspaces?",
            list(object([("workspaceId", guid()), ("workspaceName", text()), ("resourceId", text()), ("associateDate", or_null(time()))])),
        ),
        ("keyVaultProperties?", object([("keyVaultUri", text()), ("keyName", text()), ("keyVersion", text()), ("keyRsaSize?", whole())])),
        ("createdDate?", time()),
        ("lastModifiedDate?", time()),
    ]);
    let workspace = open([
        ("customerId", guid()),
        ("provisioningState", word(&["Updating", "Succeeded"])),
        ("sku", open([("name", text()), ("lastSkuUpdate", time())])),
        ("retentionInDays", whole()),
        ("cmkIngestPolicy", word(&["refuse", "seal", "drop"])),
        ("publicNetworkAccessForIngestion", any()),
        ("publicNetworkAccessForQuery", any()),
        ("workspaceCapping", map()),
        ("features", map()),
    ]);
    let column = || object([("name", text()), ("type", text())]);
    let table = object([
        ("plan", word(&["Analytics", "Basic", "Auxiliary"])),
        ("retentionInDays", whole()),
        ("totalRetentionInDays", whole()),
        ("archiveRetentionInDays", whole()),
        ("retentionInDaysAsDefault", flag()),
        ("totalRetentionInDaysAsDefault", flag()),
        ("provisioningState", word(&["Succeeded", "Updating", "Deleting", "InProgress"])),
        (
            "schema",
            object([
                ("name", text()),
                ("tableType", text()),
                ("tableSubType", text()),
                ("source", text()),
                ("columns?", list(column())),
                ("standardColumns?", list(column())),
            ]),
        ),
        ("lastPlanModifiedDate?", time()),
    ]);
    let search = object([
        ("category", text()),
        ("displayName", text()),
        ("query", text()),
        ("version", whole()),
        ("tags?", list(map())),
        ("functionAlias?", text()),
        ("functionParameters?", text()),
    ]);
    let child = |properties: Shape| [("id", text()), ("name", text()), ("type", text()), ("properties", properties)];
    to.schema(
        "Cluster",
        resource([("identity", identity), ("sku", open([("name", text()), ("capacity", whole())])), ("properties", cluster)]),
    )
    .schema("ArmWorkspace", resource([("properties", workspace), ("etag?", text()), ("eTag?", text())]))
    .schema(
        "LinkedService",
        object(child(object([("writeAccessResourceId", text()), ("provisioningState", word(&["Succeeded", "Updating", "Deleting"]))]))),
    )
    .schema("ArmTable", object(child(table)))
    .schema("SavedSearch", object(child(search).into_iter().chain([("etag", text())])))
}
