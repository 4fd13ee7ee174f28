//! Rows on their way in, shaped by a text over `source`.

use strongroom_ingest::RequestLimits;
use strongroom_ingest::stream::typed;
use strongroom_model::{Column, ColumnType, ErrorKind};

use crate::rig::{NOW, Rig};
use crate::{Engine, QueryConfig, QueryError, Shaped};

fn columns(columns: &[(&str, ColumnType)]) -> Vec<Column> {
    columns.iter().map(|&(name, kind)| Column { name: name.to_owned(), kind }).collect()
}

fn declared() -> Vec<Column> {
    use ColumnType::{DateTime, Dynamic, Int, String};
    columns(&[("TimeGenerated", DateTime), ("line", String), ("code", Int), ("more", Dynamic)])
}

async fn shape(rig: &Rig, body: &str, text: Option<&str>) -> Result<Shaped, QueryError> {
    shape_within(rig, body, text, 1 << 20).await
}

async fn shape_within(rig: &Rig, body: &str, text: Option<&str>, bytes_max: u64) -> Result<Shaped, QueryError> {
    let rows = typed(body.as_bytes(), &declared(), &RequestLimits::default(), &mut |_| Ok(())).unwrap();
    rig.engine.shape(rig.workspace, rows, text, NOW, bytes_max).await
}

const BODY: &str = r#"[
    {"TimeGenerated":"2026-03-01T11:00:00Z","line":"GET /a 200","code":200,"more":{"k":[1,2]},"undeclared":1},
    {"line":"GET /b 500","code":"500"},
    {"line":"nonsense"}
]"#;

#[tokio::test]
async fn rows_go_through_the_text_of_their_rule() {
    let rig = Rig::new().await;
    let text = "source | where isnotempty(code) | parse line with verb:string ' ' path:string ' ' * \
                | extend bad = code >= 500, at = now(), k = more.k[1] | project TimeGenerated, path, code, bad, at, k";
    let shaped = shape(&rig, BODY, Some(text)).await.unwrap();
    let lines = std::str::from_utf8(&shaped.lines).unwrap().to_owned();
    assert_eq!(
        lines.lines().collect::<Vec<_>>(),
        [
            r#"{"TimeGenerated":"2026-03-01T11:00:00Z","path":"/a","code":200,"bad":false,"at":"2026-03-01T12:00:00Z","k":2}"#,
            r#"{"path":"/b","code":500,"bad":true,"at":"2026-03-01T12:00:00Z"}"#,
        ]
    );
    let expected = [
        ("TimeGenerated", ColumnType::DateTime),
        ("path", ColumnType::String),
        ("code", ColumnType::Long),
        ("bad", ColumnType::Bool),
        ("at", ColumnType::DateTime),
        ("k", ColumnType::Dynamic),
    ];
    assert_eq!(shaped.columns, columns(&expected), "of the types that tables have");
}

