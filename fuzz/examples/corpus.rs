//! The corpus for a start, and inputs in a form that people read:
//!
//!     corpus seed TESTDATA CORPUS     write seeds from TESTDATA into CORPUS/TARGET/
//!     corpus describe TARGET FILE     print what FILE is to TARGET

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use mtls_gate_core::forwarded::pem::{self, Around, Bounds, Label};
use mtls_gate_core::variables::Variable;
use mtls_gate_fuzz::chain::{ALLOWLISTED, ANCHOR, INTERMEDIATE, PRESENTED};
use mtls_gate_fuzz::dice::Dice;
use mtls_gate_fuzz::forwarded_header::{
    CERTIFICATE_PRESENTED, DER_CHAIN, HEADER, PEER, PEER_CERTIFICATE, PEM_CHAIN, PEM_NUMBERED,
    RFC9440_WITH_CHAIN, RIGHT_DIGEST, XFCC,
};
use mtls_gate_fuzz::frames::{Frame, Input};
use mtls_gate_fuzz::{authz, chain, configuration, forwarded_header, template};
use prost::Message as _;
use sha2::{Digest, Sha256};

type Outcome<T> = Result<T, Box<dyn Error>>;

const BOUNDS: Bounds = Bounds {
    blocks: 1000,
    der_bytes: 1 << 24,
};

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["seed", testdata, corpus] => seed(Path::new(testdata), Path::new(corpus)),
        ["describe", target, file] => describe(target, Path::new(file)),
        _ => Err("usage: corpus seed TESTDATA CORPUS | describe TARGET FILE".into()),
    }
}

fn describe(target: &str, file: &Path) -> Outcome<()> {
    let describe = match target {
        "authz" => authz::describe,
        "chain" => chain::describe,
        "configuration" => configuration::describe,
        "forwarded_header" => forwarded_header::describe,
        "template" => template::describe,
        _ => return Err("no such target".into()),
    };
    print!("{}", describe(&fs::read(file)?));
    Ok(())
}

fn seed(testdata: &Path, corpus: &Path) -> Outcome<()> {
    for case in folder(&testdata.join("chains"))? {
        let name = file_name(&case);
        seed_chain(&case, &corpus.join("chain"), &name)?;
        seed_header(&case, &corpus.join("forwarded_header"), &name)?;
    }
    for kind in ["valid", "invalid"] {
        for file in folder(&testdata.join("configs").join(kind))? {
            if file
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                seed_configuration(&file, &corpus.join("configuration"))?;
            }
        }
    }
    seed_authz(&corpus.join("authz"))?;
    seed_templates(&corpus.join("template"))
}

/// Every input is some policies and a request, so chance will do.
fn seed_authz(to: &Path) -> Outcome<()> {
    for seed in 0..64 {
        let mut dice = Dice::new(seed);
        let data: Vec<u8> = (0..64 << (seed % 4))
            .map(|_| dice.below(256) as u8)
            .collect();
        write(to, &seed.to_string(), &data)?;
    }
    Ok(())
}

fn seed_chain(case: &Path, to: &Path, name: &str) -> Outcome<()> {
    let files = [
        ("chain.pem", PRESENTED),
        ("intermediates.pem", INTERMEDIATE),
        ("anchors.pem", ANCHOR),
        ("allowlist.pem", ALLOWLISTED),
    ];
    let mut input = Input::default();
    for (file, kind) in files {
        for bytes in certificates(&case.join(file))? {
            input.frames.push(Frame { kind, bytes });
        }
    }
    write(to, name, &input.write())
}

