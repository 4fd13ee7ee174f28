//! `render`: nothing happens to the rows; the caller is told how to draw them.

use serde_json::{Map, Value};
use strongroom_kql::ast::{self, Expr, ExprKind, Literal};

use crate::Render;
use crate::kql::Binder;
use crate::kql::problem::{Outcome, Problem};

impl Binder<'_> {
    pub(super) fn render(&mut self, render: &ast::Render) -> Outcome<()> {
        let mut properties = Map::new();
        for setting in &render.settings {
            properties.insert(setting.name.text.clone(), self.property(&setting.value)?);
        }
        self.render = Some(Render { visualization: render.kind.text.clone(), properties });
        Ok(())
    }

    fn property(&mut self, value: &Expr) -> Outcome<Value> {
        Ok(match &value.kind {
            ExprKind::Name(word) => Value::from(word.as_str()),
            ExprKind::Literal(literal) => match literal {
                Literal::Bool(value) => Value::from(*value),
                Literal::Int(value) => Value::from(*value),
                Literal::Long(value) => Value::from(*value),
                Literal::Real(value) => Value::from(*value),
                Literal::String { value, .. } => Value::from(value.as_str()),
                _ => Value::from(value.span.of(self.text)),
            },
            ExprKind::Array(items) => Value::Array(items.iter().map(|item| self.property(item)).collect::<Outcome<_>>()?),
            ExprKind::Unary { .. } | ExprKind::Path { .. } | ExprKind::Wildcard(_) => Value::from(value.span.of(self.text)),
            _ => return Err(Problem::new(value.span, "InvalidSetting", "a property of `render` is a word or a constant")),
        })
    }
}
