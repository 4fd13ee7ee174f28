//! Choice: `iff`, `case`, `coalesce`, `max_of`; and what depends on the query alone: `now`, `ago`.

use arrow::array::ArrayRef;
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::core::expr_fn;
use datafusion::logical_expr::{Expr, not, when};
use strongroom_model::ColumnType;

use super::args::{Call, Values};
use super::convert::convert;
use super::json;
use super::spec::{Gives, Make, ScalarSpec, Want};
use crate::functions::{CallContext, Misfit, Typed};

const fn by_macro(
    name: &'static str,
    aliases: &'static [&'static str],
    takes: &'static [Want],
    least: usize,
    make: super::spec::Macro,
) -> ScalarSpec {
    ScalarSpec { name, aliases, takes, least, more: None, gives: Gives::Same(0), make: Make::Macro(make) }
}

const fn list(name: &'static str, make: super::spec::Macro) -> ScalarSpec {
    ScalarSpec { name, aliases: &[], takes: &[], least: 1, more: Some(Want::Any), gives: Gives::Same(0), make: Make::Macro(make) }
}

pub(super) static SPECS: [ScalarSpec; 12] = [
    by_macro("iff", &["iif"], &[Want::Bool, Want::Any, Want::Any], 3, |args, _| iff(args)),
    list("case", |args, _| case(args)),
    list("coalesce", |args, _| coalesce(args)),
    list("max_of", |args, _| extreme("max_of", args, expr_fn::greatest)),
    list("min_of", |args, _| extreme("min_of", args, expr_fn::least)),
    by_macro("not", &[], &[Want::Bool], 1, |mut args, _| {
        let value = args.swap_remove(0);
        Ok(Typed::new(not(value.expr), ColumnType::Bool))
    }),
    by_macro("now", &[], &[Want::TimeSpan], 0, |args, context| match args.into_iter().next() {
        None => Ok(now(context)),
        Some(offset) => super::of_operator(strongroom_kql::ast::BinaryOp::Add)
            .map_or_else(|| Ok(now(context)), |add| add.bind(vec![now(context), offset], context)),
    }),
    by_macro("ago", &[], &[Want::TimeSpan], 1, |args, context| {
        let mut both = vec![now(context)];
        both.extend(args);
        super::of_operator(strongroom_kql::ast::BinaryOp::Subtract)
            .map_or_else(|| Ok(now(context)), |subtract| subtract.bind(both, context))
    }),
    by_macro("around", &[], &[Want::Any, Want::Any, Want::Any], 3, around),
    by_macro("extract", &[], &[Want::String, Want::Long, Want::String, Want::Any], 3, |args, context| {
        typed_text("extract_text", 3, args, context)
    }),
    by_macro("extract_json", &["extractjson"], &[Want::String, Want::Any, Want::Any], 2, |args, context| {
        typed_text("extract_json_text", 2, args, context)
    }),
    ScalarSpec {
        name: "gettype",
        aliases: &[],
        takes: &[Want::Any],
        least: 1,
        more: None,
        gives: Gives::Kind(ColumnType::String),
        make: Make::Kernel(gettype),
    },
];

static FIRST_TEXT: ScalarSpec = ScalarSpec {
    name: "first_not_empty",
    aliases: &[],
    takes: &[],
    least: 1,
    more: Some(Want::String),
    gives: Gives::Kind(ColumnType::String),
    make: Make::Kernel(first_text),
};

fn now(context: &CallContext) -> Typed {
    Typed::new(Expr::Literal(ScalarValue::TimestampNanosecond(Some(context.now), Some("UTC".into())), None), ColumnType::DateTime)
}

