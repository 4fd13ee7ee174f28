//! `Microsoft.Resources/resources`: what there is of every kind in one list, as `az resource list` and `az keyvault list` ask for it.
//!
//! Each kind's own list says what the caller may read of it; here that is filtered, cut into pages, and told without its properties.

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value};
use strongroom_model::ErrorKind;

use super::super::App;
use super::super::auth::Who;
use super::super::error::ApiError;
use super::page::{self, Page};
use super::places::{seen, seen_group};
use super::{ApiVersion, INSIGHTS, InGroup, KEY_VAULT, MANAGED_IDENTITY, MONITOR, STORAGE};
use super::{alerts, clusters, collection, identities, packs, storage, vaults, workbooks, workspaces};

/// Resources on a page, at most, whoever asks for more.
const TOP_MAX: usize = 1_000;

/// The routes.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/subscriptions/{subscription}/resources", get(list))
        .route("/subscriptions/{subscription}/resourceGroups/{group}/resources", get(list))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    #[serde(rename = "$filter")]
    filter: Option<String>,
    #[serde(rename = "$top")]
    top: Option<String>,
    #[serde(rename = "$expand")]
    expand: Option<String>,
}

/// The kinds of resources that stand in a group by themselves.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Clusters,
    Workspaces,
    Packs,
    Vaults,
    Storage,
    Identities,
    Endpoints,
    CollectionRules,
    AlertRules,
    ActionGroups,
    Workbooks,
}

const KINDS: [(Kind, &str, &str); 11] = [
    (Kind::Clusters, INSIGHTS, "clusters"),
    (Kind::Workspaces, INSIGHTS, "workspaces"),
    (Kind::Packs, INSIGHTS, "queryPacks"),
    (Kind::Vaults, KEY_VAULT, "vaults"),
    (Kind::Storage, STORAGE, "storageAccounts"),
    (Kind::Identities, MANAGED_IDENTITY, "userAssignedIdentities"),
    (Kind::Endpoints, MONITOR, "dataCollectionEndpoints"),
    (Kind::CollectionRules, MONITOR, "dataCollectionRules"),
    (Kind::AlertRules, MONITOR, "scheduledQueryRules"),
    (Kind::ActionGroups, MONITOR, "actionGroups"),
    (Kind::Workbooks, MONITOR, "workbooks"),
];

async fn list(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(at): Path<InGroup>,
    Query(page): Query<Page>,
    Query(wanted): Query<Wanted>,
    asked: Parts,
) -> Result<Json<Value>, ApiError> {
    seen(&app, &who, &at.subscription).await?;
    if let Some(group) = &at.group {
        seen_group(&app, &who, &at.subscription, group).await?;
    }
    let filter = Filter::read(wanted.filter.as_deref().unwrap_or_default())?;
    let size = match &wanted.top {
        None => TOP_MAX,
        Some(text) => text.parse().ok().filter(|top| (1..=TOP_MAX).contains(top)).ok_or_else(|| {
            ApiError::new(ErrorKind::Invalid, "InvalidParameter", format!("$top is a number from 1 to {TOP_MAX}.")).target("$top")
        })?,
    };
    let mut found = Vec::new();
    for (kind, namespace, name) in KINDS {
        if filter.lets("resourceType", &format!("{namespace}/{name}")) {
            found.extend(of_kind(&app, &who, &asked.headers, &at, kind).await?);
        }
    }
    found.retain(|resource| filter.takes(resource));
    found.sort_by_cached_key(key);
    let size = size.min(app.site.config.gateway.page_size);
    let (found, next) = page.cut_by(found, size, key, |bytes| bytes.starts_with(b"/subscriptions/"))?;
    let more = wanted.expand.unwrap_or_default();
    let value = found.into_iter().map(|resource| outside(resource, &more)).collect();
    Ok(Json(page::body(&app, &asked.headers, &asked.uri, value, next)))
}

