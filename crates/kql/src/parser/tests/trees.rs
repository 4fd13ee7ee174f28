//! Trees that no text was read from: printed and read, they are the same trees.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union as OneOf;

use crate::Span;
use crate::ast::*;
use crate::printer::shape;
use crate::{parse, print, render};

const NOWHERE: Span = Span::new(0, 0);

fn name() -> impl Strategy<Value = Name> {
    name_text().prop_map(|text| Name { text, span: NOWHERE })
}

/// Names of all kinds; not those that read as an operator's own word where a name stands first.
fn name_text() -> impl Strategy<Value = String> {
    let plain = select(&["a", "b", "Level", "T1", "_x", "count_", "Title", "été", "x y", "1st", "a.b", "it's", "\"q\"", "back\\slash"][..]);
    plain.prop_map(str::to_owned)
}

fn expr_of(kind: ExprKind) -> Expr {
    Expr { kind, span: NOWHERE }
}

fn dynamic() -> impl Strategy<Value = DynamicValue> {
    let leaf = prop_oneof![
        Just(DynamicValue::Null),
        any::<bool>().prop_map(DynamicValue::Bool),
        any::<i32>().prop_map(|value| DynamicValue::Long(i64::from(value))),
        (-1.0e9..1.0e9).prop_map(DynamicValue::Real),
        text().prop_map(DynamicValue::String),
        (0_i64..3_000_000_000).prop_map(|seconds| DynamicValue::DateTime(621_355_968_000_000_000 + seconds * 10_000_000)),
        any::<i32>().prop_map(|ticks| DynamicValue::TimeSpan(i64::from(ticks))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![vec(inner.clone(), 0..3).prop_map(DynamicValue::Array), vec((text(), inner), 0..3).prop_map(DynamicValue::Bag),]
    })
}

/// Strings with whatever a quoted string must not stumble over.
fn text() -> impl Strategy<Value = String> {
    vec(select(&["a", "é", "😀", "\"", "'", "\\", "\\d", "\n", "\r", "\t", "\0", "//", "|", ";", "`", "\u{7f}", "{", " "][..]), 0..5)
        .prop_map(|pieces| pieces.concat())
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<bool>().prop_map(Literal::Bool),
        any::<i32>().prop_map(Literal::Int),
        (0..=i64::MAX).prop_map(Literal::Long),
        (0.0..1.0e300).prop_map(Literal::Real),
        select(&[f64::INFINITY, f64::NEG_INFINITY, -2.5, 0.1, 1e-300][..]).prop_map(Literal::Real),
        select(&["1.50", "-3", "0.1"][..]).prop_map(|text| Literal::Decimal(text.to_owned())),
        (text(), any::<bool>()).prop_map(|(value, obfuscated)| Literal::String { value, obfuscated }),
        (0_i64..3_155_378_975_999_999_999).prop_map(Literal::DateTime),
        any::<i64>().prop_map(|ticks| Literal::TimeSpan(ticks.max(i64::MIN + 1))),
        (0_i64..5_000).prop_map(|minutes| Literal::TimeSpan(minutes * 600_000_000)),
        Just(Literal::Guid("74be27de-1e4e-49d9-b579-fe0b331d3642".to_owned())),
        dynamic().prop_filter("a literal null has a form of its own", |value| *value != DynamicValue::Null).prop_map(Literal::Dynamic),
        select(&[ScalarType::Long, ScalarType::DateTime, ScalarType::Dynamic, ScalarType::Guid][..]).prop_map(Literal::Null),
    ]
}

const BINARY: &[BinaryOp] = {
    use BinaryOp as B;
    &[
        B::Add,
        B::Subtract,
        B::Multiply,
        B::Divide,
        B::Modulo,
        B::Equal,
        B::NotEqual,
        B::Less,
        B::LessOrEqual,
        B::Greater,
        B::GreaterOrEqual,
        B::EqualIgnoreCase,
        B::NotEqualIgnoreCase,
        B::Contains,
        B::NotContains,
        B::ContainsCs,
        B::NotContainsCs,
        B::Has,
        B::NotHas,
        B::HasCs,
        B::NotHasCs,
        B::HasPrefix,
        B::NotHasPrefix,
        B::HasPrefixCs,
        B::NotHasPrefixCs,
        B::HasSuffix,
        B::NotHasSuffix,
        B::HasSuffixCs,
        B::NotHasSuffixCs,
        B::StartsWith,
        B::NotStartsWith,
        B::StartsWithCs,
        B::NotStartsWithCs,
        B::EndsWith,
        B::NotEndsWith,
        B::EndsWithCs,
        B::NotEndsWithCs,
        B::MatchesRegex,
    ]
};

