//! Proxies that terminate mTLS and forward the client's certificate in a header: the real ones, run
//! from their files in `examples/producers` with nothing but ports and paths replaced.

mod apache;
mod caddy;
mod envoy;
mod example;
mod haproxy;
mod nginx;

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use tempfile::TempDir;
use thiserror::Error;

use super::front::{Pair, text};
use super::guard::Guarded;

/// The environment variable naming the directory that `make tools` fills.
pub const PRODUCERS_VARIABLE: &str = "MTLS_GATE_PRODUCERS";

const LOG: &str = "producer.log";
const POLL: Duration = Duration::from_millis(20);
const READY_WITHIN: Duration = Duration::from_secs(20);
/// Between choosing a free port and listening on it, somebody else may take it.
const ATTEMPTS: usize = 3;

/// A kind of proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Producer {
    /// nginx
    Nginx,
    /// HAProxy
    Haproxy,
    /// Apache httpd
    Apache,
    /// Caddy
    Caddy,
    /// Envoy
    Envoy,
}

/// A proxy and one of its ways to write the certificate: the `# variant` lines of its example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// nginx's `$ssl_client_escaped_cert`: percent-encoded PEM.
    NginxEscaped,
    /// nginx's `$ssl_client_cert`: PEM on folded lines.
    NginxLegacy,
    /// HAProxy's `ssl_c_der,base64` and `ssl_c_chain_der,base64`.
    HaproxyBase64,
    /// `Client-Cert` by HAProxy.
    HaproxyRfc9440,
    /// Apache's `%{SSL_CLIENT_CERT}s`: PEM with spaces for line ends; numbered for the chain.
    ApacheRaw,
    /// Apache's `%{escape:…}`: percent-encoded PEM; numbered for the chain.
    ApacheEscaped,
    /// `Client-Cert` by Apache.
    ApacheRfc9440,
    /// Caddy's `certificate_der_base64`.
    CaddyBase64,
    /// Caddy's `certificate_pem`, which has line ends: Caddy answers 502.
    CaddyPem,
    /// `Client-Cert` by Caddy.
    CaddyRfc9440,
    /// Envoy's `x-forwarded-client-cert` as text, without names of the certificate.
    EnvoyText,
    /// The same with names, which are not escaped.
    EnvoyNames,
    /// Envoy's `x-forwarded-client-cert` as JSON.
    EnvoyJson,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::NginxEscaped,
        Self::NginxLegacy,
        Self::HaproxyBase64,
        Self::HaproxyRfc9440,
        Self::ApacheRaw,
        Self::ApacheEscaped,
        Self::ApacheRfc9440,
        Self::CaddyBase64,
        Self::CaddyPem,
        Self::CaddyRfc9440,
        Self::EnvoyText,
        Self::EnvoyNames,
        Self::EnvoyJson,
    ];

    /// Who writes it.
    #[must_use]
    pub fn producer(self) -> Producer {
        match self {
            Self::NginxEscaped | Self::NginxLegacy => Producer::Nginx,
            Self::HaproxyBase64 | Self::HaproxyRfc9440 => Producer::Haproxy,
            Self::ApacheRaw | Self::ApacheEscaped | Self::ApacheRfc9440 => Producer::Apache,
            Self::CaddyBase64 | Self::CaddyPem | Self::CaddyRfc9440 => Producer::Caddy,
            Self::EnvoyText | Self::EnvoyNames | Self::EnvoyJson => Producer::Envoy,
        }
    }

    /// Its name in the example.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NginxEscaped | Self::ApacheEscaped => "escaped",
            Self::NginxLegacy => "legacy",
            Self::HaproxyBase64 | Self::CaddyBase64 => "base64",
            Self::HaproxyRfc9440 | Self::ApacheRfc9440 | Self::CaddyRfc9440 => "rfc9440",
            Self::ApacheRaw => "raw",
            Self::CaddyPem => "pem",
            Self::EnvoyText => "text",
            Self::EnvoyNames => "names",
            Self::EnvoyJson => "json",
        }
    }

    /// The example with this variant in force.
    ///
    /// # Errors
    /// It cannot be read or has no such variant.
    pub fn example(self) -> Result<String, ProducerError> {
        self.example_with(&[])
    }

    fn example_with(self, others: &[&str]) -> Result<String, ProducerError> {
        let path = self.producer().example();
        let text = fs::read_to_string(&path).map_err(file(&path))?;
        let variants = [&[self.name()], others].concat();
        example::with_variants(&text, &variants).ok_or_else(|| ProducerError::Example {
            path,
            wanted: format!("# variant {variants:?}"),
        })
    }

    /// The header with the end entity's certificate.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Self::HaproxyRfc9440 | Self::ApacheRfc9440 | Self::CaddyRfc9440 => "Client-Cert",
            Self::EnvoyText | Self::EnvoyNames | Self::EnvoyJson => "X-Forwarded-Client-Cert",
            _ => "X-Client-Cert",
        }
    }

    /// Further headers, with the other certificates.
    #[must_use]
    pub fn chain_headers(self) -> &'static [&'static str] {
        match self {
            Self::HaproxyBase64 => &["X-Client-Cert-Chain"],
            Self::ApacheRaw | Self::ApacheEscaped => {
                &["X-Client-Cert-Chain-0", "X-Client-Cert-Chain-1"]
            }
            _ => &[],
        }
    }
}

