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
        /// The file is for another machine: check it as far as it can be without what lies there, and tell what was not.
        #[arg(long)]
        elsewhere: bool,
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
            command: ConfigCommand::Check { file, elsewhere },
        } => check(&file, elsewhere),
        Command::Run { config, log } => serve(&config, &log),
    }
}

fn check(file: &Path, elsewhere: bool) -> ExitCode {
    match Config::load(file) {
        Ok(config) => {
            // A file that names certificates which are not there yet is good, and cannot be used.
            if elsewhere {
                for path in [&config.tls.ca, &config.tls.cert, &config.tls.key] {
                    eprintln!("not checked here: {}", path.display());
                }
            } else if let Err(error) = run::own_credentials(&config) {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::CommandFactory;

    use super::*;

    /// The pages of a command and of those below it: name and text.
    fn pages(command: &clap::Command, into: &mut Vec<(String, Vec<u8>)>) {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let mut page = Vec::new();
        let man = clap_mangen::Man::new(command.clone()).section("8").date("");
        man.render(&mut page).unwrap();
        into.push((name.to_owned(), page));
        let below = command.get_subcommands().filter(|it| !it.is_hide_set());
        below.for_each(|below| pages(below, into));
    }

    /// What is installed says what the program says of itself. BLESS=1 writes the pages.
    #[test]
    fn the_manual_pages_are_those_of_the_program() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/man");
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let mut all = Vec::new();
        pages(&command, &mut all);
        assert!(all.len() > 3, "{all:?}");
        let mut there: Vec<String> = fs::read_dir(&directory)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|file| file.starts_with("interlock-coordinator"))
            .collect();
        for (name, page) in all {
            let name = format!("{name}.8");
            let file = directory.join(&name);
            if std::env::var_os("BLESS").is_some() {
                fs::write(&file, &page).unwrap();
            }
            let shipped = fs::read_to_string(&file).unwrap_or_default();
            let page = String::from_utf8(page).unwrap();
            assert_eq!(shipped, page, "{name}: BLESS=1 writes it");
            there.retain(|other| *other != name);
        }
        assert_eq!(there, [""; 0], "pages of commands that are not there");
    }
}
