//! Google's resources as people keep them: exports and samples of Google's own guides, in YAML or
//! JSON. Read leniently where the guides differ from the schema, with a warning for each. And the
//! Envoy configuration that is made from them.
//!
//! No I/O: files are read by whoever has them; their names are for messages.
#![forbid(unsafe_code)]

mod authz_policies;
mod document;
pub mod envoy;
mod headers;
pub mod private_key;
mod server_tls_policy;
mod source;
mod trust_config;
pub mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};

use mtls_gate_core::config::{self, ConfigError};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use thiserror::Error;

pub use authz_policies::authz_policies;
pub use document::{Place, Resources};
pub use headers::{Headers, headers};
pub use server_tls_policy::server_tls_policy;
pub use source::source;
pub use trust_config::trust_config;

/// Why a resource could not be read.
#[derive(Debug, Error)]
pub enum ResourceError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// Neither YAML nor JSON.
    #[error("{}: not YAML: {what}", path.display())]
    Yaml {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// PEM where a resource should be.
    #[error("{}: PEM, not YAML or JSON (certificates go to --anchors of `verify`)", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
    },
    /// Not text.
    #[error("{}: not text (DER? `openssl x509 -inform DER` makes PEM of it)", path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
    },
    /// Not the resource it should be.
    #[error("{}: {source}", path.display())]
    Schema {
        /// Which file.
        path: PathBuf,
        /// The field, and what is wrong with it.
        source: ConfigError,
    },
    /// Not even the kind of value that the resource is.
    #[error("{}: not {wanted}", path.display())]
    Kind {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// Neither a backend service nor a URL map with headers.
    #[error("{}: neither customRequestHeaders nor headerAction", path.display())]
    NoHeaders {
        /// Which file.
        path: PathBuf,
    },
    /// Headers for some of the requests only.
    #[error(
        "{}: {at}: header rules below the top level of a URL map are not supported, and leaving them \
         out would change what backends see: move them to the top level, where they hold for every \
         request",
        path.display()
    )]
    NestedHeaderAction {
        /// Which file.
        path: PathBuf,
        /// The field.
        at: String,
    },
    /// Two files say the same thing.
    #[error("{}: {field} is in {} too", path.display(), other.display())]
    Twice {
        /// The later file.
        path: PathBuf,
        /// The field of the configuration document.
        field: String,
        /// The earlier file.
        other: PathBuf,
    },
    /// A field of the document that another file is for.
    #[error("{}: {field} has a file and an option of its own", path.display())]
    NotASetting {
        /// Which file.
        path: PathBuf,
        /// The field of the configuration document.
        field: String,
    },
}

/// Something that was read otherwise than it is written, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Which file.
    pub file: PathBuf,
    /// The path within the file; empty for the whole of it.
    pub path: String,
    /// Which of the two.
    pub kind: WarningKind,
    /// What was done.
    pub what: String,
}

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// Not as the schema has it, and read as it was meant.
    Lenient,
    /// Not read.
    NotUsed,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

/// A value as the schema has it, and what had to be done for that.
type Lenient = (Value, Vec<Warning>);

/// What is said of one file.
struct Notes<'a> {
    file: &'a Path,
    warnings: Vec<Warning>,
}

impl<'a> Notes<'a> {
    fn new(file: &'a Path) -> Self {
        Self {
            file,
            warnings: Vec::new(),
        }
    }

    fn lenient(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.warn(WarningKind::Lenient, path.into(), what.into());
    }

    fn not_used(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.warn(WarningKind::NotUsed, path.into(), what.into());
    }

    fn warn(&mut self, kind: WarningKind, path: String, what: String) {
        self.warnings.push(Warning {
            file: self.file.to_owned(),
            path,
            kind,
            what,
        });
    }

    /// gcloud's schemas tolerate these two and make nothing of them.
    fn drop_comments(&mut self, resource: &mut Map<String, Value>) {
        for extra in ["COMMENT", "UNKNOWN"] {
            if resource.remove(extra).is_some() {
                self.not_used(extra, format!("{extra} is not used"));
            }
        }
    }
}

/// All YAML documents of a file; JSON is YAML.
fn documents(path: &Path, text: &str) -> Result<Vec<Value>, ResourceError> {
    if text.trim_start().starts_with("-----BEGIN") {
        return Err(ResourceError::Pem {
            path: path.to_owned(),
        });
    }
    serde_saphyr::from_multiple(text).map_err(|error| yaml_error(path, &error.to_string()))
}

/// The only YAML document of a file.
fn yaml_document(path: &Path, text: &str) -> Result<Value, ResourceError> {
    let mut documents = documents(path, text)?;
    match (documents.pop(), documents.is_empty()) {
        (Some(document), true) => Ok(document),
        (None, _) => Err(yaml_error(path, "the file is empty")),
        (Some(_), false) => Err(yaml_error(path, "more than one document")),
    }
}

fn yaml_error(path: &Path, what: &str) -> ResourceError {
    ResourceError::Yaml {
        path: path.to_owned(),
        what: what.replace('\n', " "),
    }
}

/// The reason as the core gives it, without the place in JSON text that nobody wrote.
#[must_use]
pub fn reason(error: &ConfigError) -> &str {
    match error.reason.rsplit_once(" at line ") {
        Some((reason, place)) if place.contains(" column ") => reason,
        _ => &error.reason,
    }
}

fn typed<T: DeserializeOwned>(path: &Path, value: Value) -> Result<T, ResourceError> {
    config::typed(value).map_err(|source| ResourceError::Schema {
        path: path.to_owned(),
        source,
    })
}
