//! The HTTP client that adapters share: no redirects, no proxy of the system, no retries of its own.

use std::{error::Error as StdError, io, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use reqwest::{
    Client, RequestBuilder, Response, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{ACCEPT, HeaderMap, HeaderValue},
    redirect, retry,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::{
    body::Body,
    error::{Error, Fault},
    pace::Pace,
    port::Limits,
    refusal,
    request::Request,
};

/// How connections are made and kept.
#[derive(Clone, Copy, Debug)]
pub struct HttpOptions {
    /// Longest wait for a connection, name resolution and TLS among it.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Most unused connections kept for one provider.
    pub idle_max: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(2), idle_timeout: Duration::from_secs(30), idle_max: 32 }
    }
}

/// How often a shared connection is asked whether it lives, and how long its answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_PATIENCE: Duration = Duration::from_secs(5);

/// Why an adapter cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The base URL is none, is neither `http` nor `https`, or holds a user, a query or a fragment.
    #[error("the base URL must be http:// or https:// with a host, and have no user, query or fragment")]
    BaseUrl,
    /// The key cannot stand in a header.
    #[error("the API key has characters that cannot be sent")]
    ApiKey,
    /// There is no usable TLS: the system's certificates cannot be read.
    #[error("TLS cannot be set up")]
    Tls,
}

/// A pool of connections; cheap to clone. Adapters that share one share its connections.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
}

impl Http {
    /// Makes a pool.
    ///
    /// # Errors
    /// [`SettingsError::Tls`].
    pub fn new(options: HttpOptions) -> Result<Self, SettingsError> {
        let client = Client::builder()
            .user_agent(concat!("colloquy/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .tcp_nodelay(true)
            // A dead connection that several attempts share would let each of them run into its deadline.
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE_PATIENCE)
            .dns_resolver(Arc::new(Resolver))
            .connect_timeout(options.connect_timeout)
            .pool_idle_timeout(options.idle_timeout)
            .pool_max_idle_per_host(options.idle_max)
            .build();
        Ok(Self { client: client.map_err(|_| SettingsError::Tls)? })
    }

    pub(crate) fn post(&self, url: &Url, headers: HeaderMap, body: Vec<u8>) -> RequestBuilder {
        self.client.post(url.clone()).headers(headers).body(body)
    }

    /// Gets JSON with the adapter's headers, to see that it can be had; what it says is not looked at.
    pub(crate) async fn check(&self, url: &Url, adapter: &HeaderMap, limits: Limits) -> Result<(), Error> {
        let mut headers = adapter.clone();
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        let get = self.client.get(url.clone()).headers(headers);
        send(get, JSON, Pace::whole(limits)).await?.whole().await.map(drop)
    }
}

/// The content type of JSON.
pub(crate) const JSON: &str = "application/json";
/// The content type of event streams.
pub(crate) const EVENTS: &str = "text/event-stream";

/// The headers of one request: its own, then those of the adapter, which replace them.
pub(crate) fn headers(request: &Request, adapter: &HeaderMap, accept: &'static str) -> HeaderMap {
    let mut headers: HeaderMap = request.headers.iter().cloned().collect();
    for (name, value) in adapter {
        headers.insert(name, value.clone());
    }
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    headers
}

/// A JSON Schema as it is put into a request.
pub(crate) fn schema(source: &str) -> Result<Value, Error> {
    serde_json::from_str(source).map_err(|_| Error::Unsendable)
}

/// The address of `path` below a base URL.
pub(crate) fn endpoint(base: &str, path: &str) -> Result<Url, SettingsError> {
    let mut url = Url::parse(base).map_err(|_| SettingsError::BaseUrl)?;
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let reached = matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none();
    if !bare || !reached {
        return Err(SettingsError::BaseUrl);
    }
    url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
    Ok(url)
}

/// A header that holds a key after `before`; never shown.
pub(crate) fn key_header(before: &str, key: &SecretString) -> Result<HeaderValue, SettingsError> {
    let mut value = HeaderValue::try_from(format!("{before}{}", key.expose_secret()));
    if let Ok(value) = &mut value {
        value.set_sensitive(true);
    }
    value.map_err(|_| SettingsError::ApiKey)
}

/// Sends a request and gives the body of what comes back, when it is an answer of content type `wanted`.
///
/// # Errors
/// What went wrong, or the provider's refusal.
pub(crate) async fn send(request: RequestBuilder, wanted: &str, pace: Pace) -> Result<Body, Error> {
    let response = pace.within(request.send()).await?.map_err(|error| unsent(&error))?;
    if !response.status().is_success() {
        return Err(refused(response, pace).await);
    }
    let kind = response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(wanted) {
        return Err(Error::Malformed(Fault::ContentType));
    }
    Body::new(response, pace)
}

/// Longest wait for the body of a refusal: its status has said most of it.
const REFUSAL_PATIENCE: Duration = Duration::from_millis(500);

async fn refused(mut response: Response, pace: Pace) -> Error {
    let mut body = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = refusal::BODY_BYTES_MAX - body.len();
            body.extend(chunk.iter().take(room));
            if chunk.len() >= room {
                break;
            }
        }
    };
    // Whatever became of the body, the status stands.
    drop(pace.within(tokio::time::timeout(REFUSAL_PATIENCE, read)).await);
    refusal::of_response(response.status(), response.headers(), &body)
}

/// What became of a request that brought no response.
fn unsent(error: &reqwest::Error) -> Error {
    if causes(error).any(|cause| cause.is::<Unresolved>()) {
        return Error::Dns;
    }
    if causes(error).any(is_tls) {
        return Error::Tls;
    }
    if error.is_connect() {
        let found = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
        let kind = if error.is_timeout() { Some(io::ErrorKind::TimedOut) } else { found.map(io::Error::kind) };
        return Error::Connect(kind.unwrap_or(io::ErrorKind::Other));
    }
    if error.is_builder() {
        return Error::Unsendable;
    }
    lost(error)
}

/// What became of a connection that was in use.
pub(crate) fn lost(error: &reqwest::Error) -> Error {
    let parse = causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse);
    if parse { Error::Malformed(Fault::Http) } else { Error::Reset }
}

fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let first: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |error| StdError::source(*error))
}

/// An error of TLS; the standard library hides it within I/O errors, which do not name it as their source.
fn is_tls(cause: &(dyn StdError + 'static)) -> bool {
    let hidden = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    cause.is::<rustls::Error>() || hidden.is_some_and(|hidden| is_tls(hidden))
}

/// The system's resolver, with an error that can be told from others.
struct Resolver;

/// A name that could not be resolved. Its address is not repeated.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
struct Unresolved;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let found: BoxFuture<'static, _> = async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| Unresolved)?;
            let addresses: Vec<_> = found.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        }
        .boxed();
        found
    }
}
