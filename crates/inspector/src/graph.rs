//! The certificates that play a part, and how one leads to another.

use mtls_gate_core::error::Refusal;
use mtls_gate_core::mend::Field;
use mtls_gate_core::path::trace::{Outcome, Trace};
use mtls_gate_core::trust::Trust;
use mtls_gate_core::x509::{Certificate, ParseError};
use serde::Serialize;

use crate::certificate::CertificateView;
use crate::trace::SearchView;

/// Certificates drawn at the most; a search looks at 100.
const CERTIFICATES: usize = 120;

/// A certificate of the graph.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeView {
    /// Where it comes from: each a line.
    roles: Vec<String>,
    /// `endEntity`, `presented`, `configured` or `anchor`.
    kind: &'static str,
    /// 0 is the end entity, 1 what may have issued it, and so on.
    level: usize,
    on_path: bool,
    /// What is wrong with it.
    faults: Vec<FaultView>,
    /// `None` if it cannot be parsed.
    view: Option<CertificateView>,
}

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FaultView {
    field: &'static str,
    sentence: String,
}

/// From a certificate to one that may have issued it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EdgeView {
    from: usize,
    to: usize,
    /// `accepted`, `rejected`, `fits` or `untried`.
    state: &'static str,
    label: String,
}

/// What is looked at.
#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    certificates: Vec<Node<'a>>,
    unreadable: Vec<(usize, ParseError)>,
    /// Configured certificates that no name leads to.
    pub(crate) beside: usize,
}

#[derive(Debug)]
struct Node<'a> {
    certificate: &'a Certificate,
    roles: Vec<String>,
    kind: &'static str,
    level: usize,
}

/// What the client presents, parsed one by one.
pub(crate) type Presented = Vec<Result<Certificate, ParseError>>;

impl<'a> Graph<'a> {
    pub(crate) fn new(presented: &'a Presented, trust: Option<&'a Trust>) -> Self {
        let mut graph = Self::default();
        for (index, parsed) in presented.iter().enumerate() {
            match parsed {
                Ok(certificate) => {
                    let kind = if index == 0 { "endEntity" } else { "presented" };
                    graph.add(certificate, format!("presented, number {index}"), kind);
                }
                Err(error) => graph.unreadable.push((index, error.clone())),
            }
        }
        if let Some(trust) = trust {
            graph.add_configured(trust);
        }
        graph.set_levels();
        graph
    }

    /// Those that a name leads to from what is there, and the rest counted.
    fn add_configured(&mut self, trust: &'a Trust) {
        let mut left: Vec<(&Certificate, String, &'static str)> = Vec::new();
        for store in trust.stores() {
            let anchors = store.anchors().iter().enumerate();
            left.extend(
                anchors.map(|(index, one)| (one, format!("trustAnchors[{index}]"), "anchor")),
            );
            let intermediates = store.intermediates().iter().enumerate();
            left.extend(
                intermediates
                    .map(|(index, one)| (one, format!("intermediateCas[{index}]"), "configured")),
            );
        }
        loop {
            let reached = |candidate: &Certificate| {
                self.certificates.iter().any(|node| {
                    let below = node.certificate;
                    below == candidate || below.issuer().matches(candidate.subject())
                })
            };
            let (near, far): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|(one, ..)| reached(one));
            let room = self.certificates.len() < CERTIFICATES;
            if near.is_empty() || !room {
                self.beside = far.len().saturating_add(near.len());
                return;
            }
            for (certificate, role, kind) in near {
                self.add(certificate, role, kind);
            }
            left = far;
        }
    }

    fn add(&mut self, certificate: &'a Certificate, role: String, kind: &'static str) {
        match self.index(certificate) {
            Some(index) => {
                if let Some(node) = self.certificates.get_mut(index) {
                    node.roles.push(role);
                    if kind == "anchor" && node.kind != "endEntity" {
                        node.kind = kind;
                    }
                }
            }
            None => self.certificates.push(Node {
                certificate,
                roles: vec![role],
                kind,
                level: usize::from(!self.certificates.is_empty()),
            }),
        }
    }

    pub(crate) fn index(&self, certificate: &Certificate) -> Option<usize> {
        let mut nodes = self.certificates.iter();
        nodes.position(|node| node.certificate == certificate)
    }

