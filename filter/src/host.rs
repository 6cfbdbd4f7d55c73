//! The host calls of proxy-wasm ABI 0.2.1, declared here so that every status is a number: the SDK
//! panics on statuses it does not expect and on header bytes that are not UTF-8, and a panic takes
//! the worker's VM down.
#![allow(unsafe_code)] // the ABI is a set of C functions; each call says why it is sound

use core::ptr::{null, null_mut};
use std::cell::RefCell;
use std::collections::BTreeMap;

use mtls_gate_core::x509::UnixSeconds;

use crate::handle::{HeaderMap, Host, HostRefused, Level, Line};
use crate::signatures;

const OK: u32 = 0;
const MAP_REQUEST_HEADERS: u32 = 0;
const MAP_REQUEST_TRAILERS: u32 = 1;
const MAP_RESPONSE_HEADERS: u32 = 2;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;
const STREAM_HTTP_REQUEST: u32 = 0;
const STREAM_DOWNSTREAM: u32 = 2;
const METRIC_COUNTER: u32 = 0;
const NO_GRPC_STATUS: i32 = -1;
const NANOSECONDS: u64 = 1_000_000_000;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, message_size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        argument: *const u8,
        argument_size: usize,
        result: *mut *mut u8,
        result_size: *mut usize,
    ) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
}

/// The proxy around this module.
#[derive(Debug, Default)]
pub(crate) struct ProxyWasm {
    /// Counters by name; `None` where the host has no metrics. The names are a fixed few.
    counters: RefCell<BTreeMap<String, Option<u32>>>,
}

/// The plugin configuration of the root context that is being configured.
pub(crate) fn plugin_configuration(size: usize) -> Option<Vec<u8>> {
    received(|data, length| {
        // SAFETY: both pointers are to live locals of the types the ABI names.
        unsafe { proxy_get_buffer_bytes(BUFFER_PLUGIN_CONFIGURATION, 0, size, data, length) }
    })
}

