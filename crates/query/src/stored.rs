//! A workspace's stored functions: KQL under a name, for everybody who may ask there.
//!
//! They are the customer's text, as queries are: name, parameters, body and remarks are one sealed text ([`Texts`] keeps them),
//! opened when somebody asks and kept nowhere. While the key is away there are none to be had. A function is checked when it
//! is stored (it parses, its name is free) and bound when it is called: tables it names may come later.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use strongroom_keys::{KeyRing, Pass, Warrant};
use strongroom_kql::ast::{Lambda, LetValue, StatementKind};
use strongroom_model::{AccountId, ErrorKind, ObjectId, PrincipalId, TableId, WorkspaceId};
use strongroom_world::World;

use crate::error::shut_error;
use crate::saved::SavedAs;
use crate::texts::{NewText, OpenTexts, Text, Texts};
use crate::{QueryError, functions};

/// Most functions a workspace holds.
const FUNCTIONS_MAX: usize = 500;
/// Longest name in bytes, as of a table.
const NAME_MAX: usize = 128;
/// Longest function in bytes, all its texts together; a query may be as long.
pub(crate) const TEXT_MAX: usize = 64 << 10;

/// A function as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFunction {
    /// What it is called.
    pub name: String,
    /// What stands in its parentheses: `a:long, b:string = "x"`.
    #[serde(default)]
    pub parameters: String,
    /// What stands in its braces: `let`s and a value or rows.
    pub body: String,
    /// Remarks for people.
    #[serde(default)]
    pub description: String,
    /// What it has besides if it is a saved search; then its name may be empty, and nothing calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<SavedAs>,
}

/// A function that was read back.
#[derive(Clone, Debug)]
pub struct FunctionInfo {
    /// The function.
    pub function: StoredFunction,
    /// When it was stored, milliseconds since 1970.
    pub changed_ms: i64,
}

/// A function ready to be called.
#[derive(Debug)]
pub(crate) struct Callable {
    /// The text its spans lie in.
    pub(crate) text: String,
    pub(crate) lambda: Arc<Lambda>,
}

impl StoredFunction {
    /// The function as the statement it would be in a query, and where in it parameters and body begin.
    fn statement(&self) -> (String, usize, usize) {
        let head = "let f = (";
        let middle = ") {\n";
        let text = format!("{head}{}{middle}{}\n}}", self.parameters, self.body);
        (text, head.len(), head.len() + self.parameters.len() + middle.len())
    }

    /// Reads it.
    ///
    /// # Errors
    /// All its mistakes, with their places in the body or in the parameters.
    pub(crate) fn read(&self) -> Result<Callable, QueryError> {
        let (text, parameters, body) = self.statement();
        let parsed = strongroom_kql::parse(&text);
        if !parsed.diagnostics.is_empty() {
            let errors = parsed.diagnostics.iter().map(|diagnostic| {
                let (start, end) = (diagnostic.span.start as usize, diagnostic.span.end as usize);
                let (of, within, begin) =
                    if start >= body { ("body", &self.body, body) } else { ("parameters", &self.parameters, parameters) };
                let span = start.saturating_sub(begin)..end.saturating_sub(begin);
                let error =
                    QueryError::syntax(within, span, diagnostic.code.as_str(), format!("in the function's {of}: {}", diagnostic.message));
                match &diagnostic.hint {
                    Some(hint) => error.with_hint(hint.clone()),
                    None => error,
                }
            });
            let mut errors: Vec<QueryError> = errors.collect();
            let first = errors.remove(0);
            return Err(first.with_more(errors));
        }
        let mut statements = parsed.query.statements;
        match (statements.pop().map(|statement| statement.kind), statements.is_empty()) {
            (Some(StatementKind::Let { value: LetValue::Function(lambda), .. }), true) if !lambda.body.statements.is_empty() => {
                Ok(Callable { text, lambda: Arc::new(lambda) })
            }
            (Some(StatementKind::Let { value: LetValue::Function(_), .. }), true) => {
                Err(QueryError::invalid("InvalidFunction", "the function has no body"))
            }
            // A brace too many ends it early.
            _ => Err(QueryError::invalid("InvalidFunction", "the body is not that of one function: its braces do not pair up")),
        }
    }

