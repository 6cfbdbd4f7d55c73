//! One state judged: everything that the page shows.

use mtls_gate_core::authz::Request;
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::config::Mode;
use mtls_gate_core::decision::{Decision, Outcome};
use mtls_gate_core::error::Refusal;
use mtls_gate_core::forwarded::ForwardedChain;
use mtls_gate_core::forwarded::header::Relay;
use mtls_gate_core::judged::Judged;
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::path::Observer;
use mtls_gate_core::path::trace::{Outcome as StepOutcome, Trace};
use mtls_gate_core::x509::{Certificate, UnixSeconds};
use mtls_gate_resources::envoy::{Envoy, cluster};
use mtls_gate_resources::yaml;
use mtls_gate_rustcrypto::ALGORITHMS;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Problem;
use crate::certificate::name;
use crate::chain::Chain;
use crate::graph::{EdgeView, Graph, NodeView, Presented};
use crate::setup::Setup;
use crate::state::State;
use crate::trace::{SearchView, searches};
use crate::variables::{VariableView, views};

/// Certificates of the client that are shown; the largest limit of a configuration and one more.
const PRESENTED: usize = RequestLimits::MAX.presented_certificates + 1;
/// Points in time at which a verdict is worked out anew; a chain of ten has 20.
const CHANGES: usize = 60;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    verdict: VerdictView,
    /// How the client certificate was read.
    form: String,
    time: i64,
    time_text: String,
    certificates: Vec<NodeView>,
    edges: Vec<EdgeView>,
    /// Configured certificates that no name leads to.
    beside: usize,
    searches: Vec<SearchView>,
    variables: Vec<VariableView>,
    headers: Headers,
    configuration: Configuration,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VerdictView {
    /// `accepted`, `passedOn`, `refused` or `off`.
    state: &'static str,
    /// One sentence.
    sentence: String,
    /// `client_cert_error`
    error: String,
    /// One sentence, or nothing.
    mend: String,
}

/// What a backend would get.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Headers {
    forwarded: bool,
    request: Vec<(String, String)>,
    response: Vec<(String, String)>,
    emptied: usize,
}

/// What gives this behaviour in Envoy, as YAML.
#[derive(Debug, Serialize)]
struct Configuration {
    document: String,
    filter: String,
    bootstrap: String,
}

/// What the verdict is between two changes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Segment {
    /// Seconds since 1970, inclusive.
    from: i64,
    /// The same.
    to: i64,
    state: &'static str,
    error: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Timeline {
    segments: Vec<Segment>,
}

/// A state, read once, to be judged at any time.
struct Prepared {
    setup: Setup,
    presented: Presented,
    chain: ForwardedChain,
    form: String,
}

impl Prepared {
    fn read(state: &State) -> Result<Self, Problem> {
        let chain = Chain::read(state)?;
        let setup = Setup::read(state, &chain)?;
        let limits = &setup.config.limits;
        let (form, forwarded) = match &chain {
            Chain::Absent => (String::new(), ForwardedChain::Absent),
            Chain::Pem(certificates) => (
                "PEM".to_owned(),
                ForwardedChain::from_der(certificates.clone(), limits),
            ),
            Chain::Header { lines, preset, .. } => {
                let lines: Vec<(&[u8], &[u8])> = lines
                    .iter()
                    .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
                    .collect();
                let source = setup
                    .config
                    .forwarded
                    .as_ref()
                    .map(|forwarded| &forwarded.source);
                let decode = |source: &mtls_gate_core::forwarded::header::HeaderSource| {
                    source.decode(&lines, Relay::default(), limits)
                };
                let forwarded = source.map_or(ForwardedChain::Absent, decode);
                (format!("header, {preset}"), forwarded)
            }
        };
        let presented = match (&chain, &forwarded) {
            (Chain::Pem(certificates), _) => certificates.clone(),
            (_, ForwardedChain::Present { end_entity, others }) => {
                let others = others.iter().flatten().cloned();
                core::iter::once(end_entity.der().to_vec())
                    .chain(others)
                    .collect()
            }
            _ => Vec::new(),
        };
        Ok(Self {
            setup,
            presented: presented
                .into_iter()
                .take(PRESENTED)
                .map(Certificate::parse)
                .collect(),
            chain: forwarded,
            form,
        })
    }

