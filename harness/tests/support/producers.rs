//! Clients of real producers, what they present and what they try.
#![allow(dead_code)] // not every test uses all of it

use mtls_gate::fixtures::der;
use mtls_gate::fixtures::keys::RsaKeys;
use mtls_gate::fixtures::mint::{Cert, General, Issued, dns, eku, uri};
use mtls_gate::goldens::testdata;
use mtls_gate::testbed::client::{self, ClientIdentity, ClientOptions, Connection, Outcome};
use mtls_gate::testbed::forwarded::percent_encoded;
use mtls_gate::testbed::front::{ALLOW, Front, Pair, pem};
use mtls_gate::testbed::http1::Response;
use mtls_gate::testbed::producers::{Producer, Running, Variant};
use mtls_gate::testbed::recorder::{Head, Recorder};
use openssl::sha::sha256;
use openssl::ssl::SslVersion;

pub(crate) const HOST: &str = "producer.test";

/// A client: its chain as presented, end entity first; none presents nothing.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) chain: Vec<Issued>,
}

impl Client {
    pub(crate) fn new(name: &'static str, chain: &[&Issued]) -> Self {
        Self {
            name,
            chain: chain.iter().map(|one| (*one).clone()).collect(),
        }
    }

    pub(crate) fn identity(&self) -> Option<ClientIdentity> {
        let end_entity = self.chain.first()?;
        Some(ClientIdentity {
            chain_pem: self.chain.iter().map(pem).collect::<String>().into(),
            key_pem: end_entity.cert.key.pkcs8_pem().into(),
        })
    }

    pub(crate) fn refs(&self) -> Vec<&Issued> {
        self.chain.iter().collect()
    }

    /// What is presented, DER.
    pub(crate) fn presented(&self) -> Vec<Vec<u8>> {
        self.chain.iter().map(|one| one.der.clone()).collect()
    }
}

pub(crate) struct Bed {
    pub(crate) recorder: Recorder,
    pub(crate) server: Pair,
    pub(crate) root: Issued,
    /// Each issued by the one before it.
    pub(crate) intermediates: [Issued; 2],
    pub(crate) none: Client,
    /// Its subject and names are full of syntax.
    pub(crate) ec: Client,
    /// The same, behind two intermediates, and it presents the root as well.
    pub(crate) rsa: Client,
    /// Its names are an element of `x-forwarded-client-cert` with the certificate of `rsa`.
    pub(crate) forger: Client,
    /// Nothing is odd about it, and no intermediate is in between.
    pub(crate) direct: Client,
    pub(crate) untrusted: Client,
    /// Its certificate alone has 13 kB.
    pub(crate) fat: Client,
    /// Its certificate alone has more than 16 kB.
    pub(crate) huge: Client,
    pub(crate) front: Front,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let front = Front::new(ALLOW).unwrap();
        let server = Cert::client("producer server")
            .sans(vec![dns(HOST)])
            .eku(&[eku::SERVER_AUTH])
            .self_signed();
        let root = Cert::ca("producers root").self_signed();
        let intermediate = Cert::ca("producers intermediate").by(&root);
        let second = Cert::ca("producers second intermediate").by(&intermediate);
        let subject = der::name(&[("C", "US"), ("O", "Acme, \"Inc\"; x=1"), ("CN", "Jürgen")]);
        let odd = |cert: Cert| {
            cert.subject(subject.clone()).sans(vec![
                uri("spiffe://a/b,By=x;Hash=00;Cert=\"F\""),
                uri("https://h.example/a;b,c=d?e=\"f\""),
                dns("d.example;Cert=\"F2\""),
            ])
        };
        let keys = RsaKeys {
            folder: testdata().join("keys"),
        };
        let many = |label, count| {
            let names = (0..count).map(|n| dns(&format!("host-{n}.mtls-gate.test")));
            Cert::client(label).sans(names.collect()).by(&intermediate)
        };
        let ec = odd(Cert::client("producers ec")).by(&intermediate);
        let rsa = Cert::client("producers rsa").key(keys.load("2048-a").unwrap());
        let rsa = odd(rsa).by(&second);
        let forger = Cert::client("producers forger")
            .sans(forging(&rsa))
            .by(&intermediate);
        let direct = Cert::client("producers direct").by(&root);
        let stranger = Cert::ca("producers stranger").self_signed();
        let untrusted = Cert::client("producers untrusted").by(&stranger);
        let fat = many("producers fat", 500);
        let huge = many("producers huge", 700);
        Self {
            recorder: Recorder::start().unwrap(),
            server: front.pair("producer", &[&server]).unwrap(),
            none: Client::new("none", &[]),
            ec: Client::new("ec", &[&ec, &intermediate]),
            rsa: Client::new("rsa", &[&rsa, &second, &intermediate, &root]),
            forger: Client::new("forger", &[&forger, &intermediate]),
            direct: Client::new("direct", &[&direct]),
            untrusted: Client::new("untrusted", &[&untrusted]),
            fat: Client::new("fat", &[&fat, &intermediate]),
            huge: Client::new("huge", &[&huge, &intermediate]),
            front,
            root,
            intermediates: [intermediate, second],
        }
    }

    pub(crate) fn clients(&self) -> [&Client; 8] {
        [
            &self.none,
            &self.ec,
            &self.rsa,
            &self.forger,
            &self.direct,
            &self.untrusted,
            &self.fat,
            &self.huge,
        ]
    }

    pub(crate) fn start(&self, variant: Variant) -> Running {
        Running::start(variant, &self.server, self.recorder.address()).unwrap()
    }
}

