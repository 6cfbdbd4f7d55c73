//! What happens to requests in a real Envoy beyond the verdict: headers of all kinds, refusals,
//! connections, trailers, responses, counters.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use mtls_gate::goldens::{self, Golden};
use mtls_gate::testbed::client::{self, ClientIdentity, ClientOptions, Connection, Outcome};
use mtls_gate::testbed::curl::{Curl, EMPTY_REPLY, HTTP2_STREAM, HttpVersion};
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, FilterDocument, Listener, REQUEST_ID, ServerCertificate, WasmFilter,
    bootstrap, filter_file,
};
use mtls_gate::testbed::http1::Response;
use openssl::ssl::SslVersion;
use serde_json::{Value, json};
use tempfile::TempDir;

const ALLOW: &str = "ALLOW_INVALID_OR_MISSING_CLIENT_CERT";
const REJECT: &str = "REJECT_INVALID";

/// One Envoy with a chain per SNI name, and the golden whose trust config they all use.
struct Gate {
    envoy: Envoy,
    echo: Echo,
    golden: Golden,
    files: TempDir,
}

/// The trust config of a golden case.
fn trust_config(golden: &Golden) -> Value {
    golden.document()["trustConfig"].clone()
}

fn golden(name: &str) -> Golden {
    let all = goldens::all().unwrap();
    all.into_iter().find(|golden| golden.name == name).unwrap()
}

impl Gate {
    /// A chain for each name, configured with the golden's trust config, the mode, and the rest.
    fn start(chains: &[(&str, &str, Value)]) -> Self {
        let golden = golden("one_intermediate");
        let echo = Echo::start().unwrap();
        let certificate = ServerCertificate::self_signed(&["*.test"]).unwrap();
        let chains = chains
            .iter()
            .map(|(name, mode, rest)| {
                let mut document = json!({
                    "trustConfig": trust_config(&golden),
                    "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": mode } },
                });
                let fields = document.as_object_mut().unwrap();
                fields.extend(rest.as_object().unwrap().clone());
                fields.retain(|_, value| !value.is_null());
                let filter = WasmFilter::new(&filter_file(), FilterDocument::Struct(document));
                Chain::new(&[name], &certificate).filter(filter)
            })
            .collect();
        let listener = Listener {
            name: "gate".to_owned(),
            chains,
        };
        let config = EnvoyConfig::new(bootstrap(&[listener], echo.address(), true));
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("chain.pem"), &golden.chain_pem).unwrap();
        std::fs::write(files.path().join("key.pem"), &golden.key_pem).unwrap();
        Self {
            envoy: Envoy::start(&config).unwrap(),
            echo,
            golden,
            files,
        }
    }

    fn port(&self) -> u16 {
        self.envoy.port("gate").unwrap()
    }

    fn identity(&self) -> ClientIdentity {
        ClientIdentity {
            chain_pem: self.golden.chain_pem.clone().into_bytes(),
            key_pem: self.golden.key_pem.clone().into_bytes(),
        }
    }

    fn connect(&self, name: &str, identity: Option<&ClientIdentity>) -> Connection {
        client::connect(self.port(), name, identity, &ClientOptions::default()).unwrap()
    }

    fn curl(&self, name: &str, version: HttpVersion, with_certificate: bool) -> Curl {
        let curl = Curl::new(self.port(), name).version(version);
        if with_certificate {
            let file = |name| self.files.path().join(name);
            curl.identity(&file("chain.pem"), &file("key.pem"))
        } else {
            curl
        }
    }
}

fn response(outcome: Outcome) -> Response {
    match outcome {
        Outcome::Response(response) => response,
        closed @ Outcome::Closed { .. } => panic!("{closed:?}"),
    }
}

fn reply(outcome: Outcome) -> EchoReply {
    let response = response(outcome);
    assert_eq!(response.status, 200, "{}", response.text());
    EchoReply::parse(&response.body).unwrap()
}

fn present_header() -> Value {
    json!({ "customRequestHeaders": ["X-Present:{client_cert_present}"] })
}

