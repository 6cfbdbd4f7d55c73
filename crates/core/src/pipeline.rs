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

use std::sync::Arc;

use crate::authz::Request;
use crate::cache::Key;
use crate::client_cert::ClientCert;
use crate::config::{Config, Mode};
use crate::decision::Decision;
use crate::error::Refusal;
use crate::forwarded::header::Relay;
use crate::forwarded::{ForwardedChain, Presented};
use crate::judged::Judged;
use crate::known_issuers::KnownIssuers;
use crate::path::{self, Backend, Signatures};
use crate::relay::{Forwarded, PeerEvidence, RelayFault, RelayRule};
use crate::trust::Trust;
use crate::verdicts::Verdicts;
use crate::window::{Dates, Window};
use crate::x509::UnixSeconds;

/// The header in which Envoy writes the presented chain.
pub const FORWARDED_HEADER: &str = "x-forwarded-client-cert";

/// A configuration, a backend for signatures, and what of their work is remembered. Shared by all
/// requests.
#[derive(Clone, Debug)]
pub struct Pipeline {
    config: Config,
    backend: Backend,
    memory: Option<Arc<Memory>>,
}

/// Bounded in bytes, and never the reason for a verdict: without it there are the same verdicts.
#[derive(Debug)]
struct Memory {
    verdicts: Verdicts,
    signatures: path::Memory,
    issuers: KnownIssuers,
    client_dates: Dates,
    relay_dates: Dates,
}

/// Whose certificate is judged: each has a trust of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Client,
    Relay,
}

