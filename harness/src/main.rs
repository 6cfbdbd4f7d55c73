//! The command line of mtls-gate.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mtls_gate::config::{self, ConfigCommand};
use mtls_gate::conform::{self, ConformOptions};
use mtls_gate::demo::{self, DemoOptions};
use mtls_gate::explain::{self, ExplainOptions};
use mtls_gate::inspector::{self, InspectorOptions};
use mtls_gate::serve::{self, ServeOptions};
use mtls_gate::verify::{self, VerifyOptions};

/// Checks client certificates as Google Cloud's load balancers do.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(VerifyOptions),
    /// Show how a path is looked for: every potential issuer that is tried, and why it is rejected
    ///
    /// Takes what `verify` takes. Exit status: 0 verified, 1 not verified, 2 bad usage or unreadable
    /// input.
    Explain(ExplainOptions),
    /// Look Google's resources over, or make an Envoy configuration from them
    #[command(subcommand)]
    Config(ConfigCommand),
    Conform(ConformOptions),
    Serve(Box<ServeOptions>),
    Inspector(InspectorOptions),
    /// Play the filter in a real Envoy with real clients and show what becomes of them
    ///
    /// Exit status: 0 if every request ended as expected, 1 if one did not, 2 if it could not be
    /// played.
    Demo {
        /// The Envoy binary
        #[arg(long, value_name = "FILE", default_value = ".tools/envoy")]
        envoy: PathBuf,
        /// The filter
        #[arg(
            long,
            value_name = "FILE",
            default_value = "target/mtls_gate_filter.wasm"
        )]
        wasm: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Verify(options) => {
            verify::run(&options, &mut io::stdout().lock()).map_err(|error| error.to_string())
        }
        Command::Explain(options) => {
            explain::run(&options, &mut io::stdout().lock()).map_err(|error| error.to_string())
        }
        Command::Config(command) => {
            config::run(&command, &mut io::stdout().lock()).map_err(|error| error.to_string())
        }
        Command::Conform(options) => {
            conform::run(&options, &mut io::stdout().lock(), &mut io::stderr())
                .map_err(|error| error.to_string())
        }
        Command::Serve(options) => serve::run(&options).map_err(|error| error.to_string()),
        Command::Inspector(options) => inspector::run(&options).map_err(|error| error.to_string()),
        Command::Demo { envoy, wasm, json } => {
            demo::run(DemoOptions { envoy, wasm, json }).map_err(|error| error.to_string())
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