    /// Whether it may be stored.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        let wrong = |why: String| Err(QueryError::invalid("InvalidFunction", why));
        let mut letters = self.name.chars();
        let begins = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        if !begins || self.name.len() > NAME_MAX || !letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            return wrong(format!("a function's name is made of letters, digits and `_`, at most {NAME_MAX}, and begins with no digit"));
        }
        if functions::scalar(&self.name).is_some() || functions::aggregate(&self.name).is_some() {
            return wrong(format!("`{}` is a function of KQL's own", self.name));
        }
        if self.parameters.len() + self.body.len() + self.description.len() > TEXT_MAX {
            return Err(QueryError::new(ErrorKind::TooLarge, "FunctionTooLong", format!("a function takes at most {TEXT_MAX} bytes")));
        }
        self.read().map(drop)
    }
}

/// Reads and keeps functions.
pub(crate) struct Stored {
    world: World,
    keys: Arc<KeyRing>,
    texts: Arc<dyn Texts>,
    /// Held while one is stored or deleted: names are known only to whoever has opened all of them. One lock a workspace, so that nobody
    /// waits for another's store.
    turns: Mutex<HashMap<WorkspaceId, Arc<tokio::sync::Mutex<()>>>>,
}

/// Functions that were read, each with the text it was read from.
pub(crate) struct Opened {
    pub(crate) functions: Vec<(Text, StoredFunction)>,
    pub(crate) under: OpenTexts,
}

impl Stored {
    pub(crate) fn new(world: World, keys: Arc<KeyRing>, texts: Arc<dyn Texts>) -> Self {
        Self { world, keys, texts, turns: Mutex::default() }
    }

    /// Leave to read a workspace's functions: for whoever may ask all its tables.
    pub(crate) async fn warrant(&self, principal: PrincipalId, workspace: WorkspaceId) -> Result<Warrant, QueryError> {
        self.keys.warrant(principal, workspace, TableId::NIL).await.map_err(|error| shut_error(&error))
    }

    /// Leave of the account that a workspace is linked to.
    pub(crate) async fn pass(&self, account: AccountId) -> Result<Pass, QueryError> {
        self.keys.pass(account).await.map_err(|error| shut_error(&error))
    }

    /// Whether a workspace has any; takes no key.
    pub(crate) async fn any(&self, workspace: WorkspaceId) -> Result<bool, QueryError> {
        self.texts.any(workspace).await
    }

    /// Opens all of a workspace's.
    ///
    /// # Errors
    /// The key's error if one of them is under a key that is away: any could be the one that is meant.
    pub(crate) async fn open(&self, workspace: WorkspaceId, warrant: &Warrant) -> Result<Opened, QueryError> {
        let mut under = self.texts.open(workspace, warrant).await?;
        let read = std::mem::take(&mut under.texts).into_iter().map(|text| {
            let function = serde_json::from_slice(&text.value).map_err(|_| {
                QueryError::new(ErrorKind::Corrupt, "IntegrityError", format!("the function in entry {} has another form", text.id))
            })?;
            Ok((Text { value: Vec::new(), ..text }, function))
        });
        let functions = read.collect::<Result<_, QueryError>>()?;
        Ok(Opened { functions, under })
    }

    /// Likewise, for showing them: their keys are still there.
    pub(crate) async fn shown(&self, workspace: WorkspaceId, warrant: &Warrant) -> Result<Vec<(Text, StoredFunction)>, QueryError> {
        let opened = self.open(workspace, warrant).await?;
        opened.under.check(&self.world)?;
        Ok(opened.functions)
    }

    /// All functions of a workspace, by name.
    pub(crate) async fn list(&self, workspace: WorkspaceId, principal: PrincipalId) -> Result<Vec<FunctionInfo>, QueryError> {
        let warrant = self.warrant(principal, workspace).await?;
        let named = self.shown(workspace, &warrant).await?.into_iter().filter(|(_, function)| !function.name.is_empty());
        let infos = named.map(|(row, function)| FunctionInfo { function, changed_ms: row.changed_ms });
        let mut infos: Vec<FunctionInfo> = infos.collect();
        infos.sort_by(|a, b| a.function.name.cmp(&b.function.name));
        Ok(infos)
    }

