//! `mtls-gate verify`: one chain through the same core as in the filter.

mod forwarded;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::config::{self, ConfigError};
use mtls_gate_core::error::Refusal;
use mtls_gate_core::forwarded::ForwardedChain;
use mtls_gate_core::forwarded::pem::{self, Around, Bounds, Label};
use mtls_gate_core::limits::RequestLimits;
use mtls_gate_core::path::{Observer, Policy, Profile};
use mtls_gate_core::revocation::{Revocation, RevocationMode};
use mtls_gate_core::trust::{Trust, TrustStore};
use mtls_gate_core::variables::{Variable, Variables};
use mtls_gate_core::x509::{Certificate, Crl, KeyPurpose, Name, UnixSeconds};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::resources::{self, ResourceError};

use forwarded::{Decoded, HeaderOptions};

/// Bounds on files; what a request may hold is bounded by the same limits as in the filter.
const FILE_BOUNDS: Bounds = Bounds {
    blocks: 1000,
    der_bytes: 16 * 1024 * 1024,
};

/// Validate one certificate chain and print what a backend would be told about it.
///
/// Exit status: 0 verified, 1 not verified, 2 bad usage or unreadable input.
#[derive(Args, Clone, Debug)]
pub struct VerifyOptions {
    /// A Certificate Manager TrustConfig, as YAML or JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["anchors", "intermediates"])]
    #[arg(required_unless_present = "anchors")]
    trust_config: Option<PathBuf>,
    /// Trust anchors, as PEM
    #[arg(long, value_name = "FILE")]
    anchors: Option<PathBuf>,
    /// Intermediates to build paths with, as PEM
    #[arg(long, value_name = "FILE", requires = "anchors")]
    intermediates: Option<PathBuf>,
    /// The chain as a client presents it, end entity first, as PEM
    #[arg(long, value_name = "FILE", conflicts_with = "header")]
    #[arg(required_unless_present = "header")]
    chain: Option<PathBuf>,
    #[command(flatten)]
    forwarded: HeaderOptions,
    /// The time to validate at [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    time: Option<UnixSeconds>,
    /// Whose rules apply
    #[arg(long, value_enum, default_value_t = ProfileName::Google)]
    profile: ProfileName,
    /// The purpose that the certificates must allow
    #[arg(long, value_enum, default_value_t = Eku::Client)]
    eku: Eku,
    /// Refuse certificates that break rules of RFC 5280 for those who make them, anchors too
    #[arg(long)]
    strict: bool,
    /// CRLs to look at, as PEM
    #[arg(long, value_name = "FILE", requires = "revocation")]
    crls: Option<PathBuf>,
    /// What must be known of the path's certificates, the trust anchor apart [default: off]
    #[arg(long, value_enum)]
    revocation: Option<RevocationName>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `--profile`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ProfileName {
    /// As Google's load balancers
    Google,
    /// RFC 5280 section 6.1
    Rfc5280,
}

/// `--revocation`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RevocationName {
    /// CRLs are not looked at
    Off,
    /// A usable CRL must not list them; none is enough
    BestEffort,
    /// Usable CRLs must cover them
    Required,
}

/// `--eku`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Eku {
    /// id-kp-clientAuth
    Client,
    /// id-kp-serverAuth
    Server,
    /// No purpose is asked for
    Any,
}

/// Why a chain could not be judged at all.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// A file could not be read.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The trust config is refused.
    #[error("{}: {source}", path.display())]
    TrustConfig {
        /// The file.
        path: PathBuf,
        /// The field, and what is wrong with it.
        source: ConfigError,
    },
    /// A file is not PEM.
    #[error("{}: PEM block {index}: {fault}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Which block, from 0.
        index: usize,
        /// What is wrong.
        fault: pem::PemFault,
    },
    /// A file holds no certificate.
    #[error("{}: no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A trusted certificate cannot be parsed.
    #[error("{}: certificate {index}: {fault}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Which certificate, from 0.
        index: usize,
        /// What is wrong.
        fault: mtls_gate_core::x509::ParseError,
    },
    /// Nobody can tell which headers are read, and how.
    #[error("{of}: {path}: {reason}")]
    Source {
        /// The file or the option.
        of: String,
        /// The field.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of --header is no header.
    #[error("{}: line {number}: not `Name: value`", path.display())]
    HeaderLine {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        number: usize,
    },
    /// The result could not be printed.
    #[error("printing: {0}")]
    Print(#[from] io::Error),
}

pub(crate) fn parse_time(text: &str) -> Result<UnixSeconds, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map(|time| UnixSeconds(time.unix_timestamp()))
        .map_err(|error| format!("not RFC 3339, such as 2026-11-21T12:00:00Z: {error}"))
}

