//! Forwarded headers, decoded and parsed.

use mtls_gate_core::config::{self, resources};
use mtls_gate_core::forwarded::ForwardedChain;
use mtls_gate_core::forwarded::header::{HeaderSource, Relay};
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::x509::Certificate;
use serde::Deserialize;

/// A `source.header`, and the headers of one request.
#[derive(Clone, Debug, Deserialize)]
pub struct Headers {
    source: resources::HeaderSource,
    lines: Vec<(String, String)>,
}

/// The same with the source compiled.
#[derive(Clone, Debug)]
pub struct Prepared {
    source: HeaderSource,
    lines: Vec<(String, String)>,
}

impl Headers {
    pub(crate) fn prepare(self) -> Option<Prepared> {
        Some(Prepared {
            source: config::source(&self.source).ok()?,
            lines: self.lines,
        })
    }
}

impl Prepared {
    /// Decodes the headers and parses every certificate in them; tells how many there are.
    pub(crate) fn run(&self) -> usize {
        let lines: Vec<(&[u8], &[u8])> = self
            .lines
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        let limits = RequestLimits::default();
        let chain = self.source.decode(&lines, Relay::default(), &limits);
        let ForwardedChain::Present { end_entity, others } = chain else {
            return 0;
        };
        let others = others.unwrap_or_default();
        let all = core::iter::once(end_entity.into_der()).chain(others);
        all.filter_map(|der| Certificate::parse(der).ok()).count()
    }
}
