//! Our client against the real embedded vault: over TLS, logged in by assertion, with every way of taking a key away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_envelope::{Aek, RecordIds, WrappedAek};
use strongroom_keys::identity::ClusterIdentity;
use strongroom_keys::outbound::{Outbound, OutboundConfig};
use strongroom_keys::provider::azure::{AzureKeyVault, KeyProblem, validate};
use strongroom_keys::provider::{Answer, KekRef, KeyFacts, KeyVault, VaultError};
use strongroom_keys::state::{KeyState, Machine, Moment, StateConfig};
use strongroom_keyvault::{Vault, VaultConfig};
use strongroom_model::{AccountId, AekId, ObjectId};
use strongroom_world::sim::SimWorld;
use strongroom_world::{WallTime, World};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::conformance::{Rig, conforms};

const TOKEN: &str = "an-admins-token-of-a-test";
const API: &str = "api-version=7.4";
const ROLE: &str = "Key Vault Crypto Service Encryption User";

/// A vault with one key `payroll`, and a cluster that may use it.
struct Site {
    dir: TempDir,
    sim: SimWorld,
    address: SocketAddr,
    ca_pem: String,
    identity: Arc<ClusterIdentity>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Site {
    async fn start() -> Self {
        let sim = SimWorld::new(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        sim.clock().set_wall(WallTime(i64::try_from(now.as_nanos()).unwrap()));
        let identity = Arc::new(ClusterIdentity::generate(World::real().rng.as_ref()).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Self::serve(dir, sim, identity, listener);
        site.admin(Method::PATCH, "/vault", json!({ "enableSoftDelete": true, "enablePurgeProtection": true })).await;
        site.admin(Method::POST, &format!("/keys/payroll/create?{API}"), json!({ "kty": "RSA" })).await;
        site.register().await;
        site.grant().await;
        site
    }

    fn serve(dir: TempDir, sim: SimWorld, identity: Arc<ClusterIdentity>, listener: TcpListener) -> Self {
        let (vault, _) = Vault::open(world(&sim), VaultConfig::at(dir.path()), Some(TOKEN.to_owned())).unwrap();
        let (address, ca_pem) = (listener.local_addr().unwrap(), vault.ca_pem().to_owned());
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(vault.serve(listener, stopping));
        Self { dir, sim, address, ca_pem, identity, stop, serving }
    }

    fn outbound(&self) -> Outbound {
        let config = OutboundConfig { allow: vec![self.address.to_string()], ..OutboundConfig::default() };
        Outbound::open(&world(&self.sim), &config, &[&self.ca_pem]).unwrap()
    }

    fn client_of(&self, key: &str, version: Option<&str>, identity: &Arc<ClusterIdentity>) -> AzureKeyVault {
        let kek = KekRef::new(&format!("https://{}", self.address), key, version).unwrap();
        AzureKeyVault::new(self.outbound(), Arc::clone(identity), kek, world(&self.sim)).unwrap()
    }

    async fn validate(&self, vault: &AzureKeyVault) -> Result<KeyFacts, KeyProblem> {
        validate(vault, &world(&self.sim)).await
    }

    fn client(&self) -> AzureKeyVault {
        self.client_of("payroll", None, &self.identity)
    }

    /// A new AEK, wrapped.
    async fn wrapped(&self, vault: &AzureKeyVault) -> WrappedAek {
        let (ms, random) = World::real().id_seed();
        let aek = Aek::generate(AekId::mint(ms, random), World::real().rng.as_ref());
        let ids =
            RecordIds { cluster: ObjectId::from_bytes([1; 16]), account: AccountId::from_bytes([2; 16]), aek: aek.id(), generation: 1 };
        vault.wrap_key(&aek, &ids).await.unwrap()
    }

    async fn register(&self) {
        let body = json!({ "name": "cluster-1", "publicKeyPem": self.identity.public_key_pem().unwrap() });
        self.admin(Method::PUT, &format!("/vault/identities/{}", self.identity.principal()), body).await;
    }

    async fn grant(&self) {
        self.admin(Method::PUT, "/vault/grants", json!({ "principal": self.identity.principal(), "role": ROLE })).await;
    }

    /// What the customer does.
    async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let certificate = reqwest::Certificate::from_pem(self.ca_pem.as_bytes()).unwrap();
        // The process-wide choice of ciphers, if nobody made it yet.
        let _chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().add_root_certificate(certificate).build().unwrap();
        let mut request = http.request(method, format!("https://{}{path}", self.address)).bearer_auth(TOKEN);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
    }

    async fn change(&self, version: &str, attributes: Value) {
        self.admin(Method::PATCH, &format!("/keys/payroll/{version}?{API}"), json!({ "attributes": attributes })).await;
    }

    fn now(&self) -> i64 {
        world(&self.sim).clock.wall().unix_secs()
    }

    async fn stop(self) -> (TempDir, SimWorld, Arc<ClusterIdentity>, SocketAddr) {
        self.stop.send_replace(true);
        self.serving.await.unwrap();
        (self.dir, self.sim, self.identity, self.address)
    }
}

/// The machine's files and randomness; a clock moved by hand that starts at the machine's time.
fn world(sim: &SimWorld) -> World {
    World { clock: sim.world().clock, ..World::real() }
}

async fn ask(vault: &AzureKeyVault, record: &WrappedAek) -> Answer {
    vault.unwrap_key(record).await.map_or_else(|error| error.answer(), |_| Answer::Good)
}

#[tokio::test]
async fn a_key_is_wrapped_by_the_newest_version_and_unwrapped_by_its_own() {
    let site = Site::start().await;
    let vault = site.client();
    let facts = site.validate(&vault).await.unwrap();
    assert_eq!((facts.rsa_bits, facts.recovery_level.as_str(), facts.versions_listed), (2048, "Recoverable", true));
    let first = site.wrapped(&vault).await;
    assert_eq!((first.key_version.as_str(), first.bytes.len()), (facts.newest.as_str(), 256));
    site.admin(Method::POST, &format!("/keys/payroll/rotate?{API}"), Value::Null).await;
    let second = site.wrapped(&vault).await;
    assert_ne!(first.key_version, second.key_version);
    for record in [&first, &second] {
        let aek = vault.unwrap_key(record).await.unwrap();
        assert_eq!(aek.key_check_value(&record.ids), record.kcv);
    }
    let facts = vault.facts().await.unwrap();
    assert_eq!((&facts.used, &facts.other_enabled), (&second.key_version, &vec![first.key_version.clone()]));
    let pinned = site.client_of("payroll", Some(&first.key_version), &site.identity);
    assert_eq!(site.wrapped(&pinned).await.key_version, first.key_version);
    assert_eq!(pinned.facts().await.unwrap().newest, second.key_version);
    // The record of another generation, account or AEK is not this one.
    let mut moved = first.clone();
    moved.ids.generation += 1;
    assert!(matches!(vault.unwrap_key(&moved).await, Err(VaultError::NotAuthentic { code: "WrongCheckValue", .. })));
    let swapped = WrappedAek { bytes: second.bytes.clone(), key_version: second.key_version.clone(), ..first.clone() };
    assert!(matches!(vault.unwrap_key(&swapped).await, Err(VaultError::NotAuthentic { code: "WrongCheckValue", .. })));
    // Bytes that are nobody's.
    let garbage = WrappedAek { bytes: vec![7; 256], ..first };
    assert_eq!(ask(&vault, &garbage).await, Answer::Integrity);
}

#[tokio::test]
async fn every_way_of_taking_the_key_away_is_seen_and_so_is_its_return() {
    let site = Site::start().await;
    let vault = site.client();
    let record = site.wrapped(&vault).await;
    let version = record.key_version.clone();
    assert_eq!(ask(&vault, &record).await, Answer::Good);

    site.change(&version, json!({ "enabled": false })).await;
    assert_eq!(ask(&vault, &record).await, Answer::Denied("KeyDisabled"));
    assert_eq!(site.validate(&vault).await, Err(KeyProblem::KeyDisabled));
    site.change(&version, json!({ "enabled": true })).await;
    assert_eq!(ask(&vault, &record).await, Answer::Good);

    site.admin(Method::DELETE, &format!("/keys/payroll?{API}"), Value::Null).await;
    assert_eq!(ask(&vault, &record).await, Answer::Denied("KeyNotFound"));
    assert_eq!(site.validate(&vault).await, Err(KeyProblem::KeyNotFound));
    site.admin(Method::POST, &format!("/deletedkeys/payroll/recover?{API}"), Value::Null).await;
    assert_eq!(ask(&vault, &record).await, Answer::Good);

    let principal = site.identity.principal();
    site.admin(Method::DELETE, &format!("/vault/grants/{principal}"), Value::Null).await;
    let denied = ask(&vault, &record).await;
    assert!(matches!(denied, Answer::Denied("ForbiddenByRbac" | "AccessDenied")), "{denied:?}");
    site.grant().await;
    assert_eq!(ask(&vault, &record).await, Answer::Good);

    // Our login, not the key: nothing irreversible may come of it.
    site.admin(Method::DELETE, &format!("/vault/identities/{principal}"), Value::Null).await;
    assert_eq!(ask(&vault, &record).await, Answer::Ambiguous("InvalidClient"));
    assert_eq!(site.validate(&vault).await, Err(KeyProblem::VaultRefused { code: "InvalidClient" }));
    site.register().await;
    site.grant().await;
    assert_eq!(ask(&vault, &record).await, Answer::Good);
}

#[tokio::test]
async fn an_expired_key_unwraps_and_does_not_wrap() {
    let site = Site::start().await;
    let vault = site.client();
    let record = site.wrapped(&vault).await;
    site.change(&record.key_version, json!({ "exp": site.now() + 60 })).await;
    assert_eq!(vault.facts().await.unwrap().expires_ms, Some((site.now() + 60) * 1_000));
    site.sim.clock().advance(Duration::from_secs(61));
    let aek = vault.unwrap_key(&record).await.unwrap();
    let refused = vault.wrap_key(&aek, &record.ids).await.unwrap_err();
    assert!(matches!(refused, VaultError::Expired { code: "KeyExpired" }), "{refused:?}");
    assert_eq!(site.validate(&vault).await, Err(KeyProblem::KeyExpired));
}

#[tokio::test]
async fn each_permission_is_missed_by_its_name() {
    let site = Site::start().await;
    site.admin(Method::PATCH, "/vault", json!({ "permissionModel": "accessPolicy" })).await;
    let principal = site.identity.principal();
    for (permissions, detail) in [
        (json!(["wrapKey", "unwrapKey"]), Err("PermissionMissing(get)".to_owned())),
        (json!(["get", "unwrapKey"]), Err("PermissionMissing(wrapKey)".to_owned())),
        (json!(["get", "wrapKey"]), Err("PermissionMissing(unwrapKey)".to_owned())),
        (json!(["get", "wrapKey", "unwrapKey"]), Ok(false)),
        (json!(["get", "list", "wrapKey", "unwrapKey"]), Ok(true)),
    ] {
        site.admin(Method::PUT, "/vault/grants", json!({ "principal": principal, "permissions": permissions })).await;
        let found = site.validate(&site.client()).await;
        assert_eq!(found.map(|facts| facts.versions_listed).map_err(|problem| problem.detail()), detail, "{permissions}");
    }
}

#[tokio::test]
async fn a_key_that_could_be_lost_for_good_will_not_do() {
    let sim = SimWorld::new(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    sim.clock().set_wall(WallTime(i64::try_from(now.as_nanos()).unwrap()));
    let identity = Arc::new(ClusterIdentity::generate(World::real().rng.as_ref()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = Site::serve(tempfile::tempdir().unwrap(), sim, identity, listener);
    site.admin(Method::POST, &format!("/keys/payroll/create?{API}"), json!({ "kty": "RSA" })).await;
    site.register().await;
    site.grant().await;
    for (change, level) in [(json!({}), Some("Purgeable")), (json!({ "enableSoftDelete": true }), Some("Recoverable+Purgeable"))] {
        site.admin(Method::PATCH, "/vault", change).await;
        let problem = level.map(|level| KeyProblem::NotRecoverable { level: level.to_owned() });
        assert_eq!(site.validate(&site.client()).await.err(), problem);
    }
    site.admin(Method::PATCH, "/vault", json!({ "enablePurgeProtection": true })).await;
    site.validate(&site.client()).await.unwrap();
}

#[tokio::test]
async fn another_cluster_gets_nowhere() {
    let site = Site::start().await;
    let record = site.wrapped(&site.client()).await;
    let stranger = Arc::new(ClusterIdentity::generate(World::real().rng.as_ref()).unwrap());
    assert_eq!(ask(&site.client_of("payroll", None, &stranger), &record).await, Answer::Ambiguous("InvalidClient"));
    // Somebody who has our ids but not our key.
    let mut forged = stranger.to_secret_bytes();
    forged[1..33].copy_from_slice(&site.identity.to_secret_bytes()[1..33]);
    let forged = Arc::new(ClusterIdentity::from_secret_bytes(&forged).unwrap());
    assert_eq!(forged.principal(), site.identity.principal());
    assert_eq!(ask(&site.client_of("payroll", None, &forged), &record).await, Answer::Ambiguous("InvalidClient"));
    assert_eq!(site.validate(&site.client_of("other", None, &site.identity)).await, Err(KeyProblem::KeyNotFound));
    let missing = site.client_of("payroll", Some("00000000000000000000000000000000"), &site.identity);
    assert_eq!(site.validate(&missing).await, Err(KeyProblem::KeyNotFound));
}

#[tokio::test]
async fn a_vault_that_is_down_is_an_outage_and_its_return_is_seen() {
    let site = Site::start().await;
    let vault = site.client();
    let record = site.wrapped(&vault).await;
    assert_eq!(ask(&vault, &record).await, Answer::Good);
    vault.fresh().await;
    let (dir, sim, identity, address) = site.stop().await;
    let down = ask(&vault, &record).await;
    assert!(matches!(down, Answer::Transient("ConnectionRefused" | "ConnectionReset")), "{down:?}");
    // A second later: a vault that has just started turns away what was signed before.
    sim.clock().advance(Duration::from_secs(2));
    let listener = TcpListener::bind(address).await.unwrap();
    let _site = Site::serve(dir, sim, identity, listener);
    assert_eq!(ask(&vault, &record).await, Answer::Good);
}

/// The machine, the client and the vault together: taken away, confirmed by a fresh call, given back.
#[tokio::test]
async fn a_poller_follows_the_customers_hand() {
    use KeyState::{Active, Restoring, Revoked, Suspect};
    let site = Site::start().await;
    let vault = site.client();
    let record = site.wrapped(&vault).await;
    let world = world(&site.sim);
    let mut machine = Machine::new(StateConfig::default(), Moment::now(&world));
    let mut states = Vec::new();
    for turn in 0..8 {
        match turn {
            2 => site.change(&record.key_version, json!({ "enabled": false })).await,
            5 => site.change(&record.key_version, json!({ "enabled": true })).await,
            _ => {}
        }
        let at = machine.next_call(world.rng.as_ref());
        site.sim.clock().advance(at.since(world.clock.boot()));
        if machine.wants_fresh() {
            vault.fresh().await;
        }
        let asked = Moment::now(&world);
        let answer = ask(&vault, &record).await;
        let _step = machine.on_answer(asked, Moment::now(&world), &answer);
        states.push(machine.state());
        if machine.state() == KeyState::Restoring {
            let _step = machine.on_restored(Moment::now(&world));
        }
    }
    assert_eq!(states, [Restoring, Active, Suspect, Revoked, Revoked, Restoring, Active, Active]);
    assert!(machine.may_use(Moment::now(&world)));
}

/// The site as the suite wants it: it is stopped and started on the same directories.
struct Embedded(Option<Site>, Option<(TempDir, SimWorld, Arc<ClusterIdentity>, SocketAddr)>);

impl Embedded {
    fn site(&self) -> &Site {
        self.0.as_ref().unwrap()
    }
}

#[async_trait::async_trait]
impl Rig for Embedded {
    fn world(&self) -> World {
        world(&self.site().sim)
    }
    fn client(&self) -> Arc<dyn KeyVault> {
        Arc::new(self.site().client())
    }
    fn other(&self) -> Arc<dyn KeyVault> {
        Arc::new(self.site().client_of("other", None, &self.site().identity))
    }
    async fn rotate(&self) -> bool {
        self.site().admin(Method::POST, &format!("/keys/payroll/rotate?{API}"), Value::Null).await;
        true
    }
    async fn take_away(&self) -> bool {
        self.site().admin(Method::DELETE, &format!("/vault/grants/{}", self.site().identity.principal()), Value::Null).await;
        true
    }
    async fn give_back(&self) {
        self.site().grant().await;
    }
    async fn stop(&mut self) {
        self.1 = Some(self.0.take().unwrap().stop().await);
    }
    async fn start(&mut self) {
        let (dir, sim, identity, address) = self.1.take().unwrap();
        // A second later: a vault that has just started turns away what was signed before.
        sim.clock().advance(Duration::from_secs(2));
        let listener = TcpListener::bind(address).await.unwrap();
        self.0 = Some(Site::serve(dir, sim, identity, listener));
    }
}

#[tokio::test]
async fn the_embedded_vault_conforms() {
    let site = Site::start().await;
    site.admin(Method::POST, &format!("/keys/other/create?{API}"), json!({ "kty": "RSA" })).await;
    conforms(&mut Embedded(Some(site), None)).await;
}
