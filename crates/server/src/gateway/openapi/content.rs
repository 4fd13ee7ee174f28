//! What is saved beside data, and who is told of it: storage accounts and links to them, query packs, workbooks; alert rules, action
//! groups, alerts; a caller's own history and pins.

use serde_json::json;
use utoipa::openapi::ComponentsBuilder;

use super::arm::{self, all, group, region, resource};
use super::entry::Book;
use super::native;
use super::schema::{Shape, any, example, guid, like, list, map, named, object, open, or_null, short, text, texts, time, values, word};

pub(super) fn describe() -> Vec<Book> {
    vec![storage(), packs(), workbooks(), alerts(), personal()]
}

fn storage() -> Book {
    let mut book = Book::of(&arm::DOOR);
    book.versions("one shape");
    let kind = "Microsoft.Storage/storageAccounts";
    let (account, one) = (|| named("StorageAccount"), || group(&format!("{kind}/{{name}}")));
    let reference = "an object that tells of a store (`backingUrl`), and of the key that what lies there is sealed under";
    book.get(all(kind), "StorageAccounts_List", "Storage accounts of a subscription").gives(200, values(account()));
    book.get(group(kind), "StorageAccounts_ListByResourceGroup", "Storage accounts of a group").gives(200, values(account()));
    book.get(one(), "StorageAccounts_GetProperties", "A storage account").gives(200, account()).differs(reference);
    book.put(one(), "StorageAccounts_Create", "Tells of a storage account")
        .takes(account_body(true))
        .gives(200, account())
        .differs(reference);
    book.patch(one(), "StorageAccounts_Update", "Changes what is named").takes(account_body(false)).gives(200, account());
    book.delete(one(), "StorageAccounts_Delete", "Forgets a storage account").done(200).done(204).differs("one that is linked is refused");
    let at = |rest: &str| group(&format!("Microsoft.OperationalInsights/workspaces/{{name}}/linkedStorageAccounts{rest}"));
    let link = || named("LinkedStorage");
    book.get(at(""), "LinkedStorageAccounts_ListByWorkspace", "What is linked").gives(200, values(link()));
    book.get(at("/{source}"), "LinkedStorageAccounts_Get", "What is linked for a kind of content").gives(200, link());
    book.put(at("/{source}"), "LinkedStorageAccounts_CreateOrUpdate", "Links an account: saved content moves there")
        .takes(open([("properties", open([("storageAccountIds", list(text())), ("dataSourceType?", text())]))]))
        .gives(200, link())
        .differs("`Query` and `Alerts` move content; other kinds are kept and shown only");
    book.delete(at("/{source}"), "LinkedStorageAccounts_Delete", "Unlinks it: content moves back").done(200).done(204);
    book
}

fn account_body(whole_one: bool) -> Shape {
    open([
        (if whole_one { "location" } else { "location?" }, region()),
        ("kind?", word(&["StorageV2"])),
        ("sku?", open([("name", word(&["Standard_LRS"]))])),
        ("tags?", or_null(texts())),
        ("properties?", or_null(open([("encryption?", or_null(open([("keySource?", word(&["Microsoft.Storage"]))])))]))),
    ])
}

