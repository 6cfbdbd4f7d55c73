//! What real proxies write into their headers, by `examples/producers`, read by OpenSSL and not by
//! us; and what clients can smuggle in beside it.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/producers.rs"]
mod support;

use mtls_gate::testbed::client::Connection;
use mtls_gate::testbed::curl::{CertFiles, Curl, HttpVersion};
use mtls_gate::testbed::envoy::{Chain, Envoy, EnvoyConfig, Listener, bootstrap};
use mtls_gate::testbed::front::Pair;
use mtls_gate::testbed::producers::{Producer, Running, Variant};
use mtls_gate::testbed::recorder::Head;
use openssl::ssl::SslVersion;
use openssl::x509::X509;
use serde_json::Value;
use support::{Bed, HOST, attempts, connect, forwarded, get, head};

// --- reading, without a line of ours ---

/// The certificates in PEM, by OpenSSL.
fn read_pem(text: &[u8]) -> Vec<Vec<u8>> {
    let all = X509::stack_from_pem(text).unwrap();
    all.iter().map(|one| one.to_der().unwrap()).collect()
}

/// The certificates in concatenated DER. OpenSSL's reader ignores what follows the first, and its
/// DER of that tells the length.
fn read_der(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let der = X509::from_der(bytes).unwrap().to_der().unwrap();
        bytes = bytes.strip_prefix(&der[..]).unwrap();
        all.push(der);
    }
    all
}

fn read_base64(text: &str) -> Vec<Vec<u8>> {
    read_der(&openssl::base64::decode_block(text).unwrap())
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(&part[..2], 16).unwrap());
        out.extend(part[2..].bytes());
    }
    out
}

/// PEM whose line ends became something else. Only its borders hold spaces of their own.
fn unfolded(text: &str, line_end: &str) -> Vec<u8> {
    text.replace(line_end, "\n")
        .replace("BEGIN\nCERT", "BEGIN CERT")
        .replace("END\nCERT", "END CERT")
        .into()
}

/// A value of Envoy's text: from `key="` to the next quote.
fn quoted<'a>(text: &'a str, key: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!(";{key}=\"")).unwrap();
    rest.split('"').next().unwrap()
}

/// One header's certificates.
fn certificates(variant: Variant, value: &str) -> Vec<Vec<u8>> {
    match variant {
        Variant::NginxEscaped | Variant::ApacheEscaped => read_pem(&percent_decoded(value)),
        Variant::NginxLegacy => read_pem(&unfolded(value, "\n\t")),
        Variant::ApacheRaw => read_pem(&unfolded(value, " ")),
        Variant::HaproxyBase64 | Variant::CaddyBase64 => read_base64(value),
        Variant::HaproxyRfc9440 | Variant::ApacheRfc9440 | Variant::CaddyRfc9440 => {
            let inner = value.strip_prefix(':').and_then(|v| v.strip_suffix(':'));
            read_base64(inner.unwrap())
        }
        Variant::CaddyPem => panic!("Caddy sends none"),
        Variant::EnvoyText | Variant::EnvoyNames => {
            let all = read_pem(&percent_decoded(quoted(value, "Chain")));
            let first = read_pem(&percent_decoded(quoted(value, "Cert")));
            assert_eq!(first, all[..1]);
            all
        }
        Variant::EnvoyJson => {
            let elements: Value = serde_json::from_str(value).unwrap();
            assert_eq!(elements.as_array().unwrap().len(), 1);
            let chain = elements[0]["chain"].as_array().unwrap().iter();
            let all: Vec<_> = chain
                .flat_map(|one| read_pem(one.as_str().unwrap().as_bytes()))
                .collect();
            let first = elements[0]["cert"].as_str().unwrap();
            assert_eq!(read_pem(first.as_bytes()), all[..1]);
            all
        }
    }
}

/// The value for a client without a certificate, or for a chain that is no longer.
fn nothing(variant: Variant) -> Option<&'static str> {
    match variant.producer() {
        Producer::Nginx | Producer::Haproxy | Producer::Envoy => None,
        Producer::Apache if variant == Variant::ApacheRaw => Some("(null)"),
        Producer::Caddy if variant == Variant::CaddyRfc9440 => Some("::"),
        Producer::Apache | Producer::Caddy => Some(""),
    }
}