    fn judge(&self, time: UnixSeconds, observer: &mut impl Observer) -> ClientCert {
        let config = &self.setup.config;
        if config.mode == Mode::Off {
            return ClientCert::Off;
        }
        ClientCert::judge_observed(
            self.chain.clone(),
            config.trust.as_ref(),
            &config.policy,
            &config.limits,
            ALGORITHMS,
            Some(time),
            observer,
        )
    }

    fn decide(&self, client_cert: &ClientCert) -> Decision<'_> {
        let config = &self.setup.config;
        let judged = Judged::new(config, client_cert.clone());
        Decision::new(config, &judged, &Request::default())
    }

    fn graph(&self) -> Graph<'_> {
        Graph::new(&self.presented, self.setup.config.trust.as_ref())
    }
}

pub(crate) fn report(state: &State, now: i64) -> Result<Report, Problem> {
    let prepared = Prepared::read(state)?;
    let time = UnixSeconds(state.time.unwrap_or(now));
    let mut trace = Trace::default();
    let client_cert = prepared.judge(time, &mut trace);
    let decision = prepared.decide(&client_cert);
    let graph = prepared.graph();
    let path: &[Certificate] = match &client_cert {
        ClientCert::Verified { path, .. } => path,
        ClientCert::Off | ClientCert::Unverified { .. } => &[],
    };
    let refusal = match &client_cert {
        ClientCert::Unverified { refusal, .. } => Some(refusal),
        ClientCert::Off | ClientCert::Verified { .. } => None,
    };
    let searches = renumbered(searches(&trace), &trace, &graph);
    Ok(Report {
        verdict: verdict(&client_cert, &decision, &trace),
        form: prepared.form.clone(),
        time: time.0,
        time_text: time.to_string(),
        certificates: graph.nodes(path, &trace, refusal),
        edges: graph.edges(&searches, client_cert.is_verified()),
        beside: graph.beside,
        searches,
        variables: views(&decision.variables, &client_cert),
        headers: headers(&decision),
        configuration: configuration(&prepared.setup)?,
        warnings: prepared.setup.warnings.clone(),
    })
}

/// The trace counts its own certificates.
fn renumbered(mut searches: Vec<SearchView>, trace: &Trace, graph: &Graph<'_>) -> Vec<SearchView> {
    let index = |of: usize| {
        let certificate = trace.certificates().get(of)?;
        graph.index(certificate)
    };
    for step in searches.iter_mut().flat_map(|search| &mut search.steps) {
        step.certificate = index(step.certificate).unwrap_or(usize::MAX);
        step.at_fault = step.at_fault.and_then(index);
    }
    searches
}

fn state_of(client_cert: &ClientCert, decision: &Decision<'_>) -> &'static str {
    match (client_cert, &decision.outcome) {
        (ClientCert::Off, _) => "off",
        (ClientCert::Verified { .. }, Outcome::Forward) => "accepted",
        (ClientCert::Unverified { .. }, Outcome::Forward) => "passedOn",
        (_, Outcome::Close | Outcome::Respond { .. }) => "refused",
    }
}

fn verdict(client_cert: &ClientCert, decision: &Decision<'_>, trace: &Trace) -> VerdictView {
    let reason = &decision.report.reason;
    let who = at_fault(client_cert, trace)
        .map(|who| format!(" ({who})"))
        .unwrap_or_default();
    let sentence = match (client_cert, &decision.outcome) {
        (ClientCert::Off, _) => {
            "Client certificates are not asked for: the policy has no mtlsPolicy.".to_owned()
        }
        (ClientCert::Verified { path, .. }, _) => accepted(path, reason),
        (ClientCert::Unverified { .. }, Outcome::Forward) => {
            format!("Not verified, and passed on to the backend with that: {reason}{who}.")
        }
        (_, Outcome::Close) => format!("Refused, the connection is closed: {reason}{who}."),
        (_, Outcome::Respond { status, .. }) => {
            format!("Refused with status {status}: {reason}{who}.")
        }
    };
    let mend = match client_cert {
        ClientCert::Unverified { refusal, .. } => refusal.mend(),
        ClientCert::Verified { .. } if !decision.report.error.is_empty() => {
            "Issue the certificate with fewer or shorter names, or do without these variables."
        }
        ClientCert::Off => "Give a ServerTlsPolicy with mtlsPolicy, or choose a mode.",
        ClientCert::Verified { .. } => "",
    };
    VerdictView {
        state: state_of(client_cert, decision),
        sentence,
        error: decision.report.error.clone(),
        mend: mend.to_owned(),
    }
}

fn accepted(path: &[Certificate], reason: &str) -> String {
    let how = match path {
        [] => "Accepted: the certificate is on the allowlist".to_owned(),
        [.., anchor] => format!(
            "Accepted: a path of {} certificates leads to the trust anchor {}",
            path.len().saturating_add(1),
            name(anchor, anchor.subject())
        ),
    };
    if reason.is_empty() {
        format!("{how}.")
    } else {
        format!("{how}; {reason}.")
    }
}

/// The subject of the certificate that the reason is about.
fn at_fault(client_cert: &ClientCert, trace: &Trace) -> Option<String> {
    let ClientCert::Unverified {
        refusal: Refusal::Path(reason),
        ..
    } = client_cert
    else {
        return None;
    };
    let steps = trace.searches().iter().flat_map(|search| &search.steps);
    let found = steps
        .map(|step| &step.outcome)
        .find_map(|outcome| match outcome {
            StepOutcome::Rejected { certificate, error } if error == reason => Some(*certificate),
            _ => None,
        })?;
    let certificate = trace.certificates().get(found)?;
    Some(name(certificate, certificate.subject()))
}

fn headers(decision: &Decision<'_>) -> Headers {
    let added = |edits: &mtls_gate_core::headers::HeaderEdits<'_>| {
        let pairs = edits.add.iter();
        pairs
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect()
    };
    Headers {
        forwarded: decision.outcome == Outcome::Forward,
        request: added(&decision.request),
        response: added(&decision.response),
        emptied: decision.report.headers_emptied,
    }
}

