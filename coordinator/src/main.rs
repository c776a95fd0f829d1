//! `interlock-coordinator`: plans and runs ordered operations.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use interlock_coordinator::config::Config;

/// Plans and runs ordered operations over the agents of a cluster.
///
/// Exit codes: 0 stopped by a signal or the file is good, 1 failed, 2 the configuration cannot be used, 64 wrong usage.
#[derive(Debug, Parser)]
#[command(version, about, long_about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until a signal ends it.
    Run {
        /// The configuration.
        #[arg(long, default_value = "/etc/interlock/interlock-coordinator.toml")]
        config: PathBuf,
    },
    /// Read the configuration and say whether it can be used.
    CheckConfig {
        /// The configuration.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // What clap prints goes where it belongs by itself: help to stdout, errors to stderr.
            drop(error.print());
            return if error.use_stderr() {
                ExitCode::from(64)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("INTERLOCK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    match cli.command {
        Command::CheckConfig { file } => match Config::load(&file) {
            Ok(config) => {
                println!(
                    "{}: coordinator {} on {}",
                    file.display(),
                    config.name,
                    config.listen
                );
                ExitCode::SUCCESS
            }
            Err(error) => failed(&anyhow::Error::new(error), 2),
        },
        Command::Run { config } => match Config::load(&config) {
            Err(error) => failed(&anyhow::Error::new(error), 2),
            Ok(config) => match serve(config) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error, 1),
            },
        },
    }
}

fn serve(config: Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(interlock_coordinator::run::run(config))
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("interlock-coordinator: {error:#}");
    ExitCode::from(code)
}