#[test]
fn refusals_close_or_answer_and_tell_nothing() {
    let respond = |extra: Value| {
        let mut rejection = json!({ "action": "RESPOND" });
        rejection
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        json!({ "rejection": rejection })
    };
    let gate = Gate::start(&[
        ("close.test", REJECT, json!({})),
        ("respond.test", REJECT, respond(json!({}))),
        (
            "tell.test",
            REJECT,
            respond(json!({ "status": 495, "body": "no: ", "showReason": true })),
        ),
    ]);
    // No HTTP response at all, on either protocol, with a certificate that fails and with none.
    let expired = golden("expired_end_entity");
    let expired = ClientIdentity {
        chain_pem: expired.chain_pem.into_bytes(),
        key_pem: expired.key_pem.into_bytes(),
    };
    for identity in [None, Some(&expired)] {
        let outcome = gate
            .connect("close.test", identity)
            .get("close.test", "/", &[])
            .unwrap();
        assert!(outcome.closed_silently(), "{outcome:?}");
    }
    for (version, exit) in [
        (HttpVersion::Http1, EMPTY_REPLY),
        (HttpVersion::Http2, HTTP2_STREAM),
    ] {
        let outcome = gate.curl("close.test", version, false).run().unwrap();
        assert_eq!(
            (outcome.exit, outcome.status()),
            (exit, None),
            "{}",
            outcome.stderr
        );
    }
    // One answer for all reasons.
    let answer = |identity| {
        let outcome = gate
            .connect("respond.test", identity)
            .get("respond.test", "/", &[]);
        let mut answer = response(outcome.unwrap());
        answer.headers.retain(|(name, _)| name != "date");
        answer
    };
    let (missing, invalid) = (answer(None), answer(Some(&expired)));
    assert_eq!(missing, invalid);
    assert_eq!(
        (missing.status, missing.text().as_str()),
        (403, "client certificate required\n")
    );
    assert!(!format!("{missing:?}").contains("client_cert_"));
    // Unless it is configured otherwise.
    let told = gate
        .connect("tell.test", Some(&expired))
        .get("tell.test", "/", &[]);
    let told = response(told.unwrap());
    assert_eq!(
        (told.status, told.text().as_str()),
        (495, "no: client_cert_validation_failed\n")
    );
    // Nothing of this reached the backend; the reason is in the access log, the log and a counter.
    assert_eq!(gate.echo.requests(), 0);
    let line = gate
        .envoy
        .wait_for_access_log(Duration::from_secs(5), |line| {
            line["sni"] == "close.test" && line["error"] == "client_cert_validation_failed"
        })
        .unwrap();
    let reason = line["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("end entity: expired at 2021-"),
        "{reason}"
    );
    assert!(gate.envoy.log().contains(&format!(
        "request refused: client_cert_validation_failed: {reason}"
    )));
    let counters = gate.envoy.stats("wasmcustom.mtls_gate").unwrap();
    let count = |name: &str| {
        counters
            .get(&format!("wasmcustom.mtls_gate.{name}"))
            .copied()
    };
    assert_eq!(count("error.client_cert_validation_failed"), Some(3));
    assert_eq!(count("error.client_cert_not_provided"), Some(4));
    assert_eq!(count("refused"), Some(7));
    assert_eq!(count("verified"), None);
}

