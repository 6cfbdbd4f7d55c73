//! The schema of C2SP x509-limbo, version 1.
//!
//! Most cases come from the side of a TLS client that looks for a server. Host names are not
//! matched here. Classes say which cases that concerns, and what must come out of the others. A case
//! that has no class is skipped where the name that is looked for decides it: the core accepts, the
//! suite refuses, and the certificate does not have that name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use mtls_gate_core::path::Profile;
use mtls_gate_core::x509::{Certificate, KeyPurpose, UnixSeconds};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::engine::{Inputs, PolicyInputs, Rules, Verdict, judge, not_done};
use super::peer_name::PeerName;
use super::report::Progress;
use super::{Backend, Case, ConformError, Expected, Outcome, Report, pem_blocks, read, read_json};
use crate::verify::ProfileName;

const SUITE: &str = "limbo";
/// What we do otherwise on purpose.
const EXCEPTIONS: &str = include_str!("../../../testdata/conformance/limbo-exceptions.toml");
/// Classes that are about something else than this validator does.
const NOT_OURS: [(&str, &str); 2] = [
    ("hostname", "class hostname: host names are not matched"),
    (
        "cabf-profile",
        "class cabf-profile: rules of the CA/Browser Forum, not of RFC 5280",
    ),
];

/// `conform limbo`
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The suite, as JSON
    #[arg(long, value_name = "FILE")]
    pub suite: PathBuf,
    /// Classes of the cases, as JSON: {"tests": {ID: [CLASS, …]}}
    #[arg(long, value_name = "FILE")]
    pub classes: Option<PathBuf>,
    /// Whose rules apply
    #[arg(long, value_enum, default_value_t = ProfileName::Rfc5280)]
    pub profile: ProfileName,
    /// With rfc5280: demand what the RFC asks of CAs and anchors too
    #[arg(long)]
    pub strict: bool,
    /// Exceptions to use instead of the built-in list
    #[arg(long, value_name = "FILE")]
    pub exceptions: Option<PathBuf>,
}

impl Options {
    /// The files of a folder laid out as `conformance/limbo`.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self {
            suite: folder.join("limbo-core.json"),
            classes: Some(folder.join("core-classes.json")),
            profile: ProfileName::Rfc5280,
            strict: false,
            exceptions: None,
        }
    }
}

#[derive(Deserialize)]
struct File {
    version: u64,
    testcases: Vec<Testcase>,
}

