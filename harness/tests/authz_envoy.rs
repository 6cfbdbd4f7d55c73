//! AuthzPolicies in a real Envoy, with real TLS clients: each rule with a request that passes and one
//! that fails by exactly that rule, what operators and clients are told, and the ways round.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use mtls_gate::fixtures::der;
use mtls_gate::fixtures::mint::{Cert, General, Issued, dns, uri};
use mtls_gate::testbed::client::{self, ClientIdentity, ClientOptions, Outcome};
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, FilterDocument, Listener, REQUEST_ID, ServerCertificate, WasmFilter,
    bootstrap, filter_file,
};
use serde_json::{Value, json};

const DENIED: &str = "denied_by_authz_policy";
const URI: &str = "CLIENT_CERT_URI_SAN";
const DNS: &str = "CLIENT_CERT_DNS_NAME_SAN";
const CN: &str = "CLIENT_CERT_COMMON_NAME";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    Alice,
    Bob,
    /// With Alice's names, from a CA that nobody trusts.
    Stranger,
    LongUris,
    LongDns,
    LongSubject,
    TwoNames,
}

impl Who {
    const ALL: [Self; 8] = [
        Self::Nobody,
        Self::Alice,
        Self::Bob,
        Self::Stranger,
        Self::LongUris,
        Self::LongDns,
        Self::LongSubject,
        Self::TwoNames,
    ];

    fn identity(self, trusted: &Issued, other: &Issued) -> Option<ClientIdentity> {
        let alice = || {
            let names = vec![uri("spiffe://gate.test/alice"), dns("alice.gate.test")];
            Cert::client("alice").sans(names)
        };
        // 40 names of 20 bytes are over every limit of 512.
        let many = |name: fn(&str) -> General| {
            let names = (0..40).map(|n| name(&format!("n{n:02}.example.test")));
            names.collect::<Vec<_>>()
        };
        let cert = match self {
            Self::Nobody => return None,
            Self::Alice | Self::Stranger => alice(),
            Self::Bob => {
                Cert::client("bob").sans(vec![uri("spiffe://gate.test/bob"), dns("bob.gate.test")])
            }
            Self::LongUris => alice().sans(many(|name| uri(&format!("https://{name}/")))),
            Self::LongDns => alice().sans(many(dns)),
            Self::LongSubject => {
                alice().subject(der::name(&[("O", &"o".repeat(500)), ("CN", "alice")]))
            }
            Self::TwoNames => alice().subject(der::name(&[("CN", "alice"), ("CN", "bob")])),
        };
        let signer = if self == Self::Stranger {
            other
        } else {
            trusted
        };
        let issued = cert.by(signer);
        Some(ClientIdentity {
            chain_pem: der::pem("CERTIFICATE", &issued.der).into_bytes(),
            key_pem: issued.cert.key.pkcs8_pem().into_bytes(),
        })
    }
}

/// What came of a request.
#[derive(Debug)]
enum Seen {
    Forwarded(EchoReply),
    /// Status (unknown over HTTP/2), headers, body.
    Answered(u16, Vec<(String, String)>, String),
    Closed,
}

impl Seen {
    fn is_forwarded(&self) -> bool {
        matches!(self, Self::Forwarded(_))
    }
}

/// A chain of the listener: its name, and what its document holds beside trust config and mode.
type Config = (String, Value);

fn document(rest: &Value, trusted: &Issued) -> Value {
    let mut document = json!({
        "trustConfig": {"trustStores": [{"trustAnchors": [
            {"pemCertificate": der::pem("CERTIFICATE", &trusted.der)}]}]},
        "serverTlsPolicy": {"mtlsPolicy": {
            "clientValidationMode": "ALLOW_INVALID_OR_MISSING_CLIENT_CERT"}},
    });
    let fields = rest.as_object().unwrap().clone();
    document.as_object_mut().unwrap().extend(fields);
    document
}

struct Gate {
    envoy: Envoy,
    echo: Echo,
    identities: Vec<Option<ClientIdentity>>,
    requests: Cell<usize>,
    /// Of each refusal: the request's number, the error, part of the reason.
    to_find: RefCell<Vec<(usize, String, String)>>,
}

