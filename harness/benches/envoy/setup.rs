//! What Envoy runs: ours, and what it is compared with.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mtls_gate::goldens::header_of;
use mtls_gate::testbed::envoy::{
    Chain, EnvoyConfig, FilterDocument, Listener, ServerCertificate, WasmFilter, bootstrap,
    filter_file,
};
use mtls_gate_core::authz::Request;
use mtls_gate_core::config::Config;
use mtls_gate_core::decision::Outcome;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::forwarded::connection::Connection;
use mtls_gate_core::headers::AddedHeader;
use mtls_gate_core::pipeline::{FORWARDED_HEADER, Pipeline};
use mtls_gate_core::variables::Variable;
use mtls_gate_core::x509::UnixSeconds;
use mtls_gate_rustcrypto::ALGORITHMS;
use serde_json::{Value, json};

use super::Result;
use super::clients::{Client, Clients};

/// The listener's name.
pub(crate) const LISTENER: &str = "bench";
/// Counts the requests that ours found to be of a verified client.
pub(crate) const VERIFIED: &str = "wasmcustom.mtls_gate.verified";
/// How many clients come in turn where all were seen before.
pub(crate) const FEW: usize = 8;
/// How many signatures the filter that prices them has the host verify for each request.
pub(crate) const SIGNATURES: u32 = 8;

/// Who terminates the client's mTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// Something in front: plain HTTP with the chain in `x-forwarded-client-cert`.
    Relay,
    /// This Envoy.
    Tls,
}

/// Ours, as configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours {
    /// Whether signatures may be verified by the host.
    pub(crate) host_crypto: bool,
    /// 0 turns every cache off; none leaves it at its default.
    pub(crate) cache_bytes: Option<u64>,
    /// Whether headers are set.
    pub(crate) headers: bool,
    /// Trust anchors that are configured.
    pub(crate) anchors: usize,
    /// Whether requests of refused clients are answered, too.
    pub(crate) accepts_all: bool,
}

impl Ours {
    pub(crate) const DEFAULT: Self = Self {
        host_crypto: true,
        cache_bytes: None,
        headers: true,
        anchors: 1,
        accepts_all: false,
    };
    /// The same with every signature verified in wasm.
    pub(crate) const IN_WASM: Self = Self {
        host_crypto: false,
        ..Self::DEFAULT
    };
    /// And nothing remembered.
    pub(crate) const PLAIN: Self = Self {
        cache_bytes: Some(0),
        ..Self::IN_WASM
    };

    pub(crate) fn without_headers(self) -> Self {
        Self {
            headers: false,
            ..self
        }
    }

    pub(crate) fn accepting_all(self) -> Self {
        Self {
            accepts_all: true,
            ..self
        }
    }

    pub(crate) fn anchors(self, anchors: usize) -> Self {
        Self { anchors, ..self }
    }

    pub(crate) fn cache_bytes(self, bytes: u64) -> Self {
        Self {
            cache_bytes: Some(bytes),
            ..self
        }
    }
}

/// The filter in an Envoy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Filter {
    None,
    /// A wasm filter that does nothing.
    Empty,
    /// A wasm filter that makes the host calls of ours and sets the same headers.
    Floor,
    /// The header work of the floor.
    Lua,
    /// An empty one that has the host verify [`SIGNATURES`].
    Signatures,
    Ours(Ours),
}

/// Makes Envoy's configurations.
pub(crate) struct Setup<'c> {
    clients: &'c Clients,
    /// The filters that ours is measured against, in one module.
    reference: PathBuf,
    certificate: ServerCertificate,
    /// What ours adds to a request, for each of the first clients.
    headers: Vec<Vec<AddedHeader>>,
}

impl<'c> Setup<'c> {
    pub(crate) fn new(clients: &'c Clients) -> Result<Self> {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/mtls_gate_bench_filters.wasm");
        if !file.is_file() {
            return Err(format!("no {} (`make bench-filters` builds it)", file.display()).into());
        }
        Ok(Self {
            clients,
            reference: file,
            certificate: ServerCertificate::self_signed(&["bench.test"])?,
            headers: headers(clients)?,
        })
    }

    /// One worker, which answers every request itself.
    pub(crate) fn envoy(&self, front: Front, filter: Filter) -> EnvoyConfig {
        let mut chain = Chain::new(&[], &self.certificate);
        match filter {
            Filter::None => {}
            Filter::Empty => chain = chain.filter(self.reference(json!({}))),
            Filter::Floor => chain = chain.filter(self.reference(self.floor(front))),
            Filter::Lua => chain.filters_before.push(self.lua()),
            Filter::Signatures => {
                let arguments = self.clients.signature.encode();
                chain = chain.filter(self.reference(json!({
                    "verify": { "times": SIGNATURES, "arguments": arguments },
                })));
            }
            Filter::Ours(ours) => {
                let anchors = self.clients.anchors_pem(ours.anchors);
                let document = document(&anchors, front, ours);
                let document = FilterDocument::JsonText(document);
                chain = chain.filter(WasmFilter::new(&filter_file(), document));
            }
        }
        Self::answering(front, chain)
    }

    /// Ours behind a relay, with another trust anchor.
    pub(crate) fn trusting(&self, anchor_pem: &str, ours: Ours) -> EnvoyConfig {
        let document = document(&[anchor_pem], Front::Relay, ours);
        let filter = WasmFilter::new(&filter_file(), FilterDocument::JsonText(document));
        let chain = Chain::new(&[], &self.certificate).filter(filter);
        Self::answering(Front::Relay, chain)
    }