/// All that arrived, in the headers of the variant, each at most once.
fn arrived(variant: Variant, head: &Head) -> Vec<Vec<u8>> {
    let names = [&[variant.header()], variant.chain_headers()].concat();
    let mut all = Vec::new();
    for name in names {
        match head.spellings(name)[..] {
            [] => assert_eq!(nothing(variant), None, "{name} is absent"),
            [(_, value)] if Some(value) == nothing(variant) => {}
            [(_, value)] => all.extend(certificates(variant, value)),
            ref many => panic!("{name} came as {many:?}"),
        }
    }
    all
}

// --- the tests ---

fn each_client_arrives(bed: &Bed, variant: Variant) {
    let running = bed.start(variant);
    for client in [&bed.none, &bed.ec, &bed.rsa, &bed.forger, &bed.fat] {
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let what = format!("{variant:?} {} {version:?}", client.name);
            let mut connection = connect(&running, client, Some(version));
            // The second request on a connection is told the same.
            for _ in 0..2 {
                let head = match head(connection.get(HOST, "/", &[]).unwrap()) {
                    Ok(head) => head,
                    // Better than an empty header, which is what HAProxy does by itself.
                    Err(400) if variant.producer() == Producer::Haproxy && client.name == "fat" => {
                        break;
                    }
                    Err(status) => panic!("{what}: {status}\n{}", running.logs()),
                };
                let arrived = arrived(variant, &head);
                let expected = forwarded(variant, client);
                assert_eq!(arrived, client.presented()[..expected], "{what}");
            }
        }
    }
}

/// Whatever these lines do, the backend sees what it would see without them, or nothing.
fn nothing_forged_arrives(bed: &Bed, variant: Variant) {
    let running = bed.start(variant);
    let names = [&[variant.header()], variant.chain_headers()].concat();
    let values = |head: &Head| -> Vec<Vec<String>> {
        let of = |name: &&str| {
            let all = head.spellings(name);
            all.iter().map(|(_, value)| (*value).to_owned()).collect()
        };
        names.iter().map(of).collect()
    };
    // A value the backend would believe: another client's own.
    let stolen = values(&get(&running, &bed.rsa, &[]).unwrap());
    for client in [&bed.none, &bed.ec] {
        let honest = values(&get(&running, client, &[]).unwrap());
        assert_ne!(honest, stolen);
        for (name, stolen) in names.iter().zip(&stolen) {
            let stolen = stolen[0].replace("\n\t", " ");
            for attempt in attempts(variant, name, &stolen) {
                let lines: Vec<&str> = attempt.iter().map(String::as_str).collect();
                let short = &lines[0][..lines[0].len().min(60)];
                match get(&running, client, &lines) {
                    Ok(head) => assert_eq!(values(&head), honest, "{variant:?} {short:?}"),
                    Err(status) => {
                        assert!(
                            [0, 400, 403, 413, 431].contains(&status),
                            "{short:?} {status}"
                        );
                    }
                }
            }
        }
    }
}

/// A client may have its headers taken for the connection's own (RFC 9110, 7.6.1), which a proxy
/// removes. Removed after it was set, the header would hide the certificate.
#[test]
fn a_header_named_in_connection_arrives() {
    let bed = Bed::new();
    for variant in [
        Variant::NginxEscaped,
        Variant::HaproxyBase64,
        Variant::ApacheEscaped,
        Variant::ApacheRfc9440,
        Variant::CaddyBase64,
        Variant::EnvoyText,
    ] {
        let running = bed.start(variant);
        let name = variant.header();
        let forged = format!("{name}: forged");
        for client in [&bed.none, &bed.ec] {
            let honest = get(&running, client, &[]).unwrap();
            for named in [name.to_owned(), format!("close, {}", name.to_lowercase())] {
                let connection = format!("Connection: {named}");
                let head = get(&running, client, &[&connection, &forged]).unwrap();
                assert_eq!(
                    head.spellings(name),
                    honest.spellings(name),
                    "{variant:?} {connection}"
                );
            }
        }
    }
}