const SETS: &[SetOp] = &[SetOp::In, SetOp::NotIn, SetOp::InIgnoreCase, SetOp::NotInIgnoreCase, SetOp::HasAny, SetOp::HasAll];

fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}

/// Operands of `and` and `or`: the reader makes one flat list of chains, so a chain holds none of its kind.
fn chain(or: bool, operands: Vec<Expr>) -> Expr {
    let mut flat = Vec::new();
    for operand in operands {
        match operand.kind {
            ExprKind::Or(inner) if or => flat.extend(inner),
            ExprKind::And(inner) if !or => flat.extend(inner),
            kind => flat.push(expr_of(kind)),
        }
    }
    expr_of(if or { ExprKind::Or(flat) } else { ExprKind::And(flat) })
}

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        3 => name_text().prop_map(ExprKind::Name),
        3 => literal().prop_map(ExprKind::Literal),
        1 => Just(ExprKind::TypeOf(ScalarType::Long)),
    ]
    .prop_map(expr_of);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let base = prop_oneof![
            name_text().prop_map(|name| expr_of(ExprKind::Name(name))),
            inner.clone().prop_map(|argument| call("f", vec![argument])),
        ];
        prop_oneof![
            (base.clone(), name()).prop_map(|(base, name)| expr_of(ExprKind::Path { base: boxed(base), name })),
            (base, inner.clone()).prop_map(|(base, index)| expr_of(ExprKind::Index { base: boxed(base), index: boxed(index) })),
            (name(), vec((option::of(name()), inner.clone()), 0..3)).prop_map(|(function, arguments)| {
                let arguments = arguments.into_iter().map(|(name, value)| Argument { name, value }).collect();
                expr_of(ExprKind::Call { receiver: None, function, arguments })
            }),
            (select(&[UnaryOp::Minus, UnaryOp::Plus][..]), inner.clone()).prop_map(|(op, operand)| {
                // A minus before a number is the number.
                match operand.kind {
                    ExprKind::Literal(_) => operand,
                    kind => expr_of(ExprKind::Unary { op, operand: boxed(expr_of(kind)) }),
                }
            }),
            (select(BINARY), inner.clone(), inner.clone()).prop_map(|(op, left, right)| {
                expr_of(ExprKind::Binary { op, op_span: NOWHERE, left: boxed(left), right: boxed(right) })
            }),
            (any::<bool>(), vec(inner.clone(), 2..4)).prop_map(|(or, operands)| chain(or, operands)),
            (select(SETS), inner.clone(), vec(inner.clone(), 1..3))
                .prop_map(|(op, operand, list)| { expr_of(ExprKind::Set { op, op_span: NOWHERE, operand: boxed(operand), list }) }),
            (inner.clone(), inner.clone(), inner, any::<bool>()).prop_map(|(operand, low, high, negated)| {
                expr_of(ExprKind::Between { operand: boxed(operand), low: boxed(low), high: boxed(high), negated })
            }),
        ]
    })
}

fn call(function: &str, arguments: Vec<Expr>) -> Expr {
    let function = Name { text: function.to_owned(), span: NOWHERE };
    expr_of(ExprKind::Call {
        receiver: None,
        function,
        arguments: arguments.into_iter().map(|value| Argument { name: None, value }).collect(),
    })
}

fn named() -> impl Strategy<Value = NamedExpr> {
    (vec(name(), 0..3), expr()).prop_map(|(names, value)| NamedExpr { names, value, span: NOWHERE })
}

fn list() -> impl Strategy<Value = Vec<NamedExpr>> {
    vec(named(), 1..3)
}

fn key() -> impl Strategy<Value = SortKey> {
    let order = option::of(select(&[Order::Asc, Order::Desc][..]));
    let nulls = option::of(select(&[NullOrder::First, NullOrder::Last][..]));
    (expr(), order, nulls).prop_map(|(value, order, nulls)| SortKey {
        value: NamedExpr { names: Vec::new(), value, span: NOWHERE },
        order,
        nulls,
    })
}

fn pattern() -> impl Strategy<Value = ColumnPattern> {
    prop_oneof![
        name_text().prop_map(|text| ColumnPattern { text, wildcard: false, span: NOWHERE }),
        select(&["*", "a*", "*b", "x*y*"][..]).prop_map(|text| ColumnPattern { text: text.to_owned(), wildcard: true, span: NOWHERE }),
    ]
}

fn scalar_type() -> impl Strategy<Value = ScalarType> {
    select(
        &[
            ScalarType::Bool,
            ScalarType::Int,
            ScalarType::Long,
            ScalarType::Real,
            ScalarType::Decimal,
            ScalarType::String,
            ScalarType::DateTime,
            ScalarType::TimeSpan,
            ScalarType::Guid,
            ScalarType::Dynamic,
        ][..],
    )
}

