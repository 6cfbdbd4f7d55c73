//! One certificate, parsed.

use core::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::der::{self, NotDer, Reader, tag};
use super::extension_list;
use super::extensions::{Extensions, GeneralSubtree, NameConstraints, PolicyMapping};
use super::spki::key_kind;
use super::{GeneralName, KeyKind, Name, ParseError, Span, UnixSeconds};

/// A distribution point with as many names as there may be.
const POINT_BYTES: usize = 4 * 1024;

/// A certificate (RFC 5280 4.1) with its DER and the fields that matter here. Nothing is proven by
/// it being parsed. Copies share what was parsed.
#[derive(Clone, Debug)]
pub struct Certificate(Arc<Parsed>);

#[derive(Debug)]
struct Parsed {
    der: Box<[u8]>,
    version: u32,
    tbs: Span,
    signature_algorithm: Span,
    signature: Span,
    serial: Span,
    issuer: Name,
    subject: Name,
    not_before: UnixSeconds,
    not_after: UnixSeconds,
    spki: Span,
    key_algorithm: Span,
    key_bits: Span,
    key: KeyKind,
    extensions: Extensions,
    sha256: OnceLock<[u8; 32]>,
}

impl Certificate {
    /// Parses exactly one certificate.
    ///
    /// # Errors
    /// The bytes are not strict DER, not a certificate, or a processed extension is malformed.
    pub fn parse(der: Vec<u8>) -> Result<Self, ParseError> {
        let structure = |field| move |_: NotDer| ParseError::Structure { field };
        der::check_nesting(&der).map_err(|_| ParseError::NotDer)?;
        let outer = Outer::read(&der).map_err(structure("certificate"))?;
        outer.check(&der).map_err(structure("certificate"))?;
        let [not_before, not_after] = outer.dates.each_ref().map(UnixSeconds::read);
        let not_before = not_before.map_err(structure("certificate"))?;
        let not_after = not_after.map_err(structure("certificate"))?;
        // RFC 5280 4.1.1.2
        if outer.signature_algorithm.of(&der) != outer.tbs_signature_algorithm.of(&der) {
            return Err(ParseError::SignatureAlgorithmMismatch);
        }
        if outer.version > 2 {
            return Err(ParseError::Structure { field: "version" });
        }
        let extensions = match &outer.extensions {
            // RFC 5280 4.1.2.9: extensions only in version 3
            Some(_) if outer.version != 2 => {
                return Err(ParseError::Structure { field: "version" });
            }
            Some(explicit) => Extensions::read(explicit)?,
            None => Extensions::default(),
        };
        let key = key_kind(outer.key_algorithm.of(&der), outer.key_bits.of(&der))
            .map_err(structure("subjectPublicKeyInfo"))?;
        let issuer = Name::read(&outer.issuer).map_err(structure("issuer"))?;
        let subject = Name::read(&outer.subject).map_err(structure("subject"))?;
        Ok(Self(Arc::new(Parsed {
            version: outer.version,
            tbs: outer.tbs,
            signature_algorithm: outer.signature_algorithm,
            signature: outer.signature,
            serial: outer.serial,
            issuer,
            subject,
            not_before,
            not_after,
            spki: outer.spki,
            key_algorithm: outer.key_algorithm,
            key_bits: outer.key_bits,
            key,
            extensions,
            sha256: OnceLock::new(),
            der: der.into_boxed_slice(),
        })))
    }

    /// The whole certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The version as it is encoded: 2 is version 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// The signed part, tag and length included.
    #[must_use]
    pub fn tbs(&self) -> &[u8] {
        self.0.tbs.of(&self.0.der)
    }

    /// The signature's AlgorithmIdentifier, without its outer tag and length.
    #[must_use]
    pub fn signature_algorithm(&self) -> &[u8] {
        self.0.signature_algorithm.of(&self.0.der)
    }

