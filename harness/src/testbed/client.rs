//! A blocking TLS client for requests no ordinary client would send.
//!
//! It runs at OpenSSL's security level 0 and offers every signature algorithm,
//! so that weak and unusual certificates reach the gate and are judged there.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    HandshakeError, Ssl, SslContext, SslContextBuilder, SslMethod, SslSession, SslSessionCacheMode,
    SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use thiserror::Error;

use super::http1::{self, Response, ResponseError};

/// Everything OpenSSL 3 can sign with, the weak ones last.
const SIGNATURE_ALGORITHMS: &str = "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:ed448:\
rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:\
rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:\
RSA+SHA256:RSA+SHA384:RSA+SHA512:ECDSA+SHA224:RSA+SHA224:ECDSA+SHA1:RSA+SHA1";

/// What the client presents.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// The end entity's certificate first, then whatever is to be sent after it.
    pub chain_pem: Vec<u8>,
    /// The end entity's private key.
    pub key_pem: Vec<u8>,
}

/// How the client connects.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The highest TLS version offered; the newest when unset.
    pub max_version: Option<SslVersion>,
    /// Protocols offered by ALPN, none when empty. The reader speaks HTTP/1.1 only.
    pub alpn: Vec<String>,
    /// Bound on every single read and write.
    pub timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            max_version: None,
            alpn: vec!["http/1.1".to_owned()],
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why there is no connection or no outcome.
#[derive(Debug, Error)]
pub enum ClientError {
    /// OpenSSL did not take a setting, a certificate or a key.
    #[error("setting up TLS ({what}): {source}")]
    Setup {
        /// What was being set.
        what: &'static str,
        /// OpenSSL's words.
        source: ErrorStack,
    },
    /// The chain holds no certificate.
    #[error("the client identity holds no certificate")]
    NoCertificate,
    /// An ALPN protocol name is empty or longer than 255 bytes.
    #[error("{name:?} is no ALPN protocol name")]
    Alpn {
        /// The name.
        name: String,
    },
    /// TCP failed.
    #[error("connecting to 127.0.0.1:{port}: {source}")]
    Connect {
        /// The port.
        port: u16,
        /// What happened.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS handshake: {what}")]
    Handshake {
        /// OpenSSL's words, an alert among them.
        what: String,
    },
    /// Sending failed, for example because the peer has closed already.
    #[error("sending: {0}")]
    Send(#[source] io::Error),
    /// Nothing came within the time allowed.
    #[error("no answer within the time allowed; {} bytes had come", partial.len())]
    Timeout {
        /// What had come.
        partial: Vec<u8>,
    },
    /// What came is no HTTP/1.1 response.
    #[error("{what}")]
    Malformed {
        /// What was wrong.
        what: String,
    },
}

/// What came back for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A complete response.
    Response(Response),
    /// The stream ended without one.
    Closed {
        /// What had come of a response; empty when nothing had.
        partial: Vec<u8>,
        /// How it ended: a clean end of stream, a reset or a TLS alert, in words.
        how: String,
    },
}

impl Outcome {
    /// The response, if there is one.
    #[must_use]
    pub fn response(self) -> Option<Response> {
        match self {
            Self::Response(response) => Some(response),
            Self::Closed { .. } => None,
        }
    }

