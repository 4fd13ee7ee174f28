//! What KQL has and this build does not yet: named in errors, with what to write instead.

use strongroom_kql::ast::BinaryOp;

/// Functions of KQL that are not here. Sorted.
const FUNCTIONS: &[(&str, Option<&str>)] = &[
    ("all", None),
    ("assert", None),
    ("bag_unpack", Some("name the members: `extend a = d.a`")),
    ("bin_auto", Some("use `bin(value, size)`")),
    ("cluster", Some("one workspace is asked at a time")),
    ("current_cluster_endpoint", None),
    ("current_cursor", None),
    ("current_database", None),
    ("current_principal", None),
    ("current_principal_details", None),
    ("current_principal_is_member_of", None),
    ("cursor_after", Some("use a condition on `TimeGenerated`")),
    ("cursor_before_or_at", Some("use a condition on `TimeGenerated`")),
    ("cursor_current", None),
    ("edges", None),
    ("extent_id", None),
    ("extent_tags", None),
    ("external_table", Some("ingest the data as a table")),
    ("geo_closest_point_on_line", None),
    ("geo_closest_point_on_polygon", None),
    ("geo_distance_point_to_line", None),
    ("geo_distance_point_to_polygon", None),
    ("geo_from_wkt", None),
    ("geo_h3cell_children", None),
    ("geo_h3cell_level", None),
    ("geo_h3cell_neighbors", None),
    ("geo_h3cell_parent", None),
    ("geo_h3cell_rings", None),
    ("geo_h3cell_to_central_point", None),
    ("geo_h3cell_to_polygon", None),
    ("geo_info_from_ip_address", Some("ingest a table of ranges and use `ipv4_is_in_range(..)`")),
    ("geo_intersection_2lines", None),
    ("geo_intersection_2polygons", None),
    ("geo_intersection_line_with_polygon", None),
    ("geo_intersects_2lines", None),
    ("geo_intersects_2polygons", None),
    ("geo_intersects_line_with_polygon", None),
    ("geo_line_buffer", None),
    ("geo_line_centroid", None),
    ("geo_line_densify", None),
    ("geo_line_interpolate_point", None),
    ("geo_line_locate_point", None),
    ("geo_line_simplify", None),
    ("geo_line_to_s2cells", None),
    ("geo_point_buffer", None),
    ("geo_point_to_h3cell", None),
    ("geo_point_to_s2cell", None),
    ("geo_polygon_area", None),
    ("geo_polygon_buffer", None),
    ("geo_polygon_centroid", None),
    ("geo_polygon_densify", None),
    ("geo_polygon_simplify", None),
    ("geo_polygon_to_h3cells", None),
    ("geo_polygon_to_s2cells", None),
    ("geo_s2cell_neighbors", None),
    ("geo_s2cell_to_central_point", None),
    ("geo_s2cell_to_polygon", None),
    ("geo_simplify_polygons_array", None),
    ("geo_union_lines_array", None),
    ("geo_union_polygons_array", None),
    ("has_any_ipv6", Some("use `has_any (..)`")),
    ("has_any_ipv6_prefix", Some("use `has_any (..)`")),
    ("has_ipv6", Some("use `has \"..\"`")),
    ("has_ipv6_prefix", Some("use `has \"..\"`")),
    ("hash_combine", Some("use `hash(strcat(a, \"|\", b))`")),
    ("hash_many", Some("use `hash(strcat(a, \"|\", b))`")),
    ("inner_nodes", None),
    ("map", None),
    ("node_degree_in", None),
    ("node_degree_out", None),
    ("node_id", None),
    ("nodes", None),
    ("parse_user_agent", Some("use `extract(regex, group, text)`")),
    ("rows_near", None),
    ("series_shapes", None),
    ("stored_query_result", None),
];

/// For a function of KQL that is not here: what to use instead, if anything (else empty). None: KQL has no such function.
pub(super) fn function(name: &str) -> Option<&'static str> {
    let at = FUNCTIONS.binary_search_by_key(&name, |(known, _)| known).ok()?;
    Some(FUNCTIONS[at].1.unwrap_or(""))
}

/// All of them.
#[cfg(test)]
pub(super) fn functions() -> &'static [(&'static str, Option<&'static str>)] {
    FUNCTIONS
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
        let here: Vec<_> = FUNCTIONS
            .iter()
            .filter(|(name, _)| crate::functions::scalar(name).is_some() || crate::functions::aggregate(name).is_some())
            .collect();
        assert!(here.is_empty(), "{here:?}");
    }
}
