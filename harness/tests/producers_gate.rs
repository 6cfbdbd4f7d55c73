//! Real producers in front of an Envoy with the filter, by README's table: whoever terminates the
//! client's connection, the backend gets the same variables, and nobody else's.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/producers.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;

use mtls_gate::goldens::testdata;
use mtls_gate::testbed::client::{self, ClientOptions, Connection};
use mtls_gate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, FilterDocument, Listener, ServerCertificate, WasmFilter, bootstrap,
    filter_file,
};
use mtls_gate::testbed::front::{ALLOW, REJECT, pem};
use mtls_gate::testbed::producers::{Extras, Producer, Running, Variant};
use mtls_gate::testbed::recorder::Head;
use mtls_gate_core::variables::Variable;
use openssl::ssl::SslVersion;
use serde_json::{Value, json};
use support::{Bed, Client, HOST, attempts, connect, forwarded, get, head};

const FAILED: &str = "client_cert_validation_failed";

// --- README's table ---

/// What README says about a product that the tests run.
struct Row {
    example: String,
    /// The lines are the first one's.
    variants: Vec<String>,
    /// `source.header` without its relay.
    header: Value,
    lines: Vec<String>,
}

/// Stands for a pipe that divides no cells.
const PIPE: &str = "\0";

/// The texts between backticks.
fn code(cell: &str) -> Vec<String> {
    let parts = cell.split('`').skip(1).step_by(2);
    parts.map(|code| code.replace(PIPE, "|")).collect()
}

/// `source.header` of each row, and the whole of it where there is a file.
fn table() -> Vec<(Value, Option<Row>)> {
    let readme = fs::read_to_string(testdata().join("../README.md")).unwrap();
    let (_, section) = readme.split_once("\n| in front |").unwrap();
    let (table, _) = section.split_once("\n\n").unwrap();
    let rows = table.lines().skip(2).map(|line| {
        let line = line.replace("\\|", PIPE);
        let cells: Vec<&str> = line.split('|').collect();
        let [_, front, header, _, lines, _] = cells[..] else {
            panic!("{line}");
        };
        let header: Value = serde_saphyr::from_str(&code(header).join("\n")).unwrap();
        let file = front.split_once("](examples/producers/");
        let row = file.map(|(_, rest)| {
            let (example, variants) = rest.split_once(')').unwrap();
            Row {
                example: example.to_owned(),
                variants: code(variants),
                header: header.clone(),
                lines: code(lines),
            }
        });
        (header, row)
    });
    rows.collect()
}

impl Row {
    fn is_of(&self, variant: Variant) -> bool {
        variant.producer().example().ends_with(&self.example)
            && self.variants.iter().any(|name| name == variant.name())
    }

    fn of(variant: Variant) -> Self {
        let rows = table().into_iter().filter_map(|(_, row)| row);
        let mut rows: Vec<Self> = rows.filter(|row| row.is_of(variant)).collect();
        assert_eq!(rows.len(), 1, "{variant:?}");
        rows.remove(0)
    }
}

// --- the gate ---

/// In another spelling than the headers that products write.
fn header_of(variable: Variable) -> String {
    format!("X-Gate-{}", variable.name().replace('_', "-"))
}

fn entry(pem: String) -> Value {
    json!({ "pemCertificate": pem })
}

/// The filter's document; without a source the certificate is the connection's.
fn document(bed: &Bed, mode: &str, with_intermediates: bool, header: Option<Value>) -> Value {
    let mut store = json!({ "trustAnchors": [entry(pem(&bed.root))] });
    if with_intermediates {
        store["intermediateCas"] = bed
            .intermediates
            .iter()
            .map(|one| entry(pem(one)))
            .collect();
    }
    let headers = Variable::ALL.map(|one| format!("{}:{{{}}}", header_of(one), one.name()));
    let mut document = json!({
        "trustConfig": { "trustStores": [store] },
        "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": mode } },
        "customRequestHeaders": headers,
    });
    if let Some(header) = header {
        document["source"] = json!({ "header": header });
    }
    document
}

fn listener(name: &str, chain: Chain, document: Value) -> Listener {
    let filter = WasmFilter::new(&filter_file(), FilterDocument::Struct(document));
    Listener {
        name: name.to_owned(),
        chains: vec![chain.filter(filter)],
    }
}

type Variables = BTreeMap<&'static str, String>;

