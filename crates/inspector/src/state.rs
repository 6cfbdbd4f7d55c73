//! What is on the page: bounded, and without private keys. A link holds it whole.

use core::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mtls_gate_core::config::Object;
use mtls_gate_core::limits::XFCC_ELEMENTS;
use mtls_gate_core::path::Profile;
use serde::{Deserialize, Serialize};

use crate::Problem;
use crate::secret;

/// Characters of one field; 300 certificates and more fit.
pub const FIELD_BYTES: usize = 1024 * 1024;
/// Octets of the fragment of a link. Browsers take more, chats and mail do not.
const LINK_BYTES: usize = 128 * 1024;
/// Seconds of the years 0 to 9999: what certificates can say (RFC 5280 4.1.2.5), and what JavaScript
/// keeps exactly.
const TIMES: RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;
/// In front of a fragment: which form the rest has.
const LINK_VERSION: &str = "v1.";

/// The fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct State {
    /// What the client presents: PEM, or a header.
    pub chain: String,
    /// `AUTO`, `PEM` or the name of a preset.
    pub format: Format,
    /// Elements of `x-forwarded-client-cert`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elements: Option<usize>,
    /// A TrustConfig, or trust anchors in PEM.
    pub trust: String,
    /// A ServerTlsPolicy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// `Name:value` in each line, or a backend service or URL map.
    pub headers: String,
    /// What Google has no resource for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub settings: String,
    /// In the place of the settings' `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// In the place of the policy's `clientValidationMode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeName>,
    /// Seconds since 1970; absent is the present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<i64>,
}

/// How `chain` is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Format(pub String);

impl Default for Format {
    fn default() -> Self {
        Self("AUTO".to_owned())
    }
}

/// `profile`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum ProfileName {
    /// As Google's load balancers.
    #[serde(rename = "GOOGLE")]
    Google,
    /// RFC 5280 section 6.1.
    #[serde(rename = "RFC5280")]
    Rfc5280,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Google => Self::Google,
            ProfileName::Rfc5280 => Self::Rfc5280,
        }
    }
}

/// `clientValidationMode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ModeName {
    /// Everything goes to the backend.
    AllowInvalidOrMissingClientCert,
    /// Only verified certificates do.
    RejectInvalid,
}

impl State {
    /// Reads a state and looks it over.
    ///
    /// # Errors
    /// It is none, too large, or holds a private key.
    pub fn parse(json: &str) -> Result<Self, Problem> {
        let Object(state) = serde_json::from_str::<Object<Self>>(json)
            .map_err(|error| Problem::new("state", format!("This is no state: {error}.")))?;
        state.check()?;
        Ok(state)
    }

    /// Keys first: whatever else is wrong, they are told and taken out.
    fn check(&self) -> Result<(), Problem> {
        for (field, text) in self.texts() {
            if text.len() <= FIELD_BYTES {
                check_text(field, field_name(field), text)?;
            }
        }
        for (field, text) in self.texts() {
            check_size(field, field_name(field), text.len())?;
        }
        if self
            .elements
            .is_some_and(|elements| !(1..=XFCC_ELEMENTS).contains(&elements))
        {
            return Err(Problem::new(
                "elements",
                format!("Elements of XFCC: a whole number from 1 to {XFCC_ELEMENTS}."),
            ));
        }
        if self.time.is_some_and(|time| !TIMES.contains(&time)) {
            return Err(Problem::new(
                "time",
                "Time: between the years 0 and 9999.".to_owned(),
            ));
        }
        Ok(())
    }

    fn texts(&self) -> [(&'static str, &str); 5] {
        [
            ("chain", &self.chain),
            ("trust", &self.trust),
            ("policy", &self.policy),
            ("headers", &self.headers),
            ("settings", &self.settings),
        ]
    }

    /// The fragment of a link to this state.
    ///
    /// # Errors
    /// It is too large for one.
    pub fn to_fragment(&self) -> Result<String, Problem> {
        self.check()?;
        let json = serde_json::to_vec(self)
            .map_err(|error| Problem::new("link", format!("No link: {error}.")))?;
        let fragment = format!("{LINK_VERSION}{}", URL_SAFE_NO_PAD.encode(json));
        if fragment.len() > LINK_BYTES {
            return Err(Problem::new(
                "link",
                format!(
                    "This is too much for a link: {} bytes, and {LINK_BYTES} are the limit. Leave \
                     out certificates that play no part.",
                    fragment.len()
                ),
            ));
        }
        Ok(fragment)
    }

    /// Reads the fragment of a link. Whoever made it is not believed in anything.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn from_fragment(fragment: &str) -> Result<Self, Problem> {
        let problem =
            |why: &str| Problem::new("link", format!("This link cannot be opened: {why}."));
        if fragment.len() > LINK_BYTES {
            return Err(problem("it is too long"));
        }
        let body = fragment
            .strip_prefix(LINK_VERSION)
            .ok_or_else(|| problem("it is of another version, or no link of this page"))?;
        let json = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| problem("it is cut off or changed"))?;
        let Object(state) = serde_json::from_slice::<Object<Self>>(&json)
            .map_err(|_| problem("what it holds is no state of this page"))?;
        state.check()?;
        Ok(state)
    }
}

/// The field as the page labels it.
#[must_use]
pub(crate) fn field_name(field: &str) -> &'static str {
    match field {
        "chain" => "Client certificate",
        "trust" => "Trust config",
        "policy" => "Server TLS policy",
        "headers" => "Custom headers",
        "settings" => "Settings",
        _ => "The page",
    }
}

/// Bounds one text, and refuses private keys. `name` is the field, or a file's name.
///
/// # Errors
/// It is too large, or holds a private key.
pub(crate) fn check_text(field: &'static str, name: &str, text: &str) -> Result<(), Problem> {
    check_size(field, name, text.len())?;
    match secret::in_text(text) {
        Some(line) => Err(private_key(field, name, Some(line))),
        None => Ok(()),
    }
}

pub(crate) fn check_size(field: &'static str, name: &str, bytes: usize) -> Result<(), Problem> {
    if bytes <= FIELD_BYTES {
        return Ok(());
    }
    Err(Problem::new(
        field,
        format!("{name}: {bytes} bytes are too many, the limit is {FIELD_BYTES}."),
    ))
}

pub(crate) fn private_key(field: &'static str, name: &str, line: Option<usize>) -> Problem {
    let at = line
        .map(|line| format!(", line {line}"))
        .unwrap_or_default();
    Problem {
        line,
        private_key: true,
        ..Problem::new(
            field,
            format!(
                "{name}{at}: this holds a private key. It was not taken, and nothing of it is kept. No \
                 check needs it: give the certificates only. If anybody else could see it, replace the \
                 key and its certificate."
            ),
        )
    }
}