#[test]
fn spoofed_headers_never_arrive() {
    let headers = json!({
        "customRequestHeaders": ["X-Client-Cert-Leaf:{client_cert_leaf}", "X-Note:seen"],
        "headerAction": { "requestHeadersToRemove": ["X-Internal"] },
    });
    let gate = Gate::start(&[
        ("allow.test", ALLOW, headers.clone()),
        ("off.test", ALLOW, {
            let mut off = headers;
            off["trustConfig"] = Value::Null;
            off["serverTlsPolicy"] = json!({ "name": "no-mtls" });
            off
        }),
    ]);
    let leaf = &gate.golden.expected.variables["client_cert_leaf"];
    let identity = gate.identity();
    let spoofs = [
        "X-Client-Cert-Leaf: spoof",
        "x-client-cert-leaf: spoof",
        "X_Client_Cert_Leaf: spoof",
        "x-client_cert-leaf: spoof",
        "X-CLIENT-CERT-LEAF:",
        "X.Client.Cert.Leaf: spoof",
        "Client-Cert: :spoof:",
        "Client_Cert_Chain: :spoof:",
        "X_Note: spoof",
        "X_INTERNAL: spoof",
        "X-Forwarded-Client-Cert: Hash=spoof",
        "X_Forwarded_Client_Cert: Hash=spoof",
        // A hop must not be told to drop what the gate says.
        "Connection: X-Client-Cert-Leaf, keep-alive",
    ];
    for (name, identity, expected) in [
        ("allow.test", None, ""),
        ("allow.test", Some(&identity), leaf.as_str()),
        ("off.test", Some(&identity), ""),
    ] {
        let outcome = gate
            .connect(name, identity)
            .get(name, "/", &spoofs)
            .unwrap();
        let reply = reply(outcome);
        let of_interest: Vec<_> = reply
            .headers
            .iter()
            .filter(|(name, value)| {
                let folded = name.to_ascii_lowercase().replace('_', "-");
                value.contains("spoof")
                    || [
                        "x-client-cert-leaf",
                        "x-note",
                        "x-internal",
                        "x-forwarded-client-cert",
                    ]
                    .contains(&folded.as_str())
            })
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            of_interest,
            [("x-client-cert-leaf", expected), ("x-note", "seen")],
            "{name}"
        );
    }
}

#[test]
fn trailers_lose_the_same_names() {
    let gate = Gate::start(&[("allow.test", ALLOW, present_header())]);
    let mut connection = gate.connect("allow.test", None);
    let request = "POST / HTTP/1.1\r\nHost: allow.test\r\nTransfer-Encoding: chunked\r\n\
        Trailer: X-Present, X_Present, X-Other\r\nTE: trailers\r\n\r\n1\r\na\r\n0\r\n\
        X-Present: spoof\r\nX_Present: spoof\r\nX-Forwarded-Client-Cert: spoof\r\nX-Other: mine\r\n\r\n";
    let reply = reply(connection.exchange(request.as_bytes()).unwrap());
    assert_eq!(reply.trailers, [("x-other".to_owned(), "mine".to_owned())]);
    assert_eq!(reply.all("x-present"), ["false"]);
}

#[test]
fn odd_bytes_do_not_take_the_filter_down() {
    let gate = Gate::start(&[("allow.test", ALLOW, present_header())]);
    let identity = gate.identity();
    let odd: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: allow.test\r\nX-Odd: \xff\xfe\x80\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: allow.test\r\nX-Present: \xff\r\nX-Odd: \xc3\x28\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: allow.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: allow.test\r\nX-Forwarded-Client-Cert: \xff\";Chain=\"\xff\r\n\r\n",
    ];
    for request in odd {
        let mut connection = gate.connect("allow.test", Some(&identity));
        // Envoy itself may refuse some of these with 400; the filter must not trap (503).
        let status = response(connection.exchange(request).unwrap()).status;
        assert!(
            [200, 400].contains(&status),
            "{status}: {}",
            request.escape_ascii()
        );
        let outcome = gate
            .connect("allow.test", Some(&identity))
            .get("allow.test", "/", &[]);
        assert_eq!(reply(outcome.unwrap()).all("x-present"), ["true"]);
    }
    let reloads = gate.envoy.stats("wasm.").unwrap();
    assert!(
        reloads
            .iter()
            .all(|(name, value)| !name.contains("reload") || *value == 0)
    );
}

