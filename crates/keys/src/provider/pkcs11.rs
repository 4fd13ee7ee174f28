//! A token behind a PKCS#11 module: an HSM, or SoftHSM.
//!
//! The key is an AES-256 key that cannot be extracted; we have 32 bytes encrypted by AES-GCM with the ids of their record as
//! associated data. Which module that is, and which of its tokens, the operator's configuration says and nobody else: a module
//! runs in our process. RSA-OAEP is not offered: some tokens, SoftHSM among them, know it with SHA-1 only, which is refused here.
//! A version is the key's `CKA_ID` in hexadecimal; keys of one `CKA_LABEL` are versions of one key, the highest id the newest.
//!
//! A login holds for a process, not for a session: whoever comes next would be in without a PIN. So a module is used by one call
//! at a time, from login to logout. Calls are made on a blocking thread. Start at [`Pkcs11Vault`].

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use parking_lot::Mutex;
use strongroom_envelope::{Aek, RecordIds, WrappedAek};
use strongroom_model::{AekId, KeyClass};
use strongroom_world::World;
use zeroize::Zeroizing;

use super::access::{Pkcs11Access, Pkcs11Token};
use super::call::{MALFORMED, belongs, bound_to, failure, in_time, key_of, record};
use super::classify::pkcs11::{KEY_WORKS, NO_KEY};
use super::classify::{Asked, Said, classify};
use super::{KekRef, KeyFacts, KeyVault, Provider, VaultError};

const PROVIDER: Provider = Provider::Pkcs11;
const ALGORITHM: &str = "AES-256-GCM";
const NONCE: usize = 12;
const TAG_BITS: u64 = 128;
/// Versions of a key at most.
const VERSIONS_MAX: usize = 256;

/// Loaded modules, by path. A module is initialised once for a process. One call at a time has it, from login to logout.
static MODULES: LazyLock<Mutex<HashMap<PathBuf, Arc<Mutex<Pkcs11>>>>> = LazyLock::new(Mutex::default);

/// A client of one key on a token.
pub struct Pkcs11Vault {
    call: Arc<Calls>,
    kek: KekRef,
    world: World,
    call_timeout: Duration,
}

/// What a call needs on its thread.
struct Calls {
    token: Pkcs11Token,
    access: Pkcs11Access,
    label: Vec<u8>,
    /// How long to wait for another call to end.
    patience: Duration,
}

/// A key that was found.
struct Found {
    handle: ObjectHandle,
    id: Vec<u8>,
}

/// Why a call came to nothing, on its thread.
enum Failed {
    /// With these codes.
    Said(Asked, &'static str, Option<&'static str>),
    /// Before anything could be asked.
    Early(&'static str),
}

type Done<T> = Result<T, Failed>;

impl Pkcs11Vault {
    /// A client with 5 seconds for a call.
    ///
    /// # Errors
    /// [`KekRefError`](super::KekRefError) for an address that is no key's.
    pub fn new(token: Pkcs11Token, kek: KekRef, access: Pkcs11Access, world: World) -> Result<Self, super::KekRefError> {
        kek.check()?;
        let call_timeout = Duration::from_secs(5);
        let call = Calls { token, access, label: kek.key_name.clone().into_bytes(), patience: call_timeout };
        Ok(Self { call: Arc::new(call), kek, world, call_timeout })
    }

    /// With other time for a call, its login included. What waits for its turn longer than 5 seconds gives up its thread.
    #[must_use]
    pub fn with_call_timeout(self, call_timeout: Duration) -> Self {
        Self { call_timeout, ..self }
    }

