//! The control plane over its own door: everything but the socket is real, the key vault excepted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alerts;
mod both;
mod documents;
mod everything;
mod places;
mod storage;
mod workspaces;

use axum::body::to_bytes;
use axum::http::{Method, StatusCode};
use strongroom_catalog::Scope;
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::config::Config;
use crate::gateway::router;
use crate::wiring::Site;

const ADMIN: &str = "srt_a-token-for-the-tests-of-this-door";
const VERSION: &str = "api-version=2025-07-01";

struct Door {
    app: App,
    router: Router,
    base: String,
    _dirs: TempDir,
}

fn new_cluster() -> Value {
    json!({"identity": {"type": "SystemAssigned"}, "sku": {"name": "CapacityReservation", "capacity": 100}})
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn error(&self) -> (StatusCode, &str, &str) {
        let error = &self.body["error"];
        (self.status, error["code"].as_str().unwrap(), error["message"].as_str().unwrap())
    }
}

impl Door {
    async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    async fn open_with(change: impl FnOnce(&mut Config)) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dirs = TempDir::new().unwrap();
        let mut config = Config::under(dirs.path());
        change(&mut config);
        let claimed = Site::claim(&config).unwrap();
        let (site, _) = Site::open(config, claimed, Some(ADMIN.to_owned()), vec!["127.0.0.1:1".to_owned()]).await.unwrap();
        site.clusters.settle().await.unwrap();
        site.watch.start().await.unwrap();
        site.clusters.resume().await.unwrap();
        let subscription = site.catalog.workspaces().await.unwrap().remove(0).subscription;
        let base = format!("/subscriptions/{subscription}/resourceGroups/default/providers");
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        let app = App { site, metrics };
        Self { router: router(app.clone()), app, base, _dirs: dirs }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "logs.example:7700");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default() }
    }

    /// A call as the admin to a path below the group's providers.
    async fn call(&self, method: Method, rest: &str, body: &Value) -> Answer {
        let path = format!("{}/{rest}{}{VERSION}", self.base, if rest.contains('?') { "&" } else { "?" });
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, &path, &[("authorization", &format!("Bearer {ADMIN}"))], &body).await
    }

    async fn insights(&self, method: Method, rest: &str, body: &Value) -> Answer {
        self.call(method, &format!("Microsoft.OperationalInsights/{rest}"), body).await
    }

    /// Follows an operation to its end.
    async fn end(&self, answer: &Answer) -> Value {
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        assert_eq!(answer.headers["retry-after"], "1");
        let url = answer.headers["azure-asyncoperation"].to_str().unwrap();
        let path = url.strip_prefix("http://logs.example:7700").unwrap_or_else(|| panic!("{url}"));
        self.app.site.clusters.idle().await;
        let status = self.send(Method::GET, path, &[("authorization", &format!("Bearer {ADMIN}"))], "").await;
        assert_eq!(status.status, StatusCode::OK, "{}", status.body);
        status.body
    }

    async fn done(&self, answer: &Answer) {
        let status = self.end(answer).await;
        assert_eq!(status["status"], "Succeeded", "{status}");
        assert!(status["endTime"].is_string() && status["startTime"].is_string(), "{status}");
    }

    async fn cluster(&self, name: &str) -> Value {
        let made = self.insights(Method::PUT, &format!("clusters/{name}"), &new_cluster()).await;
        self.done(&made).await;
        self.insights(Method::GET, &format!("clusters/{name}"), &Value::Null).await.body
    }

    async fn token(&self, role: &str) -> String {
        self.app.site.principals.create(role.to_owned(), role, Scope::All, None).await.unwrap().token
    }
}

