//! SQL texts: parsed, their tables collected, planned against those alone.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, Operator, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Select, SetExpr, Statement as SqlStatement, TableFactor, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;

use super::allow::{DEFAULTS, allowed};
use crate::error::engine_error;
use crate::resolve::{BoundContext, did_you_mean};
use crate::{QueryError, functions};

/// Functions of ours that SQL may call, by name and alias.
pub(crate) struct OwnFunctions {
    scalars: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
}

impl OwnFunctions {
    pub(crate) fn new((scalars, aggregates): (Vec<ScalarUDF>, Vec<AggregateUDF>)) -> Self {
        let mut own = Self { scalars: HashMap::new(), aggregates: HashMap::new() };
        for function in scalars.into_iter().map(Arc::new) {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
                own.scalars.insert(name.to_owned(), Arc::clone(&function));
            }
        }
        for function in aggregates.into_iter().map(Arc::new) {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
                own.aggregates.insert(name.to_owned(), Arc::clone(&function));
            }
        }
        own
    }
}

/// A parsed text: one query, and the tables it names.
pub(crate) struct Sql {
    statement: Statement,
    /// Whether it began with EXPLAIN.
    pub(crate) explain: bool,
    /// Bare names, and names of `information_schema`.
    tables: Vec<TableReference>,
}

fn refused(what: &str) -> QueryError {
    QueryError::invalid("NotAllowed", format!("{what} is not allowed: a query is one SELECT over the workspace's tables"))
}

/// Parses a text into one query.
///
/// # Errors
/// [`QueryError`]: a syntax error with its place, or the statement that is not allowed.
pub(crate) fn parse(text: &str, recursion: usize) -> std::result::Result<Sql, QueryError> {
    let failed = |error| engine_error(error, text);
    let mut parser =
        DFParserBuilder::new(text).with_dialect(&PostgreSqlDialect {}).with_recursion_limit(recursion).build().map_err(failed)?;
    let mut statements = parser.parse_statements().map_err(failed)?;
    let statement = statements.pop_front().ok_or_else(|| QueryError::syntax(text, 0..0, "SYN0001", "the query is empty"))?;
    if !statements.is_empty() {
        return Err(refused("more than one statement"));
    }
    let (statement, explain) = unwrap(statement)?;
    let Statement::Statement(query) = &statement else { return Err(refused("this statement")) };
    if let ControlFlow::Break(what) = query.visit(&mut Refuser::default()) {
        return Err(refused(&what));
    }
    let (tables, _) = resolve_table_references(&statement, false).map_err(failed)?;
    Ok(Sql { statement, explain, tables })
}

fn unwrap(statement: Statement) -> std::result::Result<(Statement, bool), QueryError> {
    match statement {
        Statement::Explain(explain) if explain.options.analyze => Err(refused("EXPLAIN ANALYZE")),
        Statement::Explain(explain) => match *explain.statement {
            Statement::Statement(inner) if matches!(*inner, SqlStatement::Query(_)) => Ok((Statement::Statement(inner), true)),
            other => Err(refused(&format!("EXPLAIN of {}", name(&other)))),
        },
        Statement::Statement(inner) if matches!(*inner, SqlStatement::Query(_)) => Ok((Statement::Statement(inner), false)),
        other => Err(refused(&name(&other))),
    }
}

/// The first words of a statement: enough to name it.
fn name(statement: &Statement) -> String {
    match statement {
        Statement::CreateExternalTable(_) => "CREATE EXTERNAL TABLE".to_owned(),
        Statement::CopyTo(_) => "COPY".to_owned(),
        Statement::Reset(_) => "RESET".to_owned(),
        Statement::Explain(_) => "EXPLAIN".to_owned(),
        Statement::Statement(inner) => {
            let text = inner.to_string();
            let words: Vec<&str> =
                text.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_uppercase())).take(2).collect();
            if words.is_empty() { "this statement".to_owned() } else { words.join(" ") }
        }
    }
}

