//! The same load under each kind of keys: the provider's, the customer's, the customer's with everything sealed twice.
//!
//! What it needs it makes over HTTP, as a customer would, and finds again the next time. The rows are the same for each
//! kind; questions come after a flush, one at a time, and the first round is not counted.

use clap::ValueEnum;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Generator, Load, questions};
use crate::Failure;
use crate::arm::Arm;
use crate::client::Client;
use crate::output::{self, Field, Format};
use crate::vault::VaultClient;

const KEY: &str = "load-key";
const VAULT: &str = "load-vault";
const ROLE: &str = "Key Vault Crypto Service Encryption User";
/// Every question is asked so often.
const ROUNDS: usize = 5;

/// Whose keys data is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Keys {
    /// The provider's: a workspace that is not linked
    Mmk,
    /// The customer's: a cluster without double encryption
    Cmk,
    /// The customer's, and everything sealed a second time: a cluster as it is by default
    CmkDouble,
}

impl Keys {
    const fn name(self) -> &'static str {
        match self {
            Self::Mmk => "load-mmk",
            Self::Cmk => "load-cmk",
            Self::CmkDouble => "load-cmk-double",
        }
    }

    const fn told(self) -> &'static str {
        match self {
            Self::Mmk => "MMK",
            Self::Cmk => "CMK",
            Self::CmkDouble => "CMK, double encryption",
        }
    }
}

/// Both sides, as their administrators.
struct Desk {
    client: Client,
    arm: Arm,
    region: String,
    vault: VaultClient,
    ca_pem: String,
}

pub(super) async fn compare(load: &Load, client: &Client) -> Result<(), Failure> {
    let mut desk = None;
    let mut results = Vec::new();
    for keys in &load.keys {
        let name = keys.name();
        if find(client, &["v1", "workspaces", name]).await?.is_none() {
            client.json(client.request(Method::POST, &["v1", "workspaces"]).json(&json!({"name": name}))).await?;
        }
        if *keys != Keys::Mmk {
            let desk = match &mut desk {
                Some(desk) => desk,
                none => none.insert(Desk::open(load, client).await?),
            };
            desk.put_under_a_key(name, *keys == Keys::CmkDouble).await?;
        }
        eprintln!("strongroom: {}: sending rows", keys.told());
        let (run, outcome) = load.load(client.clone(), name.to_owned()).await;
        run.figures.verdict(outcome)?;
        client.json(client.request(Method::POST, &["v1", "workspaces", name, "flush"])).await?;
        let mut generator = Generator::new(load.seed, &load.time_field);
        questions::rounds(&run, 1, &mut generator).await?;
        run.figures.forget_answers();
        questions::rounds(&run, ROUNDS, &mut generator).await?;
        let mut result = run.figures.as_json();
        result["keys"] = keys.told().into();
        result["workspace"] = name.into();
        results.push(result);
    }
    let results = json!({"value": results});
    match load.output {
        Format::Json => output::print_json(&results),
        Format::Table => output::print(&output::objects(&results, FIELDS)),
    }
}

impl Desk {
    async fn open(load: &Load, client: &Client) -> Result<Self, Failure> {
        let home = client.json(client.request(Method::GET, &["v1", "workspaces", Keys::Mmk.name()])).await;
        let home = match home {
            Ok(home) => home,
            // Any workspace tells where this server's resources lie.
            Err(_) => client.json(client.request(Method::GET, &["v1", "workspaces"])).await?["value"][0].clone(),
        };
        let part = |member: &str| home[member].as_str().unwrap_or_default().to_owned();
        let desk = Self {
            client: client.clone(),
            arm: Arm::at(client.clone(), part("subscription"), part("resourceGroup")),
            region: part("region"),
            vault: load.vault.client()?,
            ca_pem: load.vault.ca_pem()?,
        };
        desk.prepare_vault().await?;
        Ok(desk)
    }

