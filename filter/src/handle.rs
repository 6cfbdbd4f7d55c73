//! One request, from the host's calls to the core and back. Knows no proxy-wasm types, so that it
//! runs natively in tests as it does in a proxy.

use core::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use mtls_gate_core::authz::Request;
use mtls_gate_core::config::{DirectPeerAddress, Role};
use mtls_gate_core::decision::{Outcome, Report};
use mtls_gate_core::direct_peer;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::forwarded::connection::Connection;
use mtls_gate_core::headers::{AddedHeader, HeaderEdits};
use mtls_gate_core::pipeline::{FORWARDED_HEADER, Pipeline};
use mtls_gate_core::relay::PeerEvidence;
use mtls_gate_core::x509::UnixSeconds;

/// The value of `client_cert_error`, in access logs as `%FILTER_STATE(wasm.mtls_gate_error:PLAIN)%`.
pub const ERROR_PROPERTY: &str = "mtls_gate_error";
/// The reason in words, as `%FILTER_STATE(wasm.mtls_gate_reason:PLAIN)%`.
pub const REASON_PROPERTY: &str = "mtls_gate_reason";
/// Address and port of the direct peer, set on the connection by a network filter. No request sets
/// it: all requests of the connection would see that.
pub const DIRECT_PEER_PROPERTY: &str = "mtls_gate_direct_peer";
/// The address that a request is taken to come from, as `%FILTER_STATE(wasm.mtls_gate_sender:PLAIN)%`.
pub const SENDER_PROPERTY: &str = "mtls_gate_sender";

/// A message's headers or trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderMap {
    /// Request headers.
    Request,
    /// Request trailers.
    RequestTrailers,
    /// Response headers.
    Response,
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For those who look for it.
    Debug,
    /// For operators.
    Info,
    /// The set-up is dangerous.
    Warning,
    /// Something is wrong with the set-up.
    Error,
}

/// The host refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRefused;

/// One header: name and value.
pub type Line<'a> = (&'a [u8], &'a [u8]);

/// What a request needs of a proxy. No call panics, whatever the host answers.
pub trait Host {
    /// Seconds since 1970, if the host has a clock.
    fn now(&self) -> Option<UnixSeconds>;
    /// What `read` makes of all headers, in order.
    ///
    /// # Errors
    /// The host does not give them.
    fn headers<T>(
        &self,
        map: HeaderMap,
        read: impl FnOnce(&[Line<'_>]) -> T,
    ) -> Result<T, HostRefused>;
    /// Removes all headers of exactly this name.
    ///
    /// # Errors
    /// The host does not do it.
    fn remove_header(&self, map: HeaderMap, name: &[u8]) -> Result<(), HostRefused>;
    /// Adds a header behind the others.
    ///
    /// # Errors
    /// The host does not do it.
    fn add_header(&self, map: HeaderMap, name: &str, value: &str) -> Result<(), HostRefused>;
    /// A property, if there is one.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;
    /// Leaves a value for access logs; hosts without that ignore it.
    fn set_property(&self, name: &str, value: &str);
    /// Adds one to a counter; hosts without metrics ignore it.
    fn count(&self, counter: &str);
    /// Writes a line.
    fn log(&self, level: Level, line: &str);
    /// Ends the stream without a response.
    ///
    /// # Errors
    /// The host does not do it.
    fn reset(&self) -> Result<(), HostRefused>;
    /// Answers in the backend's place.
    ///
    /// # Errors
    /// The host does not do it.
    fn respond(&self, status: u16, body: &str) -> Result<(), HostRefused>;
    /// Closes the downstream connection, in a network filter.
    ///
    /// # Errors
    /// The host does not do it.
    fn close_connection(&self) -> Result<(), HostRefused>;
}

/// Whether the proxy goes on with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the next filter.
    Continue,
    /// Nowhere.
    Stop,
}

/// One HTTP stream. Nothing outlives it.
#[derive(Debug)]
pub struct Stream {
    /// Absent if the configuration never came: such a stream is closed.
    pipeline: Option<Rc<Pipeline>>,
    /// What the response gains, rendered with the request's verdict.
    response: Option<Arc<[AddedHeader]>>,
}

impl Stream {
    /// A stream under this configuration.
    #[must_use]
    pub fn new(pipeline: Option<Rc<Pipeline>>) -> Self {
        Self {
            pipeline,
            response: None,
        }
    }

