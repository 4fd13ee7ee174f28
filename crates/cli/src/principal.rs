//! `strongroom principal` and `strongroom subscription`: what programs log in as, what they may do where, and what they find there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Failure;
use crate::client::{Client, Target};
use crate::output::{self, Field, Format, show};
use crate::token::duration;

const AUTHORIZATION: &str = "Microsoft.Authorization";
const VERSION: (&str, &str) = ("api-version", "2022-04-01");

/// Makes service principals, gives them secrets and certificates, and says who may do what where.
#[derive(Debug, Args)]
pub(crate) struct Principal {
    #[command(flatten)]
    target: Target,
    /// How to print
    #[arg(long, short, value_enum, default_value_t, global = true)]
    output: Format,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a service with a secret, which is shown this once; and the variables that Azure's clients log in with
    Create {
        /// What to call it
        name: String,
        /// A role to give it at once
        #[arg(long)]
        role: Option<String>,
        /// Where it is to have that role, like /subscriptions/ID/resourceGroups/NAME [default: everything]
        #[arg(long, value_name = "PATH", requires = "role")]
        scope: Option<String>,
        /// A certificate (PEM) to log in with, instead of a secret
        #[arg(long, value_name = "FILE")]
        certificate: Option<PathBuf>,
        /// How long it can log in with that, like 90d [default: two years, or as long as the certificate]
        #[arg(long, value_parser = duration)]
        ttl: Option<Duration>,
    },
    /// Lists services, with what they log in with and what they may do
    List,
    /// Shows one
    Show {
        /// Its name, id or client id
        name: String,
    },
    /// Deletes one, with its rights
    Delete {
        /// Its name, id or client id
        name: String,
    },
    /// Gives a service another secret or a certificate
    Credential {
        /// The service's name, id or client id
        name: String,
        /// A certificate (PEM), instead of a secret
        #[arg(long, value_name = "FILE")]
        certificate: Option<PathBuf>,
        /// How long it works, like 90d [default: two years, or as long as the certificate]
        #[arg(long, value_parser = duration)]
        ttl: Option<Duration>,
    },
    /// Takes a secret or a certificate away
    Forget {
        /// The service's name, id or client id
        name: String,
        /// The credential's id, as `principal show` has it
        credential: String,
    },
    /// Gives a service or the holder of a token a role at a place
    Assign {
        /// A service's name, id or client id, or the id of a token
        principal: String,
        /// The role's name or id
        #[arg(long)]
        role: String,
        /// The place, / or a path like /subscriptions/ID/resourceGroups/NAME
        #[arg(long, value_name = "PATH")]
        scope: String,
    },
    /// Takes a role away again
    Unassign {
        /// The assignment's id, as `principal show` has it
        id: String,
        /// The place
        #[arg(long, value_name = "PATH")]
        scope: String,
    },
    /// Lists the roles there are
    Roles,
    /// Signs access tokens with a new key from now on
    RotateSigningKey,
}

