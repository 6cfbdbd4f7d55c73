//! Certificates that another proxy forwards, in the filter's handler: who is believed, and that the
//! relay and the client are never taken for each other.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::rc::Rc;

use mtls_gate::goldens::{self, Golden, header_of};
use mtls_gate::testbed::forwarded::byte_sequence;
use mtls_gate_core::config::Config;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::variables::Variable;
use mtls_gate_filter::handle::{Flow, Stream};
use mtls_gate_rustcrypto::ALGORITHMS;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use support::{FakeHost, xfcc};

const NOT_PROVIDED: &str = "client_cert_not_provided";
const FAILED: &str = "client_cert_validation_failed";

fn golden(name: &str) -> Golden {
    let all = goldens::all().unwrap();
    all.into_iter().find(|golden| golden.name == name).unwrap()
}

/// The client, and the relay with an X.509-SVID, which the client's certificate is not.
struct Parties {
    client: Golden,
    relay: Golden,
}

fn parties() -> Parties {
    Parties {
        client: golden("one_intermediate"),
        relay: golden("spiffe_svid"),
    }
}

impl Parties {
    /// Only the relay's trust domain, and the relay's ID in it.
    fn mtls(&self) -> Value {
        json!({"mtls": {
            "trustConfig": trusts(&self.relay),
            "sanMatch": {"uris": [self.relay_id()]},
        }})
    }

    fn relay_id(&self) -> String {
        self.relay.expected.variables["client_cert_spiffe_id"].clone()
    }

    fn config(&self, relay: &Value, rest: Value) -> Config {
        let mut document = self.client.document();
        document["source"] = json!({"header": {"preset": "RFC9440", "relay": relay}});
        for (field, value) in rest.as_object().unwrap() {
            match field.as_str() {
                "connection" => document["source"][field] = value.clone(),
                "header" => document["source"][field] = value.clone(),
                "mode" => {
                    document["serverTlsPolicy"]["mtlsPolicy"]["clientValidationMode"] =
                        value.clone();
                }
                _ => document[field] = value.clone(),
            }
        }
        Config::from_bytes(document.to_string().as_bytes()).unwrap_or_else(|e| panic!("{e}"))
    }

    fn host(&self, peer: Option<&Golden>) -> FakeHost {
        let mut host = FakeHost {
            time: Some(self.client.time().unwrap()),
            ..FakeHost::default()
        };
        if let Some(peer) = peer {
            let certificate = peer.chain()[0].as_bytes().to_vec();
            let der = openssl::x509::X509::from_pem(&certificate)
                .unwrap()
                .to_der()
                .unwrap();
            let digest = Sha256::digest(&der);
            let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
            let digest = digest.into();
            host.properties.extend([
                ("connection.mtls", vec![1]),
                ("connection.peer_certificate", certificate),
                ("connection.sha256_peer_certificate_digest", digest),
            ]);
        }
        host
    }

    /// What a relay writes of this client.
    fn forward(&self, host: &FakeHost, client: &Golden) {
        let chain: Vec<String> = client
            .chain()
            .iter()
            .map(|pem| byte_sequence(pem))
            .collect();
        let mut headers = host.headers.borrow_mut();
        headers.push((b"client-cert".to_vec(), chain[0].clone().into()));
        headers.push((b"client-cert-chain".to_vec(), chain[1..].join(", ").into()));
    }
}

/// A proxy shows the end entity of its own connection only, so the rest is configured.
fn trusts(golden: &Golden) -> Value {
    let mut trust_config = golden.document()["trustConfig"].clone();
    let others = golden.chain().into_iter().skip(1);
    let others: Vec<Value> = others.map(|pem| json!({"pemCertificate": pem})).collect();
    for stores in ["trustStores", "spiffeTrustStores"] {
        let stores = match &mut trust_config[stores] {
            Value::Array(stores) => stores.iter_mut().collect(),
            Value::Object(stores) => stores.values_mut().collect(),
            _ => vec![],
        };
        for store in stores {
            store["intermediateCas"] = json!(others);
        }
    }
    if trust_config["trustStores"].is_null() {
        trust_config.as_object_mut().unwrap().remove("trustStores");
    }
    if trust_config["spiffeTrustStores"].is_null() {
        trust_config
            .as_object_mut()
            .unwrap()
            .remove("spiffeTrustStores");
    }
    trust_config
}