fn columns() -> impl Strategy<Value = Vec<ColumnDecl>> {
    vec((name(), scalar_type()).prop_map(|(name, kind)| ColumnDecl { name, kind }), 1..3)
}

fn mv_columns() -> impl Strategy<Value = Vec<MvColumn>> {
    let named =
        (option::of(name()), expr()).prop_map(|(name, value)| NamedExpr { names: name.into_iter().collect(), value, span: NOWHERE });
    vec((named, option::of(scalar_type())).prop_map(|(value, to)| MvColumn { value, to }), 1..3)
}

fn table() -> Pipeline {
    let source = Source { kind: SourceKind::Expr(expr_of(ExprKind::Name("T".to_owned()))), span: NOWHERE };
    Pipeline { source, operators: Vec::new(), span: NOWHERE }
}

fn column() -> impl Strategy<Value = Expr> {
    name_text().prop_map(|name| expr_of(ExprKind::Name(name)))
}

fn operators(depth: u32) -> BoxedStrategy<Vec<Operator>> {
    vec(operator(depth).prop_map(|kind| Operator { kind, span: NOWHERE }), 1..3).boxed()
}

fn operator(depth: u32) -> BoxedStrategy<OperatorKind> {
    use OperatorKind as O;
    let mut all: Vec<BoxedStrategy<OperatorKind>> = vec![
        expr().prop_map(O::Where).boxed(),
        list().prop_map(O::Extend).boxed(),
        list().prop_map(O::Project).boxed(),
        vec(pattern(), 1..3).prop_map(O::ProjectAway).boxed(),
        vec(pattern(), 1..3).prop_map(O::ProjectKeep).boxed(),
        vec((name(), name()), 1..3).prop_map(O::ProjectRename).boxed(),
        vec((pattern(), option::of(select(&[ReorderOrder::Asc, ReorderOrder::GrannyDesc][..]))), 1..3)
            .prop_map(|entries| O::ProjectReorder(entries.into_iter().map(|(columns, order)| Reorder { columns, order }).collect()))
            .boxed(),
        (list(), list(), any::<bool>())
            .prop_map(|(aggregates, by, only)| {
                let aggregates = if only { Vec::new() } else { aggregates };
                O::Summarize(Summarize { settings: Vec::new(), aggregates, by })
            })
            .boxed(),
        vec(key(), 1..3).prop_map(|keys| O::Sort { settings: Vec::new(), keys }).boxed(),
        expr().prop_map(O::Take).boxed(),
        (expr(), vec(key(), 1..3)).prop_map(|(count, keys)| O::Top(Box::new(Top { settings: Vec::new(), count, keys }))).boxed(),
        Just(O::Count(None)).boxed(),
        list().prop_map(O::Distinct).boxed(),
        list().prop_map(O::Serialize).boxed(),
        expr().prop_map(O::Sample).boxed(),
        (expr(), named()).prop_map(|(count, of)| O::SampleDistinct { count, of }).boxed(),
        Just(O::GetSchema).boxed(),
        name().prop_map(|name| O::As { settings: Vec::new(), name }).boxed(),
        (mv_columns(), option::of(name()), option::of(expr()), any::<bool>())
            .prop_map(|(columns, item_index, limit, bag_as_array)| {
                O::MvExpand(MvExpand { bag_as_array, item_index, settings: Vec::new(), columns, limit })
            })
            .boxed(),
        (column(), columns(), any::<bool>(), vec((text(), name(), option::of(scalar_type())), 1..3))
            .prop_map(|(input, _, filters, parts)| {
                let part = |(text, name, kind): (String, Name, Option<ScalarType>)| {
                    [ParsePart::Text(Literal::String { value: text, obfuscated: false }, NOWHERE), ParsePart::Column { name, kind }]
                };
                let parts = parts.into_iter().flat_map(part).collect();
                O::Parse(Box::new(Parse { filters, kind: ParseKind::Simple, flags: None, input, parts }))
            })
            .boxed(),
        (column(), columns()).prop_map(|(input, columns)| O::ParseKv(Box::new(ParseKv { input, columns, settings: Vec::new() }))).boxed(),
        (vec((expr(), option::of(expr())), 1..3), column(), option::of(expr()), option::of(expr()), expr(), vec(named(), 0..2))
            .prop_map(|(aggregates, on, from, to, step, by)| {
                let plain = |value| NamedExpr { names: Vec::new(), value, span: NOWHERE };
                let aggregates = aggregates
                    .into_iter()
                    .map(|(value, default)| SeriesColumn { value: plain(call("sum", vec![value])), default })
                    .collect();
                let on = plain(on);
                O::MakeSeries(Box::new(MakeSeries { settings: Vec::new(), aggregates, on, from, to, to_included: false, step, by }))
            })
            .boxed(),
        name().prop_map(|kind| O::Render(Render { kind, settings: Vec::new() })).boxed(),
    ];
    if depth > 0 {
        let on = || vec(column(), 1..3);
        let kinds: &[JoinKind] = &[JoinKind::InnerUnique, JoinKind::Inner, JoinKind::LeftOuter, JoinKind::FullOuter, JoinKind::RightAnti];
        all.extend([
            (select(kinds), pipeline(depth - 1), on())
                .prop_map(|(kind, right, on)| O::Join(Box::new(Join { kind, settings: Vec::new(), right, on })))
                .boxed(),
            (pipeline(depth - 1), on())
                .prop_map(|(right, on)| O::Lookup(Box::new(Lookup { kind: JoinKind::LeftOuter, settings: Vec::new(), right, on })))
                .boxed(),
            (vec(pipeline(depth - 1), 1..3), option::of(name()), any::<bool>())
                .prop_map(|(legs, with_source, is_fuzzy)| {
                    O::Union(Union { kind: UnionKind::Outer, with_source, is_fuzzy, settings: Vec::new(), legs })
                })
                .boxed(),
            (mv_columns(), operators(depth - 1))
                .prop_map(|(columns, subquery)| {
                    O::MvApply(MvApply { bag_as_array: false, item_index: None, settings: Vec::new(), columns, limit: None, subquery })
                })
                .boxed(),
            (column(), operators(depth - 1))
                .prop_map(|(by, operators)| {
                    O::Partition(Box::new(Partition { settings: Vec::new(), by, body: PartitionBody::Operators(operators) }))
                })
                .boxed(),
        ]);
    }
    OneOf::new(all).boxed()
}