    /// One worker, which answers every request of this chain itself.
    fn answering(front: Front, chain: Chain) -> EnvoyConfig {
        let listener = Listener {
            name: LISTENER.to_owned(),
            chains: vec![chain],
        };
        // Nobody is asked: no request reaches the backend.
        let mut bootstrap = bootstrap(&[listener], ([127, 0, 0, 1], 1).into(), false);
        let listener = &mut bootstrap["static_resources"]["listeners"][0];
        let chain = &mut listener["filter_chains"][0];
        let manager = &mut chain["filters"][0]["typed_config"];
        manager["access_log"] = json!([]);
        manager["set_current_client_cert_details"] = json!({ "cert": true, "chain": true });
        manager["route_config"]["virtual_hosts"][0]["routes"] = json!([{
            "match": { "prefix": "/" },
            "direct_response": { "status": 200 },
        }]);
        if front == Front::Relay {
            manager["forward_client_cert_details"] = json!("ALWAYS_FORWARD_ONLY");
            chain["transport_socket"] = Value::Null;
            listener["listener_filters"] = json!([]);
        }
        EnvoyConfig {
            poll: Duration::from_millis(2),
            // All of them start at once.
            ready_within: Duration::from_secs(120),
            ..EnvoyConfig::new(bootstrap)
        }
    }

    fn reference(&self, work: Value) -> WasmFilter {
        WasmFilter::new(&self.reference, FilterDocument::JsonText(work))
    }

    /// The host calls of ours for a request that it forwards (`filter/src/handle.rs`), in this
    /// order, and the headers it sets.
    fn floor(&self, front: Front) -> Value {
        let mut properties = vec![json!(["request", "protocol"])];
        if front == Front::Relay {
            properties.push(json!(["connection", "sha256_peer_certificate_digest"]));
        }
        properties.push(json!(["connection", "peer_certificate"]));
        let pairs = |headers: &Vec<AddedHeader>| -> Vec<Value> {
            let headers = headers.iter();
            headers
                .map(|header| json!([header.name, header.value]))
                .collect()
        };
        let add: Vec<_> = self.headers.iter().map(pairs).collect();
        json!({
            "properties": properties,
            "header": FORWARDED_HEADER,
            "clock": true,
            "counter": "floor.verified",
            "remove": [FORWARDED_HEADER],
            "add": add,
        })
    }

    fn lua(&self) -> Value {
        let mut code = format!(
            "function envoy_on_request(handle)\n\
             local headers = handle:headers()\n\
             local forwarded = headers:get('{FORWARDED_HEADER}')\n\
             headers:remove('{FORWARDED_HEADER}')\n"
        );
        for header in self.headers.first().into_iter().flatten() {
            code += &format!("headers:add('{}', [==[{}]==])\n", header.name, header.value);
        }
        code += "end\n";
        json!({
            "name": "envoy.filters.http.lua",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": { "inline_string": code },
            },
        })
    }
}

/// The configuration document of ours.
fn document(anchors: &[&str], front: Front, ours: Ours) -> Value {
    let lines: Vec<_> = Variable::ALL
        .into_iter()
        .filter(|_| ours.headers)
        .map(|variable| format!("{}:{{{}}}", header_of(variable), variable.name()))
        .collect();
    let mode = if ours.accepts_all {
        "ALLOW_INVALID_OR_MISSING_CLIENT_CERT"
    } else {
        "REJECT_INVALID"
    };
    let anchors: Vec<_> = anchors
        .iter()
        .map(|pem| json!({ "pemCertificate": pem }))
        .collect();
    let mut document = json!({
        "trustConfig": { "trustStores": [{ "trustAnchors": anchors }] },
        "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": mode } },
        "customRequestHeaders": lines,
    });
    document["signatureBackend"] = json!(if ours.host_crypto { "HOST" } else { "WASM" });
    if let Some(bytes) = ours.cache_bytes {
        document["limits"] = json!({ "cacheBytes": bytes });
    }
    if front == Front::Relay {
        document["source"] = json!({
            "header": { "preset": "ENVOY", "relay": { "trustAnyRelay": true } },
        });
    }
    document
}

/// What ours adds, by the core itself.
fn headers(clients: &Clients) -> Result<Vec<Vec<AddedHeader>>> {
    let anchors = clients.anchors_pem(1);
    let document = document(&anchors, Front::Relay, Ours::PLAIN).to_string();
    let pipeline = Pipeline::new(Config::from_bytes(document.as_bytes())?, ALGORITHMS);
    let clients = clients.all.iter().take(FEW);
    clients
        .map(|client| headers_of(client, &pipeline))
        .collect()
}

fn headers_of(client: &Client, pipeline: &Pipeline) -> Result<Vec<AddedHeader>> {
    let lines: [(&[u8], &[u8]); 1] = [(FORWARDED_HEADER.as_bytes(), client.forwarded.as_bytes())];
    let request = Request {
        headers: &lines,
        ..Request::default()
    };
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let time = UnixSeconds(i64::try_from(since_1970.as_secs())?);
    let presented = Presented::Connection(Connection::default());
    let decision = pipeline.run(&presented, &request, Some(time));
    match decision.outcome {
        Outcome::Forward => Ok(decision.request.add.to_vec()),
        _ => Err(format!("the clients are refused: {}", decision.report.reason).into()),
    }
}
