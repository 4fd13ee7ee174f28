//! Calls to the resource paths of the control plane, and waiting for what they begin.

use std::time::{Duration, Instant};

use clap::Args;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::Failure;
use crate::client::{CallError, Client, backoff};

const API_VERSION: (&str, &str) = ("api-version", "2025-07-01");
const INSIGHTS: &str = "Microsoft.OperationalInsights";
const SKIP_TOKEN: &str = "$skiptoken";
/// Pages of a list.
const PAGES_MAX: usize = 1_000;
/// Between two looks at an operation.
const POLL: Duration = Duration::from_secs(1);
/// Failed looks in a row before it is given up.
const TRIES_MAX: u32 = 5;
/// No change takes this long.
const WAIT_MAX: Duration = Duration::from_mins(10);

/// Where resources lie.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Where {
    /// The subscription [default: the server's own]
    #[arg(long, env = "STRONGROOM_SUBSCRIPTION", value_name = "ID", global = true)]
    subscription: Option<String>,
    /// The resource group
    #[arg(long, env = "STRONGROOM_RESOURCE_GROUP", default_value = "default", value_name = "NAME", global = true)]
    resource_group: String,
}

/// The resources of one group of one subscription.
#[derive(Clone, Debug)]
pub(crate) struct Arm {
    pub(crate) client: Client,
    subscription: String,
    group: String,
}

/// A change that a server took on.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The resource as the server showed it.
    pub(crate) resource: Value,
    /// The path of the operation; `None`: there was nothing to change.
    operation: Option<Vec<String>>,
}

impl Arm {
    pub(crate) async fn new(client: Client, place: &Where) -> Result<Self, Failure> {
        let subscription = if let Some(given) = &place.subscription {
            given.clone()
        } else {
            let all = client.json(client.request(Method::GET, &["v1", "workspaces"])).await?;
            let own = all["value"][0]["subscription"].as_str();
            own.ok_or_else(|| Failure::Usage("this token sees no workspace to take the subscription from: give --subscription".into()))?
                .to_owned()
        };
        Ok(Self { client, subscription, group: place.resource_group.clone() })
    }

    pub(crate) fn at(client: Client, subscription: String, group: String) -> Self {
        Self { client, subscription, group }
    }

    /// A call to a cluster's path, or a workspace's.
    pub(crate) fn call(&self, method: Method, rest: &[&str]) -> RequestBuilder {
        self.provider(method, INSIGHTS, rest)
    }

    /// A call to a path of any provider.
    pub(crate) fn provider(&self, method: Method, provider: &str, rest: &[&str]) -> RequestBuilder {
        let mut segments = vec!["subscriptions", &self.subscription, "resourceGroups", &self.group, "providers", provider];
        segments.extend(rest);
        self.client.request(method, &segments).query(&[API_VERSION])
    }

    /// The path of a resource of any provider in the group.
    pub(crate) fn path(&self, provider: &str, kind: &str, name: &str) -> String {
        format!("/subscriptions/{}/resourceGroups/{}/providers/{provider}/{kind}/{name}", self.subscription, self.group)
    }

