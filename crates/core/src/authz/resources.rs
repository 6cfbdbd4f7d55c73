//! `networksecurity.googleapis.com/v1` AuthzPolicy, field for field. Closed schemas: an unknown
//! field is an error, and a known one that is not supported is refused where the policy is
//! compiled, so that nothing a policy says is passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Refuses `null` where something must be said: in YAML that is what is left of a field whose content
/// is commented out, and a rule without it matches everybody.
fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A field that is read only to be refused.
pub type Unsupported = Option<Value>;

/// AuthzPolicy. Output-only and descriptive fields are read and not used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct AuthzPolicy {
    /// Bare ID or `projects/…/authzPolicies/ID`.
    pub name: String,
    /// Not used.
    pub description: Option<String>,
    /// Not used.
    pub labels: BTreeMap<String, String>,
    /// Not used.
    pub create_time: Option<String>,
    /// Not used.
    pub update_time: Option<String>,
    /// Not used.
    pub etag: Option<String>,
    /// Not used: every policy of a configuration is for that configuration's listener.
    pub target: Option<Target>,
    /// `REQUEST_AUTHZ` only.
    pub policy_profile: PolicyProfile,
    /// 1 to 5.
    pub http_rules: Vec<HttpRule>,
    /// Not supported.
    pub network_rules: Unsupported,
    /// `ALLOW` or `DENY`; must be given.
    pub action: Action,
    /// Not supported.
    pub custom_provider: Unsupported,
}

/// `target`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Target {
    /// Not used.
    pub load_balancing_scheme: Option<String>,
    /// Not used.
    pub resources: Vec<String>,
}

/// `policyProfile`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PolicyProfile {
    /// As `REQUEST_AUTHZ`.
    #[default]
    PolicyProfileUnspecified,
    /// Requests are judged by their headers.
    RequestAuthz,
    /// Not supported.
    ContentAuthz,
}

/// `action`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// Refused: an action must be given.
    #[default]
    AuthzActionUnspecified,
    /// A request that matches goes on.
    Allow,
    /// A request that matches is refused.
    Deny,
    /// Not supported.
    Custom,
}

/// AuthzRule. With neither `from` nor `to` it matches every request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct HttpRule {
    /// Who sends.
    #[serde(deserialize_with = "not_null")]
    pub from: Option<From>,
    /// What is asked for.
    #[serde(deserialize_with = "not_null")]
    pub to: Option<To>,
    /// Not supported.
    pub when: Unsupported,
}

/// `from`: exactly one of the two, with one entry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct From {
    /// Matches where the source matches.
    pub sources: Vec<Source>,
    /// Matches where the source does not match.
    pub not_sources: Vec<Source>,
}

/// RequestSource: all fields that are given must match.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Source {
    /// Any of them.
    pub principals: Vec<Principal>,
    /// Any of them.
    pub ip_blocks: Vec<IpBlock>,
    /// Not supported.
    pub resources: Unsupported,
}

/// Principal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Principal {
    /// Which part of the certificate is compared.
    #[serde(default)]
    pub principal_selector: PrincipalSelector,
    /// What it is compared with.
    pub principal: StringMatch,
}

/// `principalSelector`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PrincipalSelector {
    /// As `CLIENT_CERT_URI_SAN`.
    #[default]
    PrincipalSelectorUnspecified,
    /// Any URI subject alternative name, the SPIFFE ID among them.
    ClientCertUriSan,
    /// Any DNS subject alternative name.
    ClientCertDnsNameSan,
    /// The subject's common name.
    ClientCertCommonName,
}

/// IpBlock.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct IpBlock {
    /// An IPv4 or IPv6 address.
    pub prefix: String,
    /// Leading bits that count.
    pub length: i64,
}

/// `to`: exactly one of the two, with one entry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct To {
    /// Matches where the operation matches.
    pub operations: Vec<Operation>,
    /// Matches where the operation does not match.
    pub not_operations: Vec<Operation>,
}

/// RequestOperation: all fields that are given must match.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Operation {
    /// All of them.
    pub header_set: Option<HeaderSet>,
    /// Any of them.
    pub hosts: Vec<StringMatch>,
    /// Any of them; the query belongs to the path.
    pub paths: Vec<StringMatch>,
    /// Any of them.
    pub methods: Vec<String>,
    /// Not supported.
    pub mcp: Unsupported,
    /// Not supported.
    pub snis: Unsupported,
}

/// HeaderSet.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeaderSet {
    /// All of them.
    pub headers: Vec<HeaderMatch>,
}

/// HeaderMatch.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeaderMatch {
    /// The header's name.
    pub name: String,
    /// What its value is compared with.
    pub value: StringMatch,
}

/// StringMatch: exactly one of the four patterns, which is not empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct StringMatch {
    /// The whole value.
    pub exact: Option<String>,
    /// The value's beginning.
    pub prefix: Option<String>,
    /// The value's end.
    pub suffix: Option<String>,
    /// Anywhere in the value.
    pub contains: Option<String>,
    /// Letter case does not count.
    pub ignore_case: bool,
}
