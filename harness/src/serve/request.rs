//! One request: judged, decided about, forwarded or refused. The core decides.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use mtls_gate_core::authz;
use mtls_gate_core::config::Mode;
use mtls_gate_core::decision::{Decision, Outcome};
use mtls_gate_core::headers::HeaderEdits;
use mtls_gate_core::variables::Variable;
use tokio::sync::OwnedSemaphorePermit;

use super::connection::{Client, UnderWay};
use super::destination::{Destination, DestinationError};
use super::headers;
use super::log::{Entry, RequestLine, authz_policy_info, shown};
use super::snapshot::Snapshot;
use super::tunnel::{self, Lease, Told};
use super::upstream::{AnyBody, BodyTooLarge, Upstream, UpstreamError, Watched};

/// The connection is closed, or the stream reset, in the place of an answer.
#[derive(Debug)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed by policy")
    }
}

impl core::error::Error for Closed {}

/// Serves one request.
pub(super) async fn serve(
    client: Arc<Client>,
    mut request: Request<Incoming>,
) -> Result<Response<AnyBody>, Closed> {
    let snapshot = client.server.live.newest();
    // Before the request is taken apart: hyper hands the connection over through it.
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    let mut log = Logged::new(&client, &parts);
    let host = headers::host(&parts);
    let websocket = headers::wants_websocket(&parts);
    headers::drop_hop_by_hop(&mut parts.headers);

    let asked = Asked::of(&parts, host.as_ref().ok());
    let decision = asked.with(&client, |request| {
        let client_cert = client.judge(&snapshot, request);
        snapshot.pipeline.decide(&client_cert, request)
    });
    let config = snapshot.pipeline.config();
    log.decided(&decision, config.mode);
    match &decision.outcome {
        Outcome::Close => {
            // A relay's connection has other clients' requests on it. An error resets this one's
            // stream, and ends an HTTP/1.1 connection.
            if config.refuses_connections() {
                client.refuse();
            }
            return Err(Closed);
        }
        Outcome::Respond { status, body } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::FORBIDDEN);
            return Ok(log.answer(status, body.clone()));
        }
        Outcome::Forward => {}
    }
    let host = match &host {
        Ok(host) => host.clone(),
        Err(what) => return Ok(log.fail(Failure::bad_request(what))),
    };
    if !log.begin() {
        return Ok(log.fail(Failure::overloaded()));
    }
    let lease = || Lease {
        client: Arc::clone(&client),
        told: Told::by(&decision),
        asked: asked.to_owned(),
    };
    let Some(upstream) = &snapshot.upstream else {
        return Ok(explicit_proxy(&parts, on_upgrade, lease(), log).await);
    };
    let forwarded = Forwarded {
        snapshot: &snapshot,
        upstream,
        decision: &decision,
        websocket: websocket.then(|| (on_upgrade, lease())),
    };
    Ok(forwarded.run(&client, parts, host, body, log).await)
}

/// What AuthzPolicies see of a request. Owned only where a tunnel keeps it.
pub(super) struct Asked<'a> {
    method: Cow<'a, Method>,
    host: Cow<'a, [u8]>,
    path: Cow<'a, str>,
    headers: Cow<'a, HeaderMap>,
}

impl<'a> Asked<'a> {
    fn of(parts: &'a Parts, host: Option<&'a HeaderValue>) -> Self {
        let path = match parts.uri.path_and_query() {
            // The target of CONNECT is an authority, whatever hyper puts beside it.
            Some(path) if parts.method != Method::CONNECT => path.as_str(),
            _ => "",
        };
        Self {
            method: Cow::Borrowed(&parts.method),
            host: Cow::Borrowed(host.map(HeaderValue::as_bytes).unwrap_or_default()),
            path: Cow::Borrowed(path),
            headers: Cow::Borrowed(&parts.headers),
        }
    }

