//! Rights on one table, and names that differ in letter case alone.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use strongroom_control::{Place, ScopePath};
use tower::ServiceExt as _;

use super::{ADMIN, Doors, OTHER, OWN};

const NATIVE: &str = "/v1/workspaces/default";

/// The doors, and the path of the workspace `default` with the tables `Mine_CL` and `Other_CL`.
async fn open() -> (Doors, String) {
    let doors = Doors::open().await;
    for table in ["Mine_CL", "Other_CL"] {
        let sent = send(&doors, ADMIN, table).await;
        assert_eq!(sent.0, StatusCode::OK, "{}", sent.1);
    }
    let home = doors.app.site.catalog.workspaces().await.unwrap().into_iter().find(|row| row.name.as_str() == "default").unwrap();
    (doors, Place::of_workspace(&home).workspace_path())
}

async fn send(doors: &Doors, token: &str, table: &str) -> (StatusCode, Value) {
    bare(doors, token, &format!("{NATIVE}/ingest/{table}"), &json!({"secret": 1})).await
}

/// Without what the control plane takes besides.
async fn bare(doors: &Doors, token: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::builder().method(Method::POST).uri(path).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {token}")).body(Body::from(body.to_string())).unwrap();
    let response = doors.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (status, serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap_or_default())
}

async fn ask(doors: &Doors, token: &str, query: &str) -> StatusCode {
    bare(doors, token, &format!("{NATIVE}/query"), &json!({"query": query})).await.0
}

