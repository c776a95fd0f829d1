//! `interlock-coordinator`: plans and runs ordered operations.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use interlock_coordinator::config::Config;
use interlock_coordinator::run;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Wrong usage: `EX_USAGE` of sysexits(3).
const USAGE: u8 = 64;

/// What is logged if the command line does not say it.
const LOG_VARIABLE: &str = "INTERLOCK_LOG";

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
        #[arg(long, env = LOG_VARIABLE, default_value = "info")]
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

fn serve(file: &Path, log: &str) -> ExitCode {
    let filter = match filter(log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("interlock-coordinator: {error}");
            return ExitCode::from(USAGE);
        }
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    match Config::load(file) {
        Err(error) => failed(&anyhow::Error::new(error), 2),
        Ok(config) => match run_to_the_end(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, 1),
        },
    }
}

/// What is logged: levels, and levels of targets. [`Targets`] alone takes a word that is no level for a target, and logs
/// of nothing else: a slip such as `inof` would leave no log.
///
/// An error names what was set. The flag goes before the variable, so the variable is meant only if it says the same.
fn filter(log: &str) -> Result<Targets, String> {
    let set = match std::env::var(LOG_VARIABLE) {
        Ok(value) if value == log => LOG_VARIABLE,
        Ok(_) | Err(_) => "--log",
    };
    let refused = |why: &str| {
        format!("{set} '{log}' is no filter: {why}; write it as in info or warn,TARGET=debug")
    };
    // An empty text would be a level, too.
    let is_level = |level: &str| !level.is_empty() && level.parse::<LevelFilter>().is_ok();
    let levels = log
        .split(',')
        .map(|part| part.split_once('=').map_or(part, |(_, level)| level));
    match levels.into_iter().find(|level| !is_level(level)) {
        Some(other) => Err(refused(&format!(
            "'{other}' is none of off, error, warn, info, debug and trace"
        ))),
        None => log.parse().map_err(|error| refused(&format!("{error}"))),
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