/// Judges the chain, prints, and tells whether it is verified.
///
/// # Errors
/// The input cannot be read.
pub fn run(options: &VerifyOptions, out: &mut impl Write) -> Result<bool, VerifyError> {
    let inputs = Inputs::read(options)?;
    let client_cert = inputs.judge(&mut ());
    let verdict = Verdict::new(&client_cert, &inputs.presented, &inputs.warnings);
    if options.json {
        writeln!(out, "{:#}", verdict.to_json())?;
    } else {
        for warning in &inputs.warnings {
            eprintln!("warning: {warning}");
        }
        write!(out, "{}", verdict.to_text())?;
    }
    Ok(client_cert.is_verified())
}

/// What is judged, and by what.
pub(crate) struct Inputs {
    chain: ForwardedChain,
    presented: Presented,
    trust: Trust,
    policy: Policy,
    limits: RequestLimits,
    time: Option<UnixSeconds>,
    pub(crate) warnings: Vec<String>,
}

impl Inputs {
    pub(crate) fn read(options: &VerifyOptions) -> Result<Self, VerifyError> {
        let (trust, mut warnings) = trust(options)?;
        let trust = trust.with_revocation(revocation(options, &mut warnings)?);
        let limits = RequestLimits::default();
        let (chain, presented) = presented(options, &limits)?;
        let profile = match options.profile {
            ProfileName::Google => Profile::Google,
            ProfileName::Rfc5280 => Profile::Rfc5280,
        };
        let purpose = match options.eku {
            Eku::Client => Some(KeyPurpose::ClientAuth),
            Eku::Server => Some(KeyPurpose::ServerAuth),
            Eku::Any => None,
        };
        Ok(Self {
            chain,
            presented,
            trust,
            policy: Policy {
                strict: options.strict,
                ..Policy::new(profile, purpose)
            },
            limits,
            time: options.time.or_else(now),
            warnings,
        })
    }

    pub(crate) fn judge(&self, observer: &mut impl Observer) -> ClientCert {
        ClientCert::judge_observed(
            self.chain.clone(),
            Some(&self.trust),
            &self.policy,
            &self.limits,
            mtls_gate_rustcrypto::ALGORITHMS,
            self.time,
            observer,
        )
    }
}

pub(crate) fn now() -> Option<UnixSeconds> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok().map(UnixSeconds)
}

/// What is judged, and where it was found.
fn presented(
    options: &VerifyOptions,
    limits: &RequestLimits,
) -> Result<(ForwardedChain, Presented), VerifyError> {
    let (file, headers, chain) = match (&options.forwarded.header, &options.chain) {
        (Some(file), _) => {
            let Decoded { chain, headers } = options.forwarded.decode(file, limits)?;
            (Some(file), Some(headers), chain)
        }
        (None, Some(file)) => {
            let chain = ForwardedChain::from_der(certificates_der(file)?, limits);
            (Some(file), None, chain)
        }
        // The command line does not allow it.
        (None, None) => (None, None, ForwardedChain::Absent),
    };
    let certificates = match &chain {
        ForwardedChain::Absent | ForwardedChain::Undecodable(_) => Vec::new(),
        ForwardedChain::Present { end_entity, others } => {
            let others = others.iter().flatten();
            let others = others.map(|der| Sha256::digest(der).into());
            let all = core::iter::once(end_entity.sha256()).chain(others);
            all.map(|digest: [u8; 32]| hex(&digest)).collect()
        }
    };
    let presented = Presented {
        file: file.cloned(),
        headers,
        certificates,
    };
    Ok((chain, presented))
}

fn trust(options: &VerifyOptions) -> Result<(Trust, Vec<String>), VerifyError> {
    if let Some(path) = &options.trust_config {
        let (document, warnings) = resources::trust_config(path)?;
        let trust = config::trust(&document).map_err(|source| VerifyError::TrustConfig {
            path: path.clone(),
            source,
        })?;
        let warnings = warnings.into_iter().map(|warning| warning.what).collect();
        return Ok((trust, warnings));
    }
    let certificates = |path: &Option<PathBuf>| match path {
        Some(path) => certificate_file(path),
        None => Ok(Vec::new()),
    };
    let anchors = certificates(&options.anchors)?;
    let intermediates = certificates(&options.intermediates)?;
    Ok((TrustStore::new(anchors, intermediates).into(), Vec::new()))
}

fn certificate_file(path: &Path) -> Result<Vec<Certificate>, VerifyError> {
    let parse = |(index, der)| {
        Certificate::parse(der).map_err(|fault| VerifyError::Certificate {
            path: path.to_owned(),
            index,
            fault,
        })
    };
    certificates_der(path)?
        .into_iter()
        .enumerate()
        .map(parse)
        .collect()
}

