//! The agent's program.
//!
//! Exit codes: 0 done; 1 failed; 2 the configuration is refused; 64 wrong use of the command line (sysexits(3)).
//! Data goes to standard output, talk to standard error.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use interlock_agent::config::{Config, Error};
use interlock_agent::{probe, run, shim};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The configuration is refused.
const REFUSED: u8 = 2;
/// The command line cannot be understood.
const USAGE: u8 = 64;
/// What is logged if the command line does not say it.
const LOG_VARIABLE: &str = "INTERLOCK_LOG";

/// The agent of one node: reports its health and executes local actions on it.
#[derive(Debug, Parser)]
#[command(name = "interlock-agent", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done; 1 failed; 2 the configuration is refused; 64 wrong use of the command line."
)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Serve until a signal ends it; what the agent manages goes on.
    Run {
        /// The configuration file.
        #[arg(long, default_value = "/etc/interlock/interlock-agent.toml")]
        config: PathBuf,
        /// What is logged on standard error, as in `info` or `warn,interlock_agent::session=debug`.
        #[arg(long, env = LOG_VARIABLE, default_value = "info")]
        log: String,
    },
    /// Look at a configuration file.
    Config {
        #[command(subcommand)]
        command: ConfigCommands,
    },
    /// Keep one command until it has ended; the agent starts this itself.
    #[command(hide = true)]
    Shim {
        /// The directory of the run.
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommands {
    /// Check a configuration file and the certificate that it names, without starting anything; tells all problems of the
    /// file at once.
    Check {
        /// The file.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before anything else is built up: there is one shim per running command, and it shall stay small.
    if let [_, word, dir] = arguments.as_slice()
        && word == "shim"
    {
        return keep(Path::new(dir));
    }
    // The same for the helper that reads a file which may hang; the agent starts it itself.
    if let [_, word, rest @ ..] = arguments.as_slice()
        && word == probe::HELPER_WORD
    {
        return probe::helper(rest);
    }
    match Arguments::try_parse_from(arguments) {
        Ok(Arguments {
            command: Subcommands::Run { config, log },
        }) => serve(&config, &log),
        Ok(Arguments {
            command: Subcommands::Shim { dir },
        }) => keep(&dir),
        Ok(Arguments {
            command:
                Subcommands::Config {
                    command: ConfigCommands::Check { file },
                },
        }) => check(&file),
        Err(error) => {
            // A closed pipe is the reader's decision.
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(USAGE),
            }
        }
    }
}

/// The shim has told its story in the run's directory; its exit code says only whether it could.
fn keep(dir: &Path) -> ExitCode {
    if shim::keep(dir).is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn serve(file: &Path, log: &str) -> ExitCode {
    let filter = match filter(log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(USAGE);
        }
    };
    let lines = tracing_subscriber::fmt::layer()
        .compact()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // Not the filter with regular expressions: a megabyte of program for what nobody types.
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => return refused(&error),
    };
    match run::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{:#}", anyhow::Error::new(error));
            ExitCode::FAILURE
        }
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

fn check(file: &Path) -> ExitCode {
    match Config::load(file) {
        Ok(config) => {
            // A file that names certificates which are not there yet is good, and cannot be used.
            if let Err(error) = run::own_credentials(&config) {
                let error = anyhow::Error::new(error).context(file.display().to_string());
                eprintln!("{error:#}");
                return ExitCode::from(REFUSED);
            }
            eprintln!(
                "{}: the configuration of node {} is in order",
                file.display(),
                config.node
            );
            ExitCode::SUCCESS
        }
        Err(error) => refused(&error),
    }
}

/// Tells what is wrong with a configuration, or why it cannot be read.
fn refused(error: &Error) -> ExitCode {
    let cause = std::error::Error::source(error)
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    eprintln!("{error}{cause}");
    match error {
        Error::Invalid { .. } => ExitCode::from(REFUSED),
        Error::Read(..) => ExitCode::FAILURE,
    }
}
