//! `mtls-gate conform --against`: the questions of the suites, put to another validator too.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use mtls_gate_core::x509::KeyPurpose;
use serde_json::json;

use super::engine::Inputs;
use super::{Case, Expected, Report};
use crate::oracle::{self, Class, Difference, OpenSsl, Oracle, Purpose, Question, Webpki};

/// `--against`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Peer {
    /// rustls-webpki
    Webpki,
    /// OpenSSL, the version that this program is linked with
    Openssl,
}

/// Where another validator and we differ.
#[derive(Clone, Debug)]
pub struct Differences {
    peer: &'static str,
    asked: usize,
    /// Cases that the peers' interfaces cannot express.
    not_asked: usize,
    found: Vec<Difference>,
}

/// Asks `peer` what the core was asked in `report`.
#[must_use]
pub fn compare(report: &Report, peer: Peer) -> Differences {
    let peer: &dyn Oracle = match peer {
        Peer::Webpki => &Webpki,
        Peer::Openssl => &OpenSsl,
    };
    let questions: Vec<_> = report.cases.iter().filter_map(question).collect();
    Differences {
        peer: peer.name(),
        asked: questions.len(),
        not_asked: report.cases.len().saturating_sub(questions.len()),
        found: oracle::compare(questions.into_iter(), peer),
    }
}

/// `None`: the case was not judged, is no question about a path, or has policy inputs, which neither
/// peer takes.
fn question(case: &Case) -> Option<(String, Question, Option<bool>)> {
    let Inputs {
        end_entity,
        candidates,
        anchors,
        crls,
        time,
        purpose,
        max_intermediates,
        policies,
    } = case.inputs.as_deref()?.clone();
    if !policies.ask_for_nothing() {
        return None;
    }
    let question = Question {
        end_entity,
        intermediates: candidates,
        anchors,
        time,
        purpose: match purpose {
            None => None,
            Some(KeyPurpose::ClientAuth) => Some(Purpose::Client),
            Some(KeyPurpose::ServerAuth) => Some(Purpose::Server),
            Some(_) => return None,
        },
        max_intermediates: max_intermediates.and_then(|limit| u32::try_from(limit).ok()),
        crls,
    };
    let expected = match case.expected {
        Expected::Accept => Some(true),
        Expected::Refuse => Some(false),
        Expected::Either => None,
    };
    let id = format!("{} {}", case.suite, case.id);
    Some((id, question, expected))
}

impl Differences {
    /// Every difference has a class.
    #[must_use]
    pub fn all_explained(&self) -> bool {
        self.found
            .iter()
            .all(|difference| difference.class != Class::Unexplained)
    }

    /// One line for each difference.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        for difference in &self.found {
            let line = json!({
                "id": difference.id,
                "against": self.peer,
                "class": difference.class.to_string(),
                "ours": { "accepted": difference.ours.accepted, "reason": difference.ours.reason },
                "theirs": { "accepted": difference.theirs.accepted, "reason": difference.theirs.reason },
                "expected": difference.expected,
            });
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    /// The classes with their numbers and sentences, then every difference.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_table(&self, err: &mut impl Write) -> io::Result<()> {
        let mut classes: BTreeMap<String, (usize, &'static str)> = BTreeMap::new();
        for difference in &self.found {
            let entry = classes
                .entry(difference.class.to_string())
                .or_insert_with(|| (0, difference.class.sentence()));
            entry.0 = entry.0.saturating_add(1);
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(["class", "cases", "why"]);
        for (class, (count, why)) in classes {
            table.add_row([class, count.to_string(), why.to_owned()]);
        }
        writeln!(err, "{table}")?;
        for difference in &self.found {
            let word = |accepted| if accepted { "accept" } else { "refuse" };
            writeln!(
                err,
                "{}: {}: we {}, {} {}s ({})",
                difference.class,
                difference.id,
                word(difference.ours.accepted),
                self.peer,
                word(difference.theirs.accepted),
                if difference.ours.accepted {
                    &difference.theirs.reason
                } else {
                    &difference.ours.reason
                }
            )?;
        }
        writeln!(
            err,
            "{} questions to {}, {} answered differently; {} cases are no question to it",
            self.asked,
            self.peer,
            self.found.len(),
            self.not_asked
        )
    }
}