    /// Judges the client's certificate and carries out the decision.
    pub fn on_request_headers(&mut self, host: &impl Host) -> Flow {
        let Some(pipeline) = self.pipeline.clone() else {
            return close(host);
        };
        if pipeline.config().role != Role::HttpFilter {
            host.log(
                Level::Error,
                "a configuration with role NETWORK_FILTER in an HTTP filter, stream closed",
            );
            return close(host);
        }
        let judged = host.headers(HeaderMap::Request, |lines| {
            self.on_request_lines(&pipeline, host, lines)
        });
        judged.unwrap_or_else(|HostRefused| {
            host.log(
                Level::Error,
                "request headers cannot be read, stream closed",
            );
            close(host)
        })
    }

    fn on_request_lines(
        &mut self,
        pipeline: &Pipeline,
        host: &impl Host,
        lines: &[Line<'_>],
    ) -> Flow {
        // With `source.header` the proxy in front wrote that header, and tells nothing of this
        // connection with it.
        let is_ours = pipeline.config().forwarded.is_none();
        let forwarded: Vec<&[u8]> = lines
            .iter()
            .filter(|_| is_ours)
            .filter(|(name, _)| name.eq_ignore_ascii_case(FORWARDED_HEADER.as_bytes()))
            .map(|(_, value)| *value)
            .collect();
        let shown = Shown::by(host, pipeline.peer_evidence());
        let sender = Sender::by(host, pipeline.config().direct_peer_address);
        if let Some(address) = sender.address {
            host.set_property(SENDER_PROPERTY, &address.to_string());
        }
        let connection = shown.connection(&forwarded);
        let pseudo = |name: &[u8]| {
            let found = lines.iter().find(|(candidate, _)| *candidate == name);
            found.map(|(_, value)| *value).unwrap_or_default()
        };
        let request = Request {
            method: pseudo(b":method"),
            host: pseudo(b":authority"),
            path: pseudo(b":path"),
            headers: lines,
            direct_peer: sender.address,
        };
        let presented = Presented::Connection(connection);
        let decision = pipeline.run(&presented, &request, host.now());
        report(host, &decision.report, &decision.outcome);
        match decision.outcome {
            Outcome::Close => close(host),
            Outcome::Respond { status, body } => {
                if host.respond(status, &body).is_err() {
                    return close(host);
                }
                Flow::Stop
            }
            Outcome::Forward => {
                let names = lines.iter().map(|(name, _)| *name);
                if edit(host, HeaderMap::Request, &decision.request, names).is_err() {
                    host.log(Level::Error, "request headers cannot be set, stream closed");
                    return close(host);
                }
                self.response = Some(decision.response.add);
                Flow::Continue
            }
        }
    }

    /// Trailers lose the names that headers lose.
    pub fn on_request_trailers(&mut self, host: &impl Host) -> Flow {
        let Some(pipeline) = &self.pipeline else {
            return close(host);
        };
        let edits = HeaderEdits {
            remove: Some(&pipeline.config().request.remove),
            keep: None,
            add: Arc::default(),
        };
        edit_present(host, HeaderMap::RequestTrailers, &edits)
    }

    /// Response headers, for requests that were forwarded.
    pub fn on_response_headers(&mut self, host: &impl Host) -> Flow {
        let (Some(pipeline), Some(add)) = (&self.pipeline, self.response.take()) else {
            return Flow::Continue;
        };
        let rules = &pipeline.config().response;
        if rules.add.is_empty() && rules.remove.is_empty() {
            return Flow::Continue;
        }
        let edits = HeaderEdits {
            remove: Some(&rules.remove),
            keep: None,
            add,
        };
        edit_present(host, HeaderMap::Response, &edits)
    }
}

/// What the host shows of the client's certificate.
#[derive(Default)]
pub(crate) struct Shown {
    peer_certificate: Option<Vec<u8>>,
    peer_digest: Option<Vec<u8>>,
    certificate_presented: bool,
}

impl Shown {
    /// The same as the core reads it, with what is forwarded beside it.
    pub(crate) fn connection<'a>(&'a self, forwarded: &'a [&'a [u8]]) -> Connection<'a> {
        Connection {
            peer_certificate: self.peer_certificate.as_deref(),
            peer_digest: self.peer_digest.as_deref(),
            certificate_presented: self.certificate_presented,
            forwarded,
        }
    }

    /// Each property that there is costs more than a header that is set, so it is asked for what is
    /// needed.
    pub(crate) fn by(host: &impl Host, needed: PeerEvidence) -> Self {
        let non_empty = |path: &[&str]| host.property(path).filter(|value| !value.is_empty());
        let certificate = || non_empty(&["connection", "peer_certificate"]);
        let digest = || non_empty(&["connection", "sha256_peer_certificate_digest"]);
        match needed {
            PeerEvidence::None => return Self::default(),
            PeerEvidence::Digest => {
                let peer_digest = digest();
                let is_one = peer_digest.as_deref().is_some_and(is_sha256);
                // A relay whose digest is not told would be taken for its client.
                let peer_certificate = if is_one { None } else { certificate() };
                return Self {
                    certificate_presented: peer_digest.is_some() || peer_certificate.is_some(),
                    peer_digest,
                    peer_certificate,
                };
            }
            PeerEvidence::Certificate => {}
        }
        let peer_certificate = certificate();
        if peer_certificate.is_some() {
            return Self {
                peer_certificate,
                peer_digest: None,
                certificate_presented: true,
            };
        }
        // Envoy before 1.38 does not know the certificate, all know the digest.
        let mtls = non_empty(&["connection", "mtls"]);
        Self {
            peer_certificate: None,
            peer_digest: digest(),
            certificate_presented: matches!(mtls.as_deref(), Some([1, ..] | b"true")),
        }
    }
}