fn run(config: Config, host: &FakeHost) -> Flow {
    let pipeline = Pipeline::new(config, ALGORITHMS);
    Stream::new(Some(Rc::new(pipeline))).on_request_headers(host)
}

fn seen(host: &FakeHost, variable: Variable) -> String {
    let name = header_of(variable).into_bytes();
    let headers = host.headers.borrow();
    let found: Vec<_> = headers.iter().filter(|(found, _)| *found == name).collect();
    assert_eq!(found.len(), 1, "{variable:?}");
    String::from_utf8(found[0].1.clone()).unwrap()
}

/// Present, verified, error, fingerprint; and that nothing of what was forwarded goes on.
fn verdict(config: Config, host: &FakeHost) -> [String; 4] {
    assert_eq!(run(config, host), Flow::Continue);
    for (name, _) in host.headers.borrow().iter() {
        let name = String::from_utf8_lossy(name)
            .replace('_', "-")
            .to_lowercase();
        assert!(
            !name.starts_with("client-cert") && !name.contains("forwarded"),
            "{name}"
        );
    }
    [
        Variable::Present,
        Variable::ChainVerified,
        Variable::Error,
        Variable::Sha256Fingerprint,
    ]
    .map(|variable| seen(host, variable))
}

fn verified(golden: &Golden) -> [String; 4] {
    let fingerprint = &golden.expected.variables["client_cert_sha256_fingerprint"];
    [
        "true".into(),
        "true".into(),
        String::new(),
        fingerprint.clone(),
    ]
}

fn none() -> [String; 4] {
    [
        "false".into(),
        "false".into(),
        NOT_PROVIDED.into(),
        String::new(),
    ]
}

fn failed() -> [String; 4] {
    ["true".into(), "false".into(), FAILED.into(), String::new()]
}

fn untrusted(host: &FakeHost) -> usize {
    let counters = host.counters.borrow();
    counters
        .iter()
        .filter(|counter| *counter == "mtls_gate.relay_untrusted")
        .count()
}

