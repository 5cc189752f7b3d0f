//! From a name to a connection that may carry requests: resolve, connect, TLS, a deadline for each.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::dns::Names;
use super::error::{Cause, SendError};
use crate::config::{self, Address, Protocol};
use crate::reactor::tls::{Alpn, Connector, TlsError};
use crate::reactor::{Conn, Io, SocketOptions};
use crate::telemetry::FailurePhase;
use crate::units::UpstreamId;

/// The TLS side of every upstream: certificates and sessions. Made once per process.
#[derive(Clone)]
pub struct Connectors(Arc<[Option<Connector>]>);

impl Connectors {
    /// Loads the authorities of every upstream that speaks TLS.
    ///
    /// # Errors
    /// The first upstream whose settings don't work, by name.
    pub fn new(upstreams: &[config::Upstream]) -> Result<Self, (String, TlsError)> {
        let connector = |upstream: &config::Upstream| {
            if !upstream.base.tls {
                return Ok(None);
            }
            let alpn = match upstream.protocol {
                Protocol::Auto => Alpn::Either,
                Protocol::Http1 => Alpn::Http1,
                Protocol::Http2 => Alpn::Http2,
            };
            Connector::new(&upstream.base.host, upstream.ca_file.as_deref(), alpn)
                .map(Some)
                .map_err(|error| (upstream.name.clone(), error))
        };
        upstreams.iter().map(connector).collect::<Result<Vec<_>, _>>().map(|all| Self(all.into()))
    }

    pub(super) fn of(&self, upstream: UpstreamId) -> Option<Connector> {
        self.0[upstream.index()].clone()
    }
}

impl fmt::Debug for Connectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connectors").field(&self.0.len()).finish()
    }
}

/// RFC 8305, section 5: how long an attempt goes on alone before the next address is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Resolves, connects and shakes hands. Also says until when the handshake may take: HTTP/2's, which is the
/// caller's, counts too.
///
/// # Errors
/// Always `sent: false`.
///
/// # Cancel safety
/// Dropping the future closes what it opened.
pub(super) async fn connect(
    upstream: &config::Upstream,
    names: &Names,
    connector: Option<&Connector>,
) -> Result<(Io, Instant), SendError> {
    let options = SocketOptions { receive_buffer_bytes: Some(upstream.receive_buffer_bytes) };
    let conn = if let Some(path) = &upstream.base.unix {
        let address = Address::Unix(path.clone());
        limited(FailurePhase::Connect, upstream.connect_timeout, Conn::connect(&address, options)).await?
    } else {
        let addresses = addresses(upstream, names).await?;
        limited(FailurePhase::Connect, upstream.connect_timeout, staggered(&addresses, options)).await?
    };
    let deadline = Instant::now() + upstream.handshake_timeout;
    let io = match connector {
        Some(connector) => {
            limited(FailurePhase::Handshake, upstream.handshake_timeout, connector.connect(conn)).await?
        }
        None => Io::Plain(conn),
    };
    Ok((io, deadline))
}

async fn addresses(upstream: &config::Upstream, names: &Names) -> Result<Rc<[SocketAddr]>, SendError> {
    let (host, port) = (upstream.base.host.as_str(), upstream.base.port);
    if let Ok(literal) = host.parse::<IpAddr>() {
        return Ok([SocketAddr::new(literal, port)].into());
    }
    // `getaddrinfo` on the blocking pool: it may take seconds, and reads files.
    let lookup = async { lookup_host((host, port)).await.map(Iterator::collect) };
    names.resolve(upstream.dns_timeout, lookup).await.map_err(|cause| SendError::unsent(FailurePhase::Dns, cause))
}

async fn limited<T>(
    phase: FailurePhase,
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, SendError> {
    match timeout(limit, work).await {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(error)) => Err(SendError::unsent(phase, error.into())),
        Err(_) => Err(SendError::unsent(phase, Cause::Timeout(limit))),
    }
}

type Attempt = Pin<Box<dyn Future<Output = io::Result<Conn>>>>;

/// Tries the addresses in turn, each beginning [`STAGGER`] after the one before or at its failure. The first
/// to stand wins, the others are dropped.
async fn staggered(addresses: &[SocketAddr], options: SocketOptions) -> io::Result<Conn> {
    let mut waiting = addresses.iter();
    let mut racing: Vec<Attempt> = Vec::with_capacity(1);
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut pause: Pin<&mut Sleep> = pin!(sleep(Duration::ZERO));
    poll_fn(|cx| {
        loop {
            let mut failed = false;
            let mut position = 0;
            while position < racing.len() {
                match racing[position].as_mut().poll(cx) {
                    Poll::Ready(Ok(conn)) => return Poll::Ready(Ok(conn)),
                    Poll::Ready(Err(error)) => {
                        failure = error;
                        failed = true;
                        drop(racing.swap_remove(position));
                    }
                    Poll::Pending => position += 1,
                }
            }
            let due = failed || racing.is_empty() || pause.as_mut().poll(cx).is_ready();
            match if due { waiting.next() } else { None } {
                Some(&address) => {
                    let attempt = async move { Conn::connect(&Address::Tcp(address), options).await };
                    racing.push(Box::pin(attempt));
                    pause.as_mut().reset(Instant::now() + STAGGER);
                }
                None if racing.is_empty() => {
                    let failure = mem::replace(&mut failure, io::ErrorKind::Other.into());
                    return Poll::Ready(Err(failure));
                }
                None => return Poll::Pending,
            }
        }
    })
    .await
}
