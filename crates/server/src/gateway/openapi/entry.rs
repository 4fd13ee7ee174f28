//! How a door's operations are written down: a line or two for each.

use std::collections::BTreeMap;

use axum::http::Method;
use utoipa::openapi::path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{ResponseBuilder, ResponsesBuilder};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, HttpMethod, Ref, RefOr, Required};

use super::parameters;
use super::schema::{Shape, like};

/// A door: what its operations have in common.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) tag: &'static str,
    pub(super) says: &'static str,
    /// The answer among the components that its refusals are.
    pub(super) refusal: &'static str,
    /// With which statuses it refuses, whatever is asked.
    pub(super) refuses: &'static [u16],
    /// And what it refuses of changes besides.
    pub(super) refuses_changes: &'static [u16],
    /// Whether a bearer token is needed.
    pub(super) bearer: bool,
    /// Whether `api-version` is needed.
    pub(super) versioned: bool,
    /// Whether what is here is Azure's unless it says otherwise.
    pub(super) azure: bool,
}

/// How an operation compares with Azure's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Like {
    /// As there.
    Same,
    /// As there but for this.
    Differs(&'static str),
    /// There is no such thing there.
    Own,
}

/// An answer's content: media type and shape; `None`: no content.
type Content = Option<(&'static str, Shape)>;

/// One operation.
pub(super) struct Entry {
    pub(super) door: &'static Door,
    pub(super) method: Method,
    pub(super) path: String,
    /// Azure's name of it, where there is one.
    pub(super) id: &'static str,
    pub(super) says: &'static str,
    pub(super) like: Like,
    /// The versions that make a difference, where `api-version` does.
    pub(super) versions: &'static str,
    asks: Vec<(&'static str, ParameterIn, bool, Shape, &'static str)>,
    takes: Option<(bool, Vec<(&'static str, Shape)>)>,
    gives: BTreeMap<u16, Vec<Content>>,
    refuses: Vec<u16>,
    bearer: bool,
}

/// What a door has.
pub(super) struct Book {
    door: &'static Door,
    versions: &'static str,
    pub(super) entries: Vec<Entry>,
}

impl Book {
    pub(super) fn of(door: &'static Door) -> Self {
        Self { door, versions: "", entries: Vec::new() }
    }

    /// Which versions of the protocol make a difference to what is written down from here on.
    pub(super) fn versions(&mut self, versions: &'static str) {
        self.versions = versions;
    }

    fn add(&mut self, method: Method, path: impl Into<String>, id: &'static str, says: &'static str) -> &mut Entry {
        self.entries.push(Entry {
            door: self.door,
            method,
            path: path.into(),
            id,
            says,
            like: if self.door.azure { Like::Same } else { Like::Own },
            versions: self.versions,
            asks: Vec::new(),
            takes: None,
            gives: BTreeMap::new(),
            refuses: Vec::new(),
            bearer: self.door.bearer,
        });
        self.entries.last_mut().expect("one was pushed")
    }

    pub(super) fn get(&mut self, path: impl Into<String>, id: &'static str, says: &'static str) -> &mut Entry {
        self.add(Method::GET, path, id, says)
    }

    pub(super) fn head(&mut self, path: impl Into<String>, id: &'static str, says: &'static str) -> &mut Entry {
        self.add(Method::HEAD, path, id, says)
    }

    pub(super) fn put(&mut self, path: impl Into<String>, id: &'static str, says: &'static str) -> &mut Entry {
        self.add(Method::PUT, path, id, says)
    }

    pub(super) fn patch(&mut self, path: impl Into<String>, id: &'static str, says: &'static str) -> &mut Entry {
        self.add(Method::PATCH, path, id, says)
    }

    pub(super) fn post(&mut self, path: impl Into<String>, id: &'static str, says: &'static str) -> &mut Entry {
        self.add(Method::POST, path, id, says)
    }

    pub(super) fn delete(&mut self, path: impl Into<String>, id: &'static str, says: &'static str) -> &mut Entry {
        self.add(Method::DELETE, path, id, says)
    }
}

impl Entry {
    /// A success and its JSON.
    pub(super) fn gives(&mut self, status: u16, shape: Shape) -> &mut Self {
        self.gives_as(status, "application/json", shape)
    }

    /// A success in another media type.
    pub(super) fn gives_as(&mut self, status: u16, media_type: &'static str, shape: Shape) -> &mut Self {
        self.gives.entry(status).or_default().push(Some((media_type, shape)));
        self
    }

    /// A success that says nothing.
    pub(super) fn done(&mut self, status: u16) -> &mut Self {
        self.gives.entry(status).or_default().push(None);
        self
    }

    /// The JSON that it needs.
    pub(super) fn takes(&mut self, shape: Shape) -> &mut Self {
        self.takes_as("application/json", shape)
    }

    /// Likewise, in another media type.
    pub(super) fn takes_as(&mut self, media_type: &'static str, shape: Shape) -> &mut Self {
        self.takes.get_or_insert((true, Vec::new())).1.push((media_type, shape));
        self
    }

    /// JSON that it does without.
    pub(super) fn may_take(&mut self, shape: Shape) -> &mut Self {
        self.takes = Some((false, vec![("application/json", shape)]));
        self
    }

    /// A parameter of the query string.
    pub(super) fn asks(&mut self, name: &'static str, shape: Shape, says: &'static str) -> &mut Self {
        let (name, needed) = name.strip_suffix('?').map_or((name, true), |name| (name, false));
        self.asks.push((name, ParameterIn::Query, needed, shape, says));
        self
    }

    /// A header.
    pub(super) fn reads(&mut self, name: &'static str, shape: Shape, says: &'static str) -> &mut Self {
        let (name, needed) = name.strip_suffix('?').map_or((name, true), |name| (name, false));
        self.asks.push((name, ParameterIn::Header, needed, shape, says));
        self
    }

    /// Statuses of refusals beside the door's.
    pub(super) fn refuses(&mut self, statuses: &[u16]) -> &mut Self {
        self.refuses.extend(statuses);
        self
    }

    /// Needs no token.
    pub(super) fn public(&mut self) -> &mut Self {
        self.bearer = false;
        self
    }

    /// Is in Azure, and there it is otherwise.
    pub(super) fn differs(&mut self, how: &'static str) -> &mut Self {
        self.like = Like::Differs(how);
        self
    }

    pub(super) fn http_method(&self) -> HttpMethod {
        match self.method {
            Method::PUT => HttpMethod::Put,
            Method::POST => HttpMethod::Post,
            Method::PATCH => HttpMethod::Patch,
            Method::DELETE => HttpMethod::Delete,
            Method::HEAD => HttpMethod::Head,
            _ => HttpMethod::Get,
        }
    }

    /// The path as the document has it: a name cannot hold what a path's rest does, so the rest of a workspace's path is spelled out.
    pub(super) fn template(&self) -> String {
        self.path.replace("{*resource}", "resourceGroups/{group}/providers/Microsoft.OperationalInsights/workspaces/{name}/query")
    }

    /// As the document has it.
    pub(super) fn operation(&self) -> Operation {
        let mut built = OperationBuilder::new().tag(self.door.tag).operation_id(Some(self.id)).summary(Some(self.says));
        let mut more = Vec::new();
        if let Like::Differs(how) = self.like {
            more.push(format!("Differs from Azure: {how}."));
        }
        if !self.versions.is_empty() {
            more.push(format!("Versions that make a difference: {}.", self.versions));
        }
        if !more.is_empty() {
            built = built.description(Some(more.join(" ")));
        }
        let path = self.template();
        for name in parameters::names(&path) {
            let (shape, says) = parameters::shape(&path, name);
            built = built.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(shape))
                    .description(Some(says)),
            );
        }
        if self.door.versioned {
            let version = like(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?$", 10, 18);
            built = built.parameter(
                ParameterBuilder::new()
                    .name("api-version")
                    .parameter_in(ParameterIn::Query)
                    .required(Required::True)
                    .schema(Some(super::schema::example(version, "2025-07-01".into())))
                    .description(Some("The version of the protocol that the client speaks: a date.")),
            );
        }
        for (name, place, needed, shape, says) in &self.asks {
            let needed = if *needed { Required::True } else { Required::False };
            let parameter = ParameterBuilder::new().name(*name).parameter_in(place.clone()).required(needed);
            built = built.parameter(parameter.schema(Some(shape.clone())).description(Some(*says)));
        }
        if let Some((needed, contents)) = &self.takes {
            let mut body = RequestBodyBuilder::new().required(Some(if *needed { Required::True } else { Required::False }));
            for (media_type, shape) in contents {
                body = body.content(*media_type, ContentBuilder::new().schema(Some(shape.clone())).build());
            }
            built = built.request_body(Some(body.build()));
        }
        built = built.responses(self.responses().build());
        if self.bearer {
            built = built.security(SecurityRequirement::new("bearer", Vec::<String>::new()));
        }
        built.build()
    }

    fn responses(&self) -> ResponsesBuilder {
        let mut all = ResponsesBuilder::new();
        for (status, contents) in &self.gives {
            let mut response = ResponseBuilder::new().description(if *status == 202 { "Accepted: it takes its time." } else { "Done." });
            for (media_type, shape) in contents.iter().flatten() {
                response = response.content(*media_type, ContentBuilder::new().schema(Some(shape.clone())).build());
            }
            all = all.response(status.to_string(), response);
        }
        let changes = !matches!(self.method, Method::GET | Method::HEAD);
        let more: &[u16] = if changes { self.door.refuses_changes } else { &[] };
        for status in self.door.refuses.iter().chain(more).chain(&self.refuses) {
            // Whoever needs no token is not told that it is wrong.
            if *status == 401 && !self.bearer && self.door.bearer {
                continue;
            }
            let refusal: RefOr<_> = if self.method == Method::HEAD {
                RefOr::T(ResponseBuilder::new().description("Refused; a HEAD has no body.").build())
            } else if matches!(status, 414 | 431) {
                RefOr::T(ResponseBuilder::new().description("The URL is too long: refused before it is looked at, without a body.").build())
            } else {
                RefOr::Ref(Ref::from_response_name(self.door.refusal))
            };
            all = all.response(status.to_string(), refusal);
        }
        all
    }
}
