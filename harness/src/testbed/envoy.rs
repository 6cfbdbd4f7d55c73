//! A real Envoy for tests and the demo: its configuration, its life, its logs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use thiserror::Error;

use super::guard::{self, Guarded};
use super::http1::{self, Response, ResponseError};

/// The request header whose value the access log repeats as `id`, to find a request's line.
pub const REQUEST_ID: &str = "x-testbed-id";
/// The environment variable naming the Envoy binary.
pub const ENVOY_VARIABLE: &str = "MTLS_GATE_ENVOY";

/// The environment variable naming the filter.
pub const FILTER_VARIABLE: &str = "MTLS_GATE_WASM";

/// Relative: Envoy runs inside its own temporary directory.
const ACCESS_LOG: &str = "access.log";
const POLL: Duration = Duration::from_millis(20);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What Envoy is asked to verify signatures with. Its own default leaves out
/// P-521 and Ed25519, and clients with such keys then send no certificate at
/// all: the gate could not name the reason.
const SIGNATURE_ALGORITHMS: [&str; 11] = [
    "ecdsa_secp256r1_sha256",
    "rsa_pss_rsae_sha256",
    "rsa_pkcs1_sha256",
    "ecdsa_secp384r1_sha384",
    "rsa_pss_rsae_sha384",
    "rsa_pkcs1_sha384",
    "ecdsa_secp521r1_sha512",
    "rsa_pss_rsae_sha512",
    "rsa_pkcs1_sha512",
    "ed25519",
    "rsa_pkcs1_sha1",
];

/// Why Envoy does not run, or an operation on it failed.
#[derive(Debug, Error)]
pub enum EnvoyError {
    /// There is no such binary.
    #[error("there is no Envoy at {} (`make tools` fetches it)", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file of its temporary directory could not be made or read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The process could not be started.
    #[error("starting {}: {source}", path.display())]
    Start {
        /// The binary.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Envoy ended instead of coming up, most likely because it refuses the configuration.
    #[error("Envoy ended with {status} instead of coming up:\n{}", tail(log))]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// All it had written.
        log: String,
    },
    /// Envoy runs but did not become ready in time.
    #[error("Envoy was not ready within {waited:?}:\n{}", tail(log))]
    NotReady {
        /// How long it was waited for.
        waited: Duration,
        /// All it had written.
        log: String,
    },
    /// An admin request failed.
    #[error("Envoy's admin {path}: {what}")]
    Admin {
        /// The path asked for.
        path: String,
        /// What happened.
        what: String,
    },
    /// No listener has this name.
    #[error("Envoy has no listener named {name:?}")]
    NoListener {
        /// The name asked for.
        name: String,
    },
    /// No access log line matched in time.
    #[error("no matching access log line within {waited:?}; the log holds:\n{log}")]
    NoAccessLogLine {
        /// How long it was waited for.
        waited: Duration,
        /// The lines so far.
        log: String,
    },
    /// The server certificate could not be made.
    #[error("making the server certificate: {0}")]
    Certificate(#[from] ErrorStack),
}

/// The Envoy binary for tests: [`ENVOY_VARIABLE`], else `.tools/envoy` beside
/// this package. It may not exist; starting it says so.
#[must_use]
pub fn envoy_binary() -> PathBuf {
    std::env::var_os(ENVOY_VARIABLE).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/envoy"),
        PathBuf::from,
    )
}

/// The filter for tests: [`FILTER_VARIABLE`], else where `make wasm` leaves it.
#[must_use]
pub fn filter_file() -> PathBuf {
    std::env::var_os(FILTER_VARIABLE).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/mtls_gate_filter.wasm"),
        PathBuf::from,
    )
}

/// What a downstream TLS context shows.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// PEM certificate.
    pub certificate_pem: String,
    /// PEM private key.
    pub key_pem: String,
}

impl ServerCertificate {
    /// A fresh self-signed P-256 certificate for these names, good for a day.
    ///
    /// # Errors
    /// When OpenSSL fails.
    pub fn self_signed(names: &[&str]) -> Result<Self, EnvoyError> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        let mut name = X509NameBuilder::new()?;
        name.append_entry_by_text("CN", "test bed server")?;
        let name = name.build();
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        let serial = BigNum::from_u32(1)?.to_asn1_integer()?;
        builder.set_serial_number(&serial)?;
        builder.set_subject_name(&name)?;
        builder.set_issuer_name(&name)?;
        builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
        builder.set_not_after(&*Asn1Time::days_from_now(1)?)?;
        builder.set_pubkey(&key)?;
        if !names.is_empty() {
            let mut sans = SubjectAlternativeName::new();
            for name in names {
                sans.dns(name);
            }
            let extension = sans.build(&builder.x509v3_context(None, None))?;
            builder.append_extension(extension)?;
        }
        builder.sign(&key, MessageDigest::sha256())?;
        let pem = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Self {
            certificate_pem: pem(builder.build().to_pem()?),
            key_pem: pem(key.private_key_to_pem_pkcs8()?),
        })
    }
}

