//! By which columns of its answer a query orders: only their order is promised, rows that tie may swap.

use strongroom_kql::ast::{ExprKind, NamedExpr, Operator, OperatorKind, Pipeline, SortKey, StatementKind};

/// The columns of the answer that it is ordered by, the first counts most; empty if none of them can be seen.
pub(super) fn visible_keys(text: &str) -> Vec<String> {
    let query = strongroom_kql::parse(text).query;
    let pipeline = query.statements.iter().find_map(|statement| match &statement.kind {
        StatementKind::Pipeline(pipeline) => Some(pipeline),
        _ => None,
    });
    pipeline.map(keys_of).unwrap_or_default()
}

fn keys_of(pipeline: &Pipeline) -> Vec<String> {
    let Some(at) = pipeline.operators.iter().rposition(|operator| sort_keys(operator).is_some()) else { return Vec::new() };
    let written = sort_keys(&pipeline.operators[at]).unwrap_or_default();
    // A key that is no plain column hides those after it.
    let mut keys: Vec<String> = written.iter().map_while(|key| plain(&key.value)).collect();
    for operator in &pipeline.operators[at + 1..] {
        follow(&mut keys, &operator.kind);
    }
    keys
}

fn sort_keys(operator: &Operator) -> Option<&[SortKey]> {
    match &operator.kind {
        OperatorKind::Sort { keys, .. } => Some(keys),
        OperatorKind::Top(top) => Some(&top.keys),
        _ => None,
    }
}

fn plain(key: &NamedExpr) -> Option<String> {
    match &key.value.kind {
        ExprKind::Name(name) => Some(name.clone()),
        _ => None,
    }
}

/// Keeps the keys that are still there behind an operator, under the names they have there.
fn follow(keys: &mut Vec<String>, operator: &OperatorKind) {
    let mut keep = |there: &dyn Fn(&str) -> Option<String>| {
        let still: Vec<String> = keys.iter().map_while(|key| there(key)).collect();
        *keys = still;
    };
    match operator {
        OperatorKind::Project(list) => keep(&|key| {
            let same = list.iter().find(|entry| plain(entry).is_some_and(|name| name == key))?;
            Some(same.names.first().map_or_else(|| key.to_owned(), |name| name.text.clone()))
        }),
        OperatorKind::Extend(list) | OperatorKind::Serialize(list) => {
            keep(&|key| (!list.iter().any(|entry| entry.names.iter().any(|name| name.text == key))).then(|| key.to_owned()));
        }
        OperatorKind::ProjectAway(patterns) => keep(&|key| (!patterns.iter().any(|pattern| pattern.matches(key))).then(|| key.to_owned())),
        OperatorKind::ProjectKeep(patterns) => keep(&|key| patterns.iter().any(|pattern| pattern.matches(key)).then(|| key.to_owned())),
        OperatorKind::ProjectRename(pairs) => {
            keep(&|key| Some(pairs.iter().find(|(_, old)| old.text == key).map_or_else(|| key.to_owned(), |(new, _)| new.text.clone())));
        }
        OperatorKind::Where(_)
        | OperatorKind::Take(_)
        | OperatorKind::Render(_)
        | OperatorKind::As { .. }
        | OperatorKind::ProjectReorder(_)
        | OperatorKind::Parse(_)
        | OperatorKind::ParseKv(_)
        | OperatorKind::MvExpand(_) => {}
        _ => keys.clear(),
    }
}

#[test]
fn keys_are_followed_through_what_comes_after_the_sort() {
    let keys = |text| visible_keys(text).join(",");
    assert_eq!(keys("T | sort by a, b | where c | extend d = 1"), "a,b");
    assert_eq!(keys("T | sort by a, b | project x = b, a"), "a,x");
    assert_eq!(keys("T | sort by a, b | extend b = 2"), "a");
    assert_eq!(keys("T | top 3 by a | project-away a"), "");
    assert_eq!(keys("T | sort by a + 1, b"), "");
    assert_eq!(keys("T | sort by a | project-rename z = a | take 3"), "z");
    assert_eq!(keys("T | sort by a | summarize count() by a"), "");
}
