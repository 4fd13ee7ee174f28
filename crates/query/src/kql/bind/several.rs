//! Values that are several columns: `series_fit_line(y)`, `array_sort_asc(a, b)`.

use strongroom_kql::ast::{ExprKind, NamedExpr};
use strongroom_model::ColumnType;

use crate::functions::{self, PathStep};
use crate::kql::Binder;
use crate::kql::bound::Bound;
use crate::kql::expr::Scope;
use crate::kql::names::automatic;
use crate::kql::problem::Outcome;
use crate::kql::registry;

impl Binder<'_> {
    /// The columns of a call that gives several, each with the name it gets if it is given none; `None` for any other value.
    pub(in crate::kql) fn several(&mut self, entry: &NamedExpr, scope: Scope<'_>) -> Outcome<Option<Vec<(String, Bound)>>> {
        let ExprKind::Call { receiver: None, function, arguments } = &entry.value.kind else { return Ok(None) };
        if self.function(&function.text).is_some() || entry.names.len() == 1 {
            return Ok(None);
        }
        let name = function.text.as_str();
        if let Some(several) = functions::several(name) {
            let values = arguments.iter().map(|argument| self.value(&argument.value, scope)).collect::<Outcome<Vec<_>>>()?;
            let first = arguments.first().and_then(|argument| automatic(&argument.value)).unwrap_or_default();
            let columns = registry::several(several, function.span, &values, self.now())?;
            let named = several.columns.iter().zip(columns);
            return Ok(Some(named.map(|((member, _), column)| (format!("{name}_{first}_{member}"), column)).collect()));
        }
        if !matches!(name, "array_sort_asc" | "array_sort_desc") {
            return Ok(None);
        }
        let names: Vec<String> =
            arguments.iter().map(|argument| format!("{}_sorted", automatic(&argument.value).unwrap_or_default())).collect();
        let all = self.value(&entry.value, scope)?;
        let arrays = arguments.len() - usize::from(self.is_flag(arguments.last().map(|last| &last.value), scope));
        if arrays < 2 {
            return Ok(None);
        }
        let element = |at: usize| {
            let place = i64::try_from(at).unwrap_or(i64::MAX);
            let element = functions::dynamic_get(all.expr.clone(), &[PathStep::Index(place)]);
            Bound::new(element.expr, element.kind, entry.span)
        };
        Ok(Some(names.into_iter().take(arrays).enumerate().map(|(at, name)| (name, element(at))).collect()))
    }

    /// Whether the last argument is a bool, not an array.
    fn is_flag(&mut self, last: Option<&strongroom_kql::ast::Expr>, scope: Scope<'_>) -> bool {
        last.is_some_and(|last| self.value(last, scope).is_ok_and(|value| value.kind == ColumnType::Bool))
    }
}
