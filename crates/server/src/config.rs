//! Configuration: `strongroom.toml`, then `STRONGROOM_*`, then flags, in rising order.
//!
//! A variable names a key of the file: `STRONGROOM_LISTEN` is `listen`, `STRONGROOM_QUERY__MAX_CONCURRENT` is
//! `max_concurrent` under `[query]`. Unknown keys are refused by name, in the file and in the environment alike.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strongroom_buffer::{BufferConfig, SealedConfig};
use strongroom_control::alerts::AlertsConfig;
use strongroom_control::audit::AuditConfig;
use strongroom_control::{AzureConfig, ControlConfig, DirectoryConfig, LockboxConfig};
use strongroom_ingest::IngestConfig;
use strongroom_keys::outbound::OutboundConfig;
use strongroom_keys::provider::access::ProvidersConfig;
use strongroom_keys::state::StateConfig;
use strongroom_keyvault::{IssuerConfig, VaultConfig};
use strongroom_query::QueryConfig;
use strongroom_store::CacheConfig;

use crate::doors::DoorsConfig;
use crate::linked_stores::StorageConfig;
use crate::notices::NoticesConfig;
use crate::tls::TlsConfig;

/// Variables that are not keys of the configuration.
const OTHER_VARIABLES: &[&str] = &[
    "STRONGROOM_ADMIN_TOKEN",
    "STRONGROOM_TOKEN",
    "STRONGROOM_CA",
    "STRONGROOM_SERVER",
    "STRONGROOM_CONFIG",
    "STRONGROOM_CONFIG_DIR",
    "STRONGROOM_WORKSPACE",
    "STRONGROOM_VAULT",
    "STRONGROOM_VAULT_ADMIN_TOKEN",
    "STRONGROOM_VAULT_CA",
    "STRONGROOM_VAULT_DIR",
    "STRONGROOM_VAULT_ROOT",
    "STRONGROOM_VAULT_TOKEN",
    "STRONGROOM_CRASH_AT",
    crate::harden::AGAIN,
];

/// What `strongroom serve` was told on the command line. `None` leaves the file's or the environment's word.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// Where blocks, log and catalog lie.
    pub data_dir: Option<PathBuf>,
    /// Where the provider's root key and the admin token lie.
    pub config_dir: Option<PathBuf>,
    /// The address to listen on.
    pub listen: Option<SocketAddr>,
    /// The address of the embedded key vault.
    pub vault_listen: Option<SocketAddr>,
    /// Its directory.
    pub vault_dir: Option<PathBuf>,
    /// Its root key.
    pub vault_root: Option<PathBuf>,
    /// Whether to start without it.
    pub no_vault: bool,
    /// The configuration file; the default is `strongroom.toml` in the config directory, if it is there.
    pub config: Option<PathBuf>,
}

/// The whole configuration of a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address of the one port. Loopback by default, and plain http: see `[tls]`.
    pub listen: SocketAddr,
    /// Where blocks, log and catalog lie; default `$XDG_DATA_HOME/strongroom`.
    pub data_dir: PathBuf,
    /// Where the provider's root key and the admin token lie; default `$XDG_CONFIG_HOME/strongroom`.
    pub config_dir: PathBuf,
    /// What is logged, in `tracing`'s filter syntax.
    pub log: String,
    /// Refuse to start when the config directory lies on the filesystem of the data.
    pub require_separate_root: bool,
    /// Doors and connections.
    pub gateway: GatewayConfig,
    /// TLS of the one port.
    pub tls: TlsConfig,
    /// Tenants, subscriptions, regions, and how services log in.
    pub directory: DirectoryConfig,
    /// Azure's doors for rows and questions.
    pub doors: DoorsConfig,
    /// Write-ahead log and memtables.
    pub buffer: BufferConfig,
    /// The write path.
    pub ingest: IngestConfig,
    /// The read path.
    pub query: QueryConfig,
    /// The hot cache.
    pub cache: CacheConfig,
    /// Resources and retention.
    pub control: ControlConfig,
    /// Where users of Azure Monitor find other rules than today's.
    pub azure: AzureConfig,
    /// Storage accounts that customers register.
    pub storage: StorageConfig,
    /// Alert rules on their schedule.
    pub alerts: AlertsConfig,
    /// The audit chain.
    pub audit: AuditConfig,
    /// Who is called when there is something that a customer should know.
    pub notices: NoticesConfig,
    /// When the provider's staff may see customers' rows.
    pub lockbox: LockboxConfig,
    /// How customers' keys are watched.
    pub keys: KeysConfig,
    /// What the server may call: customers' key vaults.
    pub outbound: OutboundConfig,
    /// What holds for all vaults of a kind, and is the operator's alone to say.
    pub providers: ProvidersConfig,
    /// The embedded key vault.
    pub vault: EmbeddedConfig,
}

