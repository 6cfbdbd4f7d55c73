//! What the client presents, in whatever form it was pasted.

use mtls_gate_core::forwarded::pem::{self, Around, Bounds, Label};
use mtls_gate_core::forwarded::presets::{Names, Preset};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};
use serde_json::{Map, Value, json};

use crate::Problem;
use crate::state::{FIELD_BYTES, State};

/// More than any limit of a configuration: the core tells which is passed.
const BOUNDS: Bounds = Bounds {
    blocks: 1000,
    der_bytes: FIELD_BYTES,
};
/// Where a preset leaves the name to the configuration and only a value is given.
const SOME_HEADER: &str = "x-client-cert";

/// What was pasted.
#[derive(Clone, Debug)]
pub(crate) enum Chain {
    /// Nothing.
    Absent,
    /// Certificates in PEM, end entity first.
    Pem(Vec<Vec<u8>>),
    /// Headers of a request, and how they are read.
    Header {
        lines: Vec<(String, String)>,
        /// `source.header`, without a relay.
        source: Map<String, Value>,
        preset: String,
    },
}

impl Chain {
    pub(crate) fn read(state: &State) -> Result<Self, Problem> {
        let text = state.chain.trim();
        if text.is_empty() {
            return Ok(Self::Absent);
        }
        let lines = header_lines(text);
        let format = match state.format.0.as_str() {
            "AUTO" => detect(text, &lines).ok_or_else(|| {
                Problem::new(
                    "chain",
                    "Client certificate: neither PEM nor a header value that is known by its looks. \
                     Choose the format beside the field.",
                )
            })?,
            format => format.to_owned(),
        };
        if format == "PEM" {
            return from_pem(text).map(Self::Pem);
        }
        let preset =
            StrDeserializer::<Error>::into_deserializer(format.as_str().into_deserializer());
        let preset_of = Preset::deserialize(preset)
            .map_err(|_| Problem::new("chain", "Client certificate: no such format."))?;
        Ok(header(text, lines, preset_of, &format, state.elements))
    }
}

fn from_pem(text: &str) -> Result<Vec<Vec<u8>>, Problem> {
    let certificates = pem_blocks("chain", "Client certificate", text)?;
    if certificates.is_empty() {
        return Err(Problem::new(
            "chain",
            "Client certificate: there is no block BEGIN CERTIFICATE in it.",
        ));
    }
    Ok(certificates)
}

/// The certificates of a text, or the line of the block that is wrong.
pub(crate) fn pem_blocks(
    field: &'static str,
    name: &str,
    text: &str,
) -> Result<Vec<Vec<u8>>, Problem> {
    pem::blocks(text.as_bytes(), Label::Certificate, Around::AnyText, BOUNDS).map_err(
        |(index, fault)| {
            let line = line_of_block(text, index);
            let at = line
                .map(|line| format!(", line {line}"))
                .unwrap_or_default();
            let number = index.saturating_add(1);
            Problem {
                line,
                ..Problem::new(
                    field,
                    format!("{name}{at}: PEM block {number} cannot be read: {fault}."),
                )
            }
        },
    )
}

/// The line on which the block with this index begins.
pub(crate) fn line_of_block(text: &str, index: usize) -> Option<usize> {
    (1_usize..)
        .zip(text.lines())
        .filter(|(_, line)| line.contains("-----BEGIN CERTIFICATE"))
        .nth(index)
        .map(|(number, _)| number)
}

/// `Name: value` in every line, or nothing of the kind.
fn header_lines(text: &str) -> Vec<(String, String)> {
    let is_token = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !name.is_empty() && name.bytes().all(allowed)
    };
    let lines: Option<Vec<_>> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            is_token(name).then(|| (name.to_owned(), value.trim().to_owned()))
        })
        .collect();
    lines.unwrap_or_default()
}

fn detect(text: &str, lines: &[(String, String)]) -> Option<String> {
    const BY_NAME: [(Preset, &str); 7] = [
        (Preset::Envoy, "ENVOY"),
        (Preset::Rfc9440, "RFC9440"),
        (Preset::AwsAlbPassthrough, "AWS_ALB_PASSTHROUGH"),
        (Preset::AwsAlbVerify, "AWS_ALB_VERIFY"),
        (Preset::Traefik, "TRAEFIK"),
        (Preset::AzureAppService, "AZURE_APP_SERVICE"),
        (Preset::CloudflareLegacy, "CLOUDFLARE_LEGACY"),
    ];
    let named = BY_NAME.into_iter().find(|(preset, _)| {
        let name = preset.source().name;
        lines
            .iter()
            .any(|(line, _)| line.eq_ignore_ascii_case(&name))
    });
    if let Some((_, format)) = named {
        return Some(format.to_owned());
    }
    let value = lines.first().map_or(text, |(_, value)| value.as_str());
    let format = if value.starts_with(':') {
        if lines.is_empty() {
            "RFC9440"
        } else {
            "GOOGLE_ALB"
        }
    } else if value.starts_with('[') || value.contains("Hash=") {
        "ENVOY"
    } else if value.contains("-----BEGIN%20")
        || (!lines.is_empty() && value.contains("-----BEGIN "))
    {
        "NGINX"
    } else if value.contains("-----BEGIN ") {
        "PEM"
    } else if value.starts_with("MI") {
        "HAPROXY"
    } else {
        return None;
    };
    Some(format.to_owned())
}

fn header(
    text: &str,
    lines: Vec<(String, String)>,
    preset: Preset,
    format: &str,
    elements: Option<usize>,
) -> Chain {
    let mut source = Map::from_iter([("preset".to_owned(), json!(format))]);
    let mut put = |field: &str, value: Value| source.insert(field.to_owned(), value);
    if preset == Preset::Envoy
        && let Some(elements) = elements
    {
        put("elements", json!(elements));
    }
    let usual = preset.source().name;
    let names = preset.names();
    let lines = if lines.is_empty() {
        let name = if usual.is_empty() {
            SOME_HEADER.to_owned()
        } else {
            usual.clone()
        };
        vec![(name, text.to_owned())]
    } else {
        lines
    };
    let is_numbered = |name: &str| name.ends_with(|last: char| last.is_ascii_digit());
    let own = lines.iter().map(|(name, _)| name);
    let own = match names {
        Names::EndEntityAndNumbered => own.clone().find(|name| !is_numbered(name)),
        Names::Fixed | Names::Default | Names::EndEntity | Names::EndEntityAndChain => {
            own.clone().next()
        }
    };
    let another = |name: &&String| own.is_some_and(|own| !own.eq_ignore_ascii_case(name));
    let other = lines.iter().map(|(name, _)| name).find(another);
    if names != Names::Fixed
        && let Some(own) = own
        && !(names == Names::Default && own.eq_ignore_ascii_case(&usual))
    {
        put("certificateHeader", json!(own));
    }
    match (names, other) {
        (Names::Default | Names::EndEntityAndChain, Some(other))
            if !(names == Names::Default && other.eq_ignore_ascii_case("client-cert-chain")) =>
        {
            put("chainHeader", json!(other));
        }
        (Names::EndEntityAndNumbered, Some(other)) => {
            let prefix = other.trim_end_matches(|last: char| last.is_ascii_digit());
            put("numberedChainHeaders", json!(prefix));
        }
        _ => {}
    }
    Chain::Header {
        lines,
        source,
        preset: format.to_owned(),
    }
}
