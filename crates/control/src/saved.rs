//! Every kind of content that people save: where it lies, and under which key. `docs/azure.md` shows this table; a test compares them.

use crate::contents::ContentKind;

/// One kind of saved content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedKind {
    /// What it is.
    pub what: &'static str,
    /// Where it lies.
    pub store: &'static str,
    /// Under which key.
    pub key: &'static str,
}

const WORKSPACE: &str = "the workspace's";
const LINKED: &str = "the workspace's; linked: the storage account's";
const PROVIDER: &str = "the provider's (MMK)";
const IN_CATALOG: &str = "cells of the catalog";
const NOWHERE: &str = "not kept here: with the service that holds them";

/// What a kind of the store of saved content is. A new kind has to be told of here.
#[must_use]
pub const fn of(kind: ContentKind) -> SavedKind {
    match kind {
        ContentKind::Query => {
            SavedKind { what: "saved searches", store: "cells of the catalog; linked for `Query`: objects of that account", key: LINKED }
        }
        ContentKind::Functions => SavedKind {
            what: "stored functions, saved searches with an alias",
            store: "cells of the catalog; linked for `Query`: objects of that account, unless `azure.linked_storage_functions` is off",
            key: LINKED,
        },
        ContentKind::Alerts => SavedKind {
            what: "alert rules: query, condition, description",
            store: "cells of the catalog; linked for `Alerts`: objects of that account",
            key: LINKED,
        },
        ContentKind::AlertStates => {
            SavedKind { what: "alert rules: which dimension values fired, calls still to be made", store: IN_CATALOG, key: WORKSPACE }
        }
        ContentKind::History => {
            SavedKind { what: "query history, a person's own", store: "cells of the catalog; linked for `Query`: refused", key: WORKSPACE }
        }
        ContentKind::Pins => {
            SavedKind { what: "pinned queries, a person's own", store: "cells of the catalog; linked for `Query`: refused", key: WORKSPACE }
        }
        ContentKind::Workbooks => SavedKind {
            what: "workbooks with `storageUri`",
            store: "objects of the account that is linked for `Query`, unless `azure.linked_storage_workbooks` is off",
            key: LINKED,
        },
    }
}

/// What lies elsewhere.
const OTHERS: &[SavedKind] = &[
    SavedKind { what: "data collection rules: columns, `transformKql`", store: IN_CATALOG, key: WORKSPACE },
    SavedKind {
        what: "alerts that fired: dimension values, number",
        store: "rows of the workspace's table `StrongroomAlerts`",
        key: WORKSPACE,
    },
    SavedKind {
        what: "alerts that fired: when, which rule, whether calls were taken",
        store: "the catalog, in clear",
        key: "none: no content",
    },
    SavedKind { what: "text of questions in the audit chain (`audit.queries`)", store: "cells of the chain", key: WORKSPACE },
    SavedKind { what: "workbooks without `storageUri`", store: IN_CATALOG, key: PROVIDER },
    SavedKind { what: "query packs and their queries", store: IN_CATALOG, key: PROVIDER },
    SavedKind { what: "action groups: addresses of webhooks", store: IN_CATALOG, key: PROVIDER },
    SavedKind { what: "names of rules, groups, workspaces, tables; tags", store: "the catalog, in clear", key: "none" },
    SavedKind {
        what: "queries of dashboards, Logic Apps, notebooks, automation runbooks",
        store: NOWHERE,
        key: "that service's provider's",
    },
];

/// All kinds.
pub fn all() -> impl Iterator<Item = SavedKind> {
    ContentKind::ALL.into_iter().map(of).chain(OTHERS.iter().copied())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;

    /// `STRONGROOM_UPDATE_DOCS=1 cargo test -p strongroom-control` rewrites what stands between the marks.
    #[test]
    fn the_page_tells_of_every_kind_of_saved_content_where_it_lies_and_under_which_key() {
        let mut table = "| what | where | key |\n|---|---|---|\n".to_owned();
        for SavedKind { what, store, key } in all() {
            writeln!(table, "| {what} | {store} | {key} |").unwrap();
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/azure.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once("<!-- saved -->\n").unwrap();
        let (there, after) = rest.split_once("<!-- /saved -->").unwrap();
        if std::env::var_os("STRONGROOM_UPDATE_DOCS").is_some() {
            std::fs::write(&path, format!("{before}<!-- saved -->\n{table}<!-- /saved -->{after}")).unwrap();
            return;
        }
        assert_eq!(there, table, "run the command in this test's comment");
    }

    #[test]
    fn no_two_kinds_are_told_of_as_one() {
        let mut names: Vec<&str> = all().map(|kind| kind.what).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