#[tokio::test]
async fn a_cluster_lives_its_life_as_an_azure_client_sees_it() {
    let door = Door::open().await;
    let body = json!({
        "location": "West Europe", "tags": {"team": "payments"}, "identity": {"type": "SystemAssigned"},
        "sku": {"capacity": 100, "name": "capacityreservation"}, "properties": {"billingType": "cluster"},
    });
    let made = door.insights(Method::PUT, "clusters/Contoso", &body).await;
    assert_eq!(made.body["properties"]["provisioningState"], "Creating");
    assert_eq!(made.body["type"], "Microsoft.OperationalInsights/clusters");
    door.done(&made).await;
    let cluster = door.insights(Method::GET, "clusters/contoso", &Value::Null).await.body;
    assert_eq!(
        (&cluster["name"], &cluster["location"], &cluster["tags"]["team"]),
        (&json!("Contoso"), &json!("westeurope"), &json!("payments"))
    );
    assert_eq!(cluster["id"], format!("{}/Microsoft.OperationalInsights/clusters/Contoso", door.base));
    assert_eq!(cluster["sku"], json!({"name": "CapacityReservation", "capacity": 100}));
    assert_eq!(cluster["identity"]["type"], "SystemAssigned");
    assert!(cluster["identity"]["principalId"].is_string() && cluster["identity"]["tenantId"].is_string(), "{cluster}");
    let properties = &cluster["properties"];
    assert_eq!((&properties["provisioningState"], &properties["isDoubleEncryptionEnabled"]), (&json!("Succeeded"), &json!(true)));
    assert!(properties["identityPublicKey"].as_str().unwrap().starts_with("-----BEGIN PUBLIC KEY-----"), "{cluster}");
    assert!(properties["keyState"].is_string() && properties["keyVaultProperties"].is_null(), "{cluster}");

    // As az sends it back, with one member changed.
    let mut whole = cluster.clone();
    whole["properties"]["billingType"] = "Workspaces".into();
    whole["properties"]["capacityReservationProperties"] = json!({});
    let changed = door.insights(Method::PUT, "clusters/contoso", &whole).await;
    door.done(&changed).await;
    let same = door.insights(Method::PATCH, "clusters/contoso", &json!({"properties": {"billingType": "Workspaces"}})).await;
    assert!(same.headers.get("azure-asyncoperation").is_none());
    assert_eq!((same.status, &same.body["properties"]["billingType"]), (StatusCode::OK, &json!("Workspaces")));
    let fixed = door.insights(Method::PATCH, "clusters/contoso", &json!({"properties": {"isDoubleEncryptionEnabled": false}})).await;
    assert_eq!(fixed.error().1, "DoubleEncryptionImmutable");

    // Whatever the case, whatever the slashes; by group and by subscription.
    let group = format!("{}/Microsoft.OperationalInsights/clusters", door.base);
    let subscription = group.replace("/resourceGroups/default", "");
    for path in [format!("//{}", group.trim_start_matches('/').to_uppercase()), group.to_lowercase(), subscription] {
        let all = door.send(Method::GET, &format!("{path}?{VERSION}"), &[("authorization", &format!("Bearer {ADMIN}"))], "").await;
        assert_eq!((all.status, &all.body["value"][0]["name"]), (StatusCode::OK, &json!("Contoso")), "{path}");
    }
    let elsewhere = group.replace("/default/", "/other/");
    let none = door.send(Method::GET, &format!("{elsewhere}?{VERSION}"), &[("authorization", &format!("Bearer {ADMIN}"))], "").await;
    assert_eq!(none.body, json!({"value": []}));

    let gone = door.insights(Method::DELETE, "clusters/contoso", &Value::Null).await;
    assert_eq!(gone.body["properties"]["provisioningState"], "Deleting");
    assert!(gone.body["properties"]["notice"].as_str().unwrap().contains("unlinked"), "{}", gone.body);
    door.done(&gone).await;
    for method in [Method::GET, Method::DELETE] {
        let absent = door.insights(method, "clusters/contoso", &Value::Null).await;
        assert_eq!((absent.error().0, absent.error().1), (StatusCode::NOT_FOUND, "ResourceNotFound"));
        assert!(absent.error().2.starts_with("Cluster not found, the cluster might have been deleted."), "{}", absent.body);
    }
    let again = door.insights(Method::PUT, "clusters/CONTOSO", &body).await;
    assert_eq!((again.error().0, again.error().1), (StatusCode::CONFLICT, "ClusterNameReserved"));
}

