//! Broken and odd certificates through the real `.wasm`: no trap, and the verdict and its reason are
//! those of the same code natively. The module runs in an interpreter under a host made for this.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mtls_gate::goldens::testdata;
use mtls_gate::testbed::envoy::filter_file;
use mtls_gate_core::authz::Request;
use mtls_gate_core::config::Config;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::forwarded::connection::Connection;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::x509::UnixSeconds;
use mtls_gate_rustcrypto::ALGORITHMS;
use serde_json::json;
use wasmi::{Caller, Engine, Instance, Linker, Memory, Module, Store, Val};

/// 2026-11-21T12:00:00Z
const TIME: i64 = 1_795_262_400;
const NOT_FOUND: i32 = 1;
const UNIMPLEMENTED: i32 = 12;

/// What the host gives and gets.
#[derive(Default)]
struct Host {
    configuration: Vec<u8>,
    peer_certificate: Vec<u8>,
    logged: Vec<String>,
    /// The last value of `mtls_gate_reason`.
    reason: Option<String>,
}

/// A VM with the module in it.
struct Vm {
    store: Store<Host>,
    instance: Instance,
}

fn memory(caller: &Caller<'_, Host>) -> Memory {
    caller.get_export("memory").unwrap().into_memory().unwrap()
}

fn text(caller: &Caller<'_, Host>, at: &Val, size: &Val) -> Vec<u8> {
    let (at, size) = (at.i32().unwrap() as usize, size.i32().unwrap() as usize);
    memory(caller).data(caller)[at..at + size].to_vec()
}

/// Hands bytes over as the ABI does: into memory that the module allocates.
fn give(caller: &mut Caller<'_, Host>, bytes: &[u8], data: &Val, size: &Val) -> i32 {
    let malloc = caller.get_export("malloc").unwrap().into_func().unwrap();
    let mut at = [Val::I32(0)];
    let length = bytes.len() as i32;
    malloc
        .call(&mut *caller, &[Val::I32(length)], &mut at)
        .unwrap();
    let at = at[0].i32().unwrap();
    let memory = memory(caller);
    memory.write(&mut *caller, at as usize, bytes).unwrap();
    for (place, value) in [(data, at), (size, length)] {
        let place = place.i32().unwrap() as usize;
        memory
            .write(&mut *caller, place, &value.to_le_bytes())
            .unwrap();
    }
    0
}

fn call(name: &str, caller: &mut Caller<'_, Host>, arguments: &[Val]) -> i32 {
    match (name, arguments) {
        ("proxy_log", [_, at, size]) => {
            let line = String::from_utf8(text(caller, at, size)).unwrap();
            caller.data_mut().logged.push(line);
            0
        }
        ("proxy_get_current_time_nanoseconds", [at]) => {
            let nanoseconds = (TIME as u64) * 1_000_000_000;
            let at = at.i32().unwrap() as usize;
            memory(caller)
                .write(caller, at, &nanoseconds.to_le_bytes())
                .unwrap();
            0
        }
        ("proxy_get_buffer_bytes", [_, _, _, data, size]) => {
            let bytes = caller.data().configuration.clone();
            give(caller, &bytes, data, size)
        }
        ("proxy_get_header_map_pairs", [_, data, size]) => {
            give(caller, &0_u32.to_le_bytes(), data, size)
        }
        ("proxy_get_property", [at, length, data, size]) => {
            let bytes = caller.data().peer_certificate.clone();
            match text(caller, at, length).as_slice() {
                b"connection\0peer_certificate" => give(caller, &bytes, data, size),
                _ => NOT_FOUND,
            }
        }
        ("proxy_set_property", [at, length, value, size]) => {
            if text(caller, at, length) == b"mtls_gate_reason" {
                let reason = String::from_utf8(text(caller, value, size)).unwrap();
                caller.data_mut().reason = Some(reason);
            }
            0
        }
        ("proxy_add_header_map_value" | "proxy_close_stream", _) => 0,
        _ => UNIMPLEMENTED,
    }
}

impl Vm {
    fn start(engine: &Engine, module: &Module) -> Self {
        let mut store = Store::new(engine, Host::default());
        let mut linker = Linker::new(engine);
        for import in module.imports() {
            let name = import.name().to_owned();
            let ty = import.ty().func().unwrap().clone();
            linker
                .func_new(
                    "env",
                    import.name(),
                    ty,
                    move |mut caller, arguments, results| {
                        results[0] = Val::I32(call(&name, &mut caller, arguments));
                        Ok(())
                    },
                )
                .unwrap();
        }
        let instance = linker.instantiate_and_start(&mut store, module).unwrap();
        let mut vm = Self { store, instance };
        vm.call("_initialize", &[], &mut []);
        vm
    }