/// What the backend gets.
fn variables(head: &Head) -> Variables {
    let one = |variable: Variable| match head.spellings(&header_of(variable))[..] {
        [(_, value)] => (variable.name(), value.to_owned()),
        ref many => panic!("{variable:?} came as {many:?}"),
    };
    Variable::ALL.into_iter().map(one).collect()
}

/// The gate with a listener of each kind for each variant, and two that terminate TLS themselves.
struct Gate {
    bed: Bed,
    envoy: Envoy,
}

impl Gate {
    fn start(variants: &[Variant]) -> Self {
        let bed = Bed::new();
        let certificate = ServerCertificate::self_signed(&[HOST]).unwrap();
        let mut listeners = Vec::new();
        for (kind, mode, with_intermediates) in [
            ("configured", ALLOW, true),
            ("presented", ALLOW, false),
            ("reject", REJECT, true),
        ] {
            let document = |header| document(&bed, mode, with_intermediates, header);
            let own = Chain::new(&[], &certificate);
            listeners.push(listener(kind, own, document(None)));
            for variant in variants {
                let mut header = Row::of(*variant).header;
                header["relay"] = json!({ "trustAnyRelay": true });
                let name = format!("{kind} {variant:?}");
                let plain = Chain::plaintext();
                listeners.push(listener(&name, plain, document(Some(header))));
            }
        }
        let bootstrap = bootstrap(&listeners, bed.recorder.address(), false);
        Self {
            envoy: Envoy::start(&EnvoyConfig::new(bootstrap)).unwrap(),
            bed,
        }
    }

    /// What the backend gets where the gate terminates the client's connection itself.
    fn reference(&self, kind: &str, client: &Client) -> Variables {
        let port = self.envoy.port(kind).unwrap();
        let identity = client.identity();
        let options = ClientOptions::default();
        let mut connection = client::connect(port, HOST, identity.as_ref(), &options).unwrap();
        variables(&head(connection.get(HOST, "/", &[]).unwrap()).unwrap())
    }

    /// The producer in front of a listener.
    fn run(&self, kind: &str, variant: Variant, extras: &Extras<'_>) -> Option<Running> {
        let port = self.envoy.port(&format!("{kind} {variant:?}")).unwrap();
        let backend = ([127, 0, 0, 1], port).into();
        Running::start_with(variant, &self.bed.server, backend, extras).ok()
    }

    /// What is not as it should be behind a producer: nothing, as the examples stand.
    fn faults(&self, variant: Variant, changes: &[(&str, &str)]) -> Vec<String> {
        let extras = Extras {
            changes,
            ..Extras::default()
        };
        let run = |kind| self.run(kind, variant, &extras);
        let (Some(configured), Some(presented)) = (run("configured"), run("presented")) else {
            return vec![format!("{variant:?} does not start")];
        };
        let mut faults = self.differences("configured", variant, &configured);
        faults.extend(self.differences("presented", variant, &presented));
        faults.extend(self.lost_by_resumption(variant, &presented));
        faults.extend(self.forged(variant, &configured));
        faults
    }

    /// What the backend should get of a client: what it would get if the gate terminated the
    /// connection, and the client presented as much as the producer forwards.
    fn expected(&self, kind: &str, variant: Variant, client: &Client) -> Result<Variables, u16> {
        let is_too_large = ["fat", "huge"].contains(&client.name);
        if variant.producer() == Producer::Haproxy && is_too_large {
            // Better than an empty header, which is what HAProxy does by itself.
            return Err(400);
        }
        if variant == Variant::EnvoyNames && ["ec", "rsa", "forger"].contains(&client.name) {
            // Nobody can tell what their names are from what Envoy means.
            let mut refused = self.reference(kind, &self.bed.none);
            refused.insert(Variable::Present.name(), "true".to_owned());
            refused.insert(Variable::Error.name(), FAILED.to_owned());
            return Ok(refused);
        }
        let mut client = client.clone();
        client.chain.truncate(forwarded(variant, &client));
        Ok(self.reference(kind, &client))
    }

    fn differences(&self, kind: &str, variant: Variant, running: &Running) -> Vec<String> {
        let mut faults = Vec::new();
        for client in self.bed.clients() {
            let expected = self.expected(kind, variant, client);
            let found = seen(variant, connect(running, client, None), &[]);
            if found != expected {
                let name = client.name;
                faults.push(format!(
                    "{kind} {variant:?} {name}: {found:?}, not {expected:?}"
                ));
            }
        }
        faults
    }