/// Most tables a text may name once its common table expressions are put in where they are named.
const UNFOLDED_MAX: u64 = 1_000;

/// Refuses what is no plain query before any planning. Counts what names unfold to: an expression that names the one before it
/// twice, at each of thirty levels, would keep the planner busy for ever.
#[derive(Default)]
struct Refuser {
    /// Tables named so far in each query being visited.
    open: Vec<u64>,
    /// Which queries (by address) are common table expressions, and their names.
    named: HashMap<usize, String>,
    /// How many tables each of those unfolds to.
    unfolded: HashMap<String, u64>,
}

impl Refuser {
    fn name(&mut self, tables: u64) -> ControlFlow<String> {
        let Some(open) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        *open = open.saturating_add(tables);
        if *open > UNFOLDED_MAX {
            return ControlFlow::Break(format!("a query that unfolds to more than {UNFOLDED_MAX} tables"));
        }
        ControlFlow::Continue(())
    }
}

fn address(query: &Query) -> usize {
    std::ptr::from_ref(query).addr()
}

impl Visitor for Refuser {
    type Break = String;

    fn pre_visit_statement(&mut self, statement: &SqlStatement) -> ControlFlow<String> {
        if matches!(statement, SqlStatement::Query(_)) {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(name(&Statement::Statement(Box::new(statement.clone()))))
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            return ControlFlow::Break("WITH RECURSIVE".to_owned());
        }
        self.open.push(0);
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.named.insert(address(&cte.query), cte.alias.name.value.clone());
        }
        if !query.locks.is_empty() {
            return ControlFlow::Break("a locking clause".to_owned());
        }
        match &*query.body {
            SetExpr::Insert(_) => ControlFlow::Break("INSERT".to_owned()),
            SetExpr::Update(_) => ControlFlow::Break("UPDATE".to_owned()),
            SetExpr::Delete(_) => ControlFlow::Break("DELETE".to_owned()),
            SetExpr::Merge(_) => ControlFlow::Break("MERGE".to_owned()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let tables = self.open.pop().unwrap_or_default();
        match self.named.get(&address(query)) {
            Some(name) => {
                self.unfolded.insert(name.clone(), tables.max(1));
                ControlFlow::Continue(())
            }
            None => self.name(tables),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<String> {
        let tables = match relation.0.as_slice() {
            [part] => part.as_ident().and_then(|ident| self.unfolded.get(&ident.value)).copied().unwrap_or(1),
            _ => 1,
        };
        self.name(tables)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        if select.into.is_some() {
            return ControlFlow::Break("SELECT INTO".to_owned());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        let what = match factor {
            TableFactor::Table { args: None, version: None, sample: None, json_path: None, .. }
            | TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::UNNEST { .. } => return ControlFlow::Continue(()),
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => format!("the table function {name}"),
            TableFactor::Table { name, .. } => format!("a version or sample of table {name}"),
            TableFactor::TableFunction { .. } => "a table function".to_owned(),
            _ => "this kind of table".to_owned(),
        };
        ControlFlow::Break(what)
    }
}

impl Sql {
    /// The tables to resolve: all are plain names.
    ///
    /// # Errors
    /// [`QueryError`] for a name in a schema or catalog of its own.
    pub(crate) fn names(&self) -> std::result::Result<Vec<String>, QueryError> {
        self.tables
            .iter()
            .map(|reference| match reference {
                TableReference::Bare { table } => Ok(table.to_string()),
                other => Err(QueryError::new(
                    strongroom_model::ErrorKind::Invalid,
                    "UnknownTable",
                    format!("there is no schema or catalog to name in {other}: tables go by their plain names"),
                )),
            })
            .collect()
    }

    /// Plans against exactly these tables.
    ///
    /// # Errors
    /// [`QueryError`]: an unknown table with the name that may have been meant, or what the planner says.
    pub(crate) fn plan(
        self,
        text: &str,
        state: &SessionState,
        own: &OwnFunctions,
        bound: &BoundContext,
    ) -> std::result::Result<LogicalPlan, QueryError> {
        for name in self.names()? {
            if !bound.tables.contains_key(&name) {
                return Err(unknown_table(text, &name, bound));
            }
        }
        let world = World { state, own, tables: &bound.tables };
        let options =
            ParserOptions::new().with_enable_ident_normalization(false).with_collect_spans(true).with_map_string_types_to_utf8view(true);
        let plan =
            SqlToRel::new_with_options(&world, options).statement_to_plan(self.statement).map_err(|error| engine_error(error, text))?;
        check_patterns(&plan, text)?;
        Ok(plan)
    }
}

/// Constant regular expressions must be some: told here with their place, not by whatever meets them first.
fn check_patterns(plan: &LogicalPlan, text: &str) -> std::result::Result<(), QueryError> {
    let mut bad: Option<(String, String)> = None;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                bad = bad_pattern(expr);
                Ok(if bad.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    });
    walked.map_err(|error| engine_error(error, text))?;
    let Some((pattern, why)) = bad else { return Ok(()) };
    // The plan does not know where a constant stood: where its text comes first.
    Err(match text.find(&format!("'{}'", pattern.replace('\'', "''"))) {
        Some(at) => QueryError::semantic(text, at..at + pattern.len() + 2, "BadRegex", why),
        None => QueryError::invalid("SemanticError", why),
    })
}

/// The constant in a call or a comparison that should be a regular expression and is none, and why.
fn bad_pattern(expr: &Expr) -> Option<(String, String)> {
    let found = |function: &str, arguments: &[&Expr]| {
        let constant = |at: usize| arguments.get(at).and_then(|argument| constant_text(argument));
        let (at, why) = functions::bad_pattern(function, constant)?;
        Some((constant(at)?.to_owned(), why))
    };
    match expr {
        Expr::ScalarFunction(call) => {
            let name = call.func.name();
            if DEFAULTS.contains(name) && !name.starts_with("regexp_") {
                // SQL's own `replace` takes no pattern.
                return None;
            }
            found(name, &call.args.iter().collect::<Vec<_>>())
        }
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch => {
                found("regexp_like", &[&*binary.left, &*binary.right])
            }
            _ => None,
        },
        _ => None,
    }
}

fn constant_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        Expr::Cast(cast) => constant_text(&cast.expr),
        _ => None,
    }
}