    /// A trap fails the test.
    fn call(&mut self, name: &str, arguments: &[i32], results: &mut [Val]) {
        let arguments: Vec<Val> = arguments.iter().map(|one| Val::I32(*one)).collect();
        let function = self.instance.get_func(&self.store, name).unwrap();
        function
            .call(&mut self.store, &arguments, results)
            .unwrap_or_else(|trap| panic!("{name}: {trap}"));
    }

    /// Whether the configuration is taken, and the line that says why not.
    fn configure(&mut self, root: i32, configuration: &str) -> Result<(), String> {
        self.store.data_mut().configuration = configuration.as_bytes().to_vec();
        self.store.data_mut().logged.clear();
        self.call("proxy_on_context_create", &[root, 0], &mut []);
        let mut taken = [Val::I32(0)];
        let size = configuration.len() as i32;
        self.call("proxy_on_configure", &[root, size], &mut taken);
        match taken[0].i32() {
            Some(1) => Ok(()),
            _ => Err(self.store.data().logged.join("\n")),
        }
    }

    /// The reason that one request's certificate is refused for.
    fn request(&mut self, root: i32, context: i32, peer_certificate: &str) -> Option<String> {
        self.store.data_mut().peer_certificate = peer_certificate.as_bytes().to_vec();
        self.store.data_mut().reason = None;
        self.call("proxy_on_context_create", &[context, root], &mut []);
        let mut action = [Val::I32(0)];
        self.call("proxy_on_request_headers", &[context, 0, 1], &mut action);
        self.store.data_mut().reason.take()
    }
}

fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

/// All files below a folder, as DER; files that are PEM are taken as they are.
fn files(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|one| one.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let text = match String::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN") => text,
            Ok(text) => pem(text.as_bytes()),
            Err(error) => pem(error.as_bytes()),
        };
        found.push((path, text));
    }
}

/// The same questions to both: as a trust anchor, as a client's certificate under both profiles.
fn compare(certificates: &[(PathBuf, String)]) {
    let wasm = fs::read(filter_file()).unwrap();
    let engine = Engine::default();
    let module = Module::new(&engine, &wasm).unwrap();
    let mut vm = Vm::start(&engine, &module);
    let golden =
        fs::read_to_string(testdata().join("chains/one_intermediate/anchors.pem")).unwrap();
    let document = |anchor: &str, profile: &str| {
        json!({
            "trustConfig": { "trustStores": [{ "trustAnchors": [{ "pemCertificate": anchor }] }] },
            "serverTlsPolicy": { "mtlsPolicy": {
                "clientValidationMode": "ALLOW_INVALID_OR_MISSING_CLIENT_CERT"
            } },
            "profile": profile,
        })
        .to_string()
    };
    let mut next = 1;
    let mut root = || {
        next += 1;
        next
    };
    let pipelines = ["GOOGLE", "RFC5280"].map(|profile| {
        let text = document(&golden, profile);
        let root = root();
        vm.configure(root, &text).unwrap();
        (
            root,
            Pipeline::new(Config::from_bytes(text.as_bytes()).unwrap(), ALGORITHMS),
        )
    });
    for (path, certificate) in certificates {
        let text = document(certificate, "RFC5280");
        let native = Config::from_bytes(text.as_bytes())
            .map(|_| ())
            .map_err(|error| format!("configuration refused: {error}"));
        assert_eq!(
            vm.configure(root(), &text),
            native,
            "{} as anchor",
            path.display()
        );
        for (on, pipeline) in &pipelines {
            let connection = Connection {
                peer_certificate: Some(certificate.as_bytes()),
                ..Connection::default()
            };
            let decision = pipeline.run(
                &Presented::Connection(connection),
                &Request::default(),
                Some(UnixSeconds(TIME)),
            );
            let native = Some(decision.report.reason.clone()).filter(|reason| !reason.is_empty());
            let wasm = vm.request(*on, root(), certificate);
            assert_eq!(wasm, native, "{} as end entity", path.display());
        }
    }
}

#[test]
fn malformed_certificates_end_alike() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance/malformed");
    if !folder.is_dir() {
        // Past the test harness, which shows what is printed only if a test fails.
        let line = format!("skipped: no suites at {}\n", folder.display());
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let mut found = Vec::new();
    files(&folder, &mut found);
    assert!(found.len() >= 300, "{}", found.len());
    compare(&found);
}

/// Our own chains' end entities, with every 41st byte changed in turn.
#[test]
fn changed_certificates_end_alike() {
    let mut changed = Vec::new();
    for name in [
        "one_intermediate",
        "name_constraint_dns_satisfied",
        "policy_mapped",
    ] {
        let path = testdata().join("chains").join(name).join("chain.pem");
        let text = fs::read(&path).unwrap();
        let der = openssl::x509::X509::from_pem(&text)
            .unwrap()
            .to_der()
            .unwrap();
        for at in (0..der.len()).step_by(41) {
            let mut one = der.clone();
            one[at] ^= 0x55;
            changed.push((path.join(at.to_string()), pem(&one)));
        }
    }
    compare(&changed);
}
