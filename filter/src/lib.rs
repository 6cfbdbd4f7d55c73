//! mtls-gate as a proxy-wasm filter. Thin: `handle` (a request) and `downstream` (a connection) carry
//! out what the core decides, `host` is the only file that names host calls, `context` is what the
//! SDK dispatches to.

pub mod downstream;
pub mod handle;
pub mod place;
pub mod signatures;

#[cfg(target_arch = "wasm32")]
mod context;
#[cfg(target_arch = "wasm32")]
mod host;

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, missing_docs)] // the exports of the proxy-wasm ABI
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(crate::context::Root::default()));
    }}
}