    fn to_owned(&self) -> Asked<'static> {
        Asked {
            method: Cow::Owned(self.method.as_ref().clone()),
            host: Cow::Owned(self.host.to_vec()),
            path: Cow::Owned(self.path.to_string()),
            headers: Cow::Owned(self.headers.as_ref().clone()),
        }
    }

    /// As the core takes it.
    pub(super) fn with<T>(
        &self,
        client: &Client,
        then: impl FnOnce(&authz::Request<'_>) -> T,
    ) -> T {
        let lines: Vec<(&[u8], &[u8])> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
            .collect();
        then(&authz::Request {
            method: self.method.as_str().as_bytes(),
            host: &self.host,
            path: self.path.as_bytes(),
            headers: &lines,
            direct_peer: Some(client.address.ip()),
        })
    }
}

/// The one way to a backend.
struct Forwarded<'a> {
    snapshot: &'a Arc<Snapshot>,
    upstream: &'a Upstream,
    decision: &'a Decision<'a>,
    websocket: Option<(OnUpgrade, Lease)>,
}

impl Forwarded<'_> {
    async fn run(
        mut self,
        client: &Arc<Client>,
        mut parts: Parts,
        host: HeaderValue,
        body: Incoming,
        mut log: Logged,
    ) -> Response<AnyBody> {
        if parts.method == Method::CONNECT {
            return log.fail(Failure::method_not_allowed(
                "CONNECT is for explicit proxies",
            ));
        }
        let version = parts.version;
        // Not the asterisk of OPTIONS, which is about this server (RFC 9110 9.3.7).
        let path = parts.uri.path_and_query().cloned();
        let path = path.filter(|path| path.as_str().starts_with('/'));
        let uri = path.map(|path| self.upstream.uri(path));
        let Some(Ok(uri)) = uri else {
            return log.fail(Failure::bad_request("the request target has no path"));
        };
        if headers::has_odd_length(&parts.headers) {
            return log.fail(Failure::bad_request("malformed Content-Length"));
        }
        let limit = client.server.options.limits.max_body_bytes;
        if body.size_hint().lower() > limit {
            return log.fail(Failure::too_large(BodyTooLarge { limit }));
        }
        parts.uri = uri;
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        parts.headers.insert(HOST, host);
        headers::edit(&mut parts.headers, &self.decision.request);
        headers::set_forwarded(&mut parts.headers, client.address, client.local);
        headers::add_via(&mut parts.headers, version);
        if self.websocket.is_some() {
            headers::set_websocket(&mut parts.headers);
        }
        let sent = log.sent();
        let body = request_body(body, limit, Arc::clone(self.snapshot), Arc::clone(&sent));
        let mut response = match self
            .upstream
            .send(Request::from_parts(parts, body), &sent)
            .await
        {
            Ok(response) => response,
            Err(error) => return log.fail(Failure::from(error)),
        };
        log.succeeded(response.status());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some((near, lease)) = self.websocket.take() else {
                let what = "the backend switched protocols without being asked".to_owned();
                return log.fail(Failure::from(UpstreamError::Failed(what)));
            };
            let far = hyper::upgrade::on(&mut response);
            let mut answer = local(StatusCode::SWITCHING_PROTOCOLS);
            *answer.headers_mut() = core::mem::take(response.headers_mut());
            self.edit_response(answer.headers_mut(), version);
            headers::set_websocket(answer.headers_mut());
            tokio::spawn(tunnel::websocket(near, far, lease, log));
            return answer;
        }
        let (mut parts, body) = response.into_parts();
        parts.extensions.clear();
        self.edit_response(&mut parts.headers, version);
        let counted = Watched::new(body, move |frame| {
            // Logged when the body ends, or when nobody wants the rest of it.
            log.count(frame.data_ref().map_or(0, Bytes::len));
            Ok(())
        });
        Response::from_parts(parts, counted.boxed())
    }

    fn edit_response(&self, headers: &mut HeaderMap, version: Version) {
        headers::drop_hop_by_hop(headers);
        headers::edit(headers, &self.decision.response);
        headers::add_via(headers, version);
    }
}

/// The body within its limit, its trailers without what headers lose.
fn request_body(
    body: Incoming,
    limit: u64,
    snapshot: Arc<Snapshot>,
    sent: Arc<AtomicU64>,
) -> AnyBody {
    let watched = Watched::new(body, move |frame| {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = sent.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > limit {
            return Err(BodyTooLarge { limit }.into());
        }
        if let Some(trailers) = frame.trailers_mut() {
            let edits = HeaderEdits {
                remove: Some(&snapshot.pipeline.config().request.remove),
                keep: None,
                add: Arc::default(),
            };
            headers::remove(trailers, &edits);
            headers::clean_trailers(trailers);
        }
        Ok(())
    });
    watched.boxed()
}

