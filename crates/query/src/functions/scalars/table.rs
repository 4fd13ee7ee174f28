//! The functions that are one kernel each.

use strongroom_model::ColumnType as C;

use super::spec::{Gives, Kernel, Make, ScalarSpec, Want as W};
use super::{dynamics, encoding, network, numbers, regexes, strings, text_match, times, trees};

pub(super) const fn f(name: &'static str, takes: &'static [W], gives: C, kernel: Kernel) -> ScalarSpec {
    ScalarSpec { name, aliases: &[], takes, least: takes.len(), more: None, gives: Gives::Kind(gives), make: Make::Kernel(kernel) }
}

impl ScalarSpec {
    pub(super) const fn also(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Fewer arguments than listed will do.
    pub(super) const fn least(mut self, least: usize) -> Self {
        self.least = least;
        self
    }

    pub(super) const fn more(mut self, more: W) -> Self {
        self.more = Some(more);
        self
    }

    pub(super) const fn gives(mut self, gives: Gives) -> Self {
        self.gives = gives;
        self
    }

    pub(super) const fn volatile(mut self, kernel: Kernel) -> Self {
        self.make = Make::Volatile(kernel);
        self
    }
}

/// The string operators, by their KQL spelling where that is a word.
pub(super) static OPERATORS: [ScalarSpec; 18] = [
    f("has", &[W::String, W::String], C::Bool, text_match::has),
    f("has_cs", &[W::String, W::String], C::Bool, text_match::has_cs),
    f("hasprefix", &[W::String, W::String], C::Bool, text_match::hasprefix),
    f("hasprefix_cs", &[W::String, W::String], C::Bool, text_match::hasprefix_cs),
    f("hassuffix", &[W::String, W::String], C::Bool, text_match::hassuffix),
    f("hassuffix_cs", &[W::String, W::String], C::Bool, text_match::hassuffix_cs),
    f("contains", &[W::String, W::String], C::Bool, text_match::contains),
    f("contains_cs", &[W::String, W::String], C::Bool, text_match::contains_cs),
    f("startswith", &[W::String, W::String], C::Bool, text_match::startswith),
    f("startswith_cs", &[W::String, W::String], C::Bool, text_match::startswith_cs),
    f("endswith", &[W::String, W::String], C::Bool, text_match::endswith),
    f("endswith_cs", &[W::String, W::String], C::Bool, text_match::endswith_cs),
    f("=~", &[W::String, W::String], C::Bool, text_match::equals_ignore_case),
    f("kql_like", &[W::String, W::String], C::Bool, text_match::like),
    f("kql_like_cs", &[W::String, W::String], C::Bool, text_match::like_cs),
    f("matches_regex", &[W::String, W::String], C::Bool, text_match::matches_regex),
    f("has_any", &[W::String, W::Any], C::Bool, text_match::has_any).more(W::Any).least(1),
    f("has_all", &[W::String, W::Any], C::Bool, text_match::has_all).more(W::Any).least(1),
];

/// A member of a `dynamic`; behind `a.b[0]`.
pub(super) static DYNAMIC_GET: ScalarSpec = f("dynamic_get", &[W::Dynamic, W::Any], C::Dynamic, dynamics::dynamic_get).more(W::Any);

/// Of a timespan a timespan, of whole numbers a long, else a real.
const fn like_number(kinds: &[C]) -> C {
    match kinds[0] {
        C::TimeSpan => C::TimeSpan,
        C::Long | C::Int => C::Long,
        _ => C::Real,
    }
}

const TEXT: &[W] = &[W::String];
const TEXTS: &[W] = &[W::String, W::String];
const REAL: &[W] = &[W::Real];
const LONGS: &[W] = &[W::Long, W::Long];
const TIME: &[W] = &[W::DateTime];
const TIME_SHIFT: &[W] = &[W::DateTime, W::Long];
const BAG: &[W] = &[W::Dynamic];
const BAGS: &[W] = &[W::Dynamic, W::Dynamic];

pub(super) static SPECS: &[ScalarSpec] = &[
    // strings
    f("strlen", TEXT, C::Long, strings::strlen),
    f("string_size", TEXT, C::Long, strings::string_size),
    f("tolower", TEXT, C::String, strings::tolower),
    f("toupper", TEXT, C::String, strings::toupper),
    f("reverse", TEXT, C::String, strings::reverse),
    f("substring", &[W::String, W::Long, W::Long], C::String, strings::substring).least(2),
    f("strcat", &[W::Any], C::String, strings::strcat).more(W::Any),
    f("strcat_delim", &[W::String, W::Any], C::String, strings::strcat_delim).more(W::Any),
    f("strrep", &[W::Any, W::Long, W::String], C::String, strings::strrep).least(2),
    f("split", &[W::String, W::String, W::Long], C::Dynamic, strings::split).least(2),
    f("replace_string", &[W::String, W::String, W::String], C::String, strings::replace_string),
    f("replace_strings", &[W::String, W::Dynamic, W::Dynamic], C::String, strings::replace_strings),
    f("translate", &[W::String, W::String, W::String], C::String, strings::translate),
    f("indexof", &[W::String, W::String, W::Long, W::Long, W::Long], C::Long, strings::indexof).least(2),
    f("strcmp", TEXTS, C::Long, strings::strcmp),
    f("isascii", TEXT, C::Bool, strings::isascii),
    f("isutf8", TEXT, C::Bool, strings::isutf8),
    f("isempty", &[W::Any], C::Bool, strings::isempty),
    f("isnotempty", &[W::Any], C::Bool, strings::isnotempty).also(&["notempty"]),
    f("isnull", &[W::Any], C::Bool, strings::isnull),
    f("isnotnull", &[W::Any], C::Bool, strings::isnotnull).also(&["notnull"]),
    f("format_bytes", &[W::Real, W::Long, W::String], C::String, strings::format_bytes).least(1),
    f("has_any_index", &[W::String, W::Any], C::Long, text_match::has_any_index),
    // regular expressions
    f("extract_text", &[W::String, W::Long, W::String], C::String, regexes::extract),
    f("extract_all", &[W::String, W::Any, W::String], C::Dynamic, regexes::extract_all).least(2),
    f("replace_regex", &[W::String, W::String, W::String], C::String, regexes::replace_regex),
    f("replace", &[W::String, W::String, W::String], C::String, regexes::replace_old),
    f("trim", TEXTS, C::String, regexes::trim),
    f("trim_start", TEXTS, C::String, regexes::trim_start),
    f("trim_end", TEXTS, C::String, regexes::trim_end),
    f("countof", &[W::String, W::String, W::String], C::Long, regexes::countof).least(2),
    f("indexof_regex", &[W::String, W::String, W::Long, W::Long, W::Long], C::Long, regexes::indexof_regex).least(2),
    f("regex_quote", TEXT, C::String, regexes::regex_quote),
    // times
    f("startofday", TIME_SHIFT, C::DateTime, times::startofday).least(1),
    f("startofweek", TIME_SHIFT, C::DateTime, times::startofweek).least(1),
    f("startofmonth", TIME_SHIFT, C::DateTime, times::startofmonth).least(1),
    f("startofyear", TIME_SHIFT, C::DateTime, times::startofyear).least(1),
    f("endofday", TIME_SHIFT, C::DateTime, times::endofday).least(1),
    f("endofweek", TIME_SHIFT, C::DateTime, times::endofweek).least(1),
    f("endofmonth", TIME_SHIFT, C::DateTime, times::endofmonth).least(1),
    f("endofyear", TIME_SHIFT, C::DateTime, times::endofyear).least(1),
    f("getyear", TIME, C::Int, times::getyear),
    f("monthofyear", TIME, C::Int, times::monthofyear).also(&["getmonth"]),
    f("dayofmonth", TIME, C::Int, times::dayofmonth),
    f("dayofyear", TIME, C::Int, times::dayofyear),
    f("hourofday", TIME, C::Int, times::hourofday),
    f("week_of_year", TIME, C::Int, times::week_of_year).also(&["weekofyear"]),
    f("dayofweek", TIME, C::TimeSpan, times::dayofweek),
    f("datetime_part", &[W::String, W::DateTime], C::Int, times::datetime_part).also(&["datepart"]),
    f("datetime_add", &[W::String, W::Long, W::DateTime], C::DateTime, times::datetime_add),
    f("datetime_diff", &[W::String, W::DateTime, W::DateTime], C::Long, times::datetime_diff),
    f("make_datetime", &[W::Long, W::Long, W::Long, W::Long, W::Long, W::Real], C::DateTime, times::make_datetime).least(3),
    f("make_timespan", &[W::Real, W::Real, W::Real, W::Real], C::TimeSpan, times::make_timespan).least(2),
    f("format_datetime", &[W::DateTime, W::String], C::String, times::format_datetime),
    f("format_timespan", &[W::TimeSpan, W::String], C::String, times::format_timespan),
    f("unixtime_seconds_todatetime", &[W::Number], C::DateTime, times::unixtime_seconds),
    f("unixtime_milliseconds_todatetime", &[W::Number], C::DateTime, times::unixtime_milliseconds),
    f("unixtime_microseconds_todatetime", &[W::Number], C::DateTime, times::unixtime_microseconds),
    f("unixtime_nanoseconds_todatetime", &[W::Number], C::DateTime, times::unixtime_nanoseconds),
    // numbers
    f("sqrt", REAL, C::Real, numbers::sqrt),
    f("exp", REAL, C::Real, numbers::exp),
    f("exp2", REAL, C::Real, numbers::exp2),
    f("exp10", REAL, C::Real, numbers::exp10),
    f("log", REAL, C::Real, numbers::log),
    f("log2", REAL, C::Real, numbers::log2),
    f("log10", REAL, C::Real, numbers::log10),
    f("sin", REAL, C::Real, numbers::sin),
    f("cos", REAL, C::Real, numbers::cos),
    f("tan", REAL, C::Real, numbers::tan),
    f("asin", REAL, C::Real, numbers::asin),
    f("acos", REAL, C::Real, numbers::acos),
    f("atan", REAL, C::Real, numbers::atan),
    f("atan2", &[W::Real, W::Real], C::Real, numbers::atan2),
    f("cot", REAL, C::Real, numbers::cot),
    f("degrees", REAL, C::Real, numbers::degrees),
    f("radians", REAL, C::Real, numbers::radians),
    f("pow", &[W::Real, W::Real], C::Real, numbers::pow),
    f("pi", &[], C::Real, numbers::pi),
    f("abs", &[W::Quantity], C::Real, numbers::abs).gives(Gives::By(like_number)),
    f("sign", REAL, C::Real, numbers::sign),
    f("ceiling", &[W::Number], C::Real, numbers::ceiling).gives(Gives::By(like_number)),
    f("round", &[W::Real, W::Long], C::Real, numbers::round).least(1),
    f("isnan", REAL, C::Bool, numbers::isnan),
    f("isinf", REAL, C::Bool, numbers::isinf),
    f("isfinite", REAL, C::Bool, numbers::isfinite),
    f("binary_and", LONGS, C::Long, numbers::binary_and),
    f("binary_or", LONGS, C::Long, numbers::binary_or),
    f("binary_xor", LONGS, C::Long, numbers::binary_xor),
    f("binary_not", &[W::Long], C::Long, numbers::binary_not),
    f("binary_shift_left", LONGS, C::Long, numbers::binary_shift_left),
    f("binary_shift_right", LONGS, C::Long, numbers::binary_shift_right),
    f("bitset_count_ones", &[W::Long], C::Long, numbers::bitset_count_ones),
    f("rand", &[W::Long], C::Real, numbers::rand).least(0).volatile(numbers::rand),
    f("tohex", &[W::Any, W::Long], C::String, numbers::tohex).least(1),
    // dynamic
    f("array_length", BAG, C::Long, dynamics::array_length).also(&["arraylength"]),
    f("bag_keys", BAG, C::Dynamic, dynamics::bag_keys),
    f("bag_has_key", &[W::Dynamic, W::String], C::Bool, dynamics::bag_has_key),
    f("bag_merge", BAGS, C::Dynamic, dynamics::bag_merge).more(W::Dynamic),
    f("bag_pack", &[], C::Dynamic, dynamics::bag_pack).more(W::Any).also(&["pack", "pack_dictionary"]),
    f("bag_pack_filled", &[], C::Dynamic, dynamics::bag_pack_filled).more(W::Any),
    f("bag_remove_keys", BAGS, C::Dynamic, dynamics::bag_remove_keys),
    f("bag_set_key", &[W::Dynamic, W::String, W::Any], C::Dynamic, dynamics::bag_set_key),
    f("bag_zip", BAGS, C::Dynamic, dynamics::bag_zip),
    f("pack_array", &[], C::Dynamic, dynamics::pack_array).more(W::Any),
    f("array_concat", BAG, C::Dynamic, dynamics::array_concat).more(W::Dynamic),
    f("array_slice", &[W::Dynamic, W::Long, W::Long], C::Dynamic, dynamics::array_slice),
    f("array_split", &[W::Dynamic, W::Any], C::Dynamic, dynamics::array_split),
    f("array_reverse", BAG, C::Dynamic, dynamics::array_reverse),
    f("array_index_of", &[W::Dynamic, W::Any, W::Long, W::Long, W::Long], C::Long, dynamics::array_index_of).least(2),
    f("array_sort_asc", &[W::Dynamic, W::Bool], C::Dynamic, dynamics::array_sort_asc).least(1),
    f("array_sort_desc", &[W::Dynamic, W::Bool], C::Dynamic, dynamics::array_sort_desc).least(1),
    f("array_sum", BAG, C::Real, dynamics::array_sum),
    f("strcat_array", &[W::Dynamic, W::String], C::String, dynamics::strcat_array),
    f("set_union", BAGS, C::Dynamic, dynamics::set_union).more(W::Dynamic),
    f("set_intersect", BAGS, C::Dynamic, dynamics::set_intersect).more(W::Dynamic),
    f("set_difference", BAGS, C::Dynamic, dynamics::set_difference).more(W::Dynamic),
    f("set_has_element", &[W::Dynamic, W::Any], C::Bool, dynamics::set_has_element),
    f("jaccard_index", BAGS, C::Real, dynamics::jaccard_index),
    f("zip", BAGS, C::Dynamic, dynamics::zip).more(W::Dynamic),
    f("range", &[W::Any, W::Any, W::Any], C::Dynamic, dynamics::range).least(2),
    f("repeat", &[W::Any, W::Long], C::Dynamic, dynamics::repeat),
    f("extract_json_text", &[W::String, W::Any], C::String, trees::extract_json),
    f("dynamic_to_json", BAG, C::String, trees::dynamic_to_json),
    f("treepath", BAG, C::Dynamic, trees::treepath),
    // addresses
    f("ipv4_is_private", TEXT, C::Bool, network::ipv4_is_private),
    f("ipv4_is_in_range", TEXTS, C::Bool, network::ipv4_is_in_range),
    f("ipv4_is_in_any_range", &[W::String, W::Any], C::Bool, network::ipv4_is_in_any_range).more(W::Any),
    f("ipv4_is_match", &[W::String, W::String, W::Long], C::Bool, network::ipv4_is_match).least(2),
    f("ipv4_compare", &[W::String, W::String, W::Long], C::Long, network::ipv4_compare).least(2),
    f("parse_ipv4", TEXT, C::Long, network::parse_ipv4),
    f("parse_ipv4_mask", &[W::String, W::Long], C::Long, network::parse_ipv4_mask),
    f("ipv4_netmask_suffix", TEXT, C::Long, network::ipv4_netmask_suffix),
    f("format_ipv4", &[W::Any, W::Long], C::String, network::format_ipv4).least(1),
    f("format_ipv4_mask", &[W::Any, W::Long], C::String, network::format_ipv4_mask).least(1),
    f("has_ipv4", &[W::String, W::Any], C::Bool, network::has_ipv4),
    f("has_any_ipv4", &[W::String, W::Any], C::Bool, network::has_ipv4).more(W::Any),
    f("has_ipv4_prefix", &[W::String, W::Any], C::Bool, network::has_ipv4_prefix),
    f("has_any_ipv4_prefix", &[W::String, W::Any], C::Bool, network::has_ipv4_prefix).more(W::Any),
    f("parse_ipv6", TEXT, C::String, network::parse_ipv6),
    f("ipv6_is_in_range", TEXTS, C::Bool, network::ipv6_is_in_range),
    f("ipv6_is_match", &[W::String, W::String, W::Long], C::Bool, network::ipv6_is_match).least(2),
    f("ipv6_compare", &[W::String, W::String, W::Long], C::Long, network::ipv6_compare).least(2),
    f("ipv6_is_in_any_range", &[W::String, W::Any], C::Bool, network::ipv6_is_in_any_range).more(W::Any),
    f("parse_ipv6_mask", &[W::String, W::Long], C::String, network::parse_ipv6_mask),
    f("ipv4_range_to_cidr_list", TEXTS, C::Dynamic, network::ipv4_range_to_cidr_list),
    // hashes, URLs, small formats
    f("hash", &[W::Any, W::Long], C::Long, encoding::hash).least(1).also(&["hash_xxhash64"]),
    f("hash_md5", &[W::Any], C::String, encoding::hash_md5),
    f("hash_sha1", &[W::Any], C::String, encoding::hash_sha1),
    f("hash_sha256", &[W::Any], C::String, encoding::hash_sha256),
    f("base64_encode_tostring", TEXT, C::String, encoding::base64_encode).also(&["base64_encodestring"]),
    f("base64_decode_tostring", TEXT, C::String, encoding::base64_decode).also(&["base64_decodestring"]),
    f("new_guid", &[], C::Guid, encoding::new_guid).volatile(encoding::new_guid),
    f("url_encode", TEXT, C::String, encoding::url_encode),
    f("url_encode_component", TEXT, C::String, encoding::url_encode_component),
    f("url_decode", TEXT, C::String, encoding::url_decode),
    f("parse_url", TEXT, C::Dynamic, encoding::parse_url).also(&["parseurl"]),
    f("parse_urlquery", TEXT, C::Dynamic, encoding::parse_urlquery).also(&["parseurlquery"]),
    f("parse_path", TEXT, C::Dynamic, encoding::parse_path),
    f("parse_csv", TEXT, C::Dynamic, encoding::parse_csv).also(&["parsecsv"]),
];
