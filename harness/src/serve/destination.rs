//! Where an explicit proxy may connect to. A policy names hosts; what a name resolves to is the
//! choice of whoever owns the name, so the address is looked at too.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::uri::Authority;
use mtls_gate_core::authz::names_one_host;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// `--allow-destination`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AllowedDestination {
    host: String,
    port: Option<u16>,
}

impl FromStr for AllowedDestination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let authority: Authority = text
            .parse()
            .map_err(|_| "not HOST or HOST:PORT".to_owned())?;
        // No user information before the host; nothing but a port behind it.
        let rest = authority.as_str().strip_prefix(authority.host());
        let port = match rest {
            Some("") => None,
            Some(rest) => {
                let digits = rest.strip_prefix(':').unwrap_or_default();
                let port: u16 = digits
                    .parse()
                    .map_err(|_| format!("{digits:?} is no port"))?;
                Some(port)
            }
            None => return Err("not HOST or HOST:PORT".to_owned()),
        };
        if authority.host().is_empty() {
            return Err("not HOST or HOST:PORT".to_owned());
        }
        Ok(Self {
            host: folded(authority.host()),
            port,
        })
    }
}

/// RFC 9110 4.2.3, and DNS: letter case and one dot at the end say nothing.
fn folded(host: &str) -> String {
    let lower = host.to_ascii_lowercase();
    lower.strip_suffix('.').unwrap_or(&lower).to_owned()
}

/// What a CONNECT asks for (RFC 9110 9.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    host: String,
    port: u16,
}

/// Why there is no tunnel.
#[derive(Debug, Error)]
pub(super) enum DestinationError {
    /// The request target is not `host:port`.
    #[error("the target of CONNECT is not host:port")]
    Malformed,
    /// The name does not resolve.
    #[error("the destination's name does not resolve: {0}")]
    Unresolved(io::Error),
    /// All addresses are ones that no client may reach.
    #[error("the destination's address is {0}")]
    Forbidden(Kind),
    /// No connection.
    #[error("connecting to the destination: {0}")]
    Connect(io::Error),
    /// Too slow.
    #[error("no connection to the destination within {} s", .0.as_secs())]
    Timeout(Duration),
}

/// Addresses that no name may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Kind {
    /// 127.0.0.0/8, ::1
    #[error("loopback")]
    Loopback,
    /// 169.254.0.0/16 (metadata servers live there), fe80::/10
    #[error("link-local")]
    LinkLocal,
    /// 0.0.0.0/8, ::
    #[error("unspecified")]
    Unspecified,
    /// Metadata servers outside of link-local, from where credentials are had.
    #[error("a metadata server's")]
    Metadata,
    /// Multicast, broadcast, reserved.
    #[error("no single host's")]
    NotUnicast,
    /// An address of this host.
    #[error("this host's own")]
    Own,
}

impl Destination {
    /// From the authority-form of a request target; the port must be there.
    pub(super) fn of(authority: Option<&Authority>) -> Result<Self, DestinationError> {
        let authority = authority.ok_or(DestinationError::Malformed)?;
        let port = authority
            .port()
            .and_then(|port| port.as_str().parse().ok())
            .filter(|port| *port != 0);
        match port {
            // What policies read as one host must not resolve as another.
            Some(port) if names_one_host(authority.as_str().as_bytes()) => Ok(Self {
                host: folded(authority.host()),
                port,
            }),
            _ => Err(DestinationError::Malformed),
        }
    }

    /// Resolves once, and connects to what was looked at.
    pub(super) async fn connect(
        &self,
        allowed: &[AllowedDestination],
        lookups: [&Arc<Semaphore>; 2],
        within: Duration,
    ) -> Result<TcpStream, DestinationError> {
        tokio::time::timeout(within, self.connect_untimed(allowed, lookups))
            .await
            .unwrap_or(Err(DestinationError::Timeout(within)))
    }

    async fn connect_untimed(
        &self,
        allowed: &[AllowedDestination],
        lookups: [&Arc<Semaphore>; 2],
    ) -> Result<TcpStream, DestinationError> {
        let by_name = allowed.iter().any(|allowed| {
            allowed.host == self.host && allowed.port.is_none_or(|port| port == self.port)
        });
        // An IPv6 literal stands in brackets.
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let addresses = resolve(host, self.port, lookups)
            .await
            .map_err(DestinationError::Unresolved)?;
        let mut why = DestinationError::Unresolved(io::ErrorKind::NotFound.into());
        for address in addresses {
            if let Some(kind) = forbidden(address.ip())
                && !by_name
            {
                // A failure to connect elsewhere says more.
                if !matches!(why, DestinationError::Connect(_)) {
                    why = DestinationError::Forbidden(kind);
                }
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => why = DestinationError::Connect(error),
            }
        }
        Err(why)
    }
}

/// The resolver blocks a thread, for as long as a name server is silent and whether or not anybody
/// still waits: so lookups are counted to their own end, this client's and all.
async fn resolve(
    host: &str,
    port: u16,
    lookups: [&Arc<Semaphore>; 2],
) -> io::Result<Vec<SocketAddr>> {
    let mut permits = Vec::with_capacity(lookups.len());
    for semaphore in lookups {
        let permit = Arc::clone(semaphore).acquire_owned().await;
        permits.push(permit.map_err(io::Error::other)?);
    }
    let host = host.to_owned();
    let lookup = tokio::task::spawn_blocking(move || {
        let addresses = (host.as_str(), port).to_socket_addrs();
        drop(permits);
        addresses
    });
    Ok(lookup.await.map_err(io::Error::other)??.collect())
}