    /// Stores a function under its name. Whether that is new.
    pub(crate) async fn put(&self, workspace: WorkspaceId, principal: PrincipalId, function: &StoredFunction) -> Result<bool, QueryError> {
        function.check()?;
        let turn = self.turn(workspace);
        let _turn = turn.lock().await;
        let warrant = self.warrant(principal, workspace).await?;
        let there = self.open(workspace, &warrant).await?.functions;
        let old = there.iter().find(|(_, known)| known.name == function.name);
        // What makes it a saved search stays.
        let saved = old.and_then(|(_, known)| known.saved.clone());
        let (function, old) = (StoredFunction { saved, ..function.clone() }, old.map(|(text, _)| (text.id, text.rev)));
        self.seal(workspace, principal, function, there.len(), old).await?;
        Ok(old.is_none())
    }

    pub(crate) fn turn(&self, workspace: WorkspaceId) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.turns.lock().entry(workspace).or_default())
    }

    /// Keeps a function in the place of `old`, or beside the `there` that there are.
    pub(crate) async fn seal(
        &self,
        workspace: WorkspaceId,
        principal: PrincipalId,
        mut function: StoredFunction,
        there: usize,
        old: Option<(ObjectId, ObjectId)>,
    ) -> Result<(Text, StoredFunction), QueryError> {
        if old.is_none() && there >= FUNCTIONS_MAX {
            let text = format!("a workspace holds at most {FUNCTIONS_MAX} functions and saved searches");
            return Err(QueryError::invalid("TooManyFunctions", text));
        }
        if let Some(saved) = &mut function.saved {
            // What keeps it says what it is.
            saved.etag.clear();
        }
        let plain = serde_json::to_vec(&function).map_err(|_| QueryError::internal("a function could not be written"))?;
        let new = NewText { workspace, principal, callable: !function.name.is_empty(), replaces: old, value: &plain };
        Ok((self.texts.put(new).await?, function))
    }

    /// Takes a function away. Whether it was there.
    pub(crate) async fn delete(&self, workspace: WorkspaceId, principal: PrincipalId, name: &str) -> Result<bool, QueryError> {
        let turn = self.turn(workspace);
        let _turn = turn.lock().await;
        let warrant = self.warrant(principal, workspace).await?;
        let there = self.open(workspace, &warrant).await?.functions;
        let Some((text, _)) = there.into_iter().find(|(_, known)| known.name == name) else { return Ok(false) };
        self.remove(workspace, text.id).await
    }

    pub(crate) async fn remove(&self, workspace: WorkspaceId, id: ObjectId) -> Result<bool, QueryError> {
        self.texts.remove(workspace, id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(parameters: &str, body: &str) -> StoredFunction {
        StoredFunction {
            name: "f".to_owned(),
            parameters: parameters.to_owned(),
            body: body.to_owned(),
            description: String::new(),
            saved: None,
        }
    }

    #[test]
    fn what_is_no_function_is_refused_with_its_place() {
        assert!(function("a:long, b:string = \"x\"", "T\n| where c > a").check().is_ok());
        assert!(function("", "let x = 5; x + 1").check().is_ok());
        let error = function("a:long", "T\n| wehre c > a\n| tke 5").check().unwrap_err();
        assert_eq!(error.place().map(|place| (place.line, place.column)), Some((2, 3)), "{error}");
        assert_eq!(error.details().len(), 2);
        let error = function("a:lng", "T").check().unwrap_err();
        assert_eq!(error.place().map(|place| (place.line, place.column)), Some((1, 3)), "{error}");
        for body in ["", " ", "T }; U | where (1 == 1)", "T }; let g = () { U"] {
            assert!(function("", body).check().is_err(), "{body}");
        }
        for name in ["", "1x", "a b", "tolower", "count", "é"] {
            assert!(StoredFunction { name: name.to_owned(), ..function("", "T") }.check().is_err(), "{name}");
        }
    }
}
