//! `operation`.

use clap::{Args, Subcommand};

use super::{Answer, Output, complete, reason};

#[derive(Debug, Subcommand)]
pub(crate) enum OperationCommand {
    /// List operations, newest first.
    List {
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Show one operation with its steps.
    Show {
        #[command(flatten)]
        operation: OperationName,
        #[command(flatten)]
        output: Output,
    },
    /// Follow one until it is over, or needs attention.
    Watch {
        #[command(flatten)]
        operation: OperationName,
        #[command(flatten)]
        output: Output,
    },
    /// Its journal: every decision and outcome, in order.
    Journal {
        #[command(flatten)]
        operation: OperationName,
        #[command(flatten)]
        output: Output,
    },
    /// Begin nothing new; what is under way goes on.
    Pause(Reasoned),
    /// Go on; in single-step mode, with all that is left.
    Resume(Reasoned),
    /// Let the next step begin, in single-step mode; beside one that is under way, a step by its name.
    Next(Next),
    /// Try a step again that failed; without a step all that failed, as listed and confirmed.
    Retry(Retry),
    /// Take a step for done; needs a reason.
    Skip(StepReasoned),
    /// Stop for good; what is under way is ended.
    Abort {
        #[command(flatten)]
        target: Reasoned,
        /// Then take back what was done, in reverse: shows what that is, and asks.
        #[arg(long)]
        unwind: bool,
        #[command(flatten)]
        answer: Answer,
    },
}

/// An operation.
#[derive(Debug, Args)]
pub(crate) struct OperationName {
    /// The operation, such as op-17 or 17.
    #[arg(add = complete::operations())]
    pub(crate) operation: String,
}

/// An operation, and why.
#[derive(Debug, Args)]
pub(crate) struct Reasoned {
    /// The operation, such as op-17 or 17.
    #[arg(add = complete::operations())]
    pub(crate) operation: String,
    /// Why; kept in the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = reason::optional)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// An operation, a step of it or the next, and why.
#[derive(Debug, Args)]
pub(crate) struct Next {
    /// The operation, such as op-17 or 17.
    #[arg(add = complete::operations())]
    pub(crate) operation: String,
    /// The step, such as stop:jb@jb1; none: the first that waits for nothing else, once no other one is under way.
    #[arg(add = complete::steps())]
    pub(crate) step: Option<String>,
    /// Why; kept in the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = reason::optional)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// An operation, a step of it or all, and why.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The operation, such as op-17 or 17.
    #[arg(add = complete::operations())]
    pub(crate) operation: String,
    /// The step, such as stop:jb@jb1; none: every step that failed.
    #[arg(add = complete::steps())]
    pub(crate) step: Option<String>,
    /// Every step that failed, without a question.
    #[arg(long, conflicts_with = "step")]
    pub(crate) all: bool,
    /// Why; kept in the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = reason::optional)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// An operation, a step, and why.
#[derive(Debug, Args)]
pub(crate) struct StepReasoned {
    /// The operation, such as op-17 or 17.
    #[arg(add = complete::operations())]
    pub(crate) operation: String,
    /// The step, such as stop:jb@jb1.
    #[arg(add = complete::steps())]
    pub(crate) step: String,
    /// Why; kept in the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = reason::optional)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) output: Output,
}