/// How the filter's configuration document reaches it.
#[derive(Debug, Clone)]
pub enum FilterDocument {
    /// As JSON text in a `google.protobuf.StringValue`.
    JsonText(Value),
    /// Inline, as `google.protobuf.Struct` (arrives as serialized protobuf).
    Struct(Value),
    /// As this very text, which need not be a valid document.
    RawText(String),
}

/// The wasm filter in one chain.
#[derive(Debug, Clone)]
pub struct WasmFilter {
    /// The module.
    pub file: PathBuf,
    /// Its configuration.
    pub document: FilterDocument,
    /// The plugin's name, part of its statistics' names.
    pub name: String,
    /// The plugin's root id.
    pub root_id: String,
    /// Filters with one id share a VM.
    pub vm_id: String,
}

impl WasmFilter {
    /// The filter with the names the examples use.
    #[must_use]
    pub fn new(file: &Path, document: FilterDocument) -> Self {
        Self {
            file: file.to_owned(),
            document,
            name: "mtls_gate".to_owned(),
            root_id: "mtls_gate".to_owned(),
            vm_id: "mtls_gate".to_owned(),
        }
    }

    /// The entry for `http_filters`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "name": "envoy.filters.http.wasm",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": self.plugin(),
            },
        })
    }

    /// The entry for a filter chain's `filters`, before what serves the connection.
    #[must_use]
    pub fn to_network_json(&self) -> Value {
        json!({
            "name": "envoy.filters.network.wasm",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm",
                "config": self.plugin(),
            },
        })
    }

    fn plugin(&self) -> Value {
        let configuration = match &self.document {
            FilterDocument::JsonText(document) => string_value(&document.to_string()),
            FilterDocument::RawText(text) => string_value(text),
            FilterDocument::Struct(document) => json!({
                "@type": "type.googleapis.com/google.protobuf.Struct",
                "value": document,
            }),
        };
        // Envoy runs in a directory of its own, so a relative path would miss.
        let file = std::path::absolute(&self.file).unwrap_or_else(|_| self.file.clone());
        json!({
            "name": self.name,
            "root_id": self.root_id,
            "failure_policy": "FAIL_RELOAD",
            "vm_config": {
                "vm_id": self.vm_id,
                "runtime": "envoy.wasm.runtime.v8",
                "code": { "local": { "filename": file } },
            },
            "configuration": configuration,
        })
    }
}

/// One filter chain: what is done for these SNI names.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The SNI names it serves; every name when empty.
    pub server_names: Vec<String>,
    /// What the server shows; without it no TLS is spoken.
    pub certificate: Option<ServerCertificate>,
    /// The filter under test; without it Envoy's `x-forwarded-client-cert` passes.
    pub filter: Option<WasmFilter>,
    /// Further `http_filters`, before the filter under test.
    pub filters_before: Vec<Value>,
    /// Network filters before the HTTP connection manager.
    pub network_filters: Vec<Value>,
    /// Fields of the HTTP connection manager that are to have other values.
    pub manager: Vec<(&'static str, Value)>,
    /// Bound on the request head in KiB; XFCC with chains is large.
    pub max_request_headers_kb: u32,
    /// How long Envoy keeps an HTTP/1.1 connection that the filter reset before
    /// it closes it. Envoy's own default of 1 s would cost every refused
    /// request a second; none at all could cut off an answer in flight.
    pub delayed_close: Duration,
}

impl Chain {
    /// A chain for these names, without a filter.
    #[must_use]
    pub fn new(server_names: &[&str], certificate: &ServerCertificate) -> Self {
        Self {
            server_names: server_names.iter().map(ToString::to_string).collect(),
            certificate: Some(certificate.clone()),
            manager: Vec::new(),
            ..Self::plaintext()
        }
    }

    /// A chain without TLS and without a filter, behind a proxy that terminates it and whose
    /// headers it leaves alone.
    #[must_use]
    pub fn plaintext() -> Self {
        Self {
            server_names: Vec::new(),
            certificate: None,
            filter: None,
            filters_before: Vec::new(),
            network_filters: Vec::new(),
            manager: vec![("forward_client_cert_details", json!("ALWAYS_FORWARD_ONLY"))],
            max_request_headers_kb: 256,
            delayed_close: Duration::from_millis(50),
        }
    }

