//! Certificates parsed, a path built and the verdict told: `ClientCert::judge` in both profiles,
//! with signatures as `accept` likes them.

use std::fmt::Write as _;

use libfuzzer_sys::fuzzer_mutate;
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::forwarded::ForwardedChain;
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::path::{MAX_DEPTH, Policy, Profile};
use mtls_gate_core::trust::{Trust, TrustStore};
use mtls_gate_core::variables::{Variable, Variables};
use mtls_gate_core::x509::{Certificate, KeyPurpose, UnixSeconds};

use crate::accept::{self, ALGORITHMS};
use crate::der::{self, Node};
use crate::dice::Dice;
use crate::frames::{Frame, Input};
use crate::{is_one_line, is_printable_ascii};

/// What a frame is, its kind modulo four.
pub const PRESENTED: u8 = 0;
pub const INTERMEDIATE: u8 = 1;
pub const ANCHOR: u8 = 2;
pub const ALLOWLISTED: u8 = 3;
const KINDS: [&str; 4] = ["presented", "intermediate", "anchor", "allowlisted"];

/// 2026-11-21T12:00:00Z, when the golden cases are judged.
const GOLDEN_TIME: UnixSeconds = UnixSeconds(1_795_262_400);
/// More would only be slow.
const CERTIFICATES: usize = 32;
/// Of `path/budget.rs`: signatures, before the configured certificates of one name are added.
const SIGNATURES: usize = 13;

pub fn run(data: &[u8]) {
    let input = Input::read(data);
    let of_kind = |kind: u8| {
        let frames = input.frames.iter().take(CERTIFICATES);
        frames
            .filter(move |frame| frame.kind % 4 == kind)
            .map(|frame| frame.bytes.clone())
    };
    let configured = |kind| -> Vec<Certificate> {
        of_kind(kind)
            .filter_map(|der| Certificate::parse(der).ok())
            .collect()
    };
    let (anchors, intermediates) = (configured(ANCHOR), configured(INTERMEDIATE));
    let namesakes = anchors.len() + intermediates.len();
    let store = TrustStore::new(anchors, intermediates);
    // Half of the runs ask for an X.509-SVID of this one trust domain.
    let trust = if input.settings[0] & 4 == 0 {
        Trust::from(store)
    } else {
        Trust::spiffe([("example.com".into(), store)].into())
    };
    let trust = trust.with_allowlist(&configured(ALLOWLISTED));
    let presented: Vec<Vec<u8>> = of_kind(PRESENTED).collect();
    let time = time(input.settings[1], &presented);

    for profile in [Profile::Google, Profile::Rfc5280] {
        let policy = Policy {
            enforce_anchor_constraints: input.settings[0] & 2 != 0,
            ..Policy::new(
                profile,
                (input.settings[0] & 1 == 0).then_some(KeyPurpose::ClientAuth),
            )
        };
        let judge = |presented: Vec<Vec<u8>>| {
            let limits = RequestLimits::default();
            let chain = ForwardedChain::from_der(presented, &limits);
            ClientCert::judge(
                chain,
                Some(&trust),
                &policy,
                &limits,
                ALGORITHMS,
                Some(time),
            )
        };
        accept::take_count();
        let verdict = judge(presented.clone());
        let signatures = accept::take_count();
        assert!(
            signatures <= SIGNATURES + namesakes,
            "{signatures} signatures"
        );
        let variables = Variables::from(&verdict);
        check_variables(&verdict, &variables);
        check_verified(&verdict, &presented, &trust, &policy, time);
        for other_order in other_orders(&presented) {
            let again = Variables::from(&judge(other_order));
            assert_eq!(variables, again, "{profile:?}: another order");
        }
    }
}

/// The time of the golden cases, or one at the edge of the end entity's validity.
fn time(choice: u8, presented: &[Vec<u8>]) -> UnixSeconds {
    let end_entity = presented.first().cloned().map(Certificate::parse);
    let Some(Ok(end_entity)) = end_entity else {
        return GOLDEN_TIME;
    };
    let (first, last) = (end_entity.not_before(), end_entity.not_after());
    match choice {
        1 => first,
        2 => last,
        3 => UnixSeconds(first.0.saturating_sub(1)),
        4 => UnixSeconds(last.0.saturating_add(1)),
        _ => GOLDEN_TIME,
    }
}

/// The end entity stays first.
fn other_orders(presented: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    if presented.len() < 3 {
        return Vec::new();
    }
    let mut reversed = presented.to_vec();
    reversed[1..].reverse();
    let mut rotated = presented.to_vec();
    rotated[1..].rotate_left(1);
    vec![reversed, rotated]
}

fn check_variables(verdict: &ClientCert, variables: &Variables) {
    for variable in Variable::ALL {
        let value = variables.get(variable);
        assert!(is_printable_ascii(value), "{variable:?}: {value:?}");
    }
    let ClientCert::Unverified { refusal, .. } = verdict else {
        return;
    };
    assert!(is_one_line(&refusal.to_string()), "{refusal}");
    assert_eq!(variables.get(Variable::ChainVerified), "false");
    assert_ne!(variables.get(Variable::Error), "");
    for variable in Variable::ALL {
        let may_be_shown = matches!(
            variable,
            Variable::Present
                | Variable::ChainVerified
                | Variable::Error
                | Variable::Sha256Fingerprint
        );
        assert!(may_be_shown || variables.get(variable).is_empty());
    }
}