fn certificates_der(path: &Path) -> Result<Vec<Vec<u8>>, VerifyError> {
    let certificates = pem_file(path, Label::Certificate)?;
    if certificates.is_empty() {
        return Err(VerifyError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

fn pem_file(path: &Path, label: Label) -> Result<Vec<Vec<u8>>, VerifyError> {
    let text = resources::read_text(path)?;
    pem::blocks(text.as_bytes(), label, Around::AnyText, FILE_BOUNDS).map_err(|(index, fault)| {
        VerifyError::Pem {
            path: path.to_owned(),
            index,
            fault,
        }
    })
}

/// A CRL that cannot be read is as good as none: what it would have covered is unknown.
fn revocation(
    options: &VerifyOptions,
    warnings: &mut Vec<String>,
) -> Result<Revocation, VerifyError> {
    let mode = match options.revocation {
        None | Some(RevocationName::Off) => RevocationMode::Off,
        Some(RevocationName::BestEffort) => RevocationMode::BestEffort,
        Some(RevocationName::Required) => RevocationMode::Required,
    };
    let mut crls = Vec::new();
    if let Some(path) = &options.crls {
        for (index, der) in pem_file(path, Label::Crl)?.into_iter().enumerate() {
            match Crl::parse(der) {
                Ok(crl) => crls.push(crl),
                Err(fault) => warnings.push(format!(
                    "{}: CRL {index} is left out: {fault}",
                    path.display()
                )),
            }
        }
    }
    Ok(Revocation::new(mode, crls))
}

/// Where the chain was found.
struct Presented {
    file: Option<PathBuf>,
    /// With --header, the names of those that were read.
    headers: Option<Vec<String>>,
    /// SHA-256 of each that could be decoded.
    certificates: Vec<String>,
}

/// What is printed.
struct Verdict<'a> {
    presented: &'a Presented,
    verified: bool,
    reason: String,
    variables: Variables,
    path: Vec<&'a Certificate>,
    warnings: &'a [String],
}

impl<'a> Verdict<'a> {
    fn new(client_cert: &'a ClientCert, presented: &'a Presented, warnings: &'a [String]) -> Self {
        let (reason, path) = match client_cert {
            ClientCert::Off => (Refusal::NotPerformed.to_string(), Vec::new()),
            ClientCert::Unverified { refusal, .. } => (refusal.to_string(), Vec::new()),
            ClientCert::Verified { end_entity, path } => {
                let reason = if path.is_empty() {
                    "on the allowlist"
                } else {
                    ""
                };
                let whole = core::iter::once(end_entity).chain(path).collect();
                (reason.to_owned(), whole)
            }
        };
        Self {
            presented,
            verified: client_cert.is_verified(),
            reason,
            variables: Variables::from(client_cert),
            path,
            warnings,
        }
    }

    fn to_json(&self) -> Value {
        let variables: serde_json::Map<String, Value> = Variable::ALL
            .into_iter()
            .map(|variable| {
                let value = self.variables.get(variable);
                (variable.name().to_owned(), Value::from(value))
            })
            .collect();
        let path: Vec<Value> = self
            .path
            .iter()
            .map(|certificate| {
                json!({
                    "subject": Name::display(certificate.name_der(certificate.subject())),
                    "issuer": Name::display(certificate.name_der(certificate.issuer())),
                    "notBefore": certificate.not_before().to_string(),
                    "notAfter": certificate.not_after().to_string(),
                    "sha256": hex(&certificate.sha256()),
                })
            })
            .collect();
        json!({
            "verified": self.verified,
            "reason": self.reason,
            "presented": {
                "file": self.presented.file,
                "headers": self.presented.headers,
                "certificates": self.presented.certificates,
            },
            "variables": variables,
            "path": path,
            "warnings": self.warnings,
        })
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let verdict = if self.verified {
            "verified"
        } else {
            "not verified"
        };
        text.push_str(verdict);
        if !self.reason.is_empty() {
            text.push_str(&format!(": {}", self.reason));
        }
        text.push('\n');
        if let Some(headers) = &self.presented.headers {
            text.push_str(
                &match (headers.as_slice(), self.presented.certificates.len()) {
                    ([], _) => "forwarded: none of the headers is there\n".to_owned(),
                    (headers, 1) => format!("forwarded: 1 certificate in {}\n", headers.join(", ")),
                    (headers, count) => {
                        format!(
                            "forwarded: {count} certificates in {}\n",
                            headers.join(", ")
                        )
                    }
                },
            );
        }
        if !self.path.is_empty() {
            text.push('\n');
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            let last = self.path.len().saturating_sub(1);
            for (position, certificate) in self.path.iter().enumerate() {
                let role = match position {
                    0 => "end entity".to_owned(),
                    position if position == last => "trust anchor".to_owned(),
                    position => format!("intermediate {position}"),
                };
                table.add_row([
                    role,
                    Name::display(certificate.name_der(certificate.subject())),
                    format!("until {}", certificate.not_after()),
                    format!("SHA-256 {}", hex(&certificate.sha256())),
                ]);
            }
            text.push_str(&format!("{}\n", table.trim_fmt()));
        }
        text.push('\n');
        // Values are printed whole, so that they can be copied.
        for variable in Variable::ALL {
            let line = format!("{:<32}{}", variable.name(), self.variables.get(variable));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
