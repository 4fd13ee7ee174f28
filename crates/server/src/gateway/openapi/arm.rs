//! The control plane: where the endpoints are, subscriptions, groups, providers, rights.

use utoipa::openapi::ComponentsBuilder;

use super::entry::{Book, Door};
use super::schema::{Shape, between, guid, like, list, map, named, object, open, page, short, text, texts, time, values, whole, word};

pub(super) static DOOR: Door = Door {
    tag: "Control plane",
    says: "Azure Resource Manager. A path is found in whatever case it is written.",
    refusal: "ArmRefused",
    refuses: &[400, 401, 403, 404, 503],
    refuses_changes: &[409, 413, 429, 507],
    bearer: true,
    versioned: true,
    azure: true,
};

/// A path of a provider's in a resource group.
pub(super) fn group(rest: &str) -> String {
    format!("/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{rest}")
}

/// A path of a provider's in a subscription.
pub(super) fn all(rest: &str) -> String {
    format!("/subscriptions/{{subscription}}/providers/{rest}")
}

pub(super) fn places() -> Book {
    let mut book = Book::of(&DOOR);
    book.versions("2022-12-01, 2024-11-01");
    book.get("/metadata/endpoints", "Metadata_Endpoints", "Where everything is")
        .gives(200, open([("name", text()), ("resourceManager", text()), ("authentication", map()), ("suffixes", map())]))
        .public()
        .differs("one object, as of 2022-09-01, whatever the version");
    book.get("/subscriptions", "Subscriptions_List", "Subscriptions")
        .gives(200, object([("value", list(named("Subscription"))), ("count", open([("type", text()), ("value", whole())]))]));
    let of = |rest: &str| format!("/subscriptions/{{subscription}}{rest}");
    book.get(of(""), "Subscriptions_Get", "A subscription").gives(200, named("Subscription"));
    book.get(of("/locations"), "Subscriptions_ListLocations", "Regions").gives(
        200,
        values(open([
            ("id", text()),
            ("name", text()),
            ("type", text()),
            ("displayName", text()),
            ("regionalDisplayName", text()),
            ("metadata", map()),
        ])),
    );
    book.get("/tenants", "Tenants_List", "Tenants")
        .gives(200, values(object([("id", text()), ("tenantId", text()), ("tenantCategory", text())])));
    let groups = || of("/resourceGroups");
    let one = || of("/resourceGroups/{group}");
    let body = || object([("location", region()), ("tags?", texts()), ("managedBy?", text()), ("properties?", map())]);
    book.get(groups(), "ResourceGroups_List", "Resource groups").gives(200, values(named("ResourceGroup")));
    book.get(one(), "ResourceGroups_Get", "A resource group").gives(200, named("ResourceGroup"));
    book.head(one(), "ResourceGroups_CheckExistence", "Whether a resource group is there").done(204);
    book.put(one(), "ResourceGroups_CreateOrUpdate", "Makes a resource group")
        .takes(body())
        .gives(200, named("ResourceGroup"))
        .gives(201, named("ResourceGroup"));
    book.delete(one(), "ResourceGroups_Delete", "Deletes an empty resource group")
        .done(200)
        .done(204)
        .differs("one that holds resources is refused: nothing is deleted along");
    for (path, id) in [("moveResources", "Resources_MoveResources"), ("validateMoveResources", "Resources_ValidateMoveResources")] {
        book.post(of(&format!("/resourceGroups/{{group}}/{path}")), id, "Refused: nothing is moved")
            .takes(map())
            .differs("always 400 `ResourceMoveNotSupported`");
    }
    let provider = || named("Provider");
    book.get("/providers", "Providers_ListAtTenantScope", "Providers").gives(200, values(provider()));
    book.get(of("/providers"), "Providers_List", "Providers").gives(200, values(provider()));
    book.get(of("/providers/{provider}"), "Providers_Get", "A provider and its types").gives(200, provider());
    book.post(of("/providers/{provider}/register"), "Providers_Register", "Registers a provider, which each is")
        .gives(200, provider())
        .differs("each is registered from the beginning: nothing changes");
    resources(&mut book);
    rights(&mut book);
    book
}

/// What there is of every kind.
fn resources(book: &mut Book) {
    let filter =
        "`resourceType eq '…'`, `name eq '…'`, `location eq '…'`, `resourceGroup eq '…'`, `tagName eq '…'`, `tagValue eq '…'`, with `and`";
    for (path, id, says) in [
        ("/resources", "Resources_List", "What there is in a subscription"),
        ("/resourceGroups/{group}/resources", "Resources_ListByResourceGroup", "What there is in a group"),
    ] {
        book.get(format!("/subscriptions/{{subscription}}{path}"), id, says)
            .asks("$filter?", text(), filter)
            .asks("$top?", between(1, 1_000), "At most so many on a page.")
            .asks("$expand?", text(), "`createdTime`, `changedTime`, `provisioningState`, where they are known.")
            .gives(200, page(named("GenericResource")))
            .differs("`$filter` takes `eq` with `and`; what lies in a workspace or a pack is not listed");
    }
}

