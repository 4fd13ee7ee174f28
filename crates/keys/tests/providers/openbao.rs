//! Transit on a real OpenBao server, logged in to with the cluster's own JWT.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use strongroom_keys::identity::ClusterIdentity;
use strongroom_keys::outbound::{Outbound, OutboundConfig};
use strongroom_keys::provider::access::Access;
use strongroom_keys::provider::transit::TransitVault;
use strongroom_keys::provider::{Answer, KekRef, KeyProblem, KeyVault, Provider, validate};
use strongroom_world::World;

use super::bao::OpenBao;
use super::conformance::{Rig, ask, conforms, fresh_aek};

const ROLE: &str = r#"{"login":"jwt","role":"shop"}"#;

struct Transit {
    server: OpenBao,
    identity: Arc<ClusterIdentity>,
}

impl Transit {
    fn start() -> Self {
        let (server, identity) = (OpenBao::start(), Arc::new(ClusterIdentity::generate(World::real().rng.as_ref()).unwrap()));
        for key in ["payroll", "other"] {
            server.admin("POST", &format!("transit/keys/{key}"), json!({"type": "aes256-gcm96"}));
        }
        server.let_in("shop", &identity.principal().to_string(), &[identity.public_key_pem().unwrap()], &server.uri());
        server.grant("shop", &["payroll", "other", "gone"]);
        Self { server, identity }
    }

    fn of(&self, key: &str, version: Option<&str>, access: &str) -> TransitVault {
        self.as_whom(&self.identity, key, version, access)
    }

    fn as_whom(&self, identity: &Arc<ClusterIdentity>, key: &str, version: Option<&str>, access: &str) -> TransitVault {
        let config = OutboundConfig { allow: vec![self.server.address().to_string()], ..OutboundConfig::default() };
        let outbound = Outbound::open(&World::real(), &config, &[self.server.ca_pem()]).unwrap();
        let Access::Transit(access) = Access::read(Provider::Transit, Some(access)).unwrap() else { panic!() };
        let kek = KekRef::new(&self.server.uri(), key, version).unwrap();
        TransitVault::new(outbound, Arc::clone(identity), kek, access, World::real()).unwrap()
    }
}

#[async_trait]
impl Rig for Transit {
    fn world(&self) -> World {
        World::real()
    }
    fn client(&self) -> Arc<dyn KeyVault> {
        Arc::new(self.of("payroll", None, ROLE))
    }
    fn other(&self) -> Arc<dyn KeyVault> {
        Arc::new(self.of("other", None, ROLE))
    }
    async fn rotate(&self) -> bool {
        self.server.admin("POST", "transit/keys/payroll/rotate", Value::Null);
        true
    }
    async fn take_away(&self) -> bool {
        self.server.withdraw("shop");
        true
    }
    async fn give_back(&self) {
        self.server.grant("shop", &["payroll", "other", "gone"]);
    }
    async fn stop(&mut self) {
        self.server.stop();
    }
    async fn start(&mut self) {
        self.server.restart();
    }
}

/// One server for all of it: a start costs seconds.
#[tokio::test]
async fn a_real_openbao_conforms_and_every_hand_of_its_owner_is_seen() {
    let mut rig = Transit::start();
    conforms(&mut rig).await;
    every_hand_of_its_owner_is_seen(&rig).await;
    a_token_that_ends_is_ours_and_not_the_keys(&rig).await;
    what_will_not_do_says_why(&rig).await;
    a_sealed_server_denies_nothing(&mut rig).await;
}

async fn every_hand_of_its_owner_is_seen(rig: &Transit) {
    let server = &rig.server;
    let vault = rig.of("payroll", None, ROLE);
    let (aek, ids) = fresh_aek(&World::real());
    let record = vault.wrap_key(&aek, &ids).await.unwrap();

    // Set aside and brought back: the engine's own word for disabling.
    server.admin("DELETE", "transit/keys/payroll/soft-delete", Value::Null);
    assert_eq!(ask(&vault, &record).await, Answer::Denied("KeyDisabled"));
    assert_eq!(validate(&vault, &World::real()).await, Err(KeyProblem::KeyDisabled));
    server.admin("POST", "transit/keys/payroll/soft-delete-restore", Value::Null);
    assert_eq!(ask(&vault, &record).await, Answer::Good);

    // Old versions withdrawn.
    server.admin("POST", "transit/keys/payroll/rotate", Value::Null);
    let newest: u64 = vault.newest().await.unwrap().parse().unwrap();
    server.admin("POST", "transit/keys/payroll/config", json!({"min_decryption_version": newest}));
    assert_eq!(ask(&vault, &record).await, Answer::Denied("VersionTooOld"));
    let pinned = rig.of("payroll", Some(&record.key_version), ROLE);
    assert_eq!(validate(&pinned, &World::real()).await, Err(KeyProblem::KeyDisabled));
    assert!(matches!(pinned.wrap_key(&aek, &ids).await.unwrap_err().answer(), Answer::Denied(_)));
    server.admin("POST", "transit/keys/payroll/config", json!({"min_decryption_version": 1}));
    assert_eq!(ask(&vault, &record).await, Answer::Good);
    assert_eq!(pinned.wrap_key(&aek, &ids).await.unwrap().key_version, record.key_version, "a pinned version wraps");

    // Deleted.
    server.admin("POST", "transit/keys/gone", json!({"type": "chacha20-poly1305"}));
    let gone = rig.of("gone", None, ROLE);
    let lost = gone.wrap_key(&aek, &ids).await.unwrap();
    server.admin("POST", "transit/keys/gone/config", json!({"deletion_allowed": true}));
    assert!(matches!(validate(&gone, &World::real()).await, Err(KeyProblem::NotRecoverable { .. })));
    server.admin("DELETE", "transit/keys/gone", Value::Null);
    assert_eq!(ask(&gone, &lost).await, Answer::Denied("KeyNotFound"));
    assert_eq!(validate(&gone, &World::real()).await, Err(KeyProblem::KeyNotFound));
    // As its owner the server would make the key anew when it is asked to encrypt; we ask for the key first.
    let owner = gone.wrap_key(&aek, &ids).await.unwrap_err();
    assert_eq!(owner.answer(), Answer::Denied("KeyNotFound"));
    assert_eq!(server.call("GET", "transit/keys/gone", Value::Null).0, 404, "no key came about by wrapping");
}

