//! `logs follow`.

use std::io::{self, IsTerminal as _, Write as _};

use interlock_proto::v1;
use interlock_proto::v1::log_answer::Answer;
use interlock_proto::v1::log_request::Ask;

use super::call::Call;
use crate::cli::{Connection, LogsFollow};
use crate::context;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::reader::Reader;
use crate::render::{Out, clean_lines};

pub(super) async fn run(connection: &Connection, args: &LogsFollow, out: Out) -> Outcome {
    let mut interrupt = Interrupt::listen()?;
    let mut reader = Reader::watch();
    let client = context::coordinators(connection)?.connect().await?;
    let following = async {
        let follow = Ask::Follow(v1::FollowLog {
            service: args.service.to_string(),
            lines: args.lines,
        });
        let mut call = Call::open(&client, args.node.as_str(), follow).await?;
        show(&mut call, out).await
    };
    tokio::select! {
        ended = following => ended,
        // Both are how this ends.
        () = interrupt.pressed() => Ok(Exit::Ok),
        () = reader.gone() => Ok(Exit::Ok),
    }
}

/// Prints what comes. Where there are several files, each is named when it is another one than before.
async fn show(call: &mut Call, out: Out) -> Outcome {
    // What applications write is not for a terminal to obey; a pipe gets it as it is.
    let is_terminal = io::stdout().is_terminal();
    let mut last = String::new();
    loop {
        match call.part().await? {
            Some(Answer::Chunk(chunk)) => {
                if chunk.of != last {
                    if !last.is_empty() || is_terminal {
                        out.say(&clean_lines(&format!("==> {} <==", chunk.of)))?;
                    }
                    last = chunk.of;
                }
                if is_terminal {
                    out.data(&clean_lines(&String::from_utf8_lossy(&chunk.data)))?;
                } else {
                    let mut stdout = io::stdout().lock();
                    stdout.write_all(&chunk.data)?;
                    stdout.flush()?;
                }
            }
            Some(Answer::Refused(why)) => return Err(Failure::Refused(why)),
            Some(_) => {}
            None => {
                return Err(Failure::Refused(
                    "the agent has nothing more to say".to_owned(),
                ));
            }
        }
    }
}
