//! `mtls-gate conform`: suites that others wrote, and our own goldens, through the core.
//!
//! A suite is a file or a folder that is read by path; none of it is in this tree. Each case ends in
//! one of five [`Outcome`]s. Exceptions are listed with a reason; one that has become needless fails
//! the run, so that the list stays true.

pub mod against;
pub mod engine;
pub mod limbo;
pub mod malformed;
pub mod own;
mod peer_name;
pub mod pkits;
pub mod prepared;
mod report;
pub mod spiffe;
pub mod wycheproof;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use mtls_gate_core::path::Algorithms;
use serde::de::DeserializeOwned;
use thiserror::Error;

use engine::Rules;
pub use report::{Case, Expected, Outcome, Report, Tally};

/// Where the suites come from, for those who do not have them.
pub const SOURCES: &str = "C2SP x509-limbo, NIST PKITS, Wycheproof, go-spiffe";

/// Run conformance suites through the core
///
/// A table goes to stderr, with --json one line of JSON per case to stdout. Exit status: 0 if
/// nothing is unexpected, 1 if something is, 2 for bad usage or unreadable input.
#[derive(Args, Clone, Debug)]
pub struct ConformOptions {
    #[command(subcommand)]
    suite: Suite,
    /// Print one line of JSON per case on stdout
    #[arg(long, global = true)]
    json: bool,
    /// Put the same questions to another validator and show where it and we differ, and why
    #[arg(long, value_enum, global = true)]
    against: Option<against::Peer>,
}

#[derive(Clone, Debug, Subcommand)]
enum Suite {
    /// Path validation cases in the schema of C2SP x509-limbo
    Limbo(limbo::Options),
    /// NIST PKITS
    Pkits(pkits::Options),
    /// Signature vectors of Wycheproof
    Wycheproof(wycheproof::Options),
    /// SPIFFE IDs, trust domains and SVIDs
    Spiffe(spiffe::Options),
    /// Broken and odd certificates: no panic, bounded time
    Malformed(malformed::Options),
    /// Everything there is, and this project's own goldens
    All {
        /// The folder with the suites; without it only the goldens run
        #[arg(long, value_name = "DIR", default_value = "../shared/conformance")]
        data: PathBuf,
    },
}

/// `--backend`
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Backend {
    /// Pure Rust
    #[default]
    Rustcrypto,
    /// ring, and pure Rust for what it does not have: as in `mtls-gate serve`
    Ring,
    /// Pure Rust, with each key made ready first: as the filter does for issuers that it meets again
    Prepared,
    /// The same, in the way it is done in wasm
    PreparedAsInWasm,
}

impl Backend {
    /// The algorithms it claims.
    #[must_use]
    pub fn algorithms(self) -> Algorithms {
        match self {
            Self::Rustcrypto => mtls_gate_rustcrypto::ALGORITHMS,
            Self::Ring => mtls_gate_rustls::ALGORITHMS,
            Self::Prepared => prepared::algorithms(),
            Self::PreparedAsInWasm => prepared::algorithms_as_in_wasm(),
        }
    }
}

/// Why a suite could not be run.
#[derive(Debug, Error)]
pub enum ConformError {
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A file is not of the suite's schema.
    #[error("{}: {what}", path.display())]
    Schema {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// A case is not what the schema says.
    #[error("{}: {id}: {what}", path.display())]
    Case {
        /// Which file.
        path: PathBuf,
        /// Which case.
        id: String,
        /// What is wrong.
        what: String,
    },
    /// The result could not be printed.
    #[error("printing: {0}")]
    Print(#[from] io::Error),
}

/// Runs what was asked for, prints, and tells whether nothing is unexpected.
///
/// # Errors
/// The input cannot be read.
pub fn run(
    options: &ConformOptions,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<bool, ConformError> {
    let report = match &options.suite {
        Suite::Limbo(options) => limbo::run(options)?,
        Suite::Pkits(options) => pkits::run(options)?,
        Suite::Wycheproof(options) => wycheproof::run(options)?,
        Suite::Spiffe(options) => spiffe::run(options)?,
        Suite::Malformed(options) => malformed::run(options)?,
        Suite::All { data } => {
            let mut report = if data.is_dir() {
                suites(data)?
            } else {
                writeln!(
                    err,
                    "no suites at {}: skipped; they come from {SOURCES}",
                    data.display()
                )?;
                Report::default()
            };
            report.extend(own::run()?);
            report
        }
    };
    if let Some(peer) = options.against {
        let differences = against::compare(&report, peer);
        if options.json {
            differences.write_json(out)?;
        }
        differences.write_table(err)?;
        return Ok(differences.all_explained());
    }
    if options.json {
        report.write_json(out)?;
    }
    report.write_table(err)?;
    Ok(report.is_good())
}

/// All suites below `data`, with their usual options: what `make conform` runs.
///
/// # Errors
/// One of them cannot be read.
pub fn suites(data: &Path) -> Result<Report, ConformError> {
    let mut report = limbo::run(&limbo::Options::of(&data.join("limbo")))?;
    for crls in [true, false] {
        report.extend(pkits::run(&pkits::Options::of(&data.join("pkits"), crls))?);
    }
    let vectors = files_below(&data.join("wycheproof"))?
        .into_iter()
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "json")
        });
    report.extend(wycheproof::run(&wycheproof::Options::of(
        vectors.collect(),
    ))?);
    report.extend(spiffe::run(&spiffe::Options::of(
        &data.join("spiffe/spiffe.json"),
    ))?);
    report.extend(malformed::run(&malformed::Options::of(
        &data.join("malformed"),
    ))?);
    Ok(report)
}

/// RFC5280 without its strict switches: what the suites are for.
#[must_use]
pub fn rfc5280() -> Rules {
    Rules {
        profile: mtls_gate_core::path::Profile::Rfc5280,
        strict: false,
        algorithms: Backend::default().algorithms(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConformError> {
    fs::read(path).map_err(|source| ConformError::File {
        path: path.to_owned(),
        source,
    })
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ConformError> {
    serde_json::from_slice(&read(path)?).map_err(|error| ConformError::Schema {
        path: path.to_owned(),
        what: error.to_string(),
    })
}

/// Every file of a folder and its folders, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, ConformError> {
    let at = |source| ConformError::File {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The DER of every PEM block, whatever its label: suites hold CRLs beside certificates. Lenient,
/// because the suites' files are not under test here.
fn pem_blocks(text: &str) -> Result<Vec<(&str, Vec<u8>)>, String> {
    let mut blocks = Vec::new();
    for block in text.split("-----BEGIN ").skip(1) {
        let (label, rest) = block.split_once("-----").ok_or("PEM: no label")?;
        let (body, _) = rest.split_once("-----END ").ok_or("PEM: no END line")?;
        let base64: String = body.split_ascii_whitespace().collect();
        let der = STANDARD
            .decode(base64)
            .map_err(|error| format!("PEM: {error}"))?;
        blocks.push((label, der));
    }
    Ok(blocks)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let octet = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(octet).collect()
}
