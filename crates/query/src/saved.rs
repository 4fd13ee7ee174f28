//! Saved searches: KQL that people keep, some of it under an alias by which questions call it. One store with stored functions, and
//! another door: a search with an alias is a function, and a function is a search of its own name.

use serde::{Deserialize, Serialize};
use strongroom_model::{ErrorKind, PrincipalId, WorkspaceId};

use crate::stored::{Stored, StoredFunction, TEXT_MAX};
use crate::texts::Text;
use crate::{Engine, QueryError};

/// Longest id in bytes.
const ID_MAX: usize = 256;
/// Searches are kept with this version of the language unless they say another.
pub const LANGUAGE_VERSION: i64 = 2;

/// A tag of a saved search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchTag {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What a saved search has besides what a function has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedAs {
    /// What it is called in paths; case does not count.
    pub id: String,
    /// Where people look for it.
    pub category: String,
    /// What people call it.
    pub display_name: String,
    /// The version of the language.
    pub version: i64,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<SearchTag>,
    /// Changes with each change.
    pub etag: String,
}

/// A saved search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedSearch {
    /// What is particular to it.
    pub saved: SavedAs,
    /// The text.
    pub query: String,
    /// The name by which questions call it; empty: they do not.
    pub alias: String,
    /// What stands in its parentheses then.
    pub parameters: String,
    /// When it was last changed, milliseconds since 1970.
    pub changed_ms: i64,
}

impl SavedSearch {
    fn of(text: &Text, function: StoredFunction) -> Self {
        let StoredFunction { name, parameters, body, description, saved } = function;
        let mut saved = saved.unwrap_or_else(|| SavedAs {
            id: name.clone(),
            category: "Functions".to_owned(),
            display_name: if description.is_empty() { name.clone() } else { description },
            version: LANGUAGE_VERSION,
            tags: Vec::new(),
            etag: String::new(),
        });
        // One that an earlier build kept says it itself.
        if saved.etag.is_empty() {
            saved.etag = text.etag.to_string();
        }
        Self { saved, query: body, alias: name, parameters, changed_ms: text.changed_ms }
    }

    fn check(&self) -> Result<(), QueryError> {
        let SavedAs { id, category, display_name, tags, .. } = &self.saved;
        let wrong = |why: &str| Err(QueryError::invalid("InvalidSavedSearch", why));
        if id.is_empty() || id.len() > ID_MAX || id.chars().any(char::is_control) {
            return wrong("its id has 1 to 256 bytes");
        }
        if category.is_empty() || display_name.is_empty() || self.query.trim().is_empty() {
            return wrong("category, displayName and query are needed");
        }
        if self.alias.is_empty() && !self.parameters.is_empty() {
            return wrong("functionParameters are those of a functionAlias");
        }
        let tags: usize = tags.iter().map(|tag| tag.name.len() + tag.value.len()).sum();
        if category.len() + display_name.len() + self.query.len() + self.parameters.len() + tags > TEXT_MAX {
            return Err(QueryError::new(
                ErrorKind::TooLarge,
                "SavedSearchTooLong",
                format!("a saved search takes at most {TEXT_MAX} bytes"),
            ));
        }
        Ok(())
    }
}

impl Engine {
    /// The saved searches of a workspace and its functions, by id.
    ///
    /// # Errors
    /// As the keys' and the catalog's.
    pub async fn searches(&self, workspace: WorkspaceId, principal: PrincipalId) -> Result<Vec<SavedSearch>, QueryError> {
        self.stored().searches(workspace, principal).await
    }

    /// Keeps a search under its id; `expected`: only if what is there has that etag. As it was stored, and whether it is new.
    ///
    /// # Errors
    /// `InvalidSavedSearch`, and as a function's for one with an alias; `PreconditionFailed`; as the keys' and the catalog's.
    pub async fn search_put(
        &self,
        workspace: WorkspaceId,
        principal: PrincipalId,
        search: SavedSearch,
        expected: Option<&str>,
    ) -> Result<(SavedSearch, bool), QueryError> {
        self.stored().search_put(workspace, principal, search, expected).await
    }

    /// Takes a saved search away. Whether it was there.
    ///
    /// # Errors
    /// As the keys' and the catalog's.
    pub async fn search_delete(&self, workspace: WorkspaceId, principal: PrincipalId, id: &str) -> Result<bool, QueryError> {
        self.stored().search_delete(workspace, principal, id).await
    }
}

impl Stored {
    async fn searches(&self, workspace: WorkspaceId, principal: PrincipalId) -> Result<Vec<SavedSearch>, QueryError> {
        let warrant = self.warrant(principal, workspace).await?;
        let shown = self.shown(workspace, &warrant).await?;
        let mut found: Vec<SavedSearch> = shown.into_iter().map(|(text, function)| SavedSearch::of(&text, function)).collect();
        found.sort_by(|a, b| a.saved.id.cmp(&b.saved.id));
        Ok(found)
    }

    async fn search_put(
        &self,
        workspace: WorkspaceId,
        principal: PrincipalId,
        search: SavedSearch,
        expected: Option<&str>,
    ) -> Result<(SavedSearch, bool), QueryError> {
        search.check()?;
        let turn = self.turn(workspace);
        let _turn = turn.lock().await;
        let warrant = self.warrant(principal, workspace).await?;
        let there = self.open(workspace, &warrant).await?.functions;
        let (mut old, mut namesake) = (None, false);
        for (text, function) in there.iter().cloned() {
            let known = SavedSearch::of(&text, function);
            if known.saved.id.eq_ignore_ascii_case(&search.saved.id) {
                old = Some(((text.id, text.rev), known.saved.etag));
            } else if !search.alias.is_empty() && known.alias == search.alias {
                namesake = true;
            }
        }
        if let Some(expected) = expected.filter(|expected| *expected != "*")
            && old.as_ref().is_none_or(|(_, etag)| etag != expected)
        {
            let text = "the saved search was changed since it was read, or is gone: its etag is another";
            return Err(QueryError::new(ErrorKind::Conflict, "PreconditionFailed", text));
        }
        if namesake {
            let text = format!("another saved search or function is called by the name {}", search.alias);
            return Err(QueryError::new(ErrorKind::Conflict, "FunctionAliasTaken", text));
        }
        let new = old.is_none();
        let SavedSearch { saved, query, alias, parameters, .. } = search;
        let function = StoredFunction { name: alias, parameters, body: query, description: String::new(), saved: Some(saved) };
        if !function.name.is_empty() {
            function.check()?;
        }
        let old = old.map(|(there, _)| there);
        let (text, function) = self.seal(workspace, principal, function, there.len(), old).await?;
        Ok((SavedSearch::of(&text, function), new))
    }

    async fn search_delete(&self, workspace: WorkspaceId, principal: PrincipalId, id: &str) -> Result<bool, QueryError> {
        let turn = self.turn(workspace);
        let _turn = turn.lock().await;
        let warrant = self.warrant(principal, workspace).await?;
        for (text, function) in self.open(workspace, &warrant).await?.functions {
            let there = text.id;
            if SavedSearch::of(&text, function).saved.id.eq_ignore_ascii_case(id) {
                return self.remove(workspace, there).await;
            }
        }
        Ok(false)
    }
}
