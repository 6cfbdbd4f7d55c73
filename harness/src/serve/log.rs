//! One line for each request, and for each handshake that ended without one.

use core::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use mtls_gate_core::authz::Verdict;
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::variables::{Variable, Variables};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::LogFormat;

/// Lines that wait for a reader that is slow. Requests do not.
const QUEUE: usize = 4096;
/// Characters of what a client wrote.
const SHOWN_CHARACTERS: usize = 512;

/// To standard output, or to standard error.
enum Line {
    Request(String),
    Said(String),
}

/// Where lines go, those about requests and those about the server. A slow reader costs lines, which are counted, and never holds up a request.
pub(super) struct Log {
    format: LogFormat,
    sender: Mutex<Option<SyncSender<Line>>>,
    lost: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    pub(super) fn to_standard(format: LogFormat) -> io::Result<Self> {
        let (sender, lines) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = std::thread::Builder::new().name("log".to_owned()).spawn({
            let lost = Arc::clone(&lost);
            move || write(&lines, &lost)
        })?;
        Ok(Self {
            format,
            sender: Mutex::new(Some(sender)),
            lost,
            writer: Mutex::new(Some(writer)),
        })
    }

    pub(super) fn write(&self, entry: &Entry) {
        self.send(Line::Request(match self.format {
            LogFormat::Text => entry.to_text(),
            LogFormat::Google => entry.to_google().to_string(),
        }));
    }

    /// About the server, to standard error.
    pub(super) fn say(&self, what: impl fmt::Display) {
        self.send(Line::Said(what.to_string()));
    }