fn configuration(setup: &Setup) -> Result<Configuration, Problem> {
    let write = |value: &Value| {
        yaml::write(value)
            .map_err(|error| Problem::new("settings", format!("No configuration: {error}.")))
    };
    let envoy = Envoy {
        forwarded: setup.config.forwarded.as_ref(),
        ..Envoy::default()
    };
    let document = &setup.document;
    let filter = envoy.http_filter(document.clone());
    let bootstrap = envoy.bootstrap(document.clone(), cluster("127.0.0.1", 8080, None));
    Ok(Configuration {
        document: write(&Value::Object(document.clone()))?,
        filter: write(&json!([filter]))?,
        bootstrap: write(&bootstrap)?,
    })
}

/// A verdict changes where a validity or a CRL begins or ends, and nowhere else.
pub(crate) fn timeline(state: &State) -> Result<Timeline, Problem> {
    let prepared = Prepared::read(state)?;
    let graph = prepared.graph();
    let mut changes: Vec<i64> = graph
        .certificates()
        .flat_map(|certificate| {
            let behind = certificate.not_after().0.saturating_add(1);
            [certificate.not_before().0, behind]
        })
        .take(CHANGES)
        .collect();
    if let Some(trust) = &prepared.setup.config.trust {
        let crls = trust.stores().flat_map(|store| store.revocation().crls());
        changes.extend(
            crls.flat_map(|crl| {
                let behind = crl.next_update().map(|next| next.0.saturating_add(1));
                core::iter::once(crl.this_update().0).chain(behind)
            })
            .take(CHANGES),
        );
    }
    changes.sort_unstable();
    changes.dedup();
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
        return Ok(Timeline {
            segments: Vec::new(),
        });
    };
    // A little of what is before and behind.
    let margin = last.saturating_sub(*first) / 40;
    let start = first.saturating_sub(margin.max(1));
    let end = last.saturating_add(margin.max(1));
    let starts = core::iter::once(start).chain(changes.iter().copied());
    let ends = changes
        .iter()
        .map(|change| change.saturating_sub(1))
        .chain(core::iter::once(end));
    let mut segments: Vec<Segment> = Vec::new();
    for (from, to) in starts.zip(ends) {
        let client_cert = prepared.judge(UnixSeconds(from), &mut ());
        let decision = prepared.decide(&client_cert);
        let state = state_of(&client_cert, &decision);
        let error = decision.report.error.clone();
        match segments.last_mut() {
            Some(before) if before.state == state && before.error == error => before.to = to,
            _ => segments.push(Segment {
                from,
                to,
                state,
                error,
            }),
        }
    }
    Ok(Timeline { segments })
}
