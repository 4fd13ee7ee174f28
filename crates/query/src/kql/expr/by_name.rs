//! Calls that depend on the names of columns, not on values alone: decided while binding.

use datafusion::common::ScalarValue;
use strongroom_kql::ast::{Argument, ExprKind, Name};
use strongroom_model::{ColumnType, TIME_COLUMN};

use super::Scope;
use crate::kql::Binder;
use crate::kql::bound::{Bound, BoundColumn};
use crate::kql::names::automatic;
use crate::kql::problem::{Outcome, Problem};
use crate::kql::registry;

impl Binder<'_> {
    /// The call, if it is one of these.
    pub(super) fn call_by_name(&mut self, function: &Name, arguments: &[Argument], scope: Scope<'_>) -> Outcome<Option<Bound>> {
        Ok(Some(match function.text.as_str() {
            "column_ifexists" | "columnifexists" => self.column_if_exists(function, arguments, scope)?,
            "iscolumnexists" => self.is_column(function, arguments, scope)?,
            "pack_all" => self.pack_all(function, arguments, scope)?,
            "bag_pack_columns" => self.pack_columns(function, arguments, scope)?,
            "column_names_of" => self.column_names(function, arguments)?,
            "ingestion_time" if arguments.is_empty() => Self::ingestion_time(function, scope),
            "estimate_data_size" if matches!(arguments, [only] if matches!(only.value.kind, ExprKind::Star)) => {
                let values: Vec<Bound> = scope.columns.iter().map(|column| column.bound(function.span)).collect();
                registry::call("estimate_data_size", function.span, &values, self.now())?
            }
            _ => return Ok(None),
        }))
    }

    fn constant_name(&mut self, function: &Name, argument: &Argument) -> Outcome<String> {
        let name = self.constant(&argument.value)?;
        match name.literal_text() {
            Some(text) => Ok(text.to_owned()),
            None => Err(Problem::mismatch(name.span, format!("`{}` takes the name of a column as a constant string", function.text))),
        }
    }

    /// `column_ifexists("n", otherwise)`
    fn column_if_exists(&mut self, function: &Name, arguments: &[Argument], scope: Scope<'_>) -> Outcome<Bound> {
        let [name, otherwise] = arguments else {
            return Err(Problem::new(function.span, "WrongArguments", format!("`{}` takes a column's name and a value", function.text)));
        };
        match scope.column(&self.constant_name(function, name)?) {
            Some(column) => Ok(column.bound(function.span)),
            None => self.value(&otherwise.value, scope),
        }
    }

    /// `iscolumnexists("n")`
    fn is_column(&mut self, function: &Name, arguments: &[Argument], scope: Scope<'_>) -> Outcome<Bound> {
        let [name] = arguments else {
            return Err(Problem::new(function.span, "WrongArguments", format!("`{}` takes a column's name", function.text)));
        };
        Ok(Bound::bool(scope.column(&self.constant_name(function, name)?).is_some(), function.span))
    }

    /// `pack_all([ignore_null_empty])`: every column by its name.
    fn pack_all(&mut self, function: &Name, arguments: &[Argument], scope: Scope<'_>) -> Outcome<Bound> {
        let ignore = match arguments {
            [] => false,
            [flag] => {
                let flag = self.constant(&flag.value)?;
                match flag.literal() {
                    Some(ScalarValue::Boolean(value)) => value.unwrap_or(false),
                    _ => return Err(Problem::mismatch(flag.span, "`pack_all` takes true or false")),
                }
            }
            _ => return Err(Problem::new(function.span, "WrongArguments", "`pack_all` takes one argument at most")),
        };
        let named = scope.columns.iter().map(|column| (column.name.clone(), column.bound(function.span)));
        self.pack(function, named.collect(), ignore)
    }

    /// `bag_pack_columns(a, b, ..)`: these columns by their names.
    fn pack_columns(&mut self, function: &Name, arguments: &[Argument], scope: Scope<'_>) -> Outcome<Bound> {
        let mut named = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let value = self.value(&argument.value, scope)?;
            let Some(name) = automatic(&argument.value) else {
                return Err(Problem::mismatch(value.span, "`bag_pack_columns` takes columns; `bag_pack` takes names and values"));
            };
            named.push((name, value));
        }
        self.pack(function, named, false)
    }

    fn pack(&mut self, function: &Name, named: Vec<(String, Bound)>, ignore: bool) -> Outcome<Bound> {
        let mut values = Vec::with_capacity(named.len() * 2);
        for (name, value) in named {
            values.push(Bound::string(name, function.span));
            values.push(value);
        }
        registry::call(if ignore { "bag_pack_filled" } else { "bag_pack" }, function.span, &values, self.now())
    }

    /// `column_names_of(T)`
    fn column_names(&mut self, function: &Name, arguments: &[Argument]) -> Outcome<Bound> {
        let [rows] = arguments else {
            return Err(Problem::new(function.span, "WrongArguments", "`column_names_of` takes rows"));
        };
        let columns: Vec<BoundColumn> = self.rows(&rows.value)?.columns;
        let names: Vec<Bound> = columns.into_iter().map(|column| Bound::string(column.name, function.span)).collect();
        registry::call("pack_array", function.span, &names, self.now())
    }

    /// When a row came in is not kept: the time of its event stands for it. Null where that column is no more.
    fn ingestion_time(function: &Name, scope: Scope<'_>) -> Bound {
        match scope.column(TIME_COLUMN).filter(|column| column.kind == ColumnType::DateTime) {
            Some(column) => column.bound(function.span),
            None => Bound::null(ColumnType::DateTime, function.span),
        }
    }
}