fn packs() -> Book {
    let mut book = Book::of(&arm::DOOR);
    book.versions("one shape");
    let of = |rest: &str| format!("Microsoft.OperationalInsights/queryPacks{rest}");
    let (pack, one) = (|| named("QueryPack"), || group(&of("/{name}")));
    let body = || open([("location", region()), ("tags?", or_null(texts()))]);
    book.get(all(&of("")), "QueryPacks_List", "Query packs of a subscription").gives(200, values(pack()));
    book.get(group(&of("")), "QueryPacks_ListByResourceGroup", "Query packs of a group").gives(200, values(pack()));
    book.put(group(&of("")), "QueryPacks_CreateOrUpdateWithoutName", "Makes a pack and its name").takes(body()).gives(201, pack());
    book.get(one(), "QueryPacks_Get", "A query pack").gives(200, pack());
    book.put(one(), "QueryPacks_CreateOrUpdate", "Makes a query pack").takes(body()).gives(200, pack());
    book.patch(one(), "QueryPacks_UpdateTags", "Changes its tags").takes(open([("tags?", or_null(texts()))])).gives(200, pack());
    book.delete(one(), "QueryPacks_Delete", "Deletes a query pack and its queries").done(200).done(204);
    let (query, kept) = (|| named("PackQuery"), || group(&of("/{name}/queries/{query}")));
    let wanted = |book: &mut Book, method: &str, path: String, id: &'static str, says: &'static str| {
        let entry = if method == "POST" {
            book.post(path, id, says).takes(open([("related?", map()), ("tags?", map())]))
        } else {
            book.get(path, id, says)
        };
        entry
            .asks("$top?", super::schema::between(0, 1_000), "At most so many.")
            .asks("includeBody?", word(&["true", "false"]), "With the text.")
            .gives(200, values(query()));
    };
    wanted(&mut book, "GET", group(&of("/{name}/queries")), "Queries_List", "The queries of a pack");
    wanted(&mut book, "POST", group(&of("/{name}/queries/search")), "Queries_Search", "Those that fit");
    book.get(kept(), "Queries_Get", "A query of a pack").gives(200, query());
    let written = |needed: bool| {
        let [name, text_of] = if needed { ["displayName", "body"] } else { ["displayName?", "body?"] };
        open([(
            "properties",
            open([
                (name, short(200)),
                (text_of, example(short(10_000), json!("print 1"))),
                ("description?", text()),
                ("tags?", map()),
                ("related?", map()),
            ]),
        )])
    };
    let provider = "sealed under the provider's key, and says so";
    book.put(kept(), "Queries_Put", "Keeps a query in a pack").takes(written(true)).gives(200, query()).differs(provider);
    book.patch(kept(), "Queries_Update", "Changes what is named").takes(written(false)).gives(200, query());
    book.delete(kept(), "Queries_Delete", "Deletes a query of a pack").done(200).done(204);
    book
}

fn workbooks() -> Book {
    let mut book = Book::of(&arm::DOOR);
    book.versions("one shape");
    let kind = "Microsoft.Insights/workbooks";
    let (workbook, one) = (|| named("Workbook"), || group(&format!("{kind}/{{name}}")));
    let body = |needed: bool| {
        let needed = |name: &'static str, other: &'static str| if needed { name } else { other };
        open([
            (needed("location", "location?"), region()),
            ("tags?", or_null(texts())),
            (
                needed("properties", "properties?"),
                open([
                    (needed("displayName", "displayName?"), short(200)),
                    (needed("serializedData", "serializedData?"), short(10_000)),
                    (needed("category", "category?"), short(100)),
                    ("sourceId?", text()),
                ]),
            ),
        ])
    };
    for (path, id, says) in [
        (all(kind), "Workbooks_ListBySubscription", "Workbooks of a subscription"),
        (group(kind), "Workbooks_ListByResourceGroup", "Workbooks of a group"),
    ] {
        book.get(path, id, says)
            .asks("canFetchContent?", word(&["true", "false"]), "With what they say.")
            .asks("category?", text(), "Of one category.")
            .asks("sourceId?", text(), "Of one resource.")
            .gives(200, values(workbook()));
    }
    book.get(one(), "Workbooks_Get", "A workbook").gives(200, workbook());
    book.put(one(), "Workbooks_CreateOrUpdate", "Keeps a workbook")
        .asks("sourceId?", text(), "The resource that it is about.")
        .takes(body(true))
        .gives(200, workbook())
        .gives(201, workbook())
        .differs("kept and shown, run by nobody here; no revisions");
    book.patch(one(), "Workbooks_Update", "Changes what is named").takes(body(false)).gives(200, workbook());
    book.delete(one(), "Workbooks_Delete", "Deletes a workbook").done(204);
    book
}

