//! The one backend: pooled HTTP/1.1 connections, in clear text or over mTLS.

use core::error::Error as StdError;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mtls_gate_rustls::BackendRefused;
use thiserror::Error;

use super::ServeOptions;

/// A body on its way, to a backend or to a client.
pub(super) type AnyBody = BoxBody<Bytes, BoxError>;
pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// Shorter than backends keep idle connections (most 60 s or longer), so that one is not used just
/// when its end closes it.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// A response's head at the most, and what is read ahead of a slow client.
const BUFFER_BYTES: usize = 128 * 1024;
/// Characters of an error that are logged.
const SHOWN_CHARACTERS: usize = 300;

/// `--upstream`
#[derive(Clone, Debug)]
pub(super) struct UpstreamUrl {
    scheme: Scheme,
    authority: Authority,
}

impl UpstreamUrl {
    pub(super) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }
}

pub(super) fn parse_url(text: &str) -> Result<UpstreamUrl, String> {
    let example = "such as http://127.0.0.1:8080";
    let url: Uri = text
        .parse()
        .map_err(|error| format!("not a URL, {example}: {error}"))?;
    if url.path_and_query().is_some_and(|path| path != "/") {
        return Err(format!("has a path, which is not used; {example}"));
    }
    let parts = url.into_parts();
    match (parts.scheme, parts.authority) {
        (Some(scheme), Some(authority)) if scheme == Scheme::HTTP || scheme == Scheme::HTTPS => {
            if authority.as_str().contains('@') {
                return Err("holds user information, which is not used".to_owned());
            }
            Ok(UpstreamUrl { scheme, authority })
        }
        _ => Err(format!("not an http or https URL, {example}")),
    }
}

/// Why a backend gave no response. Clients are told the status alone.
#[derive(Debug, Error)]
pub(super) enum UpstreamError {
    /// No connection.
    #[error("connecting to the backend: {0}")]
    Connect(String),
    /// A connection, but not to who was expected.
    #[error("{0}")]
    Refused(BackendRefused),
    /// The handshake with it failed otherwise.
    #[error("TLS with the backend: {0}")]
    Tls(String),
    /// It did not answer in time.
    #[error("no response within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The client's body passed the limit on the way.
    #[error(transparent)]
    BodyTooLarge(BodyTooLarge),
    /// The connection ended instead.
    #[error("the backend's response failed: {0}")]
    Failed(String),
}

/// `--max-body-bytes`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the request's body is longer than {limit} bytes")]
pub(super) struct BodyTooLarge {
    pub(super) limit: u64,
}

/// Where requests go.
pub(super) struct Upstream {
    url: UpstreamUrl,
    client: Pool,
    response_within: Duration,
}

enum Pool {
    Http(Client<HttpConnector, AnyBody>),
    Https(Client<HttpsConnector<HttpConnector>, AnyBody>),
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("url", &self.url).finish()
    }
}

impl Upstream {
    pub(super) fn new(
        url: &UpstreamUrl,
        options: &ServeOptions,
        tls: Option<rustls::ClientConfig>,
    ) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(options.limits.connect_timeout));
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .http1_max_buf_size(BUFFER_BYTES);
        let client = match tls {
            None => Pool::Http(builder.build(tcp)),
            Some(tls) => Pool::Https(
                builder.build(
                    HttpsConnectorBuilder::new()
                        .with_tls_config(tls)
                        .https_only()
                        .enable_http1()
                        .wrap_connector(tcp),
                ),
            ),
        };
        Self {
            url: url.clone(),
            client,
            response_within: options.limits.upstream_timeout,
        }
    }

    /// The backend's address in the place of the request's own.
    pub(super) fn uri(&self, path: PathAndQuery) -> Result<Uri, hyper::http::Error> {
        Uri::builder()
            .scheme(self.url.scheme.clone())
            .authority(self.url.authority.clone())
            .path_and_query(path)
            .build()
    }

    /// Sends the request and waits for the response's head, as long as the body grows that was `sent`.
    pub(super) async fn send(
        &self,
        request: Request<AnyBody>,
        sent: &AtomicU64,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let mut response = match &self.client {
            Pool::Http(client) => client.request(request),
            Pool::Https(client) => client.request(request),
        };
        let mut so_far = 0;
        loop {
            match tokio::time::timeout(self.response_within, &mut response).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(why(&error)),
                Err(_) => {
                    // A long upload is no slow backend.
                    let now = sent.load(Ordering::Relaxed);
                    if now == so_far {
                        return Err(UpstreamError::Timeout(self.response_within));
                    }
                    so_far = now;
                }
            }
        }
    }
}

fn why(error: &hyper_util::client::legacy::Error) -> UpstreamError {
    if let Some(too_large) = find::<BodyTooLarge>(error) {
        return UpstreamError::BodyTooLarge(*too_large);
    }
    match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) => {
            if let Some(refused) = other.0.downcast_ref::<BackendRefused>() {
                return UpstreamError::Refused(refused.clone());
            }
        }
        Some(tls) => return UpstreamError::Tls(shown(tls)),
        None => {}
    }
    if error.is_connect() {
        UpstreamError::Connect(shown(error))
    } else {
        UpstreamError::Failed(shown(error))
    }
}

/// An error among the causes.
fn find<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = cause(error);
    }
    None
}

/// What is behind an error. An `io::Error` gives its inner error's cause as its own, and leaves out
/// the inner one.
fn cause<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// The innermost cause, in one bounded line.
fn shown(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(next) = cause(innermost) {
        innermost = next;
    }
    innermost
        .to_string()
        .chars()
        .flat_map(char::escape_debug)
        .take(SHOWN_CHARACTERS)
        .collect()
}

/// A body whose frames are looked at on their way.
pub(super) struct Watched<F> {
    inner: Incoming,
    look: F,
}

impl<F: FnMut(&mut Frame<Bytes>) -> Result<(), BoxError> + Unpin> Watched<F> {
    pub(super) fn new(inner: Incoming, look: F) -> Self {
        Self { inner, look }
    }
}

impl<F: FnMut(&mut Frame<Bytes>) -> Result<(), BoxError> + Unpin> Body for Watched<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                Poll::Ready(Some((self.look)(&mut frame).map(|()| frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
