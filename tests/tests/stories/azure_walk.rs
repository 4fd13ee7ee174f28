//! The whole way by the SDKs as they come, over https, with the tokens of a service principal: vault, cluster and workspace in three
//! subscriptions.

use strongroom_tests::azure;

use crate::azure_cli::Ground;

/// Vault and key, cluster, grant, key, link, rows, questions across the link, rotation, revocation, return, unlink, deletion.
#[test]
fn a_team_walks_the_whole_way_with_the_sdks() {
    let ground = Ground::new();
    let of = |name: &str| ground.environment.iter().find(|(known, _)| *known == name).unwrap().1.clone();
    let mut environment = ground.environment.clone();
    environment.extend([
        ("AZURE_AUTHORITY_HOST", of("BASE")),
        ("AZURE_TENANT_ID", "adfs".to_owned()),
        ("AZURE_CLIENT_ID", of("CLIENT")),
        ("AZURE_CLIENT_SECRET", of("SECRET")),
    ]);
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let told = azure::script("walk.py", &[], &environment);
    assert!(told.contains("the whole way"), "{told}");
    // The vault was asked by the cluster's own identity, for what it is there for and nothing else.
    let log = ground.vault.log();
    let mut asked: Vec<&str> =
        log.iter().filter(|entry| entry["principal"] == "walk-cluster").map(|entry| entry["operation"].as_str().unwrap()).collect();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, ["Authentication", "KeyGet", "KeyListVersions", "KeyUnwrap", "KeyWrap"]);
    drop(ground.site);
}
