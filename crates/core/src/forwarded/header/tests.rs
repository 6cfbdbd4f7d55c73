//! What each product writes for one client, in the shapes that were measured or are documented, and
//! what a client or a broken proxy makes of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use sha2::{Digest as _, Sha256};

use super::*;
use crate::config::{resources, source};
use crate::forwarded::xfcc_elements::pairs;

/// End entity and intermediate, DER.
fn certificates(pem: &str) -> Vec<Vec<u8>> {
    let bounds = Bounds {
        blocks: 9,
        der_bytes: 99_999,
    };
    pem::blocks(pem.as_bytes(), Label::Certificate, Around::Nothing, bounds).unwrap()
}

fn ec() -> Vec<Vec<u8>> {
    certificates(include_str!(
        "../../../../../testdata/chains/one_intermediate/chain.pem"
    ))
}

fn rsa() -> Vec<Vec<u8>> {
    certificates(include_str!(
        "../../../../../testdata/chains/rsa_2048/chain.pem"
    ))
}

fn source_of(document: Value) -> HeaderSource {
    let document: resources::HeaderSource = crate::config::typed(document).unwrap();
    source(&document).unwrap()
}

fn decode(source: &HeaderSource, headers: &[(&str, String)]) -> ForwardedChain {
    let lines: Vec<(&[u8], &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    source.decode(&lines, Relay::default(), &RequestLimits::default())
}

fn present(chain: &[Vec<u8>]) -> ForwardedChain {
    ForwardedChain::Present {
        end_entity: EndEntity::new(chain[0].clone()),
        others: Ok(chain[1..].to_vec()),
    }
}

fn is_undecodable(chain: &ForwardedChain) -> bool {
    matches!(chain, ForwardedChain::Undecodable(_))
}

fn base64(der: &[u8]) -> String {
    STANDARD.encode(der)
}

/// Lines of 64 characters, each with this behind it.
fn pem_with(der: &[u8], line_end: &str) -> String {
    let body = base64(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| core::str::from_utf8(line).unwrap())
        .collect();
    let body = lines.join(line_end);
    format!(
        "-----BEGIN CERTIFICATE-----{line_end}{body}{line_end}-----END CERTIFICATE-----{line_end}"
    )
}

/// nginx, and with more to encode Envoy: `+`, `/` and `=` too, upper case.
fn escaped(der: &[u8]) -> String {
    pem_with(der, "\n")
        .replace('\n', "%0A")
        .replace(' ', "%20")
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
}

/// AWS: `+`, `/` and `=` stay.
fn half_escaped(der: &[u8]) -> String {
    pem_with(der, "\n").replace('\n', "%0A").replace(' ', "%20")
}

fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", base64(der))
}