fn unknown_table(text: &str, name: &str, bound: &BoundContext) -> QueryError {
    let message = format!("there is no table {name} in this workspace");
    let error = match text.find(name) {
        Some(at) => QueryError::semantic(text, at..at + name.len(), "SEM0100", message),
        None => QueryError::invalid("SemanticError", message),
    };
    match did_you_mean(name, bound.names.iter().map(String::as_str)) {
        Some(close) => error.with_hint(format!("did you mean {close}?")),
        None => error,
    }
}

/// All that the planner can reach.
struct World<'a> {
    state: &'a SessionState,
    own: &'a OwnFunctions,
    tables: &'a HashMap<String, Arc<dyn TableProvider>>,
}

impl ContextProvider for World<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match &name {
            TableReference::Bare { table } => self.tables.get(table.as_ref()).map(|table| provider_as_source(Arc::clone(table))),
            _ => None,
        }
        .ok_or_else(|| DataFusionError::Plan(format!("there is no table {name} in this workspace")))
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        // SQL's own meaning of a name wins over KQL's.
        let known = self.state.scalar_functions().get(name).filter(|function| allowed(function.name()));
        known.or_else(|| self.own.scalars.get(name)).cloned()
    }
    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }
    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).or_else(|| self.own.aggregates.get(name)).cloned()
    }
    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }
    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }
    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }
    fn udf_names(&self) -> Vec<String> {
        self.own.scalars.keys().cloned().chain(super::allow::SCALARS.iter().map(|name| (*name).to_owned())).collect()
    }
    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().chain(self.own.aggregates.keys()).cloned().collect()
    }
    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