fn reason(host: &FakeHost) -> String {
    let left = host.left.borrow();
    let found = left.iter().find(|(name, _)| name == "mtls_gate_reason");
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

fn allow() -> Value {
    json!({"mode": "ALLOW_INVALID_OR_MISSING_CLIENT_CERT"})
}

#[test]
fn a_relay_with_its_own_certificate_is_believed() {
    let parties = parties();
    let host = parties.host(Some(&parties.relay));
    parties.forward(&host, &parties.client);
    let config = parties.config(&parties.mtls(), allow());
    // Both goldens are of one CA.
    let warned: Vec<&str> = config.warnings.iter().map(|one| one.path).collect();
    assert_eq!(warned, ["source.header.relay.mtls.trustConfig"]);
    assert_eq!(verdict(config, &host), verified(&parties.client));
    assert_eq!(untrusted(&host), 0);
}

#[test]
fn nobody_else_is() {
    let parties = parties();
    let elsewhere = json!({"mtls": {
        "trustConfig": trusts(&parties.relay),
        "sanMatch": {"uris": ["spiffe://elsewhere/relay"], "dnsNames": ["relay.test"]},
    }});
    let stranger = golden("self_signed_end_entity");
    let direct = "certificate: ";
    for (relay, peer, why) in [
        // The client itself, with a certificate that is valid for a client.
        (parties.mtls(), Some(&parties.client), direct),
        (parties.mtls(), Some(&stranger), direct),
        (parties.mtls(), None, "certificate: no client certificate"),
        (elsewhere, Some(&parties.relay), "no relay's name"),
        (json!({}), Some(&parties.relay), "nobody is believed"),
    ] {
        let host = parties.host(peer);
        parties.forward(&host, &parties.client);
        let config = parties.config(&relay, allow());
        assert_eq!(verdict(config, &host), none(), "{why}");
        assert_eq!(untrusted(&host), 1, "{why}");
        assert!(reason(&host).contains(why), "{}", reason(&host));
        // And where certificates are compulsory, the request ends here.
        let host = parties.host(peer);
        parties.forward(&host, &parties.client);
        let config = parties.config(&relay, json!({"mode": "REJECT_INVALID"}));
        assert_eq!(run(config, &host), Flow::Stop);
        assert!(*host.reset.borrow());
    }
}

/// The header alone decides about the client, whatever the relay's certificate is.
#[test]
fn the_relay_is_never_the_client() {
    let parties = parties();
    // A trust config in which both are clients.
    let mut mtls = parties.mtls();
    mtls["mtls"]["trustConfig"] = trusts(&parties.client);
    let client_id = json!({"dnsNames": ["CLIENT.mtls-gate.test"]});
    mtls["mtls"]["sanMatch"] = client_id;
    let relay = &parties.client;
    let host = parties.host(Some(relay));
    let config = |rest| parties.config(&mtls, rest);
    // Nothing forwarded: nothing is there, though the connection has a valid certificate.
    assert_eq!(verdict(config(allow()), &host), none());
    assert_eq!(untrusted(&host), 0);
    for nothing in ["", "::", "(null)"] {
        let host = parties.host(Some(relay));
        let header = (b"client-cert".to_vec(), nothing.into());
        host.headers.borrow_mut().push(header);
        assert_eq!(verdict(config(allow()), &host), none(), "{nothing}");
    }
    // Broken is broken, and not the relay's.
    for broken in ["garbage", ":Zm9v", ":AQID"] {
        let host = parties.host(Some(relay));
        let header = (b"client-cert".to_vec(), broken.into());
        host.headers.borrow_mut().push(header);
        assert_eq!(verdict(config(allow()), &host), failed(), "{broken}");
    }
    // A client that is not trusted behind a relay that is.
    let stranger = golden("self_signed_end_entity");
    let host = parties.host(Some(relay));
    parties.forward(&host, &stranger);
    let found = verdict(config(allow()), &host);
    let fingerprint = &stranger.expected.variables["client_cert_sha256_fingerprint"];
    assert_eq!(found[1..3], ["false".to_owned(), FAILED.to_owned()]);
    assert_eq!(&found[3], fingerprint);
    // Policies see the client.
    let policy = |selector: &str, id: &str| {
        json!({"mode": "ALLOW_INVALID_OR_MISSING_CLIENT_CERT", "authzPolicies": [{
            "name": "p", "action": "ALLOW", "httpRules": [{"from": {"sources": [{"principals": [
                {"principalSelector": selector, "principal": {"exact": id}}]}]}}]}]})
    };
    let id = parties.relay_id();
    let run = |policy: Value| {
        let host = parties.host(Some(&parties.relay));
        parties.forward(&host, &parties.client);
        run(parties.config(&parties.mtls(), policy), &host)
    };
    assert_eq!(run(policy("CLIENT_CERT_URI_SAN", &id)), Flow::Stop);
    let of_client = policy("CLIENT_CERT_DNS_NAME_SAN", "client.mtls-gate.test");
    assert_eq!(run(of_client), Flow::Continue);
}

#[test]
fn by_address_only_the_network_filters_word_counts() {
    let parties = parties();
    let relay = json!({"addresses": ["10.1.0.0/16", "2001:db8::/32"]});
    let connection = json!({"directPeerAddress": "NETWORK_FILTER"});
    let rest = json!({"mode": "ALLOW_INVALID_OR_MISSING_CLIENT_CERT", "connection": connection});
    let config = || parties.config(&relay, rest.clone());
    for (address, is_believed) in [
        ("10.1.2.3:4711", true),
        ("[::ffff:10.1.2.3]:4711", true),
        ("[2001:db8::1]:4711", true),
        ("10.2.2.3:4711", false),
        // Port 0 is what X-Forwarded-For becomes.
        ("10.1.2.3:0", false),
        ("", false),
    ] {
        let mut host = parties.host(None);
        let property = ("mtls_gate_direct_peer", address.into());
        host.properties.push(property);
        parties.forward(&host, &parties.client);
        let expected = if is_believed {
            verified(&parties.client)
        } else {
            none()
        };
        assert_eq!(verdict(config(), &host), expected, "{address}");
        assert_eq!(untrusted(&host), usize::from(!is_believed), "{address}");
    }
    // What a client can set counts for nothing.
    let mut host = parties.host(None);
    host.properties
        .push(("source.address", b"10.1.2.3:4711".to_vec()));
    let forwarded_for = (b"x-forwarded-for".to_vec(), b"10.1.2.3".to_vec());
    parties.forward(&host, &parties.client);
    host.headers.borrow_mut().push(forwarded_for);
    assert_eq!(run(config(), &host), Flow::Continue);
    assert_eq!(seen(&host, Variable::Present), "false");
    assert_eq!(untrusted(&host), 1);
}

#[test]
fn anybody_is_believed_only_with_a_warning() {
    let parties = parties();
    let config = parties.config(&json!({"trustAnyRelay": true}), allow());
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("source.header.relay.trustAnyRelay: "),
        "{warnings:?}"
    );
    let host = parties.host(None);
    parties.forward(&host, &parties.client);
    assert_eq!(verdict(config, &host), verified(&parties.client));
}

