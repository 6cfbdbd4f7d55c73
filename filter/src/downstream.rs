//! One downstream connection, judged once, before anything behind this filter reads of it. Knows no
//! proxy-wasm types, as `handle` does not.

use std::rc::Rc;

use mtls_gate_core::authz::Request;
use mtls_gate_core::config::{Mode, Role};
use mtls_gate_core::decision::{Outcome, Report};
use mtls_gate_core::direct_peer;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::pipeline::Pipeline;

use crate::handle::{DIRECT_PEER_PROPERTY, Flow, Host, Level, Shown, tell};

/// The value of `client_cert_error` of a connection, in access logs as
/// `%FILTER_STATE(wasm.mtls_gate_connection_error:PLAIN)%`. Not the name that requests use: what is
/// set on a connection is seen, and overwritten, by all of its requests.
pub const ERROR_PROPERTY: &str = "mtls_gate_connection_error";
/// The reason in words, as `%FILTER_STATE(wasm.mtls_gate_connection_reason:PLAIN)%`.
pub const REASON_PROPERTY: &str = "mtls_gate_connection_reason";

/// One connection. Nothing outlives it.
#[derive(Debug)]
pub struct Downstream {
    /// Absent if the configuration never came: such a connection is closed.
    pipeline: Option<Rc<Pipeline>>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unjudged,
    Passed,
    /// For good, whether or not the host closed it.
    Refused,
}

impl Downstream {
    /// A connection under this configuration.
    #[must_use]
    pub fn new(pipeline: Option<Rc<Pipeline>>) -> Self {
        Self {
            pipeline,
            state: State::Unjudged,
        }
    }

    /// The handshake is still to come. Where connections are refused, no filter behind this one
    /// learns of the connection yet: one that speaks first would speak to anybody.
    pub fn on_new_connection(&self) -> Flow {
        let lets_everybody_in = self.pipeline.as_ref().is_some_and(|pipeline| {
            let config = pipeline.config();
            config.role == Role::NetworkFilter && config.mode != Mode::RejectInvalid
        });
        if lets_everybody_in {
            Flow::Continue
        } else {
            Flow::Stop
        }
    }

    /// The first data comes behind the handshake: only then does the host show the certificate.
    pub fn on_data(&mut self, host: &impl Host) -> Flow {
        if self.state == State::Unjudged {
            // Refused until the end is reached: there is no way out of here that lets it pass.
            self.state = State::Refused;
            if self.judge(host) {
                self.state = State::Passed;
            } else {
                // If it fails, the connection goes on to nowhere.
                let _ = host.close_connection();
            }
        }
        match self.state {
            State::Passed => Flow::Continue,
            State::Unjudged | State::Refused => Flow::Stop,
        }
    }

    /// Whether the connection may go on.
    fn judge(&self, host: &impl Host) -> bool {
        let Some(pipeline) = &self.pipeline else {
            return false;
        };
        if pipeline.config().role != Role::NetworkFilter {
            host.log(
                Level::Error,
                "a configuration with role HTTP_FILTER in a network filter, connection closed",
            );
            return false;
        }
        hand_over_direct_peer(host);
        let shown = Shown::by(host, pipeline.peer_evidence());
        let connection = shown.connection(&[]);
        let decision = pipeline.run(
            &Presented::Connection(connection),
            // There are no policies on requests in this role.
            &Request::default(),
            host.now(),
        );
        let passes = decision.outcome == Outcome::Forward;
        report(host, &decision.report, passes);
        passes
    }
}

/// At this place X-Forwarded-For is not read yet, so that this is the address itself.
fn hand_over_direct_peer(host: &impl Host) {
    let address = host
        .property(&["source", "address"])
        .and_then(|text| direct_peer::parse(&text));
    match address {
        Some(address) => host.set_property(DIRECT_PEER_PROPERTY, &address.to_string()),
        None => host.log(Level::Debug, "the connection has no address to hand over"),
    }
}

fn report(host: &impl Host, report: &Report, passes: bool) {
    if report.verified {
        host.count("mtls_gate.connections_verified");
    }
    if !passes {
        host.count("mtls_gate.connections_closed");
    }
    let told = if passes {
        (Level::Debug, "connection let through")
    } else {
        (Level::Info, "connection closed")
    };
    tell(host, report, [ERROR_PROPERTY, REASON_PROPERTY], told);
}
