//! The fields of the page as one configuration document, and the document as the filter takes it.

use std::path::Path;

use mtls_gate_core::config::Config;
use mtls_gate_core::path::Profile;
use mtls_gate_resources::{ResourceError, Resources, reason};
use serde_json::{Map, Value, json};

use crate::Problem;
use crate::admit::pem;
use crate::certificate::shown;
use crate::chain::{Chain, pem_blocks};
use crate::state::{ModeName, State, field_name};

/// Names of the fields as files, for the reader's messages.
const FIELDS: [&str; 4] = ["trust", "policy", "headers", "settings"];

/// A configuration that loads.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) config: Config,
    /// As it was compiled, without a relay that is believed.
    pub(crate) document: Map<String, Value>,
    pub(crate) warnings: Vec<String>,
}

impl Setup {
    pub(crate) fn read(state: &State, chain: &Chain) -> Result<Self, Problem> {
        let resources = resources(state, chain)?;
        let mut document = resources.document.clone();
        let mut believed = document.clone();
        if let Chain::Header { source, .. } = chain {
            document.insert("source".to_owned(), json!({ "header": source }));
            let mut source = source.clone();
            source.insert("relay".to_owned(), json!({ "trustAnyRelay": true }));
            believed.insert("source".to_owned(), json!({ "header": source }));
        }
        let bytes = Value::Object(believed).to_string();
        let config = Config::from_bytes(bytes.as_bytes()).map_err(|error| {
            let place = resources.place(&error.path);
            let field = place.file.as_deref().and_then(Path::to_str).and_then(known);
            let reason = reason(&error);
            match field {
                Some(field) => Problem::new(
                    field,
                    format!("{}: {}: {reason}.", field_name(field), place.path),
                ),
                None => Problem::new(
                    missing(&error.path),
                    format!("The configuration is refused: {}: {reason}.", error.path),
                ),
            }
        })?;
        let mut warnings: Vec<String> = resources
            .warnings
            .iter()
            .map(|warning| {
                let name = warning.file.to_str().map(field_name).unwrap_or_default();
                format!("{name}: {}.", warning.what)
            })
            .collect();
        if matches!(chain, Chain::Header { .. }) {
            warnings.push(
                "The header is read as if it came from a relay that is believed. The configuration below \
                 names none, and believes nobody until source.header.relay says who is."
                    .to_owned(),
            );
        }
        Ok(Self {
            config,
            document,
            warnings,
        })
    }
}

fn known(name: &str) -> Option<&'static str> {
    FIELDS.into_iter().find(|field| *field == name)
}

/// What no field holds: the one to look at.
fn missing(path: &str) -> &'static str {
    match path {
        "trustConfig" => "trust",
        path if path.starts_with("source.header") => "chain",
        path if path.starts_with("serverTlsPolicy") => "policy",
        _ => "settings",
    }
}

fn resources(state: &State, chain: &Chain) -> Result<Resources, Problem> {
    let mut resources = Resources::default();
    if is_pem(&state.trust) {
        let trust = trust_anchors(&state.trust)?;
        resources.document.insert("trustConfig".to_owned(), trust);
    } else {
        add(
            &mut resources,
            "trust",
            &state.trust,
            Resources::add_trust_config,
        )?;
    }
    add(
        &mut resources,
        "policy",
        &state.policy,
        Resources::add_server_tls_policy,
    )?;
    if is_headers_resource(&state.headers) {
        add(
            &mut resources,
            "headers",
            &state.headers,
            Resources::add_headers,
        )?;
    } else if !state.headers.trim().is_empty() {
        let lines = state.headers.lines().map(str::trim);
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        resources
            .document
            .insert("customRequestHeaders".to_owned(), json!(lines));
    }
    add(
        &mut resources,
        "settings",
        &state.settings,
        Resources::add_settings,
    )?;
    override_policy(&mut resources.document, state.mode);
    if let Some(profile) = state.profile {
        let name = Profile::from(profile).as_str();
        resources.document.insert("profile".to_owned(), json!(name));
    }
    if resources.document.contains_key("source") && matches!(chain, Chain::Header { .. }) {
        return Err(Problem::new(
            "settings",
            "Settings: source is said by the format of the client certificate; leave it out.",
        ));
    }
    Ok(resources)
}

type Add = fn(&mut Resources, &Path, &str) -> Result<(), ResourceError>;

fn add(
    resources: &mut Resources,
    field: &'static str,
    text: &str,
    add: Add,
) -> Result<(), Problem> {
    if text.trim().is_empty() {
        return Ok(());
    }
    add(resources, Path::new(field), text).map_err(|error| {
        let said = error.to_string();
        let what = said.strip_prefix(&format!("{field}: ")).unwrap_or(&said);
        let what = shown(what.as_bytes());
        Problem {
            line: line_in(&what),
            ..Problem::new(field, format!("{}: {what}.", field_name(field)))
        }
    })
}

/// `line 3` of a message.
fn line_in(message: &str) -> Option<usize> {
    let (_, behind) = message.split_once("line ")?;
    let digits = behind
        .split(|character: char| !character.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

/// An export in the place of `Name:value` lines.
fn is_headers_resource(text: &str) -> bool {
    let fields = ["customRequestHeaders", "headerAction", "headerName"];
    fields.into_iter().any(|field| text.contains(field))
}

fn is_pem(text: &str) -> bool {
    let is_yaml =
        |line: &str| line.trim_start().starts_with("trust") || line.contains("emCertificate");
    text.contains("-----BEGIN ") && !text.lines().any(is_yaml)
}

/// Every certificate of a bundle is a trust anchor.
fn trust_anchors(text: &str) -> Result<Value, Problem> {
    let certificates = pem_blocks("trust", field_name("trust"), text)?;
    let anchors: Vec<Value> = certificates
        .iter()
        .map(|der| json!({ "pemCertificate": pem("CERTIFICATE", der) }))
        .collect();
    Ok(json!({ "trustStores": [{ "trustAnchors": anchors }] }))
}

/// Without a policy certificates are asked for and everything is passed on.
fn override_policy(document: &mut Map<String, Value>, mode: Option<ModeName>) {
    let has_policy = document.contains_key("serverTlsPolicy");
    if has_policy && mode.is_none() {
        return;
    }
    let mode = json!(mode.unwrap_or(ModeName::AllowInvalidOrMissingClientCert));
    let policy = document
        .entry("serverTlsPolicy")
        .or_insert_with(|| json!({}));
    let mtls = match policy {
        Value::Object(policy) => policy.entry("mtlsPolicy").or_insert_with(|| json!({})),
        // For the core to refuse.
        _ => return,
    };
    if let Value::Object(mtls) = mtls {
        mtls.insert("clientValidationMode".to_owned(), mode);
    }
}
