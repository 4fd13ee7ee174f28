//! `strongroom cluster register-vault`: what kind of vault, and how to log in there.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use crate::Failure;

/// Bytes of a secret in a file, at most.
const SECRET_MAX: usize = 8 << 10;

/// A kind of vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Azure Key Vault or Managed HSM, and the embedded vault
    #[default]
    Azure,
    /// The Transit engine of OpenBao or Vault
    Transit,
    /// AWS KMS
    AwsKms,
    /// A token behind a PKCS#11 module
    Pkcs11,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::Transit => "transit",
            Self::AwsKms => "aws-kms",
            Self::Pkcs11 => "pkcs11",
        }
    }
}

/// How to log in at a vault. Secrets come from files: an argument can be read by every process of the machine.
#[derive(Debug, Args)]
pub(crate) struct VaultAccess {
    /// What kind of vault it is
    #[arg(long, value_enum, default_value_t)]
    pub(crate) provider: Kind,
    /// How to log in: cluster, client-secret, managed-identity or workload-identity (azure); jwt or token (transit)
    #[arg(long, value_name = "HOW")]
    login: Option<String>,
    /// A file with the client secret (azure), token (transit), secret access key (aws-kms) or PIN (pkcs11)
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// azure: the directory of the application
    #[arg(long, value_name = "ID")]
    login_tenant: Option<String>,
    /// azure: the application, or which managed identity
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// azure: the vault is a Managed HSM
    #[arg(long)]
    hsm: bool,
    /// transit: where the engine is mounted [default: transit]
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,
    /// transit: where the JWT method is mounted [default: jwt]
    #[arg(long, value_name = "PATH")]
    login_mount: Option<String>,
    /// transit: the role that the cluster logs in to
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// transit: what the cluster's JWT is for [default: the vault's address]
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,
    /// aws-kms: the key's region
    #[arg(long, value_name = "REGION")]
    aws_region: Option<String>,
    /// aws-kms: the access key's id
    #[arg(long, value_name = "ID")]
    access_key_id: Option<String>,
    /// aws-kms: a file with the session token of temporary credentials
    #[arg(long, value_name = "FILE")]
    session_token_file: Option<PathBuf>,
}

impl VaultAccess {
    /// As a reference object takes it; null if nothing was said.
    pub(crate) fn json(self) -> Result<Value, Failure> {
        let secret = match self.provider {
            Kind::Azure => "secret",
            Kind::Transit => "token",
            Kind::AwsKms => "secretAccessKey",
            Kind::Pkcs11 => "pin",
        };
        let texts = [
            ("login", self.login),
            ("tenant", self.login_tenant),
            ("client", self.client_id),
            ("mount", self.mount),
            ("loginMount", self.login_mount),
            ("role", self.role),
            ("audience", self.audience),
            ("region", self.aws_region),
            ("accessKeyId", self.access_key_id),
            (secret, self.secret_file.as_deref().map(|path| read("--secret-file", path)).transpose()?),
            ("sessionToken", self.session_token_file.as_deref().map(|path| read("--session-token-file", path)).transpose()?),
        ];
        let mut said: Map<String, Value> =
            texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?)))).collect();
        if self.hsm {
            said.insert("hsm".to_owned(), true.into());
        }
        Ok(if said.is_empty() { Value::Null } else { said.into() })
    }
}

/// A secret's file, without the line's end.
fn read(flag: &str, path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{flag} {}: {error}", path.display())))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() || text.len() > SECRET_MAX {
        return Err(Failure::Usage(format!("{flag} {}: 1 to {SECRET_MAX} bytes are allowed", path.display())));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        access: VaultAccess,
    }

    fn said(arguments: &[&str]) -> Result<Value, String> {
        let line = Line::try_parse_from(std::iter::once(&"x").chain(arguments)).map_err(|error| error.to_string())?;
        line.access.json().map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn arguments_become_what_a_reference_object_takes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, "hush\n").unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(said(&[]), Ok(Value::Null));
        let transit = ["--provider", "transit", "--mount", "team/transit", "--role", "shop", "--login", "jwt"];
        assert_eq!(said(&transit), Ok(json!({"login": "jwt", "mount": "team/transit", "role": "shop"})));
        let token = ["--provider", "transit", "--login", "token", "--secret-file", path];
        assert_eq!(said(&token), Ok(json!({"login": "token", "token": "hush"})));
        let aws = ["--provider", "aws-kms", "--aws-region", "eu-1", "--access-key-id", "A", "--secret-file", path];
        assert_eq!(said(&aws), Ok(json!({"region": "eu-1", "accessKeyId": "A", "secretAccessKey": "hush"})));
        assert_eq!(said(&["--provider", "pkcs11", "--secret-file", path]), Ok(json!({"pin": "hush"})));
        let hsm = ["--login", "client-secret", "--login-tenant", "t", "--client-id", "c", "--secret-file", path, "--hsm"];
        assert_eq!(said(&hsm), Ok(json!({"login": "client-secret", "tenant": "t", "client": "c", "secret": "hush", "hsm": true})));
        std::fs::write(&file, "\n").unwrap();
        assert!(said(&token).unwrap_err().contains("--secret-file"));
        assert!(said(&["--provider", "gcp"]).is_err());
    }
}
