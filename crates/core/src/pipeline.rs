//! The way of one request through the gate. Start reading here.
//!
//! ```text
//! connection ──decode──▶ ForwardedChain ──parse──▶ Certificate ──build + validate──▶ ValidatedPath
//!  (adapter)  forwarded/                  x509/                  path/ + trust            │ or PathError
//!                                                                                         ▼
//! HeaderEdits ◀──render── Template ◀──── Variables ◀──────────────────────────────── ClientCert
//!  or refusal  template.rs               variables.rs                               client_cert.rs
//!       └── Decision (decision.rs): the adapter only carries it out
//! ```

use crate::authz::Request;
use crate::client_cert::ClientCert;
use crate::config::{Config, Mode};
use crate::decision::Decision;
use crate::forwarded::Presented;
use crate::path::Algorithms;
use crate::x509::UnixSeconds;

/// The header in which Envoy writes the presented chain.
pub const FORWARDED_HEADER: &str = "x-forwarded-client-cert";

/// A configuration and the signature algorithms to validate with. Shared by all requests; keeps
/// nothing of any of them.
#[derive(Clone, Debug)]
pub struct Pipeline {
    config: Config,
    algorithms: Algorithms,
}

impl Pipeline {
    /// Puts the two together.
    #[must_use]
    pub fn new(config: Config, algorithms: Algorithms) -> Self {
        Self { config, algorithms }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Judges the client's certificate and decides about one request.
    #[must_use]
    pub fn run(
        &self,
        presented: &Presented<'_>,
        request: &Request<'_>,
        validation_time: Option<UnixSeconds>,
    ) -> Decision<'_> {
        self.decide(&self.judge(presented, validation_time), request)
    }

    /// What becomes of a request of a client whose certificate is judged already.
    #[must_use]
    pub fn decide(&self, client_cert: &ClientCert, request: &Request<'_>) -> Decision<'_> {
        Decision::new(&self.config, client_cert, request)
    }

    /// The verdict alone, without what becomes of the request. Without a time nothing but an
    /// allowlisted certificate is verified.
    #[must_use]
    pub fn judge(
        &self,
        presented: &Presented<'_>,
        validation_time: Option<UnixSeconds>,
    ) -> ClientCert {
        if self.config.mode == Mode::Off {
            return ClientCert::Off;
        }
        ClientCert::judge(
            presented.decode(&self.config.limits),
            self.config.trust.as_ref(),
            &self.config.policy,
            &self.config.limits,
            self.algorithms,
            validation_time,
        )
    }
}
