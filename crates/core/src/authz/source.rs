//! Who sends a request: Google's RequestSource.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::facts::Facts;
use super::text::TextMatch;

/// One compiled entry of `sources` or `notSources`. An empty list says nothing.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) principals: Vec<PrincipalMatch>,
    pub(super) ip_blocks: Vec<IpBlock>,
}

/// One of `principals`.
#[derive(Clone, Debug)]
pub(super) struct PrincipalMatch {
    pub(super) selector: Selector,
    pub(super) text: TextMatch,
    /// A dot at the end of a DNS name says nothing (RFC 1034 3.1).
    pub(super) whole_name: bool,
}

/// The part of a certificate that a principal is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    UriSan,
    DnsNameSan,
    CommonName,
}

impl Source {
    /// `authz_policy.proto`, From: any of a list, and all lists that are given.
    pub(super) fn matches(&self, facts: &Facts<'_>) -> bool {
        let principals = || {
            let mut principals = self.principals.iter();
            principals.any(|principal| principal.matches(facts))
        };
        let ip_blocks = || {
            facts.direct_peer.is_some_and(|address| {
                let mut blocks = self.ip_blocks.iter();
                blocks.any(|block| block.holds(address))
            })
        };
        (self.principals.is_empty() || principals()) && (self.ip_blocks.is_empty() || ip_blocks())
    }
}

impl PrincipalMatch {
    /// Without a verified certificate there is no value, and no pattern is empty.
    fn matches(&self, facts: &Facts<'_>) -> bool {
        match self.selector {
            Selector::UriSan => facts.uri_sans.iter().any(|uri| self.text.matches(uri)),
            Selector::DnsNameSan => facts.dns_sans.iter().any(|name| {
                let stem = name.strip_suffix(b".").filter(|_| self.whole_name);
                self.text.matches(name) || stem.is_some_and(|name| self.text.matches(name))
            }),
            Selector::CommonName => facts
                .common_name
                .as_ref()
                .is_some_and(|name| self.text.matches(name.as_bytes())),
        }
    }
}

/// Addresses with the same leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpBlock {
    V4 { prefix: u32, mask: u32 },
    V6 { prefix: u128, mask: u128 },
}

impl IpBlock {
    /// Strict: a prefix with more bits than its length says is two blocks in one.
    pub(crate) fn read(prefix: &str, length: i64) -> Result<Self, IpBlockFault> {
        let address: IpAddr = prefix.parse().map_err(|_| IpBlockFault::NotAnAddress)?;
        let length_within = |bits: u32| {
            u32::try_from(length)
                .ok()
                .and_then(|length| bits.checked_sub(length))
                .ok_or(IpBlockFault::Length { bits })
        };
        let block = match address {
            IpAddr::V4(address) => {
                let host_bits = length_within(Ipv4Addr::BITS)?;
                Self::V4 {
                    prefix: address.to_bits(),
                    // The shift by all bits is what `checked_shl` does not do.
                    mask: u32::MAX.checked_shl(host_bits).unwrap_or(0),
                }
            }
            IpAddr::V6(address) => {
                let host_bits = length_within(Ipv6Addr::BITS)?;
                if address.to_ipv4_mapped().is_some() {
                    return Err(IpBlockFault::Mapped);
                }
                Self::V6 {
                    prefix: address.to_bits(),
                    mask: u128::MAX.checked_shl(host_bits).unwrap_or(0),
                }
            }
        };
        let exact = match block {
            Self::V4 { prefix, mask } => prefix & !mask == 0,
            Self::V6 { prefix, mask } => prefix & !mask == 0,
        };
        if exact {
            Ok(block)
        } else {
            Err(IpBlockFault::HostBits)
        }
    }

    /// Nothing of an address is looked at.
    pub(crate) fn holds_all(self) -> bool {
        matches!(self, Self::V4 { mask: 0, .. } | Self::V6 { mask: 0, .. })
    }

    /// An IPv4 address is one also where it is written as IPv6 (RFC 4291 2.5.5.2).
    pub(crate) fn holds(self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::V4 { prefix, mask }, IpAddr::V4(address)) => address.to_bits() & mask == prefix,
            (Self::V6 { prefix, mask }, IpAddr::V6(address)) => address.to_bits() & mask == prefix,
            _ => false,
        }
    }
}

/// Why an IP block is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpBlockFault {
    NotAnAddress,
    Mapped,
    Length { bits: u32 },
    HostBits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_strictly() {
        let read = |prefix: &str, length| IpBlock::read(prefix, length).err();
        for (prefix, length) in [
            ("10.0.0.0", 8),
            ("0.0.0.0", 0),
            ("192.0.2.1", 32),
            ("2001:db8::", 32),
            ("::", 0),
            ("::1", 128),
        ] {
            assert_eq!(read(prefix, length), None, "{prefix}/{length}");
        }
        for prefix in ["", "10.0.0", "010.0.0.0", "10.0.0.0/8", "a.test", "[::1]"] {
            assert_eq!(read(prefix, 8), Some(IpBlockFault::NotAnAddress));
        }
        for length in [-1, 33, i64::MIN, i64::MAX, 1 << 32] {
            let fault = IpBlockFault::Length { bits: 32 };
            assert_eq!(read("10.0.0.0", length), Some(fault), "{length}");
        }
        let fault = IpBlockFault::Length { bits: 128 };
        assert_eq!(read("::", 129), Some(fault));
        for (prefix, length) in [("10.0.0.1", 8), ("10.0.0.0", 6), ("::1", 127)] {
            assert_eq!(read(prefix, length), Some(IpBlockFault::HostBits));
        }
        assert_eq!(read("::ffff:10.0.0.0", 104), Some(IpBlockFault::Mapped));
    }

    #[test]
    fn blocks_hold_addresses() {
        let holds = |prefix: &str, length, address: &str| {
            let block = IpBlock::read(prefix, length).unwrap();
            block.holds(address.parse().unwrap())
        };
        for (prefix, length, inside, outside) in [
            ("10.0.0.0", 8, "10.255.255.255", "11.0.0.0"),
            ("10.0.0.0", 8, "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("192.0.2.1", 32, "192.0.2.1", "192.0.2.0"),
            ("0.0.0.0", 0, "255.255.255.255", "2001:db8::1"),
            ("2001:db8::", 33, "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::", 0, "2001:db8::1", "::ffff:10.0.0.1"),
            ("::1", 128, "::1", "::2"),
        ] {
            assert!(holds(prefix, length, inside), "{prefix}/{length}");
            assert!(!holds(prefix, length, outside), "{prefix}/{length}");
        }
    }
}