impl Gate {
    fn start(configs: &[Config]) -> Self {
        let trusted = Cert::ca("authz root").self_signed();
        let other = Cert::ca("authz other root").self_signed();
        let echo = Echo::start().unwrap();
        let certificate = ServerCertificate::self_signed(&["*.test"]).unwrap();
        let chains = configs
            .iter()
            .map(|(name, rest)| {
                let document = FilterDocument::Struct(document(rest, &trusted));
                let sni = format!("{name}.test");
                Chain::new(&[&sni], &certificate).filter(WasmFilter::new(&filter_file(), document))
            })
            .collect();
        let listener = Listener {
            name: "gate".to_owned(),
            chains,
        };
        // HTTP/1.1 behind Envoy, so that the backend shows the host as it is forwarded.
        let config = EnvoyConfig::new(bootstrap(&[listener], echo.address(), false));
        Self {
            envoy: Envoy::start(&config).unwrap(),
            echo,
            identities: Who::ALL.map(|who| who.identity(&trusted, &other)).into(),
            requests: Cell::new(0),
            to_find: RefCell::new(Vec::new()),
        }
    }

    fn connect(&self, chain: &str, who: Who, alpn: &str) -> client::Connection {
        let at = Who::ALL.iter().position(|other| *other == who).unwrap();
        let options = ClientOptions {
            alpn: vec![alpn.to_owned()],
            ..ClientOptions::default()
        };
        let port = self.envoy.port("gate").unwrap();
        let sni = format!("{chain}.test");
        client::connect(port, &sni, self.identities[at].as_ref(), &options).unwrap()
    }

    /// One request over HTTP/1.1: the request line without its version, header lines.
    fn ask(&self, chain: &str, who: Who, line: &str, lines: &[&str]) -> Seen {
        self.requests.set(self.requests.get() + 1);
        let id = format!("{REQUEST_ID}: {}", self.requests.get());
        let mut request = format!("{line} HTTP/1.1\r\n{id}\r\n");
        for line in lines {
            request.push_str(line);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let outcome = self
            .connect(chain, who, "http/1.1")
            .exchange(request.as_bytes());
        match outcome.unwrap() {
            Outcome::Closed { .. } => Seen::Closed,
            Outcome::Response(response) => match EchoReply::parse(&response.body) {
                Ok(reply) => Seen::Forwarded(reply),
                Err(_) => {
                    Seen::Answered(response.status, response.headers.clone(), response.text())
                }
            },
        }
    }

    fn get(&self, chain: &str, who: Who) -> Seen {
        self.ask(chain, who, "GET /", &["Host: a.test"])
    }

    /// One request over HTTP/2 with exactly these fields.
    fn ask_http2(&self, chain: &str, who: Who, fields: &[(&str, &str)]) -> Seen {
        let mut connection = self.connect(chain, who, "h2");
        let mut block = Vec::new();
        for (name, value) in fields {
            // A literal field that is not indexed (RFC 7541 6.2.2).
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).ok().filter(|n| *n < 127).unwrap());
                block.extend(text.bytes());
            }
        }
        let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        request.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]); // SETTINGS
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        // HEADERS with END_STREAM and END_HEADERS on stream 1.
        request.extend([0, length[0], length[1], 1, 5, 0, 0, 0, 1]);
        request.extend(block);
        connection.send_raw(&request).unwrap();
        let (mut read, mut body, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
        loop {
            while let [a, b, c, kind, flags, 0, 0, 0, stream, rest @ ..] = &read[..] {
                let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                let Some(content) = rest.get(..length) else {
                    break;
                };
                match kind {
                    0 => body.extend(content),
                    3 | 7 => return Seen::Closed,
                    _ => {}
                }
                if matches!(kind, 0 | 1) && *stream == 1 && flags & 1 == 1 {
                    return match EchoReply::parse(&body) {
                        Ok(reply) => Seen::Forwarded(reply),
                        Err(_) => Seen::Answered(
                            0,
                            Vec::new(),
                            String::from_utf8_lossy(&body).into_owned(),
                        ),
                    };
                }
                read.drain(..9 + length);
            }
            match connection.read_some(&mut buffer) {
                Ok(0) | Err(_) => return Seen::Closed,
                Ok(count) => read.extend(&buffer[..count]),
            }
        }
    }

    /// Refused by a policy, with the usual answer; the log is looked at in the end.
    #[track_caller]
    fn check_denied(&self, seen: &Seen, before: &str, reason: &str) {
        let Seen::Answered(403, headers, body) = seen else {
            panic!("{seen:?}");
        };
        assert_eq!(body, "denied\n");
        // Nothing but what every answer of this Envoy has.
        let mut names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "content-type", "date", "server"]);
        let error = [before, DENIED].concat();
        let found = (self.requests.get(), error, reason.to_owned());
        self.to_find.borrow_mut().push(found);
    }
}