    /// The same with this filter on connections, before the HTTP connection manager.
    #[must_use]
    pub fn network_filter(mut self, filter: &WasmFilter) -> Self {
        self.network_filters.push(filter.to_network_json());
        self
    }

    /// The same with this filter.
    #[must_use]
    pub fn filter(mut self, filter: WasmFilter) -> Self {
        self.filter = Some(filter);
        self
    }

    fn to_json(&self) -> Value {
        let mut filters = self.network_filters.clone();
        filters.push(self.connection_manager());
        json!({
            // An empty list matches every name.
            "filter_chain_match": { "server_names": self.server_names },
            "filters": filters,
            "transport_socket": self.certificate.as_ref().map(tls),
        })
    }

    fn connection_manager(&self) -> Value {
        let mut http_filters = self.filters_before.clone();
        http_filters.extend(self.filter.as_ref().map(WasmFilter::to_json));
        http_filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            },
        }));
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress",
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {
                "cert": true, "chain": true, "subject": true, "uri": true, "dns": true,
            },
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
            "max_request_headers_kb": self.max_request_headers_kb,
            "delayed_close_timeout": format!("{:.3}s", self.delayed_close.as_secs_f64()),
            "http_protocol_options": { "enable_trailers": true },
            "access_log": [access_log()],
            "http_filters": http_filters,
            "route_config": {
                "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{
                        "match": { "prefix": "/" },
                        "route": { "cluster": "echo" },
                    }],
                }],
            },
        });
        if let Some(fields) = manager.as_object_mut() {
            let others = self.manager.iter();
            fields.extend(others.map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        })
    }
}

fn tls(certificate: &ServerCertificate) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            // Asked for but not demanded: the filter decides what a missing or
            // an untrusted certificate means.
            "require_client_certificate": false,
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": { "signature_algorithms": SIGNATURE_ALGORITHMS },
                "tls_certificates": [{
                    "certificate_chain": { "inline_string": certificate.certificate_pem },
                    "private_key": { "inline_string": certificate.key_pem },
                }],
                "validation_context": { "trust_chain_verification": "ACCEPT_UNTRUSTED" },
            },
        },
    })
}

/// One listener on a free loopback port.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name, for [`Envoy::port`].
    pub name: String,
    /// Its chains; which one serves a connection is decided by SNI.
    pub chains: Vec<Chain>,
}

impl Listener {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "address": loopback(0),
            "listener_filters": [{
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
                },
            }],
            "filter_chains": self.chains.iter().map(Chain::to_json).collect::<Vec<_>>(),
        })
    }
}

/// Builds the bootstrap document. `http2` says what Envoy speaks to the
/// backend; trailers pass either way. The result is plain JSON for the caller
/// to change as he likes.
#[must_use]
pub fn bootstrap(listeners: &[Listener], backend: SocketAddr, http2: bool) -> Value {
    let protocol = if http2 {
        json!({ "http2_protocol_options": {} })
    } else {
        json!({ "http_protocol_options": { "enable_trailers": true } })
    };
    json!({
        "admin": { "address": loopback(0) },
        "static_resources": {
            "listeners": listeners.iter().map(Listener::to_json).collect::<Vec<_>>(),
            "clusters": [{
                "name": "echo",
                "type": "STATIC",
                "connect_timeout": "5s",
                "load_assignment": {
                    "cluster_name": "echo",
                    "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                        "address": loopback(backend.port()),
                    } }] }],
                },
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": protocol,
                    },
                },
            }],
        },
    })
}

fn loopback(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

fn string_value(text: &str) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text })
}

