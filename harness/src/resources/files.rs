//! The files on a command line, together one configuration document.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};

use super::{
    Lenient, ResourceError, Warning, authz_policies, document, headers, server_tls_policy,
    trust_config,
};

/// Fields of the document that hold Google's resources; each has an option of its own.
const RESOURCE_FIELDS: [&str; 5] = [
    "trustConfig",
    "serverTlsPolicy",
    "customRequestHeaders",
    "headerAction",
    AUTHZ_POLICIES,
];
const AUTHZ_POLICIES: &str = "authzPolicies";

/// Google's resources as files, YAML or JSON. `gcloud … export` and `describe` write such files.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct ResourceFiles {
    /// A Certificate Manager TrustConfig
    #[arg(long, value_name = "FILE")]
    pub trust_config: Option<PathBuf>,
    /// A ServerTlsPolicy
    #[arg(long, value_name = "FILE")]
    pub server_tls_policy: Option<PathBuf>,
    /// A backend service with customRequestHeaders, or a URL map with a headerAction; may be
    /// repeated, once for each
    #[arg(long, value_name = "FILE")]
    pub headers: Vec<PathBuf>,
    /// One or several AuthzPolicies; may be repeated
    #[arg(long, value_name = "FILE")]
    pub authz_policy: Vec<PathBuf>,
    /// The document's fields that Google has no resource for: profile, revocation, limits,
    /// rejection, authzDenial, source
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

/// A configuration document, and where each part of it was read.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// What the filter takes, nothing of it checked.
    pub document: Map<String, Value>,
    /// What was read leniently.
    pub warnings: Vec<Warning>,
    parts: Vec<Part>,
}

/// Which file a part of the document comes from.
#[derive(Clone, Debug)]
struct Part {
    /// The path in the document.
    document_path: String,
    file: PathBuf,
    /// The same in the file.
    file_path: String,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// None if no file holds it.
    pub file: Option<PathBuf>,
    /// The path within the file, or within the document; empty for the whole.
    pub path: String,
}

impl ResourceFiles {
    /// Every file that was named.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.trust_config
            .iter()
            .chain(&self.server_tls_policy)
            .chain(&self.headers)
            .chain(&self.authz_policy)
            .chain(&self.settings)
            .map(PathBuf::as_path)
    }

    /// Reads all files into one document. Whether it makes sense is for the core to say.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub fn read(&self) -> Result<Resources, ResourceError> {
        self.read_past(&mut Err)
    }

    /// The same, going on without a file if `fault` lets an error pass.
    pub(crate) fn read_past(
        &self,
        fault: &mut impl FnMut(ResourceError) -> Result<(), ResourceError>,
    ) -> Result<Resources, ResourceError> {
        let mut resources = Resources::default();
        if let Some(file) = &self.trust_config {
            let read = trust_config::value(file)
                .and_then(|read| resources.insert_whole(file, "trustConfig", read));
            read.or_else(&mut *fault)?;
        }
        if let Some(file) = &self.server_tls_policy {
            let read = server_tls_policy::value(file)
                .and_then(|read| resources.insert_whole(file, "serverTlsPolicy", read));
            read.or_else(&mut *fault)?;
        }
        for file in &self.headers {
            let read = headers::value(file).and_then(|(value, warnings)| {
                resources.warnings.extend(warnings);
                resources.insert_fields(file, value)
            });
            read.or_else(&mut *fault)?;
        }
        for file in &self.authz_policy {
            let read = authz_policies::values(file).map(|(policies, warnings)| {
                resources.warnings.extend(warnings);
                for (path, policy) in policies {
                    resources.push_policy(file, path, policy);
                }
            });
            read.or_else(&mut *fault)?;
        }
        if let Some(file) = &self.settings {
            let read = settings(file).and_then(|value| resources.insert_fields(file, value));
            read.or_else(&mut *fault)?;
        }
        Ok(resources)
    }
}

fn settings(file: &Path) -> Result<Value, ResourceError> {
    let value = document(file)?;
    let Some(fields) = value.as_object() else {
        return Err(ResourceError::Kind {
            path: file.to_owned(),
            wanted: "an object with settings",
        });
    };
    match RESOURCE_FIELDS
        .into_iter()
        .find(|field| fields.contains_key(*field))
    {
        Some(field) => Err(ResourceError::NotASetting {
            path: file.to_owned(),
            field: field.to_owned(),
        }),
        None => Ok(value),
    }
}

impl Resources {
    /// Where the document's `path` was read.
    #[must_use]
    pub fn place(&self, path: &str) -> Place {
        let longest = self
            .parts
            .iter()
            .filter_map(|part| {
                let rest = path.strip_prefix(&part.document_path)?;
                let whole_field = rest.is_empty() || rest.starts_with(['.', '[']);
                whole_field.then_some((part, rest))
            })
            .max_by_key(|(part, _)| part.document_path.len());
        match longest {
            Some((part, rest)) => Place {
                file: Some(part.file.clone()),
                path: format!("{}{rest}", part.file_path)
                    .trim_start_matches('.')
                    .to_owned(),
            },
            None => Place {
                file: None,
                path: path.to_owned(),
            },
        }
    }

    fn insert_whole(
        &mut self,
        file: &Path,
        field: &str,
        (value, warnings): Lenient,
    ) -> Result<(), ResourceError> {
        self.warnings.extend(warnings);
        self.insert(file, field, "", value)
    }

    fn insert_fields(&mut self, file: &Path, value: Value) -> Result<(), ResourceError> {
        let Value::Object(fields) = value else {
            return Ok(());
        };
        fields
            .into_iter()
            .try_for_each(|(field, value)| self.insert(file, &field, &field, value))
    }

    fn insert(
        &mut self,
        file: &Path,
        field: &str,
        file_path: &str,
        value: Value,
    ) -> Result<(), ResourceError> {
        if let Some(part) = self.parts.iter().find(|part| part.document_path == field) {
            return Err(ResourceError::Twice {
                path: file.to_owned(),
                field: field.to_owned(),
                other: part.file.clone(),
            });
        }
        self.parts.push(Part {
            document_path: field.to_owned(),
            file: file.to_owned(),
            file_path: file_path.to_owned(),
        });
        self.document.insert(field.to_owned(), value);
        Ok(())
    }

    fn push_policy(&mut self, file: &Path, file_path: String, policy: Value) {
        let list = self
            .document
            .entry(AUTHZ_POLICIES)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            self.parts.push(Part {
                document_path: format!("{AUTHZ_POLICIES}[{}]", list.len()),
                file: file.to_owned(),
                file_path,
            });
            list.push(policy);
        }
    }
}