fn alerts() -> Book {
    let mut book = Book::of(&arm::DOOR);
    book.versions("one shape");
    let tags = || open([("tags?", or_null(texts())), ("properties?", or_null(map()))]);
    let (rules, groups) = ("Microsoft.Insights/scheduledQueryRules", "Microsoft.Insights/actionGroups");
    let (rule, one) = (|| named("AlertRule"), |of: &str| group(&format!("{of}/{{name}}")));
    book.get(all(rules), "ScheduledQueryRules_ListBySubscription", "Alert rules of a subscription").gives(200, values(rule()));
    book.get(group(rules), "ScheduledQueryRules_ListByResourceGroup", "Alert rules of a group").gives(200, values(rule()));
    book.get(one(rules), "ScheduledQueryRules_Get", "An alert rule").gives(200, rule());
    book.put(one(rules), "ScheduledQueryRules_CreateOrUpdate", "Makes an alert rule, or changes it")
        .takes(open([
            ("location", region()),
            ("tags?", or_null(texts())),
            ("properties", open([("scopes", list(text())), ("criteria", open([("allOf", list(open([("query", text())])))]))])),
        ]))
        .gives(200, rule())
        .gives(201, rule())
        .differs("one workspace; its text lies under the workspace's key; suspended while that is away");
    book.patch(one(rules), "ScheduledQueryRules_Update", "Changes what is named").takes(tags()).gives(200, rule()).gives(201, rule());
    book.delete(one(rules), "ScheduledQueryRules_Delete", "Deletes an alert rule").done(200).done(204);
    let receivers = || named("ActionGroup");
    book.get(all(groups), "ActionGroups_ListBySubscriptionId", "Action groups of a subscription").gives(200, values(receivers()));
    book.get(group(groups), "ActionGroups_ListByResourceGroup", "Action groups of a group").gives(200, values(receivers()));
    book.get(one(groups), "ActionGroups_Get", "An action group").gives(200, receivers());
    book.put(one(groups), "ActionGroups_CreateOrUpdate", "Makes an action group, or changes it")
        .takes(open([("location", text()), ("tags?", or_null(texts())), ("properties", map())]))
        .gives(200, receivers())
        .gives(201, receivers())
        .differs("webhooks alone");
    book.patch(one(groups), "ActionGroups_Update", "Changes what is named").takes(tags()).gives(200, receivers());
    book.delete(one(groups), "ActionGroups_Delete", "Deletes an action group").done(200).done(204);
    let of = |rest: &str| format!("/subscriptions/{{subscription}}/providers/Microsoft.AlertsManagement/alerts{rest}");
    book.get(of(""), "Alerts_GetAll", "What fired, newest first")
        .gives(200, values(named("Alert")))
        .differs("without filters; states are not changed by hand");
    book.get(of("/{alert}"), "Alerts_GetById", "An alert").gives(200, named("Alert"));
    book
}

fn personal() -> Book {
    let mut book = Book::of(&native::DOOR);
    let at = |rest: &str| format!("/v1/workspaces/{{workspace}}{rest}");
    let remembered = || object([("id", guid()), ("query", text()), ("timespan", or_null(text())), ("at", time())]);
    let pinned = || object([("id", guid()), ("title", text()), ("query", text()), ("visualization", or_null(text())), ("at", time())]);
    book.get(at("/history"), "history_list", "The caller's own questions").gives(200, values(remembered()));
    book.post(at("/history"), "history_add", "Remembers a question")
        .takes(object([("query", short(10_000)), ("timespan?", or_null(short(64)))]))
        .gives(201, remembered());
    book.delete(at("/history"), "history_forget", "Forgets them").done(204);
    book.get(at("/pins"), "pins_list", "The caller's own pins").gives(200, values(pinned()));
    book.post(at("/pins"), "pins_add", "Pins a question")
        .takes(object([("title", short(200)), ("query", short(10_000)), ("visualization?", or_null(short(64)))]))
        .gives(201, pinned());
    book.delete(at("/pins/{pin}"), "pins_remove", "Unpins it").done(204);
    book
}

/// The shapes that these doors share.
pub(super) fn components(to: ComponentsBuilder) -> ComponentsBuilder {
    let child = |properties: Shape| object([("id", text()), ("name", text()), ("type", text()), ("properties", properties)]);
    let history = || object([("createdAt", time()), ("lastModifiedAt", time())]);
    let properties = |members: Vec<(&'static str, Shape)>| open(members);
    to.schema(
        "StorageAccount",
        resource([
            ("kind", text()),
            ("sku", object([("name", text()), ("tier", text())])),
            ("properties", properties(vec![("provisioningState", text()), ("creationTime", time()), ("encryption", map())])),
        ]),
    )
    .schema("LinkedStorage", child(map()))
    .schema(
        "QueryPack",
        resource([(
            "properties",
            properties(vec![("queryPackId", text()), ("timeCreated", time()), ("timeModified", time()), ("provisioningState", text())]),
        )]),
    )
    .schema("PackQuery", child(properties(vec![("id", text()), ("timeCreated", time()), ("timeModified", time())])))
    .schema(
        "Workbook",
        resource([
            ("kind", text()),
            ("etag", text()),
            ("properties", properties(vec![("timeModified", time()), ("revision", text())])),
            ("systemData", history()),
        ]),
    )
    .schema("AlertRule", resource([("kind", text()), ("properties", map()), ("etag?", text()), ("systemData?", any())]))
    .schema("ActionGroup", resource([("properties", map()), ("etag?", text()), ("systemData?", any())]))
    .schema("Alert", child(open([("essentials", open([("severity", like("^Sev[0-4]$", 4, 4)), ("monitorCondition", text())]))])))
}
