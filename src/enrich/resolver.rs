//! Names to addresses, checked on the way: the address that was checked is the one that is connected to.

use std::{io, net::IpAddr, net::SocketAddr, sync::Arc};

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{
    address::{AddressKind, kind_of},
    error::Denied,
};

/// Most addresses of a name that are looked at.
const ADDRESSES_MAX: usize = 64;

/// Where addresses of names come from.
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a name.
    ///
    /// # Errors
    /// When the name cannot be resolved.
    fn lookup(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's own resolver. A lookup that is dropped goes on in its thread until the system gives it up.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Resolves for the HTTP client, which connects to nothing else than what this returns.
#[derive(Clone)]
pub(crate) struct CheckedResolver {
    lookup: Arc<dyn Lookup>,
    allow_private: bool,
}

impl CheckedResolver {
    pub(crate) fn new(lookup: Arc<dyn Lookup>, allow_private: bool) -> Self {
        Self { lookup, allow_private }
    }

    /// The addresses of a name. One that must not be reached refuses them all: a name that leads partly inside is
    /// not to be trusted with the rest.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut found = self.lookup.lookup(host).await.map_err(ResolveError::Lookup)?;
        found.truncate(ADDRESSES_MAX);
        for address in &found {
            check_address(*address, self.allow_private).map_err(ResolveError::Denied)?;
        }
        if found.is_empty() {
            return Err(ResolveError::Lookup(io::ErrorKind::NotFound.into()));
        }
        Ok(found)
    }
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("the name was not resolved")]
    Lookup(#[source] io::Error),
    #[error(transparent)]
    Denied(Denied),
}

/// Whether an address may be connected to.
pub(crate) fn check_address(address: IpAddr, allow_private: bool) -> Result<(), Denied> {
    match kind_of(address) {
        Some(kind) if !(allow_private && AddressKind::can_be_allowed(kind)) => Err(Denied::Address(kind)),
        _ => Ok(()),
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let found = resolver.addresses(name.as_str()).await?;
            // Port 0 stands for the port of the URL.
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