#[test]
fn each_request_of_a_connection_is_judged() {
    let gate = Gate::start(&[
        ("allow.test", ALLOW, present_header()),
        ("reject.test", REJECT, present_header()),
    ]);
    let identity = gate.identity();
    let mut connection = gate.connect("reject.test", Some(&identity));
    for _ in 0..3 {
        let reply = reply(
            connection
                .get("reject.test", "/", &["X-Present: spoof"])
                .unwrap(),
        );
        assert_eq!(reply.all("x-present"), ["true"]);
    }
    // curl sends both over one connection, on HTTP/2 as two streams.
    for (version, protocol) in [
        (HttpVersion::Http1, "HTTP/1.1"),
        (HttpVersion::Http2, "HTTP/2"),
    ] {
        let mut curl = gate.curl("allow.test", version, true);
        curl.extra.push("https://allow.test/first".to_owned());
        curl.path = "/second".to_owned();
        let outcome = curl.run().unwrap();
        assert_eq!(outcome.exit, 0, "{}", outcome.stderr);
        let first = EchoReply::parse(outcome.body()).unwrap();
        assert_eq!(
            (first.path.as_str(), first.all("x-present")),
            ("/first", vec!["true"])
        );
        let connection_of = |path: &str| {
            let line = gate
                .envoy
                .wait_for_access_log(Duration::from_secs(5), |line| {
                    line["path"] == path && line["protocol"] == protocol
                });
            let line = line.unwrap();
            assert_eq!(
                (line["code"].as_u64(), line["error"].as_str()),
                (Some(200), None)
            );
            line["connection"].clone()
        };
        assert_eq!(connection_of("/first"), connection_of("/second"));
    }
}

#[test]
fn a_resumed_session_shows_the_same_certificate() {
    let gate = Gate::start(&[("reject.test", REJECT, present_header())]);
    let options = ClientOptions {
        max_version: Some(SslVersion::TLS1_2),
        ..ClientOptions::default()
    };
    let identity = gate.identity();
    let mut first = client::connect(gate.port(), "reject.test", Some(&identity), &options).unwrap();
    assert_eq!(
        reply(first.get("reject.test", "/", &[]).unwrap()).all("x-present"),
        ["true"]
    );
    let session = first.session().unwrap();
    let mut second = session.connect(gate.port(), "reject.test").unwrap();
    assert!(second.resumed());
    assert_eq!(
        reply(second.get("reject.test", "/", &[]).unwrap()).all("x-present"),
        ["true"]
    );
}

#[test]
fn replace_governs_only_headers_without_variables() {
    let gate = Gate::start(&[(
        "allow.test",
        ALLOW,
        json!({ "headerAction": { "requestHeadersToAdd": [
            { "headerName": "X-Appended", "headerValue": "gate" },
            { "headerName": "X-Replaced", "headerValue": "gate {{}}", "replace": true },
            { "headerName": "X-Variable", "headerValue": "{client_cert_present} {client_cert_error}" },
        ] } }),
    )]);
    let spoofs = [
        "X-Appended: client",
        "X-Replaced: client",
        "X-Variable: client",
        "X_Variable: client",
    ];
    let outcome = gate
        .connect("allow.test", None)
        .get("allow.test", "/", &spoofs);
    let reply = reply(outcome.unwrap());
    assert_eq!(reply.all("x-appended"), ["client", "gate"]);
    assert_eq!(reply.all("x-replaced"), ["gate {}"]);
    assert_eq!(reply.all("x-variable"), ["false client_cert_not_provided"]);
    assert!(reply.all("x_variable").is_empty());
}

