//! Functions that give several columns: `extend (a, b) = series_fit_line(y)`.
//!
//! Each is one function that gives a bag, and the columns are its members: the bag is computed once a row, since equal
//! expressions are. Where one value is wanted (`f = series_fit_line(y)`) it is the first column.

use strongroom_model::ColumnType::{self, Dynamic, Long, Real};

use super::spec::{Gives, Make, ScalarSpec, Want as W};
use super::{convert, dynamic_get};
use crate::functions::{CallContext, Misfit, PathStep, Typed};

/// A function of several columns.
#[derive(Debug)]
pub(crate) struct Several {
    name: &'static str,
    /// The function that gives the bag.
    bag: &'static str,
    /// Members and their types. A column's name is the function's, its argument's and the member's.
    pub(crate) columns: &'static [(&'static str, ColumnType)],
}

const LINE: &[(&str, ColumnType)] =
    &[("rsquare", Real), ("slope", Real), ("variance", Real), ("rvariance", Real), ("interception", Real), ("line_fit", Dynamic)];

const TWO_LINES: &[(&str, ColumnType)] = &[
    ("rsquare", Real),
    ("split_idx", Long),
    ("variance", Real),
    ("rvariance", Real),
    ("line_fit", Dynamic),
    ("right_rsquare", Real),
    ("right_slope", Real),
    ("right_interception", Real),
    ("right_variance", Real),
    ("right_rvariance", Real),
    ("left_rsquare", Real),
    ("left_slope", Real),
    ("left_interception", Real),
    ("left_variance", Real),
    ("left_rvariance", Real),
];

const STATS: &[(&str, ColumnType)] =
    &[("min", Real), ("min_idx", Long), ("max", Real), ("max_idx", Long), ("avg", Real), ("stdev", Real), ("variance", Real)];

const POLYNOMIAL: &[(&str, ColumnType)] =
    &[("rsquare", Real), ("coefficients", Dynamic), ("variance", Real), ("rvariance", Real), ("poly_fit", Dynamic)];

const PERIODS: &[(&str, ColumnType)] = &[("periods", Dynamic), ("scores", Dynamic)];

const PARTS: &[(&str, ColumnType)] = &[("baseline", Dynamic), ("seasonal", Dynamic), ("trend", Dynamic), ("residual", Dynamic)];

const ANOMALIES: &[(&str, ColumnType)] = &[("ad_flag", Dynamic), ("ad_score", Dynamic), ("baseline", Dynamic)];

const COMPLEX: &[(&str, ColumnType)] = &[("real", Dynamic), ("imag", Dynamic)];

static ALL: [Several; 10] = [
    Several { name: "series_fit_line", bag: "series_fit_line_dynamic", columns: LINE },
    Several { name: "series_fit_2lines", bag: "series_fit_2lines_dynamic", columns: TWO_LINES },
    Several { name: "series_fit_poly", bag: "series_fit_poly_parts", columns: POLYNOMIAL },
    Several { name: "series_stats", bag: "series_stats_dynamic", columns: STATS },
    Several { name: "series_periods_detect", bag: "series_periods_detect_parts", columns: PERIODS },
    Several { name: "series_periods_validate", bag: "series_periods_validate_parts", columns: PERIODS },
    Several { name: "series_decompose", bag: "series_decompose_parts", columns: PARTS },
    Several { name: "series_decompose_anomalies", bag: "series_decompose_anomalies_parts", columns: ANOMALIES },
    Several { name: "series_fft", bag: "series_fft_parts", columns: COMPLEX },
    Several { name: "series_ifft", bag: "series_ifft_parts", columns: COMPLEX },
];

/// The function of several columns of that name.
pub(in crate::functions) fn several(name: &str) -> Option<&'static Several> {
    ALL.iter().find(|several| several.name == name)
}

impl Several {
    /// All columns of the call, in order.
    ///
    /// # Errors
    /// The number or a type of the arguments does not fit.
    pub(crate) fn bind(&self, arguments: Vec<Typed>, context: &CallContext) -> Result<Vec<Typed>, Misfit> {
        let spec = super::by_name(self.bag).ok_or_else(|| Misfit::call(format!("there is no {}", self.bag)))?;
        let bag = spec.bind(arguments, context).map_err(|misfit| Misfit {
            // Said of the function that was called.
            message: misfit.message.replace(self.bag, self.name),
            ..misfit
        })?;
        Ok(self
            .columns
            .iter()
            .map(|(member, kind)| convert(dynamic_get(bag.expr.clone(), &[PathStep::Key((*member).to_owned())]), *kind))
            .collect())
    }
}

macro_rules! firsts {
    ($($name:literal),*) => {
        /// The functions as values: each its first column.
        pub(super) static SPECS: &[ScalarSpec] = &[$(ScalarSpec {
            name: $name,
            aliases: &[],
            takes: &[],
            least: 1,
            more: Some(W::Any),
            gives: Gives::Kind(Dynamic),
            make: Make::Macro(|args, context| first($name, args, context)),
        }),*];
    };
}

firsts!(
    "series_fit_line",
    "series_fit_2lines",
    "series_fit_poly",
    "series_stats",
    "series_periods_detect",
    "series_periods_validate",
    "series_decompose",
    "series_decompose_anomalies",
    "series_fft",
    "series_ifft"
);

fn first(name: &str, arguments: Vec<Typed>, context: &CallContext) -> Result<Typed, Misfit> {
    let several = several(name).ok_or_else(|| Misfit::call(format!("there is no {name}")))?;
    let columns = several.bind(arguments, context)?;
    columns.into_iter().next().ok_or_else(|| Misfit::call(format!("{name}() gives no column")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_is_a_value_too() {
        let named: Vec<&str> = SPECS.iter().map(|spec| spec.name).collect();
        let all: Vec<&str> = ALL.iter().map(|several| several.name).collect();
        assert_eq!(named, all);
    }
}