    /// Breadth first by names, so that a loop of cross-signatures ends.
    fn set_levels(&mut self) {
        let links = self.links();
        let mut reached: Vec<usize> = Vec::from_iter((!self.certificates.is_empty()).then_some(0));
        let mut level = 0_usize;
        let mut frontier = reached.clone();
        while !frontier.is_empty() {
            level = level.saturating_add(1);
            let mut next: Vec<usize> = links
                .iter()
                .filter(|(from, to)| frontier.contains(from) && !reached.contains(to))
                .map(|(_, to)| *to)
                .collect();
            next.sort_unstable();
            next.dedup();
            for &to in &next {
                if let Some(node) = self.certificates.get_mut(to) {
                    node.level = level;
                }
                reached.push(to);
            }
            frontier = next;
        }
    }

    /// Every pair in which the second has the name of the first's issuer.
    fn links(&self) -> Vec<(usize, usize)> {
        let mut links = Vec::new();
        for (from, below) in self.certificates.iter().enumerate() {
            for (to, above) in self.certificates.iter().enumerate() {
                let named = below
                    .certificate
                    .issuer()
                    .matches(above.certificate.subject());
                if from != to && named && !below.certificate.is_self_issued() {
                    links.push((from, to));
                }
            }
        }
        links
    }

    pub(crate) fn certificates(&self) -> impl Iterator<Item = &'a Certificate> {
        self.certificates.iter().map(|node| node.certificate)
    }

    pub(crate) fn nodes(
        &self,
        path: &[Certificate],
        trace: &Trace,
        refusal: Option<&Refusal>,
    ) -> Vec<NodeView> {
        let end_entity_on_path = !path.is_empty();
        let mut nodes: Vec<NodeView> = self
            .certificates
            .iter()
            .enumerate()
            .map(|(index, node)| NodeView {
                roles: node.roles.clone(),
                kind: node.kind,
                level: node.level,
                on_path: path.contains(node.certificate) || (index == 0 && end_entity_on_path),
                faults: Vec::new(),
                view: Some(CertificateView::new(node.certificate)),
            })
            .collect();
        self.mark(&mut nodes, trace);
        for (index, error) in &self.unreadable {
            nodes.push(NodeView {
                roles: vec![format!("presented, number {index}")],
                kind: if *index == 0 {
                    "endEntity"
                } else {
                    "presented"
                },
                level: usize::from(*index > 0),
                on_path: false,
                faults: vec![FaultView {
                    field: Field::Certificate.as_str(),
                    sentence: error.to_string(),
                }],
                view: None,
            });
        }
        if let Some(refusal) = refusal
            && let Some((index, field)) = refusal.presented()
        {
            let role = format!("presented, number {index}");
            let node = nodes.iter_mut().find(|node| node.roles.contains(&role));
            if let Some(node) = node
                && node.view.is_some()
            {
                node.faults.push(FaultView {
                    field: field.as_str(),
                    sentence: refusal.to_string(),
                });
            }
        }
        nodes
    }

    /// What the search found wrong with whom.
    fn mark(&self, nodes: &mut [NodeView], trace: &Trace) {
        let steps = trace.searches().iter().flat_map(|search| &search.steps);
        for step in steps {
            let Outcome::Rejected { certificate, error } = &step.outcome else {
                continue;
            };
            let index = trace
                .certificates()
                .get(*certificate)
                .and_then(|certificate| self.index(certificate));
            let Some(node) = index.and_then(|index| nodes.get_mut(index)) else {
                continue;
            };
            let fault = FaultView {
                field: error.fault.field().as_str(),
                sentence: error.fault.to_string(),
            };
            if !node.faults.contains(&fault) {
                node.faults.push(fault);
            }
        }
    }

    /// One edge for each pair that was tried, else for each pair that names lead through.
    pub(crate) fn edges(&self, searches: &[SearchView], verified: bool) -> Vec<EdgeView> {
        let mut edges: Vec<EdgeView> = Vec::new();
        for search in searches {
            for step in &search.steps {
                let below = step.below.and_then(|below| search.steps.get(below));
                let Some(below) = below else { continue };
                let known = edges
                    .iter()
                    .any(|edge| (edge.from, edge.to) == (below.certificate, step.certificate));
                if known {
                    continue;
                }
                edges.push(EdgeView {
                    from: below.certificate,
                    to: step.certificate,
                    // Without key purposes nothing is accepted.
                    state: match step.outcome {
                        "accepted" if !verified => "fits",
                        outcome => outcome,
                    },
                    label: step.reason.clone(),
                });
            }
        }
        for (from, to) in self.links() {
            if !edges.iter().any(|edge| (edge.from, edge.to) == (from, to)) {
                edges.push(EdgeView {
                    from,
                    to,
                    state: "untried",
                    label: String::new(),
                });
            }
        }
        edges
    }
}
