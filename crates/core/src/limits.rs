//! Every number that bounds work or output, with its source. Names carry their units.

/// "5 kB" of `trust_config.proto`: one `pemCertificate`.
pub const PEM_ENTRY_BYTES: usize = 5 * 1024;
/// Certificate Manager quotas: trust anchors and intermediates in one trust store.
pub const STORE_CERTIFICATES: usize = 200;
/// Certificate Manager quotas: intermediates in one trust store.
pub const STORE_INTERMEDIATES: usize = 100;
/// Ours: SPIFFE trust domains in one trust config.
pub const SPIFFE_TRUST_DOMAINS: usize = 100;
/// Certificate Manager quotas: allowlisted certificates.
pub const ALLOWLISTED_CERTIFICATES: usize = 500;
/// Google, logging page: intermediates with one subject and one public key.
pub const SAME_SUBJECT_AND_KEY: usize = 10;
/// Google, logging page: name constraints in one certificate.
pub const NAME_CONSTRAINTS: usize = 10;
/// Google, custom headers: `client_cert_serial_number`, raw octets.
pub const SERIAL_BYTES: usize = 50;
/// Google, custom headers: `client_cert_spiffe_id`; also the SPIFFE ID standard, section 2.3.
pub const SPIFFE_ID_BYTES: usize = 2048;
/// Google, custom headers: each of the SAN and DN variables, as it is sent.
pub const VARIABLE_BYTES: usize = 512;
/// Google, custom headers: DER of `client_cert_leaf`, and of leaf and chain together.
pub const VARIABLE_DER_BYTES: usize = 16 * 1024;
/// Google, custom headers: headers in one list of one resource.
pub const CUSTOM_HEADERS: usize = 16;
/// Google, custom headers: names and values of one list, before variables are expanded.
pub const CUSTOM_HEADER_BYTES: usize = 8 * 1024;
/// A whole configuration document: 200 + 500 certificates of 5 kB fit.
pub const CONFIGURATION_BYTES: usize = 8 * 1024 * 1024;
/// Ours: CRLs in one configuration; as many as there may be CAs in a store.
pub const CRLS: usize = STORE_CERTIFICATES;
/// Ours: DER of all CRLs together. In PEM they fit into a document beside 700 certificates.
pub const CRL_BYTES: usize = 3 * 1024 * 1024;
/// Ours: revoked certificates in one list; what fits into `CRL_BYTES` with short serial numbers.
pub const CRL_ENTRIES: usize = 150_000;
/// Google, load balancing quotas: authorization policies of one forwarding rule.
pub const AUTHZ_POLICIES: usize = 5;
/// `authz_policy.proto`: rules of one authorization policy.
pub const AUTHZ_RULES: usize = 5;
/// `authz_policy.proto`: entries of `sources`, and as many of `notSources`.
pub const AUTHZ_SOURCES: usize = 1;
/// `authz_policy.proto`: entries of `operations`, and as many of `notOperations`.
pub const AUTHZ_OPERATIONS: usize = 1;
/// `authz_policy.proto`: principals of one authorization policy, all rules together.
pub const AUTHZ_PRINCIPALS: usize = 50;
/// `authz_policy.proto`: IP blocks of one authorization policy, all rules together.
pub const AUTHZ_IP_BLOCKS: usize = 10;
/// `authz_policy.proto`: hosts of one authorization policy, all rules together.
pub const AUTHZ_HOSTS: usize = 10;
/// `authz_policy.proto`: paths of one authorization policy, all rules together.
pub const AUTHZ_PATHS: usize = 10;
/// `authz_policy.proto`: methods of one authorization policy, all rules together.
pub const AUTHZ_METHODS: usize = 10;
/// `authz_policy.proto`: headers of one authorization policy, all rules together.
pub const AUTHZ_HEADERS: usize = 10;
/// Ours: one pattern of an authorization policy. The longest SPIFFE ID fits.
pub const AUTHZ_PATTERN_BYTES: usize = SPIFFE_ID_BYTES;
/// Ours: a whole resource name; names are repeated in logs.
pub const RESOURCE_NAME_BYTES: usize = 512;
/// `server_tls_policy.proto`, for want of a rule for authorization policies: the name's last part.
pub const RESOURCE_ID_BYTES: usize = 63;
/// Ours: numbered headers that hold a certificate each; as many as may be presented.
pub const NUMBERED_HEADERS: usize = RequestLimits::MAX.presented_certificates;
/// Ours: names, or blocks of addresses, of the relays that are believed.
pub const RELAYS: usize = 100;
/// Ours: elements of `x-forwarded-client-cert`, one for each proxy on the way.
pub const XFCC_ELEMENTS: usize = 10;
/// The body of a local answer.
pub const REJECTION_BODY_BYTES: usize = 4 * 1024;

/// Limits that a configuration may change, within [`RequestLimits::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Certificates presented beside the end entity. Google: 10.
    pub presented_certificates: usize,
    /// DER octets of all presented certificates. Google: 16 KB.
    pub payload_bytes: usize,
    /// Octets of the header that forwards the chain, before it is decoded.
    pub forwarded_header_bytes: usize,
    /// Octets of all header values rendered for one request.
    pub rendered_bytes: usize,
    /// Octets of all that is remembered between requests; 0: nothing is.
    pub cache_bytes: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            presented_certificates: 10,
            payload_bytes: 16 * 1024,
            // 16 KB of DER twice (Cert= and Chain=) in percent-encoded PEM, and the text beside it.
            forwarded_header_bytes: 128 * 1024,
            rendered_bytes: 64 * 1024,
            cache_bytes: 16 * 1024 * 1024,
        }
    }
}

impl RequestLimits {
    /// The largest values that a configuration may set.
    pub const MAX: Self = Self {
        presented_certificates: 100,
        payload_bytes: 256 * 1024,
        forwarded_header_bytes: 1024 * 1024,
        rendered_bytes: 1024 * 1024,
        cache_bytes: 256 * 1024 * 1024,
    };
}