fn forbidden(address: IpAddr) -> Option<Kind> {
    let embedded = match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => embedded(address),
    };
    embedded
        .and_then(forbidden_v4)
        .or_else(|| forbidden_v6(address))
        .or_else(|| {
            let candidates = [Some(address), embedded.map(IpAddr::V4)];
            let own = candidates.into_iter().flatten().any(is_own);
            own.then_some(Kind::Own)
        })
}

fn forbidden_v4(address: Ipv4Addr) -> Option<Kind> {
    let [first, ..] = address.octets();
    if address.is_loopback() {
        Some(Kind::Loopback)
    } else if address.is_link_local() {
        Some(Kind::LinkLocal)
    } else if first == 0 {
        // RFC 1122 3.2.1.3: this network; Linux connects 0.0.0.0 to itself.
        Some(Kind::Unspecified)
    } else if first >= 224 {
        Some(Kind::NotUnicast)
    } else if METADATA_V4.contains(&address) {
        Some(Kind::Metadata)
    } else {
        None
    }
}

/// Where clouds have their metadata servers among public or shared addresses: Alibaba Cloud, Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Where clouds have their metadata servers among private addresses: Amazon EC2, Google Cloud.
const METADATA: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn forbidden_v6(address: IpAddr) -> Option<Kind> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    if address.is_loopback() {
        Some(Kind::Loopback)
    } else if address.is_unicast_link_local() {
        Some(Kind::LinkLocal)
    } else if address.is_unspecified() {
        Some(Kind::Unspecified)
    } else if address.is_multicast() {
        Some(Kind::NotUnicast)
    } else if METADATA.contains(&address) {
        Some(Kind::Metadata)
    } else {
        None
    }
}

/// IPv4 inside of IPv6: mapped and compatible (RFC 4291 2.5.5), translated (RFC 2765 2.1), NAT64 (RFC
/// 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380 4).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if g != 0 => v4(g, h),
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, ..] => v4(g, h),
        [0x2001, 0, ..] => v4(!g, !h),
        [0x2002, ..] => v4(b, c),
        _ => None,
    }
}

/// Only a host's own addresses can be bound to, secondary ones too. A kernel that is told to bind
/// anything (ip_nonlocal_bind) cannot be asked so; to itself it sends from the same address, unless
/// that is a secondary one. Neither sends anything.
fn is_own(address: IpAddr) -> bool {
    /// TEST-NET-3 and the documentation prefix (RFC 5737, RFC 3849): nobody's.
    const FOREIGN_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 255);
    const FOREIGN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xffff);
    let (any, foreign): (IpAddr, IpAddr) = match address {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), FOREIGN_V4.into()),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), FOREIGN_V6.into()),
    };
    let binds = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    if binds(address) && !binds(foreign) {
        return true;
    }
    const ANY_PORT: u16 = 9;
    let local = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, ANY_PORT))?;
        socket.local_addr()
    });
    // Without a route there is no connection either.
    local.is_ok_and(|local| local.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inward_addresses_are_forbidden_in_every_notation() {
        for (address, kind) in [
            ("127.0.0.1", Kind::Loopback),
            ("127.255.0.3", Kind::Loopback),
            ("::1", Kind::Loopback),
            ("::ffff:127.0.0.1", Kind::Loopback),
            ("::127.0.0.1", Kind::Loopback),
            ("64:ff9b::7f00:1", Kind::Loopback),
            ("64:ff9b:1::7f00:1", Kind::Loopback),
            ("::ffff:0:127.0.0.1", Kind::Loopback),
            ("2001:0:1:2:3:4:80ff:fffe", Kind::Loopback),
            ("2002:7f00:1::", Kind::Loopback),
            ("169.254.169.254", Kind::LinkLocal),
            ("::ffff:169.254.169.254", Kind::LinkLocal),
            ("fe80::1", Kind::LinkLocal),
            ("0.0.0.0", Kind::Unspecified),
            ("0.1.2.3", Kind::Unspecified),
            ("::", Kind::Unspecified),
            ("fd00:ec2::254", Kind::Metadata),
            ("fd20:ce::254", Kind::Metadata),
            ("224.0.0.1", Kind::NotUnicast),
            ("255.255.255.255", Kind::NotUnicast),
            ("ff02::1", Kind::NotUnicast),
        ] {
            assert_eq!(forbidden(address.parse().unwrap()), Some(kind), "{address}");
        }
        for address in [
            "192.0.2.1",
            "10.255.255.253",
            "2001:db8::1",
            "::ffff:192.0.2.1",
        ] {
            assert_eq!(forbidden(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn own_addresses_are_known() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(is_own("127.5.6.7".parse().unwrap()));
        assert!(!is_own("192.0.2.77".parse().unwrap()));
    }

    #[test]
    fn targets_are_host_and_port() {
        let of = |text: &str| Destination::of(Some(&text.parse().unwrap()));
        let found = of("Example.COM.:443").unwrap();
        assert_eq!((found.host.as_str(), found.port), ("example.com", 443));
        for text in [
            "example.com",
            "u@example.com:1",
            "example.com:0",
            "0x7f.1:1",
            "2130706433:1",
            "127.1:1",
            "127.0.0.01:1",
        ] {
            assert!(of(text).is_err(), "{text}");
        }
        assert!(Destination::of(None).is_err());
        let allowed: AllowedDestination = "Localhost:8080".parse().unwrap();
        assert_eq!(
            (allowed.host.as_str(), allowed.port),
            ("localhost", Some(8080))
        );
        assert!("a:b".parse::<AllowedDestination>().is_err());
        assert!("".parse::<AllowedDestination>().is_err());
    }
}
