//! Bytes both ways, as long as the client may have them: WebSocket, and CONNECT of an explicit proxy.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::decision::Outcome;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::connection::Client;
use super::request::{Asked, Logged};

/// How often it is looked at the latest whether the client still may: a CRL may list it, and a clock
/// may be set.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What a tunnel rests on.
pub(super) struct Lease {
    pub(super) client: Arc<Client>,
    /// What the backend was told when the tunnel was opened.
    pub(super) verified: bool,
    pub(super) asked: Asked,
}

impl Lease {
    /// The present files and time say what they said.
    fn holds(&self) -> bool {
        let snapshot = self.client.server.live.newest();
        let client_cert = self.client.judge(&snapshot);
        let decision = self.asked.with(&self.client, |request| {
            let decision = snapshot.pipeline.decide(&client_cert, request);
            (decision.outcome, decision.report.verified)
        });
        decision == (Outcome::Forward, self.verified)
    }

    /// Ends when the lease does.
    async fn ended(&self) {
        let mut newer = self.client.server.live.subscribe();
        loop {
            tokio::select! {
                _ = newer.changed() => {}
                () = tokio::time::sleep(self.look_after()) => {}
            }
            if !self.holds() {
                return;
            }
        }
    }

    /// Until the certificate's last second has passed, or until it is time to look.
    fn look_after(&self) -> Duration {
        let snapshot = self.client.server.live.newest();
        let ClientCert::Verified { end_entity, path } = &*self.client.judge(&snapshot) else {
            return LOOK_EVERY;
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        core::iter::once(&**end_entity)
            .chain(path)
            .filter_map(|certificate| {
                let last = u64::try_from(certificate.not_after().0).ok()?;
                // An allowlisted certificate, or an anchor, may be over its time.
                Duration::from_secs(last.checked_add(1)?).checked_sub(now)
            })
            .min()
            .map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY))
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
    mut far: impl AsyncRead + AsyncWrite + Unpin,
    lease: Lease,
    mut log: Logged,
) {
    let Ok(near) = near.await else { return };
    let mut near = TokioIo::new(near);
    tokio::select! {
        copied = tokio::io::copy_bidirectional(&mut near, &mut far) => match copied {
            Ok((sent, received)) => log.tunneled(sent, received, ""),
            Err(error) => log.tunneled(0, 0, &format!("the tunnel ended: {}", error.kind())),
        },
        () = lease.ended() => {
            log.tunneled(0, 0, "the tunnel was ended: the client may no longer have it");
        }
    }
}
