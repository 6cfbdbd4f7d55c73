//! The core of mtls-gate: validates a client's certificate chain against a trust store, gives the
//! `client_cert_*` variables of Google Cloud's load balancers and decides what becomes of a request.
//!
//! Pure: no I/O, no clock, no log, no randomness. Time and signature algorithms are arguments.
//! [`pipeline`] shows the whole way in one picture.
#![forbid(unsafe_code)]

pub mod authz;
mod cache;
pub mod client_cert;
pub mod config;
pub mod decision;
pub mod direct_peer;
pub mod error;
pub mod forwarded;
pub mod headers;
pub mod judged;
mod known_issuers;
pub mod limits;
pub mod mend;
pub mod path;
pub mod pipeline;
pub mod relay;
pub mod revocation;
pub mod spiffe;
pub mod template;
pub mod trust;
pub mod variables;
mod verdicts;
mod window;
pub mod x509;
