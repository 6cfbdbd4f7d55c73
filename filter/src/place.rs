//! Where in the proxy a context stands. The ABI does not say, and a configuration may be put into
//! the wrong place.

use mtls_gate_core::config::Role;
use mtls_gate_core::pipeline::Pipeline;

use crate::handle::Host;

/// What a context is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An HTTP stream.
    Request,
    /// A connection, in a network filter.
    Connection,
}

impl Place {
    /// Asks the host, at a context's creation. A host that knows no such properties puts the
    /// configuration where it belongs.
    #[must_use]
    pub fn of(host: &impl Host, pipeline: Option<&Pipeline>) -> Self {
        let knows = |path: &[&str]| host.property(path).is_some_and(|value| !value.is_empty());
        if knows(&["request", "protocol"]) {
            return Self::Request;
        }
        if knows(&["connection", "id"]) {
            return Self::Connection;
        }
        match pipeline.map(|pipeline| pipeline.config().role) {
            Some(Role::NetworkFilter) => Self::Connection,
            Some(Role::HttpFilter) | None => Self::Request,
        }
    }
}
