//! One client's connection: the handshake, then its requests.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use mtls_gate_core::authz;
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::error::Refusal;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::judged::Judged;
use mtls_gate_core::x509::UnixSeconds;
use mtls_gate_rustls::ClientVerifier;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Server;
use super::idle::IdleTimeout;
use super::log::{Entry, shown};
use super::request;
use super::snapshot::Snapshot;

/// HTTP/2 requests of one connection at a time.
const MAX_STREAMS: u32 = 100;
/// What is kept of a response that an HTTP/2 client does not read.
const STREAM_BUFFER_BYTES: usize = 64 * 1024;
/// Names that are resolved for one client at a time.
const LOOKUPS: usize = 4;
/// How often it is looked at the latest whether a client still may: a CRL may list it, and a clock may
/// be set.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What is read from a client that was refused, so that closing does not reset the connection before
/// it has read the alert (RFC 1122 4.2.2.13).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

type Stream = TlsStream<IdleTimeout<TcpStream>>;

/// The other end: a client, or a relay with the requests of many.
pub(super) struct Client {
    pub(super) server: Arc<Server>,
    pub(super) address: SocketAddr,
    pub(super) local: SocketAddr,
    chain: Vec<CertificateDer<'static>>,
    /// Names being resolved for this client.
    pub(super) lookups: Arc<Semaphore>,
    /// Requests under way, and when the last one began or ended.
    activity: Mutex<(usize, Instant)>,
    /// The certificate does not pass any more.
    refused: Notify,
    /// Held by tunnels too.
    _permit: OwnedSemaphorePermit,
}

impl Client {
    /// The verdict of now on whoever asks for this.
    pub(super) fn judge(&self, snapshot: &Snapshot, request: &authz::Request<'_>) -> Arc<Judged> {
        let chain = self.chain();
        let presented = Presented::Tls(&chain);
        snapshot.pipeline.client_cert(&presented, request, now())
    }

    /// The verdict of now on the connection's own certificate.
    fn judge_connection(&self, snapshot: &Snapshot) -> Arc<Judged> {
        let chain = self.chain();
        snapshot.pipeline.judge(&Presented::Tls(&chain), now())
    }

    fn chain(&self) -> Vec<&[u8]> {
        self.chain.iter().map(AsRef::as_ref).collect()
    }

    /// The connection ends, with whatever is under way on it.
    pub(super) fn refuse(&self) {
        self.refused.notify_one();
    }

    fn log_end(&self, client_cert: &ClientCert) {
        let mut entry = Entry::new(self.address, self.local);
        entry.refused(client_cert);
        self.server.log.write(&entry);
    }

    fn change(&self, count: impl FnOnce(usize) -> usize) {
        let mut activity = self.activity.lock().unwrap_or_else(PoisonError::into_inner);
        *activity = (count(activity.0), Instant::now());
    }

    /// Ends when there has been no request for so long; HTTP/2's pings are none.
    async fn idle(&self, bound: Duration) {
        loop {
            let (count, since) = *self.activity.lock().unwrap_or_else(PoisonError::into_inner);
            let left = bound.saturating_sub(since.elapsed());
            if count == 0 && left.is_zero() {
                return;
            }
            tokio::time::sleep(if count == 0 { left } else { bound }).await;
        }
    }

    /// Ends when the present files or the time refuse the certificate of an open connection, if they
    /// ask for one.
    async fn expired(&self) -> Arc<Judged> {
        let mut newer = self.server.live.subscribe();
        loop {
            let snapshot = self.server.live.newest();
            let mut look_after = LOOK_EVERY;
            if snapshot.pipeline.config().refuses_connections() {
                let client_cert = self.judge_connection(&snapshot);
                if !client_cert.is_verified() {
                    return client_cert;
                }
                look_after = self::look_after(&client_cert);
            }
            tokio::select! {
                _ = newer.changed() => {}
                () = tokio::time::sleep(look_after) => {}
            }
        }
    }
}

/// Until the certificate's last second has passed, or until it is time to look.
pub(super) fn look_after(client_cert: &ClientCert) -> Duration {
    let ClientCert::Verified { end_entity, path } = client_cert else {
        return LOOK_EVERY;
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    core::iter::once(end_entity)
        .chain(path)
        .filter_map(|certificate| {
            let last = u64::try_from(certificate.not_after().0).ok()?;
            // An allowlisted certificate, or an anchor, may be over its time.
            Duration::from_secs(last.checked_add(1)?).checked_sub(now)
        })
        .min()
        .map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY))
}

/// One request of a client, to its end.
pub(super) struct UnderWay(Arc<Client>);

impl UnderWay {
    pub(super) fn new(client: &Arc<Client>) -> Self {
        client.change(|count| count.saturating_add(1));
        Self(Arc::clone(client))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.change(|count| count.saturating_sub(1));
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
        lookups: Arc::new(Semaphore::new(LOOKUPS)),
        activity: Mutex::new((0, Instant::now())),
        refused: Notify::new(),
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
    let refuses = snapshot.pipeline.config().refuses_connections();
    match judged.or(missing) {
        Some(client_cert) if refuses && !client_cert.is_verified() => {
            entry.refused(&client_cert);
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
        .max_send_buf_size(STREAM_BUFFER_BYTES)
        .keep_alive_interval(limits.idle_timeout);
    let builder = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => builder.http2_only(),
        _ => builder.http1_only(),
    };
    let of = Arc::clone(&client);
    let service = service_fn(move |request| request::serve(Arc::clone(&of), request));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        // Without a word, and with what is under way: a download does not outlive its client.
        () = client.refused.notified() => return,
        client_cert = client.expired() => return client.log_end(&client_cert),
        _ = ending.wait_for(|ending| *ending) => {}
        () = client.idle(limits.idle_timeout) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Errors are the client's, or were logged with the request.
    let _ = connection.await;
}
