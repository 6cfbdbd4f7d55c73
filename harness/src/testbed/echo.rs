//! A backend that answers with what it received.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::http1::{latin1, values};

/// The request header that dictates response headers: a JSON list of `[name, value]`.
pub const RESPONSE_HEADERS: &str = "x-echo-response-headers";

/// Largest request head taken, well above any `max_request_headers_kb` under test.
const MAX_HTTP2_HEAD_BYTES: u32 = 8 << 20;
/// The same for HTTP/1.1.
const MAX_HTTP1_HEAD_BYTES: usize = 8 << 20;
/// hyper's default of 100 would turn "too many headers" into the backend's refusal.
const MAX_HEADERS: usize = 4096;

/// Why the backend did not start.
#[derive(Debug, Error)]
pub enum EchoError {
    /// No loopback port could be opened.
    #[error("the echo backend could not open a port on 127.0.0.1: {0}")]
    Listen(#[source] io::Error),
    /// Its thread or runtime could not be made.
    #[error("the echo backend's thread could not start: {0}")]
    Thread(#[source] io::Error),
}

/// What the backend received, as it answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoReply {
    /// The request method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`: what the backend spoke.
    pub version: String,
    /// Every header, duplicates included; values byte by byte as Latin-1.
    /// The order is that of each name's first appearance.
    pub headers: Vec<(String, String)>,
    /// The request trailers, likewise.
    pub trailers: Vec<(String, String)>,
    /// Length of the body.
    pub body_bytes: usize,
}

impl EchoReply {
    /// Reads the backend's answer.
    ///
    /// # Errors
    /// When the bytes are not the JSON the backend writes.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// All values of a header, letter case ignored.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    /// The value of a header that came exactly once; `None` if absent or repeated.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// The running backend; dropping it stops it.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Starts the backend on a free loopback port, in a thread of its own.
    ///
    /// # Errors
    /// When no port or no thread is to be had.
    pub fn start() -> Result<Self, EchoError> {
        let listener =
            std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(EchoError::Listen)?;
        listener.set_nonblocking(true).map_err(EchoError::Listen)?;
        let address = listener.local_addr().map_err(EchoError::Listen)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(EchoError::Thread)?;
        // Registered here so that a failure is reported instead of dying in the thread.
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener).map_err(EchoError::Listen)?
        };
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("echo-backend".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        () = accept(listener, counter) => {}
                        _ = stopped => {}
                    }
                });
                // Dropping the runtime ends the connections that are still open.
            })
            .map_err(EchoError::Thread)?;
        Ok(Self {
            address,
            requests,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where the backend listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests arrived so far, counted at their head.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed already; a second one here would abort.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, requests: Arc<AtomicU64>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: without the pause this would spin.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        let requests = Arc::clone(&requests);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                requests.fetch_add(1, Ordering::SeqCst);
                answer(request)
            });
            let mut server = Builder::new(TokioExecutor::new());
            server
                .http1()
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_HTTP1_HEAD_BYTES);
            server.http2().max_header_list_size(MAX_HTTP2_HEAD_BYTES);
            // A peer that goes away in the middle is the tests' daily business.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut reply = EchoReply {
        method: head.method.to_string(),
        path: head
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        version: format!("{:?}", head.version),
        headers: pairs(&head.headers),
        trailers: Vec::new(),
        body_bytes: 0,
    };
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Ok(refusal(&format!("reading the body failed: {error}"))),
        };
        if let Some(data) = frame.data_ref() {
            reply.body_bytes = reply.body_bytes.saturating_add(data.len());
        }
        if let Some(trailers) = frame.trailers_ref() {
            reply.trailers.extend(pairs(trailers));
        }
    }
    let text = match serde_json::to_vec(&reply) {
        Ok(text) => text,
        Err(error) => return Ok(refusal(&format!("writing the reply failed: {error}"))),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for wanted in head.headers.get_all(RESPONSE_HEADERS) {
        if let Err(what) = add_wanted(wanted, response.headers_mut()) {
            return Ok(refusal(&format!("{RESPONSE_HEADERS}: {what}")));
        }
    }
    Ok(response)
}

fn add_wanted(wanted: &HeaderValue, into: &mut HeaderMap) -> Result<(), String> {
    let list: Vec<(String, String)> =
        serde_json::from_slice(wanted.as_bytes()).map_err(|error| error.to_string())?;
    for (name, value) in list {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        // The way back of `latin1`: characters are bytes.
        let value: Vec<u8> = value
            .chars()
            .map(|c| u8::try_from(u32::from(c)).map_err(|_| format!("{c:?} is not Latin-1")))
            .collect::<Result<_, _>>()?;
        let value = HeaderValue::from_bytes(&value).map_err(|error| error.to_string())?;
        into.append(name, value);
    }
    Ok(())
}

fn refusal(what: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(what.as_bytes())));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), latin1(value.as_bytes())))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpStream;

    use super::*;
    use crate::testbed::http1::read_response;

    fn exchange(echo: &Echo, request: &[u8]) -> crate::testbed::http1::Response {
        let mut stream = TcpStream::connect(echo.address()).unwrap();
        stream.write_all(request).unwrap();
        read_response(&mut stream, &mut Vec::new(), false).unwrap()
    }

    #[test]
    fn tells_headers_trailers_and_body_length() {
        let echo = Echo::start().unwrap();
        let response = exchange(
            &echo,
            b"POST /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-B: \xfe\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
              3\r\nabc\r\n0\r\nX-T: end\r\n\r\n",
        );
        let reply = EchoReply::parse(&response.body).unwrap();
        assert_eq!(
            (reply.method.as_str(), reply.path.as_str()),
            ("POST", "/a?b")
        );
        assert_eq!(reply.all("X-A"), ["1", "2"]);
        assert_eq!(reply.one("X-A"), None);
        assert_eq!(reply.one("x-b"), Some("\u{fe}"));
        assert_eq!(reply.trailers, [("x-t".to_owned(), "end".to_owned())]);
        assert_eq!(reply.body_bytes, 3);
        assert_eq!(echo.requests(), 1);
    }

    #[test]
    fn sets_the_response_headers_it_is_told() {
        let echo = Echo::start().unwrap();
        let response = exchange(
            &echo,
            b"GET / HTTP/1.1\r\nHost: h\r\nx-echo-response-headers: [[\"X-R\",\"1\"],[\"x-r\",\"\\u00ff\"]]\r\n\r\n",
        );
        let values: Vec<_> = response
            .headers
            .iter()
            .filter(|(n, _)| n == "x-r")
            .collect();
        assert_eq!(values.len(), 2);
        assert_eq!(values[1].1, "\u{ff}");
        let refused = exchange(
            &echo,
            b"GET / HTTP/1.1\r\nHost: h\r\nx-echo-response-headers: nonsense\r\n\r\n",
        );
        assert_eq!(refused.status, 400);
    }

    #[test]
    fn takes_many_and_large_headers() {
        let echo = Echo::start().unwrap();
        let mut request = b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec();
        for number in 0..1000 {
            request.extend(format!("x-{number}: {}\r\n", "v".repeat(500)).bytes());
        }
        request.extend(b"\r\n");
        let reply = EchoReply::parse(&exchange(&echo, &request).body).unwrap();
        assert_eq!(reply.headers.len(), 1001);
    }

    #[test]
    fn stops_when_dropped() {
        let echo = Echo::start().unwrap();
        let address = echo.address();
        let _open = TcpStream::connect(address).unwrap();
        drop(echo);
        assert!(TcpStream::connect(address).is_err());
    }
}
