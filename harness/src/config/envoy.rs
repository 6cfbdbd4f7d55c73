//! `mtls-gate config envoy`: README's bootstrap around the filter's configuration document. One
//! function for each part.

use std::fmt;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use mtls_gate_core::config::Config;
use mtls_gate_core::pipeline::FORWARDED_HEADER;
use mtls_gate_core::relay::{Forwarded, RelayRule};
use serde_json::{Map, Value, json};

use super::check::private_key_lines;
use super::{ConfigCommandError, reason, upstream_tls, yaml};
use crate::backend::BackendOptions;
use crate::resources::{Place, ResourceFiles, Resources};

/// Envoy's own list lacks P-521 and Ed25519: such clients would send no certificate and be told "not
/// provided" instead of "unsupported".
const SIGNATURE_ALGORITHMS: [&str; 10] = [
    "ecdsa_secp256r1_sha256",
    "rsa_pss_rsae_sha256",
    "rsa_pkcs1_sha256",
    "ecdsa_secp384r1_sha384",
    "rsa_pss_rsae_sha384",
    "rsa_pkcs1_sha384",
    "rsa_pss_rsae_sha512",
    "rsa_pkcs1_sha512",
    "ecdsa_secp521r1_sha512",
    "ed25519",
];

const ACCESS_LOG_LINE: &str = "%RESPONSE_CODE% %REQ(:METHOD)% \
                               %FILTER_STATE(wasm.mtls_gate_error:PLAIN)% \
                               %FILTER_STATE(wasm.mtls_gate_reason:PLAIN)%\n";

const CLUSTER: &str = "backend";

/// `mtls-gate config envoy`
#[derive(Args, Clone, Debug)]
pub struct EnvoyOptions {
    #[command(flatten)]
    files: ResourceFiles,
    /// What is written
    #[arg(long, value_enum, default_value_t = Part::Bootstrap)]
    part: Part,
    /// The address that Envoy listens at
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// The server's certificate chain, as Envoy finds it
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/mtls-gate/server.cert"
    )]
    cert: PathBuf,
    /// The server's private key, as Envoy finds it
    #[arg(long, value_name = "FILE", default_value = "/etc/mtls-gate/server.key")]
    key: PathBuf,
    /// The filter, as Envoy finds it
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/mtls-gate/mtls_gate_filter.wasm"
    )]
    wasm: PathBuf,
    /// The backend; a name is resolved by Envoy
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    upstream: HostPort,
    #[command(flatten)]
    backend: BackendOptions,
    /// Put the same filter before the connection manager too, where it closes the connections of
    /// refused clients and tells policies with ipBlocks the address they come from; it sees no
    /// intermediates that clients present
    #[arg(long)]
    network_filter: bool,
    /// Where to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write JSON in the place of YAML
    #[arg(long)]
    json: bool,
}

/// `--part`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// A complete bootstrap
    Bootstrap,
    /// The entry for http_filters
    Filter,
    /// The filter's configuration document
    Document,
}

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let usage = "not HOST:PORT, such as backend.internal:8080 or [::1]:8080";
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                host: address.ip().to_string(),
                port: address.port(),
            });
        }
        let (host, port) = text.rsplit_once(':').ok_or(usage)?;
        let label =
            |character: char| character.is_ascii_alphanumeric() || ".-_".contains(character);
        if host.is_empty() || !host.chars().all(label) {
            return Err(usage);
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| usage)?,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

pub(super) fn run(options: &EnvoyOptions, out: &mut impl Write) -> Result<(), ConfigCommandError> {
    let gate = gate(options)?;
    let value = match options.part {
        Part::Document => Value::Object(gate.document),
        Part::Filter => wasm_filter(options, gate.document),
        Part::Bootstrap => bootstrap(options, gate)?,
    };
    let text = if options.json {
        format!("{value:#}\n")
    } else {
        yaml::write(&value)?
    };
    match &options.output {
        Some(path) => fs::write(path, text).map_err(|source| ConfigCommandError::Output {
            path: path.clone(),
            source,
        }),
        None => Ok(out.write_all(text.as_bytes())?),
    }
}

/// The filter's configuration document, as the filter accepts it.
struct Gate {
    document: Map<String, Value>,
    config: Config,
}

fn gate(options: &EnvoyOptions) -> Result<Gate, ConfigCommandError> {
    let mut resources = options.files.read()?;
    for warning in &resources.warnings {
        eprintln!("warning: {warning}");
    }
    refuse_private_keys(&options.files)?;
    refuse_what_is_ours(options, &resources)?;
    if options.network_filter {
        tell_direct_peer_address(&mut resources.document);
        accepted(&resources, &network_document(&resources.document))?;
    }
    let config = accepted(&resources, &resources.document)?;
    Ok(Gate {
        document: resources.document,
        config,
    })
}

