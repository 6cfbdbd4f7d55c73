//! `mtls-gate-fixtures testdata`: writes `testdata/chains/` anew from the case list.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    about = "Write the golden cases below <TESTDATA>/chains; RSA keys are read from <TESTDATA>/keys"
)]
struct Arguments {
    testdata: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let keys = mtls_gate::fixtures::keys::RsaKeys {
        folder: arguments.testdata.join("keys"),
    };
    let result = mtls_gate::fixtures::cases::all(&keys).and_then(|cases| {
        mtls_gate::fixtures::write::write_all(&arguments.testdata, &cases)?;
        Ok(cases.len())
    });
    match result {
        Ok(count) => {
            println!(
                "{count} cases written below {}",
                arguments.testdata.join("chains").display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mtls-gate-fixtures: {error}");
            ExitCode::FAILURE
        }
    }
}
