//! Several requests on one HTTP/2 connection.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Body;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::front::Pair;
use super::http1::{Response, latin1};

/// Bound on a whole exchange.
const WITHIN: Duration = Duration::from_secs(15);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An open connection.
pub struct Http2 {
    sender: SendRequest<Empty<Bytes>>,
    runtime: Runtime,
}

/// A request that is under way.
pub struct UnderWay(JoinHandle<io::Result<Response>>);

impl Http2 {
    /// Connects to `127.0.0.1:{port}` as `front.test`.
    ///
    /// # Errors
    /// There is no TLS or no HTTP/2.
    pub fn connect(port: u16, client: Option<&Pair>, server_cert: &[u8]) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let handshake = handshake(port, client, server_cert);
        let (sender, _) = runtime.block_on(within(handshake))?;
        Ok(Self { sender, runtime })
    }

    /// Begins a GET with these header lines.
    ///
    /// # Errors
    /// A line is none.
    pub fn begin(&self, path: &str, lines: &[&str]) -> io::Result<UnderWay> {
        let mut request = Request::builder().uri(format!("https://front.test{path}"));
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            request = request.header(name, value);
        }
        let request = request.body(Empty::new()).map_err(io::Error::other)?;
        let mut sender = self.sender.clone();
        Ok(UnderWay(self.runtime.spawn(async move {
            let response = sender.send_request(request).await;
            let (parts, body) = response.map_err(io::Error::other)?.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?;
            let line =
                |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                    (name.as_str().to_owned(), latin1(value.as_bytes()))
                };
            Ok(Response {
                status: parts.status.as_u16(),
                headers: parts.headers.iter().map(line).collect(),
                body: body.to_bytes().to_vec(),
            })
        })))
    }

    /// Waits for its response.
    ///
    /// # Errors
    /// The stream is reset, or nothing comes in time.
    pub fn end(&self, request: UnderWay) -> io::Result<Response> {
        let ended = async { request.0.await.map_err(io::Error::other)? };
        self.runtime.block_on(within(ended))
    }

    /// A GET with these header lines.
    ///
    /// # Errors
    /// As [`Self::begin`] and [`Self::end`].
    pub fn get(&self, path: &str, lines: &[&str]) -> io::Result<Response> {
        self.end(self.begin(path, lines)?)
    }
}

pub(super) async fn within<T>(exchange: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(WITHIN, exchange)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// The connection, and the task that drives it.
pub(super) async fn handshake<B>(
    port: u16,
    client: Option<&Pair>,
    server_cert: &[u8],
) -> io::Result<(SendRequest<B>, JoinHandle<hyper::Result<()>>)>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let config = tls(client, server_cert).map_err(io::Error::other)?;
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let name = ServerName::try_from("front.test").map_err(io::Error::other)?;
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await?;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
            .await
            .map_err(io::Error::other)?;
    Ok((sender, tokio::spawn(connection)))
}

fn tls(client: Option<&Pair>, server_cert: &[u8]) -> Result<rustls::ClientConfig, BoxError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server_cert)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(Pair { cert, key }) => {
            let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
