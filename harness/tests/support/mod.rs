//! What the native tests share.
#![allow(dead_code)] // not every test uses all of it

use std::cell::RefCell;

use mtls_gate::goldens::Golden;
use mtls_gate_core::config::Config;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::x509::UnixSeconds;
use mtls_gate_filter::handle::{HeaderMap, Host, HostRefused, Level, Line};
use mtls_gate_rustcrypto::ALGORITHMS;

pub(crate) fn pipeline(golden: &Golden) -> Pipeline {
    let document = golden.document().to_string();
    let config = Config::from_bytes(document.as_bytes())
        .unwrap_or_else(|error| panic!("{}: {error}", golden.name));
    Pipeline::new(config, ALGORITHMS)
}

pub(crate) fn xfcc(golden: &Golden) -> String {
    golden.forwarded_header()
}

/// A proxy made of memory.
#[derive(Default)]
pub(crate) struct FakeHost {
    pub(crate) time: Option<UnixSeconds>,
    pub(crate) headers: RefCell<Vec<(Vec<u8>, Vec<u8>)>>,
    pub(crate) properties: Vec<(&'static str, Vec<u8>)>,
    /// Which properties were asked for.
    pub(crate) asked: RefCell<Vec<String>>,
    pub(crate) left: RefCell<Vec<(String, String)>>,
    pub(crate) counters: RefCell<Vec<String>>,
    pub(crate) reset: RefCell<bool>,
    /// One for each time the connection was to be closed.
    pub(crate) closed: RefCell<Vec<()>>,
    /// What was logged.
    pub(crate) lines: RefCell<Vec<(Level, String)>>,
    /// Calls that fail, by name.
    pub(crate) fails: &'static [&'static str],
    /// Local answers.
    pub(crate) answers: RefCell<Vec<(u16, String)>>,
}

impl Host for FakeHost {
    fn now(&self) -> Option<UnixSeconds> {
        self.time
    }
    fn headers<T>(
        &self,
        _: HeaderMap,
        read: impl FnOnce(&[Line<'_>]) -> T,
    ) -> Result<T, HostRefused> {
        self.call("headers")?;
        // A snapshot: they are edited while they are read.
        let headers = self.headers.borrow().clone();
        let lines: Vec<Line<'_>> = headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
            .collect();
        Ok(read(&lines))
    }
    fn remove_header(&self, _: HeaderMap, name: &[u8]) -> Result<(), HostRefused> {
        self.call("remove_header")?;
        self.headers
            .borrow_mut()
            .retain(|(present, _)| present != name);
        Ok(())
    }
    fn add_header(&self, _: HeaderMap, name: &str, value: &str) -> Result<(), HostRefused> {
        self.call("add_header")?;
        self.headers.borrow_mut().push((name.into(), value.into()));
        Ok(())
    }
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let path = path.join(".");
        self.asked.borrow_mut().push(path.clone());
        let found = self.properties.iter().find(|(name, _)| *name == path);
        found.map(|(_, value)| value.clone())
    }
    fn set_property(&self, name: &str, value: &str) {
        self.left.borrow_mut().push((name.into(), value.into()));
    }
    fn count(&self, counter: &str) {
        self.counters.borrow_mut().push(counter.into());
    }
    fn log(&self, level: Level, line: &str) {
        self.lines.borrow_mut().push((level, line.to_owned()));
    }
    fn reset(&self) -> Result<(), HostRefused> {
        self.call("reset")?;
        *self.reset.borrow_mut() = true;
        Ok(())
    }
    fn respond(&self, status: u16, body: &str) -> Result<(), HostRefused> {
        self.call("respond")?;
        self.answers.borrow_mut().push((status, body.to_owned()));
        Ok(())
    }
    fn close_connection(&self) -> Result<(), HostRefused> {
        self.closed.borrow_mut().push(());
        self.call("close_connection")
    }
}

impl FakeHost {
    fn call(&self, name: &str) -> Result<(), HostRefused> {
        if self.fails.contains(&name) {
            Err(HostRefused)
        } else {
            Ok(())
        }
    }
}
