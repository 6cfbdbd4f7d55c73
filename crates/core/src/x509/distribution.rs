//! Which certificates a CRL speaks about: distribution points (RFC 5280 4.2.1.13) and the issuing
//! distribution point (5.2.5).

use super::Name;
use super::der::{self, Element, NotDer, Reader, tag};
use super::name::canonical_rdn;

/// More distribution points or names in one than this are not looked at: real certificates have
/// two or three, and each costs a look at the CRLs.
const MAX_POINTS: usize = 32;

/// A set of revocation reasons: `ReasonFlags` of RFC 5280 4.2.1.13.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reasons(u16);

impl Reasons {
    /// No reason.
    pub const NONE: Self = Self(0);
    /// RFC 5280 6.3.2: all-reasons, bits 1 to 8 (bit 0 is unused).
    pub const ALL: Self = Self(0x7f80);

    fn read(content: &[u8]) -> Result<Self, NotDer> {
        let (bits, _) = der::bit_string(content)?;
        let octet = |index: usize| bits.get(index).copied().unwrap_or(0);
        Ok(Self(u16::from_be_bytes([octet(0), octet(1)]) & Self::ALL.0))
    }

    /// Reasons in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Reasons in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Every reason of `other` is in this set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }
}

/// A general name in a form in which equal names have equal bytes: directory names by RFC 5280 7.1,
/// all others byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameKey(Box<[u8]>);

impl NameKey {
    const DIRECTORY: u8 = 0xa4;

    /// A directory name, from its canonical form.
    #[must_use]
    pub fn directory(canonical: &[u8]) -> Self {
        Self([&[Self::DIRECTORY], canonical].concat().into())
    }

    /// The canonical form, if this is a directory name.
    #[must_use]
    pub fn as_directory(&self) -> Option<&[u8]> {
        self.0.strip_prefix(&[Self::DIRECTORY])
    }

    fn read(element: &Element<'_>) -> Result<Self, NotDer> {
        match element.tag {
            Self::DIRECTORY => {
                let mut inner = element.reader();
                let name = Name::read(&inner.require(tag::SEQUENCE)?)?;
                inner.end()?;
                Ok(Self::directory(name.canonical()))
            }
            0xa0 | 0x81 | 0x82 | 0xa3 | 0xa5 | 0x86..=0x88 => {
                Ok(Self([&[element.tag], element.content].concat().into()))
            }
            _ => Err(NotDer),
        }
    }

    /// GeneralNames ::= SEQUENCE SIZE (1..MAX) OF GeneralName, implicitly tagged.
    pub(super) fn read_list(element: &Element<'_>) -> Result<Vec<Self>, NotDer> {
        let mut list = element.reader();
        let mut names = Vec::new();
        while !list.is_empty() {
            if names.len() >= MAX_POINTS {
                return Err(NotDer);
            }
            names.push(Self::read(&list.any()?)?);
        }
        if names.is_empty() {
            return Err(NotDer);
        }
        Ok(names)
    }
}

/// `DistributionPointName`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PointName {
    /// `fullName`: several names of one place.
    Full(Vec<NameKey>),
    /// `nameRelativeToCRLIssuer`, in canonical form.
    Relative(Box<[u8]>),
}

impl PointName {
    fn read(explicit: &Element<'_>) -> Result<Self, NotDer> {
        let mut choice = explicit.reader();
        let element = choice.any()?;
        choice.end()?;
        match element.tag {
            0xa0 => NameKey::read_list(&element).map(Self::Full),
            0xa1 => {
                let mut rdn = Vec::new();
                canonical_rdn(&element, &mut rdn, &mut Vec::new())?;
                Ok(Self::Relative(rdn.into_boxed_slice()))
            }
            _ => Err(NotDer),
        }
    }

    /// The names in full; `issuers` are the canonical names that a relative one continues.
    #[must_use]
    pub fn in_full(&self, issuers: &[&[u8]]) -> Vec<NameKey> {
        match self {
            Self::Full(names) => names.clone(),
            Self::Relative(rdn) => issuers
                .iter()
                .map(|issuer| NameKey::directory(&[issuer, &**rdn].concat()))
                .collect(),
        }
    }
}

