//! Storage accounts that are linked to a workspace, as Azure's own clients link them: what is saved goes there, under that account's key,
//! and comes back the same.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_tests::azure::{Az, script};
use strongroom_tests::lock::{VaultSite, files};
use strongroom_tests::{ADMIN, Site};
use tempfile::TempDir;

use crate::lock::{brisk, take, until};

const CANARY: &str = "canary-7f3a";

struct Shop {
    site: Site,
    vault: VaultSite,
    /// Below it lie the customers' stores.
    stores: TempDir,
    subscription: String,
}

impl Shop {
    /// A workspace under a cluster's key, an account under a key of its own and one under the cluster's.
    fn open() -> Self {
        let stores = TempDir::new().unwrap();
        let roots = json!([stores.path()]).to_string();
        let mut start = brisk();
        start.environment.push(("STRONGROOM_TLS__ENABLED".to_owned(), "true".to_owned()));
        start.environment.push(("STRONGROOM_STORAGE__ROOTS".to_owned(), roots));
        let (site, vault) = (Site::start_with(start), VaultSite::start());
        for key in ["kek", "own"] {
            vault.create_key(key);
        }
        site.know_vault("customers", &vault);
        let cluster = site.locked_cluster("shop-cluster", &vault, "kek");
        site.link("default", &cluster).unwrap();
        take(&site, "default", 0, 20);
        let subscription = site.provider().split('/').nth(2).unwrap().to_owned();
        let path = format!("{}/Microsoft.ManagedIdentity/userAssignedIdentities/storer", site.provider());
        let (status, made) = site.arm(Method::PUT, &path, Some(json!({"location": "local"})));
        assert_eq!(status, 201, "{made}");
        let principal = made["properties"]["principalId"].as_str().unwrap();
        vault.register("storer", principal, made["properties"]["publicKey"].as_str().unwrap());
        let shop = Self { site, vault, stores, subscription };
        let url = format!("file://{}", shop.store("queries").display());
        let own = ["--key-vault-uri", shop.vault.base(), "--key-name", "own", "--identity", "storer"];
        let create = [&["storage", "create", "shopqueries", "--url", url.as_str()], &own[..]].concat();
        // Without a grant the key is refused, and no account is left behind.
        let refused = shop.site.cli(&create);
        assert!(!refused.status.success() && text(&refused.stderr).contains("Failed to validate key"), "{}", text(&refused.stderr));
        assert_eq!(shop.get("Microsoft.Storage/storageAccounts")["value"], json!([]));
        shop.vault.grant(principal);
        shop.cli(&create);
        shop.cli(&["storage", "create", "shopalerts", "--cluster", "shop-cluster"]);
        shop
    }

    fn store(&self, name: &str) -> PathBuf {
        self.stores.path().join(name)
    }

