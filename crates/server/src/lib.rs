//! The process: gateway, authentication, limits, configuration, wiring, shutdown, and the offline commands.
//!
//! This crate alone knows HTTP and configuration files. It leaves the work to the rooms below and sees all of them;
//! nobody sees it but the command line. Start at [`run`]; the doors are in [`gateway`].
//!
//! ```text
//! serve ─▶ config ─▶ lock ─▶ root key ─▶ catalog ─▶ keys ─▶ store ─▶ log replay ─▶ ingest, query, control ─▶ doors
//! SIGTERM ─▶ doors drain ─▶ maintenance stops ─▶ log closed ─▶ catalog closed
//! ```

pub mod admin;
mod alerting;
mod collecting;
mod config;
mod crash;
mod dispose;
mod doors;
mod embedded;
mod error;
pub mod gateway;
mod harden;
mod identity;
mod issuers;
mod linked_stores;
mod lock;
mod lock_steps;
mod notices;
mod openings;
mod reload;
mod shelf;
mod timespan;
mod tls;
mod vault_clients;
mod wiring;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub use config::{
    Config, ConfigError, EmbeddedConfig, GatewayConfig, KeysConfig, ServeOptions, admin_token_path, load as load_config, mmk_path,
    vault_dir,
};
pub use doors::{DoorsConfig, Refusal as RefusalWhileRevoked};
use embedded::Embedded;
pub use error::ServeError;
pub use notices::NoticesConfig;
use tls::Tls;
pub use tls::{TlsConfig, ca_path};
use wiring::Site;

