//! Who there is, as Azure's own clients meet it: `azure-identity` and `az` log in, find their subscriptions, and may do what their roles say.

use std::process::Output;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_tests::azure::{Az, script};
use strongroom_tests::{Site, Start};

fn site() -> Site {
    Site::start_with(Start { environment: vec![("STRONGROOM_TLS__ENABLED".to_owned(), "true".to_owned())], ..Start::default() })
}

fn json_of(output: &Output) -> Value {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}\n{err}"))
}

#[test]
fn azure_clients_log_in_with_what_they_have_and_find_their_subscriptions() {
    let site = site();
    let own = site.request(Method::GET, "/v1/workspaces").send().unwrap().json::<Value>().unwrap()["value"][0].clone();
    let home = own["subscription"].as_str().unwrap().to_owned();
    for (name, id) in [("cluster-sub", "11111111-1111-4111-8111-111111111111"), ("storage-sub", "22222222-2222-4222-8222-222222222222")] {
        assert!(site.cli(&["subscription", "create", name, "--id", id]).status.success());
    }
    assert!(site.cli(&["subscription", "create", "workspace-sub", "--id", &home]).status.success());

    let made = json_of(&site.cli(&["principal", "create", "pipeline", "--role", "Reader", "--output", "json"]));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (client, tenant, secret) = (text(&made["clientId"]), text(&made["tenantId"]), text(&made["credential"]["secret"]));
    let pem = site.root().join("pipeline.pem");
    let pem = pem.to_str().unwrap();
    script("certificate.py", &[pem], &[]);
    assert!(site.cli(&["principal", "credential", "pipeline", "--certificate", pem]).status.success());

    let ca = site.ca();
    let environment = [
        ("AZURE_AUTHORITY_HOST", site.base()),
        ("AZURE_TENANT_ID", "adfs"),
        ("AZURE_CLIENT_ID", client.as_str()),
        ("AZURE_CLIENT_SECRET", secret.as_str()),
        ("REQUESTS_CA_BUNDLE", ca.to_str().unwrap()),
    ];
    let told = script("identity.py", &[site.base(), &home, pem, &tenant], &environment);
    for line in ["workspaces ['default']", "certificate fine", "wrong AADSTS7000215", "forbidden AuthorizationFailed", "challenge fine"] {
        assert!(told.contains(line), "{line}: {told}");
    }

    // The command line, with nothing but the address of the server.
    let az = Az { config: site.root().join("az"), ca: site.ca() };
    az.told(&format!("cloud register -n Self --endpoint-resource-manager {}/", site.base()));
    az.told("cloud set -n Self");
    let logged = az.told(&format!("login --service-principal -u {client} -p {secret} --tenant {tenant}"));
    assert_eq!(logged.as_array().unwrap().len(), 3, "{logged}");
    for (name, id) in [
        ("cluster-sub", "11111111-1111-4111-8111-111111111111"),
        ("storage-sub", "22222222-2222-4222-8222-222222222222"),
        ("workspace-sub", &home),
    ] {
        az.told(&format!("account set --subscription {name}"));
        let shown = az.told("account show");
        assert_eq!((shown["id"].as_str(), shown["tenantId"].as_str()), (Some(id), Some(tenant.as_str())), "{shown}");
    }
    let groups = az.told("group list");
    assert_eq!((&groups[0]["name"], groups.as_array().unwrap().len()), (&json!("default"), 1), "{groups}");
    let refused = az.run("group create -n more -l local");
    assert!(!refused.status.success());
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("AuthorizationFailed") && refused.contains("resourceGroups/write"), "{refused}");

    // A right more, at one subscription: within a second, with the token that is there.
    let scope = format!("/subscriptions/{home}");
    let given = site.cli(&["principal", "assign", "pipeline", "--role", "Contributor", "--scope", &scope]);
    assert!(given.status.success(), "{}", String::from_utf8_lossy(&given.stderr));
    let group = az.told("group create -n more -l local");
    assert_eq!(group["properties"]["provisioningState"], "Succeeded", "{group}");
    assert!(!az.run("group create -n more -l local --subscription cluster-sub").status.success(), "there it is a reader still");
    let held = az.told(&format!(
        "role assignment list --scope {scope} --include-inherited --fill-principal-name false --fill-role-definition-name false"
    ));
    assert_eq!(held.as_array().unwrap().len(), 3, "the admin's, and two of the service: {held}");

    let other = site.root().join("az-wrong");
    let stranger = Az { config: other, ca: site.ca() };
    stranger.told(&format!("cloud register -n Self --endpoint-resource-manager {}", site.base()));
    stranger.told("cloud set -n Self");
    let refused = stranger.run(&format!("login --service-principal -u {client} -p wrong --tenant {tenant}"));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("AADSTS7000215"), "{}", String::from_utf8_lossy(&refused.stderr));
}
