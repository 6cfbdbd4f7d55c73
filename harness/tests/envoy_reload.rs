//! `examples/envoy-reload` as it stands: trust stores change under load, and a broken configuration
//! changes nothing.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mtls_gate::goldens::{self, Golden, testdata};
use mtls_gate::testbed::client::{self, ClientIdentity, ClientOptions, Connection, Outcome};
use mtls_gate::testbed::echo::Echo;
use mtls_gate::testbed::envoy::{Envoy, EnvoyConfig, ServerCertificate, filter_file};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a new configuration may take until it is in force.
const TAKES_EFFECT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
const PLACEHOLDER: &str = "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n";
const CONNECTIONS: usize = 4;

fn golden(name: &str) -> Golden {
    goldens::named(name).unwrap()
}

fn anchor(golden: &Golden) -> Value {
    golden.document()["trustConfig"]["trustStores"][0]["trustAnchors"][0].clone()
}

fn example(name: &str) -> Value {
    let path = testdata().join("../examples/envoy-reload").join(name);
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Only what belongs to a machine is replaced.
fn replace(document: &mut Value, pointer: &str, was: Value, by: Value) {
    let place = document
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("{pointer}"));
    assert_eq!(*place, was, "{pointer}");
    *place = by;
}

/// The example's files, with the paths and ports of this run.
struct Example {
    bootstrap: Value,
    files: TempDir,
}

impl Example {
    fn new(backend: u16) -> Self {
        let files = tempfile::tempdir().unwrap();
        fs::create_dir(files.path().join("ecds")).unwrap();
        let certificate = ServerCertificate::self_signed(&["gate.test"]).unwrap();
        let file = |name: &str, text: &str| {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            json!(path)
        };
        let cert = file("server.cert", &certificate.certificate_pem);
        let key = file("server.key", &certificate.key_pem);
        let mut bootstrap = example("envoy.yaml");
        let listener = "/static_resources/listeners/0";
        let chain = format!("{listener}/filter_chains/0");
        let tls =
            format!("{chain}/transport_socket/typed_config/common_tls_context/tls_certificates/0");
        let source = format!(
            "{chain}/filters/0/typed_config/http_filters/0/config_discovery/config_source\
             /path_config_source"
        );
        let backend_address =
            "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
        let ecds = files.path().join("ecds");
        for (pointer, was, by) in [
            (
                format!("{listener}/address/socket_address/address"),
                json!("0.0.0.0"),
                json!("127.0.0.1"),
            ),
            (
                format!("{listener}/address/socket_address/port_value"),
                json!(8443),
                json!(0),
            ),
            (
                format!("{backend_address}/address/socket_address/port_value"),
                json!(8080),
                json!(backend),
            ),
            (
                format!("{tls}/certificate_chain/filename"),
                json!("/etc/mtls-gate/server.cert"),
                cert,
            ),
            (
                format!("{tls}/private_key/filename"),
                json!("/etc/mtls-gate/server.key"),
                key,
            ),
            (
                format!("{source}/path"),
                json!("/etc/mtls-gate/ecds/mtls_gate.yaml"),
                json!(ecds.join("mtls_gate.yaml")),
            ),
            (
                format!("{source}/watched_directory/path"),
                json!("/etc/mtls-gate/ecds"),
                json!(ecds),
            ),
        ] {
            replace(&mut bootstrap, &pointer, was, by);
        }
        bootstrap["admin"] = json!({
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } }
        });
        Self { bootstrap, files }
    }

    fn path(&self) -> PathBuf {
        self.files.path().join("ecds/mtls_gate.yaml")
    }

    /// What the file says with these trust anchors.
    fn trusting(&self, anchors: &[Value]) -> String {
        let mut document = example("ecds/mtls_gate.yaml");
        let config = "/resources/0/typed_config/config";
        replace(
            &mut document,
            &format!("{config}/vm_config/code/local/filename"),
            json!("/etc/mtls-gate/mtls_gate_filter.wasm"),
            json!(fs::canonicalize(filter_file()).unwrap()),
        );
        replace(
            &mut document,
            &format!("{config}/configuration/value/trustConfig/trustStores/0/trustAnchors"),
            json!([{ "pemCertificate": PLACEHOLDER }]),
            json!(anchors),
        );
        document.to_string()
    }

    /// Puts a file in place as `mv` does.
    fn put(&self, text: &str) {
        let new = self.files.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, self.path()).unwrap();
    }
}