    /// The signature's octets.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        self.0.signature.of(&self.0.der)
    }

    /// The content octets of the serial number's INTEGER, a leading sign octet included.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        self.0.serial.of(&self.0.der)
    }

    /// The issuer's name.
    #[must_use]
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// The subject's name.
    #[must_use]
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// The DER of a name of this certificate, tag and length included.
    #[must_use]
    pub fn name_der(&self, name: &Name) -> &[u8] {
        name.span().of(&self.0.der)
    }

    /// First second of the validity.
    #[must_use]
    pub fn not_before(&self) -> UnixSeconds {
        self.0.not_before
    }

    /// Last second of the validity.
    #[must_use]
    pub fn not_after(&self) -> UnixSeconds {
        self.0.not_after
    }

    /// The SubjectPublicKeyInfo, tag and length included.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        self.0.spki.of(&self.0.der)
    }

    /// The public key's AlgorithmIdentifier, without its outer tag and length.
    #[must_use]
    pub fn key_algorithm(&self) -> &[u8] {
        self.0.key_algorithm.of(&self.0.der)
    }

    /// The octets of the public key's BIT STRING.
    #[must_use]
    pub fn key_bits(&self) -> &[u8] {
        self.0.key_bits.of(&self.0.der)
    }

    /// The public key's kind and size.
    #[must_use]
    pub fn key(&self) -> KeyKind {
        self.0.key
    }

    /// What the extensions say.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// The bytes of a span that one of this certificate's fields holds.
    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        span.of(&self.0.der)
    }

    /// The URI subject alternative names, in order.
    pub fn uri_sans(&self) -> impl Iterator<Item = &[u8]> {
        self.sans(|name| match name {
            GeneralName::Uri(span) => Some(*span),
            _ => None,
        })
    }

    /// The DNS subject alternative names, in order.
    pub fn dns_sans(&self) -> impl Iterator<Item = &[u8]> {
        self.sans(|name| match name {
            GeneralName::Dns(span) => Some(*span),
            _ => None,
        })
    }

    fn sans<'a>(
        &'a self,
        pick: impl Fn(&'a GeneralName) -> Option<Span> + 'a,
    ) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .extensions
            .subject_alt_names
            .iter()
            .filter_map(pick)
            .map(|span| self.bytes(span))
    }

    /// RFC 5280 3.2: subject and issuer are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.0.subject.matches(&self.0.issuer)
    }

    /// About what it holds in memory: the DER, two names in canonical form, and lists whose entries
    /// may be larger than their DER.
    pub(crate) fn bytes_held(&self) -> usize {
        let extensions = &self.0.extensions;
        let policies = extensions.certificate_policies.as_ref().map_or(0, Vec::len);
        let points = extensions.crl_distribution_points.as_ref();
        let points = points.and_then(|points| points.points.as_ref());
        let constraints = extensions.name_constraints.as_ref();
        let lists = [
            (3, self.0.der.len()),
            (size_of::<GeneralName>(), extensions.subject_alt_names.len()),
            (size_of::<Span>(), policies),
            (size_of::<PolicyMapping>(), extensions.policy_mappings.len()),
            (
                size_of::<GeneralSubtree>(),
                constraints.map_or(0, NameConstraints::len),
            ),
            (POINT_BYTES, points.map_or(0, Vec::len)),
        ];
        lists
            .into_iter()
            .fold(size_of::<Parsed>(), |sum, (each, count)| {
                sum.saturating_add(count.saturating_mul(each))
            })
    }

    /// The same; its SHA-256 is known already.
    pub(crate) fn with_sha256(self, sha256: [u8; 32]) -> Self {
        self.0.sha256.get_or_init(|| sha256);
        self
    }

    /// SHA-256 of the DER, worked out once.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        *self
            .0
            .sha256
            .get_or_init(|| Sha256::digest(&self.0.der).into())
    }
}

/// A certificate's public key, for a proof of possession. A client must be able to prove that it
/// holds the key of a certificate that is refused later, so only the certificate's outer structure
/// is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectPublicKey<'a> {
    /// The content octets of the AlgorithmIdentifier (RFC 5280 4.1.1.2).
    pub algorithm: &'a [u8],
    /// The octets of `subjectPublicKey`.
    pub key_bits: &'a [u8],
}

