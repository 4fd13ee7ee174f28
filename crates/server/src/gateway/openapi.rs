//! `GET /openapi.json`: what all the doors take and answer, as OpenAPI 3.1. It tells no secret, and nobody has to be known for it.
//!
//! Each door is described in a module of its own, an operation in a line or two: its method, path, name (Azure's where it has one), what
//! it takes and gives, and, where it is not as in Azure, how it differs. Whoever adds a route adds its description there, with
//! `book.get("/path/{name}", "Things_Get", "A thing").gives(200, named("Thing"))`; a test of this module compares what is mounted
//! with what is described, both ways, and the tables of `docs/azure.md` are made of the same lines (`page`). What a name in a path
//! looks like is said once, in `parameters`.
//!
//! Left out: the embedded key vault, which is a server of its own.

mod arm;
mod content;
mod data;
mod entry;
mod identity;
mod insights;
mod native;
#[cfg(test)]
mod page;
mod parameters;
mod resources;
mod schema;

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, ComponentsBuilder, ContentBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, PathsBuilder};

use entry::{Book, Door, Entry};
use schema::{any, flag, list, map, named, object, open, text, whole};

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_json().expect("texts and numbers are JSON").into());

/// `GET /openapi.json`
pub(super) async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.clone())
}

/// All operations, door by door.
fn entries() -> Vec<Entry> {
    let mut books: Vec<Book> = vec![native::process(), native::describe(), identity::describe(), identity::login()];
    books.extend(data::describe());
    books.push(arm::places());
    books.extend(insights::describe());
    books.extend(resources::describe());
    books.extend(content::describe());
    books.into_iter().flat_map(|book| book.entries).collect()
}

fn document() -> OpenApi {
    let entries = entries();
    let mut doors: Vec<&'static Door> = Vec::new();
    let mut paths = PathsBuilder::new();
    for entry in &entries {
        paths = paths.path(entry.template(), PathItem::new(entry.http_method(), entry.operation()));
        if !doors.iter().any(|door| door.tag == entry.door.tag) {
            doors.push(entry.door);
        }
    }
    let tags = doors.iter().map(|door| TagBuilder::new().name(door.tag).description(Some(door.says)).build());
    let info = InfoBuilder::new()
        .title("Strongroom")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("A log platform whose data its owner can lock. docs/azure.md says how it compares with Azure."))
        .license(Some(License::new("Apache-2.0")));
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components())).tags(Some(tags)).build()
}

fn components() -> Components {
    let bearer = Http::new(HttpAuthScheme::Bearer);
    let told = "A token of `strongroom token`, or an access token from `/{tenant}/oauth2/v2.0/token`.";
    let mut bearer_told = bearer;
    bearer_told.description = Some(told.to_owned());
    let all = ComponentsBuilder::new().security_scheme("bearer", SecurityScheme::Http(bearer_told));
    [
        native::components,
        identity::components,
        data::components,
        arm::components,
        insights::components,
        resources::components,
        content::components,
    ]
    .into_iter()
    .fold(refusals(all), |all, more| more(all))
    .build()
}

/// The envelopes of errors, one for each kind of door.
fn refusals(to: ComponentsBuilder) -> ComponentsBuilder {
    let error = object([
        ("code", text()),
        ("message", text()),
        ("target?", text()),
        ("details?", list(open([("code?", text()), ("message?", text())]))),
        ("innererror?", map()),
    ]);
    let kusto = object([
        ("code", text()),
        ("message", text()),
        ("@type", text()),
        ("@message", any()),
        ("@context", map()),
        ("@permanent", flag()),
        ("innererror?", map()),
    ]);
    let login = object([
        ("error", text()),
        ("error_description", text()),
        ("error_codes", list(whole())),
        ("timestamp", text()),
        ("trace_id", text()),
        ("correlation_id", text()),
    ]);
    let refusal = |says: &str, shape| {
        ResponseBuilder::new().description(says).content("application/json", ContentBuilder::new().schema(Some(shape)).build()).build()
    };
    to.schema("Error", error)
        .response("Refused", refusal("Refused: a stable code and a sentence.", object([("error", named("Error"))])))
        .response("ArmRefused", refusal("Refused, in Azure Resource Manager's envelope.", object([("error", named("Error"))])))
        .response("KustoRefused", refusal("Refused, in Kusto's envelope.", object([("error", kusto)])))
        .response("LoginRefused", refusal("Refused, in Entra's words.", login))
        .response("CollectorRefused", refusal("Refused, in the Data Collector's words.", object([("Error", text()), ("Message", text())])))
}

#[cfg(test)]
mod tests;
