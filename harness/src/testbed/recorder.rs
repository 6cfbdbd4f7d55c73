//! A backend that gives back the head of each request byte by byte.
//!
//! Unlike [`super::echo`] it understands nothing: folded lines, odd names and bytes, duplicates and
//! their order come back as they arrived.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::http1::{latin1, values};

/// A head larger than this ends the connection.
const MAX_HEAD_BYTES: usize = 4 << 20;
/// An idle connection is left after this.
const IDLE: Duration = Duration::from_secs(20);

/// The running backend; dropping it stops taking connections.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Recorder {
    /// Starts it on a free loopback port. Requests with a body are beyond it.
    ///
    /// # Errors
    /// No port or thread is to be had.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    // A peer that goes away in the middle is the tests' daily business.
                    std::thread::spawn(move || serve(stream));
                }
            })?;
        Ok(Self { address, stopped })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        while let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end.saturating_add(4)).collect();
            let mut answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len()).into_bytes();
            answer.extend(head);
            stream.write_all(&answer)?;
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            _ if buffer.len() > MAX_HEAD_BYTES => return Ok(()),
            read => buffer.extend(chunk.iter().take(read)),
        }
    }
}

/// A request's head as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The request line.
    pub request: String,
    /// Names as they came, values byte by byte as Latin-1 without the spaces around them, in order.
    /// A bare line feed ends no line, so that folded lines stay whole.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Reads the backend's answer.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let text = latin1(bytes);
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let request = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                (name.to_owned(), value.trim_matches(' ').to_owned())
            })
            .collect();
        Self { request, headers }
    }

    /// All values of a header, letter case ignored.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    /// All headers that a careless backend may take for `name`: letter case ignored, anything for a
    /// dash.
    #[must_use]
    pub fn spellings(&self, name: &str) -> Vec<(&str, &str)> {
        self.headers
            .iter()
            .filter(|(candidate, _)| same_spelling(candidate, name))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

fn same_spelling(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one.bytes().zip(other.bytes()).all(|(a, b)| {
            a.eq_ignore_ascii_case(&b) || !(a.is_ascii_alphanumeric() || b.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testbed::http1::read_response;

    #[test]
    fn gives_heads_back_as_they_came() {
        let recorder = Recorder::start().unwrap();
        let mut stream = TcpStream::connect(recorder.address()).unwrap();
        let head = b"GET /a HTTP/1.1\r\nX-A:  1\n\t2 \r\nx_a: \xff\r\nX-A:\r\n\r\n";
        stream.write_all(&head.repeat(2)).unwrap();
        let mut buffer = Vec::new();
        for _ in 0..2 {
            let response = read_response(&mut stream, &mut buffer, false).unwrap();
            assert_eq!(response.body, head);
            let parsed = Head::parse(&response.body);
            assert_eq!(parsed.request, "GET /a HTTP/1.1");
            assert_eq!(parsed.all("x-a"), ["1\n\t2", ""]);
            assert_eq!(
                parsed.spellings("x-a"),
                [("X-A", "1\n\t2"), ("x_a", "\u{ff}"), ("X-A", "")]
            );
            assert!(parsed.spellings("x-b").is_empty());
        }
    }
}
