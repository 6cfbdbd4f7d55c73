//! NIST PKITS: `pkits.json` with one row per test, `certs/` and `crls/` beside it, as DER.
//!
//! Whatever needs DSA is an expected rejection: neither profile allows it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use mtls_gate_core::x509::UnixSeconds;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::engine::{CRLS, Inputs, PolicyInputs, judge, not_done};
use super::{Case, ConformError, Expected, Report, read, read_json, rfc5280};

/// `conform pkits`
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The folder with pkits.json, certs/ and crls/
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Do not evaluate CRLs, and expect what then comes out
    #[arg(long)]
    pub no_crls: bool,
}

impl Options {
    /// A folder, with or without CRLs.
    #[must_use]
    pub fn of(folder: &Path, crls: bool) -> Self {
        Self {
            data: folder.to_owned(),
            no_crls: !crls,
        }
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    policy_oids: BTreeMap<String, String>,
    tests: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    section: u32,
    certs: Vec<String>,
    #[serde(default)]
    crls: Vec<String>,
    trust_anchor: String,
    target: String,
    time: String,
    should_validate: bool,
    chain_only_no_crl: ChainOnly,
    #[serde(default)]
    initial_policy_set: Vec<String>,
    #[serde(default)]
    initial_explicit_policy: bool,
    #[serde(default)]
    initial_policy_mapping_inhibit: bool,
    #[serde(default)]
    initial_inhibit_any_policy: bool,
    #[serde(default)]
    needs_dsa: bool,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum ChainOnly {
    Success,
    Failure,
}

/// Runs all rows.
///
/// # Errors
/// A file cannot be read, or is not of its schema.
pub fn run(options: &Options) -> Result<Report, ConformError> {
    let path = options.data.join("pkits.json");
    let file: File = read_json(&path)?;
    let mut report = Report::default();
    for row in file.tests {
        report
            .cases
            .push(row.run(options, &file.policy_oids, &path)?);
    }
    Ok(report)
}

impl Row {
    fn run(
        self,
        options: &Options,
        policy_oids: &BTreeMap<String, String>,
        path: &Path,
    ) -> Result<Case, ConformError> {
        let suite = if options.no_crls {
            "pkits --no-crls"
        } else {
            "pkits"
        };
        let with_crls = self.should_validate;
        let chain_only = self.chain_only_no_crl == ChainOnly::Success;
        let accept = if options.no_crls {
            chain_only
        } else {
            with_crls
        };
        let expected = if accept && !self.needs_dsa {
            Expected::Accept
        } else {
            Expected::Refuse
        };
        let class = format!("4.{:02}", self.section);
        let fault = |what: String| ConformError::Case {
            path: path.to_owned(),
            id: self.id.clone(),
            what,
        };
        let mut inputs = self.inputs(options, policy_oids, &fault)?;
        // Until CRLs are evaluated, rows that end the same way without them still tell something.
        if !CRLS && (with_crls == chain_only || self.needs_dsa) {
            inputs.crls.clear();
        }
        Ok(match not_done(&inputs) {
            Some(reason) => Case::skipped(suite, &class, self.id, expected, reason),
            None => {
                let judged = judge(&inputs, &rfc5280());
                Case::judged(suite, &class, self.id, expected, judged).asking(inputs)
            }
        })
    }

    fn inputs(
        &self,
        options: &Options,
        policy_oids: &BTreeMap<String, String>,
        fault: &impl Fn(String) -> ConformError,
    ) -> Result<Inputs, ConformError> {
        let certificate = |name: &String| read(&options.data.join("certs").join(name));
        let candidates = self
            .certs
            .iter()
            .filter(|name| **name != self.trust_anchor && **name != self.target);
        let crls = if options.no_crls {
            Vec::new()
        } else {
            let read_crl = |name| read(&options.data.join("crls").join(name));
            self.crls.iter().map(read_crl).collect::<Result<_, _>>()?
        };
        let time = OffsetDateTime::parse(&self.time, &Rfc3339)
            .map_err(|error| fault(format!("time: {error}")))?;
        let mut initial_policy_set = Vec::new();
        for name in self
            .initial_policy_set
            .iter()
            .filter(|name| *name != "anyPolicy")
        {
            let oid = policy_oids.get(name);
            let oid = oid.ok_or_else(|| fault(format!("policy_oids lacks {name}")))?;
            initial_policy_set.push(oid.clone());
        }
        Ok(Inputs {
            end_entity: certificate(&self.target)?,
            candidates: candidates.map(certificate).collect::<Result<_, _>>()?,
            anchors: vec![certificate(&self.trust_anchor)?],
            crls,
            time: UnixSeconds(time.unix_timestamp()),
            purpose: None,
            max_intermediates: None,
            policies: PolicyInputs {
                initial_policy_set,
                require_explicit_policy: self.initial_explicit_policy,
                inhibit_policy_mapping: self.initial_policy_mapping_inhibit,
                inhibit_any_policy: self.initial_inhibit_any_policy,
            },
        })
    }
}
