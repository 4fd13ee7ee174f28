//! What the PowerShell modules send for the lines of the documents. PowerShell is in no package registry, so its requests are repeated
//! here as they were recorded by the modules' own tests (Az.OperationalInsights: `ClusterTests`, `SearchTests`; 2021-06-01 and 2020-08-01) and as the
//! modules' sources write them: paths with `resourcegroups` in lower case, the headers of .NET's client, a whole patch each time.

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::blocking::Response;
use serde_json::{Value, json};
use strongroom_tests::Site;
use strongroom_tests::lock::VaultSite;

use crate::lock::brisk;

const CLIENT: &str = "FxVersion/4.700.22.26002 OSName/Windows OSVersion/Microsoft.Windows.10.0.22000 Microsoft.Azure.Management.OperationalInsights.OperationalInsightsManagementClient/0.25.0.0";
const REQUEST: &str = "1b6add8f-5efd-4af3-9f29-a514c0dcce78";

/// A request as .NET's client for resources sends it.
fn send(site: &Site, method: Method, path: &str, body: Option<&Value>) -> Response {
    let mut request = site.request(method, path).header("x-ms-client-request-id", REQUEST).header("Accept-Language", "en-US");
    request = request.header("User-Agent", CLIENT);
    if let Some(body) = body {
        // Newtonsoft's indented text.
        let text = serde_json::to_string_pretty(body).unwrap().replace('\n', "\r\n");
        request = request.header("Content-Type", "application/json; charset=utf-8").body(text);
    }
    let answer = request.send().unwrap();
    assert_eq!(answer.headers()["x-ms-client-request-id"], REQUEST);
    assert!(answer.headers().contains_key("x-ms-request-id") && answer.headers().contains_key("x-ms-correlation-request-id"));
    answer
}

fn get(site: &Site, path: &str) -> Value {
    let answer = send(site, Method::GET, path, None);
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().unwrap()
}