/// The access log of requests. A listener that has it too (`access_log`) adds a line for each
/// connection when that has ended.
#[must_use]
pub fn access_log() -> Value {
    json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": ACCESS_LOG,
            "log_format": { "json_format": {
                "id": format!("%REQ({REQUEST_ID})%"),
                "sni": "%REQUESTED_SERVER_NAME%",
                "connection": "%CONNECTION_ID%",
                "method": "%REQ(:METHOD)%",
                "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
                "protocol": "%PROTOCOL%",
                "code": "%RESPONSE_CODE%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "flags": "%RESPONSE_FLAGS%",
                "peer": "%DOWNSTREAM_PEER_FINGERPRINT_256%",
                "error": "%FILTER_STATE(wasm.mtls_gate_error:PLAIN)%",
                "reason": "%FILTER_STATE(wasm.mtls_gate_reason:PLAIN)%",
                "remote": "%DOWNSTREAM_REMOTE_ADDRESS%",
                "direct_remote": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
                "sender": "%FILTER_STATE(wasm.mtls_gate_sender:PLAIN)%",
                "direct_peer": "%FILTER_STATE(wasm.mtls_gate_direct_peer:PLAIN)%",
                "connection_error": "%FILTER_STATE(wasm.mtls_gate_connection_error:PLAIN)%",
                "connection_reason": "%FILTER_STATE(wasm.mtls_gate_connection_reason:PLAIN)%",
            } },
        },
    })
}

/// How Envoy is to be run.
#[derive(Debug, Clone)]
pub struct EnvoyConfig {
    /// The binary.
    pub binary: PathBuf,
    /// The bootstrap document; see [`bootstrap`].
    pub bootstrap: Value,
    /// Worker threads.
    pub concurrency: u32,
    /// Log level.
    pub log_level: String,
    /// Bound on the start.
    pub ready_within: Duration,
    /// How often it is asked whether it serves.
    pub poll: Duration,
    /// Further arguments.
    pub extra: Vec<String>,
}

impl EnvoyConfig {
    /// One worker, level info, ready within 20 s, the binary of [`envoy_binary`].
    #[must_use]
    pub fn new(bootstrap: Value) -> Self {
        Self {
            binary: envoy_binary(),
            bootstrap,
            concurrency: 1,
            log_level: "info".to_owned(),
            ready_within: Duration::from_secs(20),
            poll: POLL,
            extra: Vec::new(),
        }
    }
}

/// A running Envoy; dropping it stops it and removes its directory.
pub struct Envoy {
    // Before `dir`: fields are dropped in order, and Envoy writes there to its end.
    guarded: Guarded,
    dir: TempDir,
    admin: SocketAddr,
    ports: BTreeMap<String, u16>,
}

impl fmt::Debug for Envoy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envoy")
            .field("admin", &self.admin)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

impl Envoy {
    /// Starts Envoy and waits until it serves.
    ///
    /// # Errors
    /// [`EnvoyError::Exited`] when it refuses its configuration.
    pub fn start(config: &EnvoyConfig) -> Result<Self, EnvoyError> {
        if !config.binary.is_file() {
            return Err(EnvoyError::Missing {
                path: config.binary.clone(),
            });
        }
        // It runs in another directory, where a relative path would not be found.
        let binary = std::path::absolute(&config.binary).map_err(file(&config.binary))?;
        let dir = tempfile::Builder::new()
            .prefix("mtls-gate-envoy-")
            .tempdir()
            .map_err(file(&std::env::temp_dir()))?;
        let log_path = dir.path().join("envoy.log");
        let log = File::create(&log_path).map_err(file(&log_path))?;
        let bootstrap_path = dir.path().join("bootstrap.json");
        File::create(&bootstrap_path)
            .and_then(|mut out| out.write_all(config.bootstrap.to_string().as_bytes()))
            .map_err(file(&bootstrap_path))?;
        let mut envoy = Command::new(&binary);
        envoy
            .args(["-c", "bootstrap.json", "--disable-hot-restart"])
            .args(["--admin-address-path", "admin.address"])
            .args(["--concurrency", &config.concurrency.to_string()])
            .args(["--log-level", &config.log_level])
            // Access log lines are waited for, so they should not linger in a buffer.
            .args(["--file-flush-interval-msec", "20"])
            .args(&config.extra);
        let mut guarded =
            Guarded::start(&envoy, dir.path(), log).map_err(|source| EnvoyError::Start {
                path: binary.clone(),
                source,
            })?;
        let since = Instant::now();
        let admin = loop {
            let ended = guarded.ended().map_err(|source| EnvoyError::Start {
                path: binary.clone(),
                source,
            })?;
            if let Some(status) = ended {
                return Err(EnvoyError::Exited {
                    status,
                    log: read_lossy(&log_path),
                });
            }
            if let Some(admin) = ready(dir.path()) {
                break admin;
            }
            if since.elapsed() > config.ready_within {
                return Err(EnvoyError::NotReady {
                    waited: config.ready_within,
                    log: read_lossy(&log_path),
                });
            }
            std::thread::sleep(config.poll);
        };
        let ports = listener_ports(admin)?;
        Ok(Self {
            guarded,
            dir,
            admin,
            ports,
        })
    }

