//! Bytes both ways, as long as the client may have them: WebSocket, and CONNECT of an explicit proxy.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mtls_gate_core::decision::{Decision, Outcome};
use mtls_gate_core::variables::Variable;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connection::{Client, look_after};
use super::request::{Asked, Logged};

/// What a tunnel rests on.
pub(super) struct Lease {
    pub(super) client: Arc<Client>,
    /// What the backend was told when the tunnel was opened.
    pub(super) told: Told,
    pub(super) asked: Asked<'static>,
}

/// Whose tunnel it is. After a reload another certificate of the same request may be the client's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    verified: bool,
    fingerprint: String,
}

impl Told {
    pub(super) fn by(decision: &Decision<'_>) -> Self {
        Self {
            verified: decision.report.verified,
            fingerprint: decision
                .variables
                .get(Variable::Sha256Fingerprint)
                .to_owned(),
        }
    }
}

impl Lease {
    /// If the present files and time say what they said: until when to look again.
    fn holds(&self) -> Option<Duration> {
        let snapshot = self.client.server.live.newest();
        self.asked.with(&self.client, |request| {
            let client_cert = self.client.judge(&snapshot, request);
            let decision = snapshot.pipeline.decide(&client_cert, request);
            let holds = decision.outcome == Outcome::Forward && Told::by(&decision) == self.told;
            holds.then(|| look_after(&client_cert))
        })
    }

    /// Ends when the lease does.
    async fn ended(&self) {
        let mut newer = self.client.server.live.subscribe();
        while let Some(look_after) = self.holds() {
            tokio::select! {
                _ = newer.changed() => {}
                () = tokio::time::sleep(look_after) => {}
            }
        }
    }
}

/// Once the client and the backend have switched to WebSocket.
pub(super) async fn websocket(near: OnUpgrade, far: OnUpgrade, lease: Lease, log: Logged) {
    if let Ok(far) = far.await {
        run(near, TokioIo::new(far), lease, log).await;
    }
}

/// Once the client has read that its tunnel is open.
pub(super) async fn connect(near: OnUpgrade, far: TcpStream, lease: Lease, log: Logged) {
    let _ = far.set_nodelay(true);
    run(near, far, lease, log).await;
}

async fn run(
    near: OnUpgrade,
    far: impl AsyncRead + AsyncWrite + Unpin,
    lease: Lease,
    mut log: Logged,
) {
    let Ok(near) = near.await else { return };
    let traffic = Traffic::default();
    // What is read at one end is what went from there.
    let mut near = Counted::new(TokioIo::new(near), &traffic.sent);
    let mut far = Counted::new(far, &traffic.received);
    let idle_bound = lease.client.server.options.limits.idle_timeout;
    let end = tokio::select! {
        copied = tokio::io::copy_bidirectional(&mut near, &mut far) => match copied {
            Ok(_) => String::new(),
            Err(error) => format!("the tunnel ended: {}", error.kind()),
        },
        () = lease.ended() => "the tunnel was ended: the client may no longer have it".to_owned(),
        () = traffic.idle(idle_bound) => "the tunnel was ended: it was silent too long".to_owned(),
    };
    let [sent, received] =
        [&traffic.sent, &traffic.received].map(|bytes| bytes.load(Ordering::Relaxed));
    log.tunneled(sent, received, &end);
}

/// Bytes from the client, and to it.
#[derive(Default)]
struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Ends when nothing has gone either way for so long, one end having closed its half or not.
    async fn idle(&self, bound: Duration) {
        let now = || [&self.sent, &self.received].map(|bytes| bytes.load(Ordering::Relaxed));
        let mut before = now();
        loop {
            tokio::time::sleep(bound).await;
            let now = now();
            if now == before {
                return;
            }
            before = now;
        }
    }
}

/// A stream that counts what is read of it.
struct Counted<'t, S> {
    inner: S,
    read: &'t AtomicU64,
}

impl<'t, S> Counted<'t, S> {
    fn new(inner: S, read: &'t AtomicU64) -> Self {
        Self { inner, read }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        let bytes = buf.filled().len().saturating_sub(before);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.read.fetch_add(bytes, Ordering::Relaxed);
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