impl Principal {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        let format = self.output;
        match self.what {
            What::Create { name, role, scope, certificate, ttl } => {
                // Whatever is wrong with the file is found before there is anything.
                let asked = asked(certificate.as_deref(), ttl)?;
                let mut new = json!({"name": name});
                for (member, value) in [("role", role), ("scope", scope)] {
                    if let Some(value) = value {
                        new[member] = value.into();
                    }
                }
                let made = client.json(client.request(Method::POST, &["v1", "services"]).json(&new)).await?;
                let id = made["id"].as_str().unwrap_or_default().to_owned();
                let given = credential(&client, &id, &asked).await.map_err(|failure| {
                    failure.after_some(&format!(
                        "the service {name} is made ({id}); give it a credential by strongroom principal credential {name}"
                    ))
                })?;
                let mut told = made;
                told["credential"] = given;
                match format {
                    Format::Json => output::print_json(&told),
                    Format::Table => output::print(&variables(&told)),
                }
            }
            What::List => show(format, &client.json(client.request(Method::GET, &["v1", "services"])).await?, FIELDS),
            What::Show { name } => {
                let shown = client.json(client.request(Method::GET, &["v1", "services", &name])).await?;
                output::print_json(&shown)
            }
            What::Delete { name } => {
                client.json(client.request(Method::DELETE, &["v1", "services", &name])).await?;
                Ok(())
            }
            What::Credential { name, certificate, ttl } => {
                let given = credential(&client, &name, &asked(certificate.as_deref(), ttl)?).await?;
                match (format, given["secret"].as_str()) {
                    (Format::Table, Some(secret)) => output::print(secret),
                    (Format::Table, None) => output::print(given["id"].as_str().unwrap_or_default()),
                    (Format::Json, _) => output::print_json(&given),
                }
            }
            What::Forget { name, credential } => {
                client.json(client.request(Method::DELETE, &["v1", "services", &name, "credentials", &credential])).await?;
                Ok(())
            }
            What::Assign { principal, role, scope } => {
                let id = match client.json(client.request(Method::GET, &["v1", "services", &principal])).await {
                    Ok(found) => found["id"].as_str().unwrap_or_default().to_owned(),
                    // No service: the id of whoever else it is.
                    Err(error) if error.status == Some(StatusCode::NOT_FOUND) => principal,
                    Err(error) => return Err(error.into()),
                };
                let body = json!({"properties": {"roleDefinitionId": role, "principalId": id}});
                let name = guid();
                let put = at(&client, Method::PUT, &scope, &name).json(&body);
                let made = client.json(put).await?;
                match format {
                    Format::Json => output::print_json(&made),
                    Format::Table => output::print(&name),
                }
            }
            What::Unassign { id, scope } => {
                client.send(at(&client, Method::DELETE, &scope, &id)).await?;
                Ok(())
            }
            What::Roles => {
                let roles = client.json(client.request(Method::GET, &["v1", "roles"])).await?;
                show(format, &roles, ROLES)
            }
            What::RotateSigningKey => {
                let keys = client.json(client.request(Method::POST, &["v1", "signing-keys"])).await?;
                output::print_json(&keys)
            }
        }
    }
}

fn guid() -> String {
    let hex = hex::encode(rand::random::<[u8; 16]>());
    // RFC 9562 §5.4: version 4, variant 10.
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

fn at(client: &Client, method: Method, scope: &str, id: &str) -> reqwest::RequestBuilder {
    let mut steps: Vec<&str> = scope.split('/').filter(|step| !step.is_empty()).collect();
    steps.extend(["providers", AUTHORIZATION, "roleAssignments", id]);
    client.request(method, &steps).query(&[VERSION])
}

/// What is asked of a credential: a certificate, or else a secret; and for how long.
fn asked(certificate: Option<&Path>, ttl: Option<Duration>) -> Result<Value, Failure> {
    let mut new = json!({});
    if let Some(path) = certificate {
        let pem = std::fs::read_to_string(path).map_err(|error| Failure::Failed(format!("--certificate {}: {error}", path.display())))?;
        // The private key, which such files often hold too, stays here.
        let begin = pem.find("-----BEGIN CERTIFICATE-----");
        let end = pem.find("-----END CERTIFICATE-----").map(|at| at + "-----END CERTIFICATE-----".len());
        let Some(certificate) = begin.zip(end).filter(|(begin, end)| begin < end).and_then(|(begin, end)| pem.get(begin..end)) else {
            return Err(Failure::Usage(format!("--certificate {}: no certificate in PEM", path.display())));
        };
        new["certificatePem"] = certificate.into();
    }
    if let Some(ttl) = ttl {
        new["ttlSeconds"] = ttl.as_secs().into();
    }
    Ok(new)
}

async fn credential(client: &Client, service: &str, asked: &Value) -> Result<Value, Failure> {
    Ok(client.json(client.request(Method::POST, &["v1", "services", service, "credentials"]).json(asked)).await?)
}

/// What Azure's clients read from the environment.
fn variables(made: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("AZURE_CLIENT_ID={}", text(&made["clientId"])), format!("AZURE_TENANT_ID={}", text(&made["tenantId"]))];
    if let Some(secret) = made["credential"]["secret"].as_str() {
        lines.push(format!("AZURE_CLIENT_SECRET={secret}"));
    }
    lines.join("\n")
}