impl<'a> SubjectPublicKey<'a> {
    /// Reads it from a certificate's DER.
    ///
    /// # Errors
    /// There is no certificate's structure.
    pub fn of_certificate(der: &'a [u8]) -> Result<Self, ParseError> {
        let outer = Outer::read(der).map_err(|_| ParseError::Structure {
            field: "certificate",
        })?;
        Ok(Self {
            algorithm: outer.key_algorithm.of(der),
            key_bits: outer.key_bits.of(der),
        })
    }
}

/// The same bytes.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

impl Hash for Certificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.der.hash(state);
    }
}

/// Where the parts of RFC 5280 4.1 lie.
struct Outer<'a> {
    tbs: Span,
    signature_algorithm: Span,
    signature: Span,
    serial: Span,
    tbs_signature_algorithm: Span,
    version: u32,
    version_octets: &'a [u8],
    issuer: der::Element<'a>,
    dates: [der::Element<'a>; 2],
    subject: der::Element<'a>,
    spki: Span,
    key_algorithm: Span,
    key_bits: Span,
    unique_ids: [Option<der::Element<'a>>; 2],
    extensions: Option<der::Element<'a>>,
}

impl<'a> Outer<'a> {
    fn read(der: &'a [u8]) -> Result<Self, NotDer> {
        let mut certificate = Reader::new(der).require(tag::SEQUENCE)?.reader();
        let tbs = certificate.require(tag::SEQUENCE)?;
        let signature_algorithm = certificate.require(tag::SEQUENCE)?;
        let signature = octets(&certificate.require(tag::BIT_STRING)?)?;
        certificate.end()?;

        let mut fields = tbs.reader();
        let version_octets = match fields.optional(tag::context_constructed(0))? {
            Some(explicit) => {
                let mut version = explicit.reader();
                let number = version.require(tag::INTEGER)?.content;
                version.end()?;
                number
            }
            None => &[0],
        };
        let version = der::unsigned(version_octets)?;
        let serial = fields.require(tag::INTEGER)?;
        if !der::is_shortest_integer(serial.content) {
            return Err(NotDer);
        }
        let tbs_signature_algorithm = fields.require(tag::SEQUENCE)?;
        let issuer = fields.require(tag::SEQUENCE)?;
        let mut validity = fields.require(tag::SEQUENCE)?.reader();
        let dates = [validity.any()?, validity.any()?];
        dates.iter().try_for_each(time_form)?;
        validity.end()?;
        let subject = fields.require(tag::SEQUENCE)?;
        let spki = fields.require(tag::SEQUENCE)?;
        let unique_ids = [
            fields.optional(tag::context(1))?,
            fields.optional(tag::context(2))?,
        ];
        let extensions = fields.optional(tag::context_constructed(3))?;
        fields.end()?;

        let mut key = spki.reader();
        let key_algorithm = key.require(tag::SEQUENCE)?;
        let key_bits = octets(&key.require(tag::BIT_STRING)?)?;
        key.end()?;

        Ok(Self {
            tbs: tbs.span,
            signature_algorithm: signature_algorithm.content_span,
            signature,
            serial: serial.content_span,
            tbs_signature_algorithm: tbs_signature_algorithm.content_span,
            version,
            version_octets,
            issuer,
            dates,
            subject,
            spki: spki.span,
            key_algorithm: key_algorithm.content_span,
            key_bits,
            unique_ids,
            extensions,
        })
    }

    /// What has no use but belongs to the structure, so that nothing unreadable is passed over.
    fn check(&self, der: &[u8]) -> Result<(), NotDer> {
        // 4.1.1.2: an AlgorithmIdentifier begins with its identifier.
        for algorithm in [
            self.signature_algorithm,
            self.tbs_signature_algorithm,
            self.key_algorithm,
        ] {
            if Reader::new(algorithm.of(der)).any()?.is_constructed() {
                return Err(NotDer);
            }
        }
        // 4.1.2.8: BIT STRINGs, which begin with the number of unused bits.
        let mut unique_ids = self.unique_ids.iter().flatten();
        if unique_ids.any(|unique_id| unique_id.content.is_empty()) {
            return Err(NotDer);
        }
        // 4.1.2.1: other versions are told by their number, as far as it is one of 32 bits.
        if der::significant(self.version_octets).len() > size_of::<u32>() {
            return Err(NotDer);
        }
        match &self.extensions {
            Some(explicit) => extension_list::check(explicit),
            None => Ok(()),
        }
    }
}

/// RFC 5280 4.1.2.5: `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, nothing else.
pub(super) fn time_form(element: &der::Element<'_>) -> Result<(), NotDer> {
    let digits = match element.tag {
        tag::UTC_TIME => 12,
        tag::GENERALIZED_TIME => 14,
        _ => return Err(NotDer),
    };
    match element.content.split_last() {
        Some((b'Z', rest)) if rest.len() == digits && rest.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => Err(NotDer),
    }
}

/// A BIT STRING of whole octets: where they lie.
pub(super) fn octets(element: &der::Element<'_>) -> Result<Span, NotDer> {
    match der::bit_string(element.content)? {
        (_, 0) => Ok(Span::new(
            element.content_span.start.saturating_add(1),
            element.content_span.end,
        )),
        _ => Err(NotDer),
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::certificate::X509CertificateParser;
    use x509_parser::nom::Parser;

    use super::*;
    use crate::forwarded::pem;

    /// What `x509-parser` says of a certificate that is DER with the outer structure of one: its dates,
    /// or that it refuses.
    fn by_x509_parser(der: &[u8]) -> Option<[i64; 2]> {
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        let (rest, parsed) = parser.parse(der).ok()?;
        assert!(rest.is_empty());
        let validity = parsed.validity();
        Some([&validity.not_before, &validity.not_after].map(|date| date.timestamp()))
    }

    /// Whether anything is left to compare: the rest is refused before.
    fn compare(der: &[u8]) -> Option<bool> {
        der::check_nesting(der).ok()?;
        let outer = Outer::read(der).ok()?;
        let dates = outer.dates.each_ref().map(UnixSeconds::read);
        let ours = match (outer.check(der), dates) {
            (Ok(()), [Ok(first), Ok(last)]) => Some([first.0, last.0]),
            _ => None,
        };
        assert_eq!(ours, by_x509_parser(der), "{}", der.escape_ascii());
        Some(ours.is_some())
    }

    fn certificates() -> Vec<Vec<u8>> {
        let chains = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/chains");
        let mut found: Vec<Vec<u8>> = Vec::new();
        for case in std::fs::read_dir(chains).unwrap() {
            let Ok(text) = std::fs::read(case.unwrap().path().join("chain.pem")) else {
                continue;
            };
            let bounds = pem::Bounds {
                blocks: usize::MAX,
                der_bytes: usize::MAX,
            };
            let blocks = pem::blocks(&text, pem::Label::Certificate, pem::Around::AnyText, bounds);
            found.extend(blocks.unwrap_or_default());
        }
        found.sort();
        found.dedup();
        found
    }

    const TAGS: [u8; 15] = [
        0x01, 0x02, 0x03, 0x04, 0x06, 0x24, 0x30, 0x41, 0x81, 0x82, 0x84, 0x90, 0xa0, 0xa3, 0xb0,
    ];

    /// One value, and the values in it if it is constructed.
    #[derive(Clone)]
    struct Tree {
        tag: u8,
        content: Vec<u8>,
        inside: Vec<Tree>,
    }

    impl Tree {
        fn read(element: &der::Element<'_>) -> Self {
            let mut inside = Vec::new();
            let mut reader = element.reader();
            while element.is_constructed() && !reader.is_empty() {
                inside.push(Self::read(&reader.any().unwrap()));
            }
            Self {
                tag: element.tag,
                content: element.content.to_vec(),
                inside,
            }
        }

        fn write(&self) -> Vec<u8> {
            let content = if self.inside.is_empty() {
                self.content.clone()
            } else {
                self.inside.iter().flat_map(Self::write).collect()
            };
            let length = content.len().to_be_bytes();
            let length = &length[length.iter().take_while(|octet| **octet == 0).count()..];
            let mut der = vec![self.tag];
            match length {
                [] => der.push(0),
                [short @ ..=0x7f] => der.push(*short),
                long => {
                    der.push(0x80 | u8::try_from(long.len()).unwrap());
                    der.extend(long);
                }
            }
            der.extend(content);
            der
        }

        /// Some value in it.
        fn any(&mut self, random: &mut impl FnMut(usize) -> usize) -> &mut Self {
            if self.inside.is_empty() || random(6) == 0 {
                return self;
            }
            let at = random(self.inside.len());
            self.inside[at].any(random)
        }

        fn change(&mut self, random: &mut impl FnMut(usize) -> usize) {
            let leaf = Self {
                tag: TAGS[random(TAGS.len())],
                content: vec![0xff; random(3)],
                inside: Vec::new(),
            };
            let at = random(self.inside.len().max(1));
            match random(6) {
                0 => self.tag = TAGS[random(TAGS.len())],
                1 if at < self.inside.len() => drop(self.inside.remove(at)),
                2 if at < self.inside.len() => self.inside.insert(at, self.inside[at].clone()),
                3 if !self.inside.is_empty() => self.inside.insert(at, leaf),
                4 => {
                    self.content.truncate(random(7));
                    self.inside.clear();
                }
                _ if self.inside.is_empty() && !self.content.is_empty() => {
                    let at = random(self.content.len());
                    self.content[at] = u8::try_from(random(256)).unwrap();
                }
                _ => {}
            }
        }
    }

    /// All trees that differ from this one in that a value is put before, or in the place of, another.
    fn each_with(tree: &Tree, value: &Tree, see: &mut impl FnMut(&Tree)) {
        fn at(root: &Tree, way: &[usize], value: &Tree, replaces: bool) -> Tree {
            let mut root = root.clone();
            let mut place = &mut root;
            let (last, way) = way.split_last().unwrap();
            for step in way {
                place = &mut place.inside[*step];
            }
            place.inside.insert(*last, value.clone());
            if replaces && last + 1 < place.inside.len() {
                place.inside.remove(last + 1);
            }
            root
        }
        let mut open = vec![(tree, Vec::new())];
        while let Some((place, way)) = open.pop() {
            for step in 0..=place.inside.len() {
                let way = [way.as_slice(), &[step]].concat();
                if let Some(inside) = place.inside.get(step).filter(|one| !one.inside.is_empty()) {
                    open.push((inside, way.clone()));
                }
                for replaces in [false, true] {
                    see(&at(tree, &way, value, replaces));
                }
            }
        }
    }

    /// The one reader accepts what the other does, but for what is always refused before.
    #[test]
    fn what_x509_parser_refuses_is_refused() {
        let certificates = certificates();
        assert!(certificates.len() > 200);
        let mut seen = [0_usize; 2];
        let mut count = |der: &[u8]| {
            if let Some(accepted) = compare(der) {
                seen[usize::from(accepted)] += 1;
            }
        };
        // xorshift: the same in every run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
        };
        let rounds = std::env::var("MTLS_GATE_ROUNDS");
        let rounds: usize = rounds.map_or(10, |rounds| rounds.parse().unwrap());
        let tree = Tree::read(&Reader::new(&certificates[0]).any().unwrap());
        for tag in TAGS {
            for content in [
                &[][..],
                &[0],
                &[0xff],
                &[1, 0, 0, 0, 0],
                &[2, 1, 1],
                &[2, 5, 0, 255, 0, 0, 0],
                &[2, 5, 1, 0, 0, 0, 0],
            ] {
                let value = Tree {
                    tag,
                    content: content.to_vec(),
                    inside: Vec::new(),
                };
                each_with(&tree, &value, &mut |tree| count(&tree.write()));
            }
        }
        for der in &certificates {
            count(der);
            let tree = Tree::read(&Reader::new(der).any().unwrap());
            assert_eq!(&tree.write(), der);
            for _ in 0..rounds {
                let mut changed = der.clone();
                for _ in 0..=random(2) {
                    let at = random(der.len());
                    changed[at] = u8::try_from(random(256)).unwrap();
                }
                count(&changed);
                let mut changed = tree.clone();
                for _ in 0..=random(2) {
                    changed.any(&mut random).change(&mut random);
                }
                count(&changed.write());
            }
        }
        assert!(seen[0] > 100 && seen[1] > 1000, "{seen:?}");
    }
}