    fn cli(&self, arguments: &[&str]) -> String {
        let output = self.site.cli(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn get(&self, rest: &str) -> Value {
        self.site.arm(Method::GET, &format!("{}/{rest}", self.site.provider()), None).1
    }

    fn searches(&self) -> (u16, Value) {
        let path = format!("{}/Microsoft.OperationalInsights/workspaces/default/savedSearches", self.site.provider());
        self.site.arm(Method::GET, &path, None)
    }

    /// What a script of the SDK printed last.
    fn sdk(&self, what: &str, workspace: &str) -> Value {
        let ca = self.site.ca();
        let environment = [
            ("BASE", self.site.base()),
            ("TOKEN", ADMIN),
            ("SUBSCRIPTION", self.subscription.as_str()),
            ("REQUESTS_CA_BUNDLE", ca.to_str().unwrap()),
        ];
        let told = script("storage.py", &[what, workspace], &environment);
        serde_json::from_str(told.lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{told}"))
    }

    /// In clear nowhere: neither here nor there, nor in what was printed.
    fn nothing_in_clear(&self) {
        for dir in [self.site.data_dir(), self.stores.path().to_owned()] {
            for (path, bytes) in files(&dir) {
                for canary in [CANARY, "OneMore7f3a"] {
                    assert!(!bytes.windows(canary.len()).any(|window| window == canary.as_bytes()), "{canary} in {}", path.display());
                    assert!(!path.display().to_string().contains(canary), "{}", path.display());
                }
            }
        }
        assert!(!self.site.output().contains(CANARY));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn objects(dir: &Path) -> usize {
    files(dir).into_iter().filter(|(path, _)| path.components().any(|part| part.as_os_str() == "strongroom")).count()
}

#[test]
fn what_is_saved_goes_to_the_customers_account_under_its_own_key_and_comes_back_the_same() {
    let shop = Shop::open();
    let site = &shop.site;
    let before = shop.sdk("save", "default");
    assert_eq!(before.as_array().unwrap().len(), 3, "{before}");

    // The command line of ours shows what is to be considered, and a copy is made first.
    let asked = site.cli(&["linked-storage", "create", "--type", "Query", "--storage-account", "shopqueries"]);
    assert_eq!(asked.status.code(), Some(2));
    let shown = text(&asked.stderr);
    for word in ["moved into the account", "StorageV2", "Query packs", "history", "costs", "nothing was changed"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let copy = site.root().join("searches.json");
    shop.cli(&["saved-search", "export", "--out", copy.to_str().unwrap()]);

    // Azure's own links, as the documents print the lines.
    let made = site.cli(&["principal", "create", "ops", "--role", "Contributor", "--output", "json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let part = |value: &Value| value.as_str().unwrap().to_owned();
    let (client, tenant, secret) = (part(&made["clientId"]), part(&made["tenantId"]), part(&made["credential"]["secret"]));
    let az = Az { config: site.root().join("az"), ca: site.ca() };
    az.told(&format!("cloud register -n Self --endpoint-resource-manager {}", site.base()));
    az.told("cloud set -n Self");
    az.told(&format!("login --service-principal -u {client} -p {secret} --tenant {tenant}"));
    let id = |name: &str| format!("{}/Microsoft.Storage/storageAccounts/{name}", site.provider());
    let found = az.told(&format!("resource show --ids {} --api-version 2024-01-01", id("shopqueries")));
    assert_eq!((&found["kind"], &found["location"]), (&json!("StorageV2"), &json!("local")), "{found}");
    let link = "monitor log-analytics workspace linked-storage create --resource-group default --workspace-name default";
    let linked = az.told(&format!("{link} --type Query --storage-accounts {}", id("shopqueries")));
    assert_eq!(linked["dataSourceType"].as_str().or(linked["properties"]["dataSourceType"].as_str()), Some("Query"), "{linked}");
    az.told(&format!("{link} --type ALerts --storage-accounts {}", id("shopalerts")));

    let all = shop.sdk("links", "default");
    let kept: Vec<&Value> = all.as_array().unwrap().iter().filter(|one| one[0] != format!("{CANARY}-later")).collect();
    assert_eq!(json!(kept), before, "the same three, and one more");
    assert_eq!(objects(&shop.store("queries")), 4);
    shop.nothing_in_clear();
    let (status, called) = site.ask("default", "print OneMore7f3a(41)");
    assert_eq!((status, &called["tables"][0]["rows"][0][0]), (200, &json!(42)), "{called}");
    let held = shop.cli(&["storage", "show", "shopqueries", "--output", "json"]);
    let held: Value = serde_json::from_str(&held).unwrap();
    let encryption = &held["properties"]["encryption"];
    assert_eq!((&encryption["keyState"], &encryption["content"]), (&json!("Active"), &json!({"entries": 4, "left": 0})), "{held}");
    let counted = site.request(Method::GET, "/metrics").send().unwrap().text().unwrap();
    let expected = r#"control_linked_storage_requests_total{account="shopqueries",operation="put"} 4"#;
    assert!(counted.lines().any(|counted| counted == expected), "{counted}");

    // Two keys. The cluster's shuts rows and alerts; the searches still open.
    let version = shop.vault.newest("kek");
    shop.vault.enable("kek", &version, false);
    until("rows are shut", || site.ask("default", "App | count").0 == 403);
    assert_eq!(shop.searches().0, 200);
    shop.vault.enable("kek", &version, true);
    until("rows are back", || site.ask("default", "App | count").0 == 200);
    // The account's own shuts the searches, and what is called by name; the rows still open.
    let version = shop.vault.newest("own");
    shop.vault.enable("own", &version, false);
    until("searches are shut", || shop.searches().0 == 403);
    let (_, refused) = shop.searches();
    assert_eq!(refused["error"]["code"], "CustomerKeyRevoked", "{refused}");
    assert_eq!(site.ask("default", "App | count").0, 200);
    assert_eq!(site.ask("default", "print OneMore7f3a(41)").0, 403);
    let path = format!("{}/Microsoft.OperationalInsights/workspaces/default/linkedStorageAccounts/Query", site.provider());
    assert_eq!(site.arm(Method::DELETE, &path, None).0, 403, "nor are they moved");
    shop.vault.enable("own", &version, true);
    until("searches are back", || shop.searches().0 == 200);
    assert_eq!(shop.sdk("told", "default"), all);

    assert_eq!(shop.sdk("unlink", "default"), all, "etags and versions and all");
    assert_eq!(objects(&shop.store("queries")), 0);
    shop.nothing_in_clear();
    shop.cli(&["storage", "delete", "shopqueries"]);
    // The copy is as good as what it was made of.
    site.create_workspace("copy");
    shop.cli(&["saved-search", "import", copy.to_str().unwrap(), "--workspace", "copy"]);
    let again = site.root().join("again.json");
    shop.cli(&["saved-search", "export", "--out", again.to_str().unwrap(), "--workspace", "copy"]);
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&copy).unwrap());
}

/// Set later, the key seals anew what there is; and what was begun when the process was killed is ended by the next.
#[test]
fn a_key_that_is_set_later_seals_anew_what_there_is_and_a_killed_server_goes_on() {
    let mut shop = Shop::open();
    let url = format!("file://{}", shop.store("later").display());
    shop.cli(&["storage", "create", "later", "--url", &url]);
    let before = shop.sdk("save", "default");
    shop.cli(&["linked-storage", "create", "--type", "query", "--storage-account", "later", "--yes"]);
    let old: Vec<Vec<u8>> = files(&shop.store("later")).into_iter().map(|(_, bytes)| bytes).collect();
    shop.cli(&["storage", "set-key", "later", "--cluster", "shop-cluster"]);
    shop.site.kill();
    shop.site.restart();
    until("everything is under the new key", || {
        let shown: Value = serde_json::from_str(&shop.cli(&["storage", "show", "later", "--output", "json"])).unwrap();
        shown["properties"]["encryption"]["content"] == json!({"entries": 3, "left": 0})
            && shown["properties"]["encryption"]["keyState"] == "Active"
    });
    until("none of the old objects is left", || files(&shop.store("later")).iter().all(|(_, bytes)| !old.contains(bytes)));
    assert_eq!(shop.sdk("told", "default"), before);
    let version = shop.vault.newest("kek");
    shop.vault.enable("kek", &version, false);
    until("shut", || shop.searches().0 == 403);
    // A cluster under whose key an account is cannot be deleted.
    let path = format!("{}/Microsoft.OperationalInsights/clusters/shop-cluster", shop.site.provider());
    let refused = shop.site.change(Method::DELETE, &path, None).unwrap_err();
    assert!(refused["error"]["message"].as_str().unwrap().contains("storage accounts"), "{refused}");
}
