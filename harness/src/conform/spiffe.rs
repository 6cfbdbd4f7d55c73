//! SPIFFE verdicts in the schema of `spiffe.json`, as far as the core answers such questions.

use std::path::{Path, PathBuf};

use clap::Args;
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::forwarded::ForwardedChain;
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::path::{Policy, Profile};
use mtls_gate_core::spiffe::{SpiffeId, TrustDomain, svid_id};
use mtls_gate_core::trust::{Trust, TrustStore};
use mtls_gate_core::x509::Certificate;
use mtls_gate_rustcrypto::ALGORITHMS;
use serde::Deserialize;

use super::engine::{Verdict, timed};
use super::{Case, ConformError, Expected, Report, pem_blocks, read, read_json};

const SUITE: &str = "spiffe";

/// `conform spiffe`
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The verdicts, as JSON; SVIDs are read from x509svid/ beside it
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
}

impl Options {
    /// This file.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
        }
    }
}

/// A list that a file does not have is empty.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    spiffe_id: Vec<Id>,
    trust_domain: Vec<Id>,
    segments: Vec<Segments>,
    member_of: Vec<Member>,
    matchers: Vec<Matcher>,
    x509svid_parse: Vec<Svid>,
    x509svid_verify: Vec<SvidVerify>,
}

#[derive(Deserialize)]
struct Id {
    input: String,
    accept: bool,
    #[serde(default)]
    trust_domain: Option<String>,
    #[serde(default)]
    path: Option<String>,
}

#[derive(Deserialize)]
struct Segments {
    segments: Vec<String>,
    accept: bool,
    #[serde(default)]
    path: Option<String>,
}

#[derive(Deserialize)]
struct Member {
    id: String,
    trust_domain: String,
    member: bool,
}

#[derive(Deserialize)]
struct Matcher {
    name: String,
    matcher: String,
    args: Vec<String>,
    results: Vec<MatcherResult>,
}

#[derive(Deserialize)]
struct MatcherResult {
    id: String,
    accept: bool,
}

#[derive(Deserialize)]
struct Svid {
    file: String,
    accept: bool,
    #[serde(default)]
    spiffe_id: Option<String>,
}

#[derive(Deserialize)]
struct SvidVerify {
    case: String,
    accept: bool,
}

fn expected(accept: bool) -> Expected {
    if accept {
        Expected::Accept
    } else {
        Expected::Refuse
    }
}

fn judged(class: &str, id: &str, accept: bool, question: impl FnOnce() -> Verdict) -> Case {
    let id = format!("{class}/{id}");
    Case::judged(SUITE, class, id, expected(accept), timed(question))
}

/// Runs every list.
///
/// # Errors
/// A file cannot be read, or is not of its schema.
pub fn run(options: &Options) -> Result<Report, ConformError> {
    let file: File = read_json(&options.data)?;
    let mut cases = Vec::new();
    cases.extend(file.spiffe_id.iter().map(spiffe_id));
    cases.extend(file.trust_domain.iter().map(trust_domain));
    cases.extend(file.segments.iter().map(segments));
    cases.extend(file.member_of.iter().map(member_of));
    cases.extend(file.matchers.iter().flat_map(matcher));
    let svids = options.data.with_file_name("x509svid");
    for row in &file.x509svid_parse {
        cases.push(svid(row, &read(&svids.join(&row.file))?));
    }
    cases.extend(file.x509svid_verify.iter().map(|row| {
        let id = format!("x509svid_verify/{}", row.case);
        let reason = "described without files; played by the goldens spiffe_*";
        Case::skipped(SUITE, "x509svid_verify", id, expected(row.accept), reason)
    }));
    Ok(Report {
        cases,
        stale: Vec::new(),
    })
}

/// What the core finds, and what the row says that it must find: an ID that is accepted with
/// another trust domain or path is not the one that was meant.
fn found(id: SpiffeId<'_>, trust_domain: Option<&str>, path: Option<&str>) -> Verdict {
    let found = (id.trust_domain().as_str(), id.path());
    if trust_domain.is_some_and(|wanted| wanted != found.0)
        || path.is_some_and(|wanted| wanted != found.1)
    {
        Verdict::Refused(format!("read as trust domain and path {found:?}"))
    } else {
        Verdict::Accepted
    }
}

fn parsed(input: &str, trust_domain: Option<&str>, path: Option<&str>) -> Verdict {
    match SpiffeId::parse(input) {
        Ok(id) => found(id, trust_domain, path),
        Err(_) => Verdict::Refused("not a SPIFFE ID".to_owned()),
    }
}

fn spiffe_id(row: &Id) -> Case {
    judged("spiffe_id", &row.input, row.accept, || {
        parsed(&row.input, row.trust_domain.as_deref(), row.path.as_deref())
    })
}

