//! `interlock-coordinator`: plans and runs ordered operations.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use interlock_coordinator::config::Config;
use interlock_coordinator::run;
use interlock_mesh::log;

/// Messages of a thousand agents are small and short-lived: a seventh less of the time of each step than with the
/// allocator of the C library (`cargo xtask bench fan-out`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong usage: `EX_USAGE` of sysexits(3).
const USAGE: u8 = 64;

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
        /// What is logged on standard error, as in `info` or `warn,interlock_coordinator::sessions=debug`.
        #[arg(long, env = log::VARIABLE, default_value = "info")]
        log: String,
    },
    /// Look at a configuration file.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read the configuration and say whether it can be used, without starting anything.
    Check {
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
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match cli.command {
        Command::Config {
            command: ConfigCommand::Check { file },
        } => check(&file),
        Command::Run { config, log } => serve(&config, &log),
    }
}

fn check(file: &Path) -> ExitCode {
    match Config::load(file) {
        Ok(config) => {
            // A file that names certificates which are not there yet is good, and cannot be used.
            if let Err(error) = run::own_credentials(&config) {
                return failed(&error.context(file.display().to_string()), 2);
            }
            let (name, listen) = (config.name, config.listen);
            println!("{}: coordinator {name} on {listen}", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => failed(&anyhow::Error::new(error), 2),
    }
}

fn serve(file: &Path, logged: &str) -> ExitCode {
    if let Err(error) = log::start(logged) {
        eprintln!("interlock-coordinator: {error}");
        return ExitCode::from(USAGE);
    }
    match Config::load(file) {
        Err(error) => failed(&anyhow::Error::new(error), 2),
        Ok(config) => match run_to_the_end(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, 1),
        },
    }
}

fn run_to_the_end(config: Config) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(run::run(config))
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("interlock-coordinator: {error:#}");
    ExitCode::from(code)
}
