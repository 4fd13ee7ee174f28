//! PKCS#11 on SoftHSM2.
//!
//! SoftHSM reads where its tokens lie from the environment, once for a process. So the test runs itself again as a process with
//! that environment, and what is tested is in there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use strongroom_keys::provider::access::{Access, Pkcs11Token};
use strongroom_keys::provider::pkcs11::Pkcs11Vault;
use strongroom_keys::provider::{Answer, KekRef, KeyProblem, KeyVault, Provider, validate};
use strongroom_world::World;
use tempfile::TempDir;

use super::conformance::{Rig, ask, conforms, fresh_aek};

const INSTALL: &str = "SoftHSM2 is not installed; run `cargo xtask ci tools`, or `apt-get install softhsm2`";
const PIN: &str = "4711-pin";

/// The module, where distributions put it.
fn module() -> PathBuf {
    let places = ["/usr/lib/softhsm", "/usr/lib/x86_64-linux-gnu/softhsm", "/usr/lib/aarch64-linux-gnu/softhsm", "/usr/lib64/pkcs11"];
    let found = places.iter().map(|dir| Path::new(dir).join("libsofthsm2.so")).find(|path| path.exists());
    found.expect(INSTALL)
}

#[test]
fn softhsm_conforms_and_every_hand_of_its_owner_is_seen() {
    module();
    let dir = TempDir::new().unwrap();
    let (tokens, conf) = (dir.path().join("tokens"), dir.path().join("softhsm2.conf"));
    std::fs::create_dir(&tokens).unwrap();
    std::fs::write(&conf, format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display())).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "customers", "--pin", PIN, "--so-pin", "so-pin-1"])
        .env("SOFTHSM2_CONF", &conf)
        .output()
        .expect(INSTALL);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let inside = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "softhsm::inside", "--ignored", "--nocapture"])
        .env("SOFTHSM2_CONF", &conf)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&inside.stdout), String::from_utf8_lossy(&inside.stderr));
    assert!(inside.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

struct SoftHsm {
    owner: Owner,
    tokens: PathBuf,
}

/// The token's owner: a second user of the same module, in and out between our calls.
struct Owner(Pkcs11);

impl Owner {
    fn open() -> Self {
        let context = Pkcs11::new(module()).unwrap();
        drop(context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)));
        Self(context)
    }

    fn does<T>(&self, work: impl FnOnce(&Session) -> T) -> T {
        let slots = self.0.get_slots_with_initialized_token().unwrap();
        let session = self.0.open_rw_session(slots[0]).unwrap();
        session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned()))).unwrap();
        let done = work(&session);
        session.logout().unwrap();
        done
    }

    fn make(&self, label: &str, id: u8, bytes: u64, extractable: bool) {
        self.does(|session| {
            let template = [
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Label(label.as_bytes().to_vec()),
                Attribute::Id(vec![id]),
                Attribute::ValueLen(bytes.into()),
                Attribute::Sensitive(true),
                Attribute::Extractable(extractable),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
            ];
            session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
        });
    }

    fn set(&self, label: &str, attribute: &Attribute) {
        self.does(|session| {
            for key in find(session, label) {
                session.update_attributes(key, std::slice::from_ref(attribute)).unwrap();
            }
        });
    }

    fn destroy(&self, label: &str) {
        self.does(|session| find(session, label).into_iter().for_each(|key| session.destroy_object(key).unwrap()));
    }
}

fn find(session: &Session, label: &str) -> Vec<ObjectHandle> {
    let template = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(label.as_bytes().to_vec())];
    session.find_objects(&template).unwrap()
}

