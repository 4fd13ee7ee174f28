//! Rows that go through a rule on their way in.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use strongroom_keys::Shut;
use strongroom_model::{Column, ObjectId};

use super::away::Locked;
use super::*;
use crate::stream::{Flow, Lines, NotShaped, Through, Transform};

/// A table, and what its rule does.
type Failing = (&'static str, fn() -> NotShaped);

/// Rules that say `n` is a number, and do what the test wants of them.
#[derive(Debug, Default)]
struct Rules {
    /// The table whose rule fails, and how.
    fails: Mutex<Option<Failing>>,
    shaped: AtomicUsize,
}

#[async_trait]
impl Transform for Rules {
    async fn flow(&self, _: WorkspaceId, _: &Through, table: &TableName) -> Result<Flow, NotShaped> {
        match *self.fails.lock() {
            Some((name, error)) if name == table.as_str() => Err(error()),
            _ => Ok(Flow { columns: Some(vec![Column { name: "n".to_owned(), kind: ColumnType::Long }]), text: None }),
        }
    }

    async fn shape(&self, _: WorkspaceId, rows: RecordBatch, _: Option<&str>, _: i64, _: u64) -> Result<Lines, NotShaped> {
        self.shaped.fetch_add(1, Ordering::Relaxed);
        let line = "{\"shaped\":true}\n";
        Ok(Lines { body: line.repeat(rows.num_rows()).into(), columns: Vec::new() })
    }
}

fn late() -> NotShaped {
    NotShaped::Rule { kind: ErrorKind::Unavailable, code: "TransformTimeout", message: "it took too long".to_owned() }
}

fn away() -> NotShaped {
    NotShaped::Passing { kind: ErrorKind::Unavailable, code: "SpillFailed", message: "the disk failed".to_owned() }
}

impl Up {
    fn ruled(&self, table: &str, body: &'static str) -> IngestRequest {
        let through = Through { rule: ObjectId::from_bytes([7; 16]), stream: "Custom-In".to_owned() };
        IngestRequest { through: Some(through), ..self.request(table, body) }
    }
}

#[tokio::test]
async fn a_rule_that_fails_when_rows_are_opened_holds_up_nothing() {
    let (locked, up) = Locked::new(60).await;
    let rules = Arc::new(Rules::default());
    up.intake.shaped_by(rules.clone());
    locked.take_away(&up, Shut::Unavailable);
    for table in ["A", "B", "C"] {
        assert_eq!(up.intake.ingest(up.ruled(table, "[{\"n\":1}]")).await.unwrap().taken, Taken::Buffered);
    }
    // A disk that fails is another matter: what waits goes on waiting.
    *rules.fails.lock() = Some(("B", away));
    locked.give_back(&up).await;
    up.intake.open_sealed().await.unwrap_err();
    assert!(up.rows("C").await.is_empty());
    *rules.fails.lock() = Some(("B", late));
    let opened = up.intake.open_sealed().await.unwrap();
    assert_eq!((opened.requests, opened.rows, opened.segments), (3, 3, 1));
    assert_eq!(up.rows("A").await, ["{\"shaped\":true}"]);
    assert_eq!(up.rows("B").await, ["{\"n\":1}"], "as it came");
    assert_eq!(up.rows("C").await, ["{\"shaped\":true}"]);
    assert_eq!(up.intake.waiting(locked.account).segments, 0);
}

#[tokio::test]
async fn a_rule_makes_no_table_beside_one_whose_name_differs_in_letter_case() {
    let (locked, up) = Locked::new(61).await;
    up.intake.shaped_by(Arc::new(Rules::default()));
    up.send("Shop_CL", "{\"n\":1}").await.unwrap();
    let refused = async || up.intake.ingest(up.ruled("shop_CL", "[{\"n\":2}]")).await.unwrap_err().code();
    assert_eq!(refused().await, "TableNameConflict");
    locked.take_away(&up, Shut::Unavailable);
    assert_eq!(refused().await, "TableNameConflict", "nothing is kept that could not be taken later");
    assert_eq!(up.intake.waiting(locked.account).segments, 0);
    locked.give_back(&up).await;
    assert_eq!(up.rows("Shop_CL").await, ["{\"n\":1}"]);
    let tables: Vec<_> = up.deps.catalog.tables(up.workspace).await.unwrap().into_iter().map(|row| row.name.to_string()).collect();
    assert_eq!(tables, ["Shop_CL"]);
}
