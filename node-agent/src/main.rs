//! The agent's program.
//!
//! Exit codes: 0 done; 1 failed; 2 the configuration is refused; 64 wrong use of the command line (sysexits(3)).
//! Data goes to standard output, talk to standard error.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use interlock_agent::config::{Config, Error};
use interlock_agent::{logs, ocf, probe, run, shim};
use interlock_mesh::log;
use signal_hook::consts::SIGCHLD;

/// A seventh less of the time of each step than with the allocator of the C library (`cargo xtask bench fan-out`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The configuration is refused.
const REFUSED: u8 = 2;
/// The command line cannot be understood.
const USAGE: u8 = 64;

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
        #[arg(long, env = log::VARIABLE, default_value = "info")]
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
        /// The file is for another machine: check it as far as it can be without what lies there, and tell what was not.
        #[arg(long)]
        elsewhere: bool,
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
    // And for the one that writes to a share which may hang.
    if let [_, word, rest @ ..] = arguments.as_slice()
        && word == logs::DELIVER_WORD
    {
        return logs::deliver(rest);
    }
    // What agents of promotable resources call as tools of their cluster.
    if let [program, rest @ ..] = arguments.as_slice()
        && let Some(tool) = ocf::tool(program)
    {
        return ocf::call(tool, rest);
    }
    // What becomes a resource agent that is told secrets is this program for a moment.
    if let [_, word, rest @ ..] = arguments.as_slice()
        && word == ocf::ENVIRONMENT_WORD
    {
        return ocf::enter(rest);
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
                    command: ConfigCommands::Check { file, elsewhere },
                },
        }) => check(&file, elsewhere),
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

fn serve(file: &Path, logged: &str) -> ExitCode {
    // Who starts us may ignore SIGCHLD, which we inherit; children then vanish before anybody can wait for them
    // (sigaction(2), `SA_NOCLDWAIT`). A handler of any kind ends that.
    if let Err(error) = signal_hook::flag::register(SIGCHLD, Arc::default()) {
        eprintln!("cannot watch for the end of child processes: {error}");
        return ExitCode::FAILURE;
    }
    if let Err(error) = log::start(logged) {
        eprintln!("{error}");
        return ExitCode::from(USAGE);
    }
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => return refused(&error),
    };
    for problem in &config.tolerated {
        tracing::error!("{}:{problem}; refused until then", file.display());
    }
    match run::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{:#}", anyhow::Error::new(error));
            ExitCode::FAILURE
        }
    }
}

fn check(file: &Path, elsewhere: bool) -> ExitCode {
    match Config::load(file).and_then(Config::flawless) {
        Ok(config) => {
            // A file that names certificates which are not there yet is good, and cannot be used.
            if elsewhere {
                for path in [&config.tls.ca, &config.tls.cert, &config.tls.key] {
                    eprintln!("not checked here: {}", path.display());
                }
            } else if let Err(error) = run::own_credentials(&config) {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::CommandFactory;

    use super::*;

    /// The pages of a command and of those below it: name and text. Hidden ones have none.
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
        let mut command = Arguments::command().disable_help_subcommand(true);
        command.build();
        let mut all = Vec::new();
        pages(&command, &mut all);
        assert!(all.len() > 3, "{all:?}");
        let mut there: Vec<String> = fs::read_dir(&directory)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|file| file.starts_with("interlock-agent"))
            .collect();
        for (name, page) in all {
            let name = format!("{name}.8");
            let file = directory.join(&name);
            if std::env::var_os("BLESS").is_some() {
                fs::write(&file, &page).unwrap();
            }
            let shipped = fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(
                shipped,
                String::from_utf8(page).unwrap(),
                "{name}: BLESS=1 writes it"
            );
            there.retain(|other| *other != name);
        }
        assert_eq!(there, [""; 0], "pages of commands that are not there");
    }
}