/// One refused client must not cost the others their gate.
#[test]
fn closing_on_a_relay_is_warned_of() {
    let parties = parties();
    let warns = |rest: Value| {
        let warnings = parties.config(&parties.mtls(), rest).warnings;
        warnings
            .iter()
            .any(|warning| warning.path == "rejection.action")
    };
    assert!(warns(json!({"mode": "REJECT_INVALID"})));
    let respond = json!({"mode": "REJECT_INVALID", "rejection": {"action": "RESPOND"}});
    assert!(!warns(respond));
    assert!(!warns(allow()));
}

/// Behind a relay that is believed: what its client adds in other spellings is neither read nor
/// forwarded, and what it adds in the same one refuses.
#[test]
fn forged_copies_gain_nothing() {
    let parties = parties();
    let config = || parties.config(&parties.mtls(), allow());
    let forged = byte_sequence(golden("rsa_2048").chain()[0]);
    for name in [
        "Client_Cert",
        "client.cert",
        "X-Forwarded-Client-Cert",
        "client_cert_chain",
    ] {
        let host = parties.host(Some(&parties.relay));
        let header = (name.as_bytes().to_vec(), forged.clone().into());
        host.headers.borrow_mut().push(header.clone());
        assert_eq!(verdict(config(), &host), none(), "{name}");
        let host = parties.host(Some(&parties.relay));
        host.headers.borrow_mut().push(header);
        parties.forward(&host, &parties.client);
        assert_eq!(
            verdict(config(), &host),
            verified(&parties.client),
            "{name}"
        );
    }
    let host = parties.host(Some(&parties.relay));
    let header = (b"CLIENT-CERT".to_vec(), forged.into());
    host.headers.borrow_mut().push(header);
    parties.forward(&host, &parties.client);
    assert_eq!(verdict(config(), &host), failed());
    assert!(
        reason(&host).contains("occurs 2 times"),
        "{}",
        reason(&host)
    );
}

/// A chain of two proxies before this one, which appends what it sees of its own peer.
#[test]
fn xfcc_tells_the_relay_from_the_client() {
    let parties = parties();
    let relay = &parties.relay;
    // Of one that is believed anyway only the digest is asked for.
    for believed in [parties.mtls(), json!({"trustAnyRelay": true})] {
        let config = |elements: usize| {
            parties.config(
                &json!({}),
                json!({"mode": "ALLOW_INVALID_OR_MISSING_CLIENT_CERT", "header": {
                    "preset": "ENVOY", "elements": elements, "relay": believed}}),
            )
        };
        // A host may tell the digest, or not, or nothing that is one.
        for digest in [None, Some(""), Some("0011")] {
            let run = |elements, value: String| {
                let mut host = parties.host(Some(relay));
                if let Some(digest) = digest {
                    let last = host.properties.last_mut().unwrap();
                    assert_eq!(last.0, "connection.sha256_peer_certificate_digest");
                    last.1 = digest.into();
                }
                let header = (b"x-forwarded-client-cert".to_vec(), value.into());
                host.headers.borrow_mut().push(header);
                verdict(config(elements), &host)
            };
            let (client, own) = (xfcc(&parties.client), xfcc(relay));
            assert_eq!(run(1, client.clone()), verified(&parties.client));
            assert_eq!(run(2, format!("{client},{own}")), verified(&parties.client));
            assert_eq!(run(2, own.clone()), none());
            assert_eq!(run(1, own.clone()), none());
            assert_eq!(run(1, format!("{client},{own}")), failed());
            assert_eq!(run(2, format!("{own},{client}")), failed());
            assert_eq!(run(2, client), failed());
        }
    }
}

