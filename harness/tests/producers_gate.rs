//! Real producers in front of an Envoy with the filter, by README's table: whoever terminates the
//! client's connection, the backend gets the same variables, and nobody else's.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/producers.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use mtls_gate::fixtures::mint::{Cert, Issued, dns, eku};
use mtls_gate::goldens::testdata;
use mtls_gate::testbed::client::{self, ClientOptions, Connection};
use mtls_gate::testbed::curl::Curl;
use mtls_gate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, FilterDocument, Listener, ServerCertificate, WasmFilter, bootstrap,
    filter_file,
};
use mtls_gate::testbed::front::{ALLOW, Front, REJECT, pem};
use mtls_gate::testbed::producers::{
    Extras, Producer, ProducerError, RelayFiles, Running, Variant,
};
use mtls_gate::testbed::recorder::Head;
use mtls_gate_core::config::Config;
use mtls_gate_core::variables::Variable;
use openssl::ssl::SslVersion;
use serde_json::{Value, json};
use support::{Bed, Client, HOST, attempts, connect, forwarded, get, head};

const FAILED: &str = "client_cert_validation_failed";
const SOON: Duration = Duration::from_secs(5);

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

/// No product is left out, and what is said of those that the tests do not run is accepted.
#[test]
fn the_table_is_complete() {
    let bed = Bed::new();
    for (header, _) in table() {
        let document = document(&bed, ALLOW, true, Some(header.clone()));
        let config = Config::from_bytes(document.to_string().as_bytes());
        assert!(config.is_ok(), "{header}: {:?}", config.err());
    }
    // With `pem` Caddy refuses all requests.
    let all = Variant::ALL.into_iter();
    for variant in all.filter(|variant| *variant != Variant::CaddyPem) {
        Row::of(variant);
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

/// The gate with a listener of each kind for each variant, and one that terminates TLS itself.
struct Gate {
    bed: Bed,
    envoy: Envoy,
}

impl Gate {
    fn start(variants: &[Variant]) -> Self {
        Self::start_with(variants, |_| Vec::new())
    }

    /// With further listeners.
    fn start_with(variants: &[Variant], more: impl FnOnce(&Bed) -> Vec<Listener>) -> Self {
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
        listeners.extend(more(&bed));
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
    fn run(
        &self,
        kind: &str,
        variant: Variant,
        extras: &Extras<'_>,
    ) -> Result<Running, ProducerError> {
        let port = self.envoy.port(&format!("{kind} {variant:?}")).unwrap();
        let backend = ([127, 0, 0, 1], port).into();
        Running::start_with(variant, &self.bed.server, backend, extras)
    }

    /// What is not as it should be behind a producer: nothing, as the examples stand.
    fn faults(&self, variant: Variant, changes: &[(&str, &str)]) -> Vec<String> {
        let extras = Extras {
            changes,
            ..Extras::default()
        };
        let run = |kind| self.run(kind, variant, &extras);
        let (configured, presented) = match (run("configured"), run("presented")) {
            (Ok(configured), Ok(presented)) => (configured, presented),
            (Err(error), _) | (_, Err(error)) => return vec![error.to_string()],
        };
        let stages: [&dyn Fn() -> Vec<String>; 4] = [
            &|| self.differences("configured", variant, &configured),
            &|| self.differences("presented", variant, &presented),
            &|| self.lost_by_resumption(variant, &presented),
            &|| self.forged(variant, &configured),
        ];
        let mut faults = stages.iter().map(|stage| stage());
        faults.find(|faults| !faults.is_empty()).unwrap_or_default()
    }

    /// What the backend should get of a client: what it would get if the gate terminated the
    /// connection. Where the intermediates are not configured, only as far as the producer forwards
    /// what the client presents.
    fn expected(&self, kind: &str, variant: Variant, client: &Client) -> Result<Variables, u16> {
        let is_too_large = ["fat", "huge"].contains(&client.name);
        if variant.producer() == Producer::Haproxy && is_too_large {
            // Better than an empty header, which is what HAProxy does by itself.
            return Err(400);
        }
        if variant == Variant::EnvoyNames && ["ec", "rsa", "forger"].contains(&client.name) {
            // Nobody can tell what their names are from what Envoy means.
            return Ok(self.malformed());
        }
        let mut client = client.clone();
        if kind == "presented" {
            client.chain.truncate(forwarded(variant, &client));
        }
        Ok(self.reference(kind, &client))
    }

    /// There is a certificate, and nobody can say which.
    fn malformed(&self) -> Variables {
        let mut variables = self.reference("configured", &self.bed.none);
        variables.insert(Variable::Present.name(), "true".to_owned());
        variables.insert(Variable::Error.name(), FAILED.to_owned());
        variables
    }

    /// The lines by which a backend would be told that the client is `rsa`.
    fn stolen(&self, variant: Variant) -> Vec<String> {
        let head = get(&self.bed.start(variant), &self.bed.rsa, &[]).unwrap();
        let names = names(variant).into_iter();
        let lines =
            names.flat_map(|name| head.all(name).into_iter().map(move |value| (name, value)));
        lines
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }

    fn untrusted_relays(&self) -> u64 {
        let counters = self
            .envoy
            .stats("wasmcustom.mtls_gate.relay_untrusted")
            .unwrap();
        counters.into_values().sum()
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

impl Gate {
    fn of(producer: Producer) -> Self {
        Self::start(&variants_of(producer))
    }

    /// Of all that the files can be made to do.
    fn is_told_the_same(&self, producer: Producer) {
        self.tells_the_clients_apart();
        for variant in variants_of(producer) {
            let faults = self.faults(variant, &[]);
            assert!(faults.is_empty(), "{}", faults.join("\n"));
            self.only_verified_clients_pass(variant);
        }
    }

    /// What all the comparisons are with.
    fn tells_the_clients_apart(&self) {
        let verdicts = |kind| {
            self.bed.clients().map(|client| {
                let variables = self.reference(kind, client);
                let is_verified = variables[Variable::ChainVerified.name()] == "true";
                (
                    client.name,
                    is_verified,
                    variables[Variable::Error.name()].clone(),
                )
            })
        };
        let long = "client_cert_dnsname_sans_exceeded_size_limit";
        let both_long = format!("client_cert_uri_sans_exceeded_size_limit,{long}");
        let all = [
            ("none", false, "client_cert_not_provided"),
            ("ec", true, ""),
            ("rsa", true, ""),
            ("forger", true, both_long.as_str()),
            ("direct", true, ""),
            ("untrusted", false, FAILED),
            ("fat", true, long),
            ("huge", false, "client_cert_exceeded_size_limit"),
        ];
        let all = all.map(|(name, is_verified, error)| (name, is_verified, error.to_owned()));
        assert_eq!(verdicts("configured"), all);
        assert_eq!(verdicts("presented"), all);
        let chain = self.reference("configured", &self.bed.rsa)[Variable::Chain.name()].clone();
        assert_eq!(chain.split(", ").count(), 2);
        // Without its intermediates and nothing configured, it is nobody's.
        let mut alone = self.bed.ec.clone();
        alone.chain.truncate(1);
        let error = &self.reference("presented", &alone)[Variable::Error.name()];
        assert_eq!(error, FAILED);
    }

    /// Each line of the table stands in the file, and without it something is no longer as it
    /// should be.
    fn needs_the_lines_of_the_table(&self, producer: Producer) {
        let mut unneeded = Vec::new();
        for variant in variants_of(producer) {
            let row = Row::of(variant);
            if row.variants[0] != variant.name() {
                continue;
            }
            let example = variant.example().unwrap();
            for line in &row.lines {
                let mut lines = example.split_inclusive('\n');
                let whole = lines.find(|found| found.trim() == line);
                let whole = whole.unwrap_or_else(|| panic!("{variant:?}: no line {line}"));
                if self.faults(variant, &[(whole, "")]).is_empty() {
                    unneeded.push(format!("{variant:?}: {line}"));
                }
            }
        }
        assert!(unneeded.is_empty(), "{}", unneeded.join("\n"));
    }

    /// A producer that adds its header to the client's: nobody can tell which is whose.
    fn does_not_believe_two(&self, variant: Variant, changes: &[(&str, &str)]) {
        let extras = Extras {
            changes,
            ..Extras::default()
        };
        let running = self.run("configured", variant, &extras).unwrap();
        let client = &self.bed.ec;
        let honest = self.expected("configured", variant, client);
        let found = seen(variant, connect(&running, client, None), &[]);
        assert_eq!(found, honest, "{changes:?}");
        let stolen = &self.stolen(variant)[0];
        let found = seen(variant, connect(&running, client, None), &[stolen]);
        assert_eq!(found, Ok(self.malformed()), "{changes:?}");
    }

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
    let gate = Gate::of(Producer::Nginx);
    gate.is_told_the_same(Producer::Nginx);
    gate.needs_the_lines_of_the_table(Producer::Nginx);
    let line = "proxy_set_header X-Client-Cert $ssl_client_escaped_cert;";
    let both = format!("{line}\nproxy_set_header X-Client-Cert $http_x_client_cert;");
    gate.does_not_believe_two(Variant::NginxEscaped, &[(line, &both)]);
}

#[test]
fn haproxy() {
    let gate = Gate::of(Producer::Haproxy);
    gate.is_told_the_same(Producer::Haproxy);
    gate.needs_the_lines_of_the_table(Producer::Haproxy);
    let changes = [
        ("http-request del-header ^x.client.cert -m reg", ""),
        ("set-header X-Client-Cert %", "add-header X-Client-Cert %"),
    ];
    gate.does_not_believe_two(Variant::HaproxyBase64, &changes);
}

#[test]
fn apache() {
    let gate = Gate::of(Producer::Apache);
    gate.is_told_the_same(Producer::Apache);
    gate.needs_the_lines_of_the_table(Producer::Apache);
    let variant = Variant::ApacheEscaped;
    for add in ["add", "append", "merge"] {
        let add = format!("RequestHeader {add} X-Client-Cert \"");
        gate.does_not_believe_two(variant, &[("RequestHeader set X-Client-Cert \"", &add)]);
    }
    // Debian's ssl.conf has a session cache, and it cannot be taken back.
    let cache = "SSLSessionCache shmcb:ssl_scache(512000)\n";
    for more in [cache, &format!("{cache}SSLSessionCache none\n")] {
        let listen = format!("{more}Listen");
        let faults = gate.faults(variant, &[("Listen", &listen)]);
        let is_resumed = |fault: &String| fault.contains("resumed");
        assert!(
            !faults.is_empty() && faults.iter().all(is_resumed),
            "{faults:?}"
        );
    }
}

#[test]
fn caddy() {
    let gate = Gate::of(Producer::Caddy);
    gate.is_told_the_same(Producer::Caddy);
    gate.needs_the_lines_of_the_table(Producer::Caddy);
    let change = ("header_up X-Client-Cert ", "header_up +X-Client-Cert ");
    gate.does_not_believe_two(Variant::CaddyBase64, &[change]);
}

#[test]
fn envoy() {
    let gate = Gate::of(Producer::Envoy);
    gate.is_told_the_same(Producer::Envoy);
    gate.needs_the_lines_of_the_table(Producer::Envoy);
    for variant in [Variant::EnvoyText, Variant::EnvoyJson] {
        gate.does_not_believe_two(variant, &[("SANITIZE_SET", "APPEND_FORWARD")]);
    }
}

// --- relays ---

/// One of each product, the one with the chain if there is one.
const RELAYS: [Variant; 5] = [
    Variant::NginxEscaped,
    Variant::HaproxyBase64,
    Variant::ApacheEscaped,
    Variant::CaddyBase64,
    Variant::EnvoyText,
];

/// Producers that present a certificate of their own to a gate that wants to see one.
struct Relays {
    root: Issued,
    relay: RelayFiles,
    /// Issued by the same CA, under another name.
    other: RelayFiles,
    gate: ServerCertificate,
    /// Where their files are.
    _files: Front,
}

impl Relays {
    fn new() -> Self {
        let files = Front::new(ALLOW).unwrap();
        let ca = Cert::ca("producers gate CA").eku(&[]).self_signed();
        let gate = Cert::client("producers gate")
            // Apache looks for what stands in ProxyPass.
            .sans(vec![dns("gate.test"), dns("127.0.0.1")])
            .eku(&[eku::SERVER_AUTH])
            .by(&ca);
        let root = Cert::ca("producers relays").self_signed();
        let backend_ca = files.write("gate-ca.cert", &pem(&ca)).unwrap();
        let relay = |name: &str| {
            let end_entity = Cert::client(name).sans(vec![dns(name)]).by(&root);
            RelayFiles {
                identity: files.pair(name, &[&end_entity]).unwrap(),
                backend_ca: backend_ca.clone(),
            }
        };
        Self {
            relay: relay("relay.test"),
            other: relay("other.test"),
            gate: ServerCertificate {
                certificate_pem: pem(&gate),
                key_pem: gate.cert.key.pkcs8_pem(),
            },
            root,
            _files: files,
        }
    }

    fn listener(
        &self,
        bed: &Bed,
        (kind, variant): (&str, Variant),
        mut header: Value,
        details: &str,
    ) -> Listener {
        header["relay"] = json!({ "mtls": {
            "trustConfig": { "trustStores": [{ "trustAnchors": [entry(pem(&self.root))] }] },
            "sanMatch": { "dnsNames": ["relay.test"] },
        } });
        let mut chain = Chain::new(&[], &self.gate);
        chain.manager = vec![("forward_client_cert_details", json!(details))];
        let document = document(bed, ALLOW, true, Some(header));
        listener(&format!("{kind} {variant:?}"), chain, document)
    }

    /// Believes each of [`RELAYS`] by its certificate; Envoy also if the gate's Envoy appends what
    /// it sees of it.
    fn gate(&self) -> Gate {
        Gate::start_with(&[], |bed| {
            let mut listeners = RELAYS
                .map(|one| self.listener(bed, ("relay", one), Row::of(one).header, "FORWARD_ONLY"))
                .to_vec();
            let mut two = Row::of(Variant::EnvoyText).header;
            two["elements"] = json!(2);
            let append = ("append", Variant::EnvoyText);
            listeners.push(self.listener(bed, append, two, "APPEND_FORWARD"));
            listeners
        })
    }
}

#[test]
fn relays_with_certificates_of_their_own() {
    let relays = Relays::new();
    let gate = relays.gate();
    they_are_known_by_them(&relays, &gate);
    a_client_with_a_relays_name_is_no_relay(&relays, &gate);
    nothing_is_remembered_of_their_connections(&relays, &gate);
}

/// The relay's certificate is for the relay and the client's for the client.
fn they_are_known_by_them(relays: &Relays, gate: &Gate) {
    let kinds = RELAYS.map(|variant| ("relay", variant));
    for (kind, variant) in kinds.into_iter().chain([("append", Variant::EnvoyText)]) {
        let run = |relay| {
            let extras = Extras {
                relay: Some(relay),
                ..Extras::default()
            };
            gate.run(kind, variant, &extras).unwrap()
        };
        let running = run(&relays.relay);
        let other = run(&relays.other);
        let none = gate.reference("configured", &gate.bed.none);
        for client in gate.bed.clients() {
            let expected = gate.expected("configured", variant, client);
            let found = seen(variant, connect(&running, client, None), &[]);
            assert_eq!(found, expected, "{kind} {variant:?} {}", client.name);
            if expected.is_err() || client.chain.is_empty() {
                continue;
            }
            let before = gate.untrusted_relays();
            let found = seen(variant, connect(&other, client, None), &[]);
            let what = format!("{kind} {variant:?} {}", client.name);
            assert_eq!(found, Ok(none.clone()), "{what}");
            assert_eq!(
                gate.untrusted_relays().checked_sub(before),
                Some(1),
                "{what}"
            );
        }
    }
}

/// With the relay's name in a client's certificate one is a client all the same.
fn a_client_with_a_relays_name_is_no_relay(relays: &Relays, gate: &Gate) {
    let [first, second] = &gate.bed.intermediates;
    let named = Cert::client("producers impostor").sans(vec![dns("relay.test")]);
    let direct = Client::new("impostor", &[&named.clone().by(&gate.bed.root)]);
    let behind = Client::new("impostor", &[&named.by(second), second, first]);
    let none = gate.reference("configured", &gate.bed.none);
    for variant in RELAYS {
        let lines = gate.stolen(variant);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let port = gate.envoy.port(&format!("relay {variant:?}")).unwrap();
        for client in [&direct, &behind, &gate.bed.none] {
            let identity = client.identity();
            let options = ClientOptions::default();
            let before = gate.untrusted_relays();
            let connection = client::connect(port, HOST, identity.as_ref(), &options).unwrap();
            let found = seen(variant, connection, &lines);
            assert_eq!(found, Ok(none.clone()), "{variant:?}");
            // Of a connection without a certificate, Envoy removes its own header itself.
            let is_removed = variant == Variant::EnvoyText && client.name == "none";
            assert_eq!(
                gate.untrusted_relays().checked_sub(before),
                Some(u64::from(!is_removed))
            );
        }
        let extras = Extras {
            relay: Some(&relays.relay),
            ..Extras::default()
        };
        let running = gate.run("relay", variant, &extras).unwrap();
        for client in [&direct, &behind] {
            let expected = gate.expected("configured", variant, client);
            let found = seen(variant, connect(&running, client, None), &lines);
            assert_eq!(found, expected, "{variant:?}");
            assert_eq!(found.unwrap()[Variable::ChainVerified.name()], "true");
        }
    }
}

/// A relay sends the requests of all its clients over one connection.
fn nothing_is_remembered_of_their_connections(relays: &Relays, gate: &Gate) {
    for variant in [Variant::CaddyBase64, Variant::EnvoyText] {
        let extras = Extras {
            relay: Some(&relays.relay),
            ..Extras::default()
        };
        let running = gate.run("relay", variant, &extras).unwrap();
        let clients = [
            &gate.bed.ec,
            &gate.bed.none,
            &gate.bed.rsa,
            &gate.bed.untrusted,
        ];
        let mut open = clients.map(|client| {
            let expected = gate.expected("configured", variant, client).unwrap();
            (connect(&running, client, None), expected)
        });
        let mut connections = Vec::new();
        for round in 0..3 {
            for (number, (connection, expected)) in open.iter_mut().enumerate() {
                let path = format!("/{variant:?}-{round}-{number}");
                let head = head(connection.get(HOST, &path, &[]).unwrap()).unwrap();
                assert_eq!(variables(&head), *expected, "{path}");
                let line = gate
                    .envoy
                    .wait_for_access_log(SOON, |line| line["path"] == path);
                connections.push(line.unwrap()["connection"].clone());
            }
        }
        connections.dedup();
        assert_eq!(connections.len(), 1, "{variant:?}");
    }
}

/// The relay's address counts, and no address that a client tells in HTTP.
#[test]
fn relays_are_known_by_their_address() {
    let relays = Relays::new();
    let variant = Variant::NginxEscaped;
    let gate = Gate::start_with(&[], |bed| {
        let mut header = Row::of(variant).header;
        header["relay"] = json!({ "addresses": ["127.0.0.1/32"] });
        let mut http = document(bed, ALLOW, true, Some(header));
        http["source"]["connection"] = json!({ "directPeerAddress": "NETWORK_FILTER" });
        let mut network = document(bed, ALLOW, true, None);
        network["role"] = json!("NETWORK_FILTER");
        network
            .as_object_mut()
            .unwrap()
            .remove("customRequestHeaders");
        let network = WasmFilter::new(&filter_file(), FilterDocument::Struct(network));
        let chain = Chain::new(&[], &relays.gate).network_filter(&network);
        let mut hops = chain.clone();
        hops.manager = vec![
            ("use_remote_address", json!(true)),
            ("xff_num_trusted_hops", json!(1)),
        ];
        vec![
            listener(&format!("default {variant:?}"), chain, http.clone()),
            listener(&format!("hops {variant:?}"), hops, http),
        ]
    });
    let none = gate.reference("configured", &gate.bed.none);
    let stolen = gate.stolen(variant);
    let extras = Extras {
        relay: Some(&relays.relay),
        ..Extras::default()
    };
    for kind in ["default", "hops"] {
        let running = gate.run(kind, variant, &extras).unwrap();
        for client in gate.bed.clients() {
            let expected = gate.expected("configured", variant, client);
            for lines in [&[][..], &["X-Forwarded-For: 203.0.113.9"]] {
                let found = seen(variant, connect(&running, client, None), lines);
                assert_eq!(found, expected, "{kind} {} {lines:?}", client.name);
            }
        }
        let port = gate.envoy.port(&format!("{kind} {variant:?}")).unwrap();
        for forwarded in [
            "127.0.0.1",
            "127.0.0.1, 127.0.0.1",
            "203.0.113.9, 127.0.0.1",
        ] {
            let mut curl = Curl::new(port, HOST);
            curl.extra = ["--interface", "127.0.0.7"].map(str::to_owned).to_vec();
            curl.headers = stolen.clone();
            curl.headers.push(format!("X-Forwarded-For: {forwarded}"));
            curl.path = format!("/{kind}/{}", forwarded.replace(", ", "-"));
            let before = gate.untrusted_relays();
            let outcome = curl.run().unwrap();
            assert_eq!(outcome.status(), Some(200), "{kind} {forwarded}");
            assert_eq!(
                variables(&Head::parse(outcome.body())),
                none,
                "{kind} {forwarded}"
            );
            assert_eq!(gate.untrusted_relays().checked_sub(before), Some(1));
            let line = gate
                .envoy
                .wait_for_access_log(SOON, |line| line["path"] == curl.path);
            let line = line.unwrap();
            assert_eq!(line["sender"], "127.0.0.7");
            // Envoy's own idea of the address is the forged one.
            let remote = line["remote"].as_str().unwrap();
            assert!(
                remote.starts_with("127.0.0.1:"),
                "{kind} {forwarded} {remote}"
            );
        }
    }
}