fn accepted(
    resources: &Resources,
    document: &Map<String, Value>,
) -> Result<Config, ConfigCommandError> {
    let text = Value::Object(document.clone()).to_string();
    match Config::from_bytes(text.as_bytes()) {
        Ok(config) => {
            for warning in &config.warnings {
                eprintln!("warning: {warning}");
            }
            Ok(config)
        }
        Err(error) => Err(ConfigCommandError::Refused {
            place: match error.path.as_str() {
                // The document as a whole is no place in any file.
                "configuration" => Place {
                    file: None,
                    path: error.path.clone(),
                },
                path => resources.place(path),
            },
            reason: reason(&error).to_owned(),
        }),
    }
}

/// What is written here is copied about, and read by whoever may read Envoy's configuration.
fn refuse_private_keys(files: &ResourceFiles) -> Result<(), ConfigCommandError> {
    for file in files.files() {
        if let Some(line) = private_key_lines(file)?.first() {
            return Err(ConfigCommandError::Refused {
                place: Place {
                    file: Some(file.to_owned()),
                    path: format!("line {line}"),
                },
                reason: "holds a private key, which belongs nowhere in here".to_owned(),
            });
        }
    }
    Ok(())
}

/// Settings that say where the filter stands, which is this command's to say.
fn refuse_what_is_ours(
    options: &EnvoyOptions,
    resources: &Resources,
) -> Result<(), ConfigCommandError> {
    let document = &resources.document;
    let told = document
        .get("source")
        .and_then(|source| source.pointer("/connection/directPeerAddress"))
        .is_some_and(|told| told == "NETWORK_FILTER");
    let (path, reason) = if document.contains_key("role") {
        ("role", "is for this command to say: see --network-filter")
    } else if told && !options.network_filter && options.part == Part::Bootstrap {
        (
            "source.connection.directPeerAddress",
            "needs --network-filter, which tells the address",
        )
    } else {
        return Ok(());
    };
    Err(ConfigCommandError::Refused {
        place: resources.place(path),
        reason: reason.to_owned(),
    })
}

/// What is not an object is left for the core to refuse.
fn tell_direct_peer_address(document: &mut Map<String, Value>) {
    let mut place = document.entry("source").or_insert_with(|| json!({}));
    if let Value::Object(source) = place {
        place = source.entry("connection").or_insert_with(|| json!({}));
    }
    if let Value::Object(connection) = place {
        connection.insert("directPeerAddress".to_owned(), json!("NETWORK_FILTER"));
    }
}

/// What of the document is about connections. Where refusals are to be answered, or the connection is
/// a relay's, the HTTP filter does that, and this one only tells the address.
fn network_document(document: &Map<String, Value>) -> Map<String, Value> {
    let mut network = Map::from_iter([("role".to_owned(), json!("NETWORK_FILTER"))]);
    let header = document
        .get("source")
        .and_then(|source| source.get("header"));
    if header.is_some_and(|header| !header.is_null()) {
        let mode = json!({ "clientValidationMode": "ALLOW_INVALID_OR_MISSING_CLIENT_CERT" });
        network.insert("serverTlsPolicy".to_owned(), json!({ "mtlsPolicy": mode }));
        return network;
    }
    for field in ["trustConfig", "serverTlsPolicy", "profile", "revocation"] {
        if let Some(value) = document.get(field) {
            network.insert(field.to_owned(), value.clone());
        }
    }
    if let Some(Value::Object(limits)) = document.get("limits") {
        let mut limits = limits.clone();
        limits.remove("renderedBytes");
        network.insert("limits".to_owned(), Value::Object(limits));
    }
    let answers = document
        .get("rejection")
        .and_then(|rejection| rejection.get("action"))
        .is_some_and(|action| action == "RESPOND");
    let mode = network
        .get_mut("serverTlsPolicy")
        .and_then(|policy| policy.pointer_mut("/mtlsPolicy/clientValidationMode"));
    if let (Some(mode), true) = (mode, answers) {
        *mode = json!("ALLOW_INVALID_OR_MISSING_CLIENT_CERT");
    }
    network
}

fn bootstrap(options: &EnvoyOptions, gate: Gate) -> Result<Value, ConfigCommandError> {
    Ok(json!({
        "static_resources": {
            "listeners": [listener(options, gate)],
            "clusters": clusters(options)?,
        },
    }))
}

fn listener(options: &EnvoyOptions, gate: Gate) -> Value {
    json!({
        "name": "gate",
        "address": socket_address(&options.listen.ip().to_string(), options.listen.port()),
        "filter_chains": [{
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": downstream_tls(options),
            },
            "filters": network_filters(options, gate),
        }],
    })
}

