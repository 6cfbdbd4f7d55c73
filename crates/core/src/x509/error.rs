//! Why bytes are not a certificate that can be judged.

use thiserror::Error;

use super::extension_list::ListFault;

/// Why DER bytes were not accepted as a certificate. Texts never repeat the certificate's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not DER: indefinite or padded lengths, trailing bytes, nesting too deep.
    #[error("not strict DER")]
    NotDer,
    /// Not the structure of RFC 5280 4.1.
    #[error("not an X.509 certificate: {field}")]
    Structure {
        /// The field of RFC 5280 4.1 that is wrong.
        field: &'static str,
    },
    /// RFC 5280 4.1.1.2: the algorithm outside the signed part differs from the one inside.
    #[error("signatureAlgorithm differs from the signed part's signature field")]
    SignatureAlgorithmMismatch,
    /// RFC 5280 4.2: an extension occurs twice.
    #[error("extension {oid} occurs twice")]
    DuplicateExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// The content of a known extension is not what RFC 5280 4.2.1 says.
    #[error("extension {oid} is malformed")]
    MalformedExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// More extensions than are looked at.
    #[error("more than {limit} extensions")]
    TooManyExtensions {
        /// The limit passed.
        limit: usize,
    },
}

/// Why bytes are not a CRL that can be read at all. One that can be read and must not be used is a
/// [`CrlDefect`](super::CrlDefect).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CrlParseError {
    /// Not DER: indefinite or padded lengths, trailing bytes, nesting too deep.
    #[error("not strict DER")]
    NotDer,
    /// Not the structure of RFC 5280 5.1.
    #[error("not an X.509 CRL: {field}")]
    Structure {
        /// The field of RFC 5280 5.1 that is wrong.
        field: &'static str,
    },
    /// RFC 5280 5.1.1.2: the algorithm outside the signed part differs from the one inside.
    #[error("signatureAlgorithm differs from the signed part's signature field")]
    SignatureAlgorithmMismatch,
    /// An extension occurs twice.
    #[error("extension {oid} occurs twice")]
    DuplicateExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// The content of a known extension is not what RFC 5280 5.2 or 5.3 says.
    #[error("extension {oid} is malformed")]
    MalformedExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// More extensions than are looked at.
    #[error("more than {limit} extensions")]
    TooManyExtensions {
        /// The limit passed.
        limit: usize,
    },
    /// More revoked certificates than are looked at.
    #[error("more than {limit} revoked certificates")]
    TooManyEntries {
        /// The limit passed.
        limit: usize,
    },
}

impl From<ListFault> for ParseError {
    fn from(fault: ListFault) -> Self {
        match fault {
            ListFault::Structure => Self::Structure {
                field: "extensions",
            },
            ListFault::Duplicate { oid } => Self::DuplicateExtension { oid },
            ListFault::Malformed { oid } => Self::MalformedExtension { oid },
            ListFault::TooMany { limit } => Self::TooManyExtensions { limit },
        }
    }
}

impl From<ListFault> for CrlParseError {
    fn from(fault: ListFault) -> Self {
        match fault {
            ListFault::Structure => Self::Structure {
                field: "extensions",
            },
            ListFault::Duplicate { oid } => Self::DuplicateExtension { oid },
            ListFault::Malformed { oid } => Self::MalformedExtension { oid },
            ListFault::TooMany { limit } => Self::TooManyExtensions { limit },
        }
    }
}
