//! `mtls-gate config envoy`: an Envoy configuration from files.

use std::fmt;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use mtls_gate_core::config::Config;
use mtls_gate_resources::envoy::{self, Envoy};
use mtls_gate_resources::{reason, yaml};
use serde_json::{Map, Value};

use super::check::private_key_lines;
use super::{ConfigCommandError, upstream_tls};
use crate::backend::BackendOptions;
use crate::resources::{Place, ResourceFiles, Resources};

/// `mtls-gate config envoy`
#[derive(Args, Clone, Debug)]
pub struct EnvoyOptions {
    #[command(flatten)]
    files: ResourceFiles,
    /// What is written
    #[arg(long, value_enum, default_value_t = Part::Bootstrap)]
    part: Part,
    /// The address that Envoy listens at
    #[arg(long, value_name = "IP:PORT", default_value_t = Envoy::default().listen)]
    listen: SocketAddr,
    /// The server's certificate chain, as Envoy finds it
    #[arg(
        long,
        value_name = "FILE",
        default_value = envoy::CERT
    )]
    cert: PathBuf,
    /// The server's private key, as Envoy finds it
    #[arg(long, value_name = "FILE", default_value = envoy::KEY)]
    key: PathBuf,
    /// The filter, as Envoy finds it
    #[arg(
        long,
        value_name = "FILE",
        default_value = envoy::WASM
    )]
    wasm: PathBuf,
    /// The backend; a name is resolved by Envoy
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    upstream: HostPort,
    #[command(flatten)]
    backend: BackendOptions,
    /// Put the same filter before the connection manager too, where it closes the connections of
    /// refused clients and tells policies with ipBlocks the address they come from; it sees no
    /// intermediates that clients present
    #[arg(long)]
    network_filter: bool,
    /// Where to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write JSON in the place of YAML
    #[arg(long)]
    json: bool,
}

/// `--part`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// A complete bootstrap
    Bootstrap,
    /// The entry for http_filters
    Filter,
    /// The filter's configuration document
    Document,
}

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let usage = "not HOST:PORT, such as backend.internal:8080 or [::1]:8080";
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                host: address.ip().to_string(),
                port: address.port(),
            });
        }
        let (host, port) = text.rsplit_once(':').ok_or(usage)?;
        let label =
            |character: char| character.is_ascii_alphanumeric() || ".-_".contains(character);
        if host.is_empty() || !host.chars().all(label) {
            return Err(usage);
        }
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| usage)?,
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

pub(super) fn run(options: &EnvoyOptions, out: &mut impl Write) -> Result<(), ConfigCommandError> {
    let gate = gate(options)?;
    let envoy = Envoy {
        listen: options.listen,
        cert: &options.cert,
        key: &options.key,
        wasm: &options.wasm,
        network_filter: options.network_filter,
        forwarded: gate.config.forwarded.as_ref(),
    };
    let value = match options.part {
        Part::Document => Value::Object(gate.document),
        Part::Filter => envoy.http_filter(gate.document),
        Part::Bootstrap => envoy.bootstrap(gate.document, cluster(options)?),
    };
    let text = if options.json {
        format!("{value:#}\n")
    } else {
        yaml::write(&value).map_err(ConfigCommandError::Yaml)?
    };
    match &options.output {
        Some(path) => fs::write(path, text).map_err(|source| ConfigCommandError::Output {
            path: path.clone(),
            source,
        }),
        None => Ok(out.write_all(text.as_bytes())?),
    }
}

/// The filter's configuration document, as the filter accepts it.
struct Gate {
    document: Map<String, Value>,
    config: Config,
}

fn gate(options: &EnvoyOptions) -> Result<Gate, ConfigCommandError> {
    let mut resources = options.files.read()?;
    for warning in &resources.warnings {
        eprintln!("warning: {warning}");
    }
    refuse_private_keys(&options.files)?;
    refuse_what_is_ours(options, &resources)?;
    if options.network_filter {
        envoy::tell_direct_peer_address(&mut resources.document);
        accepted(&resources, &envoy::network_document(&resources.document))?;
    }
    let config = accepted(&resources, &resources.document)?;
    Ok(Gate {
        document: resources.document,
        config,
    })
}

fn accepted(
    resources: &Resources,
    document: &Map<String, Value>,
) -> Result<Config, ConfigCommandError> {
    let text = Value::Object(document.clone()).to_string();
    match Config::from_bytes(text.as_bytes()) {
        Ok(config) => {
            for warning in &config.warnings {
                eprintln!("warning: {warning}");
            }
            Ok(config)
        }
        Err(error) => Err(ConfigCommandError::Refused {
            place: match error.path.as_str() {
                // The document as a whole is no place in any file.
                "configuration" => Place {
                    file: None,
                    path: error.path.clone(),
                },
                path => resources.place(path),
            },
            reason: reason(&error).to_owned(),
        }),
    }
}

/// What is written here is copied about, and read by whoever may read Envoy's configuration.
fn refuse_private_keys(files: &ResourceFiles) -> Result<(), ConfigCommandError> {
    for file in files.files() {
        if let Some(line) = private_key_lines(file)?.first() {
            return Err(ConfigCommandError::Refused {
                place: Place {
                    file: Some(file.to_owned()),
                    path: format!("line {line}"),
                },
                reason: "holds a private key, which belongs nowhere in here".to_owned(),
            });
        }
    }
    Ok(())
}

/// Settings that say where the filter stands, which is this command's to say.
fn refuse_what_is_ours(
    options: &EnvoyOptions,
    resources: &Resources,
) -> Result<(), ConfigCommandError> {
    let document = &resources.document;
    let told = document
        .get("source")
        .and_then(|source| source.pointer("/connection/directPeerAddress"))
        .is_some_and(|told| told == "NETWORK_FILTER");
    let (path, reason) = if document.contains_key("role") {
        ("role", "is for this command to say: see --network-filter")
    } else if told && !options.network_filter && options.part == Part::Bootstrap {
        (
            "source.connection.directPeerAddress",
            "needs --network-filter, which tells the address",
        )
    } else {
        return Ok(());
    };
    Err(ConfigCommandError::Refused {
        place: resources.place(path),
        reason: reason.to_owned(),
    })
}

fn cluster(options: &EnvoyOptions) -> Result<Value, ConfigCommandError> {
    let HostPort { host, port } = &options.upstream;
    // An address is no name to ask for.
    let server_name = host.parse::<IpAddr>().is_err().then_some(host.as_str());
    let tls = upstream_tls::transport_socket(&options.backend, server_name)?;
    Ok(envoy::cluster(host, *port, tls))
}