/// RFC 5280 4.2.1.13
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributionPoint {
    /// `distributionPoint`
    pub name: Option<PointName>,
    /// `reasons`; absent is all.
    pub reasons: Reasons,
    /// `cRLIssuer`: who issues the CRL, if not the certificate's issuer.
    pub crl_issuer: Option<Vec<NameKey>>,
}

/// The extension cRLDistributionPoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributionPoints {
    /// The extension is marked critical.
    pub critical: bool,
    /// Its points; `None`: it is malformed. What no one looks at unless CRLs are checked cannot
    /// make a certificate unreadable.
    pub points: Option<Vec<DistributionPoint>>,
}

impl DistributionPoints {
    pub(super) fn read(value: &Element<'_>, critical: bool) -> Self {
        Self {
            critical,
            points: Self::read_points(value).ok(),
        }
    }

    fn read_points(value: &Element<'_>) -> Result<Vec<DistributionPoint>, NotDer> {
        let mut outer = value.reader();
        let mut list = outer.require(tag::SEQUENCE)?.reader();
        outer.end()?;
        let mut points = Vec::new();
        while !list.is_empty() {
            if points.len() >= MAX_POINTS {
                return Err(NotDer);
            }
            let mut fields = list.require(tag::SEQUENCE)?.reader();
            let name = match fields.optional(tag::context_constructed(0))? {
                Some(explicit) => Some(PointName::read(&explicit)?),
                None => None,
            };
            let reasons = reasons(&mut fields, 1)?.unwrap_or(Reasons::ALL);
            let crl_issuer = match fields.optional(tag::context_constructed(2))? {
                Some(names) => Some(NameKey::read_list(&names)?),
                None => None,
            };
            fields.end()?;
            // RFC 5280 4.2.1.13: not of reasons alone.
            if name.is_none() && crl_issuer.is_none() {
                return Err(NotDer);
            }
            points.push(DistributionPoint {
                name,
                reasons,
                crl_issuer,
            });
        }
        if points.is_empty() {
            return Err(NotDer);
        }
        Ok(points)
    }
}

fn reasons(fields: &mut Reader<'_>, number: u8) -> Result<Option<Reasons>, NotDer> {
    match fields.optional(tag::context(number))? {
        Some(element) => Reasons::read(element.content).map(Some),
        None => Ok(None),
    }
}

/// Which kind of certificate a CRL lists (RFC 5280 5.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Any,
    /// `onlyContainsUserCerts`
    UserCertificates,
    /// `onlyContainsCACerts`
    CaCertificates,
    /// `onlyContainsAttributeCerts`
    AttributeCertificates,
}

/// RFC 5280 5.2.5
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuingDistributionPoint {
    /// `distributionPoint`
    pub name: Option<PointName>,
    /// Which of the three `onlyContains…` is set.
    pub scope: Scope,
    /// `onlySomeReasons`; absent is all.
    pub reasons: Reasons,
    /// `indirectCRL`: entries may name another issuer.
    pub indirect: bool,
}

impl IssuingDistributionPoint {
    pub(super) fn read(value: &Element<'_>) -> Result<Self, NotDer> {
        let mut outer = value.reader();
        let mut fields = outer.require(tag::SEQUENCE)?.reader();
        outer.end()?;
        // RFC 5280 5.2.5: never an empty sequence.
        if fields.is_empty() {
            return Err(NotDer);
        }
        let name = match fields.optional(tag::context_constructed(0))? {
            Some(explicit) => Some(PointName::read(&explicit)?),
            None => None,
        };
        let mut flag = |number| match fields.optional(tag::context(number))? {
            Some(element) => der::boolean(element.content),
            None => Ok(false),
        };
        let (user, ca) = (flag(1)?, flag(2)?);
        let reasons = reasons(&mut fields, 3)?.unwrap_or(Reasons::ALL);
        let mut flag = |number| match fields.optional(tag::context(number))? {
            Some(element) => der::boolean(element.content),
            None => Ok(false),
        };
        let (indirect, attribute) = (flag(4)?, flag(5)?);
        fields.end()?;
        let scope = match (user, ca, attribute) {
            (false, false, false) => Scope::Any,
            (true, false, false) => Scope::UserCertificates,
            (false, true, false) => Scope::CaCertificates,
            (false, false, true) => Scope::AttributeCertificates,
            // RFC 5280 5.2.5: at most one of them.
            _ => return Err(NotDer),
        };
        Ok(Self {
            name,
            scope,
            reasons,
            indirect,
        })
    }
}
