//! Running curl against the gate.
//!
//! curl is what users will try first, so the demo and the tests judge by its
//! exit codes too.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use thiserror::Error;

use super::http1::{Response, parse_head};

/// Lifts OpenSSL's refusal of SHA-1 signatures and short RSA keys, for which
/// curl has no switch that reaches the client's own certificate.
const PERMISSIVE_OPENSSL_CONF: &str = "\
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = lax
[lax]
CipherString = DEFAULT:@SECLEVEL=0
";

/// curl's exit code for "the server closed the connection without an answer".
pub const EMPTY_REPLY: i32 = 52;
/// curl's exit code for a reset HTTP/2 stream.
pub const HTTP2_STREAM: i32 = 92;

/// The HTTP version curl is told to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpVersion {
    /// `--http1.1`
    Http1,
    /// `--http2`, by ALPN
    Http2,
}

/// A certificate and its key on disk, for curl's `--cert` and `--key`.
#[derive(Debug, Clone)]
pub struct CertFiles {
    /// PEM; certificates after the first are sent as the chain.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// One request by curl to `https://{sni}{path}`, connected to `127.0.0.1:{port}`.
#[derive(Debug, Clone)]
pub struct Curl {
    /// Where to connect.
    pub port: u16,
    /// Host name in URL, SNI and Host header.
    pub sni: String,
    /// Path and query, sent as given.
    pub path: String,
    /// HTTP version.
    pub version: HttpVersion,
    /// Header lines, `Name: value`.
    pub headers: Vec<String>,
    /// The client certificate.
    pub identity: Option<CertFiles>,
    /// What the server's certificate is checked against; unchecked without it.
    pub ca: Option<PathBuf>,
    /// Permits weak client certificates through an `OPENSSL_CONF` of its own.
    pub weak_certificates: bool,
    /// Bound on the whole transfer.
    pub max_time: Duration,
    /// Further arguments, put before the URL (such as `--tls-max`, `1.2`).
    pub extra: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct CurlOutcome {
    /// curl's exit code.
    pub exit: i32,
    /// The response, if one came; its body may be cut when `exit` is not 0.
    pub response: Option<Response>,
    /// What curl printed about it.
    pub stderr: String,
}

impl CurlOutcome {
    /// The response's status code.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.response.as_ref().map(|response| response.status)
    }

    /// The response's body, empty without a response.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.response
            .as_ref()
            .map_or(&[], |response| &response.body)
    }
}

/// Why curl could not be run.
#[derive(Debug, Error)]
pub enum CurlError {
    /// The files it works with could not be written or read.
    #[error("curl's working file {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// There is no curl, or it cannot be started.
    #[error("curl could not be started (is it installed?): {0}")]
    Start(#[source] io::Error),
    /// curl was ended by a signal, so there is no exit code to judge.
    #[error("curl was ended by a signal; it had printed: {stderr}")]
    Signal {
        /// Its error output.
        stderr: String,
    },
}

impl Curl {
    /// A request for `/` over HTTP/1.1, without a certificate, bounded to 10 s.
    #[must_use]
    pub fn new(port: u16, sni: &str) -> Self {
        Self {
            port,
            sni: sni.to_owned(),
            path: "/".to_owned(),
            version: HttpVersion::Http1,
            headers: Vec::new(),
            identity: None,
            ca: None,
            weak_certificates: false,
            max_time: Duration::from_secs(10),
            extra: Vec::new(),
        }
    }

