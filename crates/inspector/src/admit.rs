//! Files, drops and pastes: text as it is, DER as PEM, anything else refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mtls_gate_core::x509::{Certificate, Crl};

use crate::state::{check_size, check_text, private_key};
use crate::{Problem, secret};

const FIELDS: [&str; 5] = ["chain", "trust", "policy", "headers", "settings"];
/// RFC 7468 section 2: characters of base64 in one line.
const PEM_LINE: usize = 64;

pub(crate) fn text(field: &str, name: &str, bytes: &[u8]) -> Result<String, Problem> {
    let field = FIELDS
        .into_iter()
        .find(|known| *known == field)
        .unwrap_or("state");
    let name = crate::certificate::shown(name.as_bytes());
    check_size(field, &name, bytes.len())?;
    match core::str::from_utf8(bytes) {
        Ok(text) if is_text(text) => {
            // A byte order mark is how some editors begin a file.
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            check_text(field, &name, text)?;
            Ok(text.to_owned())
        }
        _ if secret::in_der(bytes) => Err(private_key(field, &name, None)),
        _ => der(field, &name, bytes),
    }
}

fn is_text(text: &str) -> bool {
    let is_odd = |character: char| character.is_control() && !"\t\r\n".contains(character);
    !text.contains(is_odd)
}

fn der(field: &'static str, name: &str, bytes: &[u8]) -> Result<String, Problem> {
    let label = match Certificate::parse(bytes.to_vec()) {
        Ok(_) => "CERTIFICATE",
        Err(_) if Crl::parse(bytes.to_vec()).is_ok() => "X509 CRL",
        Err(error) => {
            return Err(Problem::new(
                field,
                format!("{name}: neither text nor one certificate in DER ({error})."),
            ));
        }
    };
    Ok(pem(label, bytes))
}

/// RFC 7468
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, character) in STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index.checked_rem(PEM_LINE) == Some(0) {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}
