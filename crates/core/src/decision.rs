//! What becomes of a request. An adapter carries it out and decides nothing.

use crate::client_cert::ClientCert;
use crate::config::{Config, HeaderRules, Mode, Rejection};
use crate::headers::{AddedHeader, HeaderEdits};
use crate::pipeline::FORWARDED_HEADER;
use crate::variables::{Variable, Variables};

/// The whole outcome for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'c> {
    /// Forward or refuse.
    pub outcome: Outcome,
    /// Edits of the request's headers. Trailers lose the same names and gain nothing.
    pub request: HeaderEdits<'c>,
    /// Edits of the response's headers.
    pub response: HeaderEdits<'c>,
    /// For logs, access logs and counters.
    pub report: Report,
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
    /// The value of `client_cert_error`: wire strings joined by `,`, or empty.
    pub error: String,
    /// Why, in words; empty if all is well. One line, none of the client's own text.
    pub reason: String,
    /// Headers left empty because the rendered values passed the limit.
    pub headers_emptied: usize,
}

impl<'c> Decision<'c> {
    /// Decides by the configuration's mode.
    #[must_use]
    pub fn new(config: &'c Config, client_cert: &ClientCert) -> Self {
        let variables = Variables::from(client_cert);
        let error = variables.get(Variable::Error).to_owned();
        let refused = config.mode == Mode::RejectInvalid && !client_cert.is_verified();
        let outcome = match &config.rejection {
            _ if !refused => Outcome::Forward,
            Rejection::Close => Outcome::Close,
            Rejection::Respond {
                status,
                body,
                show_reason,
            } => Outcome::Respond {
                status: *status,
                body: if *show_reason {
                    format!("{body}{error}\n")
                } else {
                    body.clone()
                },
            },
        };
        let mut left = config.limits.rendered_bytes;
        let mut headers_emptied = 0_usize;
        let mut render = |rules: &'c HeaderRules, keep| HeaderEdits {
            remove: Some(&rules.remove),
            keep,
            add: rules
                .add
                .iter()
                .map(|(name, template)| {
                    let length = template.rendered_len(&variables);
                    let value = match left.checked_sub(length) {
                        Some(rest) => {
                            left = rest;
                            template.render(&variables)
                        }
                        None => {
                            headers_emptied = headers_emptied.saturating_add(1);
                            String::new()
                        }
                    };
                    AddedHeader {
                        name: name.clone(),
                        value,
                    }
                })
                .collect(),
        };
        // The forwarded header tells all about a certificate, so it goes on with a verified one only.
        let keep =
            (config.keep_forwarded_header && client_cert.is_verified()).then_some(FORWARDED_HEADER);
        let request = render(&config.request, keep);
        let response = render(&config.response, None);
        let reason = match client_cert {
            ClientCert::Unverified { refusal, .. } => refusal.to_string(),
            ClientCert::Verified { .. } if !error.is_empty() => {
                "verified, with variables over their size limits".to_owned()
            }
            ClientCert::Off | ClientCert::Verified { .. } => String::new(),
        };
        Self {
            outcome,
            request,
            response,
            report: Report {
                verified: client_cert.is_verified(),
                error,
                reason,
                headers_emptied,
            },
        }
    }
}
