//! Columns that depend on the data: it is looked at beforehand, as the query itself looks at it.

use serde_json::json;
use strongroom_model::ErrorKind;

use crate::rig::Rig;

#[tokio::test]
async fn columns_are_learnt_from_flushed_and_unflushed_rows_alike() {
    let rig = Rig::new().await;
    rig.send_many("App", 4, 90, 0).await;
    rig.flush().await;
    rig.send_many("App", 2, 5, 4).await;
    let told = rig.kql("App | extend d = bag_pack(strcat('k', tostring(n % 3)), n) | project d | evaluate bag_unpack(d)").await;
    let names: Vec<String> = told.columns().into_iter().map(|(name, kind)| format!("{name}:{kind}")).collect();
    assert_eq!(names, ["k0:long", "k1:long", "k2:long"]);
    let told = rig.kql("App | extend k = strcat('v', tostring(n % 2)) | project k, n | evaluate pivot(k, sum(n)) | project v0, v1").await;
    let sums: Vec<_> = told.rows();
    // The key of the groups is what is left: none.
    assert_eq!(sums, [json!([6, 9])]);
}

#[tokio::test]
async fn no_column_is_learnt_from_rows_whose_key_is_gone() {
    let rig = Rig::new().await;
    rig.send_many("App", 50, 5, 0).await;
    // The query itself reads no row of the table: only what is asked beforehand does.
    let text = "print x = 1 | union (App | extend d = bag_pack(text, n) | project d | evaluate bag_unpack(d) | where false) | project x";
    assert_eq!(rig.kql(text).await.rows(), [json!([1])]);
    let epoch = rig.deps.keys.epochs().await.unwrap()[0];
    rig.deps.keys.epoch_guard(epoch).await.unwrap().kill();
    let error = rig.told(rig.request(text, crate::Language::Kql)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyRevoked);
}

#[tokio::test]
async fn data_makes_a_bounded_number_of_columns() {
    let rig = Rig::new().await;
    rig.send_many("App", 600, 5, 0).await;
    let text = "App | project d = bag_pack(strcat('k', tostring(n)), n) | evaluate bag_unpack(d)";
    let error = rig.told(rig.request(text, crate::Language::Kql)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "TooManyColumns"));
    let told = rig.kql(&format!("{text} : (k7:long) | summarize sum(k7)")).await;
    assert_eq!(told.rows(), [json!([7])]);
}
