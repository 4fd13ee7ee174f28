//! Aggregate functions: DataFusion's own where they mean the same, ours where they do not.

mod collect;
mod extreme;
mod groups;
pub(super) mod part;
mod percentile;
mod schema;
mod sketched;
mod weighted;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use datafusion::common::ScalarValue;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn as native;
use datafusion::logical_expr::{AggregateUDF, Expr, ExprFunctionExt, cast, lit};
use hashbrown::HashMap;
use strongroom_model::ColumnType;

use self::collect::{Collect, ELEMENTS_MAX, What};
use self::extreme::{Extreme, Wins};
use self::groups::KqlAggregate;
use self::percentile::Percentiles;
use self::sketched::{Sketch, Sketched};
use self::weighted::Weighted;
use super::scalars::convert;
use super::{Misfit, Typed};

/// One aggregate function: how many arguments of which types it takes, what it gives, how it is computed.
#[derive(Debug)]
pub(crate) struct AggregateSpec {
    /// As messages call it.
    pub(crate) name: &'static str,
    /// Other names for it.
    pub(crate) aliases: &'static [&'static str],
    base: Base,
    /// `sumif` and its like: the second argument (of `countif` the only one) says which rows count.
    conditional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    Distinct,
    DistinctExact,
    Row(Wins),
    Collect(What),
    /// With weights, in one array.
    Percentile {
        weighted: bool,
        array: bool,
    },
    Spread(Spread),
    Covariance {
        population: bool,
    },
    Bits(Bits),
    Sketch(Sketch),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    Stdev,
    StdevP,
    Variance,
    VarianceP,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    And,
    Or,
    Xor,
}

/// An aggregate over the input's columns, and how to get its values out of what DataFusion computes.
#[derive(Clone, Debug)]
pub(crate) struct BoundAggregate {
    /// `Expr::AggregateFunction`; conditions (`countif`) are its FILTER. Give it an alias and find it by that in the output.
    pub(crate) call: Expr,
    /// What it gives: one column, or several (`arg_max(t, a, b)` gives t, a, b; `percentiles(x, 50, 95)` two; `take_any(a, b)` two).
    pub(crate) columns: Vec<ColumnType>,
    /// Whether its result depends on the order of its input (`make_list`; `make_bag`, where a key comes twice).
    pub(crate) ordered: bool,
    finish: Finish,
}

/// From what DataFusion computes to what KQL gives.
#[derive(Clone, Debug)]
enum Finish {
    AsIs,
    /// In place of null.
    Or(ScalarValue),
    /// Nanoseconds back to a time; in place of null that.
    Time(Option<i64>),
    /// The count is unsigned.
    Long,
    /// Of a struct the field of that number.
    Part,
    /// Of a struct all fields, of those types, in one array.
    Array(Vec<ColumnType>),
    /// Computed as a real.
    FromReal,
}

impl BoundAggregate {
    /// Column number `index` as a value over the aggregation's output, where `output` is the column holding [`call`](Self::call).
    /// This is where sums of nothing become 0 and the like.
    pub(crate) fn value(&self, output: Expr, index: usize) -> Typed {
        let kind = self.columns[index];
        let expr = match &self.finish {
            Finish::AsIs => output,
            Finish::Or(other) => coalesce(vec![output, Expr::Literal(other.clone(), None)]),
            Finish::Long => cast(output, ColumnType::Long.query_type()),
            Finish::Time(other) => {
                let ns = cast(output, ColumnType::Long.query_type());
                let ns = match other {
                    Some(other) => coalesce(vec![ns, lit(*other)]),
                    None => ns,
                };
                cast(ns, kind.query_type())
            }
            Finish::FromReal => convert(Typed::new(output, ColumnType::Real), kind).expr,
            Finish::Array(kinds) => {
                let parts = kinds.iter().enumerate().map(|(at, kind)| Typed::new(part::part(output.clone(), at), *kind)).collect();
                return super::scalars::packed_array(parts);
            }
            Finish::Part => {
                let part = part::part(output, index);
                if kind == ColumnType::String { coalesce(vec![part, empty_text()]) } else { part }
            }
        };
        Typed::new(expr, kind)
    }
}

