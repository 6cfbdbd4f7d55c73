//! The work that `benches/stages.rs` and `benches/wasm.rs` measure, and a filter that does it
//! in Envoy, again and again within one request, so that the request itself hardly counts.

mod decode;
mod signature;

use serde::Deserialize;

pub use crate::signature::How;

#[cfg(target_arch = "wasm32")]
mod context;

/// The header of a request to the filter that says how often.
pub const ROUNDS: &str = "x-rounds";
/// The one that says which [`Work`], by its place.
pub const WORK: &str = "x-work";

/// One entry of the filter's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Work {
    /// Decode the headers of a request.
    Decode(Box<decode::Headers>),
    /// Verify a signature.
    Verify(signature::Signed),
}

/// The same, ready to be done.
#[derive(Debug)]
pub enum Prepared {
    /// Decode the headers of a request.
    Decode(Box<decode::Prepared>),
    /// Verify a signature.
    Verify(Box<signature::Prepared>),
}

impl Work {
    /// Does what is done once, however often the work is.
    #[must_use]
    pub fn prepare(self) -> Option<Prepared> {
        match self {
            Self::Decode(headers) => headers.prepare().map(Box::new).map(Prepared::Decode),
            Self::Verify(signed) => signed.prepare().map(Box::new).map(Prepared::Verify),
        }
    }
}

impl Prepared {
    /// Does it; tells how many certificates were parsed, or signatures verified or keys prepared.
    #[must_use]
    pub fn run(&self) -> usize {
        match self {
            Self::Decode(work) => work.run(),
            Self::Verify(work) => usize::from(work.run()),
        }
    }
}

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, missing_docs)] // the exports of the proxy-wasm ABI
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(crate::context::Root::default()));
    }}
}