/// How customers' keys are watched (`docs/keys.md`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeysConfig {
    /// Between two calls of a vault, give or take a fifth: 8 to 24 s.
    pub poll_interval_ms: u64,
    /// How long a key works past the last good unwrap if the vault does not answer: 1 to 55 min.
    pub lease_ms: u64,
    /// How long one call of a vault may take: 1 to 5 s.
    pub call_timeout_ms: u64,
    /// From a first denial to the call that confirms it: 1 to 2 s.
    pub confirm_after_ms: u64,
    /// How long after a vault's outage began requests are still taken and kept sealed; 0: not at all.
    pub outage_buffer_ms: u64,
    /// The most of the disk that requests take which wait sealed for a key, in percent.
    pub outage_buffer_disk_percent: u64,
    /// Whether the account's keys are also wrapped by newer versions of a pinned key as they appear, so that the cluster can be
    /// updated to one after the pinned version was disabled.
    pub standby_wrap: bool,
}

impl Default for KeysConfig {
    fn default() -> Self {
        Self {
            poll_interval_ms: 10_000,
            lease_ms: 1_800_000,
            call_timeout_ms: 5_000,
            confirm_after_ms: 2_000,
            outage_buffer_ms: 6 * 3_600_000,
            outage_buffer_disk_percent: 20,
            standby_wrap: true,
        }
    }
}

impl KeysConfig {
    /// As the sealed buffer takes it; its disk is the log's.
    #[must_use]
    pub fn sealed(&self, log: &BufferConfig) -> SealedConfig {
        SealedConfig {
            outage_max: Duration::from_millis(self.outage_buffer_ms),
            disk_percent: self.outage_buffer_disk_percent.min(100),
            reserve_bytes: log.reserve_bytes,
            reserve_percent: log.reserve_percent,
            ..SealedConfig::default()
        }
    }

    /// As the key states take it.
    #[must_use]
    pub fn states(&self) -> StateConfig {
        let ms = Duration::from_millis;
        StateConfig {
            poll_interval: ms(self.poll_interval_ms),
            lease: ms(self.lease_ms),
            call_timeout: ms(self.call_timeout_ms),
            confirm_after: ms(self.confirm_after_ms),
        }
    }
}

/// The embedded key vault: the customer's side, another trust domain, replaceable by a real vault.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// Whether it is started beside the server.
    pub embedded: bool,
    /// Its address.
    pub listen: SocketAddr,
    /// Its directory, never inside the data or config directory; default `$XDG_DATA_HOME/strongroom-vault`.
    pub dir: PathBuf,
    /// Its root key; empty: `root.key` in its directory.
    pub root: PathBuf,
    /// Names by which clients reach it besides localhost, 127.0.0.1 and ::1.
    pub names: Vec<String>,
    /// Token issuers whose principals may be registered there; each with issuer, aliases, keys, ca, audiences, authority.
    pub issuers: Vec<IssuerConfig>,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            embedded: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 7701)),
            dir: vault_dir(),
            root: PathBuf::new(),
            names: Vec::new(),
            issuers: Vec::new(),
        }
    }
}

impl EmbeddedConfig {
    /// As the vault takes it.
    #[must_use]
    pub fn settings(&self) -> VaultConfig {
        VaultConfig {
            dir: self.dir.clone(),
            root: self.root.clone(),
            listen: self.listen,
            names: self.names.clone(),
            issuers: self.issuers.clone(),
            ..VaultConfig::default()
        }
    }
}

