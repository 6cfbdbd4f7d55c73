//! README's Envoy examples, run as they stand.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use mtls_gate::goldens::{self, Golden, testdata};
use mtls_gate::testbed::client::{self, ClientIdentity, ClientOptions, Outcome};
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{Envoy, EnvoyConfig, ServerCertificate, filter_file};
use serde_json::{Value, json};
use tempfile::TempDir;

const FILTER: &str = "/etc/mtls-gate/mtls_gate_filter.wasm";
const PLACEHOLDER: &str = "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n";

/// The YAML behind a mark.
fn example(mark: &str) -> Value {
    let readme = fs::read_to_string(testdata().join("../README.md")).unwrap();
    let (_, behind) = readme.split_once(&format!("<!-- {mark}")).unwrap();
    let (_, yaml) = behind.split_once("```yaml\n").unwrap();
    let (yaml, _) = yaml.split_once("```").unwrap();
    serde_saphyr::from_str(yaml).unwrap()
}

/// Only what belongs to a machine is replaced.
fn replace(document: &mut Value, pointer: &str, was: Value, by: Value) {
    let place = document
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("{pointer}"));
    assert_eq!(*place, was, "{pointer}");
    *place = by;
}

fn golden() -> Golden {
    let all = goldens::all().unwrap();
    all.into_iter()
        .find(|golden| golden.name == "one_intermediate")
        .unwrap()
}

fn identity(golden: &Golden) -> ClientIdentity {
    ClientIdentity {
        chain_pem: golden.chain_pem.clone().into_bytes(),
        key_pem: golden.key_pem.clone().into_bytes(),
    }
}

fn anchor(golden: &Golden) -> Value {
    let anchor = &golden.document()["trustConfig"]["trustStores"][0]["trustAnchors"][0];
    anchor["pemCertificate"].clone()
}

fn filter() -> Value {
    json!(fs::canonicalize(filter_file()).unwrap())
}

/// The bootstrap, with this machine's ports and files.
fn bootstrap(files: &TempDir, echo: &Echo) -> Value {
    let mut bootstrap = example("envoy.yaml");
    let certificate = ServerCertificate::self_signed(&["gate.test"]).unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let cert = file("server.cert", &certificate.certificate_pem);
    let key = file("server.key", &certificate.key_pem);
    let mut replace = |pointer: &str, was, by| replace(&mut bootstrap, pointer, was, by);
    let listener = "/static_resources/listeners/0";
    let chain = format!("{listener}/filter_chains/0");
    let tls =
        format!("{chain}/transport_socket/typed_config/common_tls_context/tls_certificates/0");
    let wasm = format!("{chain}/filters/0/typed_config/http_filters/0/typed_config/config");
    let first = format!("{wasm}/configuration/value/trustConfig/trustStores/0/trustAnchors/0");
    let backend =
        "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
    let address = |of: &str| format!("{of}/address/socket_address/address");
    let port = |of: &str| format!("{of}/address/socket_address/port_value");
    replace(&address(listener), json!("0.0.0.0"), json!("127.0.0.1"));
    replace(&port(listener), json!(8443), json!(0));
    replace(&port(backend), json!(8080), json!(echo.address().port()));
    replace(
        &format!("{tls}/certificate_chain/filename"),
        json!("/etc/mtls-gate/server.cert"),
        json!(cert),
    );
    replace(
        &format!("{tls}/private_key/filename"),
        json!("/etc/mtls-gate/server.key"),
        json!(key),
    );
    replace(
        &format!("{wasm}/vm_config/code/local/filename"),
        json!(FILTER),
        filter(),
    );
    replace(
        &format!("{first}/pemCertificate"),
        json!(PLACEHOLDER),
        anchor(&golden()),
    );
    bootstrap["admin"] = json!({
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } }
    });
    bootstrap
}

fn get(envoy: &Envoy, identity: Option<&ClientIdentity>) -> Outcome {
    let options = ClientOptions::default();
    let gate = envoy.port("gate").unwrap();
    let mut connection = client::connect(gate, "gate.test", identity, &options).unwrap();
    connection
        .get("gate.test", "/", &["X-Client-Cert-Leaf: spoof"])
        .unwrap()
}

/// A verified client's request arrives with the variables, another's not at all.
fn works(envoy: &Envoy) {
    let golden = golden();
    let Outcome::Response(response) = get(envoy, Some(&identity(&golden))) else {
        panic!("closed\n{}", envoy.log());
    };
    let reply = EchoReply::parse(&response.body).unwrap();
    assert_eq!(
        reply.all("x-client-cert-leaf"),
        [golden.expected.variables["client_cert_leaf"].as_str()]
    );
    assert!(get(envoy, None).closed_silently());
}

#[test]
fn the_envoy_example_works() {
    let (files, echo) = (tempfile::tempdir().unwrap(), Echo::start().unwrap());
    let envoy = Envoy::start(&EnvoyConfig::new(bootstrap(&files, &echo))).unwrap();
    works(&envoy);
}

#[test]
fn the_network_filter_example_works() {
    let (files, echo) = (tempfile::tempdir().unwrap(), Echo::start().unwrap());
    let mut bootstrap = bootstrap(&files, &echo);
    let mut filters = example("network filter");
    let config = "/0/typed_config/config";
    let store = format!("{config}/configuration/value/trustConfig/trustStores/0");
    let golden = golden();
    for (pointer, was, by) in [
        (
            format!("{config}/vm_config/code/local/filename"),
            json!(FILTER),
            filter(),
        ),
        (
            format!("{store}/trustAnchors/0/pemCertificate"),
            json!(PLACEHOLDER),
            anchor(&golden),
        ),
        (
            format!("{store}/intermediateCas/0/pemCertificate"),
            json!(PLACEHOLDER),
            json!(golden.chain()[1]),
        ),
    ] {
        replace(&mut filters, &pointer, was, by);
    }
    // In front of what is there.
    let place = "/static_resources/listeners/0/filter_chains/0/filters";
    let place = bootstrap
        .pointer_mut(place)
        .unwrap()
        .as_array_mut()
        .unwrap();
    place.insert(0, filters[0].take());
    let envoy = Envoy::start(&EnvoyConfig::new(bootstrap)).unwrap();
    works(&envoy);
    let closed = envoy
        .stats("wasmcustom.mtls_gate.connections_closed")
        .unwrap();
    assert_eq!(closed.into_values().collect::<Vec<_>>(), [1]);
}