/// Waits as that client does: the operation's address until its end, then the resource.
fn follow(site: &Site, answer: &Response, resource: &str) -> Value {
    let operation = answer.headers()["azure-asyncoperation"].to_str().unwrap();
    let operation = operation.strip_prefix(site.base()).unwrap().to_owned();
    assert_eq!(answer.headers()["retry-after"], "1");
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let state = get(site, &operation);
        match state["status"].as_str().unwrap() {
            "Succeeded" => return get(site, resource),
            "Failed" | "Canceled" => panic!("{state}"),
            _ => assert!(Instant::now() < deadline, "{state}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// CL11: what the module's own test recorded (`LinkedStorageAccountTests`), with the kinds that the documents link: `Get-AzStorageAccount`, then a
/// PUT whose body says the accounts alone, the kind being in the path; reading both; and the module's `Remove-…`.
#[test]
fn what_the_powershell_module_sends_to_link_storage_is_answered() {
    let site = Site::start_with(brisk());
    let provider = site.provider();
    let subscription = provider.split('/').nth(2).unwrap().to_owned();
    let group = |word: &str| format!("/subscriptions/{subscription}/{word}/default/providers");
    let account = format!("{}/Microsoft.Storage/storageAccounts/mock1", group("resourceGroups"));
    let (status, made) = site.arm(Method::PUT, &account, Some(json!({"location": "local", "kind": "StorageV2"})));
    assert!(matches!(status, 200 | 201), "{status} {made}");
    let found = get(&site, &format!("{account}?api-version=2021-09-01"));
    assert_eq!((&found["id"], &found["kind"]), (&json!(account), &json!("StorageV2")), "{found}");
    let links = format!("{}/Microsoft.OperationalInsights/workspaces/default/linkedStorageAccounts", group("resourcegroups"));
    let version = "api-version=2020-08-01";
    for source in ["Query", "Alerts"] {
        let body = json!({"properties": {"storageAccountIds": [found["id"]]}});
        let path = format!("{links}/{source}?{version}");
        let linked = send(&site, Method::PUT, &path, Some(&body));
        assert_eq!(linked.status(), 200);
        let linked: Value = linked.json().unwrap();
        assert_eq!(linked["type"], "Microsoft.OperationalInsights/workspaces/linkedStorageAccounts");
        let properties = &linked["properties"];
        assert_eq!((&properties["dataSourceType"], &properties["storageAccountIds"]), (&json!(source), &json!([account])), "{linked}");
        assert_eq!(get(&site, &path), linked);
    }
    assert_eq!(get(&site, &format!("{links}?{version}"))["value"].as_array().unwrap().len(), 2);
    for source in ["Query", "Alerts"] {
        assert_eq!(send(&site, Method::DELETE, &format!("{links}/{source}?{version}"), None).status(), 200);
    }
    assert_eq!(get(&site, &format!("{links}?{version}"))["value"], json!([]));
}

/// CL7, CL8, CL9, CL12.
#[test]
fn what_the_powershell_modules_send_is_answered() {
    let (site, vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("key-name");
    site.know_vault("customers", &vault);
    let cluster = site.create_cluster("cluster-name", true);
    site.admit(&cluster, &vault);
    let provider = site.provider();
    let subscription = provider.split('/').nth(2).unwrap().to_owned();

    // Select-AzSubscription "cluster-subscription-id"
    let tenants = get(&site, "/tenants?api-version=2021-01-01");
    let shown = get(&site, &format!("/subscriptions/{subscription}?api-version=2021-01-01"));
    assert_eq!((&shown["subscriptionId"], &shown["state"]), (&json!(subscription), &json!("Enabled")));
    assert!(tenants["value"].as_array().unwrap().iter().any(|tenant| tenant["tenantId"] == shown["tenantId"]), "{tenants}");
    assert!(get(&site, "/subscriptions?api-version=2021-01-01")["value"].as_array().unwrap().iter().any(|one| one["id"] == shown["id"]));

    // Update-AzOperationalInsightsCluster -ResourceGroupName … -ClusterName … -KeyVaultUri … -KeyName … -KeyVersion … -AsJob
    let insights = format!("/subscriptions/{subscription}/resourcegroups/default/providers/Microsoft.OperationalInsights");
    let resource = format!("{insights}/clusters/cluster-name?api-version=2021-06-01");
    let before = get(&site, &resource);
    let version = vault.newest("key-name");
    // What is not named is what was there before: the module reads the cluster and sends all of it back.
    let mut patch = json!({
        "properties": {"keyVaultProperties": {"keyVaultUri": vault.base(), "keyName": "key-name", "keyVersion": version}},
        "identity": {"type": before["identity"]["type"]},
        "sku": {"capacity": before["sku"]["capacity"], "name": "CapacityReservation"},
    });
    if before["tags"].is_object() {
        patch["tags"] = before["tags"].clone();
    }
    let accepted = send(&site, Method::PATCH, &resource, Some(&patch));
    assert_eq!(accepted.status(), 200, "2021-06-01 takes nothing else");
    // Get-Job -Command "New-AzOperationalInsightsCluster*": nothing but this wait is behind it.
    let after = follow(&site, &accepted, &resource);
    let key = &after["properties"]["keyVaultProperties"];
    assert_eq!((&key["keyName"], &key["keyVersion"]), (&json!("key-name"), &json!(version)), "{after}");
    assert_eq!(after["properties"]["provisioningState"], "Succeeded");
    // The patch that the module's own tests recorded.
    let recorded = json!({
        "properties": {"billingType": "Workspaces"},
        "identity": {"type": "SystemAssigned"},
        "sku": {"capacity": 100, "name": "CapacityReservation"},
        "tags": {"LAClusterTestException": "oibeftExcludeClusterCOGS"},
    });
    let accepted = send(&site, Method::PATCH, &resource, Some(&recorded));
    assert_eq!(accepted.status(), 200);
    let after =
        if accepted.headers().contains_key("azure-asyncoperation") { follow(&site, &accepted, &resource) } else { get(&site, &resource) };
    assert_eq!((&after["properties"]["billingType"], &after["tags"]), (&json!("Workspaces"), &recorded["tags"]), "{after}");
    let listed = get(&site, &format!("{insights}/clusters?api-version=2021-06-01"));
    assert_eq!(listed["value"].as_array().unwrap().len(), 1);

    // Get-AzOperationalInsightsSavedSearch, of a workspace and by its id, as it is before storage is linked.
    get(&site, &format!("/subscriptions/{subscription}/providers/Microsoft.OperationalInsights?api-version=2016-09-01"));
    let searches = format!("{insights}/workspaces/default/savedSearches");
    for n in 0..3 {
        let body = json!({"properties": {"category": "c", "displayName": format!("n {n}"), "query": format!("print {n} // a comment")}});
        assert_eq!(send(&site, Method::PUT, &format!("{searches}/s{n}?api-version=2020-08-01"), Some(&body)).status(), 200);
    }
    let listed = get(&site, &format!("{searches}?api-version=2020-08-01"));
    assert_eq!(listed["value"].as_array().unwrap().len(), 3, "{listed}");
    let one = get(&site, &format!("{searches}/s1?api-version=2020-08-01"));
    assert_eq!((&one["properties"]["query"], &one["properties"]["displayName"]), (&json!("print 1 // a comment"), &json!("n 1")), "{one}");
    assert!(one["etag"].is_string() && one["id"].as_str().unwrap().ends_with("/savedSearches/s1"), "{one}");
}
