//! Asking an explicit proxy for tunnels: by curl, byte by byte over HTTP/1.1, and over HTTP/2.

use std::io;
use std::process::{Command, Stdio};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::ext::Protocol;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{ClientError, Connection};
use super::front::Pair;
use super::http2;

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
    let exchange = exchange(port, client, server_cert, destination, protocol, inside);
    runtime.block_on(http2::within(exchange))
}

async fn exchange(
    port: u16,
    client: &Pair,
    server_cert: &[u8],
    destination: &str,
    protocol: Option<&'static str>,
    inside: &[u8],
) -> io::Result<(u16, Vec<u8>)> {
    let (mut sender, connection) = http2::handshake(port, Some(client), server_cert).await?;
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