#[test]
fn http2() {
    let bed = Bed::new();
    for variant in [Variant::CaddyBase64, Variant::EnvoyText] {
        let running = bed.start(variant);
        let name = variant.header();
        let underscores = name.replace('-', "_");
        for client in [&bed.none, &bed.ec] {
            let honest = get(&running, client, &[]).unwrap();
            let mut curl = Curl::new(running.port(), HOST);
            curl.version = HttpVersion::Http2;
            if !client.chain.is_empty() {
                let Pair { cert, key } = bed.front.pair(client.name, &client.refs()).unwrap();
                curl.identity = Some(CertFiles { cert, key });
            }
            for spelling in [name, &underscores] {
                curl.headers = vec![format!("{spelling}: forged"); 2];
                let response = curl.run().unwrap().response.unwrap();
                assert!(response.status == 200, "{variant:?} {}", response.status);
                let head = Head::parse(&response.body);
                assert_eq!(head.spellings(name), honest.spellings(name), "{variant:?}");
            }
        }
    }
}

/// Envoy takes what they write, folded lines included: of their ends the tabs remain.
#[test]
fn an_envoy_behind_hands_it_on() {
    let bed = Bed::new();
    let listener = Listener {
        name: "plain".to_owned(),
        chains: vec![Chain::plaintext()],
    };
    let bootstrap = bootstrap(&[listener], bed.recorder.address(), false);
    let envoy = Envoy::start(&EnvoyConfig::new(bootstrap)).unwrap();
    let port = envoy.port("plain").unwrap();
    for variant in Variant::ALL {
        if variant == Variant::CaddyPem {
            continue;
        }
        let running = Running::start(variant, &bed.server, ([127, 0, 0, 1], port).into()).unwrap();
        for client in [&bed.none, &bed.ec] {
            let mut head = get(&running, client, &[]).unwrap();
            if variant == Variant::NginxLegacy {
                for (_, value) in &mut head.headers {
                    assert!(!value.contains('\n'));
                    *value = value.replace('\t', "\n\t");
                }
            }
            let expected = forwarded(variant, client);
            assert_eq!(
                arrived(variant, &head),
                client.presented()[..expected],
                "{variant:?}"
            );
        }
    }
}

fn proxies(producer: Producer) {
    let bed = Bed::new();
    for variant in Variant::ALL {
        if variant.producer() == producer && variant != Variant::CaddyPem {
            each_client_arrives(&bed, variant);
            nothing_forged_arrives(&bed, variant);
        }
    }
}

#[test]
fn nginx() {
    proxies(Producer::Nginx);
}

#[test]
fn haproxy() {
    proxies(Producer::Haproxy);
}

#[test]
fn apache() {
    proxies(Producer::Apache);
}

#[test]
fn caddy() {
    proxies(Producer::Caddy);
}

#[test]
fn envoy() {
    proxies(Producer::Envoy);
}

#[test]
fn caddy_sends_no_pem() {
    let bed = Bed::new();
    let running = bed.start(Variant::CaddyPem);
    for client in [&bed.none, &bed.ec] {
        assert_eq!(get(&running, client, &[]), Err(502), "{}", client.name);
    }
}

/// OpenSSL keeps the end entity's certificate in a session and none of the others.
#[test]
fn resumption_loses_no_certificate() {
    let bed = Bed::new();
    for variant in [
        Variant::NginxEscaped,
        Variant::HaproxyBase64,
        Variant::ApacheEscaped,
        Variant::CaddyBase64,
        Variant::EnvoyText,
    ] {
        let running = bed.start(variant);
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let mut first = connect(&running, &bed.ec, Some(version));
            let head_of = |connection: &mut Connection| {
                head(connection.get(HOST, "/", &[]).unwrap()).unwrap()
            };
            let full = arrived(variant, &head_of(&mut first));
            // Not every one gives sessions.
            let Some(session) = first.session() else {
                assert_ne!(variant.producer(), Producer::Envoy);
                continue;
            };
            let mut second = session.connect(running.port(), HOST).unwrap();
            let again = arrived(variant, &head_of(&mut second));
            assert_eq!(again, full, "{variant:?} {version:?} {}", second.resumed());
        }
    }
}

#[test]
fn a_producer_ends_when_dropped() {
    let bed = Bed::new();
    let running = bed.start(Variant::NginxEscaped);
    let process = format!("/proc/{}", running.pid().unwrap());
    assert!(std::fs::exists(&process).unwrap());
    drop(running);
    assert!(!std::fs::exists(&process).unwrap());
}
