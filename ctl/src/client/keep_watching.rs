//! A watch that goes on over restarts of coordinators, until Ctrl-C or until nobody reads any more.

use std::time::Instant;

use interlock_mesh::backoff::{Attempts, Backoff, SystemRandom};

use super::{Client, Coordinators};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::reader::Reader;

/// Runs `watch` on a connection, and on another one when that ends, until Ctrl-C, the end of whoever reads standard
/// output, or a failure that stays. The first two are how such a command ends, so they are success. That the connection is
/// gone, and why, is told to `lost`: once, however many tries follow.
pub(crate) async fn keep_watching(
    coordinators: &Coordinators,
    first: Client,
    mut lost: impl FnMut(&str) -> Result<(), Failure>,
    mut watch: impl AsyncFnMut(&Client) -> Result<(), Failure>,
) -> Outcome {
    let mut interrupt = Interrupt::listen()?;
    let mut reader = Reader::watch();
    let mut attempts = Attempts::new(Backoff::CONNECT);
    let mut random = SystemRandom::new();
    let mut client = Some(first);
    loop {
        let begun = Instant::now();
        let watching = async {
            let client = match client.take() {
                Some(client) => client,
                None => coordinators.connect().await?,
            };
            watch(&client).await
        };
        let ended = tokio::select! {
            ended = watching => ended,
            () = interrupt.pressed() => return Ok(Exit::Ok),
            () = reader.gone() => return Ok(Exit::Ok),
        };
        let why = match ended {
            Ok(()) => "the coordinator stopped".to_owned(),
            Err(failure) if failure.is_transient() => failure.to_string(),
            Err(failure) => return Err(failure),
        };
        attempts.lasted(begun.elapsed());
        if attempts.failed() == 0 {
            lost(&format!("connection lost ({why}); connecting again ..."))?;
        }
        tokio::select! {
            () = tokio::time::sleep(attempts.next_wait(&mut random)) => {}
            () = interrupt.pressed() => return Ok(Exit::Ok),
            () = reader.gone() => return Ok(Exit::Ok),
        }
    }
}
