//! Asking an explicit proxy for tunnels: by curl, byte by byte over HTTP/1.1, and over HTTP/2.

use std::io;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::ext::Protocol;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::{self, ClientError, ClientIdentity, ClientOptions, Connection};
use super::front::Pair;

/// Bound on a whole exchange over HTTP/2.
const WITHIN: Duration = Duration::from_secs(15);

/// What curl made of it; a status is 0 if there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Through {
    /// curl's exit code.
    pub exit: i32,
    /// The proxy's answer to CONNECT.
    pub proxy: u16,
    /// The site's answer.
    pub site: u16,
}

/// `curl --proxy https://127.0.0.1:{port} --proxy-cert … URL`. No certificate is checked.
///
/// # Errors
/// curl cannot be run.
pub fn curl(port: u16, client: Option<&Pair>, url: &str, more: &[&str]) -> io::Result<Through> {
    let mut command = Command::new("curl");
    command
        .args(["--disable", "--silent", "--globoff"])
        .args(["--insecure", "--proxy-insecure", "--noproxy", ""])
        .args(["--max-time", "15", "--output", "/dev/null"])
        .args(["--write-out", "%{http_connect} %{http_code}"])
        .arg("--proxy")
        .arg(format!("https://127.0.0.1:{port}"))
        .args(more);
    if let Some(Pair { cert, key }) = client {
        command
            .arg("--proxy-cert")
            .arg(cert)
            .arg("--proxy-key")
            .arg(key);
    }
    let output = command.arg(url).stdin(Stdio::null()).output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut statuses = printed.split(' ').map(|status| status.parse().unwrap_or(0));
    Ok(Through {
        exit: output.status.code().unwrap_or(-1),
        proxy: statuses.next().unwrap_or(0),
        site: statuses.next().unwrap_or(0),
    })
}

/// A TLS connection to the proxy, for HTTP/1.1.
///
/// # Errors
/// There is none.
pub fn open(port: u16, client: &Pair) -> Result<Connection, ClientError> {
    let read = |path| std::fs::read(path).map_err(|source| ClientError::Connect { port, source });
    let identity = ClientIdentity {
        chain_pem: read(&client.cert)?,
        key_pem: read(&client.key)?,
    };
    client::connect(
        port,
        "front.test",
        Some(&identity),
        &ClientOptions::default(),
    )
}

/// Sends a request's head as it is and gives the answer's status; 0 if the stream ends instead.
/// Whatever comes after the head stays to be read.
///
/// # Errors
/// Nothing comes in time, or no HTTP.
pub fn ask_raw(connection: &mut Connection, head: &str) -> Result<u16, ClientError> {
    connection.send_raw(head.as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let byte = connection.read_raw(1)?;
        if byte.is_empty() {
            return Ok(0);
        }
        answer.extend(byte);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.ok_or(ClientError::Malformed { what: answer })
}

/// CONNECT over HTTP/1.1.
///
/// # Errors
/// As [`ask_raw`].
pub fn ask(connection: &mut Connection, destination: &str) -> Result<u16, ClientError> {
    let head = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n\r\n");
    ask_raw(connection, &head)
}

/// CONNECT over HTTP/2: the status, and up to 64 bytes of what comes back for `inside`. With a
/// protocol it is RFC 8441's extended CONNECT.
///
/// # Errors
/// There is no TLS, no HTTP/2, or no answer in time; a reset stream is an error too.
pub fn ask_http2(
    port: u16,
    client: &Pair,
    server_cert: &[u8],
    destination: &str,
    protocol: Option<&'static str>,
    inside: &[u8],
) -> io::Result<(u16, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let config = tls(client, server_cert).map_err(io::Error::other)?;
    runtime.block_on(async {
        let exchange = exchange(port, config, destination, protocol, inside);
        tokio::time::timeout(WITHIN, exchange)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    })
}

async fn exchange(
    port: u16,
    config: rustls::ClientConfig,
    destination: &str,
    protocol: Option<&'static str>,
    inside: &[u8],
) -> io::Result<(u16, Vec<u8>)> {
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let name = ServerName::try_from("front.test").map_err(io::Error::other)?;
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
            .await
            .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(Method::CONNECT);
    request = match protocol {
        None => request.uri(destination),
        Some(protocol) => request
            .uri(format!("https://{destination}/"))
            .extension(Protocol::from_static(protocol)),
    };
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    let status = response.status().as_u16();
    let mut back = vec![0; 64];
    let mut read = 0;
    if status == 200 {
        let tunnel = hyper::upgrade::on(response)
            .await
            .map_err(io::Error::other)?;
        let mut tunnel = TokioIo::new(tunnel);
        tunnel.write_all(inside).await?;
        read = tunnel.read(&mut back).await?;
    }
    back.truncate(read);
    connection.abort();
    Ok((status, back))
}

fn tls(
    client: &Pair,
    server_cert: &[u8],
) -> Result<rustls::ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server_cert)?)?;
    let chain = CertificateDer::pem_file_iter(&client.cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&client.key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