fn policy(name: &str, action: &str, rules: Value) -> Value {
    json!({"name": name, "action": action, "httpRules": rules})
}

fn policies(policies: &[Value]) -> Value {
    json!({"authzPolicies": policies})
}

/// The only policy is called "only".
fn only(action: &str, rule: Value) -> Value {
    policies(&[policy("only", action, json!([rule]))])
}

fn from(list: &str, selector: &str, pattern: Value) -> Value {
    let principal = json!({"principalSelector": selector, "principal": pattern});
    json!({"from": {list: [{"principals": [principal]}]}})
}

fn to(list: &str, operation: Value) -> Value {
    json!({"to": {list: [operation]}})
}

fn header(name: &str, value: Value) -> Value {
    json!({"headerSet": {"headers": [{"name": name, "value": value}]}})
}

/// A chain, a request that passes, one that fails, and why.
struct Rule {
    name: String,
    config: Value,
    passes: Ask,
    fails: Ask,
    reason: &'static str,
}

type Ask = (Who, &'static str, &'static [&'static str]);

const NO_ALLOW: &str = "no ALLOW policy matches";
const ONLY_DENY: &str = "DENY policy only matches";

fn rules() -> Vec<Rule> {
    let alice: Ask = (Who::Alice, "GET /", &["Host: a.test"]);
    let bob: Ask = (Who::Bob, "GET /", &["Host: a.test"]);
    let nobody: Ask = (Who::Nobody, "GET /", &["Host: a.test"]);
    let mut rules = Vec::new();
    let mut add = |name: &str, config: Value, passes: Ask, fails: Ask, reason: &'static str| {
        rules.push(Rule {
            name: name.to_owned(),
            config,
            passes,
            fails,
            reason,
        });
    };
    for (short, selector, exact, prefix, suffix, contains) in [
        (
            "uri",
            URI,
            "spiffe://gate.test/alice",
            "spiffe://gate.test/a",
            "/alice",
            "/ali",
        ),
        (
            "dns",
            DNS,
            "alice.gate.test",
            "alice.",
            "ice.gate.test",
            "lic",
        ),
        ("cn", CN, "alice", "al", "ice", "lic"),
    ] {
        let upper = exact.to_ascii_uppercase();
        for (kind, pattern) in [
            ("exact", json!({"exact": exact})),
            ("prefix", json!({"prefix": prefix})),
            ("suffix", json!({"suffix": suffix})),
            ("contains", json!({"contains": contains})),
            ("folded", json!({"exact": upper, "ignoreCase": true})),
        ] {
            let name = format!("{short}-{kind}");
            let config = only("ALLOW", from("sources", selector, pattern));
            add(&name, config, alice, bob, NO_ALLOW);
        }
    }
    let is = |name: &str| json!({"exact": format!("spiffe://gate.test/{name}")});
    let not_bob = from("notSources", URI, is("bob"));
    add("not-sources", only("ALLOW", not_bob), alice, bob, NO_ALLOW);
    let deny_others = only("DENY", from("notSources", URI, is("alice")));
    add("deny-others", deny_others, alice, nobody, ONLY_DENY);
    let deny_bob = only("DENY", from("sources", URI, is("bob")));
    add("deny-bob", deny_bob, alice, bob, ONLY_DENY);
    let (get_a, get_b): (Ask, Ask) = (nobody, (Who::Nobody, "GET /", &["Host: b.test"]));
    let hosts = only(
        "ALLOW",
        to("operations", json!({"hosts": [{"exact": "a.test"}]})),
    );
    add("hosts", hosts, get_a, get_b, NO_ALLOW);
    let paths = json!({"paths": [{"prefix": "/api/"}]});
    let api: Ask = (Who::Nobody, "GET /api/x?y", &["Host: a.test"]);
    let paths = only("ALLOW", to("operations", paths));
    add("paths", paths, api, nobody, NO_ALLOW);
    let post: Ask = (
        Who::Nobody,
        "POST /",
        &["Host: a.test", "Content-Length: 0"],
    );
    let methods = only(
        "ALLOW",
        to("operations", json!({"methods": ["PUT", "POST"]})),
    );
    add("methods", methods, post, nobody, NO_ALLOW);
    let prod: Ask = (Who::Nobody, "GET /", &["Host: a.test", "X-Env: prod"]);
    let dev: Ask = (Who::Nobody, "GET /", &["Host: a.test", "X-Env: dev"]);
    let env = only(
        "ALLOW",
        to("operations", header("x-env", json!({"exact": "prod"}))),
    );
    add("header-set", env, prod, dev, NO_ALLOW);
    let delete: Ask = (Who::Nobody, "DELETE /", &["Host: a.test"]);
    let not_delete = to("notOperations", json!({"methods": ["DELETE"]}));
    let not_delete = only("ALLOW", not_delete);
    add("not-operations", not_delete, nobody, delete, NO_ALLOW);
    let admin: Ask = (Who::Nobody, "GET /admin/x", &["Host: a.test"]);
    let no_admin = to("operations", json!({"paths": [{"prefix": "/admin"}]}));
    let both = policies(&[
        policy("all", "ALLOW", json!([{}])),
        policy("no-admin", "DENY", json!([no_admin])),
    ]);
    let reason = "DENY policy no-admin matches";
    add("deny-before-allow", both, nobody, admin, reason);
    // No ALLOW policy: what no DENY policy matches is allowed.
    let only_deny = only("DENY", no_admin);
    add("only-deny", only_deny, nobody, admin, ONLY_DENY);
    // from and to must both match, and any rule is enough.
    let mut alice_writes = from("sources", URI, is("alice"));
    alice_writes["to"] = json!({"operations": [{"methods": ["POST"]}]});
    let reads = to("operations", json!({"methods": ["GET"]}));
    let two = policies(&[policy("p", "ALLOW", json!([alice_writes, reads]))]);
    let alice_posts: Ask = (Who::Alice, post.1, post.2);
    add("two-rules", two, alice_posts, post, NO_ALLOW);
    rules
}

/// Every rule by itself.
fn check_rules(gate: &Gate, rules: &[Rule]) {
    for rule in rules {
        let (who, line, lines) = rule.passes;
        let seen = gate.ask(&rule.name, who, line, lines);
        assert!(seen.is_forwarded(), "{}: {seen:?}", rule.name);
        let before = gate.echo.requests();
        let (who, line, lines) = rule.fails;
        let seen = gate.ask(&rule.name, who, line, lines);
        assert!(!seen.is_forwarded(), "{}: {seen:?}", rule.name);
        assert_eq!(gate.echo.requests(), before, "{}", rule.name);
        let error = match who {
            Who::Nobody => "client_cert_not_provided,",
            _ => "",
        };
        gate.check_denied(&seen, error, rule.reason);
    }
}

/// A chain, what its policies look at, and who is unfit for that.
const ATTRIBUTES: [(&str, &str, &[Who]); 3] = [
    ("uses-uri", URI, &[Who::LongUris]),
    ("uses-dns", DNS, &[Who::LongDns]),
    ("uses-cn", CN, &[Who::LongSubject, Who::TwoNames]),
];

/// Policies that let everybody in but look at an attribute.
fn attribute_configs() -> Vec<Config> {
    let config = |(name, selector, _): &(&str, &str, &[Who])| {
        let nobody = from("sources", selector, json!({"exact": "nobody"}));
        let rest = policies(&[
            policy("all", "ALLOW", json!([{}])),
            policy("looks", "DENY", json!([nobody])),
        ]);
        ((*name).to_owned(), rest)
    };
    ATTRIBUTES.iter().map(config).collect()
}

/// Over a size limit, or several common names: refused where a policy looks at it, and only there.
fn check_attributes(gate: &Gate) {
    for (chain, _, unfit) in ATTRIBUTES {
        for who in Who::ALL {
            let seen = gate.get(chain, who);
            let fits = !unfit.contains(&who);
            assert_eq!(seen.is_forwarded(), fits, "{chain} {who:?}: {seen:?}");
            if !fits {
                // The variable's own string stays in front.
                let error = match who {
                    Who::LongUris => "client_cert_uri_sans_exceeded_size_limit,",
                    Who::LongDns => "client_cert_dnsname_sans_exceeded_size_limit,",
                    Who::LongSubject => "client_cert_subject_dn_exceeded_size_limit,",
                    _ => "",
                };
                let reason = match who {
                    Who::LongUris => "URI names are over their size limit",
                    Who::LongDns => "DNS names are over their size limit",
                    Who::LongSubject => "subject is over its size limit",
                    _ => "has several common names",
                };
                gate.check_denied(&seen, error, "policy looks cannot be judged");
                gate.check_denied(&seen, error, reason);
            }
        }
    }
}

/// Without a verified certificate nobody is anybody, whatever the certificate says.
fn check_unverified(gate: &Gate) {
    for chain in ["uri-exact", "dns-prefix", "cn-contains"] {
        for (who, error) in [
            (Who::Nobody, "client_cert_not_provided,"),
            (Who::Stranger, "client_cert_validation_failed,"),
        ] {
            gate.check_denied(&gate.get(chain, who), error, NO_ALLOW);
        }
    }
    // The other way round: a DENY policy on a principal is dodged by sending no certificate, as in
    // Google's documentation, and `notSources` is the way to write it.
    assert!(gate.get("deny-bob", Who::Nobody).is_forwarded());
    assert!(gate.get("deny-bob", Who::Stranger).is_forwarded());
    let error = "client_cert_validation_failed,";
    gate.check_denied(&gate.get("deny-others", Who::Stranger), error, ONLY_DENY);
    // Where certificates are compulsory, policies come after that.
    assert!(matches!(
        gate.get("compulsory", Who::Stranger),
        Seen::Closed
    ));
    assert!(gate.get("compulsory", Who::Alice).is_forwarded());
    gate.check_denied(&gate.get("compulsory", Who::Bob), "", ONLY_DENY);
}

/// One answer, as configured, that tells nothing of policies or certificates.
fn check_answers(gate: &Gate) {
    let answer = |chain: &str, line: &str| match gate.ask(chain, Who::Alice, line, &["Host: a"]) {
        Seen::Answered(status, mut headers, body) => {
            headers.retain(|(name, _)| name != "date");
            (status, headers, body)
        }
        other => panic!("{other:?}"),
    };
    let by_deny = answer("answer", "GET /deny");
    assert_eq!((by_deny.0, by_deny.2.as_str()), (404, "no such thing\n"));
    assert_eq!(by_deny, answer("answer", "GET /not-allowed"));
    let told = format!("{by_deny:?}");
    for word in ["policy", "authz", "secret-name", "client_cert", "alice"] {
        assert!(!told.contains(word), "{told}");
    }
    // gRPC has its own form of the same.
    let grpc = ["Host: a", "Content-Type: application/grpc", "TE: trailers"];
    let Seen::Answered(200, headers, body) = gate.ask("answer", Who::Alice, "POST /deny", &grpc)
    else {
        panic!("gRPC");
    };
    let value = |name: &str| {
        headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(value("grpc-status"), Some("12"), "{headers:?} {body}");
    assert!(!format!("{headers:?}{body}").contains("policy"));
}

fn attack_configs() -> Vec<Config> {
    let spoof = {
        let rule = to(
            "operations",
            header("X-Client-Cert-SPIFFE", json!({"contains": "s"})),
        );
        let mut config = only("ALLOW", rule);
        config["customRequestHeaders"] = json!(["X-Client-Cert-SPIFFE:{client_cert_spiffe_id}"]);
        config
    };
    let deny = |operation: Value| only("DENY", to("operations", operation));
    let allow = |operation: Value| only("ALLOW", to("operations", operation));
    let secret = to("operations", json!({"paths": [{"prefix": "/deny"}]}));
    let ok = to("operations", json!({"paths": [{"prefix": "/ok"}]}));
    let mut answer = policies(&[
        policy("secret-name", "DENY", json!([secret])),
        policy("other-secret-name", "ALLOW", json!([ok])),
    ]);
    answer["authzDenial"] = json!({"status": 404, "body": "no such thing\n"});
    let bob = json!({"exact": "spiffe://gate.test/bob"});
    let mut compulsory = only("DENY", from("sources", URI, bob));
    compulsory["serverTlsPolicy"] =
        json!({"mtlsPolicy": {"clientValidationMode": "REJECT_INVALID"}});
    [
        ("answer", answer),
        ("compulsory", compulsory),
        ("spoof", spoof),
        (
            "deny-host",
            deny(json!({"hosts": [{"exact": "Admin.test"}]})),
        ),
        ("deny-path", deny(json!({"paths": [{"prefix": "/admin"}]}))),
        (
            "deny-exact-path",
            deny(json!({"paths": [{"exact": "/admin"}]})),
        ),
        (
            "allow-path",
            allow(json!({"paths": [{"prefix": "/public/"}]})),
        ),
        (
            "deny-header",
            deny(header("x-env", json!({"exact": "dev"}))),
        ),
        ("deny-method", deny(json!({"methods": ["DELETE"]}))),
        ("allow-method", allow(json!({"methods": ["GET"]}))),
    ]
    .map(|(name, config)| (name.to_owned(), config))
    .into()
}

/// The client's own copy of an emitted header is nothing, in any spelling.
fn attack_emitted_headers(gate: &Gate) {
    for who in [Who::Nobody, Who::Alice] {
        for spoof in [
            "X-Client-Cert-SPIFFE: spiffe://gate.test/alice",
            "x-client-cert-spiffe: s",
            "X_Client_Cert_SPIFFE: s",
            "X.Client-Cert_Spiffe: s",
        ] {
            let seen = gate.ask("spoof", who, "GET /", &["Host: a.test", spoof]);
            let error = match who {
                Who::Nobody => "client_cert_not_provided,",
                _ => "",
            };
            gate.check_denied(&seen, error, NO_ALLOW);
        }
    }
}

/// However the host is written, the backend never gets the one that is denied.
fn attack_host(gate: &Gate) {
    let check = |what: &str, seen: Seen| {
        if let Seen::Forwarded(reply) = &seen {
            let host = reply.all("host").join(",").to_ascii_lowercase();
            assert!(!host.contains("admin"), "{what}: {seen:?}");
        }
        seen
    };
    for host in [
        "admin.test",
        "ADMIN.TEST",
        "admin.test.",
        "admin.test:443",
        "Admin.Test.:8443",
        "admin.test:",
        " \tadmin.test \t",
        "admin.test:99999",
        "x@admin.test",
        "other.test@admin.test",
        "admin.test,other.test",
        "admin.test..",
        "%61dmin.test",
        "admin.test/",
        "admin.test#other.test",
    ] {
        let line = format!("Host: {host}");
        let seen = check(host, gate.ask("deny-host", Who::Nobody, "GET /", &[&line]));
        assert!(!seen.is_forwarded(), "{host}: {seen:?}");
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/"),
            (":authority", host),
        ];
        let seen = check(host, gate.ask_http2("deny-host", Who::Nobody, &fields));
        assert!(!seen.is_forwarded(), "{host}: {seen:?}");
    }
    for (line, lines) in [
        ("GET http://admin.test/", &["Host: other.test"][..]),
        ("GET https://ADMIN.test:443/", &["Host: other.test"]),
        ("GET http://other.test/", &["Host: admin.test"]),
        ("GET /", &["Host: other.test", "Host: admin.test"]),
        ("GET /", &["Host: admin.test", "Host: other.test"]),
        ("GET /", &["Host: other.test", "host : admin.test"]),
        ("GET /", &["Host:", "Host: admin.test"]),
    ] {
        check(line, gate.ask("deny-host", Who::Nobody, line, lines));
    }
    let http2 = |more: &[(&str, &str)]| {
        let usual = [(":method", "GET"), (":scheme", "https"), (":path", "/")];
        let seen = gate.ask_http2("deny-host", Who::Nobody, &[&usual, more].concat());
        check(&format!("{more:?}"), seen)
    };
    http2(&[(":authority", "other.test"), ("host", "admin.test")]);
    http2(&[(":authority", "admin.test"), ("host", "other.test")]);
    http2(&[("host", "admin.test")]);
    http2(&[(":authority", ""), ("host", "admin.test")]);
    http2(&[(":authority", "other.test"), (":authority", "admin.test")]);
    http2(&[
        (":authority", "other.test"),
        ("x-a", "b"),
        (":authority", "admin.test"),
    ]);
    assert!(http2(&[(":authority", "other.test")]).is_forwarded());
    let other = gate.ask("deny-host", Who::Nobody, "GET /", &["Host: other.test"]);
    assert!(other.is_forwarded());
}

/// The bytes that are matched are the bytes that are forwarded.
fn attack_path(gate: &Gate) {
    let ask = |chain: &str, path: &str| {
        let seen = gate.ask(
            chain,
            Who::Nobody,
            &format!("GET {path}"),
            &["Host: a.test"],
        );
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", path),
        ];
        [seen, gate.ask_http2(chain, Who::Nobody, &fields)]
    };
    // Envoy's normalization makes them one, or refuses or redirects them.
    for path in [
        "/admin",
        "//admin",
        "///admin",
        "/./admin",
        "/x/../admin",
        "/%61dmin",
        "/%61%64min",
        "/%2e/admin",
        "/x/%2e%2e/admin",
        "/x/.%2E/admin",
        "/x/..;/admin",
        "/\\admin",
        "/x\\..\\admin",
        "/%2fadmin",
        "/x/..%2fadmin",
        "/x%5c..%5cadmin",
        "/admin/",
        "/admin;x",
        "/admin?x",
        "/admin%2fx",
        "/admin%00",
        "/admin#x",
        "http://b.test/admin",
        "http://b.test//admin",
    ] {
        for seen in ask("deny-path", path) {
            assert!(!seen.is_forwarded(), "{path}: {seen:?}");
        }
    }
    for seen in ask("deny-exact-path", "/admin?x")
        .into_iter()
        .chain(ask("deny-exact-path", "/admin?"))
    {
        assert!(!seen.is_forwarded(), "{seen:?}");
    }
    // What other paths a backend takes for it, only its operator knows: these go on, as they are.
    for (chain, path) in [
        ("deny-path", "/ADMIN"),
        ("deny-path", "/%2561dmin"),
        ("deny-exact-path", "/admin;x"),
        ("deny-exact-path", "/admin/"),
    ] {
        for seen in ask(chain, path) {
            let Seen::Forwarded(reply) = &seen else {
                panic!("{path}: {seen:?}");
            };
            assert_eq!(reply.path, path);
        }
    }
    for path in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public\\..\\admin",
        "/public/..//admin",
        "/public/./../admin",
        "//public/../admin",
    ] {
        for seen in ask("allow-path", path) {
            assert!(!seen.is_forwarded(), "{path}: {seen:?}");
        }
    }
    for seen in ask("allow-path", "/x/..//public/./y") {
        let Seen::Forwarded(reply) = &seen else {
            panic!("{seen:?}");
        };
        assert_eq!(reply.path, "/public/y");
    }
}