    /// Presents this certificate.
    #[must_use]
    pub fn identity(mut self, cert: &Path, key: &Path) -> Self {
        self.identity = Some(CertFiles {
            cert: cert.to_owned(),
            key: key.to_owned(),
        });
        self
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    /// Sets the HTTP version.
    #[must_use]
    pub fn version(mut self, version: HttpVersion) -> Self {
        self.version = version;
        self
    }

    /// Permits SHA-1 and short keys in the client certificate.
    #[must_use]
    pub fn weak_certificates(mut self, permit: bool) -> Self {
        self.weak_certificates = permit;
        self
    }

    /// Runs curl and waits for it.
    ///
    /// # Errors
    /// When curl cannot be run at all; a failed transfer is an outcome.
    pub fn run(&self) -> Result<CurlOutcome, CurlError> {
        let dir = tempfile::tempdir().map_err(file(&std::env::temp_dir()))?;
        let head_file = dir.path().join("head");
        let body_file = dir.path().join("body");
        let mut command = Command::new("curl");
        command
            // First, or the user's ~/.curlrc would be read.
            .arg("--disable")
            .args(["--silent", "--show-error", "--path-as-is", "--globoff"])
            // Proxy variables of the environment must not lead the request astray.
            .args(["--noproxy", "*"])
            .arg("--max-time")
            .arg(format!("{:.3}", self.max_time.as_secs_f64()))
            .arg(match self.version {
                HttpVersion::Http1 => "--http1.1",
                HttpVersion::Http2 => "--http2",
            })
            .arg("--connect-to")
            .arg(format!("::127.0.0.1:{}", self.port))
            .arg("--dump-header")
            .arg(&head_file)
            .arg("--output")
            .arg(&body_file);
        match &self.ca {
            Some(ca) => command.arg("--cacert").arg(ca),
            None => command.arg("--insecure"),
        };
        if let Some(identity) = &self.identity {
            command
                .arg("--cert")
                .arg(&identity.cert)
                .arg("--key")
                .arg(&identity.key);
        }
        for line in &self.headers {
            command.arg("--header").arg(line);
        }
        if self.weak_certificates {
            let conf = dir.path().join("openssl.cnf");
            std::fs::write(&conf, PERMISSIVE_OPENSSL_CONF).map_err(file(&conf))?;
            command.env("OPENSSL_CONF", conf);
        }
        let output = command
            .args(&self.extra)
            .arg(format!("https://{}{}", self.sni, self.path))
            .stdin(Stdio::null())
            .output()
            .map_err(CurlError::Start)?;
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let Some(exit) = output.status.code() else {
            return Err(CurlError::Signal { stderr });
        };
        let head = read_if_there(&head_file)?;
        let body = read_if_there(&body_file)?;
        Ok(CurlOutcome {
            exit,
            response: last_head(&head).map(|(status, headers)| Response {
                status,
                headers,
                body,
            }),
            stderr,
        })
    }
}

/// curl dumps the heads of interim responses too; the last one counts.
fn last_head(dump: &[u8]) -> Option<(u16, Vec<(String, String)>)> {
    // httparse knows no "HTTP/2", and curl writes just that.
    let mut rest: Vec<u8> = latin1_lines(dump);
    let mut last = None;
    while let Ok(Some((status, headers, length))) = parse_head(&rest) {
        rest.drain(..length);
        last = Some((status, headers));
    }
    last
}

fn latin1_lines(dump: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(dump.len());
    for line in dump.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"HTTP/2 ") {
            Some(rest) => {
                out.extend_from_slice(b"HTTP/1.1 ");
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

fn read_if_there(path: &Path) -> Result<Vec<u8>, CurlError> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(file(path)),
    }
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> CurlError {
    let path = path.to_owned();
    move |source| CurlError::File { path, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_last_head_of_a_dump() {
        let dump = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/2 404 \r\nx-a: 1\r\n\r\n";
        let (status, headers) = last_head(dump).unwrap();
        assert_eq!(status, 404);
        assert_eq!(headers, [("x-a".to_owned(), "1".to_owned())]);
        assert!(last_head(b"").is_none());
    }

    #[test]
    fn a_refused_connection_is_an_outcome() {
        // Bound but never listening in TLS: the port is free again after the drop.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let outcome = Curl::new(port, "nobody.test").run().unwrap();
        assert_eq!(outcome.exit, 7);
        assert!(outcome.response.is_none());
        assert!(!outcome.stderr.is_empty());
    }
}