impl Pipeline {
    /// Puts them together.
    #[must_use]
    pub fn new(config: Config, backend: impl Into<Backend>) -> Self {
        let backend = backend.into();
        let memory = Memory::new(&config, &backend).map(Arc::new);
        Self {
            config,
            backend,
            memory,
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What an adapter need show of the connection's own certificate.
    #[must_use]
    pub fn peer_evidence(&self) -> PeerEvidence {
        match &self.config.forwarded {
            _ if self.config.mode == Mode::Off => PeerEvidence::None,
            None => PeerEvidence::Certificate,
            Some(forwarded) => forwarded.peer_evidence(),
        }
    }

    /// Judges the client's certificate and decides about one request.
    #[must_use]
    pub fn run(
        &self,
        presented: &Presented<'_>,
        request: &Request<'_>,
        validation_time: Option<UnixSeconds>,
    ) -> Decision<'_> {
        let judged = self.client_cert(presented, request, validation_time);
        self.decide(&judged, request)
    }

    /// The verdict on the client's certificate: the connection's own, or what a relay forwards with
    /// this request.
    #[must_use]
    pub fn client_cert(
        &self,
        presented: &Presented<'_>,
        request: &Request<'_>,
        validation_time: Option<UnixSeconds>,
    ) -> Arc<Judged> {
        match &self.config.forwarded {
            None => self.judge(presented, validation_time),
            Some(forwarded) => self.judge_forwarded(forwarded, presented, request, validation_time),
        }
    }

    /// What becomes of a request of a client whose certificate is judged already.
    #[must_use]
    pub fn decide(&self, judged: &Judged, request: &Request<'_>) -> Decision<'_> {
        Decision::new(&self.config, judged, request)
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
    ) -> Arc<Judged> {
        let limits = &self.config.limits;
        if !forwarded.source.is_in(request.headers) {
            return self.none(Refusal::NotProvided);
        }
        let trusted = match &forwarded.relay {
            RelayRule::Nobody => Err(RelayFault::Nobody),
            RelayRule::Anybody => Ok(()),
            RelayRule::At(addresses) => addresses.hold(request.direct_peer),
            RelayRule::Named { trust, names } => {
                let decode = || presented.decode(limits);
                names.are_of(&self.judged(
                    Whose::Relay,
                    Some(trust),
                    presented.evidence(),
                    decode,
                    validation_time,
                ))
            }
        };
        if let Err(fault) = trusted {
            return self.none(Refusal::UntrustedRelay(fault));
        }
        let mut evidence = forwarded.source.evidence(request.headers);
        if forwarded.source.names_relay() {
            evidence.extend(presented.evidence());
        }
        let decode = || {
            let relay = Relay {
                digest: presented.digest(limits),
            };
            forwarded.source.decode(request.headers, relay, limits)
        };
        let trust = self.config.trust.as_ref();
        self.judged(Whose::Client, trust, evidence, decode, validation_time)
    }

    /// The verdict on the connection's own certificate alone, without what becomes of the request;
    /// with `source.header` that is a relay's, and no client's. Without a time nothing but an
    /// allowlisted certificate is verified.
    #[must_use]
    pub fn judge(
        &self,
        presented: &Presented<'_>,
        validation_time: Option<UnixSeconds>,
    ) -> Arc<Judged> {
        if self.config.mode == Mode::Off {
            return Arc::new(Judged::new(&self.config, ClientCert::Off));
        }
        if self.config.forwarded.is_some() {
            return self.none(Refusal::NotProvided);
        }
        self.judged(
            Whose::Client,
            self.config.trust.as_ref(),
            presented.evidence(),
            || presented.decode(&self.config.limits),
            validation_time,
        )
    }

    fn none(&self, refusal: Refusal) -> Arc<Judged> {
        let none = ClientCert::Unverified {
            fingerprint: None,
            refusal,
        };
        Arc::new(Judged::new(&self.config, none))
    }

    /// The verdict on what `decode` makes of the `evidence`, and of nothing else.
    fn judged(
        &self,
        whose: Whose,
        trust: Option<&Trust>,
        mut evidence: Vec<&[u8]>,
        decode: impl FnOnce() -> ForwardedChain,
        validation_time: Option<UnixSeconds>,
    ) -> Arc<Judged> {
        let memory = self.memory.as_deref().zip(validation_time);
        let remembered = memory.map(|(memory, time)| {
            evidence.push(whose.tag());
            (memory, Key::new(evidence), time)
        });
        if let Some((memory, key, time)) = &remembered
            && let Some(judged) = memory.verdicts.get(key, *time)
        {
            return judged;
        }
        let signatures = self.memory.as_deref().map(|memory| &memory.signatures);
        let mut window = Window::ALWAYS;
        let client_cert = ClientCert::judge_within(
            decode(),
            trust,
            &self.config.policy,
            &self.config.limits,
            Signatures::new(&self.backend, signatures),
            self.memory.as_deref().map(|memory| &memory.issuers),
            validation_time,
            &mut window,
            &mut (),
        );
        let judged = Arc::new(Judged::new(&self.config, client_cert));
        if let Some((memory, key, time)) = remembered {
            memory.dates(whose).narrow(&mut window, time);
            memory.verdicts.insert(&key, &judged, window, time);
        }
        judged
    }
}

impl Memory {
    /// `None`: nothing is to be remembered.
    fn new(config: &Config, backend: &Backend) -> Option<Self> {
        let eighth = config.limits.cache_bytes / 8;
        if eighth == 0 {
            return None;
        }
        let dates = |trust: Option<&Trust>| trust.map(Dates::of).unwrap_or_default();
        let relay = config.forwarded.as_ref().and_then(Forwarded::trust);
        Some(Self {
            verdicts: Verdicts::new(eighth.saturating_mul(4), eighth),
            signatures: path::Memory::new(backend.prepare, eighth / 2, eighth.saturating_mul(2)),
            issuers: KnownIssuers::new(eighth / 2),
            client_dates: dates(config.trust.as_ref()),
            relay_dates: dates(relay),
        })
    }

    fn dates(&self, whose: Whose) -> &Dates {
        match whose {
            Whose::Client => &self.client_dates,
            Whose::Relay => &self.relay_dates,
        }
    }
}

impl Whose {
    fn tag(self) -> &'static [u8] {
        match self {
            Self::Client => b"client",
            Self::Relay => b"relay",
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::{
        AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
    };
    use serde_json::json;

    use super::*;
    use crate::forwarded::pem::{self, Around, Bounds, Label};
    use crate::path::Algorithms;

    /// Whatever is signed.
    #[derive(Debug)]
    struct Unread;

    impl SignatureVerificationAlgorithm for Unread {
        fn verify_signature(&self, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), InvalidSignature> {
            Ok(())
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ECDSA_P256
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ECDSA_SHA256
        }
    }

    const UNREAD: Algorithms = &[&Unread];

    /// Whoever has no trusted certificate adds nothing, and pushes nothing out.
    #[test]
    fn only_proven_issuers_are_known() {
        let chain = |text: &str| {
            let bounds = Bounds {
                blocks: 9,
                der_bytes: 99_999,
            };
            pem::blocks(text.as_bytes(), Label::Certificate, Around::Nothing, bounds).unwrap()
        };
        let good = chain(include_str!(
            "../../../testdata/chains/one_intermediate/chain.pem"
        ));
        let expired = chain(include_str!(
            "../../../testdata/chains/expired_intermediate/chain.pem"
        ));
        let anchor = include_str!("../../../testdata/chains/one_intermediate/anchors.pem");
        let document = json!({
            "trustConfig": {"trustStores": [{"trustAnchors": [{"pemCertificate": anchor}]}]},
            "serverTlsPolicy": {"mtlsPolicy": {"clientValidationMode": "REJECT_INVALID"}},
        });
        let config = Config::from_bytes(document.to_string().as_bytes()).unwrap();
        let pipeline = Pipeline::new(config, UNREAD);
        let issuers = &pipeline.memory.as_ref().unwrap().issuers;
        let verified = |chain: &[&[u8]]| {
            let time = Some(UnixSeconds(1_795_262_400));
            let presented = Presented::Tls(chain);
            let decision = pipeline.run(&presented, &Request::default(), time);
            decision.report.verified
        };
        assert!(!verified(&[&expired[0], &expired[1]]));
        assert!(!verified(&[&good[0], &expired[1]]));
        assert!(issuers.get(&expired[1]).is_none());
        assert!(issuers.get(&good[1]).is_none());
        assert!(verified(&[&good[0], &expired[1], &good[1]]));
        assert!(issuers.get(&expired[1]).is_none());
        let known = issuers.get(&good[1]).unwrap();
        assert_eq!(known.der(), good[1]);
        let mut changed = good[1].clone();
        changed[0] ^= 1;
        assert!(issuers.get(&changed).is_none());
        assert!(issuers.get(&good[0]).is_none());
    }
}
