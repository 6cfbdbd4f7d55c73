//! The way of one request through the gate. Start reading here.
//!
//! ```text
//! connection ──decode──▶ ForwardedChain ──parse──▶ Certificate ──build + validate──▶ ValidatedPath
//!  or header  forwarded/                  x509/                  path/ + trust            │ or PathError
//!                                                                                         ▼
//! HeaderEdits ◀──render── Template ◀──── Variables ◀──────────────────────────────── ClientCert
//!  or refusal  template.rs               variables.rs                               client_cert.rs
//!       └── Decision (decision.rs): the adapter only carries it out
//! ```

use crate::authz::Request;
use crate::client_cert::ClientCert;
use crate::config::{Config, Mode};
use crate::decision::Decision;
use crate::error::Refusal;
use crate::forwarded::Presented;
use crate::forwarded::header::Relay;
use crate::path::Algorithms;
use crate::relay::{Forwarded, RelayFault, RelayRule};
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
        let client_cert = self.client_cert(presented, request, validation_time);
        self.decide(&client_cert, request)
    }

    /// The verdict on the client's certificate: the connection's own, or what a relay forwards with
    /// this request.
    #[must_use]
    pub fn client_cert(
        &self,
        presented: &Presented<'_>,
        request: &Request<'_>,
        validation_time: Option<UnixSeconds>,
    ) -> ClientCert {
        match &self.config.forwarded {
            None => self.judge(presented, validation_time),
            Some(forwarded) => self.judge_forwarded(forwarded, presented, request, validation_time),
        }
    }

    /// What becomes of a request of a client whose certificate is judged already.
    #[must_use]
    pub fn decide(&self, client_cert: &ClientCert, request: &Request<'_>) -> Decision<'_> {
        Decision::new(&self.config, client_cert, request)
    }

    /// With `source.header` the connection is a relay's. It is judged first, by its own trust, and
    /// only if it is believed does anybody look at what it forwards: the client's certificate is that
    /// or none, and never the relay's.
    fn judge_forwarded(
        &self,
        forwarded: &Forwarded,
        presented: &Presented<'_>,
        request: &Request<'_>,
        validation_time: Option<UnixSeconds>,
    ) -> ClientCert {
        let limits = &self.config.limits;
        if !forwarded.source.is_in(request.headers) {
            return none(Refusal::NotProvided);
        }
        let judge = |chain, trust| {
            let policy = &self.config.policy;
            ClientCert::judge(
                chain,
                trust,
                policy,
                limits,
                self.algorithms,
                validation_time,
            )
        };
        let trusted = match &forwarded.relay {
            RelayRule::Nobody => Err(RelayFault::Nobody),
            RelayRule::Anybody => Ok(()),
            RelayRule::At(addresses) => addresses.hold(request.direct_peer),
            RelayRule::Named { trust, names } => {
                names.are_of(&judge(presented.decode(limits), Some(trust)))
            }
        };
        if let Err(fault) = trusted {
            return none(Refusal::UntrustedRelay(fault));
        }
        let relay = Relay {
            digest: presented.digest(limits),
        };
        let chain = forwarded.source.decode(request.headers, relay, limits);
        judge(chain, self.config.trust.as_ref())
    }

    /// The verdict on the connection's own certificate alone, without what becomes of the request;
    /// with `source.header` that is a relay's, and no client's. Without a time nothing but an
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
        if self.config.forwarded.is_some() {
            return none(Refusal::NotProvided);
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

fn none(refusal: Refusal) -> ClientCert {
    ClientCert::Unverified {
        fingerprint: None,
        refusal,
    }
}
