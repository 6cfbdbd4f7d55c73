//! Header values with variables in braces: `{client_cert_leaf}`, `{{` and `}}` for braces.

use thiserror::Error;

use crate::variables::{Variable, Variables};

/// Variables of Google's custom headers that describe other things than the certificate.
const OTHER_GOOGLE_VARIABLES: [&str; 21] = [
    "cdn_cache_id",
    "cdn_cache_status",
    "client_city",
    "client_city_lat_long",
    "client_encrypted",
    "client_ip_address",
    "client_port",
    "client_protocol",
    "client_region",
    "client_region_subdivision",
    "client_rtt_msec",
    "device_request_type",
    "origin_request_header",
    "server_ip_address",
    "server_port",
    "tls_cipher_suite",
    "tls_ja3_fingerprint",
    "tls_ja4_fingerprint",
    "tls_sni_hostname",
    "tls_version",
    "user_agent_family",
];

/// A header value, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(Variable),
}

/// Why a header value is not a template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// `{` without `}`.
    #[error("\"{{\" at byte {at} is not closed (write \"{{{{\" for a brace)")]
    Unclosed {
        /// Where it stands.
        at: usize,
    },
    /// `}` without `{`.
    #[error("\"}}\" at byte {at} closes nothing (write \"}}}}\" for a brace)")]
    Unopened {
        /// Where it stands.
        at: usize,
    },
    /// A name that nobody knows.
    #[error("unknown variable \"{name}\"")]
    UnknownVariable {
        /// The name, shortened.
        name: String,
    },
    /// A variable of Google's that this product does not have.
    #[error("variable \"{name}\" is not one of the client_cert_* variables and is not supported")]
    UnsupportedVariable {
        /// The name.
        name: &'static str,
    },
    /// Neither visible ASCII nor blank.
    #[error("byte {at} is not printable ASCII")]
    NotPrintable {
        /// Where it stands.
        at: usize,
    },
}

impl Template {
    /// Parses a header value.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let doubled = characters.peek().map(|(_, next)| *next) == Some(character);
            match character {
                '{' | '}' if doubled => {
                    literal.push(character);
                    characters.next();
                }
                '{' => {
                    let after = text.get(at.saturating_add(1)..).unwrap_or_default();
                    let (name, _) = after
                        .split_once('}')
                        .ok_or(TemplateError::Unclosed { at })?;
                    let variable = variable(name)?;
                    if !literal.is_empty() {
                        parts.push(Part::Literal(core::mem::take(&mut literal)));
                    }
                    parts.push(Part::Variable(variable));
                    // The name and its closing brace.
                    for _ in 0..=name.chars().count() {
                        characters.next();
                    }
                }
                '}' => return Err(TemplateError::Unopened { at }),
                ' '..='~' | '\t' => literal.push(character),
                _ => return Err(TemplateError::NotPrintable { at }),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// The value says something about the client's certificate.
    #[must_use]
    pub fn has_variable(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Variable(_)))
    }

    /// How long the value is.
    #[must_use]
    pub fn rendered_len(&self, variables: &Variables) -> usize {
        self.parts.iter().fold(0_usize, |sum, part| {
            sum.saturating_add(part.text(variables).len())
        })
    }

    /// The value with the variables in place.
    #[must_use]
    pub fn render(&self, variables: &Variables) -> String {
        self.parts.iter().map(|part| part.text(variables)).collect()
    }
}

impl Part {
    fn text<'a>(&'a self, variables: &'a Variables) -> &'a str {
        match self {
            Self::Literal(text) => text,
            Self::Variable(variable) => variables.get(*variable),
        }
    }
}

fn variable(name: &str) -> Result<Variable, TemplateError> {
    if let Some(variable) = Variable::named(name) {
        return Ok(variable);
    }
    if let Some(name) = OTHER_GOOGLE_VARIABLES
        .into_iter()
        .find(|known| *known == name)
    {
        return Err(TemplateError::UnsupportedVariable { name });
    }
    // The configuration's author wrote it; bounded and on one line all the same.
    let name = name.escape_debug().take(64).collect();
    Err(TemplateError::UnknownVariable { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> Result<String, TemplateError> {
        Template::parse(text).map(|template| {
            let client_cert = crate::client_cert::ClientCert::Unverified {
                fingerprint: None,
                refusal: crate::error::Refusal::NotProvided,
            };
            template.render(&Variables::from(&client_cert))
        })
    }

    #[test]
    fn variables_braces_and_text_mix() {
        assert_eq!(render(""), Ok(String::new()));
        assert_eq!(render("a {{b}} c"), Ok("a {b} c".into()));
        assert_eq!(
            render("p={client_cert_present},v={client_cert_chain_verified};{client_cert_error}"),
            Ok("p=false,v=false;client_cert_not_provided".into())
        );
        assert_eq!(render("{{{client_cert_present}}}"), Ok("{false}".into()));
        assert_eq!(
            render("{{client_cert_present}}"),
            Ok("{client_cert_present}".into())
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(render("ab{client"), Err(TemplateError::Unclosed { at: 2 }));
        assert_eq!(render("ab}"), Err(TemplateError::Unopened { at: 2 }));
        assert_eq!(
            render("{client_cert_hash}"),
            Err(TemplateError::UnknownVariable {
                name: "client_cert_hash".into()
            })
        );
        assert_eq!(
            render("{client_region}"),
            Err(TemplateError::UnsupportedVariable {
                name: "client_region"
            })
        );
        assert!(render("{ client_cert_leaf}").is_err());
        assert!(render("{}").is_err());
        assert_eq!(render("a\r\nb"), Err(TemplateError::NotPrintable { at: 1 }));
        assert_eq!(render("\u{fc}"), Err(TemplateError::NotPrintable { at: 0 }));
    }
}
