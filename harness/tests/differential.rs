//! Generated chains, judged by our core, rustls-webpki and OpenSSL, and by what they were made of.
//!
//! The seed is fixed. `MTLS_GATE_DIFFERENTIAL_CASES` sets the number of cases.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::{env, fs};

use mtls_gate::fixtures::der;
use mtls_gate::fixtures::keys::Key;
use mtls_gate::fixtures::mint::{self, Cert, General, Identifier, Issued, eku, key_usage};
use mtls_gate::goldens;
use mtls_gate::oracle::{Class, OpenSsl, Oracle, Ours, Purpose, Question, Webpki, compare};
use mtls_gate_core::forwarded::pem::{self, Around, Bounds, Label};
use mtls_gate_core::x509::UnixSeconds;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

const PEERS: [&dyn Oracle; 2] = [&Webpki, &OpenSsl];

const PEM_BOUNDS: Bounds = Bounds {
    blocks: 1000,
    der_bytes: 16 * 1024 * 1024,
};

/// 2026-11-21
const TIME: UnixSeconds = UnixSeconds(1_795_219_200);

/// What a PKI is made from: a line from the end entity (level 0) to the anchor, and more beside it.
#[derive(Clone, Debug)]
struct Plan {
    /// Links from the end entity to the anchor.
    links: usize,
    changes: Vec<(Index, Change)>,
    beside: Vec<(Index, Beside)>,
    purpose: Option<Purpose>,
    /// Decides the order in which intermediates are presented.
    order: Vec<Index>,
}

