//! README's bootstrap around the filter's configuration document. One function for each part.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use mtls_gate_core::pipeline::FORWARDED_HEADER;
use mtls_gate_core::relay::{Forwarded, RelayRule};
use serde_json::{Map, Value, json};

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

/// Where Envoy finds the server's certificate chain, unless told otherwise.
pub const CERT: &str = "/etc/mtls-gate/server.cert";
/// The server's private key.
pub const KEY: &str = "/etc/mtls-gate/server.key";
/// The filter.
pub const WASM: &str = "/etc/mtls-gate/mtls_gate_filter.wasm";

/// Where Envoy finds what.
#[derive(Clone, Copy, Debug)]
pub struct Envoy<'a> {
    /// The address that it listens at.
    pub listen: SocketAddr,
    /// The server's certificate chain.
    pub cert: &'a Path,
    /// The server's private key.
    pub key: &'a Path,
    /// The filter.
    pub wasm: &'a Path,
    /// The same filter stands before the connection manager too.
    pub network_filter: bool,
    /// Where the filter reads the client's certificate, if another proxy terminates the mTLS.
    pub forwarded: Option<&'a Forwarded>,
}

impl Default for Envoy<'_> {
    fn default() -> Self {
        Self {
            listen: ([0, 0, 0, 0], 8443).into(),
            cert: Path::new(CERT),
            key: Path::new(KEY),
            wasm: Path::new(WASM),
            network_filter: false,
            forwarded: None,
        }
    }
}

impl Envoy<'_> {
    /// A complete bootstrap.
    #[must_use]
    pub fn bootstrap(&self, document: Map<String, Value>, cluster: Value) -> Value {
        json!({
            "static_resources": {
                "listeners": [listener(self, document)],
                "clusters": [cluster],
            },
        })
    }

    /// The entry for `http_filters`.
    #[must_use]
    pub fn http_filter(&self, document: Map<String, Value>) -> Value {
        wasm_filter(self, document)
    }
}

/// Has the filter take the direct peer's address from the network filter. What is not an object is
/// left for the core to refuse.
pub fn tell_direct_peer_address(document: &mut Map<String, Value>) {
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
#[must_use]
pub fn network_document(document: &Map<String, Value>) -> Map<String, Value> {
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

fn listener(envoy: &Envoy<'_>, document: Map<String, Value>) -> Value {
    json!({
        "name": "gate",
        "address": socket_address(&envoy.listen.ip().to_string(), envoy.listen.port()),
        "filter_chains": [{
            "transport_socket": {
                "name": "envoy.transport_sockets.tls",
                "typed_config": downstream_tls(envoy),
            },
            "filters": network_filters(envoy, document),
        }],
    })
}

/// Asks for a certificate and lets every one through to the filter. The handshake still proves that
/// the client holds the key.
fn downstream_tls(envoy: &Envoy<'_>) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": false,
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "validation_context": { "trust_chain_verification": "ACCEPT_UNTRUSTED" },
            "tls_params": { "signature_algorithms": SIGNATURE_ALGORITHMS },
            "tls_certificates": [{
                "certificate_chain": { "filename": envoy.cert },
                "private_key": { "filename": envoy.key },
            }],
        },
    })
}

fn network_filters(envoy: &Envoy<'_>, document: Map<String, Value>) -> Vec<Value> {
    let network = envoy
        .network_filter
        .then(|| network_filter(envoy, network_document(&document)));
    network
        .into_iter()
        .chain([connection_manager(envoy, document)])
        .collect()
}

fn connection_manager(envoy: &Envoy<'_>, document: Map<String, Value>) -> Value {
    let (details, set) = forwarded_header(envoy.forwarded);
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
        "http_filters": http_filters(envoy, document),
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

fn http_filters(envoy: &Envoy<'_>, document: Map<String, Value>) -> Vec<Value> {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    });
    vec![wasm_filter(envoy, document), router]
}

fn wasm_filter(envoy: &Envoy<'_>, document: Map<String, Value>) -> Value {
    json!({
        "name": "envoy.filters.http.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": plugin(envoy, "mtls_gate", document),
        },
    })
}

fn network_filter(envoy: &Envoy<'_>, document: Map<String, Value>) -> Value {
    json!({
        "name": "envoy.filters.network.wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm",
            "config": plugin(envoy, "mtls_gate_connections", document),
        },
    })
}

fn plugin(envoy: &Envoy<'_>, name: &str, document: Map<String, Value>) -> Value {
    json!({
        "name": name,
        // Unset, a filter that failed once answers 503 for good; with FAIL_OPEN it would be passed by
        // for good.
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": envoy.wasm } },
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

/// The cluster of the backend: a name is resolved by Envoy.
#[must_use]
pub fn cluster(host: &str, port: u16, transport_socket: Option<Value>) -> Value {
    let is_address = host.parse::<IpAddr>().is_ok();
    let cluster = json!({
        "name": CLUSTER,
        "type": if is_address { "STATIC" } else { "STRICT_DNS" },
        "load_assignment": {
            "cluster_name": CLUSTER,
            "endpoints": [{
                "lb_endpoints": [{ "endpoint": { "address": socket_address(host, port) } }],
            }],
        },
    });
    with(cluster, "transport_socket", transport_socket)
}

/// The object with one more field, if there is a value for it.
#[must_use]
pub fn with(mut object: Value, field: &str, value: Option<Value>) -> Value {
    if let (Value::Object(fields), Some(value)) = (&mut object, value) {
        fields.insert(field.to_owned(), value);
    }
    object
}

fn socket_address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}
