//! Stored functions, other workspaces and parameters: what a text may refer to beside the tables of its workspace.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use strongroom_catalog::WorkspaceRow;
use strongroom_ingest::{Encoding, Format, IngestRequest, OnError};
use strongroom_model::{ErrorKind, PrincipalId, WorkspaceId};

use crate::rig::{Rig, Told};
use crate::{Language, Neighbours, QueryError, QueryRequest, StoredFunction};

const NIL: PrincipalId = PrincipalId::NIL;

fn function(name: &str, parameters: &str, body: &str) -> StoredFunction {
    StoredFunction {
        name: name.to_owned(),
        parameters: parameters.to_owned(),
        body: body.to_owned(),
        description: String::new(),
        saved: None,
    }
}

async fn store(rig: &Rig, name: &str, parameters: &str, body: &str) {
    rig.engine.function_put(rig.workspace, NIL, &function(name, parameters, body)).await.unwrap();
}

async fn ask(rig: &Rig, text: &str) -> Result<Told, QueryError> {
    rig.told(rig.request(text, Language::Kql)).await
}

#[tokio::test]
async fn a_stored_function_is_called_by_name_and_calls_others() {
    let rig = Rig::new().await;
    rig.send("App", "{\"n\":1,\"level\":\"info\"}\n{\"n\":2,\"level\":\"error\"}\n{\"n\":3,\"level\":\"error\"}").await;
    store(&rig, "Errors", "", "App | where level == wanted()").await;
    store(&rig, "wanted", "", "\"error\"").await;
    store(&rig, "above", "T:(n:long), least:long = 2", "T | where n > least").await;
    store(&rig, "twice", "x:long", "let two = 2; x * two").await;
    for (text, expected) in [
        ("Errors | count", json!([[2]])),
        ("Errors() | count", json!([[2]])),
        ("above(App, 1) | count", json!([[2]])),
        ("App | invoke above() | count", json!([[1]])),
        ("above(App, least = 0) | count", json!([[3]])),
        ("App | summarize s = sum(twice(n))", json!([[12]])),
        ("App | where n in (Errors | project n) | count", json!([[2]])),
        ("union Errors, App | count", json!([[5]])),
        // The text's own names come first.
        ("let Errors = App; Errors | count", json!([[3]])),
        ("let twice = (x:long) { x }; App | summarize s = sum(twice(n))", json!([[6]])),
    ] {
        assert_eq!(json!(rig.kql(text).await.rows()), expected, "{text}");
    }
    // In the place of the old one.
    let changed = function("wanted", "", "\"info\"");
    assert!(!rig.engine.function_put(rig.workspace, NIL, &changed).await.unwrap());
    assert_eq!(json!(rig.kql("Errors | count").await.rows()), json!([[1]]));
    let names: Vec<String> = rig.engine.functions(rig.workspace, NIL).await.unwrap().into_iter().map(|info| info.function.name).collect();
    assert_eq!(names, ["Errors", "above", "twice", "wanted"]);
    assert!(rig.engine.function_delete(rig.workspace, NIL, "wanted").await.unwrap());
    assert!(!rig.engine.function_delete(rig.workspace, NIL, "wanted").await.unwrap());
    let error = ask(&rig, "print 1;\nErrors | count").await.unwrap_err();
    assert!(error.message().contains("in the stored function `Errors`") && error.message().contains("wanted"), "{error}");
    assert_eq!(error.place().map(|place| (place.line, place.column)), Some((2, 1)), "told where it is called");
}

#[tokio::test]
async fn a_function_that_calls_itself_is_an_error() {
    let rig = Rig::new().await;
    store(&rig, "ping", "x:long", "pong(x)").await;
    store(&rig, "pong", "x:long", "ping(x)").await;
    let error = ask(&rig, "print ping(1)").await.unwrap_err();
    assert!(error.message().contains("more than 32 deep"), "{error}");
}

#[tokio::test]
async fn functions_are_not_to_be_had_while_their_key_is_away_and_lie_sealed() {
    let rig = Rig::new().await;
    rig.send("App", "{\"n\":1}").await;
    store(&rig, "Canary_7f3a", "canary_parameter:long = 5", "App | where n == canary_parameter // canary remark").await;
    let rows = rig.deps.catalog.contents(rig.workspace).await.unwrap();
    let sealed = String::from_utf8_lossy(rows[0].cell.as_ref().unwrap()).to_lowercase();
    assert!(!sealed.contains("canary"), "name, parameters and body are all in the cell");
    let epoch = rig.deps.keys.epochs().await.unwrap()[0];
    rig.deps.keys.epoch_guard(epoch).await.unwrap().kill();
    for error in [
        ask(&rig, "Canary_7f3a | count").await.unwrap_err(),
        ask(&rig, "print x = Canary_7f3a()").await.unwrap_err(),
        rig.engine.functions(rig.workspace, NIL).await.unwrap_err(),
        rig.engine.function_put(rig.workspace, NIL, &function("g", "", "1")).await.unwrap_err(),
        rig.engine.function_delete(rig.workspace, NIL, "Canary_7f3a").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::KeyRevoked, "{error}");
        assert!(!error.message().contains("canary"), "{error}");
    }
    assert_eq!(rig.deps.catalog.contents(rig.workspace).await.unwrap(), rows, "nothing of it is lost");
}