#[test]
fn response_headers_follow_the_verdict() {
    let gate = Gate::start(&[(
        "allow.test",
        ALLOW,
        json!({ "headerAction": {
            "responseHeadersToAdd": [
                { "headerName": "X-Verified", "headerValue": "{client_cert_chain_verified}" },
                { "headerName": "X-Gate", "headerValue": "here" },
            ],
            "responseHeadersToRemove": ["X-Secret"],
        } }),
    )]);
    let echo = "x-echo-response-headers: [[\"X-Verified\",\"backend\"],[\"X_Verified\",\"backend\"],\
        [\"X-Gate\",\"backend\"],[\"X-Secret\",\"s\"]]";
    let identity = gate.identity();
    for (identity, verified) in [(None, "false"), (Some(&identity), "true")] {
        let outcome = gate
            .connect("allow.test", identity)
            .get("allow.test", "/", &[echo]);
        let response = response(outcome.unwrap());
        let all = |wanted: &str| -> Vec<&str> {
            let same = response
                .headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            same.map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(all("x-verified"), [verified]);
        assert!(all("x_verified").is_empty());
        assert_eq!(all("x-gate"), ["backend", "here"]);
        assert!(all("x-secret").is_empty());
    }
}

#[test]
fn the_forwarded_header_stays_only_when_told_to() {
    let keep = json!({ "source": { "connection": { "keepForwardedHeader": true } } });
    let gate = Gate::start(&[
        ("remove.test", ALLOW, json!({})),
        ("keep.test", ALLOW, keep),
    ]);
    let identity = gate.identity();
    let spoof = [
        "X-Forwarded-Client-Cert: Hash=spoof",
        "X_Forwarded_Client_Cert: Hash=spoof",
    ];
    let seen = |name: &str, identity| {
        let outcome = gate.connect(name, identity).get(name, "/", &spoof);
        let reply = reply(outcome.unwrap());
        assert!(reply.all("x_forwarded_client_cert").is_empty());
        reply.all("x-forwarded-client-cert").join("|")
    };
    assert_eq!(seen("remove.test", Some(&identity)), "");
    assert_eq!(seen("remove.test", None), "");
    assert_eq!(seen("keep.test", None), "");
    let kept = seen("keep.test", Some(&identity));
    assert!(
        kept.starts_with("Hash=") && !kept.contains("spoof"),
        "{kept}"
    );
    // It would tell who an unverified client claims to be.
    let expired = golden("expired_end_entity");
    let expired = ClientIdentity {
        chain_pem: expired.chain_pem.into_bytes(),
        key_pem: expired.key_pem.into_bytes(),
    };
    assert_eq!(seen("keep.test", Some(&expired)), "");
}

#[test]
fn rendered_bytes_are_bounded() {
    let many = vec!["{client_cert_leaf}"; 200].concat();
    let headers = json!({ "customRequestHeaders": [
        format!("X-Many:{many}"),
        "X-One:{client_cert_leaf}",
    ] });
    let gate = Gate::start(&[("allow.test", ALLOW, headers)]);
    let identity = gate.identity();
    let outcome = gate
        .connect("allow.test", Some(&identity))
        .get("allow.test", "/", &[]);
    let reply = reply(outcome.unwrap());
    assert_eq!(reply.all("x-many"), [""]);
    assert_eq!(
        reply.all("x-one"),
        [gate.golden.expected.variables["client_cert_leaf"].as_str()]
    );
    let counters = gate
        .envoy
        .stats("wasmcustom.mtls_gate.headers_emptied")
        .unwrap();
    assert_eq!(counters.into_values().collect::<Vec<_>>(), [1]);
}

#[test]
fn two_configurations_in_one_vm_stay_apart() {
    let other = golden("allowlisted_self_signed");
    let gate = Gate::start(&[
        ("chain.test", REJECT, present_header()),
        (
            "list.test",
            REJECT,
            json!({ "trustConfig": trust_config(&other) }),
        ),
    ]);
    let listed = ClientIdentity {
        chain_pem: other.chain_pem.into_bytes(),
        key_pem: other.key_pem.into_bytes(),
    };
    let chained = gate.identity();
    for round in 0..3 {
        for (name, identity, passes) in [
            ("chain.test", &chained, true),
            ("list.test", &chained, false),
            ("chain.test", &listed, false),
            ("list.test", &listed, true),
        ] {
            let id = format!("{REQUEST_ID}: {round}");
            let outcome = gate
                .connect(name, Some(identity))
                .get(name, "/", &[&id])
                .unwrap();
            assert_eq!(
                outcome.clone().response().is_some(),
                passes,
                "{name} {outcome:?}"
            );
        }
    }
}