/// A name, or the name that an ID holds.
fn trust_domain(row: &Id) -> Case {
    judged(
        "trust_domain",
        &row.input,
        row.accept,
        || match TrustDomain::parse(&row.input) {
            Ok(found)
                if row
                    .trust_domain
                    .as_deref()
                    .is_none_or(|name| name == found.as_str()) =>
            {
                Verdict::Accepted
            }
            Ok(found) => Verdict::Refused(format!("read as {:?}", found.as_str())),
            Err(_) => Verdict::Refused("not a trust domain".to_owned()),
        },
    )
}

/// A path made of these segments, each one whole.
fn segments(row: &Segments) -> Case {
    judged(
        "segments",
        &format!("{:?}", row.segments),
        row.accept,
        || {
            if row.segments.iter().any(|segment| segment.contains('/')) {
                // Joined, it would be several.
                return Verdict::Refused("a segment holds a slash".to_owned());
            }
            let path: String = row.segments.iter().map(|s| format!("/{s}")).collect();
            let id = format!("spiffe://trustdomain{path}");
            parsed(&id, Some("trustdomain"), row.path.as_deref())
        },
    )
}

fn is_member(id: &str, trust_domain: &str) -> Verdict {
    match SpiffeId::parse(id) {
        Ok(id) if id.trust_domain().as_str() == trust_domain => Verdict::Accepted,
        Ok(_) => Verdict::Refused("of another trust domain".to_owned()),
        Err(_) => Verdict::Refused("not a SPIFFE ID".to_owned()),
    }
}

fn member_of(row: &Member) -> Case {
    let id = format!("{} in {}", row.id, row.trust_domain);
    judged("member_of", &id, row.member, || {
        is_member(&row.id, &row.trust_domain)
    })
}

/// Membership is a question to the core. The other matchers compare strings, which would test this
/// file only, and the empty ID and the empty trust domain are values of Go that do not exist here.
fn matcher(row: &Matcher) -> Vec<Case> {
    let case = |result: &MatcherResult| {
        let id = format!("{} {:?}: {}", row.name, row.args, result.id);
        match (row.matcher.as_str(), row.args.as_slice()) {
            ("member_of", [domain]) if !domain.is_empty() && !result.id.is_empty() => {
                judged("matchers", &id, result.accept, || {
                    is_member(&result.id, domain)
                })
            }
            _ => Case::skipped(
                SUITE,
                "matchers",
                format!("matchers/{id}"),
                expected(result.accept),
                "the core has no such matcher, or no empty ID",
            ),
        }
    };
    row.results.iter().map(case).collect()
}

/// What the core makes of an X.509-SVID's files. A signing certificate beside it is judged as the
/// trust anchor of the SVID's trust domain, every field of it counting.
fn svid(row: &Svid, file: &[u8]) -> Case {
    let text = String::from_utf8_lossy(file);
    judged("x509svid_parse", &row.file, row.accept, || {
        let certificates = match certificates(&text) {
            Ok(certificates) => certificates,
            Err(what) => return Verdict::Refused(what),
        };
        let Some(end_entity) = certificates.first() else {
            return Verdict::Refused("no PEM block".to_owned());
        };
        let id = match svid_id(end_entity) {
            Ok(id) => id,
            Err(fault) => return Verdict::Refused(fault.to_string()),
        };
        if row
            .spiffe_id
            .as_deref()
            .is_some_and(|wanted| wanted != id.as_str())
        {
            return Verdict::Refused(format!("the ID is {}", id.as_str()));
        }
        match certificates.get(1..) {
            None | Some([]) => Verdict::Accepted,
            Some(issuers) => signed_by(end_entity, id.trust_domain(), issuers),
        }
    })
}

fn certificates(text: &str) -> Result<Vec<Certificate>, String> {
    pem_blocks(text)?
        .into_iter()
        .map(|(_, der)| Certificate::parse(der).map_err(|error| error.to_string()))
        .collect()
}

fn signed_by(
    end_entity: &Certificate,
    domain: TrustDomain<'_>,
    issuers: &[Certificate],
) -> Verdict {
    let store = TrustStore::new(issuers.to_vec(), Vec::new());
    let policy = Policy {
        enforce_anchor_constraints: true,
        ..Policy::new(Profile::Rfc5280, None)
    };
    let limits = RequestLimits::default();
    let client_cert = ClientCert::judge(
        ForwardedChain::from_der(vec![end_entity.der().to_vec()], &limits),
        Some(&Trust::spiffe([(domain.as_str().into(), store)].into())),
        &policy,
        &limits,
        ALGORITHMS,
        Some(end_entity.not_before()),
    );
    match client_cert {
        ClientCert::Unverified { refusal, .. } => Verdict::Refused(refusal.to_string()),
        ClientCert::Off | ClientCert::Verified { .. } => Verdict::Accepted,
    }
}
