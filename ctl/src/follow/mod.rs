//! Following an operation until it is over, or needs a person.
//!
//! ```text
//!   Watcher (task) ── News ──► Progress ──► Change ──► plain lines, when piped
//!   reconnects by itself           │
//!                                  └──────► frame ───► live tree, on a terminal
//! ```
//!
//! The operation runs in the coordinator; whatever happens here, it goes on. Ctrl-C detaches and says how to come back.
//! A coordinator that goes away is waited for, however long that takes: what it drives is driven on when it is back.

mod agents;
mod commands;
mod ending;
mod lines;
mod live;
mod progress;
mod prompt;
mod watcher;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use interlock_proto::v1;
use tokio::sync::mpsc;

use crate::cli::Format;
use crate::client::{Client, Coordinators, RpcFailure, SHORT};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::reader::Reader;
use crate::render::{Out, clean, now_millis, operation_value};

use agents::Agents;
use live::Screen;
pub(crate) use progress::needs_person;
use progress::{Clock, Past, Progress};
use prompt::Prompt;
use watcher::{News, Watcher};

/// How often the live tree is drawn anew, for the clocks in it.
const REDRAW: Duration = Duration::from_millis(250);

/// What is followed, and how.
pub(crate) struct Follow {
    /// Where to connect again.
    pub(crate) coordinators: Coordinators,
    /// The connection to begin with.
    pub(crate) client: Client,
    /// The operation.
    pub(crate) operation: String,
    /// How the end is printed; the way there is shown on standard error if this is for programs.
    pub(crate) format: Format,
    /// Enter lets the next step begin.
    pub(crate) step: bool,
    /// Ctrl-C, listened to since before there was anything to follow.
    pub(crate) interrupt: Interrupt,
}

/// Follows until the operation is over, needs attention, or Ctrl-C.
pub(crate) async fn follow(follow: Follow, out: Out) -> Outcome {
    let Follow {
        coordinators,
        client,
        operation,
        format,
        step,
        mut interrupt,
    } = follow;
    let step = step && io::stdin().is_terminal();
    let mut view = View::new(format, step, out);
    let mut prompt = Prompt::default();
    let mut progress = Progress::new(
        &operation,
        clock(&client).await,
        past(&client, &operation).await,
    );
    let mut reader = Reader::watch();
    let (sender, mut news) = mpsc::channel(16);
    let watcher = Watcher::new(coordinators, client.clone(), operation.clone(), sender);
    let watching = tokio::spawn(watcher.run());
    let mut enter = step.then(enter_pressed);
    let mut tick = tokio::time::interval(REDRAW);
    let mut client = client;
    let mut agents = Agents::new();

    let outcome = loop {
        tokio::select! {
            next = news.recv() => match next {
                Some(News::Operation(operation)) => {
                    for change in progress.update(*operation) {
                        view.change(&change, &progress)?;
                    }
                    if let Some(exit) = progress.ended() {
                        break Ok(exit);
                    }
                }
                Some(News::Lost(why)) => view.notice(&format!(
                    "connection lost ({why}); the operation goes on, connecting again ..."
                ))?,
                Some(News::Back(again)) => {
                    view.notice(&format!("connected again, to {}", again.address()))?;
                    client = *again;
                    // A question to the one that is gone would be waited for in vain.
                    agents = Agents::new();
                }
                Some(News::Failed(failure)) => break Err(failure),
                None => break Err(anyhow::anyhow!("the watcher ended without a word").into()),
            },
            () = interrupt.pressed() => {
                view.clear()?;
                out.say(&detached(&operation, progress.operation()))?;
                watching.abort();
                return Ok(Exit::Detached);
            }
            () = reader.gone(), if format == Format::Table => {
                break Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
            }
            at = pressed(&mut enter) => {
                view.echoed();
                if let Some(shown) = prompt.answered(at)
                    && let Err(refused) = next_step(&client, &operation, &shown).await
                {
                    prompt.refused();
                    view.notice(&refused.to_string())?;
                }
            }
            status = agents.answer() => progress.hear_of_agents(status.as_ref()),
            _ = tick.tick() => {}
        }
        if view.is_live() {
            agents.ask(&client);
        }
        view.draw(&progress)?;
        prompt.shows(progress.offered(), Instant::now());
    };
    watching.abort();
    view.clear()?;
    let exit = outcome?;
    finish(&progress, exit, format, out)?;
    Ok(exit)
}