/// Fields that nothing here asks for are left out; unknown ones are tolerated.
#[derive(Deserialize)]
struct Testcase {
    id: String,
    trusted_certs: Vec<String>,
    untrusted_intermediates: Vec<String>,
    peer_certificate: String,
    #[serde(default)]
    validation_time: Option<String>,
    #[serde(default)]
    signature_algorithms: Vec<String>,
    #[serde(default)]
    key_usage: Vec<String>,
    #[serde(default)]
    extended_key_usage: Vec<String>,
    expected_result: ExpectedResult,
    #[serde(default)]
    expected_peer_name: Option<PeerName>,
    #[serde(default)]
    expected_peer_names: Vec<PeerName>,
    #[serde(default)]
    max_chain_depth: Option<usize>,
    #[serde(default)]
    crls: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum ExpectedResult {
    Success,
    Failure,
}

#[derive(Deserialize)]
struct Classes {
    tests: BTreeMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    #[serde(default)]
    exception: Vec<Exception>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    id: String,
    reason: String,
    /// Under which rules it holds.
    #[serde(default = "default_rules")]
    rules: Vec<String>,
}

fn default_rules() -> Vec<String> {
    vec!["rfc5280".to_owned()]
}

/// Runs the suite.
///
/// # Errors
/// A file cannot be read, or is not of its schema.
pub fn run(options: &Options) -> Result<Report, ConformError> {
    let rules = Rules {
        profile: match options.profile {
            ProfileName::Google => Profile::Google,
            ProfileName::Rfc5280 => Profile::Rfc5280,
        },
        strict: options.strict,
        algorithms: Backend::default().algorithms(),
    };
    let file: File = read_json(&options.suite)?;
    if file.version != 1 {
        return Err(ConformError::Schema {
            path: options.suite.clone(),
            what: format!("version {}, not 1", file.version),
        });
    }
    let classes = match &options.classes {
        Some(path) => read_json::<Classes>(path)?.tests,
        None => BTreeMap::new(),
    };
    let exceptions = exceptions(options.exceptions.as_deref(), &rules)?;
    // Cases with an exception that were judged; of these, the ones that did go another way.
    let (mut met, mut diverged) = (BTreeSet::new(), BTreeSet::new());
    let mut progress = Progress::new(SUITE, file.testcases.len());
    let mut report = Report::default();
    for testcase in file.testcases {
        let listed = classes
            .get(&testcase.id)
            .and_then(|entry| entry.first()?.as_str());
        // The table needs a row for the others too: the first part of their id.
        let class = listed
            .or_else(|| testcase.id.split("::").next())
            .unwrap_or_default()
            .to_owned();
        let inputs = testcase.inputs().map_err(|what| ConformError::Case {
            path: options.suite.clone(),
            id: testcase.id.clone(),
            what,
        })?;
        let mut case = testcase.run(&class, listed.is_some(), inputs, &rules);
        if let Some(reason) = exceptions.get(&case.id)
            && case.verdict != Verdict::NotJudged
            && !matches!(case.outcome, Outcome::Skip(_))
        {
            met.insert(case.id.clone());
            // A panic is never on purpose.
            if case.is_unexpected() && !matches!(case.verdict, Verdict::Panicked(_)) {
                diverged.insert(case.id.clone());
                case.outcome = Outcome::KnownDivergence(reason.clone());
            }
        }
        report.cases.push(case);
        progress.step();
    }
    report.stale = met
        .difference(&diverged)
        .map(|id| format!("{id} ends as the suite says under {}", rules.name()))
        .collect();
    Ok(report)
}

/// Id to reason, of those that hold under these rules.
fn exceptions(
    path: Option<&Path>,
    rules: &Rules,
) -> Result<BTreeMap<String, String>, ConformError> {
    let at = |what: String| ConformError::Schema {
        path: path.map_or_else(|| PathBuf::from("limbo-exceptions.toml"), Path::to_owned),
        what,
    };
    let text = match path {
        Some(path) => String::from_utf8(read(path)?).map_err(|error| at(error.to_string()))?,
        None => EXCEPTIONS.to_owned(),
    };
    let parsed: Exceptions = toml::from_str(&text).map_err(|error| at(error.to_string()))?;
    let mut seen = BTreeSet::new();
    let mut held = BTreeMap::new();
    for exception in parsed.exception {
        if exception.reason.is_empty() {
            return Err(at(format!("{}: no reason", exception.id)));
        }
        for name in exception.rules {
            if !seen.insert((exception.id.clone(), name.clone())) {
                return Err(at(format!("{}: listed twice for {name}", exception.id)));
            }
            if name == rules.name() {
                held.insert(exception.id.clone(), exception.reason.clone());
            }
        }
    }
    Ok(held)
}

impl Testcase {
    fn inputs(&self) -> Result<Inputs, String> {
        let ders = |pems: &[String]| -> Result<Vec<Vec<u8>>, String> {
            let mut ders = Vec::with_capacity(pems.len());
            for pem in pems {
                ders.extend(pem_blocks(pem)?.into_iter().map(|(_, der)| der));
            }
            Ok(ders)
        };
        let peer = pem_blocks(&self.peer_certificate)?.into_iter().next();
        let (_, end_entity) = peer.ok_or("peer_certificate: no PEM block")?;
        let time = match &self.validation_time {
            // Fractions of a second are cut off: certificates name whole seconds.
            Some(text) => OffsetDateTime::parse(text, &Rfc3339)
                .map(|time| UnixSeconds(time.unix_timestamp()))
                .map_err(|error| format!("validation_time: {error}"))?,
            None => now(),
        };
        Ok(Inputs {
            end_entity,
            candidates: ders(&self.untrusted_intermediates)?,
            anchors: ders(&self.trusted_certs)?,
            crls: ders(&self.crls)?,
            time,
            purpose: self.purpose().unwrap_or(None),
            max_intermediates: self.max_chain_depth,
            policies: PolicyInputs::default(),
        })
    }

