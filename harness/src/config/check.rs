//! `mtls-gate config check`: everything that is wrong with the resources, at once.

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use mtls_gate_core::path::Profile;
use mtls_gate_core::x509::UnixSeconds;
use mtls_gate_resources::private_key;
use serde_json::{Map, Value, json};

use super::certificates::{self, Rules};
use super::finding::{Finding, FindingId, Findings, Severity};
use super::{ConfigCommandError, core_errors, headers, policies, prefix};
use crate::resources::{self, Place, ResourceError, ResourceFiles, Resources, WarningKind};
use crate::verify::{now, parse_time};

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// `mtls-gate config check`
#[derive(Args, Clone, Debug)]
pub struct CheckOptions {
    #[command(flatten)]
    files: ResourceFiles,
    /// The time to check at [default: now]
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    time: Option<UnixSeconds>,
    /// Warn of certificates that expire within so many days
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    expiry_days: u16,
    /// Exit with 1 if there are warnings
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    options: &CheckOptions,
    out: &mut impl Write,
) -> Result<bool, ConfigCommandError> {
    let findings = findings(options)?;
    let count = |severity| {
        findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if options.json {
        let findings: Vec<Value> = findings.iter().map(Finding::to_json).collect();
        let report = json!({ "findings": findings, "errors": errors, "warnings": warnings });
        writeln!(out, "{report:#}")?;
    } else {
        write!(out, "{}", table(&findings))?;
        writeln!(
            out,
            "{}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        )?;
    }
    Ok(errors == 0 && !(options.strict && warnings > 0))
}

/// Everything found, errors first.
fn findings(options: &CheckOptions) -> Result<Vec<Finding>, ConfigCommandError> {
    let mut found = Vec::new();
    let resources = options.files.read_past(&mut |error| match fault(error) {
        Ok(finding) => {
            found.push(finding);
            Ok(())
        }
        Err(error) => Err(error),
    })?;
    for file in options.files.files() {
        private_keys(file, &mut found)?;
    }
    found.extend(read_otherwise(&resources));
    let place = |path: &str| resources.place(path);
    let mut findings = Findings::new(&place);
    let document = &resources.document;
    core_errors::check(document, &mut findings);
    let whole = Value::Object(document.clone());
    certificates::check(&whole, rules(options, document), &mut findings);
    headers::check(document, &mut findings);
    policies::check(document, &mut findings);
    found.append(&mut findings.list);
    found.sort_by_key(|finding| finding.severity);
    Ok(found)
}

fn rules(options: &CheckOptions, document: &Map<String, Value>) -> Rules {
    let profile = document.get("profile").and_then(Value::as_str);
    Rules {
        profile: match profile {
            Some("RFC5280") => Profile::Rfc5280,
            _ => Profile::Google,
        },
        time: options.time.or_else(now).unwrap_or(UnixSeconds(0)),
        expiry_seconds: i64::from(options.expiry_days).saturating_mul(SECONDS_PER_DAY),
    }
}

/// A file that can be read and asks for what cannot be done is a finding; the rest of the files is
/// looked over all the same.
fn fault(error: ResourceError) -> Result<Finding, ResourceError> {
    let ResourceError::NestedHeaderAction { path, at } = &error else {
        return Err(error);
    };
    let place = Place {
        file: Some(path.clone()),
        path: at.clone(),
    };
    let text = error.to_string();
    Ok(Finding {
        id: FindingId::HeaderActionNested,
        severity: Severity::Error,
        what: text
            .strip_prefix(&prefix(&place))
            .unwrap_or(&text)
            .to_owned(),
        place,
        mend: "move the header action to the top level of the URL map".to_owned(),
    })
}

/// Looked for in the text: a key in a comment, or in a field that is not read, is as public.
fn private_keys(file: &Path, found: &mut Vec<Finding>) -> Result<(), ResourceError> {
    for line in private_key_lines(file)? {
        found.push(Finding {
            id: FindingId::PrivateKey,
            severity: Severity::Error,
            place: Place {
                file: Some(file.to_owned()),
                path: format!("line {line}"),
            },
            what: "holds a private key, which belongs nowhere in here".to_owned(),
            mend: "remove it; if anybody else could read the file, replace the key and its certificate"
                .to_owned(),
        });
    }
    Ok(())
}

/// The lines with private keys, from 1.
pub(super) fn private_key_lines(file: &Path) -> Result<Vec<usize>, ResourceError> {
    Ok(private_key::lines(&resources::read_text(file)?).collect())
}

fn read_otherwise(resources: &Resources) -> impl Iterator<Item = Finding> + '_ {
    resources.warnings.iter().map(|warning| {
        let (id, what, mend) = match warning.kind {
            WarningKind::Lenient => (
                FindingId::LenientForm,
                format!(
                    "{}; as it stands, the filter and Google refuse it",
                    warning.what
                ),
                "`mtls-gate config envoy --part document` writes it as the schema has it",
            ),
            WarningKind::NotUsed => (
                FindingId::NotUsed,
                warning.what.clone(),
                "remove it, if it is not there for others to read",
            ),
        };
        Finding {
            id,
            severity: Severity::Warning,
            place: Place {
                file: Some(warning.file.clone()),
                path: warning.path.clone(),
            },
            what,
            mend: mend.to_owned(),
        }
    })
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn table(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(120);
    }
    for finding in findings {
        let place = prefix(&finding.place);
        table.add_row([
            finding.severity.as_str().to_owned(),
            finding.id.as_str().to_owned(),
            format!(
                "{}\n{}\n→ {}\n ",
                place.trim_end_matches(": "),
                finding.what,
                finding.mend
            ),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}