/// Where the embedded vault keeps what is its own, unless told otherwise.
#[must_use]
pub fn vault_dir() -> PathBuf {
    home("XDG_DATA_HOME", ".local/share").with_file_name("strongroom-vault")
}

/// Bounds of the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Open connections in all.
    pub max_connections: usize,
    /// Open connections from one address.
    pub max_connections_per_address: usize,
    /// Time for a request's headers, and for an idle connection to send the next request, in milliseconds. A connection keeps the bytes of
    /// its last request until it is closed: this bounds how long they outlive a key that was taken away.
    pub header_timeout_ms: u64,
    /// Bytes a second that a request body must bring, at every door, once it was waited for as long as `body_grace_ms` says.
    pub body_min_bytes_per_second: u64,
    /// Time that a request body is waited for before its pace counts, in milliseconds.
    pub body_grace_ms: u64,
    /// Time that a request body may bring nothing at all, in milliseconds.
    pub body_silence_max_ms: u64,
    /// Bytes of a request body on the wire (the ingest door; 1 MiB elsewhere).
    pub max_body_bytes: usize,
    /// Time given to requests under way when the server is told to stop, in milliseconds.
    pub drain_ms: u64,
    /// Clusters in one page of a list; the rest is behind its `nextLink`.
    pub page_size: usize,
    /// Where clients reach this server, like `https://logs.example`: URLs that it hands out begin so. Empty: they name the
    /// host that the request came for.
    pub external_url: String,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            max_connections_per_address: 1_024,
            header_timeout_ms: 10_000,
            body_min_bytes_per_second: 1_024,
            body_grace_ms: 10_000,
            body_silence_max_ms: 30_000,
            max_body_bytes: 32 << 20,
            drain_ms: 6_000,
            page_size: 100,
            external_url: String::new(),
        }
    }
}

impl Config {
    /// The hot cache's settings, as `[azure]` has them.
    pub(crate) fn hot_cache(&self) -> CacheConfig {
        let queried_hours = if self.azure.rules().cache_keep_recently_queried { self.cache.queried_hours } else { 0 };
        CacheConfig { queried_hours, ..self.cache.clone() }
    }

    /// What `[directory] regions` says that a region does not have, and what the rules' own lists say, become one.
    pub(crate) fn follow_regions(&mut self) {
        let same = |one: &str, other: &str| {
            let bare = |name: &str| name.replace(' ', "").to_ascii_lowercase();
            bare(one) == bare(other)
        };
        for region in &mut self.directory.regions {
            for (has, lacking) in [
                (&mut region.double_encryption, &mut self.azure.single_encryption_regions),
                (&mut region.lockbox, &mut self.lockbox.unavailable_regions),
            ] {
                let listed = lacking.iter().any(|name| same(name, &region.name));
                if !*has && !listed {
                    lacking.push(region.name.clone());
                }
                *has &= !listed;
            }
        }
    }
}

#[cfg(test)]
impl Config {
    /// A server in a test: its directories lie under one, and a disk nearly full of builds is room enough.
    pub(crate) fn under(dir: &Path) -> Self {
        let buffer = BufferConfig { reserve_bytes: 1 << 20, reserve_percent: 0, ..BufferConfig::default() };
        Self { data_dir: dir.join("data"), config_dir: dir.join("config"), buffer, ..Self::default() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7700)),
            data_dir: home("XDG_DATA_HOME", ".local/share"),
            config_dir: home("XDG_CONFIG_HOME", ".config"),
            log: "info".to_owned(),
            require_separate_root: false,
            gateway: GatewayConfig::default(),
            tls: TlsConfig::default(),
            directory: DirectoryConfig::default(),
            doors: DoorsConfig::default(),
            buffer: BufferConfig::default(),
            ingest: IngestConfig::default(),
            query: QueryConfig::default(),
            cache: CacheConfig::default(),
            control: ControlConfig::default(),
            azure: AzureConfig::default(),
            storage: StorageConfig::default(),
            alerts: AlertsConfig::default(),
            audit: AuditConfig::default(),
            notices: NoticesConfig::default(),
            lockbox: LockboxConfig::default(),
            keys: KeysConfig::default(),
            outbound: OutboundConfig::default(),
            providers: ProvidersConfig::default(),
            vault: EmbeddedConfig::default(),
        }
    }
}