/// Envoy's `verify_signature` (`source/extensions/common/wasm/ext/verify_signature.proto`). `None`: the
/// host has no such function, or gives no clear answer, as about a key that it cannot read.
pub(crate) fn verify_signature(
    digest: &str,
    spki: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Option<bool> {
    const NAME: &str = "verify_signature";
    let argument = signatures::question(digest, spki, message, signature);
    let answer = received(|data, length| {
        // SAFETY: the slices are read during the call, the pointers are to live locals.
        unsafe {
            proxy_call_foreign_function(
                NAME.as_ptr(),
                NAME.len(),
                argument.as_ptr(),
                argument.len(),
                data,
                length,
            )
        }
    })?;
    signatures::clear_answer(&answer)
}

impl Host for ProxyWasm {
    fn now(&self) -> Option<UnixSeconds> {
        let mut nanoseconds = 0_u64;
        // SAFETY: the pointer is to a live local.
        let status = unsafe { proxy_get_current_time_nanoseconds(&raw mut nanoseconds) };
        let seconds = i64::try_from(nanoseconds / NANOSECONDS).ok()?;
        (status == OK && seconds > 0).then_some(UnixSeconds(seconds))
    }

    fn headers<T>(
        &self,
        map: HeaderMap,
        read: impl FnOnce(&[Line<'_>]) -> T,
    ) -> Result<T, HostRefused> {
        let bytes = received(|data, length| {
            // SAFETY: both pointers are to live locals of the types the ABI names.
            unsafe { proxy_get_header_map_pairs(map_id(map), data, length) }
        })
        .ok_or(HostRefused)?;
        Ok(read(&pairs(&bytes).ok_or(HostRefused)?))
    }

    fn remove_header(&self, map: HeaderMap, name: &[u8]) -> Result<(), HostRefused> {
        // SAFETY: the host reads the slice during the call.
        done(unsafe { proxy_remove_header_map_value(map_id(map), name.as_ptr(), name.len()) })
    }

    fn add_header(&self, map: HeaderMap, name: &str, value: &str) -> Result<(), HostRefused> {
        // SAFETY: the host reads the slices during the call.
        done(unsafe {
            proxy_add_header_map_value(
                map_id(map),
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let path = path.join("\0");
        received(|data, length| {
            // SAFETY: the path is read during the call, the pointers are to live locals.
            unsafe { proxy_get_property(path.as_ptr(), path.len(), data, length) }
        })
    }

    fn set_property(&self, name: &str, value: &str) {
        // SAFETY: the host reads the slices during the call.
        let _ =
            unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    }

    fn count(&self, counter: &str) {
        let Ok(mut counters) = self.counters.try_borrow_mut() else {
            return;
        };
        let id = match counters.get(counter) {
            Some(id) => *id,
            None => {
                let mut id = 0_u32;
                // SAFETY: the name is read during the call, the pointer is to a live local.
                let status = unsafe {
                    proxy_define_metric(
                        METRIC_COUNTER,
                        counter.as_ptr(),
                        counter.len(),
                        &raw mut id,
                    )
                };
                let id = (status == OK).then_some(id);
                counters.insert(counter.to_owned(), id);
                id
            }
        };
        if let Some(id) = id {
            // SAFETY: takes numbers only.
            let _ = unsafe { proxy_increment_metric(id, 1) };
        }
    }

    fn log(&self, level: Level, line: &str) {
        let level = match level {
            Level::Debug => 1,
            Level::Info => 2,
            Level::Warning => 3,
            Level::Error => 4,
        };
        // SAFETY: the host reads the slice during the call.
        let _ = unsafe { proxy_log(level, line.as_ptr(), line.len()) };
    }

    fn reset(&self) -> Result<(), HostRefused> {
        // SAFETY: takes a number only.
        done(unsafe { proxy_close_stream(STREAM_HTTP_REQUEST) })
    }

    fn respond(&self, status: u16, body: &str) -> Result<(), HostRefused> {
        let details = "mtls_gate_refused";
        // No headers: the count of pairs.
        let headers = 0_u32.to_le_bytes();
        // SAFETY: the host reads the slices during the call.
        done(unsafe {
            proxy_send_local_response(
                u32::from(status),
                details.as_ptr(),
                details.len(),
                if body.is_empty() {
                    null()
                } else {
                    body.as_ptr()
                },
                body.len(),
                headers.as_ptr(),
                headers.len(),
                NO_GRPC_STATUS,
            )
        })
    }

    fn close_connection(&self) -> Result<(), HostRefused> {
        // SAFETY: takes a number only.
        done(unsafe { proxy_close_stream(STREAM_DOWNSTREAM) })
    }
}

fn map_id(map: HeaderMap) -> u32 {
    match map {
        HeaderMap::Request => MAP_REQUEST_HEADERS,
        HeaderMap::RequestTrailers => MAP_REQUEST_TRAILERS,
        HeaderMap::Response => MAP_RESPONSE_HEADERS,
    }
}

fn done(status: u32) -> Result<(), HostRefused> {
    if status == OK {
        Ok(())
    } else {
        Err(HostRefused)
    }
}

/// Takes over what the host wrote into memory that it asked this module for.
fn received(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data: *mut u8 = null_mut();
    let mut size = 0_usize;
    let status = call(&raw mut data, &raw mut size);
    if data.is_null() {
        return (status == OK).then(Vec::new);
    }
    // SAFETY: the host obtains such memory from the SDK's exported allocator, which hands out the
    // start of a boxed slice of exactly this size and keeps nothing of it.
    let bytes = unsafe { Vec::from_raw_parts(data, size, size) };
    (status == OK).then_some(bytes)
}

/// The ABI's serialized header pairs: count; lengths of name and value for each; then each name and
/// value, closed by a zero.
fn pairs(bytes: &[u8]) -> Option<Vec<Line<'_>>> {
    let (numbers, _) = bytes.as_chunks();
    let mut numbers = numbers
        .iter()
        .map(|number| usize::try_from(u32::from_le_bytes(*number)));
    let Some(count) = numbers.next() else {
        return bytes.is_empty().then(Vec::new);
    };
    let count = count.ok()?;
    let mut text = bytes.get(count.checked_mul(8)?.checked_add(4)?..)?;
    let mut take = |length: usize| {
        let (taken, rest) = text.split_at_checked(length)?;
        let (0, rest) = rest.split_first()? else {
            return None;
        };
        text = rest;
        Some(taken)
    };
    // The lengths are there, so there are not more of them than octets.
    let mut lines = Vec::with_capacity(count);
    for _ in 0..count {
        let name = numbers.next()?.ok()?;
        let value = numbers.next()?.ok()?;
        lines.push((take(name)?, take(value)?));
    }
    Some(lines)
}