fn pipeline(depth: u32) -> BoxedStrategy<Pipeline> {
    let source = prop_oneof![
        4 => Just(table().source.kind),
        1 => list().prop_map(SourceKind::Print),
        1 => (name(), expr(), expr(), expr()).prop_map(|(name, from, to, step)| SourceKind::Range { name, from, to, step }),
        1 => (columns(), any::<u8>()).prop_map(|(columns, rows)| {
            let values = (0..columns.len() * usize::from(rows % 3)).map(|_| expr_of(ExprKind::Literal(Literal::Long(1)))).collect();
            SourceKind::Datatable { columns, values }
        }),
    ];
    (source, operators(depth))
        .prop_map(|(kind, operators)| Pipeline { source: Source { kind, span: NOWHERE }, operators, span: NOWHERE })
        .boxed()
}

fn parameters() -> impl Strategy<Value = Vec<Parameter>> {
    let kind = prop_oneof![scalar_type().prop_map(ParameterKind::Scalar), columns().prop_map(ParameterKind::Tabular)];
    vec((name(), kind, option::of(literal())), 0..3).prop_map(|parameters| {
        let parameter = |(name, kind, default): (Name, ParameterKind, Option<Literal>)| {
            let default = default.filter(|_| matches!(kind, ParameterKind::Scalar(_))).map(|value| expr_of(ExprKind::Literal(value)));
            Parameter { name, kind, default }
        };
        parameters.into_iter().map(parameter).collect()
    })
}

fn statement() -> impl Strategy<Value = StatementKind> {
    prop_oneof![
        3 => pipeline(2).prop_map(StatementKind::Pipeline),
        1 => (name(), expr()).prop_map(|(name, value)| StatementKind::Let { name, value: LetValue::Expr(value) }),
        1 => (name(), pipeline(1)).prop_map(|(name, rows)| StatementKind::Let { name, value: LetValue::Pipeline(rows) }),
        1 => (name(), parameters(), pipeline(1), any::<bool>()).prop_map(|(name, parameters, rows, view)| {
            let body = Query { statements: vec![Statement { kind: StatementKind::Pipeline(rows), span: NOWHERE }], span: NOWHERE };
            StatementKind::Let { name, value: LetValue::Function(Lambda { view, parameters, body, span: NOWHERE }) }
        }),
        1 => parameters().prop_map(|list| {
            StatementKind::DeclareParameters(list.into_iter().filter(|one| matches!(one.kind, ParameterKind::Scalar(_))).collect())
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_printed_tree_reads_back_as_itself(statements in vec(statement(), 1..3)) {
        let statements = statements.into_iter().map(|kind| Statement { kind, span: NOWHERE }).collect();
        let query = Query { statements, span: NOWHERE };
        let text = print(&query);
        let again = parse(&text);
        prop_assert!(again.diagnostics.is_empty(), "{}\n{}", text, render(&text, &again.diagnostics));
        let (wanted, have) = (shape(&query), shape(&again.query));
        prop_assert_eq!(wanted, have, "{}", text);
        prop_assert_eq!(crate::format(&text).unwrap(), text);
    }
}