/// A property costs the host more than a header.
#[test]
fn no_more_is_asked_than_counts() {
    const CERTIFICATE: &str = "connection.peer_certificate";
    const MTLS: &str = "connection.mtls";
    const DIGEST: &str = "connection.sha256_peer_certificate_digest";
    let parties = parties();
    let anybody = json!({"trustAnyRelay": true});
    let addresses = json!({"addresses": ["10.1.0.0/16"]});
    let by_network = json!({"directPeerAddress": "NETWORK_FILTER"});
    let envoy = |relay: &Value| json!({"header": {"preset": "ENVOY", "relay": relay}});
    for (relay, rest, shown, asked) in [
        (&parties.mtls(), json!({}), true, &[CERTIFICATE][..]),
        (
            &parties.mtls(),
            json!({}),
            false,
            &[CERTIFICATE, MTLS, DIGEST],
        ),
        (&anybody, json!({}), true, &[]),
        (&json!({}), json!({}), true, &[]),
        (
            &addresses,
            json!({"connection": by_network}),
            true,
            &["mtls_gate_direct_peer"],
        ),
        (&json!({}), envoy(&anybody), true, &[DIGEST]),
        (&json!({}), envoy(&anybody), false, &[DIGEST, CERTIFICATE]),
        (&json!({}), envoy(&parties.mtls()), true, &[CERTIFICATE]),
    ] {
        let host = parties.host(shown.then_some(&parties.relay));
        parties.forward(&host, &parties.client);
        run(parties.config(relay, rest), &host);
        assert_eq!(*host.asked.borrow(), asked, "{relay}");
    }
    // Without one in front: what this proxy terminated itself.
    let document = parties.client.document();
    let mut off = document.clone();
    off.as_object_mut().unwrap().remove("serverTlsPolicy");
    off.as_object_mut().unwrap().remove("trustConfig");
    for (document, asked) in [(document, &[CERTIFICATE][..]), (off, &[])] {
        let host = parties.host(Some(&parties.client));
        let config = Config::from_bytes(document.to_string().as_bytes()).unwrap();
        run(config, &host);
        assert_eq!(*host.asked.borrow(), asked);
    }
}

/// Whoever sent them: what a product tells of a certificate does not go on, in any spelling, from
/// headers or trailers.
#[test]
fn every_header_of_the_product_is_removed() {
    let parties = parties();
    for (header, names) in [
        (
            json!({"preset": "NGINX", "certificateHeader": "X-SSL-Cert"}),
            &["X-SSL-Cert", "x_ssl_cert", "x.ssl_cert"][..],
        ),
        (
            json!({"preset": "AWS_ALB_VERIFY"}),
            &[
                "X-Amzn-Mtls-Clientcert-Leaf",
                "x_amzn_mtls_clientcert_subject",
            ],
        ),
        (
            json!({"preset": "APACHE", "certificateHeader": "X-Cert",
                   "numberedChainHeaders": "X-Chain-"}),
            &["x-cert", "X-Chain-0", "x_chain_99"],
        ),
        (
            json!({"preset": "HAPROXY", "certificateHeader": "X-Cert", "chainHeader": "X-Chain"}),
            &["x-cert", "x-chain", "X_CHAIN"],
        ),
    ] {
        for relay in [json!({}), json!({"trustAnyRelay": true})] {
            let mut header = header.clone();
            header["relay"] = relay.clone();
            let config = || {
                let mode = "ALLOW_INVALID_OR_MISSING_CLIENT_CERT";
                parties.config(&relay, json!({"mode": mode, "header": header}))
            };
            let host = parties.host(None);
            let sent = names
                .iter()
                .map(|name| (name.as_bytes().to_vec(), b"a".to_vec()));
            host.headers.borrow_mut().extend(sent);
            let kept = (b"x-other".to_vec(), b"a".to_vec());
            host.headers.borrow_mut().push(kept.clone());
            let mut stream = Stream::new(Some(Rc::new(Pipeline::new(config(), ALGORITHMS))));
            assert_eq!(stream.on_request_headers(&host), Flow::Continue);
            let left = host.headers.borrow();
            for name in names {
                assert!(
                    left.iter().all(|(found, _)| found != name.as_bytes()),
                    "{name}"
                );
            }
            assert!(left.contains(&kept));
            drop(left);
            let trailers = names
                .iter()
                .map(|name| (name.as_bytes().to_vec(), b"a".to_vec()));
            *host.headers.borrow_mut() = trailers.collect();
            assert_eq!(stream.on_request_trailers(&host), Flow::Continue);
            assert!(host.headers.borrow().is_empty(), "{header}");
        }
    }
}