impl Producer {
    /// Its program: below [`PRODUCERS_VARIABLE`], else where `make tools` leaves it. It may not
    /// exist; starting it says so.
    #[must_use]
    pub fn program(self) -> PathBuf {
        match self {
            Self::Nginx => tools().join("bin/nginx"),
            Self::Haproxy => tools().join("bin/haproxy"),
            Self::Apache => tools().join("bin/apache2"),
            Self::Caddy => tools().join("bin/caddy"),
            Self::Envoy => super::envoy::envoy_binary(),
        }
    }

    /// Its file in `examples/producers`.
    #[must_use]
    pub fn example(self) -> PathBuf {
        let name = match self {
            Self::Nginx => "nginx.conf",
            Self::Haproxy => "haproxy.cfg",
            Self::Apache => "apache.conf",
            Self::Caddy => "Caddyfile",
            Self::Envoy => "envoy.yaml",
        };
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../examples/producers")
            .join(name)
    }
}

fn tools() -> PathBuf {
    std::env::var_os(PRODUCERS_VARIABLE).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/producers"),
        PathBuf::from,
    )
}

/// Why a producer does not run.
#[derive(Debug, Error)]
pub enum ProducerError {
    /// There is no such program.
    #[error("there is no {} (`make tools` fetches it)", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file could not be made or read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The example lacks what the test bed replaces.
    #[error("{} has no {wanted:?}", path.display())]
    Example {
        /// The example.
        path: PathBuf,
        /// What was looked for.
        wanted: String,
    },
    /// No port was to be had, or the process could not be started.
    #[error("starting {}: {source}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// It ended instead of coming up.
    #[error("{} ended with {status} instead of coming up:\n{log}", path.display())]
    Exited {
        /// The program.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// All it had written.
        log: String,
    },
    /// It was not ready in time.
    #[error("{} was not ready within {READY_WITHIN:?}:\n{log}", path.display())]
    NotReady {
        /// The program.
        path: PathBuf,
        /// All it had written.
        log: String,
    },
}

/// What a producer does beside writing the certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// It speaks TLS to the backend and presents a certificate of its own.
    pub relay: Option<&'a RelayFiles>,
    /// `(text, replacement)` in the example.
    pub changes: &'a [(&'a str, &'a str)],
}

/// What a producer needs for TLS to the backend, which must have the name `gate.test`.
#[derive(Clone, Debug)]
pub struct RelayFiles {
    /// The producer's own certificate.
    pub identity: Pair,
    /// What the backend's certificate is validated against.
    pub backend_ca: PathBuf,
}

/// What the files and arguments of one start are made from.
struct Site<'a> {
    dir: &'a Path,
    variant: Variant,
    extras: &'a Extras<'a>,
    /// The server's chain and key; each asks for client certificates and verifies none, so that
    /// no CA is needed.
    server: &'a Pair,
    port: u16,
    backend: SocketAddr,
}

impl Site<'_> {
    /// The example with this variant and these extras, with each `(text, replacement)` carried
    /// out.
    fn example(&self, replacements: &[(&str, String)]) -> Result<String, ProducerError> {
        let mut others = Vec::new();
        let mut files = Vec::new();
        if let Some(relay) = self.extras.relay {
            others.push("relay");
            self.write("relay.pem", &both(&relay.identity)?)?;
            files = vec![
                ("/etc/tls/relay.cert", text(&relay.identity.cert)),
                ("/etc/tls/relay.key", text(&relay.identity.key)),
                ("/etc/tls/relay.pem", text(&self.dir.join("relay.pem"))),
                ("/etc/tls/gate-ca.cert", text(&relay.backend_ca)),
            ];
        }
        let mut out = self.variant.example_with(&others)?;
        let changes = self.extras.changes.iter();
        let changes = changes.map(|(wanted, by)| (*wanted, (*by).to_owned()));
        for (wanted, by) in changes.chain(replacements.iter().cloned()) {
            if !out.contains(wanted) {
                return Err(ProducerError::Example {
                    path: self.variant.producer().example(),
                    wanted: wanted.to_owned(),
                });
            }
            out = out.replace(wanted, &by);
        }
        // Not every producer wants each of them.
        for (path, by) in files {
            out = out.replace(path, &by);
        }
        Ok(out)
    }

    /// Writes a file into the directory.
    fn write(&self, name: &str, text: &str) -> Result<(), ProducerError> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(file(&path))
    }

    fn cert(&self) -> String {
        text(&self.server.cert)
    }

    fn key(&self) -> String {
        text(&self.server.key)
    }
}