    async fn wrap(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError> {
        let mut nonce = [0; NONCE];
        self.world.rng.fill(&mut nonce);
        let (bound, version) = (bound_to(ids), self.pinned()?);
        let plain = aek.expose(|bytes| Zeroizing::new(bytes.to_vec()));
        let (bytes, id) = self
            .on_thread(aek.id(), move |calls| {
                calls.with_key(Asked::Wrap, version.as_deref(), |session, found| {
                    let sealed = seal(session, found.handle, nonce, &bound, &plain).map_err(|error| said(Asked::Wrap, &error))?;
                    Ok(([&nonce[..], &sealed].concat(), found.id.clone()))
                })
            })
            .await?;
        record(aek, ids, PROVIDER, &self.kek, hex(&id), ALGORITHM, bytes)
    }

    async fn unwrap(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError> {
        belongs(wrapped, PROVIDER, &self.kek, ALGORITHM)?;
        let wrong = |code| VaultError::NotAuthentic { aek: wrapped.ids.aek, code, source: None };
        let id = unhex(&wrapped.key_version).ok_or_else(|| wrong("WrongVersion"))?;
        let (nonce, sealed) = wrapped.bytes.split_first_chunk::<NONCE>().ok_or_else(|| wrong("WrongLength"))?;
        let (nonce, sealed, bound) = (*nonce, sealed.to_vec(), bound_to(&wrapped.ids));
        let mut probe = [0; NONCE];
        self.world.rng.fill(&mut probe);
        let plain = self
            .on_thread(wrapped.ids.aek, move |calls| {
                calls.with_key(Asked::Unwrap, Some(&id), |session, found| {
                    open(session, found.handle, nonce, &bound, &sealed).map_err(|error| {
                        let Failed::Said(asked, code, _) = said(Asked::Unwrap, &error) else { return said(Asked::Unwrap, &error) };
                        let general = matches!(code, "CKR_GENERAL_ERROR" | "CKR_FUNCTION_FAILED");
                        Failed::Said(asked, code, (general && works(session, found.handle, probe)).then_some(KEY_WORKS))
                    })
                })
            })
            .await?;
        key_of(wrapped, &plain)
    }

    async fn read_facts(&self) -> Result<KeyFacts, VaultError> {
        let version = self.pinned()?;
        self.on_thread(AekId::NIL, move |calls| {
            calls.with_session(|session| {
                let all = calls.keys(session, Asked::Get)?;
                let newest = all.last().ok_or(Failed::Said(Asked::Get, NO_KEY, None))?;
                let used = match &version {
                    Some(id) => all.iter().find(|found| found.id == *id).ok_or(Failed::Said(Asked::Get, NO_KEY, None))?,
                    None => newest,
                };
                let wanted = [
                    AttributeType::ValueLen,
                    AttributeType::Encrypt,
                    AttributeType::Decrypt,
                    AttributeType::Extractable,
                    AttributeType::Sensitive,
                ];
                let attributes = session.get_attributes(used.handle, &wanted).map_err(|error| said(Asked::Get, &error))?;
                let has = |attribute: &Attribute| attributes.contains(attribute);
                let long = has(&Attribute::ValueLen(32.into()));
                let unfit = if !long {
                    Some("it is not an AES key of 256 bits")
                } else if !has(&Attribute::Extractable(false)) || !has(&Attribute::Sensitive(true)) {
                    Some("it can be extracted: CKA_EXTRACTABLE must be false and CKA_SENSITIVE true")
                } else {
                    None
                };
                Ok(KeyFacts {
                    newest: hex(&newest.id),
                    used: hex(&used.id),
                    key_type: if long { "AES-256" } else { "AES" }.to_owned(),
                    rsa_bits: 0,
                    unfit: unfit.map(str::to_owned),
                    enabled: has(&Attribute::Encrypt(true)) && has(&Attribute::Decrypt(true)),
                    not_before_ms: None,
                    expires_ms: None,
                    // A token has no notion of it: what is destroyed is gone.
                    recovery_level: "Recoverable".to_owned(),
                    newer_enabled: all.iter().skip_while(|found| found.id != used.id).skip(1).map(|found| hex(&found.id)).collect(),
                    other_enabled: all.iter().filter(|found| found.id != used.id).map(|found| hex(&found.id)).collect(),
                    versions_listed: true,
                })
            })
        })
        .await
    }

    async fn read_newest(&self) -> Result<String, VaultError> {
        let newest = self.on_thread(AekId::NIL, |calls| {
            calls.with_session(|session| {
                let all = calls.keys(session, Asked::Get)?;
                all.last().map(|found| hex(&found.id)).ok_or(Failed::Said(Asked::Get, NO_KEY, None))
            })
        });
        newest.await
    }

    /// The `CKA_ID` of the pinned version.
    fn pinned(&self) -> Result<Option<Vec<u8>>, VaultError> {
        let version = self.kek.key_version.as_deref();
        version.map(|text| unhex(text).ok_or(VaultError::Denied { code: "KeyNotFound" })).transpose()
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        aek: AekId,
        work: impl FnOnce(&Calls) -> Done<T> + Send + 'static,
    ) -> Result<T, VaultError> {
        let calls = Arc::clone(&self.call);
        let done = tokio::task::spawn_blocking(move || work(&calls)).await;
        done.map_err(|_| VaultError::Unreachable { code: "Panicked", retry_after: None })?.map_err(|failed| match failed {
            Failed::Early(code) => VaultError::Unreachable { code, retry_after: None },
            Failed::Said(asked, code, inner) => {
                let answer = classify(PROVIDER, asked, Said { status: 0, code: Some(code), inner });
                failure(answer, None, aek).unwrap_or(MALFORMED)
            }
        })
    }
}

impl Calls {
    /// Logs in, works, and logs out: nobody else is let in by this login.
    fn with_session<T>(&self, work: impl FnOnce(&Session) -> Done<T>) -> Done<T> {
        let module = module(&self.token.module)?;
        let Some(context) = module.try_lock_for(self.patience) else { return Err(Failed::Early("ModuleBusy")) };
        let mut slot = self.slot(&context)?;
        if slot.is_none() {
            // Some modules look for tokens once: one that was away and is back is seen after a new start. Nobody else is in.
            drop(context.clone().finalize());
            initialize(&context)?;
            slot = self.slot(&context)?;
        }
        let slot = slot.ok_or(Failed::Said(Asked::Token, "CKR_TOKEN_NOT_PRESENT", None))?;
        let session = context.open_ro_session(slot).map_err(|error| said(Asked::Token, &error))?;
        let pin = AuthPin::from(self.access.pin.text().to_owned());
        session.login(UserType::User, Some(&pin)).map_err(|error| said(Asked::Token, &error))?;
        let done = work(&session);
        // Closing the last session logs out as well; a token that is gone cannot be asked.
        drop(session.logout());
        done
    }

    fn with_key<T>(&self, asked: Asked, version: Option<&[u8]>, work: impl FnOnce(&Session, &Found) -> Done<T>) -> Done<T> {
        self.with_session(|session| {
            let all = self.keys(session, asked)?;
            let found = match version {
                Some(id) => all.iter().find(|found| found.id == id),
                None => all.last(),
            };
            work(session, found.ok_or(Failed::Said(asked, NO_KEY, None))?)
        })
    }

    /// The versions of the key, oldest first.
    fn keys(&self, session: &Session, asked: Asked) -> Done<Vec<Found>> {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(true),
            Attribute::Label(self.label.clone()),
        ];
        let handles = session.find_objects(&template).map_err(|error| said(asked, &error))?;
        let mut all = Vec::new();
        for handle in handles.into_iter().take(VERSIONS_MAX) {
            let attributes = session.get_attributes(handle, &[AttributeType::Id]).map_err(|error| said(asked, &error))?;
            let id = attributes.into_iter().find_map(|attribute| if let Attribute::Id(id) = attribute { Some(id) } else { None });
            // A key without an id has no version that a record could name.
            all.extend(id.filter(|id| (1..=32).contains(&id.len())).map(|id| Found { handle, id }));
        }
        all.sort_by(|one, other| (one.id.len(), &one.id).cmp(&(other.id.len(), &other.id)));
        Ok(all)
    }

    fn slot(&self, context: &Pkcs11) -> Done<Option<Slot>> {
        let slots = match context.get_slots_with_token() {
            Ok(slots) => slots,
            // An earlier start did not come about.
            Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => Vec::new(),
            Err(error) => return Err(said(Asked::Token, &error)),
        };
        for slot in slots {
            // One that cannot be asked is not the one that is looked for.
            if context.get_token_info(slot).is_ok_and(|info| info.label().trim_end() == self.token.token) {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }
}

fn module(path: &Path) -> Done<Arc<Mutex<Pkcs11>>> {
    let mut modules = MODULES.lock();
    if let Some(module) = modules.get(path) {
        return Ok(Arc::clone(module));
    }
    let context = Pkcs11::new(path).map_err(|_| Failed::Early("ModuleNotLoaded"))?;
    initialize(&context)?;
    let module = Arc::new(Mutex::new(context));
    modules.insert(path.to_owned(), Arc::clone(&module));
    Ok(module)
}

fn initialize(context: &Pkcs11) -> Done<()> {
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(_) => Err(Failed::Early("ModuleNotInitialised")),
    }
}

fn seal(session: &Session, key: ObjectHandle, mut nonce: [u8; NONCE], bound: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
    let params = GcmParams::new(&mut nonce, bound, TAG_BITS.into())?;
    session.encrypt(&Mechanism::AesGcm(params), key, plain)
}

fn open(session: &Session, key: ObjectHandle, mut nonce: [u8; NONCE], bound: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let params = GcmParams::new(&mut nonce, bound, TAG_BITS.into())?;
    session.decrypt(&Mechanism::AesGcm(params), key, sealed).map(Zeroizing::new)
}

/// Whether a key encrypts and decrypts.
fn works(session: &Session, key: ObjectHandle, nonce: [u8; NONCE]) -> bool {
    let (bound, plain) = (b"strongroom/probe", [7; 16]);
    let sealed = seal(session, key, nonce, bound, &plain);
    sealed.and_then(|sealed| open(session, key, nonce, bound, &sealed)).is_ok_and(|opened| opened[..] == plain)
}

/// Drops what an error says besides its code.
fn said(asked: Asked, error: &Error) -> Failed {
    match error {
        Error::Pkcs11(code, _) => Failed::Said(asked, name(code), None),
        Error::NotSupported | Error::NullFunctionPointer | Error::MissingSymbol(_) => Failed::Early("FunctionNotSupported"),
        _ => Failed::Early("Malformed"),
    }
}

/// The name that the specification gives a code, of those that [`classify`] knows.
const fn name(code: &RvError) -> &'static str {
    match code {
        RvError::KeyHandleInvalid => "CKR_KEY_HANDLE_INVALID",
        RvError::ObjectHandleInvalid => "CKR_OBJECT_HANDLE_INVALID",
        RvError::KeyFunctionNotPermitted => "CKR_KEY_FUNCTION_NOT_PERMITTED",
        RvError::ActionProhibited => "CKR_ACTION_PROHIBITED",
        RvError::PinIncorrect => "CKR_PIN_INCORRECT",
        RvError::PinInvalid => "CKR_PIN_INVALID",
        RvError::PinLenRange => "CKR_PIN_LEN_RANGE",
        RvError::PinLocked => "CKR_PIN_LOCKED",
        RvError::PinExpired => "CKR_PIN_EXPIRED",
        RvError::UserPinNotInitialized => "CKR_USER_PIN_NOT_INITIALIZED",
        RvError::EncryptedDataInvalid => "CKR_ENCRYPTED_DATA_INVALID",
        RvError::EncryptedDataLenRange => "CKR_ENCRYPTED_DATA_LEN_RANGE",
        RvError::TokenNotPresent => "CKR_TOKEN_NOT_PRESENT",
        RvError::TokenNotRecognized => "CKR_TOKEN_NOT_RECOGNIZED",
        RvError::SlotIdInvalid => "CKR_SLOT_ID_INVALID",
        RvError::DeviceError => "CKR_DEVICE_ERROR",
        RvError::DeviceMemory => "CKR_DEVICE_MEMORY",
        RvError::DeviceRemoved => "CKR_DEVICE_REMOVED",
        RvError::HostMemory => "CKR_HOST_MEMORY",
        RvError::GeneralError => "CKR_GENERAL_ERROR",
        RvError::FunctionFailed => "CKR_FUNCTION_FAILED",
        RvError::FunctionCanceled => "CKR_FUNCTION_CANCELED",
        RvError::SessionClosed => "CKR_SESSION_CLOSED",
        RvError::SessionHandleInvalid => "CKR_SESSION_HANDLE_INVALID",
        RvError::SessionCount => "CKR_SESSION_COUNT",
        RvError::UserNotLoggedIn => "CKR_USER_NOT_LOGGED_IN",
        RvError::UserAlreadyLoggedIn => "CKR_USER_ALREADY_LOGGED_IN",
        RvError::UserAnotherAlreadyLoggedIn => "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
        RvError::MechanismInvalid => "CKR_MECHANISM_INVALID",
        RvError::MechanismParamInvalid => "CKR_MECHANISM_PARAM_INVALID",
        RvError::KeyTypeInconsistent => "CKR_KEY_TYPE_INCONSISTENT",
        _ => "CKR_OTHER",
    }
}

/// A `CKA_ID` as a version.
fn hex(id: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    id.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).map(char::from).collect()
}

fn unhex(version: &str) -> Option<Vec<u8>> {
    let (pairs, odd) = version.as_bytes().as_chunks::<2>();
    if !odd.is_empty() || !version.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

impl fmt::Debug for Pkcs11Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Vault").field("kek", &self.kek).finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyVault for Pkcs11Vault {
    fn class(&self) -> KeyClass {
        KeyClass::Cmk
    }
    fn provider(&self) -> &'static str {
        PROVIDER.as_str()
    }
    async fn wrap_key(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError> {
        in_time(PROVIDER, &self.kek, self.call_timeout, self.wrap(aek, ids)).await
    }
    async fn unwrap_key(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError> {
        in_time(PROVIDER, &self.kek, self.call_timeout, self.unwrap(wrapped)).await
    }
    async fn facts(&self) -> Result<KeyFacts, VaultError> {
        in_time(PROVIDER, &self.kek, self.call_timeout, self.read_facts()).await
    }
    async fn newest(&self) -> Result<String, VaultError> {
        in_time(PROVIDER, &self.kek, self.call_timeout, self.read_newest()).await
    }
    /// Nothing to forget: every call logs in and out.
    async fn fresh(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_and_its_version_are_one() {
        for (id, version) in [(&[0x02][..], "02"), (&[0xff, 0x00, 0x1a], "ff001a")] {
            assert_eq!((hex(id).as_str(), unhex(version).as_deref()), (version, Some(id)));
        }
        for wrong in ["0", "0g", "+1", "1-"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_module_that_is_not_there_is_an_outage() {
        use crate::provider::access::Access;
        let Ok(Access::Pkcs11(access)) = Access::read(PROVIDER, Some(r#"{"pin":"1234"}"#)) else { panic!() };
        let token = Pkcs11Token { module: "/nowhere/module.so".into(), token: "t".to_owned() };
        let kek = KekRef::new("pkcs11://hsm", "payroll", None).unwrap();
        let vault = Pkcs11Vault::new(token, kek, access, World::real()).unwrap();
        assert!(matches!(vault.facts().await, Err(VaultError::Unreachable { code: "ModuleNotLoaded", .. })));
        assert!(!format!("{vault:?}").contains("1234"));
    }
}
