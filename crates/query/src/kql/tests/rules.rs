//! Answers worked out by hand, one file of `testdata/kql` and one test a rule. The first line of an answer is its columns.

use std::path::{Path, PathBuf};

use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};

use super::fixture::table;

/// The fixture's tables, as the runner of `.slt` files asks them.
struct Fixture;

#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl DB for Fixture {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, text: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let answer = table(text).map_err(Refused)?;
        let columns = answer.columns.iter().map(|(name, kind)| format!("{name}:{}", kind.as_str())).collect();
        let rows = std::iter::once(columns).chain(answer.rows).collect();
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; answer.columns.len()], rows })
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/kql")
}

fn check(name: &str) {
    let mut runner = Runner::new(|| async { Ok(Fixture) });
    if let Err(error) = runner.run_file(directory().join(format!("{name}.slt"))) {
        panic!("{}", error.display(false));
    }
}

macro_rules! rules {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_file_is_a_test() {
            let mut files: Vec<String> = std::fs::read_dir(directory())
                .unwrap()
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            let mut tests = vec![$(stringify!($name).to_owned()),*];
            files.sort();
            tests.sort();
            assert_eq!(files, tests);
        }
    };
}

rules! {
    a_column_that_may_be_missing
    a_regex_matches_a_part
    a_text_is_compared_with_a_number_as_a_number
    aggregates_name_their_columns
    aggregates_with_a_condition
    an_ipv4_prefix_ends_with_a_dot
    any_column_is_searched_by_a_star
    applying_a_query_to_each_row
    arrays
    as_names_rows_for_later
    bags
    between_includes_both_ends
    bins_of_weeks_begin_on_monday
    case_counts_only_where_said
    columns_are_kept_left_and_reordered_by_patterns
    conversions_never_fail
    count_and_distinct
    count_counts_nulls_and_dcount_does_not
    counting_and_finding_in_texts
    dates_are_written_as_asked
    differences_of_dates_count_boundaries
    division_by_zero_is_null_or_infinite
    dynamic_members_that_are_not_there_are_null
    equality_with_a_null_is_false_and_inequality_true
    expanding_values
    extend_sees_its_input_and_replaces_in_place
    extracting
    extremes_bring_their_row
    getschema_tells_names_and_types
    types_that_the_engine_chooses_by_value
    groups_come_first_and_nulls_are_one
    halves_are_rounded_away_from_zero
    has_any_and_has_all
    has_looks_for_whole_terms
    hasprefix_and_hassuffix_are_about_terms
    iff_with_a_null_takes_the_second
    integers_wrap_around
    join_keeps_one_left_row_a_key_by_default
    joins_of_every_kind
    json_that_is_none_is_a_text
    kinds_of_dynamic_values_have_names
    lengths_count_code_points
    let_hides_a_table_and_functions_have_defaults
    lists_and_their_negations_are_total
    lists_drop_nulls
    logic_has_three_values
    lookup_keeps_no_right_key
    names_in_brackets_hold_anything
    nan_is_not_itself
    null_keys_match_each_other
    numbers_and_spans_have_the_types_they_look_like
    numbers_widen_to_the_wider_type
    order_with_a_null_is_null_and_where_drops_it
    parsing_takes_the_shortest_text
    percentiles_are_elements_of_the_data
    print_names_by_position
    range_includes_its_end_and_goes_both_ways
    replacing
    rows_in_order_know_their_neighbours
    series_exclude_their_end
    sets_are_typed
    sort_is_descending_unless_told
    split_keeps_empty_pieces
    spread_of_one_row_is_zero
    string_operators_bind_tighter_than_sums
    strings_are_never_null
    strings_in_all_spellings
    sums_and_means_of_times
    sums_of_nothing
    texts_of_values
    the_first_of_equal_keys_stays_in_a_bag
    the_first_of_several_tables_is_the_answer
    the_remainder_is_never_negative
    top_sorts_and_takes
    toscalar_is_the_first_cell
    trim_takes_one_match_from_each_end
    union_splits_a_name_with_two_types
    union_tells_its_legs_and_skips_what_is_not_there
    values_name_their_columns
    weeks_start_on_sunday
}
