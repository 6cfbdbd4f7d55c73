//! Header values parsed and rendered, with the variables of all kinds of verdicts.

use std::sync::LazyLock;

use mtls_gate_core::client_cert::ClientCert;
use mtls_gate_core::error::Refusal;
use mtls_gate_core::forwarded::pem::{self, Around, Bounds, Label};
use mtls_gate_core::template::Template;
use mtls_gate_core::variables::Variables;
use mtls_gate_core::x509::Certificate;

use crate::is_one_line;

static VERDICTS: LazyLock<Vec<Variables>> = LazyLock::new(|| {
    let unverified = |fingerprint, refusal| ClientCert::Unverified {
        fingerprint,
        refusal,
    };
    [
        ClientCert::Off,
        unverified(None, Refusal::NotProvided),
        unverified(Some([0xfb; 32]), Refusal::NoClock),
        verified(include_bytes!(
            "../../testdata/chains/one_intermediate/chain.pem"
        )),
        // Variables that are empty, and their errors.
        verified(include_bytes!(
            "../../testdata/chains/all_names_over_limit/chain.pem"
        )),
    ]
    .iter()
    .map(Variables::from)
    .collect()
});

pub fn verified(chain: &[u8]) -> ClientCert {
    let bounds = Bounds {
        blocks: 10,
        der_bytes: 1 << 20,
    };
    let mut chain = pem::blocks(chain, Label::Certificate, Around::Nothing, bounds)
        .expect("a golden case is PEM")
        .into_iter()
        .map(|der| Certificate::parse(der).expect("a golden case can be parsed"));
    ClientCert::Verified {
        end_entity: chain.next().expect("a golden case has an end entity"),
        path: chain.collect(),
    }
}

pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => {
            let error = error.to_string();
            assert!(is_one_line(&error) && error.len() < 1024, "{error:?}");
            return;
        }
    };
    let values: Vec<String> = VERDICTS
        .iter()
        .map(|variables| {
            let value = template.render(variables);
            assert_eq!(value.len(), template.rendered_len(variables));
            // A tab is allowed where a person wrote it.
            let sendable = |byte| matches!(byte, b' '..=b'~' | b'\t');
            assert!(value.bytes().all(sendable), "{value:?}");
            value
        })
        .collect();
    if !template.has_variable() {
        // Text is itself, with braces doubled.
        assert_eq!(
            values[0].replace('{', "{{").replace('}', "}}"),
            text,
            "not the text that was parsed"
        );
        assert!(values.iter().all(|value| *value == values[0]));
    }
}

pub fn describe(data: &[u8]) -> String {
    format!("{:?}\n", String::from_utf8_lossy(data))
}
