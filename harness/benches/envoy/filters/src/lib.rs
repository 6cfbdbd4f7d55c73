//! The filters that ours is measured against, in one module: what they do is their configuration.
//! With an empty one it is nothing. They validate nothing.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used)] // a call that fails is a trap: the benchmark sees a 503 and stops

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, MapType, MetricType};
use serde::Deserialize;

/// What is done for each request, in this order.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Work {
    /// Properties to read, present or not.
    properties: Vec<Vec<String>>,
    /// The header to look for among all of them, got in one call.
    header: Option<String>,
    /// Whether to ask for the time.
    clock: bool,
    /// A counter to add one to.
    counter: Option<String>,
    /// Headers to remove, if they are there.
    remove: Vec<String>,
    /// Headers to add: those of one client after the other, as there are several.
    add: Vec<Vec<(String, String)>>,
    /// Signatures to verify by the host.
    verify: Option<Verify>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    times: u32,
    /// Envoy's `VerifySignatureArguments`.
    arguments: Vec<u8>,
}

/// Envoy's `VerifySignatureResult` with `result: true`.
const VERIFIED: [u8; 2] = [8, 1];

#[derive(Default)]
struct Root {
    work: Rc<Work>,
    counter: Option<u32>,
    turn: Cell<usize>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let bytes = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size).unwrap();
        self.work = Rc::new(serde_json::from_slice(&bytes.unwrap_or_default()).unwrap());
        let counter = self.work.counter.as_deref();
        self.counter =
            counter.map(|name| hostcalls::define_metric(MetricType::Counter, name).unwrap());
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        Some(Box::new(Http {
            work: Rc::clone(&self.work),
            counter: self.counter,
            turn,
        }))
    }
}

struct Http {
    work: Rc<Work>,
    counter: Option<u32>,
    turn: usize,
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let map = MapType::HttpRequestHeaders;
        for path in &self.work.properties {
            let path = path.iter().map(String::as_str).collect();
            black_box(hostcalls::get_property(path).unwrap());
        }
        let mut present = Vec::new();
        if let Some(wanted) = &self.work.header {
            present = hostcalls::get_map_bytes(map).unwrap();
            black_box(present.iter().find(|(name, _)| name == wanted));
        }
        if self.work.clock {
            black_box(hostcalls::get_current_time().unwrap());
        }
        if let Some(counter) = self.counter {
            hostcalls::increment_metric(counter, 1).unwrap();
        }
        for (name, _) in &present {
            if self.work.remove.contains(name) {
                hostcalls::remove_map_value(map, name).unwrap();
            }
        }
        let turn = self.turn.checked_rem(self.work.add.len()).unwrap_or(0);
        for (name, value) in self.work.add.get(turn).into_iter().flatten() {
            hostcalls::add_map_value(map, name, value).unwrap();
        }
        if let Some(verify) = &self.work.verify {
            for _ in 0..verify.times {
                let arguments = Some(verify.arguments.as_slice());
                let result = hostcalls::call_foreign_function("verify_signature", arguments);
                assert_eq!(result.unwrap().unwrap_or_default(), VERIFIED);
            }
        }
        Action::Continue
    }
}

#[allow(unsafe_code, missing_docs)] // the exports of the proxy-wasm ABI
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(crate::Root::default()));
    }}
}
