//! `evaluate`: plugins. Those whose columns depend on the data look at it first, unless the text says the columns.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, JoinType, Operator, binary_expr};
use strongroom_kql::Span;
use strongroom_kql::ast::{self, Argument, ExprKind, Name};
use strongroom_model::ColumnType;

use super::combine::joined;
use super::summarize::bind_aggregate;
use crate::functions::{self, Family, PathStep, Typed};
use crate::kql::Binder;
use crate::kql::ahead::{Asked, Fact};
use crate::kql::bound::{Aggregate, AppliedColumn, Bound, BoundColumn, ExpandedColumn, Key, MvExpansion, Rel, RelNode, column, text};
use crate::kql::expr::{Scope, convert, kind_of};
use crate::kql::names::Namer;
use crate::kql::nodes::{Running, SerialCall};
use crate::kql::problem::{Outcome, Problem};
use crate::kql::registry;

use super::project::unknown_column;

/// What becomes of a column that a bag has a slot for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conflict {
    Error,
    Replace,
    Keep,
}

impl Binder<'_> {
    pub(super) fn evaluate(&mut self, rel: Rel, invoke: &ast::Invoke, span: Span) -> Outcome<Rel> {
        let ExprKind::Call { receiver: None, function, arguments } = &invoke.call.kind else {
            return Err(Problem::new(invoke.call.span, "NotTabular", "`evaluate` takes a call of a plugin"));
        };
        match function.text.as_str() {
            "bag_unpack" => self.bag_unpack(rel, function, arguments, invoke.schema.as_ref(), span),
            "pivot" => self.pivot(rel, function, arguments, invoke.schema.as_ref(), span),
            "narrow" => self.narrow(rel, span),
            "ipv4_lookup" => self.ip_lookup(rel, function, arguments, Family::V4, span),
            "ipv6_lookup" => self.ip_lookup(rel, function, arguments, Family::V6, span),
            name => Err(Problem::unsupported(
                function.span,
                format!("the plugin `{name}`"),
                Some("there are `bag_unpack`, `pivot`, `narrow`, `ipv4_lookup` and `ipv6_lookup`"),
            )),
        }
    }

    /// A column for each slot of the bags, sorted by name; the bag goes.
    fn bag_unpack(
        &mut self,
        rel: Rel,
        function: &Name,
        arguments: &[Argument],
        schema: Option<&(bool, Vec<ast::ColumnDecl>)>,
        span: Span,
    ) -> Outcome<Rel> {
        let bag = Self::column_argument(&rel, function, arguments.first())?;
        if bag.kind != ColumnType::Dynamic {
            return Err(Problem::mismatch(arguments[0].value.span, format!("a bag is dynamic, this is a {}", bag.kind.as_str()))
                .hint("make it one before, e.g. `extend d = parse_json(d)`"));
        }
        let (mut prefix, mut conflict, mut ignored) = (String::new(), Conflict::Error, Vec::new());
        for (at, argument) in arguments.iter().enumerate().skip(1) {
            let value = self.constant(&argument.value)?;
            let name = argument.name.as_ref().map(|name| name.text.to_lowercase());
            match (name.as_deref(), value.literal_text()) {
                (Some("ignoredproperties"), Some(list)) => ignored = texts(list),
                (None, Some(list)) if value.kind == ColumnType::Dynamic => ignored = texts(list),
                (Some("outputcolumnprefix"), Some(given)) => given.clone_into(&mut prefix),
                (None, Some(given)) if at == 1 => given.clone_into(&mut prefix),
                (Some("columnsconflict") | None, Some("error")) => conflict = Conflict::Error,
                (Some("columnsconflict") | None, Some("replace_source")) => conflict = Conflict::Replace,
                (Some("columnsconflict") | None, Some("keep_source")) => conflict = Conflict::Keep,
                // No bag has a null for a key.
                (_, None) if value.kind == ColumnType::Dynamic => {}
                _ => {
                    return Err(Problem::new(
                        argument.value.span,
                        "WrongArguments",
                        "`bag_unpack` takes a bag, a prefix, `columnsConflict` and `ignoredProperties`",
                    ));
                }
            }
        }
        let slot = |key: &str, kind| {
            let member = functions::dynamic_get(column(&bag.name), &[PathStep::Key(key.to_owned())]);
            convert(Bound::new(member.expr, member.kind, span), kind)
        };
        let mut outputs: Vec<(String, Bound)> = rel.outputs().into_iter().filter(|(name, _)| *name != bag.name).collect();
        if let Some((all, declared)) = schema {
            let source = outputs.clone();
            if !all {
                outputs.clear();
            }
            for declared in declared {
                let (name, kind) = (&declared.name.text, kind_of(declared.kind));
                let key = name.strip_prefix(&prefix).unwrap_or(name);
                let value = match source.iter().find(|(there, _)| there == name) {
                    Some((_, there)) if conflict != Conflict::Replace => convert(there.clone(), kind),
                    _ => slot(key, kind),
                };
                match outputs.iter_mut().find(|(there, _)| there == name) {
                    Some((_, there)) => *there = value,
                    None => outputs.push((name.clone(), value)),
                }
            }
            return Ok(rel.project(outputs, span));
        }
        let Fact::Slots(slots) = self.fact(&rel, &bag, Asked::Slots, span)? else {
            return Err(Problem::new(span, "PlannerError", "the slots of a bag are not known"));
        };
        for (key, kind) in slots.iter().filter(|(key, _)| !ignored.contains(key)) {
            let name = format!("{prefix}{key}");
            match (outputs.iter().position(|(there, _)| *there == name), conflict) {
                (None, _) => outputs.push((name, slot(key, *kind))),
                (Some(_), Conflict::Keep) => {}
                (Some(at), Conflict::Replace) => {
                    outputs.remove(at);
                    outputs.push((name, slot(key, *kind)));
                }
                (Some(_), Conflict::Error) => {
                    return Err(Problem::new(span, "DuplicateColumn", format!("there is already a column `{name}`"))
                        .hint("give a prefix, or say `columnsConflict='replace_source'` or `'keep_source'`"));
                }
            }
        }
        Ok(rel.project(outputs, span))
    }

    /// A column for each value of one, with an aggregate over the rows that have it.
    fn pivot(
        &mut self,
        rel: Rel,
        function: &Name,
        arguments: &[Argument],
        schema: Option<&(bool, Vec<ast::ColumnDecl>)>,
        span: Span,
    ) -> Outcome<Rel> {
        let about = Self::column_argument(&rel, function, arguments.first())?;
        let mut rest = &arguments[1..];
        let count = Name { text: "count".to_owned(), span };
        let (name, parameters) = match rest.first().map(|argument| &argument.value.kind) {
            Some(ExprKind::Call { receiver: None, function, arguments }) => {
                rest = &rest[1..];
                (function, arguments.as_slice())
            }
            _ => (&count, [].as_slice()),
        };
        let scope = Scope::of(&rel.columns);
        let values = parameters.iter().map(|argument| self.value(&argument.value, scope)).collect::<Outcome<Vec<_>>>()?;
        let call = bind_aggregate(name, &values)?;
        let keys: Vec<BoundColumn> = if rest.is_empty() {
            let used: Vec<String> =
                values.iter().flat_map(|value| value.expr.column_refs().into_iter().map(|found| found.name.clone())).collect();
            rel.columns.iter().filter(|there| there.name != about.name && !used.contains(&there.name)).cloned().collect()
        } else {
            rest.iter().map(|argument| Self::column_argument(&rel, function, Some(argument))).collect::<Outcome<_>>()?
        };
        let pivoted = convert(about.bound(span), ColumnType::String).solid();
        let wanted: Vec<String> = if let Some((_, declared)) = schema {
            let names = declared.iter().map(|declared| declared.name.text.clone());
            names.filter(|name| keys.iter().all(|key| key.name != *name)).collect()
        } else {
            let texts = Bound::new(pivoted.clone(), ColumnType::String, span);
            let texts = rel.clone().project(vec![("value".to_owned(), texts)], span);
            match self.fact(&texts, &BoundColumn::new("value", ColumnType::String), Asked::Texts, span)? {
                Fact::Texts(texts) => texts.into_iter().collect(),
                Fact::Slots(_) => return Err(Problem::new(span, "PlannerError", "the values of a column are not known")),
            }
        };
        let mut namer = Namer::default();
        let mut outputs: Vec<(String, Bound)> =
            keys.iter().map(|key| (namer.unique(&key.name), Bound::new(column(&key.name), key.kind, span))).collect();
        let mut columns: Vec<BoundColumn> = keys.iter().map(|key| BoundColumn::new(key.name.clone(), key.kind)).collect();
        let mut aggregates = Vec::with_capacity(wanted.len());
        for (at, value) in wanted.iter().enumerate() {
            let place = format!("\u{1}pivot{at}");
            let Expr::AggregateFunction(mut own) = call.call.clone() else {
                return Err(Problem::new(name.span, "PlannerError", "an aggregate is needed here"));
            };
            let here = binary_expr(pivoted.clone(), Operator::Eq, text(value.as_str()));
            own.params.filter = Some(Box::new(match own.params.filter.take() {
                Some(before) => binary_expr(*before, Operator::And, here),
                None => here,
            }));
            aggregates.push(Aggregate { call: Expr::AggregateFunction(own), ordered: call.ordered });
            let output = call.value(column(&place), 0);
            let shown = if value.is_empty() { namer.automatic(None) } else { namer.unique(value) };
            outputs.push((shown, Bound::new(output.expr, output.kind, span)));
            columns.push(BoundColumn::new(place, ColumnType::Dynamic));
        }
        let depth = rel.depth;
        let groups = keys.iter().map(|key| key.bound(span).solid()).collect();
        let node = RelNode::Aggregate { groups, aggregates, input: Arc::new(rel) };
        Ok(Rel::over(depth, node, columns, span).project(outputs, span))
    }

    /// A row for each cell: the row's number, the column's name, the value as text.
    fn narrow(&mut self, rel: Rel, span: Span) -> Outcome<Rel> {
        const ROW: &str = "\u{1}narrowrow";
        const CELLS: &str = "\u{1}narrowcells";
        let names: Vec<Bound> = rel.columns.iter().map(|there| Bound::string(there.name.clone(), span)).collect();
        let values: Vec<Bound> = rel.columns.iter().map(|there| convert(there.bound(span), ColumnType::String)).collect();
        let names = registry::call("pack_array", span, &names, self.now())?;
        let values = registry::call("pack_array", span, &values, self.now())?;
        let number = SerialCall {
            function: Running::Number { start: 0 },
            arguments: vec![],
            name: ROW.to_owned(),
            gives: ColumnType::Long.query_type(),
        };
        let number_column = BoundColumn::new(ROW, ColumnType::Long);
        let rel = rel.serial(vec![number], vec![number_column.clone()], span);
        let rel = rel
            .project(vec![("Row".to_owned(), number_column.bound(span)), ("Column".to_owned(), names), (CELLS.to_owned(), values)], span);
        let columns = vec![
            BoundColumn::new("Row", ColumnType::Long),
            BoundColumn::new("Column", ColumnType::String),
            BoundColumn::new("Value", ColumnType::String),
        ];
        let expansion = MvExpansion {
            sources: vec![(column("Column"), ColumnType::String), (column(CELLS), ColumnType::String)],
            pairs: false,
            limit: u64::MAX,
            columns: vec![ExpandedColumn::Input("Row".to_owned()), ExpandedColumn::Cell(0), ExpandedColumn::Cell(1)],
            apply: false,
        };
        Ok(Rel::over(rel.depth, RelNode::Expand { input: Arc::new(rel), expansion }, columns, span))
    }

    /// The columns of the narrowest network that an address lies in.
    ///
    /// Each address is looked up as every network it can lie in, from the widest to itself: that is a join by equality.
    fn ip_lookup(&mut self, rel: Rel, function: &Name, arguments: &[Argument], family: Family, span: Span) -> Outcome<Rel> {
        const KEY: &str = "\u{1}lookupkey";
        const NETWORK: &str = "\u{1}network";
        let [table, address, network, more @ ..] = arguments else {
            return Err(Problem::new(
                function.span,
                "WrongArguments",
                format!("`{}` takes a table, an address and a network", function.text),
            ));
        };
        let lookup = self.rows(&table.value)?;
        let address = Self::column_argument(&rel, function, Some(address))?;
        let network = Self::column_argument(&lookup, function, Some(network))?;
        let mut unmatched = false;
        let mut keys = vec![(column(KEY), column(NETWORK))];
        for argument in more {
            if let (None, ExprKind::Name(_)) = (&argument.name, &argument.value.kind) {
                let left = Self::column_argument(&rel, function, Some(argument))?;
                let right = Self::column_argument(&lookup, function, Some(argument))?;
                if left.kind != right.kind {
                    return Err(Problem::mismatch(argument.value.span, "the columns are of two types"));
                }
                keys.push((left.bound(span).solid(), right.bound(span).solid()));
                continue;
            }
            match self.constant(&argument.value)?.literal() {
                Some(ScalarValue::Boolean(Some(value))) => unmatched = *value,
                _ => return Err(Problem::mismatch(argument.value.span, "`return_unmatched` is true or false")),
            }
        }
        let (source, shown) = (rel.columns.clone(), lookup.columns.clone());
        let key_of = |there: &BoundColumn| convert(there.bound(span), ColumnType::String).solid();
        // One row for each network the address can lie in; all of them are one row again in the end.
        let sources = vec![(functions::networks_of(key_of(&address), family).expr, ColumnType::Dynamic)];
        let mut columns = rel.columns.clone();
        columns.push(BoundColumn::new(KEY, ColumnType::Dynamic));
        let mut expanded: Vec<ExpandedColumn> = rel.columns.iter().map(|there| ExpandedColumn::Input(there.name.clone())).collect();
        expanded.push(ExpandedColumn::Cell(0));
        let expansion = MvExpansion { sources, pairs: false, limit: u64::MAX, columns: expanded, apply: true };
        let left = Rel::over(rel.depth, RelNode::Expand { input: Arc::new(rel), expansion }, columns, span);
        let depth = left.depth;
        let mut outputs = lookup.outputs();
        let Typed { expr, kind } = functions::network_key(key_of(&network), family);
        outputs.push((NETWORK.to_owned(), Bound::new(expr, kind, span)));
        let right = lookup.project(outputs, span).filter(Expr::IsNotNull(Box::new(column(NETWORK))), span);
        let rel = joined(left, right, if unmatched { JoinType::Left } else { JoinType::Inner }, keys, span);
        let narrowest = Bound::new(column(NETWORK), ColumnType::String, span);
        let rel = rel.sort(vec![Key { value: narrowest, ascending: false, nulls_first: false }], span).take(1, span);
        // The left side's columns, its key, then the right side's.
        let inner = |at: usize| AppliedColumn::Inner(rel.columns[at].name.clone());
        let mut from_source: Vec<_> = (0..source.len()).map(|at| (rel.columns[at].clone(), inner(at))).collect();
        let mut from_lookup: Vec<_> =
            (0..shown.len()).map(|at| (rel.columns[source.len() + 1 + at].clone(), inner(source.len() + 1 + at))).collect();
        let all = match family {
            Family::V4 => {
                from_source.append(&mut from_lookup);
                from_source
            }
            // As Kusto has it.
            Family::V6 => {
                from_lookup.append(&mut from_source);
                from_lookup
            }
        };
        let (columns, shown) = all.into_iter().unzip();
        Ok(Rel::over(rel.depth, RelNode::Applied { input: Arc::new(rel), depth, columns: shown }, columns, span))
    }

    /// A column by its name.
    fn column_argument(rel: &Rel, function: &Name, argument: Option<&Argument>) -> Outcome<BoundColumn> {
        let Some(argument) = argument else {
            return Err(Problem::new(function.span, "WrongArguments", format!("`{}` needs a column", function.text)));
        };
        match &argument.value.kind {
            ExprKind::Name(name) => match rel.columns.iter().find(|there| there.name == *name) {
                Some(there) => Ok(there.clone()),
                None => Err(unknown_column(rel, name, argument.value.span)),
            },
            _ => {
                Err(Problem::new(argument.value.span, "WrongArguments", "a column is needed here").hint("compute it with `extend` before"))
            }
        }
    }
}

/// The texts in a dynamic array.
fn texts(list: &str) -> Vec<String> {
    serde_json::from_str(list).unwrap_or_default()
}
