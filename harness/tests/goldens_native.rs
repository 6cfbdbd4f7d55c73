//! The golden cases in the core, and in the filter's handler with a host made of memory.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::rc::Rc;

use mtls_gate::goldens::{self, header_of};
use mtls_gate_core::authz::Request;
use mtls_gate_core::decision::Outcome;
use mtls_gate_core::forwarded::Presented;
use mtls_gate_core::forwarded::connection::Connection;
use mtls_gate_core::variables::Variable;
use mtls_gate_filter::handle::{Flow, Stream};
use support::{FakeHost, pipeline, xfcc};

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
        let client_cert = pipeline.judge(&Presented::Connection(connection), Some(time));
        let variables = &client_cert.variables;
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
        let decision = pipeline.run(
            &Presented::Connection(connection),
            &Request::default(),
            Some(time),
        );
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
