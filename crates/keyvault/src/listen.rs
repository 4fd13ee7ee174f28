//! Accepting connections: TLS always, bounded in number and patience, drained at the end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::serve;
use crate::vault::Vault;

/// Headers of a request: bytes in all, and how many.
const MAX_HEADER_BYTES: u32 = 16 << 10;
const MAX_HEADERS: usize = 64;
const MAX_STREAMS: u32 = 32;

/// How many connections each address has open.
#[derive(Debug, Default)]
struct PerAddress(Mutex<HashMap<IpAddr, usize>>);

/// One connection's place in the count; given back on drop.
struct Place {
    counts: Arc<PerAddress>,
    address: IpAddr,
}

impl PerAddress {
    fn take(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<Place> {
        let mut counts = self.0.lock();
        let count = counts.entry(address).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { counts: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Serves until `stop` turns true, then lets what is under way finish within the configured time.
pub(crate) async fn serve(listener: TcpListener, vault: Arc<Vault>, tls: Arc<ServerConfig>, mut stop: watch::Receiver<bool>) {
    let config = &vault.config;
    let handshake = Duration::from_millis(config.handshake_timeout_ms);
    let acceptor = TlsAcceptor::from(tls);
    let all = Arc::new(Semaphore::new(config.max_connections));
    let counts = Arc::new(PerAddress::default());
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.header_timeout_ms))
        .max_buf_size(64 << 10)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    loop {
        while connections.try_join_next().is_some() {}
        let permit = tokio::select! {
            _ = stop.wait_for(|stopping| *stopping) => break,
            permit = Arc::clone(&all).acquire_owned() => permit.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            _ = stop.wait_for(|stopping| *stopping) => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: what is open will close.
                tracing::warn!(kind = %error.kind(), "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(place) = counts.take(peer.ip(), config.max_connections_per_address) else { continue };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(kind = %error.kind(), "TCP_NODELAY could not be set");
        }
        let (acceptor, builder, watcher, vault) = (acceptor.clone(), builder.clone(), graceful.watcher(), Arc::clone(&vault));
        connections.spawn(async move {
            let _held = (permit, place);
            let Ok(Ok(stream)) = tokio::time::timeout(handshake, acceptor.accept(stream)).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let vault = Arc::clone(&vault);
                async move { Ok::<_, std::convert::Infallible>(serve::answer(vault, request.map(Body::new)).await) }
            });
            // Broken and idle connections end here every day; nothing of them is worth a line.
            drop(watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned()).await);
        });
    }
    drop(listener);
    let drain = Duration::from_millis(config.drain_ms);
    let drained = async {
        graceful.shutdown().await;
        while connections.join_next().await.is_some() {}
    };
    if tokio::time::timeout(drain, drained).await.is_err() {
        tracing::warn!(ms = config.drain_ms, "requests were still under way when the time to drain was over");
    }
    // Nothing is served after this, and nobody holds the vault for it.
    connections.shutdown().await;
}
