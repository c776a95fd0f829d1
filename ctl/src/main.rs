//! `interlockctl`: drives a cluster from a workstation.
//!
//! | module | is |
//! |---|---|
//! | [`cli`] | the command line, types only |
//! | [`commands`] | what each command does |
//! | [`context`] | which cluster is meant, and as whom |
//! | [`client`] | calls to coordinators and agents, failures in words |
//! | [`follow`] | following an operation until it is over, across restarts of coordinators |
//! | [`interrupt`] | Ctrl-C |
//! | [`reader`] | whether anybody reads the output |
//! | [`render`] | text for people, values for programs |
//! | [`exit`], [`failure`] | how a run ends |
//!
//! Rules of the house: data goes to standard output, talk to standard error; what is shown before an act is what is
//! started, held by its digest; Ctrl-C ends this program and never an operation; unknown is never shown as good.

mod cli;
mod client;
mod commands;
mod context;
mod exit;
mod failure;
mod follow;
mod interrupt;
mod reader;
mod render;

use std::env;
use std::error::Error as _;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::CompleteEnv;
use serde_json::json;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::render::{Out, Tone, clean_lines};

fn main() -> ExitCode {
    // In a shell's completion this answers and ends the program; otherwise it does nothing.
    CompleteEnv::with_factory(Cli::command).complete();
    let (cli, for_programs) = match Cli::read() {
        Ok(read) => read,
        Err(error) if error.use_stderr() && Cli::asks_for_json(env::args_os()) => {
            let rendered = error.render().to_string();
            let message = rendered.strip_prefix("error: ").unwrap_or(&rendered);
            let failure = Failure::Usage(message.to_owned());
            drop(Out::new().say(&as_value(&failure)));
            return failure.exit().code();
        }
        Err(error) => {
            // Help and version go to standard output, errors to standard error; that a pipe is closed is no matter.
            drop(error.print());
            return if error.use_stderr() {
                Exit::Usage.code()
            } else {
                Exit::Ok.code()
            };
        }
    };
    let out = Out::new();
    match run(cli, out) {
        Ok(exit) => exit.code(),
        Err(failure) if failure.is_broken_pipe() => Exit::Ok.code(),
        Err(failure) => {
            // Standard error is the last place to say it; if that is closed, the exit code has to do.
            let text = if for_programs {
                as_value(&failure)
            } else {
                told(&failure, out)
            };
            drop(out.say(&text));
            failure.exit().code()
        }
    }
}

fn run(cli: Cli, out: Out) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::new)?;
    let outcome = runtime.block_on(commands::run(cli, out));
    // A thread may still wait for a line of standard input; nobody waits for it.
    runtime.shutdown_background();
    outcome
}

/// The failure as a line of JSON.
fn as_value(failure: &Failure) -> String {
    let error = json!({
        "code": failure.word(),
        "exit": failure.exit().number(),
        "message": text(failure),
    });
    json!({ "error": error }).to_string()
}

/// The failure with its causes, in words.
fn text(failure: &Failure) -> String {
    // Much of it is what other machines say.
    let mut text = clean_lines(failure.to_string().trim_end());
    let mut next = failure.source();
    while let Some(cause) = next {
        text.push_str(&clean_lines(&format!("\n  because: {cause}")));
        next = cause.source();
    }
    text
}

/// The failure as a person reads it.
fn told(failure: &Failure, out: Out) -> String {
    let text = text(failure);
    // The one is a whole text of its own, the other follows upon its report.
    if let Failure::Invalid(_) | Failure::NoPlan(_) = failure {
        return text;
    }
    format!("{} {text}", out.talk_paint().tone(Tone::Bad, "error:"))
}
