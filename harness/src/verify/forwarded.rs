//! `verify --header`: the chain as another proxy forwards it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use hyper::header::{HeaderName, HeaderValue};
use mtls_gate_core::config::{self, ConfigError, resources};
use mtls_gate_core::forwarded::ForwardedChain;
use mtls_gate_core::forwarded::header::{HeaderSource, Relay};
use mtls_gate_core::forwarded::presets::Preset;
use mtls_gate_core::limits::RequestLimits;
use serde_json::Value;

use super::VerifyError;
use crate::resources::{self as files, ResourceError};

/// `--header`, and how it is read.
#[derive(Args, Clone, Debug)]
pub(super) struct HeaderOptions {
    /// In the place of --chain, the headers in which another proxy forwards the chain: lines of
    /// `Name: value`, also as `curl -v` prints them. The file is believed: no relay is judged
    #[arg(long, value_name = "FILE", requires = "form")]
    pub(super) header: Option<PathBuf>,
    /// The product that wrote them, as in source.header.preset
    #[arg(long, value_name = "PRESET", group = "form", requires = "header")]
    #[arg(conflicts_with = "chain", value_parser = parse_preset)]
    preset: Option<Preset>,
    /// The filter's `source`, as YAML or JSON; of its `header` the relay is not looked at
    #[arg(long, value_name = "FILE", group = "form", requires = "header")]
    #[arg(conflicts_with = "chain")]
    source: Option<PathBuf>,
    /// The header with the end entity, where the preset leaves the name open
    #[arg(
        long,
        value_name = "NAME",
        requires = "preset",
        conflicts_with = "source"
    )]
    certificate_header: Option<String>,
    /// The header with the other certificates, where the preset leaves the name open
    #[arg(
        long,
        value_name = "NAME",
        requires = "preset",
        conflicts_with = "source"
    )]
    chain_header: Option<String>,
    /// The numbered headers with one of them each: the names without the numbers
    #[arg(
        long,
        value_name = "PREFIX",
        requires = "preset",
        conflicts_with = "source"
    )]
    numbered_chain_headers: Option<String>,
    /// How many elements x-forwarded-client-cert has [default: 1]
    #[arg(
        long,
        value_name = "COUNT",
        requires = "preset",
        conflicts_with = "source"
    )]
    elements: Option<usize>,
}

/// What the headers of a file hold.
pub(super) struct Decoded {
    pub(super) chain: ForwardedChain,
    /// The names of the headers that were read, in the file's order.
    pub(super) headers: Vec<String>,
}

/// The configuration's names; in lower case and with hyphens too, as other options have them.
fn parse_preset(text: &str) -> Result<Preset, String> {
    let name = text.to_ascii_uppercase().replace('-', "_");
    config::typed(Value::from(name)).map_err(|error| error.reason)
}

impl HeaderOptions {
    /// Decodes the file as the filter decodes a request's headers.
    pub(super) fn decode(
        &self,
        path: &Path,
        limits: &RequestLimits,
    ) -> Result<Decoded, VerifyError> {
        let source = self.form()?;
        let lines = header_lines(path)?;
        let lines: Vec<(&[u8], &[u8])> = lines
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
            .collect();
        let mut headers: Vec<String> = Vec::new();
        for (name, _) in lines.iter().filter(|(name, _)| source.reads(name)) {
            let name = String::from_utf8_lossy(name);
            if !headers.iter().any(|seen| *seen == name) {
                headers.push(name.into_owned());
            }
        }
        // Without a connection, no element of x-forwarded-client-cert can be known as the relay's.
        let chain = source.decode(&lines, Relay::default(), limits);
        Ok(Decoded { chain, headers })
    }

    fn form(&self) -> Result<HeaderSource, VerifyError> {
        let (of, document) = match &self.source {
            Some(path) => {
                let of = path.display().to_string();
                match files::source(path)?.header {
                    Some(header) => (of, header),
                    None => {
                        return Err(VerifyError::Source {
                            of,
                            path: "header".to_owned(),
                            reason: "is missing".to_owned(),
                        });
                    }
                }
            }
            None => ("--preset".to_owned(), self.document()),
        };
        config::source(&document).map_err(|ConfigError { path, reason }| VerifyError::Source {
            of,
            path: path.strip_prefix("source.").unwrap_or(&path).to_owned(),
            reason,
        })
    }

    /// The options as `source.header`.
    fn document(&self) -> resources::HeaderSource {
        resources::HeaderSource {
            preset: self.preset,
            certificate_header: self.certificate_header.clone(),
            chain_header: self.chain_header.clone(),
            numbered_chain_headers: self.numbered_chain_headers.clone(),
            elements: self.elements,
            ..resources::HeaderSource::default()
        }
    }
}

fn header_lines(path: &Path) -> Result<Vec<(HeaderName, HeaderValue)>, VerifyError> {
    let bytes = fs::read(path).map_err(|source| ResourceError::File {
        path: path.to_owned(),
        source,
    })?;
    let mut lines: Vec<(usize, Vec<u8>)> = Vec::new();
    for (number, line) in (1_usize..).zip(bytes.split(|byte| *byte == b'\n')) {
        // What `curl -v` marks as sent and as received.
        let marked = line
            .strip_prefix(b"> ")
            .or_else(|| line.strip_prefix(b"< "));
        let line = marked.unwrap_or(line);
        match (line, lines.last_mut()) {
            (line, _) if line.trim_ascii().is_empty() => {}
            // RFC 9112 5.2: a folded line continues the value. nginx forwards PEM so.
            ([b' ' | b'\t', ..], Some((_, value))) => {
                value.push(b' ');
                value.extend(line.trim_ascii());
            }
            _ => lines.push((number, line.trim_ascii_end().to_vec())),
        }
    }
    lines
        .into_iter()
        .map(|(number, line)| {
            header(&line).ok_or_else(|| VerifyError::HeaderLine {
                path: path.to_owned(),
                number,
            })
        })
        .collect()
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let value = value.strip_prefix(b":")?.trim_ascii();
    let name = HeaderName::from_bytes(name).ok()?;
    Some((name, HeaderValue::from_bytes(value).ok()?))
}