fn home(variable: &str, below_home: &str) -> PathBuf {
    let base = match std::env::var_os(variable) {
        Some(set) if !set.is_empty() => PathBuf::from(set),
        _ => PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| ".".into())).join(below_home),
    };
    base.join("strongroom")
}

/// Where the admin token is kept for the command line's own use.
#[must_use]
pub fn admin_token_path(config_dir: &Path) -> PathBuf {
    config_dir.join("admin-token")
}

/// Where the provider's root key lies.
#[must_use]
pub fn mmk_path(config_dir: &Path) -> PathBuf {
    config_dir.join("mmk.root")
}

/// Why a configuration was refused. The text names the file or variable and the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{origin}: {message}")]
    Invalid {
        /// The file or the variable.
        origin: String,
        /// What is wrong with it.
        message: String,
    },
}

/// Reads the configuration that holds for `options` in this process's environment.
///
/// # Errors
/// [`ConfigError`] naming the file, variable or key that is wrong.
pub fn load(options: &ServeOptions) -> Result<Config, ConfigError> {
    load_from(options, std::env::vars())
}

fn load_from(options: &ServeOptions, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let environment: BTreeMap<String, String> = environment.filter(|(name, _)| name.starts_with("STRONGROOM_")).collect();
    let config_dir = options
        .config_dir
        .clone()
        .or_else(|| environment.get("STRONGROOM_CONFIG_DIR").map(PathBuf::from))
        .unwrap_or_else(|| Config::default().config_dir);
    let named = options.config.clone().or_else(|| environment.get("STRONGROOM_CONFIG").map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| config_dir.join("strongroom.toml"));
    let mut table = match std::fs::read_to_string(&path) {
        Ok(text) => text.parse::<toml::Table>().map_err(|error| invalid(&path.display().to_string(), &error))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => toml::Table::new(),
        Err(source) => return Err(ConfigError::Read { path, source }),
    };
    // The file alone first, so that an error in it names it.
    table.clone().try_into::<Config>().map_err(|error| invalid(&path.display().to_string(), &error))?;
    for (name, value) in &environment {
        if OTHER_VARIABLES.contains(&name.as_str()) || name.starts_with("STRONGROOM_TEST_") {
            continue;
        }
        set(&mut table, &name["STRONGROOM_".len()..].to_ascii_lowercase(), value);
        table.clone().try_into::<Config>().map_err(|error| invalid(name, &error))?;
    }
    let mut config: Config = table.try_into().map_err(|error| invalid("configuration", &error))?;
    if let Some(data_dir) = &options.data_dir {
        config.data_dir.clone_from(data_dir);
    }
    config.config_dir = config_dir;
    config.vault.embedded &= !options.no_vault;
    if let Some(listen) = options.vault_listen {
        config.vault.listen = listen;
    }
    // The command line of the vault's admin reads the same two, so that both look at the same place.
    let place =
        |option: &Option<PathBuf>, name| option.clone().or_else(|| environment.get(name).filter(|set| !set.is_empty()).map(PathBuf::from));
    if let Some(dir) = place(&options.vault_dir, "STRONGROOM_VAULT_DIR") {
        config.vault.dir = dir;
    }
    if let Some(root) = place(&options.vault_root, "STRONGROOM_VAULT_ROOT") {
        config.vault.root = root;
    }
    config.keys.states().check().map_err(|error| ConfigError::Invalid { origin: "keys".to_owned(), message: error.to_string() })?;
    if let Some(listen) = options.listen {
        config.listen = listen;
    }
    Ok(config)
}

fn invalid(origin: &str, error: &toml::de::Error) -> ConfigError {
    ConfigError::Invalid { origin: origin.to_owned(), message: error.to_string().trim_end().to_owned() }
}