/// What holds of every verified certificate, asked again without the search.
fn check_verified(
    verdict: &ClientCert,
    presented: &[Vec<u8>],
    trust: &Trust,
    policy: &Policy,
    time: UnixSeconds,
) {
    let ClientCert::Verified { end_entity, path } = verdict else {
        return;
    };
    assert_eq!(Some(end_entity.der()), presented.first().map(Vec::as_slice));
    let [issuers @ .., anchor] = path.as_slice() else {
        assert!(trust.is_allowlisted(end_entity.der()));
        return;
    };
    let store = trust.store_for(end_entity).unwrap();
    assert!(store.anchors().contains(anchor));
    assert!(path.len() < MAX_DEPTH);
    for issuer in issuers {
        let known = store.intermediates().contains(issuer)
            || presented.iter().any(|der| der == issuer.der());
        assert!(known, "an intermediate from nowhere");
        let constraints = issuer.extensions().basic_constraints;
        assert!(constraints.is_some_and(|constraints| constraints.ca));
        assert!(
            issuer
                .extensions()
                .key_usage
                .is_none_or(|usage| usage.key_cert_sign())
        );
    }
    let below: Vec<&Certificate> = std::iter::once(end_entity).chain(issuers).collect();
    for (subject, issuer) in below.iter().zip(path) {
        assert!(subject.issuer().matches(issuer.subject()));
        assert!(subject.not_before() <= time && time <= subject.not_after());
        assert!(subject.extensions().unprocessed_critical.is_none());
        assert_ne!(subject.signature().last(), Some(&accept::WRONG));
        assert!(policy.profile.check_key(issuer.key()).is_ok());
    }
    if let (Some(purpose), Some(purposes)) =
        (policy.purpose, &end_entity.extensions().extended_key_usage)
    {
        assert!(purposes.contains(&purpose) || purposes.contains(&KeyPurpose::Any));
    }
}

/// Changes certificates as trees, and what role they play; sometimes plain bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = Dice::new(seed);
    let mut input = Input::read(&data[..size]);
    if input.frames.is_empty() || dice.one_in(16) {
        return fuzzer_mutate(data, size, max_size);
    }
    for _ in 0..=dice.below(3) {
        change(&mut input, &mut dice);
    }
    let changed = input.write();
    let size = changed.len().min(max_size).min(data.len());
    data[..size].copy_from_slice(&changed[..size]);
    size
}

fn change(input: &mut Input, dice: &mut Dice) {
    let count = input.frames.len();
    if count == 0 {
        return;
    }
    let (one, other) = (dice.below(count), dice.below(count));
    match dice.below(16) {
        0 => input.frames[one].kind = dice.below(4) as u8,
        1 => input.frames.swap(one, other),
        2 if count > 1 => {
            input.frames.remove(one);
        }
        3 if count < CERTIFICATES => {
            let mut frame = input.frames[one].clone();
            frame.kind = dice.below(4) as u8;
            input.frames.insert(other, frame);
        }
        4 => input.settings = [dice.below(4) as u8, dice.below(6) as u8],
        5 => {
            // Whether the signature verifies.
            if let Some(last) = input.frames[one].bytes.last_mut() {
                *last ^= 0xff;
            }
        }
        6 | 7 => link(&mut input.frames, one, other),
        _ => {
            let donor = der::read(&input.frames[other].bytes).unwrap_or_default();
            change_der(&mut input.frames[one], |nodes| {
                der::mutate(nodes, &donor, dice);
            });
        }
    }
}

fn change_der(frame: &mut Frame, change: impl FnOnce(&mut Vec<Node>)) {
    if let Some(mut nodes) = der::read(&frame.bytes) {
        change(&mut nodes);
        frame.bytes = der::write(&nodes);
    }
}

/// Makes `issuer` the issuer of `subject` by name; key identifiers stay and may contradict.
fn link(frames: &mut [Frame], subject: usize, issuer: usize) {
    // tbsCertificate: version, serialNumber, signature, issuer, validity, subject.
    const ISSUER: usize = 3;
    const SUBJECT: usize = 5;
    let name = der::read(&frames[issuer].bytes).and_then(|nodes| {
        let tbs = nodes.first()?.elements().first()?;
        tbs.elements().get(SUBJECT).cloned()
    });
    let Some(name) = name else { return };
    change_der(&mut frames[subject], |nodes| {
        let tbs = nodes
            .first_mut()
            .and_then(Node::elements_mut)
            .and_then(|certificate| certificate.first_mut())
            .and_then(Node::elements_mut);
        if let Some(slot) = tbs.and_then(|tbs| tbs.get_mut(ISSUER)) {
            *slot = name;
        }
    });
}

pub fn describe(data: &[u8]) -> String {
    let input = Input::read(data);
    let mut text = format!("settings {:?}\n", input.settings);
    for (index, frame) in input.frames.iter().enumerate() {
        let kind = KINDS[usize::from(frame.kind % 4)];
        let parsed = match Certificate::parse(frame.bytes.clone()) {
            Ok(_) => "parsed".to_owned(),
            Err(error) => error.to_string(),
        };
        let _ = writeln!(text, "{index}: {kind}, {parsed}\n{}", hex(&frame.bytes));
    }
    text
}

/// `openssl asn1parse -inform DER` reads it after `xxd -r -p`.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
