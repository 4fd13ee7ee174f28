//! How much a person keeps for themselves.

use super::*;
use crate::personal::{Owner, Personal};

#[tokio::test]
async fn of_a_hundred_and_one_questions_the_oldest_is_forgotten() {
    let rig = Rig::new().await;
    let personal = Personal::new(rig.sim.world(), Arc::clone(&rig.keys), Arc::clone(&rig.contents));
    let owner = Owner { principal: PrincipalId::from_bytes([1; 16]), workspace: rig.workspace };
    for n in 0..=100 {
        personal.remember(owner, format!("Web | take {n}"), None).await.unwrap();
    }
    let known = personal.history(owner).await.unwrap();
    assert_eq!((known.len(), known[0].query.as_str(), known[99].query.as_str()), (100, "Web | take 100", "Web | take 1"));
}

#[tokio::test]
async fn a_hundred_pins_are_kept_and_one_more_only_when_one_goes() {
    let rig = Rig::new().await;
    let personal = Personal::new(rig.sim.world(), Arc::clone(&rig.keys), Arc::clone(&rig.contents));
    let owner = Owner { principal: PrincipalId::from_bytes([1; 16]), workspace: rig.workspace };
    let pin = async |owner, n| personal.pin(owner, format!("pin {n}"), "Web".to_owned(), None).await;
    let first = pin(owner, 0).await.unwrap();
    for n in 1..100 {
        pin(owner, n).await.unwrap();
    }
    let refused = pin(owner, 100).await.unwrap_err();
    assert!(matches!(refused, ControlError::TooMany { what: "pins", max: 100 }), "{refused:?}");
    pin(Owner { principal: PrincipalId::from_bytes([2; 16]), ..owner }, 0).await.unwrap();
    assert!(personal.unpin(owner, first.id).await.unwrap());
    pin(owner, 100).await.unwrap();
    assert_eq!(personal.pins(owner).await.unwrap().len(), 100);
}