    async fn prepare_vault(&self) -> Result<(), Failure> {
        let properties = self.vault.manage(Method::GET, &[], None).await?;
        if properties["enableSoftDelete"] != true || properties["enablePurgeProtection"] != true {
            let both = json!({"enableSoftDelete": true, "enablePurgeProtection": true});
            self.vault.manage(Method::PATCH, &[], Some(&both)).await?;
        }
        let all = self.vault.all(&["keys"]).await?;
        let end = format!("/keys/{KEY}");
        let there = all["value"].as_array().into_iter().flatten().any(|key| key["kid"].as_str().is_some_and(|kid| kid.ends_with(&end)));
        if !there {
            let new = json!({"kty": "RSA", "key_size": 2048, "attributes": {"enabled": true}});
            self.vault.keys(Method::POST, &["keys", KEY, "create"], Some(&new)).await?;
        }
        let body = json!({"location": self.region, "properties": {
            "tenantId": "00000000-0000-0000-0000-000000000000", "vaultUri": self.vault.uri, "caPem": self.ca_pem}});
        let known = self.arm.client.json(self.arm.provider(Method::GET, "Microsoft.KeyVault", &["vaults"])).await?;
        let uri = |vault: &Value| vault["properties"]["vaultUri"].as_str().map(|uri| uri.trim_end_matches('/').to_owned());
        if !known["value"].as_array().into_iter().flatten().any(|vault| uri(vault).as_ref() == Some(&self.vault.uri)) {
            self.client.json(self.arm.provider(Method::PUT, "Microsoft.KeyVault", &["vaults", VAULT]).json(&body)).await?;
        }
        Ok(())
    }

    /// A cluster of that name with the vault's key, and the workspace of that name linked to it.
    async fn put_under_a_key(&self, name: &str, double: bool) -> Result<(), Failure> {
        if find(&self.client, &["v1", "clusters", name]).await?.is_none() {
            let new = json!({"location": self.region, "identity": {"type": "SystemAssigned"}, "sku": {"name": "CapacityReservation", "capacity": 100},
                "properties": {"isDoubleEncryptionEnabled": double}});
            self.arm.run(self.arm.call(Method::PUT, &["clusters", name]).json(&new), &format!("cluster {name}"), false).await?;
        }
        let cluster = self.client.json(self.arm.call(Method::GET, &["clusters", name])).await?;
        let principal = cluster["identity"]["principalId"].as_str().unwrap_or_default();
        let identity = json!({"name": name, "publicKeyPem": cluster["properties"]["identityPublicKey"]});
        self.vault.manage(Method::PUT, &["identities", principal], Some(&identity)).await?;
        let rbac = self.vault.manage(Method::GET, &[], None).await?["permissionModel"] == "rbac";
        let grant = if rbac {
            json!({"principal": principal, "role": ROLE})
        } else {
            json!({"principal": principal, "permissions": ["get", "wrapKey", "unwrapKey"]})
        };
        self.vault.manage(Method::PUT, &["grants"], Some(&grant)).await?;
        if cluster["properties"]["keyVaultProperties"]["keyName"] != KEY {
            let key = json!({"keyVaultUri": self.vault.uri, "keyName": KEY, "keyVersion": ""});
            let request = self.arm.call(Method::PATCH, &["clusters", name]).json(&json!({"properties": {"keyVaultProperties": key}}));
            self.arm.run(request, &format!("key of cluster {name}"), false).await?;
        }
        let workspace = self.client.json(self.client.request(Method::GET, &["v1", "workspaces", name])).await?;
        if workspace["cluster"].is_null() {
            let body = json!({"properties": {"writeAccessResourceId": cluster["id"]}});
            let request = self.arm.call(Method::PUT, &["workspaces", name, "linkedServices", "cluster"]).json(&body);
            self.arm.run(request, &format!("link of {name}"), false).await?;
        }
        Ok(())
    }
}

/// What is at a path, if anything is.
async fn find(client: &Client, segments: &[&str]) -> Result<Option<Value>, Failure> {
    match client.json(client.request(Method::GET, segments)).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.status == Some(StatusCode::NOT_FOUND) => Ok(None),
        Err(error) => Err(error.failure),
    }
}

fn rate(row: &Value) -> Value {
    row["bytesPerSecond"].as_u64().map_or(Value::Null, |bytes| format!("{}/s", output::size(bytes)).into())
}

const FIELDS: &[Field] = &[
    Field("Keys", |row| row["keys"].clone()),
    Field("Rows", |row| row["rows"].clone()),
    Field("Ingest", rate),
    Field("Rows/s", |row| row["rowsPerSecond"].clone()),
    Field("Ack p50 ms", |row| row["ackP50Ms"].clone()),
    Field("Ack p99 ms", |row| row["ackP99Ms"].clone()),
    Field("Queries", |row| row["queries"].clone()),
    Field("Query p50 ms", |row| row["queryP50Ms"].clone()),
    Field("Query p99 ms", |row| row["queryP99Ms"].clone()),
];
