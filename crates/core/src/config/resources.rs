//! The configuration document and Google's resources in it, field for field. Closed schemas: an
//! unknown field is an error.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::authz::resources::AuthzPolicy;
use crate::forwarded::presets::Preset;
use crate::path::Profile;

/// The whole document.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Document {
    /// Where in the proxy this document is for.
    pub role: Role,
    /// `certificatemanager.googleapis.com/v1` TrustConfig
    pub trust_config: Option<TrustConfig>,
    /// `networksecurity.googleapis.com/v1` ServerTlsPolicy
    pub server_tls_policy: Option<ServerTlsPolicy>,
    /// BackendService `customRequestHeaders`: `Name:value`.
    pub custom_request_headers: Vec<String>,
    /// UrlMap `headerAction`
    pub header_action: HeaderAction,
    /// Which rules apply.
    pub profile: Profile,
    /// Certificates that are no longer valid; Google has no word for it.
    pub revocation: Revocation,
    /// `networksecurity.googleapis.com/v1` AuthzPolicy
    pub authz_policies: Vec<AuthzPolicy>,
    /// What becomes of a request that these refuse.
    pub authz_denial: AuthzDenial,
    /// Limits on one request and on what is remembered of it.
    pub limits: Limits,
    /// Who verifies signatures.
    pub signature_backend: SignatureBackend,
    /// What becomes of a refused request.
    pub rejection: Rejection,
    /// Where the certificate comes from.
    pub source: Source,
}

/// `role`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Judges each request and edits its headers.
    #[default]
    HttpFilter,
    /// Judges each connection before anything is read of it.
    NetworkFilter,
}

/// `signatureBackend`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SignatureBackend {
    /// The host, if it answers known questions rightly, else the filter itself.
    #[default]
    Auto,
    /// The host, or the configuration is refused.
    Host,
    /// The filter itself.
    Wasm,
}

/// TrustConfig. Output-only and descriptive fields are read and not used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TrustConfig {
    /// Bare ID or `projects/…/trustConfigs/ID`.
    pub name: Option<String>,
    /// Not used.
    pub description: Option<String>,
    /// Not used.
    pub labels: BTreeMap<String, String>,
    /// Not used.
    pub tags: BTreeMap<String, String>,
    /// Not used.
    pub etag: Option<String>,
    /// Not used.
    pub create_time: Option<String>,
    /// Not used.
    pub update_time: Option<String>,
    /// At most one.
    pub trust_stores: Vec<TrustStore>,
    /// Certificates accepted as they are, expired or self-signed too.
    pub allowlisted_certificates: Vec<PemCertificate>,
    /// Trust domain to trust store, for X.509-SVIDs; `trust_stores` is empty then.
    pub spiffe_trust_stores: BTreeMap<String, TrustStore>,
}

/// One trust store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TrustStore {
    /// Certificates a path may end at.
    pub trust_anchors: Vec<PemCertificate>,
    /// Certificates a path may lead through.
    pub intermediate_cas: Vec<PemCertificate>,
}

/// One certificate in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PemCertificate {
    /// Exactly one block.
    pub pem_certificate: String,
}

/// ServerTlsPolicy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ServerTlsPolicy {
    /// Not used.
    pub name: Option<String>,
    /// Not used.
    pub description: Option<String>,
    /// Not used.
    pub labels: BTreeMap<String, String>,
    /// Not used.
    pub create_time: Option<String>,
    /// Not used.
    pub update_time: Option<String>,
    /// Traffic Director only; must be false.
    pub allow_open: bool,
    /// Traffic Director only; must be absent.
    pub server_certificate: Option<serde_json::Value>,
    /// Absent: client certificates are not asked for.
    pub mtls_policy: Option<MtlsPolicy>,
}

/// MTLSPolicy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MtlsPolicy {
    /// What becomes of missing and invalid certificates.
    pub client_validation_mode: ClientValidationMode,
    /// The TrustConfig's name; must be that of `trustConfig` if both are given.
    #[serde(default)]
    pub client_validation_trust_config: Option<String>,
    /// Traffic Director only; must be empty.
    #[serde(default)]
    pub client_validation_ca: Vec<serde_json::Value>,
    /// Beta field.
    #[serde(default)]
    pub tier: Tier,
}

/// `clientValidationMode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientValidationMode {
    /// Everything goes to the backend, with the truth in the variables.
    AllowInvalidOrMissingClientCert,
    /// Only verified certificates go to the backend.
    RejectInvalid,
}

/// `tier`: no page says what differs, so only the standard one is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Tier {
    /// Unset.
    #[default]
    TierUnspecified,
    /// Standard.
    Standard,
}

/// UrlMap's HttpHeaderAction.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct HeaderAction {
    /// Added to the request.
    pub request_headers_to_add: Vec<HeaderOption>,
    /// Removed from the request.
    pub request_headers_to_remove: Vec<String>,
    /// Added to the response.
    pub response_headers_to_add: Vec<HeaderOption>,
    /// Removed from the response.
    pub response_headers_to_remove: Vec<String>,
}

