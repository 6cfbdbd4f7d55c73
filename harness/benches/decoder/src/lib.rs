//! The work that `benches/forwarded_header.rs` and `benches/forwarded_header_wasm.rs` measure, and a
//! filter that does it in Envoy, again and again within one request, so that the request itself
//! hardly counts.

use mtls_gate_core::config::{self, resources};
use mtls_gate_core::forwarded::ForwardedChain;
use mtls_gate_core::forwarded::header::{HeaderSource, Relay};
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::x509::Certificate;
use serde::Deserialize;

#[cfg(target_arch = "wasm32")]
mod context;

/// The header of a request to the filter that says how often.
pub const ROUNDS: &str = "x-rounds";
/// The one that says which [`Work`], by its place.
pub const WORK: &str = "x-work";

/// What the filter's configuration lists: a `source.header`, and the headers of one request.
#[derive(Clone, Debug, Deserialize)]
pub struct Work {
    source: resources::HeaderSource,
    lines: Vec<(String, String)>,
}

/// The same, ready to be done.
#[derive(Clone, Debug)]
pub struct Prepared {
    source: HeaderSource,
    lines: Vec<(String, String)>,
}

impl Work {
    /// Compiles the source.
    #[must_use]
    pub fn prepare(self) -> Option<Prepared> {
        Some(Prepared {
            source: config::source(&self.source).ok()?,
            lines: self.lines,
        })
    }
}

impl Prepared {
    /// Decodes the headers and parses every certificate in them; tells how many there are.
    #[must_use]
    pub fn run(&self) -> usize {
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

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, missing_docs)] // the exports of the proxy-wasm ABI
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(crate::context::Root::default()));
    }}
}