    /// Whether the stream ended with not one byte of a response.
    #[must_use]
    pub fn closed_silently(&self) -> bool {
        matches!(self, Self::Closed { partial, .. } if partial.is_empty())
    }
}

/// A TLS session to resume, with the context (and so the identity) it came from.
#[derive(Clone)]
pub struct Session {
    setup: Setup,
    session: SslSession,
}

impl Session {
    /// Connects again, offering this session. Whether it was taken tells
    /// [`Connection::resumed`].
    ///
    /// # Errors
    /// As [`connect`].
    pub fn connect(&self, port: u16, sni: &str) -> Result<Connection, ClientError> {
        self.setup.connect(port, sni, Some(&self.session))
    }
}

/// An open TLS connection.
pub struct Connection {
    stream: SslStream<TcpStream>,
    /// What was read beyond the last response.
    buffer: Vec<u8>,
    setup: Setup,
}

#[derive(Clone)]
struct Setup {
    context: SslContext,
    /// The newest session the server gave; in TLS 1.3 they come after the handshake.
    newest: Arc<Mutex<Option<SslSession>>>,
    timeout: Duration,
}

/// Connects to `127.0.0.1:{port}`. The server's certificate is not checked.
/// An empty `sni` sends none.
///
/// # Errors
/// When the identity is unusable or the connection or handshake fails.
pub fn connect(
    port: u16,
    sni: &str,
    identity: Option<&ClientIdentity>,
    options: &ClientOptions,
) -> Result<Connection, ClientError> {
    Setup::new(identity, options)?.connect(port, sni, None)
}

impl Setup {
    fn new(
        identity: Option<&ClientIdentity>,
        options: &ClientOptions,
    ) -> Result<Self, ClientError> {
        let mut builder =
            SslContextBuilder::new(SslMethod::tls_client()).map_err(setup("making a context"))?;
        // Before the certificate: the level decides which ones are taken.
        builder.set_security_level(0);
        builder.set_verify(SslVerifyMode::NONE);
        builder
            .set_sigalgs_list(SIGNATURE_ALGORITHMS)
            .map_err(setup("signature algorithms"))?;
        builder
            .set_max_proto_version(options.max_version)
            .map_err(setup("TLS version"))?;
        if !options.alpn.is_empty() {
            let wire = alpn_wire(&options.alpn)?;
            builder.set_alpn_protos(&wire).map_err(setup("ALPN"))?;
        }
        if let Some(identity) = identity {
            present(&mut builder, identity)?;
        }
        let newest = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&newest);
        builder.set_session_cache_mode(
            SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL_STORE,
        );
        builder.set_new_session_callback(move |_, session| {
            *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        });
        Ok(Self {
            context: builder.build(),
            newest,
            timeout: options.timeout,
        })
    }

    #[allow(unsafe_code)] // the one call below that OpenSSL offers no safe form of
    fn connect(
        &self,
        port: u16,
        sni: &str,
        session: Option<&SslSession>,
    ) -> Result<Connection, ClientError> {
        let tcp =
            open(port, self.timeout).map_err(|source| ClientError::Connect { port, source })?;
        let mut ssl = Ssl::new(&self.context).map_err(setup("making a connection"))?;
        if !sni.is_empty() {
            ssl.set_hostname(sni).map_err(setup("SNI"))?;
        }
        if let Some(session) = session {
            // SAFETY: the session must stem from the same context. `Session` keeps
            // the two together, its fields are private, and only
            // `Connection::session` makes one, from its own setup.
            unsafe { ssl.set_session(session) }.map_err(setup("session"))?;
        }
        let stream = ssl.connect(tcp).map_err(|error| ClientError::Handshake {
            what: match error {
                HandshakeError::WouldBlock(_) => "timed out".to_owned(),
                other => other.to_string(),
            },
        })?;
        Ok(Connection {
            stream,
            buffer: Vec::new(),
            setup: self.clone(),
        })
    }
}

