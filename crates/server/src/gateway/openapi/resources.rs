//! Resources of other providers: vaults and identities, data collection endpoints and rules.

use serde_json::json;
use utoipa::openapi::ComponentsBuilder;

use super::arm::{self, all, group, region, resource};
use super::entry::Book;
use super::schema::{Shape, example, flag, guid, list, map, named, object, open, or_null, text, texts, time, values, word};

pub(super) fn describe() -> Vec<Book> {
    vec![vaults(), identities(), collection()]
}

fn vaults() -> Book {
    let mut book = Book::of(&arm::DOOR);
    book.versions("one shape");
    let vault = || named("Vault");
    let one = || group("Microsoft.KeyVault/vaults/{name}");
    let reference = "an object that tells of a vault that lies elsewhere: it is not the vault, and deleting it deletes none";
    book.get(all("Microsoft.KeyVault/vaults"), "Vaults_ListBySubscription", "Vaults of a subscription").gives(200, values(vault()));
    book.get(group("Microsoft.KeyVault/vaults"), "Vaults_ListByResourceGroup", "Vaults of a group").gives(200, values(vault()));
    book.get(one(), "Vaults_Get", "A vault").gives(200, vault()).differs(reference);
    book.put(one(), "Vaults_CreateOrUpdate", "Tells of a vault")
        .takes(example(
            open([
                ("location", region()),
                (
                    "properties",
                    open([
                        ("tenantId", guid()),
                        ("vaultUri", text()),
                        ("privateLink?", flag()),
                        ("caPem?", or_null(text())),
                        ("provider?", or_null(word(&["azure", "transit", "aws-kms", "pkcs11"]))),
                        ("enableSoftDelete?", or_null(flag())),
                        ("enablePurgeProtection?", or_null(flag())),
                        ("enableRbacAuthorization?", or_null(flag())),
                    ]),
                ),
            ]),
            json!({"location": "local", "properties": {"tenantId": "55555555-5555-4555-8555-555555555555", "vaultUri": "https://v.example"}}),
        ))
        .gives(200, vault())
        .differs(reference);
    book.delete(one(), "Vaults_Delete", "Forgets a vault").done(200).done(204).differs(reference);
    book
}

fn identities() -> Book {
    let mut book = Book::of(&arm::DOOR);
    book.versions("one shape");
    let kind = "Microsoft.ManagedIdentity/userAssignedIdentities";
    let (identity, one) = (|| named("UserIdentity"), || group(&format!("{kind}/{{name}}")));
    book.get(all(kind), "UserAssignedIdentities_ListBySubscription", "Identities of a subscription").gives(200, values(identity()));
    book.get(group(kind), "UserAssignedIdentities_ListByResourceGroup", "Identities of a group").gives(200, values(identity()));
    book.get(one(), "UserAssignedIdentities_Get", "An identity").gives(200, identity()).differs("shows its public key besides");
    book.put(one(), "UserAssignedIdentities_CreateOrUpdate", "Makes an identity")
        .takes(open([("location", region()), ("tags?", or_null(texts()))]))
        .gives(201, identity());
    book.delete(one(), "UserAssignedIdentities_Delete", "Deletes an identity").done(200).done(204);
    book
}

fn collection() -> Book {
    let mut book = Book::of(&arm::DOOR);
    book.versions("one shape, 2022-06-01 and later");
    let tags = || open([("tags?", or_null(texts()))]);
    for (kind, id, shape, body) in [
        ("dataCollectionEndpoints", ENDPOINTS, "CollectionEndpoint", endpoint_body as fn() -> Shape),
        ("dataCollectionRules", RULES, "CollectionRule", rule_body),
    ] {
        let (of, one) = (format!("Microsoft.Insights/{kind}"), || group(&format!("Microsoft.Insights/{kind}/{{name}}")));
        let [by_subscription, by_group, get, create, update, delete] = id;
        book.get(all(&of), by_subscription, "Of a subscription").gives(200, values(named(shape)));
        book.get(group(&of), by_group, "Of a group").gives(200, values(named(shape)));
        book.get(one(), get, "One").gives(200, named(shape));
        let put = book.put(one(), create, "Makes one, or changes it").takes(body()).gives(200, named(shape)).gives(201, named(shape));
        if kind == "dataCollectionRules" {
            put.differs(
                "destinations are workspaces, one for a rule; it lies under the workspace's key; its texts are bound before it is kept",
            );
        }
        book.patch(one(), update, "Changes its tags").takes(tags()).gives(200, named(shape));
        book.delete(one(), delete, "Deletes one").done(200).done(204);
    }
    book
}

const ENDPOINTS: [&str; 6] = [
    "DataCollectionEndpoints_ListBySubscription",
    "DataCollectionEndpoints_ListByResourceGroup",
    "DataCollectionEndpoints_Get",
    "DataCollectionEndpoints_Create",
    "DataCollectionEndpoints_Update",
    "DataCollectionEndpoints_Delete",
];

const RULES: [&str; 6] = [
    "DataCollectionRules_ListBySubscription",
    "DataCollectionRules_ListByResourceGroup",
    "DataCollectionRules_Get",
    "DataCollectionRules_Create",
    "DataCollectionRules_Update",
    "DataCollectionRules_Delete",
];

fn endpoint_body() -> Shape {
    open([("location", region()), ("kind?", or_null(text())), ("tags?", or_null(texts())), ("properties?", or_null(map()))])
}

fn rule_body() -> Shape {
    let destinations = open([("logAnalytics", list(open([("workspaceResourceId", text()), ("name", text())])))]);
    let flow = open([("streams", list(text())), ("destinations", list(text())), ("transformKql?", text()), ("outputStream?", text())]);
    open([
        ("location", region()),
        ("kind?", or_null(text())),
        ("tags?", or_null(texts())),
        ("properties", open([("streamDeclarations?", map()), ("destinations", destinations), ("dataFlows", list(flow))])),
    ])
}

/// The shapes that these doors share.
pub(super) fn components(to: ComponentsBuilder) -> ComponentsBuilder {
    let history = || object([("createdAt", time()), ("lastModifiedAt", time())]);
    let collection = |properties: Shape| resource([("kind?", text()), ("properties", properties), ("systemData", history())]);
    to.schema(
        "Vault",
        resource([(
            "properties",
            object([
                ("tenantId", text()),
                ("vaultUri", text()),
                ("privateLink", flag()),
                ("caPem", or_null(text())),
                ("provider", text()),
                ("hasAccess", flag()),
                ("enableSoftDelete", or_null(flag())),
                ("enablePurgeProtection", or_null(flag())),
                ("enableRbacAuthorization", or_null(flag())),
                ("provisioningState", word(&["Succeeded"])),
            ]),
        )]),
    )
    .schema(
        "UserIdentity",
        resource([("properties", object([("tenantId", text()), ("principalId", text()), ("clientId", text()), ("publicKey", text())]))]),
    )
    .schema(
        "CollectionEndpoint",
        collection(open([
            ("immutableId", text()),
            ("logsIngestion", open([("endpoint", text())])),
            ("configurationAccess", open([("endpoint", text())])),
            ("provisioningState", text()),
        ])),
    )
    .schema("CollectionRule", collection(open([("immutableId", text()), ("provisioningState", text())])))
}