/// Repeated, folded, listed, nominated: doubt refuses.
fn attack_repetition(gate: &Gate) {
    let ask = |chain: &str, lines: &[&str]| {
        let lines = [&["Host: a.test"], lines].concat();
        gate.ask(chain, Who::Nobody, "GET /", &lines)
    };
    for lines in [
        &["X-Env: prod", "X-Env: dev"][..],
        &["X-Env: dev", "X-Env: prod"],
        &["X-Env: prod", "X-Env: prod"],
        &["X-Env: prod", "X_Env: dev"],
        &["X-Env: prod,dev"],
        &["X_Env: prod"],
    ] {
        let seen = ask("header-set", lines);
        gate.check_denied(&seen, "client_cert_not_provided,", NO_ALLOW);
    }
    for lines in [
        &["X-Env: dev"][..],
        &["x-eNV: dev"],
        &["X-Env: prod", "X-Env: dev"],
        &["X-Env: dev", "X-Env: prod"],
        &["X_Env: dev"],
        &["X.Env: dev"],
        &["X-Env: prod , dev"],
    ] {
        let seen = ask("deny-header", lines);
        gate.check_denied(&seen, "client_cert_not_provided,", ONLY_DENY);
    }
    // Folded lines and hop-by-hop headers are Envoy's matter: refused, or gone.
    for lines in [
        &["X-Env: prod,", " dev"][..],
        &["X-Env:", " dev"],
        &["X-Env : dev"],
        &["X-Env: dev", "Connection: X-Env"],
        &["X-Env: dev", "Connection: close, x-env"],
    ] {
        let seen = ask("deny-header", lines);
        if let Seen::Forwarded(reply) = &seen {
            assert!(reply.all("x-env").is_empty(), "{lines:?}: {seen:?}");
        }
    }
    assert!(ask("deny-header", &["X-Env: prod"]).is_forwarded());
    // A pseudo-header is no header and a header no pseudo-header.
    let usual = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "a.test"),
        (":path", "/"),
    ];
    for more in [(":x-env", "prod"), (":X-Env", "prod")] {
        let seen = gate.ask_http2("header-set", Who::Nobody, &[&usual[..], &[more]].concat());
        assert!(!seen.is_forwarded(), "{seen:?}");
    }
    let prod = gate.ask_http2(
        "header-set",
        Who::Nobody,
        &[&usual[..], &[("x-env", "prod")]].concat(),
    );
    assert!(prod.is_forwarded(), "{prod:?}");
}