fn sha256(der: &[u8]) -> String {
    let octets = Sha256::digest(der);
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn element(chain: &[Vec<u8>]) -> String {
    let all: String = chain.iter().map(|der| escaped(der)).collect();
    format!(
        "By=spiffe://srv/a;Hash={};Cert=\"{}\";Chain=\"{all}\";Subject=\"CN=a\\, b\";URI=;DNS=d.example",
        sha256(&chain[0]),
        escaped(&chain[0]),
    )
}

fn element_json(chain: &[Vec<u8>]) -> String {
    let pems: Vec<String> = chain.iter().map(|der| pem_with(der, "\n")).collect();
    json!({"by": ["spiffe://srv/a"], "hash": sha256(&chain[0]), "cert": pems[0], "chain": pems,
           "subject": "CN=\"x\",O=a;b", "uri": ["spiffe://a/b,By=x"], "dns": []})
    .to_string()
}

type Headers = Vec<(&'static str, String)>;

/// A preset, what it writes for these certificates, and how many of them that tells.
fn products(chain: &[Vec<u8>]) -> Vec<(Value, Headers, usize)> {
    let (leaf, rest) = chain.split_first().unwrap();
    let named = |preset: &str| json!({"preset": preset, "certificateHeader": "X-Cert"});
    let with = |mut document: Value, field: &str, value: Value| {
        document[field] = value;
        document
    };
    let all = chain.len();
    let join = |encode: fn(&[u8]) -> String, between: &str| {
        let parts: Vec<String> = chain.iter().map(|der| encode(der)).collect();
        parts.join(between)
    };
    let sequences: Vec<String> = rest.iter().map(|der| byte_sequence(der)).collect();
    let mut found: Vec<(Value, Headers, usize)> = vec![
        (
            json!({"preset": "ENVOY"}),
            vec![("x-forwarded-client-cert", element(chain))],
            all,
        ),
        (
            json!({"preset": "ENVOY"}),
            vec![(
                "x-forwarded-client-cert",
                format!("[{}]", element_json(chain)),
            )],
            all,
        ),
        (
            json!({"preset": "AWS_ALB_PASSTHROUGH"}),
            vec![("X-Amzn-Mtls-Clientcert", join(half_escaped, ""))],
            all,
        ),
        (
            json!({"preset": "AWS_ALB_VERIFY"}),
            vec![("X-Amzn-Mtls-Clientcert-Leaf", half_escaped(leaf))],
            1,
        ),
        (named("NGINX"), vec![("x-cert", escaped(leaf))], 1),
        // Without the last line end, as `$ssl_client_cert` is.
        (
            named("NGINX"),
            vec![("X-Cert", pem_with(leaf, "\n\t").trim_end().to_owned())],
            1,
        ),
        (named("HAPROXY"), vec![("X-Cert", base64(leaf))], 1),
        (
            with(named("HAPROXY"), "chainHeader", json!("X-Chain")),
            vec![
                ("X-Cert", base64(leaf)),
                ("X-Chain", base64(&rest.concat())),
            ],
            all,
        ),
        (named("APACHE"), vec![("X-Cert", pem_with(leaf, " "))], 1),
        (
            named("APACHE"),
            vec![("X-Cert", half_escaped(leaf).replace("%0A", "%0a"))],
            1,
        ),
        (
            with(named("APACHE"), "numberedChainHeaders", json!("X-Chain-")),
            vec![
                ("X-Cert", pem_with(leaf, " ")),
                ("X-Chain-1", "(null)".to_owned()),
                (
                    "X-Chain-0",
                    rest.first()
                        .map_or_else(|| "(null)".to_owned(), |der| pem_with(der, " ")),
                ),
            ],
            all,
        ),
        (named("CADDY"), vec![("X-Cert", base64(leaf))], 1),
        (
            json!({"preset": "TRAEFIK"}),
            vec![("X-Forwarded-Tls-Client-Cert", join(base64, ","))],
            all,
        ),
        (
            json!({"preset": "TRAEFIK"}),
            vec![(
                "X-Forwarded-Tls-Client-Cert",
                join(base64, ",")
                    .replace('+', "%2B")
                    .replace('/', "%2F")
                    .replace('=', "%3D"),
            )],
            all,
        ),
        (
            json!({"preset": "AZURE_APP_SERVICE"}),
            vec![("X-ARR-ClientCert", base64(leaf))],
            1,
        ),
        (
            named("AZURE_APPLICATION_GATEWAY"),
            vec![("X-Cert", pem_with(leaf, " "))],
            1,
        ),
        (
            json!({"preset": "CLOUDFLARE_LEGACY"}),
            vec![("Cf-Client-Cert-Der-Base64", base64(leaf))],
            1,
        ),
        (
            json!({"encoding": "PEM", "certificateHeader": "X-Cert", "chainHeader": "X-Chain",
                   "chainHeaderHasEndEntity": true}),
            vec![("X-Cert", escaped(leaf)), ("X-Chain", join(escaped, ""))],
            all,
        ),
    ];
    for preset in ["RFC9440", "CLOUDFLARE"] {
        found.push((
            json!({"preset": preset}),
            vec![
                ("Client-Cert", byte_sequence(leaf)),
                ("Client-Cert-Chain", sequences.join(", ")),
            ],
            all,
        ));
    }
    found.push((
        with(named("GOOGLE_ALB"), "chainHeader", json!("X-Chain")),
        vec![
            ("x-cert", byte_sequence(leaf)),
            ("x-chain", sequences.join(",")),
        ],
        all,
    ));
    found
}

#[test]
fn every_product_is_read() {
    for chain in [ec(), rsa(), ec()[..1].to_vec()] {
        for (document, headers, told) in products(&chain) {
            let source = source_of(document.clone());
            let expected = present(&chain[..told]);
            assert_eq!(
                decode(&source, &headers),
                expected,
                "{document} {headers:?}"
            );
            let names: Vec<String> = source.names().collect();
            for (name, _) in &headers {
                assert!(names.iter().any(|found| found.eq_ignore_ascii_case(name)));
            }
        }
    }
}

#[test]
fn nothing_is_no_certificate() {
    for (document, headers, _) in products(&ec()) {
        let source = source_of(document.clone());
        assert_eq!(decode(&source, &[]), ForwardedChain::Absent, "{document}");
        for nothing in ["", " ", "::", "(null)", "<nil>", "-"] {
            let headers: Headers = headers
                .iter()
                .map(|(name, _)| (*name, nothing.to_owned()))
                .collect();
            assert_eq!(
                decode(&source, &headers),
                ForwardedChain::Absent,
                "{document}"
            );
        }
    }
}

/// A broken end entity is neither missing, nor is the next certificate taken for it.
#[test]
fn broken_is_neither_missing_nor_another() {
    for (document, headers, told) in products(&ec()) {
        let source = source_of(document.clone());
        let with = |value: String| {
            let mut headers = headers.clone();
            headers[0].1 = value;
            headers
        };
        let good = &headers[0].1;
        // The text form ends with a raw name, which may be anything.
        let has_open_end = good.starts_with("By=");
        for broken in [
            "garbage".to_owned(),
            "null".to_owned(),
            "%".to_owned(),
            format!("{good}%"),
            format!("!{good}"),
            format!("{good}!"),
            good.replacen("MII", "!II", 1),
            good[..good.len() - 9].to_owned(),
        ] {
            if has_open_end && broken.starts_with("By=") && !broken.contains("!II") {
                continue;
            }
            let headers = with(broken.clone());
            let found = decode(&source, &headers);
            assert!(is_undecodable(&found), "{document} {broken}\n{found:?}");
        }
        // Twice the same is twice.
        let mut twice = headers.clone();
        twice.push(headers[0].clone());
        assert!(is_undecodable(&decode(&source, &twice)), "{document}");
        // Two in the place of one, as a proxy joins lines.
        if told == 1 {
            let joined = with(format!("{good},{good}"));
            assert!(is_undecodable(&decode(&source, &joined)), "{document}");
        }
        if headers.len() > 1 {
            assert!(is_undecodable(&decode(&source, &headers[1..])) || headers.len() > 2);
            let mut broken = headers.clone();
            let last = broken.last_mut().unwrap();
            last.1 = "garbage".to_owned();
            match decode(&source, &broken) {
                ForwardedChain::Present { end_entity, others } => {
                    assert_eq!(end_entity.der(), ec()[0]);
                    assert!(others.is_err(), "{document}");
                }
                other => panic!("{document}: {other:?}"),
            }
        }
    }
}

#[test]
fn limits_come_before_decoding() {
    for (document, headers, _) in products(&ec()) {
        let source = source_of(document.clone());
        let mut headers = headers;
        headers[0].1 = "%".repeat(128 * 1024 + 1);
        let expected = Refusal::PayloadTooLarge {
            limit_bytes: 16 * 1024,
        };
        assert_eq!(
            decode(&source, &headers),
            ForwardedChain::Undecodable(expected)
        );
    }
    let chain = ec();
    // Different ones: copies of the end entity would not count.
    let many: Vec<Vec<u8>> = core::iter::once(chain[0].clone())
        .chain((0..11_u8).map(|number| vec![0x30, 1, number]))
        .collect();
    let big: Vec<Vec<u8>> = vec![chain[0].clone(), {
        let mut der = vec![0x30, 0x82, 0x50, 0];
        der.resize(4 + 0x5000, 7);
        der
    }];
    for (many, refusal) in [
        (many, Refusal::TooManyCertificates { limit: 10 }),
        (
            big,
            Refusal::PayloadTooLarge {
                limit_bytes: 16 * 1024,
            },
        ),
    ] {
        for (document, headers, told) in products(&many) {
            if told < 2 || document["preset"] == "APACHE" {
                continue;
            }
            match decode(&source_of(document.clone()), &headers) {
                ForwardedChain::Present { others, .. } => {
                    assert_eq!(others, Err(refusal.clone()), "{document}");
                }
                found => {
                    assert_eq!(
                        found,
                        ForwardedChain::Undecodable(refusal.clone()),
                        "{document}"
                    );
                }
            }
        }
    }
}

#[test]
fn numbers_have_no_gap() {
    let chain = ec();
    let source = source_of(json!({"encoding": "PEM", "certificateHeader": "X-Cert",
                                  "numberedChainHeaders": "X-Chain-"}));
    let read = |others: &[(&'static str, &[u8])]| {
        let mut headers = vec![("X-Cert", escaped(&chain[0]))];
        let others = others.iter();
        headers.extend(others.map(|(name, der)| (*name, escaped(der))));
        match decode(&source, &headers) {
            ForwardedChain::Present { others, .. } => others,
            other => panic!("{other:?}"),
        }
    };
    let (a, b) = (&chain[1][..], &rsa()[0][..]);
    assert_eq!(
        read(&[("x-chain-1", b), ("X-Chain-0", a)]),
        Ok(vec![a.to_vec(), b.to_vec()])
    );
    let wrong = |index| Err(DecodeError::Numbering { index }.into());
    assert_eq!(read(&[("X-Chain-1", a)]), wrong(1));
    assert_eq!(read(&[("X-Chain-0", a), ("X-Chain-2", b)]), wrong(2));
    assert_eq!(read(&[("X-Chain-0", a), ("X-Chain-0", b)]), wrong(0));
    let many = "X-Chain-99999999999999999999999";
    assert_eq!(read(&[("X-Chain-0", a), (many, b)]), wrong(usize::MAX));
    // Names that are not the producer's.
    for name in [
        "X-Chain-",
        "X-Chain-00",
        "X-Chain-+0",
        "X_Chain_0",
        "X-Chain-0 ",
    ] {
        assert_eq!(read(&[(name, a)]), Ok(vec![]), "{name}");
    }
}

/// RFC 9440 2.3: a List may span lines. Its other rules are in `rfc9440`.
#[test]
fn the_chain_of_rfc_9440_may_span_lines() {
    let chain = ec();
    let source = source_of(json!({"preset": "RFC9440"}));
    let (a, b) = (byte_sequence(&chain[1]), byte_sequence(&rsa()[0]));
    let read = |lines: &[&str]| {
        let mut headers = vec![("client-cert", byte_sequence(&chain[0]))];
        headers.extend(
            lines
                .iter()
                .map(|line| ("client-cert-chain", (*line).to_owned())),
        );
        match decode(&source, &headers) {
            ForwardedChain::Present { others, .. } => others,
            other => panic!("{other:?}"),
        }
    };
    let both = Ok(vec![chain[1].clone(), rsa()[0].clone()]);
    assert_eq!(read(&[&a, &b]), both);
    assert_eq!(read(&[&format!("{a},{b}")]), both);
    assert!(read(&[&a, "", &b]).is_err());
    // The end entity among them is not one of them.
    assert_eq!(
        read(&[&byte_sequence(&chain[0]), &a]),
        Ok(vec![chain[1].clone()])
    );
}

#[test]
fn a_chain_that_holds_the_end_entity_begins_with_it() {
    let chain = ec();
    let source = source_of(
        json!({"encoding": "BASE64_DER", "certificateHeader": "X-Cert",
        "chainHeader": "X-Chain", "chainHeaderHasEndEntity": true}),
    );
    let headers = [
        ("X-Cert", base64(&chain[0])),
        ("X-Chain", base64(&chain[1])),
    ];
    assert_eq!(
        decode(&source, &headers),
        ForwardedChain::Present {
            end_entity: EndEntity::new(chain[0].clone()),
            others: Err(DecodeError::OtherChain.into()),
        }
    );
}

fn xfcc(elements: usize, relay: Option<&[u8]>, value: &str) -> ForwardedChain {
    let source = source_of(json!({"preset": "ENVOY", "elements": elements}));
    let relay = Relay {
        digest: relay.map(|der| Sha256::digest(der).into()),
    };
    let lines = [(&b"x-forwarded-client-cert"[..], value.as_bytes())];
    source.decode(&lines, relay, &RequestLimits::default())
}

fn refused(fault: XfccFault) -> ForwardedChain {
    ForwardedChain::Undecodable(DecodeError::Xfcc(fault).into())
}

#[test]
fn the_number_of_elements_is_exact() {
    let (client, other) = (element(&ec()), element(&rsa()));
    let count = |expected, found| refused(XfccFault::Count { expected, found });
    let both = format!("{client},{other}");
    assert_eq!(xfcc(1, None, &client), present(&ec()));
    assert_eq!(xfcc(1, None, &both), count(1, 2));
    assert_eq!(xfcc(2, None, &both), present(&ec()));
    assert_eq!(xfcc(2, None, &format!("{client}, {other}")), present(&ec()));
    assert_eq!(xfcc(2, None, &client), count(2, 1));
    assert_eq!(xfcc(2, None, &format!("{both},{other}")), count(2, 3));
    let both = format!("[{},{}]", element_json(&ec()), element_json(&rsa()));
    assert_eq!(xfcc(1, None, &both), count(1, 2));
    assert_eq!(xfcc(2, None, &both), present(&ec()));
}

/// This proxy appended what it knows of its own peer.
#[test]
fn the_relays_own_element_is_not_the_clients() {
    let (client, relay) = (element(&ec()), element(&rsa()));
    let rsa = rsa();
    let relay_der = Some(&rsa[0][..]);
    let both = format!("{client},{relay}");
    assert_eq!(xfcc(2, relay_der, &both), present(&ec()));
    // The relay forwarded nothing.
    assert_eq!(xfcc(2, relay_der, &relay), ForwardedChain::Absent);
    assert_eq!(xfcc(1, relay_der, &relay), ForwardedChain::Absent);
    let swapped = format!("{relay},{client}");
    assert_eq!(xfcc(2, relay_der, &swapped), refused(XfccFault::OwnElement));
    let twice = format!("{relay},{relay}");
    assert_eq!(xfcc(2, relay_der, &twice), refused(XfccFault::OwnElement));
    let upper = relay.replace(&sha256(&rsa[0]), &sha256(&rsa[0]).to_uppercase());
    assert_eq!(xfcc(1, relay_der, &upper), ForwardedChain::Absent);
}

#[test]
fn the_hash_binds_the_certificate() {
    let (ec, rsa) = (ec(), rsa());
    let hash = sha256(&ec[0]);
    let cert = format!("Cert=\"{}\"", escaped(&ec[0]));
    let other = format!("Cert=\"{}\"", escaped(&rsa[0]));
    let chain: String = ec.iter().map(|der| escaped(der)).collect();
    assert_eq!(
        xfcc(1, None, &format!("{cert};Hash={hash}")),
        present(&ec[..1])
    );
    assert_eq!(xfcc(1, None, &cert), refused(XfccFault::NoHash));
    assert_eq!(
        xfcc(1, None, &format!("{cert};Hash=")),
        refused(XfccFault::NoHash)
    );
    // A name adds Cert= where Envoy writes none.
    let forged = format!("Hash={hash};URI=spiffe://a/b;{other}");
    assert_eq!(xfcc(1, None, &forged), refused(XfccFault::OtherHash));
    let not_shown = || ForwardedChain::Undecodable(DecodeError::NotShown.into());
    assert_eq!(xfcc(1, None, &format!("Hash={hash};URI=")), not_shown());
    // Chain= alone is enough if it begins with the end entity, and no other is promoted.
    let alone = format!("Hash={hash};Chain=\"{chain}\"");
    assert_eq!(xfcc(1, None, &alone), present(&ec));
    let shifted = format!("Hash={hash};Chain=\"{}\"", escaped(&ec[1]));
    assert_eq!(xfcc(1, None, &shifted), not_shown());
    let other = format!("Hash={hash};{cert};Chain=\"{}\"", escaped(&ec[1]));
    assert_eq!(
        xfcc(1, None, &other),
        ForwardedChain::Present {
            end_entity: EndEntity::new(ec[0].clone()),
            others: Err(DecodeError::OtherChain.into()),
        }
    );
}

/// Envoy writes the end entity alike in `Cert=` and `Chain=`. Nothing but the work depends on it.
#[test]
fn the_end_entity_in_the_same_text_is_read_as_in_another() {
    let (ec, rsa) = (ec(), rsa());
    let cert = escaped(&ec[0]);
    let blanks = cert.replace("%0A", "%0a");
    let [issuer, other] = [&ec[1], &rsa[0]].map(|der| escaped(der));
    let element = |cert: &str, behind: &str| {
        let hash = sha256(&ec[0]);
        format!(
            "Hash={hash};Cert=\"{cert}\";Chain=\"{}{behind}\"",
            escaped(&ec[0])
        )
    };
    let large = escaped(&vec![0x30; RequestLimits::default().payload_bytes]);
    let behind = [
        String::new(),
        " ".to_owned(),
        issuer.clone(),
        cert.clone(),
        format!("{issuer}{cert}{other}"),
        format!("%0A%20{issuer}"),
        format!("x{issuer}"),
        format!("{issuer}x"),
        "-".to_owned(),
        "-----BEGIN%20".to_owned(),
        issuer.replace("BEGIN", "BEGI"),
        issuer.replace("%0A-----END", "*%0A-----END"),
        format!("{issuer}{}", other.replace("END", "EN")),
        format!("{issuer}%4"),
        format!("{issuer}%zz"),
        "%".to_owned(),
        issuer.repeat(10),
        issuer.repeat(11),
        format!("{}{}", issuer.repeat(10), cert),
        large.clone(),
        format!("{large}{issuer}"),
    ];
    let mut kinds = [0; 2];
    for behind in &behind {
        let found = xfcc(1, None, &element(&cert, behind));
        assert_eq!(found, xfcc(1, None, &element(&blanks, behind)), "{behind}");
        let ForwardedChain::Present { end_entity, others } = found else {
            panic!("{behind}");
        };
        assert_eq!(end_entity.der(), ec[0]);
        kinds[usize::from(others.is_ok())] += 1;
    }
    assert_eq!(kinds, [14, 7]);
    // The text of Cert= may end where no block does, and is then no certificate.
    let cut = element(cert.trim_end_matches("-%0A"), &issuer);
    assert!(is_undecodable(&xfcc(1, None, &cut)));
}

/// What a certificate's names add, behind the real pairs.
#[test]
fn names_that_are_syntax_gain_nothing() {
    let client = element(&ec());
    let forged = element(&rsa());
    for added in [
        format!(",By=x;{forged}"),
        format!(";Cert=\"{}\"", escaped(&rsa()[0])),
        format!(";Hash={}", sha256(&rsa()[0])),
        "\"".to_owned(),
        ";a".to_owned(),
        ",".to_owned(),
    ] {
        let found = xfcc(1, None, &format!("{client}{added}"));
        assert!(is_undecodable(&found), "{added}: {found:?}");
    }
    // Before them: an unbalanced quote of the client's own header.
    let found = xfcc(1, None, &format!("Hash=\"aa,{client}"));
    assert_eq!(found, refused(XfccFault::Quotes));
}

mod conformance;
