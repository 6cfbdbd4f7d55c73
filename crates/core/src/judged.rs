//! A verdict with all that follows from it and from the configuration, whatever the request.

use core::ops::Deref;
use std::sync::Arc;

use crate::client_cert::ClientCert;
use crate::config::{Config, HeaderRules};
use crate::decision::Report;
use crate::error::Refusal;
use crate::headers::AddedHeader;
use crate::variables::{Variable, Variables};

/// Worked out once for those who present the same; each request is then decided with it.
#[derive(Debug)]
pub struct Judged {
    client_cert: ClientCert,
    /// The values of all variables.
    pub variables: Arc<Variables>,
    /// What requests gain.
    pub request: Arc<[AddedHeader]>,
    /// What responses gain.
    pub response: Arc<[AddedHeader]>,
    /// What operators are told, if no policy says more.
    pub report: Arc<Report>,
}

impl Deref for Judged {
    type Target = ClientCert;

    fn deref(&self) -> &ClientCert {
        &self.client_cert
    }
}

impl Judged {
    /// Renders what is configured.
    #[must_use]
    pub fn new(config: &Config, client_cert: ClientCert) -> Self {
        let variables = Variables::from(&client_cert);
        let mut left = config.limits.rendered_bytes;
        let mut headers_emptied = 0_usize;
        let mut render = |rules: &HeaderRules| -> Arc<[AddedHeader]> {
            let rendered = rules.add.iter().map(|(name, template)| {
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
            });
            rendered.collect()
        };
        let request = render(&config.request);
        let response = render(&config.response);
        let error = variables.get(Variable::Error).to_owned();
        let reason = match &client_cert {
            ClientCert::Unverified { refusal, .. } => refusal.to_string(),
            ClientCert::Verified { .. } if !error.is_empty() => {
                "verified, with variables over their size limits".to_owned()
            }
            ClientCert::Off | ClientCert::Verified { .. } => String::new(),
        };
        let relay_untrusted = matches!(
            client_cert,
            ClientCert::Unverified {
                refusal: Refusal::UntrustedRelay(_),
                ..
            }
        );
        Self {
            report: Arc::new(Report {
                verified: client_cert.is_verified(),
                error,
                reason,
                relay_untrusted,
                headers_emptied,
            }),
            variables: Arc::new(variables),
            request,
            response,
            client_cert,
        }
    }

    /// About what it holds in memory.
    pub(crate) fn bytes(&self) -> usize {
        let variables = Variable::ALL
            .iter()
            .map(|one| self.variables.get(*one).len());
        let headers = self.request.iter().chain(&*self.response);
        let headers = headers.flat_map(|one| [one.name.len(), one.value.len(), HEADER_BYTES]);
        let report = [self.report.error.len(), self.report.reason.len()];
        let fixed = [
            size_of::<Self>(),
            size_of::<Variables>(),
            size_of::<Report>(),
        ];
        variables
            .chain(headers)
            .chain(report)
            .chain(fixed)
            .fold(self.client_cert.bytes(), usize::saturating_add)
    }
}

/// A header beside its name and value, with what the allocator adds.
const HEADER_BYTES: usize = 2 * size_of::<AddedHeader>();
