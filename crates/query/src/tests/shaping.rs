//! Rows on their way in, shaped by a text over `source`.

use strongroom_ingest::RequestLimits;
use strongroom_ingest::stream::typed;
use strongroom_model::{Column, ColumnType, ErrorKind};

use crate::rig::{NOW, Rig};
use crate::{QueryError, Shaped};

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
