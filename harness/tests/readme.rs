//! README's Envoy example, run as it stands.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use mtls_gate::goldens::{self, testdata};
use mtls_gate::testbed::client::{self, ClientIdentity, ClientOptions, Outcome};
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{Envoy, EnvoyConfig, ServerCertificate, filter_file};
use serde_json::{Value, json};

#[test]
fn the_envoy_example_works() {
    let readme = fs::read_to_string(testdata().join("../README.md")).unwrap();
    let (_, behind) = readme.split_once("<!-- envoy.yaml").unwrap();
    let (_, yaml) = behind.split_once("```yaml\n").unwrap();
    let (yaml, _) = yaml.split_once("```").unwrap();
    let mut bootstrap: Value = serde_saphyr::from_str(yaml).unwrap();

    let all = goldens::all().unwrap();
    let golden = all
        .into_iter()
        .find(|golden| golden.name == "one_intermediate")
        .unwrap();
    let files = tempfile::tempdir().unwrap();
    let certificate = ServerCertificate::self_signed(&["gate.test"]).unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let cert = file("server.cert", &certificate.certificate_pem);
    let key = file("server.key", &certificate.key_pem);
    let echo = Echo::start().unwrap();

    // Only what belongs to a machine is replaced.
    let mut replace = |pointer: &str, was: &Value, by: Value| {
        let place = bootstrap
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("{pointer}"));
        assert_eq!(&*place, was, "{pointer}");
        *place = by;
    };
    let listener = "/static_resources/listeners/0";
    let chain = format!("{listener}/filter_chains/0");
    let tls =
        format!("{chain}/transport_socket/typed_config/common_tls_context/tls_certificates/0");
    let wasm = format!("{chain}/filters/0/typed_config/http_filters/0/typed_config/config");
    let anchor = format!("{wasm}/configuration/value/trustConfig/trustStores/0/trustAnchors/0");
    let backend =
        "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
    let address = |of: &str| format!("{of}/address/socket_address/address");
    let port = |of: &str| format!("{of}/address/socket_address/port_value");
    replace(&address(listener), &json!("0.0.0.0"), json!("127.0.0.1"));
    replace(&port(listener), &json!(8443), json!(0));
    replace(&port(backend), &json!(8080), json!(echo.address().port()));
    replace(
        &format!("{tls}/certificate_chain/filename"),
        &json!("/etc/mtls-gate/server.cert"),
        json!(cert),
    );
    replace(
        &format!("{tls}/private_key/filename"),
        &json!("/etc/mtls-gate/server.key"),
        json!(key),
    );
    replace(
        &format!("{wasm}/vm_config/code/local/filename"),
        &json!("/etc/mtls-gate/mtls_gate_filter.wasm"),
        json!(fs::canonicalize(filter_file()).unwrap()),
    );
    replace(
        &format!("{anchor}/pemCertificate"),
        &json!("-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n"),
        golden.document()["trustConfig"]["trustStores"][0]["trustAnchors"][0]["pemCertificate"]
            .clone(),
    );
    bootstrap["admin"] = json!({
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } }
    });

    let envoy = Envoy::start(&EnvoyConfig::new(bootstrap)).unwrap();
    let gate = envoy.port("gate").unwrap();
    let identity = ClientIdentity {
        chain_pem: golden.chain_pem.clone().into_bytes(),
        key_pem: golden.key_pem.clone().into_bytes(),
    };
    let get = |identity: Option<&ClientIdentity>| {
        let options = ClientOptions::default();
        let mut connection = client::connect(gate, "gate.test", identity, &options).unwrap();
        connection
            .get("gate.test", "/", &["X-Client-Cert-Leaf: spoof"])
            .unwrap()
    };
    let Outcome::Response(response) = get(Some(&identity)) else {
        panic!("closed\n{}", envoy.log());
    };
    let reply = EchoReply::parse(&response.body).unwrap();
    assert_eq!(
        reply.all("x-client-cert-leaf"),
        [golden.expected.variables["client_cert_leaf"].as_str()]
    );
    assert!(get(None).closed_silently());
}