/// What happens to an operation that nobody follows any more, and how to come back.
fn detached(name: &str, seen: &v1::Operation) -> String {
    let goes = if seen.single_step {
        format!(
            "waits for `interlockctl operation next {name}`; `interlockctl operation resume {name}` ends the single steps"
        )
    } else {
        "goes on".to_owned()
    };
    format!("detached: {name} {goes}. Come back with:\n  interlockctl operation watch {name}")
}

/// How the coordinator's clock goes. Not worth a failure: without an answer it goes like ours.
async fn clock(client: &Client) -> Clock {
    let mut cluster = client.cluster();
    let asked = now_millis();
    let request = v1::GetStatusRequest {};
    let status = client
        .call("read the status", SHORT, cluster.get_status(request))
        .await;
    let ours = asked.midpoint(now_millis());
    Clock::compared(status.map_or(0, |status| status.at_ms), ours)
}

/// What happened before anybody looked. Not worth a failure either.
async fn past(client: &Client, operation: &str) -> Past {
    let entries = client.journal(operation).await;
    entries.map_or_else(|_| Past::default(), |entries| Past::of(&entries))
}

/// Says how it ended, and what to do if it did not end well.
fn finish(progress: &Progress, exit: Exit, format: Format, out: Out) -> Result<(), Failure> {
    if format == Format::Table {
        out.data(&ending::summary(progress, out.paint()))?;
    } else {
        out.show(
            format,
            || operation_value(progress.operation()),
            |_| String::new(),
        )?;
        out.say(ending::summary(progress, out.talk_paint()).trim_end())?;
    }
    if exit == Exit::NeedsAttention {
        out.say(ending::what_now(progress).trim_end())?;
    }
    Ok(())
}

async fn next_step(client: &Client, operation: &str, step: &str) -> Result<(), RpcFailure> {
    let request = v1::ControlOperationRequest {
        operation: operation.to_owned(),
        verb: "next".to_owned(),
        step: step.to_owned(),
        ..v1::ControlOperationRequest::default()
    };
    let mut operations = client.operations();
    let look = format!("interlockctl operation show {operation}");
    client
        .change(
            "let the next step begin",
            &look,
            SHORT,
            operations.control_operation(request),
        )
        .await
        .map(|_| ())
}

/// When each line of standard input came. It is read by a thread of its own: a read of a terminal cannot be given up. It reads
/// on whatever becomes of the lines, so that none is taken for one that was typed later.
fn enter_pressed() -> mpsc::UnboundedReceiver<Instant> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
            if sender.send(Instant::now()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

/// Waits for Enter; for ever if nobody can press it.
async fn pressed(enter: &mut Option<mpsc::UnboundedReceiver<Instant>>) -> Instant {
    let got = match enter {
        Some(receiver) => receiver.recv().await,
        None => None,
    };
    match got {
        Some(at) => at,
        None => {
            // Standard input has ended, or was never read.
            *enter = None;
            std::future::pending().await
        }
    }
}

/// Where the way is shown: a tree that is drawn over and over on a terminal, a line per change elsewhere.
struct View {
    out: Out,
    /// Lines go to standard output, unless that is for a program.
    talk: bool,
    screen: Option<Screen>,
}

impl View {
    fn new(format: Format, step: bool, out: Out) -> Self {
        let talk = format != Format::Table;
        Self {
            out,
            talk,
            screen: Screen::on(talk, step, out),
        }
    }

    /// Is it drawn over and over?
    fn is_live(&self) -> bool {
        self.screen.is_some()
    }

    fn echoed(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.echoed();
        }
    }

    fn change(&mut self, change: &progress::Change, progress: &Progress) -> Result<(), Failure> {
        if self.screen.is_some() {
            return Ok(());
        }
        if self.talk {
            self.out
                .say(&lines::line(change, progress, self.out.talk_paint()))
        } else {
            self.out
                .line(&lines::line(change, progress, self.out.paint()))
        }
    }

    fn notice(&mut self, text: &str) -> Result<(), Failure> {
        self.clear()?;
        self.out.say(&clean(text))
    }

    fn draw(&mut self, progress: &Progress) -> Result<(), Failure> {
        match &mut self.screen {
            Some(screen) => screen.draw(progress),
            None => Ok(()),
        }
    }

    fn clear(&mut self) -> Result<(), Failure> {
        match &mut self.screen {
            Some(screen) => screen.clear(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_person_is_not_said_to_go_on() {
        let mut seen = v1::Operation::default();
        assert!(detached("op-6", &seen).starts_with("detached: op-6 goes on. Come back with:"));
        seen.single_step = true;
        let said = detached("op-6", &seen);
        assert!(
            said.starts_with("detached: op-6 waits for `interlockctl operation next op-6`;"),
            "{said}"
        );
        assert!(!said.contains("goes on"), "{said}");
    }
}
