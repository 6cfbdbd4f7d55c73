//! A backend that switches to WebSocket and then sends back what it gets.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

/// Header lines of a client that asks for it.
pub const UPGRADE: [&str; 4] = [
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

/// How long a connection may be silent.
const SILENT_FOR: Duration = Duration::from_secs(20);

/// Takes so many connections, and gives the heads of their requests, in lower case, when all have
/// ended.
///
/// # Errors
/// No loopback port could be opened.
pub fn backend(
    connections: usize,
) -> io::Result<(SocketAddr, JoinHandle<io::Result<Vec<String>>>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let thread = std::thread::spawn(move || {
        let mut heads = Vec::new();
        let mut echoing = Vec::new();
        for _ in 0..connections {
            let (mut stream, _) = listener.accept()?;
            heads.push(switch(&mut stream)?);
            echoing.push(std::thread::spawn(move || echo(stream)));
        }
        for thread in echoing {
            let _ = thread.join();
        }
        Ok(heads)
    });
    Ok((address, thread))
}

fn switch(stream: &mut TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(SILENT_FOR))?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    stream.write_all(SWITCH)?;
    Ok(String::from_utf8_lossy(&head).to_ascii_lowercase())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut back = stream.try_clone()?;
    io::copy(&mut stream, &mut back).map(|_| ())
}