fn of(key: &str, version: Option<&str>, token: &str, pin: &str) -> Pkcs11Vault {
    let Access::Pkcs11(access) = Access::read(Provider::Pkcs11, Some(&format!(r#"{{"pin":"{pin}"}}"#))).unwrap() else { panic!() };
    let token = Pkcs11Token { module: module(), token: token.to_owned() };
    Pkcs11Vault::new(token, KekRef::new("pkcs11://hsm", key, version).unwrap(), access, World::real()).unwrap()
}

fn client(key: &str) -> Pkcs11Vault {
    of(key, None, "customers", PIN)
}

#[async_trait]
impl Rig for SoftHsm {
    fn world(&self) -> World {
        World::real()
    }
    fn client(&self) -> Arc<dyn KeyVault> {
        Arc::new(client("payroll"))
    }
    fn other(&self) -> Arc<dyn KeyVault> {
        Arc::new(client("other"))
    }
    async fn rotate(&self) -> bool {
        self.owner.make("payroll", 2, 32, false);
        true
    }
    async fn take_away(&self) -> bool {
        self.owner.set("payroll", &Attribute::Decrypt(false));
        true
    }
    async fn give_back(&self) {
        self.owner.set("payroll", &Attribute::Decrypt(true));
    }
    /// The token's files are out of reach, as of a device that was pulled.
    async fn stop(&mut self) {
        std::fs::rename(&self.tokens, self.tokens.with_extension("away")).unwrap();
    }
    async fn start(&mut self) {
        std::fs::rename(self.tokens.with_extension("away"), &self.tokens).unwrap();
    }
}

#[tokio::test]
#[ignore = "runs in a process of its own, started by the test above"]
async fn inside() {
    let conf = PathBuf::from(std::env::var_os("SOFTHSM2_CONF").expect("started by the test above"));
    let mut rig = SoftHsm { owner: Owner::open(), tokens: conf.with_file_name("tokens") };
    for key in ["payroll", "other", "short"] {
        rig.owner.make(key, 1, if key == "short" { 16 } else { 32 }, false);
    }
    rig.owner.make("loose", 1, 32, true);
    conforms(&mut rig).await;

    let (world, vault) = (World::real(), client("other"));
    let (aek, ids) = fresh_aek(&world);
    let record = vault.wrap_key(&aek, &ids).await.unwrap();
    assert_eq!((record.algorithm.as_str(), record.key_version.as_str(), record.bytes.len()), ("AES-256-GCM", "01", 12 + 32 + 16));

    // A PIN that was changed is our login; the right one in another's hand lets nobody else in.
    let stranger = of("other", None, "customers", "wrong-pin");
    assert_eq!(ask(&vault, &record).await, Answer::Good);
    assert_eq!(ask(&stranger, &record).await, Answer::Ambiguous("PinRefused"));
    assert_eq!(validate(&stranger, &world).await, Err(KeyProblem::VaultRefused { code: "PinRefused" }));
    assert_eq!(ask(&of("other", None, "elsewhere", PIN), &record).await, Answer::Transient("TokenNotPresent"));

    // What will not do.
    let why = async |vault: Pkcs11Vault| validate(&vault, &world).await.unwrap_err();
    assert!(matches!(why(client("short")).await, KeyProblem::NotSuitable { what } if what.contains("256 bits")));
    assert!(matches!(why(client("loose")).await, KeyProblem::NotSuitable { what } if what.contains("extracted")));
    assert_eq!(why(client("nothing")).await, KeyProblem::KeyNotFound);
    assert_eq!(why(of("payroll", Some("07"), "customers", PIN)).await, KeyProblem::KeyNotFound);
    let pinned = of("payroll", Some("01"), "customers", PIN);
    assert_eq!(pinned.wrap_key(&aek, &ids).await.unwrap().key_version, "01");

    // Many at once: each logs in for itself, none is in by another's login.
    let calls = (0..8).map(|at| {
        let record = record.clone();
        tokio::spawn(async move { ask(&of("other", None, "customers", if at % 2 == 0 { PIN } else { "wrong-pin" }), &record).await })
    });
    for (at, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        let expected = if at % 2 == 0 { Answer::Good } else { Answer::Ambiguous("PinRefused") };
        assert_eq!(call.await.unwrap(), expected, "{at}");
    }

    // Destroyed.
    rig.owner.destroy("other");
    assert_eq!(ask(&vault, &record).await, Answer::Denied("KeyNotFound"));
    let left = rig.owner.does(|session| session.get_attributes(find(session, "payroll")[0], &[AttributeType::Extractable]).unwrap());
    assert_eq!(left, [Attribute::Extractable(false)]);
}