/// Some want chain and key in one file.
fn both(pair: &Pair) -> Result<String, ProducerError> {
    let read = |path| fs::read_to_string(path).map_err(file(path));
    Ok(read(&pair.cert)? + &read(&pair.key)?)
}

/// A running producer; dropping it stops it and removes its directory.
#[derive(Debug)]
pub struct Running {
    // Before `dir`: fields are dropped in order, and the process writes there to its end.
    guarded: Guarded,
    dir: TempDir,
    port: u16,
}

impl Running {
    /// Starts the producer of this variant before a backend and waits until it serves.
    ///
    /// # Errors
    /// It does not, most likely because it refuses its configuration.
    pub fn start(
        variant: Variant,
        server: &Pair,
        backend: SocketAddr,
    ) -> Result<Self, ProducerError> {
        Self::start_with(variant, server, backend, &Extras::default())
    }

    /// As [`Running::start`].
    ///
    /// # Errors
    /// As [`Running::start`].
    pub fn start_with(
        variant: Variant,
        server: &Pair,
        backend: SocketAddr,
        extras: &Extras<'_>,
    ) -> Result<Self, ProducerError> {
        let mut attempt = 1;
        loop {
            match Self::start_once(variant, server, backend, extras) {
                Err(ProducerError::Exited { log, .. })
                    if attempt < ATTEMPTS && log.to_lowercase().contains("address") =>
                {
                    attempt = attempt.saturating_add(1);
                }
                outcome => return outcome,
            }
        }
    }

    fn start_once(
        variant: Variant,
        server: &Pair,
        backend: SocketAddr,
        extras: &Extras<'_>,
    ) -> Result<Self, ProducerError> {
        let producer = variant.producer();
        let path = producer.program();
        if !path.is_file() {
            return Err(ProducerError::Missing { path });
        }
        // It runs in another directory, where a relative path would not be found.
        let path = std::path::absolute(&path).map_err(file(&path))?;
        let start = |source| ProducerError::Start {
            path: path.clone(),
            source,
        };
        let dir = tempfile::Builder::new()
            .prefix("mtls-gate-producer-")
            .tempdir()
            .map_err(file(&std::env::temp_dir()))?;
        let port = free_port().map_err(start)?;
        let site = Site {
            dir: dir.path(),
            variant,
            extras,
            server,
            port,
            backend,
        };
        let arguments = match producer {
            Producer::Nginx => nginx::prepare(&site),
            Producer::Haproxy => haproxy::prepare(&site),
            Producer::Apache => apache::prepare(&site),
            Producer::Caddy => caddy::prepare(&site),
            Producer::Envoy => envoy::prepare(&site),
        }?;
        let log_path = dir.path().join(LOG);
        let log = File::create(&log_path).map_err(file(&log_path))?;
        let mut command = Command::new(&path);
        command.args(arguments);
        let guarded = Guarded::start(&command, dir.path(), log).map_err(start)?;
        let mut running = Self { guarded, dir, port };
        let certificate = fs::read(&server.cert).map_err(file(&server.cert))?;
        let since = Instant::now();
        loop {
            if let Some(status) = running.guarded.ended().map_err(start)? {
                return Err(ProducerError::Exited {
                    path,
                    status,
                    log: running.logs(),
                });
            }
            if shows(port, &certificate) {
                return Ok(running);
            }
            if since.elapsed() > READY_WITHIN {
                return Err(ProducerError::NotReady {
                    path,
                    log: running.logs(),
                });
            }
            std::thread::sleep(POLL);
        }
    }

    /// The port it listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it wrote so far.
    #[must_use]
    pub fn logs(&self) -> String {
        let bytes = fs::read(self.dir.path().join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its process, for those who want to see it end.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.dir.path().join(super::guard::PID_FILE)).ok()?;
        text.trim().parse().ok()
    }
}

fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Whether this certificate's owner serves TLS there. That something listens is not enough: it may
/// be another process that has just got the port.
fn shows(port: u16, certificate: &[u8]) -> bool {
    let handshake = || -> Result<bool, Box<dyn std::error::Error>> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_verify(SslVerifyMode::NONE);
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        tcp.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut configuration = builder.build().configure()?;
        configuration.set_verify_hostname(false);
        let stream = configuration.connect("producer.test", tcp)?;
        let shown = stream.ssl().peer_certificate().map(|shown| shown.to_der());
        let expected = X509::from_pem(certificate)?.to_der()?;
        Ok(shown.transpose()?.as_ref() == Some(&expected))
    };
    handshake().unwrap_or(false)
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> ProducerError {
    let path = path.to_owned();
    move |source| ProducerError::File { path, source }
}