/// Puts `value` at `section__key`, read as a TOML value if it is one, else as text.
fn set(table: &mut toml::Table, path: &str, value: &str) {
    let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("v"));
    let parsed = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut steps: Vec<&str> = path.split("__").collect();
    let last = steps.pop().expect("split gives at least one part");
    let mut here = table;
    for step in steps {
        let next = here.entry(step).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let toml::Value::Table(next) = next else { return };
        here = next;
    }
    here.insert(last.to_owned(), parsed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)], file: Option<&str>) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        if let Some(file) = file {
            std::fs::write(dir.path().join("strongroom.toml"), file).unwrap();
        }
        let options = ServeOptions { config_dir: Some(dir.path().to_owned()), ..ServeOptions::default() };
        load_from(&options, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_environment_overrules_the_file() {
        let config = with(
            &[("STRONGROOM_LISTEN", "127.0.0.1:1"), ("STRONGROOM_GATEWAY__DRAIN_MS", "5")],
            Some("listen = \"127.0.0.1:2\"\n[gateway]\nmax_connections = 7"),
        )
        .unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!((config.gateway.drain_ms, config.gateway.max_connections), (5, 7));
        let vault = with(&[("STRONGROOM_VAULT_DIR", "/v"), ("STRONGROOM_VAULT", "https://v")], Some("[vault]\ndir = \"/w\"")).unwrap();
        assert_eq!(vault.vault.dir, PathBuf::from("/v"));
    }

    #[test]
    fn what_was_queried_lately_stays_in_the_cache_unless_the_year_or_the_setting_says_no() {
        let hours = |text: &str| with(&[], Some(text)).unwrap().hot_cache().queried_hours;
        assert_eq!((hours(""), hours("[cache]\nqueried_hours = 5")), (48, 5));
        assert_eq!(hours("[azure]\ncompat = \"2021\""), 0);
        assert_eq!(hours("[azure]\ncompat = \"2021\"\ncache_keep_recently_queried = true"), 48);
        assert_eq!(hours("[azure]\ncache_keep_recently_queried = false"), 0);
    }

    #[test]
    fn the_lease_and_the_buffer_for_outages_are_as_the_settings_say() {
        let keys = |text: &str| {
            let config = with(&[], Some(text)).unwrap();
            (config.keys.states().lease.as_secs() / 60, config.keys.sealed(&config.buffer).outage_max.as_secs() / 3_600)
        };
        assert_eq!((keys(""), keys("[keys]\nlease_ms = 300000\noutage_buffer_ms = 0")), ((30, 6), (5, 0)));
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_origin() {
        let error = with(&[], Some("lisen = 1")).unwrap_err().to_string();
        assert!(error.contains("strongroom.toml") && error.contains("lisen"), "{error}");
        let error = with(&[("STRONGROOM_GATEWAY__NOPE", "1")], None).unwrap_err().to_string();
        assert!(error.contains("STRONGROOM_GATEWAY__NOPE") && error.contains("nope"), "{error}");
    }

    /// `docs/configuration.md` shows every key with its default; `STRONGROOM_UPDATE_DOCS=1 cargo test -p strongroom-server` rewrites it.
    #[test]
    fn the_page_shows_every_key_with_its_default() {
        let config = Config {
            data_dir: "~/.local/share/strongroom".into(),
            config_dir: "~/.config/strongroom".into(),
            vault: EmbeddedConfig { dir: "~/.local/share/strongroom-vault".into(), ..EmbeddedConfig::default() },
            ..Config::default()
        };
        let expected = format!(
            "# Configuration\n\n`strongroom.toml` in the config directory, or the file that `--config` names. `STRONGROOM_*` variables overrule it\n\
             (`STRONGROOM_QUERY__THREADS=4` is `threads = 4` under `[query]`), flags overrule both. Unknown keys are refused by name.\n\
             Keys that end in `_ms` are milliseconds, in `_bytes` bytes. This page is written from the code: these are the defaults.\n\n```toml\n{}```\n",
            toml::to_string(&config).unwrap()
        );
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        if std::env::var_os("STRONGROOM_UPDATE_DOCS").is_some() {
            std::fs::write(&page, &expected).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&page).unwrap_or_default(), expected, "run the command in this test's comment");
    }
}
