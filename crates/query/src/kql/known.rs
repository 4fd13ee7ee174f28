//! What KQL has and this build does not yet: named in errors, with what to write instead.

use strongroom_kql::ast::BinaryOp;

/// Functions of KQL; those that are here never get asked for. Sorted.
const FUNCTIONS: &[(&str, Option<&str>)] = &[
    ("bag_unpack", Some("name the members: `extend a = d.a`")),
    ("bin_auto", Some("use `bin(value, size)`")),
    ("cluster", Some("one workspace is asked at a time")),
    ("current_cluster_endpoint", None),
    ("current_database", None),
    ("current_principal", None),
    ("cursor_after", None),
    ("dcount_hll", Some("use `dcount(..)` over the rows")),
    ("estimate_data_size", None),
    ("extent_id", None),
    ("external_table", None),
    ("geo_info_from_ip_address", None),
    ("hll", Some("use `dcount(..)`")),
    ("hll_merge", Some("use `dcount(..)` over the rows")),
    ("ingestion_time", Some("use `TimeGenerated`")),
    ("percentile_tdigest", Some("use `percentile(..)` over the rows")),
    ("tdigest", Some("use `percentile(..)`")),
    ("tdigest_merge", Some("use `percentile(..)` over the rows")),
];

/// Beginnings of the names of whole families.
const FAMILIES: &[&str] = &[
    "geo_",
    "series_",
    "ipv4_",
    "ipv6_",
    "format_ipv",
    "parse_ipv",
    "hll_",
    "tdigest_",
    "rank_tdigest",
    "gzip_",
    "zlib_",
    "buildschema",
    "stored_query_result",
    "array_",
    "bag_",
    "set_",
    "parse_",
    "has_any_ipv",
    "has_ipv",
    "url_",
    "base64_",
    "datetime_",
    "hash_",
    "punycode_",
    "unicode_",
    "binary_",
    "unixtime_",
    "endof",
    "startof",
    "make_",
];

/// For a function of KQL that is not here: what to use instead, if anything (else empty). None: KQL has no such function.
pub(super) fn function(name: &str) -> Option<&'static str> {
    if let Ok(at) = FUNCTIONS.binary_search_by_key(&name, |(known, _)| known) {
        return Some(FUNCTIONS[at].1.unwrap_or(""));
    }
    FAMILIES.iter().any(|family| name.starts_with(family) && name.len() > family.len() + 1).then_some("")
}

/// For an operator of KQL that is not here.
pub(super) fn operator_alternative(op: BinaryOp) -> Option<&'static str> {
    match op {
        BinaryOp::Like | BinaryOp::LikeCs => Some("use `contains`, `startswith` or `matches regex`"),
        _ => None,
    }
}

/// For a tabular operator of KQL that is not here.
pub(super) fn tabular_alternative(keyword: &str) -> Option<&'static str> {
    Some(match keyword {
        "externaldata" => "ingest the data as a table, or write it out as a `datatable`",
        "fork" | "facet" => "ask the questions one by one",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_is_not_said_to_be_missing() {
        assert!(FUNCTIONS.is_sorted_by_key(|(name, _)| name));
        let here: Vec<_> = FUNCTIONS.iter().filter(|(name, _)| crate::functions::scalar(name).is_some()).collect();
        assert!(here.is_empty(), "{here:?}");
    }
}