    fn send(&self, line: Line) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sender
            .as_ref()
            .is_some_and(|sender| sender.try_send(line).is_ok());
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits.
    pub(super) fn close(&self) {
        let lock = |slot: &Mutex<Option<SyncSender<Line>>>| {
            slot.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        drop(lock(&self.sender));
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

fn write(lines: &Receiver<Line>, lost: &AtomicU64) {
    let write = |line: &Line| {
        // If nobody reads any more, there is nobody to tell either.
        let _ = match line {
            Line::Request(line) => {
                let mut out = io::stdout().lock();
                writeln!(out, "{line}").and_then(|()| out.flush())
            }
            Line::Said(line) => writeln!(io::stderr(), "{line}"),
        };
    };
    for line in lines {
        write(&line);
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            write(&Line::Said(format!(
                "{missing} log lines lost: they are read too slowly"
            )));
        }
    }
}

/// What is known of one request, or of a handshake that ended.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) time: OffsetDateTime,
    pub(super) started: Instant,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    /// Absent if it came to none.
    pub(super) request: Option<RequestLine>,
    /// 0: no HTTP response.
    pub(super) status: u16,
    /// `statusDetails`
    pub(super) details: String,
    /// RFC 9209 2.3: the error's type, and what goes with it.
    pub(super) proxy_error: Option<(&'static str, String)>,
    /// Absent if certificates are not asked for.
    pub(super) variables: Option<Arc<Variables>>,
    /// `authzPolicyInfo`
    pub(super) authz: Option<Value>,
    /// Why, in words.
    pub(super) reason: String,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct RequestLine {
    pub(super) method: String,
    /// `https://host/path`, or `host:port` of a CONNECT.
    pub(super) url: String,
    pub(super) protocol: &'static str,
    pub(super) user_agent: String,
}

/// Text of a client: one line, bounded.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .flat_map(char::escape_debug)
        .take(SHOWN_CHARACTERS)
        .collect()
}

impl Entry {
    pub(super) fn new(client: SocketAddr, server: SocketAddr) -> Self {
        Self {
            time: OffsetDateTime::now_utc(),
            started: Instant::now(),
            client,
            server,
            request: None,
            status: 0,
            details: String::new(),
            proxy_error: None,
            variables: None,
            authz: None,
            reason: String::new(),
            request_bytes: 0,
            response_bytes: 0,
        }
    }

    /// A refusal, or a failure, as Google names it and in words.
    pub(super) fn failed(
        &mut self,
        status: u16,
        details: &str,
        proxy_error: &'static str,
        reason: String,
    ) {
        self.status = status;
        details.clone_into(&mut self.details);
        self.proxy_error = Some((proxy_error, self.details.clone()));
        self.reason = reason;
    }

    /// A connection that ends, or never begins, because of its certificate.
    pub(super) fn refused(&mut self, client_cert: &ClientCert) {
        let variables = Variables::from(client_cert);
        let reason = match client_cert {
            ClientCert::Unverified { refusal, .. } => refusal.to_string(),
            ClientCert::Off | ClientCert::Verified { .. } => String::new(),
        };
        let details = variables.get(Variable::Error).to_owned();
        self.failed(0, &details, "tls_certificate_error", reason);
        self.variables = Some(Arc::new(variables));
    }

    fn timestamp(&self) -> String {
        self.time.format(&Rfc3339).unwrap_or_default()
    }

    fn to_text(&self) -> String {
        let request = match &self.request {
            Some(line) => format!("{} {} {}", line.method, line.url, line.protocol),
            None => "-".to_owned(),
        };
        let verified = match &self.variables {
            Some(variables) => variables.get(Variable::ChainVerified),
            None => "-",
        };
        let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
        format!(
            "{} {} \"{request}\" {:03} {}ms verified={verified} details={} reason=\"{}\"",
            self.timestamp(),
            self.client,
            self.status,
            self.started.elapsed().as_millis(),
            or_dash(&self.details),
            or_dash(&self.reason),
        )
    }

    /// Google's LogEntry, with what section "Logging" of the load balancers' pages shows.
    fn to_google(&self) -> Value {
        let mut payload = Map::new();
        payload.insert(
            "@type".to_owned(),
            "type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry".into(),
        );
        payload.insert("statusDetails".to_owned(), self.details.clone().into());
        if let Some((error, details)) = &self.proxy_error {
            let text = format!("error=\"{error}\"; details=\"{details}\"");
            payload.insert("proxyStatus".to_owned(), text.into());
        }
        if let Some(variables) = &self.variables {
            payload.insert("mtls".to_owned(), mtls(variables));
        }
        if let Some(authz) = &self.authz {
            payload.insert("authzPolicyInfo".to_owned(), authz.clone());
        }
        if !self.reason.is_empty() {
            // Ours: Google logs no words.
            payload.insert("mtlsGate".to_owned(), json!({ "reason": self.reason }));
        }
        let mut http = Map::new();
        if let Some(line) = &self.request {
            http.insert("requestMethod".to_owned(), line.method.clone().into());
            http.insert("requestUrl".to_owned(), line.url.clone().into());
            http.insert("protocol".to_owned(), line.protocol.into());
            if !line.user_agent.is_empty() {
                http.insert("userAgent".to_owned(), line.user_agent.clone().into());
            }
        }
        http.insert("status".to_owned(), self.status.into());
        http.insert(
            "remoteIp".to_owned(),
            self.client.ip().to_canonical().to_string().into(),
        );
        http.insert(
            "serverIp".to_owned(),
            self.server.ip().to_canonical().to_string().into(),
        );
        // 64-bit numbers are strings in protobuf's JSON.
        http.insert(
            "requestSize".to_owned(),
            self.request_bytes.to_string().into(),
        );
        http.insert(
            "responseSize".to_owned(),
            self.response_bytes.to_string().into(),
        );
        let latency = format!("{:.6}s", self.started.elapsed().as_secs_f64());
        http.insert("latency".to_owned(), latency.into());
        let severity = if self.proxy_error.is_some() || self.status >= 400 {
            "WARNING"
        } else {
            "INFO"
        };
        json!({
            "timestamp": self.timestamp(),
            "severity": severity,
            "httpRequest": http,
            "jsonPayload": payload,
            "resource": { "type": "http_load_balancer" },
        })
    }
}

/// `jsonPayload.mtls`: booleans are strings, dates end in `Z`, and those unset are of 1970.
fn mtls(variables: &Variables) -> Value {
    let fields = [
        ("clientCertPresent", Variable::Present),
        ("clientCertChainVerified", Variable::ChainVerified),
        ("clientCertError", Variable::Error),
        ("clientCertSha256Fingerprint", Variable::Sha256Fingerprint),
        ("clientCertSerialNumber", Variable::SerialNumber),
        ("clientCertValidStartTime", Variable::ValidNotBefore),
        ("clientCertValidEndTime", Variable::ValidNotAfter),
        ("clientCertSpiffeId", Variable::SpiffeId),
        ("clientCertUriSans", Variable::UriSans),
        ("clientCertDnsnameSans", Variable::DnsnameSans),
        ("clientCertIssuerDn", Variable::IssuerDn),
        ("clientCertSubjectDn", Variable::SubjectDn),
        ("clientCertLeaf", Variable::Leaf),
        ("clientCertChain", Variable::Chain),
    ];
    let value = |variable| {
        let text = variables.get(variable);
        match variable {
            Variable::ValidNotBefore | Variable::ValidNotAfter if text.is_empty() => {
                "1970-01-01T00:00:00Z".to_owned()
            }
            Variable::ValidNotBefore | Variable::ValidNotAfter => text.replace("+00:00", "Z"),
            _ => text.to_owned(),
        }
    };
    let fields = fields
        .into_iter()
        .map(|(name, variable)| (name.to_owned(), Value::from(value(variable))));
    // Google leaves out what is empty; these two and the dates are always there.
    let kept = |name: &str, value: &Value| {
        matches!(name, "clientCertPresent" | "clientCertChainVerified")
            || value.as_str().is_some_and(|text| !text.is_empty())
    };
    Value::Object(fields.filter(|(name, value)| kept(name, value)).collect())
}

/// `authzPolicyInfo`
pub(super) fn authz_policy_info(verdict: &Verdict<'_>) -> Value {
    let policies: Vec<Value> = verdict
        .policies()
        .iter()
        .map(|policy| {
            let mut entry = Map::new();
            if let Some(name) = policy.name {
                entry.insert("name".to_owned(), name.into());
            }
            entry.insert("result".to_owned(), policy.result.as_str().into());
            if let Some(details) = policy.details {
                entry.insert("details".to_owned(), details.into());
            }
            Value::Object(entry)
        })
        .collect();
    json!({ "result": verdict.result().as_str(), "policies": policies })
}