/// `around(value, center, delta)`: from `center - delta` to `center + delta`, both included.
fn around(args: Vec<Typed>, context: &CallContext) -> Result<Typed, Misfit> {
    use strongroom_kql::ast::BinaryOp as B;
    let Ok([value, center, delta]) = <[Typed; 3]>::try_from(args) else { return Err(Misfit::call("around() takes 3 arguments")) };
    let bound = |op: B| {
        let spec = super::of_operator(op).ok_or_else(|| Misfit::call("around() needs arithmetic"))?;
        let bound = spec.bind(vec![center.clone(), delta.clone()], context)?;
        if bound.kind != value.kind && common_type([bound.kind, value.kind].into_iter()).is_none() {
            let kinds = (value.kind.as_str(), bound.kind.as_str());
            return Err(Misfit::argument(0, format!("around() compares values of one type, not {} and {}", kinds.0, kinds.1)));
        }
        Ok(bound)
    };
    let (low, high) = (bound(B::Subtract)?, bound(B::Add)?);
    let kind = common_type([value.kind, low.kind].into_iter()).unwrap_or(value.kind);
    let value = convert(value, kind).expr;
    Ok(Typed::new(value.clone().gt_eq(convert(low, kind).expr).and(value.lt_eq(convert(high, kind).expr)), ColumnType::Bool))
}

/// A function that gives text, and after its `count` arguments perhaps a type to convert it to (`typeof(long)`, given as its name).
fn typed_text(name: &str, count: usize, mut args: Vec<Typed>, context: &CallContext) -> Result<Typed, Misfit> {
    let kind = if args.len() > count { args.pop() } else { None };
    let spec = super::by_name(name).ok_or_else(|| Misfit::call(format!("there is no {name}")))?;
    let text = spec.bind(args, context)?;
    let Some(kind) = kind else { return Ok(text) };
    let named = match &kind.expr {
        Expr::Literal(ScalarValue::Utf8View(Some(name)) | ScalarValue::Utf8(Some(name)), _) => {
            strongroom_kql::ast::ScalarType::from_name(name)
        }
        _ => None,
    };
    match named {
        Some(strongroom_kql::ast::ScalarType::Dynamic) => parse_json(text, context),
        Some(kind) => Ok(convert(text, of_scalar_type(kind))),
        None => Err(Misfit::argument(count, "the last argument is a type: typeof(long)")),
    }
}

fn parse_json(text: Typed, context: &CallContext) -> Result<Typed, Misfit> {
    super::by_name("parse_json").ok_or_else(|| Misfit::call("there is no parse_json"))?.bind(vec![text], context)
}

pub(super) fn of_scalar_type(kind: strongroom_kql::ast::ScalarType) -> ColumnType {
    use strongroom_kql::ast::ScalarType as S;
    match kind {
        S::Bool => ColumnType::Bool,
        S::Int => ColumnType::Int,
        S::Long => ColumnType::Long,
        S::Real => ColumnType::Real,
        S::Decimal => ColumnType::Decimal,
        S::String => ColumnType::String,
        S::DateTime => ColumnType::DateTime,
        S::TimeSpan => ColumnType::TimeSpan,
        S::Guid => ColumnType::Guid,
        S::Dynamic => ColumnType::Dynamic,
    }
}

/// A column may hold null strings; what chooses among values must not pass one on.
fn solid(value: Typed) -> Expr {
    if value.kind == ColumnType::String && matches!(value.expr, Expr::Column(_)) {
        return expr_fn::coalesce(vec![value.expr, super::spec::text("").expr]);
    }
    value.expr
}

/// The type all these can have without losing anything.
fn common_type(kinds: impl Iterator<Item = ColumnType>) -> Option<ColumnType> {
    use ColumnType as C;
    let rank = |kind| match kind {
        C::Int => Some(0),
        C::Long => Some(1),
        C::Real => Some(2),
        C::Decimal => Some(3),
        _ => None,
    };
    kinds.map(Some).reduce(|a, b| {
        let (a, b) = (a?, b?);
        match (rank(a), rank(b)) {
            _ if a == b => Some(a),
            (Some(x), Some(y)) => Some(if x > y { a } else { b }),
            _ if a == C::Dynamic || b == C::Dynamic => Some(C::Dynamic),
            (None, None) if matches!((a, b), (C::Guid, C::String) | (C::String, C::Guid)) => Some(C::String),
            _ => None,
        }
    })?
}

fn is_null_literal(value: &Typed) -> bool {
    matches!(&value.expr, Expr::Literal(constant, _) if constant.is_null())
}

