//! Data collection rules, with real keys.

use serde_json::{Map, json};

use super::*;
use crate::collection::{Collection, CollectionAsk, CollectionError, RuleBody};
use crate::{ControlConfig, Place, Workspaces};

const CANARY: &str = "source | where user != 'canary'";

fn place(name: &str) -> Place {
    Place { subscription: "s".to_owned(), resource_group: "g".to_owned(), name: name.to_owned() }
}

fn ask() -> CollectionAsk {
    CollectionAsk { region: "here".to_owned(), kind: None, tags: Map::new() }
}

fn body() -> RuleBody {
    let rule = json!({
        "streamDeclarations": {"Custom-In": {"columns": [{"name": "user", "type": "string"}]}},
        "destinations": {"logAnalytics": [{
            "workspaceResourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/shop", "name": "la",
        }]},
        "dataFlows": [{"streams": ["Custom-In"], "destinations": ["la"], "transformKql": CANARY, "outputStream": "Custom-My_CL"}],
    });
    RuleBody::read(rule.as_object().unwrap().clone()).unwrap()
}

async fn shop(house: &House) -> (Collection, WorkspaceId) {
    let (world, catalog, keys) = (house.sim.world(), house.catalog.clone(), Arc::clone(&house.keys));
    let workspaces = Workspaces::new(world.clone(), catalog.clone(), keys.shared_account(), ControlConfig::default());
    let row = workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    (Collection::new(world, catalog, keys), row.id)
}

/// What a rule says was sealed under the provider's key, before its workspace was linked: the customer's key decides all the same.
#[tokio::test]
async fn a_rule_says_nothing_while_the_key_of_its_workspace_is_away() {
    let house = House::new(201).await;
    let (collection, workspace) = shop(&house).await;
    let (row, _) = collection.put_rule(&place("rule"), ask(), &body(), workspace).await.unwrap();
    house.desk().link(workspace, &house.cluster).await.unwrap();
    house.vault.set(Mood::Denies("KeyDisabled"));
    house.until(KeyState::Revoked, Duration::from_secs(15)).await;
    assert_eq!(collection.open(&row).await.unwrap_err().code(), "CustomerKeyRevoked");
    house.vault.set(Mood::Well);
    house.until(KeyState::Active, Duration::from_secs(15)).await;
    assert_eq!(collection.open(&row).await.unwrap().properties["dataFlows"][0]["transformKql"], CANARY);
    assert_ne!(collection.rule(&place("rule")).await.unwrap().aek, row.aek, "and is under that key from now on");
}

#[tokio::test]
async fn a_subscription_has_so_many_rules_and_writes_those_it_has_anew() {
    let house = House::new(202).await;
    let (collection, workspace) = shop(&house).await;
    let (row, new) = collection.put_rule(&place("rule-0"), ask(), &body(), workspace).await.unwrap();
    assert!(new);
    for n in 1..997 {
        let (ms, random) = house.sim.world().id_seed();
        let another = strongroom_catalog::CollectionRuleRow { id: ObjectId::mint(ms, random), name: format!("rule-{n}"), ..row.clone() };
        house.catalog.collection_rule_put(&another, None).await.unwrap();
    }
    // Three more, of eight that ask at once.
    let names: Vec<Place> = (0..8).map(|n| place(&format!("at-once-{n}"))).collect();
    let rule = body();
    let made = futures::future::join_all(names.iter().map(|name| collection.put_rule(name, ask(), &rule, workspace))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 3);
    let refused = collection.put_rule(&place("one-more"), ask(), &body(), workspace).await.unwrap_err();
    assert!(matches!(refused, CollectionError::Control(ControlError::TooMany { max: 1_000, .. })), "{refused:?}");
    assert!(!collection.put_rule(&place("RULE-0"), ask(), &body(), workspace).await.unwrap().1);
    let elsewhere = Place { subscription: "other".to_owned(), ..place("one-more") };
    assert!(collection.put_rule(&elsewhere, ask(), &body(), workspace).await.unwrap().1, "another subscription has its own");
}

#[tokio::test]
async fn what_several_make_at_once_is_one() {
    let house = House::new(203).await;
    let (collection, workspace) = shop(&house).await;
    let (at, properties, rule) = (place("one"), Map::new(), body());
    let made = futures::future::join_all((0..8).map(|_| collection.put_endpoint(&at, ask(), &properties))).await;
    let made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
    assert_eq!(made.iter().filter(|(_, new)| *new).count(), 1);
    assert!(made.iter().all(|(row, _)| row.id == made[0].0.id));
    let made = futures::future::join_all((0..8).map(|_| collection.put_rule(&at, ask(), &rule, workspace))).await;
    let made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
    assert_eq!(made.iter().filter(|(_, new)| *new).count(), 1);
    assert!(made.iter().all(|(row, _)| row.id == made[0].0.id));
}