/// Those of one kind that the caller may read.
async fn of_kind(app: &App, who: &Who, headers: &HeaderMap, at: &InGroup, kind: Kind) -> Result<Vec<Value>, ApiError> {
    let version = ApiVersion::newest();
    match kind {
        Kind::Clusters => clusters::shown(app, who, &version, at).await,
        Kind::Workspaces => workspaces::shown(app, who, &version, at).await,
        Kind::Packs => packs::shown(app, who, at).await,
        Kind::Vaults => vaults::shown(app, who, at).await,
        Kind::Storage => storage::shown(app, who, at).await,
        Kind::Identities => identities::shown(app, who, at).await,
        Kind::Endpoints => collection::shown_endpoints(app, who, headers, at).await,
        Kind::CollectionRules => collection::shown_rules(app, who, headers, at).await,
        Kind::AlertRules => alerts::shown_rules(app, who, at).await,
        Kind::ActionGroups => alerts::shown_groups(app, who, at).await,
        Kind::Workbooks => workbooks::shown(app, who, at, &workbooks::Wanted::default()).await,
    }
}

/// What orders the list: the id, whatever its case.
fn key(resource: &Value) -> Vec<u8> {
    resource["id"].as_str().unwrap_or_default().to_ascii_lowercase().into_bytes()
}

/// A resource without what it says of itself; `more`: what of that is asked for after all.
fn outside(resource: Value, more: &str) -> Value {
    let Value::Object(mut resource) = resource else { return resource };
    let inner = resource.remove("properties").unwrap_or_default();
    let history = resource.remove("systemData").unwrap_or_default();
    let known = ["id", "name", "type", "location", "tags", "kind", "sku", "identity"];
    let mut told: Map<String, Value> =
        resource.into_iter().filter(|(name, value)| known.contains(&name.as_str()) && !value.is_null()).collect();
    for (name, value) in [
        ("createdTime", [&history["createdAt"], &inner["createdDate"]]),
        ("changedTime", [&history["lastModifiedAt"], &inner["lastModifiedDate"]]),
        ("provisioningState", [&inner["provisioningState"], &Value::Null]),
    ] {
        let asked = more.split(',').any(|word| word.trim().eq_ignore_ascii_case(name));
        if let Some(value) = value.into_iter().find(|value| value.is_string()).filter(|_| asked) {
            told.insert(name.to_owned(), value.clone());
        }
    }
    told.into()
}

