//! A name server on loopback for tests: A records, and nothing else.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the thread looks whether it should end.
const POLL: Duration = Duration::from_millis(50);
/// RFC 1035 4.1.1: identifier, flags, four counts.
const HEADER_BYTES: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];

/// A running name server; dropping it ends it.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Dns {
    /// Answers for these names, in lower case; other names do not exist.
    ///
    /// # Errors
    /// There is no free port, or no thread.
    pub fn start(names: &[(&str, &[Ipv4Addr])]) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(POLL))?;
        let address = socket.local_addr()?;
        let names: Vec<(String, Vec<Ipv4Addr>)> = names
            .iter()
            .map(|(name, addresses)| ((*name).to_owned(), addresses.to_vec()))
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || {
            let mut query = [0; 512];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut query) else {
                    continue;
                };
                let answer = query.get(..length).and_then(|query| answer(query, &names));
                // Who asked will ask again.
                let _ = answer.map(|answer| socket.send_to(&answer, from));
            }
        };
        let thread = std::thread::Builder::new()
            .name("dns".to_owned())
            .spawn(serve)?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(query: &[u8], names: &[(String, Vec<Ipv4Addr>)]) -> Option<Vec<u8>> {
    let (header, rest) = query.split_at_checked(HEADER_BYTES)?;
    let (identifier, _) = header.split_at_checked(2)?;
    let mut labels = Vec::new();
    let mut after = rest;
    loop {
        let (length, more) = after.split_first()?;
        if *length == 0 {
            after = more;
            break;
        }
        let (label, more) = more.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        after = more;
    }
    let (kind, after) = after.split_at_checked(2)?;
    let (_class, after) = after.split_at_checked(2)?;
    // What may follow, such as EDNS, is not answered.
    let question = rest.strip_suffix(after)?;
    let name = labels.join(".");
    let known = names.iter().find(|(candidate, _)| *candidate == name);
    let addresses: &[Ipv4Addr] = match known {
        Some((_, addresses)) if kind == TYPE_A => addresses,
        _ => &[],
    };
    // A response, authoritative; 3 is "no such name".
    let flags = [0x84, if known.is_some() { 0 } else { 3 }];
    let count = u8::try_from(addresses.len()).ok()?;
    let mut out = [identifier, &flags, &[0, 1, 0, count, 0, 0, 0, 0], question].concat();
    for address in addresses {
        // The question's name, A, IN, a minute.
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend(address.octets());
    }
    Some(out)
}