const FIELDS: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("Client id", |row| row["clientId"].clone()),
    Field("Id", |row| row["id"].clone()),
    Field("Credentials", |row| row["credentials"].as_array().map_or(0, Vec::len).into()),
    Field("Roles", |row| {
        let held = row["roleAssignments"].as_array().map(Vec::as_slice).unwrap_or_default();
        let told: Vec<String> = held
            .iter()
            .map(|right| format!("{} at {}", right["role"].as_str().unwrap_or_default(), right["scope"].as_str().unwrap_or_default()))
            .collect();
        told.join(", ").into()
    }),
];

const ROLES: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("Id", |row| row["id"].clone()),
    Field("What it is for", |row| row["description"].clone()),
];

/// Names subscriptions, as Azure's clients list and select them.
#[derive(Debug, Args)]
pub(crate) struct Subscription {
    #[command(flatten)]
    target: Target,
    /// How to print
    #[arg(long, short, value_enum, default_value_t, global = true)]
    output: Format,
    #[command(subcommand)]
    what: SubscriptionWhat,
}

#[derive(Debug, Subcommand)]
enum SubscriptionWhat {
    /// Makes a subscription, or names one that is there because resources lie in it
    Create {
        /// Its name
        name: String,
        /// Its id, a GUID [default: a new one]
        #[arg(long)]
        id: Option<String>,
        /// Its tenant [default: the server's own]
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Lists those that this token may know of
    List,
    /// Forgets the name of one; what lies in it stays
    Delete {
        /// Its id
        id: String,
    },
}

impl Subscription {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        match self.what {
            SubscriptionWhat::Create { name, id, tenant } => {
                let id = id.unwrap_or_else(guid);
                let body = json!({"name": name, "tenantId": tenant.unwrap_or_default()});
                let made = client.json(client.request(Method::PUT, &["v1", "subscriptions", &id]).json(&body)).await?;
                match self.output {
                    Format::Json => output::print_json(&made),
                    Format::Table => output::print(&id),
                }
            }
            SubscriptionWhat::List => {
                let all = client.json(client.request(Method::GET, &["v1", "subscriptions"])).await?;
                show(self.output, &all, SUBSCRIPTIONS)
            }
            SubscriptionWhat::Delete { id } => {
                client.json(client.request(Method::DELETE, &["v1", "subscriptions", &id])).await?;
                Ok(())
            }
        }
    }
}

const SUBSCRIPTIONS: &[Field] =
    &[Field("Name", |row| row["name"].clone()), Field("Id", |row| row["id"].clone()), Field("Tenant", |row| row["tenantId"].clone())];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_read_without_the_key_beside_it_and_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("both.pem");
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
        std::fs::write(&path, format!("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n{certificate}\n")).unwrap();
        assert_eq!(asked(Some(&path), None).unwrap(), json!({"certificatePem": certificate}));
        assert_eq!(asked(None, Some(Duration::from_secs(5))).unwrap(), json!({"ttlSeconds": 5}));
        for wrong in ["", "-----END CERTIFICATE----------BEGIN CERTIFICATE-----"] {
            std::fs::write(&path, wrong).unwrap();
            assert!(matches!(asked(Some(&path), None), Err(Failure::Usage(_))), "{wrong}");
        }
        assert!(asked(Some(&dir.path().join("absent.pem")), None).is_err());
    }

    #[test]
    fn an_assignment_is_named_by_a_random_guid() {
        let (one, other) = (guid(), guid());
        assert_ne!(one, other);
        assert_eq!((one.len(), one.as_bytes()[14], one.as_bytes()[19]), (36, b'4', b'a'));
        assert!(one.split('-').map(str::len).eq([8, 4, 4, 4, 12]), "{one}");
    }
}
