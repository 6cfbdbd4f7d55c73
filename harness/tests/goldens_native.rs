//! The golden cases in the core, and in the filter's handler with a host made of memory.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::rc::Rc;

use mtls_gate::goldens::{self, Golden, header_of};
use mtls_gate_core::config::Config;
use mtls_gate_core::decision::Outcome;
use mtls_gate_core::forwarded::connection::Connection;
use mtls_gate_core::pipeline::Pipeline;
use mtls_gate_core::variables::{Variable, Variables};
use mtls_gate_core::x509::UnixSeconds;
use mtls_gate_filter::handle::{Flow, HeaderMap, Host, HostRefused, Level, Stream};
use mtls_gate_rustcrypto::ALGORITHMS;

fn pipeline(golden: &Golden) -> Pipeline {
    let document = golden.document().to_string();
    let config = Config::from_bytes(document.as_bytes())
        .unwrap_or_else(|error| panic!("{}: {error}", golden.name));
    Pipeline::new(config, ALGORITHMS)
}

/// As Envoy writes it: end entity first, five characters percent-encoded.
fn xfcc(golden: &Golden) -> String {
    let encode = |pem: &str| {
        pem.replace('\n', "%0A")
            .replace(' ', "%20")
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D")
    };
    let end_entity = golden.chain().first().copied().unwrap_or_default();
    format!(
        "Hash=00;Cert=\"{}\";Chain=\"{}\"",
        encode(end_entity),
        encode(&golden.chain_pem)
    )
}

#[test]
fn core_gives_the_golden_variables() {
    let goldens = goldens::all().unwrap();
    assert!(goldens.len() >= 40, "{} goldens", goldens.len());
    let mut wrong = Vec::new();
    for golden in &goldens {
        let pipeline = pipeline(golden);
        let header = xfcc(golden);
        let forwarded = [header.as_bytes()];
        let connection = Connection {
            peer_certificate: golden.chain().first().map(|pem| pem.as_bytes()),
            forwarded: if golden.chain_pem.is_empty() {
                &[]
            } else {
                &forwarded
            },
            ..Connection::default()
        };
        let time = golden.time().unwrap();
        let client_cert = pipeline.judge(&connection, Some(time));
        let variables = Variables::from(&client_cert);
        for variable in Variable::ALL {
            let expected = &golden.expected.variables[variable.name()];
            let found = variables.get(variable);
            if expected != found {
                wrong.push(format!(
                    "{} {}: {found:?}, expected {expected:?}",
                    golden.name,
                    variable.name()
                ));
            }
        }
        let decision = pipeline.run(&connection, Some(time));
        let forwards = decision.outcome == Outcome::Forward;
        if forwards != (golden.expected.decision == "forward") {
            wrong.push(format!("{}: {:?}", golden.name, decision.outcome));
        }
        if !golden.names_the_rule(&decision.report.reason) {
            wrong.push(format!(
                "{}: refused for another reason than {:?}: {}",
                golden.name, golden.expected.rule, decision.report.reason
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A proxy made of memory.
#[derive(Default)]
struct FakeHost {
    time: Option<UnixSeconds>,
    headers: RefCell<Vec<(Vec<u8>, Vec<u8>)>>,
    properties: Vec<(&'static str, Vec<u8>)>,
    left: RefCell<Vec<(String, String)>>,
    counters: RefCell<Vec<String>>,
    reset: RefCell<bool>,
}

impl Host for FakeHost {
    fn now(&self) -> Option<UnixSeconds> {
        self.time
    }
    fn headers(&self, _: HeaderMap) -> Result<Vec<(Vec<u8>, Vec<u8>)>, HostRefused> {
        Ok(self.headers.borrow().clone())
    }
    fn remove_header(&self, _: HeaderMap, name: &[u8]) -> Result<(), HostRefused> {
        self.headers
            .borrow_mut()
            .retain(|(present, _)| present != name);
        Ok(())
    }
    fn add_header(&self, _: HeaderMap, name: &str, value: &str) -> Result<(), HostRefused> {
        self.headers.borrow_mut().push((name.into(), value.into()));
        Ok(())
    }
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        let path = path.join(".");
        let found = self.properties.iter().find(|(name, _)| *name == path);
        found.map(|(_, value)| value.clone())
    }
    fn set_property(&self, name: &str, value: &str) {
        self.left.borrow_mut().push((name.into(), value.into()));
    }
    fn count(&self, counter: &str) {
        self.counters.borrow_mut().push(counter.into());
    }
    fn log(&self, _: Level, _: &str) {}
    fn reset(&self) -> Result<(), HostRefused> {
        *self.reset.borrow_mut() = true;
        Ok(())
    }
    fn respond(&self, _: u16, _: &str) -> Result<(), HostRefused> {
        Err(HostRefused)
    }
}

#[test]
fn handler_gives_the_golden_headers() {
    let mut wrong = Vec::new();
    for golden in &goldens::all().unwrap() {
        let mut host = FakeHost {
            time: Some(golden.time().unwrap()),
            ..FakeHost::default()
        };
        // Whatever the client sends under these names is gone afterwards.
        host.headers
            .borrow_mut()
            .push((b":path".into(), b"/".into()));
        for variable in Variable::ALL {
            let name = header_of(variable);
            host.headers
                .borrow_mut()
                .push((name.clone().into(), b"spoof".into()));
            host.headers
                .borrow_mut()
                .push((name.replace('-', "_").into(), b"spoof".into()));
        }
        if let Some(end_entity) = golden.chain().first() {
            host.properties
                .push(("connection.peer_certificate", end_entity.as_bytes().into()));
            host.headers
                .borrow_mut()
                .push((b"x-forwarded-client-cert".into(), xfcc(golden).into()));
        }
        let mut stream = Stream::new(Some(Rc::new(pipeline(golden))));
        let flow = stream.on_request_headers(&host);
        if (flow == Flow::Continue) != (golden.expected.decision == "forward")
            || *host.reset.borrow() == (flow == Flow::Continue)
        {
            wrong.push(format!("{}: {flow:?}", golden.name));
            continue;
        }
        let error = &golden.expected.variables["client_cert_error"];
        let left = host.left.borrow();
        let left_error = left.iter().find(|(name, _)| name == "mtls_gate_error");
        if left_error.map_or("", |(_, value)| value) != error {
            wrong.push(format!("{}: access log says {left:?}", golden.name));
        }
        if flow == Flow::Stop {
            continue;
        }
        let mut expected: Vec<(Vec<u8>, Vec<u8>)> = vec![(b":path".into(), b"/".into())];
        for variable in Variable::ALL {
            let value = golden.expected.variables[variable.name()].clone();
            expected.push((header_of(variable).into(), value.into()));
        }
        if *host.headers.borrow() != expected {
            wrong.push(format!("{}: headers differ", golden.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