/// These stand behind any place's path, whatever its length, which no template can say: at `/` they are described.
fn rights(book: &mut Book) {
    book.versions("2022-04-01");
    let at = |rest: &str| format!("/providers/Microsoft.Authorization/{rest}");
    let filter = "`atScope()`, `principalId eq '…'`, `assignedTo('…')`, `roleName eq '…'`, `type eq '…'`";
    book.get(at("roleAssignments"), "RoleAssignments_ListForScope", "Who has which role there, above and below; behind any scope's path")
        .asks("$filter?", text(), filter)
        .gives(200, values(named("RoleAssignment")));
    book.get(at("roleAssignments/{name}"), "RoleAssignments_Get", "An assignment").gives(200, named("RoleAssignment"));
    book.put(at("roleAssignments/{name}"), "RoleAssignments_Create", "Gives a role")
        .takes(open([("properties", open([("roleDefinitionId", text()), ("principalId", guid()), ("principalType?", text())]))]))
        .gives(200, named("RoleAssignment"))
        .gives(201, named("RoleAssignment"))
        .differs("no conditions, no delegated managed identities");
    book.delete(at("roleAssignments/{name}"), "RoleAssignments_Delete", "Takes a role").gives(200, named("RoleAssignment")).done(204);
    book.get(at("roleDefinitions"), "RoleDefinitions_List", "Roles")
        .asks("$filter?", text(), filter)
        .gives(200, values(named("RoleDefinition")));
    book.get(at("roleDefinitions/{name}"), "RoleDefinitions_Get", "A role").gives(200, named("RoleDefinition"));
    book.put(at("roleDefinitions/{name}"), "RoleDefinitions_CreateOrUpdate", "Makes a role, or changes it")
        .takes(open([(
            "properties",
            open([
                ("roleName", short(64)),
                ("description?", text()),
                ("assignableScopes", list(like("^/$", 1, 1))),
                (
                    "permissions",
                    list(object([
                        ("actions?", list(word(&["*/read", "Microsoft.OperationalInsights/*"]))),
                        ("notActions?", list(word(&["Microsoft.OperationalInsights/clusters/delete"]))),
                        ("dataActions?", list(text())),
                        ("notDataActions?", list(text())),
                    ])),
                ),
            ]),
        )]))
        .gives(201, named("RoleDefinition"))
        .differs("actions on data are actions like others");
    book.delete(at("roleDefinitions/{name}"), "RoleDefinitions_Delete", "Deletes a role").gives(200, named("RoleDefinition")).done(204);
}

/// A region; this server's own unless regions are configured.
pub(super) fn region() -> Shape {
    super::schema::example(like("^[A-Za-z0-9 -]+$", 1, 64), "local".into())
}

/// A resource: its place, its name, and what is its own.
pub(super) fn resource<'a>(more: impl IntoIterator<Item = (&'a str, Shape)>) -> Shape {
    let head = [("id", text()), ("name", text()), ("type", text()), ("location", text()), ("tags?", texts())];
    object(head.into_iter().chain(more))
}

/// The shapes that these doors share.
pub(super) fn components(to: ComponentsBuilder) -> ComponentsBuilder {
    let permission =
        object([("actions", list(text())), ("notActions", list(text())), ("dataActions", list(text())), ("notDataActions", list(text()))]);
    to.schema(
        "Subscription",
        object([
            ("id", text()),
            ("subscriptionId", text()),
            ("displayName", text()),
            ("tenantId", guid()),
            ("state", word(&["Enabled"])),
            ("authorizationSource", text()),
            ("managedByTenants", list(map())),
            ("subscriptionPolicies", map()),
        ]),
    )
    .schema("ResourceGroup", resource([("properties", object([("provisioningState", word(&["Succeeded"]))]))]))
    .schema(
        "GenericResource",
        resource([
            ("kind?", text()),
            ("sku?", map()),
            ("identity?", map()),
            ("createdTime?", time()),
            ("changedTime?", time()),
            ("provisioningState?", text()),
        ]),
    )
    .schema(
        "Provider",
        object([
            ("id", text()),
            ("namespace", text()),
            ("registrationState", text()),
            ("registrationPolicy", text()),
            (
                "resourceTypes",
                list(object([
                    ("resourceType", text()),
                    ("locations", list(text())),
                    ("apiVersions", list(text())),
                    ("defaultApiVersion", text()),
                    ("capabilities", text()),
                ])),
            ),
        ]),
    )
    .schema(
        "RoleAssignment",
        object([
            ("id", text()),
            ("name", guid()),
            ("type", text()),
            (
                "properties",
                object([
                    ("scope", text()),
                    ("roleDefinitionId", text()),
                    ("principalId", guid()),
                    ("principalType", text()),
                    ("createdOn", time()),
                    ("updatedOn", time()),
                    ("createdBy", super::schema::any()),
                    ("updatedBy", super::schema::any()),
                ]),
            ),
        ]),
    )
    .schema(
        "RoleDefinition",
        object([
            ("id", text()),
            ("name", guid()),
            ("type", text()),
            (
                "properties",
                object([
                    ("roleName", text()),
                    ("description", text()),
                    ("type", word(&["CustomRole", "BuiltInRole"])),
                    ("assignableScopes", list(text())),
                    ("permissions", list(permission)),
                ]),
            ),
        ]),
    )
}
