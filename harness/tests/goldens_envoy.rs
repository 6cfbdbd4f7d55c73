//! The golden cases through real TLS into the real `.wasm` inside a real Envoy: one Envoy, one
//! listener, one filter chain with its own plugin configuration per case, all in one VM.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use mtls_gate::goldens::{self, Golden, header_of};
use mtls_gate::testbed::client::{self, ClientIdentity, ClientOptions, Outcome};
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, FilterDocument, Listener, REQUEST_ID, ServerCertificate, WasmFilter,
    bootstrap, filter_file,
};
use mtls_gate_core::variables::Variable;

/// SNI names have no underscores.
fn host(golden: &Golden) -> String {
    format!("{}.test", golden.name.replace('_', "-"))
}

#[test]
fn envoy_gives_the_golden_headers() {
    let goldens = goldens::all().unwrap();
    let (tls, not_tls): (Vec<Golden>, Vec<Golden>) = goldens
        .into_iter()
        .partition(|golden| golden.case.tls.as_bool() == Some(true));
    for golden in &not_tls {
        println!("{}: not over TLS: {}", golden.name, golden.case.tls);
    }
    let echo = Echo::start().unwrap();
    let certificate = ServerCertificate::self_signed(&["*.test"]).unwrap();
    let chains = tls
        .iter()
        .enumerate()
        .map(|(index, golden)| {
            // Both forms of configuration and both backends, in turn. Envoy would not come up if it
            // did not verify signatures rightly.
            let mut document = golden.document();
            let backend = if index % 4 < 2 { "HOST" } else { "WASM" };
            document["signatureBackend"] = backend.into();
            let document = if index % 2 == 0 {
                FilterDocument::JsonText(document)
            } else {
                FilterDocument::Struct(document)
            };
            Chain::new(&[&host(golden)], &certificate)
                .filter(WasmFilter::new(&filter_file(), document))
        })
        .collect();
    let listener = Listener {
        name: "gate".to_owned(),
        chains,
    };
    let envoy = Envoy::start(&EnvoyConfig {
        ready_within: Duration::from_secs(90),
        ..EnvoyConfig::new(bootstrap(&[listener], echo.address(), false))
    })
    .unwrap();
    let port = envoy.port("gate").unwrap();

    let mut wrong = Vec::new();
    for golden in &tls {
        if let Err(what) = play(golden, port, &envoy) {
            wrong.push(format!("{}: {what}", golden.name));
        }
    }
    println!(
        "{} cases through Envoy, {} not over TLS",
        tls.len(),
        not_tls.len()
    );
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn play(golden: &Golden, port: u16, envoy: &Envoy) -> Result<(), String> {
    let identity = (!golden.chain_pem.is_empty()).then(|| ClientIdentity {
        chain_pem: golden.chain_pem.clone().into_bytes(),
        key_pem: golden.key_pem.clone().into_bytes(),
    });
    let host = host(golden);
    let mut connection = client::connect(port, &host, identity.as_ref(), &ClientOptions::default())
        .map_err(|error| error.to_string())?;
    let id = format!("{REQUEST_ID}: {}", golden.name);
    // Spoofed copies of every header the filter emits.
    let spoofed: Vec<String> = Variable::ALL
        .into_iter()
        .flat_map(|variable| {
            let name = header_of(variable);
            [
                format!("{name}: spoof"),
                format!("{}: spoof", name.replace('-', "_")),
            ]
        })
        .collect();
    let lines: Vec<&str> = spoofed
        .iter()
        .map(String::as_str)
        .chain(["x-forwarded-client-cert: Hash=spoof", &id])
        .collect();
    let outcome = connection
        .get(&host, "/", &lines)
        .map_err(|error| error.to_string())?;

    let line = envoy
        .wait_for_access_log(Duration::from_secs(5), |line| {
            line["id"] == golden.name.as_str()
        })
        .map_err(|error| error.to_string())?;
    let error = &golden.expected.variables["client_cert_error"];
    if line["error"].as_str().unwrap_or_default() != error {
        return Err(format!(
            "access log says {}, expected {error}",
            line["error"]
        ));
    }
    let reason = line["reason"].as_str().unwrap_or_default();
    if !golden.names_the_rule(reason) {
        return Err(format!("refused for another reason: {reason}"));
    }
    match (golden.expected.decision.as_str(), outcome) {
        ("reject", outcome) if outcome.closed_silently() => Ok(()),
        ("forward", Outcome::Response(response)) if response.status == 200 => {
            let reply = EchoReply::parse(&response.body).map_err(|error| error.to_string())?;
            headers(golden, &reply)
        }
        (expected, outcome) => Err(format!("expected {expected}, got {outcome:?}")),
    }
}

fn headers(golden: &Golden, reply: &EchoReply) -> Result<(), String> {
    let mut wrong = Vec::new();
    for variable in Variable::ALL {
        let expected = &golden.expected.variables[variable.name()];
        let name = header_of(variable);
        if reply.all(&name) != [expected.as_str()] {
            wrong.push(format!(
                "{name}: {:?}, expected {expected:?}",
                reply.all(&name)
            ));
        }
        let folded = name.replace('-', "_");
        if !reply.all(&folded).is_empty() {
            wrong.push(format!("{folded} reached the backend"));
        }
    }
    if !reply.all("x-forwarded-client-cert").is_empty() {
        wrong.push("x-forwarded-client-cert reached the backend".to_owned());
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; "))
    }
}