const fn spec(name: &'static str, aliases: &'static [&'static str], base: Base) -> AggregateSpec {
    AggregateSpec { name, aliases, base, conditional: false }
}

const fn spec_if(name: &'static str, aliases: &'static [&'static str], base: Base) -> AggregateSpec {
    AggregateSpec { name, aliases, base, conditional: true }
}

static SPECS: &[AggregateSpec] = &[
    spec("count", &[], Base::Count),
    spec_if("countif", &[], Base::Count),
    spec("sum", &[], Base::Sum),
    spec_if("sumif", &[], Base::Sum),
    spec("avg", &[], Base::Avg),
    spec_if("avgif", &[], Base::Avg),
    spec("min", &[], Base::Min),
    spec_if("minif", &[], Base::Min),
    spec("max", &[], Base::Max),
    spec_if("maxif", &[], Base::Max),
    spec("dcount", &[], Base::Distinct),
    spec_if("dcountif", &[], Base::Distinct),
    spec("count_distinct", &[], Base::DistinctExact),
    spec_if("count_distinctif", &[], Base::DistinctExact),
    spec("arg_max", &["argmax"], Base::Row(Wins::Greatest)),
    spec("arg_min", &["argmin"], Base::Row(Wins::Least)),
    spec("take_any", &["any"], Base::Row(Wins::Any)),
    spec_if("take_anyif", &["anyif"], Base::Row(Wins::Any)),
    spec("make_list", &["makelist"], Base::Collect(What::List)),
    spec_if("make_list_if", &["makelistif"], Base::Collect(What::List)),
    spec("make_list_with_nulls", &[], Base::Collect(What::ListWithNulls)),
    spec("make_set", &["makeset"], Base::Collect(What::Set)),
    spec_if("make_set_if", &["makesetif"], Base::Collect(What::Set)),
    spec("make_bag", &[], Base::Collect(What::Bag)),
    spec_if("make_bag_if", &[], Base::Collect(What::Bag)),
    spec("percentile", &[], Base::Percentile { weighted: false, array: false }),
    spec("percentiles", &[], Base::Percentile { weighted: false, array: false }),
    spec("percentiles_array", &[], Base::Percentile { weighted: false, array: true }),
    spec("percentilew", &[], Base::Percentile { weighted: true, array: false }),
    spec("percentilesw", &[], Base::Percentile { weighted: true, array: false }),
    spec("percentilesw_array", &[], Base::Percentile { weighted: true, array: true }),
    spec("stdev", &[], Base::Spread(Spread::Stdev)),
    spec_if("stdevif", &[], Base::Spread(Spread::Stdev)),
    spec("stdevp", &[], Base::Spread(Spread::StdevP)),
    spec_if("stdevpif", &[], Base::Spread(Spread::StdevP)),
    spec("variance", &[], Base::Spread(Spread::Variance)),
    spec_if("varianceif", &[], Base::Spread(Spread::Variance)),
    spec("variancep", &[], Base::Spread(Spread::VarianceP)),
    spec_if("variancepif", &[], Base::Spread(Spread::VarianceP)),
    spec("binary_all_and", &[], Base::Bits(Bits::And)),
    spec("binary_all_or", &[], Base::Bits(Bits::Or)),
    spec("binary_all_xor", &[], Base::Bits(Bits::Xor)),
    spec("covariance", &[], Base::Covariance { population: false }),
    spec_if("covarianceif", &[], Base::Covariance { population: false }),
    spec("covariancep", &[], Base::Covariance { population: true }),
    spec_if("covariancepif", &[], Base::Covariance { population: true }),
    spec("hll", &[], Base::Sketch(Sketch::Hll(14))),
    spec_if("hll_if", &[], Base::Sketch(Sketch::Hll(14))),
    spec("hll_merge", &[], Base::Sketch(Sketch::HllMerge)),
    spec("tdigest", &[], Base::Sketch(Sketch::Digest)),
    spec("tdigest_merge", &["merge_tdigest"], Base::Sketch(Sketch::DigestMerge)),
    spec("buildschema", &[], Base::Sketch(Sketch::Schema)),
];

static BY_NAME: LazyLock<HashMap<&'static str, &'static AggregateSpec>> = LazyLock::new(|| {
    let names = |spec: &'static AggregateSpec| std::iter::once(&spec.name).chain(spec.aliases).map(move |name| (*name, spec));
    SPECS.iter().flat_map(names).collect()
});

pub(super) fn by_name(name: &str) -> Option<&'static AggregateSpec> {
    BY_NAME.get(name).copied()
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BY_NAME.keys().copied()
}

pub(super) fn for_sql() -> Vec<AggregateUDF> {
    let collect = |what| AggregateUDF::from(KqlAggregate::new(Collect { what, limit: ELEMENTS_MAX, kind: None }));
    vec![collect(What::List), collect(What::Set), collect(What::Bag)]
}

fn empty_text() -> Expr {
    Expr::Literal(ScalarValue::Utf8View(Some(String::new())), None)
}

/// A string column may hold nulls where KQL has `""`.
fn solid(value: Typed) -> Expr {
    let constant = matches!(value.expr, Expr::Literal(..));
    if value.kind == ColumnType::String && !constant { coalesce(vec![value.expr, empty_text()]) } else { value.expr }
}

impl AggregateSpec {
    /// The call. For `arg_max(t, *)` the binder gives the columns instead of `*`.
    ///
    /// # Errors
    /// The number or a type of the arguments does not fit.
    pub(crate) fn bind(&'static self, mut arguments: Vec<Typed>) -> Result<BoundAggregate, Misfit> {
        let condition = if self.conditional { Some(self.condition(&mut arguments)?) } else { None };
        let mut bound = match self.base {
            Base::Count => {
                self.count(&arguments, 0, usize::from(!self.conditional))?;
                bound(native::count(lit(1_i64)), ColumnType::Long, Finish::AsIs)
            }
            Base::Sum => self.sum(arguments)?,
            Base::Avg => self.avg(arguments)?,
            Base::Min | Base::Max => self.edge(arguments)?,
            Base::Distinct | Base::DistinctExact => self.distinct(arguments)?,
            Base::Row(wins) => self.row(arguments, wins)?,
            Base::Collect(what) => self.collect(arguments, what)?,
            Base::Percentile { weighted, array } => self.percentiles(arguments, weighted, array)?,
            Base::Covariance { population } => self.covariance(arguments, population)?,
            Base::Sketch(sketch) => self.sketch(arguments, sketch)?,
            Base::Spread(spread) => {
                let value = convert(self.number(arguments)?, ColumnType::Real).expr;
                let call = match spread {
                    Spread::Stdev => native::stddev(value),
                    Spread::StdevP => native::stddev_pop(value),
                    Spread::Variance => native::var_sample(value),
                    Spread::VarianceP => native::var_pop(value),
                };
                // One row spreads nowhere.
                bound(call, ColumnType::Real, Finish::Or(ScalarValue::Float64(Some(0.0))))
            }
            Base::Bits(bits) => {
                let value = convert(self.number(arguments)?, ColumnType::Long).expr;
                let call = match bits {
                    Bits::And => native::bit_and(value),
                    Bits::Or => native::bit_or(value),
                    Bits::Xor => native::bit_xor(value),
                };
                bound(call, ColumnType::Long, Finish::AsIs)
            }
        };
        if let Some(condition) = condition {
            bound.call = bound.call.filter(condition).build().map_err(|error| Misfit::call(error.strip_backtrace()))?;
        }
        Ok(bound)
    }

    fn count(&self, arguments: &[Typed], least: usize, most: usize) -> Result<(), Misfit> {
        if (least..=most).contains(&arguments.len()) {
            return Ok(());
        }
        let extra = usize::from(self.conditional);
        let wanted = match (least + extra, most.saturating_add(extra)) {
            (least, usize::MAX) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        let noun = if wanted == "1" || wanted == "at least 1" { "argument" } else { "arguments" };
        Err(Misfit::call(format!("{}() takes {wanted} {noun}, not {}", self.name, arguments.len() + extra)))
    }

    /// Takes out the argument that says which rows count.
    fn condition(&self, arguments: &mut Vec<Typed>) -> Result<Expr, Misfit> {
        let index = match self.base {
            Base::Count => 0,
            Base::Covariance { .. } => 2,
            _ => 1,
        };
        if arguments.len() <= index {
            return Err(Misfit::call(format!("{}() needs a condition as argument {}", self.name, index + 1)));
        }
        let condition = arguments.remove(index);
        if !matches!(condition.kind, ColumnType::Bool | ColumnType::Dynamic) {
            return Err(Misfit::argument(index, format!("{}() takes a bool here, not a {}", self.name, condition.kind.as_str())));
        }
        Ok(convert(condition, ColumnType::Bool).expr)
    }

    fn only(&self, arguments: Vec<Typed>) -> Result<Typed, Misfit> {
        self.count(&arguments, 1, 1)?;
        arguments.into_iter().next().ok_or_else(|| Misfit::call("an argument is missing"))
    }

    /// The one argument, if it is something to compute with; a dynamic counts as a real.
    fn number(&self, arguments: Vec<Typed>) -> Result<Typed, Misfit> {
        self.measure(self.only(arguments)?, 0)
    }

    fn measure(&self, value: Typed, index: usize) -> Result<Typed, Misfit> {
        use ColumnType as C;
        match value.kind {
            C::Int | C::Bool => Ok(convert(value, C::Long)),
            C::Dynamic => Ok(convert(value, C::Real)),
            C::Long | C::Real | C::Decimal | C::TimeSpan | C::DateTime => Ok(value),
            C::String | C::Guid => Err(Misfit::argument(
                index,
                format!("{}() takes a number, not a {}; convert it first: todouble(..)", self.name, value.kind.as_str()),
            )),
        }
    }

    fn sum(&self, arguments: Vec<Typed>) -> Result<BoundAggregate, Misfit> {
        use ColumnType as C;
        let value = self.number(arguments)?;
        Ok(match value.kind {
            C::Long => bound(native::sum(value.expr), C::Long, Finish::Or(ScalarValue::Int64(Some(0)))),
            C::TimeSpan => bound(native::sum(cast(value.expr, C::Long.query_type())), C::TimeSpan, Finish::Time(Some(0))),
            C::Decimal => bound(native::sum(convert(value, C::Real).expr), C::Decimal, Finish::FromReal),
            C::Real => bound(native::sum(value.expr), C::Real, Finish::Or(ScalarValue::Float64(Some(0.0)))),
            kind => return Err(Misfit::argument(0, format!("{}() cannot add up a {}", self.name, kind.as_str()))),
        })
    }

    fn avg(&self, arguments: Vec<Typed>) -> Result<BoundAggregate, Misfit> {
        use ColumnType as C;
        let value = self.number(arguments)?;
        let kind = value.kind;
        Ok(match kind {
            C::TimeSpan | C::DateTime => {
                let ns = cast(cast(value.expr, C::Long.query_type()), C::Real.query_type());
                bound(native::avg(ns), kind, Finish::Time(None))
            }
            C::Decimal => bound(native::avg(convert(value, C::Real).expr), C::Decimal, Finish::FromReal),
            _ => bound(native::avg(convert(value, C::Real).expr), C::Real, Finish::Or(ScalarValue::Float64(Some(f64::NAN)))),
        })
    }

    fn edge(&self, arguments: Vec<Typed>) -> Result<BoundAggregate, Misfit> {
        let value = self.only(arguments)?;
        let kind = value.kind;
        if kind == ColumnType::Dynamic {
            return Err(Misfit::argument(0, format!("{}() cannot compare dynamics; convert them first, e.g. tolong(..)", self.name)));
        }
        let finish = if kind == ColumnType::String { Finish::Or(ScalarValue::Utf8View(Some(String::new()))) } else { Finish::AsIs };
        let value = solid(value);
        let call = if self.base == Base::Min { native::min(value) } else { native::max(value) };
        Ok(bound(call, kind, finish))
    }

    fn distinct(&self, mut arguments: Vec<Typed>) -> Result<BoundAggregate, Misfit> {
        use ColumnType as C;
        self.count(&arguments, 1, if self.base == Base::Distinct { 2 } else { usize::MAX })?;
        // How accurate the estimate is to be makes no difference here.
        let value = arguments.swap_remove(0);
        let value = match value.kind {
            C::Real | C::Decimal => convert(value, C::String),
            _ => value,
        };
        let value = solid(value);
        Ok(if self.base == Base::Distinct {
            bound(native::approx_distinct(value), C::Long, Finish::Long)
        } else {
            bound(native::count_distinct(value), C::Long, Finish::AsIs)
        })
    }

    fn row(&self, arguments: Vec<Typed>, wins: Wins) -> Result<BoundAggregate, Misfit> {
        self.count(&arguments, 1, usize::MAX)?;
        let columns: Vec<ColumnType> = arguments.iter().map(|a| a.kind).collect();
        if wins != Wins::Any && columns[0] == ColumnType::Dynamic {
            return Err(Misfit::argument(0, format!("{}() cannot compare dynamics; convert them first, e.g. tolong(..)", self.name)));
        }
        let call = AggregateUDF::from(KqlAggregate::new(Extreme { wins })).call(arguments.into_iter().map(solid).collect());
        Ok(BoundAggregate { call, columns, ordered: wins == Wins::Any, finish: Finish::Part })
    }

    fn collect(&self, mut arguments: Vec<Typed>, what: What) -> Result<BoundAggregate, Misfit> {
        self.count(&arguments, 1, 2)?;
        let limit = match arguments.get(1) {
            None => ELEMENTS_MAX,
            Some(limit) => constant(limit).and_then(whole).ok_or_else(|| {
                Misfit::argument(1, format!("{}() takes a whole number written out here: how many elements at most", self.name))
            })?,
        };
        let value = arguments.swap_remove(0);
        if what == What::Bag && value.kind != ColumnType::Dynamic {
            return Err(Misfit::argument(0, format!("{}() takes a dynamic, not a {}", self.name, value.kind.as_str())));
        }
        let plan = Collect { what, limit: limit.min(ELEMENTS_MAX), kind: Some(value.kind) };
        let call = AggregateUDF::from(KqlAggregate::new(plan)).call(vec![value.expr]);
        let finish = Finish::Or(ScalarValue::Utf8View(Some(if what == What::Bag { "{}" } else { "[]" }.to_owned())));
        Ok(BoundAggregate { call, columns: vec![ColumnType::Dynamic], ordered: true, finish })
    }

    fn percentiles(&self, mut arguments: Vec<Typed>, weighted: bool, array: bool) -> Result<BoundAggregate, Misfit> {
        let first = if weighted { 2 } else { 1 };
        self.count(&arguments, first + 1, usize::MAX)?;
        let mut wanted = Vec::new();
        for (index, argument) in arguments.drain(first..).enumerate() {
            let complaint = || Misfit::argument(index + first, format!("{}() takes a number from 0 to 100 written out here", self.name));
            let value = constant(&argument).ok_or_else(complaint)?;
            let percents = percents(value);
            if percents.is_empty() || percents.iter().any(|percent| !(0.0..=100.0).contains(percent)) {
                return Err(complaint());
            }
            wanted.extend(percents.into_iter().map(f64::to_bits));
        }
        let weight = if weighted { Some(self.measure(arguments.remove(1), 1)?) } else { None };
        let value = self.number(arguments)?;
        let value = if value.kind == ColumnType::Decimal { convert(value, ColumnType::Real) } else { value };
        let columns = vec![value.kind; wanted.len()];
        let call = match weight {
            None => AggregateUDF::from(KqlAggregate::new(Percentiles { wanted })).call(vec![value.expr]),
            Some(weight) => {
                let weight = convert(weight, ColumnType::Long).expr;
                AggregateUDF::from(KqlAggregate::new(Weighted { wanted })).call(vec![value.expr, weight])
            }
        };
        Ok(if array {
            BoundAggregate { call, columns: vec![ColumnType::Dynamic], ordered: false, finish: Finish::Array(columns) }
        } else {
            BoundAggregate { call, columns, ordered: false, finish: Finish::Part }
        })
    }

    fn covariance(&self, mut arguments: Vec<Typed>, population: bool) -> Result<BoundAggregate, Misfit> {
        self.count(&arguments, 2, 2)?;
        let second = convert(self.measure(arguments.remove(1), 1)?, ColumnType::Real).expr;
        let first = convert(self.measure(arguments.remove(0), 0)?, ColumnType::Real).expr;
        let call = if population { native::covar_pop(second, first) } else { native::covar_samp(second, first) };
        Ok(bound(call, ColumnType::Real, Finish::Or(ScalarValue::Float64(Some(0.0)))))
    }

    fn sketch(&self, mut arguments: Vec<Typed>, mut sketch: Sketch) -> Result<BoundAggregate, Misfit> {
        self.count(&arguments, 1, if matches!(sketch, Sketch::Hll(_) | Sketch::Digest) { 2 } else { 1 })?;
        if let (Sketch::Hll(_), Some(accuracy)) = (sketch, arguments.get(1)) {
            let complaint = || Misfit::argument(1, format!("{}() takes an accuracy from 0 to 4 written out here", self.name));
            let accuracy = constant(accuracy).and_then(whole).and_then(|accuracy| i64::try_from(accuracy).ok());
            sketch = Sketch::Hll(accuracy.and_then(super::sketches::precision).ok_or_else(complaint)?);
            arguments.truncate(1);
        }
        if let (Sketch::HllMerge | Sketch::DigestMerge | Sketch::Schema, Some(value)) = (sketch, arguments.first())
            && value.kind != ColumnType::Dynamic
        {
            return Err(Misfit::argument(0, format!("{}() takes a dynamic, not a {}", self.name, value.kind.as_str())));
        }
        let weight = if arguments.len() > 1 { Some(self.measure(arguments.remove(1), 1)?) } else { None };
        let value = match sketch {
            Sketch::Digest => self.number(arguments)?,
            _ => self.only(arguments)?,
        };
        let plan = Sketched { sketch, kind: value.kind };
        let args = [solid(value)].into_iter().chain(weight.map(|weight| weight.expr)).collect();
        Ok(bound(AggregateUDF::from(KqlAggregate::new(plan)).call(args), ColumnType::Dynamic, Finish::AsIs))
    }
}

fn bound(call: Expr, kind: ColumnType, finish: Finish) -> BoundAggregate {
    BoundAggregate { call, columns: vec![kind], ordered: false, finish }
}

fn constant(value: &Typed) -> Option<&ScalarValue> {
    match &value.expr {
        Expr::Literal(constant, _) => Some(constant),
        _ => None,
    }
}

fn whole(value: &ScalarValue) -> Option<usize> {
    match value {
        ScalarValue::Int64(Some(value)) => usize::try_from(*value).ok(),
        ScalarValue::Int32(Some(value)) => usize::try_from(*value).ok(),
        _ => None,
    }
}

/// One number, or those of a dynamic array.
fn percents(value: &ScalarValue) -> Vec<f64> {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "percents are small")]
        ScalarValue::Int64(Some(value)) => vec![*value as f64],
        ScalarValue::Int32(Some(value)) => vec![f64::from(*value)],
        ScalarValue::Float64(Some(value)) => vec![*value],
        ScalarValue::Utf8View(Some(text)) => {
            let items = super::scalars::json::items(text).into_iter().flatten();
            items.map(|item| item.parse().unwrap_or(f64::NAN)).collect()
        }
        _ => Vec::new(),
    }
}
