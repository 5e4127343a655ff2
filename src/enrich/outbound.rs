//! The one way out: clients that connect only to allowed places, at checked addresses, and follow nothing.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::{Client, Url, redirect::Policy};
use tokio::net::TcpStream;

use crate::{
    error::{Denied, Error, SettingsError, UnreachableKind},
    resolver::{CheckedResolver, Lookup, ResolveError, check_address},
};

/// How long a connection may take to come about; the call's deadline may be earlier.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long an unused connection is kept: less than what servers commonly keep theirs.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// Unused connections kept for each host.
const IDLE_CONNECTIONS_MAX: usize = 8;
/// Largest headers of an answer over HTTP/2, in bytes; HTTP/1.1 has its own bound in the client.
const HEADERS_BYTES_MAX: u32 = 64 << 10;

/// A place that may be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The host as URLs write it: a name in lower case, an IPv4 address, an IPv6 address in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Destination {
    /// Where a URL leads, arguments in braces in its path or query notwithstanding; none when it names no host.
    pub fn of_url(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        Some(Self { host: url.host_str()?.to_owned(), port: url.port_or_known_default()? })
    }
}

/// Makes clients for allowed destinations.
#[derive(Clone)]
pub struct Outbound {
    allowed: Arc<[Destination]>,
    allow_private: bool,
    resolver: CheckedResolver,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Outbound");
        shown.field("allowed", &self.allowed).field("allow_private", &self.allow_private).finish_non_exhaustive()
    }
}

impl Outbound {
    /// A way out to these places. `allow_private` admits loopback, private and carrier-grade NAT addresses; metadata
    /// services, link-local and other special addresses are refused always.
    pub fn new(allowed: impl Into<Arc<[Destination]>>, allow_private: bool, lookup: Arc<dyn Lookup>) -> Self {
        Self { allowed: allowed.into(), allow_private, resolver: CheckedResolver::new(lookup, allow_private) }
    }

    /// Whether a URL leads to an allowed place. An address that stands in it is checked here; those of a name are
    /// checked when it is resolved.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(&self, url: &Url) -> Result<(), Denied> {
        let (host, port) = url.host_str().zip(url.port_or_known_default()).ok_or(Denied::Unlisted)?;
        if !self.allowed.iter().any(|allowed| allowed.port == port && allowed.host.eq_ignore_ascii_case(host)) {
            return Err(Denied::Unlisted);
        }
        literal(host).map_or(Ok(()), |address| check_address(address, self.allow_private))
    }

    /// A client with connections of its own.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn client(&self) -> Result<Client, SettingsError> {
        Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            // What is tried again is the caller's to decide.
            .retry(reqwest::retry::never())
            .dns_resolver(Arc::new(self.resolver.clone()))
            .connect_timeout(CONNECT_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http2_max_header_list_size(HEADERS_BYTES_MAX)
            .tcp_nodelay(true)
            .build()
            .map_err(|_| SettingsError::new("client", "TLS cannot be set up"))
    }

    /// Opens a connection to where `url` leads, and closes it.
    pub(crate) async fn knock(&self, url: &Url) -> Result<(), Error> {
        self.check(url).map_err(Error::Denied)?;
        let (host, port) = url.host_str().zip(url.port_or_known_default()).ok_or(Error::Denied(Denied::Unlisted))?;
        let addresses = match literal(host) {
            Some(address) => vec![address],
            None => self.resolver.addresses(host).await.map_err(|error| match error {
                ResolveError::Denied(denied) => Error::Denied(denied),
                ResolveError::Lookup(_) => Error::Unreachable(UnreachableKind::Name),
            })?,
        };
        let addresses: Vec<_> = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        let connected = TcpStream::connect(addresses.as_slice()).await;
        connected.map(drop).map_err(|_| Error::Unreachable(UnreachableKind::Connect))
    }
}

/// The address that a host of a URL is, if it is one.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

/// What an error of the client means, when `sent` tells whether the request may have left.
pub(crate) fn error_of(error: &reqwest::Error, sent: bool) -> Error {
    if sent {
        return Error::Interrupted;
    }
    match cause::<ResolveError>(error) {
        Some(ResolveError::Denied(denied)) => Error::Denied(*denied),
        Some(ResolveError::Lookup(_)) => Error::Unreachable(UnreachableKind::Name),
        None => Error::Unreachable(UnreachableKind::Connect),
    }
}

/// The first cause of that type.
pub(crate) fn cause<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |error| error.source()).find_map(<dyn std::error::Error>::downcast_ref)
}