    /// `Err`: the core takes no such list.
    fn purpose(&self) -> Result<Option<KeyPurpose>, &'static str> {
        match self.extended_key_usage.as_slice() {
            [] => Ok(None),
            [one] => match one.as_str() {
                "anyExtendedKeyUsage" => Ok(None),
                "serverAuth" => Ok(Some(KeyPurpose::ServerAuth)),
                "clientAuth" => Ok(Some(KeyPurpose::ClientAuth)),
                "codeSigning" => Ok(Some(KeyPurpose::CodeSigning)),
                "emailProtection" => Ok(Some(KeyPurpose::EmailProtection)),
                "timeStamping" => Ok(Some(KeyPurpose::TimeStamping)),
                "OCSPSigning" => Ok(Some(KeyPurpose::OcspSigning)),
                _ => Err("asks for a key purpose that the core does not know"),
            },
            _ => Err("asks for several key purposes; the core takes one"),
        }
    }

    fn run(self, class: &str, classified: bool, inputs: Inputs, rules: &Rules) -> Case {
        let expected = match self.expected_result {
            ExpectedResult::Success => Expected::Accept,
            ExpectedResult::Failure => Expected::Refuse,
        };
        let not_ours = NOT_OURS
            .iter()
            .find(|(name, _)| *name == class)
            .map(|(_, reason)| *reason);
        let skip = not_ours
            .or_else(|| self.purpose().err())
            .or_else(|| not_done(&inputs));
        if let Some(reason) = skip {
            return Case::skipped(SUITE, class, self.id, expected, reason);
        }
        let judged = judge(&inputs, rules);
        let otherwise = self.decided_otherwise(&inputs, classified);
        let mut case = Case::judged(SUITE, class, self.id, expected, judged).asking(inputs);
        if case.outcome == Outcome::UnexpectedSuccess
            && let Some(reason) = otherwise
        {
            case.outcome = Outcome::Skip(reason.to_owned());
        }
        case
    }

    /// Why a validator that takes more inputs than ours refuses the case whatever its path is.
    fn decided_otherwise(&self, inputs: &Inputs, classified: bool) -> Option<&'static str> {
        let end_entity = Certificate::parse(inputs.end_entity.clone()).ok()?;
        let usage = end_entity.extensions().key_usage;
        let lacks_usage = |wanted: &String| match wanted.as_str() {
            "digitalSignature" => usage.is_some_and(|usage| !usage.digital_signature()),
            "keyCertSign" => usage.is_some_and(|usage| !usage.key_cert_sign()),
            "cRLSign" => usage.is_some_and(|usage| !usage.crl_sign()),
            _ => true,
        };
        let mut names = self
            .expected_peer_name
            .iter()
            .chain(&self.expected_peer_names);
        if !classified && names.any(|name| !name.is_one_of(&end_entity)) {
            Some("the expected peer name decides: names are not matched")
        } else if self.key_usage.iter().any(lacks_usage) {
            Some("the required key usage decides: it is no input of the core")
        } else if !self.signature_algorithms.is_empty() {
            Some("restricts signature algorithms, which is no input of the core")
        } else {
            None
        }
    }
}

fn now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    UnixSeconds(i64::try_from(seconds).unwrap_or(i64::MAX))
}