    /// A resumed session must not know less of the chain.
    fn lost_by_resumption(&self, variant: Variant, running: &Running) -> Vec<String> {
        let mut faults = Vec::new();
        let client = &self.bed.rsa;
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let mut first = connect(running, client, Some(version));
            let full = head(first.get(HOST, "/", &[]).unwrap()).map(|head| variables(&head));
            if let Some(session) = first.session() {
                let second = session.connect(running.port(), HOST).unwrap();
                let again = seen(variant, second, &[]);
                if again != full {
                    faults.push(format!("{variant:?} {version:?} resumed: {again:?}"));
                }
            }
        }
        faults
    }

    /// Whatever these lines do, the backend gets what it would get without them, or no request.
    fn forged(&self, variant: Variant, running: &Running) -> Vec<String> {
        let recorded = self.bed.start(variant);
        let victim = get(&recorded, &self.bed.rsa, &[]).unwrap();
        let mut faults = Vec::new();
        for client in [&self.bed.none, &self.bed.ec] {
            let honest = self.expected("configured", variant, client);
            for name in names(variant) {
                let stolen = match victim.all(name)[..] {
                    [value] => value.replace("\n\t", " "),
                    _ => "garbage".to_owned(),
                };
                for attempt in attempts(variant, name, &stolen) {
                    let lines: Vec<&str> = attempt.iter().map(String::as_str).collect();
                    let found = seen(variant, connect(running, client, None), &lines);
                    let is_refused = matches!(found, Err(0 | 400 | 403 | 413 | 431));
                    if !is_refused && found != honest {
                        let line = &lines[0][..lines[0].len().min(60)];
                        let name = client.name;
                        faults.push(format!("{variant:?} {name} {line:?}: {found:?}"));
                    }
                }
            }
        }
        faults
    }
}

/// The headers that the gate reads, and one that a client may add where there are numbers.
fn names(variant: Variant) -> Vec<&'static str> {
    let mut names = [&[variant.header()], variant.chain_headers()].concat();
    match variant {
        Variant::HaproxyRfc9440 | Variant::ApacheRfc9440 | Variant::CaddyRfc9440 => {
            names.push("Client-Cert-Chain");
        }
        Variant::ApacheEscaped | Variant::ApacheRaw => names.push("X-Client-Cert-Chain-2"),
        _ => {}
    }
    names
}

/// What the backend gets, or the status without it. What was forwarded does not get there.
fn seen(variant: Variant, mut connection: Connection, lines: &[&str]) -> Result<Variables, u16> {
    let head = head(connection.get(HOST, "/", lines).unwrap())?;
    for name in names(variant) {
        assert_eq!(head.spellings(name), [], "{variant:?} {lines:?}");
    }
    Ok(variables(&head))
}

fn variants_of(producer: Producer) -> Vec<Variant> {
    let all = Variant::ALL.into_iter();
    // Caddy refuses all requests with `pem`.
    all.filter(|one| one.producer() == producer && *one != Variant::CaddyPem)
        .collect()
}

fn is_the_same_to_the_backend(producer: Producer) {
    let variants = variants_of(producer);
    let gate = Gate::start(&variants);
    for variant in variants {
        let faults = gate.faults(variant, &[]);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        gate.only_verified_clients_pass(variant);
    }
}

impl Gate {
    fn only_verified_clients_pass(&self, variant: Variant) {
        let running = self.run("reject", variant, &Extras::default()).unwrap();
        for client in self.bed.clients() {
            let expected = self.expected("configured", variant, client);
            let is_verified = |seen: &Variables| seen[Variable::ChainVerified.name()] == "true";
            let found = seen(variant, connect(&running, client, None), &[]);
            let name = client.name;
            match expected {
                Ok(expected) if is_verified(&expected) => assert_eq!(found, Ok(expected)),
                // The gate closes the connection, which the producer tells its client.
                Ok(_) => assert!(
                    matches!(found, Err(502 | 503)),
                    "{variant:?} {name} {found:?}"
                ),
                Err(_) => assert_eq!(found, expected),
            }
        }
    }
}

#[test]
fn nginx() {
    is_the_same_to_the_backend(Producer::Nginx);
}

#[test]
fn haproxy() {
    is_the_same_to_the_backend(Producer::Haproxy);
}

#[test]
fn apache() {
    is_the_same_to_the_backend(Producer::Apache);
}

#[test]
fn caddy() {
    is_the_same_to_the_backend(Producer::Caddy);
}

#[test]
fn envoy() {
    is_the_same_to_the_backend(Producer::Envoy);
}
