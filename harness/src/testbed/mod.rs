//! Everything a test needs around the filter: a backend that tells what it
//! received, a real Envoy in front of it, and clients that can misbehave.

pub mod browser;
pub mod client;
pub mod curl;
pub mod dns;
pub mod echo;
pub mod envoy;
pub mod forwarded;
pub mod front;
pub mod guard;
pub mod http1;
pub mod http2;
pub mod mint;
pub mod producers;
pub mod recorder;
pub mod serve;
pub mod tunnel;
pub mod websocket;
