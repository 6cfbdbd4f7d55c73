//! What the SDK dispatches to: a root context per plugin configuration, a context per stream or
//! connection.

use std::rc::Rc;
use std::sync::LazyLock;

use mtls_gate_core::config::Config;
use mtls_gate_core::path::Algorithms;
use mtls_gate_core::pipeline::Pipeline;
use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::{Action, ContextType};
use rustls_pki_types::SignatureVerificationAlgorithm;

use crate::downstream::Downstream;
use crate::handle::{Flow, Host as _, Level, Stream};
use crate::host::{ProxyWasm, plugin_configuration, verify_signature};
use crate::place::Place;
use crate::signatures;

/// The same for every configuration of the module.
fn by_host() -> Algorithms {
    static BY_HOST: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> =
        LazyLock::new(|| signatures::by_host(verify_signature));
    &BY_HOST
}

/// One plugin configuration. Several share a VM, so nothing is kept outside of it.
#[derive(Default)]
pub(crate) struct Root {
    pipeline: Option<Rc<Pipeline>>,
    host: Rc<ProxyWasm>,
}

impl Context for Root {}

impl RootContext for Root {
    /// Runs several times for one listener: no side effects but the lines that say what is wrong.
    fn on_configure(&mut self, size: usize) -> bool {
        let bytes = plugin_configuration(size).unwrap_or_default();
        match Config::from_bytes(&bytes) {
            Ok(config) => {
                for warning in &config.warnings {
                    self.host.log(Level::Warning, &warning.to_string());
                }
                let setting = config.signature_backend;
                let Ok(backend) = signatures::backend(setting, verify_signature, by_host) else {
                    self.host.log(
                        Level::Error,
                        "configuration refused: signatureBackend: HOST, and the host does not verify \
                         signatures rightly",
                    );
                    return false;
                };
                self.pipeline = Some(Rc::new(Pipeline::new(config, backend)));
                true
            }
            Err(error) => {
                self.host
                    .log(Level::Error, &format!("configuration refused: {error}"));
                false
            }
        }
    }

    /// Asked for every context, with the host's calls speaking of that one. By the place and not by
    /// the configuration: the SDK panics when a context is told of what its type does not have. Not
    /// remembered: filters of both kinds share a root if they have the same configuration.
    fn get_type(&self) -> Option<ContextType> {
        let pipeline = self.pipeline.as_deref();
        Some(match Place::of(&*self.host, pipeline) {
            Place::Request => ContextType::HttpContext,
            Place::Connection => ContextType::StreamContext,
        })
    }

    fn create_stream_context(&self, _context_id: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(Tcp {
            downstream: Downstream::new(self.pipeline.clone()),
            host: Rc::clone(&self.host),
        }))
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http {
            stream: Stream::new(self.pipeline.clone()),
            host: Rc::clone(&self.host),
        }))
    }
}

struct Http {
    stream: Stream,
    host: Rc<ProxyWasm>,
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        action(self.stream.on_request_headers(&*self.host))
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        action(self.stream.on_request_trailers(&*self.host))
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        action(self.stream.on_response_headers(&*self.host))
    }
}

struct Tcp {
    downstream: Downstream,
    host: Rc<ProxyWasm>,
}

impl Context for Tcp {}

impl StreamContext for Tcp {
    fn on_new_connection(&mut self) -> Action {
        action(self.downstream.on_new_connection())
    }

    fn on_downstream_data(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        action(self.downstream.on_data(&*self.host))
    }
}

fn action(flow: Flow) -> Action {
    match flow {
        Flow::Continue => Action::Continue,
        Flow::Stop => Action::Pause,
    }
}