#[tokio::test]
async fn a_workspace_is_made_linked_shown_and_unlinked() {
    let door = Door::open().await;
    let cluster = door.cluster("contoso").await;
    let made = door.insights(Method::PUT, "workspaces/shop", &json!({"location": "Local", "properties": {"retentionInDays": 40}})).await;
    assert_eq!((made.status, &made.body["properties"]["retentionInDays"]), (StatusCode::CREATED, &json!(40)));
    assert_eq!(made.body["properties"]["sku"]["name"], "PerGB2018");
    let patched = door.insights(Method::PATCH, "workspaces/shop", &json!({"properties": {"retentionInDays": 60}})).await;
    assert_eq!((patched.status, &patched.body["properties"]["retentionInDays"]), (StatusCode::OK, &json!(60)));
    let keyed = door.insights(Method::PUT, "workspaces/shop", &json!({"properties": {"keyVaultProperties": {"keyName": "k"}}})).await;
    assert!(keyed.error().2.contains("link it to a cluster"), "{}", keyed.body);

    let link = "workspaces/shop/linkedServices/cluster";
    let none = door.insights(Method::GET, link, &Value::Null).await;
    assert_eq!((none.error().0, none.error().1), (StatusCode::NOT_FOUND, "ResourceNotFound"));
    let body = json!({"properties": {"writeAccessResourceId": cluster["id"]}});
    let linked = door.insights(Method::PUT, link, &body).await;
    assert_eq!((&linked.body["name"], &linked.body["properties"]["provisioningState"]), (&json!("shop/cluster"), &json!("Updating")));
    door.done(&linked).await;
    let shown = door.insights(Method::GET, link, &Value::Null).await.body;
    assert_eq!(shown["properties"], json!({"writeAccessResourceId": cluster["id"], "provisioningState": "Succeeded"}));
    let all = door.insights(Method::GET, "workspaces/shop/linkedServices", &Value::Null).await.body;
    assert_eq!(all["value"], json!([shown]));
    let workspace = door.insights(Method::GET, "workspaces/SHOP", &Value::Null).await.body;
    assert_eq!(workspace["properties"]["features"]["clusterResourceId"], cluster["id"]);
    assert_eq!(workspace["properties"]["sku"]["name"], "LACluster");
    assert_eq!(workspace["properties"]["customerId"], made.body["properties"]["customerId"]);
    let associated = door.insights(Method::GET, "clusters/contoso", &Value::Null).await.body["properties"]["associatedWorkspaces"].clone();
    assert_eq!((&associated[0]["workspaceName"], &associated[0]["resourceId"]), (&json!("shop"), &workspace["id"]));
    let native = door.send(Method::GET, "/v1/workspaces/shop", &[("authorization", &format!("Bearer {ADMIN}"))], "").await;
    assert_eq!(native.body["cluster"], "contoso");
    let same = door.insights(Method::PUT, link, &body).await;
    assert!(same.headers.get("azure-asyncoperation").is_none(), "{}", same.body);
    door.cluster("fabrikam").await;
    let other = cluster["id"].as_str().unwrap().replace("contoso", "fabrikam");
    let elsewhere = door.insights(Method::PUT, link, &json!({"properties": {"writeAccessResourceId": other}})).await;
    assert_eq!((elsewhere.error().0, elsewhere.error().1), (StatusCode::CONFLICT, "WorkspaceLinkedElsewhere"));
    let nowhere = door.insights(Method::PUT, link, &json!({"properties": {"writeAccessResourceId": "x"}})).await;
    assert_eq!((nowhere.error().0, nowhere.error().1), (StatusCode::BAD_REQUEST, "ClusterNotFound"));

    let unlinked = door.insights(Method::DELETE, link, &Value::Null).await;
    assert_eq!(unlinked.body["properties"]["provisioningState"], "Deleting");
    door.done(&unlinked).await;
    let workspace = door.insights(Method::GET, "workspaces/shop", &Value::Null).await.body;
    assert!(workspace["properties"]["features"].get("clusterResourceId").is_none(), "{workspace}");
    assert_eq!(door.insights(Method::DELETE, link, &Value::Null).await.status, StatusCode::NO_CONTENT);
    for (method, rest) in
        [(Method::PUT, "workspaces/never/linkedServices/cluster"), (Method::DELETE, "workspaces/never/linkedServices/cluster")]
    {
        let text = "Workspace not found. The workspace you specified doesn't exist or was deleted.";
        assert_eq!(door.insights(method, rest, &body).await.error(), (StatusCode::NOT_FOUND, "WorkspaceNotFound", text));
    }
}