/// As an Envoy that shows the certificate, and as one that shows its digest only.
fn seed_header(case: &Path, to: &Path, name: &str) -> Outcome<()> {
    let chain = fs::read_to_string(case.join("chain.pem")).unwrap_or_default();
    const END: &str = "-----END CERTIFICATE-----\n";
    let Some(end) = chain.find(END) else {
        return Ok(());
    };
    let end_entity = &chain[..end + END.len()];
    let header = format!(
        "Hash=00;Cert=\"{}\";Chain=\"{}\";URI=spiffe://a/b",
        percent_encoded(end_entity),
        percent_encoded(&chain)
    );
    let frame = |kind, text: &str| Frame {
        kind,
        bytes: text.as_bytes().to_vec(),
    };
    let mut input = Input {
        settings: [PEER_CERTIFICATE | CERTIFICATE_PRESENTED, 0],
        frames: vec![frame(PEER, end_entity), frame(HEADER, &header)],
    };
    write(to, name, &input.write())?;
    input.settings[0] = RIGHT_DIGEST;
    input.frames.remove(0);
    write(to, &format!("{name}-digest"), &input.write())?;
    seed_forwarded(&chain, to, name)
}

/// The same chain in the forms in which other proxies forward it.
fn seed_forwarded(chain: &str, to: &Path, name: &str) -> Outcome<()> {
    let blocks: Vec<String> = chain
        .split_inclusive("-----END CERTIFICATE-----\n")
        .map(str::to_owned)
        .collect();
    let bodies: Vec<String> = blocks
        .iter()
        .map(|block| {
            block
                .lines()
                .filter(|line| !line.starts_with('-'))
                .collect()
        })
        .collect();
    let ders = pem::blocks(
        chain.as_bytes(),
        Label::Certificate,
        Around::Nothing,
        BOUNDS,
    );
    let end_entity = ders.map_err(|_| "not PEM")?.swap_remove(0);
    let hash: String = Sha256::digest(&end_entity)
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    let element = format!(
        "By=a;Hash={hash};Cert=\"{}\";Chain=\"{}\";Subject=\"\";URI=",
        percent_encoded(&blocks[0]),
        percent_encoded(chain)
    );
    let sequences: Vec<String> = bodies.iter().map(|body| format!(":{body}:")).collect();
    for (form, setting, values) in [
        ("xfcc", XFCC, vec![element]),
        (
            "rfc9440",
            RFC9440_WITH_CHAIN,
            vec![sequences[0].clone(), sequences[1..].join(", ")],
        ),
        ("pem", PEM_CHAIN, vec![percent_encoded(chain)]),
        ("der", DER_CHAIN, vec![bodies.join(",")]),
        ("numbered", PEM_NUMBERED, blocks),
    ] {
        let frames = values.into_iter().map(|value| Frame {
            kind: HEADER,
            bytes: value.into_bytes(),
        });
        let input = Input {
            settings: [0, setting],
            frames: frames.collect(),
        };
        write(to, &format!("{name}-{form}"), &input.write())?;
    }
    Ok(())
}

/// As Envoy does it: what may not stand in the header's value.
fn percent_encoded(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' => "%0A".to_owned(),
            ' ' => "%20".to_owned(),
            '+' => "%2B".to_owned(),
            '/' => "%2F".to_owned(),
            '=' => "%3D".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

fn seed_configuration(file: &Path, to: &Path) -> Outcome<()> {
    let text = fs::read(file)?;
    let name = file_name(file);
    write(to, &name, &text)?;
    if let Ok(document) = serde_json::from_slice(&text) {
        let message = configuration::to_struct(&document).encode_to_vec();
        write(to, &format!("{name}.struct"), &message)?;
    }
    Ok(())
}

fn seed_templates(to: &Path) -> Outcome<()> {
    for variable in Variable::ALL {
        let name = variable.name();
        write(to, name, format!("a {{{{{{{name}}}}}}}").as_bytes())?;
    }
    write(to, "text", b"{{}}\tplain, {client_region}")
}

fn certificates(file: &Path) -> Outcome<Vec<Vec<u8>>> {
    let Ok(text) = fs::read(file) else {
        return Ok(Vec::new());
    };
    pem::blocks(&text, Label::Certificate, Around::Nothing, BOUNDS)
        .map_err(|(index, fault)| format!("{}: {index}: {fault}", file.display()).into())
}

fn folder(path: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn write(folder: &Path, name: &str, data: &[u8]) -> Outcome<()> {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join(name), data)?)
}