/// A change to the certificate of one level.
#[derive(Clone, Debug)]
enum Change {
    Expired,
    NotYetValid,
    /// Signed by another key, with the identifier of the right one.
    WrongKey,
    SignatureBit,
    BasicConstraints(Option<(bool, Option<u8>)>),
    /// A pathLenConstraint as large as it must be, and this much more.
    PathLen(i8),
    KeyUsage(Option<u8>),
    Purposes(Vec<&'static str>),
    SubjectKeyId(KeyId),
    AuthorityKeyId(KeyId),
    CriticalExtension,
    /// Its subject is its issuer's.
    SelfIssued,
    /// The issuer's name in other letters.
    IssuerInCapitals,
    Algorithm(Algorithm),
    /// A common name that looks like a host's.
    HostCommonName,
    Constraint(Side, Index),
}

#[derive(Clone, Debug)]
enum KeyId {
    Absent,
    Wrong,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    P384,
    Ed25519,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Permitted,
    Excluded,
}

/// A certificate beside the line, about the CA of one level.
#[derive(Clone, Debug)]
enum Beside {
    /// Of another PKI.
    Unrelated,
    /// Same name, another key, issued by the same CA.
    Namesake { key_ids: bool },
    /// Same name and key, out of date.
    ExpiredTwin,
    /// Same name and key, issued by another root.
    CrossSigned { trusted: bool },
    /// Another anchor of the name of the line's.
    NamesakeAnchor,
}

fn plan() -> impl Strategy<Value = Plan> {
    let level = any::<Index>;
    let changes = prop::collection::vec((level(), change()), 0..=3);
    let beside = prop::collection::vec((level(), beside()), 0..=3);
    let purpose = prop_oneof![
        3 => Just(Some(Purpose::Client)),
        1 => Just(Some(Purpose::Server)),
        1 => Just(None),
    ];
    let order = prop::collection::vec(any::<Index>(), 12);
    (1..=6_usize, changes, beside, purpose, order).prop_map(
        |(links, changes, beside, purpose, order)| Plan {
            links,
            changes,
            beside,
            purpose,
            order,
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let purposes = prop::sample::subsequence(
        vec![
            eku::ANY,
            eku::SERVER_AUTH,
            eku::CLIENT_AUTH,
            eku::CODE_SIGNING,
        ],
        0..=3,
    );
    let basic_constraints = prop_oneof![
        Just(None),
        Just(Some((false, None))),
        Just(Some((true, None))),
    ];
    let key_usage = prop_oneof![
        Just(None),
        Just(Some(key_usage::DIGITAL_SIGNATURE)),
        Just(Some(key_usage::CRL_SIGN)),
        Just(Some(key_usage::KEY_CERT_SIGN)),
    ];
    let key_id = || prop_oneof![Just(KeyId::Absent), Just(KeyId::Wrong)];
    let algorithm = prop_oneof![Just(Algorithm::P384), Just(Algorithm::Ed25519)];
    let side = prop_oneof![Just(Side::Permitted), Just(Side::Excluded)];
    prop_oneof![
        1 => Just(Change::Expired),
        1 => Just(Change::NotYetValid),
        1 => Just(Change::WrongKey),
        1 => Just(Change::SignatureBit),
        1 => basic_constraints.prop_map(Change::BasicConstraints),
        4 => (-1..=1_i8).prop_map(Change::PathLen),
        2 => key_usage.prop_map(Change::KeyUsage),
        3 => purposes.prop_map(Change::Purposes),
        1 => key_id().prop_map(Change::SubjectKeyId),
        1 => key_id().prop_map(Change::AuthorityKeyId),
        1 => Just(Change::CriticalExtension),
        2 => Just(Change::SelfIssued),
        1 => Just(Change::IssuerInCapitals),
        1 => algorithm.prop_map(Change::Algorithm),
        1 => Just(Change::HostCommonName),
        8 => (side, any::<Index>()).prop_map(|(side, row)| Change::Constraint(side, row)),
    ]
}

fn beside() -> impl Strategy<Value = Beside> {
    prop_oneof![
        Just(Beside::Unrelated),
        any::<bool>().prop_map(|key_ids| Beside::Namesake { key_ids }),
        Just(Beside::ExpiredTwin),
        any::<bool>().prop_map(|trusted| Beside::CrossSigned { trusted }),
        Just(Beside::NamesakeAnchor),
    ]
}

/// A constraint, a name of the end entity, and what RFC 5280 4.2.1.10 says of the two.
struct Row {
    form: u8,
    base: General,
    /// Directory names are the subjects that are there anyway.
    name: Option<General>,
    holds_if_permitted: bool,
    holds_if_excluded: bool,
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |form, base: General, name: Option<General>, inside: bool| {
        rows.push(Row {
            form,
            base,
            name,
            holds_if_permitted: inside,
            holds_if_excluded: !inside,
        });
    };
    for (base, name, inside) in [
        ("example.test", "example.test", true),
        ("example.test", "a.example.test", true),
        ("example.test", "A.b.EXAMPLE.test", true),
        ("example.test", "notexample.test", false),
        ("a.example.test", "example.test", false),
        ("example.test", "*.example.test", true),
        ("example.test", "*.other.test", false),
    ] {
        add(2, mint::dns(base), Some(mint::dns(name)), inside);
    }
    for (base, name, inside) in [
        ("example.test", "https://example.test/path", true),
        ("example.test", "spiffe://example.test/workload", true),
        ("example.test", "https://EXAMPLE.test:8443/", true),
        ("example.test", "https://a.example.test/", false),
        (".example.test", "https://a.example.test/", true),
        (".example.test", "https://example.test/", false),
        (".example.test", "spiffe://other.test/workload", false),
    ] {
        add(6, mint::uri(base), Some(mint::uri(name)), inside);
    }
    let email = |text: &str| General::Email(text.into());
    for (base, name, inside) in [
        ("a@example.test", "a@example.test", true),
        ("a@example.test", "a@EXAMPLE.test", true),
        ("a@example.test", "b@example.test", false),
        ("example.test", "b@example.test", true),
        ("example.test", "b@a.example.test", false),
        (".example.test", "b@a.example.test", true),
        (".example.test", "b@example.test", false),
    ] {
        add(1, email(base), Some(email(name)), inside);
    }
    let net4 = || General::Ip(vec![192, 0, 2, 0, 255, 255, 255, 0]);
    let mut net6 = vec![0; 32];
    net6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    net6[16..20].fill(0xff);
    let mut inside6 = vec![0x55; 16];
    inside6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    for (base, name, inside) in [
        (net4(), vec![192, 0, 2, 7], true),
        (net4(), vec![192, 0, 3, 7], false),
        (net4(), inside6.clone(), false),
        (General::Ip(net6.clone()), inside6, true),
        (General::Ip(net6.clone()), vec![0x55; 16], false),
        (General::Ip(net6), vec![192, 0, 2, 7], false),
    ] {
        add(7, base, Some(General::Ip(name)), inside);
    }
    for (organisation, inside) in [("mtls-gate", true), ("MTLS-Gate", true), ("other", false)] {
        let base = General::Directory(der::name(&[("O", organisation)]));
        add(4, base, None, inside);
    }
    // A common name is no dNSName.
    rows.push(Row {
        form: 2,
        base: mint::dns("example.test"),
        name: None,
        holds_if_permitted: true,
        holds_if_excluded: true,
    });
    // A wildcard that stands for names inside and outside is permitted by no subtree and excluded
    // by any (docs/validation.md), and a URI without a host's name satisfies no constraint.
    for (form, base, name) in [
        (2, mint::dns("a.example.test"), mint::dns("*.example.test")),
        (6, mint::uri("example.test"), mint::uri("urn:example:test")),
        (
            6,
            mint::uri("example.test"),
            mint::uri("https://192.0.2.1/"),
        ),
    ] {
        rows.push(Row {
            form,
            base,
            name: Some(name),
            holds_if_permitted: false,
            holds_if_excluded: false,
        });
    }
    rows
}

/// A certificate of the PKI, with what RFC 5280 6.1 asks of it.
#[derive(Clone)]
struct Node {
    issued: Issued,
    signature_holds: bool,
    self_issued: bool,
    constraints_hold: bool,
}

struct Pki {
    question: Question,
    /// Whether a path holds, as far as the plan says.
    expected: Option<bool>,
}

fn label(level: usize) -> String {
    format!("level {level}")
}

/// A CA without extKeyUsage. Keys are made once: that takes longer than all the rest.
fn ca(label: &str) -> Cert {
    thread_local! {
        static MADE: RefCell<BTreeMap<String, Cert>> = RefCell::default();
    }
    MADE.with_borrow_mut(|made| {
        let make = || Cert::ca(label).eku(&[]);
        made.entry(label.to_owned()).or_insert_with(make).clone()
    })
}

fn build(plan: &Plan) -> Pki {
    let top = plan.links;
    let rows = rows();
    let at = |level: usize| {
        let all = plan.changes.iter();
        all.filter(move |(index, _)| index.index(top + 1) == level)
            .map(|(_, change)| change)
    };
    let mut names = Vec::new();
    let mut constrained_forms = Vec::new();
    let mut line: Vec<Node> = Vec::new();
    // The end entity comes last, with the names that the constraints above it are about.
    for level in (0..=top).rev() {
        let sans = if level == 0 {
            names.clone()
        } else {
            Vec::new()
        };
        // Intermediates below that count in path lengths.
        let below = (1..level).filter(|below| !at(*below).any(|one| one.is_self_issued()));
        let below = below.count();
        let node = make(level, below, line.last(), at(level), &rows, sans, |row| {
            constrained_forms.push(row.form);
            names.extend(row.name.clone());
        });
        line.push(node);
    }
    line.reverse();

    let mut anchors = vec![line[top].issued.der.clone()];
    let mut intermediates: Vec<Vec<u8>> = line[1..top]
        .iter()
        .map(|node| node.issued.der.clone())
        .collect();
    let mut holds = path_holds(&line, plan.purpose);
    for (number, (index, beside)) in plan.beside.iter().enumerate() {
        // An intermediate of the line, or none if it has none.
        let level = if top > 1 { 1 + index.index(top - 1) } else { 0 };
        let other = format!("beside {number}");
        let root = || ca(&other).self_signed();
        let mut clean = ca(&label(level));
        clean.subject = line[level].issued.cert.subject.clone();
        clean.key = line[level].issued.cert.key.clone();
        clean.serial = mint::serial(&other);
        match beside {
            Beside::Unrelated => {
                let root = root();
                let below = ca(&label(0)).subject(mint::subject(&other)).by(&root);
                intermediates.extend([below.der, root.der]);
            }
            Beside::NamesakeAnchor => {
                let mut namesake = ca(&other);
                namesake.subject = line[top].issued.cert.subject.clone();
                anchors.push(namesake.self_signed().der);
            }
            _ if level == 0 => {}
            Beside::Namesake { key_ids } => {
                clean.key = ca(&other).key;
                if !key_ids {
                    clean = clean.without_key_identifiers();
                }
                intermediates.push(clean.by(&line[level + 1].issued).der);
            }
            Beside::ExpiredTwin => {
                intermediates.push(clean.expired().by(&line[level + 1].issued).der);
            }
            Beside::CrossSigned { trusted } => {
                let root = root();
                let cross = Node {
                    issued: clean.by(&root),
                    signature_holds: true,
                    self_issued: false,
                    constraints_hold: true,
                };
                intermediates.push(cross.issued.der.clone());
                if *trusted {
                    anchors.push(root.der.clone());
                    let mut path = line[..level].to_vec();
                    path.push(cross.clone());
                    path.push(Node {
                        issued: root,
                        ..cross
                    });
                    holds |= path_holds(&path, plan.purpose);
                }
            }
        }
    }
    for (position, index) in plan.order.iter().enumerate() {
        if position < intermediates.len() {
            let other = index.index(intermediates.len());
            intermediates.swap(position, other);
        }
    }
    let mut forms = constrained_forms.clone();
    forms.sort_unstable();
    forms.dedup();
    // Two constraints of one form bear upon each other's names: the peers alone decide.
    let clear = forms.len() == constrained_forms.len();
    Pki {
        question: Question {
            end_entity: line[0].issued.der.clone(),
            intermediates,
            anchors,
            time: TIME,
            purpose: plan.purpose,
            max_intermediates: None,
            crls: Vec::new(),
        },
        expected: clear.then_some(holds),
    }
}

fn make<'a>(
    level: usize,
    below: usize,
    parent: Option<&Node>,
    changes: impl Iterator<Item = &'a Change>,
    rows: &[Row],
    sans: Vec<General>,
    mut constrained: impl FnMut(&Row),
) -> Node {
    let mut cert = ca(&label(level)).sans(sans);
    if level == 0 {
        cert = cert
            .basic_constraints(None)
            .key_usage(Some(key_usage::DIGITAL_SIGNATURE));
    }
    let mut wrong_key = false;
    let mut self_issued = false;
    let mut constraints_hold = true;
    for change in changes {
        match change {
            Change::Expired => cert = cert.expired(),
            Change::NotYetValid => cert = cert.not_yet_valid(),
            Change::WrongKey => wrong_key = true,
            Change::SignatureBit => cert.flip_signature_bit = true,
            Change::BasicConstraints(value) => cert.basic_constraints = *value,
            Change::PathLen(more) => {
                let path_len = i8::try_from(below)
                    .unwrap_or(i8::MAX)
                    .saturating_add(*more)
                    .max(0);
                cert.basic_constraints = Some((true, Some(path_len.unsigned_abs())));
            }
            Change::KeyUsage(bits) => cert.key_usage = *bits,
            Change::Purposes(purposes) => cert.eku.clone_from(purposes),
            Change::SubjectKeyId(id) => cert.subject_key_identifier = id.identifier(),
            Change::AuthorityKeyId(id) => cert.authority_key_identifier = id.identifier(),
            Change::CriticalExtension if cert.extensions.is_empty() => {
                cert = cert.extension(mint::UNKNOWN_EXTENSION, true, der::null());
            }
            Change::CriticalExtension => {}
            Change::SelfIssued => {
                if let Some(parent) = parent {
                    self_issued = true;
                    cert.subject = parent.issued.cert.subject.clone();
                }
            }
            Change::IssuerInCapitals => {
                if let Some(parent) = parent {
                    cert.issuer = Some(capitals(&parent.issued.cert.subject));
                }
            }
            Change::HostCommonName if level == 0 => {
                cert.subject = der::name(&[("O", "mtls-gate"), ("CN", "host.other.test")]);
                self_issued = false;
            }
            Change::HostCommonName => {}
            Change::Algorithm(Algorithm::P384) => cert.key = Key::p384(&label(level)),
            Change::Algorithm(Algorithm::Ed25519) => cert.key = Key::ed25519(&label(level)),
            Change::Constraint(side, row) => {
                let row = &rows[row.index(rows.len())];
                // An end entity's constraints bind nobody.
                if level == 0 {
                    continue;
                }
                constrained(row);
                match side {
                    Side::Permitted => {
                        cert.permitted.push(row.base.clone());
                        constraints_hold &= row.holds_if_permitted;
                    }
                    Side::Excluded => {
                        cert.excluded.push(row.base.clone());
                        constraints_hold &= row.holds_if_excluded;
                    }
                }
            }
        }
    }
    let signature_holds = !wrong_key && !cert.flip_signature_bit;
    let issued = match parent {
        None => cert.self_signed(),
        Some(parent) => {
            let mut signer = parent.issued.clone();
            if wrong_key {
                let right = signer.cert.key.identifier();
                if matches!(cert.authority_key_identifier, Identifier::Computed) {
                    cert.authority_key_identifier = Identifier::Given(right);
                }
                signer.cert.key = ca("wrong key").key;
            }
            cert.by(&signer)
        }
    };
    Node {
        issued,
        signature_holds,
        self_issued,
        constraints_hold,
    }
}

impl Change {
    fn is_self_issued(&self) -> bool {
        matches!(self, Self::SelfIssued)
    }
}

impl KeyId {
    fn identifier(&self) -> Identifier {
        match self {
            Self::Absent => Identifier::Absent,
            Self::Wrong => Identifier::Given(vec![0x5a; 20]),
        }
    }
}

/// ASCII letters of a DER name made large: its types and lengths hold none.
fn capitals(name: &[u8]) -> Vec<u8> {
    let start = name.len().saturating_sub("level 0".len());
    let mut name = name.to_vec();
    name[start..].make_ascii_uppercase();
    name
}

/// RFC 5280 6.1 over what the certificates were made from.
fn path_holds(path: &[Node], purpose: Option<Purpose>) -> bool {
    let Some((anchor, below)) = path.split_last() else {
        return false;
    };
    let required = match purpose {
        Some(Purpose::Client) => Some(eku::CLIENT_AUTH),
        Some(Purpose::Server) => Some(eku::SERVER_AUTH),
        None => None,
    };
    let each_holds = below.iter().enumerate().all(|(position, node)| {
        let cert = &node.issued.cert;
        let in_time = cert.not_before == mint::NOT_BEFORE && cert.not_after == mint::NOT_AFTER;
        let purpose_allowed = required.is_none_or(|required| {
            cert.eku.is_empty() || cert.eku.contains(&required) || cert.eku.contains(&eku::ANY)
        });
        let counted = |node: &&Node| !node.self_issued;
        let may_issue = position == 0 || {
            let intermediates_below = below[1..position].iter().filter(counted).count();
            let allowed_below = match cert.basic_constraints {
                Some((true, path_len)) => Some(path_len.map_or(usize::MAX, usize::from)),
                _ => None,
            };
            let may_sign = cert
                .key_usage
                .is_none_or(|bits| bits & key_usage::KEY_CERT_SIGN != 0);
            may_sign && allowed_below.is_some_and(|allowed| intermediates_below <= allowed)
        };
        node.signature_holds
            && in_time
            && purpose_allowed
            && may_issue
            && cert.extensions.is_empty()
            && node.constraints_hold
    });
    // 6.1.1 d: of the anchor only name, key and constraints count.
    each_holds && anchor.constraints_hold
}

fn runner(default_cases: u32) -> TestRunner {
    let cases = env::var("MTLS_GATE_DIFFERENTIAL_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default_cases);
    let config = Config {
        cases,
        failure_persistence: None,
        // A failure is told within seconds, if not in its smallest form.
        max_shrink_iters: 64,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// The question in PEM, and what everybody says of it.
fn story(what: &str, question: &Question, expected: Option<bool>) -> TestCaseError {
    let mut text = format!("{what}\nexpected: {expected:?}\n");
    let oracles: [&dyn Oracle; 3] = [&Ours::default(), &Webpki, &OpenSsl];
    for oracle in oracles {
        let verdict = oracle.judge(question);
        let (name, accepted, reason) = (oracle.name(), verdict.accepted, verdict.reason);
        text.push_str(&format!("{name}: accepted {accepted} {reason}\n"));
    }
    let ends = [("end entity", std::slice::from_ref(&question.end_entity))];
    for (role, ders) in ends.into_iter().chain([
        ("intermediate", question.intermediates.as_slice()),
        ("anchor", question.anchors.as_slice()),
    ]) {
        for certificate in ders {
            text.push_str(&format!("{role}\n{}", der::pem("CERTIFICATE", certificate)));
        }
    }
    TestCaseError::fail(text)
}

#[test]
fn peers_agree_or_a_class_says_why_not() {
    let figures: RefCell<BTreeMap<String, u32>> = RefCell::default();
    let count = |what: String| *figures.borrow_mut().entry(what).or_default() += 1;
    let outcome = runner(1500).run(&plan(), |plan| {
        let Pki { question, expected } = build(&plan);
        let ours = Ours::default().judge(&question);
        count(format!("accepted {}, expected {expected:?}", ours.accepted));
        let mut out_of_budget = false;
        for peer in PEERS {
            let asked = core::iter::once((String::new(), question.clone(), expected));
            for difference in compare(asked, peer) {
                let class = difference.class;
                count(format!("{}: {class}", peer.name()));
                out_of_budget |= class == Class::OursBudget;
                if class == Class::Unexplained {
                    return Err(story("unexplained difference", &question, expected));
                }
            }
        }
        if expected.is_some_and(|expected| expected != ours.accepted) && !out_of_budget {
            return Err(story("our core against the plan", &question, expected));
        }
        Ok(())
    });
    for (what, number) in figures.into_inner() {
        eprintln!("{number:6}  {what}");
    }
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// All orders of up to four intermediates, rotations and reversals of more.
fn orders(ders: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    if ders.len() <= 4 {
        return permutations(ders);
    }
    let mut orders = Vec::new();
    for by in 0..ders.len() {
        let mut rotated = ders.to_vec();
        rotated.rotate_left(by);
        let mut reversed = rotated.clone();
        reversed.reverse();
        orders.extend([rotated, reversed]);
    }
    orders
}

fn permutations(ders: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    if ders.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in 0..ders.len() {
        let mut rest = ders.to_vec();
        let taken = rest.remove(first);
        for mut order in permutations(&rest) {
            order.insert(0, taken.clone());
            all.push(order);
        }
    }
    all
}

#[test]
fn the_order_presented_changes_nothing() {
    let outcome = runner(120).run(&plan(), |plan| {
        let Pki { question, expected } = build(&plan);
        let answer = |question: &Question| {
            let verdict = Ours::default().judge(question);
            let wire = Ours::default().refusal(question).map(|(_, wire)| wire);
            (verdict, wire)
        };
        let first = answer(&question);
        for intermediates in orders(&question.intermediates) {
            let reordered = Question {
                intermediates,
                ..question.clone()
            };
            let other = answer(&reordered);
            if other != first {
                let what = format!("another order, another answer: {first:?} and {other:?}");
                return Err(story(&what, &reordered, expected));
            }
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn peers_judge_the_goldens_as_we_do_or_a_class_says_why_not() {
    let mut questions = Vec::new();
    for golden in goldens::all().unwrap() {
        let folder = goldens::testdata().join("chains").join(&golden.name);
        let ders = |file: &str| match fs::read(folder.join(file)) {
            Ok(text) => pem::blocks(&text, Label::Certificate, Around::AnyText, PEM_BOUNDS)
                .unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        // An allowlist is nothing that a peer has, and some cases are about bytes that are no PEM.
        let mut chain = ders("chain.pem");
        if chain.is_empty() || !ders("allowlist.pem").is_empty() {
            continue;
        }
        let end_entity = chain.remove(0);
        chain.extend(ders("intermediates.pem"));
        let expected = (golden.case.profile == "RFC5280" && golden.case.mode == "REJECT_INVALID")
            .then(|| golden.expected.decision == "forward");
        let question = Question {
            end_entity,
            intermediates: chain,
            anchors: ders("anchors.pem"),
            time: golden.time().unwrap(),
            purpose: Some(Purpose::Client),
            max_intermediates: None,
            crls: Vec::new(),
        };
        questions.push((golden.name, question, expected));
    }
    assert!(questions.len() >= 150, "{} questions", questions.len());
    for peer in PEERS {
        for difference in compare(questions.iter().cloned(), peer) {
            let (id, name) = (&difference.id, peer.name());
            assert_ne!(
                difference.class,
                Class::Unexplained,
                "{id}, {name}: {} {}",
                difference.ours.reason,
                difference.theirs.reason
            );
            assert!(!difference.contradicts_us(), "{id}, {name}");
        }
    }
}