/// Letters in another case are no way out and no way in.
fn attack_method(gate: &Gate) {
    for method in ["DELETE", "delete", "Delete", "DELETE\t", "XDELETE"] {
        let line = format!("{method} /");
        let seen = gate.ask("deny-method", Who::Nobody, &line, &["Host: a.test"]);
        if let Seen::Forwarded(reply) = &seen {
            assert_eq!(reply.method, "XDELETE", "{seen:?}");
        }
        let fields = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "a.test"),
            (":path", "/"),
        ];
        let seen = gate.ask_http2("deny-method", Who::Nobody, &fields);
        if let Seen::Forwarded(reply) = &seen {
            assert_eq!(reply.method, "XDELETE", "{seen:?}");
        }
    }
    for method in ["HEAD", "get", "Get", "OPTIONS"] {
        let line = format!("{method} /");
        let before = gate.echo.requests();
        if method == "HEAD" {
            let mut connection = gate.connect("allow-method", Who::Nobody, "http/1.1");
            let request = b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n";
            connection.send_raw(request).unwrap();
            let outcome = connection.read_response_to_head().unwrap();
            assert_eq!(outcome.response().unwrap().status, 403);
        } else {
            let seen = gate.ask("allow-method", Who::Nobody, &line, &["Host: a.test"]);
            assert!(!seen.is_forwarded(), "{method}: {seen:?}");
        }
        assert_eq!(gate.echo.requests(), before, "{method}");
    }
    // The asterisk of OPTIONS, and no path at all, begin with nothing.
    for line in ["OPTIONS *", "CONNECT a.test:443"] {
        let seen = gate.ask("allow-path", Who::Nobody, line, &["Host: a.test"]);
        assert!(!seen.is_forwarded(), "{line}: {seen:?}");
    }
}

