//! A document's row and its text in a customer's storage change together, whatever fails in between.

use serde_json::{Map, json};
use strongroom_catalog::{DocumentKind, DocumentRow};

use super::*;
use crate::documents::{DocumentAsk, Documents};

/// Documents in a workspace that has linked storage.
struct Books {
    rig: Rig,
    documents: Documents,
    storage: StorageAccountRow,
}

impl Books {
    async fn new() -> Self {
        let rig = Rig::new().await;
        let storage = rig.storage("one", None).await;
        rig.linked(&storage).await;
        Self { documents: Self::over(&rig), rig, storage }
    }

    /// Another process has others.
    fn over(rig: &Rig) -> Documents {
        let mmk = Arc::new(Mmk::from_bytes([4; 32]));
        Documents::new(rig.sim.world(), rig.catalog.clone(), mmk, Arc::clone(&rig.contents))
    }

    fn place() -> crate::Place {
        crate::Place { subscription: "s".to_owned(), resource_group: "g".to_owned(), name: "book".to_owned() }
    }

    fn ask(workspace: Option<WorkspaceId>, says: &str) -> DocumentAsk {
        let properties = Map::from_iter([("text".to_owned(), json!(says))]);
        let (kind, parent, region) = (DocumentKind::Workbook, ObjectId::NIL, "here".to_owned());
        DocumentAsk { kind, parent, region, tags: Map::new(), properties, workspace }
    }

    async fn put(&self, linked: bool, says: &str) -> Result<DocumentRow, ControlError> {
        let ask = Self::ask(linked.then_some(self.rig.workspace), says);
        self.documents.put(&Self::place(), ask).await.map(|(row, _)| row)
    }

    /// What it says now; `None`: there is no such document.
    async fn says(&self) -> Option<String> {
        let row = match self.documents.get(DocumentKind::Workbook, ObjectId::NIL, &Self::place()).await {
            Ok(row) => row,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound);
                return None;
            }
        };
        let said = self.documents.open(&row).await.unwrap_or_else(|error| panic!("its row is there, and its text is not: {error}"));
        said["text"].as_str().map(str::to_owned)
    }

    async fn texts(&self) -> usize {
        self.rig.contents.count(self.rig.workspace, &[ContentKind::Workbooks]).await.unwrap()
    }
}

/// Two processes make the same workbook: one of them wins, and of the other nothing is left in the customer's storage.
#[tokio::test]
async fn a_document_whose_row_is_refused_leaves_no_text() {
    let books = Books::new().await;
    let store = books.rig.stores.of(books.storage.id);
    store.at.store(HELD, Ordering::Release);
    let (other, ask) = (Books::over(&books.rig), Books::ask(Some(books.rig.workspace), "late"));
    let late = tokio::spawn(async move { other.put(&Books::place(), ask).await });
    while books.rig.objects(&books.storage).await.is_empty() {
        tokio::task::yield_now().await;
    }
    books.put(false, "first").await.unwrap();
    store.at.store(NOWHERE, Ordering::Release);
    assert_eq!(late.await.unwrap().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!((books.says().await.as_deref(), books.texts().await), (Some("first"), 0));
    assert!(books.rig.objects(&books.storage).await.is_empty());
}

/// Each commit on the way fails in turn, or is done and its answer gets lost. Failpoints are the process's: `cargo nextest` gives each
/// test its own.
#[tokio::test]
async fn a_document_is_what_it_was_or_what_was_written_whichever_commit_fails() {
    if !fail::has_failpoints() {
        return;
    }
    let scenario = fail::FailScenario::setup();
    // Where it lay before, if it was there, and where it goes.
    for (before, linked) in [(None, true), (Some(true), true), (Some(false), true), (Some(true), false), (Some(false), false)] {
        let mut failed = 0;
        for fault in ["return(lost)", "return"] {
            for commit in 0.. {
                let case = format!("{before:?} to {linked}, {fault} at commit {commit}");
                let books = Books::new().await;
                if let Some(linked) = before {
                    books.put(linked, "old").await.unwrap();
                }
                let point = if commit == 0 { format!("1*{fault}->off") } else { format!("{commit}*off->1*{fault}->off") };
                fail::cfg("catalog.commit_unknown", &point).unwrap();
                let put = books.put(linked, "new").await;
                fail::remove("catalog.commit_unknown");
                let said = books.says().await;
                let old = before.map(|_| "old");
                match &put {
                    Ok(_) => assert_eq!(said.as_deref(), Some("new"), "{case}"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{case}: {error}");
                        assert!(said.as_deref() == old || said.as_deref() == Some("new"), "{case}: {said:?}");
                        failed += 1;
                    }
                }
                let row = books.documents.get(DocumentKind::Workbook, ObjectId::NIL, &Books::place()).await.ok();
                let lies = row.as_ref().is_some_and(|row| row.workspace.is_some());
                assert_eq!(books.texts().await, usize::from(lies), "{case}: {put:?}: one text, where its row says");
                // And it is as good as any other.
                let row = books.put(true, "again").await.unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(books.says().await.as_deref(), Some("again"), "{case}");
                assert!(books.documents.delete(&row).await.unwrap(), "{case}");
                assert_eq!(books.texts().await, 0, "{case}");
                if put.is_ok() && commit > 6 {
                    break;
                }
                assert!(commit < 20, "{case}: so many commits?");
            }
        }
        assert!(failed > 0, "{before:?} to {linked}: nothing failed");
    }
    scenario.teardown();
}
