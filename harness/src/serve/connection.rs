//! One client's connection: the handshake, then its requests.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::config::Mode;
use mtls_gate_core::error::Refusal;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::variables::{Variable, Variables};
use mtls_gate_core::x509::UnixSeconds;
use mtls_gate_rustls::ClientVerifier;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Server;
use super::idle::IdleTimeout;
use super::log::{Entry, shown};
use super::request;
use super::snapshot::Snapshot;

/// HTTP/2 requests of one connection at a time.
const MAX_STREAMS: u32 = 100;
/// What is read from a client that was refused, so that closing does not reset the connection before
/// it has read the alert (RFC 1122 4.2.2.13).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

type Stream = TlsStream<IdleTimeout<TcpStream>>;

/// The client at the other end.
pub(super) struct Client {
    pub(super) server: Arc<Server>,
    pub(super) address: SocketAddr,
    pub(super) local: SocketAddr,
    chain: Vec<CertificateDer<'static>>,
    last: Mutex<Option<Judged>>,
    /// Held by tunnels too.
    _permit: OwnedSemaphorePermit,
}

/// A verdict holds for one version of the files and one second, which is the finest time that
/// certificates know.
struct Judged {
    snapshot: Arc<Snapshot>,
    second: Option<UnixSeconds>,
    client_cert: Arc<ClientCert>,
}

impl Client {
    /// The verdict of now.
    pub(super) fn judge(&self, snapshot: &Arc<Snapshot>) -> Arc<ClientCert> {
        let now = now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(judged) = &*last
            && Arc::ptr_eq(&judged.snapshot, snapshot)
            && judged.second == now
        {
            return Arc::clone(&judged.client_cert);
        }
        let chain: Vec<&[u8]> = self.chain.iter().map(AsRef::as_ref).collect();
        let client_cert = Arc::new(snapshot.pipeline.judge(&Presented::Tls(&chain), now));
        *last = Some(Judged {
            snapshot: Arc::clone(snapshot),
            second: now,
            client_cert: Arc::clone(&client_cert),
        });
        client_cert
    }
}

fn now() -> Option<UnixSeconds> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok().map(UnixSeconds)
}

/// Serves the connection to its end.
pub(super) async fn serve(
    server: Arc<Server>,
    tcp: TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    let Ok(local) = tcp.local_addr() else { return };
    let _ = tcp.set_nodelay(true);
    let limits = &server.options.limits;
    let tcp = IdleTimeout::new(tcp, limits.idle_timeout);
    let handshake = handshake(&server, tcp, address, local);
    let Ok(outcome) = tokio::time::timeout(limits.handshake_timeout, handshake).await else {
        let mut entry = Entry::new(address, local);
        let reason = "the TLS handshake took too long".to_owned();
        entry.failed(0, "client_timed_out", "connection_read_timeout", reason);
        server.log.write(&entry);
        return;
    };
    let stream = match outcome {
        Ok(stream) => stream,
        Err(mut tcp) => {
            linger(&mut tcp).await;
            return;
        }
    };
    let chain = stream.get_ref().1.peer_certificates();
    let client = Arc::new(Client {
        chain: chain.map(<[_]>::to_vec).unwrap_or_default(),
        server,
        address,
        local,
        last: Mutex::new(None),
        _permit: permit,
    });
    requests(client, stream).await;
}

/// The handshake; on refusal the TCP stream, to be ended without haste.
async fn handshake(
    server: &Arc<Server>,
    tcp: IdleTimeout<TcpStream>,
    address: SocketAddr,
    local: SocketAddr,
) -> Result<Stream, IdleTimeout<TcpStream>> {
    let mut entry = Entry::new(address, local);
    let snapshot = server.live.newest();
    let verdict: Arc<Mutex<Option<ClientCert>>> = Arc::default();
    let verifier = ClientVerifier::new(Arc::clone(&snapshot.pipeline)).on_verdict({
        let verdict = Arc::clone(&verdict);
        move |client_cert| {
            *verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(client_cert.clone());
        }
    });
    let config = match snapshot.server_config(verifier) {
        Ok(config) => config,
        Err(error) => {
            entry.failed(
                0,
                "internal_error",
                "proxy_internal_error",
                error.to_string(),
            );
            server.log.write(&entry);
            return Err(tcp);
        }
    };
    let accept = TlsAcceptor::from(Arc::new(config)).accept(tcp);
    let (error, tcp) = match accept.into_fallible().await {
        Ok(stream) => return Ok(stream),
        Err(failed) => failed,
    };
    let judged = verdict
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let missing = is_missing(&error).then_some(ClientCert::Unverified {
        fingerprint: None,
        refusal: Refusal::NotProvided,
    });
    let mode = snapshot.pipeline.config().mode;
    match judged.or(missing) {
        Some(client_cert) if mode == Mode::RejectInvalid && !client_cert.is_verified() => {
            let variables = Variables::from(&client_cert);
            let reason = match &client_cert {
                ClientCert::Unverified { refusal, .. } => refusal.to_string(),
                ClientCert::Off | ClientCert::Verified { .. } => String::new(),
            };
            let details = variables.get(Variable::Error).to_owned();
            entry.failed(0, &details, "tls_certificate_error", reason);
            entry.variables = Some(variables);
        }
        _ => {
            // The client's fault, or its choice; its words are not repeated.
            let reason = shown(error.to_string().as_bytes());
            entry.failed(0, "tls_handshake_failed", "tls_protocol_error", reason);
        }
    }
    server.log.write(&entry);
    Err(tcp)
}

fn is_missing(error: &io::Error) -> bool {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::NoCertificatesPresented))
}

async fn linger(tcp: &mut IdleTimeout<TcpStream>) {
    let reading = async {
        tcp.shutdown().await?;
        let mut rest = tcp.take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    let _ = tokio::time::timeout(LINGER, reading).await;
}

/// HTTP/1.1 or HTTP/2, as ALPN settled; graceful when the server ends.
async fn requests(client: Arc<Client>, stream: Stream) {
    let limits = client.server.options.limits.clone();
    let header_bytes = usize::try_from(limits.max_header_bytes).unwrap_or(usize::MAX);
    let mut ending = client.server.ending.clone();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(limits.max_header_bytes)
        .keep_alive_interval(limits.idle_timeout);
    let builder = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => builder.http2_only(),
        _ => builder.http1_only(),
    };
    let service = service_fn(move |request| request::serve(Arc::clone(&client), request));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ending.wait_for(|ending| *ending) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Errors are the client's, or were logged with the request.
    let _ = connection.await;
}