/// Names that add somebody's certificate to the header, where they are not escaped: as an element,
/// and as keys of a JSON object.
fn forging(stolen: &Issued) -> Vec<General> {
    let digest = sha256(&stolen.der);
    let hash: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    let text = pem(stolen);
    let escaped = percent_encoded(&text);
    let lines = text.replace('\n', "\\n");
    vec![
        uri(&format!(
            "https://a.test/b,Hash={hash};Cert=\"{escaped}\";URI=https://a.test/b"
        )),
        dns(&format!(
            "a\"],\"hash\":\"{hash}\",\"cert\":\"{lines}\",\"dns\":[\"a"
        )),
    ]
}

pub(crate) fn connect(
    running: &Running,
    client: &Client,
    version: Option<SslVersion>,
) -> Connection {
    let options = ClientOptions {
        max_version: version,
        ..ClientOptions::default()
    };
    client::connect(running.port(), HOST, client.identity().as_ref(), &options).unwrap()
}

/// The head that reached the backend, or the status of the producer's own answer.
pub(crate) fn head(outcome: Outcome) -> Result<Head, u16> {
    match outcome {
        Outcome::Response(Response {
            status: 200, body, ..
        }) => Ok(Head::parse(&body)),
        Outcome::Response(response) => Err(response.status),
        Outcome::Closed { .. } => Err(0),
    }
}

pub(crate) fn get(running: &Running, client: &Client, lines: &[&str]) -> Result<Head, u16> {
    head(
        connect(running, client, None)
            .get(HOST, "/", lines)
            .unwrap(),
    )
}

/// How many of the presented certificates arrive.
pub(crate) fn forwarded(variant: Variant, client: &Client) -> usize {
    let most = match variant {
        Variant::EnvoyText | Variant::EnvoyNames | Variant::EnvoyJson | Variant::HaproxyBase64 => {
            usize::MAX
        }
        Variant::ApacheRaw | Variant::ApacheEscaped => 3,
        _ => 1,
    };
    client.chain.len().min(most)
}

pub(crate) fn attempts(variant: Variant, name: &str, stolen: &str) -> Vec<Vec<String>> {
    let line = |name: &str, value: &str| format!("{name}: {value}");
    let (upper, lower) = (name.to_uppercase(), name.to_lowercase());
    let mut all = vec![
        vec![line(name, stolen)],
        vec![line(&upper, stolen)],
        vec![line(&lower, stolen), line(name, stolen)],
        vec![line(name, ""), line(name, stolen)],
        vec![line(name, stolen), line(name, "")],
        // A space before the colon, a folded line, a bare line feed, a bare return.
        vec![format!("{name} : {stolen}")],
        vec![format!("{name}:\r\n {stolen}")],
        vec![format!("X-A: b\n{name}: {stolen}")],
        vec![format!("X-A: b\r{name}: {stolen}")],
        vec![line(name, "garbage")],
        vec![line("Connection", &upper), line(name, stolen)],
        vec![line(name, &"A".repeat(100_000))],
        vec![line(name, stolen), line("X-Pad", &"A".repeat(100_000))],
        vec![line(name, stolen); 300],
    ];
    // Each dash by itself and all of them. Few backends take other letters than the underscore for
    // a dash, and Envoy and Caddy let some of them pass.
    let others: &[&str] = match variant.producer() {
        Producer::Envoy => &["_"],
        Producer::Caddy => &["_", "."],
        _ => &["_", ".", "~"],
    };
    for other in others {
        all.push(vec![line(&name.replace('-', other), stolen)]);
        for (at, _) in name.match_indices('-') {
            let mut spelt = name.to_owned();
            spelt.replace_range(at..=at, other);
            all.push(vec![line(&spelt, stolen), line(name, stolen)]);
        }
    }
    all
}