impl Connection {
    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the peer does not take them.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.stream
            .write_all(bytes)
            .and_then(|()| self.stream.flush())
            .map_err(ClientError::Send)
    }

    /// Says that nothing more will be sent (TLS `close_notify`), and goes on listening.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn finish(&mut self) -> Result<(), ClientError> {
        self.stream
            .shutdown()
            .map(|_| ())
            .map_err(|error| ClientError::Send(io::Error::other(error)))
    }

    /// Reads bytes as they come, for another protocol than HTTP/1.1; 0 at the end of the stream.
    ///
    /// # Errors
    /// As reading any stream.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Reads one HTTP/1.1 response, or learns that none comes.
    ///
    /// # Errors
    /// On a timeout and on bytes that are no response.
    pub fn read_response(&mut self) -> Result<Outcome, ClientError> {
        self.read(false)
    }

    /// As [`Self::read_response`], for a HEAD request, whose response has no body.
    ///
    /// # Errors
    /// As [`Self::read_response`].
    pub fn read_response_to_head(&mut self) -> Result<Outcome, ClientError> {
        self.read(true)
    }

    /// Reads this many bytes of whatever is spoken after a 101 or a CONNECT; fewer if the stream
    /// ends.
    ///
    /// # Errors
    /// Nothing comes within the time allowed.
    pub fn read_raw(&mut self, count: usize) -> Result<Vec<u8>, ClientError> {
        let mut bytes = core::mem::take(&mut self.buffer);
        let mut chunk = [0; 4096];
        while bytes.len() < count {
            match self.stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => bytes.extend(chunk.iter().take(read)),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return Err(ClientError::Timeout { partial: bytes });
                }
                // A reset is an end too.
                Err(_) => break,
            }
        }
        self.buffer = bytes.split_off(count.min(bytes.len()));
        Ok(bytes)
    }

    /// Sends bytes and reads the response. A failure to send is no failure here:
    /// the peer may have answered or closed before it read everything.
    ///
    /// # Errors
    /// As [`Self::read_response`].
    pub fn exchange(&mut self, request: &[u8]) -> Result<Outcome, ClientError> {
        let sent = self.send_raw(request);
        match (self.read_response(), sent) {
            (Err(ClientError::Timeout { .. }), Err(failure)) => Err(failure),
            (outcome, _) => outcome,
        }
    }

    /// A plain GET with these header lines (each without its line end).
    ///
    /// # Errors
    /// As [`Self::read_response`].
    pub fn get(&mut self, host: &str, path: &str, lines: &[&str]) -> Result<Outcome, ClientError> {
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
        for line in lines {
            request.push_str(line);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        self.exchange(request.as_bytes())
    }

    /// The newest session the server gave. In TLS 1.3 read a response first.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        let newest = self
            .setup
            .newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()?;
        Some(Session {
            setup: self.setup.clone(),
            session: newest,
        })
    }

    /// Whether the handshake resumed a session.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.stream.ssl().session_reused()
    }

    /// The TLS version agreed on, such as `TLSv1.3`.
    #[must_use]
    pub fn tls_version(&self) -> &'static str {
        self.stream.ssl().version_str()
    }

    /// The protocol agreed on by ALPN.
    #[must_use]
    pub fn alpn(&self) -> Option<String> {
        self.stream
            .ssl()
            .selected_alpn_protocol()
            .map(http1::latin1)
    }

    fn read(&mut self, to_head: bool) -> Result<Outcome, ClientError> {
        match http1::read_response(&mut self.stream, &mut self.buffer, to_head) {
            Ok(response) => Ok(Outcome::Response(response)),
            Err(ResponseError::Ended { partial }) => Ok(Outcome::Closed {
                partial,
                how: "end of stream".to_owned(),
            }),
            Err(ResponseError::Read { partial, source })
                if matches!(
                    source.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                Err(ClientError::Timeout { partial })
            }
            Err(ResponseError::Read { partial, source }) => Ok(Outcome::Closed {
                partial,
                how: source.to_string(),
            }),
            Err(error @ ResponseError::Malformed { .. }) => Err(ClientError::Malformed {
                what: error.to_string(),
            }),
        }
    }
}

fn open(port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), timeout)?;
    tcp.set_read_timeout(Some(timeout))?;
    tcp.set_write_timeout(Some(timeout))?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

fn present(builder: &mut SslContextBuilder, identity: &ClientIdentity) -> Result<(), ClientError> {
    let mut chain = X509::stack_from_pem(&identity.chain_pem)
        .map_err(setup("certificate chain"))?
        .into_iter();
    let leaf = chain.next().ok_or(ClientError::NoCertificate)?;
    builder
        .set_certificate(&leaf)
        .map_err(setup("certificate"))?;
    for certificate in chain {
        builder
            .add_extra_chain_cert(certificate)
            .map_err(setup("certificate chain"))?;
    }
    let key = PKey::private_key_from_pem(&identity.key_pem).map_err(setup("private key"))?;
    builder.set_private_key(&key).map_err(setup("private key"))
}

fn alpn_wire(names: &[String]) -> Result<Vec<u8>, ClientError> {
    let mut wire = Vec::new();
    for name in names {
        let length = u8::try_from(name.len()).unwrap_or_default();
        if length == 0 {
            return Err(ClientError::Alpn { name: name.clone() });
        }
        wire.push(length);
        wire.extend_from_slice(name.as_bytes());
    }
    Ok(wire)
}

fn setup(what: &'static str) -> impl FnOnce(ErrorStack) -> ClientError {
    move |source| ClientError::Setup { what, source }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn alpn_names_are_length_prefixed_and_checked() {
        let names = ["h2".to_owned(), "http/1.1".to_owned()];
        assert_eq!(alpn_wire(&names).unwrap(), b"\x02h2\x08http/1.1");
        for bad in [String::new(), "x".repeat(256)] {
            assert!(matches!(alpn_wire(&[bad]), Err(ClientError::Alpn { .. })));
        }
    }

    #[test]
    fn an_empty_chain_is_refused() {
        let identity = ClientIdentity {
            chain_pem: Vec::new(),
            key_pem: Vec::new(),
        };
        let error = connect(1, "x", Some(&identity), &ClientOptions::default());
        assert!(matches!(error, Err(ClientError::NoCertificate)));
    }
}
