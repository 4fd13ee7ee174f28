//! The language's words in lists.

use crate::ast::{BinaryOp, JoinKind};

/// Every operator's keyword, for "did you mean".
pub(super) const KEYWORDS: [&str; 47] = [
    "where",
    "filter",
    "extend",
    "project",
    "project-away",
    "project-keep",
    "project-rename",
    "project-reorder",
    "project-by-names",
    "summarize",
    "sort",
    "order",
    "take",
    "limit",
    "top",
    "count",
    "distinct",
    "join",
    "lookup",
    "union",
    "parse",
    "parse-where",
    "parse-kv",
    "mv-expand",
    "mvexpand",
    "mv-apply",
    "mvapply",
    "make-series",
    "search",
    "serialize",
    "evaluate",
    "invoke",
    "render",
    "as",
    "sample",
    "sample-distinct",
    "getschema",
    "consume",
    "assert-schema",
    "top-nested",
    "top-hitters",
    "partition",
    "scan",
    "fork",
    "facet",
    "reduce",
    "find",
];

/// Operators that are read over: graphs and the like.
pub(super) const UNREAD: [&str; 8] = [
    "make-graph",
    "graph-match",
    "graph-shortest-paths",
    "graph-to-table",
    "graph-mark-components",
    "graph-merge",
    "graph-where-nodes",
    "graph-where-edges",
];

/// How SQL calls things, and what to write instead.
pub(super) const SQL: [(&str, &str); 7] = [
    ("select", "project"),
    ("group", "summarize .. by"),
    ("having", "where"),
    ("offset", "row_number()"),
    ("from", "the table's name first, then |"),
    ("orderby", "order by"),
    ("inner", "join kind=inner"),
];

/// Kinds of joins; the last ones are habits of other languages.
pub(super) const JOIN_KINDS: [(&str, JoinKind); 14] = [
    ("innerunique", JoinKind::InnerUnique),
    ("inner", JoinKind::Inner),
    ("leftouter", JoinKind::LeftOuter),
    ("rightouter", JoinKind::RightOuter),
    ("fullouter", JoinKind::FullOuter),
    ("leftsemi", JoinKind::LeftSemi),
    ("rightsemi", JoinKind::RightSemi),
    ("leftanti", JoinKind::LeftAnti),
    ("anti", JoinKind::LeftAnti),
    ("leftantisemi", JoinKind::LeftAnti),
    ("rightanti", JoinKind::RightAnti),
    ("rightantisemi", JoinKind::RightAnti),
    ("outer", JoinKind::FullOuter),
    ("semi", JoinKind::LeftSemi),
];

/// The string operator spelt so.
pub(super) fn string_operator(word: &str) -> Option<BinaryOp> {
    use BinaryOp as B;
    Some(match word {
        "contains" => B::Contains,
        "contains_cs" | "containscs" => B::ContainsCs,
        "notcontains" => B::NotContains,
        "notcontainscs" => B::NotContainsCs,
        "has" => B::Has,
        "has_cs" | "hascs" => B::HasCs,
        "hasprefix" => B::HasPrefix,
        "hasprefix_cs" => B::HasPrefixCs,
        "hassuffix" => B::HasSuffix,
        "hassuffix_cs" => B::HasSuffixCs,
        "startswith" => B::StartsWith,
        "startswith_cs" => B::StartsWithCs,
        "endswith" => B::EndsWith,
        "endswith_cs" => B::EndsWithCs,
        "like" => B::Like,
        "likecs" => B::LikeCs,
        "notlike" => B::NotLike,
        "notlikecs" => B::NotLikeCs,
        _ => return None,
    })
}

/// With `!` before it.
pub(super) fn negated(op: BinaryOp) -> Option<BinaryOp> {
    use BinaryOp as B;
    Some(match op {
        B::Contains => B::NotContains,
        B::ContainsCs => B::NotContainsCs,
        B::Has => B::NotHas,
        B::HasCs => B::NotHasCs,
        B::HasPrefix => B::NotHasPrefix,
        B::HasPrefixCs => B::NotHasPrefixCs,
        B::HasSuffix => B::NotHasSuffix,
        B::HasSuffixCs => B::NotHasSuffixCs,
        B::StartsWith => B::NotStartsWith,
        B::StartsWithCs => B::NotStartsWithCs,
        B::EndsWith => B::NotEndsWith,
        B::EndsWithCs => B::NotEndsWithCs,
        B::Like => B::NotLike,
        B::LikeCs => B::NotLikeCs,
        _ => return None,
    })
}