/// CONNECT, once the policies have allowed it.
async fn explicit_proxy(
    parts: &Parts,
    near: OnUpgrade,
    lease: Lease,
    mut log: Logged,
) -> Response<AnyBody> {
    if parts.method != Method::CONNECT {
        return log.fail(Failure::method_not_allowed(
            "an explicit proxy takes CONNECT",
        ));
    }
    let options = &lease.client.server.options;
    let connected = match Destination::of(parts.uri.authority()) {
        Err(error) => Err(error),
        Ok(destination) => {
            let within = options.limits.connect_timeout;
            let lookups = [&lease.client.lookups, &lease.client.server.lookups];
            destination
                .connect(&options.allow_destination, lookups, within)
                .await
        }
    };
    match connected {
        Ok(far) => {
            log.succeeded(StatusCode::OK);
            tokio::spawn(tunnel::connect(near, far, lease, log));
            local(StatusCode::OK)
        }
        Err(error) => log.fail(Failure::from(error)),
    }
}

fn local(status: StatusCode) -> Response<AnyBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// An answer that this server gives in a backend's place.
struct Failure {
    status: StatusCode,
    /// Google's word, where there is one.
    details: &'static str,
    /// RFC 9209 2.3
    proxy_error: &'static str,
    reason: String,
}

impl Failure {
    fn new(
        status: StatusCode,
        details: &'static str,
        proxy_error: &'static str,
        reason: impl ToString,
    ) -> Self {
        Self {
            status,
            details,
            proxy_error,
            reason: reason.to_string(),
        }
    }

    fn bad_request(what: &'static str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_request",
            "http_request_error",
            what,
        )
    }

    fn method_not_allowed(what: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "http_request_denied",
            what,
        )
    }

    fn overloaded() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_requests_under_way",
            "connection_limit_reached",
            "as many requests as --max-requests are under way",
        )
    }

    fn too_large(error: BodyTooLarge) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_body_too_large",
            "http_request_error",
            error,
        )
    }
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        let bad_gateway = StatusCode::BAD_GATEWAY;
        let connect = "failed_to_connect_to_backend";
        match &error {
            UpstreamError::Connect(_) => {
                Self::new(bad_gateway, connect, "destination_unavailable", error)
            }
            UpstreamError::Refused(_) => Self::new(
                bad_gateway,
                "ssl_certificate_verification_failed",
                "tls_certificate_error",
                error,
            ),
            UpstreamError::Tls(_) => Self::new(bad_gateway, connect, "tls_protocol_error", error),
            UpstreamError::Timeout(_) => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "backend_timeout",
                "http_response_timeout",
                error,
            ),
            UpstreamError::BodyTooLarge(too_large) => Self::too_large(*too_large),
            UpstreamError::Failed(_) => Self::new(
                bad_gateway,
                "backend_connection_closed_before_data_sent_to_client",
                "http_response_incomplete",
                error,
            ),
        }
    }
}

impl From<DestinationError> for Failure {
    fn from(error: DestinationError) -> Self {
        match &error {
            DestinationError::Malformed => {
                Self::bad_request("the target of CONNECT is not host:port")
            }
            DestinationError::Forbidden(_) => Self::new(
                StatusCode::FORBIDDEN,
                "destination_forbidden",
                "destination_ip_prohibited",
                error,
            ),
            DestinationError::Unresolved(_) => {
                Self::new(StatusCode::BAD_GATEWAY, "dns_error", "dns_error", error)
            }
            DestinationError::Connect(_) => Self::new(
                StatusCode::BAD_GATEWAY,
                "failed_to_connect_to_destination",
                "connection_refused",
                error,
            ),
            DestinationError::Timeout(_) => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "failed_to_connect_to_destination",
                "connection_timeout",
                error,
            ),
        }
    }
}