#[tokio::test]
async fn functions_move_to_another_epoch_before_their_own_ends_and_go_with_their_workspace() {
    let rig = Rig::new().await;
    store(&rig, "f", "", "42").await;
    let (keys, account) = (&rig.deps.keys, rig.deps.keys.shared_account());
    let old = keys.write_epoch(account).await.unwrap();
    let kek = strongroom_keys::provider::KekRef::new("https://vault.example/", "kek", None).unwrap();
    let vault = strongroom_keys::provider::memory::MemoryVault::new(rig.sim.world(), kek);
    let cluster = strongroom_model::ObjectId::from_bytes([4; 16]);
    let new = keys.begin_customer_epoch(account, cluster, &vault, std::time::Duration::from_hours(1)).await.unwrap();
    let error = rig.deps.catalog.aek_end(old).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "an epoch with a function in it does not end");
    rig.intake.carry_columns(old, new, None).await.unwrap();
    rig.contents.carry(old, new, None).await.unwrap();
    let rows = rig.deps.catalog.contents(rig.workspace).await.unwrap();
    assert!(rows.len() == 1 && rows[0].aek == new.aek);
    assert!(rig.deps.catalog.aek_end(old).await.unwrap());
    assert_eq!(json!(rig.kql("print f()").await.rows()), json!([[42]]));
    rig.deps.catalog.workspace_delete(rig.workspace, 0, 0).await.unwrap();
    rig.deps.catalog.workspace_shred(rig.workspace).await.unwrap();
    assert!(rig.deps.catalog.contents(rig.workspace).await.unwrap().is_empty());
}

/// Finds one workspace, under one name.
#[derive(Debug)]
struct Knows(&'static str, WorkspaceId);

#[async_trait]
impl Neighbours for Knows {
    async fn find(&self, name: &str) -> Result<Option<WorkspaceId>, QueryError> {
        Ok((name == self.0).then_some(self.1))
    }
}

#[tokio::test]
async fn another_workspace_is_asked_by_name_and_one_that_is_absent_looks_like_one_that_may_not_be_asked() {
    let rig = Rig::new().await;
    rig.send_many("App", 5, 5, 0).await;
    let (ms, random) = rig.deps.world.id_seed();
    let other = WorkspaceId::mint(ms, random);
    let home = rig.deps.catalog.workspace(rig.workspace).await.unwrap().unwrap();
    rig.deps.catalog.workspace_insert(&WorkspaceRow { id: other, name: "annex".parse().unwrap(), ..home }).await.unwrap();
    let request = IngestRequest {
        workspace: other,
        principal: NIL,
        table: "App".parse().unwrap(),
        body: "{\"n\":100}\n{\"n\":101}".into(),
        encoding: Encoding::Identity,
        format: Format::Json,
        time_field: None,
        batch_id: None,
        on_error: OnError::Refuse,
        through: None,
    };
    rig.intake.ingest(request).await.unwrap();
    let told = |text: &'static str, neighbours: Option<Arc<dyn Neighbours>>| {
        rig.told(QueryRequest { neighbours, ..rig.request(text, Language::Kql) })
    };
    let knows = || Some(Arc::new(Knows("annex", other)) as Arc<dyn Neighbours>);
    for flushed in [false, true] {
        for (text, expected) in [
            ("workspace(\"annex\").App | summarize min(n), count()", json!([[100, 2]])),
            ("workspace('annex').table('App') | count", json!([[2]])),
            ("union App, workspace(\"annex\").App | summarize max(n), count()", json!([[101, 7]])),
            // Two tables of one name in one text are two tables.
            ("print a = toscalar(App | count), b = toscalar(workspace(\"annex\").App | count)", json!([[5, 2]])),
            ("App | join kind=leftanti (workspace(\"annex\").App) on n | count", json!([[5]])),
            ("App | where n + 100 in (workspace(\"annex\").App | project n) | count", json!([[2]])),
        ] {
            let answer = told(text, knows()).await.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(json!(answer.rows()), expected, "{text}, flushed: {flushed}");
        }
        rig.flush().await;
        rig.intake.flush(other, None).await.unwrap();
    }
    let absent = told("workspace(\"nowhere\").App | count", knows()).await.unwrap_err();
    let forbidden = told("workspace(\"annex\").App | count", None).await.unwrap_err();
    assert_eq!((absent.kind(), absent.code()), (forbidden.kind(), forbidden.code()));
    assert_eq!(absent.message().replace("nowhere", "annex"), forbidden.message());
    let table = told("workspace(\"annex\").Apps | count", knows()).await.unwrap_err();
    assert!(table.message().contains("did you mean `App`?"), "{table}");
    for text in ["database(\"d\").T", "cluster(\"c\").database(\"d\").T", "workspace(\"annex\").f()"] {
        let error = told(text, knows()).await.unwrap_err();
        assert!(error.message().contains("workspace(\"name\").Table"), "{text}: {error}");
    }
}