/// How often the log's health, caches and sums are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// Runs a server until SIGTERM or SIGINT. Blocking; makes its own runtime.
///
/// # Errors
/// [`ServeError`] saying which part did not start and what to do about it.
pub fn run(options: &ServeOptions) -> Result<(), ServeError> {
    let config = config::load(options)?;
    let again = harden::start_again_with_allocators_set();
    prepare_process(&config.log);
    if let Err(error) = again {
        tracing::warn!(kind = ?error.kind(), "memory that C libraries give back is not wiped");
    }
    crash::arm().map_err(ServeError::Failpoints)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("http")
        .build()
        .map_err(|source| ServeError::Start { part: "runtime", source: Box::new(source) })?;
    let result = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// What a process that holds keys does first: its log goes to stderr at `level`, no core dumps, no debuggers, panics that
/// print a place and no payload. The embedded vault's process does the same.
pub fn prepare_process(level: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(level).unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    harden::process();
}

async fn serve(config: Config) -> Result<(), ServeError> {
    // Listening comes first: a taken port is found before a long replay, and clients queue instead of being refused.
    let listener = TcpListener::bind(config.listen).await.map_err(|source| ServeError::Listen { address: config.listen, source })?;
    let address = listener.local_addr().map_err(|source| ServeError::Listen { address: config.listen, source })?;
    let tls = Tls::open(&config, &strongroom_world::World::real(), address)?.map(Arc::new);
    if tls.is_none() && !address.ip().is_loopback() {
        tracing::warn!(%address, "listening beyond loopback without TLS: tokens and rows can be read on the way");
    }
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new()
        .install_recorder()
        .map_err(|source| ServeError::Start { part: "metrics", source: Box::new(source) })?;
    let given = std::env::var("STRONGROOM_ADMIN_TOKEN").ok().filter(|token| !token.is_empty());
    let claimed = Site::claim(&config)?;
    let embedded = Embedded::open(&config, &strongroom_world::World::real()).await?;
    let allowed = embedded.iter().map(Embedded::allowed).collect();
    let (site, printed) = Site::open(config, claimed, given, allowed).await?;
    if let Some(token) = printed {
        announce_token(&site, &token);
    }
    let (stop, stopping) = watch::channel(false);
    let (vault_stop, vault_stopping) = watch::channel(false);
    let vault = match embedded {
        Some(embedded) => Some(embedded.serve(&site.catalog, Arc::clone(&site.vaults), vault_stopping).await?),
        None => None,
    };
    site.clusters.settle().await.map_err(ServeError::start("operations"))?;
    // Each customer's vault is asked before the first request is answered; one that is silent costs its own clusters only.
    site.watch.start().await.map_err(ServeError::start("key watch"))?;
    site.clusters.resume().await.map_err(ServeError::start("operations"))?;
    site.shredder.resume().await.map_err(ServeError::start("operations"))?;
    if tls.as_ref().is_some_and(|tls| tls.is_own()) {
        let ca = ca_path(&site.config.config_dir);
        tracing::info!(ca = %ca.display(), "https under an authority of this server: name it to clients, as in REQUESTS_CA_BUNDLE");
    }
    let accepts = tls.as_ref().map(|tls| tls.config()).transpose()?;
    announce(&site, address);

    let tasks = vec![
        ("flush and compaction", tokio::spawn(Arc::clone(&site.intake).maintain(stopping.clone()))),
        ("audit rows and notices", tokio::spawn(Arc::clone(&site.carrier).run(stopping.clone()))),
        ("alerts", tokio::spawn(Arc::clone(&site.alerts).run(stopping.clone()))),
        ("retention", tokio::spawn(Arc::clone(&site.retention).run(stopping.clone()))),
        ("saved content", tokio::spawn(Arc::clone(&site.storages).run(stopping.clone()))),
        ("shredding", tokio::spawn(Arc::clone(&site.shredder).run(stopping.clone()))),
        ("what is asked first", tokio::spawn(warm(Arc::clone(&site)))),
        ("housekeeping", tokio::spawn(housekeeping(Arc::clone(&site), metrics.clone(), tls, stopping.clone()))),
    ];
    let signals = tokio::spawn(signals(Arc::clone(&site), stop));
    let app = gateway::App { site: Arc::clone(&site), metrics };
    gateway::serve(listener, gateway::router(app), &site.config, accepts, stopping).await;
    for (name, task) in tasks {
        // A second each at most: what they do is safe to break off at any point.
        let abort = task.abort_handle();
        if tokio::time::timeout(Duration::from_secs(1), task).await.is_err() {
            tracing::debug!(task = name, "broken off");
            abort.abort();
        }
    }
    signals.abort();
    site.clusters.stop().await;
    site.watch.stop();
    vault_stop.send_replace(true);
    if let Some(vault) = vault
        && tokio::time::timeout(Duration::from_secs(2), vault).await.is_err()
    {
        tracing::debug!("the embedded key vault was broken off");
    }
    let buffer = Arc::clone(&site.buffer);
    let closed = tokio::task::spawn_blocking(move || buffer.close()).await.map_err(|_| ServeError::Panicked("log"))?;
    site.audit.close().await;
    site.catalog.close().await;
    tracing::info!("stopped");
    closed.map_err(|error| ServeError::Close(error.to_string()))
}

/// Opens the newest blocks of each account. Where a customer's vault has not answered yet, it is done when it has.
async fn warm(site: Arc<Site>) {
    match site.catalog.accounts().await {
        Ok(accounts) => reload::warm(&site.engine, accounts.into_iter().map(|account| account.id).collect()).await,
        Err(error) => tracing::info!(code = error.code(), "no blocks are opened before they are asked for"),
    }
}

/// Turns SIGTERM and SIGINT into `stop`. A second one ends the process at once.
async fn signals(site: Arc<Site>, stop: watch::Sender<bool>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be heard");
        return;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    tracing::info!("stopping: no new requests");
    site.stop();
    stop.send_replace(true);
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    tracing::warn!("told to stop a second time: ending at once, the log will be replayed");
    std::process::exit(130);
}

async fn housekeeping(
    site: Arc<Site>,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    tls: Option<Arc<Tls>>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = site.world.clock.sleep(HOUSEKEEPING) => {}
        }
        if site.buffer.is_refusing() {
            // The log's disk failed twice in a row: nothing more can be acked, and a restart replays what was.
            tracing::error!("the log cannot be written any more: ending, so that a restart may find a disk that works");
            std::process::exit(74);
        }
        if let Some(tls) = &tls {
            tls.renew();
        }
        site.blocks.cache().sweep().await;
        if let Err(error) = site.lockbox.tidy().await {
            tracing::warn!(code = error.code(), "Lockbox requests that are over were not written down as such yet");
        }
        metrics.run_upkeep();
    }
}

#[expect(clippy::print_stderr, reason = "the one place where a token is shown, once")]
fn announce_token(site: &Site, token: &str) {
    eprintln!("admin token (shown once, kept in {}): {token}", admin_token_path(&site.config.config_dir).display());
}

fn announce(site: &Site, address: SocketAddr) {
    tracing::info!(%address, data = %site.config.data_dir.display(), "serving");
}
