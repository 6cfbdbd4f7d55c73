//! `mtls-gate-fixtures testdata examples.json`: writes `testdata/chains/` anew from the case list, and
//! the inspector's examples from them.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    about = "Write the golden cases below <TESTDATA>/chains; RSA keys are read from <TESTDATA>/keys"
)]
struct Arguments {
    testdata: PathBuf,
    /// The inspector's examples
    examples: PathBuf,
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
    let result = result.map_err(|error| error.to_string()).and_then(|count| {
        let examples = mtls_gate::goldens::examples().map_err(|error| error.to_string())?;
        std::fs::write(&arguments.examples, format!("{examples:#}\n"))
            .map_err(|error| format!("{}: {error}", arguments.examples.display()))?;
        Ok(count)
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
