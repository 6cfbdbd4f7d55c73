//! The load: connections that are kept or made anew, requests that are prepared, and a look at what
//! they cost Envoy.

use std::fs;
use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use mtls_gate::testbed::client::{self, ClientOptions, Connection};

use super::Result;
use super::clients::{Client, Clients, REQUEST};
use super::setup::Front;

const TIMEOUT: Duration = Duration::from_secs(10);

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    /// Connections that are kept; none means a new one for each request.
    pub(crate) connections: usize,
    /// Whose requests, one after the other. Behind TLS a connection that is kept has one client.
    pub(crate) clients: Range<usize>,
    /// Whether each of them is seen once before anything is measured.
    pub(crate) seen_before: bool,
}

/// A generator for one Envoy. It keeps each connection busy with one request at a time.
pub(crate) struct Lane<'c> {
    port: u16,
    front: Front,
    clients: &'c [Client],
    next: usize,
    seen_before: bool,
    wires: Vec<Wire>,
    /// Requests answered so far.
    pub(crate) answered: u64,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<Connection>),
}

impl<'c> Lane<'c> {
    pub(crate) fn open(
        port: u16,
        front: Front,
        clients: &'c Clients,
        traffic: &Traffic,
    ) -> Result<Self> {
        let mut lane = Self {
            port,
            front,
            clients: &clients.all[traffic.clients.clone()],
            next: 0,
            seen_before: traffic.seen_before,
            wires: Vec::new(),
            answered: 0,
        };
        for _ in 0..traffic.connections {
            let wire = lane.connect()?;
            lane.wires.push(wire);
        }
        Ok(lane)
    }

    /// Sends at least for this long, and what must be sent before anything is measured.
    pub(crate) fn warm_up(&mut self, time: Duration) -> Result<()> {
        let all = self.clients.len() as u64;
        self.run(time, if self.seen_before { all } else { 1 })
    }

    /// Sends for this long, and at least so many requests.
    pub(crate) fn run(&mut self, time: Duration, at_least: u64) -> Result<()> {
        let since = Instant::now();
        let goal = self.answered + at_least;
        let goes_on = |answered| answered < goal || since.elapsed() < time;
        if self.wires.is_empty() {
            while goes_on(self.answered) {
                let mut wire = self.connect()?;
                wire.send(REQUEST)?;
                wire.receive()?;
                self.answered += 1;
            }
            return Ok(());
        }
        let mut wires = std::mem::take(&mut self.wires);
        for wire in &mut wires {
            wire.send(self.request())?;
        }
        let mut waiting = wires.len();
        while waiting > 0 {
            // Once the time is over, the first `waiting` are those still to be heard.
            for wire in &mut wires {
                if waiting == 0 {
                    break;
                }
                wire.receive()?;
                self.answered += 1;
                if goes_on(self.answered) {
                    wire.send(self.request())?;
                } else {
                    waiting -= 1;
                }
            }
        }
        self.wires = wires;
        Ok(())
    }

    fn client(&mut self) -> &'c Client {
        let client = &self.clients[self.next % self.clients.len()];
        self.next += 1;
        client
    }

    fn request(&mut self) -> &'c [u8] {
        match self.front {
            Front::Relay => &self.client().relayed,
            Front::Tls => REQUEST,
        }
    }

    fn connect(&mut self) -> Result<Wire> {
        if self.front == Front::Relay {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            return Ok(Wire::Plain(stream));
        }
        let options = ClientOptions {
            timeout: TIMEOUT,
            ..ClientOptions::default()
        };
        let identity = &self.client().identity;
        let connection = client::connect(self.port, "bench.test", Some(identity), &options)?;
        Ok(Wire::Tls(Box::new(connection)))
    }
}

impl Wire {
    fn send(&mut self, request: &[u8]) -> Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(request)?,
            Self::Tls(connection) => connection.send_raw(request)?,
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(connection) => connection.read_some(buffer),
        }
    }

    /// A response is a head without a body.
    fn receive(&mut self) -> Result<()> {
        let mut buffer = [0; 1024];
        let mut filled = 0;
        while !buffer[..filled].ends_with(b"\r\n\r\n") {
            match self.read(&mut buffer[filled..])? {
                0 => return Err("Envoy closed the connection: the client was refused".into()),
                count => filled += count,
            }
        }
        if buffer.starts_with(b"HTTP/1.1 200 ") {
            Ok(())
        } else {
            let head = String::from_utf8_lossy(&buffer[..filled]);
            Err(format!("not 200: {head}").into())
        }
    }
}

/// The CPU time of all threads of a process.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let on_cpu = text.split(' ').next().unwrap_or_default();
        nanoseconds += on_cpu.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The resident memory of a process, in MiB.
pub(crate) fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.ok_or("no VmRSS")?.trim().parse::<f64>()? / 1024.0)
}
