//! `logs`: what nodes write about themselves, brought here.
//!
//! | module | is |
//! |---|---|
//! | `call` | one call for the logs of one node: what there is, pieces of it, what comes |
//! | `collect` | all nodes, a few at a time, and the result |
//! | `shelf`, `index` | what has been taken of one node, and where it lies |
//! | `piece` | a compressed file that grows by a frame |
//! | `place` | the directory: who may write there, its checksums, and the bundle that it becomes |
//! | `follow` | the log of a service as it is written |
//!
//! What comes from a node is believed as content and nothing else: names are checked before they become paths.

mod call;
mod collect;
mod follow;
mod index;
mod piece;
mod place;
mod shelf;
mod since;

use crate::cli::{Connection, LogsCommand};
use crate::failure::Outcome;
use crate::render::Out;

pub(super) async fn run(connection: &Connection, command: LogsCommand, out: Out) -> Outcome {
    match command {
        LogsCommand::Collect(args) => collect::run(connection, &args, out).await,
        LogsCommand::Follow(args) => follow::run(connection, &args, out).await,
    }
}