/// How often the configuration was taken, refused, or could not be read at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Updates {
    taken: u64,
    refused: u64,
    unreadable: u64,
}

fn updates(envoy: &Envoy) -> Updates {
    let prefix = "extension_config_discovery.http_filter.mtls_gate.";
    let stats = envoy.stats(prefix).unwrap();
    let stat = |name: &str| stats.get(&format!("{prefix}{name}")).copied().unwrap_or(0);
    Updates {
        taken: stat("update_success"),
        refused: stat("update_rejected"),
        unreadable: stat("update_failure"),
    }
}

fn wait_for(what: &str, envoy: &Envoy, reached: impl Fn() -> bool) {
    let since = Instant::now();
    while !reached() {
        assert!(since.elapsed() < TAKES_EFFECT, "{what}\n{}", envoy.log());
        std::thread::sleep(POLL);
    }
}

/// Whether a request goes through; anything but 200 or a silent end fails.
fn passes(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Response(response) if response.status == 200 => true,
        closed if closed.closed_silently() => false,
        other => panic!("{other:?}"),
    }
}

fn connect(port: u16, identity: &ClientIdentity) -> Connection {
    client::connect(port, "gate.test", Some(identity), &ClientOptions::default()).unwrap()
}

fn request(connection: &mut Connection) -> bool {
    passes(&connection.get("gate.test", "/", &[]).unwrap())
}

fn admitted(port: u16, identity: &ClientIdentity) -> bool {
    request(&mut connect(port, identity))
}

/// Steady requests on connections that stay, and on ever new ones.
struct Load {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(port: u16, identity: &ClientIdentity) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(AtomicUsize::new(0));
        let threads = (0..=CONNECTIONS)
            .map(|number| {
                let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
                let identity = identity.clone();
                std::thread::spawn(move || {
                    let mut connection = connect(port, &identity);
                    while !stop.load(Ordering::SeqCst) {
                        assert!(request(&mut connection), "a request was refused");
                        requests.fetch_add(1, Ordering::SeqCst);
                        if number == CONNECTIONS {
                            connection = connect(port, &identity);
                        }
                        std::thread::sleep(Duration::from_millis(3));
                    }
                })
            })
            .collect();
        Self {
            stop,
            requests,
            threads,
        }
    }

    /// Waits until each connection has had some requests more.
    fn goes_on(&self, envoy: &Envoy) {
        let before = self.requests.load(Ordering::SeqCst);
        wait_for("no requests", envoy, || {
            assert!(self.threads.iter().all(|thread| !thread.is_finished()));
            self.requests.load(Ordering::SeqCst) >= before.saturating_add(CONNECTIONS * 10)
        });
    }

    fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.requests.load(Ordering::SeqCst)
    }
}