    /// All resources of one kind, page by page: of the group, or of the whole subscription.
    pub(crate) async fn all(&self, kind: &str, whole_subscription: bool) -> Result<Value, Failure> {
        let mut value = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut request = if whole_subscription {
                let segments = ["subscriptions", &self.subscription, "providers", INSIGHTS, kind];
                self.client.request(Method::GET, &segments).query(&[API_VERSION])
            } else {
                self.call(Method::GET, &[kind])
            };
            if let Some(token) = &token {
                request = request.query(&[(SKIP_TOKEN, token)]);
            }
            let mut page = self.client.json(request).await?;
            if let Value::Array(more) = page["value"].take() {
                value.extend(more);
            }
            let Some(link) = page["nextLink"].as_str() else { return Ok(json!({"value": value})) };
            // Of the link the token alone: it goes to the server that we speak to, and so does ours.
            token = reqwest::Url::parse(link)
                .ok()
                .and_then(|url| url.query_pairs().find(|(name, _)| name == SKIP_TOKEN).map(|(_, token)| token.into_owned()));
            if token.is_none() {
                return Err(Failure::Failed(format!("the list goes on at {link}, which cannot be followed")));
            }
        }
        Err(Failure::Failed(format!("the list does not end after {PAGES_MAX} pages")))
    }

    /// Sends a change.
    pub(crate) async fn begin(&self, request: RequestBuilder) -> Result<Begun, CallError> {
        let response = self.client.send(request).await?;
        // The address may be the one for others; the path is the same on the server that we speak to.
        let operation = response
            .headers()
            .get("azure-asyncoperation")
            .and_then(|value| reqwest::Url::parse(value.to_str().ok()?).ok())
            .map(|url| url.path().trim_start_matches('/').split('/').map(str::to_owned).collect());
        let resource = response.json().await.unwrap_or_default();
        Ok(Begun { resource, operation })
    }

    /// Sends a change and waits until it is done, telling so on stderr; with `no_wait`, only that it was taken on.
    pub(crate) async fn run(&self, request: RequestBuilder, what: &str, no_wait: bool) -> Result<Value, Failure> {
        let begun = self.begin(request).await?;
        if begun.operation.is_none() {
            eprintln!("strongroom: {what}: nothing to change");
        }
        self.follow(begun, what, no_wait).await
    }

    /// Waits until a change that was sent is done; with `no_wait`, only says that it was taken on. Without an operation it is done.
    pub(crate) async fn follow(&self, begun: Begun, what: &str, no_wait: bool) -> Result<Value, Failure> {
        let Some(operation) = &begun.operation else { return Ok(begun.resource) };
        if no_wait {
            eprintln!("strongroom: {what}: begun; it goes on in the server");
            return Ok(begun.resource);
        }
        self.wait(operation, what).await?;
        Ok(begun.resource)
    }

    async fn wait(&self, operation: &[String], what: &str) -> Result<(), Failure> {
        let segments: Vec<&str> = operation.iter().map(String::as_str).collect();
        let begin = Instant::now();
        let (mut tries, mut told) = (0, false);
        loop {
            let look = self.client.json(self.client.request(Method::GET, &segments).query(&[API_VERSION])).await;
            match look {
                Ok(status) => {
                    tries = 0;
                    match status["status"].as_str().unwrap_or_default() {
                        "Succeeded" => {
                            eprintln!("strongroom: {what}: done");
                            return Ok(());
                        }
                        "Failed" | "Canceled" => return Err(Failure::Refused(why(&status["error"]))),
                        other if !told => {
                            eprintln!("strongroom: {what}: {other} …");
                            told = true;
                        }
                        _ => {}
                    }
                }
                Err(error) if error.transient && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(backoff(tries, error.retry_after)).await;
                }
                Err(error) => return Err(error.failure),
            }
            if begin.elapsed() > WAIT_MAX {
                return Err(Failure::Partly(format!(
                    "{what}: not done after {} minutes; it goes on in the server",
                    WAIT_MAX.as_secs() / 60
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// An operation's error, with what its details say.
fn why(error: &Value) -> String {
    let mut text =
        format!("{}: {}", error["code"].as_str().unwrap_or("Failed"), error["message"].as_str().unwrap_or("no reason was given"));
    for detail in error["details"].as_array().into_iter().flatten() {
        for part in ["code", "message"].iter().filter_map(|name| detail[*name].as_str()) {
            text.push_str("\n  ");
            text.push_str(part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_operation_is_told_with_its_details() {
        let error = json!({"code": "KeyValidationFailed", "message": "it failed", "details": [{"code": "KeyDisabled", "message": "it is disabled"}]});
        assert_eq!(why(&error), "KeyValidationFailed: it failed\n  KeyDisabled\n  it is disabled");
        assert_eq!(why(&Value::Null), "Failed: no reason was given");
    }
}