fn names(list: &Value) -> Vec<&str> {
    list["value"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_right_on_a_table_opens_its_page_in_the_control_plane_and_no_other() {
    let (doors, home) = open().await;
    let at = format!("{home}/tables/Mine_CL");
    let (reader, contributor) = (doors.token("Reader", &at).await, doors.token("Contributor", &at).await);
    let days = json!({"properties": {"retentionInDays": 7}});
    for token in [&reader, &contributor] {
        let own = doors.call(token, &Method::GET, &at, &Value::Null).await;
        assert_eq!((own.0, &own.1["name"]), (StatusCode::OK, &json!("Mine_CL")), "{}", own.1);
        for list in [format!("{home}/tables"), format!("{NATIVE}/tables")] {
            let listed = doors.call(token, &Method::GET, &list, &Value::Null).await;
            assert_eq!((listed.0, names(&listed.1)), (StatusCode::OK, vec!["Mine_CL"]), "{}", listed.1);
        }
        let schema = doors.call(token, &Method::POST, &format!("{home}/schema"), &Value::Null).await;
        assert!(schema.0 == StatusCode::OK && !schema.1.to_string().contains("Other_CL"), "{}", schema.1);
        for (method, body) in [(Method::GET, Value::Null), (Method::PATCH, days.clone()), (Method::DELETE, Value::Null)] {
            let other = doors.call(token, &method, &format!("{home}/tables/Other_CL"), &body).await;
            let absent = doors.call(token, &method, &format!("{home}/tables/Never_CL"), &body).await;
            assert_eq!(other.0, StatusCode::NOT_FOUND, "{}", other.1);
            assert_eq!(other.1.to_string().replace("other_cl", "never_cl"), absent.1.to_string());
        }
    }
    for (token, status) in [(&reader, StatusCode::FORBIDDEN), (&contributor, StatusCode::OK)] {
        let changed = doors.call(token, &Method::PATCH, &at, &days).await;
        assert_eq!(changed.0, status, "{}", changed.1);
    }
    let above = doors.token("Contributor", &home).await;
    let changed = doors.call(&above, &Method::PATCH, &format!("{home}/tables/Other_CL"), &days).await;
    assert_eq!(changed.0, StatusCode::OK, "a right on the workspace covers its tables: {}", changed.1);
}

#[tokio::test]
async fn a_path_names_a_table_without_letter_case_and_rows_make_no_second_one() {
    let (doors, home) = open().await;
    for (table, there) in [("mine_CL", "Mine_CL"), ("strongroomalerts", "StrongroomAlerts"), ("REJECTED", "Rejected")] {
        let twin = send(&doors, ADMIN, table).await;
        assert_eq!((twin.0, &twin.1["error"]["code"]), (StatusCode::CONFLICT, &json!("TableNameConflict")), "{}", twin.1);
        let text = twin.1["error"]["message"].as_str().unwrap();
        assert!(text.contains(table) && text.contains(there), "{text}");
    }
    let columns =
        json!({"properties": {"retentionInDays": 9, "schema": {"name": "mine_cl", "columns": [{"name": "more", "type": "int"}]}}});
    for (method, path, body) in [
        (Method::GET, format!("{home}/tables/mine_cl"), Value::Null),
        (Method::PUT, format!("{home}/tables/mine_CL"), columns),
        (Method::PATCH, format!("{NATIVE}/tables/MINE_cl"), json!({"retentionInDays": 8})),
    ] {
        let met = doors.call(ADMIN, &method, &path, &body).await;
        assert_eq!((met.0, &met.1["name"]), (StatusCode::OK, &json!("Mine_CL")), "{method} {path}: {}", met.1);
    }
    let listed = doors.call(ADMIN, &Method::GET, &format!("{home}/tables"), &Value::Null).await;
    assert_eq!(names(&listed.1), ["Mine_CL", "Other_CL"]);
    assert_eq!(ask(&doors, ADMIN, "Mine_CL | count").await, StatusCode::OK);
    assert_eq!(ask(&doors, ADMIN, "mine_CL | count").await, StatusCode::BAD_REQUEST, "questions name tables to the letter");
}

/// Older builds let tables be whose names differ in case alone: a right on such a name could mean either, so it opens neither.
#[tokio::test]
async fn a_right_on_a_table_with_a_twin_opens_neither() {
    let (doors, home) = open().await;
    let workspace = doors.app.site.catalog.workspaces().await.unwrap().into_iter().find(|row| row.name.as_str() == "default").unwrap();
    doors.app.site.catalog.table_ensure_own(workspace.id, &"mine_CL".parse().unwrap()).await.unwrap();
    assert_eq!(send(&doors, ADMIN, "mine_CL").await.0, StatusCode::OK, "what is there still takes rows");
    let at = format!("{home}/tables/Mine_CL");
    let (reader, agent) = (doors.token("Log Analytics Reader", &at).await, doors.token("Ingest", &at).await);
    for table in ["Mine_CL", "mine_CL"] {
        assert_eq!(ask(&doors, &reader, &format!("{table} | project secret")).await, StatusCode::FORBIDDEN, "{table}");
        assert_eq!(send(&doors, &agent, table).await.0, StatusCode::FORBIDDEN, "{table}");
        let page = doors.call(&reader, &Method::GET, &format!("{home}/tables/{table}"), &Value::Null).await;
        assert_eq!(page.0, StatusCode::FORBIDDEN, "{}", page.1);
        let page = doors.call(ADMIN, &Method::GET, &format!("{home}/tables/{table}"), &Value::Null).await;
        assert_eq!((page.0, &page.1["name"]), (StatusCode::OK, &json!(table)), "{}", page.1);
    }
    let listed = doors.call(&reader, &Method::GET, &format!("{home}/tables"), &Value::Null).await;
    assert_eq!((listed.0, names(&listed.1)), (StatusCode::OK, vec![]), "{}", listed.1);
    let several = doors.call(ADMIN, &Method::GET, &format!("{home}/tables/MINE_CL"), &Value::Null).await;
    assert_eq!(several.0, StatusCode::CONFLICT, "{}", several.1);
}

#[tokio::test]
async fn an_operation_is_where_it_was_begun_and_nowhere_else() {
    let doors = Doors::open().await;
    let mut steps = OWN.split('/').skip(2).step_by(2).map(str::to_owned);
    let place = Place { subscription: steps.next().unwrap(), resource_group: steps.next().unwrap(), name: "things".to_owned() };
    let operation = doors.app.site.catalog.operation_last_on(&place.cluster_path()).await.unwrap().unwrap();
    let status = async |group: &str, region: &str, id: &str| {
        let subscription = ScopePath::of(group).of_subscription();
        let path = format!("{subscription}/providers/Microsoft.OperationalInsights/locations/{region}/operationStatuses/{id}");
        doors.call(ADMIN, &Method::GET, &path, &Value::Null).await
    };
    let (id, none) = (operation.id.to_string(), "99999999-9999-4999-8999-999999999999");
    for region in ["local", "LOCAL"] {
        assert_eq!(status(OWN, region, &id).await.0, StatusCode::OK, "{region}");
    }
    let absent = status(OWN, "local", none).await;
    assert_eq!(absent.0, StatusCode::NOT_FOUND);
    assert_eq!(status(OTHER, "local", &id).await, absent, "another subscription's path");
    assert_eq!(status(OWN, "elsewhere", &id).await, absent, "another region's path");
}