/// HttpHeaderOption.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeaderOption {
    /// The name.
    pub header_name: String,
    /// The value, with variables.
    pub header_value: String,
    /// Whether it takes the place of what was sent. A value with a certificate variable always does.
    #[serde(default)]
    pub replace: bool,
}

/// `revocation`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Revocation {
    /// `OFF`, `BEST_EFFORT` or `REQUIRED`.
    pub mode: RevocationMode,
    /// The CRLs, in any order.
    pub crls: Vec<PemCrl>,
}

/// `revocation.mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RevocationMode {
    /// CRLs are not looked at.
    #[default]
    Off,
    /// A usable CRL must not list a certificate; none is enough.
    BestEffort,
    /// Usable CRLs must cover every certificate, the trust anchor apart.
    Required,
}

/// One CRL in PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PemCrl {
    /// Exactly one block.
    pub pem_crl: String,
}

/// `limits`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Limits {
    /// See `RequestLimits`.
    pub presented_certificates: Option<usize>,
    /// See `RequestLimits`.
    pub payload_bytes: Option<usize>,
    /// See `RequestLimits`.
    pub forwarded_header_bytes: Option<usize>,
    /// See `RequestLimits`.
    pub rendered_bytes: Option<usize>,
    /// See `RequestLimits`.
    pub cache_bytes: Option<usize>,
}

/// `rejection`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Rejection {
    /// `CLOSE` or `RESPOND`.
    pub action: RejectionAction,
    /// `RESPOND` only: 400 to 599, default 403.
    pub status: Option<u16>,
    /// `RESPOND` only.
    pub body: Option<String>,
    /// `RESPOND` only: whether the client may read why.
    pub show_reason: Option<bool>,
}

/// `rejection.action`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RejectionAction {
    /// The stream is reset without a response.
    #[default]
    Close,
    /// A local answer.
    Respond,
}

/// `authzDenial`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct AuthzDenial {
    /// 400 to 599, default 403.
    pub status: Option<u16>,
    /// The body, as it is.
    pub body: Option<String>,
}

/// `source`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Source {
    /// The connection that this proxy terminated.
    pub connection: ConnectionSource,
    /// A connection that another proxy terminated, which forwards the certificate.
    pub header: Option<HeaderSource>,
}

/// `source.connection`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ConnectionSource {
    /// Lets `x-forwarded-client-cert`, as this proxy wrote it, go on to the backend if the
    /// certificate is verified.
    pub keep_forwarded_header: bool,
    /// Who says which address the connection comes from.
    pub direct_peer_address: DirectPeerAddress,
}

/// `source.connection.directPeerAddress`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DirectPeerAddress {
    /// Nobody: what Envoy shows of it to an HTTP filter follows X-Forwarded-For.
    #[default]
    Unknown,
    /// A filter with role `NETWORK_FILTER` in the same filter chain.
    NetworkFilter,
}

/// `source.header`: a preset, or the parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct HeaderSource {
    /// A product's form.
    pub preset: Option<Preset>,
    /// How the values are written.
    pub encoding: Option<HeaderEncoding>,
    /// The header with the end entity.
    pub certificate_header: Option<String>,
    /// The other certificates follow the end entity in its own header.
    pub certificate_header_has_chain: Option<bool>,
    /// The header with the other certificates.
    pub chain_header: Option<String>,
    /// That header begins with the end entity once more.
    pub chain_header_has_end_entity: Option<bool>,
    /// Headers with one of the other certificates each: the names without their numbers from 0.
    pub numbered_chain_headers: Option<String>,
    /// XFCC only: how many elements there are, default 1.
    pub elements: Option<usize>,
    /// Who is believed. Nobody, if that is not said.
    pub relay: Relay,
}

/// `source.header.encoding`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HeaderEncoding {
    /// Envoy's own, text or JSON.
    Xfcc,
    /// RFC 9440.
    Rfc9440,
    /// PEM, percent-encoded or not.
    Pem,
    /// Base64 of DER.
    Base64Der,
}

/// `source.header.relay`: at most one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Relay {
    /// A relay that proves with a certificate who it is.
    pub mtls: Option<RelayMtls>,
    /// Relays at these addresses, each `ADDRESS/LENGTH`.
    pub addresses: Vec<String>,
    /// Everybody.
    pub trust_any_relay: bool,
}

/// `source.header.relay.mtls`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RelayMtls {
    /// What the relay's certificate is validated against; clients' certificates are not.
    pub trust_config: TrustConfig,
    /// Which of the names that this trusts are relays.
    pub san_match: SanMatch,
}

/// `source.header.relay.mtls.sanMatch`: one of all of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct SanMatch {
    /// Whole URIs, such as SPIFFE IDs.
    pub uris: Vec<String>,
    /// Whole DNS names.
    pub dns_names: Vec<String>,
}
