//! The same question put to our core, to rustls-webpki and to OpenSSL, and what their differences
//! are worth.

mod class;
mod openssl;
mod ours;
mod webpki;

use mtls_gate_core::x509::UnixSeconds;

pub use class::Class;
pub use openssl::OpenSsl;
pub use ours::Ours;
pub use webpki::Webpki;

/// A purpose of the end entity's key (RFC 5280 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// id-kp-clientAuth
    Client,
    /// id-kp-serverAuth
    Server,
}

/// What every oracle is asked: does a path lead from the end entity to an anchor?
#[derive(Clone, Debug)]
pub struct Question {
    /// DER of the end entity.
    pub end_entity: Vec<u8>,
    /// DER of certificates that paths may go through, in the order presented.
    pub intermediates: Vec<Vec<u8>>,
    /// DER of the trust anchors' certificates.
    pub anchors: Vec<Vec<u8>>,
    /// The validation time.
    pub time: UnixSeconds,
    /// The purpose asked for, if any.
    pub purpose: Option<Purpose>,
    /// How many intermediates a path may have; the oracle's own limit if `None`.
    pub max_intermediates: Option<u32>,
    /// DER of revocation lists; none means that revocation is not asked about.
    pub crls: Vec<Vec<u8>>,
}

/// An oracle's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// A path was found.
    pub accepted: bool,
    /// Why not, in the oracle's own words; empty if accepted.
    pub reason: String,
    /// DER of the path that was accepted: end entity first, anchor last; empty if none was.
    pub path: Vec<Vec<u8>>,
}

impl Verdict {
    fn accepted(path: Vec<Vec<u8>>) -> Self {
        Self {
            accepted: true,
            reason: String::new(),
            path,
        }
    }

    fn refused(reason: impl ToString) -> Self {
        Self {
            accepted: false,
            reason: reason.to_string(),
            path: Vec::new(),
        }
    }
}

/// A validator of certificate paths.
pub trait Oracle {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;

    /// Its answer.
    fn judge(&self, question: &Question) -> Verdict;
}

/// A question that two oracles answer differently.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Which question.
    pub id: String,
    /// Our answer.
    pub ours: Verdict,
    /// The other oracle's answer.
    pub theirs: Verdict,
    /// What the question's author says, if anything.
    pub expected: Option<bool>,
    /// Why they differ.
    pub class: Class,
}

impl Difference {
    /// We stand against the question's author.
    #[must_use]
    pub fn contradicts_us(&self) -> bool {
        self.expected
            .is_some_and(|expected| expected != self.ours.accepted)
    }
}

/// Puts every question to our core, in the profile RFC5280, and to `against`; gives the questions
/// that they answer differently, each with its class.
pub fn compare(
    questions: impl Iterator<Item = (String, Question, Option<bool>)>,
    against: &dyn Oracle,
) -> Vec<Difference> {
    let us = Ours::default();
    questions
        .filter_map(|(id, question, expected)| {
            let ours = us.judge(&question);
            let theirs = against.judge(&question);
            if ours.accepted == theirs.accepted {
                return None;
            }
            let class = Class::of(&question, &us, &ours, against, &theirs);
            Some(Difference {
                id,
                ours,
                theirs,
                expected,
                class,
            })
        })
        .collect()
}