async fn a_token_that_ends_is_ours_and_not_the_keys(rig: &Transit) {
    let server = &rig.server;
    let made = server.admin("POST", "auth/token/create", json!({"policies": ["shop"], "ttl": "1h"}));
    let token = made["auth"]["client_token"].as_str().unwrap();
    let vault = rig.of("payroll", None, &format!(r#"{{"login":"token","token":"{token}"}}"#));
    let (aek, ids) = fresh_aek(&World::real());
    let record = vault.wrap_key(&aek, &ids).await.unwrap();
    server.admin("POST", "auth/token/revoke", json!({"token": token}));
    assert_eq!(ask(&vault, &record).await, Answer::Ambiguous("TokenRefused"));
    assert_eq!(validate(&vault, &World::real()).await, Err(KeyProblem::VaultRefused { code: "TokenRefused" }));

    // A cluster that logs in for itself does so again.
    let own = rig.of("payroll", None, ROLE);
    assert_eq!(ask(&own, &record).await, Answer::Good);
    server.admin("PUT", "sys/leases/revoke-prefix/auth/jwt", Value::Null);
    assert_eq!(ask(&own, &record).await, Answer::Good);

    // Nor is a login that is refused a denial of the key.
    let nobody = rig.of("payroll", None, r#"{"login":"jwt","role":"nobody"}"#);
    assert_eq!(ask(&nobody, &record).await, Answer::Ambiguous("LoginRoleNotFound"));
    let elsewhere = rig.of("payroll", None, r#"{"login":"jwt","role":"shop","loginMount":"elsewhere"}"#);
    assert_eq!(ask(&elsewhere, &record).await, Answer::Ambiguous("LoginRefused"));
    let audience = rig.of("payroll", None, r#"{"login":"jwt","role":"shop","audience":"somebody-else"}"#);
    assert_eq!(ask(&audience, &record).await, Answer::Ambiguous("LoginRefused"));
    let stranger = Arc::new(ClusterIdentity::generate(World::real().rng.as_ref()).unwrap());
    assert_eq!(ask(&rig.as_whom(&stranger, "payroll", None, ROLE), &record).await, Answer::Ambiguous("LoginRefused"));
}

async fn what_will_not_do_says_why(rig: &Transit) {
    let server = &rig.server;
    for (body, what) in [
        (json!({"type": "rsa-4096"}), "type"),
        (json!({"type": "aes256-gcm96", "exportable": true}), "exported"),
        (json!({"type": "aes256-gcm96", "derived": true}), "derived"),
    ] {
        server.admin("POST", "transit/keys/other2", body);
        server.grant("shop", &["payroll", "other", "gone", "other2"]);
        let refused = validate(&rig.of("other2", None, ROLE), &World::real()).await.unwrap_err();
        assert!(matches!(&refused, KeyProblem::NotSuitable { what: found } if found.contains(what)), "{what}: {refused:?}");
        server.admin("POST", "transit/keys/other2/config", json!({"deletion_allowed": true}));
        server.admin("DELETE", "transit/keys/other2", Value::Null);
    }
    for version in ["0", "99", "newest"] {
        assert_eq!(validate(&rig.of("payroll", Some(version), ROLE), &World::real()).await, Err(KeyProblem::KeyNotFound), "{version}");
    }
    let elsewhere = rig.of("payroll", None, r#"{"role":"shop","mount":"elsewhere"}"#);
    assert_eq!(elsewhere.facts().await.unwrap_err().answer(), Answer::Denied("PermissionDenied"));
}

async fn a_sealed_server_denies_nothing(rig: &mut Transit) {
    let vault = rig.of("payroll", None, ROLE);
    let (aek, ids) = fresh_aek(&World::real());
    let record = vault.wrap_key(&aek, &ids).await.unwrap();
    rig.server.seal();
    assert_eq!(ask(&vault, &record).await, Answer::Transient("Status503"));
    vault.fresh().await;
    assert_eq!(ask(&vault, &record).await, Answer::Transient("Status503"), "nor does its login");
    rig.server.unseal();
    assert_eq!(ask(&vault, &record).await, Answer::Good);
}