#[test]
fn trust_stores_change_under_load() {
    let [steady, leaving, coming] = ["one_intermediate", "rsa_2048", "p384"].map(golden);
    let before = [anchor(&steady), anchor(&leaving)];
    let after = [anchor(&steady), anchor(&coming)];
    let [steady, leaving, coming] = [&steady, &leaving, &coming].map(Golden::identity);
    let echo = Echo::start().unwrap();
    let example = Example::new(echo.address().port());
    example.put(&example.trusting(&before));
    let mut config = EnvoyConfig::new(example.bootstrap.clone());
    config.concurrency = 2;
    config
        .extra
        .push("--reject-unknown-dynamic-fields".to_owned());
    let envoy = Envoy::start(&config).unwrap();
    let port = envoy.port("gate").unwrap();
    let start = updates(&envoy);
    assert_eq!((start.taken, start.refused), (1, 0));

    let load = Load::start(port, &steady);
    let mut old_connections: Vec<Connection> =
        (0..CONNECTIONS).map(|_| connect(port, &leaving)).collect();
    assert!(old_connections.iter_mut().all(request));
    assert!(!admitted(port, &coming));
    load.goes_on(&envoy);

    example.put(&example.trusting(&after));
    wait_for("the new one is not taken", &envoy, || {
        updates(&envoy).taken == 2
    });
    // Each worker learns of it by itself.
    wait_for("the new CA's client is refused", &envoy, || {
        (0..CONNECTIONS).all(|_| admitted(port, &coming))
    });
    wait_for("the old CA's client gets in", &envoy, || {
        (0..CONNECTIONS).all(|_| !admitted(port, &leaving))
    });
    // Nor does a connection from before help.
    assert!(!old_connections.iter_mut().any(request));
    load.goes_on(&envoy);

    // What the filter refuses, what Envoy refuses, and what is no YAML.
    let mut broken_anchor = after[1].clone();
    broken_anchor["pemCertificate"] =
        json!("-----BEGIN CERTIFICATE-----\nMAA\n-----END CERTIFICATE-----\n");
    let of_the_filter = example.trusting(&[after[0].clone(), broken_anchor]);
    let of_envoy = example.trusting(&before).replace(".wasm\"", ".not-there\"");
    let misspelt = example
        .trusting(&before)
        .replace("failure_policy", "failure_police");
    let unknown = example
        .trusting(&before)
        .replace("FAIL_RELOAD", "FAIL_NEVER");
    for broken in [
        of_the_filter,
        of_envoy,
        misspelt,
        unknown,
        "resources: [".to_owned(),
        String::new(),
    ] {
        let was = updates(&envoy);
        example.put(&broken);
        wait_for("the broken one is not refused", &envoy, || {
            let is = updates(&envoy);
            assert_eq!(is.taken, was.taken);
            is.refused > was.refused || is.unreadable > was.unreadable
        });
        for _ in 0..CONNECTIONS {
            assert!(admitted(port, &coming));
            assert!(!admitted(port, &leaving));
        }
        load.goes_on(&envoy);
    }
    let said = "configuration refused: trustConfig.trustStores[0].trustAnchors[1].pemCertificate: ";
    assert!(envoy.log().contains(said), "{}", envoy.log());

    example.put(&example.trusting(&before));
    wait_for("the last one is not taken", &envoy, || {
        updates(&envoy).taken == 3
    });
    wait_for("the old CA's client is refused", &envoy, || {
        (0..CONNECTIONS).all(|_| admitted(port, &leaving))
    });
    wait_for("the new CA's client gets in", &envoy, || {
        (0..CONNECTIONS).all(|_| !admitted(port, &coming))
    });
    load.goes_on(&envoy);
    assert!(load.end() >= CONNECTIONS * 90);
    let reloads = envoy.stats("wasm.").unwrap();
    for (name, value) in reloads {
        assert!(!name.contains("reload") || value == 0, "{name}: {value}");
    }
}

/// A file that is broken from the start, or not there: nobody gets in, and a good one mends it.
#[test]
fn without_a_configuration_nobody_gets_in() {
    let steady = golden("one_intermediate");
    let echo = Echo::start().unwrap();
    let example = Example::new(echo.address().port());
    example.put(&example.trusting(&[json!({ "pemCertificate": "nonsense" })]));
    let mut config = EnvoyConfig::new(example.bootstrap.clone());
    config.ready_within = Duration::from_secs(30);
    let envoy = Envoy::start(&config).unwrap();
    let port = envoy.port("gate").unwrap();
    let outcome = connect(port, &steady.identity()).get("gate.test", "/", &[]);
    let status = outcome.unwrap().response().unwrap().status;
    assert_eq!(status, 500);
    assert_eq!(echo.requests(), 0);
    example.put(&example.trusting(&[anchor(&steady)]));
    wait_for("the good one is not taken", &envoy, || {
        updates(&envoy).taken == 1
    });
    assert!(admitted(port, &steady.identity()));
    assert!(Path::new(&example.path()).is_file());
}
