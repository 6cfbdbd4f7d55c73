//! A stream that fails once it has been silent in both directions for too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A stream with a bound on its silence. Reading alone may wait as long as something is written.
pub(super) struct IdleTimeout<S> {
    inner: S,
    bound: Duration,
    active: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl<S> IdleTimeout<S> {
    pub(super) fn new(inner: S, bound: Duration) -> Self {
        Self {
            inner,
            bound,
            active: Instant::now(),
            alarm: Box::pin(tokio::time::sleep(bound)),
        }
    }

    /// Something happened, or it is looked whether nothing has for too long.
    fn watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.active = Instant::now();
            return outcome;
        }
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let end = self.active.checked_add(self.bound);
            match end {
                // The alarm was set before the last activity.
                Some(end) if end > Instant::now() => self.alarm.as_mut().reset(end),
                _ => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for IdleTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.watched(cx, outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for IdleTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watched(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.watched(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watched(cx, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[test]
    fn silence_ends_it_and_writing_does_not() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(64);
            let (mut read, mut write) =
                tokio::io::split(IdleTimeout::new(near, Duration::from_secs(10)));
            let started = Instant::now();
            let writing = async {
                for _ in 0..3 {
                    tokio::time::sleep(Duration::from_secs(6)).await;
                    write.write_all(b"x").await.unwrap();
                }
                let mut taken = [0; 3];
                far.read_exact(&mut taken).await.unwrap();
            };
            let mut byte = [0];
            let (outcome, ()) = tokio::join!(read.read(&mut byte), writing);
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert_eq!(started.elapsed().as_secs(), 28);
        });
    }
}
