//! What is known of a request: read once, and only as far as a policy asks.

use core::fmt;
use core::net::IpAddr;

use super::Request;
use super::host::Host;
use crate::client_cert::ClientCert;
use crate::limits::SPIFFE_ID_BYTES;
use crate::spiffe::is_spiffe_uri;
use crate::variables;
use crate::x509::{Certificate, Name};

/// Something that policies look at and that may be unfit to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attribute {
    /// `CLIENT_CERT_URI_SAN`
    UriSans,
    /// `CLIENT_CERT_DNS_NAME_SAN`
    DnsSans,
    /// `CLIENT_CERT_COMMON_NAME`
    CommonName,
    /// `hosts`
    Host,
    /// `ipBlocks` that keep out.
    DirectPeer,
}

/// Why a request cannot be judged, and is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    UriSansTooLarge,
    DnsSansTooLarge,
    SubjectTooLarge,
    CommonNameUnreadable,
    SeveralCommonNames,
    MalformedHost,
    UnknownDirectPeer,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UriSansTooLarge => "the certificate's URI names are over their size limit",
            Self::DnsSansTooLarge => "the certificate's DNS names are over their size limit",
            Self::SubjectTooLarge => "the certificate's subject is over its size limit",
            Self::CommonNameUnreadable => "the certificate's common name is no text",
            Self::SeveralCommonNames => "the certificate has several common names",
            Self::MalformedHost => "the request's host is missing or malformed",
            Self::UnknownDirectPeer => "the direct peer's address is not known",
        })
    }
}

/// The values that patterns are compared with. What no policy asks for stays empty.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) host: Option<Host>,
    pub(super) direct_peer: Option<IpAddr>,
    pub(super) uri_sans: Vec<&'a [u8]>,
    pub(super) dns_sans: Vec<&'a [u8]>,
    pub(super) common_name: Option<String>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(request: &'a Request<'a>) -> Self {
        Self {
            request,
            host: None,
            direct_peer: request.direct_peer,
            uri_sans: Vec::new(),
            dns_sans: Vec::new(),
            common_name: None,
        }
    }

    /// Reads what a policy looks at.
    ///
    /// Google, authorization policy overview: principals are those of a validated certificate, and
    /// without one they are empty. An attribute over its size limit refuses the request if a policy
    /// validates it, and is none of a policy's business otherwise.
    pub(super) fn read(
        &mut self,
        attribute: Attribute,
        client_cert: &'a ClientCert,
    ) -> Result<(), Unfit> {
        match (attribute, client_cert) {
            (Attribute::Host, _) => self.read_host(),
            (Attribute::DirectPeer, _) => match self.direct_peer {
                Some(_) => Ok(()),
                None => Err(Unfit::UnknownDirectPeer),
            },
            (_, ClientCert::Off | ClientCert::Unverified { .. }) => Ok(()),
            (Attribute::UriSans, ClientCert::Verified { end_entity, .. }) => {
                self.read_uri_sans(end_entity)
            }
            (Attribute::DnsSans, ClientCert::Verified { end_entity, .. }) => {
                if variables::dnsname_sans(end_entity).is_none() {
                    return Err(Unfit::DnsSansTooLarge);
                }
                self.dns_sans = end_entity.dns_sans().collect();
                Ok(())
            }
            (Attribute::CommonName, ClientCert::Verified { end_entity, .. }) => {
                self.read_common_name(end_entity)
            }
        }
    }

    /// RFC 9112 3.2: a request without a host, or with a malformed one, is refused. The backend
    /// may see in it what no pattern did.
    fn read_host(&mut self) -> Result<(), Unfit> {
        let host = Host::read(self.request.host).ok_or(Unfit::MalformedHost)?;
        self.host = Some(host);
        Ok(())
    }

    /// All URIs, the SPIFFE ID among them, though the variables have it apart.
    fn read_uri_sans(&mut self, end_entity: &'a Certificate) -> Result<(), Unfit> {
        if variables::uri_sans(end_entity).is_none()
            || !are_spiffe_ids_within(end_entity.uri_sans())
        {
            return Err(Unfit::UriSansTooLarge);
        }
        self.uri_sans = end_entity.uri_sans().collect();
        Ok(())
    }

    /// `authz_policy.proto`: several common names refuse the request. None is the empty value.
    fn read_common_name(&mut self, end_entity: &'a Certificate) -> Result<(), Unfit> {
        if variables::subject_dn(end_entity).is_none() {
            return Err(Unfit::SubjectTooLarge);
        }
        let subject = end_entity.name_der(end_entity.subject());
        let mut names = Name::common_names(subject)
            .ok_or(Unfit::CommonNameUnreadable)?
            .into_iter();
        self.common_name = names.next();
        match names.next() {
            Some(_) => Err(Unfit::SeveralCommonNames),
            None => Ok(()),
        }
    }
}

/// Several SPIFFE IDs share the limit of one: Google has no word for several.
fn are_spiffe_ids_within<'u>(uris: impl Iterator<Item = &'u [u8]>) -> bool {
    let bytes = uris
        .filter(|uri| is_spiffe_uri(uri))
        .fold(0_usize, |sum, uri| sum.saturating_add(uri.len()));
    bytes <= SPIFFE_ID_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_spiffe_ids_share_one_limit() {
        let long = format!("spiffe://a/{}", "b".repeat(2037));
        assert_eq!(long.len(), 2048);
        let within = |uris: &[&str]| are_spiffe_ids_within(uris.iter().map(|uri| uri.as_bytes()));
        assert!(within(&[&long]));
        assert!(within(&["https://a/", &long]));
        assert!(!within(&[&long, "spiffe:"]));
        assert!(!within(&["SPIFFE://a/b", &long]));
    }
}