    /// The port of a listener.
    ///
    /// # Errors
    /// When there is no listener of that name.
    pub fn port(&self, listener: &str) -> Result<u16, EnvoyError> {
        self.ports
            .get(listener)
            .copied()
            .ok_or_else(|| EnvoyError::NoListener {
                name: listener.to_owned(),
            })
    }

    /// Envoy's own process id, for measuring; the child this process started is its guard.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        read_lossy(&self.dir.path().join(guard::PID_FILE))
            .trim()
            .parse()
            .ok()
    }

    /// How it ended, should it have ended by itself.
    #[must_use]
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.guarded.ended().ok().flatten()
    }

    /// Where the admin interface listens.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Its temporary directory, which holds its files until it is dropped.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What Envoy wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        read_lossy(&self.dir.path().join("envoy.log"))
    }

    /// The access log so far, one JSON object per request. A line that is no
    /// JSON is given as a JSON string.
    #[must_use]
    pub fn access_log(&self) -> Vec<Value> {
        let text = read_lossy(&self.dir.path().join(ACCESS_LOG));
        // The last line may be half written.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned()))
            })
            .collect()
    }

    /// Waits for an access log line that satisfies `wanted` and gives the first.
    ///
    /// # Errors
    /// When none comes within `within`.
    pub fn wait_for_access_log(
        &self,
        within: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, EnvoyError> {
        let since = Instant::now();
        loop {
            let lines = self.access_log();
            if let Some(line) = lines.iter().find(|line| wanted(line)) {
                return Ok(line.clone());
            }
            if since.elapsed() > within {
                return Err(EnvoyError::NoAccessLogLine {
                    waited: within,
                    log: lines.iter().map(|line| format!("{line}\n")).collect(),
                });
            }
            std::thread::sleep(POLL);
        }
    }

    /// The counters and gauges whose names begin with `prefix`.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>, EnvoyError> {
        let response = self.admin("GET", "/stats")?;
        Ok(response
            .text()
            .lines()
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(": ")?;
                // Histograms and text readouts are no numbers and left out.
                Some((name.to_owned(), value.parse().ok()?))
            })
            .filter(|(name, _)| name.starts_with(prefix))
            .collect())
    }

    /// Asks the admin interface; any status is an answer.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn admin(&self, method: &str, path: &str) -> Result<Response, EnvoyError> {
        admin(self.admin, method, path)
    }
}

fn ready(dir: &Path) -> Option<SocketAddr> {
    let address = std::fs::read_to_string(dir.join("admin.address")).ok()?;
    let address = address.trim().parse().ok()?;
    let response = admin(address, "GET", "/ready").ok()?;
    (response.status == 200).then_some(address)
}

fn listener_ports(address: SocketAddr) -> Result<BTreeMap<String, u16>, EnvoyError> {
    let path = "/listeners?format=json";
    let response = admin(address, "GET", path)?;
    let document: Value =
        serde_json::from_slice(&response.body).map_err(|error| EnvoyError::Admin {
            path: path.to_owned(),
            what: error.to_string(),
        })?;
    let statuses = document.get("listener_statuses").and_then(Value::as_array);
    Ok(statuses
        .into_iter()
        .flatten()
        .filter_map(|status| {
            let port = status
                .pointer("/local_address/socket_address/port_value")?
                .as_u64()?;
            Some((
                status.get("name")?.as_str()?.to_owned(),
                u16::try_from(port).ok()?,
            ))
        })
        .collect())
}

fn admin(address: SocketAddr, method: &str, path: &str) -> Result<Response, EnvoyError> {
    let failed = |what: String| EnvoyError::Admin {
        path: path.to_owned(),
        what,
    };
    let mut stream = TcpStream::connect_timeout(&address, ADMIN_TIMEOUT)
        .and_then(|stream| {
            stream.set_read_timeout(Some(ADMIN_TIMEOUT))?;
            stream.set_write_timeout(Some(ADMIN_TIMEOUT))?;
            Ok(stream)
        })
        .map_err(|error| failed(error.to_string()))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .map_err(|error| failed(error.to_string()))?;
    http1::read_response(&mut stream, &mut Vec::new(), false)
        .map_err(|error: ResponseError| failed(error.to_string()))
}

fn read_lossy(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// The end of a log is where the reason stands.
fn tail(log: &str) -> String {
    let mut lines: Vec<_> = log.lines().rev().take(12).collect();
    lines.reverse();
    lines.join("\n")
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> EnvoyError {
    let path = path.to_owned();
    move |source| EnvoyError::File { path, source }
}