/// Converts the values to one type. Nulls written out take any type.
fn unify(name: &str, values: Vec<Typed>) -> Result<(Vec<Typed>, ColumnType), Misfit> {
    let all_null = values.iter().all(is_null_literal);
    let kinds: Vec<ColumnType> = values.iter().filter(|v| all_null || !is_null_literal(v)).map(|v| v.kind).collect();
    let Some(kind) = common_type(kinds.iter().copied()) else {
        let mut names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        names.dedup();
        return Err(Misfit::call(format!("{name}() takes values of one type, not {}", names.join(" and "))));
    };
    Ok((values.into_iter().map(|value| convert(value, kind)).collect(), kind))
}

fn planned(result: datafusion::common::Result<Expr>, kind: ColumnType) -> Result<Typed, Misfit> {
    result.map(|expr| Typed::new(expr, kind)).map_err(|error| Misfit::call(error.strip_backtrace()))
}

fn iff(args: Vec<Typed>) -> Result<Typed, Misfit> {
    let mut args = args.into_iter();
    let condition = args.next().ok_or_else(|| Misfit::call("iff() takes 3 arguments"))?;
    let (mut values, kind) = unify("iff", args.collect())?;
    let (Some(other), Some(value)) = (values.pop(), values.pop()) else { return Err(Misfit::call("iff() takes 3 arguments")) };
    planned(when(condition.expr, solid(value)).otherwise(solid(other)), kind)
}

fn case(mut args: Vec<Typed>) -> Result<Typed, Misfit> {
    if args.len() < 3 || args.len().is_multiple_of(2) {
        return Err(Misfit::call("case() takes pairs of a condition and a value, then the value for all else"));
    }
    let other = args.pop().ok_or_else(|| Misfit::call("case() takes at least 3 arguments"))?;
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    for (index, arg) in args.into_iter().enumerate() {
        if index % 2 == 1 {
            values.push(arg);
        } else if matches!(arg.kind, ColumnType::Bool | ColumnType::Dynamic) {
            conditions.push(convert(arg, ColumnType::Bool).expr);
        } else {
            return Err(Misfit::argument(index, format!("case() takes a bool here, not a {}", arg.kind.as_str())));
        }
    }
    values.push(other);
    let (mut values, kind) = unify("case", values)?;
    let other = values.pop().map(solid).ok_or_else(|| Misfit::call("case() takes at least 3 arguments"))?;
    let mut pairs = conditions.into_iter().zip(values.into_iter().map(solid));
    let (condition, value) = pairs.next().ok_or_else(|| Misfit::call("case() takes at least 3 arguments"))?;
    let mut builder = when(condition, value);
    for (condition, value) in pairs {
        builder = builder.when(condition, value);
    }
    planned(builder.otherwise(other), kind)
}

fn coalesce(args: Vec<Typed>) -> Result<Typed, Misfit> {
    let (values, kind) = unify("coalesce", args)?;
    if kind == ColumnType::String {
        return Ok(FIRST_TEXT.call(values));
    }
    Ok(Typed::new(expr_fn::coalesce(values.into_iter().map(|v| v.expr).collect()), kind))
}

/// The first text that is not `""`.
fn first_text(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = (0..call.args.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    Ok(call.slices(|row| texts.iter().map(|text| text.get(row)).find(|text| !text.is_empty()).unwrap_or("")))
}

fn extreme(name: &str, args: Vec<Typed>, function: fn(Vec<Expr>) -> Expr) -> Result<Typed, Misfit> {
    let (mut values, kind) = unify(name, args)?;
    if kind == ColumnType::Dynamic {
        return Err(Misfit::call(format!("{name}() cannot compare dynamics; convert them first, e.g. tolong(..)")));
    }
    if values.len() == 1 {
        return Ok(values.swap_remove(0));
    }
    Ok(Typed::new(function(values.into_iter().map(solid).collect()), kind))
}

fn gettype(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    Ok(call.slices(|row| match &values {
        Values::Dynamic(text) => text.json(row).map_or("null", json::type_name),
        Values::Decimal(_) => "decimal",
        _ if values.is_null(row) => "null",
        _ => call.kinds[0].as_str(),
    }))
}
