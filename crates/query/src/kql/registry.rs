//! The binder's side of [`crate::functions`]: calls by name, operators by sign, complaints with a place in the text.

use datafusion::logical_expr::{Expr, Operator, binary_expr};
use strongroom_kql::Span;
use strongroom_kql::ast::{BinaryOp, SetOp};
use strongroom_model::ColumnType;

use super::bound::Bound;
use super::problem::{Outcome, Problem};
use crate::functions::{self, CallContext, Misfit, Typed};

/// A value as the functions take it. They read a null string as `""` themselves.
fn typed(bound: &Bound) -> Typed {
    Typed::new(bound.expr.clone(), bound.kind)
}

/// A call of a scalar function.
pub(super) fn call(name: &str, name_span: Span, arguments: &[Bound], now: i64) -> Outcome<Bound> {
    let Some(spec) = functions::scalar(name) else { return Err(unknown(name, name_span)) };
    check_pattern(name, arguments)?;
    let value =
        spec.bind(arguments.iter().map(typed).collect(), &CallContext { now }).map_err(|misfit| complain(misfit, name_span, arguments))?;
    Ok(match exception(name, arguments) {
        Some(kind) if kind != value.kind => Bound::new(convert(value.expr, value.kind, kind), kind, name_span),
        _ => Bound::new(value.expr, value.kind, name_span),
    })
}

/// Types that depend on more than the types of the arguments, as the original's engine answers: a part of a constant time is a long
/// (of a column an int), and a difference in weeks is a real.
fn exception(name: &str, arguments: &[Bound]) -> Option<ColumnType> {
    match name {
        "getyear" | "monthofyear" | "getmonth" | "hourofday" | "datetime_part" | "datepart" => {
            arguments.last().filter(|time| matches!(time.expr, Expr::Literal(..))).map(|_| ColumnType::Long)
        }
        "datetime_diff" => {
            arguments.first().and_then(Bound::literal_text).filter(|part| part.eq_ignore_ascii_case("week")).map(|_| ColumnType::Real)
        }
        _ => None,
    }
}

/// A call of a function that gives several columns.
pub(super) fn several(several: &functions::Several, name_span: Span, arguments: &[Bound], now: i64) -> Outcome<Vec<Bound>> {
    let columns = several
        .bind(arguments.iter().map(typed).collect(), &CallContext { now })
        .map_err(|misfit| complain(misfit, name_span, arguments))?;
    Ok(columns.into_iter().map(|column| Bound::new(column.expr, column.kind, name_span)).collect())
}

/// A constant that is no regular expression matches nothing: it is told, not run.
fn check_pattern(name: &str, arguments: &[Bound]) -> Outcome<()> {
    match functions::bad_pattern(name, |at| arguments.get(at).and_then(Bound::literal_text)) {
        Some((at, why)) => Err(Problem::new(arguments[at].span, "BadRegex", why)),
        None => Ok(()),
    }
}

/// A misfit with the place of the argument at fault.
pub(super) fn complain(misfit: Misfit, name_span: Span, arguments: &[Bound]) -> Problem {
    match misfit.argument.and_then(|index| arguments.get(index)) {
        Some(argument) => Problem::mismatch(argument.span, misfit.message),
        None => Problem::new(name_span, "WrongArguments", misfit.message),
    }
}

/// No function of that name is here: perhaps KQL has one, perhaps it is a slip of the pen.
pub(super) fn unknown(name: &str, span: Span) -> Problem {
    if functions::aggregate(name).is_some() {
        return Problem::new(span, "UnexpectedAggregate", format!("`{name}` is an aggregate: it can be used in `summarize` only"));
    }
    if let Some(instead) = super::known::function(name) {
        return Problem::unsupported(span, format!("the function `{name}`"), Some(instead).filter(|instead| !instead.is_empty()));
    }
    let problem = Problem::new(span, "UnknownFunction", format!("there is no function `{name}`"));
    match strongroom_kql::closest(name, functions::scalar_names().chain(functions::aggregate_names())) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem,
    }
}

/// As `to<kind>(..)` does it.
pub(super) fn convert(expr: Expr, from: ColumnType, to: ColumnType) -> Expr {
    functions::convert(Typed::new(expr, from), to).expr
}

/// A string operator in its positive form.
pub(super) fn string_operator(op: BinaryOp, op_span: Span, left: &Bound, right: &Bound, now: i64) -> Outcome<Expr> {
    if op == BinaryOp::EqualIgnoreCase {
        return Ok(binary_expr(folded_case(left), Operator::Eq, folded_case(right)));
    }
    let Some(spec) = functions::operator(op) else {
        return Err(Problem::unsupported(op_span, format!("`{}`", op.as_str()), super::known::operator_alternative(op)));
    };
    if op == BinaryOp::MatchesRegex {
        check_pattern("matches_regex", &[left.clone(), right.clone()])?;
    }
    let value = spec
        .bind(vec![typed(left), typed(right)], &CallContext { now })
        .map_err(|misfit| complain(misfit, op_span, &[left.clone(), right.clone()]))?;
    Ok(value.expr)
}

/// `has_any`, `has_all`.
pub(super) fn set_operator(op: SetOp, op_span: Span, arguments: &[Bound], now: i64) -> Outcome<Expr> {
    let Some(spec) = functions::set_operator(op) else {
        return Err(Problem::unsupported(op_span, format!("`{}`", op.as_str()), None));
    };
    let value =
        spec.bind(arguments.iter().map(typed).collect(), &CallContext { now }).map_err(|misfit| complain(misfit, op_span, arguments))?;
    Ok(value.expr)
}

/// A text without its case.
pub(super) fn folded_case(value: &Bound) -> Expr {
    let lower = functions::scalar("tolower")
        .and_then(|spec| spec.bind(vec![Typed::new(value.solid(), ColumnType::String)], &CallContext { now: 0 }).ok());
    match lower {
        Some(lower) => super::expr::folded(lower.expr),
        None => super::expr::folded(datafusion::functions::string::expr_fn::lower(value.solid())),
    }
}
