//! The load: connections that are kept or made anew, requests that are prepared.

use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use mtls_gate::testbed::client::{self, ClientOptions, Connection};

use super::Result;
use super::clients::{Client, REQUEST};
use super::setup::Front;

const TIMEOUT: Duration = Duration::from_secs(10);

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) struct Traffic<'c> {
    /// Connections that are kept; none means a new one for each request.
    pub(crate) connections: usize,
    /// Whose requests. Behind TLS a connection that is kept has one client.
    pub(crate) clients: &'c [Client],
    /// Who is next.
    pub(crate) order: Order,
    /// Whether each of them is seen once before anything is measured.
    pub(crate) seen_before: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// One after the other.
    InTurn,
    /// Anyone, the same ones in every run.
    AtRandom,
}

/// A generator for one Envoy. It keeps each connection busy with one request at a time.
pub(crate) struct Lane<'c> {
    port: u16,
    front: Front,
    traffic: Traffic<'c>,
    next: usize,
    wires: Vec<Wire>,
    /// Requests answered so far.
    pub(crate) answered: u64,
}

pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<Connection>),
}

impl<'c> Lane<'c> {
    pub(crate) fn open(port: u16, front: Front, traffic: Traffic<'c>) -> Result<Self> {
        let mut lane = Self {
            port,
            front,
            traffic,
            next: 0,
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
        let all = self.traffic.clients.len() as u64;
        let order = std::mem::replace(&mut self.traffic.order, Order::InTurn);
        self.run(time, if self.traffic.seen_before { all } else { 1 })?;
        self.traffic.order = order;
        Ok(())
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
        let number = match self.traffic.order {
            Order::InTurn => self.next,
            Order::AtRandom => mixed(self.next),
        };
        self.next += 1;
        &self.traffic.clients[number % self.traffic.clients.len()]
    }

    fn request(&mut self) -> &'c [u8] {
        match self.front {
            Front::Relay => &self.client().relayed,
            Front::Tls => REQUEST,
        }
    }

    fn connect(&mut self) -> Result<Wire> {
        if self.front == Front::Relay {
            return Wire::plain(self.port);
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

/// SplitMix64's output function.
fn mixed(number: usize) -> usize {
    let mut word = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ (word >> 31)) as usize
}

impl Wire {
    pub(crate) fn plain(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self::Plain(stream))
    }

    pub(crate) fn send(&mut self, request: &[u8]) -> Result<()> {
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
    pub(crate) fn receive(&mut self) -> Result<()> {
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