/// Asks along with another workspace.
#[derive(Debug)]
struct Along(WorkspaceId, Vec<String>);

#[async_trait]
impl Neighbours for Along {
    async fn find(&self, name: &str) -> Result<Option<WorkspaceId>, QueryError> {
        Ok((name == self.1[0]).then_some(self.0))
    }

    fn beside(&self) -> &[String] {
        &self.1
    }
}

#[tokio::test]
async fn a_tables_name_means_the_tables_of_all_workspaces_that_are_asked_together() {
    let rig = Rig::new().await;
    rig.send_many("App", 5, 5, 0).await;
    let (ms, random) = rig.deps.world.id_seed();
    let other = WorkspaceId::mint(ms, random);
    let home = rig.deps.catalog.workspace(rig.workspace).await.unwrap().unwrap();
    rig.deps.catalog.workspace_insert(&WorkspaceRow { id: other, name: "annex".parse().unwrap(), ..home }).await.unwrap();
    for (table, body) in [("App", "{\"n\":100,\"extra\":\"x\"}"), ("Only", "{\"n\":7}")] {
        let request = IngestRequest {
            workspace: other,
            principal: NIL,
            table: table.parse().unwrap(),
            body: body.into(),
            encoding: Encoding::Identity,
            format: Format::Json,
            time_field: None,
            batch_id: None,
            on_error: OnError::Refuse,
            through: None,
        };
        rig.intake.ingest(request).await.unwrap();
    }
    for flushed in [false, true] {
        for (text, expected) in [
            ("App | summarize count(), max(n)", json!([[6, 100]])),
            ("App | where extra == 'x' | project n", json!([[100]])),
            ("Only | project n", json!([[7]])),
            ("let Mine = App; Mine | count", json!([[6]])),
            ("App | where n in (Only | project n) | count", json!([[0]])),
            ("union * | count", json!([[7]])),
            ("search 'x' | count", json!([[1]])),
        ] {
            let neighbours: Option<Arc<dyn Neighbours>> = Some(Arc::new(Along(other, vec!["annex".to_owned()])));
            let answer = rig.told(QueryRequest { neighbours, ..rig.request(text, Language::Kql) }).await;
            let answer = answer.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(json!(answer.rows()), expected, "{text}, flushed: {flushed}");
        }
        rig.flush().await;
        rig.intake.flush(other, None).await.unwrap();
    }
    assert_eq!(json!(rig.kql("App | count").await.rows()), json!([[5]]), "who asks one workspace gets one");
}