/// Each refusal is in the access log, with its reason, and is counted.
fn check_logs(gate: &Gate) {
    let wanted = gate.to_find.borrow();
    let last = gate.requests.get().to_string();
    gate.ask("only-deny", Who::Nobody, "GET /", &["Host: a.test"]);
    let last_line = |line: &Value| line["id"] == last.as_str();
    gate.envoy
        .wait_for_access_log(Duration::from_secs(5), last_line)
        .unwrap();
    let log = gate.envoy.access_log();
    for (id, error, reason) in wanted.iter() {
        let id = id.to_string();
        let line = log.iter().find(|line| line["id"] == id.as_str()).unwrap();
        assert_eq!(line["error"], error.as_str(), "{line}");
        let told = line["reason"].as_str().unwrap();
        assert!(told.contains(reason), "{told:?} without {reason:?}");
        assert_eq!(line["code"], 403, "{line}");
    }
    let count = |text: &str| {
        let lines = log
            .iter()
            .filter(|line| line["error"].as_str().is_some_and(|e| e.contains(text)));
        u64::try_from(lines.count()).unwrap()
    };
    let counters = gate.envoy.stats("wasmcustom.mtls_gate").unwrap();
    let counter = |name: &str| counters[&format!("wasmcustom.mtls_gate.{name}")];
    assert_eq!(counter("error.denied_by_authz_policy"), count(DENIED));
    assert!(count(DENIED) > 60);
    // Besides these, one request was refused for its certificate alone.
    assert_eq!(counter("refused"), count(DENIED) + 1);
    let reloads = gate.envoy.stats("wasm.").unwrap();
    let reloads = reloads.iter().filter(|(name, _)| name.contains("reload"));
    assert!(reloads.map(|(_, count)| count).all(|count| *count == 0));
}

/// One Envoy for all: it is most of the time.
#[test]
fn policies_hold_in_a_real_envoy() {
    let rules = rules();
    let mut configs: Vec<Config> = rules
        .iter()
        .map(|rule| (rule.name.clone(), rule.config.clone()))
        .collect();
    configs.extend(attribute_configs());
    configs.extend(attack_configs());
    let gate = Gate::start(&configs);
    check_rules(&gate, &rules);
    check_attributes(&gate);
    check_unverified(&gate);
    check_answers(&gate);
    attack_emitted_headers(&gate);
    attack_host(&gate);
    attack_path(&gate);
    attack_repetition(&gate);
    attack_method(&gate);
    check_logs(&gate);
}