/// A log entry that is written when nobody holds it any more: then the request has ended, however it
/// ended.
pub(super) struct Logged {
    client: Arc<Client>,
    entry: Entry,
    sent: Arc<AtomicU64>,
    /// One of `--max-requests`.
    permit: Option<OwnedSemaphorePermit>,
    _under_way: UnderWay,
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.entry.request_bytes = self.sent.load(Ordering::Relaxed);
        self.client.server.log.write(&self.entry);
    }
}

impl Logged {
    fn new(client: &Arc<Client>, parts: &Parts) -> Self {
        let mut entry = Entry::new(client.address, client.local);
        entry.request = Some(request_line(parts));
        // Should nothing come of it.
        entry.details = "client_disconnected_before_any_response".to_owned();
        Self {
            client: Arc::clone(client),
            entry,
            sent: Arc::default(),
            permit: None,
            _under_way: UnderWay::new(client),
        }
    }

    /// Whether the request may go on; it counts from here to its end.
    fn begin(&mut self) -> bool {
        self.permit = Arc::clone(&self.client.server.requests)
            .try_acquire_owned()
            .ok();
        self.permit.is_some()
    }

    fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sent)
    }

    /// What comes back to the client.
    fn count(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.entry.response_bytes = self.entry.response_bytes.saturating_add(bytes);
    }

    /// What went through a tunnel.
    pub(super) fn tunneled(&mut self, sent: u64, received: u64, end: &str) {
        self.sent.store(sent, Ordering::Relaxed);
        self.entry.response_bytes = received;
        end.clone_into(&mut self.entry.reason);
    }

    fn decided(&mut self, decision: &Decision<'_>, mode: Mode) {
        self.entry.variables = (mode != Mode::Off).then(|| Arc::clone(&decision.variables));
        self.entry.authz = decision
            .authz
            .as_ref()
            .filter(|verdict| !verdict.policies().is_empty() || !verdict.is_allowed())
            .map(authz_policy_info);
        let denied = decision
            .authz
            .as_ref()
            .and_then(|verdict| verdict.status_details());
        let reason = decision.report.reason.clone();
        match (&decision.outcome, denied) {
            (Outcome::Forward, _) => self.entry.reason = reason,
            (_, Some(denied)) => self.entry.failed(0, denied, "http_request_error", reason),
            (_, None) => {
                let error = decision.variables.get(Variable::Error);
                self.entry.failed(0, error, "tls_certificate_error", reason);
            }
        }
    }

    fn succeeded(&mut self, status: StatusCode) {
        self.entry.status = status.as_u16();
        "response_sent_by_backend".clone_into(&mut self.entry.details);
    }

    /// The core's answer.
    fn answer(mut self, status: StatusCode, body: String) -> Response<AnyBody> {
        self.entry.status = status.as_u16();
        self.count(body.len());
        let body = Full::from(body).map_err(|never| match never {}).boxed();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    }

    /// This server's answer: the status alone, in words.
    fn fail(mut self, failure: Failure) -> Response<AnyBody> {
        let Failure {
            status,
            details,
            proxy_error,
            reason,
        } = failure;
        self.entry.failed(0, details, proxy_error, reason);
        let text = status.canonical_reason().unwrap_or("error");
        let is_connect = self.client.server.options.explicit_proxy;
        let mut response = self.answer(status, format!("{text}\n"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let methods = if is_connect {
                "CONNECT"
            } else {
                "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
            };
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}

fn request_line(parts: &Parts) -> RequestLine {
    let host = match (parts.uri.authority(), parts.headers.get(HOST)) {
        (Some(authority), _) => shown(authority.as_str().as_bytes()),
        (None, Some(host)) => shown(host.as_bytes()),
        (None, None) => String::new(),
    };
    let url = match parts.uri.path_and_query() {
        Some(path) if parts.method != Method::CONNECT => {
            format!("https://{host}{}", shown(path.as_str().as_bytes()))
        }
        _ => host,
    };
    RequestLine {
        method: shown(parts.method.as_str().as_bytes()),
        url,
        protocol: match parts.version {
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        user_agent: parts
            .headers
            .get(USER_AGENT)
            .map(|value| shown(value.as_bytes()))
            .unwrap_or_default(),
    }
}