/// In hexadecimal digits.
fn is_sha256(digest: &[u8]) -> bool {
    digest.len() == 64 && digest.iter().all(u8::is_ascii_hexdigit)
}

/// Who sends a request, as far as that can be known without the certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sender {
    /// The direct peer's address: never what a header says.
    address: Option<IpAddr>,
}

impl Sender {
    fn by(host: &impl Host, source: DirectPeerAddress) -> Self {
        if source == DirectPeerAddress::Unknown {
            return Self::default();
        }
        let text = host.property(&[DIRECT_PEER_PROPERTY]);
        let address = text.and_then(|text| direct_peer::parse(&text));
        if address.is_none() {
            host.log(
                Level::Error,
                "no network filter of this chain has told the direct peer's address",
            );
        }
        Self {
            address: address.map(|address| address.ip()),
        }
    }
}

fn edit_present(host: &impl Host, map: HeaderMap, edits: &HeaderEdits<'_>) -> Flow {
    let edited = host.headers(map, |lines| {
        let names = lines.iter().map(|(name, _)| *name);
        edit(host, map, edits, names)
    });
    match edited {
        Ok(Ok(())) => Flow::Continue,
        Ok(Err(HostRefused)) | Err(HostRefused) => {
            host.log(
                Level::Error,
                "trailers or response headers cannot be set, stream closed",
            );
            close(host)
        }
    }
}

fn edit<'n>(
    host: &impl Host,
    map: HeaderMap,
    edits: &HeaderEdits<'_>,
    names: impl Iterator<Item = &'n [u8]>,
) -> Result<(), HostRefused> {
    for name in edits.removals(names) {
        host.remove_header(map, name)?;
    }
    for header in edits.add.iter() {
        host.add_header(map, &header.name, &header.value)?;
    }
    Ok(())
}

fn report(host: &impl Host, report: &Report, outcome: &Outcome) {
    let refused = *outcome != Outcome::Forward;
    if report.verified {
        host.count("mtls_gate.verified");
    }
    if refused {
        host.count("mtls_gate.refused");
    }
    if report.relay_untrusted {
        host.count("mtls_gate.relay_untrusted");
    }
    if report.headers_emptied > 0 {
        host.count("mtls_gate.headers_emptied");
        host.log(
            Level::Info,
            &format!(
                "{} headers left empty: rendered values over the limit",
                report.headers_emptied
            ),
        );
    }
    let told = if refused {
        (Level::Info, "request refused")
    } else {
        (Level::Debug, "request forwarded")
    };
    tell(host, report, [ERROR_PROPERTY, REASON_PROPERTY], told);
}

/// Counts each error, and leaves error and reason in the log and, under these names, for access logs.
pub(crate) fn tell(
    host: &impl Host,
    report: &Report,
    [error, reason]: [&str; 2],
    (level, what): (Level, &str),
) {
    if report.error.is_empty() {
        return;
    }
    for error in report.error.split(',') {
        host.count(&format!("mtls_gate.error.{error}"));
    }
    host.set_property(error, &report.error);
    host.set_property(reason, &report.reason);
    host.log(
        level,
        &format!("{what}: {}: {}", report.error, report.reason),
    );
}

/// Whatever the host answers, the request goes no further.
fn close(host: &impl Host) -> Flow {
    if host.reset().is_err() {
        let _ = host.respond(403, "");
    }
    Flow::Stop
}