#[tokio::test]
async fn rows_of_another_workspace_do_not_leave_once_its_key_is_gone() {
    let rig = Rig::new().await;
    let (ms, random) = rig.deps.world.id_seed();
    let other = WorkspaceId::mint(ms, random);
    // An account of its own: another key.
    let kek = strongroom_keys::provider::KekRef::new("https://vault.example/", "kek", None).unwrap();
    let vault = strongroom_keys::provider::memory::MemoryVault::new(rig.sim.world(), kek);
    let cluster = strongroom_model::ObjectId::from_bytes([4; 16]);
    let account = rig.deps.keys.open_account("local", cluster, false).await.unwrap();
    let epoch = rig.deps.keys.begin_customer_epoch(account, cluster, &vault, std::time::Duration::from_hours(1)).await.unwrap();
    let home = rig.deps.catalog.workspace(rig.workspace).await.unwrap().unwrap();
    rig.deps.catalog.workspace_insert(&WorkspaceRow { id: other, name: "annex".parse().unwrap(), account, ..home }).await.unwrap();
    let request = IngestRequest {
        workspace: other,
        principal: NIL,
        table: "App".parse().unwrap(),
        body: "{\"n\":100}".into(),
        encoding: Encoding::Identity,
        format: Format::Json,
        time_field: None,
        batch_id: None,
        on_error: OnError::Refuse,
        through: None,
    };
    rig.intake.ingest(request).await.unwrap();
    let ask = || {
        let neighbours: Option<Arc<dyn Neighbours>> = Some(Arc::new(Knows("annex", other)));
        rig.engine.run(QueryRequest { neighbours, ..rig.request("workspace(\"annex\").App | project n", Language::Kql) })
    };
    let answer = ask().await.unwrap();
    answer.egress.pass().await.unwrap();
    let gate = rig.deps.keys.gate(account, cluster, "annex", strongroom_keys::Standing::Open);
    let waiting = ask().await.unwrap();
    gate.set(strongroom_keys::Standing::Shut(strongroom_keys::Shut::Revoked, 0));
    assert_eq!(waiting.egress.pass().await.unwrap_err().kind(), ErrorKind::KeyRevoked);
    assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::KeyRevoked);
    drop(answer);
    rig.deps.keys.epoch_guard(epoch).await.unwrap_err();
    assert_eq!(json!(rig.kql("print 1").await.rows()), json!([[1]]), "the home workspace is not concerned");
}

#[tokio::test]
async fn parameters_come_with_the_request_and_are_of_the_declared_type() {
    let rig = Rig::new().await;
    let declared =
        "declare query_parameters(n:long, since:datetime = datetime(2020-01-01), name:string = \"x\", d:dynamic = dynamic(null)); ";
    let told = |parameters: Value, rest: &str| {
        let Value::Object(parameters) = parameters else { panic!("an object") };
        rig.told(QueryRequest { parameters, ..rig.request(&format!("{declared}{rest}"), Language::Kql) })
    };
    for (parameters, expected) in [
        (json!({"n": 5}), json!([[5, "2020-01-01T00:00:00Z", "x", ""]])),
        (json!({"n": "5", "since": "2021-02-03", "name": 7}), json!([[5, "2021-02-03T00:00:00Z", "7", ""]])),
        (json!({"n": null, "d": {"k": [1]}}), json!([[null, "2020-01-01T00:00:00Z", "x", "[1]"]])),
    ] {
        let answer = told(parameters.clone(), "print a = n, b = since, c = name, d = tostring(d.k)").await;
        assert_eq!(json!(answer.unwrap_or_else(|error| panic!("{parameters}: {error}")).rows()), expected, "{parameters}");
    }
    for (parameters, words) in [
        (json!({}), "`n` has no value"),
        (json!({"n": "five"}), "the value given for `n` is no long"),
        (json!({"n": 1, "nme": "y"}), "did you mean `name`?"),
    ] {
        let error = told(parameters.clone(), "print n").await.unwrap_err();
        assert!(error.message().contains(words), "{parameters}: {error}");
    }
    let parameters = Map::from_iter([("n".to_owned(), json!(1))]);
    let error = rig.told(QueryRequest { parameters, ..rig.request("select 1", Language::Sql) }).await.unwrap_err();
    assert_eq!(error.code(), "BadArgumentError");
}

#[tokio::test]
async fn all_mistakes_of_a_text_are_told_at_once() {
    let rig = Rig::new().await;
    rig.send("App", "{\"n\":1}").await;
    let error = ask(&rig, "let a = ;\nApp\n| wehre n == 1\n| tke 5").await.unwrap_err();
    let places: Vec<(u64, u64)> =
        error.details().iter().map(|detail| (detail["line"].as_u64().unwrap(), detail["pos"].as_u64().unwrap())).collect();
    assert_eq!(places, [(1, 9), (3, 3), (4, 3)], "{:?}", error.details());
    let error = ask(&rig, "let a = App | where m == 1;\nlet b = tolwer(\"x\");\na | where n == b;\nprint nope").await.unwrap_err();
    let told: Vec<String> = error.details().iter().map(|detail| detail["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told.len(), 3, "what follows from a wrong `let` is not told again: {told:?}");
    assert!(told[0].contains("`m`") && told[1].contains("tolwer") && told[2].contains("nope"), "{told:?}");
    let error = ask(&rig, "App | where m == 1").await.unwrap_err();
    assert!(error.details().is_empty(), "one mistake is the error itself");
}

#[tokio::test]
async fn of_several_tables_the_first_is_the_answer() {
    let rig = Rig::new().await;
    assert_eq!(json!(rig.kql("print a = 1; print b = 2").await.rows()), json!([[1]]));
}
