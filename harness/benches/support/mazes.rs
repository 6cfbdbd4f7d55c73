//! Chains that cost much within the limits, and the longest honest path beside them.
//!
//! The attacker holds certificates that the anchor really signed and arranges up to 10 of them in
//! layers of equal names, so that every layer can be entered from every certificate of the one
//! above; nothing but signatures tells which links hold. Some links hold, the end entity's does not.
//! Its names are as many as the budget of comparisons allows.

use mtls_gate::fixtures::der;
use mtls_gate::fixtures::keys::Key;
use mtls_gate::fixtures::mint::{Cert, Issued, dns, serial};

/// One arrangement.
#[derive(Clone, Copy)]
pub(crate) struct Maze {
    /// Certificates of each name, from the anchor down.
    layers: &'static [usize],
    /// Whether the links between layers hold.
    hold: bool,
    /// How many names the end entity has, each under 10 constraints of every CA.
    names: usize,
}

/// What is presented, in DER; the anchor, which is the same for all chains of one set of keys, is
/// configured.
pub(crate) struct Chain {
    pub(crate) label: String,
    pub(crate) end_entity: Vec<u8>,
    pub(crate) presented: Vec<Vec<u8>>,
    pub(crate) anchor: Vec<u8>,
}

impl Chain {
    fn new(label: String, end_entity: &Issued, presented: &[Issued], anchor: &Issued) -> Self {
        Self {
            label,
            end_entity: end_entity.der.clone(),
            presented: presented.iter().map(|one| one.der.clone()).collect(),
            anchor: anchor.der.clone(),
        }
    }
}

/// Every shape with links that hold and that do not, with one name and with many.
pub(crate) fn all() -> Vec<Maze> {
    const SHAPES: [&[usize]; 8] = [
        &[10],
        &[5, 5],
        &[4, 3, 3],
        &[3, 3, 2, 2],
        &[2, 2, 2, 2, 2],
        &[1, 9],
        &[9, 1],
        &[1, 1, 1, 1, 1, 1, 1, 3],
    ];
    let mazes = SHAPES.into_iter().flat_map(|layers| {
        [(0, true), (0, false), (100, true), (100, false)].map(|(names, hold)| Maze {
            layers,
            hold,
            names,
        })
    });
    mazes.collect()
}

fn name(layer: usize) -> Vec<u8> {
    der::name(&[("CN", &format!("layer {layer}"))])
}

/// Depth 10: anchor, eight intermediates, end entity; every link verified once.
pub(crate) fn honest(key: &dyn Fn(&str) -> Key) -> Chain {
    let anchor = Cert::ca("anchor").key(key("anchor")).self_signed();
    let mut chain = Vec::new();
    let mut issuer = anchor.clone();
    for level in 0..8 {
        let label = format!("honest {level}");
        issuer = Cert::ca(&label).key(key(&label)).by(&issuer);
        chain.push(issuer.clone());
    }
    let end_entity = Cert::client("honest").key(key("client")).by(&issuer);
    Chain::new("longest honest path".into(), &end_entity, &chain, &anchor)
}

impl Maze {
    /// `edition`: the same keys in other certificates.
    pub(crate) fn chain(&self, key: &dyn Fn(&str) -> Key, edition: usize) -> Chain {
        let Self {
            layers,
            hold,
            names,
        } = *self;
        let anchor = Cert::ca("anchor").key(key("anchor")).self_signed();
        let stranger = Cert::ca("stranger").key(key("stranger")).self_signed();
        let mut presented = Vec::new();
        let mut above: Vec<Issued> = vec![anchor.clone()];
        for (depth, count) in layers.iter().enumerate() {
            let mut layer = Vec::new();
            for number in 0..*count {
                let label = format!("maze {depth} {number}");
                let cert = Cert::ca(&label)
                    .key(key(&label))
                    .serial(serial(&format!("{label}, {edition}")))
                    .subject(name(depth))
                    .without_key_identifiers();
                let domains = (0..10).map(|one| dns(&format!("d{one}.test"))).collect();
                let cert = if names > 0 {
                    cert.permitted(domains)
                } else {
                    cert
                };
                let issuer_name = match depth {
                    0 => anchor.cert.subject.clone(),
                    depth => name(depth - 1),
                };
                // The first layer holds, or the search would end there.
                let signer = if depth == 0 || hold {
                    &above[number % above.len()]
                } else {
                    &stranger
                };
                layer.push(cert.issuer(issuer_name).by(signer));
            }
            presented.extend(layer.iter().cloned());
            above = layer;
        }
        let sans = (0..names.max(1)).map(|one| dns(&format!("h{one}.d9.test")));
        let end_entity = Cert::client("maze")
            .sans(sans.collect())
            .key(key("client"))
            .without_key_identifiers()
            .issuer(name(layers.len() - 1))
            .by(&stranger);
        let label = format!(
            "layers {layers:?}, links {}, {names} names",
            if hold { "hold" } else { "do not hold" }
        );
        Chain::new(label, &end_entity, &presented, &anchor)
    }
}