/// Asks for a certificate and lets every one through to the filter. The handshake still proves that
/// the client holds the key.
fn downstream_tls(options: &EnvoyOptions) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": false,
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "validation_context": { "trust_chain_verification": "ACCEPT_UNTRUSTED" },
            "tls_params": { "signature_algorithms": SIGNATURE_ALGORITHMS },
            "tls_certificates": [{
                "certificate_chain": { "filename": options.cert },
                "private_key": { "filename": options.key },
            }],
        },
    })
}

fn network_filters(options: &EnvoyOptions, gate: Gate) -> Vec<Value> {
    let network = options
        .network_filter
        .then(|| network_filter(options, network_document(&gate.document)));
    network
        .into_iter()
        .chain([connection_manager(options, gate)])
        .collect()
}

fn connection_manager(options: &EnvoyOptions, gate: Gate) -> Value {
    let (details, set) = forwarded_header(gate.config.forwarded.as_ref());
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gate",
        // The client's address behind what it sent as X-Forwarded-For, and none of Envoy's own
        // headers from outside.
        "use_remote_address": true,
        "forward_client_cert_details": details,
        // One path for the filter, for policies and for the backend.
        "normalize_path": true,
        "merge_slashes": true,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
        // A refused HTTP/1.1 request is closed after this; Envoy's default is a second.
        "delayed_close_timeout": "0.05s",
        "access_log": [access_log()],
        "http_filters": http_filters(options, gate.document),
        "route_config": route_config(),
    });
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": with(manager, "set_current_client_cert_details", set),
    })
}

/// What becomes of `x-forwarded-client-cert` before the filter sees it, and what Envoy writes there.
fn forwarded_header(forwarded: Option<&Forwarded>) -> (&'static str, Option<Value>) {
    let Some(Forwarded { source, relay }) = forwarded else {
        // Overwritten with what this Envoy saw; the filter takes the other certificates of the chain
        // from it, as candidates that need not be trusted.
        return ("SANITIZE_SET", Some(json!({ "cert": true, "chain": true })));
    };
    let details = match relay {
        _ if !source.reads(FORWARDED_HEADER.as_bytes()) => "SANITIZE",
        RelayRule::Named { .. } => "FORWARD_ONLY",
        // FORWARD_ONLY keeps it on connections with a client's certificate only.
        RelayRule::Anybody | RelayRule::At(_) => "ALWAYS_FORWARD_ONLY",
        RelayRule::Nobody => "SANITIZE",
    };
    (details, None)
}

fn access_log() -> Value {
    json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/stdout",
            "log_format": { "text_format_source": { "inline_string": ACCESS_LOG_LINE } },
        },
    })
}

fn http_filters(options: &EnvoyOptions, document: Map<String, Value>) -> Vec<Value> {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    });
    vec![wasm_filter(options, document), router]
}

fn wasm_filter(options: &EnvoyOptions, document: Map<String, Value>) -> Value {
    json!({
        "name": "envoy.filters.http.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": plugin(options, "mtls_gate", document),
        },
    })
}

fn network_filter(options: &EnvoyOptions, document: Map<String, Value>) -> Value {
    json!({
        "name": "envoy.filters.network.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm",
            "config": plugin(options, "mtls_gate_connections", document),
        },
    })
}

fn plugin(options: &EnvoyOptions, name: &str, document: Map<String, Value>) -> Value {
    json!({
        "name": name,
        // Unset, a filter that failed once answers 503 for good; with FAIL_OPEN it would be passed by
        // for good.
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": options.wasm } },
        },
        "configuration": {
            "@type": "type.googleapis.com/google.protobuf.Struct",
            "value": document,
        },
    })
}

fn route_config() -> Value {
    json!({
        "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": CLUSTER } }],
        }],
    })
}

fn clusters(options: &EnvoyOptions) -> Result<Vec<Value>, ConfigCommandError> {
    let HostPort { host, port } = &options.upstream;
    let is_address = host.parse::<IpAddr>().is_ok();
    let cluster = json!({
        "name": CLUSTER,
        "type": if is_address { "STATIC" } else { "STRICT_DNS" },
        "load_assignment": {
            "cluster_name": CLUSTER,
            "endpoints": [{
                "lb_endpoints": [{ "endpoint": { "address": socket_address(host, *port) } }],
            }],
        },
    });
    // An address is no name to ask for.
    let server_name = (!is_address).then_some(host.as_str());
    let tls = upstream_tls::transport_socket(&options.backend, server_name)?;
    Ok(vec![with(cluster, "transport_socket", tls)])
}

/// The object with one more field, if there is a value for it.
pub(super) fn with(mut object: Value, field: &str, value: Option<Value>) -> Value {
    if let (Value::Object(fields), Some(value)) = (&mut object, value) {
        fields.insert(field.to_owned(), value);
    }
    object
}

fn socket_address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}
