//! Several resources, together one configuration document.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{
    Lenient, ResourceError, Warning, authz_policies, headers, server_tls_policy, trust_config,
    yaml_document,
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

fn settings(file: &Path, text: &str) -> Result<Value, ResourceError> {
    let value = yaml_document(file, text)?;
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
    /// Adds a TrustConfig. Whether anything makes sense is for the core to say.
    ///
    /// # Errors
    /// It cannot be read, or there is one already.
    pub fn add_trust_config(&mut self, file: &Path, text: &str) -> Result<(), ResourceError> {
        let read = trust_config::value(file, text)?;
        self.insert_whole(file, "trustConfig", read)
    }

    /// Adds a ServerTlsPolicy.
    ///
    /// # Errors
    /// It cannot be read, or there is one already.
    pub fn add_server_tls_policy(&mut self, file: &Path, text: &str) -> Result<(), ResourceError> {
        let read = server_tls_policy::value(file, text)?;
        self.insert_whole(file, "serverTlsPolicy", read)
    }

    /// Adds the header rules of a backend service or of a URL map.
    ///
    /// # Errors
    /// They cannot be read, or there are such already.
    pub fn add_headers(&mut self, file: &Path, text: &str) -> Result<(), ResourceError> {
        let (value, warnings) = headers::value(file, text)?;
        self.warnings.extend(warnings);
        self.insert_fields(file, value)
    }

    /// Adds AuthzPolicies to those that there are.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn add_authz_policies(&mut self, file: &Path, text: &str) -> Result<(), ResourceError> {
        let (policies, warnings) = authz_policies::values(file, text)?;
        self.warnings.extend(warnings);
        for (path, policy) in policies {
            self.push_policy(file, path, policy);
        }
        Ok(())
    }

    /// Adds fields that Google has no resource for.
    ///
    /// # Errors
    /// They cannot be read, or another file is for them.
    pub fn add_settings(&mut self, file: &Path, text: &str) -> Result<(), ResourceError> {
        let value = settings(file, text)?;
        self.insert_fields(file, value)
    }

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