#[tokio::test]
async fn rows_without_a_text_keep_their_declared_columns_and_no_others() {
    let rig = Rig::new().await;
    for text in [None, Some("source"), Some(" source ")] {
        let shaped = shape(&rig, BODY, text).await.unwrap();
        let lines = std::str::from_utf8(&shaped.lines).unwrap().to_owned();
        assert_eq!(lines.lines().count(), 3);
        assert!(lines.contains(r#""more":{"k":[1,2]}}"#) && !lines.contains("undeclared"), "{lines}");
    }
}

#[tokio::test]
async fn a_text_sees_its_batch_and_nothing_else() {
    let rig = Rig::new().await;
    rig.send("Secret", r#"[{"a":1}]"#).await;
    for text in ["Secret", "source | join kind=inner Secret on $left.code == $right.a", "union source, Secret", "union *"] {
        let done = rig.engine.shape_columns(rig.workspace, &declared(), text).await;
        let seen = done.is_ok_and(|columns| columns.iter().any(|column| column.name == "a"));
        assert!(!seen, "{text}");
    }
    let error = rig.engine.shape_columns(rig.workspace, &declared(), "source\n| extend x = nothing + 1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.place().map(|place| (place.line, place.column)), Some((2, 14)));
    let named = rig.engine.shape_columns(rig.workspace, &declared(), "source | project code, b = tostring(more)").await.unwrap();
    assert_eq!(named, columns(&[("code", ColumnType::Int), ("b", ColumnType::String)]));
}

#[tokio::test]
async fn a_text_that_multiplies_rows_is_stopped() {
    let rig = Rig::new().await;
    let text = "source | extend n = range(1, 1000) | mv-expand n to typeof(long)";
    let error = shape(&rig, BODY, Some(text)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::TooLarge, "TooManyRows"));
}

#[tokio::test]
async fn a_text_that_blows_rows_up_is_stopped_and_pieces_keep_their_order() {
    let rig = Rig::new().await;
    let many = format!("[{}]", (0..20_000).map(|n| format!("{{\"code\":{n}}}")).collect::<Vec<_>>().join(","));
    let text = "source | project code, a = strrep('x', 1000)";
    for text in [Some(text), None] {
        let error = shape_within(&rig, &many, text, 100_000).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::TooLarge, "TransformTooLarge"), "{text:?}");
    }
    let shaped = shape(&rig, &many, Some("source | where code % 2 == 0 | project code")).await.unwrap();
    let lines = std::str::from_utf8(&shaped.lines).unwrap().to_owned();
    assert!(lines.lines().map(str::to_owned).eq((0..10_000).map(|n| format!("{{\"code\":{}}}", 2 * n))));
}

/// Texts whose plans are kept, and such as are planned for each batch.
const KEPT: [&str; 5] = [
    "source | extend code = code * 10",
    "source | where isnotempty(code) | parse line with verb:string ' ' path:string ' ' * | project path, code, bad = code >= 500",
    "source | project-away more | extend day = startofday(TimeGenerated), k = tostring(code)",
    "source | where line has 'GET' and code in (200, 500)",
    "source | project TimeGenerated, a = more.k[0], line",
];
const ANEW: [&str; 7] = [
    "source | extend at = now(), n = ago(1h)",
    "source | where code == toscalar(source | summarize max(code))",
    "let best = materialize(source | top 1 by code); source | join kind=inner best on line | project line",
    "source | summarize n = count() by code | order by code asc",
    "source | evaluate bag_unpack(more)",
    "source | top 1 by code | project line",
    "datatable(a:long)[1, 2] | extend b = a",
];

#[tokio::test]
async fn a_text_that_was_planned_before_tells_the_same_of_other_rows() {
    let rig = Rig::new().await;
    let plain = Engine::open(rig.deps.clone(), QueryConfig { transforms_kept_max: 0, ..QueryConfig::default() }).await.unwrap();
    let bodies = [
        BODY.to_owned(),
        r#"[{"line":"GET /c 200","code":200,"more":{"k":[7],"z":"other"}},{"line":"POST /d 503","code":503}]"#.to_owned(),
        "[]".to_owned(),
        format!("[{}]", (0..9_000).map(|n| format!("{{\"code\":{n},\"line\":\"GET /{n} x\"}}")).collect::<Vec<_>>().join(",")),
    ];
    for (at, text) in KEPT.iter().chain(&ANEW).enumerate() {
        for (turn, body) in bodies.iter().chain(&bodies).enumerate() {
            let rows = || typed(body.as_bytes(), &declared(), &RequestLimits::default(), &mut |_| Ok(())).unwrap();
            let now = NOW + i64::try_from(turn).unwrap() * 1_000_000_000;
            let told = rig.engine.shape(rig.workspace, rows(), Some(text), now, 1 << 24).await;
            let expected = plain.shape(rig.workspace, rows(), Some(text), now, 1 << 24).await;
            match (told, expected) {
                (Ok(told), Ok(expected)) => assert_eq!(told, expected, "{text}"),
                (told, expected) => assert_eq!(told.map_err(|e| e.code()), expected.map_err(|e| e.code()), "{text}"),
            }
        }
        assert_eq!(rig.engine.prepared().len(), (at + 1).min(KEPT.len()), "{text}");
    }
    assert_eq!(plain.prepared().len(), 0);
}

#[tokio::test]
async fn a_changed_text_or_column_counts_at_once_and_plans_go_with_the_key() {
    let rig = Rig::with(QueryConfig { transforms_kept_max: 10, ..QueryConfig::default() }, false).await;
    let told = async |text: &str| String::from_utf8(shape(&rig, BODY, Some(text)).await.unwrap().lines.to_vec()).unwrap();
    for _ in 0..2 {
        assert!(told("source | project n = code + 1").await.starts_with(r#"{"n":201}"#));
        assert!(told("source | project n = code + 2").await.starts_with(r#"{"n":202}"#));
    }
    assert_eq!(rig.engine.prepared().len(), 2);
    // The same text over a column that is declared as another type.
    let texts = columns(&[("code", ColumnType::String)]);
    let rows = typed(BODY.as_bytes(), &texts, &RequestLimits::default(), &mut |_| Ok(())).unwrap();
    let text = "source | project n = strcat(code, '!')";
    assert!(told(text).await.starts_with(r#"{"n":"200!"}"#));
    let shaped = rig.engine.shape(rig.workspace, rows, Some(text), NOW, 1 << 20).await.unwrap();
    assert_eq!(shaped.columns, columns(&[("n", ColumnType::String)]));
    assert_eq!(rig.engine.prepared().len(), 4);
    // As many as the settings say, those used last.
    for n in 0..30 {
        told(&format!("source | project n = code + {n}")).await;
        assert!(rig.engine.prepared().len() <= 10);
    }
    let epoch = rig.deps.keys.epochs().await.unwrap()[0];
    rig.deps.keys.epoch_guard(epoch).await.unwrap().kill();
    rig.engine.forget(epoch);
    assert_eq!(rig.engine.prepared().len(), 0);
}