#[tokio::test]
async fn a_key_is_refused_with_what_is_wrong_and_the_cluster_stays_as_it_was() {
    let door = Door::open().await;
    door.cluster("contoso").await;
    let set = |uri: &str| json!({"properties": {"keyVaultProperties": {"keyVaultUri": uri, "keyName": "kek", "keyVersion": ""}}});
    let unknown = door.insights(Method::PATCH, "clusters/contoso", &set("https://127.0.0.1:1")).await;
    assert_eq!((unknown.error().0, unknown.error().1), (StatusCode::BAD_REQUEST, "KeyVaultNotRegistered"));
    let format = door.insights(Method::PATCH, "clusters/contoso", &set("http://127.0.0.1:1")).await;
    assert_eq!((format.error().0, format.error().1), (StatusCode::BAD_REQUEST, "InvalidKeyVaultProperties"));

    let vault = json!({"location": "local", "properties": {"tenantId": "t", "vaultUri": "https://127.0.0.1:1/", "sku": {"family": "A"}}});
    let registered = door.call(Method::PUT, "Microsoft.KeyVault/vaults/v1", &vault).await;
    assert_eq!((registered.status, &registered.body["properties"]["vaultUri"]), (StatusCode::OK, &json!("https://127.0.0.1:1")));
    assert_eq!(door.call(Method::GET, "microsoft.keyvault/VAULTS/V1", &Value::Null).await.body, registered.body);
    let all = door.call(Method::GET, "Microsoft.KeyVault/vaults", &Value::Null).await.body;
    assert_eq!(all["value"], json!([registered.body]));
    // Nobody listens there.
    let silent = door.insights(Method::PATCH, "clusters/contoso", &set("https://127.0.0.1:1")).await;
    assert_eq!((silent.error().0, silent.error().1), (StatusCode::BAD_REQUEST, "KeyValidationFailed"));
    assert!(silent.error().2.starts_with("Failed to validate key in Key Vault. Could be due to lack of permissions"), "{}", silent.body);
    assert_eq!(silent.body["error"]["details"][0]["code"], "VaultUnreachable", "{}", silent.body);
    assert!(silent.headers.get("retry-after").is_none());
    let cluster = door.insights(Method::GET, "clusters/contoso", &Value::Null).await.body;
    assert_eq!(
        (&cluster["properties"]["provisioningState"], &cluster["properties"]["keyVaultProperties"]),
        (&json!("Succeeded"), &Value::Null)
    );

    let admin = format!("Bearer {ADMIN}");
    let check = json!({"keyVaultProperties": {"keyVaultUri": "https://127.0.0.1:1", "keyName": "kek"}, "workspace": "default"}).to_string();
    let told = door.send(Method::POST, "/v1/clusters/contoso/check", &[("authorization", &admin)], &check).await;
    assert_eq!((told.status, &told.body["ok"]), (StatusCode::OK, &json!(false)));
    let bad: Vec<_> =
        told.body["checks"].as_array().unwrap().iter().filter(|check| check["ok"] == false).map(|check| &check["name"]).collect();
    assert_eq!(bad, ["key"]);
    let status = door.send(Method::GET, "/v1/clusters/CONTOSO/key", &[("authorization", &admin)], "").await;
    assert_eq!((&status.body["cluster"], &status.body["providerKeys"]["infrastructure"]), (&json!("contoso"), &json!(true)));
    assert_eq!(status.body["aeks"][0]["class"], "MMK", "{}", status.body);
    assert!(status.body["advice"][0].as_str().unwrap().contains("set-key contoso"), "{}", status.body);

    assert_eq!(door.call(Method::DELETE, "Microsoft.KeyVault/vaults/v1", &Value::Null).await.status, StatusCode::OK);
    assert_eq!(door.call(Method::DELETE, "Microsoft.KeyVault/vaults/v1", &Value::Null).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn every_request_needs_a_version_a_token_and_a_role_and_is_named() {
    let door = Door::open().await;
    let clusters = format!("{}/Microsoft.OperationalInsights/clusters", door.base);
    let admin = format!("Bearer {ADMIN}");
    let get = async |query: &str, headers: &[(&str, &str)]| door.send(Method::GET, &format!("{clusters}{query}"), headers, "").await;
    let own = get(&format!("?{VERSION}"), &[("authorization", &admin), ("x-ms-client-request-id", "mine-1")]).await;
    assert_eq!((own.status, own.headers["x-ms-client-request-id"].to_str().unwrap()), (StatusCode::OK, "mine-1"));
    assert!(own.headers.contains_key("x-ms-request-id") && own.headers.contains_key("x-ms-correlation-request-id"));
    let missing = get("", &[("authorization", &admin)]).await;
    assert_eq!((missing.error().0, missing.error().1), (StatusCode::BAD_REQUEST, "MissingApiVersionParameter"));
    assert!(missing.headers.contains_key("x-ms-request-id"));
    let wrong = get("?api-version=latest", &[("authorization", &admin)]).await;
    assert_eq!((wrong.error().0, wrong.error().1), (StatusCode::BAD_REQUEST, "InvalidApiVersionParameter"));
    let nobody = get(&format!("?{VERSION}"), &[]).await;
    assert_eq!((nobody.error().0, nobody.error().1), (StatusCode::UNAUTHORIZED, "AuthenticationFailed"));
    let operation = clusters.replace("/resourceGroups/default", "").replace("/clusters", "/locations/here/operationStatuses/");
    for id in ["nonsense", "0192f0c4-0000-7000-8000-000000000001"] {
        let unknown = door.send(Method::GET, &format!("{operation}{id}?{VERSION}"), &[("authorization", &admin)], "").await;
        assert_eq!((unknown.error().0, unknown.error().1), (StatusCode::NOT_FOUND, "ResourceNotFound"), "{id}");
    }
    let text = "The body of the request is null or in bad format.";
    for body in ["", "null", "[]", "{"] {
        let bad = door.send(Method::PUT, &format!("{clusters}/contoso?{VERSION}"), &[("authorization", &admin)], body).await;
        assert_eq!(bad.error(), (StatusCode::BAD_REQUEST, "InvalidRequestBody", text), "{body}");
    }

    let body = new_cluster().to_string();
    for (role, read, write) in [
        ("Operator", StatusCode::OK, StatusCode::ACCEPTED),
        ("Reader", StatusCode::OK, StatusCode::FORBIDDEN),
        ("Ingest", StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
    ] {
        let bearer = format!("Bearer {}", door.token(role).await);
        assert_eq!(get(&format!("?{VERSION}"), &[("authorization", &bearer)]).await.status, read, "{role}");
        let put = door.send(Method::PUT, &format!("{clusters}/by-{role}?{VERSION}"), &[("authorization", &bearer)], &body).await;
        assert_eq!(put.status, write, "{role}: {}", put.body);
    }
    door.app.site.clusters.idle().await;
}

#[tokio::test]
async fn addresses_are_those_that_the_outside_knows() {
    let door = Door::open_with(|config| config.gateway.external_url = "https://logs.contoso.example/".to_owned()).await;
    let made = door.insights(Method::PUT, "clusters/contoso", &new_cluster()).await;
    let url = made.headers["azure-asyncoperation"].to_str().unwrap();
    assert!(url.starts_with("https://logs.contoso.example/subscriptions/"), "{url}");
    door.app.site.clusters.idle().await;
}

#[test]
fn a_path_is_found_whatever_its_case_and_with_a_second_slash() {
    let check = |path: &str, expected: &str| assert_eq!(respelled(path).as_deref().unwrap_or(path), expected);
    check("/V1/Subscriptions/S/ResourceGroups/Query/x", "/v1/subscriptions/S/resourceGroups/Query/x");
    check("/v1/Workspaces/Query/QUERY", "/v1/workspaces/Query/query");
    check("/v1/%24batch", "/v1/$batch");
    check("/v1/%24Batch", "/v1/$batch");
    check("/DataCollectionRules/DCR-1/Streams/Custom-Streams", "/dataCollectionRules/DCR-1/streams/Custom-Streams");
    let cluster = "/subscriptions/S1/resourceGroups/Rg/providers/Microsoft.OperationalInsights/clusters/Contoso";
    check(cluster, cluster);
    check("//SUBSCRIPTIONS/S1/resourcegroups/Rg/Providers/microsoft.operationalinsights/CLUSTERS/Contoso", cluster);
    check(
        "/subscriptions/s/resourcegroups/clusters/providers/Microsoft.OperationalInsights/workspaces/Vaults/linkedservices/Cluster",
        "/subscriptions/s/resourceGroups/clusters/providers/Microsoft.OperationalInsights/workspaces/Vaults/linkedServices/Cluster",
    );
    check(
        "/subscriptions/s/providers/microsoft.operationalinsights/LOCATIONS/WestEurope/operationstatuses/X",
        "/subscriptions/s/providers/Microsoft.OperationalInsights/locations/WestEurope/operationStatuses/X",
    );
    check("//v1/Workspaces", "/v1/workspaces");
    check("/v1/clusters/Subscriptions", "/v1/clusters/Subscriptions");
    check("/", "/");
    check("///", "/");
}

#[tokio::test]
async fn lists_of_clusters_come_in_pages_to_those_who_may_see_them() {
    let door = Door::open_with(|config| config.gateway.page_size = 2).await;
    let names = |page: &Answer| -> Vec<String> {
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        page.body["value"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let at = |base: &str, rest: &str| format!("{base}/Microsoft.OperationalInsights/{rest}?{VERSION}");
    let other = door.base.replace("/default/", "/Other/");
    let admin = format!("Bearer {ADMIN}");
    let admin = [("authorization", admin.as_str())];
    for (base, name) in [(&door.base, "alpha"), (&other, "bravo"), (&door.base, "charly"), (&other, "delta"), (&door.base, "ekko")] {
        let body = new_cluster().to_string();
        let made = door.send(Method::PUT, &at(base, &format!("clusters/{name}")), &admin, &body).await;
        door.done(&made).await;
    }
    // Each list is followed to its end; a cluster that goes meanwhile hides no other.
    let subscription = door.base.split_once("/resourceGroups").unwrap().0;
    for (path, expected) in [
        (at(&format!("{subscription}/providers"), "clusters"), vec!["alpha", "bravo", "charly", "delta", "ekko"]),
        (at(&door.base, "clusters"), vec!["alpha", "charly", "ekko"]),
        (at(&other, "clusters"), vec!["bravo", "delta"]),
        (at(&door.base.replace("/default/", "/nobodys/"), "clusters"), vec![]),
    ] {
        let (mut seen, mut next, mut pages) = (Vec::new(), Some(path), 0);
        while let Some(path) = next {
            let page = door.send(Method::GET, &path, &admin, "").await;
            seen.extend(names(&page));
            pages += 1;
            next = page.body["nextLink"].as_str().map(|link| link.strip_prefix("http://logs.example:7700").unwrap().to_owned());
            assert!(next.as_ref().is_none_or(|next| next.contains(VERSION) && next.matches("skiptoken").count() == 1), "{next:?}");
        }
        assert_eq!((seen, pages), (expected.iter().map(ToString::to_string).collect(), expected.len().div_ceil(2).max(1)));
    }
    let first = door.insights(Method::GET, "clusters", &Value::Null).await;
    let next = first.body["nextLink"].as_str().unwrap().strip_prefix("http://logs.example:7700").unwrap().to_owned();
    door.done(&door.insights(Method::DELETE, "clusters/charly", &Value::Null).await).await;
    assert_eq!(names(&door.send(Method::GET, &next, &admin, "").await), ["ekko"], "the last one seen is gone");
    let bad = door.insights(Method::GET, "clusters?$skiptoken=nonsense", &Value::Null).await;
    assert_eq!((bad.status, &bad.body["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("InvalidParameter")));

    // Somebody confined to one workspace sees none, on no page.
    let home = door.app.site.catalog.workspaces().await.unwrap().remove(0).id;
    let confined = door.app.site.principals.create("confined".to_owned(), "Reader", Scope::Workspace(home), None).await.unwrap().token;
    let confined = format!("Bearer {confined}");
    for path in [at(&door.base, "clusters"), next] {
        let seen = door.send(Method::GET, &path, &[("authorization", &confined)], "").await;
        assert_eq!((seen.status, seen.body), (StatusCode::OK, json!({"value": []})));
    }
}

#[tokio::test]
async fn identities_are_made_shown_by_clusters_and_given_back_by_an_operator_alone() {
    let door = Door::open().await;
    let kind = "Microsoft.ManagedIdentity/userAssignedIdentities";
    let made = door.call(Method::PUT, &format!("{kind}/reader"), &json!({"location": "local", "tags": {"a": "b"}})).await;
    assert_eq!((made.status, &made.body["type"], &made.body["tags"]["a"]), (StatusCode::CREATED, &json!(kind), &json!("b")));
    let path = made.body["id"].as_str().unwrap().to_owned();
    assert!(made.body["properties"]["publicKey"].as_str().unwrap().starts_with("-----BEGIN PUBLIC KEY-----"), "{}", made.body);
    assert_eq!(door.call(Method::GET, "microsoft.managedidentity/USERASSIGNEDIDENTITIES/READER", &Value::Null).await.body, made.body);
    assert_eq!(door.call(Method::GET, kind, &Value::Null).await.body["value"], json!([made.body]));
    assert_eq!(door.call(Method::PUT, &format!("{kind}/other"), &Value::Null).await.error().1, "InvalidRequestBody");

    let mut body = new_cluster();
    body["identity"] = json!({"type": "UserAssigned", "userAssignedIdentities": {path.clone(): {}}});
    let begun = door.insights(Method::PUT, "clusters/contoso", &body).await;
    door.done(&begun).await;
    let cluster = door.insights(Method::GET, "clusters/contoso", &Value::Null).await.body;
    let shown = json!({"principalId": made.body["properties"]["principalId"], "clientId": made.body["properties"]["clientId"]});
    assert_eq!(cluster["identity"], json!({"type": "UserAssigned", "userAssignedIdentities": {path.clone(): shown}}), "{cluster}");
    assert!(cluster["properties"]["ownIdentity"]["principalId"].is_string(), "to be granted before it is shown: {cluster}");
    // As az sends it back whole: nothing changes.
    assert!(door.insights(Method::PUT, "clusters/contoso", &cluster).await.headers.get("azure-asyncoperation").is_none());
    assert_eq!(door.call(Method::DELETE, &format!("{kind}/reader"), &Value::Null).await.error().1, "IdentityInUse");

    let none = door.insights(Method::PATCH, "clusters/contoso", &json!({"identity": {"userAssignedIdentities": null}})).await;
    assert_eq!((none.status, &none.body["identity"]), (StatusCode::OK, &json!({"type": "None"})), "{}", none.body);
    assert!(none.body["properties"]["notice"].as_str().unwrap().contains("disable the key"), "{}", none.body);
    let back = door.insights(Method::PATCH, "clusters/contoso", &json!({"identity": {"type": "SystemAssigned"}})).await;
    assert_eq!((back.error().0, back.error().1), (StatusCode::FORBIDDEN, "IdentityNoneIsFinal"));
    for (role, status) in [("Contributor", StatusCode::FORBIDDEN), ("Reader", StatusCode::FORBIDDEN), ("Operator", StatusCode::OK)] {
        let bearer = format!("Bearer {}", door.token(role).await);
        let asked = door.send(Method::POST, "/v1/clusters/contoso/restore-identity", &[("authorization", &bearer)], "").await;
        assert_eq!(asked.status, status, "{role}: {}", asked.body);
    }
    let cluster = door.insights(Method::GET, "clusters/contoso", &Value::Null).await.body;
    assert_eq!(cluster["identity"]["type"], "UserAssigned");
    let admin = format!("Bearer {ADMIN}");
    for (method, path, status) in [
        (Method::GET, "/v1/clusters/contoso/rekey", StatusCode::NOT_FOUND),
        (Method::POST, "/v1/clusters/contoso/rekey", StatusCode::CONFLICT),
        (Method::POST, "/v1/workspaces/default/reencrypt", StatusCode::NOT_FOUND),
    ] {
        let answer = door.send(method, path, &[("authorization", &admin)], "").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_printed_bodies_are_refused_with_their_place_and_taken_once_repaired_s1_s2_s3_s9_s10() {
    let door = Door::open().await;
    door.cluster("contoso").await;
    let admin = format!("Bearer {ADMIN}");
    let send = async |version: &str, body: &str| {
        let path = format!(
            "{}/microsoft.operationalinsights/CLUSTERS/contoso?api-version={version}",
            door.base.replace("resourceGroups", "resourcegroups")
        );
        door.send(Method::PATCH, &path, &[("authorization", &admin)], body).await
    };
    let vault = json!({"location": "local", "properties": {"tenantId": "t", "vaultUri": "https://127.0.0.1:1"}});
    door.call(Method::PUT, "Microsoft.KeyVault/vaults/v1", &vault).await;
    // As printed: the last brace is missing, so that `sku` lies within the properties and nothing closes the body.
    let printed = |name: &str, capacity: u32| {
        format!(
            "{{\n  \"properties\": {{\n    \"keyVaultProperties\": {{\n      \"keyVaultUri\": \"https://127.0.0.1:1\",\n      \"{name}\": \"key-name\",\n      \"keyVersion\": \"1\"\n  }},\n  \"sku\": {{\n    \"name\": \"CapacityReservation\",\n    \"capacity\": {capacity}\n  }}\n}}\n"
        )
    };
    for (version, name) in [("2023-09-01", "keyName"), ("2020-08-01", "kyName")] {
        let torn = send(version, &printed(name, 100)).await;
        let text = "The body of the request is null or in bad format.";
        assert_eq!(torn.error(), (StatusCode::BAD_REQUEST, "InvalidRequestBody", text));
        assert_eq!((&torn.body["error"]["innererror"]["line"], &torn.body["error"]["innererror"]["byte"].is_u64()), (&json!(13), &true));
        assert!(torn.body["error"]["details"][0]["message"].as_str().unwrap().starts_with("line 13, column"), "{}", torn.body);
        // With a brace more, `sku` is in the properties; taken out of them, it is where it belongs. Both are read: the vault is asked,
        // and is not there.
        let inside = format!("{}}}", printed(name, 100));
        let outside = printed(name, 100).replacen("  },\n  \"sku\"", "  }},\n  \"sku\"", 1);
        for body in [inside, outside] {
            let read = send(version, &body).await;
            assert_eq!((read.error().0, read.error().1), (StatusCode::BAD_REQUEST, "KeyValidationFailed"), "{body}");
            assert_eq!(read.body["error"]["details"][0]["code"], "VaultUnreachable");
        }
        // And the capacity in either place is heeded.
        let small = send(version, &format!("{}}}", printed(name, 99))).await;
        assert_eq!(small.error().1, "CapacityOutOfRange");
    }
    let unspaced = send("2023-09-01", "{\n\u{a0} \"properties\": {}\n}").await;
    assert_eq!(unspaced.body["error"]["innererror"], json!({"line": 2, "column": 1, "byte": 2, "found": "U+00A0"}));
    assert!(unspaced.body["error"]["details"][0]["message"].as_str().unwrap().contains("U+00A0, a no-break space"), "{}", unspaced.body);
    assert_eq!(send("2023-09-01", "{\n  \"properties\": {}\n}").await.status, StatusCode::OK);

    let made = door.call(Method::PUT, "Microsoft.ManagedIdentity/userAssignedIdentities/reader", &json!({"location": "local"})).await;
    let id = made.body["id"].as_str().unwrap().to_owned();
    let bare = id.trim_start_matches('/');
    let sku = r#""sku": {"name": "capacityReservation", "capacity": 100}"#;
    let put = async |name: &str, users: String| {
        let body = format!("{{{sku}, \"identity\": {{\"type\": \"UserAssigned\", \"userAssignedIdentities\": {{\n{users}\n}}}}}}");
        let path = format!("{}/Microsoft.OperationalInsights/clusters/{name}?{VERSION}", door.base);
        door.send(Method::PUT, &path, &[("authorization", &admin)], &body).await
    };
    let torn = put("by-bare", format!("\"{bare}\"")).await;
    assert_eq!((torn.error().1, &torn.body["error"]["innererror"]["line"]), ("InvalidRequestBody", &json!(3)), "{}", torn.body);
    for (name, id) in [("by-bare", bare), ("by-slash", id.as_str())] {
        let made = put(name, format!("\"{id}\": {{}}")).await;
        door.done(&made).await;
    }
    let nobody = put("by-nobody", format!("\"{id}x\": {{}}")).await;
    assert_eq!((nobody.error().1, nobody.error().2.contains(&format!("{id}x"))), ("IdentityNotFound", true));
}

#[tokio::test]
async fn a_cluster_is_shown_as_each_version_of_the_protocol_has_it_s4_s5_s6_c15_d13() {
    let door = Door::open().await;
    for (name, double) in [("contoso", true), ("single", false)] {
        let mut body = new_cluster();
        (body["properties"], body["location"]) = (json!({"isDoubleEncryptionEnabled": double}), json!("westeurope"));
        door.done(&door.insights(Method::PUT, &format!("clusters/{name}"), &body).await).await;
    }
    let admin = format!("Bearer {ADMIN}");
    let get = async |name: &str, version: &str| {
        let path = format!("{}/Microsoft.OperationalInsights/clusters/{name}?api-version={version}", door.base);
        let answer = door.send(Method::GET, &path, &[("authorization", &admin)], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{version}: {}", answer.body);
        answer.body
    };
    // What is this server's own, and what no two clusters have alike, is taken out; the rest is told member by member.
    let golden = |mut page: Value| {
        let properties = page["properties"].as_object_mut().unwrap();
        for own in ["keyState", "identityPublicKey"] {
            assert!(properties.remove(own).is_some(), "{own}");
        }
        for (name, mark) in [("clusterId", "cluster-id"), ("createdDate", "created-date"), ("lastModifiedDate", "last-modified-date")] {
            if let Some(value) = properties.get_mut(name) {
                assert!(value.is_string());
                *value = mark.into();
            }
        }
        for at in ["/properties/capacityReservationProperties/lastSkuUpdate", "/identity/tenantId", "/identity/principalId"] {
            if let Some(value) = page.pointer_mut(at) {
                assert!(value.is_string(), "{at}");
                *value = at.rsplit_once('/').unwrap().1.into();
            }
        }
        page
    };
    let expected = json!({
        "identity": {"type": "SystemAssigned", "tenantId": "tenantId", "principalId": "principalId"},
        "sku": {"name": "CapacityReservation", "capacity": 100},
        "properties": {
            "provisioningState": "Succeeded",
            "clusterId": "cluster-id",
            "billingType": "Cluster",
            "lastModifiedDate": "last-modified-date",
            "createdDate": "created-date",
            "isDoubleEncryptionEnabled": true,
            "isAvailabilityZonesEnabled": false,
            "associatedWorkspaces": [],
            "capacityReservationProperties": {"lastSkuUpdate": "lastSkuUpdate", "minCapacity": 100},
        },
        "id": format!("{}/Microsoft.OperationalInsights/clusters/contoso", door.base),
        "name": "contoso",
        "type": "Microsoft.OperationalInsights/clusters",
        "location": "westeurope",
        "tags": {},
    });
    for version in ["2020-10-01", "2021-06-01", "2022-10-01", "2023-09-01", "2025-02-01", "2025-07-01"] {
        assert_eq!(golden(get("contoso", version).await), expected, "{version}");
        assert_eq!(get("single", version).await["properties"]["isDoubleEncryptionEnabled"], false, "{version}");
    }
    let mut old = golden(get("contoso", "2020-08-01").await);
    let date = old["sku"]["lastSkuUpdate"].take();
    let date = date.as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc2822(date).is_ok() && date.ends_with(" GMT"), "{date}");
    assert_eq!(
        (&old["sku"], &old["properties"]),
        (
            &json!({"name": "CapacityReservation", "capacity": 100, "lastSkuUpdate": null}),
            &json!({"provisioningState": "Succeeded", "clusterId": "cluster-id", "billingType": "cluster", "isDoubleEncryptionEnabled": true}),
        )
    );
    assert_eq!(get("single", "2020-08-01").await["properties"]["isDoubleEncryptionEnabled"], false);
    // And what an old client was shown it may send back.
    let back = door.insights(Method::PUT, "clusters/contoso", &get("contoso", "2020-08-01").await).await;
    assert_eq!((back.status, back.headers.get("azure-asyncoperation")), (StatusCode::OK, None), "{}", back.body);
}

#[tokio::test]
async fn a_change_that_takes_its_time_is_answered_as_the_client_and_the_setting_have_it_p2_p3_p5_p6_d12() {
    for (setting, old, new) in [("auto", 200, 202), ("200", 200, 200), ("202", 202, 202)] {
        let door = Door::open_with(|config| {
            config.azure = serde_json::from_value(json!({"async_status": setting})).unwrap();
        })
        .await;
        let admin = format!("Bearer {ADMIN}");
        for (at, (version, status)) in
            [("2020-08-01", old), ("2021-06-01", old), ("2022-10-01", new), ("2025-07-01", new)].iter().enumerate()
        {
            let path = format!("{}/Microsoft.OperationalInsights/clusters/contoso-{at}?api-version={version}", door.base);
            let made = door.send(Method::PUT, &path, &[("authorization", &admin)], &new_cluster().to_string()).await;
            assert_eq!(made.status.as_u16(), *status, "{setting} {version}: {}", made.body);
            assert_eq!(
                (&made.body["properties"]["provisioningState"], made.headers["retry-after"].as_bytes()),
                (&json!("Creating"), &b"1"[..])
            );
            let url = made.headers["azure-asyncoperation"].to_str().unwrap();
            let path = url.strip_prefix("http://logs.example:7700").unwrap();
            door.app.site.clusters.idle().await;
            for spelled in [path.to_owned(), path.replace("operationStatuses", "OPERATIONSTATUSES").replace("/locations/", "/Locations/")] {
                let ended = door.send(Method::GET, &spelled, &[("authorization", &admin)], "").await;
                assert_eq!((ended.status, &ended.body["status"]), (StatusCode::OK, &json!("Succeeded")), "{spelled}: {}", ended.body);
            }
            assert_eq!(door.send(Method::GET, path, &[], "").await.status, StatusCode::UNAUTHORIZED);
        }
        let shown = door.insights(Method::GET, "clusters/contoso-0", &Value::Null).await;
        assert_eq!((shown.status, &shown.body["properties"]["provisioningState"]), (StatusCode::OK, &json!("Succeeded")));
    }
}

#[tokio::test]
async fn nothing_is_moved_c19() {
    let door = Door::open().await;
    let cluster = door.cluster("contoso").await;
    let group = door.base.strip_suffix("/providers").unwrap().to_owned();
    let body = json!({"resources": [cluster["id"]], "targetResourceGroup": group.replace("/default", "/other")}).to_string();
    let admin = format!("Bearer {ADMIN}");
    for last in ["moveResources", "moveresources", "validateMoveResources"] {
        let refused = door.send(Method::POST, &format!("{group}/{last}?{VERSION}"), &[("authorization", &admin)], &body).await;
        assert_eq!((refused.error().0, refused.error().1), (StatusCode::BAD_REQUEST, "ResourceMoveNotSupported"));
        assert!(refused.error().2.contains("Clusters can't be moved to another resource group or subscription"), "{}", refused.body);
    }
    assert_eq!(door.insights(Method::GET, "clusters/contoso", &Value::Null).await.body, cluster);
}
