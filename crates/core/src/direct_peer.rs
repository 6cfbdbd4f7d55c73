//! The address that a connection really comes from, as far as a proxy can know it.

use std::net::SocketAddr;

/// Reads the text in which Envoy shows an address and a port.
///
/// A connection always has a port. 0 is what Envoy writes beside an address that it took from
/// X-Forwarded-For, which clients write: such an address proves nothing and is none. So is the path
/// of a socket in the file system.
#[must_use]
pub fn parse(text: &[u8]) -> Option<SocketAddr> {
    let address: SocketAddr = core::str::from_utf8(text).ok()?.parse().ok()?;
    // An IPv4 peer of a socket that serves both is the same peer.
    let ip = address.ip().to_canonical();
    (address.port() != 0).then(|| SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_with_a_port_count() {
        let text = |text: &str| parse(text.as_bytes()).map(|address| address.to_string());
        assert_eq!(text("192.0.2.1:443").as_deref(), Some("192.0.2.1:443"));
        assert_eq!(text("[2001:db8::1]:1").as_deref(), Some("[2001:db8::1]:1"));
        assert_eq!(text("[::ffff:192.0.2.1]:1").as_deref(), Some("192.0.2.1:1"));
        for nothing in [
            "",
            "192.0.2.1:0",
            "[2001:db8::1]:0",
            "[::ffff:192.0.2.1]:0",
            "192.0.2.1",
            "2001:db8::1",
            "192.0.2.1:443 ",
            "192.0.2.1:443,192.0.2.2:443",
            "192.0.2.1:65536",
            "192.0.2.01:1",
            "localhost:1",
            "/run/gate.sock",
            "@abstract",
        ] {
            assert_eq!(text(nothing), None, "{nothing}");
        }
        assert_eq!(parse(b"\xff:1"), None);
    }
}
