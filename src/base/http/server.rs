//! The listener and its connections: each one owned, bounded in number and in every wait.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::auth::Guard;
use super::limits::Limits;
use super::routes::Routes;
use super::watched::Place;
use super::{connection, layers, process};
use crate::base::config;
use crate::base::shutdown::Stop;

/// The pause when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that is ours, before anything is served on it.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
    guard: Guard,
}

impl Bound {
    /// The address as it was bound: with port 0 asked for, the one that was given.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Binds the role's port; on 127.0.0.1 whatever the settings say unless the guard has a token to ask for.
///
/// # Errors
/// The address cannot be bound; the text names it and says what to change.
pub async fn bind(server: &config::Server, guard: Guard, default_port: u16) -> io::Result<Bound> {
    let host = if guard.may_face_others() { server.host.as_str() } else { loopback(&server.host, &guard) };
    for principal in guard.locked_out() {
        log::warn!(principal; "auth.{principal} is not set here while other tokens are, so its calls are refused");
    }
    let port = server.port.unwrap_or(default_port);
    let listener = TcpListener::bind((host, port)).await.map_err(|cause| {
        let advice = match cause.kind() {
            io::ErrorKind::AddrInUse => "choose another port with --set server.port=N, 0 for any free one",
            io::ErrorKind::PermissionDenied => "choose a port above 1023 with --set server.port=N",
            _ => "choose an address of this machine with --set server.host=ADDRESS",
        };
        io::Error::new(cause.kind(), format!("cannot listen on {host}:{port}: {cause}; {advice}"))
    })?;
    let addr = listener.local_addr()?;
    Ok(Bound { listener, addr, guard })
}

fn loopback(host: &str, guard: &Guard) -> &'static str {
    let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !is_local {
        let wanted = guard.wanted();
        log::warn!(host; "listening on 127.0.0.1 only: there is no token to ask for; set {wanted} (auth.insecure=true lifts this)");
    }
    "127.0.0.1"
}

/// Serves until stop is requested, then drains: no new connections, idle ones closed, requests in flight answered.
/// HTTP/2 is told to open no more streams. A handler of an upgraded connection, or of a stream that has no end, has to
/// ask its own [`Stop`].
///
/// The drain takes at most `drain_timeout`, and ends with `stop.ended()`. A client that leaves cancels its handler.
///
/// # Errors
/// None at present: what fails on the way concerns one connection only.
pub async fn serve(bound: Bound, routes: impl Into<Routes>, limits: Limits, stop: Stop) -> io::Result<()> {
    let Bound { listener, addr, guard } = bound;
    let router = layers::protect(routes.into(), &limits, guard).with_state(());
    let cut = CancellationToken::new();
    let shared = connection::Shared { router, patience: limits.patience(), stop: stop.clone(), cut: cut.clone() };
    let count = u32::try_from(process::connections_max(limits.max_connections)).unwrap_or(u32::MAX);
    let places = Arc::new(Semaphore::new(count as usize));
    let mut connections = JoinSet::new();
    while let Some((stream, place)) = next_connection(&listener, &places, &stop).await {
        connections.spawn(connection::serve(stream, place, shared.clone()));
        while let Some(ended) = connections.try_join_next() {
            if let Err(cause) = ended {
                log::error!("a connection's task failed; this is a bug: {cause}");
            }
        }
    }
    drop(listener);
    let in_time = tokio::select! {
        // Upgraded connections hold their places, too.
        _ = places.acquire_many(count) => true,
        () = tokio::time::sleep(limits.drain_timeout) => false,
        () = stop.ended() => false,
    };
    if !in_time {
        log::warn!(addr:% = addr; "closing connections whose requests were not answered in time");
    }
    cut.cancel();
    connections.shutdown().await;
    Ok(())
}

/// The next connection with the place it occupies; none once stop is requested.
async fn next_connection(listener: &TcpListener, places: &Arc<Semaphore>, stop: &Stop) -> Option<(TcpStream, Place)> {
    let accepted = async {
        // The place comes first: beyond the limit, connections stay in the kernel's queue. It is never closed.
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        Some((accept(listener).await, place))
    };
    tokio::select! {
        biased;
        () = stop.requested() => None,
        accepted = accepted => accepted,
    }
}

/// Accepts through all failures: those of the peer pass at once, those of the system after a pause.
async fn accept(listener: &TcpListener) -> TcpStream {
    let mut is_logged = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(cause) if is_the_peers(&cause) => {}
            Err(cause) => {
                if !is_logged {
                    log::error!("cannot accept connections, trying on; more open files may be needed: {cause}");
                    is_logged = true;
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_the_peers(cause: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(cause.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
