//! Our reading of certificates beside that of `x509-parser`.

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
    if let Ok(certificate) = Certificate::parse(der.to_vec()) {
        let dates = [certificate.not_before().0, certificate.not_after().0];
        assert_eq!(Some(dates), by_x509_parser(der), "{}", der.escape_ascii());
    }
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
    inside: Vec<Self>,
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
        if replaces && *last < place.inside.len() {
            place.inside.remove(*last);
        }
        place.inside.insert(*last, value.clone());
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

/// RFC 5280 4.1.2.5: days that are, and days that are not.
#[test]
fn dates_are_read_alike() {
    let tree = Tree::read(&Reader::new(&certificates()[0]).any().unwrap());
    let mut seen = [0_usize; 2];
    let mut count = |tag, text: String| {
        let mut tree = tree.clone();
        // tbsCertificate, validity, notAfter
        let date = &mut tree.inside[0].inside[4].inside[1];
        (date.tag, date.content) = (tag, text.into_bytes());
        if let Some(accepted) = compare(&tree.write()) {
            seen[usize::from(accepted)] += 1;
        }
    };
    for month in 0..=13 {
        for day in [0, 1, 28, 29, 30, 31, 32] {
            for year in 0..100 {
                count(tag::UTC_TIME, format!("{year:02}{month:02}{day:02}235959Z"));
            }
            for year in [0, 1, 1582, 1900, 1950, 2000, 2049, 2050, 2100, 2400, 9999] {
                count(
                    tag::GENERALIZED_TIME,
                    format!("{year:04}{month:02}{day:02}000000Z"),
                );
            }
        }
    }
    for (hour, minute, second) in [(24, 0, 0), (23, 60, 0), (23, 59, 60), (23, 59, 59)] {
        count(
            tag::UTC_TIME,
            format!("990101{hour:02}{minute:02}{second:02}Z"),
        );
    }
    assert!(seen.into_iter().all(|count| count > 1000), "{seen:?}");
}
