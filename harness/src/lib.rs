//! The native side of mtls-gate: the command line, the test bed around a real Envoy, the fixtures,
//! the conformance suites.

pub mod backend;
pub mod config;
pub mod conform;
pub mod demo;
pub mod explain;
pub mod fixtures;
pub mod goldens;
pub mod inspector;
pub mod measure;
pub mod oracle;
pub mod resources;
pub mod serve;
pub mod testbed;
pub mod verify;