/// `$filter`: what has to be equal to what.
#[derive(Debug, Default)]
struct Filter(Vec<(&'static str, String)>);

const FIELDS: [&str; 6] = ["resourceType", "name", "location", "resourceGroup", "tagName", "tagValue"];

impl Filter {
    /// # Errors
    /// 400 for what is not `FIELD eq 'TEXT'`, or several of that with `and`: a filter that is not understood would show too much.
    fn read(text: &str) -> Result<Self, ApiError> {
        let wrong = || {
            let text = format!(
                "Invalid $filter specified in the query string: give it as FIELD eq 'TEXT', several with and; fields are {}.",
                FIELDS.join(", ")
            );
            ApiError::new(ErrorKind::Invalid, "InvalidFilterInQueryString", text).target("$filter")
        };
        let mut terms = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (word, after) = rest.split_once(char::is_whitespace).ok_or_else(wrong)?;
            let field = FIELDS.iter().find(|field| field.eq_ignore_ascii_case(word)).ok_or_else(wrong)?;
            let (equals, after) = after.trim_start().split_once(char::is_whitespace).ok_or_else(wrong)?;
            let quoted = after.trim_start().strip_prefix('\'').filter(|_| equals.eq_ignore_ascii_case("eq")).ok_or_else(wrong)?;
            let (value, after) = unquoted(quoted).ok_or_else(wrong)?;
            terms.push((*field, value));
            rest = after.trim();
            if !rest.is_empty() {
                let (and, after) = rest.split_once(char::is_whitespace).ok_or_else(wrong)?;
                rest = after.trim();
                if !and.eq_ignore_ascii_case("and") || rest.is_empty() {
                    return Err(wrong());
                }
            }
        }
        Ok(Self(terms))
    }

    /// Whether all that is said of this field is true of `value`.
    fn lets(&self, field: &str, value: &str) -> bool {
        self.of(field).all(|asked| asked.eq_ignore_ascii_case(value))
    }

    fn of<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| *own == field).map(|(_, value)| value.as_str())
    }

    fn takes(&self, resource: &Value) -> bool {
        let text = |name: &str| resource[name].as_str().unwrap_or_default();
        let group = text("id").split('/').nth(4).unwrap_or_default();
        let region = |text: &str| text.replace(' ', "");
        self.lets("resourceType", text("type"))
            && self.lets("name", text("name"))
            && self.lets("resourceGroup", group)
            && self.of("location").all(|asked| region(asked).eq_ignore_ascii_case(&region(text("location"))))
            && self.has_tag(resource["tags"].as_object())
    }

    /// One tag has the name and the value.
    fn has_tag(&self, tags: Option<&Map<String, Value>>) -> bool {
        let asked = ["tagName", "tagValue"].iter().any(|field| self.of(field).next().is_some());
        !asked
            || tags.into_iter().flatten().any(|(name, value)| {
                self.lets("tagName", name) && self.of("tagValue").all(|asked| value.as_str().is_some_and(|value| value == asked))
            })
    }
}

/// A text up to its closing quote, and what comes after it; a quote in it stands twice.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut rest) = (String::new(), text);
    loop {
        let (before, after) = rest.split_once('\'')?;
        value.push_str(before);
        match after.strip_prefix('\'') {
            Some(after) => {
                value.push('\'');
                rest = after;
            }
            None => return Some((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn terms(text: &str) -> Option<Vec<(&'static str, String)>> {
        Filter::read(text).ok().map(|filter| filter.0)
    }

    #[test]
    fn a_filter_is_read_as_clients_write_it_or_refused() {
        let two = terms("resourceType eq 'Microsoft.KeyVault/vaults' and name eq 'it''s and it'").unwrap();
        assert_eq!(two, [("resourceType", "Microsoft.KeyVault/vaults".to_owned()), ("name", "it's and it".to_owned())]);
        assert_eq!(terms("tagname EQ 'a' AND tagvalue eq 'b'").unwrap(), [("tagName", "a".to_owned()), ("tagValue", "b".to_owned())]);
        assert_eq!(terms("").unwrap(), []);
        for wrong in [
            "name",
            "name eq",
            "name eq x",
            "name ne 'x'",
            "name eq 'x",
            "size eq 'x'",
            "name eq 'x' or name eq 'y'",
            "name eq 'x' and",
            "name eq 'x' name eq 'y'",
            "(name eq 'x')",
            "startswith(tagname, 'x')",
        ] {
            assert!(terms(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_tag_is_met_by_its_name_and_value_together() {
        let resource = json!({"id": "/subscriptions/s/resourceGroups/G/providers/P/t/n", "name": "n", "type": "P/t", "location": "westeurope",
            "tags": {"a": "1", "b": "2"}});
        let takes = |text: &str| Filter::read(text).unwrap().takes(&resource);
        for yes in
            ["tagName eq 'A'", "tagName eq 'a' and tagValue eq '1'", "tagValue eq '2'", "location eq 'West Europe'", "resourceGroup eq 'g'"]
        {
            assert!(takes(yes), "{yes}");
        }
        for no in ["tagName eq 'c'", "tagName eq 'a' and tagValue eq '2'", "location eq 'west'", "resourceGroup eq 'h'", "name eq 'm'"] {
            assert!(!takes(no), "{no}");
        }
    }
}
