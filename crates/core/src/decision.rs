//! What becomes of a request. An adapter carries it out and decides nothing.

use std::sync::Arc;

use crate::authz::{DENIED_BY_AUTHZ_POLICY, Request, Verdict};
use crate::client_cert::ClientCert;
use crate::config::{Config, HeaderRules, Mode, Rejection};
use crate::headers::{AddedHeader, HeaderEdits};
use crate::judged::Judged;
use crate::pipeline::FORWARDED_HEADER;
use crate::variables::Variables;

/// The whole outcome for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'c> {
    /// Forward or refuse.
    pub outcome: Outcome,
    /// Edits of the request's headers. Trailers lose the same names and gain nothing.
    pub request: HeaderEdits<'c>,
    /// Edits of the response's headers.
    pub response: HeaderEdits<'c>,
    /// What the AuthzPolicies say; `None` if the certificate refused the request already.
    pub authz: Option<Verdict<'c>>,
    /// The values of all variables, for logs; requests have them in headers.
    pub variables: Arc<Variables>,
    /// For logs, access logs and counters.
    pub report: Arc<Report>,
}

/// Forward or refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To the backend, with the edits.
    Forward,
    /// Reset the stream; no response.
    Close,
    /// Answer in the backend's place.
    Respond {
        /// The status code.
        status: u16,
        /// The body.
        body: String,
    },
}

/// What operators are told; clients are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The client's certificate is verified.
    pub verified: bool,
    /// Wire strings joined by `,`, or empty: those of `client_cert_error`, and
    /// `denied_by_authz_policy`.
    pub error: String,
    /// Why, in words; empty if all is well. One line, none of the client's own text.
    pub reason: String,
    /// A certificate was forwarded by somebody who is not believed, and counts for nothing.
    pub relay_untrusted: bool,
    /// Headers left empty because the rendered values passed the limit.
    pub headers_emptied: usize,
}

impl<'c> Decision<'c> {
    /// Decides by the configuration's mode, then by its policies.
    #[must_use]
    pub fn new(config: &'c Config, judged: &Judged, request: &Request<'_>) -> Self {
        let refused = config.mode == Mode::RejectInvalid && !judged.is_verified();
        let authz = (!refused).then(|| authorize(config, request, judged));
        let denied = authz.as_ref().filter(|verdict| !verdict.is_allowed());
        let outcome = match &config.rejection {
            _ if denied.is_some() => Outcome::Respond {
                status: config.denial.status,
                body: config.denial.body.clone(),
            },
            _ if !refused => Outcome::Forward,
            Rejection::Close => Outcome::Close,
            Rejection::Respond {
                status,
                body,
                show_reason,
            } => Outcome::Respond {
                status: *status,
                body: if *show_reason {
                    format!("{body}{}\n", judged.report.error)
                } else {
                    body.clone()
                },
            },
        };
        // The forwarded header tells all about a certificate, so it goes on with a verified one only.
        let keep =
            (config.keep_forwarded_header && judged.is_verified()).then_some(FORWARDED_HEADER);
        let edits = |rules: &'c HeaderRules, keep, add: &Arc<[AddedHeader]>| HeaderEdits {
            remove: Some(&rules.remove),
            keep,
            add: Arc::clone(add),
        };
        let report = match denied {
            None => Arc::clone(&judged.report),
            Some(verdict) => {
                let report = Report::clone(&judged.report);
                Arc::new(Report {
                    error: joined(report.error, ",", DENIED_BY_AUTHZ_POLICY.to_owned()),
                    reason: joined(report.reason, "; ", verdict.detail()),
                    ..report
                })
            }
        };
        Self {
            outcome,
            request: edits(&config.request, keep, &judged.request),
            response: edits(&config.response, None, &judged.response),
            authz,
            variables: Arc::clone(&judged.variables),
            report,
        }
    }
}

/// Policies see the headers that go on: what a client sends under a name that the gate emits is no
/// more than a forgery. What is emitted they do not see, as behind Google's load balancers.
fn authorize<'c>(
    config: &'c Config,
    request: &Request<'_>,
    client_cert: &ClientCert,
) -> Verdict<'c> {
    let stays = |name: &[u8]| !config.request.remove.hold(name);
    let headers: Vec<(&[u8], &[u8])> = if config.authz_policies.is_empty() {
        Vec::new()
    } else {
        let lines = request.headers.iter().copied();
        lines.filter(|(name, _)| stays(name)).collect()
    };
    let request = Request {
        headers: &headers,
        ..*request
    };
    config.authz_policies.evaluate(&request, client_cert)
}

fn joined(first: String, separator: &str, second: String) -> String {
    if first.is_empty() {
        second
    } else {
        format!("{first}{separator}{second}")
    }
}
