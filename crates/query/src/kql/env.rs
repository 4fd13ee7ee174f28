//! What `let` names: values, rows, functions. A later name hides an earlier one; functions see what was there before them.

use std::sync::Arc;

use strongroom_kql::ast::Lambda;

use super::Binder;
use super::bound::{Bound, Rel};

/// The meaning of a name.
#[derive(Clone, Debug)]
pub(super) enum Binding {
    Scalar(Bound),
    Rows(Arc<Rel>),
    Function(Function),
}

/// A function and what its body may refer to.
#[derive(Clone, Debug)]
pub(super) struct Function {
    pub(super) lambda: Arc<Lambda>,
    pub(super) env: Env,
    /// Whether it is a stored one: its places are in another text.
    pub(super) stored: bool,
}

/// Names in scope: a list that grows at its head and is shared by whoever saw it earlier.
#[derive(Clone, Debug, Default)]
pub(super) struct Env(Option<Arc<Frame>>);

#[derive(Debug)]
struct Frame {
    name: String,
    binding: Binding,
    outer: Env,
}

impl Env {
    pub(super) fn with(&self, name: &str, binding: Binding) -> Self {
        Self(Some(Arc::new(Frame { name: name.to_owned(), binding, outer: self.clone() })))
    }

    fn frames(&self) -> impl Iterator<Item = &Frame> {
        std::iter::successors(self.0.as_deref(), |frame| frame.outer.0.as_deref())
    }

    /// Every name there is, the innermost first.
    pub(super) fn bindings(&self) -> impl Iterator<Item = (&str, &Binding)> {
        self.frames().map(|frame| (frame.name.as_str(), &frame.binding))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Binding> {
        self.frames().find(|frame| frame.name == name).map(|frame| &frame.binding)
    }
}

impl Binder<'_> {
    pub(super) fn scalar_let(&self, name: &str) -> Option<Bound> {
        match self.env.get(name)? {
            Binding::Scalar(value) => Some(value.clone()),
            _ => None,
        }
    }

    /// The function of that name: the text's own, else a stored one.
    pub(super) fn function(&self, name: &str) -> Option<Function> {
        match self.env.get(name) {
            Some(Binding::Function(function)) => Some(function.clone()),
            Some(_) => None,
            None => {
                let stored = self.context.functions.get(name)?;
                Some(Function { lambda: Arc::clone(&stored.lambda), env: Env::default(), stored: true })
            }
        }
    }

    /// Names of scalars and functions, for did-you-mean.
    pub(super) fn scalar_names(&self) -> Vec<String> {
        self.env.frames().filter(|frame| !matches!(frame.binding, Binding::Rows(_))).map(|frame| frame.name.clone()).collect()
    }

    /// Names of rows: `let`s and tables, for did-you-mean.
    pub(super) fn tabular_names(&self) -> Vec<String> {
        let lets = self.env.frames().filter(|frame| !matches!(frame.binding, Binding::Scalar(_))).map(|frame| frame.name.clone());
        lets.chain(self.context.names.iter().cloned()).chain(self.context.functions.keys().cloned()).collect()
    }

    pub(super) fn is_tabular_name(&self, name: &str) -> bool {
        if let Some(binding) = self.env.get(name) {
            return matches!(binding, Binding::Rows(_));
        }
        let mut there = self.context.beside.iter().filter_map(|workspace| self.context.foreign.get(workspace));
        self.context.tables.contains_key(name) || there.any(|there| there.tables.contains_key(name))
    }
}
